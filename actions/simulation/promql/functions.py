"""The functions of the subset. Semantics are Prometheus' own (promql/functions.go, promql/quantile.go of release 2.42)."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import floor, inf, isnan, nan

Points = Sequence[tuple[float, float]]

# scalar, vector and range are what the function takes in each place; a question mark allows leaving it out.
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "rate": ("range",),
    "increase": ("range",),
    "avg_over_time": ("range",),
    "max_over_time": ("range",),
    "min_over_time": ("range",),
    "sum_over_time": ("range",),
    "last_over_time": ("range",),
    "changes": ("range",),
    "quantile_over_time": ("scalar", "range"),
    "histogram_quantile": ("scalar", "vector"),
    "abs": ("vector",),
    "clamp": ("vector", "scalar", "scalar"),
    "clamp_min": ("vector", "scalar"),
    "clamp_max": ("vector", "scalar"),
    "round": ("vector", "scalar?"),
    "time": (),
}


def extrapolated(points: Points, *, start: float, end: float, per_second: bool) -> float | None:
    """Return a counter's increase between `start` and `end`, extrapolated to both as Prometheus does; none with too few samples."""
    if len(points) < 2:
        return None
    values = [value for _, value in points]
    gained = values[-1] - values[0] + sum(before for before, after in pairwise(values) if after < before)
    to_start, to_end = points[0][0] - start, end - points[-1][0]
    sampled = points[-1][0] - points[0][0]
    between = sampled / (len(points) - 1)
    if gained > 0 and values[0] >= 0:
        # A counter cannot have been below zero, so the line is not drawn further back than there.
        to_start = min(to_start, sampled * (values[0] / gained))
    covered = sampled
    for gap in (to_start, to_end):
        covered += gap if gap < between * 1.1 else between / 2
    return gained * covered / sampled / ((end - start) if per_second else 1.0)


def quantile(share: float, values: Sequence[float]) -> float:
    """Return the quantile of the values by linear interpolation between ranks."""
    if not values or isnan(share):
        return nan
    if not 0 <= share <= 1:
        return -inf if share < 0 else inf
    ordered = sorted(values)
    rank = share * (len(ordered) - 1)
    lower, upper = max(0, floor(rank)), min(len(ordered) - 1, floor(rank) + 1)
    weight = rank - floor(rank)
    return ordered[lower] * (1 - weight) + ordered[upper] * weight


def bucket_quantile(share: float, buckets: Sequence[tuple[float, float]]) -> float:
    """Return the quantile of a histogram given as (upper bound, cumulative count), interpolated linearly within its bucket."""
    ordered = _monotonic(buckets)
    if isnan(share) or len(ordered) < 2 or ordered[-1][0] != inf or ordered[-1][1] == 0:
        return nan
    if not 0 <= share <= 1:
        return -inf if share < 0 else inf
    rank = share * ordered[-1][1]
    index = next((place for place, (_, count) in enumerate(ordered[:-1]) if count >= rank), len(ordered) - 1)
    if index == len(ordered) - 1:
        return ordered[-2][0]
    bound, count = ordered[index]
    if index == 0 and bound <= 0:
        return bound
    lower, below = ordered[index - 1] if index else (0.0, 0.0)
    return lower + (bound - lower) * (rank - below) / (count - below) if count > below else lower


def _monotonic(buckets: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Counts of one histogram may be scraped apart; they are made never to fall."""
    highest, ordered = -inf, []
    for bound, count in sorted(buckets):
        highest = max(highest, count)
        ordered.append((bound, highest))
    return ordered


def changes(values: Sequence[float]) -> float:
    """Return how often the value changed."""
    return float(sum(before != after and not (isnan(before) and isnan(after)) for before, after in pairwise(values)))


OVER_TIME: Mapping[str, Callable[[Sequence[float]], float]] = {
    "avg_over_time": lambda values: sum(values) / len(values),
    "max_over_time": max,
    "min_over_time": min,
    "sum_over_time": sum,
    "last_over_time": lambda values: values[-1],
    "changes": changes,
}


def rounded(value: float, nearest: float) -> float:
    """Return the multiple of `nearest` that is closest, ties upwards."""
    if nearest == 0 or value in {inf, -inf} or isnan(value):
        return nan if nearest == 0 else value
    inverse = 1.0 / nearest
    return floor(value * inverse + 0.5) / inverse


def clamped(value: float, lowest: float, highest: float) -> float:
    """Return the value held between both."""
    return max(lowest, min(highest, value))
