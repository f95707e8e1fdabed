"""The unmodified Bolt and slack_sdk against the local workspace, with a person at the browser's API."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from slack_bolt import App, BoltRequest
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from bot.workspace.protocol import Timing
from bot.workspace.server import create_app

MANIFEST = Path(__file__).parents[2] / "bot" / "slack" / "manifest.yaml"
ANA, BEN = "U01ANA0000", "U01BEN0000"
INCIDENTS, GENERAL = "C01INCIDNT", "C01GENERAL"
# The SDK's Socket Mode client leaves sockets for the garbage collector (it drops the old one on reconnect, unclosed).
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
QUICK = Timing(ack=2.0, trigger=20.0, retries=(0.0, 0.1, 0.1), disconnect_warning=0.1, grace=0.0)
BUTTON = {
    "type": "actions",
    "block_id": "acts",
    "elements": [{"type": "button", "action_id": "ack", "text": {"type": "plain_text", "text": "Acknowledge"}, "value": "7"}],
}
MODAL = {
    "type": "modal",
    "callback_id": "declare",
    "title": {"type": "plain_text", "text": "Declare"},
    "submit": {"type": "plain_text", "text": "Declare"},
    "notify_on_close": True,
    "private_metadata": "kept",
    "blocks": [
        {
            "type": "input",
            "block_id": "title",
            "label": {"type": "plain_text", "text": "Title"},
            "element": {"type": "plain_text_input", "action_id": "text"},
        }
    ],
}


def eventually(look: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first truthy thing ``look`` sees, before the deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen = look()
        if seen:
            return seen
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


class Harbor:
    """A running workspace, its app's secrets, and people who use it."""

    def __init__(self, url: str, data: Path) -> None:
        self.url = url
        self.secrets = json.loads((data / "app.json").read_text())
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=15)

    def web(self) -> WebClient:
        return WebClient(token=self.secrets["bot_token"], base_url=f"{self.url}/api/")

    def does(self, what: str, *, user: str = ANA, **body: Any) -> dict[str, Any]:
        return self.http.post(f"/client/{what}", json={"user": user, **body}).json()

    def sees(self, channel: str, *, user: str = ANA, thread_ts: str | None = None) -> list[dict[str, Any]]:
        query = {"user": user, "channel": channel} | ({"thread_ts": thread_ts} if thread_ts else {})
        return self.http.get("/client/messages", params=query).json()["messages"]

    def modal(self, user: str = ANA) -> dict[str, Any] | None:
        return self.http.get("/client/view", params={"user": user}).json()["view"]

    def admin(self) -> dict[str, Any]:
        return self.http.get("/client/admin").json()

    def clicks(self, ts: str, **changes: Any) -> dict[str, Any]:
        where = {"type": "message", "channel": INCIDENTS, "ts": ts}
        return self.does("action", **{"container": where, "block_id": "acts", "action_id": "ack", "type": "button", **changes})


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """An ASGI app on a port of its own, in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    eventually(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@pytest.fixture
def harbor(tmp_path: Path) -> Iterator[Harbor]:
    with served(create_app(data_dir=tmp_path, manifest=MANIFEST, timing=QUICK)) as url:
        harbor = Harbor(url, tmp_path)
        yield harbor
        harbor.http.close()


@contextlib.contextmanager
def connected(harbor: Harbor, listen: Callable[[App], None]) -> Iterator[App]:
    """A real Bolt app in Socket Mode."""
    app = App(client=harbor.web(), token=harbor.secrets["bot_token"], signing_secret=harbor.secrets["signing_secret"])
    listen(app)
    handler = SocketModeHandler(app, harbor.secrets["app_token"])
    handler.connect()
    eventually(lambda: harbor.admin()["connections"] >= 1)
    try:
        yield app
    finally:
        # The SDK closes only when its reading returns, which takes three seconds unless the other side hangs up.
        handler.client.auto_reconnect_enabled = False
        harbor.http.post("/client/admin", json={"disconnect": "drop"})
        # Its own closing and its reading thread both let go of the socket, and trip over each other; so one after the other.
        eventually(lambda: not handler.client.current_session.is_active())
        handler.close()


def test_a_person_mentions_the_app_and_is_answered_in_the_thread(harbor: Harbor) -> None:
    """What a person says to @Muster arrives as app_mention with the right user, and the reply lands in the thread."""

    def listen(app: App) -> None:
        @app.event("app_mention")
        def mentioned(event: dict[str, Any], say: Any) -> None:
            say(text=f"Heard <@{event['user']}>", thread_ts=event["ts"])

        @app.event("message")
        def ignored() -> None:
            return

    with connected(harbor, listen):
        said = harbor.does("message", channel=GENERAL, text="@Muster what burns? 1 < 2")["message"]
        assert said["text"] == "<@U01MUSTER0> what burns? 1 &lt; 2"
        thread = eventually(lambda: (m := harbor.sees(GENERAL, thread_ts=said["ts"]))[1:] and m)
    assert thread[1]["text"] == f"Heard <@{ANA}>"
    assert thread[0]["reply_count"] == 1


def test_a_button_is_clicked_acknowledged_and_the_card_changes(harbor: Harbor) -> None:
    """A click carries who, what and where; response_url answers and chat.update redraws the card."""
    clicks: list[dict[str, Any]] = []

    def listen(app: App) -> None:
        @app.action("ack")
        def acknowledge(ack: Any, body: dict[str, Any], client: WebClient, respond: Any) -> None:
            ack()
            client.chat_update(channel=body["channel"]["id"], ts=body["container"]["message_ts"], text="Acknowledged")
            respond(text="Yours now")
            clicks.append(body)

    with connected(harbor, listen) as app:
        ts = app.client.chat_postMessage(channel=INCIDENTS, text="SEV2", blocks=[BUTTON])["ts"]
        assert harbor.clicks(ts) == {"ok": True}
        eventually(lambda: clicks)
        lines = harbor.sees(INCIDENTS)
    assert clicks[0]["actions"][0]["value"] == "7"
    assert clicks[0]["user"] == {"id": ANA, "username": "ana", "name": "ana", "team_id": "T01HARBOR0"}
    assert [line["text"] for line in lines] == ["Acknowledged", "Yours now"]
    assert "blocks" not in lines[0]
    assert lines[1]["ephemeral"] is True
    assert harbor.sees(INCIDENTS, user=BEN) == lines[:1]


def test_a_click_nobody_acknowledges_shows_an_error(harbor: Harbor) -> None:
    """When the listener never acks, the person is told after the three seconds Slack gives (shortened here)."""

    def listen(app: App) -> None:
        @app.action("ack")
        def silent() -> None:
            return

    with connected(harbor, listen) as app:
        ts = app.client.chat_postMessage(channel=INCIDENTS, text="SEV2", blocks=[BUTTON])["ts"]
        seen = harbor.clicks(ts)
    assert seen == {"ok": False, "error": "Muster did not respond in time. Try again.", "reason": "timeout"}


def test_a_modal_opens_refuses_updates_and_closes(harbor: Harbor) -> None:
    """A slash command opens a modal; the submission is refused by field, then updates the view, then closes it."""
    closed: list[dict[str, Any]] = []

    def listen(app: App) -> None:
        @app.command("/muster")
        def command(ack: Any, body: dict[str, Any], client: WebClient) -> None:
            ack()
            client.views_open(trigger_id=body["trigger_id"], view=MODAL)

        @app.view("declare")
        def submitted(ack: Any, view: dict[str, Any]) -> None:
            title = view["state"]["values"]["title"]["text"]["value"]
            assert view["private_metadata"] == "kept"
            if title == "bad":
                ack(response_action="errors", errors={"title": "Say more"})
            elif title == "more":
                ack(response_action="update", view={**MODAL, "title": {"type": "plain_text", "text": "Again"}})
            else:
                ack()

        @app.view_closed("declare")
        def gone(ack: Any, body: dict[str, Any]) -> None:
            ack()
            closed.append(body)

    def submits(text: str) -> dict[str, Any]:
        values = {"title": {"text": {"type": "plain_text_input", "value": text}}}
        return harbor.does("view/submit", view_id=view["id"], state={"values": values})

    with connected(harbor, listen):
        assert harbor.does("message", channel=INCIDENTS, text="/muster declare") == {"ok": True}
        view = eventually(harbor.modal)
        assert view["title"]["text"] == "Declare"
        assert submits("") == {"ok": False, "errors": {"title": "Please complete this required field."}}
        assert submits("bad") == {"ok": False, "errors": {"title": "Say more"}}
        assert submits("more")["view"]["title"]["text"] == "Again"
        assert submits("fine") == {"ok": True, "closed": True}
        assert harbor.modal() is None
        harbor.does("message", channel=INCIDENTS, text="/muster declare")
        view = eventually(harbor.modal)
        assert harbor.does("view/close", view_id=view["id"]) == {"ok": True}
        eventually(lambda: closed)
    assert closed[0]["is_cleared"] is False


def test_views_are_pushed_and_a_stale_hash_is_refused(harbor: Harbor) -> None:
    """From a modal's button another modal is pushed; an update with an old hash fails; the fourth level is refused."""
    stale: list[str] = []
    plain = {key: value for key, value in MODAL.items() if key != "submit"} | {"blocks": [BUTTON]}

    def listen(app: App) -> None:
        @app.shortcut("declare_incident")
        def opened(ack: Any, body: dict[str, Any], client: WebClient) -> None:
            ack()
            client.views_open(trigger_id=body["trigger_id"], view=plain)

        @app.action("ack")
        def deeper(ack: Any, body: dict[str, Any], client: WebClient) -> None:
            ack()
            view = body["view"]
            client.views_update(view_id=view["id"], hash=view["hash"], view=plain)
            for call in (
                lambda: client.views_update(view_id=view["id"], hash=view["hash"], view=plain),
                lambda: client.views_push(trigger_id=body["trigger_id"], view=plain),
                lambda: client.views_push(trigger_id=body["trigger_id"], view=plain),
            ):
                try:
                    call()
                except SlackApiError as refusal:
                    stale.append(refusal.response["error"])

    def presses() -> None:
        top = harbor.modal()
        assert top is not None
        before = len(stale)
        where = {"type": "view", "view_id": top["id"]}
        assert harbor.does("action", container=where, block_id="acts", action_id="ack", type="button") == {"ok": True}
        eventually(lambda: len(stale) >= before + 2)

    with connected(harbor, listen):
        assert harbor.does("shortcut", type="global", callback_id="declare_incident") == {"ok": True}
        eventually(harbor.modal)
        presses()
        presses()
        assert stale == ["hash_conflict", "exchanged_trigger_id"] * 2
        presses()
        eventually(lambda: len(stale) == 7)
    assert stale[4:] == ["hash_conflict", "push_limit_reached", "push_limit_reached"]


