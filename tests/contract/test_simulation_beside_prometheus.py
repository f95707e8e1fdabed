"""The PromQL subset against the real Prometheus, over the same samples scraped from /metrics."""

import asyncio
import shutil
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import uvicorn

from actions.simulation.alerts import RULES
from actions.simulation.hosting import Harbour
from actions.simulation.server import create_app
from tests.ports import free_port

pytestmark = [
    pytest.mark.debian,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian's prometheus is not installed (apt-get install prometheus)"),
]

# Thirty samples, two seconds apart. The queries look back from one second after a sample, so that no sample lies on the edge of a range:
# there release 2.42 still counts one more than release 3, which the subset follows.
SAMPLES = 30
QUERIES = (
    "inference:cpu:ratio",
    'model:latency_seconds:p99{model="reranker-v3"}',
    'model:latency_seconds:p99{model!="reranker-v3"}',
    'model:latency_seconds:p99{model=~"rer.*|x"}',
    'model:latency_seconds:p99{model!~"rer.*"}',
    '{__name__=~"inference:.*", pool="reranker-v3"}',
    "inference:cpu:ratio offset 20s",
    "no_such_series",
    "rate(requests_total[30s])",
    "increase(requests_total[30s])",
    "increase(failed_requests_total[20s] offset 10s)",
    "avg_over_time(quality:score[30s])",
    "max_over_time(inference:cpu:ratio[30s])",
    "min_over_time(inference:cpu:ratio[30s])",
    "sum_over_time(inference:queue_depth[30s])",
    "last_over_time(inference:queue_depth[30s])",
    "quantile_over_time(0.9, inference:queue_depth[40s])",
    "changes(inference:replicas[50s])",
    "changes(inference:queue_depth[50s])",
    "sum(rate(requests_total[30s]))",
    "sum by (customer) (rate(requests_total[30s]))",
    "sum without (customer, code) (rate(requests_total[30s]))",
    "avg by (model) (model:latency_seconds:p99)",
    "min(inference:cpu:ratio)",
    "max(inference:cpu:ratio)",
    "count by (code) (requests_total)",
    "topk(3, sum by (customer) (increase(requests_total[30s])))",
    "bottomk(2, sum by (customer) (increase(requests_total[30s])))",
    'topk(10, sum by (customer) (increase(slow_requests_total{model="reranker-v3"}[30s])) >= 1)',
    "histogram_quantile(0.99, sum by (le, model) (rate(model_latency_seconds_bucket[30s])))",
    "histogram_quantile(0.5, latency_seconds_bucket)",
    'histogram_quantile(0.999, rate(latency_seconds_bucket{stage="total"}[40s]))',
    "rate(model_latency_seconds_sum[30s]) / rate(model_latency_seconds_count[30s])",
    "inference:in_flight - inference:queue_depth",
    "inference:replicas / on (pool) inference:replicas_desired",
    "inference:replicas * ignoring (x) inference:service_rate",
    "inference:cpu:ratio > 0.5",
    "inference:cpu:ratio > bool 0.5",
    "0.5 < inference:cpu:ratio",
    "inference:replicas == inference:replicas_desired",
    "-inference:cpu:ratio ^ 2",
    "inference:queue_depth % 3",
    "inference:cpu:ratio / 0",
    "abs(-quality:score)",
    "clamp(inference:queue_depth, 1, 10)",
    "clamp_min(inference:queue_depth, 5)",
    "clamp_max(inference:queue_depth, 5)",
    "round(inference:cpu:ratio, 0.05)",
    "round(inference:queue_depth)",
    "time()",
    "time() - 1e3 * 2 ^ 3 ^ 2 % 7",
    "(1 + 2) * -3",
    "1 > bool 2",
    "sum(inference:replicas) by (pool) * 3.1",
    *(rule.expression for rule in RULES),
)


