"""The browser front of the local workspace, in a real browser, with an unmodified Bolt app behind it."""

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

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient

from bot.workspace.protocol import Timing
from bot.workspace.server import create_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

CHROMIUM = shutil.which("chromium")
MISSING = "chromium is not installed" if not CHROMIUM else "" if importlib.util.find_spec("playwright") else "playwright is not installed"
pytestmark = [
    pytest.mark.debian,
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
    # The SDK's Socket Mode client leaves sockets for the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
MANIFEST = Path(__file__).parents[2] / "bot" / "slack" / "manifest.yaml"
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


@pytest.fixture(scope="module")
def harbor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("harbor")) as url:
        yield url


@pytest.fixture(scope="module")
def bot(harbor: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    data = next(path for path in tmp_path_factory.getbasetemp().iterdir() if path.name.startswith("harbor"))
    with running_bot(harbor, data) as bot:
        yield bot


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
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


Open = Callable[..., Window]


@pytest.fixture
def window(browser: Browser, harbor: str, bot: Bot) -> Iterator[Open]:
    contexts: list[BrowserContext] = []
    windows: list[Window] = []

    def make(place: str = f"#/channel/{INCIDENTS}", user: str = ANA, **more: Any) -> Window:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "timezone_id": "America/New_York", **more})
        contexts.append(context)
        made = Window(context, harbor).opens(place, user)
        windows.append(made)
        return made

    bot.seen.clear()
    yield make
    for context in contexts:
        context.close()
    assert [complaint for one in windows for complaint in one.complaints] == []


def expect(locator: Locator) -> Any:
    from playwright.sync_api import expect as promise

    return promise(locator)


def test_a_person_reads_the_card_with_its_time_in_her_own_zone(window: Open, bot: Bot) -> None:
    """Date tokens show the reader's profile zone (Tokyo), whatever the zone of the machine."""
    ts = bot.says(blocks=CARD)
    card = window(user=CHIKA).message(ts)
    expect(card.locator(".header")).to_have_text("SEV2 · INC-42 · Model answers are slow")
    expect(card.locator("time").last).to_have_text("2026-11-20 19:02")
    expect(card.locator("button.mention")).to_have_text("@Ana Silva")


def test_a_plan_is_opened_corrected_and_run(window: Open, bot: Bot) -> None:
    """Errors stand at their field and keep the input; when it is accepted the modal closes and focus returns to the button."""
    ts = bot.says(blocks=CARD)
    win = window()
    win.message(ts).get_by_role("button", name="Plan…").click()
    replicas = win.dialog.get_by_label("Replicas")
    expect(replicas).to_be_focused()
    for typed, error in (
        ("", "Please complete this field."),
        ("13", "Enter 12 or less."),
        ("2.5", "Enter a whole number."),
        ("5", "Five is frozen."),
    ):
        replicas.fill(typed)
        win.dialog.get_by_role("button", name="Run it").click()
        expect(win.dialog.locator(".field-error:visible")).to_have_text(error)
        expect(replicas).to_have_value(typed)
        expect(replicas).to_have_attribute("aria-invalid", "true")
    replicas.fill("4")
    win.page.keyboard.press("Enter")
    expect(win.dialog).to_have_count(0)
    assert eventually(lambda: bot.seen)[0]["view"]["state"]["values"]["n"]["v"] == {"type": "number_input", "value": "4"}
    assert win.focused() == "Plan…"


def test_views_stack_and_keep_what_was_typed_below(window: Open, bot: Bot) -> None:
    """A pushed view lies over the first; Escape brings the first back with its values; the cross closes all."""
    ts = bot.says(blocks=CARD)
    win = window()
    win.message(ts).get_by_role("button", name="Plan…").click()
    win.dialog.get_by_label("Replicas").fill("6")
    win.dialog.get_by_label("Reason").fill("because")
    win.dialog.get_by_role("button", name="Run it").click()
    expect(win.dialog.locator("h2")).to_have_text("Sure?")
    win.page.keyboard.press("Escape")
    expect(win.dialog.locator("h2")).to_have_text("Scale out")
    expect(win.dialog.get_by_label("Replicas")).to_have_value("6")
    expect(win.dialog.get_by_label("Reason")).to_have_value("because")
    win.dialog.get_by_role("button", name="Run it").click()
    expect(win.dialog.locator("h2")).to_have_text("Sure?")
    win.dialog.get_by_role("button", name="Close").click()
    expect(win.dialog).to_have_count(0)


