"""App Home as a view of the database: what runs by itself, what is paused, what is out of service."""

from datetime import timedelta

import pytest

from bot.flows import breaking, home, pausing
from bot.flows.front import Desk
from bot.flows.proposing import QUIET
from bot.ports import Press, PressKind, Visitor
from runbooks.drill import Drill, DrillState
from runbooks.people import Person
from runbooks.proposing import SuggestionState
from runbooks.screens import HomeScreen
from storage import breakers, drills, incidents, tasks
from storage.breakers import Breaker
from storage.database import Database
from tests.suggesting import ANA, EVA, Stage

SLACK = "U01ANA0000"


@pytest.fixture
def stage(database: Database) -> Stage:
    """An action that has earned its countdown, and counts down."""
    one = Stage(database)
    one.earned()
    one.measured(0.9, 0.9, 0.9, 0.9)
    made = one.consider()
    assert made is not None
    assert made.state is SuggestionState.COUNTING
    return one


def seen(stage: Stage, person: str | None = "ana") -> HomeScreen:
    """Somebody's App Home now."""
    who: Person | None = stage.ctx.directory.person(person) if person else None
    return stage.ctx.read(lambda tx: home.screen(tx, stage.ctx, who))


def test_d4_a_countdown_stands_in_app_home_with_its_stop(stage: Stage) -> None:
    """Who, what and when, with Stop for everybody whom Muster knows; somebody unknown sees it without buttons."""
    (one,) = seen(stage).proposals
    assert one.shown.by == "Muster"
    assert one.shown.proposal.runs_at == stage.proposals()[-1].runs_at
    assert one.shown.buttons == ("stop", "run")
    assert [one.shown.buttons for one in seen(stage, None).proposals] == [()]


def test_d4_what_was_stopped_is_seen_for_half_an_hour(stage: Stage) -> None:
    """Who has stopped it stands there without buttons, and is gone after the time in which it is not proposed again."""
    stage.press(PressKind.PROPOSED_STOP, by=EVA)
    (one,) = seen(stage).proposals
    assert one.shown.buttons == ()
    assert one.shown.outcome.startswith("Stopped by Eva Lind at ")
    stage.clock.pass_(seconds=QUIET.total_seconds())
    assert seen(stage).proposals == ()


def test_nothing_of_a_resolved_incident_is_proposed_in_app_home(stage: Stage) -> None:
    """What was stopped in an incident that is over is no news."""
    stage.press(PressKind.PROPOSED_STOP)
    now = stage.clock.now()
    stage.ctx.write(
        lambda tx: incidents.save(
            tx, (it := incidents.get(tx, stage.incident.id)).resolved(by="ana", resolution="", now=now), was=it.revision
        )
    )
    assert seen(stage).proposals == ()


def test_s16_app_home_says_that_everything_is_paused(stage: Stage) -> None:
    """By whom by name, since when and why; nothing of it when actions may run."""
    assert seen(stage).pause is None
    now = stage.clock.now()
    stage.ctx.write(lambda tx: pausing.set_pause(tx, by=ANA, reason="we look first", at=now))
    found = seen(stage).pause
    assert found is not None
    assert (found.by, found.since_at, found.reason) == ("Ana Silva", now, "we look first")


def test_s15_app_home_names_what_is_out_of_service(stage: Stage) -> None:
    """An action that the breaker holds stands there with since when, until somebody puts it back; its message then says so and no more."""
    held = Breaker(
        runbook=stage.book.id, step="turn-up", title="Turn it up", failures=3, run_id=1, incident_id=1, opened_at=stage.clock.now()
    )
    stage.ctx.write(lambda tx: breakers.put(tx, held))
    (one,) = seen(stage).out_of_service
    assert (one.title, one.since_at, one.decided) == ("Turn it up", held.opened_at, None)
    stage.ctx.write(
        lambda tx: breaking.reset(tx, stage.ctx, stage.book.id, "turn-up", reason="The quota was too small.", by=ANA, now=stage.clock.now())
    )
    assert seen(stage).out_of_service == ()
    told = stage.ctx.read(lambda tx: breaking.message(tx, stage.ctx, {"runbook": stage.book.id, "step": "turn-up", "run": 1}))
    assert told.decided == "Put back by Ana Silva: The quota was too small."
    assert "out of service" not in f"{told.text} {told.decided}"
    assert told.text.endswith("nobody could run it until then.")


def test_s15_what_is_out_of_service_again_is_said_in_the_older_message(stage: Stage) -> None:
    """A message about an earlier opening does not call back in service what has failed again."""
    first = Breaker(runbook=stage.book.id, step="turn-up", title="Turn it up", failures=3, run_id=1, incident_id=1, reset_by="ana")
    again = Breaker(**{name: getattr(first, name) for name in ("runbook", "step", "title", "failures", "reset_by")}, run_id=9,
                    incident_id=1, reset_reason="The quota.", opened_at=stage.clock.now())  # fmt: skip
    stage.ctx.write(lambda tx: breakers.put(tx, again))
    told = stage.ctx.read(lambda tx: breaking.message(tx, stage.ctx, {"runbook": stage.book.id, "step": "turn-up", "run": 1}))
    assert told.decided == "Put back by Ana Silva: The quota. It is out of service again since then: see the newer message."


def test_the_next_drill_stands_by_the_name_of_its_runbook(stage: Stage) -> None:
    """The soonest drill that is not over, by what its runbook is called and not by its id."""
    for slot, days in (("2026-Q4", 9), ("2027-Q1", 90)):
        due = stage.clock.now() + timedelta(days=days)
        drill = Drill(id=0, runbook=stage.book.id, slot=slot, state=DrillState.PLANNED, lead="ben", due_at=due)
        stage.ctx.write(lambda tx, drill=drill: drills.add(tx, drill) and None)
    found = seen(stage)
    assert found.next_drill is not None
    assert (found.next_drill.slot, found.next_drill_title) == ("2026-Q4", stage.book.header.title)
    assert found.next_drill_title != stage.book.id


def test_what_is_pressed_in_app_home_draws_it_anew(stage: Stage) -> None:
    """Stop in App Home stops it and has that Home drawn, also when it is too late; elsewhere no Home is drawn."""
    desk, one = Desk(stage.ctx), stage.proposals()[-1]
    press = Press(kind=PressKind.PROPOSED_STOP, incident_id=one.incident_id, subject_id=one.id)

    def homes() -> int:
        """Homes that are to be drawn; they are taken away."""
        return len(stage.ctx.database.write(lambda tx: tasks.claim(tx, 10, 45.0, kinds=["home"])))

    desk.press(press, Visitor(slack_id=SLACK, interaction="1", view_id="V1", at_home=True))
    assert stage.proposals()[-1].state is SuggestionState.STOPPED
    assert homes() == 1
    stage.clock.pass_(seconds=timedelta(seconds=1).total_seconds())
    desk.press(press, Visitor(slack_id=SLACK, interaction="2", view_id="V1", at_home=True))
    assert homes() == 1
    desk.press(press, Visitor(slack_id=SLACK, interaction="3", channel="C1"))
    assert homes() == 0
