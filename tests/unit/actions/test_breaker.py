"""When an action is taken out of service (rule S15)."""

from typing import Any

import pytest

from actions.breaker import bad_row, ended_badly
from runbooks.operation import Outcome, OutcomeStatus, Reading
from runbooks.run import ActionRun, RunState, Verdict
from tests.acting import at, run_of

BAD = {"state": RunState.FAILED, "verdict": Verdict.FAILED, "executed_at": at(1)}
GOOD = {"state": RunState.VERIFIED, "verdict": Verdict.VERIFIED, "executed_at": at(1)}
NO_DATA = {"state": RunState.INCONCLUSIVE, "verdict": Verdict.INCONCLUSIVE, "executed_at": at(1)}
UNDONE = {"state": RunState.UNDONE, "verdict": None, "executed_at": at(1)}
LOST = {"state": RunState.INCONCLUSIVE, "verdict": Verdict.INCONCLUSIVE, "executed_at": None}
FAR_SIDE = {"state": RunState.REFUSED, "outcome": Outcome(status=OutcomeStatus.REFUSED, reason="500")}
DRIFT = {"state": RunState.REFUSED, "outcome": Outcome(status=OutcomeStatus.REFUSED, reason="3 now", after=Reading(value=3))}
UNBEGUN = {"state": RunState.REFUSED, "started_at": None}


def series(*ends: dict[str, Any]) -> list[ActionRun]:
    """Runs with these ends, in this order."""
    return [run_of(run_id=number, **end) for number, end in enumerate(ends, start=1)]


@pytest.mark.parametrize(
    ("end", "bad"),
    [(BAD, True), (LOST, True), (FAR_SIDE, True), (GOOD, False), (NO_DATA, None), (UNDONE, None), (DRIFT, None), (UNBEGUN, None)],
)
def test_s15_what_speaks_against_an_action(end: dict[str, Any], bad: bool | None) -> None:
    """Failing, being lost and being refused by the far side do; success speaks for it; missing data, drift and an undo say nothing."""
    assert ended_badly(series(end)[0]) is bad


@pytest.mark.parametrize(
    ("ends", "numbers"),
    [
        ((BAD, BAD, BAD), [1, 2, 3]),
        ((BAD, BAD, FAR_SIDE), [1, 2, 3]),
        ((GOOD, BAD, NO_DATA, BAD, DRIFT, LOST, UNBEGUN), [2, 4, 6]),
        ((BAD, BAD), []),
        ((BAD, BAD, GOOD), []),
        ((BAD, GOOD, BAD, BAD), []),
        ((), []),
    ],
)
def test_s15_so_many_in_a_row(ends: tuple[dict[str, Any], ...], numbers: list[int]) -> None:
    """Three bad ends in a row open it; what says nothing is passed over, and one success begins the count anew."""
    assert [run.id for run in bad_row(reversed(series(*ends)))] == numbers
