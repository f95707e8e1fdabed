"""A safe action from the start to the verdict: claimed once, done, looked up when in doubt, watched until proven (safe-actions.md).

The claim is a transaction of its own before the call, so that a crash leaves a run that says "running" and is reconciled by
reading the world (rule S20); a run is never repeated blindly.
"""

from datetime import datetime, timedelta

import structlog

from actions.looking import TOOK_EFFECT
from actions.verification import judge, window
from actions.wording import number
from bot.flows import breaking, cleanup, mend, permit, register, standing, stop, undo
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.execution import action_of, diagnostic_of, load
from bot.flows.records import entry, redraw_run, save, say
from bot.flows.respond import measure
from bot.flows.rights import hold_locks, release_locks, take_locks
from bot.flows.sweeping import PUT_OFF, each
from bot.flows.wording import name_of
from bot.settlement import Settled, Settlement
from runbooks.incident import Incident
from runbooks.operation import Measurement, Outcome, OutcomeStatus
from runbooks.people import MUSTER, Actor
from runbooks.run import BEFORE_RUNNING, ActionRun, RampState, RunState, Sample, Verdict
from runbooks.runbook import Action, Otherwise, Runbook
from runbooks.timeline import EntryKind, NewEntry
from storage import incidents, mitigations, runs, tasks
from storage.database import Tx
from storage.killpoints import POINTS, reach
from storage.tasks import NewTask, Task

log = structlog.get_logger(__name__)

LOCK_SPARE = timedelta(minutes=10)
"""How long a lock outlives the longest watch, should nobody release it."""

HOLD = 60.0
"""Seconds that the task is held for the call itself, looking first included: longer than the runner's limits for both together."""

LOOK_EVERY = timedelta(seconds=10)
LOOK_FOR = timedelta(minutes=10)
"""How long an unknown outcome is looked up before a person is asked."""

DONE_NOW = "nothing had been changed, so it was done now"
"""What is said of a run that died before its change, and was resumed."""

STUCK = timedelta(seconds=60)
"""When a measurement that was promised did not come, it is promised again."""


def execute(ctx: Context, task: Task) -> Settlement:
    """Do it, once. Found running already means that an earlier attempt died in the middle: then look first."""
    run_id = int(task.args["run"])
    run, incident, runbook = ctx.read(lambda tx: load(tx, ctx, run_id))
    if run.state is RunState.APPROVED:
        before = measure(ctx, incident, diagnostic_of(runbook, run))
        run = ctx.write(lambda tx: _claim(tx, ctx, run_id, before, task=task), name="claim_run")
        if run.state is not RunState.RUNNING:
            return Settled(result={"state": run.state.value})
        if run.ramp is not None:
            return Settled(result={"stages": "begin"})  # they fall due one after the other; see `bot.flows.ramp`
        reach(POINTS["K5"])
        outcome = _call(ctx, run, incident, runbook)
        return Settled(apply=lambda tx: _settle(tx, ctx, run_id, outcome, looked=False))
    if run.state is not RunState.RUNNING or run.ramp is not None:
        return Settled(result={"state": run.state.value})
    ctx.write(lambda tx: tasks.renew(tx, task, HOLD), name="hold_run")
    outcome = _look_first(ctx, run, incident, runbook)
    return Settled(apply=lambda tx: _settle(tx, ctx, run_id, outcome, looked=True))


def _call(ctx: Context, run: ActionRun, incident: Incident, runbook: Runbook) -> Outcome:
    assert run.plan is not None
    return ctx.runner_for(incident).execute(run.plan, runbook=runbook, labels=incident.labels, key=run.key)


def _look_first(ctx: Context, run: ActionRun, incident: Incident, runbook: Runbook) -> Outcome:
    """What the world says of an attempt that died. Only where it surely did not happen, and soon after, it is done now."""
    assert run.plan is not None
    looked = mend.as_one(ctx, run, incident, run.plan, ctx.runner_for(incident).reconcile(run.plan, key=run.key))
    fresh = run.started_at is not None and ctx.now() - run.started_at < ctx.policy.plan_life
    if looked.status is not OutcomeStatus.REFUSED or not fresh or mend.was_mended(ctx, run):
        return looked
    try:
        ctx.read(lambda tx: must_still_be_wanted(tx, ctx, run.id))
    except Refused as refused:
        return looked.model_copy(update={"reason": str(refused)})
    log.info("run.resumed", run=run.id, looked=looked.reason)
    done = _call(ctx, run, incident, runbook)
    return done.model_copy(update={"reason": DONE_NOW}) if done.status is OutcomeStatus.APPLIED else done


