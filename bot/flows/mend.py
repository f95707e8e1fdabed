"""Several changes that took effect only in part: put back as a whole, once; then a person is asked (rules S20, S24)."""

from datetime import datetime

import structlog

from actions import guards
from bot.flows import register
from bot.flows.context import Context
from bot.flows.execution import action_of
from bot.flows.records import entry
from bot.flows.rights import attempt, guard_state
from runbooks.incident import Incident
from runbooks.operation import Outcome, Plan
from runbooks.run import IN_FLIGHT, ActionRun
from runbooks.timeline import EntryKind
from storage import incidents, ledger, mitigations, runs
from storage.database import Tx

log = structlog.get_logger(__name__)


def as_one(ctx: Context, run: ActionRun, incident: Incident, plan: Plan, looked: Outcome) -> Outcome:
    """What was looked at; where some of it took effect and some did not, those are put back in reverse, once.

    `plan` is the part of the run's plan that was looked at. While actions are paused nothing is put back (rule S16).
    """
    if not looked.mixed or run.restored_at is not None:
        return looked
    refused = ctx.write(lambda tx: _claim(tx, ctx, run.id, looked), name="claim_restore")
    if refused is not None:
        return looked.model_copy(update={"reason": f"{looked.reason} {refused}"})
    log.info("run.put_back", run=run.id, looked=looked.reason)
    return ctx.runner_for(incident).restore(plan, key=f"{run.key}/restore")


def _claim(tx: Tx, ctx: Context, run_id: int, looked: Outcome) -> str | None:
    """Note before it is tried that it was; why it may not be, where something forbids it."""
    run, now = runs.get(tx, run_id), ctx.now()
    if run.restored_at is not None or run.state not in IN_FLIGHT or run.plan is None:
        return "It was put back before."
    incident = incidents.get(tx, run.incident_id)
    action = action_of(ctx.shelf.pinned(tx, run.runbook), run)
    wanted = attempt(incident, run, action, run.plan)
    cleared = guards.guard(wanted, guard_state(tx, ctx, incident, wanted, now=now), now=now, rules=guards.UNDO_RULES)
    if isinstance(cleared, guards.GuardRefused) and cleared.rule != "S14":  # what puts back is never too often
        return cleared.text
    runs.save(tx, run.with_(restored_at=now), was=run.state)
    text = f"{run.title} took effect only in part, and what did is put back: {looked.reason}"
    ledger.record(tx, incident.id, [entry(EntryKind.RUN_UNKNOWN, text, now=now, run=run.id, step=run.step)], now=now)
    return None


def was_mended(ctx: Context, run: ActionRun) -> bool:
    """Whether this run was put back since it was read: it is not carried out a second time by itself."""
    return ctx.read(lambda tx: runs.get(tx, run.id)).restored_at is not None


def in_part(tx: Tx, ctx: Context, run: ActionRun, incident: Incident, outcome: Outcome, *, now: datetime) -> ActionRun:
    """A run of which some parts may stand: it has an owner, an end and a way back like every change in force (rule S23)."""
    if not (outcome.mixed or run.restored_at is not None) or run.executed_at is not None:
        return run
    standing = run.with_(executed_at=run.started_at or now)
    if mitigations.of_run(tx, run.id) is None:
        action = action_of(ctx.shelf.pinned(tx, run.runbook), run)
        register.open_for(tx, ctx, incident, standing, after=action.undo.after, then=action.undo.then, now=now)
    return standing
