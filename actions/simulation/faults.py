"""The closed list of ways to break the service, as data: what each takes, what it moves, what mends it."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from .errors import Unacceptable, UnknownThing


class Parameter(BaseModel):
    """One parameter of a fault: a number within bounds, or a choice."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: Literal["number", "integer", "choice"]
    default: float | int | str
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    def accept(self, value: object) -> float | int | str:
        """Return the value with its type, or refuse it with the reason."""
        if self.type == "choice":
            if value not in self.choices:
                raise Unacceptable(f"{self.name} is one of {', '.join(self.choices)}, not {value!r}")
            return str(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or (self.type == "integer" and value != int(value)):
            raise Unacceptable(f"{self.name} is a{'n integer' if self.type == 'integer' else ' number'}, not {value!r}")
        assert self.minimum is not None
        assert self.maximum is not None
        if not self.minimum <= value <= self.maximum:
            raise Unacceptable(f"{self.name} is between {self.minimum:g} and {self.maximum:g}, not {value:g}")
        return int(value) if self.type == "integer" else float(value)


class Signal(BaseModel):
    """A series that the fault pushes past its limit, and that is back inside once the fault is mended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    labels: Mapping[str, str] = {}
    worse: Literal["above", "below"] = "above"
    limit: float


class Fault(BaseModel):
    """One way to break the service. `stage` is where the first look should lead, `mended_by` what helps (as target and value)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    title: str
    group: str
    stage: Literal["app", "retrieval", "model", "provider"]
    description: str
    parameters: tuple[Parameter, ...]
    signals: tuple[Signal, ...]
    mended_by: tuple[str, ...]

    def accept(self, given: Mapping[str, object]) -> dict[str, float | int | str]:
        """Return all parameters with defaults filled in, or refuse the first that is wrong.

        Raises:
            Unacceptable: an unknown parameter, a wrong type, or a value out of range.
        """
        names = {parameter.name for parameter in self.parameters}
        for name in given:
            if name not in names:
                raise Unacceptable(f"fault {self.kind} has no parameter {name!r}; it takes {', '.join(sorted(names))}")
        return {one.name: one.accept(given.get(one.name, one.default)) for one in self.parameters}


def _number(name: str, default: float, minimum: float, maximum: float, description: str) -> Parameter:
    return Parameter(name=name, type="number", default=default, minimum=minimum, maximum=maximum, description=description)


_UNIT = Parameter(name="unit", type="choice", default="reranker-v3", choices=("reranker-v3", "answers-v7"), description="the release unit")

FAULTS: Mapping[str, Fault] = {
    fault.kind: fault
    for fault in (
        Fault(
            kind="traffic", title="Traffic surge", group="latency", stage="model",
            description="Questions arrive faster; the reranker's pool saturates and its queue grows.",
            parameters=(_number("factor", 2.5, 2.0, 6.0, "how many times the usual traffic"),),
            signals=(Signal(metric="model:latency_seconds:p99", labels={"model": "reranker-v3"}, limit=0.5),),
            mended_by=("pool/inference/reranker-v3 with enough replicas", "flag/rerank off", "route/answers no-retrieval or cached"),
        ),
        Fault(
            kind="slow_release", title="Slow release", group="latency", stage="model",
            description="A new version of a model needs several times as long for each request.",
            parameters=(_UNIT, _number("factor", 3.0, 2.5, 5.0, "how many times the usual service time")),
            signals=(Signal(metric="model:latency_seconds:p99", limit=0.5),),
            mended_by=("release of the unit: a known good version",),
        ),
        Fault(
            kind="provider_degraded", title="Provider degraded", group="provider", stage="provider",
            description="The model provider refuses part of our calls with 429 and answers the rest slowly.",
            parameters=(
                _number("rate_limited", 0.6, 0.3, 0.98, "share of calls refused"),
                _number("slowness", 2.0, 1.0, 8.0, "how many times as slow it answers the rest"),
            ),
            signals=(Signal(metric="provider:rate_limited:ratio", limit=0.1),),
            mended_by=("route/answers backup",),
        ),
        Fault(
            kind="retrieval_timeout", title="Vector search times out", group="retrieval", stage="retrieval",
            description="A new index build has overloaded shards; part of the vector searches run into the time limit.",
            parameters=(_number("timeout_ratio", 0.4, 0.15, 0.95, "share of searches that time out"),),
            signals=(Signal(metric="retrieval:timeouts:ratio", limit=0.05),),
            mended_by=("route/answers no-retrieval or cached", "flag/hybrid-search off", "release/search-index a known good build"),
        ),
        Fault(
            kind="retrieval_stale", title="Index goes stale", group="retrieval", stage="retrieval",
            description="A new index build is no longer refreshed; answers are drawn from old documents.",
            parameters=(_number("age_hours", 9.0, 2.0, 72.0, "hours by which the index is behind at first"),),
            signals=(Signal(metric="retrieval:index_age_seconds", limit=3600.0),),
            mended_by=("route/answers no-retrieval or cached", "flag/hybrid-search off", "release/search-index a known good build"),
        ),
        Fault(
            kind="quality_regression", title="Answer quality drops", group="quality", stage="app",
            description="A release with a bad edit goes out: every signal of availability stays green, the answers are worse.",
            parameters=(
                _UNIT.model_copy(update={"name": "release", "default": "answers-v7"}),
                _number("drop", 0.18, 0.14, 0.5, "points of the evaluation score lost"),
            ),
            signals=(Signal(metric="quality:score", worse="below", limit=0.8),),
            mended_by=("release of the unit: a known good version",),
        ),
        Fault(
            kind="cost_spike", title="Cost spike", group="cost", stage="provider",
            description="A client experiment asks for long answers, gives up waiting and asks again: tokens and retries multiply the bill.",
            parameters=(
                _number("output_factor", 3.5, 3.0, 6.0, "times as many output tokens"),
                Parameter(name="attempts", type="integer", default=5, minimum=4, maximum=8, description="attempts the client now makes"),
            ),
            signals=(Signal(metric="cost:usd_per_hour", limit=450.0),),
            mended_by=("retries/gateway/answers 1", "limit/answers/max_output_tokens 600 or less", "flag/long-answers off"),
        ),
        Fault(
            kind="safety_failure", title="Safety filter stops filtering", group="safety", stage="app",
            description="A rule edit goes out with a release: the filter is off, or lets everything pass.",
            parameters=(
                Parameter(
                    name="mode", type="choice", default="off", choices=("off", "rules"),
                    description="off: the release turns the filter's flag off; rules: the filter runs and catches nothing",
                ),
                _number("unsafe_ratio", 0.03, 0.01, 0.3, "share of answers that are unsafe without a filter"),
            ),
            signals=(Signal(metric="safety:unsafe:ratio", limit=0.005),),
            mended_by=("route/answers strict", "flag/safety-filter-v2 on (mode off)", "release/answers-v7 a known good version"),
        ),
    )
}  # fmt: skip


def declared(kind: str) -> Fault:
    """Return the fault of this kind, or say which there are."""
    if kind not in FAULTS:
        raise UnknownThing(f"no fault {kind!r}; there are {', '.join(FAULTS)}")
    return FAULTS[kind]
