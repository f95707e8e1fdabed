"""A real Unleash on a database of its own."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.parts import npm
from tests.ports import free_port

PACKAGE = "unleash-server"
ADMIN = "*:*.the-test-s-admin-token"  # it calls itself "admin"
CLIENT = "default:production.the-test-s-client-token"
READY_WITHIN = 60.0  # seconds; a fresh database takes about 6


@dataclass(frozen=True, slots=True)
class Running:
    """A running Unleash, and what a person would do in it."""

    url: str
    client: httpx.Client = field(repr=False)

    def flag(self, name: str, *, on: bool = True, environment: str = "production") -> None:
        """A flag, on or off for everyone."""
        self._do("POST", "/api/admin/projects/default/features", json={"name": name, "type": "release"})
        if on:
            self.switch(name, on=True, environment=environment)

    def switch(self, name: str, *, on: bool, environment: str = "production") -> None:
        """Switch it, as somebody else would."""
        self._do("POST", f"/api/admin/projects/default/features/{name}/environments/{environment}/{'on' if on else 'off'}")

    def strategy(self, name: str, *, disabled: bool, environment: str = "production") -> None:
        """Give it a strategy for everyone, active or not."""
        path = f"/api/admin/projects/default/features/{name}/environments/{environment}/strategies"
        parameters = {"rollout": "100", "stickiness": "default", "groupId": name}
        self._do("POST", path, json={"name": "flexibleRollout", "parameters": parameters, "disabled": disabled})

    def archive(self, name: str) -> None:
        """Put the flag away."""
        self._do("DELETE", f"/api/admin/projects/default/features/{name}")

    def _do(self, method: str, path: str, **more: Any) -> None:
        self.client.request(method, path, **more).raise_for_status()


@contextmanager
def running(database_url: str, *, log: Path) -> Iterator[Running]:
    """Unleash over an empty database that is reached by a Unix socket (`postgresql://postgres:@/name?host=/folder`)."""
    database = urlsplit(database_url)
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_HOST": parse_qs(database.query)["host"][0],
        "DATABASE_USERNAME": database.username or "postgres",
        "DATABASE_PASSWORD": "unused",
        "DATABASE_NAME": database.path.strip("/"),
        "DATABASE_SSL": "false",
        "INIT_ADMIN_API_TOKENS": ADMIN,
        "INIT_BACKEND_API_TOKENS": CLIENT,
        "CHECK_VERSION": "false",
        "SEND_TELEMETRY": "false",
        "HTTP_HOST": "127.0.0.1",
        "PORT": str(port),
        "NODE_ENV": "production",
    }
    command = [str(npm.node()), str(npm.FOLDER / PACKAGE / "dist" / "server.js")]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=url, headers={"Authorization": ADMIN}, timeout=30, trust_env=False) as client:
            _wait(client, process, log)
            yield Running(url, client)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + READY_WITHIN
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise RuntimeError(f"Unleash ended while it started: {log.read_text()[-2000:]}")
        try:
            if client.get("/health").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"Unleash was not ready within {READY_WITHIN:.0f} s: {log.read_text()[-2000:]}")
