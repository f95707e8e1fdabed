"""chat.*: post, whisper, update, delete, link."""

from __future__ import annotations

import json
from collections.abc import Mapping

from bot.workspace import posting, rooming
from bot.workspace.blocks.judge import judge_message
from bot.workspace.methods.call import Call, Method
from bot.workspace.protocol import ATTACHMENTS, MARKDOWN_TEXT, METADATA_BYTES, TEXT_CUT, UPDATE_TEXT, Json, SlackError
from bot.workspace.store.rooms import Channel


def content(call: Call) -> Json:
    """The text, blocks and attachments a call brings, judged; empty blocks are left out.

    Raises:
        SlackError: no_text, markdown_text_conflict, msg_too_long, too_many_attachments, invalid_blocks …
    """
    found: Json = {}
    if call.args.get("blocks") not in (None, ""):
        found["blocks"] = posting.with_ids(judge_message(call.args["blocks"]))
    attachments = _attachments(call)
    if attachments:
        found["attachments"] = attachments
    markdown = call.text("markdown_text")
    if markdown:
        found |= _markdown(call, markdown)
    text = call.text("text") or markdown or posting.text_of(found.get("blocks", []))
    if not call.text("text").strip() and not markdown and not found.get("blocks") and not attachments:
        raise SlackError("no_text")
    return {"text": text[:TEXT_CUT], **{key: value for key, value in found.items() if value}}


def _markdown(call: Call, markdown: str) -> Json:
    if call.text("text") or call.given("blocks"):
        raise SlackError("markdown_text_conflict")
    if len(markdown) > MARKDOWN_TEXT:
        raise SlackError("msg_too_long")
    return {"blocks": [{"type": "markdown", "text": markdown}]}


def _attachments(call: Call) -> list[Json]:
    value = call.json("attachments", otherwise="invalid_attachments")
    if value in (None, ""):
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise SlackError("invalid_attachments")
    if len(value) > ATTACHMENTS:
        raise SlackError("too_many_attachments")
    kept = [dict(item, id=number) for number, item in enumerate(value, start=1)]
    for item in kept:
        if item.get("blocks"):
            item["blocks"] = posting.with_ids(judge_message(item["blocks"]))
        if len(str(item.get("footer") or "")) > 300:
            raise SlackError("invalid_attachments")
    return kept


def metadata(call: Call) -> Json | None:
    """The metadata a call brings, judged; None when there is none, an empty mapping when it is to be removed.

    Raises:
        SlackError: invalid_metadata_format, invalid_metadata_schema, metadata_too_large.
    """
    value = call.json("metadata", otherwise="invalid_metadata_format")
    if value is None or value == "":
        return None
    if not isinstance(value, dict):
        raise SlackError("invalid_metadata_format")
    if not value or "entities" in value:
        return value
    if set(value) - {"event_type", "event_payload"} or not isinstance(value.get("event_payload"), dict):
        raise SlackError("invalid_metadata_schema")
    if not isinstance(value.get("event_type"), str) or not value["event_type"]:
        raise SlackError("invalid_metadata_schema")
    if len(json.dumps(value).encode()) > METADATA_BYTES:
        raise SlackError("metadata_too_large")
    return value


def target(call: Call) -> Channel:
    """Where a message goes: a channel id, ``#name``, or a user id for a direct message.

    Raises:
        SlackError: channel_not_found, is_archived, not_in_channel, messages_tab_disabled, missing_scope.
    """
    ws, wanted = call.ws, call.text("channel")
    if wanted.startswith(("U", "W")) and ws.rooms.user(wanted) is not None:
        if not ws.manifest.messages_tab:
            raise SlackError("messages_tab_disabled")
        return rooming.direct(ws, one=call.bot, other=wanted)
    channel = ws.rooms.channel_named(wanted.removeprefix("#")) if wanted.startswith("#") else ws.rooms.channel(wanted)
    inside = channel is not None and ws.rooms.is_member(channel.id, call.bot)
    if channel is None or (channel.kind != "public" and not inside):
        raise SlackError("channel_not_found")
    if channel.archived:
        raise SlackError("is_archived")
    if not inside and "chat:write.public" not in ws.manifest.scopes:
        raise SlackError("not_in_channel")
    return channel


def post_message(call: Call) -> Json:
    """chat.postMessage."""
    channel = target(call)
    message = posting.bot_message(call.ws) | content(call) | _dress(call)
    told = metadata(call)
    if told:
        message["metadata"] = told
    thread = call.text("thread_ts")
    if thread:
        message["thread_ts"] = thread
        if call.flag("reply_broadcast"):
            message["subtype"] = "thread_broadcast"
    call.ws.limiter.post(channel.id)
    stored = posting.post(call.ws, channel, message)
    return {"channel": channel.id, "ts": stored["ts"], "message": stored}


