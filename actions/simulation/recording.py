"""Writes one step of the physics into the metrics: what a scrape of the service would see."""

from collections.abc import Callable, Mapping
from functools import partial

from .metrics import Metrics
from .physics import SERVICE_RATE, Conditions, Step
from .queueing import Stationary
from .register import SERVICE, Register
from .targets import ROUTES

# Who asks, and which share of the questions is theirs.
CUSTOMERS: Mapping[str, float] = {
    "northwind": 0.21, "contoso": 0.16, "fabrikam": 0.12, "tailspin": 0.10, "wingtip": 0.09, "litware": 0.08,
    "adventure-works": 0.07, "proseware": 0.055, "blue-yonder": 0.045, "lucerne": 0.03, "alpine-ski": 0.025, "margie-travel": 0.015,
}  # fmt: skip
SLOW = 0.5

Wobble = Callable[[str], float]


def record(metrics: Metrics, now: Conditions, step: Step, *, seconds: float, wobble: Wobble) -> None:
    """Set every gauge and let every counter grow by `seconds` of this step. `wobble` gives small noise around 1 by purpose."""
    _pools(metrics, now, step, seconds, wobble)
    _stages(metrics, step, seconds, wobble)
    _providers(metrics, now, step, wobble)
    _retrieval(metrics, now, step, wobble)
    _customers(metrics, step, seconds, wobble)


def _pools(metrics: Metrics, now: Conditions, step: Step, seconds: float, wobble: Wobble) -> None:
    for name, pool in step.pools.items():
        admitted = step.arrivals[name] * (1.0 - pool.late_ratio)
        labels = {"model": name, "service": SERVICE}
        metrics.set("model:latency_seconds:p99", pool.quantile(0.99) * wobble(f"p99/{name}"), **labels)
        metrics.set("model:latency_seconds:p50", pool.quantile(0.50) * wobble(f"p50/{name}"), **labels)
        metrics.set("model:timeouts:ratio", pool.late_ratio, **labels)
        metrics.observe("model_latency_seconds", admitted * seconds, admitted * seconds * pool.mean, partial(_under, pool), **labels)
        metrics.set("inference:cpu:ratio", min(1.0, (0.05 + 0.94 * pool.utilisation) * wobble(f"cpu/{name}")), pool=name)
        metrics.set("inference:replicas", now.pools[name], pool=name)
        metrics.set("inference:queue_depth", pool.waiting, pool=name)
        metrics.set("inference:in_flight", pool.in_flight, pool=name)
        metrics.set("inference:utilisation:ratio", pool.utilisation, pool=name)
        metrics.set("inference:offered_load:ratio", step.arrivals[name] / pool.pool.capacity, pool=name)
        metrics.set("inference:service_rate", SERVICE_RATE[name] / now.releases[name].slowness, pool=name)
        metrics.add("inference_arrivals_total", admitted * seconds, pool=name)
        metrics.add("inference_completions_total", pool.pool.capacity * pool.utilisation * seconds, pool=name)


def _under(pool: Stationary, seconds: float) -> float:
    return 1.0 - pool.over(seconds)


def _stages(metrics: Metrics, step: Step, seconds: float, wobble: Wobble) -> None:
    for stage, call in step.stages.items():
        metrics.set("stage:latency_seconds:p99", call.latency.p99 * wobble(f"stage/{stage}") if call.rate > 0 else 0.0, stage=stage)
        metrics.set("stage:errors:ratio", call.errors if call.rate > 0 else 0.0, stage=stage)
        metrics.set("stage:requests_per_second", call.rate, stage=stage)
        count = call.rate * seconds
        metrics.observe("latency_seconds", count, count * call.latency.mean, call.latency.under, service=SERVICE, stage=stage)
    count = step.questions * seconds
    metrics.observe("latency_seconds", count, count * step.total.mean, step.total.under, service=SERVICE, stage="total")
    metrics.set("answers:latency_seconds:p99", step.total.p99 * wobble("total/p99"), service=SERVICE)
    metrics.set("answers:latency_seconds:p50", step.total.median * wobble("total/p50"), service=SERVICE)
    metrics.set("answers:errors:ratio", step.errors * wobble("errors"), service=SERVICE)
    metrics.set("answers:requests_per_second", step.questions, service=SERVICE)