def must_still_be_wanted(tx: Tx, ctx: Context, run_id: int) -> None:
    """What stops a run before its start also stops its second start: a pause, a right that is gone (rules S4, S16).

    Raises:
        Refused: with the reason.
    """
    run, incident, runbook = load(tx, ctx, run_id)
    action, now = action_of(runbook, run), ctx.now()
    permit.must_pass(tx, ctx, incident, run, action, now=now)
    permit.must_be_entitled(tx, ctx, incident, run, action, now=now)


def _claim(tx: Tx, ctx: Context, run_id: int, before: Measurement, *, task: Task) -> ActionRun:
    """The run's one claim: the guards again (rule S5), the target's lock (S12), and "running" on record, in one transaction.

    Fenced by the task's attempt: a worker that was stopped for longer than its lease must not begin what another one has begun.
    """
    tasks.renew(tx, task, HOLD)
    run, incident, runbook = load(tx, ctx, run_id)
    now = ctx.now()
    if run.state is not RunState.APPROVED:
        return run
    action = action_of(runbook, run)
    by = permit.requester(run)
    if not incident.is_open:
        return stop.refuse(tx, run, reason=f"{incident.ref} is resolved; nothing was changed.", now=now, by=by, tell=True)
    try:
        permit.must_pass(tx, ctx, incident, run, action, now=now)
        permit.must_be_entitled(tx, ctx, incident, run, action, now=now)
    except Refused as refused:
        return stop.refuse(tx, run, reason=str(refused), now=now, by=by, tell=True)
    until = now + timedelta(seconds=action.verify.settle + action.verify.within) + LOCK_SPARE
    lock = take_locks(tx, incident, run, owner=run.requested_by, until_at=until, now=now)
    if lock is not None:
        reason = f"{name_of(ctx, lock.owner)} is changing {lock.target} since {lock.since_at:%H:%M:%S} UTC. You will see the result here."
        return stop.refuse(tx, run, reason=reason, now=now, by=by, tell=True)
    value = before.value if before.error is None else None
    staged = RampState(next_at=now) if action.ramp else None
    running = run.to(RunState.RUNNING, started_at=now, value_before=value, unit=before.unit, ramp=staged)
    runs.save(tx, running, was=run.state, next_at=now if staged else None)
    said = entry(
        EntryKind.RUN_STARTED, f"{run.title} starts on {run.target}.", now=now, run=run.id, step=run.step, key=run.key, before=value
    )
    save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now)
    return running


def _settle(tx: Tx, ctx: Context, run_id: int, outcome: Outcome, *, looked: bool) -> None:
    """Write what is known of the attempt: it took effect, it surely did not, or nobody knows yet."""
    run, incident, runbook = load(tx, ctx, run_id)
    if run.state not in {RunState.RUNNING, RunState.UNKNOWN}:
        return
    now = ctx.now()
    match outcome.status:
        case OutcomeStatus.APPLIED:
            applied(tx, ctx, run, incident=incident, action=action_of(runbook, run), outcome=outcome, looked=looked, now=now)
        case OutcomeStatus.REFUSED:
            not_applied(tx, run, incident, outcome, looked=looked, now=now)
            breaking.note(tx, ctx, incident, runs.get(tx, run.id), now=now)
        case OutcomeStatus.UNKNOWN:
            _unknown(tx, ctx, run, incident, outcome, now=now)


def applied(
    tx: Tx, ctx: Context, run: ActionRun, *, incident: Incident, action: Action, outcome: Outcome, looked: bool, now: datetime
) -> None:
    """It took effect: from now on it is watched, and it stands in the register."""
    assert run.plan is not None
    executed = run.to(RunState.VERIFYING, executed_at=now, outcome=outcome)
    starts_at, ends_at = window(action.verify, executed_at=now)
    executed = executed.with_(verify_from_at=starts_at, verify_until_at=ends_at)
    runs.save(tx, executed, was=run.state, next_at=starts_at)
    # The watch begins now, perhaps long after the claim: the target is held until its end.
    until = ends_at + LOCK_SPARE
    hold_locks(tx, incident, run, owner=run.requested_by, until_at=until, now=now)
    words = run.plan.words()
    said = []
    if looked:
        text = f"{_doubt(run)} {run.title}. It looked: {_seen(outcome, words)}. Watching again."
        said.append(entry(EntryKind.RUN_RECONCILED, text, now=now, run=run.id, step=run.step))
    said.append(
        entry(
            EntryKind.RUN_EXECUTED,
            f"{run.title}: {words}, asked for by {run.requested_by}.",
            now=now,
            run=run.id,
            step=run.step,
            before=run.plan.before.value,
            after=outcome.after.value if outcome.after else run.plan.proposal.value,
            plan=run.plan.hash,
        )
    )
    save(tx, before=incident, after=incident.redrawn(), entries=said, now=now, tasks_too=[redraw_run(executed, now=now)])
    if mitigations.of_run(tx, run.id) is None:  # a ramp's first stage has opened it
        register.open_for(tx, ctx, incident, executed, after=action.undo.after, then=action.undo.then, now=now)


