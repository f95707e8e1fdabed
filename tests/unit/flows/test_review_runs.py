"""A run under bad luck: a stopped worker, a pause in the middle, a refused undo, a promise that was given up."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from actions.testing import RecordingBackend
from bot.configuration import Configuration
from bot.duty import Duty
from bot.engine.worker import Worker
from bot.flows import act, approve, dialogs, execute, permit, rehearse, stop, trouble, undo
from bot.flows.context import Context, Shelf, person_actor
from bot.flows.errors import Refused
from bot.flows.respond import measure
from bot.oncall import OnCallFile
from runbooks.drill import Drill, DrillState
from runbooks.incident import Incident, Match
from runbooks.loading import Library
from runbooks.people import MUSTER, Actor
from runbooks.run import ActionRun, RunState, Verdict
from runbooks.severity import IncidentClass, Severity
from storage import drills, incidents, locks, mitigations, runbook_versions, runs, switches, tasks, traces
from storage.database import Database, Tx
from storage.errors import LeaseLost
from storage.tasks import Task
from tests import acting
from tests.flowing import LIBRARY, StandingClock, context

ANA, BEN = person_actor("ana", slack_id="U01ANA0000"), person_actor("ben", slack_id="U01BEN0000")
LOCK = "production|thing/reranker-v3"


class Stage:
    """One incident that follows the small runbook, over the recording backend."""

    def __init__(self, database: Database, **action: Any) -> None:
        self.book = acting.runbook(acting.action(**action))
        self.backend: RecordingBackend = acting.backend()
        self.clock = StandingClock()
        runner = acting.runner(self.backend)
        runner._now = self.clock.now  # the story's one clock
        people = Configuration.default()
        file = OnCallFile(plan=people.file.on_call, directory=people.directory, time_zone="UTC")
        self.ctx: Context = context(
            database,
            clock=self.clock,
            shelf=Shelf(Library(runbooks=(self.book,))),
            runner=runner,
            on_call=Duty(directory=people.directory, file=file, pagerduty=None),
        )
        self.incident: Incident = self.ctx.write(self._open)

    def _open(self, tx: Tx) -> Incident:
        runbook_versions.keep(tx, self.book, seen_at=self.clock.now())
        return incidents.add(
            tx,
            Incident(
                id=0,
                title="Slow",
                severity=Severity.SEV2,
                incident_class=IncidentClass.AVAILABILITY,
                service="answers",
                environment="production",
                owner="ml-platform",
                labels=acting.LABELS,
                match=Match(runbook=self.book.ref, score=1.0, reason="given"),
                group_key="g",
                began_at=self.clock.now(),
                opened_at=self.clock.now(),
            ),
        )

    def confirmed(self, *, by: Actor = ANA) -> ActionRun:
        """A run that is planned and confirmed, and waits for its execution."""
        ctx, now = self.ctx, self.clock.now()
        run = ctx.write(lambda tx: act.propose(tx, ctx, self.incident, "turn-up", by=by, now=now))
        self.work("plan")
        planned = self.run(run.id)
        assert planned.plan is not None, planned.reason
        plan_hash = planned.plan.hash
        ctx.write(lambda tx: act.confirm(tx, ctx, planned, plan_hash=plan_hash, by=by, now=now))
        return self.run(run.id)

    def executed(self) -> ActionRun:
        """A run that took effect and is being watched."""
        run = self.confirmed()
        self.work("execute")
        return self.run(run.id)

    def run(self, number: int) -> ActionRun:
        """The run as it stands."""
        return self.ctx.read(lambda tx: runs.get(tx, number))

    def claim(self, kind: str, *, lease: float = 45.0) -> Task:
        """Claim the next task of a kind."""
        (task,) = self.ctx.database.write(lambda tx: tasks.claim(tx, 1, lease, kinds=[kind]))
        return task

    def worker(self) -> Worker:
        """A worker over the flows that act."""
        flows = {"plan": act.plan, "execute": execute.execute, "undo": undo.undo, "look": execute.look, "measure": execute.watch}
        handlers = {kind: (lambda task, flow=flow: flow(self.ctx, task)) for kind, flow in flows.items()}
        return Worker(
            database=self.ctx.database,
            handlers=handlers,
            on_buried=lambda tx, task, error: trouble.buried(tx, self.ctx, task, error),
        )

    def work(self, kind: str) -> None:
        """Run the next task of a kind as the worker does."""
        self.worker().run(self.claim(kind))

    def lock(self) -> locks.Lock | None:
        """Who holds the target."""
        return self.ctx.read(lambda tx: locks.held(tx, [LOCK], now=self.clock.now())).get(LOCK)

    def bury(self, kind: str, error: str) -> None:
        """Give up the next task of a kind, as the worker does when its budget is used up."""
        task = self.claim(kind)

        def work(tx: Tx) -> None:
            tasks.bury(tx, task, error)
            trouble.buried(tx, self.ctx, task, error)

        self.ctx.write(work)

    def promised(self, prefix: str) -> list[Task]:
        """The open tasks whose key begins so."""

        def find(tx: Tx) -> list[Task]:
            keys = [row.key for row in tx.execute(text("SELECT key FROM tasks WHERE state = 'open' ORDER BY id"))]
            return [task for key in keys if key.startswith(prefix) and (task := tasks.get(tx, key))]

        return self.ctx.read(find)

    def pause(self) -> None:
        """Engage the kill switch."""
        value = {"by": "ben", "reason": "the backend lies", "at": self.clock.now().isoformat()}
        self.ctx.write(lambda tx: switches.put(tx, "paused", value))


@pytest.fixture
def stage(database: Database) -> Stage:
    """The story's beginning."""
    return Stage(database)


