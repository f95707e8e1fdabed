"""A run in stages under bad luck: a pause, a night's sleep, a part that fails, a silent far side, a person who stops it (rules S13, S17, S24)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from actions import breaker
from actions.contract import Rejected
from actions.testing import Chaos, RecordingBackend
from bot.configuration import Configuration
from bot.duty import Duty
from bot.engine.worker import Worker
from bot.flows import act, execute, ramp, trouble, undo
from bot.flows.context import Context, Shelf, person_actor
from bot.flows.rights import lock_name
from bot.oncall import OnCallFile
from runbooks.incident import Incident, Match
from runbooks.loading import Library
from runbooks.operation import Call, Plan, Reading
from runbooks.run import ActionRun, RunState
from runbooks.severity import IncidentClass, Severity
from runbooks.value import Json
from storage import breakers, incidents, locks, mitigations, runbook_versions, runs, switches, tasks
from storage.database import Database, Tx
from tests import acting
from tests.flowing import StandingClock, context

ANA, BEN = person_actor("ana", slack_id="U01ANA0000"), person_actor("ben", slack_id="U01BEN0000")
NAMES = ("a", "b", "c", "d")
STAGED = {
    "uses": "sequence",
    "with": {},
    "targets": [],
    "steps": [{"uses": "thing.set", "with": {"target": name, "value": 9}} for name in NAMES],
    "parameters": {},
    "ramp": {"pause": "1m", "stop_when": "> 1"},
    "cost": {"money": "none", "quality": "none", "latency": "none"},
}


class Refusing(RecordingBackend):
    """A recording that refuses to change some things."""

    refuses: frozenset[str] = frozenset()

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """As the recording does, unless it is one of those."""
        if call.target in self.refuses:
            raise Rejected("It is closed.")
        return super().apply(call, value, expected=expected, key=key, timeout=timeout)


class Ramped:
    """An incident and a run of four parts in stages, over the recording backend."""

    def __init__(self, database: Database, **action: Any) -> None:
        self.book = acting.runbook(acting.action(**{**STAGED, **action}))
        self.far = Refusing(answers={"load": {"value": 0.4}})
        for number, name in enumerate(NAMES, start=1):
            self.far.put(name, {"value": number})
        self.clock = StandingClock()
        runner = acting.runner(self.far)
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
        given: dict[str, Any] = {
            "id": 0, "title": "Slow", "severity": Severity.SEV2, "incident_class": IncidentClass.AVAILABILITY, "service": "answers",
            "environment": "production", "owner": "ml-platform", "labels": acting.LABELS, "group_key": "g",
            "match": Match(runbook=self.book.ref, score=1.0, reason="given"), "began_at": self.clock.now(), "opened_at": self.clock.now(),
        }  # fmt: skip
        return incidents.add(tx, Incident(**given))

    def confirmed(self) -> ActionRun:
        """The run, planned and confirmed."""
        ctx, now = self.ctx, self.clock.now()
        run = ctx.write(lambda tx: act.propose(tx, ctx, self.incident, "turn-up", by=ANA, now=now))
        self.work("plan")
        planned = self.run(run.id)
        assert planned.plan is not None, planned.reason
        plan_hash = planned.plan.hash
        ctx.write(lambda tx: act.confirm(tx, ctx, planned, plan_hash=plan_hash, by=ANA, now=now))
        return self.run(run.id)

    def begun(self) -> ActionRun:
        """The run after its first stage."""
        run = self.confirmed()
        self.work("execute")
        self.stage()
        return self.run(run.id)

    def stage(self, **passes: float) -> None:
        """Let time pass, sweep, and work the stage that is due."""
        self.clock.pass_(**passes)
        execute.sweep(self.ctx)
        self.work("stage")

    def run(self, number: int = 1) -> ActionRun:
        """The run as it stands."""
        return self.ctx.read(lambda tx: runs.get(tx, number))

    def work(self, kind: str) -> None:
        """Run the next task of a kind as the worker does."""
        flows = {"plan": act.plan, "execute": execute.execute, "stage": ramp.stage, "undo": undo.undo}
        handlers = {kind: (lambda task, flow=flow: flow(self.ctx, task)) for kind, flow in flows.items()}
        worker = Worker(
            database=self.ctx.database, handlers=handlers, on_buried=lambda tx, task, error: trouble.buried(tx, self.ctx, task, error)
        )
        (task,) = self.ctx.database.write(lambda tx: tasks.claim(tx, 1, 45.0, kinds=[kind]))
        worker.run(task)

    def values(self) -> list[int]:
        """How the things stand."""
        return [self.far.things[name].value["value"] for name in NAMES]

    def pause(self, by: str | None) -> None:
        """Engage the kill switch, or let it go."""
        value = {"by": by, "reason": "the backend lies", "at": self.clock.now().isoformat()} if by else None
        self.ctx.write(lambda tx: switches.put(tx, "paused", value))

    def broken(self) -> list[str]:
        """What the breaker has taken out of service, by step."""
        return [one.step for one in self.ctx.read(breakers.open_ones)]

    def held(self) -> dict[str, int]:
        """Who holds which of the things, by run."""
        names = [lock_name(self.incident, name) for name in NAMES]
        found = self.ctx.read(lambda tx: locks.held(tx, names, now=self.clock.now()))
        return {name.split("|")[1]: lock.run_id for name, lock in found.items()}


@pytest.fixture
def story(database: Database) -> Ramped:
    """The story's beginning."""
    return Ramped(database)


