"""What stands between Muster and others at the wire: a proxy that spoils changes, and Slack's signature on payloads of our own."""

import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode

import httpx


class Proxy:
    """Passes everything on to `target`, and treats each PUT as `mode` says; reading is never spoilt.

    `reset` drops it before it acts, `act_then_500` and `act_then_hang` pass it on and spoil the answer, `hang` never answers,
    `refuse` answers 422 with `body`. `puts` counts what reached the far side.
    """

    def __init__(self, target: str) -> None:
        self.target, self.mode, self.body, self.puts = target, "pass", "", 0
        self.released = threading.Event()
        self.http = httpx.Client(timeout=10.0)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def _handler(proxy: "Proxy") -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler's own self is another
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

            def _any(self) -> None:
                proxy.serve(self)

            do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815 - http.server's names

        return Handler

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """One request, passed on or spoilt."""
        content = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        mode = self.mode if request.command == "PUT" else "pass"
        if mode == "refuse":
            return self._answer(request, 422, self.body.encode())
        if mode == "reset":
            return self._drop(request)
        if mode == "hang":
            self.released.wait(60)
            return self._drop(request)
        headers = {"content-type": request.headers.get("Content-Type") or "application/json"}
        answer = self.http.request(request.command, f"{self.target}{request.path}", content=content, headers=headers)
        self.puts += request.command == "PUT"
        if mode == "act_then_hang":
            self.released.wait(60)
            return self._drop(request)
        return self._answer(request, 500 if mode == "act_then_500" else answer.status_code, answer.content)

    def _answer(self, request: BaseHTTPRequestHandler, status: int, content: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _drop(self, request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        request.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(target: str) -> Iterator[Proxy]:
    """A proxy in front of `target`."""
    proxy = Proxy(target)
    thread = threading.Thread(target=proxy.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.released.set()
        proxy.server.shutdown()
        thread.join()
        proxy.server.server_close()
        proxy.http.close()


def signed(body: bytes, *, secret: str, content_type: str = "application/json", at: float | None = None) -> dict[str, str]:
    """Slack's headers for a body (docs.slack.dev, Verifying requests from Slack)."""
    stamp = str(int(at if at is not None else time.time()))
    digest = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {"content-type": content_type, "x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={digest}"}


def button_payload(
    *, user: str, channel: str, press: dict[str, Any], thread: str | None = None, trigger: str | None = None
) -> dict[str, Any]:
    """A `block_actions` payload as Slack would send it for a button that carries `press`, in Muster's own short names."""
    about = [press.get(key) for key in ("i", "s", "r", "m")]
    name = ".".join(["muster", str(press["k"]), *(str(part) for part in about if part is not None)])
    message = {"ts": "1700000000.000001", "text": "a card", **({"thread_ts": thread} if thread else {})}
    return {
        "type": "block_actions",
        "team": {"id": "T01HARBOR0", "domain": "harbor"},
        "user": {"id": user, "username": "somebody", "team_id": "T01HARBOR0"},
        "api_app_id": "A01MUSTER0",
        "container": {"type": "message", "message_ts": message["ts"], "channel_id": channel, "is_ephemeral": False},
        "channel": {"id": channel, "name": "incidents"},
        "message": message,
        "actions": [{"type": "button", "block_id": "b", "action_id": name, "value": json.dumps({"v": 1, **press}), "action_ts": "1.0"}],
        **({"trigger_id": trigger} if trigger else {}),
    }


def form(payload: dict[str, Any]) -> bytes:
    """An interactive payload as Slack's HTTP body."""
    return urlencode({"payload": json.dumps(payload)}).encode()
