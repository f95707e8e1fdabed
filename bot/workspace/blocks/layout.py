"""The blocks: what each may carry, and on which surface (slack-platform facts 1.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.workspace.blocks.elements import (
    BLOCK_ID,
    BUTTON,
    DISPATCH,
    ELEMENTS,
    HTTP_URL,
    IMAGE,
    IMAGE_FIELDS,
    IN_ACTIONS,
    IN_CONTEXT_ACTIONS,
    IN_SECTION,
    mrkdwn,
    plain,
    words,
)
from bot.workspace.blocks.engine import (
    Choice,
    Extra,
    Flag,
    Later,
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
    needs,
    not_both,
    typed,
)
from bot.workspace.blocks.grids import DATA_TABLE, DATA_VISUALIZATION, TABLE
from bot.workspace.blocks.rich import RICH_TEXT
from bot.workspace.protocol import MARKDOWN_TEXT, Json

MESSAGE, MODAL, HOME = "message", "modal", "home"

RICH_TEXT_INPUT = typed(
    "rich_text_input",
    {
        "action_id": Quiet(of=Text(most=255)),
        "initial_value": RICH_TEXT,
        "placeholder": plain(150),
        "focus_on_load": Flag(),
        "min_lines": Number(least=1, most=100),
        "max_lines": Number(least=1, most=100),
        "dispatch_action_config": DISPATCH,
    },
)
_NOT_IN_INPUT = ("image", "button", "workflow_button", "icon_button", "feedback_buttons", "overflow")
IN_INPUT = Tagged({**{name: rule for name, rule in ELEMENTS.items() if name not in _NOT_IN_INPUT}, "rich_text_input": RICH_TEXT_INPUT})


def _unique_actions(value: Json, pointer: str, report: Report) -> None:
    seen: set[str] = set()
    elements = value.get("elements")
    for index, element in enumerate(elements if isinstance(elements, list) else []):
        action_id = element.get("action_id") if isinstance(element, dict) else None
        if isinstance(action_id, str) and action_id in seen:
            report.add(f"`action_id` {action_id} already exists in this block", f"{pointer}/elements/{index}/action_id")
        elif isinstance(action_id, str):
            seen.add(action_id)


def _markdown_total(value: Json, pointer: str, report: Report) -> None:
    text = value.get("text")
    if isinstance(text, str) and report.count("markdown", len(text)) > MARKDOWN_TEXT:
        report.add(f"all markdown blocks together must be less than {MARKDOWN_TEXT + 1} characters", f"{pointer}/text")


def _file_input_only_in_modals(value: Json, pointer: str, report: Report) -> None:
    element = value.get("element")
    if report.surface != MODAL and isinstance(element, dict) and element.get("type") == "file_input":
        report.add("file_input is only allowed in modals", f"{pointer}/element")


def _block(name: str, fields: Mapping[str, Rule], required: tuple[str, ...] = (), *extras: Extra) -> Shape:
    return typed(name, {"block_id": BLOCK_ID, **fields}, required, extras)


_CARD = _block(
    "card",
    {
        "hero_image": IMAGE,
        "icon": IMAGE,
        "slack_icon": Shape(fields={"type": Choice(("icon",)), "name": Text(most=100)}, required=("name",)),
        "title": words(150),
        "subtitle": words(150),
        "body": words(200),
        "subtext": words(200),
        "actions": Rows(of=BUTTON, most=3),
    },
    (),
    any_of("hero_image", "title", "actions", "body"),
    not_both("icon", "slack_icon"),
)
_URL_SOURCE = typed("url", {"url": HTTP_URL, "text": Text(most=255)}, ("url", "text"))
_TASK = _block(
    "task_card",
    {
        "task_id": Text(most=255),
        "title": Text(most=256),
        "details": RICH_TEXT,
        "output": RICH_TEXT,
        "sources": Rows(of=_URL_SOURCE, least=0, most=100),
        "status": Choice(("pending", "in_progress", "complete", "error")),
    },
    ("task_id", "title"),
)


def _children_of_container() -> Rule:
    return Tagged({name: BLOCKS[name].rule for name in _CHILDREN})


_HTTPS = Quiet(of=Text(most=3000, pattern=r"https://\S+", hint="must be a valid https URL"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A block with the surfaces that take it."""

    rule: Rule
    surfaces: tuple[str, ...] = (MESSAGE, MODAL, HOME)


