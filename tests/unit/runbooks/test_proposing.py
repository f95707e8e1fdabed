"""When a condition holds, what counts as earned, and what a runbook may declare (mission D4, rule S30)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runbooks.autonomy import clean, fingerprint, row, standing
from runbooks.errors import RunbookInvalid, TransitionRefused
from runbooks.loading import load
from runbooks.proposing import Finding, Level, Suggestion, SuggestionState, finding, satisfied
from runbooks.run import RunState, Sample, Verdict
from runbooks.runbook import Approvals, ProposeWhen
from runbooks.severity import Tier
from runbooks.trace import Trace
from tests import acting
from tests.catalogue import catalogue

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
LIBRARY = Path(__file__).parents[3] / "runbooks" / "library"
COST = (LIBRARY / "cost-spike.md").read_text()


def when(**given: Any) -> ProposeWhen:
    return ProposeWhen.model_validate({"diagnostic": "load", **given}, context={"written": True})


def samples(*values: float | None, every: float = 60.0, late: float = 0.0) -> list[Sample]:
    """One each minute, the last so many seconds ago."""
    last = NOW - timedelta(seconds=late)
    return [Sample(at=last - timedelta(seconds=every * (len(values) - 1 - number)), value=value) for number, value in enumerate(values)]


def held(condition: ProposeWhen, *values: float | None, baseline: float | None = None, **more: float) -> Finding | None:
    return finding(condition, samples(*values, **more), baseline=baseline, now=NOW)


def test_a_condition_must_hold_throughout() -> None:
    """Two minutes are two minutes: neither one sample, nor one short of it, nor a break in the middle."""
    over = when(holds="> 2", **{"for": "2m"})
    assert held(over, 3.0) is None
    assert held(over, 3.0, 3.0) is None
    assert held(over, 3.0, 1.0, 3.0) is None
    assert held(over, 3.0, None, 3.0) is None
    assert held(over, 3.0, 3.0, 1.0) is None
    assert held(over, 1.0, 3.0, 3.0, 3.1) == Finding(value=3.1, baseline=None, held_for=120.0)


def test_a_gap_is_no_proof_and_old_samples_are_no_present() -> None:
    """Nobody knows what was between two samples that are far apart, nor what is now when the last is old."""
    over = when(holds="> 2", **{"for": "2m"})
    assert held(over, 3.0, 3.0, every=300.0) is None
    assert held(over, 3.0, 3.0, 3.0, late=200.0) is None
    assert held(over) is None


@pytest.mark.parametrize(
    ("condition", "value", "baseline", "expected"),
    [
        ({"up": "20%", "baseline": "1h"}, 1.2, 1.0, True),
        ({"up": "20%", "baseline": "1h"}, 1.19, 1.0, False),
        ({"up": "20%", "baseline": "1h"}, 1.2, None, False),
        ({"up": "20%", "baseline": "1h"}, 1.2, 0.0, False),
        ({"down": "10%", "baseline": "1h"}, 0.9, 1.0, True),
        ({"down": "10%", "baseline": "1h"}, 0.91, 1.0, False),
        ({"up": "20%", "baseline": "1h", "holds": "> 2"}, 1.5, 1.0, False),
        ({"up": "20%", "baseline": "1h", "holds": "> 2"}, 2.5, 1.0, True),
    ],
)
def test_a_share_is_of_the_baseline(condition: dict[str, str], value: float, baseline: float | None, expected: bool) -> None:
    """Up and down are shares of the value so long ago; where nobody knows that one, or it is zero, nothing is proven."""
    assert satisfied(when(**condition), value, baseline=baseline) is expected


def run(number: int, *, drill: bool = False, **more: Any) -> Trace:
    proven = {"verdict": Verdict.VERIFIED, "value_after": 0.2, "samples": (Sample(at=NOW, value=0.2),), "verify_until_at": NOW}
    made = acting.run_of(run_id=number, started=number * 1000.0, **{**proven, **more})
    return Trace.of(made, drill_id=1 if drill else None)


TAKEN_BACK = {"undo_requested_by": "ana", "undo_started_at": NOW, "state": RunState.UNDONE}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, True),
        ({"verdict": Verdict.FAILED}, False),
        ({"verdict": Verdict.INCONCLUSIVE}, False),
        ({"verdict": None}, None),
        ({"value_after": None}, None),
        ({"samples": ()}, None),
        (TAKEN_BACK, False),
        ({**TAKEN_BACK, "verdict": None}, False),
        ({**TAKEN_BACK, "undo_requested_by": "muster"}, True),
        ({**TAKEN_BACK, "undo_started_at": NOW + timedelta(hours=3)}, True),
    ],
    ids=str,
)
def test_what_is_a_clean_run(more: dict[str, Any], expected: bool | None) -> None:
    """Measured and left alone within the watch; a person's word is no measurement, and a later undo no blame."""
    assert clean(run(1, **more)) is expected


