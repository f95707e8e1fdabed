"""Views: open, push, update and close modals; publish Home tabs; and the triggers that allow it."""

from __future__ import annotations

from typing import Any

from bot.workspace import ids
from bot.workspace.blocks.judge import judge_view
from bot.workspace.posting import with_ids
from bot.workspace.protocol import VIEW_STACK, Json, SlackError
from bot.workspace.state import Workspace
from bot.workspace.store.surfaces import Trigger

_DEFAULTS: Json = {
    "private_metadata": "",
    "callback_id": "",
    "external_id": "",
    "title": None,
    "submit": None,
    "close": None,
    "clear_on_close": False,
    "notify_on_close": False,
    "submit_disabled": False,
}


def new_trigger(ws: Workspace, user: str) -> str:
    """A trigger_id for what somebody just did."""
    trigger_id = f"{ids.token('t').removeprefix('t-').replace('-', '.', 1)}.{ids.short_id()}"
    ws.surfaces.put_trigger(Trigger(id=trigger_id, user=user, made=ws.clock(), used=False))
    return trigger_id


def _spend(ws: Workspace, trigger_id: str) -> str:
    """Use a trigger up and say whose it was.

    Raises:
        SlackError: invalid_trigger_id, exchanged_trigger_id (used before), expired_trigger_id (older than 3 s).
    """
    trigger = ws.surfaces.trigger(trigger_id)
    if trigger is None:
        raise SlackError("invalid_trigger_id")
    if trigger.used:
        raise SlackError("exchanged_trigger_id")
    if ws.clock() - trigger.made > ws.timing.trigger:
        raise SlackError("expired_trigger_id")
    ws.surfaces.use_trigger(trigger_id)
    return trigger.user


def open_view(ws: Workspace, *, trigger_id: str, view: Any) -> Json:
    """Show a modal in front of the person whose trigger this is; what was open before is gone."""
    asked = judge_view(view, kind="modal")
    user = _spend(ws, trigger_id)
    ws.surfaces.drop_views(user, from_depth=0)
    full = _full(ws, asked, view_id=ids.new_id("V"))
    full["root_view_id"] = full["id"]
    _put(ws, user, 0, full)
    _push(ws, user, "view_opened", full)
    return full


def push_view(ws: Workspace, *, trigger_id: str, view: Any) -> Json:
    """Lay a modal over the ones that are open; at most three."""
    asked = judge_view(view, kind="modal")
    user = _spend(ws, trigger_id)
    return lay_over(ws, user, asked)


def lay_over(ws: Workspace, user: str, asked: Json) -> Json:
    """Put a judged view on top of somebody's stack."""
    stack = ws.surfaces.stack(user)
    if not stack:
        raise SlackError("not_found")
    if len(stack) >= VIEW_STACK:
        raise SlackError("push_limit_reached")
    full = _full(ws, asked, view_id=ids.new_id("V"))
    full |= {"root_view_id": stack[0]["id"], "previous_view_id": stack[-1]["id"]}
    _put(ws, user, len(stack), full)
    _push(ws, user, "view_pushed", full)
    return full


def update_view(ws: Workspace, *, view_id: str, external_id: str, view: Any, known_hash: str) -> Json:
    """Replace an open modal (or a Home tab named by its view id), if ``known_hash`` (when given) is still its hash."""
    home = ws.surfaces.home_by_id(view_id) if view_id else None
    if home is not None:
        return publish(ws, user=home[0], view=view, known_hash=known_hash)
    asked = judge_view(view, kind="modal")
    found = ws.surfaces.view(view_id) if view_id else ws.surfaces.view_by_external(external_id)
    if found is None:
        raise SlackError("not_found")
    user, depth, old = found
    _same_hash(old, known_hash)
    return replace(ws, user, depth, old, asked)


def replace(ws: Workspace, user: str, depth: int, old: Json, asked: Json) -> Json:
    """Put a judged view in the place of an open one."""
    full = _full(ws, asked, view_id=old["id"])
    full |= {"root_view_id": old["root_view_id"], "previous_view_id": old["previous_view_id"], "state": old["state"]}
    _put(ws, user, depth, full)
    _push(ws, user, "view_updated", full)
    return full


def publish(ws: Workspace, *, user: str, view: Any, known_hash: str) -> Json:
    """Set somebody's Home tab."""
    if not ws.manifest.home_tab:
        raise SlackError("not_enabled")
    asked = judge_view(view, kind="home")
    old = ws.surfaces.home(user)
    if old is not None:
        _same_hash(old, known_hash)
    full = _full(ws, asked, view_id=old["id"] if old else ids.new_id("V"))
    full["root_view_id"] = full["id"]
    _external_is_free(ws, full)
    ws.surfaces.put_home(user, full)
    ws.hub.push({"type": "home", "user": user, "view": full}, to=[user])
    return full


def close(ws: Workspace, user: str, depth: int) -> None:
    """Close somebody's modals from that depth up and show what lies below."""
    closing = ws.surfaces.stack(user)[depth:]
    ws.surfaces.drop_views(user, from_depth=depth)
    left = ws.surfaces.stack(user)
    top = left[-1] if left else None
    if closing:
        event = {"type": "view_closed", "view_id": closing[-1]["id"], "closed": [v["id"] for v in closing], "view": top}
        ws.hub.push(event, to=[user])


def _same_hash(old: Json, known_hash: str) -> None:
    if known_hash and known_hash != old["hash"]:
        raise SlackError("hash_conflict")


def _external_is_free(ws: Workspace, view: Json) -> None:
    if view["external_id"] and ws.surfaces.external_id_taken(view["external_id"], besides=view["id"]):
        raise SlackError("duplicate_external_id")


def _put(ws: Workspace, user: str, depth: int, view: Json) -> None:
    _external_is_free(ws, view)
    ws.surfaces.put_view(user, depth, view)


def _push(ws: Workspace, user: str, event: str, view: Json) -> None:
    ws.hub.push({"type": event, "user": user, "view": view}, to=[user])


def _full(ws: Workspace, asked: Json, *, view_id: str) -> Json:
    """A view as Slack gives it back: ids, state, hash and every default."""
    who = ws.identity
    return {
        **_DEFAULTS,
        **{key: value for key, value in asked.items() if value is not None},
        "blocks": with_ids(asked["blocks"]),
        "id": view_id,
        "team_id": who.team_id,
        "app_id": who.app_id,
        "bot_id": who.bot_id,
        "app_installed_team_id": who.team_id,
        "state": {"values": {}},
        "hash": f"{ws.new_ts()}.{ids.short_id()}",
        "root_view_id": None,
        "previous_view_id": None,
    }
