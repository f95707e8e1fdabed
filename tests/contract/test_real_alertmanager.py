"""The real Alertmanager delivers to the real intake: firing, resolved, with its own authentication, through a restart of ours."""

import contextlib
import json
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from bot.configuration import parse
from bot.ingress.measures import IntakeCounters
from bot.ingress.server import routes
from bot.secret import Secrets
from runbooks.alert import Alert, AlertStatus
from storage import inbox
from storage.database import Database
from tests.ports import free_port

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
pytestmark = [
    pytest.mark.debian,
    pytest.mark.skipif(ALERTMANAGER is None, reason="prometheus-alertmanager is not installed (Debian's package of that name)"),
]
CONFIGURATION = "sources: {alertmanager: {kind: alertmanager, auth: bearer, secret: {env: TOKEN}}}"
ROUTES = """
route: {{receiver: muster, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: muster
    webhook_configs:
      - url: http://127.0.0.1:{port}/alerts/alertmanager
        send_resolved: true
        http_config: {{authorization: {{type: Bearer, credentials: {token}}}}}
"""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def until(ask: Callable[[], Any], *, seconds: float = 30.0) -> Any:
    """What `ask` answers, as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
    return answer


@dataclass
class Intake:
    """Our intake on a port, to be started and stopped."""

    database: Database
    port: int
    registry: CollectorRegistry

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        configuration = parse(CONFIGURATION)
        secrets = Secrets(environ={"TOKEN": "right"}, folder=Path())
        app = Starlette(
            routes=routes(
                database=self.database,
                sources=configuration.senders(secrets),
                change_sources={},
                clock=SystemClock(),
                on_accepted=lambda: None,
                metrics=IntakeCounters(self.registry),
            )
        )
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            until(lambda: server.started)
            yield
        finally:
            server.should_exit = True
            thread.join()

    def alerts(self) -> list[Alert]:
        received = self.database.read(lambda tx: inbox.take(tx, 1000))
        return [alert for delivery in received for alert in delivery.alerts()]

    def refused(self) -> float:
        return self.registry.get_sample_value("muster_deliveries_refused_total", {"source": "alertmanager", "status": "401"}) or 0.0


@pytest.fixture
def intake(sqlite_url: str) -> Iterator[Intake]:
    database = Database(url=sqlite_url)
    yield Intake(database=database, port=free_port(), registry=CollectorRegistry())
    database.close()


@contextlib.contextmanager
def alertmanager(folder: Path, *, to: int, token: str) -> Iterator[str]:
    """A real Alertmanager that delivers to a port; its own address."""
    port = free_port()
    (folder / "alertmanager.yml").write_text(ROUTES.format(port=to, token=token))
    command = [
        str(ALERTMANAGER),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/-/ready"))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def tell(url: str, labels: dict[str, str], *, over: bool = False) -> None:
    """What Prometheus does: hand Alertmanager an alert."""
    now = datetime.now(UTC)
    alert: dict[str, Any] = {
        "labels": labels,
        "annotations": {"summary": "p99 is 1.9 s"},
        "startsAt": (now - timedelta(minutes=5)).isoformat(),
    }
    alert["endsAt"] = (now if over else now + timedelta(hours=1)).isoformat()
    body = json.dumps([alert]).encode()
    request = urllib.request.Request(f"{url}/api/v2/alerts", data=body, headers={"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=5).close()


LABELS = {"alertname": "ModelLatencyP99High", "service": "answers", "note": 'quote " and <!channel>'}


def test_an_alert_fires_and_resolves(intake: Intake, tmp_path: Path) -> None:
    """What the real Alertmanager sends is on disk: the same alert first firing, then resolved with its end."""
    with intake.serving(), alertmanager(tmp_path, to=intake.port, token="right") as url:
        tell(url, LABELS)
        fired = until(intake.alerts)[0]
        tell(url, LABELS, over=True)
        resolved = until(lambda: [alert for alert in intake.alerts() if alert.status is AlertStatus.RESOLVED])[0]
    assert fired.labels == LABELS
    assert (fired.status, fired.ends_at, fired.title) == (AlertStatus.FIRING, None, "p99 is 1.9 s")
    assert resolved.fingerprint == fired.fingerprint
    assert resolved.ends_at is not None
    assert intake.refused() == 0


def test_an_alert_waits_while_muster_is_away(intake: Intake, tmp_path: Path) -> None:
    """An alert that fires while nothing listens is delivered when Muster is back."""
    with alertmanager(tmp_path, to=intake.port, token="right") as url:
        tell(url, LABELS)
        until(lambda: b"refused" in (tmp_path / "log").read_bytes())
        with intake.serving():
            assert until(intake.alerts)[0].labels == LABELS


def test_a_wrong_token_leaves_only_a_count(intake: Intake, tmp_path: Path) -> None:
    """An Alertmanager with the wrong token is refused; nothing is on disk but the counter counts."""
    with intake.serving(), alertmanager(tmp_path, to=intake.port, token="wrong") as url:
        tell(url, LABELS)
        until(intake.refused)
        assert intake.alerts() == []
