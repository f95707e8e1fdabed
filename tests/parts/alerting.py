"""The real Alertmanager and the real Prometheus of Debian's packages, each on a free port, in a folder of the test's own."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.ports import free_port

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
PROMETHEUS = shutil.which("prometheus")
READY_WITHIN = 30.0

needs_alertmanager = pytest.mark.skipif(
    ALERTMANAGER is None, reason="prometheus-alertmanager is not installed (Debian's package of that name)"
)
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed (Debian's package of that name)")

ROUTES = "route: {receiver: nobody, group_wait: 0s, group_interval: 1s}\nreceivers: [{name: nobody}]\n"


@contextlib.contextmanager
def _running(command: list[str], url: str, folder: Path) -> Iterator[str]:
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
        try:
            ends = time.monotonic() + READY_WITHIN
            while not _ready(url):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < ends, "it was not ready in time"
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False, timeout=2).is_success
    except httpx.HTTPError:
        return False


@contextlib.contextmanager
def alertmanager(folder: Path) -> Iterator[str]:
    """An Alertmanager that tells nobody; its address."""
    port = free_port()
    (folder / "alertmanager.yml").write_text(ROUTES)
    command = [str(ALERTMANAGER), "--config.file=alertmanager.yml", "--storage.path=data", f"--web.listen-address=127.0.0.1:{port}"]
    with _running([*command, "--cluster.listen-address="], f"http://127.0.0.1:{port}", folder) as url:
        yield url


@contextlib.contextmanager
def prometheus(folder: Path, *, scrape: str) -> Iterator[str]:
    """A Prometheus that scrapes `scrape` (host:port) every 200 ms; its address."""
    port = free_port()
    jobs = f"scrape_configs: [{{job_name: it, static_configs: [{{targets: ['{scrape}']}}]}}]"
    (folder / "prometheus.yml").write_text(f"global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n{jobs}\n")
    command = [str(PROMETHEUS), "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}"]
    with _running(command, f"http://127.0.0.1:{port}", folder) as url:
        yield url
