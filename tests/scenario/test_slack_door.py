"""The product's whole Slack side against the local workspace: what people press, what they then see, and Slack going away."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from bot.ports import Location, PressKind, Reply
from bot.slack import app as apps
from bot.slack import messenger as messengers
from bot.slack.delivery import Pace
from bot.slack.messenger import SlackMessenger
from bot.slack.socketmode import SocketDoor
from bot.workspace.protocol import Timing
from bot.workspace.server import create_app
from runbooks.screens import DeclareDialog, Loading, Notice, Refusal
from tests import gallery
from tests.fronts import RecordingFront

MANIFEST = Path(__file__).parents[2] / "bot" / "slack" / "manifest.yaml"
ANA, BEN = "U01ANA0000", "U01BEN0000"
INCIDENTS = "C01INCIDNT"
SEV3 = {"text": {"type": "plain_text", "text": "SEV3"}, "value": '"SEV3"'}
CHOSEN = {"field:severity": {"choice": {"type": "static_select", "selected_option": SEV3}}}


def eventually(look: Callable[[], Any], seconds: float = 15.0) -> Any:
    """The first truthy thing that `look` sees before the deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


@contextlib.contextmanager
def serving(data: Path, port: int = 0, *, warning: float = 0.1) -> Iterator[int]:
    """The workspace on a port; `warning` seconds lie between the announcement of a connection's end and the end."""
    listener = socket.create_server(("127.0.0.1", port))
    chosen = listener.getsockname()[1]
    app = create_app(data_dir=data, manifest=MANIFEST, rates="off", timing=Timing(disconnect_warning=warning, grace=0.0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    eventually(lambda: server.started)
    try:
        yield chosen
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@dataclass(frozen=True, kw_only=True)
class Office:
    """People at the browser, and Muster's Slack side with a front that records."""

    url: str
    front: RecordingFront
    messenger: SlackMessenger
    door: SocketDoor
    http: httpx.Client

    def does(self, what: str, *, user: str = ANA, **body: Any) -> dict[str, Any]:
        """One thing that a person does in the browser."""
        return self.http.post(f"/client/{what}", json={"user": user, **body}).json()

    def sees(self, *, user: str = ANA, thread: str | None = None) -> list[dict[str, Any]]:
        """What stands in the channel, for this person."""
        query = {"user": user, "channel": INCIDENTS, **({"thread_ts": thread} if thread else {})}
        return self.http.get("/client/messages", params=query).json()["messages"]

    def dialog(self, user: str = ANA) -> dict[str, Any] | None:
        """The dialog on top."""
        return self.http.get("/client/view", params={"user": user}).json()["view"]

    def card(self) -> Location:
        """A card in the channel."""
        return self.messenger.post(gallery.card(), channel=INCIDENTS, key="card:42")

    def presses(self, at: Location, label: str, *, user: str = ANA) -> dict[str, Any]:
        """Press the button with this label on a message."""
        message = next(m for m in self.sees(user=user) if m["ts"] == at.ts)
        where = {"type": "message", "channel": at.channel, "ts": at.ts}
        return self.does("action", user=user, container=where, **_button(message["blocks"], label))

    def presses_in_dialog(self, label: str) -> dict[str, Any]:
        """Press the button with this label in the dialog on top."""
        view = self.dialog()
        assert view is not None
        return self.does("action", container={"type": "view", "view_id": view["id"]}, **_button(view["blocks"], label))

    def submits(self, state: dict[str, Any] | None = None) -> dict[str, Any]:
        """Submit the dialog on top."""
        view = self.dialog()
        assert view is not None
        return self.does("view/submit", view_id=view["id"], state={"values": state or {}})


def _button(blocks: list[dict[str, Any]], label: str) -> dict[str, Any]:
    for block in blocks:
        for element in [*block.get("elements", ()), block.get("accessory") or {}]:
            if element.get("type") == "button" and element["text"]["text"] == label:
                return {"block_id": block["block_id"], "action_id": element["action_id"], "type": "button", "value": element.get("value")}
    raise AssertionError(f"no button {label!r}")


@contextlib.contextmanager
def muster(data: Path, port: int) -> Iterator[Office]:
    """Muster's Slack side, connected to the workspace on this port."""
    secrets = json.loads((data / "app.json").read_text())
    url = f"http://127.0.0.1:{port}"
    client = messengers.client(bot_token=secrets["bot_token"], api_url=f"{url}/api", timeout=5)
    front = RecordingFront()
    with ThreadPoolExecutor(max_workers=4) as executor, httpx.Client(base_url=url, trust_env=False, timeout=15) as http:
        app = apps.build(front=front, client=client, bot_token=secrets["bot_token"], signing_secret=None, executor=executor)
        door = SocketDoor(app=app, client=client, app_token=secrets["app_token"], first_retry=0.05, slowest_retry=0.2)
        door.start()
        try:
            eventually(lambda: door.state.connected)
            speaking = SlackMessenger(client=client, pace=Pace(monotonic=time.monotonic, rates={}))
            yield Office(url=url, front=front, messenger=speaking, door=door, http=http)
        finally:
            door.stop()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """A workspace with Muster in it."""
    with serving(tmp_path) as port, muster(tmp_path, port) as working:
        yield working


def test_every_screen_is_taken_by_the_workspace(office: Office) -> None:
    """Each message is posted, each is then redrawn as another one, and each dialog and Home is shown."""
    messages = list(gallery.messages())
    for number, screen in enumerate(messages):
        at = office.messenger.post(screen, channel=INCIDENTS, key=f"screen:{number}")
        office.messenger.update(messages[number - 1], at=at, key=f"screen:{number}")
        office.messenger.whisper(screen, channel=INCIDENTS, slack_id=ANA)
    for home in gallery.homes():
        office.messenger.home(home, slack_id=ANA)
    at = office.card()
    office.front.reply = Reply(dialog=Loading(title="One moment", text="Reading."))
    office.presses(at, "More…")
    view = eventually(office.dialog)
    for dialog in gallery.dialogs():
        office.messenger.view(dialog, view_id=view["id"])


def test_a_plan_is_opened_filled_confirmed_and_closed(office: Office) -> None:
    """Press, read, run: the press reaches the front once, the loading dialog is filled, the submission closes it."""
    at = office.card()
    office.front.reply = Reply(dialog=Loading(title="Scale out", text="Reading the pool."), then=gallery_press())
    assert office.presses(at, "Scale the inference pool out…")["ok"]
    assert office.front.told.wait(10)
    _, view_id, visitor = office.front.opened_with[0]
    assert visitor.slack_id == ANA
    office.messenger.view(gallery.plan_dialog(), view_id=view_id)
    assert "2 → 4 replicas" in json.dumps(office.dialog(), ensure_ascii=False)
    office.front.reply = Reply()
    assert office.submits()["ok"]
    assert eventually(lambda: office.dialog() is None)
    kinds = [call[1].kind for call in office.front.asked]
    assert kinds == [PressKind.PLAN, PressKind.CONFIRM]
    assert office.front.asked[1][2] == {"parameters": {}}


def gallery_press() -> Any:
    """What a loading plan waits for."""
    from bot.ports import Press

    return Press(kind=PressKind.PLAN, incident_id=42, step="scale-out", run_id=11)


def test_a_wrong_parameter_is_said_at_its_field_and_the_dialog_stays(office: Office) -> None:
    """The person corrects and submits again; the number arrives as a number."""
    at = office.card()
    screen = gallery.plan_dialog(parameters={"replicas": gallery.COUNT}, values={"replicas": 4})
    office.front.reply = Reply(dialog=screen)
    office.presses(at, "Scale the inference pool out…")
    eventually(office.dialog)
    office.front.reply = Reply(errors={"replicas": "The pool holds 8 at most."})
    entered = {"field:parameters.replicas": {"integer": {"type": "number_input", "value": "12"}}}
    answered = office.submits(entered)
    assert "8 at most" in json.dumps(answered)
    assert office.dialog() is not None
    assert office.front.asked[-1][2] == {"parameters": {"replicas": 12}}


def test_a_button_in_more_stacks_a_dialog_and_its_submission_closes_all(office: Office) -> None:
    """More, then Set severity: two dialogs; once it took effect both are gone."""
    at = office.card()
    more = next(screen for screen in gallery.dialogs() if type(screen).__name__ == "MoreDialog")
    severity = next(screen for screen in gallery.dialogs() if type(screen).__name__ == "SeverityDialog")
    office.front.reply = Reply(dialog=more)
    office.presses(at, "More…")
    first = eventually(office.dialog)
    office.front.reply = Reply(dialog=severity)
    office.presses_in_dialog("Set severity…")
    eventually(lambda: (view := office.dialog()) and view["id"] != first["id"])
    office.front.reply = Reply()
    office.submits(CHOSEN)
    assert office.front.asked[-1][2] == {"severity": "SEV3"}
    assert eventually(lambda: office.dialog() is None)


def test_a_refusal_is_seen_only_by_the_one_who_pressed(office: Office) -> None:
    """An ephemeral sentence for Ana; Ben's channel is as it was."""
    at = office.card()
    office.front.reply = Reply(whisper=Refusal(text="Not run: Ben is rolling back reranker-v3."))
    office.presses(at, "Acknowledge")
    eventually(lambda: "rolling back" in json.dumps(office.sees(user=ANA)))
    assert "rolling back" not in json.dumps(office.sees(user=BEN))


def test_commands_mentions_and_home_reach_the_front(office: Office) -> None:
    """/muster is answered at once, a mention in an ephemeral line, and an opened Home is an event."""
    office.messenger.post(Notice(text="Hello."), channel=INCIDENTS, key="hello")
    office.front.reply = Reply(whisper=Notice(text="No incident is open."))
    office.does("message", channel=INCIDENTS, text="/muster list")
    eventually(lambda: "No incident is open." in json.dumps(office.sees()))
    assert office.front.asked[-1][:2] == ("command", "list")
    office.front.reply = Reply(whisper=Notice(text="Look at INC-42."))
    office.does("message", channel=INCIDENTS, text="<@U01MUSTER0> what now?")
    eventually(lambda: "Look at INC-42." in json.dumps(office.sees()))
    office.does("home")
    eventually(lambda: any(call[:2] == ("event", "app_home_opened") for call in office.front.asked))


def test_a_global_shortcut_opens_the_declaration(office: Office) -> None:
    """Declare incident, from anywhere; the severity has a default and the title comes through."""
    office.front.reply = Reply(dialog=DeclareDialog())
    office.does("shortcut", type="global", callback_id="declare_incident")
    eventually(office.dialog)
    office.front.reply = Reply()
    office.submits({"field:title": {"text": {"type": "plain_text_input", "value": "Answers are odd"}}, **CHOSEN})
    assert office.front.asked[-1][2] == {"title": "Answers are odd", "severity": "SEV3"}


def test_muster_s_own_messages_are_no_events_to_it(office: Office) -> None:
    """Posting and redrawing a card causes no event at the front; a person's message does."""
    at = office.card()
    office.messenger.update(gallery.card(gallery.ACKNOWLEDGED), at=at, key="card:42")
    office.does("message", channel=INCIDENTS, text="looking")
    eventually(lambda: office.front.asked)
    assert [call[2]["text"] for call in office.front.asked if call[1] == "message"] == ["looking"]


def test_a_lost_post_is_found_again_in_the_real_history(office: Office) -> None:
    """The key stands in the message's metadata, where the second attempt finds it: in the channel and in a thread."""
    at = office.card()
    reply = office.messenger.post(Notice(text="Scaled out."), channel=INCIDENTS, thread=at.ts, key="run:1")
    assert office.messenger.post(gallery.card(), channel=INCIDENTS, key="card:42", look_first=True) == at
    assert office.messenger.post(Notice(text="Scaled out."), channel=INCIDENTS, thread=at.ts, key="run:1", look_first=True) == reply
    dm = office.messenger.direct(Notice(text="You are called."), slack_id=ANA, key="page:1")
    assert office.messenger.direct(Notice(text="You are called."), slack_id=ANA, key="page:1", look_first=True) == dm


@pytest.mark.parametrize("how", ["refresh_requested", "warning", "drop"])
def test_muster_hears_on_after_slack_changes_the_connection(office: Office, how: str) -> None:
    """Slack replaces or drops the connection; the next press is heard."""
    at = office.card()
    office.does("admin", disconnect=how)
    eventually(lambda: _heard(office, at))


def _heard(office: Office, at: Location) -> bool:
    """Whether a press reaches the front now; while the connection changes, the workspace says so and the person presses again."""
    before = len(office.front.asked)
    office.presses(at, "Acknowledge")
    return len(office.front.asked) > before


def test_a_new_connection_stands_before_the_old_one_ends(tmp_path: Path) -> None:
    """Slack announces the end long before: Muster is connected twice meanwhile, and never deaf."""
    with serving(tmp_path, warning=60.0) as port, muster(tmp_path, port) as office:
        at = office.card()
        office.does("admin", disconnect="warning")
        eventually(lambda: office.http.get("/client/admin").json()["connections"] == 2)
        assert office.door.state.connected
        eventually(lambda: _heard(office, at))


def test_what_slack_cannot_replace_is_tried_again(office: Office) -> None:
    """Slack announces the end of a connection while it cannot give a new one: Muster keeps asking, and hears again."""
    at = office.card()
    with broken(office.door, "apps_connections_open") as asked:
        office.does("admin", disconnect="refresh_requested")
        eventually(lambda: len(asked) >= 2)
        eventually(lambda: not office.door.state.connected)
    eventually(lambda: office.door.state.connected)
    eventually(lambda: _heard(office, at))


@contextlib.contextmanager
def broken(door: SocketDoor, method: str) -> Iterator[list[None]]:
    """One Web API method of the door's client fails as it does when Slack is down."""
    asked: list[None] = []
    client, kept = door._web, getattr(door._web, method)

    def fails(**_: Any) -> None:
        asked.append(None)
        raise ConnectionResetError("Slack is down")

    setattr(client, method, fails)
    try:
        yield asked
    finally:
        setattr(client, method, kept)


def test_slack_may_be_away_and_come_back(tmp_path: Path) -> None:
    """Muster says that it is not connected while Slack is gone, keeps trying, and hears again when it is back."""
    with serving(tmp_path) as port:
        pass
    with contextlib.ExitStack() as stack:
        first = contextlib.ExitStack()
        first.enter_context(serving(tmp_path, port))
        office = stack.enter_context(muster(tmp_path, port))
        first.close()
        eventually(lambda: not office.door.state.connected)
        assert office.door.state.trouble
        stack.enter_context(serving(tmp_path, port))
        eventually(lambda: office.door.state.connected)
        at = office.card()
        eventually(lambda: _heard(office, at))


def test_muster_starts_while_slack_is_away(tmp_path: Path) -> None:
    """The door opens without Slack, says what is wrong, and connects as soon as Slack is there."""
    with serving(tmp_path) as port:
        pass
    secrets = json.loads((tmp_path / "app.json").read_text())
    client = messengers.client(bot_token=secrets["bot_token"], api_url=f"http://127.0.0.1:{port}/api")
    with ThreadPoolExecutor(max_workers=1) as executor:
        app = apps.build(front=RecordingFront(), client=client, bot_token="x", signing_secret=None, executor=executor)
        door = SocketDoor(app=app, client=client, app_token=secrets["app_token"], first_retry=0.05, slowest_retry=0.1)
        door.start()
        try:
            eventually(lambda: "refused" in (door.state.trouble or ""))
            assert not door.state.connected
            with serving(tmp_path, port):
                eventually(lambda: door.state.connected)
                door.stop()
        finally:
            door.stop()
