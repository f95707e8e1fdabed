"""Channels and who is in them: make, find, join, invite, rename, close."""

from __future__ import annotations

import re

from bot.workspace import ids, posting
from bot.workspace.protocol import CHANNEL_NAME, CHANNEL_TOPIC, Json, SlackError
from bot.workspace.state import Workspace
from bot.workspace.store.rooms import Channel


def checked_name(ws: Workspace, name: str, *, besides: str = "") -> str:
    """A channel name that Slack would take and that is free (archived channels keep theirs).

    Raises:
        SlackError: invalid_name_required, _maxlength, _punctuation, _specials or name_taken.
    """
    name = name.removeprefix("#")
    if not name:
        raise SlackError("invalid_name_required")
    if len(name) > CHANNEL_NAME:
        raise SlackError("invalid_name_maxlength")
    if re.fullmatch(r"[-_.]+", name):
        raise SlackError("invalid_name_punctuation")
    if not all(char in "-_" or (char.isalnum() and char == char.lower()) for char in name):
        raise SlackError("invalid_name_specials")
    taken = ws.rooms.channel_named(name)
    handles = {group["handle"] for group in ws.rooms.usergroups()} | {user["name"] for user in ws.rooms.users()}
    if (taken is not None and taken.id != besides) or name in handles:
        raise SlackError("name_taken")
    return name


def create(ws: Workspace, *, name: str, creator: str, private: bool) -> Channel:
    """Make a channel with its creator as the first member."""
    now = int(ws.clock())
    blank = {"value": "", "creator": "", "last_set": 0}
    channel = Channel(
        id=ids.new_id("C"),
        name=checked_name(ws, name),
        kind="private" if private else "public",
        archived=False,
        creator=creator,
        created=now,
        general=False,
        topic=blank,
        purpose=blank,
    )
    ws.rooms.add_channel(channel)
    ws.rooms.join(channel.id, creator)
    push_channel(ws, channel, "channel_created")
    ws.emit({"type": "channel_created", "channel": brief(channel), "event_ts": ws.new_ts()})
    return channel


def join(ws: Workspace, channel: Channel, user: str, *, inviter: str | None = None) -> bool:
    """Bring somebody in; False when they were in already."""
    if not ws.rooms.join(channel.id, user):
        return False
    invited = {"inviter": inviter} if inviter else {}
    posting.system_line(ws, channel, user=user, subtype="channel_join", text=f"<@{user}> has joined the channel", **invited)
    _push_member(ws, channel, user, joined=True)
    if ws.rooms.is_member(channel.id, ws.identity.bot_user_id):
        ws.emit(_membership(ws, "member_joined_channel", channel, user) | invited)
    return True


def leave(ws: Workspace, channel: Channel, user: str) -> bool:
    """Take somebody out; False when they were not in."""
    bot_there = ws.rooms.is_member(channel.id, ws.identity.bot_user_id)
    if not ws.rooms.leave(channel.id, user):
        return False
    _push_member(ws, channel, user, joined=False)
    posting.system_line(ws, channel, user=user, subtype="channel_leave", text=f"<@{user}> has left the channel")
    if bot_there:
        ws.emit(_membership(ws, "member_left_channel", channel, user))
    return True


def _membership(ws: Workspace, kind: str, channel: Channel, user: str) -> Json:
    return {
        "type": kind,
        "user": user,
        "channel": channel.id,
        "channel_type": "C" if channel.kind == "public" else "G",
        "team": ws.identity.team_id,
        "event_ts": ws.new_ts(),
    }


def archive(ws: Workspace, channel: Channel, *, by: str) -> None:
    """Close a channel: nothing can be said in it, its name stays taken."""
    ws.rooms.set_archived(channel.id, archived=True)
    push_channel(ws, channel, "channel_changed")
    ws.emit({"type": "channel_archive", "channel": channel.id, "user": by, "is_moved": 0, "event_ts": ws.new_ts()})


def unarchive(ws: Workspace, channel: Channel, *, by: str) -> None:
    """Open a closed channel again."""
    ws.rooms.set_archived(channel.id, archived=False)
    push_channel(ws, channel, "channel_changed")
    ws.emit({"type": "channel_unarchive", "channel": channel.id, "user": by, "event_ts": ws.new_ts()})


