"""conversations.*: channels, their members and what was said in them."""

from __future__ import annotations

from collections.abc import Mapping

from bot.workspace import posting, rooming
from bot.workspace.methods.call import HISTORY, INVITES, MANAGE, READ, TOPIC, Call, Family, Method, next_cursor
from bot.workspace.protocol import INVITES_PER_CALL, OPEN_USERS, Json, SlackError
from bot.workspace.store.rooms import Channel

_TYPES = {"public_channel": "public", "private_channel": "private", "im": "im", "mpim": "mpim"}


def full(call: Call, channel: Channel) -> Json:
    """A channel as Slack describes it."""
    ws = call.ws
    shared = {
        "id": channel.id,
        "created": channel.created,
        "is_archived": channel.archived,
        "is_im": channel.kind == "im",
        "is_org_shared": False,
        "context_team_id": ws.identity.team_id,
    }
    if channel.kind == "im":
        return {**shared, "user": rooming.counterpart(ws, channel, call.bot), "is_user_deleted": False}
    return {
        **shared,
        "name": channel.name,
        "name_normalized": channel.name,
        "is_channel": channel.kind == "public",
        "is_group": False,
        "is_mpim": False,
        "is_private": channel.kind == "private",
        "is_general": channel.general,
        "is_shared": False,
        "is_ext_shared": False,
        "is_member": ws.rooms.is_member(channel.id, call.bot),
        "creator": channel.creator,
        "topic": channel.topic,
        "purpose": channel.purpose,
        "previous_names": [],
    }


def _not_im(channel: Channel) -> Channel:
    if channel.kind == "im":
        raise SlackError("method_not_supported_for_channel_type")
    return channel


def create(call: Call) -> Json:
    """conversations.create: the app becomes its creator and first member."""
    private = call.flag("is_private")
    call.need_scope(*MANAGE["private" if private else "public"])
    channel = rooming.create(call.ws, name=call.text("name"), creator=call.bot, private=private)
    return {"channel": full(call, channel)}


def info(call: Call) -> Json:
    """conversations.info."""
    channel = call.channel(family=READ)
    described = full(call, channel)
    if call.flag("include_num_members"):
        described["num_members"] = len(call.ws.rooms.members(channel.id))
    return {"channel": described}


def _listed(call: Call, user: str) -> list[Channel]:
    asked = call.items("types") or ["public_channel"]
    if any(kind not in _TYPES for kind in asked):
        raise SlackError("invalid_types")
    kinds = [_TYPES[kind] for kind in asked]
    for kind in kinds:
        call.need_scope(*READ.get(kind, ("mpim:read",)))
    skip = call.flag("exclude_archived")
    rooms = call.ws.rooms
    return [
        channel
        for channel in rooms.channels()
        if channel.kind in kinds and not (skip and channel.archived) and (channel.kind == "public" or rooms.is_member(channel.id, user))
    ]


def list_all(call: Call) -> Json:
    """conversations.list."""
    page, metadata = call.page(_listed(call, call.bot))
    channels = [full(call, channel) | {"num_members": len(call.ws.rooms.members(channel.id))} for channel in page]
    return {"channels": channels, "response_metadata": metadata}


def of_user(call: Call) -> Json:
    """users.conversations."""
    user = call.text("user") or call.bot
    mine = [channel for channel in _listed(call, call.bot) if call.ws.rooms.is_member(channel.id, user)]
    page, metadata = call.page(mine)
    return {"channels": [full(call, channel) for channel in page], "response_metadata": metadata}


def members(call: Call) -> Json:
    """conversations.members."""
    channel = call.channel(family=READ)
    page, metadata = call.page(call.ws.rooms.members(channel.id))
    return {"members": page, "response_metadata": metadata}


def _stamp(call: Call, name: str, otherwise: str) -> str:
    value = call.text(name)
    if value and not value.replace(".", "", 1).isdigit():
        raise SlackError(f"invalid_ts_{name}")
    return value or otherwise


def _told(call: Call, channel: Channel, message: Json) -> Json:
    shown = posting.shown(call.ws, channel, message)
    if not call.flag("include_all_metadata"):
        shown.pop("metadata", None)
    return shown


