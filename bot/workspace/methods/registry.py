"""The door of the Web API: token, scope, rate, arguments, then the method; all its changes or none."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from bot.workspace.methods import chat, conversations, marks, people, surfaces
from bot.workspace.methods.call import Call, Method
from bot.workspace.protocol import Json, SlackError
from bot.workspace.state import Workspace

METHODS: Mapping[str, Method] = {
    **people.METHODS,
    **chat.METHODS,
    **conversations.METHODS,
    **marks.METHODS,
    **surfaces.METHODS,
}


def run(ws: Workspace, *, name: str, args: Mapping[str, Any], token: str | None, base_url: str) -> Json:
    """Call a Web API method as Slack would.

    Raises:
        SlackError: any refusal, ``RateLimited`` among them.
    """
    ws.counters[f"api {name}" if name in METHODS else "api unknown_method"] += 1
    method = METHODS.get(name)
    if method is None:
        raise SlackError("unknown_method", req_method=name)
    _authenticate(ws, method, token)
    call = Call(ws=ws, method=name, args=args, base_url=base_url)
    call.need_scope(*method.scopes)
    ws.limiter.call(method=name, tier=method.tier)
    _need_arguments(call, method)
    with ws.transaction():
        return {"ok": True, **method.run(call)}


def _authenticate(ws: Workspace, method: Method, token: str | None) -> None:
    if method.caller == "anyone":
        return
    if not token:
        raise SlackError("not_authed")
    is_bot = hmac.compare_digest(token.encode(), ws.identity.bot_token.encode())
    is_app = hmac.compare_digest(token.encode(), ws.identity.app_token.encode())
    if not is_bot and not is_app:
        raise SlackError("invalid_auth")
    if is_app != (method.caller == "app"):
        raise SlackError("not_allowed_token_type")


def _need_arguments(call: Call, method: Method) -> None:
    missing = [name for name in method.required if not call.given(name)]
    if not missing:
        return
    if missing[0] == "channel" and call.method.startswith(("chat.", "conversations.")):
        raise SlackError("channel_not_found")
    messages = [f"[ERROR] missing required field: {name}" for name in missing]
    raise SlackError("invalid_arguments", response_metadata={"messages": messages})
