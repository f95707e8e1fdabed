"""The processes that are measured, each started on 127.0.0.1 and ended by its own id, and the configuration they share."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import httpx

from bot.worlds import free_port
from runbooks.scaffold import new
from runbooks.severity import IncidentClass
from storage import migrations
from storage.database import Database

ROOT = Path(__file__).parents[2]
CONNECTIONS = 32
TOKEN = "the-token-of-the-bench"
SIGNING_SECRET = "the-signing-secret-of-the-bench"
CHANNELS = 60
RUNBOOKS = 30
SERVICES_A_RUNBOOK = 4  # five open incidents of one runbook within ten minutes are a storm, and share one card


class NotReady(AssertionError):
    """A process did not come up; the sentence names its log."""


def environment_of_secrets() -> dict[str, str]:
    """The secrets that the bench's configuration refers to."""
    return {"MUSTER_SECRET_BENCH": TOKEN}


def service(number: int) -> str:
    """The name of one of the bench's services."""
    return f"service-{number}"


def alert_name(number: int) -> str:
    """The alert of one of the bench's runbooks, as `scaffold.new` derives it from the runbook's id."""
    return f"Bench{number}"


def write_configuration(folder: Path, outside_port: int) -> Path:
    """A muster.yaml with a channel for each service, so that Slack's pace for one channel is not what is measured."""
    folder.mkdir(parents=True, exist_ok=True)
    services = "\n".join(
        f"  {service(n)}: {{owner: ml-platform, channel: C0BENCH{n % CHANNELS:03}}}" for n in range(RUNBOOKS * SERVICES_A_RUNBOOK)
    )
    (folder / "muster.yaml").write_text(
        "time_zone: UTC\n"
        "channels: {incidents: C0BENCH000}\n"
        "people:\n  ana: {name: Ana Silva, email: ana@example.com, slack_id: U01ANA0000}\n"
        "  ben: {name: Ben Okafor, email: ben@example.com, slack_id: U01BEN0000}\n"
        "teams: {ml-platform: {lead: ana, members: [ana, ben]}}\n"
        f"services:\n{services}\n"
        "sources: {alertmanager: {kind: alertmanager, auth: bearer, secret: {env: MUSTER_SECRET_BENCH}}}\n"
        f"backends: {{prometheus: {{kind: metrics, url: 'http://127.0.0.1:{outside_port}'}}}}\n"
    )
    return folder / "muster.yaml"


def write_runbooks(folder: Path) -> Path:
    """Runbooks of the shape that `muster runbooks new` makes, one for each alert of the bench."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(RUNBOOKS):
        text = new(
            f"bench-{number}",
            title=f"Trouble number {number}",
            incident_class=IncidentClass.AVAILABILITY,
            owner="ml-platform",
            reviewed=date(2026, 11, 1),
        )
        (folder / f"bench-{number}.md").write_text(text)
    return folder


class Process:
    """One server under measurement."""

    def __init__(self, name: str, command: list[str], *, folder: Path, port: int, environment: dict[str, str]) -> None:
        self.port, self._log = port, folder / f"{name}.log"
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("MUSTER_", "SLACK_", "PAGERDUTY_"))}
        self.began = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env={**clean, **environment})

    def wait_ready(self, *, within: float = 60.0) -> float:
        """Seconds from its start until it answers that it is ready."""
        with httpx.Client(timeout=5.0) as client:
            while time.perf_counter() - self.began < within and self._process.poll() is None:
                try:
                    if client.get(f"http://127.0.0.1:{self.port}/readyz").status_code == 200:
                        return time.perf_counter() - self.began
                except httpx.HTTPError:
                    time.sleep(0.005)
        raise NotReady(f"{self._log.name} says: {self._log.read_text()[-2000:]}")

    def memory(self) -> float:
        """Resident memory in megabytes (10^6 bytes), as Linux counts it."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self._process.pid}/status").read_text())
        assert found, "this bench reads /proc"
        return int(found.group(1)) * 1024 / 1e6

    def stop(self) -> None:
        """Ask it to end, then insist."""
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def limit(mode: str, *, folder: Path, database: str, configuration: Path) -> Iterator[Process]:
    """One of the bare endpoints, ready."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.bare", mode, "--port", str(port), "--database", database, "--config", str(configuration)]
    process = Process(mode, command, folder=folder, port=port, environment=environment_of_secrets())
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()


def upgraded(url: str) -> str:
    """The URL of a database that Muster will serve. PostgreSQL's schema is brought up to date first, as an operator does; SQLite does it itself."""
    if not url.startswith("sqlite"):
        database = Database(url=url)
        migrations.upgrade(database, "pre")
        database.close()
    return url


@contextmanager
def muster(*, folder: Path, database: str, configuration: Path, outside_port: int, runbooks: Path) -> Iterator[Process]:
    """The whole of Muster, started; whoever wants it ready calls `wait_ready`."""
    port = free_port()
    environment = {
        **environment_of_secrets(),
        "MUSTER_CONFIG": str(configuration),
        "MUSTER_DATABASE_URL": database,
        "MUSTER_HTTP_PORT": str(port),
        "MUSTER_RUNBOOKS": os.pathsep.join([str(ROOT / "runbooks" / "library"), str(runbooks)]),
        "MUSTER_LOG_LEVEL": "warning",
        "MUSTER_SLACK_API_URL": f"http://127.0.0.1:{outside_port}/api/",
        "SLACK_BOT_TOKEN": "xoxb-bench",
        "SLACK_SIGNING_SECRET": SIGNING_SECRET,
    }
    process = Process("muster", [sys.executable, "-m", "bot", "serve"], folder=folder, port=port, environment=environment)
    try:
        yield process
    finally:
        process.stop()
