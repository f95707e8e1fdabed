"""The answers of Prometheus' HTTP API (v1) for the query endpoints."""

from collections.abc import Mapping
from datetime import datetime
from math import inf
from typing import Any

from .promql import QueryRefused, Sample, Source, evaluate, parse
from .promql.lexing import seconds

# As in Prometheus: more points than this per series are refused.
_MOST_POINTS = 11_000


def query(parameters: Mapping[str, str], source: Source, *, now: float) -> dict[str, Any]:
    """Answer an instant query.

    Raises:
        QueryRefused: the query or the time cannot be taken.
    """
    at = _time(parameters, "time", now)
    result = evaluate(parse(_required(parameters, "query")), source, at)
    if isinstance(result, float):
        return {"resultType": "scalar", "result": [at, text(result)]}
    entries: list[dict[str, object]] = []
    kind = "vector"
    for labels, value in result:
        if isinstance(value, list):
            kind = "matrix"
            entries.append({"metric": dict(labels), "values": [[when, text(point)] for when, point in value]})
        else:
            entries.append({"metric": dict(labels), "value": [at, text(value)]})
    return {"resultType": kind, "result": entries}


def query_range(parameters: Mapping[str, str], source: Source) -> dict[str, Any]:
    """Answer a range query.

    Raises:
        QueryRefused: a parameter is missing or wrong, or the answer would have too many points.
    """
    tree = parse(_required(parameters, "query"))
    start, end, step = _time(parameters, "start"), _time(parameters, "end"), _duration(_required(parameters, "step"))
    if end < start:
        raise QueryRefused("end timestamp must not be before start time")
    if step <= 0:
        raise QueryRefused("zero or negative query resolution step widths are not accepted")
    if (end - start) / step > _MOST_POINTS:
        raise QueryRefused(f"exceeded maximum resolution of {_MOST_POINTS} points per timeseries; use a longer step")
    found: dict[tuple[tuple[str, str], ...], list[list[object]]] = {}
    for number in range(int((end - start) / step) + 1):
        at = start + number * step
        result = evaluate(tree, source, at)
        samples = [Sample((), result)] if isinstance(result, float) else result
        for labels, value in samples:
            if isinstance(value, list):
                raise QueryRefused('invalid expression type "range vector" for range query, must be Scalar or instant Vector')
            found.setdefault(labels, []).append([at, text(value)])
    return {"resultType": "matrix", "result": [{"metric": dict(labels), "values": values} for labels, values in found.items()]}


def text(value: float) -> str:
    """Return a value as Prometheus writes it."""
    if value != value:  # noqa: PLR0124 (NaN is the number that differs from itself)
        return "NaN"
    if abs(value) == inf:
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _required(parameters: Mapping[str, str], name: str) -> str:
    if not parameters.get(name):
        raise QueryRefused(f'invalid parameter "{name}": it is missing')
    return parameters[name]


def _time(parameters: Mapping[str, str], name: str, otherwise: float | None = None) -> float:
    given = parameters.get(name)
    if not given:
        if otherwise is None:
            raise QueryRefused(f'invalid parameter "{name}": it is missing')
        return otherwise
    try:
        at = float(given)
    except ValueError:
        at = _moment(given, name)
    if not abs(at) < 1e11:
        raise QueryRefused(f'invalid parameter "{name}": {given!r} is out of range')
    return at


def _moment(given: str, name: str) -> float:
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise QueryRefused(f'invalid parameter "{name}": cannot parse {given!r} to a valid timestamp') from None
    if moment.tzinfo is None:
        raise QueryRefused(f'invalid parameter "{name}": {given!r} has no time zone')
    return moment.timestamp()


def _duration(given: str) -> float:
    try:
        return float(given)
    except ValueError:
        found = seconds(given)
    if not found:
        raise QueryRefused(f'invalid parameter "step": cannot parse {given!r} to a valid duration')
    return found