def test_an_update_of_an_open_modal_keeps_what_is_being_typed(window: Open, bot: Bot) -> None:
    """views.update changes the blocks around a field; its text, its focus and its cursor stay."""
    ts = bot.says(blocks=CARD)
    win = window()
    win.message(ts).get_by_role("button", name="Plan…").click()
    reason = win.dialog.get_by_label("Reason")
    reason.type("half a sent")
    win.page.keyboard.press("ArrowLeft")
    view = win.page.evaluate("import('/js/store.js').then(({state}) => state.views.at(-1).id)")
    bot.web.views_update(
        view_id=view,
        view=modal("Scale out", {"type": "section", "text": plain("CPU 97 %")}, REPLICAS, {**REASON, "hint": plain("For the timeline")}),
    )
    expect(win.dialog.get_by_text("CPU 97 %")).to_be_visible()
    expect(win.dialog.get_by_text("For the timeline")).to_be_visible()
    expect(reason).to_be_focused()
    win.page.keyboard.type("X")
    expect(reason).to_have_value("half a senXt")


def test_no_button_of_a_fresh_modal_is_ready_for_a_stray_enter(window: Open, bot: Bot) -> None:
    """A modal without fields puts the focus on its text; Enter then runs nothing."""
    ts = bot.says(blocks=CARD)
    win = window()
    win.message(ts).get_by_role("button", name="Plan…").click()
    win.dialog.get_by_label("Replicas").fill("6")
    win.page.keyboard.press("Enter")
    expect(win.dialog.locator("h2")).to_have_text("Sure?")
    win.page.keyboard.press("Enter")
    win.page.keyboard.press("Enter")
    assert win.page.evaluate("document.activeElement.className") == "view-body blocks"
    expect(win.dialog.locator("h2")).to_have_text("Sure?")
    assert bot.seen == []


def test_tab_stays_inside_an_open_modal(window: Open, bot: Bot) -> None:
    """However often Tab or Shift+Tab is pressed, focus never leaves the dialog."""
    ts = bot.says(blocks=CARD)
    win = window()
    win.message(ts).get_by_role("button", name="Plan…").click()
    expect(win.dialog.get_by_label("Replicas")).to_be_focused()
    for key in ["Tab"] * 9 + ["Shift+Tab"] * 12:
        win.page.keyboard.press(key)
        assert win.page.evaluate("Boolean(document.activeElement.closest('dialog'))")


def test_a_click_nobody_acknowledges_says_so_under_the_message(window: Open, bot: Bot) -> None:
    """The button shows progress, then the message says that the app did not respond, and the button can be pressed again."""
    ts = bot.says(blocks=CARD)
    win = window()
    slow = win.message(ts).get_by_role("button", name="Slow")
    slow.click()
    expect(slow).to_have_attribute("aria-busy", "true")
    expect(win.message(ts).get_by_role("alert").filter(has_text="Muster did not respond in time")).to_be_visible()
    expect(slow).to_have_attribute("aria-busy", "false")


def test_a_dangerous_button_asks_first_and_starts_on_no(window: Open, bot: Bot) -> None:
    """Nothing is sent before the confirmation; its safe answer has the focus."""
    ts = bot.says(blocks=CARD)
    win = window()
    win.message(ts).get_by_role("button", name="Pages people").click()
    expect(win.dialog).to_contain_text("14 people")
    assert win.focused() == "No"
    win.page.keyboard.press("Enter")
    expect(win.dialog).to_have_count(0)
    win.message(ts).get_by_role("button", name="Quick").click()
    assert [one["actions"][0]["action_id"] for one in eventually(lambda: bot.seen)] == ["quick"]
    win.message(ts).get_by_role("button", name="Pages people").click()
    win.dialog.get_by_role("button", name="Page", exact=True).click()
    assert eventually(lambda: len(bot.seen) == 2 and bot.seen[1])["actions"][0]["action_id"] == "page"


