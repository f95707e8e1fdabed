"""A run that goes in stages: first one part, then two, then four, and between them the diagnostic is measured (rule S13).

One stage is one task, claimed before the call like a run of its own, so that a crash in the middle is looked up and never repeated
blindly. What stops it takes back in reverse what was done; a person who stops it is asked first.
"""

from datetime import datetime, timedelta

from actions import guards
from actions.together.stages import part_of, size, together, total
from actions.wording import limit, number
from bot.flows import breaking, execute, mend, permit, register, stop, undo
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.execution import action_of, diagnostic_of, load
from bot.flows.records import entry, redraw_run, save
from bot.flows.respond import measure
from bot.flows.rights import attempt, guard_state, hold_locks, lock_names, release_locks
from bot.flows.wording import name_of
from bot.settlement import Settled, Settlement
from runbooks.incident import Incident
from runbooks.operation import Measurement, Outcome, OutcomeStatus, Plan, Reading
from runbooks.people import MUSTER, Actor
from runbooks.run import ActionRun, RampState, RunState, Verdict
from runbooks.runbook import Action, Runbook
from runbooks.timeline import EntryKind
from storage import incidents, locks, mitigations, runs, tasks
from storage.database import Tx
from storage.killpoints import POINTS, reach
from storage.tasks import Task

STAGE_RULES = (guards.paused, guards.locked)
"""What stops a ramp between two stages: the rest was decided before its start, and its own runs must not count against it."""


def stage(ctx: Context, task: Task) -> Settlement:
    """Carry out the next stage, or look what became of one that was interrupted."""
    run_id = int(task.args["run"])
    run, incident, runbook = ctx.read(lambda tx: load(tx, ctx, run_id))
    if run.state is not RunState.RUNNING or run.ramp is None or not _is_due(run.ramp, ctx.now()):
        return Settled(result={"state": run.state.value})
    if run.ramp.at_work:
        ctx.write(lambda tx: tasks.renew(tx, task, execute.HOLD), name="hold_stage")
        outcome = _look_first(ctx, run, incident, runbook)
        return Settled(apply=lambda tx: _settle(tx, ctx, run_id, outcome, looked=True))
    measured = measure(ctx, incident, diagnostic_of(runbook, run)) if run.ramp.done else None
    run = ctx.write(lambda tx: _begin(tx, ctx, run_id, measured, task=task), name="claim_stage")
    if run.ramp is None or not run.ramp.at_work:
        return Settled(result={"state": run.state.value})
    reach(POINTS["K5"])
    outcome = _carry_out(ctx, run, incident, runbook)
    return Settled(apply=lambda tx: _settle(tx, ctx, run_id, outcome, looked=False))


def _is_due(ramp: RampState, now: datetime) -> bool:
    return bool(ramp.at_work) or ramp.next_at is None or now >= ramp.next_at


def _at_work(run: ActionRun) -> Plan:
    assert run.plan is not None and run.ramp is not None  # noqa: PT018 - a run in stages has both
    return part_of(run.plan, run.ramp.done, run.ramp.done + run.ramp.at_work)


def _carry_out(ctx: Context, run: ActionRun, incident: Incident, runbook: Runbook) -> Outcome:
    """The stage at work. The pre-checks hold for the first: what it changes is what they measure."""
    assert run.ramp is not None
    key = f"{run.key}/stage{run.ramp.done}"
    return ctx.runner_for(incident).execute(_at_work(run), runbook=runbook, labels=incident.labels, key=key, checks=run.ramp.done == 0)


def _look_first(ctx: Context, run: ActionRun, incident: Incident, runbook: Runbook) -> Outcome:
    """What the world says of a stage that died; only where it surely did not happen, and is still wanted, it is done now."""
    plan = _at_work(run)
    looked = mend.as_one(ctx, run, incident, plan, ctx.runner_for(incident).reconcile(plan))
    interrupted = run.outcome is None or run.outcome.status is not OutcomeStatus.UNKNOWN
    if looked.status is not OutcomeStatus.REFUSED or not interrupted or mend.was_mended(ctx, run):
        return looked
    assert run.ramp is not None
    if since := _left_lying(ctx, run.ramp, ctx.now()):
        return looked.model_copy(update={"reason": f"It was left lying since {since:%Y-%m-%d %H:%M} UTC."})
    if stopped := ctx.read(lambda tx: _forbidden(tx, ctx, run, incident, action_of(runbook, run), now=ctx.now())):
        return looked.model_copy(update={"reason": stopped})
    return _carry_out(ctx, run, incident, runbook)


