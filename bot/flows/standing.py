"""How far actions go by themselves now, what they have earned and lost, and whether one may begin without a press (rule S30).

Nothing here is a row of its own: a level is counted from the runs whenever it is asked for, so that it can be neither set nor forgotten.
"""

from datetime import datetime, timedelta

from bot.flows.context import Context
from bot.flows.records import entry, say
from bot.flows.wording import name_of
from runbooks import autonomy
from runbooks.approval import Decision, Reason, Verdict, needed
from runbooks.autonomy import MEMORY, Standing, fingerprint
from runbooks.incident import Incident
from runbooks.people import Person
from runbooks.run import IN_FLIGHT, ActionRun, RunState
from runbooks.runbook import Action, Runbook
from runbooks.severity import Tier
from runbooks.timeline import EntryKind
from runbooks.trace import Trace
from storage import incidents, ledger, tasks, traces
from storage.database import Tx

BUSY = IN_FLIGHT | {RunState.AWAITING_APPROVAL, RunState.APPROVED}
DAY = timedelta(hours=24)


def of_action(tx: Tx, ctx: Context, runbook: Runbook, action: Action, *, service: str | None, now: datetime) -> Standing:
    """How far this action goes by itself for this service."""
    return autonomy.standing(action, _past(tx, ctx, runbook, action, now=now), not_allowed=_not_allowed(ctx, service))


def of_runbook(tx: Tx, ctx: Context, runbook: Runbook, *, service: str | None = None, now: datetime) -> list[Standing]:
    """Every action of the runbook that proposes itself, in its order; without a service, as it stands wherever muster.yaml allows most."""
    proposing = (action for action in runbook.header.actions if action.propose_when is not None)
    where = service or min(ctx.policy.autonomous, default=None)
    return [of_action(tx, ctx, runbook, action, service=where, now=now) for action in proposing]


def _not_allowed(ctx: Context, service: str | None) -> str | None:
    if service in ctx.policy.autonomous:
        return None
    return f"muster.yaml allows no autonomy for {service}." if service else "muster.yaml allows autonomy only for services that it names."


def _past(tx: Tx, ctx: Context, runbook: Runbook, action: Action, *, now: datetime) -> list[Trace]:
    """The last year's runs of this very action, by whichever version of the runbook had it so."""
    same, known = fingerprint(runbook, action.id), {runbook.hash: True}
    found: list[Trace] = []
    for run in traces.of_action(tx, runbook.id, action.id, since=now - MEMORY):
        if run.runbook.hash not in known:
            known[run.runbook.hash] = fingerprint(ctx.shelf.pinned(tx, run.runbook), action.id) == same
        if known[run.runbook.hash]:
            found.append(run)
    return found


def answering(ctx: Context, runbook: Runbook, *, now: datetime) -> Person | None:
    """The person on whose behalf Muster acts: who is on duty for the runbook's owner, else its lead; nobody, and nothing runs by itself."""
    duty = ctx.on_call.on_call(runbook.header.owner, now)
    team = ctx.directory.team(runbook.header.owner)
    return duty[0] if duty else ctx.directory.person(team.lead) if team and team.lead else None


def decide(tx: Tx, ctx: Context, incident: Incident, run: ActionRun, action: Action, *, now: datetime) -> Decision:
    """May this run begin although nobody pressed? In the place of a person's right, and never in the place of an approval."""
    reason = _why_not(tx, ctx, incident, run, action, now=now)
    if reason:
        return Decision(verdict=Verdict.REFUSED, reason=Reason.NOT_AUTONOMOUS, text=f"Not run by itself: {reason}")
    return Decision(verdict=Verdict.ALLOWED, reason=Reason.ALLOWED, text="It has earned to run by itself.")