def test_a_slash_command_answers_in_its_acknowledgement_and_by_response_url(harbor: Harbor) -> None:
    """The ack's text is ephemeral, in_channel is for all, and the original can be replaced."""
    texts: list[str] = []

    def listen(app: App) -> None:
        @app.command("/muster")
        def command(ack: Any, body: dict[str, Any], respond: Any) -> None:
            ack(text="Looking", blocks=[BUTTON])
            respond(text="For all", response_type="in_channel")
            texts.append(body["text"])

        @app.action("ack")
        def replaced(ack: Any, respond: Any) -> None:
            ack()
            respond(text="Found", replace_original=True)

    with connected(harbor, listen):
        assert harbor.does("message", channel=INCIDENTS, text="/muster status @Ben Okafor") == {"ok": True}
        eventually(lambda: len(harbor.sees(INCIDENTS)) == 2)
        line = next(m for m in harbor.sees(INCIDENTS) if m.get("ephemeral"))
        assert line["text"] == "Looking"
        assert [m["text"] for m in harbor.sees(INCIDENTS, user=BEN)] == ["For all"]
        where = {"type": "message", "channel": INCIDENTS, "ts": line["ts"], "ephemeral": True}
        assert harbor.clicks(line["ts"], container=where) == {"ok": True}
        eventually(lambda: any(m["text"] == "Found" and m["ts"] == line["ts"] for m in harbor.sees(INCIDENTS)))
    assert texts == [f"status <@{BEN}|ben>"]