def _begin(tx: Tx, ctx: Context, run_id: int, measured: Measurement | None, *, task: Task) -> ActionRun:
    """Claim the next stage, unless something or somebody stops it."""
    tasks.renew(tx, task, execute.HOLD)
    run, incident, runbook = load(tx, ctx, run_id)
    now = ctx.now()
    if run.state is not RunState.RUNNING or run.ramp is None or run.ramp.at_work or run.plan is None:
        return run
    value = measured.value if measured and measured.error is None else None
    seen = run.with_(ramp=run.ramp.model_copy(update={"value": value}), value_after=value)
    if since := _left_lying(ctx, run.ramp, now):
        return _ask(tx, ctx, seen, f"It was left lying after {_progress(run)}, since {since:%Y-%m-%d %H:%M} UTC.", by=MUSTER, now=now)
    if run.ramp.done and (reason := _too_bad(seen, action_of(runbook, run), measured)):
        return _stop(tx, ctx, seen, reason, now=now)
    if stopped := _forbidden(tx, ctx, seen, incident, action_of(runbook, run), now=now):
        return _ask(tx, ctx, seen, f"It stopped after {_progress(run)}: {stopped}", by=MUSTER, now=now)
    _hold(tx, ctx, incident, run, due_at=now, now=now)
    assert seen.ramp is not None
    size_now = size(seen.ramp.done, total=total(run.plan))
    begun = seen.with_(ramp=seen.ramp.model_copy(update={"at_work": size_now}), outcome=_settled(seen.outcome))
    runs.save(tx, begun, was=run.state, next_at=now + execute.STUCK)
    return begun


def _hold(tx: Tx, ctx: Context, incident: Incident, run: ActionRun, *, due_at: datetime, now: datetime) -> None:
    """Hold every part until a stage that falls due then could be begun no more; what is held for longer stays so (rule S12)."""
    held = locks.held(tx, lock_names(incident, run), now=now).values()
    ends = [lock.until_at for lock in held if lock.run_id == run.id]
    until = max([due_at + ctx.policy.plan_life + execute.LOCK_SPARE, *ends])
    hold_locks(tx, incident, run, owner=run.requested_by, until_at=until, now=now)


def _left_lying(ctx: Context, ramp: RampState, now: datetime) -> datetime | None:
    """Since when the next stage is due, where that is longer than a plan is true: nobody expects it to go on by itself then."""
    return ramp.next_at if ramp.next_at is not None and now - ramp.next_at > ctx.policy.plan_life else None


def _settled(outcome: Outcome | None) -> Outcome | None:
    return outcome if outcome and outcome.status is OutcomeStatus.APPLIED else None


def _too_bad(run: ActionRun, action: Action, measured: Measurement | None) -> str | None:
    """Why it must not go on, by what was just measured. Missing data does not stop what nothing forbids: the verification judges."""
    value = run.ramp.value if run.ramp else None
    stops = (action.ramp.stop_when if action.ramp else None, action.verify.fails)
    for threshold in stops:
        if value is not None and measured is not None and threshold is not None and threshold.holds(value):
            found = number(value, measured.unit, beside=threshold.limit)
            return f"{measured.title} is {found} after {_progress(run)}, {limit(threshold, measured.unit)}."
    return None


def _forbidden(tx: Tx, ctx: Context, run: ActionRun, incident: Incident, action: Action, *, now: datetime) -> str | None:
    """A pause, somebody else at a target, or an incident that is over."""
    if not incident.is_open:
        return f"{incident.ref} is resolved."
    assert run.plan is not None
    wanted = attempt(incident, run, action, run.plan)
    cleared = guards.guard(wanted, guard_state(tx, ctx, incident, wanted, now=now), now=now, rules=STAGE_RULES)
    return cleared.text if isinstance(cleared, guards.GuardRefused) and cleared.rule != "S14" else None


