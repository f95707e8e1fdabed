"""A real MLflow server with an empty registry, and the registry as somebody else uses it: over REST, without the product."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.ports import free_port

STARTS_WITHIN = 100.0  # seconds; it takes six to thirteen on an idle machine


class Registry:
    """The registry from outside."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=f"{url}/api/2.0/mlflow", trust_env=False, timeout=20)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """A request that changes something; its answer."""
        return self._answer(self._client.post(path, json=body))

    def get(self, path: str, **asked: str) -> dict[str, Any]:
        """A request that reads; its answer."""
        return self._answer(self._client.get(path, params=asked))

    def run(self, **metrics: float) -> str:
        """A finished run with these metrics; its id."""
        run = self.post("runs/create", experiment_id="0", start_time=1)["run"]["info"]["run_id"]
        for key, value in metrics.items():
            self.post("runs/log-metric", run_id=run, key=key, value=value, timestamp=1)
        return str(run)

    def model(self, name: str, *versions: dict[str, str], alias: str = "champion", at: str = "") -> None:
        """A model with versions of these tags, the oldest first, and its alias at one of them, by default the newest.

        A tag `run_id` is no tag but the run that the version came from.
        """
        self.post("registered-models/create", name=name)
        for tags in versions:
            tagged = [{"key": key, "value": value} for key, value in tags.items() if key != "run_id"]
            run = {"run_id": tags["run_id"]} if "run_id" in tags else {}
            self.post("model-versions/create", name=name, source="s3://models/x", tags=tagged, **run)
        self.move(name, at or str(len(versions)), alias=alias)

    def move(self, name: str, version: str, *, alias: str = "champion") -> None:
        """Move the alias, as another person would."""
        self.post("registered-models/alias", name=name, alias=alias, version=version)

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    @staticmethod
    def _answer(answer: httpx.Response) -> dict[str, Any]:
        assert answer.is_success, answer.text
        return dict(answer.json())


@contextmanager
def mlflow() -> Iterator[Registry]:
    """A server on a free port of this machine, with a database in a folder of its own, stopped with all of its processes."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="muster-mlflow-") as folder:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--default-artifact-root", f"{folder}/artifacts"]
        # Without this, workers for jobs outlive the server.
        quiet = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        process = subprocess.Popen(command, cwd=folder, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        registry = Registry(f"http://127.0.0.1:{port}")
        try:
            _wait(registry, process)
            yield registry
        finally:
            registry.close()
            process.terminate()
            process.wait(30)


def _wait(registry: Registry, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise RuntimeError(f"MLflow ended with {process.returncode} while it started")
        try:
            if httpx.get(f"{registry.url}/health", trust_env=False, timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"MLflow did not start within {STARTS_WITHIN:.0f} s")