def test_only_a_row_counts() -> None:
    """What came before a run that was not clean is forgotten; what says nothing neither adds nor ends it."""
    past = [run(number, drill=number == 4) for number in (1, 2, 4, 6)]
    bad = run(3, verdict=Verdict.FAILED)
    silent = run(5, verdict=None)
    found, ended = row([*past, bad, silent])
    assert [one.id for one in found] == [6, 4]
    assert ended is not None
    assert ended.id == 3


PROPOSES = {"propose_when": {"diagnostic": "load", "holds": "> 0.5"}}


def test_a_level_says_what_is_missing() -> None:
    """Each level with its reason: runs that are missing, a file that does not allow it, a tier that never may."""
    past = [run(number, drill=number == 2) for number in (1, 2)]
    plain = acting.action(**PROPOSES)
    earns = acting.action(**PROPOSES, autonomy={"clean_runs": 3})
    assert standing(acting.action(), past, not_allowed=None).level is None
    assert standing(plain, past, not_allowed=None).level is Level.SUGGEST
    assert standing(acting.action(**PROPOSES, parameters={}, confirm="card"), past, not_allowed=None).level is Level.ONE_CLICK
    short = standing(earns, past, not_allowed="muster.yaml allows no autonomy for answers.")
    assert not short.automatic
    assert str(short) == "Turn it up: suggest. 2 of 3 clean runs, 1 in drills. muster.yaml allows no autonomy for answers."
    enough = [*past, run(3)]
    assert standing(earns, enough, not_allowed=None).automatic
    assert not standing(earns, enough, not_allowed="muster.yaml allows no autonomy for answers.").automatic
    assert not standing(earns.model_copy(update={"tier": Tier.R2}), enough, not_allowed=None).automatic
    assert not standing(earns.model_copy(update={"approval": Approvals.ONE}), enough, not_allowed=None).automatic


def test_the_proof_belongs_to_the_action() -> None:
    """Another query behind the same diagnostic makes another action: what was proven before was something else."""
    book = acting.runbook(acting.action(**PROPOSES))
    first = book.header.diagnostics[0]
    other = first.model_copy(update={"with_": {"about": "rows"}})
    changed = book.model_copy(update={"header": book.header.model_copy(update={"diagnostics": (other, *book.header.diagnostics[1:])})})
    assert fingerprint(book, "turn-up") != fingerprint(changed, "turn-up")
    assert fingerprint(book, "nothing") == ""


def test_a_proposal_goes_one_way() -> None:
    """What is over does not come back; a countdown that a guard ends becomes a line for a person."""
    one = Suggestion(
        id=1, incident_id=1, runbook=acting.REF, step="turn-up", title="Turn it up", state=SuggestionState.COUNTING, level=Level.AUTOMATIC,
        by="muster", reason="r", made_at=NOW,
    )  # fmt: skip
    assert one.to(SuggestionState.OPEN).stands
    with pytest.raises(TransitionRefused):
        one.to(SuggestionState.STOPPED).to(SuggestionState.BEGUN)


