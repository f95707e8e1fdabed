"""What holds changes up without being anybody's mistake: freezes, and a deploy that runs. Overridden on record, by whoever may (S9, S5).

A word of override belongs to one run and lifts what was in force when it was given: a freeze that begins later is not lifted by it.
"""

from dataclasses import replace
from datetime import datetime

from actions import guards
from actions.situation import Attempt, Cleared, Deploy, Freeze, GuardRefused, Reason, State
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.leads import tell_leads
from bot.flows.records import entry
from runbooks import approval
from runbooks.approval import SHORTEST_REASON, Circle
from runbooks.change import Change, ChangeState
from runbooks.incident import Incident
from runbooks.operation import Check, Plan
from runbooks.people import Actor
from runbooks.run import ActionRun, FreezeOverride
from runbooks.severity import Tier
from runbooks.timeline import EntryKind
from storage import changes, ledger
from storage.database import Tx

LIFTABLE = frozenset({Reason.FROZEN, Reason.DEPLOYING})
DEPLOY = "deploy"
"""The check that says that somebody is deploying the same service."""


def freezes(ctx: Context, incident: Incident, *, run: ActionRun | None, circle: Circle, now: datetime) -> list[Freeze]:
    """What is frozen now, with who may lift it and who did for this run. A drill's world is never frozen."""
    if incident.is_drill:
        return []
    on = _on(ctx, now=now)
    helpers = _helpers(run, circle) if on else ()
    return [replace(freeze, helpers=helpers, overridden_by=_lifted(run, freeze.name, circle, since=freeze.from_at)) for freeze in on]


def _on(ctx: Context, *, now: datetime) -> list[Freeze]:
    """Every freeze that is on now; of one that comes again, this time's."""
    return [on for freeze in ctx.policy.freezes if (on := freeze.at(now))]


def deploys(tx: Tx, ctx: Context, incident: Incident, *, run: ActionRun | None, circle: Circle, now: datetime) -> list[Deploy]:
    """Changes of the same service that have begun and not ended, by what the change feed says."""
    if incident.is_drill or incident.service is None:
        return []
    found = changes.between(tx, since=now - ctx.policy.deploy_life, until=now, services=[incident.service])
    running = [change for change in found if change.state is ChangeState.STARTED and _here(ctx, incident, change)]
    helpers = _helpers(run, circle) if running else ()
    return [
        Deploy(
            title=change.title,
            since_at=change.changed_at,
            until_at=change.changed_at + ctx.policy.deploy_life,
            author=change.author or "",
            helpers=helpers,
            overridden_by=_lifted(run, change.title, circle, since=change.changed_at),
        )
        for change in running
    ]


def _here(ctx: Context, incident: Incident, change: Change) -> bool:
    """Whether it is about the incident's own service, and not about another environment."""
    others = {service.environment for service in ctx.services.values()} - {incident.environment}
    return change.service == incident.service and change.target not in others


def _helpers(run: ActionRun | None, circle: Circle) -> tuple[str, ...]:
    return tuple(person.name for person in approval.overriders(tier=run.tier if run else Tier.R1, circle=circle))


def _lifted(run: ActionRun | None, name: str, circle: Circle, *, since: datetime) -> str | None:
    """Who lifted it for this run, if that person still may. What began after their word is another one, whatever its name."""
    word = run.freeze_override if run else None
    if run is None or word is None or name not in word.names or since > word.given_at:
        return None
    return word.by if approval.may_override(word.by, tier=run.tier, circle=circle) else None


def said(plan: Plan, found: list[Deploy]) -> Plan:
    """The plan with a line for each deploy that runs, whatever its tier; wide changes are refused by the guard besides."""
    lines = tuple(
        Check(name=DEPLOY, holds=True, text=f'Meanwhile "{deploy.title}" is under way since {deploy.since_at:%H:%M} UTC.')
        for deploy in found[:3]
    )
    return plan.model_copy(update={"checks": (*plan.checks, *lines)})


def notes(ctx: Context, incident: Incident, *, now: datetime) -> list[str]:
    """What the card says of freezes that are on for this incident."""
    if incident.is_drill:
        return []
    on = _on(ctx, now=now)
    here = [one for one in on if incident.service in one.services or not one.services]
    return [
        f"{_of(one)} frozen until {one.until_text}: {one.name.rstrip('.')}."
        for one in here
        if incident.environment in one.environments or not one.environments
    ]


def _of(freeze: Freeze) -> str:
    return f"{', '.join(sorted(tier.value for tier in freeze.tiers))} changes are" if freeze.tiers else "Changes are"


def in_the_way(attempt: Attempt, state: State, *, now: datetime) -> GuardRefused | Cleared:
    """The guards' word, leaving aside what a person may lift."""
    return guards.guard(attempt, lifted(state), now=now)


def lifted(state: State) -> State:
    """The same state, with everything lifted that can be."""
    return replace(
        state,
        freezes=[replace(freeze, overridden_by="somebody") for freeze in state.freezes],
        deploys=[replace(deploy, overridden_by="somebody") for deploy in state.deploys],
    )


def overridden(
    tx: Tx, ctx: Context, run: ActionRun, attempt: Attempt, state: State, *, circle: Circle, reason: str | None, by: Actor, now: datetime
) -> ActionRun:
    """The run with this person's word that it must not wait; on the timeline, and told to the leads. Without a reason nothing happens.

    Raises:
        Refused: this person may not, or the reason explains nothing.
    """
    refused = guards.guard(attempt, state, now=now)
    if reason is None or not isinstance(refused, GuardRefused) or refused.reason not in LIFTABLE:
        return run
    if not by.is_human or not approval.may_override(by.id, tier=run.tier, circle=circle):
        names = ", ".join(refused.helpers[:5]) or "nobody"
        text = f"Not run: you may not override this for {run.tier.value}. These can: {names}."
        raise Refused("not_granted", text, offer="plan")
    if len(reason.strip()) < SHORTEST_REASON:
        raise Refused("override_reason", "Not run: say in a sentence why this cannot wait for the end of the freeze.", offer="plan")
    frozen = [freeze.name for freeze in state.freezes if guards.freezes(freeze, attempt, now)]
    lifts = (*frozen, *(deploy.title for deploy in state.deploys))
    word = FreezeOverride(by=by.id, reason=reason.strip(), names=lifts, given_at=now)
    text = f"{by.id} overrides {' and '.join(lifts)} for {run.title}: {word.reason}"
    tell_leads(tx, ctx, run, text, key=f"frozen:{run.id}", but=by.id)
    record = entry(EntryKind.FREEZE_OVERRIDDEN, text, now=now, actor=by, run=run.id, step=run.step, reason=word.reason, freezes=list(lifts))
    ledger.record(tx, run.incident_id, [record], now=now)
    return run.with_(freeze_override=word)
