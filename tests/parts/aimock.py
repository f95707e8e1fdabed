"""A model provider that speaks OpenAI's and Anthropic's shapes, as npm brings it; it answers, or says 429 to everybody."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.parts import npm
from tests.ports import free_port

PACKAGE = "@copilotkit/aimock"
READY = 20.0  # seconds
CHAT = {"model": "answers-v7", "messages": [{"role": "user", "content": "hello"}]}


@dataclass(frozen=True, slots=True)
class Provider:
    """Where it listens, and how often it was asked for a completion."""

    port: int

    @property
    def asked(self) -> int:
        """Requests for completions so far, from its journal."""
        url = f"http://127.0.0.1:{self.port}/__aimock/journal"
        answer = httpx.get(url, params={"path": "/v1/chat/completions", "limit": 1}, trust_env=False, timeout=5)
        return int(answer.headers["x-total-count"])


def chat(url: str) -> httpx.Response:
    """One completion asked for through a gateway, as a client of OpenAI's would."""
    return httpx.post(f"{url}/v1/chat/completions", json=CHAT, trust_env=False, timeout=20)


@contextmanager
def running(folder: Path, *, says: str, limited: bool = False) -> Iterator[Provider]:
    """A provider that answers with `says`, or with 429 to everybody where it is `limited`."""
    reason = npm.missing(PACKAGE)
    if reason:
        pytest.skip(reason)
    port = free_port()
    fixture: dict[str, Any] = {"fixtures": [{"match": {"userMessage": "hello"}, "response": {"content": says}}]}
    answers = folder / f"{port}.json"
    answers.write_text(json.dumps(fixture))
    command = [str(npm.node()), str(npm.FOLDER / PACKAGE / "dist" / "cli.js"), "-p", str(port), "-f", str(answers), "--log-level", "silent"]
    process = subprocess.Popen([*command, *(["--chaos-ratelimit", "1"] if limited else [])], stdout=subprocess.DEVNULL)
    try:
        _wait(process, port)
        yield Provider(port)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    ends = time.monotonic() + READY
    while time.monotonic() < ends:
        assert process.poll() is None, "aimock ended at once"
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False, timeout=2).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    pytest.fail(f"aimock was not ready within {READY:.0f} s")