def test_a_slash_command_without_an_app_says_so(harbor: Harbor) -> None:
    """With no connection the person reads dispatch_failed, as in Slack."""
    said = harbor.does("message", channel=INCIDENTS, text="/muster list")
    assert said["error"] == '/muster failed with the error "dispatch_failed"'
    assert harbor.does("message", channel=INCIDENTS, text="/nonsense")["error"] == "/nonsense is not a valid command."


def test_a_message_shortcut_carries_the_message(harbor: Harbor) -> None:
    """Add to timeline hands over the message, its channel and a way to answer."""
    taken: list[dict[str, Any]] = []

    def listen(app: App) -> None:
        @app.shortcut("add_to_timeline")
        def add(ack: Any, body: dict[str, Any], respond: Any) -> None:
            ack()
            respond(text="Added")
            taken.append(body)

        @app.event("message")
        def ignored() -> None:
            return

    with connected(harbor, listen):
        said = harbor.does("message", channel=INCIDENTS, text="it began at 10:02")["message"]
        about = {"type": "message", "callback_id": "add_to_timeline", "channel": INCIDENTS, "message_ts": said["ts"]}
        assert harbor.does("shortcut", **about) == {"ok": True}
        eventually(lambda: taken)
        assert harbor.sees(INCIDENTS)[-1]["text"] == "Added"
    assert taken[0]["message"]["text"] == "it began at 10:02"


