"""People at the local workspace's browser front: a served workspace, a real Bolt app behind it, windows of a real browser."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient

from bot.workspace.protocol import Timing
from bot.workspace.server import create_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

CHROMIUM = shutil.which("chromium")
MISSING = "chromium is not installed" if not CHROMIUM else "" if importlib.util.find_spec("playwright") else "playwright is not installed"
MANIFEST = Path(__file__).parents[1] / "bot" / "slack" / "manifest.yaml"
ANA, BEN, CHIKA, EVA = "U01ANA0000", "U01BEN0000", "U01CHIKA00", "U01EVA0000"
INCIDENTS, GENERAL, SUPPORT, LEADS = "C01INCIDNT", "C01GENERAL", "C01SUPPORT", "C01LEADS00"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ACK_SECONDS = 1.0
PATIENCE_MS = 10_000


def mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text}


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def button(text: str, action_id: str, **more: Any) -> dict[str, Any]:
    return {"type": "button", "text": plain(text), "action_id": action_id, "value": "7", **more}


def options(*words: str) -> list[dict[str, Any]]:
    return [{"text": plain(word), "value": word.lower()} for word in words]


def field(block_id: str, label: str, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "input",
        "block_id": block_id,
        "optional": True,
        "label": plain(label),
        "element": {"type": kind, "action_id": "v", **more},
    }


def modal(title: str, *blocks: dict[str, Any], callback_id: str = "plan") -> dict[str, Any]:
    return {
        "type": "modal",
        "callback_id": callback_id,
        "title": plain(title),
        "submit": plain("Run it"),
        "close": plain("Cancel"),
        "blocks": list(blocks),
    }


REPLICAS = {
    **field("n", "Replicas", "number_input", is_decimal_allowed=False, min_value="2", max_value="12", initial_value="4"),
    "optional": False,
}
REASON = field("why", "Reason", "plain_text_input", multiline=True)
ACTIONS = {
    "type": "actions",
    "block_id": "acts",
    "elements": [
        button("Plan…", "plan"),
        button("Slow", "silent"),
        button("Quick", "quick"),
        button(
            "Pages people",
            "page",
            confirm={
                "title": plain("Page them?"),
                "text": mrkdwn("*14 people*"),
                "confirm": plain("Page"),
                "deny": plain("No"),
                "style": "danger",
            },
        ),
    ],
}
CARD = [
    {"type": "header", "text": plain("SEV2 · INC-42 · Model answers are slow")},
    {"type": "section", "text": mrkdwn("Since <!date^1795168920^{date_num} {time}|10:02>, see <@U01ANA0000>")},
    ACTIONS,
]
SERIES = [{"name": "p99", "data": [{"label": "10:00", "value": 1.9}, {"label": "10:01", "value": 0.4}]}]
AXIS = {"categories": ["10:00", "10:01"], "y_label": "seconds"}
ROWS = [[{"type": "raw_text", "text": "What"}, {"type": "raw_text", "text": "Days"}]] + [
    [{"type": "raw_text", "text": f"Task {n}"}, {"type": "raw_number", "value": (n * 7) % 10, "text": str((n * 7) % 10)}]
    for n in range(1, 8)
]


class Bot:
    """The app under the workspace: an ordinary Bolt app that records what reaches it."""

    def __init__(self, url: str, data: Path) -> None:
        secrets = json.loads((data / "app.json").read_text())
        self.web = WebClient(token=secrets["bot_token"], base_url=f"{url}/api/")
        self.app = App(client=self.web, token=secrets["bot_token"], signing_secret=secrets["signing_secret"])
        self.seen: list[dict[str, Any]] = []
        self.token = secrets["app_token"]
        self._listen()

    def _listen(self) -> None:
        app = self.app
        app.action("plan")(self.plan)
        app.action("silent")(lambda: time.sleep(ACK_SECONDS * 1.5))
        app.action({"action_id": "quick"})(self.note)
        app.action({"action_id": "page"})(self.note)
        app.action({"action_id": "choose"})(self.note)
        app.action({"action_id": "ok"})(self.done)
        app.view("plan")(self.submitted)
        app.view("all")(self.note)
        app.view("second")(self.note)
        app.command("/muster")(self.command)
        app.shortcut("add_to_timeline")(self.kept)
        app.shortcut("declare_incident")(self.declare)
        app.options("far")(
            lambda ack, payload: ack(options=[one for one in options("Latency", "Cost") if payload["value"].lower() in one["value"]])
        )
        app.event("app_home_opened")(self.home)
        app.event("app_mention")(self.mentioned)
        for event in ("message", "reaction_added", "reaction_removed", "member_joined_channel", "pin_added"):
            app.event(event)(lambda: None)

    def note(self, ack: Any, body: dict[str, Any]) -> None:
        ack()
        self.seen.append(body)

    def plan(self, ack: Any, body: dict[str, Any]) -> None:
        ack()
        self.web.views_open(trigger_id=body["trigger_id"], view=modal("Scale out", REPLICAS, REASON))

    def submitted(self, ack: Any, body: dict[str, Any], view: dict[str, Any]) -> None:
        values = view["state"]["values"]
        if values["n"]["v"]["value"] == "5":
            ack(response_action="errors", errors={"n": "Five is frozen."})
        elif values["n"]["v"]["value"] == "6":
            ack(response_action="push", view=modal("Sure?", {"type": "section", "text": plain("Six is many.")}, callback_id="second"))
        else:
            ack()
            self.seen.append(body)

    def command(self, ack: Any, body: dict[str, Any]) -> None:
        text = body["text"]
        self.seen.append(body)
        ack(
            {
                "text": f"Heard {text}",
                "blocks": [{"type": "section", "text": mrkdwn(f"Heard *{text}*")}, {"type": "actions", "elements": [button("OK", "ok")]}],
            }
        )

    def done(self, ack: Any, respond: Any) -> None:
        ack()
        respond(text="All done.", replace_original=True)

    def kept(self, ack: Any, body: dict[str, Any], respond: Any) -> None:
        ack()
        respond(f"Kept {body['message']['text']}")

    def declare(self, ack: Any, body: dict[str, Any]) -> None:
        ack()
        self.web.views_open(trigger_id=body["trigger_id"], view=every_input())

    def mentioned(self, event: dict[str, Any]) -> None:
        self.seen.append(event)

    def home(self, event: dict[str, Any]) -> None:
        if event["tab"] == "home":
            self.publish(event["user"], "Nothing waits for you")

    def publish(self, user: str, text: str) -> None:
        self.web.views_publish(
            user_id=user, view={"type": "home", "blocks": [{"type": "section", "text": plain(text), "accessory": button("Plan…", "plan")}]}
        )

    def says(self, text: str = "INC-42", channel: str = INCIDENTS, **more: Any) -> str:
        return str(self.web.chat_postMessage(channel=channel, text=text, **more)["ts"])


def every_input() -> dict[str, Any]:
    return modal(
        "Every input",
        {"type": "alert", "level": "warning", "text": mrkdwn("This pages *14 people*.")},
        field("text", "Title", "plain_text_input", focus_on_load=True),
        field("severity", "Severity", "static_select", options=options("SEV1", "SEV2"), initial_option=options("SEV2")[0]),
        field(
            "services",
            "Services",
            "multi_static_select",
            option_groups=[{"label": plain("All"), "options": options("Gateway", "Reranker")}],
        ),
        field("lead", "Commander", "users_select"),
        field("where", "Tell", "conversations_select", default_to_current_conversation=True),
        field("day", "Due", "datepicker"),
        field("hour", "At", "timepicker"),
        field("moment", "Began", "datetimepicker"),
        field("do", "What to do", "checkboxes", options=options("Page", "Channel")),
        field("impact", "Impact", "radio_buttons", options=options("Outage", "None")),
        field("mail", "Mail", "email_text_input"),
        field("link", "Link", "url_text_input"),
        field("notes", "Notes", "rich_text_input"),
        {
            **field("far", "Runbook", "external_select", min_query_length=0),
            "element": {"type": "external_select", "action_id": "far", "min_query_length": 0},
        },
        callback_id="all",
    )


def eventually(look: Callable[[], Any], seconds: float = 8.0) -> Any:
    """The first truthy thing ``look`` sees, before the deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen = look()
        if seen:
            return seen
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