def until(question, what):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            answer = question()
        except httpx.TransportError:
            answer = None
        if answer:
            return answer
        time.sleep(0.03)
    raise AssertionError(f"not within 30 s: {what}")


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    """The service at speed 0, two minutes in the past, so that Prometheus takes its samples as just gone by."""
    start = datetime.now(UTC) - timedelta(minutes=2)
    harbour = Harbour(tmp_path_factory.mktemp("simulation"), speed=0.0, wall=lambda: start)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(harbour), host="127.0.0.1", port=port, log_level="critical"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    until(lambda: server.started, "the simulated service starts")
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def prometheus(simulation, tmp_path_factory):
    """The real Prometheus, scraping the service ten times a second with the samples' own times."""
    home = tmp_path_factory.mktemp("prometheus")
    config = home / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 100ms, scrape_timeout: 100ms}\n"
        "scrape_configs:\n"
        "  - job_name: simulation\n"
        "    honor_labels: true\n"
        "    params: {timestamps: ['1']}\n"
        f"    static_configs: [{{targets: ['{simulation.removeprefix('http://')}']}}]\n"
        "    metric_relabel_configs: [{regex: 'instance|job', action: labeldrop}]\n"
    )
    port = free_port()
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={home / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    until(lambda: httpx.get(f"{address}/-/ready", trust_env=False).status_code == 200, "Prometheus starts")
    yield address
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="module")
def both(simulation, prometheus):
    """Both, after the service has lived through a minute with a fault and a mending, every sample of it scraped."""
    with httpx.Client(trust_env=False, timeout=10) as wire:
        wire.post(f"{simulation}/faults", json={"kind": "traffic"})
        for number in range(SAMPLES):
            if number == SAMPLES // 2:
                wire.put(f"{simulation}/targets/pool/inference/reranker-v3", json={"value": {"replicas": 4}, "by": "test"})
            at = datetime.fromisoformat(wire.post(f"{simulation}/clock/advance", json={"seconds": 2}).json()["now"]).timestamp()
            query = {"query": "timestamp(tokens_per_answer)", "time": at + 1}
            until(lambda query=query, at=at: scraped(wire, prometheus, query, at), f"sample {number} is scraped")
        yield lambda address, query: wire.get(f"{address}/api/v1/query", params={"query": query, "time": at + 1}).json()


def scraped(wire, prometheus, query, at):
    result = wire.get(f"{prometheus}/api/v1/query", params=query).json()["data"]["result"]
    return bool(result) and float(result[0]["value"][1]) == at


def by_labels(data):
    if data["resultType"] == "scalar":
        return {(): float(data["result"][1])}
    return {tuple(sorted(entry["metric"].items())): float(entry["value"][1]) for entry in data["result"]}


@pytest.mark.parametrize("query", QUERIES)
def test_same_answer_as_prometheus(both, simulation, prometheus, query):
    """Prometheus and the subset give the same series with the same values."""
    theirs, ours = both(prometheus, query), both(simulation, query)
    assert theirs["status"] == ours["status"] == "success"
    expected, found = by_labels(theirs["data"]), by_labels(ours["data"])
    assert found == {labels: pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True) for labels, value in expected.items()}


def test_the_minute_was_lively(both, prometheus):
    """The samples compared hold a fault and a scaling, so that equal answers mean something."""
    assert by_labels(both(prometheus, "changes(inference:replicas[58s])")["data"])[(("pool", "reranker-v3"),)] == 1
    assert max(by_labels(both(prometheus, "max_over_time(model:latency_seconds:p99[58s])")["data"]).values()) > 0.5


@pytest.mark.parametrize(
    "query", ["sum(", "rate(inference:cpu:ratio)", "{}", "1 > 2", "inference:cpu:ratio[5m] + 1", "speed{a}", "topk(inference:cpu:ratio, 1)"]
)
def test_what_prometheus_refuses_is_refused(both, simulation, prometheus, query):
    """What is no query for Prometheus is none here, with the same error type."""
    theirs, ours = both(prometheus, query), both(simulation, query)
    assert (ours["status"], ours["errorType"]) == (theirs["status"], theirs["errorType"]) == ("error", "bad_data")