def test_reactions_home_and_joins_reach_the_app(harbor: Harbor) -> None:
    """reaction_added, reaction_removed, app_home_opened and member_joined_channel come as events; Home is published."""
    wanted = {"reaction_added", "reaction_removed", "member_joined_channel", "pin_added"}
    events: list[dict[str, Any]] = []

    def heard(event: dict[str, Any]) -> None:
        events.append(event)

    def listen(app: App) -> None:
        for kind in wanted:
            app.event(kind)(heard)

        @app.event("message")
        def ignored() -> None:
            return

        @app.event("app_home_opened")
        def home(event: dict[str, Any], client: WebClient) -> None:
            text = {"type": "plain_text", "text": "Nothing waits for you"}
            client.views_publish(user_id=event["user"], view={"type": "home", "blocks": [{"type": "header", "text": text}]})

    with connected(harbor, listen):
        said = harbor.does("message", channel=INCIDENTS, text="keep this")["message"]
        harbor.does("reaction", channel=INCIDENTS, ts=said["ts"], name="pushpin")
        harbor.does("reaction", channel=INCIDENTS, ts=said["ts"], name="pushpin", remove=True)
        harbor.does("pin", channel=INCIDENTS, ts=said["ts"])
        harbor.does("join", channel="C01LEADS00")
        assert harbor.does("home")["view"] is None
        eventually(lambda: {event["type"] for event in events} >= wanted)
        view = eventually(lambda: harbor.does("home")["view"])
    # Slack repeats an event that was acknowledged late, so a busy machine may hear one twice.
    joined = next(event for event in events if event["type"] == "member_joined_channel")
    assert (joined["user"], joined["channel"]) == (ANA, "C01LEADS00")
    assert view["blocks"][0]["text"]["text"] == "Nothing waits for you"


