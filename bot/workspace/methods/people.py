"""users.*, usergroups.*, team.*, bots.*, auth.*, api.*, apps.*: who is there, and who is calling."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from bot.workspace.blocks.judge import message_report, parsed, problem_lines, view_report
from bot.workspace.methods.call import Call, Method
from bot.workspace.protocol import Json, SlackError


def api_test(call: Call) -> Json:
    """api.test: gives back what it got."""
    if call.text("error"):
        raise SlackError(call.text("error"), args=dict(call.args))
    return {"args": dict(call.args)}


def auth_test(call: Call) -> Json:
    """auth.test."""
    who = call.ws.identity
    return {
        "url": f"{call.base_url}/",
        "team": who.team_name,
        "user": call.ws.manifest.display_name.lower(),
        "team_id": who.team_id,
        "user_id": who.bot_user_id,
        "bot_id": who.bot_id,
        "is_enterprise_install": False,
    }


def connections_open(call: Call) -> Json:
    """apps.connections.open: a WebSocket address with a ticket for one connection."""
    if not call.ws.manifest.socket_mode:
        raise SlackError("forbidden_team")
    ticket = secrets.token_urlsafe(24)
    call.ws.tickets.add(ticket)
    host = call.base_url.partition("://")[2]
    scheme = "wss" if call.base_url.startswith("https") else "ws"
    return {"url": f"{scheme}://{host}/link/?ticket={ticket}&app_id={call.ws.identity.app_id}"}


def bots_info(call: Call) -> Json:
    """bots.info."""
    who = call.ws.identity
    if call.text("bot", who.bot_id) != who.bot_id:
        raise SlackError("bot_not_found")
    bot = {
        "id": who.bot_id,
        "deleted": False,
        "name": call.ws.manifest.display_name,
        "updated": 0,
        "app_id": who.app_id,
        "user_id": who.bot_user_id,
        "icons": {},
    }
    return {"bot": bot}


def team_info(call: Call) -> Json:
    """team.info."""
    who = call.ws.identity
    return {"team": {"id": who.team_id, "name": who.team_name, "domain": who.team_domain, "email_domain": "", "icon": {}}}


def _public(call: Call, user: Json) -> Json:
    """A person as this app may see them: the address needs a scope of its own."""
    if "users:read.email" in call.ws.manifest.scopes:
        return user
    profile = {key: value for key, value in user["profile"].items() if key != "email"}
    return {**user, "profile": profile}


def _user(call: Call) -> Json:
    found = call.ws.rooms.user(call.text("user"))
    if found is None:
        raise SlackError("user_not_found")
    return found


def users_info(call: Call) -> Json:
    """users.info."""
    return {"user": _public(call, _user(call))}


def users_list(call: Call) -> Json:
    """users.list."""
    page, metadata = call.page(call.ws.rooms.users(), default=1000)
    members = [_public(call, user) for user in page]
    return {"members": members, "cache_ts": int(call.ws.clock()), "response_metadata": metadata}


def users_by_email(call: Call) -> Json:
    """users.lookupByEmail."""
    wanted = call.text("email").lower()
    for user in call.ws.rooms.users():
        if user["profile"].get("email", "").lower() == wanted and not user["deleted"]:
            return {"user": user}
    raise SlackError("users_not_found")


def presence(call: Call) -> Json:
    """users.getPresence: active while a browser window is open as that person."""
    user = _user(call)
    online = user["is_bot"] or call.ws.hub.is_listening(user["id"])
    return {"presence": "active" if online else "away"}


def usergroups(call: Call) -> Json:
    """usergroups.list."""
    with_users = call.flag("include_users")
    groups = [{k: v for k, v in group.items() if with_users or k != "users"} for group in call.ws.rooms.usergroups()]
    return {"usergroups": groups}


def usergroup_users(call: Call) -> Json:
    """usergroups.users.list."""
    for group in call.ws.rooms.usergroups():
        if group["id"] == call.text("usergroup"):
            return {"users": group["users"]}
    raise SlackError("no_such_subteam")


def blocks_validate(call: Call) -> Json:
    """blocks.validate: Slack's own judge, for blocks, a message or a view; needs no token."""
    given = [name for name in ("blocks", "message", "view") if call.given(name)]
    if len(given) != 1:
        raise SlackError("invalid_arguments", response_metadata={"messages": ["[ERROR] give one of blocks, message, view"]})
    value = parsed(call.args[given[0]], otherwise="invalid_arguments")
    if given[0] == "view":
        kind = value.get("type") if isinstance(value, dict) else None
        report = view_report(value, kind="home" if kind == "home" else "modal")
    else:
        report = message_report(value.get("blocks", []) if given[0] == "message" and isinstance(value, dict) else value)
    if report.problems:
        errors = [{"message": p.message, "pointer": p.pointer, **({"code": p.code} if p.code else {})} for p in report.problems]
        raise SlackError("invalid_blocks", errors=errors, response_metadata={"messages": problem_lines(report.problems)})
    return {}


METHODS: Mapping[str, Method] = {
    "api.test": Method(run=api_test, tier=4, caller="anyone"),
    "auth.test": Method(run=auth_test, tier=None),
    "apps.connections.open": Method(run=connections_open, tier=3, caller="app"),
    "blocks.validate": Method(run=blocks_validate, tier=4, caller="anyone"),
    "bots.info": Method(run=bots_info, tier=3, scopes=("users:read",)),
    "team.info": Method(run=team_info, tier=3, scopes=("team:read",)),
    "users.info": Method(run=users_info, tier=4, scopes=("users:read",), required=("user",)),
    "users.list": Method(run=users_list, tier=2, scopes=("users:read",)),
    "users.lookupByEmail": Method(run=users_by_email, tier=3, scopes=("users:read.email",), required=("email",)),
    "users.getPresence": Method(run=presence, tier=3, scopes=("users:read",), required=("user",)),
    "usergroups.list": Method(run=usergroups, tier=2, scopes=("usergroups:read",)),
    "usergroups.users.list": Method(run=usergroup_users, tier=2, scopes=("usergroups:read",), required=("usergroup",)),
}
