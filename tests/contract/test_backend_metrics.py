"""The real Prometheus decides a verdict: what it measured before and after, not what a backend answered."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from actions.backends.metrics import KIND
from actions.contract import NotPermitted
from actions.kinds import Options
from actions.registry import Registry
from actions.runner import Runner
from actions.testing import RecordingBackend
from actions.verification import judge
from runbooks.operation import OutcomeStatus
from runbooks.run import Sample, Verdict
from runbooks.runbook import Diagnostic, Runbook
from tests.acting import LABELS, action, runbook
from tests.parts.alerting import needs_prometheus, prometheus
from tests.parts.answering import Answer, Asked, answering


class Exporter:
    """What Prometheus scrapes: one gauge, which falls to `after` when the thing is turned up."""

    def __init__(self, things: RecordingBackend) -> None:
        self.things, self.after, self.silent = things, 0.2, False

    def text(self) -> str:
        load = self.after if self.things.things["thing/reranker-v3"].value["value"] > 2 else 0.96
        return "" if self.silent else f'# TYPE load gauge\nload{{model="reranker-v3"}} {load}\nload{{model="answers-v7"}} 9\n'


@pytest.fixture
def exporter() -> Iterator[tuple[Exporter, str]]:
    things = RecordingBackend()
    things.put("thing/reranker-v3", {"value": 2})
    found = Exporter(things)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(found.text().encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield found, f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def measured_book() -> Runbook:
    """Turn it up, watched by what Prometheus says of the label's own model."""
    verify = {"diagnostic": "load", "settle": "1s", "holds": "< 0.5", "for": "1s", "fails": "> 2", "within": "8s", "otherwise": "ask"}
    book = runbook(action(verify=verify))
    load = Diagnostic.model_validate(
        {
            "id": "load", "title": "Load", "uses": "metrics.query", "with": {"query": "load{model=$model}"}, "bind": {"model": "{{ alert.labels.model }}"},
            "unit": "ratio",
        }
    )  # fmt: skip
    return Runbook(header=book.header.model_copy(update={"diagnostics": (load,)}), body="", source="", hash=book.hash)


def until_measured(runner: Runner, book: Runbook) -> float:
    """The first number that Prometheus has of it."""
    ends = time.monotonic() + 30
    while (found := measured(runner, book)) is None:
        assert time.monotonic() < ends, "Prometheus never scraped it"
        time.sleep(0.1)
    return found


def measured(runner: Runner, book: Runbook) -> float | None:
    diagnostic = book.diagnostic("load")
    assert diagnostic is not None
    return runner.measure(diagnostic, labels=LABELS, environment="production").value


@pytest.mark.debian
@pytest.mark.slow
@needs_prometheus
@pytest.mark.parametrize(
    ("after", "silent", "verdict"), [(0.2, False, Verdict.VERIFIED), (3.0, False, Verdict.FAILED), (0.9, False, Verdict.INCONCLUSIVE), (0.2, True, Verdict.INCONCLUSIVE)]
)  # fmt: skip
def test_s21_what_prometheus_measures_decides(
    after: float, silent: bool, verdict: Verdict, exporter: tuple[Exporter, str], tmp_path: Path
) -> None:
    """The same successful change is verified, failed or inconclusive by the measured value alone; silence is never recovery."""
    source, scrape = exporter
    source.after = after
    book = measured_book()
    step = book.header.actions[0]
    with prometheus(tmp_path, scrape=scrape) as url:
        metrics = KIND.build(Options({"url": url}), {})
        runner = Runner(registry=Registry([source.things, metrics]), now=lambda: datetime.now(UTC))
        assert until_measured(runner, book) == 0.96
        assert "1 targets are scraped" in metrics.probe(timeout=5)
        plan = runner.plan(step, runbook=book, labels=LABELS, parameters={}, environment="production", plan_id="p1")
        assert runner.execute(plan, runbook=book, labels=LABELS, key="k").status is OutcomeStatus.APPLIED
        source.silent = silent
        executed_at = datetime.now(UTC)
        samples: list[Sample] = []
        while (judged := judge(step.verify, samples, executed_at=executed_at, now=datetime.now(UTC))).verdict is None:
            assert judged.next_at is not None
            time.sleep(min(max((judged.next_at - datetime.now(UTC)).total_seconds(), 0.05), 1.0))
            samples.append(Sample(at=datetime.now(UTC), value=measured(runner, book)))
    assert judged.verdict is verdict, judged.reason
    assert judged.value == (None if silent else after)


@pytest.mark.parametrize(
    ("secrets", "header"),
    [({"token": "right"}, "Bearer right"), ({"username": "muster", "password": "right"}, "Basic bXVzdGVyOnJpZ2h0"), ({}, None)],
    ids=["bearer", "basic", "none"],
)
def test_credentials_go_along_with_each_question(secrets: dict[str, str], header: str | None) -> None:
    """A token goes as bearer, a name with a password as basic; both are read anew for each question, and never named when refused."""
    seen: list[str | None] = []

    def answer(asked: Asked) -> Answer:
        seen.append(asked.headers.get("authorization"))
        if seen[-1] != header:
            return 401, {"error": "no"}
        return 200, {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "3"]}]}}

    given = dict(secrets)
    with answering(answer) as url:
        metrics = KIND.build(Options({"url": url}), {name: (lambda name=name: given[name]) for name in secrets})
        assert "3 targets are scraped" in metrics.probe(timeout=5)
        if secrets:
            given |= dict.fromkeys(secrets, "sw0rdfish")
            with pytest.raises(NotPermitted) as refused:
                metrics.probe(timeout=5)
            assert "sw0rdfish" not in str(refused.value)
            assert seen[-1] not in {header, None}
            given |= dict.fromkeys(secrets, "two\nlines")
            if "token" in secrets:
                with pytest.raises(NotPermitted, match="cannot be sent"):
                    metrics.probe(timeout=5)