def test_an_event_comes_again_after_the_app_was_away(tmp_path: Path) -> None:
    """What happened while nobody was connected is delivered by a retry, which says that it is one; then no more."""
    heard: list[tuple[str, int]] = []

    def listen(app: App) -> None:
        @app.event("message")
        def message(event: dict[str, Any], request: BoltRequest) -> None:
            heard.append((event["text"], int(request.headers["x-slack-retry-num"][0])))

    patient = Timing(ack=2.0, retries=(0.0, *[2.0] * 8), grace=0.0)
    with served(create_app(data_dir=tmp_path, manifest=MANIFEST, timing=patient)) as url:
        harbor = Harbor(url, tmp_path)
        harbor.does("message", channel=INCIDENTS, text="anybody?")
        eventually(lambda: harbor.admin()["counters"].get("events retried", 0) >= 2)
        with connected(harbor, listen):
            eventually(lambda: harbor.admin()["waiting_events"] == 0)
        harbor.http.close()
    assert {text for text, _ in heard} == {"anybody?"}
    assert heard[0][1] >= 2


def test_the_app_reconnects_when_it_is_told_to(harbor: Harbor) -> None:
    """After refresh_requested the SDK opens a new socket and hears everything that follows."""
    heard: list[str] = []

    def listen(app: App) -> None:
        @app.event("message")
        def message(event: dict[str, Any]) -> None:
            heard.append(event["text"])

    with connected(harbor, listen):
        harbor.http.post("/client/admin", json={"disconnect": "refresh_requested"})
        eventually(lambda: harbor.admin()["counters"].get("api apps.connections.open", 0) >= 2)
        eventually(lambda: harbor.admin()["connections"] == 1)
        harbor.does("message", channel=INCIDENTS, text="still there?")
        eventually(lambda: "still there?" in heard)


def test_connections_end_and_nothing_is_lost(tmp_path: Path) -> None:
    """Slack ends every connection after a while; the SDK moves to a new one and each event is heard, if need be by a retry."""
    heard: list[str] = []

    def listen(app: App) -> None:
        @app.event("message")
        def message(event: dict[str, Any]) -> None:
            heard.append(event["text"])

    short = Timing(ack=2.0, trigger=20.0, retries=(0.0, *[0.5] * 40), grace=0.0, connection_life=1.0, disconnect_warning=0.3)
    with served(create_app(data_dir=tmp_path, manifest=MANIFEST, timing=short, rates="off")) as url:
        harbor = Harbor(url, tmp_path)
        with connected(harbor, listen):
            for number in range(60):
                harbor.does("message", channel=INCIDENTS, text=str(number))
                opened = harbor.admin()["counters"]["api apps.connections.open"]
                if opened >= 3:
                    break
                eventually(lambda n=number: str(n) in heard)
            eventually(lambda: harbor.admin()["waiting_events"] == 0)
        harbor.http.close()
    assert sorted(set(heard), key=int) == [str(n) for n in range(number + 1)]


def test_files_metadata_and_bookmarks_go_through_the_sdk(harbor: Harbor) -> None:
    """files_upload_v2, message metadata, pins and bookmarks behave as the SDK expects."""
    web = harbor.web()
    told = web.chat_postMessage(channel=INCIDENTS, text="card", metadata={"event_type": "card", "event_payload": {"key": "inc:42"}})
    found = web.conversations_history(channel=INCIDENTS, include_all_metadata=True)["messages"][0]
    assert found["metadata"]["event_payload"] == {"key": "inc:42"}
    assert "metadata" not in web.conversations_history(channel=INCIDENTS)["messages"][0]
    web.pins_add(channel=INCIDENTS, timestamp=told["ts"])
    web.bookmarks_add(channel_id=INCIDENTS, title="Runbook", type="link", link="https://example.com/r")
    assert web.bookmarks_list(channel_id=INCIDENTS)["bookmarks"][0]["title"] == "Runbook"
    file = web.files_upload_v2(channel=INCIDENTS, filename="t.csv", content="a,b\n", title="Timeline")["file"]
    shared = web.conversations_history(channel=INCIDENTS)["messages"][0]
    assert shared["files"][0]["id"] == file["id"]
    assert harbor.http.get(httpx.URL(shared["files"][0]["url_private"]).raw_path.decode()).text == "a,b\n"


