"""Autonomy: what proposes itself, what has earned a countdown, who may stop it, and what forbids it (mission D4, rule S30)."""

from datetime import timedelta
from typing import Any

import pytest

from bot.flows import act, autonomy, execute, respond, standing, undo
from bot.flows.errors import Refused
from bot.ports import PressKind
from runbooks.loading import Library
from runbooks.people import MUSTER
from runbooks.proposing import Level, SuggestionState
from runbooks.run import RunState, Verdict
from storage import incidents, mitigations, runs, switches, tasks
from storage.database import Database
from tests import acting, suggesting
from tests.flowing import Policy
from tests.suggesting import ALLOWED, ANA, EVA, Stage

K, S = PressKind, SuggestionState
HIGH = (0.9, 0.9, 0.9)


def counting(database: Database, **more: Any) -> Stage:
    """A stage on which the action has earned autonomy and counts down."""
    stage = Stage(database, **more)
    stage.earned()
    stage.measured(*HIGH)
    one = stage.consider()
    assert one is not None
    assert one.state is S.COUNTING, one.note
    return stage


def test_s30_what_holds_is_proposed_with_its_reason_and_its_plan(database: Database) -> None:
    """After it has held for as long as the runbook says, the action is proposed once, in words, with what it would change."""
    stage = Stage(database)
    stage.measured(0.9)
    assert stage.consider() is None
    stage.clock.pass_(seconds=60)
    stage.measured(0.9, 0.9)
    one = stage.consider()
    assert one is not None
    assert (one.state, one.level) == (S.OPEN, Level.SUGGEST)
    assert one.reason == "Load is 90 %, over 50 %, for 2 min now."
    assert one.change == "thing/reranker-v3 value 2 → 4"
    assert one.note == "It may run by itself after 3 clean runs; it has 0."
    assert stage.runs() == []
    assert [entry.summary for entry in stage.entries("proposal.made")] == [f"Muster proposes Turn it up: {one.reason}"]
    stage.measured(0.9)
    stage.consider()
    assert len(stage.proposals()) == 1


@pytest.mark.parametrize("values", [(0.9, None, 0.9), (0.9, 0.4, 0.9), (0.9, 0.9, None)], ids=str)
def test_s30_missing_data_and_a_break_are_no_reason(database: Database, values: tuple[float | None, ...]) -> None:
    """A measurement without data, or one that is well, breaks what must hold throughout."""
    stage = Stage(database)
    stage.measured(*values)
    assert stage.consider() is None


def test_s30_against_a_baseline_the_past_is_asked_of_the_source(database: Database) -> None:
    """A share above a value that cannot be known proposes nothing; a source that cannot look back is no reason."""
    stage = Stage(database, propose_when={"diagnostic": "load", "up": "20%", "baseline": "1h"})
    stage.measured(*HIGH)
    assert stage.consider() is None


def test_s30_what_no_longer_holds_is_withdrawn(database: Database) -> None:
    """A proposal whose reason is gone ends by itself and says so."""
    stage = Stage(database)
    stage.measured(*HIGH)
    assert stage.consider()
    stage.clock.pass_(seconds=60)
    stage.measured(0.2)
    one = stage.consider()
    assert one is not None
    assert one.state is S.WITHDRAWN
    assert "no longer holds" in stage.entries("proposal.ended")[0].summary


def test_s30_nobody_allowed_is_nobody(database: Database) -> None:
    """Deny by default: however many clean runs there are, without a word in muster.yaml nothing counts down."""
    stage = Stage(database, policy=Policy())
    stage.earned(5)
    stage.measured(*HIGH)
    one = stage.consider()
    assert one is not None
    assert one.state is S.OPEN
    stage.pass_(600)
    assert stage.backend.effects == []


def test_s30_what_was_earned_runs_once_after_its_countdown(database: Database) -> None:
    """Three clean runs in a row: it says when it runs, and at that moment it runs once, as Muster's, for the owner's person on duty."""
    stage = counting(database)
    one = stage.proposals()[0]
    assert one.runs_at == stage.clock.now() + timedelta(minutes=2)
    stage.pass_(115)
    assert stage.work("execute") == 0
    stage.pass_(10)
    assert stage.work("execute") == 1
    (run,) = stage.runs()
    assert (run.state, run.requested_by, run.automatic) == (RunState.VERIFYING, MUSTER.id, True)
    assert [effect.value for effect in stage.backend.effects] == [{"value": 4}]
    assert stage.proposals()[0].state is S.BEGUN
    item = stage.ctx.read(lambda tx: mitigations.of_run(tx, run.id))
    assert item is not None
    assert item.owner == run.on_behalf_of == one.answers
    assert stage.ctx.directory.person(item.owner)