def test_a_worker_that_lost_its_lease_does_not_begin_the_run_a_second_time(stage: Stage) -> None:
    """Stopped between reading the run and claiming it, a worker changes nothing once another one has taken its task over."""
    run = stage.confirmed()
    stopped = stage.claim("execute", lease=-1.0)  # its lease is over
    stage.work("execute")
    assert stage.run(run.id).state is RunState.VERIFYING
    before = len(stage.backend.effects)
    with pytest.raises(LeaseLost):
        stage.ctx.write(lambda tx: execute._claim(tx, stage.ctx, run.id, _measured(stage), task=stopped))
    assert len(stage.backend.effects) == before == 1


def _measured(stage: Stage) -> Any:
    return measure(stage.ctx, stage.incident, stage.book.header.diagnostics[0])


def test_the_slower_of_two_workers_is_refused_also_before_the_other_has_begun(stage: Stage) -> None:
    """Whoever holds the task begins the run; an older attempt may not, or its outcome would be written by nobody."""
    run = stage.confirmed()
    stopped = stage.claim("execute", lease=-1.0)
    stage.claim("execute")  # another worker has it now and has not claimed the run yet
    with pytest.raises(LeaseLost):
        execute.execute(stage.ctx, stopped)
    assert stage.run(run.id).state is RunState.APPROVED
    assert stage.backend.effects == []


def test_a_pause_stops_a_run_that_is_taken_up_again_after_a_crash(stage: Stage) -> None:
    """A run that died before it took effect is not begun anew while everything is paused: it ends, and says why (rule S16)."""
    run = stage.confirmed()
    task = stage.claim("execute", lease=-1.0)
    stage.ctx.write(lambda tx: execute._claim(tx, stage.ctx, run.id, _measured(stage), task=task))  # and then the process died
    stage.ctx.database.write(tasks.adopt)
    stage.pause()
    stage.work("execute")
    ended = stage.run(run.id)
    assert ended.state is RunState.REFUSED
    assert "paused all actions" in ended.reason
    assert stage.backend.effects == []
    assert stage.lock() is None


