"""Did it work? Three verdicts, judged from measurements only (rule S21). Pure: the samples and the present are handed in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from actions.wording import limit, number
from runbooks.duration import in_words
from runbooks.run import Sample, Verdict
from runbooks.runbook import Verify

SHORTEST, LONGEST = 2.0, 15.0  # seconds between two samples: often enough to be believed, seldom enough for a metrics server
PATIENCE = 3.0  # intervals without a sample after which nobody can say that it held "throughout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is known now. `verdict` None means still watching; `next_at` is when to measure next, None once there is a verdict.

    `held_for` is how many seconds the condition has held without a break up to the last sample.
    """

    verdict: Verdict | None
    reason: str
    next_at: datetime | None
    held_for: float = 0.0
    value: float | None = None


def interval(verify: Verify) -> float:
    """Seconds between two samples: eight or more in the time that the condition must hold."""
    return min(max(verify.for_ / 8, SHORTEST), LONGEST)


def window(verify: Verify, *, executed_at: datetime) -> tuple[datetime, datetime]:
    """From the end of the settle delay to the end of `within`; both count from the moment of the change."""
    starts_at = executed_at + timedelta(seconds=verify.settle)
    return starts_at, max(executed_at + timedelta(seconds=verify.within), starts_at)


def judge(verify: Verify, samples: Iterable[Sample], *, executed_at: datetime, now: datetime, unit: str | None = None) -> Judgement:
    """The verdict by what was measured up to `now`, or none yet.

    Only samples inside the window count; the last one is taken at its end and may be an interval late. In the order of time: `fails`
    true makes it failed; `holds` true throughout `for` makes it verified; whichever comes first. A missing value, a value that does
    not hold, and a gap between samples each break the streak: missing data is never zero and never good. At the end of `within`
    what is not decided is inconclusive. `unit` is the diagnostic's, for the reason's words.
    """
    starts_at, ends_at = window(verify, executed_at=executed_at)
    last_at = min(ends_at + timedelta(seconds=interval(verify)), now)
    seen = sorted((sample for sample in samples if starts_at <= sample.at <= last_at), key=lambda sample: sample.at)
    since: datetime | None = None
    previous: datetime | None = None
    for sample in seen:
        if sample.value is not None and verify.fails is not None and verify.fails.holds(sample.value):
            return Judgement(
                verdict=Verdict.FAILED,
                reason=f"{number(sample.value, unit, beside=verify.fails.limit)} is {limit(verify.fails, unit)}.",
                next_at=None,
                value=sample.value,
            )
        if sample.value is None or not verify.holds.holds(sample.value):
            since, previous = None, None
            continue
        gap = previous is not None and (sample.at - previous).total_seconds() > interval(verify) * PATIENCE
        since = sample.at if since is None or gap else since
        previous = sample.at
        held = (sample.at - since).total_seconds()
        if held >= verify.for_:
            shown = number(sample.value, unit, beside=verify.holds.limit)
            reason = f"{shown} is {limit(verify.holds, unit)}, and has been for {in_words(held)}."
            return Judgement(verdict=Verdict.VERIFIED, reason=reason, next_at=None, held_for=held, value=sample.value)
    return _undecided(verify, seen, unit=unit, since=since, starts_at=starts_at, ends_at=ends_at, now=now)


def _undecided(
    verify: Verify,
    seen: Sequence[Sample],
    *,
    unit: str | None,
    since: datetime | None,
    starts_at: datetime,
    ends_at: datetime,
    now: datetime,
) -> Judgement:
    last = seen[-1] if seen else None
    value = last.value if last else None
    held = (last.at - since).total_seconds() if last and since else 0.0
    if now >= ends_at:
        return Judgement(verdict=Verdict.INCONCLUSIVE, reason=_missing(verify, seen, held, unit), next_at=None, held_for=held, value=value)
    next_at = starts_at if now < starts_at else min(now + timedelta(seconds=interval(verify)), ends_at)
    reason = (
        f"Waits {in_words(verify.settle)} for it to settle." if now < starts_at else f"Watching: it must be {limit(verify.holds, unit)}."
    )
    return Judgement(verdict=None, reason=reason, next_at=next_at, held_for=held, value=value)


def _missing(verify: Verify, seen: Sequence[Sample], held: float, unit: str | None) -> str:
    """Why nobody can say, in a sentence."""
    values = [sample.value for sample in seen if sample.value is not None]
    if not values:
        return f"No data came within {in_words(verify.within)}."
    empty = len(seen) - len(values)
    lacking = f" {empty} of {len(seen)} measurements had no data." if empty else ""
    must = limit(verify.holds, unit)
    if not any(verify.holds.holds(value) for value in values):
        last = number(values[-1], unit, beside=verify.holds.limit)
        return f"It was never {must} within {in_words(verify.within)}; last it was {last}.{lacking}"
    held_text = f"at the end for {in_words(held)}" if held else "not at the end"
    return f"It was not {must} for {in_words(verify.for_)} on end within {in_words(verify.within)}, {held_text}.{lacking}"
