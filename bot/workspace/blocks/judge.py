"""Judge the blocks of a message, or a whole view, and refuse in Slack's words.

``judge_message`` and ``judge_view`` raise ``SlackError``: the first problem that has an error name of its own decides
the name (``msg_blocks_too_many`` …), else it is ``invalid_blocks`` for messages and ``invalid_arguments`` for views;
``response_metadata.messages`` lists every problem with its JSON pointer.
"""

from __future__ import annotations

import json
from typing import Any

from bot.workspace.blocks.elements import plain
from bot.workspace.blocks.engine import Choice, Flag, Problem, Quiet, Report, Rows, Rule, Shape, Text
from bot.workspace.blocks.layout import HOME, MESSAGE, MODAL, OneBlock
from bot.workspace.protocol import Json, SlackError

MESSAGE_BLOCKS = 50
VIEW_BLOCKS = 100
VIEW_BYTES = 250_000
# Slack publishes no ceiling; msg_blocks_too_long was seen from 13,172 characters on (bolt-js issue 2509).
MESSAGE_CHARACTERS = 13_171

_SHARED: dict[str, Rule] = {
    "private_metadata": Quiet(of=Text(least=0, most=3000)),
    "callback_id": Quiet(of=Text(least=0, most=255)),
    "external_id": Quiet(of=Text(least=0, most=255)),
    "blocks": Rows(of=OneBlock(), least=0, most=VIEW_BLOCKS),
}


def _submit_for_inputs(value: Json, pointer: str, report: Report) -> None:
    blocks = value.get("blocks")
    inputs = isinstance(blocks, list) and any(isinstance(b, dict) and b.get("type") == "input" for b in blocks)
    if inputs and not value.get("submit"):
        report.add("missing required field: submit (the view has input blocks)", pointer)


_MODAL = Shape(
    fields={
        **_SHARED,
        "type": Choice((MODAL,)),
        "title": plain(24),
        "submit": plain(24),
        "close": plain(24),
        "clear_on_close": Flag(),
        "notify_on_close": Flag(),
        "submit_disabled": Flag(),
    },
    required=("type", "title", "blocks"),
    extras=(_submit_for_inputs,),
)
_HOME = Shape(fields={**_SHARED, "type": Choice((HOME,))}, required=("type", "blocks"))
_BLOCKS = Rows(of=OneBlock(), least=0, most=MESSAGE_BLOCKS, code="msg_blocks_too_many")


def parsed(value: Any, *, otherwise: str) -> Any:
    """JSON given as text (as form calls do) or already as a value; ``otherwise`` is the refusal when it is neither."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        raise SlackError(otherwise) from None


def judge_message(blocks: Any) -> list[Json]:
    """The blocks of a message as a list, or a refusal."""
    value = parsed(blocks, otherwise="invalid_blocks_format")
    if not isinstance(value, list):
        raise SlackError("invalid_blocks_format")
    report = message_report(value)
    _refuse(report.problems, otherwise="invalid_blocks")
    return value


def message_report(blocks: Any) -> Report:
    """Everything that is wrong with these blocks in a message."""
    report = Report(surface=MESSAGE)
    _BLOCKS.check(blocks, "/blocks", report)
    if report.characters > MESSAGE_CHARACTERS:
        report.add("the blocks of one message are too long", "/blocks", "msg_blocks_too_long")
    return report


def judge_view(view: Any, *, kind: str) -> Json:
    """A view of the wanted ``kind`` (modal, home) as a mapping, or a refusal."""
    value = parsed(view, otherwise="invalid_arguments")
    if not isinstance(value, dict):
        raise _refusal([Problem(message="must be an object", pointer="/view")], "invalid_arguments")
    if len(json.dumps(value, ensure_ascii=False).encode()) > VIEW_BYTES:
        raise SlackError("view_too_large")
    _refuse(view_report(value, kind=kind).problems, otherwise="invalid_arguments")
    return value


def view_report(view: Any, *, kind: str) -> Report:
    """Everything that is wrong with this view."""
    report = Report(surface=kind)
    (_HOME if kind == HOME else _MODAL).check(view, "/view", report)
    return report


def problem_lines(problems: list[Problem]) -> list[str]:
    """Problems as Slack writes them in ``response_metadata.messages``."""
    return [f"[ERROR] {problem.message} [json-pointer:{problem.pointer}]" for problem in problems]


def _refuse(problems: list[Problem], *, otherwise: str) -> None:
    if problems:
        raise _refusal(problems, otherwise)


def _refusal(problems: list[Problem], otherwise: str) -> SlackError:
    code = next((problem.code for problem in problems if problem.code), otherwise)
    lines = problem_lines(problems)
    return SlackError(code, errors=[line.removeprefix("[ERROR] ") for line in lines], response_metadata={"messages": lines})
