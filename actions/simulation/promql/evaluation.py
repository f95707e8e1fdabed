"""A tree evaluated at a moment, over anything that can hand out samples."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import fmod, inf, nan
from operator import eq, ge, gt, le, lt, ne
from typing import NamedTuple, Protocol

from . import functions
from .syntax import COMPARISONS, Aggregate, Binary, Call, Matcher, Negation, Node, Number, QueryRefused, Selector

Labels = tuple[tuple[str, str], ...]
_NAME = "__name__"


class Series(NamedTuple):
    """One series of a source: its name, its other labels, and the source's own mark of where its samples are."""

    name: str
    labels: Labels
    column: int


class Source(Protocol):
    """Where samples come from. Times are Unix seconds."""

    def names(self) -> list[str]: ...
    def named(self, name: str) -> Sequence[Series]: ...
    def between(self, series: Series, start: float, end: float) -> list[tuple[float, float]]: ...
    def latest(self, series: Series, at: float) -> float | None: ...


class Sample(NamedTuple):
    """A value under its labels, `__name__` among them if the result keeps it."""

    labels: Labels
    value: float


class Ranged(NamedTuple):
    """The samples of one series over a range, as (Unix seconds, value)."""

    labels: Labels
    points: list[tuple[float, float]]


Vector = list[Sample]
Matrix = list[Ranged]
Value = float | Vector | Matrix


def evaluate(tree: Node, source: Source, at: float) -> Value:
    """Return the value of a query at `at` (Unix seconds): a scalar, a vector, or a matrix for a bare range selector.

    Raises:
        QueryRefused: both sides of an operator do not match one to one, or an aggregation's k is no number.
    """
    if isinstance(tree, Selector) and tree.span is not None:
        return _range(tree, source, at)
    return _value(tree, source, at)


def _value(tree: Node, source: Source, at: float) -> float | Vector:
    match tree:
        case Number(value=value):
            return value
        case Selector():
            return _instant(tree, source, at)
        case Negation(operand=operand):
            found = _value(operand, source, at)
            return -found if isinstance(found, float) else [Sample(_bare(one.labels), -one.value) for one in found]
        case Call():
            return _call(tree, source, at)
        case Aggregate():
            return _aggregate(tree, source, at)
        case Binary():
            return _binary(tree, source, at)
    raise AssertionError(tree)


# ---- selectors


def _matching(selector: Selector, source: Source) -> Iterable[Series]:
    exact = next((one.value for one in selector.matchers if one.label == _NAME and one.operator == "="), None)
    for name in [exact] if exact is not None else source.names():
        for series in source.named(name):
            labels = dict(series.labels) | {_NAME: series.name}
            if all(_holds(matcher, labels.get(matcher.label, "")) for matcher in selector.matchers):
                yield series


@lru_cache(maxsize=512)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _holds(matcher: Matcher, value: str) -> bool:
    match matcher.operator:
        case "=":
            return value == matcher.value
        case "!=":
            return value != matcher.value
        case "=~":
            return _pattern(matcher.value).fullmatch(value) is not None
    return _pattern(matcher.value).fullmatch(value) is None


def _full(series: Series) -> Labels:
    return ((_NAME, series.name), *series.labels)


def _bare(labels: Labels) -> Labels:
    return tuple(label for label in labels if label[0] != _NAME)


def _instant(selector: Selector, source: Source, at: float) -> Vector:
    found = ((series, source.latest(series, at - selector.offset)) for series in _matching(selector, source))
    return [Sample(_full(series), value) for series, value in found if value is not None]


def _range(selector: Selector, source: Source, at: float) -> Matrix:
    assert selector.span is not None
    end = at - selector.offset
    found = (Ranged(_full(series), source.between(series, end - selector.span, end)) for series in _matching(selector, source))
    return [one for one in found if one.points]


# ---- functions


def _scalar(tree: Node, source: Source, at: float) -> float:
    value = _value(tree, source, at)
    if not isinstance(value, float):
        raise QueryRefused("a scalar belongs here, not a vector")
    return value


def _vector(tree: Node, source: Source, at: float) -> Vector:
    value = _value(tree, source, at)
    if isinstance(value, float):
        raise QueryRefused("a vector belongs here, not a scalar")
    return value


def _call(call: Call, source: Source, at: float) -> float | Vector:
    if call.function == "time":
        return at
    if call.function == "histogram_quantile":
        return _histogram(_scalar(call.arguments[0], source, at), _vector(call.arguments[1], source, at))
    last = call.arguments[-1]
    if isinstance(last, Selector) and last.span is not None:
        return _over_range(call, last, source, at)
    numbers = [_scalar(argument, source, at) for argument in call.arguments[1:]]
    change = _by_value(call.function, numbers)
    return [Sample(_bare(one.labels), change(one.value)) for one in _vector(call.arguments[0], source, at)]


def _by_value(function: str, numbers: list[float]) -> Callable[[float], float]:
    match function:
        case "abs":
            return abs
        case "round":
            return lambda value: functions.rounded(value, numbers[0] if numbers else 1.0)
        case "clamp_min":
            return lambda value: max(numbers[0], value)
        case "clamp_max":
            return lambda value: min(numbers[0], value)
    return lambda value: functions.clamped(value, numbers[0], numbers[1])