def test_a_refusal_reaches_the_sdk_with_slacks_name_and_pointer(harbor: Harbor) -> None:
    """invalid_blocks names the place; a channel nobody may see is not found."""
    web = harbor.web()
    with pytest.raises(SlackApiError) as refused:
        web.chat_postMessage(channel=INCIDENTS, text="x", blocks=[{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}])
    assert refused.value.response["error"] == "invalid_blocks"
    assert refused.value.response["response_metadata"]["messages"] == [
        "[ERROR] must be less than 151 characters [json-pointer:/blocks/0/text/text]"
    ]


class _Bolt(BaseHTTPRequestHandler):
    """Bolt behind a plain HTTP server."""

    app: App
    fail_first = 0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        kind = type(self)
        if kind.fail_first > 0:
            kind.fail_first -= 1
            self.send_response(500)
            self.end_headers()
            return
        answer = kind.app.dispatch(BoltRequest(body=body, headers={k: [v] for k, v in self.headers.items()}))
        self.send_response(answer.status)
        for name, value in answer.first_headers_without_set_cookie().items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write((answer.body or "").encode())

    def log_message(self, *args: Any) -> None:
        return


def test_signed_http_delivers_and_retries(tmp_path: Path) -> None:
    """Bolt verifies our signature, is asked again after a 500, answers commands, clicks and submissions; gone, it is missed."""
    heard: list[Any] = []
    handler = type("Handler", (_Bolt,), {"fail_first": 1})
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    url = f"http://127.0.0.1:{listening.server_port}/slack/events"
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    with served(create_app(data_dir=tmp_path, manifest=MANIFEST, timing=QUICK, events_url=url)) as base:
        harbor = Harbor(base, tmp_path)
        app = App(client=harbor.web(), token=harbor.secrets["bot_token"], signing_secret=harbor.secrets["signing_secret"])
        app.event("message")(lambda event, request: heard.append((event["text"], request.headers)))
        app.command("/muster")(lambda ack: ack("Fine"))
        app.action("ack")(lambda ack: ack())

        @app.shortcut("declare_incident")
        def opens(ack: Any, body: dict[str, Any], client: WebClient) -> None:
            ack()
            client.views_open(trigger_id=body["trigger_id"], view=MODAL)

        @app.view("declare")
        def refuses(ack: Any) -> None:
            ack(response_action="errors", errors={"title": "Say more"})

        handler.app = app
        thread.start()
        try:
            harbor.does("message", channel=INCIDENTS, text="hello")
            eventually(lambda: heard)
            assert harbor.does("message", channel=INCIDENTS, text="/muster status") == {"ok": True}
            assert harbor.sees(INCIDENTS)[-1]["text"] == "Fine"
            ts = app.client.chat_postMessage(channel=INCIDENTS, text="SEV2", blocks=[BUTTON])["ts"]
            assert harbor.clicks(ts) == {"ok": True}
            assert harbor.does("shortcut", type="global", callback_id="declare_incident") == {"ok": True}
            view = eventually(harbor.modal)
            values = {"title": {"text": {"type": "plain_text_input", "value": "x"}}}
            told = harbor.does("view/submit", view_id=view["id"], state={"values": values})
            assert told == {"ok": False, "errors": {"title": "Say more"}}
            listening.shutdown()
            listening.server_close()
            assert harbor.clicks(ts)["error"] == "Muster is not responding. Try again later."
        finally:
            listening.shutdown()
            thread.join(5)
            listening.server_close()
            harbor.http.close()
    text, headers = heard[0]
    assert text == "hello"
    assert headers["x-slack-retry-num"] == ["1"]
    assert headers["x-slack-retry-reason"] == ["http_error"]
