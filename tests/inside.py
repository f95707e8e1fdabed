"""The product with Muster inside the test's own process: everything is still driven at the wire, and time passes at once.

The workspace and the simulated service are processes of their own, shared by the tests of a module; each test has its own Muster over
its own database. Where a process must really die, `tests.stack` starts Muster as one.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from sqlalchemy import text

from bot import api, pages, serving
from bot.app import Muster
from bot.configuration import DEFAULT, Configuration, load
from bot.engine.scheduler import fire_due
from bot.flows import autonomy, escalate, execute, mitigate, rehearse, respond, review
from bot.settings import Settings
from bot.web import application
from runbooks.incident import Incident
from runbooks.run import ActionRun
from runbooks.timeline import Entry
from storage import inbox, incidents, ledger, runs, timeline
from tests.between import button_payload, form, signed
from tests.stack import ANA, BEN, CHIKA, DOV, EVA, INCIDENTS, TOKEN, Stack, TookTooLong, quick_library

SWEEPS = (execute.sweep, autonomy.sweep, mitigate.sweep, escalate.sweep, review.sweep, rehearse.sweep, respond.remeasure)
POOL = "pool/inference/reranker-v3"
DECIDING = "SELECT count(*) FROM tasks WHERE state = 'open' AND kind NOT IN ('card', 'redraw', 'redraw_known', 'say', 'home')"
"""What must be done before time goes on. What is only said keeps Slack's pace, which no clock drives."""


