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
from .errors import Unacceptable, UnknownThing
from .faults import FAULTS
from .faults import declared as fault_declared
from .metrics import Metrics
from .noise import centred
from .register import Moment, Register
from .release import UNITS, Release
from .targets import START_UP, Setting

STEP = 2.0
# What a fresh world has lived through before it is looked at, so that rates over ten minutes and charts have something to show.
WARM_UP = timedelta(minutes=15)
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
        self.broken: dict[str, Broken] = {}
        self._started_at = self.plan.origin_at - self.plan.warm_up
        self._memory = physics.Memory(
            in_flight={physics.RERANKER: 1.0, physics.ANSWERS: 1.0}, repeats={"model": 1.0, "provider": 1.0, "client": 1.0}, tokens=1200.0
        )
        self._levels = {"traffic": 1.0, "quality": 0.91, "groundedness": 0.95, "unsafe": 0.0004, "cost": 180.0, "spent": 0.0}
        self.register = Register(replicas=self.plan.pools(), at=self._started_at)
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
        day = self.now.date()
        self.step = max(self.step, int((at - self._started_at) / _PER_STEP))
        if self.now.date() != day:
            self._levels["spent"] = 0.0

    @property
    def _moment(self) -> Moment:
        return Moment(at=self.now, ready_at_step=self.step + int(START_UP / STEP))

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
                return self.register.prepare(event)
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
                return self.register.put(event, moment=self._moment)
            case "fault":
                if event["kind"] in self.broken:
                    stop(self, event["kind"], by=event["by"])
                start(self, event["kind"], FAULTS[event["kind"]].accept(event["parameters"]))
            case "mend":
                for kind in [event["kind"]] if event["kind"] else list(self.broken):
                    stop(self, kind, by=event["by"])
            case "reset":
                for target in self.register.targets.values():
                    self.change(target.path, target.declared.first, by=event["by"])
            case "jump":
                self.jump_to(datetime.fromisoformat(event["to"]))
        return {"ok": True}

    def change(self, path: str, setting: Setting, *, by: str, note: str = "") -> None:
        """Set a target now; setting what is set already changes nothing."""
        self.register.change(path, setting, moment=self._moment, by=by, note=note)

    def release(self, release: Release) -> None:
        """Add a version to its unit and run it now."""
        self.register.release(release, moment=self._moment)

    # ---- snapshots

    def to_json(self) -> dict[str, Any]:
        """Return everything that a snapshot keeps, as JSON."""
        return {
            "plan": self.plan.model_dump(mode="json"),
            "step": self.step,
            "metrics": self.metrics.to_json(),
            "register": self.register.to_json(),
            "memory": {"in_flight": dict(self._memory.in_flight), "repeats": dict(self._memory.repeats), "tokens": self._memory.tokens},
            "broken": {kind: fault.to_json() for kind, fault in self.broken.items()},
            "levels": self._levels,
        }

    def _restore(self, kept: Mapping[str, Any]) -> None:
        self.step, self._levels = kept["step"], kept["levels"]
        self.metrics = Metrics.from_json(kept["metrics"])
        self.register.restore(kept["register"])
        self._memory = physics.Memory(**kept["memory"])
        for kind, fault in kept["broken"].items():
            self.broken[kind] = Broken(**{**fault, "since_at": datetime.fromisoformat(fault["since_at"])})

    # ---- the passing of time

    def _advance(self) -> None:
        self.step += 1
        for target in self.register.targets.values():
            target.settle(self.step)
        self._follow("traffic", float(self._parameter("traffic", "factor", 1.0)), seconds=6.0)
        conditions = self._conditions()
        result = physics.step(conditions, self._memory, seconds=STEP)
        self._memory = result.memory
        recording.record(self.metrics, conditions, result, seconds=STEP, wobble=self._wobble)
        self._sampled(result)
        self.metrics.sample(self.now.timestamp())

    def _conditions(self) -> physics.Conditions:
        day = sin(2 * pi * (self.now.timestamp() % 3600.0) / 3600.0)
        noise = 1.0 + 0.02 * day + 0.02 * centred(self.plan.seed, self.step, "questions")
        register = self.register
        releases = {unit: register.running(unit) for unit in UNITS}
        flags = {name: bool(one.setting) for name, one in register.of_kind("flag").items()}
        refused = float(self._parameter("provider_degraded", "rate_limited", 0.0))
        slowness = float(self._parameter("provider_degraded", "slowness", 1.0))
        return physics.Conditions(
            questions=self.plan.arrival_rate * self._levels["traffic"] * noise,
            route=physics.ROUTES[str(register.setting("route/answers"))],
            flags=flags,
            attempts=int(register.setting("retries/gateway/answers")),
            pools={name: register.targets[f"pool/inference/{name}"].ready for name in physics.SERVICE_RATE},
            releases=releases,
            providers={"primary": physics.Provider(rate_limited=refused, slowness=slowness), "backup": physics.Provider()},
            max_output_tokens=int(register.setting("limit/answers/max_output_tokens")),
            tokens_per_minute=int(register.setting("limit/answers/tokens_per_minute")),
            budget_left=self._levels["spent"] < int(register.setting("limit/answers/daily_budget_usd")),
            output_factor=float(self._parameter("cost_spike", "output_factor", 1.6)),
            age=self._index_age(releases["search-index"], hybrid=flags["hybrid-search"]),
            unsafe=float(self._parameter("safety_failure", "unsafe_ratio", 0.02)),
        )

    def _index_age(self, index: Release, *, hybrid: bool) -> float:
        if hybrid and index.stale_from is not None:
            return (self.now - index.stale_from).total_seconds()
        # A healthy index takes in new documents every five minutes.
        return self.now.timestamp() % 300.0

    def _sampled(self, result: physics.Step) -> None:
        """Evaluations and bills are samples over a few seconds: they follow, they do not jump."""
        self._follow("quality", result.quality, seconds=8.0)
        self._follow("groundedness", result.groundedness, seconds=8.0)
        self._follow("unsafe", result.unsafe, seconds=6.0)
        self._follow("cost", result.cost_per_hour, seconds=8.0)
        if self.now.date() != (self.now - _PER_STEP).date():
            self._levels["spent"] = 0.0
        self._levels["spent"] += result.cost_per_hour * STEP / 3600.0
        scatter = {name: 0.004 * centred(self.plan.seed, self.step, name) for name in ("quality", "groundedness")}
        recording.record_levels(self.metrics, self._levels, answered=result.answered, scatter=scatter, wobble=self._wobble)
        recording.record_settings(self.metrics, self.register)

    def _parameter(self, kind: str, name: str, otherwise: float) -> float | int | str:
        return self.broken[kind].parameters[name] if kind in self.broken else otherwise

    def _follow(self, level: str, aim: float, *, seconds: float) -> None:
        self._levels[level] += (aim - self._levels[level]) * (1.0 - exp(-STEP / seconds))

    def _wobble(self, purpose: str) -> float:
        return 1.0 + 0.03 * centred(self.plan.seed, self.step, purpose)