def _seen(outcome: Outcome, words: str) -> str:
    """What a look has shown of a change that is in force."""
    if outcome.reason == DONE_NOW:
        return f"{DONE_NOW}: {words}"
    found = (outcome.reason or TOOK_EFFECT).rstrip(".")
    return found.replace(TOOK_EFFECT.rstrip("."), f"{words} took effect").replace("It was found", "it was found")


def not_applied(tx: Tx, run: ActionRun, incident: Incident, outcome: Outcome, *, looked: bool, now: datetime) -> None:
    """It surely did not take effect: the run ends, and the reason is said."""
    reason = outcome.reason or "Nothing was changed."
    if looked:
        reason = f"{_doubt(run)} {run.title}. It looked: nothing was changed. {reason} Press again if it is still wanted."
    refused = run.to(RunState.REFUSED, ended_at=now, reason=reason, outcome=outcome)
    runs.save(tx, refused, was=run.state, next_at=None)
    release_locks(tx, incident, run)
    said = entry(EntryKind.RUN_REFUSED, f"{run.title} was not run: {reason}", now=now, run=run.id, step=run.step, reason=reason)
    save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=[redraw_run(refused, now=now)])


def _doubt(run: ActionRun) -> str:
    """Why somebody had to look: an answer that nobody got, or this process's own end."""
    return "Muster got no clear answer to" if run.state is RunState.UNKNOWN else "Muster was interrupted in the middle of"


def _unknown(tx: Tx, ctx: Context, run: ActionRun, incident: Incident, outcome: Outcome, *, now: datetime) -> None:
    """Look again until it is known; after a while a person is asked, because never is not an answer."""
    waited = run.state is RunState.UNKNOWN and run.started_at is not None and now > run.started_at + LOOK_FOR
    if waited or run.restored_at is not None:  # what was put back once and is still not whole is a person's
        _give_to_person(tx, ctx, mend.in_part(tx, ctx, run, incident, outcome, now=now), outcome.reason, now=now)
        return
    unknown = run if run.state is RunState.UNKNOWN else run.to(RunState.UNKNOWN)
    unknown = unknown.with_(reason=outcome.reason, outcome=outcome)
    runs.save(tx, unknown, was=run.state, next_at=now + LOOK_EVERY)
    if run.state is RunState.UNKNOWN:
        return
    said = entry(EntryKind.RUN_UNKNOWN, f"{run.title}: {outcome.reason}", now=now, run=run.id, step=run.step)
    save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=[redraw_run(unknown, now=now)])


def _give_to_person(tx: Tx, ctx: Context, run: ActionRun, reason: str, *, now: datetime) -> None:
    text = f"Muster could not find out whether it took effect: {reason} Look at {run.target} yourself, then say what is true."
    conclude(tx, ctx, run, verdict=Verdict.INCONCLUSIVE, reason=text, value=None, by=MUSTER, now=now)


def look(ctx: Context, task: Task) -> Settlement:
    """Read the world for a run whose outcome is unknown."""
    run_id = int(task.args["run"])
    run, incident, _ = ctx.read(lambda tx: load(tx, ctx, run_id))
    if run.state is not RunState.UNKNOWN or run.plan is None:
        return Settled(result={"state": run.state.value})
    outcome = mend.as_one(ctx, run, incident, run.plan, ctx.runner_for(incident).reconcile(run.plan, key=run.key))
    return Settled(apply=lambda tx: _settle(tx, ctx, run_id, outcome, looked=True))


def sweep(ctx: Context) -> int:
    """Whatever is due about runs: measure, look again, expire."""

    def work(tx: Tx) -> int:
        now = ctx.now()
        due = runs.due(tx, now, limit=50)
        return each(tx, due, lambda run: _due(tx, ctx, run, now=now), put_off=lambda run: runs.wake(tx, run.id, now + PUT_OFF))

    return ctx.write_if(lambda tx: runs.due(tx, ctx.now(), limit=1), work, name="runs")