def test_a_slash_command_is_completed_answered_and_its_line_replaced(window: Open, bot: Bot) -> None:
    """Typing /mu and Enter completes it; the answer is visible to the caller only, and its button replaces it."""
    win, other = window(), window(user=BEN)
    win.composer.type("/mu")
    win.page.keyboard.press("Enter")
    expect(win.composer).to_have_value("/muster ")
    win.composer.type("status & <more>")
    win.page.keyboard.press("Enter")
    line = win.page.locator(".message.ephemeral").last
    expect(line).to_contain_text("Only visible to you")
    line.get_by_role("button", name="OK").click()
    expect(win.page.locator(".message.ephemeral").last).to_contain_text("All done.")
    expect(other.page.locator(".message.ephemeral")).to_have_count(0)
    win.page.locator(".message.ephemeral").last.get_by_role("button", name="Dismiss").click()
    expect(win.page.get_by_text("All done.")).to_have_count(0)
    win.opens()
    expect(win.page.get_by_text("All done.")).to_have_count(0)


def test_two_people_talk_and_a_mention_is_counted(window: Open, bot: Bot) -> None:
    """What Ana writes reaches Ben at once; elsewhere he sees a badge, which is gone when he has read it."""
    ana, ben = window(f"#/channel/{SUPPORT}"), window(f"#/channel/{GENERAL}", user=BEN)
    ana.composer.fill("@ben okafor look at <b>this</b>")
    ana.page.keyboard.press("Enter")
    badge = ben.page.locator(f'[data-nav="{SUPPORT}"] .count')
    expect(badge).to_have_text("1")
    ben.page.locator(f'[data-nav="{SUPPORT}"]').click()
    expect(ben.page.locator(".message").last).to_contain_text("@Ben Okafor look at <b>this</b>")
    expect(badge).to_have_count(0)
    ben.page.locator(f'[data-nav="{GENERAL}"]').click()
    ben.opens(f"#/channel/{GENERAL}", user=BEN)
    expect(ben.page.locator(f'[data-nav="{SUPPORT}"].unread')).to_have_count(0)


def test_a_reply_opens_in_the_thread_pane_and_is_counted(window: Open, bot: Bot) -> None:
    """Reply in thread opens the thread beside; the root shows the count; Escape closes it and gives the focus back."""
    ts = bot.says("a root")
    win = window()
    win.message(ts).hover()
    win.message(ts).get_by_role("button", name="Reply in thread").click()
    field = win.page.locator("#thread textarea")
    expect(field).to_be_focused()
    field.fill("a reply")
    win.page.keyboard.press("Enter")
    expect(win.page.locator("#thread .message").last).to_contain_text("a reply")
    expect(win.message(ts).locator(".thread-line")).to_contain_text("1 reply")
    field.fill("/muster help")
    win.page.keyboard.press("Enter")
    expect(win.page.locator("#thread .composer-error")).to_contain_text("does not work in threads")
    win.page.keyboard.press("Escape")
    expect(win.page.locator("#thread")).to_be_hidden()
    assert win.page.evaluate("document.activeElement.dataset.ts") == ts


def test_reactions_pins_and_message_shortcuts_from_the_toolbar(window: Open, bot: Bot) -> None:
    """A reaction is added and taken back, a pin appears in the bar, and an app's shortcut answers to its caller."""
    ts = bot.says("worth keeping")
    win = window()
    message = win.message(ts)
    message.hover()
    message.get_by_role("button", name="React").click()
    win.page.get_by_role("button", name="pushpin", exact=True).click()
    mine = message.locator(".reaction.mine")
    expect(mine).to_have_attribute("aria-label", "pushpin, 1: you")
    mine.click()
    expect(mine).to_have_count(0)
    message.hover()
    message.get_by_role("button", name="Pin", exact=True).click()
    expect(win.page.locator(".bar-item").first).to_contain_text("pinned")
    message.hover()
    message.get_by_role("button", name="More actions").click()
    win.page.get_by_role("menuitem", name="Add to timeline").click()
    expect(win.page.locator(".message.ephemeral").last).to_contain_text("Kept worth keeping")