def _over_range(call: Call, selector: Selector, source: Source, at: float) -> Vector:
    assert selector.span is not None
    result: Vector = []
    for labels, points in _range(selector, source, at):
        value: float | None
        if call.function in {"rate", "increase"}:
            end = at - selector.offset
            value = functions.extrapolated(points, start=end - selector.span, end=end, per_second=call.function == "rate")
        elif call.function == "quantile_over_time":
            value = functions.quantile(_scalar(call.arguments[0], source, at), [value for _, value in points])
        else:
            value = functions.OVER_TIME[call.function]([value for _, value in points])
        if value is not None:
            result.append(Sample(labels if call.function == "last_over_time" else _bare(labels), value))
    return result


def _histogram(share: float, buckets: Vector) -> Vector:
    grouped: dict[Labels, list[tuple[float, float]]] = {}
    for labels, count in buckets:
        bound = _bound(dict(labels).get("le"))
        if bound is not None:
            rest = tuple(label for label in labels if label[0] not in {"le", _NAME})
            grouped.setdefault(rest, []).append((bound, count))
    return [Sample(labels, functions.bucket_quantile(share, found)) for labels, found in grouped.items()]


def _bound(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


# ---- aggregations


_FOLDS: Mapping[str, Callable[[list[float]], float]] = {
    "sum": sum,
    "avg": lambda values: sum(values) / len(values),
    "min": min,
    "max": max,
    "count": lambda values: float(len(values)),
}


def _aggregate(tree: Aggregate, source: Source, at: float) -> Vector:
    groups: dict[Labels, Vector] = {}
    for sample in _vector(tree.over, source, at):
        groups.setdefault(_group(tree, sample.labels), []).append(sample)
    if tree.parameter is None:
        fold = _FOLDS[tree.operator]
        return [Sample(labels, float(fold([one.value for one in found]))) for labels, found in groups.items()]
    wanted = _scalar(tree.parameter, source, at)
    if wanted != wanted or abs(wanted) == inf:  # noqa: PLR0124 (NaN is the number that differs from itself)
        raise QueryRefused(f"{tree.operator} takes a finite number")
    chosen = [_extreme(found, int(wanted), largest=tree.operator == "topk") for found in groups.values()]
    return [sample for found in chosen for sample in found]


def _extreme(found: Vector, wanted: int, *, largest: bool) -> Vector:
    # NaN is last in both orders, as in Prometheus.
    ordered = sorted(found, key=lambda one: (one.value != one.value, -one.value if largest else one.value))
    return ordered[: max(0, wanted)]


def _group(tree: Aggregate, labels: Labels) -> Labels:
    if tree.without:
        return tuple(label for label in labels if label[0] not in tree.labels and label[0] != _NAME)
    return tuple(label for label in labels if label[0] in tree.labels)


# ---- operators


def _divided(left: float, right: float) -> float:
    if right:
        return left / right
    return nan if left == 0 or left != left else inf if (left > 0) == (str(right)[0] != "-") else -inf  # noqa: PLR0124


def _remainder(left: float, right: float) -> float:
    return fmod(left, right) if right and abs(left) != inf else nan


def _power(left: float, right: float) -> float:
    try:
        result = left**right
    except ZeroDivisionError:
        return inf
    except OverflowError:
        return inf if left > 0 or right % 2 == 0 else -inf
    return nan if isinstance(result, complex) else float(result)


_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right, "-": lambda left, right: left - right, "*": lambda left, right: left * right,
    "/": _divided, "%": _remainder, "^": _power,
}  # fmt: skip
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {"==": eq, "!=": ne, ">": gt, "<": lt, ">=": ge, "<=": le}


def _binary(tree: Binary, source: Source, at: float) -> float | Vector:
    left, right = _value(tree.left, source, at), _value(tree.right, source, at)
    if isinstance(left, float) and isinstance(right, float):
        return _apply(tree, left, right)
    if isinstance(right, float):
        assert not isinstance(left, float)
        return _each(tree, [(one, one.value, right) for one in left])
    if isinstance(left, float):
        return _each(tree, [(one, left, one.value) for one in right])
    return _pairs(tree, left, right)


def _apply(tree: Binary, left: float, right: float) -> float:
    if tree.operator in COMPARISONS:
        return float(_COMPARE[tree.operator](left, right))
    return _ARITHMETIC[tree.operator](left, right)


def _each(tree: Binary, operands: list[tuple[Sample, float, float]]) -> Vector:
    """A vector and a scalar. A comparison keeps the vector's sample where it holds, name and all; `bool` gives 0 and 1 instead."""
    result: Vector = []
    for sample, left, right in operands:
        value = _apply(tree, left, right)
        if tree.operator not in COMPARISONS or tree.as_bool:
            result.append(Sample(_bare(sample.labels), value))
        elif value:
            result.append(sample)
    return result


def _pairs(tree: Binary, left: Vector, right: Vector) -> Vector:
    others = _indexed(tree, right, side="right")
    result: Vector = []
    for identity, sample in _indexed(tree, left, side="left").items():
        other = others.get(identity)
        if other is None:
            continue
        value = _apply(tree, sample.value, other.value)
        if tree.operator in COMPARISONS and not tree.as_bool:
            if value:
                # One-to-one matching keeps only the labels matched on when `on` is given, as Prometheus does.
                result.append(Sample(identity if tree.on else sample.labels, sample.value))
        else:
            result.append(Sample(identity, value))
    return result


def _indexed(tree: Binary, vector: Vector, *, side: str) -> dict[Labels, Sample]:
    found: dict[Labels, Sample] = {}
    for sample in vector:
        kept = tuple(label for label in _bare(sample.labels) if (label[0] in tree.labels) == tree.on)
        if kept in found:
            raise QueryRefused(
                f"several series on the {side} side of {tree.operator!r} match {dict(kept)}; many-to-one matching not supported"
            )
        found[kept] = sample
    return found