def rename(ws: Workspace, channel: Channel, name: str, *, by: str) -> Channel:
    """Give a channel another name."""
    name = checked_name(ws, name, besides=channel.id)
    ws.rooms.rename(channel.id, name)
    renamed = fresh(ws, channel)
    text = f'<@{by}> has renamed the channel from "{channel.name}" to "{name}"'
    posting.system_line(ws, renamed, user=by, subtype="channel_name", text=text, old_name=channel.name, name=name)
    push_channel(ws, renamed, "channel_changed")
    ws.emit({"type": "channel_rename", "channel": brief(renamed), "event_ts": ws.new_ts()})
    return renamed


def describe(ws: Workspace, channel: Channel, *, what: str, text: str, by: str) -> Channel:
    """Set the topic or purpose (``what``) of a channel."""
    if len(text) > CHANNEL_TOPIC:
        raise SlackError("too_long")
    value = {"value": text, "creator": by, "last_set": int(ws.clock())}
    (ws.rooms.set_topic if what == "topic" else ws.rooms.set_purpose)(channel.id, value)
    line = f"<@{by}> set the channel {what}: {text}" if text else f"<@{by}> cleared the channel {what}"
    posting.system_line(ws, channel, user=by, subtype=f"channel_{what}", text=line, **{what: text})
    push_channel(ws, channel, "channel_changed")
    return fresh(ws, channel)


def direct(ws: Workspace, *, one: str, other: str) -> Channel:
    """The direct conversation of two people, made when there is none."""
    pair = "+".join(sorted((one, other)))
    found = ws.rooms.channel_named(f"im:{pair}")
    if found is not None:
        return found
    blank = {"value": "", "creator": "", "last_set": 0}
    channel = Channel(
        id=ids.new_id("D"),
        name=f"im:{pair}",
        kind="im",
        archived=False,
        creator=one,
        created=int(ws.clock()),
        general=False,
        topic=blank,
        purpose=blank,
    )
    ws.rooms.add_channel(channel)
    for user in {one, other}:
        ws.rooms.join(channel.id, user)
    push_channel(ws, channel, "channel_created")
    return channel


def fresh(ws: Workspace, channel: Channel) -> Channel:
    """The channel as it is now."""
    found = ws.rooms.channel(channel.id)
    assert found is not None
    return found


def brief(channel: Channel) -> Json:
    """A channel as events name it."""
    return {"id": channel.id, "name": channel.name, "created": channel.created, "creator": channel.creator}


def counterpart(ws: Workspace, channel: Channel, user: str) -> str:
    """The other side of a direct conversation."""
    return next((member for member in ws.rooms.members(channel.id) if member != user), user)


def push_channel(ws: Workspace, channel: Channel, event: str) -> None:
    """Tell browsers what a channel looks like now."""
    now = fresh(ws, channel)
    ws.hub.push({"type": event, "channel": client_channel(ws, now)}, to=ws.audience(now))


def _push_member(ws: Workspace, channel: Channel, user: str, *, joined: bool) -> None:
    members = ws.rooms.members(channel.id)
    event = {"type": "member", "channel": channel.id, "user": user, "joined": joined, "members": members}
    ws.hub.push(event, to=None if channel.kind == "public" else [*members, user])
    if joined and channel.kind != "public":
        ws.hub.push({"type": "channel_created", "channel": client_channel(ws, channel)}, to=[user])


def client_channel(ws: Workspace, channel: Channel) -> Json:
    """A channel as the browser front reads it."""
    return {
        "id": channel.id,
        "name": "" if channel.kind == "im" else channel.name,
        "is_private": channel.kind != "public",
        "is_im": channel.kind == "im",
        "is_archived": channel.archived,
        "topic": channel.topic["value"],
        "purpose": channel.purpose["value"],
        "members": ws.rooms.members(channel.id),
        "bookmarks": ws.talk.bookmarks(channel.id),
        "pins": [ts for ts, _, _ in ws.talk.pins(channel.id)],
    }