def test_s30_two_replicas_begin_it_once(database: Database) -> None:
    """However often its time is found to be over, and by however many, there is one run."""
    stage = counting(database)
    stage.clock.pass_(seconds=121)
    for _ in range(3):
        autonomy.sweep(stage.ctx)
    stage.work("begin_proposed")
    again = tasks.NewTask(key="again", kind="begin_proposed", args={"proposal": stage.proposals()[0].id})
    stage.ctx.write(lambda tx: tasks.enqueue(tx, again) and None)
    stage.work("begin_proposed")
    assert stage.work("execute") == 1
    assert len(stage.backend.effects) == 1


def test_s30_anyone_known_may_stop_it(database: Database) -> None:
    """Eva may run nothing, and stops the countdown; who did it is on record, and the same is not proposed again at once."""
    stage = counting(database)
    reply = stage.press(K.PROPOSED_STOP, by=EVA)
    assert "stopped" in str(reply.whisper)
    assert stage.proposals()[0].ended_by == "eva"
    assert "Eva" in stage.entries("proposal.stopped")[0].summary
    assert [run.state for run in stage.runs()] == [RunState.CANCELLED]
    stage.pass_(300)
    stage.measured(*HIGH)
    stage.consider()
    assert [one.state for one in stage.proposals()] == [S.STOPPED]
    assert stage.backend.effects == []


def test_s30_a_person_need_not_wait(database: Database) -> None:
    """Run now makes it that person's run, by that person's right; who has none is refused and the countdown goes on."""
    stage = counting(database)
    with pytest.raises(Refused, match="you may not run"):
        stage.press(K.PROPOSED_RUN, by=EVA)
    assert stage.proposals()[0].state is S.COUNTING
    stage.press(K.PROPOSED_RUN, by=ANA)
    (run,) = stage.runs()
    assert (run.state, run.requested_by, run.automatic, run.on_behalf_of) == (RunState.APPROVED, "ana", False, None)
    assert stage.proposals()[0].state is S.TAKEN
    stage.pass_(300)
    assert stage.work("execute") == 1
    assert len(stage.backend.effects) == 1


def test_s30_at_the_end_it_is_measured_again(database: Database) -> None:
    """What is well by then is not done; what cannot be measured then is left to a person."""
    stage = counting(database)
    stage.answers(0.3)
    stage.pass_(125)
    assert stage.proposals()[0].state is S.WITHDRAWN
    assert stage.backend.effects == []


def test_s30_what_cannot_be_measured_is_left_to_a_person(database: Database) -> None:
    """Without data at the end of the countdown nothing runs; the proposal stays for somebody who decides."""
    stage = counting(database)
    del stage.backend.answers["load"]
    stage.pass_(125)
    one = stage.proposals()[0]
    assert one.state is S.OPEN
    assert "a person decides" in one.note
    assert stage.backend.effects == []


def test_s30_a_late_countdown_is_left_to_a_person(database: Database) -> None:
    """After a long stop nothing runs by itself on an old word."""
    stage = counting(database)
    stage.clock.pass_(minutes=20)
    stage.pass_(5)
    assert stage.proposals()[0].state is S.OPEN
    assert stage.work("execute") == 0


def test_s30_a_beginning_that_was_held_up_is_left_to_a_person(database: Database) -> None:
    """Also where only its task came late: the transaction that begins looks at the clock itself."""
    stage = counting(database)
    stage.clock.pass_(seconds=125)
    autonomy.sweep(stage.ctx)
    stage.clock.pass_(minutes=20)
    assert stage.work("begin_proposed") == 1
    (one,) = stage.proposals()
    assert (one.state, one.note) == (S.OPEN, "Its time came while Muster could not look; a person decides.")
    assert stage.work("execute") == 0


def test_s30_a_newer_runbook_is_no_longer_run_by_itself(database: Database) -> None:
    """Whoever has changed the runbook meanwhile may have meant just this: the countdown ends, and a person decides."""
    stage = counting(database)
    newer = stage.book.model_copy(update={"hash": "f" * 64})
    stage.ctx.shelf.replace(Library(runbooks=(newer,)))
    stage.pass_(125)
    (one,) = stage.proposals()
    assert (one.state, one.note) == (S.OPEN, "The runbook slow-things has changed since it was proposed; a person decides.")
    assert stage.work("execute") == 0


def test_s16_a_pause_ends_the_countdown(database: Database) -> None:
    """Under the kill switch nothing runs by itself, and the proposal says why."""
    stage = counting(database)
    said = {"by": "ana", "reason": "we look first", "at": stage.clock.now().isoformat()}
    stage.ctx.write(lambda tx: switches.put(tx, "paused", said))
    stage.pass_(125)
    one = stage.proposals()[0]
    assert one.state is S.OPEN
    assert "paused" in one.note
    assert stage.backend.effects == []