def _due(tx: Tx, ctx: Context, run: ActionRun, *, now: datetime) -> None:
    stamp = int(now.timestamp() * 1000)
    match run.state:
        case RunState.VERIFYING:
            tasks.enqueue(tx, NewTask(key=f"measure:{run.id}:{stamp}", kind="measure", args={"run": run.id}, lane=f"measure:{run.id}"))
            runs.wake(tx, run.id, now + STUCK)
        case RunState.UNKNOWN:
            tasks.enqueue(tx, NewTask(key=f"look:{run.id}:{stamp}", kind="look", args={"run": run.id}, lane=f"measure:{run.id}"))
            runs.wake(tx, run.id, now + STUCK)
        case RunState.RUNNING if run.ramp is not None:
            tasks.enqueue(tx, NewTask(key=f"stage:{run.id}:{stamp}", kind="stage", args={"run": run.id}, lane=f"stage:{run.id}"))
            runs.wake(tx, run.id, now + STUCK)
        case RunState.VERIFIED if run.to_clean:
            tasks.enqueue(tx, NewTask(key=f"clean:{run.id}:{stamp}", kind="clean", args={"run": run.id}, lane=f"measure:{run.id}"))
            runs.wake(tx, run.id, now + STUCK)
        case state if state in BEFORE_RUNNING and state is not RunState.APPROVED:
            stop.expire(tx, ctx, run, now=now)
        case _:
            runs.wake(tx, run.id, None)


def watch(ctx: Context, task: Task) -> Settlement:
    """Measure once for a run that is being watched, and judge (rule S21)."""
    run_id = int(task.args["run"])
    run, incident, runbook = ctx.read(lambda tx: load(tx, ctx, run_id))
    if run.state is not RunState.VERIFYING:
        return Settled(result={"state": run.state.value})
    measured = measure(ctx, incident, diagnostic_of(runbook, run))
    return Settled(apply=lambda tx: _judge(tx, ctx, run_id, measured))


def _judge(tx: Tx, ctx: Context, run_id: int, measured: Measurement) -> None:
    run, incident, runbook = load(tx, ctx, run_id)
    if run.state is not RunState.VERIFYING or run.executed_at is None:
        return
    now = ctx.now()
    sample = Sample(at=measured.measured_at, value=measured.value if measured.error is None else None)
    watched = run.with_(samples=(*run.samples, sample))
    action = action_of(runbook, run)
    judgement = judge(action.verify, watched.samples, executed_at=run.executed_at, now=now, unit=run.unit)
    if judgement.verdict is None:
        runs.save(tx, watched, was=run.state, next_at=judgement.next_at)
        save(tx, before=incident, after=incident.redrawn(), entries=[], now=now, tasks_too=[redraw_run(watched, now=now)])
        return
    reason = _words(watched, action, runbook, judgement.reason)
    conclude(tx, ctx, watched, verdict=judgement.verdict, reason=reason, value=judgement.value, by=MUSTER, now=now)


def _words(run: ActionRun, action: Action, runbook: Runbook, reason: str) -> str:
    title = diagnostic_of(runbook, run).title
    found = (value for value in (run.value_before, _last(run)) if value is not None)
    values = " → ".join(number(value, run.unit, beside=action.verify.holds.limit) for value in found)
    return f"{title} {values or 'has no data'}. {reason}"


def _last(run: ActionRun) -> float | None:
    return next((sample.value for sample in reversed(run.samples) if sample.value is not None), None)


_STATE = {Verdict.VERIFIED: RunState.VERIFIED, Verdict.FAILED: RunState.FAILED, Verdict.INCONCLUSIVE: RunState.INCONCLUSIVE}


def conclude(
    tx: Tx,
    ctx: Context,
    run: ActionRun,
    *,
    verdict: Verdict,
    reason: str,
    value: float | None,
    by: Actor,
    now: datetime,
    follow: bool = True,
) -> ActionRun:
    """The verdict, on record with the values before and after; then, unless told not to `follow`, what the runbook declares for it."""
    incident = incidents.get(tx, run.incident_id)
    judged = run.to(
        _STATE[verdict],
        verdict=verdict,
        verdict_at=now,
        verdict_reason=reason,
        value_after=value if value is not None else run.value_after,
        ended_at=now,
    )
    runs.save(tx, judged, was=runs.get(tx, run.id).state, next_at=None)
    release_locks(tx, incident, run)
    said: list[NewEntry] = [
        entry(
            EntryKind.RUN_VERDICT,
            f"{run.title}: {verdict.value}. {reason}",
            now=now,
            actor=by,
            run=run.id,
            step=run.step,
            verdict=verdict.value,
            before=run.value_before,
            after=value,
            unit=run.unit,
        )
    ]
    after = incident.redrawn()
    if verdict is Verdict.VERIFIED and incident.is_open and incident.mitigated_at is None:
        after = incident.mitigated(now=now)
        said.append(entry(EntryKind.INCIDENT_MITIGATED, f"Mitigated: {run.title} is {verdict.value}.", now=now, run=run.id))
    save(tx, before=incident, after=after, entries=said, now=now, tasks_too=[redraw_run(judged, now=now)])
    standing.judged(tx, ctx, judged, now=now)
    breaking.note(tx, ctx, incident, judged, now=now)
    if follow and verdict is not Verdict.VERIFIED and by == MUSTER:
        _otherwise(tx, ctx, judged, now=now)
    return cleanup.begin(tx, ctx, judged, incident, now=now)


