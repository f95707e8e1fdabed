"""Block elements and composition objects: what each may carry (slack-platform facts 1.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.workspace.blocks.engine import (
    Choice,
    Extra,
    Flag,
    Number,
    Quiet,
    Report,
    Rows,
    Rule,
    Shape,
    Tagged,
    Text,
    any_of,
    exactly_one,
    typed,
)
from bot.workspace.protocol import Json

ACTION_ID = Quiet(of=Text(most=255))
BLOCK_ID = Quiet(of=Text(most=255))
HTTP_URL = Quiet(of=Text(most=3000, pattern=r"https?://\S+", hint="must be a valid URL"))
LINK = Quiet(of=Text(most=3000, pattern=r"[a-zA-Z][a-zA-Z0-9+.-]*:\S+", hint="must be a valid URL"))
CHANNEL = Quiet(of=Text(most=32, pattern=r"[CGD][A-Z0-9]+", hint="must be a conversation id"))
USER = Quiet(of=Text(most=32, pattern=r"[UW][A-Z0-9]+", hint="must be a user id"))
STYLE = Choice(("primary", "danger"))
DATE = Quiet(of=Text(most=10, pattern=r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", hint="must be a date YYYY-MM-DD"))
TIME = Quiet(of=Text(most=5, pattern=r"([01]\d|2[0-3]):[0-5]\d", hint="must be a time HH:mm"))
UNIX = Number(least=10**9, most=10**10 - 1)


def plain(most: int = 3000) -> Shape:
    """A plain_text object of at most ``most`` characters."""
    return typed("plain_text", {"text": Text(most=most), "emoji": Flag()}, ("text",))


def mrkdwn(most: int = 3000) -> Shape:
    """A mrkdwn object of at most ``most`` characters."""
    return typed("mrkdwn", {"text": Text(most=most), "verbatim": Flag()}, ("text",))


def words(most: int = 3000) -> Tagged:
    """Either text object."""
    return Tagged({"plain_text": plain(most), "mrkdwn": mrkdwn(most)})


def _option(text: Rule, *, url: bool = False) -> Shape:
    fields: dict[str, Rule] = {"text": text, "value": Quiet(of=Text(least=0, most=150)), "description": words(75)}
    if url:
        fields["url"] = LINK
    return Shape(fields=fields, required=("text", "value"))


OPTION = _option(plain(75))
RICH_OPTION = _option(words(75))
OPTIONS = Rows(of=OPTION, most=100)
GROUPS = Rows(of=Shape(fields={"label": plain(75), "options": OPTIONS}, required=("label", "options")), most=100)
CONFIRM = Shape(
    fields={"title": plain(100), "text": words(300), "confirm": plain(30), "deny": plain(30), "style": STYLE},
    required=("title", "text"),
)
SLACK_FILE = Shape(fields={"id": Quiet(of=Text(most=32)), "url": HTTP_URL}, extras=(exactly_one("id", "url"),))
IMAGE_FIELDS: Mapping[str, Rule] = {"image_url": HTTP_URL, "slack_file": SLACK_FILE, "alt_text": Text(most=2000)}
IMAGE = typed("image", IMAGE_FIELDS, ("alt_text",), (exactly_one("image_url", "slack_file"),))
DISPATCH = Shape(
    fields={"trigger_actions_on": Rows(of=Choice(("on_enter_pressed", "on_character_entered")), most=2)},
)
FILTER = Shape(
    fields={
        "include": Rows(of=Choice(("im", "mpim", "private", "public")), most=4),
        "exclude_external_shared_channels": Flag(),
        "exclude_bot_users": Flag(),
    },
    extras=(any_of("include", "exclude_external_shared_channels", "exclude_bot_users"),),
)


def _one_focus(value: Json, pointer: str, report: Report) -> None:
    if value.get("focus_on_load") is True and report.count("focus_on_load") > 1:
        report.add("only one element of a view may have focus_on_load", f"{pointer}/focus_on_load")


def _initial_is_offered(value: Json, pointer: str, report: Report) -> None:
    offered = _offered(value)
    if offered is None:
        return
    one = value.get("initial_option")
    many = value.get("initial_options")
    if one is not None and one not in offered:
        report.add("initial_option must match one of the options", f"{pointer}/initial_option")
    if isinstance(many, list) and any(item not in offered for item in many):
        report.add("initial_options must match the options", f"{pointer}/initial_options")


def _offered(value: Json) -> list[Any] | None:
    if isinstance(value.get("options"), list):
        return list(value["options"])
    groups = value.get("option_groups")
    if not isinstance(groups, list):
        return None
    return [option for group in groups if isinstance(group, dict) for option in group.get("options") or []]


def _ordered(low: str, high: str) -> Extra:
    def judge(value: Json, pointer: str, report: Report) -> None:
        least, most = value.get(low), value.get(high)
        if isinstance(least, int) and isinstance(most, int) and least > most:
            report.add(f"{low} must not be greater than {high}", f"{pointer}/{low}")

    return judge


def _element(
    name: str,
    fields: Mapping[str, Rule],
    required: tuple[str, ...] = (),
    extras: tuple[Extra, ...] = (),
    *,
    focus: bool = True,
) -> Shape:
    shared: dict[str, Rule] = {"action_id": ACTION_ID}
    if focus:
        shared["focus_on_load"] = Flag()
    return typed(name, {**shared, **fields}, required, (*extras, _one_focus))


def _select(kind: str, fields: Mapping[str, Rule], required: tuple[str, ...] = (), extras: tuple[Extra, ...] = ()) -> Shape:
    shared: dict[str, Rule] = {"placeholder": plain(150), "confirm": CONFIRM}
    if kind.startswith("multi_"):
        shared["max_selected_items"] = Number(least=1)
    return _element(kind, {**shared, **fields}, required, extras)


_STATIC: Mapping[str, Rule] = {"options": OPTIONS, "option_groups": GROUPS}
_STATIC_EXTRAS = (exactly_one("options", "option_groups"), _initial_is_offered)
_CONVERSATION: Mapping[str, Rule] = {"default_to_current_conversation": Flag(), "filter": FILTER}
_RESPONSE: Mapping[str, Rule] = {"response_url_enabled": Flag()}
_TEXT_INPUT: Mapping[str, Rule] = {
    "placeholder": plain(150),
    "dispatch_action_config": DISPATCH,
    "initial_value": Text(least=0, most=3000),
}

BUTTON = _element(
    "button",
    {
        "text": plain(75),
        "value": Quiet(of=Text(least=0, most=2000)),
        "url": LINK,
        "style": STYLE,
        "confirm": CONFIRM,
        "accessibility_label": Quiet(of=Text(most=75)),
        "visible_to_user_ids": Rows(of=USER, most=100),
        "agent_prompt": Quiet(of=Text(most=4000)),
        "agent_prompt_display": Quiet(of=Text(most=4000)),
    },
    ("text",),
    focus=False,
)
_FEEDBACK = Shape(
    fields={"text": plain(75), "value": Quiet(of=Text(most=2000)), "accessibility_label": Quiet(of=Text(most=75))},
    required=("text", "value"),
)

ELEMENTS: Mapping[str, Rule] = {
    "image": IMAGE,
    "button": BUTTON,
    "workflow_button": _element(
        "workflow_button",
        {
            "text": plain(75),
            "style": STYLE,
            "accessibility_label": Quiet(of=Text(most=75)),
            "workflow": Shape(
                fields={
                    "trigger": Shape(
                        fields={
                            "url": HTTP_URL,
                            "customizable_input_parameters": Rows(
                                of=Shape(fields={"name": Text(), "value": Text(least=0)}, required=("name", "value")),
                                most=100,
                            ),
                        },
                        required=("url",),
                    ),
                },
                required=("trigger",),
            ),
        },
        ("text", "workflow"),
        focus=False,
    ),
    "icon_button": _element(
        "icon_button",
        {
            "icon": Choice(("trash",)),
            "text": plain(75),
            "value": Quiet(of=Text(least=0, most=2000)),
            "confirm": CONFIRM,
            "accessibility_label": Quiet(of=Text(most=75)),
            "visible_to_user_ids": Rows(of=USER, most=10),
        },
        ("icon", "text"),
        focus=False,
    ),
    "feedback_buttons": _element(
        "feedback_buttons",
        {"positive_button": _FEEDBACK, "negative_button": _FEEDBACK},
        ("positive_button", "negative_button"),
        focus=False,
    ),
    "static_select": _select("static_select", {**_STATIC, "initial_option": OPTION}, (), _STATIC_EXTRAS),
    "multi_static_select": _select("multi_static_select", {**_STATIC, "initial_options": OPTIONS}, (), _STATIC_EXTRAS),
    "external_select": _select("external_select", {"initial_option": OPTION, "min_query_length": Number(least=0)}),
    "multi_external_select": _select("multi_external_select", {"initial_options": OPTIONS, "min_query_length": Number(least=0)}),
    "users_select": _select("users_select", {"initial_user": USER}),
    "multi_users_select": _select("multi_users_select", {"initial_users": Rows(of=USER, most=100)}),
    "channels_select": _select("channels_select", {"initial_channel": CHANNEL, **_RESPONSE}),
    "multi_channels_select": _select("multi_channels_select", {"initial_channels": Rows(of=CHANNEL, most=100)}),
    "conversations_select": _select("conversations_select", {"initial_conversation": CHANNEL, **_CONVERSATION, **_RESPONSE}),
    "multi_conversations_select": _select(
        "multi_conversations_select", {"initial_conversations": Rows(of=CHANNEL, most=100), **_CONVERSATION}
    ),
    "overflow": _element(
        "overflow",
        {"options": Rows(of=_option(plain(75), url=True), most=5), "confirm": CONFIRM},
        ("options",),
        focus=False,
    ),
    "checkboxes": _element(
        "checkboxes",
        {
            "options": Rows(of=RICH_OPTION, most=10),
            "initial_options": Rows(of=RICH_OPTION, most=10),
            "confirm": CONFIRM,
        },
        ("options",),
        (_initial_is_offered,),
    ),
    "radio_buttons": _element(
        "radio_buttons",
        {"options": Rows(of=RICH_OPTION, most=10), "initial_option": RICH_OPTION, "confirm": CONFIRM},
        ("options",),
        (_initial_is_offered,),
    ),
    "plain_text_input": _element(
        "plain_text_input",
        {
            **_TEXT_INPUT,
            "multiline": Flag(),
            "min_length": Number(least=0, most=3000),
            "max_length": Number(least=1, most=3000),
        },
        (),
        (_ordered("min_length", "max_length"),),
    ),
    "email_text_input": _element("email_text_input", _TEXT_INPUT),
    "url_text_input": _element("url_text_input", _TEXT_INPUT),
    "number_input": _element(
        "number_input",
        {
            **_TEXT_INPUT,
            "is_decimal_allowed": Flag(),
            "min_value": Quiet(of=Text(pattern=r"-?\d+(\.\d+)?", hint="must be a number written as a string")),
            "max_value": Quiet(of=Text(pattern=r"-?\d+(\.\d+)?", hint="must be a number written as a string")),
        },
        ("is_decimal_allowed",),
    ),
    "file_input": _element(
        "file_input",
        {"filetypes": Rows(of=Quiet(of=Text(most=32)), most=100), "max_files": Number(least=1, most=10)},
        focus=False,
    ),
    "datepicker": _select("datepicker", {"initial_date": DATE}),
    "timepicker": _select("timepicker", {"initial_time": TIME, "timezone": Quiet(of=Text(most=100))}),
    "datetimepicker": _element("datetimepicker", {"initial_date_time": UNIX, "confirm": CONFIRM}),
}

_SELECTS = ("static_select", "external_select", "users_select", "channels_select", "conversations_select")
_MULTI = tuple(f"multi_{name}" for name in _SELECTS)
_PICKERS = ("datepicker", "timepicker", "datetimepicker")
_CHOOSERS = ("checkboxes", "radio_buttons")


def among(*names: str) -> Tagged:
    """A rule that takes only these elements."""
    return Tagged({name: ELEMENTS[name] for name in names})


IN_SECTION = among("image", "button", "workflow_button", "overflow", *_SELECTS, *_MULTI, "datepicker", "timepicker", *_CHOOSERS)
IN_ACTIONS = among("button", "workflow_button", "overflow", *_SELECTS, *_PICKERS, *_CHOOSERS)
IN_CONTEXT_ACTIONS = among("feedback_buttons", "icon_button")