def _settle(tx: Tx, ctx: Context, run_id: int, outcome: Outcome, *, looked: bool) -> None:
    run, incident, runbook = load(tx, ctx, run_id)
    now = ctx.now()
    if run.state is not RunState.RUNNING or run.ramp is None or not run.ramp.at_work:
        return
    match outcome.status:
        case OutcomeStatus.APPLIED:
            _done(tx, ctx, run, incident, runbook, outcome=outcome, looked=looked, now=now)
        case OutcomeStatus.REFUSED if not run.ramp.done:
            idle = run.with_(ramp=run.ramp.model_copy(update={"at_work": 0}))
            execute.not_applied(tx, idle, incident, outcome, looked=looked, now=now)
            breaking.note(tx, ctx, incident, runs.get(tx, run.id), now=now)
        case OutcomeStatus.REFUSED:
            idle = run.with_(ramp=run.ramp.model_copy(update={"at_work": 0}))
            _stop(tx, ctx, idle, f"After {_progress(run)} the next could not be done. {outcome.reason}", now=now)
        case OutcomeStatus.UNKNOWN:
            _hold(tx, ctx, incident, run, due_at=now, now=now)
            _in_doubt(tx, ctx, run, outcome, now=now)


def _done(
    tx: Tx, ctx: Context, run: ActionRun, incident: Incident, runbook: Runbook, *, outcome: Outcome, looked: bool, now: datetime
) -> None:
    """One more stage is done: on the timeline and in the register; after the last one the whole is watched."""
    assert run.ramp is not None and run.plan is not None  # noqa: PT018 - a run in stages has both
    action, done = action_of(runbook, run), run.ramp.done + run.ramp.at_work
    over = done >= total(run.plan)
    pause = timedelta(seconds=action.ramp.pause if action.ramp else 0)
    ramp = run.ramp.model_copy(update={"done": done, "at_work": 0, "next_at": None if over else now + pause})
    after = run.with_(ramp=ramp, executed_at=run.executed_at or now, outcome=_merged(run, outcome))
    if over:
        assert after.outcome is not None
        execute.applied(tx, ctx, after, incident=incident, action=action, outcome=after.outcome, looked=looked, now=now)
        return
    runs.save(tx, after, was=run.state, next_at=ramp.next_at)
    _hold(tx, ctx, incident, run, due_at=now + pause, now=now)
    if mitigations.of_run(tx, run.id) is None:
        register.open_for(tx, ctx, incident, after, after=action.undo.after, then=action.undo.then, now=now)
    before = incidents.get(tx, incident.id)
    told = entry(
        EntryKind.RUN_EXECUTED,
        f"{run.title}: {_progress(after)}: {_at_work(run).proposal.after_text}.",
        now=now,
        run=run.id,
        step=run.step,
        stage=done,
        after=outcome.after.value if outcome.after else None,
    )
    save(tx, before=before, after=before.redrawn(), entries=[told], now=now, tasks_too=[redraw_run(after, now=now)])
    if ramp.cancelled_by:
        _cancelled(tx, ctx, after, ramp.cancelled_by, now=now)


def _merged(run: ActionRun, outcome: Outcome) -> Outcome:
    """How everything that was done so far was left, as one reading."""
    earlier = run.outcome.after if run.outcome and run.outcome.after else Reading(value=[], facts={"parts": []})
    found = outcome.after or Reading(value=[], facts={"parts": []})
    readings = [Reading.model_validate(one) for one in (*earlier.facts["parts"], *found.facts["parts"])]
    return outcome.model_copy(update={"after": together(readings), "before": None})