def test_a_refused_automatic_undo_does_not_hold_back_the_verdict(database: Database) -> None:
    """A failed run is on record as failed also while a pause forbids to take it back; the owner is called instead (rules S16, S21)."""
    stage = Stage(database, verify=dict(acting.action().verify.model_dump(by_alias=True)) | {"otherwise": "undo"})
    run = stage.executed()
    stage.pause()
    verdict = Verdict.FAILED
    stage.ctx.write(
        lambda tx: execute.conclude(tx, stage.ctx, run, verdict=verdict, reason="p99 is 3 s.", value=3.0, by=MUSTER, now=stage.clock.now())
    )
    assert stage.run(run.id).state is RunState.FAILED
    assert stage.promised("say:call:")


def test_a_person_who_calls_is_heard_also_after_muster_has_called(stage: Stage) -> None:
    """Each who calls the owner gets a line of their own in the thread: the first call does not swallow the second."""
    run = stage.executed()
    failed = run.to(RunState.FAILED)
    stage.ctx.write(lambda tx: runs.save(tx, failed, was=run.state))
    now = stage.clock.now()
    stage.ctx.write(lambda tx: tasks.enqueue(tx, execute.call_owner(stage.ctx, failed, "It failed.", now=now)))
    stage.ctx.write(lambda tx: execute.escalate(tx, stage.ctx, failed, by=ANA, now=now))
    assert len(stage.promised("say:call:")) == 2


def test_a_lost_answer_is_not_called_a_crash(stage: Stage) -> None:
    """What Muster looked up because nobody answered it says so, and does not claim that Muster was interrupted."""
    run = stage.confirmed()
    task = stage.claim("execute")
    running = stage.ctx.write(lambda tx: execute._claim(tx, stage.ctx, run.id, _measured(stage), task=task))
    lost = running.to(RunState.UNKNOWN)
    stage.ctx.write(lambda tx: runs.save(tx, lost, was=running.state))
    assert lost.plan is not None
    found = stage.ctx.runner.reconcile(lost.plan)
    stage.ctx.write(lambda tx: execute._settle(tx, stage.ctx, run.id, found, looked=True))
    ended = stage.run(run.id)
    assert ended.state is RunState.REFUSED
    assert ended.reason.startswith("Muster got no clear answer to")
    assert "nothing was changed" in ended.reason


def test_what_a_person_saw_take_effect_has_an_end_like_everything_else(stage: Stage) -> None:
    """A run that Muster lost sight of and a person calls good stands in the register, with its end, and can be taken back (rule S23)."""
    run = stage.confirmed()
    task = stage.claim("execute")
    running = stage.ctx.write(lambda tx: execute._claim(tx, stage.ctx, run.id, _measured(stage), task=task))
    lost = running.to(RunState.UNKNOWN)
    stage.ctx.write(lambda tx: runs.save(tx, lost, was=running.state))
    now = stage.clock.now()
    stage.ctx.write(lambda tx: execute._give_to_person(tx, stage.ctx, lost, "nobody answers.", now=now))
    stage.ctx.write(lambda tx: execute.say_verdict(tx, stage.ctx, runs.get(tx, run.id), worked=True, by=ANA, now=now))
    item = stage.ctx.read(lambda tx: mitigations.of_run(tx, run.id))
    assert item is not None
    assert item.ends_at is not None
    assert stage.run(run.id).in_force


def test_a_run_whose_execution_was_given_up_before_it_began_ends(stage: Stage) -> None:
    """No run stays approved for ever: what never began is refused with the reason, and its button works again."""
    run = stage.confirmed()
    stage.bury("execute", "the runbook cannot be read")
    ended = stage.run(run.id)
    assert ended.state is RunState.REFUSED
    assert "nothing was changed" in ended.reason
    stage.ctx.write(lambda tx: act.propose(tx, stage.ctx, stage.incident, "turn-up", by=ANA, now=stage.clock.now()))


@pytest.mark.parametrize("kind", ["look", "measure"])
def test_a_watch_that_was_given_up_is_a_question_to_a_person(stage: Stage, kind: str) -> None:
    """Looking and measuring may fail for good: then the run is not clear, its target is free, and a person is asked."""
    run = stage.executed()
    if kind == "look":
        unknown = run.to(RunState.UNKNOWN)
        stage.ctx.write(lambda tx: runs.save(tx, unknown, was=run.state, next_at=stage.clock.now()))
    stage.clock.pass_(minutes=2)
    execute.sweep(stage.ctx)
    stage.bury(kind, "a mistake in Muster")
    assert stage.run(run.id).state is RunState.INCONCLUSIVE
    assert stage.lock() is None