def test_the_keyboard_alone_jumps_reads_and_closes(window: Open, bot: Bot) -> None:
    """Ctrl+K jumps to a channel, Up from the empty field walks the messages, Escape closes the topmost thing only."""
    bot.says("second to last", GENERAL)
    bot.says("the last one", GENERAL)
    win = window()
    win.page.keyboard.press("Control+k")
    win.page.keyboard.type("gener")
    win.page.keyboard.press("Enter")
    expect(win.page.locator("#main h1")).to_have_text("general")
    expect(win.composer).to_be_focused()
    win.page.keyboard.press("ArrowUp")
    win.page.keyboard.press("ArrowUp")
    assert "second to last" in win.focused()
    win.page.keyboard.press("Enter")
    expect(win.page.locator("#thread")).to_be_visible()
    win.page.keyboard.press("Control+k")
    expect(win.dialog).to_be_visible()
    win.page.keyboard.press("Escape")
    expect(win.dialog).to_have_count(0)
    expect(win.page.locator("#thread")).to_be_visible()


def test_every_input_reaches_the_app_in_slacks_shape(window: Open, bot: Bot) -> None:
    """Each kind of field, filled by a person, arrives in state.values as the type's own field."""
    win = window()
    win.page.get_by_role("button", name="Shortcuts").click()
    win.page.get_by_role("menuitem", name="Declare incident").click()
    form = win.dialog
    form.get_by_label("Title").fill("Slow")
    pick(win, "Severity", "SEV1")
    pick(win, "Services", "Reranker")
    pick(win, "Commander", "Ben Okafor")
    pick(win, "Runbook", "Cost")
    form.get_by_label("Due").fill("2026-11-27")
    form.locator('[data-input-block="hour"] input').fill("10:30")
    form.locator('[data-input-block="moment"] input').fill("2026-11-20T10:02")
    form.get_by_label("Page").check()
    form.get_by_label("Outage").check()
    form.get_by_label("Mail").fill("ana@example.com")
    form.get_by_label("Link").fill("https://example.com")
    form.get_by_label("Notes").fill("noted")
    form.get_by_role("button", name="Run it").click()
    values = {block: next(iter(found.values())) for block, found in eventually(lambda: bot.seen)[0]["view"]["state"]["values"].items()}
    assert values["text"] == {"type": "plain_text_input", "value": "Slow"}
    assert values["severity"]["selected_option"]["value"] == "sev1"
    assert [one["value"] for one in values["services"]["selected_options"]] == ["reranker"]
    assert values["lead"] == {"type": "users_select", "selected_user": BEN}
    assert values["where"] == {"type": "conversations_select", "selected_conversation": INCIDENTS}
    assert values["day"] == {"type": "datepicker", "selected_date": "2026-11-27"}
    assert values["hour"]["selected_time"] == "10:30"
    assert values["moment"]["selected_date_time"] == 1795168920  # 10:02 in Lisbon, Ana's zone, not in the machine's
    assert [one["value"] for one in values["do"]["selected_options"]] == ["page"]
    assert values["impact"]["selected_option"]["value"] == "outage"
    assert (values["mail"]["value"], values["link"]["value"]) == ("ana@example.com", "https://example.com")
    assert values["notes"]["rich_text_value"]["elements"][0]["elements"] == [{"type": "text", "text": "noted"}]
    assert values["far"]["selected_option"]["value"] == "cost"


def pick(win: Window, label: str, choice: str) -> None:
    win.dialog.get_by_role("combobox", name=label).click()
    win.page.get_by_role("option", name=choice).click()
    if label == "Services":
        win.page.keyboard.press("Escape")


GALLERY = [
    {"type": "divider"},
    {"type": "context", "elements": [mrkdwn(":white_check_mark: fine")]},
    {
        "type": "rich_text",
        "elements": [
            {
                "type": "rich_text_list",
                "style": "bullet",
                "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "one"}]}],
            }
        ],
    },
    {"type": "markdown", "text": "# Title\n\n- [x] done\n- [ ] open\n\n| a | b |\n|---|--:|\n| 1 | 2 |"},
    {"type": "table", "rows": ROWS[:3]},
    {"type": "data_table", "caption": "Due", "page_size": 3, "rows": ROWS},
    {"type": "data_visualization", "title": "p99", "chart": {"type": "line", "series": SERIES, "axis_config": AXIS}},
    {
        "type": "data_visualization",
        "title": "Spend",
        "chart": {"type": "pie", "segments": [{"label": "large", "value": 3}, {"label": "small", "value": 1}]},
    },
    {
        "type": "container",
        "title": plain("Timeline"),
        "is_collapsible": True,
        "default_collapsed": True,
        "child_blocks": [{"type": "section", "text": plain("inside")}],
    },
    {"type": "carousel", "elements": [{"type": "card", "title": mrkdwn("*A*"), "actions": [button("Open", "quick")]}]},
    {
        "type": "context_actions",
        "elements": [
            {
                "type": "feedback_buttons",
                "action_id": "quick",
                "positive_button": {"text": plain("Good"), "value": "+"},
                "negative_button": {"text": plain("Bad"), "value": "-"},
            }
        ],
    },
]


