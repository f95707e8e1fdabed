"""A diagnostic asked about the past, against the simulated service over the wire: by the server's own clock."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
import uvicorn

from actions.runner import Runner
from actions.simulation.hosting import Harbour
from actions.simulation.server import create_app
from actions.worlds import drill_registry
from runbooks.operation import Measurement
from runbooks.runbook import Diagnostic

QUERY = "model:latency_seconds:p99{model='reranker-v3'}"
P99 = Diagnostic.model_validate({"id": "p99", "title": "p99", "uses": "metrics.query", "with": {"query": QUERY}, "unit": "s"})
LOG = Diagnostic.model_validate({"id": "log", "title": "Log", "uses": "http.get", "with": {"url": "/log"}})


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The simulated service on a port of its own, its clock moved by hand only, years away from ours."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = create_app(Harbour(tmp_path_factory.mktemp("harbour"), speed=0.0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    ends = time.monotonic() + 20
    while not server.started and time.monotonic() < ends:
        time.sleep(0.02)
    assert server.started
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=20)


@pytest.fixture
def slow(service: str) -> Iterator[Runner]:
    """A world that was well for ten minutes and has been slow for five since, and a runner whose own clock stands elsewhere."""
    with httpx.Client(timeout=30, trust_env=False) as client:
        plan = {"id": "past", "replicas": 2, "arrival_rate": 40.0}
        assert client.post(f"{service}/worlds", json=plan).status_code == 201
        world = f"{service}/worlds/past"
        client.post(f"{world}/clock/advance", json={"seconds": 600}).raise_for_status()
        assert client.post(f"{world}/faults", json={"kind": "traffic", "parameters": {"factor": 2.5}}).status_code == 201
        client.post(f"{world}/clock/advance", json={"seconds": 300}).raise_for_status()
        yield Runner(registry=drill_registry(url=service, world="past"), now=lambda: datetime(2031, 1, 1, tzinfo=UTC))
        client.delete(f"{service}/worlds/past")


def asked(runner: Runner, diagnostic: Diagnostic, ago: float) -> Measurement:
    """One diagnostic in production, so many seconds ago."""
    return runner.measure(diagnostic, labels={}, environment="production", ago=ago)


def test_s30_a_metric_is_read_as_it_was_by_the_servers_own_clock(slow: Runner) -> None:
    """The present is slow and ten minutes ago was not, although our own clock stands years away from the server's."""
    present, past = asked(slow, P99, 0.0), asked(slow, P99, 600.0)
    assert present.value is not None
    assert past.value is not None
    assert past.value < 0.5 < present.value


def test_s30_before_the_first_sample_there_is_no_data(slow: Runner) -> None:
    """A past that the server does not know is no data, and never zero."""
    assert asked(slow, P99, 7 * 86400.0).value is None


def test_s30_what_cannot_look_back_says_so(slow: Runner) -> None:
    """A diagnostic without a past is an error that names it, and not its present value."""
    found = asked(slow, LOG, 600.0)
    assert found.value is None
    assert "cannot be asked about the past" in (found.error or "")
