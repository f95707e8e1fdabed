"""The service's own monitoring: alert rules over its series, and which alerts stand. Pure; notifying.py delivers them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from .promql import Source, evaluate, parse

# An alert is over once its condition has been false for so many seconds, so that a value on the limit does not flap.
KEEP_FIRING = 14.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A condition in PromQL that must hold for `after` seconds. `summary` may use the labels of the series in braces."""

    name: str
    expression: str
    after: float
    severity: Literal["critical", "warning"]
    team: str
    summary: str
    description: str
    model: str = "answers-v7"


RULES = (
    Rule(
        name="ModelLatencyP99High", expression="model:latency_seconds:p99 > 0.5", after=26, severity="critical", team="ml-platform",
        summary="{model} p99 latency is over 500 ms",
        description="One in a hundred requests to {model} takes {value:.2f} s; the limit is 0.5 s.",
    ),
    Rule(
        name="InferencePoolSaturated", expression="inference:cpu:ratio > 0.9", after=28, severity="warning", team="ml-platform",
        summary="Inference pool {pool} is saturated", description="The replicas of {pool} are busy to {value:.0%}; requests queue.",
    ),
    Rule(
        name="ProviderRateLimited", expression="provider:rate_limited:ratio > 0.1", after=20, severity="critical", team="ml-platform",
        summary="Model provider {provider} is rate limiting us", description="{value:.0%} of our calls to {provider} are refused with 429.",
    ),
    Rule(
        name="ProviderErrorsHigh", expression="provider:failures:ratio > 0.05", after=24, severity="critical", team="ml-platform",
        summary="Answers fail at the model provider",
        description="{value:.0%} of the questions stay unanswered because {provider} fails every attempt.",
    ),
    Rule(
        name="RetrievalTimeouts", expression="retrieval:timeouts:ratio > 0.05", after=20, severity="critical", team="search",
        summary="Vector search times out", description="{value:.0%} of the vector searches run into their time limit.",
    ),
    Rule(
        name="VectorIndexStale", expression="retrieval:index_age_seconds > 3600", after=20, severity="warning", team="search",
        summary="The vector index is stale", description="Answers are drawn from documents of {value:.0f} s ago and earlier.",
    ),
    Rule(
        name="AnswerQualityDropped", expression="quality:score < 0.8", after=16, severity="critical", team="ml-quality",
        summary="Answer quality has dropped", description="Sampled answers score {value:.2f}; the floor is 0.80.",
    ),
    Rule(
        name="CostPerHourHigh", expression="cost:usd_per_hour > 450", after=14, severity="critical", team="ml-platform",
        summary="Answers cost too much", description="The service spends {value:.0f} USD an hour; the limit is 450.",
    ),
    Rule(
        name="RetryStorm", expression="retries:amplification:ratio > 2.3", after=20, severity="warning", team="ml-platform",
        summary="Clients repeat their calls", description="{value:.1f} calls are made for each one needed.",
    ),
    Rule(
        name="UnsafeAnswersHigh", expression="safety:unsafe:ratio > 0.005", after=16, severity="critical", team="trust-and-safety",
        summary="Unsafe answers reach customers", description="{value:.2%} of the sampled answers are unsafe; the limit is 0.5 %.",
    ),
    Rule(
        name="SafetyFilterOff", expression="safety:filter_enabled == 0", after=20, severity="critical", team="trust-and-safety",
        summary="The safety filter is off", description="No safety filter runs on the answers.",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert: pending until its rule's time has passed, then firing, then resolved. Times are Unix seconds."""

    rule: str
    labels: Mapping[str, str]
    value: float
    pending_at: float
    seen_at: float
    firing_at: float | None = None
    resolved_at: float | None = None

    @property
    def status(self) -> str:
        """`pending`, `firing` or `resolved`."""
        return "pending" if self.firing_at is None else "firing" if self.resolved_at is None else "resolved"

    def to_json(self) -> dict[str, Any]:
        """Return what is kept on disk."""
        return {
            "rule": self.rule, "labels": dict(self.labels), "value": self.value, "pending_at": self.pending_at, "seen_at": self.seen_at,
            "firing_at": self.firing_at, "resolved_at": self.resolved_at,
        }  # fmt: skip


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return the fingerprint that Prometheus and Alertmanager give these labels (FNV-1a over sorted names and values)."""
    digest = 0xCBF29CE484222325
    for name in sorted(labels):
        for byte in name.encode() + b"\xff" + labels[name].encode() + b"\xff":
            digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


class AlertBook:
    """Which alerts stand. Evaluate it at every sample, in order of time."""

    def __init__(self, alerts: Iterable[Alert] = (), *, rules: tuple[Rule, ...] = RULES) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self.alerts = {fingerprint(alert.labels): alert for alert in alerts if alert.rule in self._rules}

    def evaluate(self, source: Source, at: float) -> bool:
        """Bring every alert up to `at` (Unix seconds); returns whether any began to fire or was resolved."""
        before = {identity: alert.status for identity, alert in self.alerts.items()}
        for rule in self._rules.values():
            self._evaluate(rule, source, at)
        return before != {identity: alert.status for identity, alert in self.alerts.items()}

    def forget(self, identity: str) -> None:
        """Drop a resolved alert that has been delivered."""
        self.alerts.pop(identity, None)

    def forget_resolved(self, *, before: float) -> None:
        """Drop every alert that was resolved before a moment (Unix seconds)."""
        for identity, alert in list(self.alerts.items()):
            if alert.resolved_at is not None and alert.resolved_at < before:
                del self.alerts[identity]

    def to_json(self) -> list[dict[str, Any]]:
        """Return what is kept on disk."""
        return [alert.to_json() for alert in self.alerts.values()]

    def rule(self, alert: Alert) -> Rule:
        """Return the rule of an alert."""
        return self._rules[alert.rule]

    def _evaluate(self, rule: Rule, source: Source, at: float) -> None:
        found = evaluate(parse(rule.expression), source, at)
        assert isinstance(found, list)
        active: dict[str, tuple[dict[str, str], float]] = {}
        for sample in found:
            labels = _labels(rule, {name: value for name, value in sample[0] if name != "__name__"})
            assert isinstance(sample[1], float)
            active[fingerprint(labels)] = (labels, sample[1])
        for identity, (labels, value) in active.items():
            self.alerts[identity] = self._seen(rule, self.alerts.get(identity), labels, value, at)
        for identity in [one for one, alert in self.alerts.items() if alert.rule == rule.name and one not in active]:
            self._unseen(identity, at)

    def _seen(self, rule: Rule, known: Alert | None, labels: Mapping[str, str], value: float, at: float) -> Alert:
        if known is None or known.status == "resolved":
            known = Alert(rule=rule.name, labels=labels, value=value, pending_at=at, seen_at=at)
        fires = known.firing_at is None and at - known.pending_at >= rule.after
        return replace(known, value=value, seen_at=at, firing_at=at if fires else known.firing_at)

    def _unseen(self, identity: str, at: float) -> None:
        alert = self.alerts[identity]
        if alert.status == "pending":
            del self.alerts[identity]
        elif alert.status == "firing" and at - alert.seen_at >= KEEP_FIRING:
            self.alerts[identity] = replace(alert, resolved_at=at)


def annotations(rule: Rule, alert: Alert, *, page: str) -> dict[str, str]:
    """Return the annotations that people read, with the address of the service's page."""
    facts = {**alert.labels, "value": alert.value}
    return {"summary": rule.summary.format(**facts), "description": rule.description.format(**facts), "dashboard_url": page}


def payload(alerts: list[Alert], book: AlertBook, *, page: str) -> dict[str, Any]:
    """Return alerts of one rule as Alertmanager's webhook delivers a group (format version 4)."""
    entries = [_entry(alert, book, page=page) for alert in alerts]
    name = alerts[0].rule
    status = "firing" if any(entry["status"] == "firing" for entry in entries) else "resolved"
    return {
        "receiver": "muster", "status": status, "alerts": entries,
        "groupLabels": {"alertname": name}, "commonLabels": _common([entry["labels"] for entry in entries]),
        "commonAnnotations": _common([entry["annotations"] for entry in entries]), "externalURL": page, "version": "4",
        "groupKey": f'{{}}:{{alertname="{name}"}}', "truncatedAlerts": 0,
    }  # fmt: skip


def _entry(alert: Alert, book: AlertBook, *, page: str) -> dict[str, Any]:
    assert alert.firing_at is not None
    return {
        "status": alert.status, "labels": dict(alert.labels), "annotations": annotations(book.rule(alert), alert, page=page),
        "startsAt": _stamp(alert.firing_at), "endsAt": "0001-01-01T00:00:00Z" if alert.resolved_at is None else _stamp(alert.resolved_at),
        "generatorURL": f"{page}#{alert.rule}", "fingerprint": fingerprint(alert.labels),
    }  # fmt: skip


def _labels(rule: Rule, found: dict[str, str]) -> dict[str, str]:
    given = {
        "alertname": rule.name, "severity": rule.severity, "service": "answers", "environment": "production", "team": rule.team,
        "model": found.get("pool", rule.model),
    }  # fmt: skip
    return {**given, **found}


def _common(every: list[dict[str, str]]) -> dict[str, str]:
    return {name: value for name, value in every[0].items() if all(other.get(name) == value for other in every)}


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
