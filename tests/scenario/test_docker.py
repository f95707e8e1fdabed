"""The container as an operator runs it: built from docker/Dockerfile, read-only but for its volume, not root, stopped and started again."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from storage import inbox, incidents
from storage.database import Database
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "docker.sh"
USER = 10001
PACKED = ("/incidents", "/runbooks/inference-latency", "/pages/muster.css")
"""What shows that templates, runbooks and styles came along into the image."""
CONFIGURATION = """
people: {ana: {name: Ana Silva, email: ana@example.com}}
teams: {ml-platform: {lead: ana, members: [ana]}}
services: {answers: {owner: ml-platform}}
sources: {alertmanager: {kind: alertmanager, auth: bearer, secret: {env: ALERTMANAGER_TOKEN}}}
"""

pytestmark = [pytest.mark.debian, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def _image() -> None:
    if os.geteuid() != 0:
        pytest.skip("building an image without a daemon needs root")
    missing = [tool for tool in ("buildah", "podman", "runc", "debootstrap") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (tests/debian.sh brings them)")
    built = subprocess.run([SCRIPT, "build"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-3000:]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The volume, owned by the container's user, and the configuration."""
    data, etc = tmp_path / "data", tmp_path / "etc"
    data.mkdir()
    etc.mkdir()
    os.chown(data, USER, USER)
    (etc / "muster.yaml").write_text(CONFIGURATION)
    return data, etc


@contextmanager
def container(data: Path, etc: Path, name: str) -> Iterator[str]:
    """A running container's URL; ended by SIGTERM, and the test fails if it does not heed that."""
    port = free_port()
    log = data.parent / f"{name}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen([SCRIPT, "run", name, data, etc, str(port), "ALERTMANAGER_TOKEN=of-the-tests"], stdout=sink, stderr=sink)
    try:
        yield _ready(f"http://127.0.0.1:{port}", process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=20)
    assert code == 0, f"ended with {code}: {log.read_text()[-2000:]}"
    assert "disk I/O error" not in log.read_text(), "something wanted to write outside the volume"


def _ready(url: str, process: subprocess.Popen[bytes], log: Path) -> str:
    ends = time.monotonic() + 90
    while time.monotonic() < ends and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=2).status_code == 200:
                return url
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError(f"the container was not ready: {log.read_text()[-2000:]}")


def deliver(url: str) -> int:
    """One alert as Alertmanager sends it; the answer's status."""
    body = (ROOT / "tests" / "samples" / "alertmanager_webhook_firing.json").read_bytes()
    return httpx.post(f"{url}/alerts/alertmanager", content=body, headers={"Authorization": "Bearer of-the-tests"}, timeout=10).status_code


@pytest.mark.usefixtures("_image")
def test_a_container_keeps_its_incident_over_a_restart(folders: tuple[Path, Path]) -> None:
    """Read-only, without root and capabilities it is healthy, takes an alert, and after a restart knows it again."""
    data, etc = folders
    name = f"muster-test-{os.getpid()}"
    with container(data, etc, name) as url:
        assert deliver(url) == 202
        healthy = subprocess.run([SCRIPT, "healthy", name], capture_output=True, text=True, check=False)
        assert healthy.returncode == 0, healthy.stderr
        assert {path: httpx.get(f"{url}{path}", timeout=10).status_code for path in PACKED} == dict.fromkeys(PACKED, 200)
    assert (data / "muster.sqlite").stat().st_uid == USER
    with container(data, etc, f"{name}-again") as url:
        assert deliver(url) == 202
        _folded(data)
    database = Database(url=f"sqlite:///{data / 'muster.sqlite'}")
    try:
        opened = database.read(incidents.open_ones)
    finally:
        database.close()
    assert len(opened) == 1, "the same alert after the restart must be known"


def _folded(data: Path) -> None:
    """Wait until triage has taken what was accepted."""
    database = Database(url=f"sqlite:///{data / 'muster.sqlite'}")
    try:
        ends = time.monotonic() + 30
        while database.read(inbox.waiting) and time.monotonic() < ends:
            time.sleep(0.1)
        assert database.read(inbox.waiting) == 0
    finally:
        database.close()


@pytest.mark.usefixtures("_image")
def test_a_container_without_a_configuration_shows_one(tmp_path: Path) -> None:
    """Started without muster.yaml it serves nothing, shows the example to start from, and ends with the code for wrong configuration."""
    data, etc = tmp_path / "data", tmp_path / "etc"
    data.mkdir()
    etc.mkdir()
    done = subprocess.run(
        [SCRIPT, "run", f"muster-bare-{os.getpid()}", data, etc, str(free_port())], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 2
    assert (ROOT / "muster.example.yaml").read_text() in done.stderr.replace("\r\n", "\n")