def _providers(metrics: Metrics, now: Conditions, step: Step, wobble: Wobble) -> None:
    for name, call in step.providers.items():
        metrics.set("provider:rate_limited:ratio", call.errors * wobble(f"429/{name}") if call.rate > 0 else 0.0, provider=name)
        metrics.set("provider:failures:ratio", step.outcomes["502"] if name == now.route.provider else 0.0, provider=name)
        metrics.set("provider:latency_seconds:p99", call.latency.p99 * wobble(f"provider/{name}"), provider=name)
        metrics.set("provider:available", 1.0 - now.providers[name].rate_limited, provider=name)
        metrics.set("provider:active", float(name == now.route.provider), provider=name)
    metrics.set("retries:attempts", now.attempts, client="gateway/answers")
    metrics.set("retries:amplification:ratio", 1.0 + (step.amplification - 1.0) * wobble("amplification"))


def _retrieval(metrics: Metrics, now: Conditions, step: Step, wobble: Wobble) -> None:
    metrics.set("retrieval:timeouts:ratio", min(1.0, step.timeouts * wobble("timeouts")))
    metrics.set("retrieval:index_age_seconds", step.age)
    metrics.set("retrieval:recall:ratio", step.recall * wobble("recall"))
    metrics.set("retrieval:bypassed", float(not now.route.retrieval))
    metrics.set("cache:hits:ratio", step.cached)
    metrics.set("limits:throttled:ratio", step.throttled)
    metrics.set("safety:filter_enabled", float(step.filtering))
    metrics.set("safety:refused:ratio", now.route.refused)


def _customers(metrics: Metrics, step: Step, seconds: float, wobble: Wobble) -> None:
    poor = min(0.9, max(0.004, 0.7 * (0.97 - step.quality)))
    slow = {name: pool.over(SLOW) * (1.0 - pool.late_ratio) + pool.late_ratio for name, pool in step.pools.items()}
    for customer, share in CUSTOMERS.items():
        asked = step.questions * seconds * share * wobble(f"customer/{customer}")
        for code, part in step.outcomes.items():
            metrics.add("requests_total", asked * part, service=SERVICE, customer=customer, code=code)
        for name, ratio in slow.items():
            metrics.add("slow_requests_total", asked * ratio * float(step.arrivals[name] > 0), customer=customer, model=name)
        metrics.add("failed_requests_total", asked * step.errors, customer=customer, service=SERVICE)
        metrics.add("poor_answers_total", asked * step.outcomes["200"] * poor, customer=customer)
        metrics.add("unsafe_answers_total", asked * step.outcomes["200"] * step.unsafe, customer=customer)
    metrics.set("tokens_per_answer", step.tokens)
    metrics.add("tokens_total", step.tokens * step.answered * seconds)


def record_levels(metrics: Metrics, levels: Mapping[str, float], *, answered: float, scatter: Mapping[str, float], wobble: Wobble) -> None:
    """Set the gauges of what is sampled or billed: `levels` by name, with the scatter of a sample."""
    cost = levels["cost"] * wobble("cost")
    metrics.set("quality:score", levels["quality"] + scatter["quality"], service=SERVICE)
    metrics.set("quality:groundedness", levels["groundedness"] + scatter["groundedness"])
    metrics.set("safety:unsafe:ratio", levels["unsafe"] * wobble("unsafe"), service=SERVICE)
    metrics.set("cost:usd_per_hour", cost, service=SERVICE)
    metrics.set("cost:usd_per_answer", cost / 3600.0 / max(answered, 1e-3), service=SERVICE)
    metrics.set("cost:usd_today", levels["spent"], service=SERVICE)


def record_settings(metrics: Metrics, register: Register) -> None:
    """Set the gauges of what is set: flags, limits, replicas asked for, the route, the releases."""
    for name, target in register.of_kind("flag").items():
        metrics.set("flag:enabled", float(target.setting), flag=name)
    for name, target in register.of_kind("limit").items():
        metrics.set("limit:value", float(target.setting), limit=name)
    for name, target in register.of_kind("pool").items():
        metrics.set("inference:replicas_desired", float(target.setting), pool=name.removeprefix("inference/"))
    for route in ROUTES:
        metrics.set("route:active", float(register.setting("route/answers") == route), route=route)
    for unit in register.releases:
        release = register.running(unit)
        metrics.set("release:info", 1.0, unit=unit, version=release.version)
        metrics.set("release:evaluation", release.evaluation, unit=unit)