def test_a_dialog_whose_plan_never_came_says_so(stage: Stage) -> None:
    """Nobody looks at a loading dialog for ever: when the plan was not made in its time, the dialog says it."""
    ctx, now = stage.ctx, stage.clock.now()
    run = ctx.write(lambda tx: act.propose(tx, ctx, stage.incident, "turn-up", by=ANA, now=now))
    ctx.write(lambda tx: act.attach_dialog(tx, run.id, "V1"))
    stage.clock.pass_(minutes=11)
    execute.sweep(ctx)
    assert stage.run(run.id).state is RunState.EXPIRED
    assert stage.promised(f"dialog:{run.id}:V1")


def test_nothing_is_decided_any_more_in_a_world_that_is_gone(stage: Stage) -> None:
    """After a drill's end its runs can be neither judged nor taken back: the press says why, and registers nothing."""
    run = stage.executed()
    unclear = run.to(RunState.INCONCLUSIVE)
    stage.ctx.write(lambda tx: runs.save(tx, unclear, was=run.state))
    now = stage.clock.now()

    def end(tx: Tx) -> None:
        before = incidents.get(tx, stage.incident.id)
        over = before.resolved(by="ana", resolution="over", now=now).model_copy(update={"drill_id": 7, "world": "drill-7"})
        incidents.save(tx, over, was=before.revision)

    stage.ctx.write(end)
    with pytest.raises(Refused, match="its world is gone"):
        stage.ctx.write(lambda tx: execute.say_verdict(tx, stage.ctx, unclear, worked=True, by=ANA, now=now))
    with pytest.raises(Refused, match="its world is gone"):
        stage.ctx.write(lambda tx: undo.request(tx, stage.ctx, unclear, by=ANA, reason="", now=now))


def test_an_undo_that_succeeds_forgets_why_an_earlier_one_did_not(stage: Stage) -> None:
    """What is taken back at the second try does not say any more that it was not, and offers nobody to take it back once more."""
    run = stage.executed()
    now = stage.clock.now()
    stage.ctx.write(lambda tx: undo.request(tx, stage.ctx, run, by=ANA, reason="", now=now))
    stage.ctx.write(lambda tx: undo.not_undone(tx, stage.ctx, runs.get(tx, run.id), "Not undone: no answer.", now=now))
    tried = stage.run(run.id)
    assert tried.reason == "Not undone: no answer."
    later = now + timedelta(seconds=1)
    stage.ctx.write(lambda tx: undo.request(tx, stage.ctx, tried, by=ANA, reason="", now=later))
    stage.work("undo")  # the first request's promise stands first in the target's lane, and finds the undo wanted
    done = stage.run(run.id)
    assert (done.state, done.reason) == (RunState.UNDONE, "")
    with pytest.raises(Refused, match="nothing to cancel"):
        stage.ctx.write(lambda tx: stop.cancel(tx, stage.ctx, done, by=ANA, now=later))


def test_a_drill_uses_up_nobodys_break_glass(stage: Stage) -> None:
    """Going without approval in rehearsals leaves the limit for the real thing untouched (rules S25, S27)."""

    def rehearsed(tx: Tx) -> None:
        drill = incidents.add(tx, stage.incident.model_copy(update={"drill_id": 7, "world": "drill-7", "group_key": "d"}))
        for number in (1, 2):
            once = acting.run_of(run_id=0).with_(incident_id=drill.id, key=f"d{number}", break_glass="We must learn it.")
            runs.add(tx, once)

    stage.ctx.write(rehearsed)
    for drill_id, used in ((None, []), (7, [True, True])):
        mine = stage.ctx.read(lambda tx, drill_id=drill_id: traces.since(tx, acting.NOW, drill_id=drill_id, person="ana"))
        assert [run.break_glass for run in mine] == used


