"""An undo that was asked for and is kept from its end: by a pause, by somebody else, by a far side that does not answer."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from actions.testing import Chaos
from bot.flows import execute, mitigate, undo
from runbooks.people import MUSTER, Actor
from runbooks.run import ActionRun, CleanItem, RunState, Verdict
from storage import locks, mitigations, runs
from storage.database import Database, Tx
from tests.unit.flows.test_review_runs import ANA, LOCK, Stage


@pytest.fixture
def stage(database: Database) -> Stage:
    """The story's beginning."""
    return Stage(database)


def _verified(stage: Stage, *, to_clean: tuple[CleanItem, ...] = ()) -> ActionRun:
    """A run that took effect and is proven; with what it left to be cleaned up."""
    run, now = stage.executed(), stage.clock.now()
    judged = stage.ctx.write(
        lambda tx: execute.conclude(tx, stage.ctx, run, verdict=Verdict.VERIFIED, reason="It holds.", value=0.1, by=MUSTER, now=now)
    )
    left = judged.with_(cleanup=to_clean)
    stage.ctx.write(lambda tx: runs.save(tx, left, was=judged.state, next_at=now if to_clean else None))
    return left


def _requested(stage: Stage, run: ActionRun, *, by: Actor = ANA) -> None:
    stage.ctx.write(lambda tx: undo.request(tx, stage.ctx, run, by=by, reason="", now=stage.clock.now()))


def _again(stage: Stage) -> None:
    """The next attempt's time has come."""
    stage.ctx.write(lambda tx: tx.execute(text("UPDATE tasks SET due_at = 0 WHERE state = 'open' AND kind = 'undo'")) and None)


def test_a_pause_stops_an_undo_that_was_asked_for_before(stage: Stage) -> None:
    """Whoever stops everything stops also what only waits to be carried out; it says who did, and the target is free (rule S16)."""
    run = _verified(stage)
    _requested(stage, run)
    stage.pause()
    before = len(stage.backend.effects)
    stage.work("undo")
    kept = stage.run(run.id)
    assert kept.state is RunState.VERIFIED
    assert "paused all actions" in kept.reason
    assert "Not run" not in kept.reason
    assert len(stage.backend.effects) == before
    assert stage.lock() is None


@pytest.mark.parametrize(
    ("chaos", "state"), [(Chaos.HANG, RunState.VERIFIED), (Chaos.AFTER, RunState.UNDONE)], ids=["did-not-happen", "took-effect"]
)
def test_an_attempt_in_doubt_is_looked_at_also_while_paused(stage: Stage, chaos: Chaos, state: RunState) -> None:
    """Looking changes nothing: what took effect before the pause is on record as taken back; what did not is not tried again."""
    run = _verified(stage)
    _requested(stage, run)
    stage.backend.chaos = chaos
    stage.work("undo")
    before = len(stage.backend.effects)
    stage.pause()
    _again(stage)
    stage.work("undo")
    assert stage.run(run.id).state is state
    assert len(stage.backend.effects) == before
    assert stage.lock() is None


def test_each_attempt_of_an_undo_holds_its_target_anew(stage: Stage) -> None:
    """An undo lasts longer than its first lock: nobody else begins on the target between two attempts (rule S12)."""
    run = _verified(stage)
    _requested(stage, run)
    stage.clock.pass_(minutes=9)
    stage.backend.chaos = Chaos.HANG
    stage.work("undo")
    lock = stage.lock()
    assert lock is not None
    assert lock.run_id == run.id
    assert lock.until_at == stage.clock.now() + undo.LOCK_FOR


def test_an_undo_gives_way_to_who_took_its_target_meanwhile(stage: Stage) -> None:
    """When its lock has ended and another run holds the target, nothing is put back under that run's hands: it says whose they are."""
    run = _verified(stage)
    _requested(stage, run)
    later = stage.clock.pass_(minutes=11)
    until = later + timedelta(minutes=5)
    stage.ctx.write(lambda tx: locks.take(tx, LOCK, run_id=run.id + 1, owner="ben", until_at=until, now=later))
    before = len(stage.backend.effects)
    stage.work("undo")
    kept, lock = stage.run(run.id), stage.lock()
    assert kept.state is RunState.VERIFIED
    assert "Ben" in kept.reason
    assert len(stage.backend.effects) == before
    assert lock is not None
    assert lock.owner == "ben"


def test_a_revert_that_fails_later_is_asked_about_each_day(stage: Stage) -> None:
    """What was to end by itself and could not be taken back is nobody's to forget: its owner is asked, and it is not tried again (S22, S23)."""
    run = _verified(stage)
    stage.clock.pass_(hours=4, minutes=1)
    for _ in range(2):  # the reminder that is overdue, and the end
        mitigate.sweep(stage.ctx)
    assert stage.run(run.id).state is RunState.UNDOING
    stage.backend.put("thing/reranker-v3", {"value": 50}, by="ben")
    stage.work("undo")
    assert stage.run(run.id).state is RunState.VERIFIED
    for day in range(3):
        mitigate.sweep(stage.ctx)
        assert len(stage.promised("say:mitigation:")) == 2 * (day + 1)  # in the thread, and to the owner
        stage.clock.pass_(days=1)
    assert stage.run(run.id).state is RunState.VERIFIED
    assert stage.promised("undo:") == []


def test_an_undo_that_fails_before_the_end_leaves_the_end_as_it_was(stage: Stage) -> None:
    """Somebody's own try too early asks nobody: the reminder and the declared end come at their time."""
    run = _verified(stage)
    item = stage.ctx.read(lambda tx: mitigations.of_run(tx, run.id))
    _requested(stage, run)
    stage.backend.put("thing/reranker-v3", {"value": 50}, by="ben")
    stage.work("undo")
    assert stage.ctx.read(lambda tx: mitigations.of_run(tx, run.id)) == item
    assert stage.ctx.read(lambda tx: mitigations.due(tx, stage.clock.now())) == []


@pytest.mark.parametrize(("measured", "goes_on"), [("load", True), (None, False)], ids=["measured", "by-hand"])
def test_a_measured_clean_up_goes_on_when_the_run_was_not_taken_back(stage: Stage, measured: str | None, goes_on: bool) -> None:
    """A run that stands after all is measured on for what it left behind; what a person ticks wakes nobody."""
    run = _verified(stage, to_clean=(CleanItem(title="The load is low again", diagnostic=measured),))
    _requested(stage, run)
    stage.backend.put("thing/reranker-v3", {"value": 50}, by="ben")
    stage.work("undo")

    def due(tx: Tx) -> list[int]:
        return [one.id for one in runs.due(tx, stage.clock.now())]

    assert stage.ctx.read(due) == ([run.id] if goes_on else [])
    execute.sweep(stage.ctx)
    assert bool(stage.promised(f"clean:{run.id}:")) is goes_on
