"""Taking a change back, as a compare-and-set from the state that was captured before it (rule S22).

If somebody else has changed the target meanwhile, that is said and nothing is overwritten.
"""

from datetime import datetime, timedelta

from actions import guards
from actions.together.stages import carried_out
from bot.flows import cleanup, register, standing
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.execution import action_of, load
from bot.flows.records import entry, redraw_run, save, say
from bot.flows.rights import attempt, circle_of, guard_state, hold_locks, lock_name, release_locks, take_locks
from bot.flows.wording import name_of
from bot.settlement import Postponed, Settled, Settlement
from runbooks import approval
from runbooks.incident import Incident
from runbooks.operation import Outcome, OutcomeStatus
from runbooks.people import MUSTER, Actor
from runbooks.run import ActionRun, RunState
from runbooks.runbook import Action
from runbooks.timeline import EntryKind
from storage import incidents, runs, tasks
from storage.database import Tx
from storage.tasks import NewTask, Task

UNDOABLE = frozenset({RunState.VERIFYING, RunState.VERIFIED, RunState.FAILED, RunState.INCONCLUSIVE})
LOCK_FOR = timedelta(minutes=10)
"""How long each attempt holds what it puts back: longer than the wait for the next one, should the process die."""

HOLD = 60.0
"""Seconds that the task is held for looking and calling: longer than the runner's limits for both together."""


def request(tx: Tx, ctx: Context, run: ActionRun, *, by: Actor, reason: str, now: datetime) -> str:
    """Ask for a run to be undone, by anyone who may run it. A second press is told who was first.

    Raises:
        Refused: it cannot be undone, this person may not, or somebody is changing the target.
    """
    if run.state is RunState.UNDOING:
        return f"{name_of(ctx, run.undo_requested_by)} undoes {run.title} already."
    if run.state is RunState.UNDONE:
        return f"{run.title} was undone by {name_of(ctx, run.undo_requested_by)}."
    incident = incidents.get(tx, run.incident_id)
    _must_be_possible(tx, ctx, run, incident, by=by, now=now)
    undoing = run.to(
        RunState.UNDOING,
        undo_requested_by=by.id,
        undo_reason=reason,
        undo_started_at=now,
        state_before_undo=RunState.INCONCLUSIVE if run.state is RunState.VERIFYING else run.state,
    )
    runs.save(tx, undoing, was=run.state, next_at=None)
    hold_locks(tx, incident, run, owner=by.id, until_at=now + LOCK_FOR, now=now)
    said = entry(EntryKind.RUN_UNDO_STARTED, f"{by.id} undoes {run.title}. {reason}".strip(), now=now, actor=by, run=run.id, step=run.step)
    stamp = int(now.timestamp() * 1000)
    undo_task = NewTask(key=f"undo:{run.id}:{stamp}", kind="undo", args={"run": run.id}, lane=f"target:{lock_name(incident, run.target)}")
    save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=[undo_task, redraw_run(undoing, now=now)])
    if by.is_human:
        standing.judged(tx, ctx, undoing, now=now)
    return f"{run.title} is being undone. You will see the result in the thread."


def _must_be_possible(tx: Tx, ctx: Context, run: ActionRun, incident: Incident, *, by: Actor, now: datetime) -> None:
    if incident.is_drill and not incident.is_open:
        raise Refused("drill_over", "Nothing to undo: the drill is over and its world is gone.", audit=False)
    if run.state not in UNDOABLE or not run.in_force or run.plan is None:
        raise Refused("nothing_to_undo", f"Nothing to undo: {run.title} is {run.state.value}.", audit=False)
    action = ctx.shelf.pinned(tx, run.runbook).action(run.step)
    if action is None or action.undo.to == "not-possible":
        raise Refused("not_undoable", f"{run.title} cannot be undone; the runbook says so. Ask the owner of {run.runbook.id}.")
    if by != MUSTER and not approval.may_run(by.id, tier=run.tier, circle=circle_of(ctx, incident, now=now)):
        names = ", ".join(person.name for person in approval.runners(tier=run.tier, circle=circle_of(ctx, incident, now=now))[:5])
        what = f"actions of {run.tier.risk} risk ({run.tier.value})"
        raise Refused("not_granted", f"Not undone: you may not run {what} here. These can: {names or 'nobody'}.")
    forbidden = _forbidden(tx, ctx, run, incident, action, now=now)
    if forbidden is not None:
        raise Refused(forbidden.reason.value, forbidden.text)


def _forbidden(tx: Tx, ctx: Context, run: ActionRun, incident: Incident, action: Action, *, now: datetime) -> guards.GuardRefused | None:
    """A pause, or somebody else at the target; that the change itself would be a repetition does not matter to its undo."""
    assert run.plan is not None
    wanted = attempt(incident, run, action, run.plan)
    cleared = guards.guard(wanted, guard_state(tx, ctx, incident, wanted, now=now), now=now, rules=guards.UNDO_RULES)
    return cleared if isinstance(cleared, guards.GuardRefused) and cleared.rule != "S14" else None