def test_an_approval_after_its_time_counts_for_nothing(database: Database) -> None:
    """The minutes on the request are the minutes that it stands, also when no sweep has ended it yet (rule S8)."""
    stage = Stage(database, approval="one")
    waiting = stage.confirmed()
    assert waiting.state is RunState.AWAITING_APPROVAL
    stage.clock.pass_(minutes=31)
    with pytest.raises(Refused, match="the time to approve"):
        _approved(stage, waiting)
    assert stage.run(waiting.id).approvals == ()


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (RunState.AWAITING_APPROVAL, "it still waits"),
        (RunState.APPROVED, "is running Turn it up, since 02:00:00 UTC"),
        (RunState.VERIFYING, "ran Turn it up and Muster watches"),
        (RunState.UNDOING, "is being undone: Turn it up"),
    ],
)
def test_a_second_press_is_told_what_is_going_on(stage: Stage, state: RunState, told: str) -> None:
    """Who is at it, since when, and what can be done instead: true in every state (rule S11)."""
    sentence = permit.already(stage.ctx, acting.run_of(state=state))
    assert told in sentence
    assert "Ana Silva" in sentence


def test_the_target_is_held_for_the_whole_watch_however_late_it_began(stage: Stage) -> None:
    """A change that was found to have taken effect long after its claim is watched behind a lock to the end (rule S12)."""
    run = stage.confirmed()
    task = stage.claim("execute")
    running = stage.ctx.write(lambda tx: execute._claim(tx, stage.ctx, run.id, _measured(stage), task=task))
    lost = running.to(RunState.UNKNOWN)
    stage.ctx.write(lambda tx: runs.save(tx, lost, was=running.state))
    assert lost.plan is not None
    stage.backend.put("thing/reranker-v3", lost.plan.proposal.value)
    stage.clock.pass_(minutes=9)
    found = stage.ctx.runner.reconcile(lost.plan)
    stage.ctx.write(lambda tx: execute._settle(tx, stage.ctx, run.id, found, looked=True))
    watched, lock = stage.run(run.id), stage.lock()
    assert watched.verify_until_at is not None
    assert lock is not None
    assert lock.until_at > watched.verify_until_at
    assert lock.until_at - stage.clock.now() > execute.LOCK_SPARE


def _other_book(stage: Stage) -> None:
    """Another runbook beside the story's, to be followed instead."""
    other = stage.book.model_copy(update={"header": stage.book.header.model_copy(update={"id": "other-things"}), "hash": "o" * 64})
    stage.ctx.shelf.replace(Library(runbooks=(stage.book, other)))
    stage.ctx.write(lambda tx: runbook_versions.keep(tx, other, seen_at=stage.clock.now()))


def _rejected(stage: Stage) -> Incident:
    """Ben says that the other runbook is the right one."""
    _other_book(stage)

    def reject(tx: Tx) -> Incident:
        reply = dialogs.wrong_runbook(tx, stage.ctx, incidents.get(tx, 1), "other-things", by=BEN, now=stage.clock.now())
        assert reply.errors == {}
        return incidents.get(tx, 1)

    return stage.ctx.write(reject)


def _approved(stage: Stage, run: ActionRun) -> str:
    """Ben approves the run."""
    assert run.plan is not None
    plan_hash, now = run.plan.hash, stage.clock.now()
    return stage.ctx.write(lambda tx: approve.approve(tx, stage.ctx, run, plan_hash=plan_hash, granted=True, by=BEN, now=now))


@pytest.mark.parametrize("approval", ["one", "none"])
def test_s10_with_its_runbook_everything_that_waits_is_rejected(database: Database, approval: str) -> None:
    """After "Wrong runbook" a waiting request can be approved no more and its copies are redrawn; an approved run never begins."""
    stage = Stage(database, approval=approval)
    waiting = stage.confirmed()
    _rejected(stage)
    dropped = stage.run(waiting.id)
    assert (dropped.state, dropped.reason) == (RunState.CANCELLED, "INC-1 follows other-things now; nothing was changed.")
    if approval == "one":
        assert stage.promised(f"redraw:approval:{waiting.id}:")
        with pytest.raises(Refused, match="Nothing to decide any more"):
            _approved(stage, dropped)
    else:
        assert stage.promised(f"run:{waiting.id}:cancelled:")
        stage.work("execute")
    assert stage.backend.effects == []