def test_one_then_two_then_the_rest_and_then_it_is_watched(story: Ramped) -> None:
    """Each stage waits for its pause; after the last the whole is verified; every part is locked from the first on."""
    run = story.begun()
    assert (story.values(), run.state, story.held()) == ([9, 2, 3, 4], RunState.RUNNING, dict.fromkeys(NAMES, run.id))
    story.clock.pass_(seconds=30)
    assert execute.sweep(story.ctx) == 0, "the pause was cut short"
    story.stage(seconds=30)
    assert story.values() == [9, 9, 9, 4]
    story.stage(seconds=60)
    assert (story.values(), story.run().state) == ([9, 9, 9, 9], RunState.VERIFYING)
    assert len(story.ctx.read(lambda tx: mitigations.of_incident(tx, 1))) == 1
    assert story.run().outcome.after.value == [{"value": 9}] * 4  # type: ignore[union-attr]


def test_missing_data_does_not_stop_it_and_a_bad_value_does(story: Ramped) -> None:
    """No data between two stages forbids nothing; over its limit it stops, and what was done is taken back in reverse by itself."""
    story.begun()
    story.far.answers = {}
    story.stage(seconds=60)
    assert story.values() == [9, 9, 9, 4]
    story.far.answers = {"load": {"value": 1.5}}
    story.stage(seconds=60)
    assert (story.run().state, story.values()) == (RunState.UNDOING, [9, 9, 9, 4])
    assert "after 3 of 4 done" in story.run().verdict_reason
    story.work("undo")
    assert (story.run().state, story.values(), story.held()) == (RunState.UNDONE, [1, 2, 3, 4], {})
    assert [effect.target for effect in story.far.effects[3:]] == ["c", "b", "a"]


def test_a_part_that_fails_takes_back_every_stage_before_it(story: Ramped) -> None:
    """The third part is refused in the second stage: its stage is put back at once, the first stage by the undo that follows."""
    story.begun()
    story.far.refuses = frozenset({"c"})
    story.stage(seconds=60)
    assert (story.values(), story.run().state) == ([9, 2, 3, 4], RunState.UNDOING)
    story.work("undo")
    assert (story.values(), story.run().state) == ([1, 2, 3, 4], RunState.UNDONE)


def test_a_silent_far_side_is_looked_up_and_not_asked_again(story: Ramped) -> None:
    """No answer in the second stage: nothing is repeated; when it is seen not to have come, the ramp stops and is taken back."""
    story.begun()
    story.far.chaos = Chaos.HANG
    story.stage(seconds=60)
    before = len(story.far.effects)
    run = story.run()
    assert (run.state, run.ramp.at_work if run.ramp else 0) == (RunState.RUNNING, 2)
    story.stage(seconds=10)
    assert (story.run().state, len(story.far.effects)) == (RunState.UNDOING, before)
    story.work("undo")
    assert story.values() == [1, 2, 3, 4]


def test_a_pause_between_two_stages_stops_it_and_asks(story: Ramped) -> None:
    """Paused: no further part is touched, and after the pause a person takes back what was done."""
    story.begun()
    story.pause("ben")
    story.stage(seconds=60)
    run = story.run()
    assert (run.state, story.values()) == (RunState.INCONCLUSIVE, [9, 2, 3, 4])
    assert "paused all actions" in run.verdict_reason
    story.pause(None)
    story.ctx.write(lambda tx: undo.request(tx, story.ctx, run, by=BEN, reason="", now=story.clock.now()))
    story.work("undo")
    assert (story.run().state, story.values()) == (RunState.UNDONE, [1, 2, 3, 4])


def test_what_was_left_lying_does_not_go_on_by_itself(story: Ramped) -> None:
    """After an hour without anybody at it, the next stage is not begun: a person is asked, and says so or takes it back."""
    story.begun()
    story.stage(hours=1)
    assert (story.run().state, story.values()) == (RunState.INCONCLUSIVE, [9, 2, 3, 4])
    assert "left lying after 1 of 4 done" in story.run().verdict_reason


def test_a_person_stops_it_between_two_stages_or_within_one(story: Ramped) -> None:
    """Between two it ends at once; within one it ends when that is done; a second press is told who was first."""
    run = story.begun()
    at_work = run.with_(ramp=run.ramp.model_copy(update={"at_work": 2}) if run.ramp else None)
    story.ctx.write(lambda tx: runs.save(tx, at_work, was=run.state))
    said = story.ctx.write(lambda tx: ramp.cancel(tx, story.ctx, at_work, by=BEN, now=story.clock.now()))
    assert "stops when the stage that is at work is done" in said
    assert "Ben" in story.ctx.write(lambda tx: ramp.cancel(tx, story.ctx, story.run(), by=ANA, now=story.clock.now()))
    story.stage(seconds=60)
    run = story.run()
    assert (run.state, story.values()) == (RunState.INCONCLUSIVE, [9, 9, 9, 4])
    assert "Stopped by Ben" in run.verdict_reason
    assert "3 of 4 done" in run.verdict_reason