def _why_not(tx: Tx, ctx: Context, incident: Incident, run: ActionRun, action: Action, *, now: datetime) -> str | None:
    assert run.plan is not None
    runbook = ctx.shelf.pinned(tx, run.runbook)
    found = of_action(tx, ctx, runbook, action, service=incident.service, now=now)
    if not found.automatic:
        return " ".join(found.missing) or f"{action.title} declares no autonomy."
    if run.plan.tier.above(Tier.R1) or needed(run.plan.tier, action.approval):
        return f"this time it is {run.plan.tier.value}, which needs a person."
    if incident.mitigated_at is not None:
        return f"{incident.ref} is mitigated."
    if run.on_behalf_of is None or ctx.directory.person(run.on_behalf_of) is None:
        return f"nobody of {runbook.header.owner} answers for it now."
    return _somebody_is_at_it(tx, ctx, incident, run) or _often(tx, ctx, incident, run, now=now)


def _somebody_is_at_it(tx: Tx, ctx: Context, incident: Incident, run: ActionRun) -> str | None:
    """A person who is at the target, or at anything in this incident, is not overtaken."""
    for other in traces.in_states(tx, BUSY, drill_id=incident.drill_id):
        near = other.target == run.target or other.incident_id == run.incident_id
        if near and other.id != run.id:
            return f"{name_of(ctx, other.requested_by)} is at {other.title} on {other.target} now."
    return None


def _often(tx: Tx, ctx: Context, incident: Incident, run: ActionRun, *, now: datetime) -> str | None:
    most = ctx.policy.automatic_per_day
    lately = traces.since(tx, now - DAY, drill_id=incident.drill_id)
    began = [other for other in lately if other.automatic and other.id != run.id and other.started_at is not None]
    if len(began) < most:
        return None
    return f"{len(began)} runs began by themselves in 24 hours, and muster.yaml allows {most}."


def judged(tx: Tx, ctx: Context, run: ActionRun, *, now: datetime) -> None:
    """After a verdict or a person's undo: what the action has earned by it or lost, on record, and told to its owner at once."""
    runbook = ctx.shelf.pinned(tx, run.runbook)
    action, incident = runbook.action(run.step), incidents.get(tx, run.incident_id)
    if action is None or action.autonomy is None or action.propose_when is None:
        return
    past, forbidden = _past(tx, ctx, runbook, action, now=now), _not_allowed(ctx, incident.service)
    before = autonomy.standing(action, [one for one in past if one.id != run.id], not_allowed=forbidden)
    after = autonomy.standing(action, past, not_allowed=forbidden)
    if before.automatic and not after.automatic:
        text = f"{action.title} no longer runs by itself: {_fall(run)} It is proposed instead, until {after.wanted} clean runs in a row."
        _tell(tx, ctx, runbook, run, text, kind=EntryKind.AUTONOMY_LOST, now=now)
    elif after.automatic and not before.automatic:
        drills = f", {after.drills} of them in drills" if after.drills else ""
        text = f"{action.title} has earned to run by itself: {after.clean} clean runs in a row{drills}. Anyone may stop its countdown."
        _tell(tx, ctx, runbook, run, text, kind=EntryKind.AUTONOMY_EARNED, now=now)


def _fall(run: ActionRun) -> str:
    if run.verdict is None or run.undo_requested_by:
        return f"{run.undo_requested_by} undid it while it was watched."
    return f"its last run is {run.verdict.value}."


def _tell(tx: Tx, ctx: Context, runbook: Runbook, run: ActionRun, text: str, *, kind: EntryKind, now: datetime) -> None:
    ledger.record(tx, run.incident_id, [entry(kind, text, now=now, run=run.id, step=run.step, runbook=run.runbook.model_dump())], now=now)
    key = f"autonomy:{run.id}:{kind.value}:{int(now.timestamp() * 1000)}"
    owner = answering(ctx, runbook, now=now)
    tasks.enqueue(tx, say(key=key, screen="notice", incident_id=run.incident_id, text=text, mentions=[owner.id] if owner else []))
    if owner and owner.slack_id:
        lane = f"dm:{owner.slack_id}"
        tasks.enqueue(tx, say(key=f"{key}:owner", screen="notice", incident_id=run.incident_id, lane=lane, to=owner.slack_id, text=text))
