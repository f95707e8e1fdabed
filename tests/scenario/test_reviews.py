"""The post-mortem as a duty: it reminds once before it is due and once after, whatever restarts lie in between."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbooks.postmortem import Review
from storage import reviews, tasks
from tests.inside import ANA, Inside, inside
from tests.scenario_alerts import alert
from tests.stack import Stack

pytestmark = [pytest.mark.slow]
DAY = 86400.0


@pytest.fixture
def stack(ground: Stack, tmp_path: Path, database_url: str) -> Iterator[Inside]:
    """A fresh Muster for each test, on each database."""
    with inside(ground, tmp_path, database_url=database_url) as stack:
        yield stack


def owed(stack: Inside) -> Review:
    """An incident that came and went; the review that it owes."""
    stack.alert(alert())
    stack.settle()
    stack.until(stack.diagnosed, what="the card", patience=15)
    assert stack.press_in_view("Resolve", stack.more_of())["ok"]
    view = stack.dialog("What fixed it")
    stack.submitted(view, stack.choose(view, "What fixed it", "It went away by itself."))
    return review_of(stack)


def review_of(stack: Inside) -> Review:
    found = stack.database.read(lambda tx: reviews.of_incident(tx, 1))
    assert found is not None
    return found


def reminders(stack: Inside) -> list[str]:
    """What the owner was told about the review, alone."""
    return [one["text"] for one in stack.direct(ANA) if "/postmortems/1" in json.dumps(one.get("blocks", []))]


def days_until_due(stack: Inside) -> float:
    return (review_of(stack).due_at - stack.the.clock.now()).total_seconds() / DAY


def test_it_reminds_once_before_and_once_after_whatever_restarts(stack: Inside) -> None:
    """Over three weeks with a restart each few days: one reminder the day before, one when overdue, to the owner and in the thread."""
    review = owed(stack)
    assert review.owner == "ana"
    stack.skip((days_until_due(stack) - 1.2) * DAY)
    stack.again()
    assert not stack.entries(kind="review.reminded")
    for _ in range(3):
        stack.skip(0.3 * DAY)
        stack.again()
        stack.settle()
    assert [entry.payload["when"] for entry in stack.entries(kind="review.reminded")] == ["before"]
    for day in range(21):
        stack.skip(DAY)
        if day % 5 == 0:
            stack.again()
            stack.settle()
    assert [entry.payload["when"] for entry in stack.entries(kind="review.reminded")] == ["before", "after"]
    stack.until(lambda: len(reminders(stack)) >= 2, what="both reminders", patience=10)
    assert len(reminders(stack)) == 2
    threaded = [one for one in stack.thread() if "post-mortem" in one["text"]]
    assert len(threaded) == 2, [one["text"] for one in stack.thread()]
    assert stack.database.read(tasks.backlog).dead == 0


def test_a_long_silence_is_one_reminder(stack: Inside) -> None:
    """Muster was down over both dates: it reminds once that it is overdue, and not of a tomorrow that is past."""
    owed(stack)
    stack.end()
    clock_forward(stack, 30 * DAY)
    stack.begin()
    stack.settle()
    stack.skip(DAY)
    assert [entry.payload["when"] for entry in stack.entries(kind="review.reminded")] == ["after"]


def clock_forward(stack: Inside, seconds: float) -> None:
    """Time passes while nobody serves."""
    from bot.clock import DatabaseClock

    DatabaseClock(database=stack.database).advance(seconds)


def test_a_finished_review_is_silent(stack: Inside) -> None:
    """Marked as finished, twice: no reminder comes any more, and the second press is answered."""
    review = owed(stack)
    assert "finished" in stack.forged(k="review_done", i=1, m=review.id)
    assert "finished" in stack.forged(k="review_done", i=1, m=review.id)
    for _ in range(4):
        stack.skip(5 * DAY)
    assert not stack.entries(kind="review.reminded")
    assert len([entry for entry in stack.entries() if "post-mortem is finished" in entry.summary]) == 1