def test_every_block_is_shown(window: Open, bot: Bot) -> None:
    """No block that Slack takes in a message is shown as unknown, and none breaks the page's content policy."""
    ts = bot.says(blocks=GALLERY)
    message = window().message(ts)
    expect(message.locator(".block")).to_have_count(len(GALLERY) + 1)  # the container's child counts too
    expect(message.locator(".unknown")).to_have_count(0)
    expect(message.get_by_role("img", name="line chart, 10:00 to 10:01. p99: 1.9 to 0.4, highest 1.9")).to_be_visible()
    expect(message.get_by_role("img", name="Spend: large 75 %, small 25 %")).to_be_visible()
    expect(message.get_by_text("inside")).to_be_hidden()
    message.locator("summary.container-head").click()
    expect(message.get_by_text("inside")).to_be_visible()


def test_a_data_table_sorts_filters_and_pages(window: Open, bot: Bot) -> None:
    """A heading sorts numbers as numbers, the filter narrows, and the pager turns pages."""
    ts = bot.says(blocks=[GALLERY[5]])
    table = window().message(ts).locator(".data-table")
    days = table.locator("tbody td:nth-child(2)")
    table.get_by_role("button", name="Days").click()
    expect(days).to_have_text(["1", "2", "4"])
    table.get_by_role("button", name="Days").click()
    expect(days).to_have_text(["9", "8", "7"])
    table.get_by_role("button", name="Next page").click()
    expect(days).to_have_text(["5", "4", "2"])
    table.get_by_role("searchbox").fill("task 4")
    expect(days).to_have_text(["8"])


def test_what_is_chosen_in_a_message_is_sent_at_once(window: Open, bot: Bot) -> None:
    """A select in an actions block sends its choice as Slack's action."""
    ts = bot.says(
        blocks=[
            {
                "type": "actions",
                "elements": [
                    {"type": "static_select", "action_id": "choose", "placeholder": plain("Severity"), "options": options("SEV1", "SEV2")}
                ],
            }
        ]
    )
    win = window()
    win.message(ts).get_by_role("combobox").click()
    win.page.keyboard.type("sev2")
    expect(win.page.get_by_role("option")).to_have_count(1)
    win.page.keyboard.press("Enter")
    assert eventually(lambda: bot.seen)[0]["actions"][0]["selected_option"]["value"] == "sev2"


def test_a_link_button_opens_its_page_and_tells_the_app(window: Open, bot: Bot, harbor: str) -> None:
    """A button with an address opens it in another tab and still sends its action; an overflow sends its choice."""
    menu = {"type": "overflow", "action_id": "choose", "options": options("Hand over", "Resolve")}
    ts = bot.says(blocks=[{"type": "actions", "elements": [button("Open page", "quick", url=f"{harbor}/healthz"), menu]}])
    win = window()
    with win.page.expect_popup() as opened:
        win.message(ts).get_by_role("button", name="Open page").click()
    assert opened.value.url == f"{harbor}/healthz"
    assert eventually(lambda: bot.seen)[0]["actions"][0]["action_id"] == "quick"
    win.message(ts).get_by_role("button", name="More", exact=True).click()
    win.page.keyboard.press("ArrowDown")
    win.page.keyboard.press("Enter")
    assert eventually(lambda: bot.seen[1:])[0]["actions"][0]["selected_option"]["value"] == "resolve"


