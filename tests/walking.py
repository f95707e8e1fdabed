"""A demo of one's own and a browser in it: for walking through the product as its users do, with the clocks driven forward."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Locator, Page, Playwright

CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ANA, BEN = "U01ANA0000", "U01BEN0000"
STEP = 10.0
"""Seconds by which the clocks go forward at once: short enough that no measurement is missed."""
SETTLE = 0.9
"""Seconds that Muster is given after each step, to do what has become due."""


class Demo:
    """`muster demo` in a folder of its own, or one that runs already."""

    def __init__(self, *, data: Path, url: str) -> None:
        self.data, self.url = data, url
        transport = httpx.HTTPTransport(uds=str(data / "muster.sock"))
        self.api = httpx.Client(transport=transport, base_url="http://muster/api/v1", timeout=60)

    @classmethod
    @contextmanager
    def started(cls, *, port: int) -> "Iterator[Demo]":
        """A fresh demo, ended when done with."""
        with tempfile.TemporaryDirectory(prefix="muster-walk-") as folder:
            data = Path(folder) / "demo"
            command = [sys.executable, "-m", "bot", "demo", "--data", str(data), "--port", str(port)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
            try:
                yield cls(data=data, url=_announced(process))
            finally:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)
                process.wait(timeout=40)

    def advance(self, seconds: float) -> None:
        """Drive both clocks forward, in steps."""
        left = seconds
        while left > 0:
            step = min(left, STEP)
            self.api.post("/clock/advance", json={"seconds": step}).raise_for_status()
            left -= step
            time.sleep(SETTLE)

    def jump(self, seconds: float) -> None:
        """Drive both clocks forward at once, where nothing needs to be measured on the way."""
        self.api.post("/clock/advance", json={"seconds": seconds}).raise_for_status()

    def until(self, holds: Callable[[], bool], *, within: float = 900.0) -> None:
        """Drive the clocks forward until it holds.

        Raises:
            TimeoutError: it does not within so many driven seconds.
        """
        gone = 0.0
        while not holds():
            if gone >= within:
                raise TimeoutError(f"it did not come true within {within:g} driven seconds")
            self.advance(STEP)
            gone += STEP

    def get(self, path: str) -> Any:
        """What the API says."""
        return self.api.get(path).raise_for_status().json()

    def now(self) -> datetime:
        """The driven clock's time."""
        return datetime.fromisoformat(self.api.post("/clock/advance", json={"seconds": 0.001}).raise_for_status().json()["now"])

    def newest(self) -> int:
        """The number of the newest incident; 0 without one."""
        return max((item["id"] for item in self.get("/incidents")["items"]), default=0)

    def state(self, incident: int) -> str:
        """The incident's status."""
        return str(self.get(f"/incidents/{incident}")["incident"]["status"])


def _announced(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if "Open http" in line:
            return line.split("Open ")[1].strip()
    raise RuntimeError("the demo ended before it was ready")


class Visitor:
    """One person at one browser window."""

    def __init__(self, browser: Browser, demo: Demo, *, user: str = ANA, phone: bool = False, dark: bool = False) -> None:
        size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 900}
        context = browser.new_context(viewport=size, color_scheme="dark" if dark else "light", has_touch=phone)  # type: ignore[arg-type]
        self.demo = demo
        self.page: Page = context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.goto(f"{demo.url}/?user={user}")
        self.page.get_by_role("button", name="Send").first.wait_for()

    @property
    def card(self) -> Locator:
        """The newest message in the channel that is no welcome."""
        return self.page.locator("#main [data-ts]").last

    @property
    def dialog(self) -> Locator:
        """The open dialog."""
        return self.page.locator("dialog[open]").last

    def press(self, name: str, *, within: Locator | None = None) -> None:
        """Press the newest button of that name, in the channel unless told where."""
        place = within if within is not None else self.page.locator("#main")
        place.get_by_role("button", name=name).last.click()

    def open(self, name: str, *, expect: str) -> Locator:
        """Press a button on the card and wait for the dialog that has a button `expect`."""
        self.press(name)
        self.dialog.get_by_role("button", name=expect, exact=True).wait_for()
        return self.dialog

    def submit(self, name: str) -> None:
        """Press the dialog's button and wait until that dialog is gone."""
        before = self.page.locator("dialog[open]").count()
        self.dialog.get_by_role("button", name=name, exact=True).click()
        ends = time.monotonic() + 15
        while self.page.locator("dialog[open]").count() >= before:
            if time.monotonic() > ends:
                raise TimeoutError(f"the dialog is still open after {name}: {self.dialog.inner_text()}")
            time.sleep(0.05)

    def choose(self, option: str, *, among: str) -> None:
        """Choose an option from the dialog's list whose label holds `among`."""
        self.dialog.locator(".field-block").filter(has_text=among).locator("button").first.click()
        self.page.get_by_role("option", name=option).first.click()

    def dismiss(self) -> None:
        """Close every dialog."""
        while self.page.locator("dialog[open]").count():
            self.page.keyboard.press("Escape")
            time.sleep(0.3)

    def sees(self, words: str) -> bool:
        """Whether the words stand on the page."""
        return self.page.get_by_text(words).count() > 0

    def go(self, place: str) -> None:
        """Go to a place of the workspace, such as `#/home`."""
        self.page.evaluate("place => { location.hash = place }", place)
        time.sleep(0.8)

    def to_top(self, which: Locator | None = None) -> None:
        """Scroll a message to the top of its pane."""
        (which or self.card).evaluate("node => node.scrollIntoView({block: 'start'})")
        time.sleep(0.3)


def browser_of(playwright: Playwright) -> Browser:
    """The machine's Chromium."""
    path = next((name for name in CHROMIUM if Path(name).exists()), None)
    if path is None:
        raise SystemExit("There is no Chromium on this machine: install the package chromium.")
    return playwright.chromium.launch(executable_path=path, args=list(QUIET))
