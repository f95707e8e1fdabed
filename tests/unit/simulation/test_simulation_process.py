"""The process itself: starts, is killed, goes on; its page works in a browser."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.ports import free_port

CHROMIUM = shutil.which("chromium")
FLAGS = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync".split()
ROOT = Path(__file__).parents[3]


class Process:
    """`python -m actions.simulation` on a port of its own."""

    def __init__(self, data):
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        arguments = [sys.executable, "-m", "actions.simulation", "--port", str(self.port), "--data", str(self.data)]
        self.process = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{self.url}/healthz", trust_env=False)
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("the simulated service did not start")

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(20)
        self.process.stderr.close()


@pytest.fixture
def service(tmp_path):
    process = Process(tmp_path / "data")
    yield process
    if process.process.poll() is None:
        process.stop()


@pytest.mark.crash
def test_kill_loses_nothing_that_was_answered(service):
    """After kill -9 the same data directory goes on: faults, targets, worlds apart, and the first answer for an old key."""
    wire = httpx.Client(base_url=service.url, trust_env=False, timeout=20)
    put = {"value": {"replicas": 4}, "by": "muster/run-1", "key": "run-1"}
    first = wire.put("/targets/pool/inference/reranker-v3", json=put).json()
    wire.post("/faults", json={"kind": "quality_regression"})
    wire.post("/worlds", json={"id": "drill-1", "fault": {"kind": "traffic", "factor": 2.5}})
    service.stop(signal.SIGKILL)
    service.start()
    assert wire.put("/targets/pool/inference/reranker-v3", json=put).json() == {**first, "replayed": True}
    assert [one["kind"] for one in wire.get("/faults").json()["faults"] if one["active"]] == ["quality_regression"]
    assert wire.get("/worlds").json()["worlds"][0]["faults"] == ["traffic"]
    assert [change["target"] for change in wire.get("/changes").json()["changes"]] == ["inference/reranker-v3", "answers-v7"]
    wire.close()


def test_second_process_on_the_same_data_is_refused(service):
    """A second process on the same directory says so and ends; the first goes on."""
    again = subprocess.run(
        [sys.executable, "-m", "actions.simulation", "--port", "1", "--data", str(service.data)],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert again.returncode == 1
    assert "Another process" in again.stderr
    assert httpx.get(f"{service.url}/healthz", trust_env=False).status_code == 200


@pytest.mark.debian
@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed (apt-get install chromium)")
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_page_breaks_and_mends(service, size):
    """On a desktop and on a phone: the page is drawn, a button breaks the service, the page says so, Mend all ends it; no error, no sideways scroll."""
    from playwright.sync_api import expect, sync_playwright

    wire = httpx.Client(base_url=service.url, trust_env=False, timeout=20)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        complaints = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(service.url)
        expect(page.locator("#status")).to_have_text("All signals inside their limits")
        expect(page.locator(".chart svg path.line").first).to_be_attached()
        page.get_by_role("button", name="Break: Answer quality drops").click()
        expect(page.get_by_role("button", name="End it: Answer quality drops")).to_be_focused()
        wire.post("/clock/advance", json={"seconds": 60})
        expect(page.locator("#status")).to_have_text("1 alert firing")
        expect(page.locator("#changes")).to_contain_text("answers-v7.4 → answers-v7.5")
        page.get_by_role("button", name="Mend all").click()
        expect(page.get_by_role("button", name="Break: Answer quality drops")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]
        assert complaints == []
        browser.close()
    wire.close()