def test_a_flood_of_messages_keeps_the_window_light(window: Open, bot: Bot) -> None:
    """After a thousand messages the window holds a few hundred; scrolling up brings the older ones back."""
    win = window(f"#/channel/{LEADS}", user=BEN)
    bot.web.conversations_join(channel=LEADS)
    first = bot.says("flood 0", LEADS)
    for number in range(1, 1000):
        bot.says(f"flood {number}", LEADS)
    expect(win.page.locator("#main .message").last).to_contain_text("flood 999")
    assert win.page.locator("#main .message").count() < 650
    win.opens(f"#/channel/{LEADS}/{first}", user=BEN)
    expect(win.message(first)).to_be_in_viewport()


def test_a_storm_of_updates_loses_neither_words_nor_clicks(window: Open, bot: Bot) -> None:
    """While a card is redrawn as fast as the API takes it, typed text stays, a click arrives, and the place one reads stays."""
    for number in range(30):
        bot.says(f"line {number}")
    ts = bot.says(blocks=CARD)
    win = window()
    expect(win.message(ts)).to_be_visible()
    stop = threading.Event()

    def storm() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            bot.web.chat_update(
                channel=INCIDENTS, ts=ts, text="card", blocks=[{"type": "section", "text": plain(f"update {number}")}, *CARD]
            )

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        expect(win.message(ts)).to_contain_text("update")
        win.composer.type("typed in the storm", delay=25)
        win.message(ts).get_by_role("button", name="Quick").click()
        assert eventually(lambda: bot.seen)[0]["actions"][0]["action_id"] == "quick"
        expect(win.composer).to_have_value("typed in the storm")
        scroller = win.page.locator("#main .scroller")
        scroller.evaluate("node => { node.scrollTop = 60; }")
        shown = win.message(ts).inner_text()
        eventually(lambda: win.message(ts).inner_text() != shown)
        assert scroller.evaluate("node => node.scrollTop") < 400
    finally:
        stop.set()
        thread.join()


def test_a_link_to_an_old_message_finds_it(window: Open, bot: Bot) -> None:
    """A deep link, and Slack's permalink, show a message many pages back, marked and focused; a reply opens its thread."""
    old = bot.says("the old one", SUPPORT)
    reply = bot.says("the old reply", SUPPORT, thread_ts=old)
    for number in range(90):
        bot.says(f"filler {number}", SUPPORT)
    win = window(f"#/channel/{SUPPORT}/{old}")
    expect(win.message(old)).to_be_in_viewport()
    expect(win.message(old)).to_be_focused()
    win.page.goto(bot.web.chat_getPermalink(channel=SUPPORT, message_ts=old)["permalink"])
    expect(win.message(old)).to_be_in_viewport()
    win.opens(f"#/channel/{SUPPORT}/{reply}?thread={old}")
    expect(win.page.locator(f'#thread [data-ts="{reply}"]')).to_be_visible()


def test_app_home_opens_acts_and_changes_by_itself(window: Open, bot: Bot) -> None:
    """The Home tab shows what the app publishes, its buttons open modals, and a later publish appears without asking."""
    win = window("#/home", user=EVA)
    expect(win.page.locator(".home-blocks")).to_contain_text("Nothing waits for you")
    bot.publish(EVA, "Ben asks for your approval")
    expect(win.page.locator(".home-blocks")).to_contain_text("Ben asks for your approval")
    win.page.get_by_role("button", name="Plan…").click()
    expect(win.dialog.locator("h2")).to_have_text("Scale out")
    win.page.keyboard.press("Escape")
    win.page.get_by_role("link", name="Messages").click()
    win.composer.fill("hello")
    win.page.keyboard.press("Enter")
    expect(win.page.locator(".message").last).to_contain_text("hello")


def test_one_window_becomes_somebody_else(window: Open, bot: Bot) -> None:
    """The people switcher signs in as Ben: the address, the name and what he may see change."""
    win = window()
    expect(win.page.locator(f'[data-nav="{LEADS}"]')).to_have_count(0)
    win.page.locator(".me").click()
    win.page.get_by_role("menuitemradio", name="Ben Okafor").click()
    expect(win.page.locator(".me")).to_contain_text("Ben Okafor")
    expect(win.page.locator(f'[data-nav="{LEADS}"]')).to_be_visible()
    assert f"user={BEN}" in win.page.url


