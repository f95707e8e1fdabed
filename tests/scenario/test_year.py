"""A year under the driven clock with restarts in between: every drill slot once, every invitation once, nothing left over."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from runbooks.calendar import quarter_of
from runbooks.drill import Drill
from storage import drills, tasks
from tests.inside import ANA, BEN, CHIKA, DOV, EVA, INCIDENTS, Inside, inside
from tests.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
DAY = 86400.0


@pytest.fixture
def stack(ground: Stack, tmp_path: Path, database_url: str) -> Iterator[Inside]:
    """A fresh Muster on each database."""
    with inside(ground, tmp_path, database_url=database_url) as stack:
        yield stack


def test_a_year_with_restarts(stack: Inside) -> None:
    """Day by day through a year, restarted every few weeks: each runbook has one drill a quarter, asked for once and nagged for once."""
    slots = {quarter(stack)}
    for day in range(1, 367):
        stack.skip(DAY)
        slots.add(quarter(stack))
        if day % 40 == 0:
            stack.again()
    stack.settle()

    names = [runbook.id for runbook in stack.the.library.all]
    planned = stack.database.read(drills.listed)
    assert Counter((drill.runbook, drill.slot) for drill in planned) == Counter({(name, slot): 1 for name in names for slot in slots})
    assert len(slots) == 5

    now = stack.the.clock.now()
    asked = [drill for drill in planned if drill.asked_at]
    nagged = [drill for drill in asked if drill.asked_at and drill.asked_at + timedelta(days=7) < now]
    assert len(asked) >= 4 * len(names)
    stack.until(lambda: stack.database.read(tasks.backlog).open == 0, what="the end of all that is said", patience=60)
    assert invitations(stack, "due") == Counter(_said(drill) for drill in asked)
    assert invitations(stack, "overdue") == Counter(_said(drill) for drill in nagged)
    assert stack.database.read(tasks.backlog).dead == 0


def quarter(stack: Inside) -> str:
    return quarter_of(stack.the.clock.now(), zone=stack.the.context.policy.time_zone)


def _said(drill: Drill) -> int:
    return drill.id


def invitations(stack: Inside, word: str) -> Counter[int]:
    """How often the leads were told of each drill, by the number that its message carries."""
    told: Counter[int] = Counter()
    for user in (ANA, BEN, CHIKA, DOV, EVA):
        for message in stack.direct(user):
            if message["text"].startswith(f"DRILL {word}"):
                told[_number(json.dumps(message["blocks"]))] += 1
    return told


def _number(blocks: str) -> int:
    return int(blocks.split("muster.drill_start.")[1].split('"', maxsplit=1)[0])


def test_a_year_of_silence_is_not_a_year_of_messages(stack: Inside) -> None:
    """Down for a year and back: this quarter's drills are planned once, and nobody is flooded with what is past."""
    stack.end()
    from bot.clock import DatabaseClock

    DatabaseClock(database=stack.database).advance(366 * DAY)
    stack.begin()
    stack.settle()
    stack.skip(60.0)
    names = [runbook.id for runbook in stack.the.library.all]
    planned = Counter((drill.runbook, drill.slot) for drill in stack.database.read(drills.listed))
    assert set(planned.values()) == {1}
    assert {name for name, slot in planned if slot == quarter(stack)} == set(names)
    assert len([one for one in stack.messages(channel=INCIDENTS) if "DRILL" in one["text"]]) <= len(names)
