"""Say something, change it, take it back: for the app and for people alike."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from bot.workspace import ids
from bot.workspace.protocol import Json, SlackError
from bot.workspace.state import SLACKBOT, Workspace
from bot.workspace.store.rooms import Channel

_NO_REPLY = frozenset({"channel_join", "channel_leave", "channel_topic", "channel_purpose", "channel_name", "pinned_item"})
_MENTION = re.compile(r"<@([UW][A-Z0-9]+)(?:\|[^>]*)?>")
_NO_IDS = frozenset({"markdown"})


def post(ws: Workspace, channel: Channel, message: Json) -> Json:
    """Add a message (user, text and what else it has) to a channel, and tell everybody who should know.

    Returns the message as stored, with its ``ts``.
    """
    stored = {"type": "message", **message, "ts": ws.new_ts(), "team": ws.identity.team_id}
    parent = _parent(ws, channel, stored.get("thread_ts"))
    if parent is not None and not parent.get("thread_ts"):
        ws.talk.put(channel.id, parent | {"thread_ts": parent["ts"]})
    ws.talk.put(channel.id, stored)
    ws.rooms.mark_read(channel.id, stored.get("user", ""), stored["ts"])
    _push(ws, channel, {"type": "message", "channel": channel.id, "message": for_client(ws, channel, stored)})
    if parent is not None:
        push_changed(ws, channel, parent["ts"])
    _emit_message(ws, channel, stored)
    return stored


def _parent(ws: Workspace, channel: Channel, thread_ts: Any) -> Json | None:
    if not thread_ts:
        return None
    parent = ws.talk.get(channel.id, str(thread_ts))
    if parent is None:
        raise SlackError("thread_not_found")
    if parent.get("subtype") in _NO_REPLY or parent.get("thread_ts", parent["ts"]) != parent["ts"]:
        raise SlackError("cannot_reply_to_message")
    return parent


def system_line(ws: Workspace, channel: Channel, *, user: str, subtype: str, text: str, **fields: Any) -> Json:
    """A line the workspace writes itself, such as "has joined the channel"."""
    return post(ws, channel, {"user": user, "subtype": subtype, "text": text, **fields})


def edit(ws: Workspace, channel: Channel, old: Json, new: Json) -> Json:
    """Replace a message, keeping its ts."""
    ws.talk.put(channel.id, new)
    push_changed(ws, channel, new["ts"])
    _emit(
        ws,
        channel,
        {
            "subtype": "message_changed",
            "hidden": True,
            "message": new,
            "previous_message": old,
            "ts": ws.new_ts(),
        },
    )
    return new


def remove(ws: Workspace, channel: Channel, old: Json) -> None:
    """Take a message back."""
    ws.talk.delete(channel.id, old["ts"])
    _push(ws, channel, {"type": "message_deleted", "channel": channel.id, "ts": old["ts"], "thread_ts": old.get("thread_ts")})
    if old.get("thread_ts") and old["thread_ts"] != old["ts"]:
        push_changed(ws, channel, old["thread_ts"])
    fields = {"hidden": True, "deleted_ts": old["ts"], "previous_message": old, "ts": ws.new_ts()}
    _emit(ws, channel, {"subtype": "message_deleted", **fields})


def whisper(ws: Workspace, channel: Channel, *, user: str, message: Json) -> Json:
    """Show a line to one person only."""
    stored = {"type": "message", **message, "ts": message.get("ts") or ws.new_ts(), "ephemeral": True}
    ws.talk.put_ephemeral(channel.id, user, stored)
    ws.hub.push({"type": "ephemeral", "channel": channel.id, "message": stored}, to=[user])
    return stored


def rewrite_whisper(ws: Workspace, channel_id: str, *, user: str, message: Json) -> None:
    """Replace a line that one person sees."""
    ws.talk.put_ephemeral(channel_id, user, message)
    ws.hub.push({"type": "ephemeral_replaced", "channel": channel_id, "ts": message["ts"], "message": message}, to=[user])


def drop_whisper(ws: Workspace, channel_id: str, *, user: str, ts: str) -> bool:
    """Take away a line that one person sees; False when it was gone."""
    gone = ws.talk.drop_ephemeral(user, ts)
    if gone:
        ws.hub.push({"type": "message_deleted", "channel": channel_id, "ts": ts, "ephemeral": True}, to=[user])
    return gone


def push_changed(ws: Workspace, channel: Channel, ts: str) -> None:
    """Tell browsers what a message looks like now."""
    message = ws.talk.get(channel.id, ts)
    if message is not None:
        _push(ws, channel, {"type": "message_changed", "channel": channel.id, "message": for_client(ws, channel, message)})


def shown(ws: Workspace, channel: Channel, message: Json) -> Json:
    """A message as histories give it: with reactions, pin and thread summary."""
    ts = message["ts"]
    full = dict(message)
    if message.get("thread_ts") == ts:
        full |= ws.talk.thread_summary(channel.id, ts)
    reactions = ws.talk.reactions(channel.id, ts)
    if reactions:
        full["reactions"] = reactions
    pin = ws.talk.pinned(channel.id, ts)
    if pin is not None:
        full |= {"pinned_to": [channel.id], "pinned_info": {"channel": channel.id, "pinned_by": pin[0], "pinned_ts": pin[1]}}
    return full


def for_client(ws: Workspace, channel: Channel, message: Json) -> Json:
    """A message as the browser front reads it: its files at its own origin, whatever name the app knows this server by."""
    full = shown(ws, channel, message)
    if "files" in full:
        full["files"] = [{**file, "url_private": urlsplit(file["url_private"]).path} for file in full["files"]]
    return {**full, "pinned": "pinned_to" in full}


def bot_message(ws: Workspace) -> Json:
    """The fields that every message of the app carries."""
    who = ws.identity
    profile = {
        "id": who.bot_id,
        "app_id": who.app_id,
        "user_id": who.bot_user_id,
        "name": ws.manifest.display_name,
        "team_id": who.team_id,
        "deleted": False,
    }
    return {"user": who.bot_user_id, "bot_id": who.bot_id, "app_id": who.app_id, "bot_profile": profile}


def with_ids(blocks: Any) -> Any:
    """Blocks as Slack keeps them: every block and every interactive element has an id."""
    if not isinstance(blocks, list):
        return blocks
    return [_block_with_ids(block) for block in blocks]


def _block_with_ids(block: Json) -> Json:
    if block["type"] in _NO_IDS:
        return {key: value for key, value in block.items() if key != "block_id"}
    full = {key: _element_with_ids(value) for key, value in block.items() if key != "child_blocks"}
    if "child_blocks" in block:
        full["child_blocks"] = with_ids(block["child_blocks"])
    if block["type"] == "carousel":
        full["elements"] = with_ids(block["elements"])
    return full if full.get("block_id") else {**full, "block_id": ids.short_id()}


_INTERACTIVE = ("button", "_select", "overflow", "checkboxes", "radio_buttons", "picker", "_input", "_buttons")


def _element_with_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_element_with_ids(item) for item in value]
    if isinstance(value, dict) and str(value.get("type", "")).endswith(_INTERACTIVE) and not value.get("action_id"):
        return {**value, "action_id": ids.short_id()}
    return value


def text_of(blocks: list[Json]) -> str:
    """The text Slack builds from blocks when a message brings none."""
    parts: list[str] = []
    for block in blocks:
        text = block.get("text")
        parts.append(text["text"] if isinstance(text, dict) else text if isinstance(text, str) else "")
        parts.extend(item["text"] for item in block.get("fields", []))
    return " ".join(part for part in parts if part)


def _push(ws: Workspace, channel: Channel, event: Json) -> None:
    ws.hub.push(event, to=ws.audience(channel))


def _emit(ws: Workspace, channel: Channel, event: Json) -> None:
    """Send a message event, if the app is in the channel."""
    if ws.rooms.is_member(channel.id, ws.identity.bot_user_id):
        place = {"channel": channel.id, "channel_type": channel.event_type, "event_ts": event["ts"]}
        ws.emit({"type": "message", **event, **place})


def _emit_message(ws: Workspace, channel: Channel, message: Json) -> None:
    _emit(ws, channel, message)
    bot = ws.identity.bot_user_id
    if message.get("user") == bot or bot not in _MENTION.findall(message.get("text", "")) or message.get("subtype"):
        return
    if ws.rooms.is_member(channel.id, bot):
        kept = {key: value for key, value in message.items() if key != "type"}
        ws.emit({"type": "app_mention", **kept, "channel": channel.id, "event_ts": message["ts"]})
    else:
        text = f"You mentioned <@{bot}>, but they're not in this channel."
        whisper(ws, channel, user=message["user"], message={"user": SLACKBOT, "text": text})