def test_a_channel_is_made_and_another_joined(window: Open, bot: Bot) -> None:
    """A taken name is refused in words, a free one opens; a channel one is not in offers to join before writing."""
    win = window()
    win.page.get_by_role("button", name="New channel").click()
    win.dialog.get_by_label("Name").fill("general")
    win.dialog.get_by_role("button", name="Create").click()
    expect(win.dialog.locator(".field-error")).to_have_text("A channel with this name exists already.")
    win.dialog.get_by_label("Name").fill("Inc Checkout")
    win.dialog.get_by_role("button", name="Create").click()
    expect(win.page.locator("#main h1")).to_have_text("inc-checkout")
    win.opens(f"#/channel/{LEADS}", user=EVA)
    expect(win.composer).to_have_count(0)
    win.page.get_by_role("button", name="Join channel").click()
    expect(win.composer).to_be_visible()


def test_a_phone_shows_one_pane_at_a_time_with_targets_for_thumbs(window: Open, bot: Bot) -> None:
    """At 390 px the list, the channel and the thread take turns; a modal fills the screen; what is pressed is 44 px high."""
    ts = bot.says(blocks=CARD)
    win = window(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = win.page
    expect(page.locator("#sidebar")).to_be_hidden()
    plan = win.message(ts).get_by_role("button", name="Plan…")
    assert plan.bounding_box()["height"] >= 44
    plan.tap()
    expect(win.dialog).to_be_visible()
    box = win.dialog.bounding_box()
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, 390, 844)
    win.dialog.get_by_role("button", name="Cancel").tap()
    page.get_by_role("button", name="Back to the list").tap()
    expect(page.locator("#main")).to_be_hidden()
    assert page.locator(f'[data-nav="{INCIDENTS}"]').bounding_box()["height"] >= 44
    page.locator(f'[data-nav="{INCIDENTS}"]').tap()
    expect(page.locator("#main")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_colours_follow_the_system_until_somebody_chooses(window: Open, bot: Bot) -> None:
    """Dark by the system's wish; the toggle overrides it and is remembered."""
    win = window(color_scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = win.page.evaluate(paper)
    toggle = win.page.get_by_role("button", name="Colours")
    toggle.click()
    assert win.page.evaluate(paper) == dark
    toggle.click()
    assert win.page.evaluate(paper) == "rgb(255, 255, 255)"
    win.opens()
    assert win.page.evaluate(paper) == "rgb(255, 255, 255)"


HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'&lt;b&gt;"


def test_hostile_text_stays_text_wherever_it_stands(window: Open, bot: Bot) -> None:
    """Markup in texts, titles, options, buttons, names and links makes no element and no script address."""
    bad = [
        {"type": "header", "text": plain(HOSTILE)},
        {"type": "section", "text": mrkdwn("&lt;img src=x onerror=alert(1)&gt; <javascript:alert(1)|press>")},
        {"type": "markdown", "text": f"{HOSTILE} [press](javascript:alert(1)) ![x](javascript:alert(1))"},
        {"type": "actions", "elements": [button(HOSTILE[:70], "quick")]},
        {"type": "table", "rows": [[{"type": "raw_text", "text": HOSTILE}]]},
    ]
    ts = bot.says(HOSTILE.replace("<", "&lt;"), blocks=bad)
    message = window().message(ts)
    expect(message.locator(".header")).to_have_text(HOSTILE)
    expect(message.locator("script, .body img, a[href^='javascript']")).to_have_count(0)


def test_a_lost_connection_is_mended_and_the_missed_part_fetched(browser: Browser, tmp_path: Path) -> None:
    """When the server goes and comes back the window says so, reconnects by itself, and shows what was said meanwhile."""
    with served(tmp_path) as url:
        context = browser.new_context()
        win = Window(context, url).opens()
        secrets = json.loads((tmp_path / "app.json").read_text())
    expect(win.page.get_by_text("Reconnecting…")).to_be_visible()
    with served(tmp_path, port=int(url.rpartition(":")[2])) as again:
        WebClient(token=secrets["bot_token"], base_url=f"{again}/api/").chat_postMessage(channel=INCIDENTS, text="said while you were away")
        expect(win.page.get_by_text("said while you were away")).to_be_visible(timeout=20_000)
        expect(win.page.get_by_text("Reconnecting…")).to_have_count(0)
        context.close()


ALLOWED = {
    "STRONG",
    "EM",
    "S",
    "CODE",
    "PRE",
    "BLOCKQUOTE",
    "BR",
    "A",
    "BUTTON",
    "SPAN",
    "TIME",
    "SVG",
    "TITLE",
    "CIRCLE",
    "RECT",
    "PATH",
    "P",
    "UL",
    "OL",
    "LI",
    "HR",
    "DIV",
    "TABLE",
    "THEAD",
    "TBODY",
    "TR",
    "TH",
    "TD",
    "INPUT",
}
SAFE = """(node) => [...node.querySelectorAll('*')].map((one) => [one.tagName.toUpperCase(), one.getAttributeNames().filter((name) => name.startsWith('on')).length,
  one.getAttribute('href') || ''])"""
SHOWN = (
    "async ([module, text]) => { const made = await import('/js/' + module + '.js'); const box = document.createElement('div');"
    f"box.append(made[module](text)); return [({SAFE})(box), box.textContent]; }}"
)
PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "*",
                "_",
                "~",
                "`",
                "```",
                "<",
                ">",
                "|",
                "\n",
                "[",
                "](",
                ")",
                "#",
                "- ",
                "1. ",
                "&lt;",
                "&amp;",
                "<!date^1^{time}|x>",
                "<@U1>",
                "<javascript:x|y>",
                "<https://a.example|",
                ":tada:",
                "| a | b |\n|--|--|\n",
                "**",
                "    ",
                "\\",
                "<img onerror=x>",
                "data:text/html,x",
            ]
        ),
        st.text(max_size=6),
    ),
    max_size=14,
).map("".join)