def undo(ctx: Context, task: Task) -> Settlement:
    """Put back the state from before. When an earlier attempt may have done it, look first, also where nothing may be changed any more."""
    run_id = int(task.args["run"])
    run, incident, forbidden = ctx.write(lambda tx: _hold(tx, ctx, task, run_id), name="hold_undo")
    if run.state is not RunState.UNDOING or run.plan is None:
        return Settled(result={"state": run.state.value})
    runner = ctx.runner_for(incident)
    plan, after = carried_out(run)
    outcome = runner.reconcile_undo(plan, after=after) if task.in_doubt else None
    if outcome is None or outcome.status is OutcomeStatus.REFUSED or outcome.mixed:  # half a way back is gone to its end
        if forbidden is None:
            outcome = runner.undo(plan, after=after, key=f"{run.key}/undo/{task.key}")
        else:
            seen = f"{outcome.reason} " if outcome is not None and outcome.mixed else ""
            outcome = Outcome(status=OutcomeStatus.REFUSED, reason=f"{seen}{forbidden}")
    if outcome.status is OutcomeStatus.UNKNOWN:
        return Postponed(seconds=outcome.retry_after or 3.0, certain=False, error=outcome.reason, throttled=outcome.retry_after is not None)
    found = outcome
    return Settled(apply=lambda tx: _settle(tx, ctx, run_id, found))


def _hold(tx: Tx, ctx: Context, task: Task, run_id: int) -> tuple[ActionRun, Incident, str | None]:
    """Before each attempt: the task and the target's locks are held for it, and what forbids it meanwhile is said (rules S12, S16)."""
    tasks.renew(tx, task, HOLD)
    run, incident, runbook = load(tx, ctx, run_id)
    if run.state is not RunState.UNDOING or run.plan is None:
        return run, incident, None
    now = ctx.now()
    take_locks(tx, incident, run, owner=run.undo_requested_by or MUSTER.id, until_at=now + LOCK_FOR, now=now)
    forbidden = _forbidden(tx, ctx, run, incident, action_of(runbook, run), now=now)  # where a lock is another's, it says whose
    return run, incident, forbidden.text.removeprefix("Not run: ") if forbidden else None


def _settle(tx: Tx, ctx: Context, run_id: int, outcome: Outcome) -> None:
    run, now = runs.get(tx, run_id), ctx.now()
    if run.state is not RunState.UNDOING:
        return
    if outcome.status is OutcomeStatus.APPLIED:
        _undone(tx, ctx, run, now=now)
    else:
        not_undone(tx, ctx, run, outcome.reason, now=now)


def _undone(tx: Tx, ctx: Context, run: ActionRun, *, now: datetime) -> None:
    assert run.plan is not None
    incident = incidents.get(tx, run.incident_id)
    done = run.to(RunState.UNDONE, undone_at=now, ended_at=now, reason="")
    runs.save(tx, done, was=run.state, next_at=None)
    release_locks(tx, incident, run)
    plan, _ = carried_out(run)
    words = plan.words(back=True)
    said = entry(
        EntryKind.RUN_UNDONE,
        f"{run.title} is undone by {run.undo_requested_by}: {words}. {run.undo_reason}".strip(),
        now=now,
        run=run.id,
        step=run.step,
        before=plan.proposal.value,
        after=plan.before.value,
    )
    register.ended(tx, done, reason=f"Undone by {name_of(ctx, run.undo_requested_by)}.", now=now)
    save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=cleanup.dropped(done, now=now))


def not_undone(tx: Tx, ctx: Context, run: ActionRun, reason: str, *, now: datetime) -> None:
    """It still stands, and a person is asked: automatic undo is tried once (rule S22)."""
    incident = incidents.get(tx, run.incident_id)
    back = run.to(run.state_before_undo or RunState.INCONCLUSIVE, reason=reason)
    measured = back.state is RunState.VERIFIED and any(item.diagnostic for item in back.to_clean)
    runs.save(tx, back, was=run.state, next_at=now if measured else None)  # its clean-up goes on
    release_locks(tx, incident, run)
    register.stays(tx, run, now=now)
    runbook = ctx.shelf.pinned(tx, run.runbook)
    people = [person.id for person in ctx.on_call.on_call(runbook.header.owner, now)]
    told = f"{run.title} was not undone: {reason.removeprefix('Not undone: ')}"
    said = entry(EntryKind.RUN_UNDO_REFUSED, told, now=now, run=run.id, step=run.step, reason=reason)
    note = say(
        key=f"not_undone:{run.id}:{int(now.timestamp() * 1000)}",
        screen="notice",
        incident_id=incident.id,
        text=f"{told} It is still in force; decide by hand.",
        mentions=people,
    )
    tasks_too = [note, redraw_run(back, now=now)]
    save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=tasks_too)