def _said(run: ActionRun) -> str:
    return "did not work" if run.state is RunState.FAILED else "could not be proven to work"


def _otherwise(tx: Tx, ctx: Context, run: ActionRun, *, now: datetime) -> None:
    """What the runbook declares when it did not work: undo by itself once, call somebody, or ask (rules S21, S22)."""
    action = action_of(ctx.shelf.pinned(tx, run.runbook), run)
    if action.verify.otherwise is Otherwise.UNDO and run.in_force and run.restored_at is None:
        try:
            undo.request(tx, ctx, run, by=MUSTER, reason=f"It {_said(run)}.", now=now)
        except Refused as refused:  # paused, or somebody is at the target: the verdict stands all the same, and a person is asked
            text = f"{run.title} {_said(run)} and is still in force. {refused}"
            tasks.enqueue(tx, call_owner(ctx, run, text, now=now))
    elif action.verify.otherwise is Otherwise.ESCALATE or run.state is RunState.FAILED:
        tasks.enqueue(tx, call_owner(ctx, run, f"{run.title} {_said(run)}: {run.verdict_reason}", now=now))


def call_owner(ctx: Context, run: ActionRun, text: str, *, now: datetime, by: Actor = MUSTER) -> NewTask:
    """A line in the thread that names the people on duty; one for each who calls and each state that they call about."""
    runbook = ctx.shelf.runbook(run.runbook.id)
    people = [person.id for person in ctx.on_call.on_call(runbook.header.owner, now)] if runbook else []
    return say(key=f"call:{run.id}:{run.state.value}:{by.id}", screen="notice", incident_id=run.incident_id, text=text, mentions=people)


def say_verdict(tx: Tx, ctx: Context, run: ActionRun, *, worked: bool, by: Actor, now: datetime) -> str:
    """A person decides what Muster could not measure."""
    if run.state is not RunState.INCONCLUSIVE:
        raise Refused("nothing_to_decide", f"{run.title} is {run.state.value}; nothing to decide any more.", audit=False)
    permit.must_be_allowed(tx, ctx, run, by=by, now=now)
    verdict = Verdict.VERIFIED if worked else Verdict.FAILED
    seen = run if run.executed_at or not worked else run.with_(executed_at=run.started_at or now)
    reason = f"{name_of(ctx, by.id)} says that it {'worked' if worked else 'did not work'}."
    judged = conclude(tx, ctx, seen, verdict=verdict, reason=reason, value=None, by=by, now=now)
    if seen is not run:  # Muster never saw it take effect; now that a person says so, it has an owner, an end and a way back (rule S23)
        action = action_of(ctx.shelf.pinned(tx, run.runbook), run)
        register.open_for(tx, ctx, incidents.get(tx, run.incident_id), judged, after=action.undo.after, then=action.undo.then, now=now)
    return f"Noted: {run.title} {'worked' if worked else 'did not work'}."


def escalate(tx: Tx, ctx: Context, run: ActionRun, *, by: Actor, now: datetime) -> str:
    """A person calls the owner about a run that did not work. It changes nothing, so everybody whom Muster knows may."""
    incident = incidents.get(tx, run.incident_id)
    owner = ctx.shelf.pinned(tx, run.runbook).header.owner
    said = entry(EntryKind.ESCALATED, f"{by.id} calls {owner}: {run.title} {_said(run)}.", now=now, actor=by, run=run.id)
    call = call_owner(ctx, run, f"{name_of(ctx, by.id)} needs help: {run.title} {_said(run)}.", now=now, by=by)
    save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=[call])
    if not ctx.on_call.on_call(owner, now):
        return f"Nobody is on call for {owner}; your call stands in the thread. Ask somebody else as well."
    return f"{owner} is called in the thread."