def test_s30_a_person_at_the_target_is_not_overtaken(database: Database) -> None:
    """While somebody's own run waits for approval, runs or is watched in this incident, nothing begins beside it."""
    stage = counting(database)
    now = stage.clock.now()
    mine = stage.ctx.write(lambda tx: act.propose(tx, stage.ctx, stage.incident, "turn-up", by=ANA, now=now))
    stage.work("plan")
    planned = stage.ctx.read(lambda tx: runs.get(tx, mine.id))
    assert planned.plan is not None
    plan_hash = planned.plan.hash
    stage.ctx.write(lambda tx: act.confirm(tx, stage.ctx, planned, plan_hash=plan_hash, by=ANA, now=now))
    stage.pass_(130)
    assert stage.proposals()[0].state is S.TAKEN
    assert [run.state for run in stage.runs() if run.automatic] == [RunState.CANCELLED]


def test_s14_a_repetition_never_begins_by_itself(database: Database) -> None:
    """The same change on the same target within its window is for a person: no countdown, and the reason is said."""
    stage = Stage(database)
    stage.earned()
    stage.ran(days_ago=0.1)
    stage.measured(*HIGH)
    one = stage.consider()
    assert one is not None
    assert one.state is S.OPEN
    assert "Not run by itself" in one.note


def test_s30_muster_yaml_bounds_the_day(database: Database) -> None:
    """More than the allowed number in a day is for a person."""
    stage = Stage(database, policy=Policy(autonomous=ALLOWED.autonomous, automatic_per_day=1))
    stage.earned()
    stage.ran(days_ago=0.5, automatic=True, requested_by="muster", target="thing/other", step="turn-up")
    stage.measured(*HIGH)
    one = stage.consider()
    assert one is not None
    assert one.state is S.OPEN
    assert "muster.yaml allows 1" in one.note


def test_s30_a_resolved_incident_takes_its_proposals_with_it(database: Database) -> None:
    """Nothing runs for an incident that is over, and its buttons say so."""
    stage = counting(database)

    def resolve(tx: Any) -> None:
        before = incidents.get(tx, stage.incident.id)
        incidents.save(tx, before.resolved(by="ana", resolution="", now=stage.clock.now()), was=before.revision)

    stage.ctx.write(resolve)
    stage.pass_(130)
    assert stage.proposals()[0].state is S.WITHDRAWN
    with pytest.raises(Refused, match="is resolved; nothing was changed"):
        stage.press(K.PROPOSED_STOP)
    assert stage.backend.effects == []


def watched(stage: Stage) -> int:
    """The countdown is over and the run took effect."""
    stage.pass_(125)
    stage.work("execute")
    (run,) = stage.runs()
    assert run.state is RunState.VERIFYING
    return run.id


def test_s30_one_failed_verification_demotes_and_tells_the_owner(database: Database) -> None:
    """A run that did not help takes the autonomy away at once; the owner's person is told, and the next is only proposed."""
    stage = counting(database)
    number = watched(stage)

    def fail(tx: Any) -> None:
        run = runs.get(tx, number)
        execute.conclude(tx, stage.ctx, run, verdict=Verdict.FAILED, reason="It did not help.", value=0.9, by=MUSTER, now=stage.clock.now())

    stage.ctx.write(fail)
    (lost,) = stage.entries("autonomy.lost")
    assert "no longer runs by itself: its last run is failed" in lost.summary
    told = stage.ctx.read(tasks.backlog)
    assert told.open > 0
    assert _level(stage) is Level.SUGGEST


def test_s30_an_undo_within_the_watch_demotes(database: Database) -> None:
    """A person who takes it back while it is watched takes the autonomy back with it."""
    stage = counting(database)
    number = watched(stage)
    run = stage.ctx.read(lambda tx: runs.get(tx, number))
    stage.ctx.write(lambda tx: undo.request(tx, stage.ctx, run, by=ANA, reason="", now=stage.clock.now()))
    assert "ana undid it while it was watched" in stage.entries("autonomy.lost")[0].summary
    assert _level(stage) is Level.SUGGEST


def test_s30_the_last_clean_run_earns_it(database: Database) -> None:
    """The verdict that completes the row says so, with how many of the runs were drills."""
    stage = Stage(database)
    stage.ran(days_ago=20)
    stage.ran(days_ago=19, drill=7)
    assert _level(stage) is Level.SUGGEST
    now = stage.clock.now()
    mine = stage.ctx.write(lambda tx: act.propose(tx, stage.ctx, stage.incident, "turn-up", by=ANA, now=now))
    stage.answers(0.9)
    stage.work("plan")
    planned = stage.ctx.read(lambda tx: runs.get(tx, mine.id))
    assert planned.plan is not None
    plan_hash = planned.plan.hash
    stage.ctx.write(lambda tx: act.confirm(tx, stage.ctx, planned, plan_hash=plan_hash, by=ANA, now=now))
    stage.work("execute")
    stage.answers(0.2)
    for _ in range(40):
        stage.clock.pass_(seconds=10)
        execute.sweep(stage.ctx)
        stage.work("measure")
    assert stage.ctx.read(lambda tx: runs.get(tx, mine.id)).state is RunState.VERIFIED
    assert "3 clean runs in a row, 1 of them in drills" in stage.entries("autonomy.earned")[0].summary
    assert _level(stage) is Level.AUTOMATIC


