"""Keep other web pages out: requests must name this host, and browsers must come from this very origin.

Without it any page the tester happens to have open could act here, by a cross-site form, a WebSocket (which browsers
let through to any origin) or a DNS name that points to 127.0.0.1.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class Guard:
    """ASGI middleware that refuses foreign hosts and origins."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = LOCAL_HOSTS | set(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._welcome(Headers(scope=scope)):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(code=4403, reason="foreign host or origin")(scope, receive, send)
        else:
            await PlainTextResponse("foreign host or origin", status_code=403)(scope, receive, send)

    def _welcome(self, headers: Headers) -> bool:
        host = headers.get("host", "")
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site", "same-origin")
        try:
            if urlsplit(f"//{host}").hostname not in self._hosts:
                return False
            same = origin is None or urlsplit(origin).netloc == host
        except ValueError:  # no host and no origin can be read in it
            return False
        return same and (origin is not None or site != "cross-site" or _opens(headers))


def _opens(headers: Headers) -> bool:
    """Following a link into the workspace is welcome (it changes nothing); being framed by a foreign page is not."""
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
