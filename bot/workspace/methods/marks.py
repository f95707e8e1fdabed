"""reactions.*, pins.*, bookmarks.*."""

from __future__ import annotations

from collections.abc import Mapping

from bot.workspace import ids, marking, posting, rooming
from bot.workspace.methods.call import Call, Method
from bot.workspace.protocol import BOOKMARKS_PER_CHANNEL, Json, SlackError
from bot.workspace.store.rooms import Channel


def _item(call: Call, *, member: bool) -> tuple[Channel, Json]:
    if not call.text("channel") or not call.text("timestamp"):
        raise SlackError("no_item_specified")
    channel = call.channel(member=member)
    return channel, call.message(channel, "timestamp")


def _open_item(call: Call, *, member: bool = False) -> tuple[Channel, Json]:
    channel, message = _item(call, member=member)
    if channel.archived:
        raise SlackError("is_archived")
    return channel, message


def reactions_add(call: Call) -> Json:
    """reactions.add."""
    name = marking.emoji(call.text("name"))
    channel, message = _open_item(call)
    marking.react(call.ws, channel, message, name=name, user=call.bot)
    return {}


def reactions_remove(call: Call) -> Json:
    """reactions.remove."""
    name = marking.emoji(call.text("name"))
    channel, message = _item(call, member=False)
    marking.unreact(call.ws, channel, message, name=name, user=call.bot)
    return {}


def reactions_get(call: Call) -> Json:
    """reactions.get."""
    channel, message = _item(call, member=False)
    return {"type": "message", "channel": channel.id, "message": posting.shown(call.ws, channel, message)}


def pins_add(call: Call) -> Json:
    """pins.add."""
    channel, message = _open_item(call, member=True)
    marking.pin(call.ws, channel, message, user=call.bot)
    return {}


def pins_remove(call: Call) -> Json:
    """pins.remove."""
    channel, message = _item(call, member=False)
    marking.unpin(call.ws, channel, message, user=call.bot)
    return {}


def pins_list(call: Call) -> Json:
    """pins.list."""
    channel = call.channel()
    items = []
    for ts, user, created in call.ws.talk.pins(channel.id):
        message = posting.shown(call.ws, channel, call.ws.talk.get(channel.id, ts) or {"ts": ts})
        items.append({"type": "message", "channel": channel.id, "created": created, "created_by": user, "message": message})
    return {"items": items}


def _link(call: Call) -> str:
    link = call.text("link")
    if not link.startswith(("http://", "https://")):
        raise SlackError("invalid_link")
    return link


def bookmarks_add(call: Call) -> Json:
    """bookmarks.add: links only."""
    channel = call.channel("channel_id", member=True)
    if call.text("type") != "link":
        raise SlackError("invalid_bookmark_type")
    there = call.ws.talk.bookmarks(channel.id)
    if len(there) >= BOOKMARKS_PER_CHANNEL:
        raise SlackError("too_many_bookmarks")
    now = int(call.ws.clock())
    bookmark = {
        "id": ids.new_id("Bk"),
        "channel_id": channel.id,
        "title": call.text("title"),
        "link": _link(call),
        "emoji": call.text("emoji"),
        "icon_url": None,
        "type": "link",
        "entity_id": None,
        "date_created": now,
        "date_updated": 0,
        "rank": str(len(there)),
        "last_updated_by_user_id": call.bot,
        "last_updated_by_team_id": call.ws.identity.team_id,
        "shortcut_id": None,
        "app_id": call.ws.identity.app_id,
    }
    return _kept(call, channel, bookmark)


def bookmarks_edit(call: Call) -> Json:
    """bookmarks.edit."""
    channel = call.channel("channel_id", member=True)
    old = next((b for b in call.ws.talk.bookmarks(channel.id) if b["id"] == call.text("bookmark_id")), None)
    if old is None:
        raise SlackError("not_found")
    asked = {name: call.text(name) for name in ("title", "emoji") if call.given(name)}
    if call.given("link"):
        asked["link"] = _link(call)
    return _kept(call, channel, {**old, **asked, "date_updated": int(call.ws.clock())})


def _kept(call: Call, channel: Channel, bookmark: Json) -> Json:
    call.ws.talk.put_bookmark(bookmark)
    rooming.push_channel(call.ws, channel, "channel_changed")
    return {"bookmark": bookmark}


def bookmarks_remove(call: Call) -> Json:
    """bookmarks.remove."""
    channel = call.channel("channel_id", member=True)
    if not call.ws.talk.drop_bookmark(channel.id, call.text("bookmark_id")):
        raise SlackError("not_found")
    rooming.push_channel(call.ws, channel, "channel_changed")
    return {}


def bookmarks_list(call: Call) -> Json:
    """bookmarks.list."""
    channel = call.channel("channel_id")
    return {"bookmarks": call.ws.talk.bookmarks(channel.id)}


_WRITE, _READ = ("bookmarks:write",), ("bookmarks:read",)
METHODS: Mapping[str, Method] = {
    "reactions.add": Method(run=reactions_add, tier=3, scopes=("reactions:write",), required=("name",)),
    "reactions.remove": Method(run=reactions_remove, tier=2, scopes=("reactions:write",), required=("name",)),
    "reactions.get": Method(run=reactions_get, tier=3, scopes=("reactions:read",)),
    "pins.add": Method(run=pins_add, tier=2, scopes=("pins:write",)),
    "pins.remove": Method(run=pins_remove, tier=2, scopes=("pins:write",)),
    "pins.list": Method(run=pins_list, tier=2, scopes=("pins:read",), required=("channel",)),
    "bookmarks.add": Method(run=bookmarks_add, tier=2, scopes=_WRITE, required=("channel_id", "title", "type")),
    "bookmarks.edit": Method(run=bookmarks_edit, tier=2, scopes=_WRITE, required=("channel_id", "bookmark_id")),
    "bookmarks.remove": Method(run=bookmarks_remove, tier=2, scopes=_WRITE, required=("channel_id", "bookmark_id")),
    "bookmarks.list": Method(run=bookmarks_list, tier=3, scopes=_READ, required=("channel_id",)),
}
