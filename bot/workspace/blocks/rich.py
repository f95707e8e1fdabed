"""The rich_text block: sections, lists, quotes and preformatted text, down to the leaves."""

from __future__ import annotations

from collections.abc import Mapping

from bot.workspace.blocks.elements import BLOCK_ID, CHANNEL, LINK, USER
from bot.workspace.blocks.engine import Choice, Flag, Number, Quiet, Rows, Rule, Shape, Tagged, Text, typed

# Slack publishes no length for rich text; this ceiling only keeps a payload finite.
_MANY = 1000

_STYLE_FLAGS = ("bold", "italic", "strike", "code", "underline", "highlight", "client_highlight", "unlink")
STYLE = Shape(fields={name: Flag() for name in _STYLE_FLAGS})
NAME = Quiet(of=Text(most=255))

_LEAVES: Mapping[str, Rule] = {
    "text": typed("text", {"text": Text(most=12_000), "style": STYLE}, ("text",)),
    "link": typed("link", {"url": LINK, "text": Text(), "unsafe": Flag(), "style": STYLE}, ("url",)),
    "user": typed("user", {"user_id": USER, "style": STYLE}, ("user_id",)),
    "usergroup": typed("usergroup", {"usergroup_id": NAME, "style": STYLE}, ("usergroup_id",)),
    "channel": typed("channel", {"channel_id": CHANNEL, "style": STYLE}, ("channel_id",)),
    "emoji": typed("emoji", {"name": NAME, "unicode": NAME, "skin_tone": Number(least=1, most=6), "style": STYLE}, ("name",)),
    "date": typed(
        "date",
        {"timestamp": Number(least=0), "format": Text(), "url": LINK, "fallback": Text(), "style": STYLE},
        ("timestamp", "format"),
    ),
    "broadcast": typed("broadcast", {"range": Choice(("here", "channel", "everyone")), "style": STYLE}, ("range",)),
    "color": typed("color", {"value": NAME, "style": STYLE}, ("value",)),
    "team": typed("team", {"team_id": NAME, "style": STYLE}, ("team_id",)),
}
_LINE = Rows(of=Tagged(_LEAVES), least=0, most=_MANY)
_BORDER = Number(least=0, most=1)
_SECTION = typed("rich_text_section", {"elements": _LINE}, ("elements",))
_LIST = typed(
    "rich_text_list",
    {
        "style": Choice(("bullet", "ordered")),
        "elements": Rows(of=Tagged({"rich_text_section": _SECTION}), least=0, most=_MANY),
        "indent": Number(least=0, most=8),
        "offset": Number(least=0),
        "border": _BORDER,
    },
    ("style", "elements"),
)
_PARTS: Mapping[str, Rule] = {
    "rich_text_section": _SECTION,
    "rich_text_list": _LIST,
    "rich_text_quote": typed("rich_text_quote", {"elements": _LINE, "border": _BORDER}, ("elements",)),
    "rich_text_preformatted": typed("rich_text_preformatted", {"elements": _LINE, "border": _BORDER, "language": NAME}, ("elements",)),
}

RICH_TEXT = typed("rich_text", {"block_id": BLOCK_ID, "elements": Rows(of=Tagged(_PARTS), least=0, most=_MANY)}, ("elements",))
