"""A world: the service, its customers and its faults, advancing in steps of two seconds.

Pure: no clock, no network, no disk. The same seed, start and events at the same times give the same series, in whatever portions the
time is advanced.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import exp, pi, sin
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from . import physics, recording
from .breaking import Broken, start, stop
from .errors import Unacceptable, UnknownThing, VersionConflict
from .faults import FAULTS
from .faults import declared as fault_declared
from .metrics import Metrics
from .noise import centred
from .release import UNITS, Release, history, last_known_good
from .targets import START_UP, Setting, Target, accepted, declared, find

STEP = 2.0
# What a fresh world has lived through before it is looked at, so that rates over ten minutes and charts have something to show.
WARM_UP = timedelta(minutes=15)
_CHANGES_KEPT = 500
_ANSWERS_KEPT = 5000
_PER_STEP = timedelta(seconds=STEP)


class WorldPlan(BaseModel):
    """How a world begins. `replicas` is the reranker's pool or one number per pool, `arrival_rate` questions a second."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 7
    origin_at: datetime = datetime(2026, 1, 5, 9, tzinfo=UTC)
    warm_up: timedelta = WARM_UP
    replicas: int | dict[str, int] | None = None
    arrival_rate: float = Field(default=40.0, ge=0.5, le=400.0)

    def pools(self) -> dict[str, int]:
        """Return the replicas of every pool at the beginning."""
        given = {physics.RERANKER: self.replicas} if isinstance(self.replicas, int) else self.replicas or {}
        pools = {physics.RERANKER: 2, physics.ANSWERS: 8}
        for name, count in given.items():
            if name not in pools or not 1 <= count <= 24:
                raise Unacceptable(f"replicas are 1 to 24 for {' or '.join(pools)}, not {count} for {name}")
            pools[name] = count
        return pools


