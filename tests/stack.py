"""The whole product as a person meets it: the workspace, the simulated service and Muster, each a process of its own.

Everything is driven at the wire: alerts over HTTP, people through the workspace's browser API, time through the two clocks.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
from sqlalchemy import text

from bot.clock import DatabaseClock
from bot.configuration import DEFAULT
from bot.settings import LIBRARY
from storage import runs, tasks
from storage.database import Database
from tests.ports import free_port

T = TypeVar("T")
ANA, BEN, CHIKA, DOV, EVA = "U01ANA0000", "U01BEN0000", "U01CHIKA00", "U01DOV0000", "U01EVA0000"
INCIDENTS = "C01INCIDNT"
TOKEN = "the-token-of-the-tests"
PATIENCE = 30.0
BAD_REQUEST = 400


class TookTooLong(AssertionError):
    """Something that must come did not come."""


class Stack:
    """Three processes and what a test needs to see of them."""

    def __init__(self, folder: Path, *, database_url: str | None = None, quick: bool = False) -> None:
        self.folder = folder
        self.quick = quick
        self.folder.mkdir(parents=True, exist_ok=True)
        self.workspace_port, self.simulation_port, self.port = free_port(), free_port(), free_port()
        self.workspace = f"http://127.0.0.1:{self.workspace_port}"
        self.simulation = f"http://127.0.0.1:{self.simulation_port}"
        self.url = f"http://127.0.0.1:{self.port}"
        self.database_url = database_url or f"sqlite:///{folder / 'muster.sqlite'}"
        self.configured: Callable[[str], str] = lambda text: text  # a test may make another muster.yaml of the built-in one
        self.edits: dict[str, Callable[[str], str]] = {}  # of the quick library's files, by name
        self.through: str | None = None  # where Muster reaches the simulated service, where not directly
        self.runbooks: list[Path] = []  # folders, where not the shipped library alone
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._database: Database | None = None
        self.http = httpx.Client(timeout=10.0)

    def start(self, *, muster: bool = True) -> "Stack":
        """Start all three and wait until each answers."""
        (self.folder / "token").write_text(TOKEN)
        self._run("workspace", "-m", "bot.workspace", "--port", str(self.workspace_port), "--data", str(self.folder / "workspace"))
        self._run(
            "simulation",
            *("-m", "actions.simulation", "--port", str(self.simulation_port), "--data", str(self.folder / "simulation"), "--speed", "0"),
            *("--changes-url", f"{self.url}/changes/simulation"),
            *("--alerts-url", f"{self.url}/alerts/alertmanager", "--alerts-token-file", str(self.folder / "token")),
        )
        self.until(lambda: self._answers(f"{self.workspace}/api/api.test"), what="the workspace")
        self.until(lambda: self._answers(f"{self.simulation}/healthz"), what="the simulation")
        if muster:
            self.start_muster()
        return self

    def start_muster(self, *, kill_point: str | None = None, name: str = "muster", wait: bool = True, port: int | None = None) -> None:
        """Start a Muster process; `kill_point` makes it kill itself there. A second replica has a `port` of its own."""
        app = json.loads((self.folder / "workspace" / "app.json").read_text())
        (self.folder / "muster.yaml").write_text(self.configured(DEFAULT.read_text()))
        environment = {
            "SLACK_BOT_TOKEN": app["bot_token"],
            "SLACK_APP_TOKEN": app["app_token"],
            "SLACK_SIGNING_SECRET": app["signing_secret"],
            "MUSTER_SLACK_API_URL": f"{self.workspace}/api/",
            "MUSTER_SIMULATION_URL": self.through or self.simulation,
            "MUSTER_CONFIG": str(self.folder / "muster.yaml"),
            "MUSTER_DATABASE_URL": self.database_url,
            "MUSTER_HTTP_PORT": str(port or self.port),
            "MUSTER_SECRET_DEMO_ALERTS": TOKEN,
            **({"MUSTER_RUNBOOKS": os.pathsep.join(map(str, self.runbooks))} if self.runbooks else {}),
            **({"MUSTER_RUNBOOKS": str(quick_library(self.folder, self.edits))} if self.quick else {}),
            **({"MUSTER_KILL_POINT": kill_point} if kill_point else {}),
        }
        self._run(name, "-m", "bot", "serve", environment=environment)
        if wait:
            self.until(lambda: self._answers(f"http://127.0.0.1:{port or self.port}/readyz") or self.dead(name), what="Muster")

    def _run(self, name: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            clean = {key: value for key, value in os.environ.items() if not key.startswith(("MUSTER_", "SLACK_", "PAGERDUTY_"))}
            self.processes[name] = subprocess.Popen(
                [sys.executable, *arguments], stdout=log, stderr=log, env={**clean, **(environment or {})}
            )

    def stop(self) -> None:
        """End everything that was started here."""
        self.http.close()
        if self._database:
            self._database.close()
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=8)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def kill(self, name: str = "muster") -> None:
        """`kill -9`."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def leases_run_out(self) -> None:
        """What a dead replica had claimed falls due: the lease's 45 seconds pass at once, by the database's own clock."""
        past = "UPDATE tasks SET due_at = CASE WHEN due_at = lease_until_at THEN created_at ELSE due_at END, lease_until_at = created_at"
        self.database.write(lambda tx: tx.execute(text(f"{past} WHERE state = 'open' AND lease_until_at IS NOT NULL")))

    def dead(self, name: str = "muster") -> bool:
        """Whether a process is gone."""
        return self.processes[name].poll() is not None

    def _answers(self, url: str) -> bool:
        try:
            return self.http.get(url).status_code < 500
        except httpx.HTTPError:
            return False

    @property
    def database(self) -> Database:
        """The same database, read by the test."""
        if self._database is None:
            self._database = Database(url=self.database_url)
        return self._database

    def until(self, look: Callable[[], T], *, what: str, patience: float = PATIENCE) -> T:
        """Look until it is true; a test that waits for ever says what for."""
        ends = time.monotonic() + patience
        while time.monotonic() < ends:
            if found := look():
                return found
            time.sleep(0.05)
        raise TookTooLong(f"{what} did not come within {patience:g} s; logs are in {self.folder}")

    def advance(self, seconds: float, *, step: float = 10.0) -> None:
        """Drive both clocks forward, in steps that let Muster act in between."""
        clock = DatabaseClock(database=self.database)
        left = seconds
        while left > 0:
            part = min(step, left)
            self.http.post(f"{self.simulation}/clock/advance", json={"seconds": part, "worlds": True}).raise_for_status()
            clock.advance(part)
            left -= part
            self._catch_up(clock)

    def _catch_up(self, clock: DatabaseClock) -> None:
        """Let Muster do what has fallen due, unless it is dead; a driven clock must not outrun who watches by it."""
        ends = time.monotonic() + 5.0
        while time.monotonic() < ends:
            time.sleep(0.1)
            if all(self.dead(name) for name in self.processes if name.startswith("muster")):
                return
            now = clock.now()
            if self.database.read(lambda tx, now=now: not runs.due(tx, now) and tasks.backlog(tx).open == 0):
                return

    def advance_until(self, look: Callable[[], T], *, what: str, most: float = 1200.0, step: float = 10.0) -> T:
        """Drive the clocks forward until it is true, at most so many seconds of driven time."""
        driven = 0.0
        while driven < most:
            if found := look():
                return found
            self.advance(step, step=step)
            driven += step
        return self.until(look, what=what, patience=5.0)

    # People

    def messages(self, user: str = ANA, channel: str = INCIDENTS, thread: str | None = None) -> list[dict[str, Any]]:
        """What this person sees in a channel or a thread, oldest first."""
        params = {"channel": channel, "user": user, "limit": "200", **({"thread_ts": thread} if thread else {})}
        answer = self.http.get(f"{self.workspace}/client/messages", params=params)
        answer.raise_for_status()
        return sorted(answer.json()["messages"], key=lambda message: float(message["ts"]))

    def card(self, number: int = 1, user: str = ANA) -> dict[str, Any] | None:
        """The card of one incident."""
        return next(
            (message for message in self.messages(user) if f"INC-{number} " in message.get("text", "") and message.get("blocks")), None
        )

    def press(self, label: str, message: dict[str, Any], user: str = ANA, channel: str = INCIDENTS) -> dict[str, Any]:
        """Press the button whose label begins so, on a message. One that was redrawn meanwhile is looked at again, as a person would."""
        for _ in range(3):
            block, element = find_button(message["blocks"], label)
            body = {
                "user": user,
                "container": {"type": "message", "channel": channel, "ts": message["ts"], "ephemeral": bool(message.get("ephemeral"))},
                "block_id": block["block_id"],
                "action_id": element["action_id"],
                "type": element["type"],
                "value": element.get("value"),
            }
            answer = self.http.post(f"{self.workspace}/client/action", json=body)
            if answer.status_code != BAD_REQUEST:
                break
            message = self._as_it_stands(message, user, channel)
        answer.raise_for_status()
        return dict(answer.json())

    def _as_it_stands(self, message: dict[str, Any], user: str, channel: str) -> dict[str, Any]:
        found = self.messages(user, channel, message.get("thread_ts"))
        return next((other for other in found if other["ts"] == message["ts"]), message)

    def press_in_view(self, label: str, view: dict[str, Any], user: str = ANA) -> dict[str, Any]:
        """Press a button inside a dialog."""
        block, element = find_button(view["blocks"], label)
        body = {
            "user": user,
            "container": {"type": "view", "view_id": view["id"]},
            "block_id": block["block_id"],
            "action_id": element["action_id"],
            "type": element["type"],
            "value": element.get("value"),
        }
        answer = self.http.post(f"{self.workspace}/client/action", json=body)
        answer.raise_for_status()
        return dict(answer.json())

    def view(self, user: str = ANA) -> dict[str, Any] | None:
        """The dialog that this person has open."""
        answer = self.http.get(f"{self.workspace}/client/view", params={"user": user})
        answer.raise_for_status()
        return answer.json().get("view")

    def submit(self, view: dict[str, Any], values: dict[str, Any] | None = None, user: str = ANA) -> dict[str, Any]:
        """Press a dialog's submit button. `values` are by block id: {action_id: state}; the rest is as the dialog proposes."""
        state = {**initial_state(view["blocks"]), **(values or {})}
        answer = self.http.post(
            f"{self.workspace}/client/view/submit", json={"user": user, "view_id": view["id"], "state": {"values": state}}
        )
        answer.raise_for_status()
        return dict(answer.json())

    def alert(self, payload: dict[str, Any], *, source: str = "alertmanager", token: str = TOKEN) -> httpx.Response:
        """Deliver an alert as its source would."""
        return self.http.post(f"{self.url}/alerts/{source}", json=payload, headers={"Authorization": f"Bearer {token}"})

    def fault(self, kind: str, **parameters: Any) -> None:
        """Break the simulated service."""
        self.http.post(f"{self.simulation}/faults", json={"kind": kind, "parameters": parameters}).raise_for_status()


