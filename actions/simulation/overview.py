"""Everything the page shows, in one answer."""

from typing import Any, NamedTuple

from .alerts import annotations
from .faults import FAULTS
from .hosting import Hosted
from .recording import CUSTOMERS
from .release import UNITS
from .world import World

_MODELS = ("reranker-v3", "answers-v7")


class _Chart(NamedTuple):
    """One chart: the limit and the side of it that is bad, and what it draws as (metric, labels, caption)."""

    id: str
    title: str
    unit: str
    limit: float | None
    lines: tuple[tuple[str, dict[str, str], str], ...]
    worse: str = "above"


_CHARTS = (
    _Chart("p99", "Model p99 latency", "s", 0.5, tuple(("model:latency_seconds:p99", {"model": one}, one) for one in _MODELS)),
    _Chart("errors", "Unanswered questions", "ratio", 0.05, (("answers:errors:ratio", {}, "answers"),)),
    _Chart("quality", "Answer quality", "score", 0.8, (("quality:score", {}, "evaluation score"),), worse="below"),
    _Chart("cost", "Cost", "usd/h", 450.0, (("cost:usd_per_hour", {}, "tokens and replicas"),)),
    _Chart("load", "Load of the pools", "ratio", 0.9, tuple(("inference:cpu:ratio", {"pool": one}, one) for one in _MODELS)),
    _Chart("replicas", "Replicas that answer", "", None, tuple(("inference:replicas", {"pool": one}, one) for one in _MODELS)),
    _Chart("unsafe", "Unsafe answers", "ratio", 0.005, (("safety:unsafe:ratio", {}, "reach customers"),)),
    _Chart("traffic", "Questions", "1/s", None, (("answers:requests_per_second", {}, "asked"),)),
)
_SHOWN = 600.0
_EVERY = 4.0


def overview(hosted: Hosted, *, address: str) -> dict[str, Any]:
    """Return the state of a world for people: charts, faults, targets, changes, alerts, stages."""
    world = hosted.catch_up()
    return {
        "now": world.now.isoformat(),
        "speed": hosted.speed,
        "seed": world.plan.seed,
        "customers": list(CUSTOMERS),
        "charts": [_drawn(world, chart) for chart in _CHARTS],
        "stages": _stages(world),
        "faults": faults(world),
        "targets": [world.register.view(path) for path in world.register.targets],
        "releases": {unit: releases(world, unit) for unit in UNITS},
        "changes": world.register.changes[-30:][::-1],
        "alerts": _alerts(hosted, address),
    }


def faults(world: World) -> list[dict[str, Any]]:
    """Return the closed list of faults; an active one carries its parameters, since when, and whether its signals are back inside."""
    return [{**fault.model_dump(mode="json"), "active": _active(world, kind)} for kind, fault in FAULTS.items()]


def releases(world: World, unit: str) -> list[dict[str, Any]]:
    """Return the versions of a unit, newest first, with evaluation scores and which is running."""
    running = world.register.running(unit).version
    shown = {
        "unit",
        "version",
        "released_at",
        "by",
        "evaluation",
        "known_good",
        "note",
        "model",
        "prompt",
        "retrieval",
        "safety_rules",
        "flags",
    }
    return [
        {**one.model_dump(mode="json", include=shown), "running": one.version == running} for one in reversed(world.register.releases[unit])
    ]


def _active(world: World, kind: str) -> dict[str, Any] | None:
    fault = world.broken.get(kind)
    if fault is None:
        return None
    return {"parameters": dict(fault.parameters), "since": fault.since_at.isoformat(), "mended": world.mended(kind)}


def _drawn(world: World, chart: _Chart) -> dict[str, Any]:
    lines = [{"caption": caption, "points": _points(world, name, labels)} for name, labels, caption in chart.lines]
    return {**chart._asdict(), "lines": lines}


def _points(world: World, name: str, labels: dict[str, str]) -> list[list[float]]:
    metrics, now = world.metrics, world.now.timestamp()
    series = next((one for one in metrics.named(name) if set(labels.items()) <= set(one.labels)), None)
    if series is None:
        return []
    found = metrics.between(series, now - _SHOWN, now)
    # Every other sample is enough for the width of a chart; the newest is always among them.
    return [[at, float(f"{value:.5g}")] for at, value in found if (now - at) % _EVERY < 1e-6]


def _stages(world: World) -> list[dict[str, Any]]:
    value = world.metrics.value
    return [
        {
            "stage": stage, "p99": value("stage:latency_seconds:p99", stage=stage), "errors": value("stage:errors:ratio", stage=stage),
            "rate": value("stage:requests_per_second", stage=stage),
        }
        for stage in ("app", "retrieval", "model", "provider")
    ]  # fmt: skip


def _alerts(hosted: Hosted, address: str) -> list[dict[str, Any]]:
    if hosted.book is None:
        return []
    return [
        {"name": one.rule, "status": one.status, "labels": dict(one.labels), "since": one.firing_at or one.pending_at,
         **annotations(hosted.book.rule(one), one, page=address)}
        for one in hosted.book.alerts.values()
    ]  # fmt: skip