def test_s30_a_changed_action_starts_anew(database: Database) -> None:
    """Clean runs of another content are another action's; a new title or another cost is none."""
    stage = Stage(database, book=acting.runbook(suggesting.action(guards={"cooldown": "20m", "at_most": 2})))
    old = acting.runbook(suggesting.action())
    stage.earned(book=old.model_copy(update={"hash": "o" * 64, "header": old.header.model_copy(update={"version": 2})}))
    assert _level(stage) is Level.SUGGEST


def test_s30_other_words_keep_what_was_earned(database: Database) -> None:
    """A new title and other words on cost leave the row as it is."""
    stage = Stage(database)
    old = acting.runbook(suggesting.action(title="Turn up", cost={"money": "little", "quality": "none", "latency": "none"}))
    stage.earned(book=old.model_copy(update={"hash": "o" * 64, "header": old.header.model_copy(update={"version": 2})}))
    assert _level(stage) is Level.AUTOMATIC


def _level(stage: Stage) -> Level | None:
    step = stage.book.action("turn-up")
    assert step is not None
    return stage.ctx.read(lambda tx: standing.of_action(tx, stage.ctx, stage.book, step, service="answers", now=stage.clock.now())).level


def _rounds(stage: Stage, minutes: int) -> int:
    """So many minutes of the sweep that measures, each with what it begins; how often somebody was asked."""
    asked = 0
    for _ in range(minutes):
        stage.clock.pass_(seconds=60)
        respond.remeasure(stage.ctx)
        asked += stage.work("diagnose")
        stage.work("consider")
    return asked


def test_s30_what_comes_true_in_the_second_hour_is_proposed(database: Database) -> None:
    """After its first hour an incident is still watched for what its runbook proposes by, and the card is left alone meanwhile."""
    stage = Stage(database)
    stage.ctx.write(lambda tx: incidents.wake(tx, stage.incident.id, stage.clock.now()))
    stage.answers(0.2)
    _rounds(stage, 65)
    revision = stage.ctx.read(lambda tx: incidents.get(tx, stage.incident.id)).revision
    assert _rounds(stage, 5) == 5
    assert stage.ctx.read(lambda tx: incidents.get(tx, stage.incident.id)).revision == revision
    assert stage.proposals() == []
    stage.answers(0.9)
    _rounds(stage, 5)
    (one,) = stage.proposals()
    assert one.reason == "Load is 90 %, over 50 %, for 2 min now."


def test_s30_who_mitigated_is_not_watched_any_more(database: Database) -> None:
    """Nobody is asked about a mitigated incident after its first hour."""
    stage = Stage(database)
    stage.ctx.write(lambda tx: incidents.wake(tx, stage.incident.id, stage.clock.now()))
    stage.answers(0.2)
    _rounds(stage, 62)
    assert _rounds(stage, 3) == 3
    before = stage.ctx.read(lambda tx: incidents.get(tx, stage.incident.id))
    stage.ctx.write(lambda tx: incidents.save(tx, before.mitigated(now=stage.clock.now()), was=before.revision))
    assert _rounds(stage, 5) == 0


def test_s30_a_runbook_that_proposes_nothing_is_not_watched(database: Database) -> None:
    """After its first hour nobody is asked about an incident whose runbook proposes nothing."""
    stage = Stage(database, propose_when=None, autonomy=None)
    stage.ctx.write(lambda tx: incidents.wake(tx, stage.incident.id, stage.clock.now()))
    assert _rounds(stage, 60) > 50
    _rounds(stage, 2)
    assert _rounds(stage, 5) == 0


def test_s30_what_nobody_answers_is_proposed_ever_more_seldom(database: Database) -> None:
    """What ran out after half an hour comes again half an hour later, and the next time an hour later: a thread is for people."""
    stage = Stage(database)
    stage.measured(*HIGH)
    made: list[int] = []
    for minute in range(0, 230, 2):
        if (one := stage.consider()) and len(stage.proposals()) > len(made):
            made.append(minute)
            assert one.state is S.OPEN
        stage.clock.pass_(seconds=120)
        autonomy.sweep(stage.ctx)
        stage.measured(0.9)
    assert made == [0, 60, 150]
