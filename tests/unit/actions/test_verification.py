from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.verification import PATIENCE, Judgement, interval, judge, window
from runbooks.run import Sample, Verdict
from runbooks.runbook import Verify
from tests.acting import NOW, at

VERIFY = Verify.model_validate({"diagnostic": "p99", "settle": "1m", "holds": "< 0.5", "for": "2m", "fails": "> 2", "within": "5m"})
GOOD, BAD, WORSE = 0.3, 1.0, 3.0


def every(value: float | None, start: float, end: float, step: float = 15) -> list[Sample]:
    """Samples of one value, from `start` to `end` seconds after the change."""
    return [Sample(at=at(second), value=value) for second in range(int(start), int(end) + 1, int(step))]


def after(samples: list[Sample], seconds: float) -> Judgement:
    return judge(VERIFY, samples, executed_at=NOW, now=at(seconds))


def test_s21_nothing_is_judged_before_it_has_settled() -> None:
    """During the settle delay not even a value that fails or holds counts, and the next look is at its end."""
    for value in (GOOD, WORSE):
        early = after(every(value, 0, 59), 59)
        assert early.verdict is None
        assert early.next_at == at(60)


def test_s21_held_throughout_is_verified() -> None:
    """A value that holds from the settle delay on for the whole of `for` is verified, not a moment earlier."""
    assert after(every(GOOD, 60, 165), 170).verdict is None
    done = after(every(GOOD, 60, 180), 180)
    assert (done.verdict, done.held_for, done.next_at, done.value) == (Verdict.VERIFIED, 120, None, GOOD)


def test_s21_fails_true_is_failed_at_once() -> None:
    """One value beyond `fails` after the settle delay is failed, and says which."""
    done = after([*every(BAD, 60, 90), Sample(at=at(105), value=WORSE)], 105)
    assert done.verdict is Verdict.FAILED
    assert done.reason == "3 is over 2."


def test_s21_what_comes_first_decides() -> None:
    """Verified before a later failure stays verified; failed before a later recovery stays failed."""
    assert after([*every(GOOD, 60, 180), Sample(at=at(195), value=WORSE)], 200).verdict is Verdict.VERIFIED
    assert after([Sample(at=at(60), value=WORSE), *every(GOOD, 75, 240)], 240).verdict is Verdict.FAILED


def test_s21_missing_data_breaks_the_streak_and_is_never_zero() -> None:
    """A measurement without a value is neither good nor zero: the time that it held starts again."""
    samples = [*every(GOOD, 60, 150), Sample(at=at(165), value=None), *every(GOOD, 180, 285)]
    assert after(samples, 290).verdict is None
    assert after([*samples, Sample(at=at(300), value=GOOD)], 300).verdict is Verdict.VERIFIED
    assert after(every(None, 60, 300), 300).verdict is Verdict.INCONCLUSIVE


def test_s21_a_gap_is_missing_data() -> None:
    """Two good values with nothing known between them do not prove that it held throughout."""
    wide = interval(VERIFY) * PATIENCE + 1
    assert after([Sample(at=at(60), value=GOOD), Sample(at=at(60 + 120 + wide), value=GOOD)], 250).verdict is None


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([], "No data came within 5 min."),
        (every(None, 60, 300), "No data came within 5 min."),
        (every(BAD, 60, 300), "It was never under 0.5 within 5 min; last it was 1."),
        ([*every(BAD, 60, 225), *every(GOOD, 240, 300)], "at the end for 1 min"),
        ([*every(GOOD, 60, 120), *every(None, 135, 300)], "12 of 17 measurements had no data"),
    ],
)
def test_s21_at_the_end_what_is_undecided_is_inconclusive(samples: list[Sample], words: str) -> None:
    """At the end of `within` nothing is left open, and the reason says what was missing."""
    done = after(samples, 300)
    assert (done.verdict, done.next_at) == (Verdict.INCONCLUSIVE, None)
    assert words in done.reason


def test_a_verdict_does_not_wait_for_a_process_that_was_down() -> None:
    """After a long stop the window is over: what was not seen is inconclusive, and good values from later do not count."""
    assert after(every(GOOD, 600, 900), 900).verdict is Verdict.INCONCLUSIVE


_samples = st.lists(
    st.builds(
        Sample,
        at=st.integers(0, 400).map(at),
        value=st.none() | st.sampled_from([GOOD, BAD, WORSE, 0.5, 2.0, 0.0]),
    ),
    max_size=60,
)


@given(samples=_samples, now=st.integers(0, 500))
def test_every_judgement_has_a_verdict_or_a_next_look(samples: list[Sample], now: int) -> None:
    """There is always exactly one of verdict and next look; the look lies in the future and not beyond the end."""
    found = after(samples, now)
    assert (found.verdict is None) is (found.next_at is not None)
    assert found.reason
    if found.next_at is not None:
        assert at(now) < found.next_at <= window(VERIFY, executed_at=NOW)[1]
    if now >= 300:
        assert found.verdict is not None


@given(samples=_samples, now=st.integers(0, 500))
def test_order_of_arrival_does_not_matter(samples: list[Sample], now: int) -> None:
    """Samples are judged by when they were taken, not by the order in which they came."""
    one, other = after(samples, now), after(sorted(samples, key=lambda sample: (sample.at, str(sample.value))), now)
    by_time = {sample.at for sample in samples}
    if len(by_time) == len(samples):
        assert one == other


@given(samples=_samples, now=st.integers(0, 500))
def test_verified_means_that_it_held_throughout(samples: list[Sample], now: int) -> None:
    """A verified run has, inside the window, a stretch of `for` without one bad or missing value and without a hole."""
    found = after(samples, now)
    if found.verdict is not Verdict.VERIFIED:
        return
    seen = sorted((sample for sample in samples if at(60) <= sample.at <= at(now)), key=lambda sample: sample.at)
    stretches = [
        [sample for sample in seen if first.at <= sample.at <= last.at]
        for first in seen
        for last in seen
        if (last.at - first.at).total_seconds() >= VERIFY.for_
    ]
    assert any(
        all(sample.value is not None and sample.value < 0.5 for sample in stretch)
        and all((later.at - earlier.at).total_seconds() <= interval(VERIFY) * PATIENCE for earlier, later in pairwise(stretch))
        for stretch in stretches
    )


@given(samples=_samples, now=st.integers(0, 500), more=st.integers(0, 300))
def test_a_verdict_once_given_stays(samples: list[Sample], now: int, more: int) -> None:
    """With the same samples, a verdict of verified or failed is not changed by time going on."""
    first = after(samples, now)
    seen = [sample for sample in samples if sample.at <= at(now)]
    if first.verdict in {Verdict.VERIFIED, Verdict.FAILED}:
        assert after(seen, now + more).verdict is first.verdict


def test_the_interval_gives_several_samples_for_the_time_that_must_hold() -> None:
    """Short checks are sampled often and long ones not more often than useful."""
    for text, seconds in (("8s", 2.0), ("1m", 7.5), ("2m", 15.0), ("1h", 15.0)):
        assert (
            interval(
                VERIFY.model_copy(
                    update={"for_": Verify.model_validate({**VERIFY.model_dump(by_alias=True, mode="json"), "for": text}).for_}
                )
            )
            == seconds
        )
    assert window(VERIFY, executed_at=NOW) == (at(60), NOW + timedelta(minutes=5))