def _in_doubt(tx: Tx, ctx: Context, run: ActionRun, outcome: Outcome, *, now: datetime) -> None:
    """Look again; what was put back once and is still not whole, or is not known for long, goes to a person."""
    assert run.ramp is not None
    if run.restored_at is not None or (run.started_at and now > run.started_at + _patience(run)):
        _ask(tx, ctx, run, f"After {_progress(run)} Muster could not find out how the next stands: {outcome.reason}", by=MUSTER, now=now)
        return
    kept = run.outcome.after if run.outcome else None
    runs.save(tx, run.with_(outcome=outcome.model_copy(update={"after": kept})), was=run.state, next_at=now + execute.LOOK_EVERY)


def _patience(run: ActionRun) -> timedelta:
    """Each stage may be looked for as long as a whole run."""
    done = run.ramp.done if run.ramp else 0
    return execute.LOOK_FOR * (done + 1)


def _stop(tx: Tx, ctx: Context, run: ActionRun, reason: str, *, now: datetime) -> ActionRun:
    """It failed on its way: what was done is taken back in reverse, by itself and once; where that is refused, a person is asked."""
    value = run.ramp.value if run.ramp else None
    failed = execute.conclude(tx, ctx, run, verdict=Verdict.FAILED, reason=reason, value=value, by=MUSTER, now=now, follow=False)
    try:
        undo.request(tx, ctx, failed, by=MUSTER, reason=f"It was stopped: {reason}", now=now)
    except Refused as refused:
        tasks.enqueue(tx, execute.call_owner(ctx, failed, f"{run.title} was stopped and is still in force in part. {refused}", now=now))
    return runs.get(tx, run.id)


def _ask(tx: Tx, ctx: Context, run: ActionRun, reason: str, *, by: Actor, now: datetime) -> ActionRun:
    """It goes no further, and a person says what becomes of what was done."""
    said = f"{reason} What was done stands: undo it, or say that it is enough."
    begun = run.ramp is not None and bool(run.ramp.done or run.ramp.at_work)
    if not begun:
        incident = incidents.get(tx, run.incident_id)
        release_locks(tx, incident, run)
        return stop.refuse(tx, run, reason=reason, now=now, by=by, tell=True)
    standing = run if run.executed_at else run.with_(executed_at=run.started_at or now)
    asked = execute.conclude(tx, ctx, standing, verdict=Verdict.INCONCLUSIVE, reason=said, value=None, by=by, now=now, follow=False)
    if mitigations.of_run(tx, run.id) is None:
        incident = incidents.get(tx, run.incident_id)
        action = action_of(ctx.shelf.pinned(tx, run.runbook), run)
        register.open_for(tx, ctx, incident, asked, after=action.undo.after, then=action.undo.then, now=now)
    return asked


def cancel(tx: Tx, ctx: Context, run: ActionRun, *, by: Actor, now: datetime) -> str:
    """Go no further than the stage that is at work (rule S17), by anyone who may run it; then it is asked what becomes of the rest.

    Raises:
        Refused: this person may not.
    """
    permit.must_be_allowed(tx, ctx, run, by=by, now=now)
    if run.state is not RunState.RUNNING or run.ramp is None:
        raise Refused("started", f"{run.title} is {run.state.value} already. Undo it instead.", audit=False)
    if run.ramp.cancelled_by:
        return f"{name_of(ctx, run.ramp.cancelled_by)} has stopped it already."
    stopping = run.with_(ramp=run.ramp.model_copy(update={"cancelled_by": by.id}))
    if run.ramp.at_work:
        runs.save(tx, stopping, was=run.state)
        tasks.enqueue(tx, redraw_run(stopping, now=now))
        return f"{run.title} stops when the stage that is at work is done. You are asked then what becomes of it."
    _cancelled(tx, ctx, stopping, by.id, now=now)
    return f"{run.title} goes no further. Its message asks what becomes of what was done."


def _cancelled(tx: Tx, ctx: Context, run: ActionRun, by: str, *, now: datetime) -> None:
    who = Actor.model_validate({"kind": "person", "id": by})
    _ask(tx, ctx, run, f"Stopped by {name_of(ctx, by)} after {_progress(run)}.", by=who, now=now)


def _progress(run: ActionRun) -> str:
    assert run.ramp is not None and run.plan is not None  # noqa: PT018 - a run in stages has both
    return f"{run.ramp.done} of {total(run.plan)} done"
