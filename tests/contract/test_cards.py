"""Every card against an independent judge of Block Kit, against Muster's own rules, and against hostile data."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.slack import intents, text
from bot.slack.cards import draw, draw_home, draw_view
from bot.workspace.blocks.judge import message_report, view_report
from runbooks.screens import Dialog, HomeScreen, Message
from tests import gallery

MESSAGES = list(gallery.messages())
DIALOGS = list(gallery.dialogs())
HOMES = list(gallery.homes())
HOSTILE = "<!channel> <@U0ANA> <!here|x> <https://evil.example|click> & *b* _i_ `c` {{ 7*7 }} \x00\x1b[31m\u202e\ud83d\n\n\n|>"


def name(screen: Any) -> str:
    """The screen's class, for the test's id."""
    return type(screen).__name__


def pieces(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every key and value within a payload."""
    if isinstance(value, dict):
        for inner, item in value.items():
            yield inner, item
            yield from pieces(item, inner)
    elif isinstance(value, list | tuple):
        for item in value:
            yield key, item
            yield from pieces(item, key)


def texts(value: Any, kind: str) -> list[str]:
    """The text of every text object of one kind."""
    objects = [item for _, item in pieces({"all": value}) if isinstance(item, dict)]
    return [item["text"] for item in objects if item.get("type") == kind and isinstance(item.get("text"), str)]


def buttons(blocks: Any) -> list[dict[str, Any]]:
    """Every button of a payload."""
    found = [block["accessory"] for block in blocks if block.get("accessory", {}).get("type") == "button"]
    return found + [item for block in blocks for item in block.get("elements", ()) if item.get("type") == "button"]


def judged_message(screen: Message) -> Any:
    """The drawn message, after every rule that holds for all messages."""
    drawn = draw(screen)
    report = message_report(list(drawn.blocks))
    assert not report.problems, report.problems
    assert 0 < text.size(drawn.text) <= text.MESSAGE_TEXT
    assert len(drawn.blocks) <= 50
    assert len(json.dumps(drawn.blocks, ensure_ascii=False)) < 12_000
    common(drawn.blocks)
    assert not re.search(r"<!(?!date\^)", drawn.text)
    return drawn


def judged_view(view: Any, kind: str) -> Any:
    """The drawn view, after every rule that holds for all views."""
    report = view_report(view, kind=kind)
    assert not report.problems, report.problems
    common(view["blocks"])
    for element in (e for block in view["blocks"] for e in [block.get("element")] if e):
        assert element["action_id"] in {"text", "choice", "integer", "number", "boolean", "person", "moment", "date"}
    return view


def common(blocks: Any) -> None:
    """What holds on every surface: short rows, readable intents, no mention but ours, verbatim text."""
    for block in blocks:
        assert len(block.get("elements", ())) <= 5 or block["type"] != "actions"
        ids = [item.get("action_id") for item in block.get("elements", ()) if item.get("type") == "button"]
        assert len(ids) == len(set(ids))
    for item in buttons(blocks):
        intents.decode(item["action_id"], item["value"])
        assert item["action_id"].startswith("muster.")
    for words in texts(blocks, "mrkdwn"):
        assert not re.search(r"<!(?!date\^\d+\^)", words), words
        assert not re.search(r"<(?!!date\^|@[UW][A-Z0-9]+>|https?://)", words), words
    for words in texts(blocks, "plain_text"):
        assert not re.search(r"<[!@#]", words), words
    for _, piece in pieces({"all": blocks}):
        if isinstance(piece, dict) and piece.get("type") == "mrkdwn":
            assert piece["verbatim"] is True, "else Slack makes mentions and links of what only looks like one"
    whole = json.dumps(blocks, ensure_ascii=True)
    assert "\\u0000" not in whole
    assert "\\u001b" not in whole
    assert "\\u202e" not in whole
    assert not re.search(r"\\ud83d(?!\\ud)", whole)


def is_drill(screen: Any) -> bool:
    """Whether a screen belongs to a drill."""
    incident = getattr(screen, "incident", None)
    return bool((incident and incident.is_drill) or getattr(screen, "drill", None))


@pytest.mark.parametrize("screen", MESSAGES, ids=name)
def test_every_message_is_valid_block_kit(screen: Message) -> None:
    """Slack would take every message of the gallery, and every button of it can be read back."""
    judged_message(screen)


@pytest.mark.parametrize("screen", DIALOGS, ids=name)
def test_every_dialog_is_valid_block_kit(screen: Dialog) -> None:
    """Slack would take every dialog of the gallery."""
    judged_view(draw_view(screen), "modal")


@pytest.mark.parametrize("screen", MESSAGES, ids=name)
def test_every_message_can_stand_in_a_dialog(screen: Message) -> None:
    """Where a dialog is open, the same message is shown as a valid small dialog."""
    judged_view(draw_view(screen), "modal")


@pytest.mark.parametrize("screen", HOMES)
def test_every_home_is_valid_block_kit(screen: HomeScreen) -> None:
    """Slack would take every App Home of the gallery."""
    judged_view(draw_home(screen), "home")


@pytest.mark.parametrize("screen", [screen for screen in MESSAGES if is_drill(screen)], ids=name)
def test_a_drill_says_so_first(screen: Message) -> None:
    """DRILL is the first word of the text and of the first block of everything that belongs to a drill."""
    drawn = draw(screen)
    assert drawn.text.startswith("DRILL")
    first = drawn.blocks[0]["text"]["text"]
    assert first.startswith(("DRILL", "*DRILL*"))


