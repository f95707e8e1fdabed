"""The browser front of the local workspace, in a real browser, with an unmodified Bolt app behind it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from slack_sdk import WebClient

from tests.browsing import (
    ANA,
    AXIS,
    BEN,
    CARD,
    CHIKA,
    EVA,
    GENERAL,
    INCIDENTS,
    LEADS,
    MISSING,
    REASON,
    REPLICAS,
    ROWS,
    SERIES,
    SUPPORT,
    Bot,
    Window,
    button,
    eventually,
    expect,
    launched,
    modal,
    mrkdwn,
    options,
    plain,
    running_bot,
    served,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

pytestmark = [
    pytest.mark.debian,
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
    # The SDK's Socket Mode client leaves sockets for the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
Open = Callable[..., Window]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this workspace keeps its data; a worker that comes back to this file gets another."""
    return tmp_path_factory.mktemp("harbor")


@pytest.fixture(scope="module")
def harbor(folder: Path) -> Iterator[str]:
    with served(folder) as url:
        yield url


@pytest.fixture(scope="module")
def bot(harbor: str, folder: Path) -> Iterator[Bot]:
    with running_bot(harbor, folder) as bot:
        yield bot


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


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
