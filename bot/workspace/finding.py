"""Find an element in blocks, and say what an action on it looks like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bot.workspace.protocol import Json, SlackError

_VALUES = (
    "value",
    "selected_option",
    "selected_options",
    "selected_user",
    "selected_users",
    "selected_channel",
    "selected_channels",
    "selected_conversation",
    "selected_conversations",
    "selected_date",
    "selected_time",
    "selected_date_time",
    "timezone",
    "rich_text_value",
    "files",
)
_FROM_ELEMENT = {"button": ("text", "value", "style", "url"), "icon_button": ("text", "value")}


def flat(blocks: list[Json]) -> Iterator[Json]:
    """Every block, those inside containers and carousels too."""
    for block in blocks:
        yield block
        yield from flat(block.get("child_blocks", []))
        if block.get("type") == "carousel":
            yield from flat(block.get("elements", []))


def elements(block: Json) -> Iterator[Json]:
    """The interactive elements of one block."""
    for name in ("accessory", "element"):
        if isinstance(block.get(name), dict):
            yield block[name]
    for name in ("elements", "actions"):
        if block.get("type") != "carousel":
            yield from (item for item in block.get(name) or [] if isinstance(item, dict))


def element(blocks: list[Json], *, block_id: str, action_id: str) -> Json:
    """The element of that block and action id.

    Raises:
        SlackError: element_not_found.
    """
    for block in flat(blocks):
        if block.get("block_id") == block_id:
            for item in elements(block):
                if item.get("action_id") == action_id:
                    return item
    raise SlackError("element_not_found")


def action(found: Json, told: Json, *, block_id: str, user: str, at: str) -> Json:
    """What was done with an element, in the shape of a block_actions payload.

    A button's value is the app's own; only what a person chose is taken from ``told``, and a choice must be on offer.

    Raises:
        SlackError: option_not_offered, not_visible.
    """
    allowed = found.get("visible_to_user_ids")
    if allowed and user not in allowed:
        raise SlackError("not_visible")
    kind = found["type"]
    done: Json = {"type": kind, "action_id": found["action_id"], "block_id": block_id, "action_ts": at}
    if kind in _FROM_ELEMENT:
        return {**done, **{name: found[name] for name in _FROM_ELEMENT[kind] if name in found}}
    if kind == "feedback_buttons":
        return {**done, **_feedback(found, told)}
    _check_offered(found, told)
    return {**done, **{name: told[name] for name in _VALUES if name in told}}


def _feedback(found: Json, told: Json) -> Json:
    for name in ("positive_button", "negative_button"):
        if found[name]["value"] == told.get("value"):
            return {"text": found[name]["text"], "value": found[name]["value"]}
    raise SlackError("option_not_offered")


def _check_offered(found: Json, told: Json) -> None:
    if "options" not in found and "option_groups" not in found:
        return
    groups = found.get("option_groups") or [{"options": found.get("options", [])}]
    offered = [option["value"] for group in groups for option in group["options"]]
    chosen = [told.get("selected_option"), *(told.get("selected_options") or [])]
    if any(isinstance(one, dict) and one.get("value") not in offered for one in chosen):
        raise SlackError("option_not_offered")


def unanswered(blocks: list[Json], values: Any) -> dict[str, str]:
    """Required inputs without an answer, by block_id, in the words a person sees."""
    missing: dict[str, str] = {}
    given = values if isinstance(values, dict) else {}
    for block in flat(blocks):
        if block.get("type") != "input" or block.get("optional"):
            continue
        state = (given.get(block["block_id"]) or {}).get(block["element"]["action_id"]) or {}
        if not any(state.get(name) not in (None, "", []) for name in _VALUES):
            missing[block["block_id"]] = "Please complete this required field."
    return missing