@pytest.mark.parametrize("screen", [screen for screen in DIALOGS if is_drill(screen)], ids=name)
def test_a_drill_s_dialog_says_so_in_its_title(screen: Dialog) -> None:
    """A dialog of a drill has DRILL in its title."""
    assert draw_view(screen)["title"]["text"].startswith("DRILL")


@pytest.mark.parametrize("screen", [screen for screen in MESSAGES if not is_drill(screen)], ids=name)
def test_nothing_real_says_drill(screen: Message) -> None:
    """The word DRILL at the front is kept for drills."""
    assert not draw(screen).text.startswith("DRILL")


def test_every_kind_of_screen_is_in_the_gallery() -> None:
    """A screen that is added without an example fails here, so that none escapes the judge."""
    assert {type(screen) for screen in MESSAGES} == set(Message.__args__)
    assert {type(screen) for screen in DIALOGS} == set(Dialog.__args__)


def _hostile(value: Any, evil: str, *, within: str = "") -> Any:
    """A copy of a dumped screen with every free text replaced."""
    free = {
        "title", "what_broke", "owner", "affected", "text", "reason", "name", "resolution", "before_text", "after_text", "note", "effect",
        "undo", "withheld", "plan_text", "warning", "decided", "approvers", "refusal", "watch", "last_run", "next_step", "proposed", "target",
        "verdict_reason", "undo_reason", "frozen", "runbook_title", "requested_by", "environment", "unit", "runbook", "error",
    }  # fmt: skip
    if within == "parameters":
        return value  # they come from the runbook, which loading has judged
    if isinstance(value, dict):
        # A plan's hash is taken over its target as UTF-8, so no half characters there: intake lets none in.
        whole = evil.encode("utf-8", "ignore").decode()
        hashed = {"target", "environment"}
        return {
            key: (whole if key in hashed else evil) if key in free and isinstance(item, str) else _hostile(item, evil, within=key)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        texts_of = {"state_lines", "notes", "degraded", "worked", "carried", "waiting", "running", "steps", "reasons"}
        many = [evil] * 30 if within in texts_of and value else []
        return many or [_hostile(item, evil, within=within) for item in value]
    return value


def _as_hostile(screen: Any, evil: str) -> Any:
    dumped = screen.model_dump()
    return type(screen).model_validate(_hostile(dumped, evil))


HUGE = (HOSTILE * 60)[:4_000]


@pytest.mark.parametrize("screen", [*MESSAGES], ids=name)
@pytest.mark.parametrize("evil", [HOSTILE, HUGE, "W" * 4_000, "\U0001f525" * 2_000, " ", "`" * 500, "DRILL"], ids=range(7))
def test_hostile_and_long_data_leaves_every_message_valid(screen: Message, evil: str) -> None:
    """Whatever labels carry: Slack takes the message, nobody is pinged by it, and it stays within its size."""
    judged_message(_as_hostile(screen, evil))


@pytest.mark.parametrize("screen", [*DIALOGS], ids=name)
@pytest.mark.parametrize("evil", [HOSTILE, HUGE, "W" * 4_000, "\U0001f525" * 2_000, " ", "`" * 500], ids=range(6))
def test_hostile_and_long_data_leaves_every_dialog_valid(screen: Dialog, evil: str) -> None:
    """Whatever labels carry: the dialog opens."""
    judged_view(draw_view(_as_hostile(screen, evil)), "modal")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(evil=st.text(alphabet=st.characters(exclude_categories=()), max_size=300), index=st.integers(0, len(MESSAGES) - 1))
def test_any_text_leaves_messages_valid(evil: str, index: int) -> None:
    """Any text at all, control characters and half characters included, makes a message that Slack takes."""
    judged_message(_as_hostile(MESSAGES[index], evil))


@settings(max_examples=60, deadline=None)
@given(evil=st.text(alphabet=st.characters(exclude_categories=()), max_size=300), index=st.integers(0, len(HOMES) - 1))
def test_any_text_leaves_homes_valid(evil: str, index: int) -> None:
    """Any text at all makes a Home that Slack takes."""
    judged_view(draw_home(_as_hostile(HOMES[index], evil)), "home")


def test_a_storm_of_content_is_cut_calmly_and_keeps_the_buttons() -> None:
    """A card with far too much of everything keeps its header, its four answers and all its buttons."""
    screen = gallery.card(
        affected=", ".join(f"customer-{number}" for number in range(500)),
        safe_actions=tuple(
            gallery.SAFE[0].model_copy(update={"step": f"step-{n}", "title": f"Action number {n} {'x' * 90}"}) for n in range(5)
        ),
        diagnosis=tuple(gallery.shown(f"Diagnostic {n} {'y' * 60}", n, "s", "< 0.5") for n in range(30)),
        state_lines=tuple("state " * 60 for _ in range(40)),
        notes=tuple("note " * 60 for _ in range(40)),
        degraded=tuple("degraded " * 60 for _ in range(40)),
        links={f"link {n}": "https://example.com/" + "z" * 470 for n in range(40)},
    )
    drawn = judged_message(screen)
    assert drawn.blocks[0]["type"] == "header"
    steps = [intents.decode(item["action_id"], item["value"]) for item in buttons(drawn.blocks)]
    assert {press.step for press in steps if press.kind is intents.PressKind.PLAN} == {f"step-{n}" for n in range(5)}
    assert {intents.PressKind.ACKNOWLEDGE, intents.PressKind.TAKE_COMMAND, intents.PressKind.MORE} <= {press.kind for press in steps}


def test_the_judge_is_not_blind() -> None:
    """The independent judge refuses what these tests rely on it to refuse."""
    assert message_report([{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]).problems
    assert message_report([{"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * 2001}]}]).problems
    assert message_report([{"type": "divider"}] * 51).problems
