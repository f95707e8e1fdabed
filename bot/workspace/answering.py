"""What the app says in answer to an interaction: by acknowledgement of a command, or by response_url."""

from __future__ import annotations

from typing import Any

from bot.workspace import ids, posting
from bot.workspace.blocks.judge import judge_message
from bot.workspace.protocol import RESPONSE_URL_LIFE, RESPONSE_URL_USES, TEXT_CUT, Json, SlackError
from bot.workspace.state import Workspace
from bot.workspace.store.rooms import Channel
from bot.workspace.store.surfaces import ResponseUrl


def new_response_url(ws: Workspace, base_url: str, *, about: Json) -> str:
    """An address to answer at. ``about``: channel, user, and of the clicked message ts, ephemeral, thread_ts."""
    url_id = f"{ws.identity.team_id}/{ids.new_id('')}/{ids.token('r').removeprefix('r-')}"
    ws.surfaces.put_response_url(ResponseUrl(id=url_id, made=ws.clock(), uses=0, data=about))
    return f"{base_url}/actions/{url_id}"


def answer_by_url(ws: Workspace, url_id: str, body: Any) -> None:
    """A post to a response_url: at most five within thirty minutes.

    Raises:
        SlackError: expired_url, used_url, invalid_payload, or what is wrong with the message.
    """
    url = ws.surfaces.response_url(url_id)
    if url is None or ws.clock() - url.made > RESPONSE_URL_LIFE:
        raise SlackError("expired_url")
    if url.uses >= RESPONSE_URL_USES:
        raise SlackError("used_url")
    ws.limiter.hook(url_id)
    ws.surfaces.count_response(url_id)
    answer(ws, url.data, body)


def answer(ws: Workspace, about: Json, body: Any) -> None:
    """Say ``body`` where ``about`` points: new, in place of the clicked message, or in its removal."""
    if not isinstance(body, dict):
        raise SlackError("invalid_payload")
    channel = ws.rooms.channel(about["channel"])
    if channel is None:
        raise SlackError("channel_not_found")
    if body.get("delete_original"):
        _delete_original(ws, channel, about)
        return
    message = _message(ws, body)
    if body.get("replace_original") and about.get("ts"):
        _replace_original(ws, channel, about, message)
        return
    if body.get("thread_ts"):
        message["thread_ts"] = str(body["thread_ts"])
    if body.get("response_type") == "in_channel":
        posting.post(ws, channel, message)
    else:
        posting.whisper(ws, channel, user=about["user"], message=message)


def _message(ws: Workspace, body: Json) -> Json:
    blocks = posting.with_ids(judge_message(body["blocks"])) if body.get("blocks") else []
    text = body.get("text") or posting.text_of(blocks)
    if not isinstance(text, str):
        raise SlackError("invalid_payload")
    if not text and not blocks and not body.get("attachments"):
        raise SlackError("no_text")
    extras = {name: body[name] for name in ("attachments", "metadata") if body.get(name)}
    return posting.bot_message(ws) | {"text": text[:TEXT_CUT], **({"blocks": blocks} if blocks else {}), **extras}


def _replace_original(ws: Workspace, channel: Channel, about: Json, message: Json) -> None:
    if about.get("ephemeral"):
        old = ws.talk.ephemeral(about["user"], about["ts"])
        if old is None:
            raise SlackError("message_not_found")
        kept: Json = {name: old[name] for name in ("ts", "type", "thread_ts") if name in old}
        posting.rewrite_whisper(ws, channel.id, user=about["user"], message={**message, **kept, "ephemeral": True})
        return
    old = _own(ws, channel, about)
    said = ("text", "blocks", "attachments")
    new = {name: value for name, value in old.items() if name not in said}
    new |= {name: message[name] for name in said if name in message}
    posting.edit(ws, channel, old, new)


def _delete_original(ws: Workspace, channel: Channel, about: Json) -> None:
    if not about.get("ts"):
        raise SlackError("message_not_found")
    if about.get("ephemeral"):
        posting.drop_whisper(ws, channel.id, user=about["user"], ts=about["ts"])
    else:
        posting.remove(ws, channel, _own(ws, channel, about))


def _own(ws: Workspace, channel: Channel, about: Json) -> Json:
    old = ws.talk.get(channel.id, about["ts"])
    if old is None:
        raise SlackError("message_not_found")
    if old.get("bot_id") != ws.identity.bot_id:
        raise SlackError("cant_update_message")
    return old
