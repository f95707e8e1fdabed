"""AWS as moto imitates it: a server of this test's own, whose state one request clears."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import httpx
from botocore.config import Config

from tests.ports import free_port

REGION = "eu-central-1"
KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "moto-takes-any-secret"}
RUNNING = 2  # tasks of a new ECS service that run at once; one that wants more is in the middle of its deployment
STARTS_WITHIN = 60.0  # seconds; it takes two on an idle machine


class Moto:
    """A running moto server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self, service: str) -> Any:
        """A client that has nothing to do with the product: how somebody else sees and changes things."""
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id="SOMEBODYELSE",
            aws_secret_access_key="another",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def clear(self) -> None:
        """Forget everything."""
        httpx.post(f"{self.url}/moto-api/reset", trust_env=False, timeout=20).raise_for_status()


@contextmanager
def moto() -> Iterator[Moto]:
    """A server on a free port of this machine, stopped by its process."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, "MOTO_ECS_SERVICE_RUNNING": str(RUNNING)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        running = Moto(f"http://127.0.0.1:{port}")
        _wait(running, process)
        yield running
    finally:
        process.terminate()
        process.wait(20)


def _wait(running: Moto, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise RuntimeError(f"moto ended with {process.returncode} while it started")
        try:
            if httpx.get(f"{running.url}/moto-api/data.json", trust_env=False, timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"moto did not start within {STARTS_WITHIN:.0f} s")
