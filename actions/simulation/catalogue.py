"""Every metric of the service: its name, type and meaning. Names with colons are what recording rules would have written."""

from collections.abc import Mapping
from typing import Literal, NamedTuple


class Metric(NamedTuple):
    """A metric family; `type` as in Prometheus' text exposition."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("model:latency_seconds:p99", "gauge", "99th percentile of a model's latency, queue included, in seconds"),
        Metric("model:latency_seconds:p50", "gauge", "median of a model's latency, queue included, in seconds"),
        Metric("model_latency_seconds", "histogram", "latency of a model's answered requests, queue included, in seconds"),
        Metric("model:timeouts:ratio", "gauge", "share of requests that would wait too long for a model and are turned away"),
        Metric("inference:cpu:ratio", "gauge", "processor use of a pool's replicas, 0 to 1"),
        Metric("inference:replicas", "gauge", "replicas of a pool that answer"),
        Metric("inference:replicas_desired", "gauge", "replicas of a pool that were asked for"),
        Metric("inference:queue_depth", "gauge", "requests that wait for a replica"),
        Metric("inference:in_flight", "gauge", "requests that wait for a replica or are served by one"),
        Metric("inference:utilisation:ratio", "gauge", "share of a pool's replicas that are busy, 0 to 1"),
        Metric("inference:offered_load:ratio", "gauge", "requests that arrive over requests that can be served; above 1 the queue grows"),
        Metric("inference:service_rate", "gauge", "requests that one replica can serve a second"),
        Metric("inference_arrivals_total", "counter", "requests admitted to a pool"),
        Metric("inference_completions_total", "counter", "requests completed by a pool"),
        Metric("answers:latency_seconds:p99", "gauge", "99th percentile from question to answer, in seconds"),
        Metric("answers:latency_seconds:p50", "gauge", "median from question to answer, in seconds"),
        Metric("answers:errors:ratio", "gauge", "share of questions without an answer, 0 to 1"),
        Metric("answers:requests_per_second", "gauge", "questions a second"),
        Metric("latency_seconds", "histogram", "latency by stage (total: from question to answer), in seconds"),
        Metric("stage:latency_seconds:p99", "gauge", "99th percentile of a stage's latency, in seconds"),
        Metric("stage:errors:ratio", "gauge", "share of a stage's calls that fail, 0 to 1"),
        Metric("stage:requests_per_second", "gauge", "calls to a stage a second, retries included"),
        Metric("requests_total", "counter", "questions by customer and status code"),
        Metric("slow_requests_total", "counter", "requests that a model took longer than half a second for, by customer"),
        Metric("failed_requests_total", "counter", "questions without an answer, by customer"),
        Metric("poor_answers_total", "counter", "answers that the evaluator calls poor, by customer"),
        Metric("unsafe_answers_total", "counter", "unsafe answers that reached a customer"),
        Metric("provider:rate_limited:ratio", "gauge", "share of our calls to a provider that are refused with 429 (0 without calls)"),
        Metric("provider:failures:ratio", "gauge", "share of questions lost because a provider failed every attempt"),
        Metric("provider:latency_seconds:p99", "gauge", "99th percentile of a provider's latency by probe, in seconds"),
        Metric("provider:available", "gauge", "share of probes that a provider answers, 0 to 1, whether we use it or not"),
        Metric("provider:active", "gauge", "1 for the provider that the present route uses"),
        Metric("retries:attempts", "gauge", "attempts that a client may make, the first included"),
        Metric("retries:amplification:ratio", "gauge", "calls made per call needed; 1 is none repeated"),
        Metric("retrieval:timeouts:ratio", "gauge", "share of vector searches that time out (0 when retrieval is bypassed)"),
        Metric("retrieval:index_age_seconds", "gauge", "how far the index in use is behind (0 when retrieval is bypassed)"),
        Metric("retrieval:recall:ratio", "gauge", "share of the relevant passages found, 0 to 1"),
        Metric("retrieval:bypassed", "gauge", "1 while the present route answers without retrieval"),
        Metric("quality:score", "gauge", "evaluation score of sampled answers, 0 to 1"),
        Metric("quality:groundedness", "gauge", "share of statements that the retrieved passages support, 0 to 1"),
        Metric("safety:unsafe:ratio", "gauge", "share of sampled answers that are unsafe, 0 to 1"),
        Metric("safety:filter_enabled", "gauge", "1 while a safety filter runs (not whether it catches anything)"),
        Metric("safety:refused:ratio", "gauge", "share of questions that policy refuses to answer, 0 to 1"),
        Metric("cost:usd_per_hour", "gauge", "tokens and replicas, in US dollars an hour"),
        Metric("cost:usd_per_answer", "gauge", "tokens and replicas per answered question, in US dollars"),
        Metric("cost:usd_today", "gauge", "US dollars spent since midnight UTC"),
        Metric("tokens_per_answer", "gauge", "tokens paid for per answered question, repeated calls included"),
        Metric("tokens_total", "counter", "tokens sent to and received from providers"),
        Metric("cache:hits:ratio", "gauge", "share of questions answered from the cache, 0 to 1"),
        Metric("limits:throttled:ratio", "gauge", "share of questions refused by our own limits, 0 to 1"),
        Metric("flag:enabled", "gauge", "1 while a feature flag is on"),
        Metric("route:active", "gauge", "1 for the present route"),
        Metric("limit:value", "gauge", "the present value of a limit"),
        Metric("release:info", "gauge", "1 for the version that a release unit runs"),
        Metric("release:evaluation", "gauge", "evaluation score, before release, of the version that a unit runs"),
    )
}


def family(name: str) -> str:
    """Return the metric family of a series: the histogram's name for its buckets, sum and count."""
    if name in METRICS:
        return name
    return name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
