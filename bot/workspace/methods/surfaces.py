"""views.* and files.*."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from bot.workspace import ids, opening, posting
from bot.workspace.methods.call import Call, Method
from bot.workspace.methods.chat import content
from bot.workspace.protocol import ALT_TEXT, SNIPPET_BYTES, Json, SlackError
from bot.workspace.store.rooms import Channel

FILE_BYTES = 50_000_000  # Slack takes a gigabyte; nobody needs that on a laptop


def _trigger(call: Call) -> str:
    return call.text("trigger_id") or call.text("interactivity_pointer")


def views_open(call: Call) -> Json:
    """views.open."""
    return {"view": opening.open_view(call.ws, trigger_id=_trigger(call), view=call.args.get("view"))}


def views_push(call: Call) -> Json:
    """views.push."""
    return {"view": opening.push_view(call.ws, trigger_id=_trigger(call), view=call.args.get("view"))}


def views_update(call: Call) -> Json:
    """views.update."""
    view_id, external_id = call.text("view_id"), call.text("external_id")
    if not view_id and not external_id:
        raise SlackError("invalid_arguments", response_metadata={"messages": ["[ERROR] missing required field: view_id"]})
    view = opening.update_view(call.ws, view_id=view_id, external_id=external_id, view=call.args.get("view"), known_hash=call.text("hash"))
    return {"view": view}


def views_publish(call: Call) -> Json:
    """views.publish."""
    user = call.text("user_id")
    if call.ws.rooms.user(user) is None:
        raise SlackError("user_not_found")
    return {"view": opening.publish(call.ws, user=user, view=call.args.get("view"), known_hash=call.text("hash"))}


def upload_url(call: Call) -> Json:
    """files.getUploadURLExternal: a ticket to upload one file."""
    try:
        length = int(call.text("length"))
    except ValueError:
        raise SlackError("invalid_arguments", response_metadata={"messages": ["[ERROR] length must be an integer"]}) from None
    if length <= 0 or length > FILE_BYTES:
        raise SlackError("file_upload_size_restricted")
    if call.text("snippet_type") and length > SNIPPET_BYTES:
        raise SlackError("snippet_too_large")
    if len(call.text("alt_txt")) > ALT_TEXT:
        raise SlackError("alt_txt_too_large")
    file_id, secret = ids.new_id("F"), secrets.token_urlsafe(24)
    file = {
        "id": file_id,
        "name": call.text("filename"),
        "title": call.text("filename"),
        "created": int(call.ws.clock()),
        "timestamp": int(call.ws.clock()),
        "size": length,
        "user": call.bot,
        "alt_txt": call.text("alt_txt"),
        "filetype": call.text("snippet_type") or call.text("filename").rpartition(".")[2].lower(),
        "uploaded": False,
        "complete": False,
        "channels": [],
    }
    call.ws.surfaces.put_file(file, secret=secret)
    return {"upload_url": f"{call.base_url}/upload/v1/{secret}", "file_id": file_id}


def complete_upload(call: Call) -> Json:
    """files.completeUploadExternal: make uploaded files visible, and share them where asked."""
    asked = call.json("files", otherwise="invalid_arguments")
    if not isinstance(asked, list) or not asked or not all(isinstance(one, dict) for one in asked):
        raise SlackError("invalid_arguments", response_metadata={"messages": ["[ERROR] files must be an array"]})
    wanted = call.items("channels") or ([call.text("channel_id")] if call.text("channel_id") else [])
    if len(wanted) > 100:
        raise SlackError("channels_limit_exceeded")
    targets = [_share_target(call, channel_id) for channel_id in wanted]
    files = [_completed(call, one, wanted) for one in asked]
    for channel in targets:
        _share(call, channel, files)
    return {"files": [described(call, file) for file in files]}


def _share_target(call: Call, channel_id: str) -> Channel:
    named = Call(ws=call.ws, method=call.method, args={"channel": channel_id}, base_url=call.base_url)
    return named.open_channel(member=True)


def _completed(call: Call, asked: Json, channels: list[str]) -> Json:
    file = call.ws.surfaces.file(str(asked.get("id")))
    if file is None or not file["uploaded"]:
        raise SlackError("file_not_found")
    done = {**file, "title": asked.get("title") or file["title"], "complete": True, "channels": channels}
    call.ws.surfaces.put_file(done, secret=call.ws.surfaces.file_secret(file["id"]))
    return done


def _share(call: Call, channel: Channel, files: list[Json]) -> None:
    said: Json = {"text": call.text("initial_comment")}
    if call.given("blocks"):
        said = content(Call(ws=call.ws, method=call.method, args={"blocks": call.args["blocks"]}, base_url=call.base_url))
    message = posting.bot_message(call.ws) | said | {"files": [described(call, file) for file in files], "upload": True}
    if call.text("thread_ts"):
        message["thread_ts"] = call.text("thread_ts")
    posting.post(call.ws, channel, message)


def described(call: Call, file: Json) -> Json:
    """A file as Slack gives it, with the address of its content."""
    url = f"{call.base_url}/files-pri/{call.ws.identity.team_id}-{file['id']}/{file['name']}"
    kept = {key: value for key, value in file.items() if key not in ("uploaded", "complete")}
    return {**kept, "url_private": url, "url_private_download": f"{url}?download=1", "mode": "hosted", "is_external": False}


def files_info(call: Call) -> Json:
    """files.info."""
    file = call.ws.surfaces.file(call.text("file"))
    if file is None or not file["complete"]:
        raise SlackError("file_not_found")
    return {"file": described(call, file), "comments": [], "response_metadata": {"next_cursor": ""}}


METHODS: Mapping[str, Method] = {
    "views.open": Method(run=views_open, tier=4, required=("view",)),
    "views.push": Method(run=views_push, tier=4, required=("view",)),
    "views.update": Method(run=views_update, tier=4, required=("view",)),
    "views.publish": Method(run=views_publish, tier=4, required=("user_id", "view")),
    "files.getUploadURLExternal": Method(run=upload_url, tier=4, scopes=("files:write",), required=("filename", "length")),
    "files.completeUploadExternal": Method(run=complete_upload, tier=4, scopes=("files:write",), required=("files",)),
    "files.info": Method(run=files_info, tier=4, scopes=("files:read",), required=("file",)),
}
