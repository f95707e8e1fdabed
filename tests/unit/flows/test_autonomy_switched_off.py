"""Each guard of autonomy is switched off in turn, and its story must go red: so the story proves the guard (rules S28, S30)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.flows import standing
from runbooks import autonomy, proposing
from runbooks.autonomy import Standing
from runbooks.proposing import SuggestionState
from runbooks.run import Verdict
from storage import migrations
from storage.database import Database
from tests.flowing import Policy
from tests.suggesting import Stage

HIGH = (0.9, 0.9, 0.9)


def counts_down(stage: Stage) -> bool:
    """Whether the action counts down by itself on this stage."""
    stage.measured(*HIGH)
    one = stage.consider()
    return one is not None and one.state is SuggestionState.COUNTING


# Each story answers whether the promise is kept.


def not_allowed(database: Database) -> bool:
    stage = Stage(database, policy=Policy())
    stage.earned()
    return not counts_down(stage)


def not_earned(database: Database) -> bool:
    return not counts_down(Stage(database))


def failed_once(database: Database) -> bool:
    stage = Stage(database)
    stage.earned()
    stage.ran(days_ago=5, verdict=Verdict.FAILED)
    return not counts_down(stage)


def once_is_no_proof(database: Database) -> bool:
    stage = Stage(database)
    stage.earned()
    stage.measured(0.2, 0.9, 0.9)
    return stage.consider() is None


def often_enough(database: Database) -> bool:
    stage = Stage(database, policy=Policy(autonomous=frozenset({"answers"}), automatic_per_day=1))
    stage.earned()
    stage.ran(days_ago=0.5, automatic=True, requested_by="muster", target="thing/other")
    return not counts_down(stage)


def anything_goes(action: Any, past: Any, *, not_allowed: str | None) -> Standing:
    del past, not_allowed
    return Standing(step=action.id, title=action.title, level=proposing.Level.AUTOMATIC)


@dataclass(frozen=True)
class Guard:
    """A promise, and how it is switched off: a function of ours put in the guard's place."""

    story: Callable[[Database], bool]
    module: Any
    name: str
    off: Callable[..., Any]

    def __str__(self) -> str:
        return self.story.__name__


GUARDS = [
    Guard(not_allowed, standing, "_not_allowed", lambda *_: None),
    Guard(not_earned, autonomy, "standing", anything_goes),
    Guard(failed_once, autonomy, "clean", lambda run: True if run.verdict else None),
    Guard(once_is_no_proof, proposing, "satisfied", lambda *_, **__: True),
    Guard(often_enough, standing, "_often", lambda *_, **__: None),
]


@pytest.fixture
def fresh(tmp_path: Path) -> Any:
    """Makes an empty database for each telling."""
    made: list[Database] = []

    def new() -> Database:
        database = Database(url=f"sqlite:///{tmp_path / f'{len(made)}.sqlite'}")
        migrations.ready(database)
        made.append(database)
        return database

    yield new
    for database in made:
        database.close()


@pytest.mark.parametrize("guard", GUARDS, ids=str)
def test_s30_without_its_guard_the_promise_breaks(guard: Guard, fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The promise is kept with the guard, and broken as soon as the guard is taken out."""
    assert guard.story(fresh())
    monkeypatch.setattr(guard.module, guard.name, guard.off)
    assert not guard.story(fresh())
