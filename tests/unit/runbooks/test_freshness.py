"""How far a runbook can be trusted, in the words of the card."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runbooks.drill import Drill, DrillState, Finding
from runbooks.freshness import freshness
from runbooks.loading import load
from runbooks.runbook import Runbook
from tests.catalogue import catalogue

LATENCY = (Path(__file__).parents[3] / "runbooks" / "library" / "inference-latency.md").read_text(encoding="utf-8")
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)  # the runbook was reviewed twelve days before


@pytest.fixture(scope="module")
def runbook() -> Runbook:
    """The latency runbook: drilled every 90 days, reviewed every 180."""
    return load(LATENCY, name="inference-latency", catalogue=catalogue())


def drill(days: float, state: DrillState, *findings: Finding) -> Drill:
    """A drill that ended so many days ago."""
    ended = NOW - timedelta(days=days)
    return Drill(id=1, runbook="inference-latency", slot="2026-Q4", state=state, due_at=ended, ended_at=ended, findings=findings)


def test_a_fresh_runbook_has_no_warning(runbook: Runbook) -> None:
    """Reviewed, drilled and passed: only facts, no warning."""
    found = freshness(
        runbook,
        now=NOW,
        last_drill=drill(40, DrillState.PASSED),
        last_used_at=NOW - timedelta(days=3, hours=2),
        first_seen_at=NOW - timedelta(days=10),
    )
    assert found.warning is None
    assert (found.reviewed_days, found.drilled_days, found.used_days, found.changed_days) == (12, 40, 3, 10)
    assert (found.drill_passed, found.overdue, found.hash) == (True, False, runbook.hash)


@pytest.mark.parametrize(
    ("last", "days", "warning"),
    [
        (None, 0, "Never drilled"),
        (drill(40, DrillState.ABORTED), 0, "Never drilled"),
        (drill(140, DrillState.PASSED), 0, "Not drilled for 140 days"),
        (
            drill(140, DrillState.FAILED, Finding(passed=False, text="not tried", step="previous-release")),
            0,
            "Not drilled for 140 days; step Roll back the release failed then",
        ),
        (drill(140, DrillState.FAILED), 0, "Not drilled for 140 days; it failed then"),
        (drill(5, DrillState.FAILED), 0, "Drill 5 days ago failed"),
        (
            drill(5, DrillState.FAILED, Finding(passed=False, text="gone", step="old-step")),
            0,
            "Drill 5 days ago failed; step old-step failed then",
        ),
        (drill(-160, DrillState.PASSED), 200, "Review overdue: last reviewed 212 days ago"),
        (None, 200, "Never drilled; review overdue: last reviewed 212 days ago"),
    ],
)
def test_the_warning_says_the_worst_first(runbook: Runbook, last: Drill | None, days: int, warning: str) -> None:
    """Undrilled, failed or unreviewed: one sentence, in the card's words."""
    found = freshness(runbook, now=NOW + timedelta(days=days), last_drill=last)
    assert found.warning == warning


def test_the_day_of_the_limit_is_not_yet_overdue(runbook: Runbook) -> None:
    """Exactly ninety days after a drill and 180 after a review nothing is overdue; a day later both are."""
    on_the_day = freshness(runbook, now=NOW + timedelta(days=168), last_drill=drill(-78, DrillState.PASSED))
    assert (on_the_day.warning, on_the_day.reviewed_days, on_the_day.drilled_days) == (None, 180, 90)
    after = freshness(runbook, now=NOW + timedelta(days=169), last_drill=drill(-78, DrillState.PASSED))
    assert after.overdue
    assert after.warning == "Not drilled for 91 days; review overdue: last reviewed 181 days ago"


def test_a_clock_behind_gives_no_negative_age(runbook: Runbook) -> None:
    """Times that seem to lie ahead count as today."""
    found = freshness(
        runbook, now=datetime(2026, 1, 1, tzinfo=UTC), last_used_at=NOW, first_seen_at=NOW, last_drill=drill(0, DrillState.PASSED)
    )
    assert (found.reviewed_days, found.used_days, found.changed_days, found.drilled_days) == (0, 0, 0, 0)
