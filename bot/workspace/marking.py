"""Reactions and pins, for the app and for people alike."""

from __future__ import annotations

import re

from bot.workspace import posting
from bot.workspace.protocol import PINS_PER_CHANNEL, REACTIONS_PER_MESSAGE, REACTIONS_PER_PERSON, Json, SlackError
from bot.workspace.state import Workspace
from bot.workspace.store.rooms import Channel

_EMOJI = re.compile(r"[a-z0-9_+'-]{1,100}(::skin-tone-[2-6])?")


def emoji(name: str) -> str:
    """An emoji's name without colons.

    Raises:
        SlackError: invalid_name.
    """
    bare = name.removeprefix(":").removesuffix(":")
    if not _EMOJI.fullmatch(bare):
        raise SlackError("invalid_name")
    return bare


def react(ws: Workspace, channel: Channel, message: Json, *, name: str, user: str) -> None:
    """Add a reaction.

    Raises:
        SlackError: already_reacted, too_many_emoji, too_many_reactions.
    """
    there = ws.talk.reactions(channel.id, message["ts"])
    if name not in [one["name"] for one in there] and len(there) >= REACTIONS_PER_MESSAGE:
        raise SlackError("too_many_emoji")
    if sum(user in one["users"] for one in there) >= REACTIONS_PER_PERSON:
        raise SlackError("too_many_reactions")
    if not ws.talk.react(channel.id, message["ts"], name, user):
        raise SlackError("already_reacted")
    _tell(ws, channel, message, name=name, user=user, kind="reaction_added")


def unreact(ws: Workspace, channel: Channel, message: Json, *, name: str, user: str) -> None:
    """Take a reaction back.

    Raises:
        SlackError: no_reaction.
    """
    if not ws.talk.unreact(channel.id, message["ts"], name, user):
        raise SlackError("no_reaction")
    _tell(ws, channel, message, name=name, user=user, kind="reaction_removed")


def _tell(ws: Workspace, channel: Channel, message: Json, *, name: str, user: str, kind: str) -> None:
    ts = message["ts"]
    told = {"type": "reaction", "channel": channel.id, "ts": ts, "name": name, "user": user, "removed": kind == "reaction_removed"}
    ws.hub.push({**told, "reactions": ws.talk.reactions(channel.id, ts)}, to=ws.audience(channel))
    if ws.rooms.is_member(channel.id, ws.identity.bot_user_id):
        item = {"type": "message", "channel": channel.id, "ts": ts}
        about = {"user": user, "reaction": name, "item": item, "item_user": message.get("user", "")}
        ws.emit({"type": kind, **about, "event_ts": ws.new_ts()})


def pin(ws: Workspace, channel: Channel, message: Json, *, user: str) -> None:
    """Pin a message; the channel says so in a line.

    Raises:
        SlackError: too_many_pins, already_pinned, not_pinnable.
    """
    if message.get("subtype") in ("channel_join", "channel_leave", "pinned_item"):
        raise SlackError("not_pinnable")
    if len(ws.talk.pins(channel.id)) >= PINS_PER_CHANNEL:
        raise SlackError("too_many_pins")
    now = int(ws.clock())
    if not ws.talk.pin(channel.id, message["ts"], user, now):
        raise SlackError("already_pinned")
    posting.push_changed(ws, channel, message["ts"])
    text = f"<@{user}> pinned a message to this channel."
    item = {"type": "message", "channel": channel.id, "created": now, "created_by": user, "message": message}
    posting.system_line(ws, channel, user=user, subtype="pinned_item", text=text, item_ts=message["ts"])
    if ws.rooms.is_member(channel.id, ws.identity.bot_user_id):
        pins = {"pin_count": len(ws.talk.pins(channel.id)), "has_pins": True}
        about = {"user": user, "channel_id": channel.id, "item": item, "item_user": message.get("user", ""), **pins}
        ws.emit({"type": "pin_added", **about, "event_ts": ws.new_ts()})


def unpin(ws: Workspace, channel: Channel, message: Json, *, user: str) -> None:
    """Take a pin away.

    Raises:
        SlackError: no_pin.
    """
    if not ws.talk.unpin(channel.id, message["ts"]):
        raise SlackError("no_pin")
    posting.push_changed(ws, channel, message["ts"])
    if ws.rooms.is_member(channel.id, ws.identity.bot_user_id):
        item = {"type": "message", "channel": channel.id, "message": message}
        about = {"user": user, "channel_id": channel.id, "item": item, "has_pins": bool(ws.talk.pins(channel.id))}
        ws.emit({"type": "pin_removed", **about, "event_ts": ws.new_ts()})