BLOCKS: Mapping[str, Kind] = {
    "section": Kind(
        rule=_block(
            "section",
            {
                "text": words(3000),
                "fields": Rows(of=words(2000), most=10),
                "accessory": IN_SECTION,
                "expand": Flag(),
            },
            (),
            any_of("text", "fields"),
        )
    ),
    "header": Kind(rule=_block("header", {"text": plain(150)}, ("text",))),
    "divider": Kind(rule=_block("divider", {})),
    "context": Kind(
        rule=_block(
            "context",
            {"elements": Rows(of=Tagged({"image": IMAGE, "plain_text": plain(), "mrkdwn": mrkdwn()}), most=10)},
            ("elements",),
        )
    ),
    "actions": Kind(rule=_block("actions", {"elements": Rows(of=IN_ACTIONS, most=25)}, ("elements",), _unique_actions)),
    "context_actions": Kind(
        rule=_block("context_actions", {"elements": Rows(of=IN_CONTEXT_ACTIONS, most=5)}, ("elements",), _unique_actions),
        surfaces=(MESSAGE,),
    ),
    "image": Kind(rule=_block("image", {**IMAGE_FIELDS, "title": plain(2000)}, ("alt_text",), exactly_one("image_url", "slack_file"))),
    "input": Kind(
        rule=_block(
            "input",
            {
                "label": plain(2000),
                "hint": plain(2000),
                "element": IN_INPUT,
                "optional": Flag(),
                "dispatch_action": Flag(),
            },
            ("label", "element"),
            _file_input_only_in_modals,
        )
    ),
    "rich_text": Kind(rule=RICH_TEXT),
    "markdown": Kind(rule=_block("markdown", {"text": Text(most=MARKDOWN_TEXT)}, ("text",), _markdown_total), surfaces=(MESSAGE,)),
    "table": Kind(rule=TABLE, surfaces=(MESSAGE, HOME)),
    "data_table": Kind(rule=DATA_TABLE, surfaces=(MESSAGE, HOME)),
    "data_visualization": Kind(rule=DATA_VISUALIZATION, surfaces=(MESSAGE, HOME)),
    "alert": Kind(
        rule=_block(
            "alert",
            {"text": words(200), "level": Choice(("default", "info", "warning", "error", "success"))},
            ("text",),
        ),
        surfaces=(MODAL,),
    ),
    "card": Kind(rule=_CARD),
    "carousel": Kind(
        rule=_block("carousel", {"elements": Rows(of=Tagged({"card": _CARD}), most=10)}, ("elements",)),
        surfaces=(MESSAGE, HOME),
    ),
    "container": Kind(
        rule=_block(
            "container",
            {
                "title": plain(150),
                "rich_text_title": RICH_TEXT,
                "subtitle": words(150),
                "child_blocks": Rows(of=Later(_children_of_container), most=10),
                "width": Choice(("narrow", "standard", "wide", "full")),
                "icon": IMAGE,
                "is_collapsible": Flag(),
                "default_collapsed": Flag(),
                "has_header_divider": Flag(),
            },
            ("child_blocks",),
            any_of("title", "rich_text_title"),
            needs("default_collapsed", "is_collapsible"),
            not_both("default_collapsed", "has_header_divider"),
        ),
        surfaces=(MESSAGE, HOME),
    ),
    "task_card": Kind(rule=_TASK, surfaces=(MESSAGE,)),
    "plan": Kind(
        rule=_block("plan", {"title": Text(most=256), "tasks": Rows(of=Tagged({"task_card": _TASK}), least=0, most=50)}, ("title",)),
        surfaces=(MESSAGE,),
    ),
    "video": Kind(
        rule=_block(
            "video",
            {
                "title": plain(199),
                "title_url": _HTTPS,
                "video_url": _HTTPS,
                "thumbnail_url": HTTP_URL,
                "alt_text": Text(most=2000),
                "description": plain(199),
                "author_name": Text(most=49),
                "provider_name": Text(most=49),
                "provider_icon_url": HTTP_URL,
            },
            ("title", "video_url", "thumbnail_url", "alt_text"),
        )
    ),
    "file": Kind(
        rule=_block("file", {"external_id": Text(most=255), "source": Choice(("remote",))}, ("external_id", "source")),
        surfaces=(),
    ),
}

_CHILDREN = ("section", "divider", "context", "header", "image", "actions", "input", "rich_text", "table", "video")


class OneBlock:
    """The rule for a block on the surface under judgement, with its block_id unique in the payload."""

    def check(self, value: Any, pointer: str, report: Report) -> None:
        if not isinstance(value, dict):
            report.add("must be an object", pointer)
            return
        kind = value.get("type")
        if kind is None:
            report.add("missing required field: type", pointer)
            return
        block = BLOCKS.get(kind) if isinstance(kind, str) else None
        if block is None or report.surface not in block.surfaces:
            report.add(f"unsupported type: {kind}", f"{pointer}/type")
            return
        block.rule.check(value, pointer, report)
        self._unique(value.get("block_id"), pointer, report)

    def _unique(self, block_id: Any, pointer: str, report: Report) -> None:
        if not isinstance(block_id, str):
            return
        if block_id in report.block_ids:
            report.add(f"`block_id` {block_id} already exists for another block", f"{pointer}/block_id")
        report.block_ids[block_id] = pointer
