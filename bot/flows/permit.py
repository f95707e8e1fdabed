"""What allows a run and what forbids it: rights, approvals and guards, as they are at this moment (rules S4, S5, S7, S8, S11 to S16)."""

from datetime import datetime, timedelta

from actions import guards
from bot.flows import standing
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.rights import attempt, circle_of, guard_state
from bot.flows.wording import name_of
from runbooks import approval
from runbooks.incident import Incident
from runbooks.people import MUSTER, Actor
from runbooks.run import ActionRun, RunState
from runbooks.runbook import Action, Runbook
from storage import incidents, traces
from storage.database import Tx

REPETITION = "repetition"
"""The check that says that a plan's tier was raised because the same was done before."""

BUSY = standing.BUSY


def action_of(runbook: Runbook, step: str) -> Action:
    action = runbook.action(step)
    if action is None:
        raise Refused("undeclared", f"{runbook.id} v{runbook.header.version} declares no action {step}; nothing was changed.", offer="plan")
    return action


def requester(run: ActionRun) -> Actor:
    via = run.requested_via if run.requested_via in {"slack", "cli", "api"} else "sweep"
    return MUSTER if run.requested_by == MUSTER.id else Actor.model_validate({"kind": "person", "id": run.requested_by, "via": via})


def already(ctx: Context, run: ActionRun) -> str:
    """Who is at it, since when (rule S11)."""
    since = run.started_at or run.confirmed_at or run.requested_at
    who = name_of(ctx, run.requested_by)
    if run.state is RunState.AWAITING_APPROVAL:
        return (
            f"Not run: {who} asked for approval of {run.title} at {since:%H:%M:%S} UTC, and it still waits. "
            "The request stands in the thread; if it cannot wait, cancel it there and go without approval."
        )
    if run.state is RunState.UNDOING:
        what = f"what {who} ran is being undone: {run.title}"
    elif run.state is RunState.VERIFYING:
        what = f"{who} ran {run.title} and Muster watches whether it works"
    else:
        what = f"{who} is running {run.title}"
    return f"Not run again: {what}, since {since:%H:%M:%S} UTC. You will see the result in the thread."


def must_pass(tx: Tx, ctx: Context, incident: Incident, run: ActionRun, action: Action, *, now: datetime) -> None:
    """That its runbook is still followed, and the guards: locked, running, frozen, out of service, run lately (S5, S9 to S16).

    Raises:
        Refused: it belongs to a runbook that somebody has rejected meanwhile, or with the first guard's sentence.
    """
    assert run.plan is not None
    _must_be_followed(incident, run)
    wanted = attempt(incident, run, action, run.plan)
    cleared = guards.guard(wanted, guard_state(tx, ctx, incident, wanted, run=run, now=now), now=now)
    if isinstance(cleared, guards.GuardRefused):
        raise Refused(cleared.reason.value, cleared.text, offer="plan")
    if cleared.raised_by and all(check.name != REPETITION for check in run.plan.checks):
        raise Refused("plan_old", f"Not run: {cleared.note} This plan does not know that yet. Open the current plan.", offer="plan")


def _must_be_followed(incident: Incident, run: ActionRun) -> None:
    """A word for an action of one runbook is no word for the incident under another (rules S7, S10)."""
    follows, own = incident.match.runbook, run.runbook
    if follows != own:
        text = f"Not run: {incident.ref} follows {follows.id} v{follows.version} now, and {run.title} is of {own.id} v{own.version}."
        raise Refused("stale_version", f"{text} Nothing was changed. Use the buttons on the card.", offer="plan")


def must_be_entitled(tx: Tx, ctx: Context, incident: Incident, run: ActionRun, action: Action, *, now: datetime) -> None:
    """Rights and approvals as they are at the last moment: a grant may be gone, an approval too old (rules S4, S7, S8).

    Raises:
        Refused: what allowed the run before does not allow it now.
    """
    decision = decide(tx, ctx, incident, run, action, by=requester(run), plan_hash=None, now=now, break_glass=run.break_glass)
    if not decision.allowed:
        raise Refused(decision.reason.value, decision.text, offer="plan")


def decide(
    tx: Tx,
    ctx: Context,
    incident: Incident,
    run: ActionRun,
    action: Action,
    *,
    by: Actor,
    plan_hash: str | None,
    now: datetime,
    break_glass: str | None = None,
) -> approval.Decision:
    """The approvals' and the grants' word; for a run that nobody pressed, what it has earned (rule S30)."""
    assert run.plan is not None
    if run.automatic:
        return standing.decide(tx, ctx, incident, run, action, now=now)
    day = traces.since(tx, now - timedelta(hours=24), drill_id=incident.drill_id, person=by.id)
    return approval.decide(
        plan=run.plan,
        asked=action.approval,
        requester=by,
        circle=circle_of(ctx, incident, now=now),
        approvals=run.approvals,
        requested_hash=plan_hash,
        until_at=run.approve_until_at,
        break_glass=break_glass,
        break_glass_used=sum(1 for other in day if other.break_glass and other.id != run.id),
        break_glass_limit=ctx.policy.break_glass_per_day,
        valid_for=ctx.policy.approval_life.total_seconds(),
        now=now,
    )


def must_be_allowed(tx: Tx, ctx: Context, run: ActionRun, *, by: Actor, now: datetime) -> None:
    """Whoever may run an action may also end, extend and undo it (rule S22).

    Raises:
        Refused: this person may not.
    """
    incident = incidents.get(tx, run.incident_id)
    must_have_its_world(incident)
    if not by.is_human or not approval.may_run(by.id, tier=run.tier, circle=circle_of(ctx, incident, now=now)):
        action = action_of(ctx.shelf.pinned(tx, run.runbook), run.step)
        raise not_entitled(ctx, incident, action, now=now)


def must_have_its_world(incident: Incident) -> None:
    """Nothing more can be said or done about a change in a world that is gone.

    Raises:
        Refused: the drill is over.
    """
    if incident.is_drill and not incident.is_open:
        raise Refused("drill_over", "The drill is over and its world is gone with everything that was changed in it.", audit=False)


def not_entitled(ctx: Context, incident: Incident, action: Action, *, now: datetime) -> Refused:
    helpers = approval.runners(tier=action.tier, circle=circle_of(ctx, incident, now=now))
    names = ", ".join(person.name for person in helpers[:5]) or "nobody"
    return Refused(
        "not_granted", f"Not run: you may not run actions of {action.tier.risk} risk ({action.tier.value}) here. These can: {names}."
    )