@contextlib.contextmanager
def served(data: Path, port: int = 0) -> Iterator[str]:
    """The workspace on a port of its own, in a thread."""
    app = create_app(data_dir=data, manifest=MANIFEST, rates="off", timing=Timing(ack=ACK_SECONDS))
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    eventually(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@contextlib.contextmanager
def running_bot(url: str, data: Path) -> Iterator[Bot]:
    """The app, connected in Socket Mode."""
    bot = Bot(url, data)
    handler = SocketModeHandler(bot.app, bot.token)
    handler.connect()
    try:
        yield bot
    finally:
        handler.close()


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """Debian's Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Window:
    """One browser window, used by one person; it collects what the console complains about."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.url = url
        self.complaints: list[str] = []
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text) if "Content Security Policy" in message.text else None)

    def opens(self, place: str = f"#/channel/{INCIDENTS}", user: str = ANA) -> Window:
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}/?user={user}{place}")
        self.page.wait_for_selector(".composer textarea, .home-blocks .block, .join-bar, .empty:visible")
        return self

    @property
    def composer(self) -> Locator:
        return self.page.locator("#main .composer textarea")

    def message(self, ts: str) -> Locator:
        return self.page.locator(f'#main [data-ts="{ts}"]')

    @property
    def dialog(self) -> Locator:
        return self.page.locator("dialog[open]")

    def focused(self) -> str:
        return str(self.page.evaluate("document.activeElement.innerText || document.activeElement.getAttribute('aria-label') || ''"))


def expect(locator: Locator) -> Any:
    from playwright.sync_api import expect as promise

    promise.set_options(timeout=PATIENCE_MS)
    return promise(locator)