def test_an_approved_run_that_is_dropped_says_so_wherever_it_was_shown(database: Database) -> None:
    """Its message and every copy of its request are drawn anew: nobody waits for a run that never starts."""
    stage = Stage(database, approval="one")
    waiting = stage.confirmed()
    _approved(stage, waiting)
    stage.clock.pass_(seconds=1)
    stage.ctx.write(lambda tx: stop.drop(tx, stage.ctx, stage.incident, reason="INC-1 is resolved.", now=stage.clock.now()))
    assert stage.run(waiting.id).state is RunState.CANCELLED
    assert stage.promised(f"run:{waiting.id}:cancelled:")
    assert len(stage.promised(f"redraw:approval:{waiting.id}:")) == 2


@pytest.mark.parametrize("way", ["dropped", "cancelled"])
def test_a_dialog_that_waits_for_its_plan_hears_that_there_will_be_none(database: Database, way: str) -> None:
    """A run that ends before it is planned fills the dialog that is open for it, once."""
    stage = Stage(database)
    ctx, now = stage.ctx, stage.clock.now()
    run = ctx.write(lambda tx: act.propose(tx, ctx, stage.incident, "turn-up", by=ANA, now=now))
    ctx.write(lambda tx: act.attach_dialog(tx, run.id, "V1"))
    if way == "dropped":
        ctx.write(lambda tx: stop.drop(tx, ctx, stage.incident, reason="INC-1 is resolved.", now=now))
    else:
        ctx.write(lambda tx: stop.cancel(tx, ctx, runs.get(tx, run.id), by=ANA, now=now))
    assert [task.args for task in stage.promised("dialog:")] == [{"run": run.id, "view": "V1"}]


def test_the_end_of_a_drill_redraws_what_was_in_the_middle_of_its_change(database: Database) -> None:
    """A run that nobody knows to have taken effect ends with its drill's world, and its message says so."""
    stage = Stage(database)
    ctx, now = stage.ctx, stage.clock.now()

    def rehearsed(tx: Tx) -> Drill:
        planned = rehearse.plan(tx, ctx, LIBRARY.all[0], at=now, now=now)
        incident = incidents.add(tx, stage.incident.model_copy(update={"drill_id": planned.id, "world": "w", "group_key": "d"}))
        runs.add(tx, acting.run_of(run_id=0, state=RunState.UNKNOWN).with_(incident_id=incident.id))
        running = planned.model_copy(update={"state": DrillState.RUNNING, "incident_id": incident.id, "world": "w"})
        drills.save(tx, running, was=planned.state)
        return running

    drill = ctx.write(rehearsed)
    ctx.write(lambda tx: rehearse.abort(tx, ctx, drill, by=ANA, now=now))
    (run,) = ctx.read(lambda tx: runs.in_states(tx, {RunState.INCONCLUSIVE}))
    assert [task.args["run"] for task in stage.promised("run:")] == [run.id]


@pytest.mark.parametrize("approval", ["one", "none"])
def test_s10_a_run_of_another_runbook_than_the_incidents_does_not_start(
    database: Database, approval: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a run was left waiting: the approval and the claim look themselves whether its runbook is still followed."""
    stage = Stage(database, approval=approval)
    waiting = stage.confirmed()
    monkeypatch.setattr(stop, "drop", lambda *_, **__: None)
    _rejected(stage)
    if approval == "one":
        with pytest.raises(Refused, match="INC-1 follows other-things v3 now, and Turn it up is of slow-things v3"):
            _approved(stage, waiting)
        assert stage.run(waiting.id).approvals == ()
    else:
        stage.work("execute")
        assert stage.run(waiting.id).state is RunState.REFUSED
        assert "follows other-things v3 now" in stage.run(waiting.id).reason
    assert stage.backend.effects == []
