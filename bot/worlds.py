"""The simulated worlds that drills act in: opened and closed over HTTP, in the demo's service or in one started for the purpose."""

import fcntl
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import httpx
import structlog

from actions.runner import Runner
from actions.worlds import drill_registry
from bot.ports import DeliveryError
from runbooks.value import Json

log = structlog.get_logger(__name__)

START_WITHIN = 10.0
CALL_TIMEOUT = 5.0
ADDRESS = "address"
KEPT = 32  # runners of worlds; another replica may have taken a world away, so that nobody here was told
FELT_AFTER = 120.0
"""Seconds for which a drill's fault has been at work when its alert comes."""


class Worlds:
    """Where drills happen. `url` is a running simulation; without one, a process of our own is started when the first drill needs it."""

    def __init__(self, *, url: str | None, folder: Path | None, now: Callable[[], datetime]) -> None:
        self._url, self._folder, self._now = url, folder, now
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._runners: dict[str, Runner] = {}

    def open(self, world: str, plan: Mapping[str, Json]) -> None:
        """Make the world, or find it made already.

        Raises:
            DeliveryError: the simulation does not answer; trying again is harmless.
        """
        given = {key: value for key, value in plan.items() if value is not None}
        made = self._call("POST", "/worlds", {"id": world, "seed": _seed(world), **given}).json()
        age = (datetime.fromisoformat(made["now"]) - datetime.fromisoformat(made["origin_at"])).total_seconds()
        if age < FELT_AFTER:
            # An alert comes when the trouble is there, not when it begins: let the fault be felt before anybody is called.
            self._call("POST", f"/worlds/{world}/clock/advance", {"seconds": FELT_AFTER - age})

    def close(self, world: str) -> None:
        """Take the world away; one that is gone already is no error."""
        self._runners.pop(world, None)
        self._call("DELETE", f"/worlds/{world}", None)

    def runner(self, world: str) -> Runner:
        """The runner of one drill, built without production backends (rule S27)."""
        url = self.url()
        found = self._runners.get(world)
        if found is None:
            if len(self._runners) >= KEPT:
                self._runners.clear()
            found = self._runners[world] = Runner(registry=drill_registry(url=url, world=world), now=self._now)
        return found

    def url(self) -> str:
        """Where the simulation answers; starts one if none runs.

        Raises:
            DeliveryError: none is configured and none can be started here.
        """
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                log.warning("simulation.ended", code=self._process.returncode)
                self._process, self._url = None, None
                self._runners.clear()  # they know the old address
            if self._url is None:
                self._url = self._start()
            return self._url

    def stop(self) -> None:
        """End the process that was started here, if one was."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def _start(self) -> str:
        if self._folder is None:
            raise DeliveryError(
                "Drills need a simulated world that every replica reaches: "
                "run `python -m actions.simulation` and set MUSTER_SIMULATION_URL.",
                certain=True,
                permanent=True,
            )
        folder = self._folder / "drills"
        folder.mkdir(parents=True, exist_ok=True)
        if left := _left_over(folder):
            log.info("simulation.found", url=left)
            return left
        port = free_port()
        command = [sys.executable, "-m", "actions.simulation", "--port", str(port), "--data", str(folder), "--seed", "7"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - our own module
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(f"{url}/healthz", within=START_WITHIN)
        except DeliveryError:
            self._process.kill()  # the next attempt starts another one
            self._process.wait(timeout=5)
            self._process = None
            raise
        (folder / ADDRESS).write_text(url)
        log.info("simulation.started", url=url)
        return url

    def _call(self, method: str, path: str, body: Mapping[str, Json] | None) -> httpx.Response:
        try:
            answer = httpx.request(method, f"{self.url()}{path}", json=body, timeout=CALL_TIMEOUT)
        except httpx.HTTPError as error:
            raise DeliveryError(f"The simulated world does not answer: {type(error).__name__}.", certain=True) from error
        if answer.status_code >= 500:
            raise DeliveryError(f"The simulated world answered {answer.status_code}.", certain=True)
        if answer.is_client_error and not (method == "DELETE" and answer.status_code == 404):
            raise DeliveryError(f"The simulated world refused: {answer.text[:300]}", certain=True, permanent=True)
        return answer


def _left_over(folder: Path) -> str | None:
    """The simulation that an earlier Muster started here and left behind when it was killed: its worlds go on there."""
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return None  # nobody serves this folder
    try:
        url = (folder / ADDRESS).read_text()
        return url if httpx.get(f"{url}/healthz", timeout=1.0).status_code == 200 else None
    except (OSError, httpx.HTTPError, httpx.InvalidURL):
        return None


def _seed(world: str) -> int:
    """A drill's world is its own and the same each time that it is made."""
    digits = "".join(letter for letter in world if letter.isdigit())
    return int(digits or "7")


def free_port() -> int:
    """A port on the loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, *, within: float) -> None:
    """Wait until `url` answers 200.

    Raises:
        DeliveryError: it did not, within so many seconds.
    """
    ends = time.monotonic() + within
    while time.monotonic() < ends:
        try:
            if httpx.get(url, timeout=1.0).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise DeliveryError(f"{url} did not answer within {within:g} s.", certain=True)
