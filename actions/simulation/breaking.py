"""How each fault begins and ends in a world: most of them are releases or settings that somebody changed, as in life."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .release import last_known_good, successor
from .targets import Setting

if TYPE_CHECKING:
    from .world import World

Parameters = Mapping[str, float | int | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """An active fault. `before` keeps the settings that it changed, `unit` and `version` the release that it brought."""

    parameters: Parameters
    since_at: datetime
    before: Mapping[str, Setting]
    unit: str | None = None
    version: str | None = None

    def to_json(self) -> dict[str, object]:
        """Return what a snapshot keeps."""
        since = self.since_at.isoformat()
        return {
            "parameters": dict(self.parameters),
            "since_at": since,
            "before": dict(self.before),
            "unit": self.unit,
            "version": self.version,
        }


def start(world: "World", kind: str, parameters: Parameters) -> None:
    """Break the world in this way; the parameters have been accepted. The changes bear the names of those who made them."""
    unit, effects = _release_of(world, kind, parameters)
    before = {path: world.register.setting(path) for path in _settings_of(kind, parameters)}
    for path, setting in _settings_of(kind, parameters).items():
        world.change(path, setting, by="growth-experiment", note="experiment with longer answers")
    version = None
    if unit is not None:
        running = world.register.running(unit)
        release = successor(running, releases=world.register.releases[unit], at=world.now, by=_AUTHORS[unit], note=_NOTES[kind], **effects)
        world.release(release)
        version = release.version
    world.broken[kind] = Broken(parameters=parameters, since_at=world.now, before=before, unit=unit, version=version)


def stop(world: "World", kind: str, *, by: str) -> None:
    """End the cause of a fault: its release is rolled back, its settings return, unless somebody changed them meanwhile."""
    fault = world.broken.pop(kind)
    for path, setting in _settings_of(kind, fault.parameters).items():
        if world.register.setting(path) == setting:
            world.change(path, fault.before[path], by=by, note="fault ended")
    unit = fault.unit
    if unit is not None and not any(other.unit == unit for other in world.broken.values()) and not world.register.running(unit).known_good:
        good = last_known_good(world.register.releases[unit], world.register.running(unit).version)
        assert good is not None
        world.change(f"release/{unit}", good, by=by, note="fault ended")


_AUTHORS = {"answers-v7": "chika@example.com", "reranker-v3": "ana@example.com", "search-index": "index-builder"}
_NOTES = {
    "slow_release": "bigger cross attention, longer context",
    "retrieval_timeout": "build on fewer, larger shards",
    "retrieval_stale": "new build pipeline",
    "quality_regression": "prompt edit: shorter, fewer quotations",
    "safety_failure": "rule edit: fewer false refusals",
}


def _settings_of(kind: str, parameters: Parameters) -> dict[str, Setting]:
    if kind != "cost_spike":
        return {}
    return {"flag/long-answers": True, "retries/gateway/answers": int(parameters["attempts"])}


def _release_of(world: "World", kind: str, parameters: Parameters) -> tuple[str | None, dict[str, object]]:
    """Return the unit that the fault releases, and in what the new version differs."""
    effects = _EFFECTS.get(kind)
    return effects(world, parameters) if effects else (None, {})


def _slow(_: "World", parameters: Parameters) -> tuple[str, dict[str, object]]:
    return str(parameters["unit"]), {"slowness": float(parameters["factor"])}


def _timeouts(_: "World", parameters: Parameters) -> tuple[str, dict[str, object]]:
    return "search-index", {"timeout_ratio": float(parameters["timeout_ratio"]), "retrieval": "hybrid, 1.2 M passages, 4 shards"}


def _stale(world: "World", parameters: Parameters) -> tuple[str, dict[str, object]]:
    return "search-index", {"stale_from": world.now - timedelta(hours=float(parameters["age_hours"]))}


def _worse(world: "World", parameters: Parameters) -> tuple[str, dict[str, object]]:
    unit = str(parameters["release"])
    running = world.register.running(unit)
    edited = {"prompt": f"{running.prompt}-short"} if unit == "answers-v7" else {"model": f"{running.model}-distilled"}
    return unit, {"evaluation": round(running.evaluation - float(parameters["drop"]), 3), **edited}


def _unsafe(_: "World", parameters: Parameters) -> tuple[str, dict[str, object]]:
    edited: dict[str, object] = {"safety_rules": "rules-2026-11"}
    return "answers-v7", edited | ({"flags": {"safety-filter-v2": False}} if parameters["mode"] == "off" else {"leak": 1.0})


_EFFECTS: Mapping[str, Callable[["World", Parameters], tuple[str, dict[str, object]]]] = {
    "slow_release": _slow,
    "retrieval_timeout": _timeouts,
    "retrieval_stale": _stale,
    "quality_regression": _worse,
    "safety_failure": _unsafe,
}