class World:
    """The service as it stands, and the door through which it is changed."""

    def __init__(self, plan: WorldPlan | None = None, /, *, kept: Mapping[str, Any] | None = None, **given: Any) -> None:
        self.plan = plan or WorldPlan(**given)
        self.metrics = Metrics()
        self.step = 0
        self.releases: dict[str, tuple[Release, ...]] = history(self.plan.origin_at)
        self.broken: dict[str, Broken] = {}
        self.changes: list[dict[str, object]] = []
        self._answers: dict[str, dict[str, Any]] = {}
        self._started_at = self.plan.origin_at - self.plan.warm_up
        self._memory = physics.Memory(
            in_flight={physics.RERANKER: 1.0, physics.ANSWERS: 1.0}, repeats={"model": 1.0, "provider": 1.0, "client": 1.0}, tokens=1200.0
        )
        self._levels = {"traffic": 1.0, "quality": 0.91, "groundedness": 0.95, "unsafe": 0.0004, "cost": 180.0, "spent": 0.0}
        running = {unit: self.releases[unit][-1].version for unit in UNITS}
        self.targets = {
            path: Target(declared=one, setting=one.first, changed_at=self._started_at, ready=int(one.first) if one.kind == "pool" else 0)
            for path, one in declared(replicas=self.plan.pools(), running=running).items()
        }
        if kept is None:
            self.advance_to(self.plan.origin_at)
        else:
            self._restore(kept)

    @property
    def now(self) -> datetime:
        """The time up to which the world has advanced, aware UTC."""
        return self._started_at + self.step * _PER_STEP

    def advance_to(self, at: datetime) -> None:
        """Take every whole step up to `at`; the past is left alone."""
        while self.now + _PER_STEP <= at:
            self._advance()

    def advance_by_steps(self, steps: int) -> None:
        """Take so many steps, none if the number is negative."""
        for _ in range(steps):
            self._advance()

    def jump_to(self, at: datetime) -> None:
        """Let time pass unseen up to `at`: the series have a gap, as those of a service whose monitoring was down."""
        self.step = max(self.step, int((at - self._started_at) / _PER_STEP))

    def setting(self, path: str) -> Setting:
        """Return what a target is set to."""
        return find(self.targets, path).setting

    def running(self, unit: str) -> Release:
        """Return the release that a unit runs."""
        return next(one for one in self.releases[unit] if one.version == self.setting(f"release/{unit}"))

    def mended(self, kind: str) -> bool:
        """Return whether every signal of the fault is back inside its limit, whatever its cause does."""
        found = [(self.metrics.worst(one.metric, one.labels, worse=one.worse), one) for one in FAULTS[kind].signals]
        return all(value is None or (value <= one.limit if one.worse == "above" else value >= one.limit) for value, one in found)

    # ---- changes from outside

    def prepare(self, event: Mapping[str, Any]) -> dict[str, Any] | None:
        """Check an event without carrying it out. Returns the first answer if its key was seen before.

        Raises:
            UnknownThing: no such target or fault.
            VersionConflict: the target's version is not the one given.
            Unacceptable: a value that cannot be taken.
        """
        match event["do"]:
            case "put":
                return self._prepare_put(event)
            case "fault":
                fault_declared(event["kind"]).accept(event["parameters"])
            case "mend" if event["kind"] is not None:
                fault_declared(event["kind"])
                if event["kind"] not in self.broken:
                    raise UnknownThing(f"fault {event['kind']} is not active")
            case "mend" | "reset" | "jump":
                pass
            case other:
                raise Unacceptable(f"no event {other!r}")
        return None

    def apply(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out an event now and return its answer; the same put again returns the first answer, marked `replayed`."""
        again = self.prepare(event)
        if again is not None:
            return again
        match event["do"]:
            case "put":
                return self._put(event)
            case "fault":
                if event["kind"] in self.broken:
                    stop(self, event["kind"], by=event["by"])
                start(self, event["kind"], FAULTS[event["kind"]].accept(event["parameters"]))
            case "mend":
                for kind in [event["kind"]] if event["kind"] else list(self.broken):
                    stop(self, kind, by=event["by"])
            case "reset":
                for target in self.targets.values():
                    self.change(target.path, target.declared.first, by=event["by"])
            case "jump":
                self.jump_to(datetime.fromisoformat(event["to"]))
        return {"ok": True}

    def change(self, path: str, setting: Setting, *, by: str, note: str = "") -> None:
        """Set a target and note the change; setting what is set already changes nothing."""
        target = self.targets[path]
        if target.setting == setting:
            return
        before, target.setting = target.setting, setting
        target.version += 1
        target.changed_by, target.changed_at = by, self.now
        if target.declared.kind == "pool":
            target.order(int(setting), ready_at_step=self.step + int(START_UP / STEP))
        self._note(target, before=before, by=by, note=note)
        if target.declared.kind == "release":
            release = self.running(target.declared.name)
            for flag, enabled in release.flags.items():
                self.change(f"flag/{flag}", enabled, by=by, note=f"part of {release.version}")

    def release(self, release: Release) -> None:
        """Add a version to its unit and run it."""
        self.releases[release.unit] = (*self.releases[release.unit], release)
        self.change(f"release/{release.unit}", release.version, by=release.by, note=release.note)

    def view(self, path: str) -> dict[str, Any]:
        """Return a target as the wire shows it."""
        target = find(self.targets, path)
        one = target.declared
        bounds = {"versions": [r.version for r in self.releases[one.name]]} if one.kind == "release" else one.bounds
        return {
            "kind": one.kind, "name": one.name, "value": self._value(target), "version": target.version, "changed_by": target.changed_by,
            "changed_at": target.changed_at.isoformat(), "bounds": bounds, "description": one.about,
        }  # fmt: skip

    def _value(self, target: Target) -> object:
        match target.declared.kind:
            case "pool":
                return {"replicas": target.setting, "ready": target.ready}
            case "retries":
                return {"attempts": target.setting}
            case "release":
                name = target.declared.name
                return {"version": target.setting, "last_known_good": last_known_good(self.releases[name], str(target.setting))}
            case "route":
                return {"route": target.setting}
            case "limit":
                return {"value": target.setting}
        return target.setting

    def _prepare_put(self, event: Mapping[str, Any]) -> dict[str, Any] | None:
        target = find(self.targets, event["path"])
        setting = self._accepted(target, event["value"])
        first = self._answers.get(event["key"]) if event["key"] else None
        if first is not None:
            if first["path"] != event["path"] or first["setting"] != setting:
                raise Unacceptable(f"key {event['key']!r} was used before, to set {first['path']} to {first['setting']!r}")
            return {**first["answer"], "replayed": True}
        if event["if_version"] is not None and event["if_version"] != target.version:
            raise VersionConflict(current=self.view(event["path"]))
        return None

    def _accepted(self, target: Target, value: object) -> Setting:
        unit = target.declared.name if target.declared.kind == "release" else None
        versions = tuple(one.version for one in self.releases[unit]) if unit else ()
        return accepted(target.declared, value, versions=versions)

    def _put(self, event: Mapping[str, Any]) -> dict[str, Any]:
        target = self.targets[event["path"]]
        setting = self._accepted(target, event["value"])
        before, version = self._value(target), target.version
        self.change(event["path"], setting, by=event["by"])
        answer = self.view(event["path"]) | {"previous": before, "changed": target.version != version, "replayed": False}
        if event["key"]:
            self._answers[event["key"]] = {"path": event["path"], "setting": setting, "answer": answer}
            while len(self._answers) > _ANSWERS_KEPT:
                del self._answers[next(iter(self._answers))]
        return answer

    def _note(self, target: Target, *, before: Setting, by: str, note: str) -> None:
        number = int(str(self.changes[-1]["number"])) + 1 if self.changes else 1
        what = f"{target.declared.name}: {_text(before)} → {_text(target.setting)}"
        self.changes.append({
            "number": number, "id": f"change-{number}", "at": self.now.isoformat(),
            "kind": target.declared.kind, "target": target.declared.name, "before": before, "after": target.setting, "by": by, "service": recording.SERVICE, "environment": "production",
            "summary": f"{what} ({note})" if note else what,
        })  # fmt: skip
        del self.changes[:-_CHANGES_KEPT]

    # ---- snapshots

    def to_json(self) -> dict[str, Any]:
        """Return everything that a snapshot keeps, as JSON."""
        memory = {"in_flight": dict(self._memory.in_flight), "repeats": dict(self._memory.repeats), "tokens": self._memory.tokens}
        return {
            "plan": self.plan.model_dump(mode="json"), "step": self.step, "metrics": self.metrics.to_json(), "changes": self.changes,
            "releases": {unit: [one.model_dump(mode="json") for one in releases] for unit, releases in self.releases.items()},
            "targets": {path: target.to_json() for path, target in self.targets.items()}, "answers": self._answers, "memory": memory,
            "broken": {kind: fault.to_json() for kind, fault in self.broken.items()}, "levels": self._levels,
        }  # fmt: skip

    def _restore(self, kept: Mapping[str, Any]) -> None:
        self.metrics = Metrics.from_json(kept["metrics"])
        self.step, self.changes, self._answers, self._levels = kept["step"], kept["changes"], kept["answers"], kept["levels"]
        self.releases = {unit: tuple(Release.model_validate(one) for one in found) for unit, found in kept["releases"].items()}
        self.broken = {
            kind: Broken(**{**fault, "since_at": datetime.fromisoformat(fault["since_at"])}) for kind, fault in kept["broken"].items()
        }
        self._memory = physics.Memory(**kept["memory"])
        for path, found in kept["targets"].items():
            declared_one = self.targets[path].declared
            self.targets[path] = Target(declared=declared_one, **{**found, "changed_at": datetime.fromisoformat(found["changed_at"])})

    # ---- the passing of time

    def _advance(self) -> None:
        self.step += 1
        for target in self.targets.values():
            target.settle(self.step)
        self._follow("traffic", float(self._parameter("traffic", "factor", 1.0)), seconds=6.0)
        conditions = self._conditions()
        result = physics.step(conditions, self._memory, seconds=STEP)
        self._memory = result.memory
        recording.record(self.metrics, conditions, result, seconds=STEP, wobble=self._wobble)
        self._record_levels(result)
        self.metrics.sample(self.now.timestamp())

    def _conditions(self) -> physics.Conditions:
        day = sin(2 * pi * (self.now.timestamp() % 3600.0) / 3600.0)
        noise = 1.0 + 0.02 * day + 0.02 * centred(self.plan.seed, self.step, "questions")
        releases = {unit: self.running(unit) for unit in UNITS}
        flags = {one.declared.name: bool(one.setting) for one in self.targets.values() if one.declared.kind == "flag"}
        refused = float(self._parameter("provider_degraded", "rate_limited", 0.0))
        slowness = float(self._parameter("provider_degraded", "slowness", 1.0))
        return physics.Conditions(
            questions=self.plan.arrival_rate * self._levels["traffic"] * noise,
            route=physics.ROUTES[str(self.setting("route/answers"))],
            flags=flags,
            attempts=int(self.setting("retries/gateway/answers")),
            pools={name: self.targets[f"pool/inference/{name}"].ready for name in physics.SERVICE_RATE},
            releases=releases,
            providers={"primary": physics.Provider(rate_limited=refused, slowness=slowness), "backup": physics.Provider()},
            max_output_tokens=int(self.setting("limit/answers/max_output_tokens")),
            tokens_per_minute=int(self.setting("limit/answers/tokens_per_minute")),
            budget_left=self._levels["spent"] < int(self.setting("limit/answers/daily_budget_usd")),
            output_factor=float(self._parameter("cost_spike", "output_factor", 1.6)),
            age=self._index_age(releases["search-index"], hybrid=flags["hybrid-search"]),
            unsafe=float(self._parameter("safety_failure", "unsafe_ratio", 0.02)),
        )

    def _index_age(self, index: Release, *, hybrid: bool) -> float:
        if hybrid and index.stale_from is not None:
            return (self.now - index.stale_from).total_seconds()
        # A healthy index takes in new documents every five minutes.
        return self.now.timestamp() % 300.0

    def _record_levels(self, result: physics.Step) -> None:
        """Evaluations and bills are samples over a few seconds: they follow, they do not jump."""
        self._follow("quality", result.quality, seconds=8.0)
        self._follow("groundedness", result.groundedness, seconds=8.0)
        self._follow("unsafe", result.unsafe, seconds=6.0)
        self._follow("cost", result.cost_per_hour, seconds=8.0)
        if self.now.date() != (self.now - _PER_STEP).date():
            self._levels["spent"] = 0.0
        self._levels["spent"] += result.cost_per_hour * STEP / 3600.0
        levels, service = self._levels, recording.SERVICE
        cost = levels["cost"] * self._wobble("cost")
        self.metrics.set("quality:score", levels["quality"] + 0.004 * centred(self.plan.seed, self.step, "quality"), service=service)
        self.metrics.set("quality:groundedness", levels["groundedness"] + 0.004 * centred(self.plan.seed, self.step, "grounded"))
        self.metrics.set("safety:unsafe:ratio", levels["unsafe"] * self._wobble("unsafe"), service=service)
        self.metrics.set("cost:usd_per_hour", cost, service=service)
        self.metrics.set("cost:usd_per_answer", cost / 3600.0 / max(result.answered, 1e-3), service=service)
        self.metrics.set("cost:usd_today", levels["spent"], service=service)
        for target in self.targets.values():
            if target.declared.kind == "limit":
                self.metrics.set("limit:value", float(target.setting), limit=target.declared.name)
            elif target.declared.kind == "pool":
                self.metrics.set("inference:replicas_desired", float(target.setting), pool=target.declared.name.removeprefix("inference/"))
        for route in physics.ROUTES:
            self.metrics.set("route:active", float(self.setting("route/answers") == route), route=route)

    def _parameter(self, kind: str, name: str, otherwise: float) -> float | int | str:
        return self.broken[kind].parameters[name] if kind in self.broken else otherwise

    def _follow(self, level: str, aim: float, *, seconds: float) -> None:
        self._levels[level] += (aim - self._levels[level]) * (1.0 - exp(-STEP / seconds))

    def _wobble(self, purpose: str) -> float:
        return 1.0 + 0.03 * centred(self.plan.seed, self.step, purpose)


def _text(setting: Setting) -> str:
    return ("on" if setting else "off") if isinstance(setting, bool) else str(setting)