class Inside(Stack):
    """One Muster in this process, over the workspace and the simulation of `ground`."""

    def __init__(self, ground: Stack, folder: Path, *, database_url: str, configuration: str | None = None) -> None:
        super().__init__(folder, database_url=database_url)
        self.ground = ground
        self.workspace_port, self.simulation_port, self.port = ground.workspace_port, ground.simulation_port, ground.port
        self.workspace, self.simulation, self.url = ground.workspace, ground.simulation, ground.url
        self.configuration = configuration or DEFAULT.read_text()
        self.more: dict[str, str] = {}
        self.edits: dict[str, Callable[[str], str]] = {}
        self.since = time.time()
        self.first = 0
        self.muster: Muster | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> "Inside":
        """Begin with a whole world and no dialog open."""
        self.calm()
        self.post("simulation", "/mend", {"reset": True})
        self.post("simulation", "/clock/advance", {"seconds": 900})
        for user in (ANA, BEN, CHIKA, DOV, EVA):
            self.close_views(user)
        for world in self.worlds():
            self.http.delete(f"{self.simulation}/worlds/{world}")
        self._wipe()
        self.since = time.time()
        self.first = int(self.target()["version"])
        self.begin()
        behind = self.post("simulation", "/clock/advance", {"seconds": 0})["now"]
        self.the.clock.advance(max(0.0, (_moment(behind) - self.the.clock.now()).total_seconds()))
        return self

    def _wipe(self) -> None:
        """Take away what another test's Muster said: a new one with the same numbers would find its own words there."""
        token = json.loads((self.ground.folder / "workspace" / "app.json").read_text())["bot_token"]
        self.post("workspace", "/client/admin", {"user": ANA, "rates": "off"})
        channels = {INCIDENTS: ANA, **{self._direct_channel(user): user for user in (ANA, BEN, CHIKA, DOV, EVA)}}
        for channel, user in channels.items():
            for message in Stack.messages(self, user, channel):
                if message.get("bot_id") and not message.get("ephemeral"):
                    said = {"channel": channel, "ts": message["ts"]}
                    self.http.post(f"{self.workspace}/api/chat.delete", data=said, headers={"Authorization": f"Bearer {token}"})

    @property
    def the(self) -> Muster:
        """Muster, which runs."""
        assert self.muster is not None
        return self.muster

    def begin(self) -> None:
        """Start Muster, or start it again."""
        app = json.loads((self.ground.folder / "workspace" / "app.json").read_text())
        (self.folder / "muster.yaml").write_text(self.configuration)
        environment = {
            "SLACK_BOT_TOKEN": app["bot_token"],
            "SLACK_APP_TOKEN": app["app_token"],
            "SLACK_SIGNING_SECRET": app["signing_secret"],
            "MUSTER_SLACK_API_URL": f"{self.workspace}/api/",
            "MUSTER_SIMULATION_URL": self.simulation,
            "MUSTER_CONFIG": str(self.folder / "muster.yaml"),
            "MUSTER_DATABASE_URL": self.database_url,
            "MUSTER_RUNBOOKS": str(self._library()),
            "MUSTER_HTTP_PORT": str(self.port),
            "MUSTER_SECRET_DEMO_ALERTS": TOKEN,
            **self.more,
        }
        settings = Settings.read(environment)
        configuration = load(settings.config) if settings.config else Configuration.default()
        self.muster = Muster(
            settings=settings,
            configuration=configuration,
            secrets=settings.secrets(environment),
            library=serving.load_library(settings),
        )
        self.muster.start()
        app_ = application(self.muster, more=[*api.routes(self.muster), *pages.routes(self.muster)])
        self._server = uvicorn.Server(uvicorn.Config(app_, host="127.0.0.1", port=self.port, log_config=None, lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, name="door", daemon=True)
        self._thread.start()
        self.until(lambda: self._answers(f"{self.url}/readyz"), what="Muster's door")
        self.until(lambda: self.the.socket is None or self.the.socket.state.connected, what="the connection to Slack")

    def _library(self) -> Path:
        folder = quick_library(self.folder)
        for name, edit in self.edits.items():
            (folder / name).write_text(edit((folder / name).read_text()))
        return folder

    def end(self) -> None:
        """Stop Muster and keep everything that it remembers."""
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join(timeout=15)
        if self.muster:
            self.muster.stop()
        self.muster = self._server = self._thread = None

    def stop(self) -> None:
        """End Muster and what this test opened; the ground stays."""
        self.end()
        super().stop()

    def again(self) -> None:
        """A restart."""
        self.end()
        self.begin()

    def slack(self, payload: dict[str, Any]) -> httpx.Response:
        """Deliver an interactive payload of our own making, truly signed: what a forged or old button would bring."""
        body = form(payload)
        headers = signed(body, secret=self.signing_secret, content_type="application/x-www-form-urlencoded")
        return self.http.post(f"{self.url}/slack/events", content=body, headers=headers)

    @property
    def signing_secret(self) -> str:
        """What Slack signs with."""
        return str(json.loads((self.ground.folder / "workspace" / "app.json").read_text())["signing_secret"])

    def forged(self, user: str = ANA, **press: Any) -> str:
        """Press a button that Muster never drew; the sentence that came of it."""
        before = len(self.whispers(user))
        assert self.slack(button_payload(user=user, channel=INCIDENTS, press=press)).status_code == 200
        return self.until(lambda: self.whispers(user)[before:], what="the sentence for a forged press", patience=5)[-1]

    # Time

    def advance(self, seconds: float, *, step: float = 10.0) -> None:
        """Drive both clocks forward; after each step everything that fell due is done before the next."""
        left = seconds
        while left > 0:
            part = min(step, left)
            self.post("simulation", "/clock/advance", {"seconds": part})
            for world in self.worlds():
                self.post("simulation", f"/worlds/{world}/clock/advance", {"seconds": part})
            self.the.clock.advance(part)
            left -= part
            self.settle()

    def worlds(self) -> list[str]:
        """The worlds that drills have open; each has a clock of its own."""
        answer = self.http.get(f"{self.simulation}/worlds")
        answer.raise_for_status()
        return [world["id"] for world in answer.json()["worlds"] if str(world["id"]).startswith("drill-")]

    def skip(self, seconds: float) -> None:
        """Drive Muster's clock alone, in one step."""
        self.the.clock.advance(seconds)
        self.settle()

    def settle(self, *, patience: float = 20.0) -> None:
        """Do what is due until nothing is: sweeps, deliveries, tasks."""
        ends = time.monotonic() + patience
        while time.monotonic() < ends:
            done = sum(sweep(self.the.context) for sweep in SWEEPS)
            done += self.database.write(lambda tx: fire_due(tx, now=self.the.clock.now()))
            self.the.engine.alerts_came()
            self.the.engine.wake()
            self._drain(ends)
            if not done or not self._busy():
                return

    def _drain(self, ends: float) -> None:
        while time.monotonic() < ends and self._busy():
            time.sleep(0.01)

    def _busy(self) -> bool:
        return bool(self.database.read(lambda tx: tx.execute(text(DECIDING)).scalar() or inbox.waiting(tx)))

    # People

    def messages(self, user: str = ANA, channel: str = INCIDENTS, thread: str | None = None) -> list[dict[str, Any]]:
        """What this person sees of what was said since this test began."""
        return [message for message in super().messages(user, channel, thread) if float(message["ts"]) >= self.since]

    def direct(self, user: str) -> list[dict[str, Any]]:
        """What Muster has said to this person alone."""
        return self.messages(user, channel=self._direct_channel(user))

    def _direct_channel(self, user: str) -> str:
        return str(self.post("workspace", "/client/dm", {"user": user, "other": "U01MUSTER0"})["channel"]["id"])

    def thread(self, number: int = 1, user: str = ANA) -> list[dict[str, Any]]:
        """What stands under an incident's card."""
        card = self.card(number, user)
        return self.messages(user, thread=card["ts"])[1:] if card else []

    def whispers(self, user: str) -> list[str]:
        """The sentences that only this person sees, oldest first."""
        card = self.card(1, user)
        seen = [*self.messages(user), *(self.messages(user, thread=card["ts"]) if card else [])]
        return [message["text"] for message in sorted(seen, key=lambda one: float(one["ts"])) if message.get("ephemeral")]

    def close_views(self, user: str) -> None:
        """Close every dialog of this person."""
        view = self.view(user)
        if view:
            told = {"user": user, "view_id": view["id"], "clear": True}
            self.http.post(f"{self.workspace}/client/view/close", json=told)  # one that has closed meanwhile is no error

    def pressed(self, label: str, message: dict[str, Any], user: str = ANA, channel: str = INCIDENTS) -> str:
        """Press a button and answer the sentence that the person got: whispered or in a dialog. Empty where there was none."""
        before, view_before = len(self.whispers(user)), self.view(user)
        assert self.press(label, message, user, channel).get("ok"), "a press was not acknowledged"
        ends = time.monotonic() + 1.5
        while time.monotonic() < ends:
            if len(told := self.whispers(user)) > before:
                return told[-1]
            view = self.view(user)
            if view and view != view_before and not view.get("submit") and "Reading the present state" not in json.dumps(view):
                return text_of(view)
            time.sleep(0.03)
        return ""

    def plan(self, label: str = "Scale", user: str = ANA, number: int = 1) -> dict[str, Any]:
        """Press an action on the card, or under More, and wait for its plan; pressed again where only a reason came, as a person would."""
        for patience in (3, 3, 8):
            self.until(lambda: self._opened(label, user, number), what=f"the dialog of {label}", patience=8)
            try:
                return self.until(lambda: self.planned(user), what=f"the plan of {label}", patience=patience)
            except TookTooLong:
                self.settle()
        raise TookTooLong(f"no plan of {label}; whispered: {self.whispers(user)}")

    def _opened(self, label: str, user: str, number: int) -> bool:
        """One try: a card that is redrawn while somebody presses makes Slack ask for another press."""
        self.close_views(user)
        card = self.card(number, user)
        if card is None:
            return False
        try:
            if any(label in json.dumps(block, ensure_ascii=False) for block in card["blocks"] if block["type"] == "actions"):
                return bool(self.press(label, card, user)["ok"])
            return bool(self.press_in_view(label, self.more_of(user, number), user)["ok"])
        except httpx.HTTPStatusError:
            return False

    def more_of(self, user: str = ANA, number: int = 1) -> dict[str, Any]:
        """The dialog with everything else."""
        self.close_views(user)
        card = self.card(number, user)
        assert card is not None
        for _ in range(5):
            try:
                self.press("More", card, user)
                break
            except httpx.HTTPStatusError:
                time.sleep(0.2)  # it was redrawn under the finger
                card = self.card(number, user) or card
        return self.dialog("· more", user)

    def planned(self, user: str = ANA) -> dict[str, Any] | None:
        """The dialog once its plan, or the reason why there is none, stands in it."""
        view = self.view(user)
        told = json.dumps(view, ensure_ascii=False) if view else ""
        return view if view and "· more" not in told and "Reading the present" not in told and "Planning again" not in told else None

    def submitted(self, view: dict[str, Any], values: dict[str, Any] | None = None, user: str = ANA) -> str:
        """Submit a dialog, wait for what it began, and answer the sentence that replaced the dialog, if one did."""
        answer = self.submit(view, values, user)
        self.settle()
        shown = self.view(user)
        said = text_of(shown) if shown and not shown.get("submit") else ""
        return said or " ".join(str(error) for error in (answer.get("errors") or {}).values()) or str(answer.get("error") or "")

    # The story

    def incident_with_card(self, kind: str = "traffic", **parameters: Any) -> dict[str, Any]:
        """Break the service and wait for the card with its diagnosis."""
        self.fault(kind, **({"factor": 2.5} if kind == "traffic" and not parameters else parameters))
        return self.advance_until(self.diagnosed, what="the card with its diagnosis", most=600)

    def diagnosed(self) -> dict[str, Any] | None:
        """The first card once it stands and its diagnosis is in."""
        card = self.card(1)
        return card if card and self.entries(kind="diagnostic.measured") else None

    def ran(self, label: str = "Scale", user: str = ANA, *, until: str = "verifying", most: float = 600) -> ActionRun:
        """Plan and confirm an action, and wait until its run is in a state."""
        view = self.plan(label, user)
        assert view.get("submit"), text_of(view)
        told = self.submitted(view, user=user)
        return self.advance_until(lambda: self.run_in(until), what=f"a run that is {until} ({told})", most=most)

    def run_in(self, *states: str) -> ActionRun | None:
        """The newest run in one of these states."""
        found = [run for run in self.runs() if run.state.value in states]
        return found[-1] if found else None

    # What is true

    def runs(self, number: int = 1) -> list[ActionRun]:
        """All runs of an incident."""
        return self.database.read(lambda tx: runs.of_incident(tx, number))

    def incident(self, number: int = 1) -> Incident:
        """The incident as it is stored."""
        return self.database.read(lambda tx: incidents.get(tx, number))

    def entries(self, number: int = 1, kind: str | None = None) -> list[Entry]:
        """The timeline, or the entries of one kind on it."""
        found = self.database.read(lambda tx: timeline.of(tx, number))
        return [entry for entry in found if kind is None or entry.kind.value == kind]

    def run_message(self, label: str, number: int = 1, *, saying: str = "") -> dict[str, Any]:
        """The message of a run that has this button, once it stands there and says so."""
        quoted = f'"{label}'

        def found() -> dict[str, Any] | None:
            seen = [one for one in self.thread(number) if quoted in json.dumps(one.get("blocks", []), ensure_ascii=False)]
            return next((one for one in reversed(seen) if saying in one["text"]), None)

        return self.until(found, what=f"a message with {label} that says {saying!r}", patience=15)

    def choose(self, view: dict[str, Any], label: str, value: str) -> dict[str, Any]:
        """The state of a select or a text field, found by its label, as a person would fill it."""
        block = next(one for one in view["blocks"] if one.get("type") == "input" and label in json.dumps(one["label"], ensure_ascii=False))
        element = block["element"]
        state: dict[str, Any] = {"type": element["type"]}
        if "options" in element:
            state["selected_option"] = next(one for one in element["options"] if value in {one["value"], json.loads(one["value"])})
        elif element["type"] == "users_select":
            state["selected_user"] = value
        elif element["type"] == "datepicker":
            state["selected_date"] = value
        else:
            state["value"] = value
        return {block["block_id"]: {element["action_id"]: state}}

    def dialog(self, word: str, user: str = ANA) -> dict[str, Any]:
        """The open dialog that says this word, once it does."""

        def found() -> dict[str, Any] | None:
            view = self.view(user)
            return view if view and word in json.dumps(view, ensure_ascii=False) else None

        return self.until(found, what=f"the dialog that says {word!r}", patience=8)

    def target(self, path: str = POOL) -> dict[str, Any]:
        """A target's present value and version, by the far side's own account."""
        answer = self.http.get(f"{self.simulation}/targets/{path}")
        answer.raise_for_status()
        return dict(answer.json())

    def changes(self) -> int:
        """How often the pool was really changed during this test, by the far side's own count."""
        return int(self.target()["version"]) - self.first

    def put(self, value: Any, path: str = POOL, by: str = "somebody-else") -> None:
        """Change a target behind Muster's back."""
        self.http.put(f"{self.simulation}/targets/{path}", json={"value": value, "by": by}).raise_for_status()

    def chaos(self, mode: str, *, path: str = "/targets", count: int | None = None) -> None:
        """Let the far side misbehave."""
        self.post("simulation", "/chaos", {"mode": mode, "path_prefix": path, **({"count": count} if count else {})})

    def calm(self) -> None:
        """Let it behave again."""
        self.post("simulation", "/chaos", {"mode": "none"})

    def chain_holds(self) -> bool:
        """Whether the whole record verifies."""
        return self.database.read(ledger.verify).ok

    def post(self, where: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Post JSON to the workspace or the simulation."""
        base = self.workspace if where == "workspace" else self.simulation
        answer = self.http.post(f"{base}{path}", json=body)
        answer.raise_for_status()
        return dict(answer.json())


def text_of(view: dict[str, Any] | None) -> str:
    """All words of a dialog."""
    found: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("text"), str):
                found.append(node["text"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for item in node:
                walk(item)

    walk((view or {}).get("blocks", []))
    return " ".join(found)


def _moment(text: str) -> Any:
    from datetime import datetime

    return datetime.fromisoformat(text)


@contextmanager
def grounded(folder: Path) -> Iterator[Stack]:
    """The workspace and the simulated service, without Muster."""
    stack = Stack(folder)
    try:
        yield stack.start(muster=False)
    finally:
        stack.stop()


@contextmanager
def inside(
    ground: Stack,
    folder: Path,
    *,
    database_url: str,
    configuration: str | None = None,
    edits: dict[str, Callable[[str], str]] | None = None,
    **more: str,
) -> Iterator[Inside]:
    """A Muster in this process, ended afterwards. `edits` change the library's files before loading; `more` is environment."""
    stack = Inside(ground, folder, database_url=database_url, configuration=configuration)
    stack.more, stack.edits = more, edits or {}
    try:
        yield stack.open()
    finally:
        stack.stop()


__all__ = ["ANA", "BEN", "CHIKA", "DOV", "EVA", "INCIDENTS", "POOL", "Inside", "grounded", "inside", "text_of"]