CAPPED = "    cost: {money: saves about half of the excess,"
ROLLBACK = (LIBRARY / "retrieval-failure.md").read_text()


def refused(extra: str, *, source: str = COST, name: str = "cost-spike", before: str = CAPPED) -> dict[str, str]:
    """What is wrong with the runbook once these lines stand in the action, by field."""
    bare = "\n".join(line for line in source.splitlines() if not line.strip().startswith(("propose_when:", "autonomy:")))
    try:
        load(bare.replace(before, f"{extra}\n{before}", 1), name=name, catalogue=catalogue())
    except RunbookInvalid as error:
        return {problem.field.rpartition("actions.")[2]: problem.reason for problem in error.problems}
    return {}


GOOD = '    propose_when: {diagnostic: amplification, holds: "> 1.5", for: 3m}'


def test_a_good_condition_loads() -> None:
    """A number, a share of the past, and both at once are conditions; autonomy beside them is one that may be earned."""
    for condition in (
        GOOD,
        "    propose_when: {diagnostic: per-hour, up: 20%, baseline: 1h}",
        '    propose_when: {diagnostic: per-hour, down: 20%, baseline: 1h, holds: "> 10"}',
        f"{GOOD}\n    autonomy: {{clean_runs: 5, countdown: 2m}}",
    ):
        assert refused(condition) == {}, condition


@pytest.mark.parametrize(
    ("extra", "field", "reason"),
    [
        ("    propose_when: {diagnostic: amplificaton, holds: '> 1'}", "propose_when.diagnostic", "did you mean amplification"),
        ("    propose_when: {diagnostic: amplification}", "propose_when", "says no condition"),
        ("    propose_when: {diagnostic: per-hour, up: 20%}", "propose_when.baseline", "is missing"),
        ("    propose_when: {diagnostic: per-hour, up: 20%, down: 20%, baseline: 1h}", "propose_when.down", "contradict"),
        ("    propose_when: {diagnostic: per-hour, holds: '> 1', baseline: 1h}", "propose_when.baseline", "belongs to up or down"),
        ("    propose_when: {diagnostic: per-hour, up: 20%, baseline: 1m}", "propose_when.baseline", "it must be"),
        ("    propose_when: {diagnostic: per-hour, holds: '> 1', for: 2h}", "propose_when.for", "is longer than 1 h"),
        ("    propose_when: {diagnostic: per-hour, up: 20, baseline: 1h}", "propose_when.up", "is not a share"),
        ("    propose_when: {diagnostic: per-hour, up: 0%, baseline: 1h}", "propose_when.up", "is not a share"),
        ("    autonomy: {}", "autonomy", "needs propose_when"),
        (f"{GOOD}\n    autonomy: {{countdown: 5s}}", "autonomy.countdown", "30 s to 8 min"),
        (f"{GOOD}\n    autonomy: {{clean_runs: 1}}", "autonomy.clean_runs", "greater than or equal to 3"),
        (f"{GOOD}\n    autonomy: {{ask: nobody}}", "autonomy.ask", "not a field"),
    ],
)
def test_a_condition_that_cannot_be_is_refused(extra: str, field: str, reason: str) -> None:
    """What can never hold, or must not be, is refused with its field and what to write."""
    found = refused(extra)
    fields = {name: text for name, text in found.items() if name.endswith(field)}
    assert fields, found
    assert any(reason in text for text in fields.values()), fields


def test_autonomy_is_for_what_is_narrow_and_nobody_approves() -> None:
    """An action above R1, or one that somebody must approve, never declares autonomy."""
    rollback = "    cost: {money: none, quality: documents that"
    extra = "    propose_when: {diagnostic: search-trouble, holds: '> 1'}\n    autonomy: {clean_runs: 5}"
    found = refused(extra, source=ROLLBACK, name="retrieval-failure", before=rollback)
    assert any("R0 and R1" in reason or "never takes the place of an approval" in reason for reason in found.values()), found
