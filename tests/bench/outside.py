"""The outside that answers at once: Slack's Web API and a Prometheus, as little of each as Muster calls. It notes when each call came whole."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast
from urllib.parse import parse_qs

_VECTOR = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"customer": "Northwind"}, "value": [0, "0.31"]}]}}


@dataclass(slots=True)
class Outside:
    """What was called, and when. `posted` holds the moment (`perf_counter`) and the arguments, as JSON, of each chat.postMessage."""

    port: int = 0
    posted: list[tuple[float, str]] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    stamps: Any = field(default_factory=lambda: count(1))

    def answer(self, method: str, arguments: dict[str, Any], at: float) -> dict[str, Any]:
        """What Slack, or Prometheus, says."""
        self.calls[method] = self.calls.get(method, 0) + 1
        if method == "query":
            return _VECTOR
        if method in {"chat.postMessage", "chat.update"}:
            if method == "chat.postMessage":
                self.posted.append((at, json.dumps(arguments)))
            ts = arguments.get("ts") or f"{1_800_000_000 + next(self.stamps)}.000100"
            return {"ok": True, "channel": arguments.get("channel"), "ts": ts}
        known: dict[str, dict[str, Any]] = {
            "conversations.history": {"messages": [], "response_metadata": {"next_cursor": ""}},
            "conversations.replies": {"messages": [], "response_metadata": {"next_cursor": ""}},
            "conversations.list": {"channels": [{"id": "C0BENCH000", "name": "incidents"}], "response_metadata": {"next_cursor": ""}},
            "conversations.open": {"channel": {"id": "D0BENCH000"}},
            "views.open": {"view": {"id": "V0BENCH000"}},
        }
        return {"ok": True, **known.get(method, {})}


class _Peer(asyncio.Protocol):
    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (head := self._buffer.find(b"\r\n\r\n")) >= 0:
            first, *lines = self._buffer[:head].decode("latin-1").split("\r\n")
            headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            ends = head + 4 + int(headers.get("content-length", "0"))
            if len(self._buffer) < ends:
                return
            body, self._buffer = self._buffer[head + 4 : ends], self._buffer[ends:]
            self._answer(first.split(" ")[1], headers, body)

    def _answer(self, target: str, headers: dict[str, str], body: bytes) -> None:
        at = time.perf_counter()
        method = target.partition("?")[0].rpartition("/")[2]
        said = json.dumps(self._outside.answer(method, _arguments(headers, body), at)).encode()
        assert self._transport is not None
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))
        if headers.get("connection", "").lower() == "close":
            self._transport.close()


def _arguments(headers: dict[str, str], body: bytes) -> dict[str, Any]:
    if headers.get("content-type", "").startswith("application/json"):
        return dict(json.loads(body or b"{}"))
    return {key: values[0] for key, values in parse_qs(body.decode()).items()}


async def open_outside() -> tuple[Outside, asyncio.Server]:
    """Both on one free port of 127.0.0.1; the caller closes the server."""
    outside = Outside()
    server = await asyncio.get_running_loop().create_server(lambda: _Peer(outside), "127.0.0.1", 0)
    outside.port = server.sockets[0].getsockname()[1]
    return outside, server