def find_button(blocks: list[dict[str, Any]], label: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first button whose text begins with `label`, or whose spoken label contains it, with its block."""
    seen = []
    spoken = None
    for block in blocks:
        elements = [*block.get("elements", []), *([block["accessory"]] if "accessory" in block else [])]
        for element in elements:
            if element.get("type") == "button":
                seen.append(element["text"]["text"])
                if element["text"]["text"].startswith(label):
                    return block, element
                if spoken is None and label in element.get("accessibility_label", ""):
                    spoken = block, element
    if spoken:
        return spoken
    raise AssertionError(f"no button {label!r}; there are {seen}")


def initial_state(blocks: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What a dialog's inputs hold before anybody touches them."""
    state: dict[str, dict[str, Any]] = {}
    for block in blocks:
        if block.get("type") != "input":
            continue
        element = block["element"]
        value: dict[str, Any] = {"type": element["type"]}
        for initial, name in (
            ("initial_value", "value"),
            ("initial_option", "selected_option"),
            ("initial_options", "selected_options"),
            ("initial_date", "selected_date"),
            ("initial_date_time", "selected_date_time"),
            ("initial_user", "selected_user"),
        ):
            if initial in element:
                value[name] = element[initial]
        state[block["block_id"]] = {element["action_id"]: value}
    return state


def quick_library(folder: Path, edits: Mapping[str, Callable[[str], str]] | None = None) -> Path:
    """The shipped runbooks with shorter watches, so that a test need not drive the clocks for minutes, and edited as the test likes.

    Ten seconds between two samples, a step of the driven clocks, must be no gap: a gap is three eighths of the watch.
    """
    target = folder / "runbooks"
    target.mkdir(exist_ok=True)
    for source in LIBRARY.glob("*.md"):
        quick = re.sub(r"\bfor: \w+,", "for: 40s,", source.read_text())
        edit = (edits or {}).get(source.name)
        (target / source.name).write_text(edit(quick) if edit else quick)
    return target


@contextmanager
def running(folder: Path, *, database_url: str | None = None, quick: bool = False, muster: bool = True) -> Iterator[Stack]:
    """A started stack, stopped at the end. `quick` shortens the runbooks' watches; without `muster` the test starts it itself."""
    stack = Stack(folder, database_url=database_url, quick=quick)
    try:
        yield stack.start(muster=muster)
    finally:
        stack.stop()


def words(message: dict[str, Any]) -> str:
    """All the text of a message's or a dialog's blocks."""
    return json.dumps(message.get("blocks", []), ensure_ascii=False)