def _window(call: Call) -> tuple[str, str]:
    """(after, before): both exclusive, as the store wants them."""
    after, before = _stamp(call, "oldest", "0"), _stamp(call, "latest", "9")
    if call.flag("inclusive"):
        after, before = _step(after, -1), _step(before, +1) if before != "9" else before
    return _padded(after), _padded(before)


def _padded(ts: str) -> str:
    """Timestamps compare as text when both have six decimals."""
    head, dot, tail = ts.partition(".")
    return f"{head}.{tail:0<6}" if dot or len(head) > 1 else ts


def _step(ts: str, by: int) -> str:
    if ts == "0":
        return ts
    head, _, tail = _padded(ts).partition(".")
    micros = int(head) * 1_000_000 + int(tail or 0) + by
    return f"{micros // 1_000_000}.{micros % 1_000_000:06d}"


def history(call: Call) -> Json:
    """conversations.history: newest first."""
    channel = call.channel(family=HISTORY, member=True)
    after, before = _window(call)
    before = call.cursor("next_ts") or before
    found, more = call.ws.talk.history(channel.id, before=before, after=after, limit=call.limit(most=999))
    metadata = next_cursor("next_ts", found[-1]["ts"] if more else None)
    messages = [_told(call, channel, message) for message in found]
    return {"messages": messages, "has_more": more, "pin_count": len(call.ws.talk.pins(channel.id)), "response_metadata": metadata}


def replies(call: Call) -> Json:
    """conversations.replies: the parent first, then the replies, oldest first."""
    channel = call.channel(family=HISTORY, member=True)
    parent = call.ws.talk.get(channel.id, call.text("ts"))
    if parent is None:
        raise SlackError("thread_not_found")
    after, _ = _window(call)
    after = call.cursor("next_ts") or after
    found, more = call.ws.talk.replies(channel.id, parent["ts"], after=after, limit=call.limit(default=1000))
    metadata = next_cursor("next_ts", found[-1]["ts"] if more else None)
    messages = [_told(call, channel, message) for message in (parent, *found)]
    return {"messages": messages, "has_more": more, "response_metadata": metadata}


def join(call: Call) -> Json:
    """conversations.join: public channels only."""
    channel = call.ws.rooms.channel(call.text("channel"))
    if channel is None or (channel.kind == "private" and not call.ws.rooms.is_member(channel.id, call.bot)):
        raise SlackError("channel_not_found")
    if channel.kind != "public":
        raise SlackError("method_not_supported_for_channel_type")
    if channel.archived:
        raise SlackError("is_archived")
    if rooming.join(call.ws, channel, call.bot):
        return {"channel": full(call, channel)}
    warning = {"warning": "already_in_channel", "response_metadata": {"warnings": ["already_in_channel"]}}
    return {"channel": full(call, channel), **warning}


def leave(call: Call) -> Json:
    """conversations.leave."""
    channel = _not_im(call.open_channel(family=MANAGE, member=False))
    if channel.general:
        raise SlackError("cant_leave_general")
    return {} if rooming.leave(call.ws, channel, call.bot) else {"not_in_channel": True}


def invite(call: Call) -> Json:
    """conversations.invite: all or nothing, unless ``force``."""
    channel = _not_im(call.open_channel(family=INVITES))
    users = call.items("users")
    if not users:
        raise SlackError("no_user")
    if len(users) > INVITES_PER_CALL:
        raise SlackError("too_many_users")
    errors = [{"user": user, "ok": False, "error": reason} for user in users if (reason := _invite_error(call, channel, user))]
    refused = {entry["user"] for entry in errors}
    welcome = [user for user in users if user not in refused]
    if errors and (not call.flag("force") or not welcome):
        raise SlackError(str(errors[0]["error"]), errors=errors)
    for user in welcome:
        rooming.join(call.ws, channel, user, inviter=call.bot)
    return {"channel": full(call, channel), **({"errors": errors} if errors else {})}


def _invite_error(call: Call, channel: Channel, user: str) -> str | None:
    known = call.ws.rooms.user(user)
    if known is None or known["deleted"]:
        return "user_not_found"
    if user == call.bot:
        return "cant_invite_self"
    return "already_in_channel" if call.ws.rooms.is_member(channel.id, user) else None