@pytest.fixture(scope="module")
def bare_page(browser: Browser, harbor: str) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(harbor)
    yield page
    context.close()


@pytest.mark.parametrize("module", ["mrkdwn", "markdown"])
@settings(max_examples=150, deadline=None)
@given(text=PIECES)
def test_any_text_renders_to_harmless_elements(bare_page: Page, module: str, text: str) -> None:
    """Whatever is written, rendering ends, makes only elements of the list, no handlers, and only web and mail addresses."""
    elements, _ = bare_page.evaluate(SHOWN, [module, text])
    assert {tag for tag, _, _ in elements} <= ALLOWED
    assert not any(handlers for _, handlers, _ in elements)
    assert all(href.startswith(("http:", "https:", "mailto:", "#/")) for tag, _, href in elements if tag == "A")


@settings(max_examples=100, deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_characters="*_~`:<>&\n\r", exclude_categories=["Cs"]), max_size=60))
def test_text_without_signs_is_shown_as_it_is(bare_page: Page, text: str) -> None:
    """Words without formatting signs come out letter by letter."""
    assert bare_page.evaluate(SHOWN, ["mrkdwn", text])[1] == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("*bold* and _it_ and ~no~", "<strong>bold</strong> and <em>it</em> and <s>no</s>"),
        ("snake_case_name 2*3*4", "snake_case_name 2*3*4"),
        ("*not\nbold*", "*not<br>bold*"),
        ("`*raw*` &amp; &lt;b&gt;", "<code>*raw*</code> &amp; &lt;b&gt;"),
        ("&gt; said\nme", "<blockquote>said</blockquote>me"),
        ("```a &lt; b```", '<pre class="code-block"><code>a &lt; b</code></pre>'),
        ("<!date^x^{time}|soon>", "soon"),
        ("open ``` fence", "open ``` fence"),
    ],
)
def test_mrkdwn_reads_as_slack_shows_it(bare_page: Page, text: str, shown: str) -> None:
    """Each sign of Slack's mrkdwn becomes its element, and only where Slack would take it for one."""
    html = "async (text) => { const {mrkdwn} = await import('/js/mrkdwn.js'); const box = document.createElement('div'); box.append(mrkdwn(text)); return box.innerHTML; }"
    assert bare_page.evaluate(html, text) == shown


def test_an_unknown_block_says_so(bare_page: Page) -> None:
    """A block type of the future is named instead of vanishing."""
    show = "async () => { const {renderBlock} = await import('/js/blocks.js'); return renderBlock({type: 'hologram'}, {}).textContent; }"
    assert bare_page.evaluate(show) == "This block type is not shown here: hologram"
