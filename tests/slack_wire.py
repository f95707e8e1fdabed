"""Slack's Web API at the wire, small and scripted: it keeps what was posted, and fails on demand in every way that Slack does."""

import json
import socket
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

Json = Any


@dataclass
class Wire:
    """What the fake Slack holds. `fail[method]` is a queue of failures, each used up by one call."""

    port: int = 0
    calls: list[tuple[str, Json]] = field(default_factory=list)
    messages: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))
    members: set[str] = field(default_factory=set)
    public: set[str] = field(default_factory=set)
    fail: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    page: int = 200
    emails: dict[str, str] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        """The base address of the Web API."""
        return f"http://127.0.0.1:{self.port}/api/"

    def of(self, method: str) -> list[Json]:
        """The arguments of every call of one method."""
        with self.changed:
            return [arguments for name, arguments in self.calls if name == method]

    def wait_for(self, method: str, count: int = 1) -> list[Json]:
        """The calls of a method, once there are so many."""
        with self.changed:
            there = self.changed.wait_for(lambda: sum(name == method for name, _ in self.calls) >= count, timeout=5)
            assert there, f"no {method} among {[name for name, _ in self.calls]}"
            return [arguments for name, arguments in self.calls if name == method]

    def answer(self, method: str, arguments: Json) -> Json:
        """What Slack answers."""
        known = {
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
            "conversations.open": self._open,
            "conversations.join": self._join,
            "conversations.list": self._list,
            "views.open": self._view,
            "views.push": self._view,
            "users.lookupByEmail": self._by_email,
            "usergroups.users.list": self._group,
        }.get(method)
        return known(arguments) if known else {"ok": True}

    def _by_email(self, arguments: Json) -> Json:
        found = self.emails.get(arguments["email"])
        return {"ok": True, "user": {"id": found}} if found else {"ok": False, "error": "users_not_found"}

    def _group(self, arguments: Json) -> Json:
        found = self.groups.get(arguments["usergroup"])
        return {"ok": True, "users": found} if found is not None else {"ok": False, "error": "no_such_subteam"}

    def _post(self, arguments: Json) -> Json:
        channel = arguments["channel"]
        if channel not in self.members and not channel.startswith("D"):
            return {"ok": False, "error": "not_in_channel" if channel in self.public else "channel_not_found"}
        ts = f"{1_800_000_000 + len(self.messages[channel])}.000100"
        self.messages[channel].append({**arguments, "ts": ts})
        return {"ok": True, "channel": channel, "ts": ts}

    def _update(self, arguments: Json) -> Json:
        for message in self.messages[arguments["channel"]]:
            if message["ts"] == arguments["ts"]:
                message.update(arguments)
                return {"ok": True, "channel": arguments["channel"], "ts": arguments["ts"]}
        return {"ok": False, "error": "message_not_found"}

    def _history(self, arguments: Json) -> Json:
        found = [m for m in reversed(self.messages[arguments["channel"]]) if "thread_ts" not in m]
        return self._paged(found, arguments)

    def _replies(self, arguments: Json) -> Json:
        found = [m for m in self.messages[arguments["channel"]] if m.get("thread_ts") == arguments["ts"] or m["ts"] == arguments["ts"]]
        return self._paged(found, arguments)

    def _paged(self, found: list[Json], arguments: Json) -> Json:
        start = int(arguments.get("cursor") or 0)
        more = start + self.page < len(found)
        hide = str(arguments.get("include_all_metadata")).lower() not in {"1", "true"}
        page = [{k: v for k, v in m.items() if not (hide and k == "metadata")} for m in found[start : start + self.page]]
        return {"ok": True, "messages": page, "response_metadata": {"next_cursor": str(start + self.page) if more else ""}}

    def _open(self, arguments: Json) -> Json:
        return {"ok": True, "channel": {"id": f"D{arguments['users']}"}}

    def _join(self, arguments: Json) -> Json:
        if arguments["channel"] not in self.public:
            return {"ok": False, "error": "channel_not_found"}
        self.members.add(arguments["channel"])
        return {"ok": True}

    def _list(self, _: Json) -> Json:
        return {"ok": True, "channels": [{"id": "C0INC", "name": "incidents"}], "response_metadata": {"next_cursor": ""}}

    def _view(self, arguments: Json) -> Json:
        return {"ok": True, "view": {"id": f"V{len(self.calls)}", **arguments["view"]}}


class _Handler(BaseHTTPRequestHandler):
    wire: Wire

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        """Serve one call, or fail as told."""
        method = self.path.partition("?")[0].rpartition("/")[2]
        arguments = self._arguments()
        with self.wire.changed:
            how = self.wire.fail[method].popleft() if self.wire.fail[method] else ""
            answered = self.wire.answer(method, arguments) if how in {"", "lost", "500 after"} else {}
            self.wire.calls.append((method, arguments))
            self.wire.changed.notify_all()
        self._reply(how, answered)

    def _arguments(self) -> Json:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        query = {key: values[0] for key, values in parse_qs(self.path.partition("?")[2]).items()}
        if (self.headers.get("Content-Type") or "").startswith("application/json"):
            return {**query, **json.loads(raw or "{}")}
        return {**query, **{key: values[0] for key, values in parse_qs(raw).items()}}

    def _reply(self, how: str, answered: Json) -> None:
        if how in {"lost", "reset"}:
            # A hard close: the client sees the connection reset, as when Slack's front end dies.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif how == "429":
            self._send(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "7"})
        elif how.startswith("500"):
            self._send(500, None, {})
        elif how == "html":
            self._send(200, None, {})
        elif how:
            self._send(200, {"ok": False, "error": how}, {})
        else:
            self._send(200, answered, {})

    def _send(self, status: int, data: Json, headers: dict[str, str]) -> None:
        body = json.dumps(data).encode() if data is not None else b"<html>Sorry</html>"
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if data is not None else "text/html")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A connection that the script has cut is no error."""


@contextmanager
def serving() -> Iterator[Wire]:
    """A fake Slack on a free port of 127.0.0.1."""
    wire = Wire(members={"C1"})
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"wire": wire}))
    wire.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