def _dress(call: Call) -> Json:
    """Another name or icon for one message, which needs a scope of its own."""
    asked = {name: call.text(name) for name in ("username", "icon_emoji", "icon_url") if call.text(name)}
    if asked:
        call.need_scope("chat:write.customize")
        icons = {name.removeprefix("icon_"): value for name, value in asked.items() if name != "username"}
        return {**({"username": asked["username"]} if "username" in asked else {}), "icons": icons}
    return {}


def post_ephemeral(call: Call) -> Json:
    """chat.postEphemeral: seen by one member of the channel, until reload or dismissal."""
    channel = target(call)
    user = call.text("user")
    if len(call.text("text")) > UPDATE_TEXT:
        raise SlackError("msg_too_long")
    message = posting.bot_message(call.ws) | content(call)
    if call.text("thread_ts"):
        message["thread_ts"] = call.text("thread_ts")
    if not call.ws.rooms.is_member(channel.id, user):
        raise SlackError("user_not_in_channel")
    stored = posting.whisper(call.ws, channel, user=user, message=message)
    return {"message_ts": stored["ts"]}


def update(call: Call) -> Json:
    """chat.update: with text and no blocks, the blocks go; with neither, both stay."""
    channel = call.open_channel(member=False)
    old = call.message(channel, "ts")
    if old.get("bot_id") != call.ws.identity.bot_id:
        raise SlackError("cant_update_message")
    if len(call.text("text")) > UPDATE_TEXT:
        raise SlackError("msg_too_long")
    new = _updated(call, old)
    told = metadata(call)
    if told is not None:
        new.pop("metadata", None)
        new |= {"metadata": told} if told else {}
    stored = posting.edit(call.ws, channel, old, new)
    return {"channel": channel.id, "ts": stored["ts"], "text": stored["text"], "message": stored}


def _updated(call: Call, old: Json) -> Json:
    brought = [name for name in ("text", "blocks", "attachments", "markdown_text") if call.given(name)]
    if not brought:
        return dict(old)
    kept = {key: value for key, value in old.items() if key not in ("text", "blocks", "attachments")}
    if "attachments" not in brought and "attachments" in old and not {"text", "blocks"} & set(brought):
        kept["attachments"] = old["attachments"]
    fresh = _without_text(call, old) if brought == ["blocks"] else content(call)
    edited = {"edited": {"user": call.bot, "ts": call.ws.new_ts()}} if not fresh.get("blocks") else {}
    return {**kept, **fresh, **edited}


def _without_text(call: Call, old: Json) -> Json:
    """Blocks alone: an empty list takes them away and leaves the text."""
    blocks = posting.with_ids(judge_message(call.args["blocks"]))
    if not blocks and not old.get("text"):
        raise SlackError("no_text")
    return {"text": posting.text_of(blocks), "blocks": blocks} if blocks else {"text": old["text"]}


def delete(call: Call) -> Json:
    """chat.delete: the app's own messages."""
    channel = call.channel()
    old = call.message(channel, "ts")
    if old.get("bot_id") != call.ws.identity.bot_id or old.get("username"):
        raise SlackError("cant_delete_message")
    posting.remove(call.ws, channel, old)
    return {"channel": channel.id, "ts": old["ts"]}


def permalink(call: Call) -> Json:
    """chat.getPermalink."""
    channel = call.channel()
    message = call.message(channel, "message_ts")
    return {"channel": channel.id, "permalink": permalink_of(call.base_url, channel, message)}


def permalink_of(base_url: str, channel: Channel, message: Json) -> str:
    """The address of a message in the browser front, in Slack's form."""
    link = f"{base_url}/archives/{channel.id}/p{message['ts'].replace('.', '')}"
    thread = message.get("thread_ts")
    return f"{link}?thread_ts={thread}&cid={channel.id}" if thread and thread != message["ts"] else link


METHODS: Mapping[str, Method] = {
    "chat.postMessage": Method(run=post_message, tier=None, scopes=("chat:write",), required=("channel",)),
    "chat.postEphemeral": Method(run=post_ephemeral, tier=4, scopes=("chat:write",), required=("channel", "user")),
    "chat.update": Method(run=update, tier=3, scopes=("chat:write",), required=("channel", "ts")),
    "chat.delete": Method(run=delete, tier=3, scopes=("chat:write",), required=("channel", "ts")),
    "chat.getPermalink": Method(run=permalink, tier=None, required=("channel", "message_ts")),
}