def kick(call: Call) -> Json:
    """conversations.kick."""
    channel = _not_im(call.open_channel(family=MANAGE))
    user = call.text("user")
    if call.ws.rooms.user(user) is None:
        raise SlackError("user_not_found")
    if user == call.bot:
        raise SlackError("cant_kick_self")
    if channel.general:
        raise SlackError("cant_kick_from_general")
    if not rooming.leave(call.ws, channel, user):
        raise SlackError("not_in_channel")
    return {}


def open_direct(call: Call) -> Json:
    """conversations.open: a direct conversation with one person."""
    ws = call.ws
    if call.text("channel"):
        channel = call.channel(family=MANAGE)
        return {"channel": full(call, channel)}
    call.need_scope(*MANAGE["im"])
    users = call.items("users")
    if not users:
        raise SlackError("users_list_not_supplied")
    if len(users) > OPEN_USERS:
        raise SlackError("too_many_users")
    if len(users) > 1:
        call.need_scope("mpim:write")
        raise SlackError("method_not_supported_for_channel_type")
    known = ws.rooms.user(users[0])
    if known is None:
        raise SlackError("user_not_found")
    if known["deleted"]:
        raise SlackError("user_disabled")
    pair = "+".join(sorted((call.bot, users[0])))
    existed = ws.rooms.channel_named(f"im:{pair}") is not None
    channel = rooming.direct(ws, one=call.bot, other=users[0])
    again = {"no_op": True, "already_open": True} if existed else {}
    return {**again, "channel": full(call, channel) if call.flag("return_im") else {"id": channel.id}}


def archive(call: Call) -> Json:
    """conversations.archive."""
    channel = _not_im(call.channel(family=MANAGE, member=True))
    if channel.archived:
        raise SlackError("already_archived")
    if channel.general:
        raise SlackError("cant_archive_general")
    rooming.archive(call.ws, channel, by=call.bot)
    call.ws.rooms.leave(channel.id, call.bot)
    return {}


def unarchive(call: Call) -> Json:
    """conversations.unarchive: the app left when it archived, so Slack refuses it (``not_in_channel``)."""
    channel = _not_im(call.channel(family=MANAGE, member=True))
    if not channel.archived:
        raise SlackError("not_archived")
    rooming.unarchive(call.ws, channel, by=call.bot)
    return {}


def rename(call: Call) -> Json:
    """conversations.rename: only the creator may."""
    channel = _not_im(call.open_channel(family=MANAGE))
    if channel.creator != call.bot:
        raise SlackError("not_authorized")
    return {"channel": full(call, rooming.rename(call.ws, channel, call.text("name"), by=call.bot))}


def _describe(call: Call, what: str, family: Family) -> Json:
    channel = _not_im(call.open_channel(family=family))
    changed = rooming.describe(call.ws, channel, what=what, text=call.text(what), by=call.bot)
    return {"channel": full(call, changed)}


def set_topic(call: Call) -> Json:
    """conversations.setTopic."""
    return _describe(call, "topic", TOPIC)


def set_purpose(call: Call) -> Json:
    """conversations.setPurpose."""
    return _describe(call, "purpose", TOPIC)


_ONE = ("channel",)
METHODS: Mapping[str, Method] = {
    "conversations.create": Method(run=create, tier=2),
    "conversations.info": Method(run=info, tier=3, required=_ONE),
    "conversations.list": Method(run=list_all, tier=2),
    "conversations.members": Method(run=members, tier=4, required=_ONE),
    "conversations.history": Method(run=history, tier=3, required=_ONE),
    "conversations.replies": Method(run=replies, tier=3, required=("channel", "ts")),
    "conversations.join": Method(run=join, tier=3, scopes=("channels:join",), required=_ONE),
    "conversations.leave": Method(run=leave, tier=3, required=_ONE),
    "conversations.invite": Method(run=invite, tier=3, required=_ONE),
    "conversations.kick": Method(run=kick, tier=3, required=("channel", "user")),
    "conversations.open": Method(run=open_direct, tier=3),
    "conversations.archive": Method(run=archive, tier=2, required=_ONE),
    "conversations.unarchive": Method(run=unarchive, tier=2, required=_ONE),
    "conversations.rename": Method(run=rename, tier=2, required=("channel", "name")),
    "conversations.setTopic": Method(run=set_topic, tier=2, required=("channel", "topic")),
    "conversations.setPurpose": Method(run=set_purpose, tier=2, required=("channel", "purpose")),
    "users.conversations": Method(run=of_user, tier=3),
}