def test_a_lock_on_one_part_refuses_the_whole_and_takes_none(story: Ramped) -> None:
    """Somebody is at the third thing: the sequence does not begin, and holds none of the others."""
    run = story.confirmed()
    until = story.clock.now() + timedelta(minutes=5)
    name = lock_name(story.incident, "c")
    story.ctx.write(lambda tx: locks.take(tx, name, run_id=99, owner="ben", until_at=until, now=story.clock.now()))
    story.work("execute")
    assert (story.run().state, story.held(), story.values()) == (RunState.REFUSED, {"c": 99}, [1, 2, 3, 4])
    assert "c" in story.run(run.id).reason


def test_given_up_within_a_stage_it_is_a_persons(story: Ramped) -> None:
    """The worker gave the stage up: the run is inconclusive and can be taken back, whatever the stage has done."""
    run = story.begun()
    story.clock.pass_(seconds=60)
    execute.sweep(story.ctx)
    (task,) = story.ctx.database.write(lambda tx: tasks.claim(tx, 1, 45.0, kinds=["stage"]))

    def bury(tx: Tx) -> None:
        tasks.bury(tx, task, "its budget is used up")
        trouble.buried(tx, story.ctx, task, "its budget is used up")

    story.ctx.write(bury)
    assert story.run(run.id).state is RunState.INCONCLUSIVE
    assert story.ctx.read(lambda tx: tx.execute(text("SELECT count(*) FROM runs")).scalar()) == 1


@pytest.mark.parametrize("guard", [None, "S13"])
def test_s13_without_its_threshold_a_ramp_goes_on_into_the_trouble(
    story: Ramped, guard: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over its limit it stops; with the look at the limit switched off it goes on, so the look is what stops it."""
    story.begun()
    story.far.answers = {"load": {"value": 1.5}}
    if guard:
        monkeypatch.setattr(ramp, "_too_bad", lambda *_: None)
    story.stage(seconds=60)
    assert (story.values() == [9, 9, 9, 4]) == bool(guard)


@pytest.mark.parametrize("guard", [None, "S12"])
def test_s12_without_the_locks_of_its_parts_a_sequence_begins_beside_another(
    story: Ramped, guard: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that another holds refuses the whole; with the parts' names switched off it begins, so they are what refuses it."""
    run = story.confirmed()
    until, name = story.clock.now() + timedelta(minutes=5), lock_name(story.incident, "c")
    story.ctx.write(lambda tx: locks.take(tx, name, run_id=99, owner="ben", until_at=until, now=story.clock.now()))
    if guard:
        monkeypatch.setattr(Plan, "targets", ())
    story.work("execute")
    assert (story.run(run.id).state is RunState.RUNNING) == bool(guard)


def test_s15_a_ramp_that_the_far_side_refuses_at_once_counts_and_a_paused_one_does_not(story: Ramped) -> None:
    """The first stage is refused: that is a bad end as any other's; stopped by a pause before it, it says nothing about the action."""
    story.ctx = replace(story.ctx, policy=replace(story.ctx.policy, bad_ends=1))
    run = story.confirmed()
    story.work("execute")
    story.pause("ben")
    story.stage()
    assert (story.run(run.id).state, story.held(), story.broken()) == (RunState.REFUSED, {}, [])
    assert breaker.ended_badly(story.run(run.id)) is None
    story.pause(None)
    story.clock.pass_(hours=1)
    run = story.confirmed()
    story.work("execute")
    story.far.refuses = frozenset(NAMES)
    story.stage()
    assert (story.run(run.id).state, story.values(), story.broken()) == (RunState.REFUSED, [1, 2, 3, 4], ["turn-up"])


@pytest.mark.parametrize("pause", ["5m", "1h"])
def test_s12_between_two_stages_every_part_stays_locked_however_long_the_pause(database: Database, pause: str) -> None:
    """Until the next stage is begun, at the latest moment at which it may be, nobody else takes a part."""
    story = Ramped(database, ramp={"pause": pause, "stop_when": "> 1"})
    run = story.begun()
    assert run.ramp is not None
    assert run.ramp.next_at is not None
    story.clock.at = run.ramp.next_at + story.ctx.policy.plan_life
    assert story.held() == dict.fromkeys(NAMES, run.id)
    story.stage()
    assert story.values() == [9, 9, 9, 4]


def test_s12_a_stage_never_shortens_what_is_held_for_longer(story: Ramped) -> None:
    """The claim holds for the longest watch; the stages that follow leave that end where it is."""
    run = story.confirmed()
    story.work("execute")
    name, until = lock_name(story.incident, "a"), story.clock.now() + timedelta(hours=3)
    story.ctx.write(lambda tx: locks.take(tx, name, run_id=run.id, owner="ana", until_at=until, now=story.clock.now()))
    story.stage()
    assert story.ctx.read(lambda tx: locks.held(tx, [name], now=story.clock.now()))[name].until_at == until
