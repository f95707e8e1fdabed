"""A client that costs little: keep-alive connections, requests made beforehand, one event loop. It shares the machine with what it measures."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import cast

PATIENCE = 30.0  # seconds


@dataclass(slots=True)
class Sent:
    """What came of a load: answers by status, and how long each took, in seconds."""

    statuses: dict[int, int] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)
    seconds: float = 0.0
    lost: int = 0

    @property
    def accepted(self) -> int:
        """How many were answered with 2xx."""
        return sum(count for status, count in self.statuses.items() if 200 <= status < 300)

    @property
    def rate(self) -> float:
        """Accepted requests a second."""
        return self.accepted / self.seconds if self.seconds else 0.0

    def check(self) -> "Sent":
        """Raise where anything but 2xx came: a refusal is quick, and would be measured as speed."""
        if self.lost or self.accepted != sum(self.statuses.values()) or not self.accepted:
            raise AssertionError(f"not everything was accepted: {self.statuses}, {self.lost} connections lost")
        return self


class _Connection(asyncio.Protocol):
    """One sender: the next request leaves when the last one is answered."""

    def __init__(self, take: Callable[[], bytes | None], sent: Sent) -> None:
        self._take, self._sent = take, sent
        self._buffer = b""
        self._began = 0.0
        self._transport: asyncio.Transport | None = None
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0 or len(self._buffer) < head + 4 + _length(self._buffer[:head]):
            return
        status = int(self._buffer[9:12])
        self._buffer = b""
        self._sent.took.append(time.perf_counter() - self._began)
        self._sent.statuses[status] = self._sent.statuses.get(status, 0) + 1
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self._sent.lost += 1
            self.finished.set_result(None)

    def _next(self) -> None:
        assert self._transport is not None
        request = self._take()
        if request is None:
            if not self.finished.done():
                self.finished.set_result(None)
            self._transport.close()
            return
        self._began = time.perf_counter()
        self._transport.write(request)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


async def flood(port: int, requests: list[bytes], *, connections: int, seconds: float) -> Sent:
    """Send as fast as answers come, for so many seconds; requests begin again at the first when all are used."""
    loop = asyncio.get_running_loop()
    sent, source, began = Sent(), cycle(requests), time.perf_counter()
    ends = began + seconds

    def take() -> bytes | None:
        return next(source) if time.perf_counter() < ends else None

    made = [await loop.create_connection(lambda: _Connection(take, sent), "127.0.0.1", port) for _ in range(connections)]
    await asyncio.wait_for(asyncio.gather(*(protocol.finished for _, protocol in made)), seconds + PATIENCE)
    sent.seconds = time.perf_counter() - began
    return sent


async def paced(port: int, requests: list[bytes], *, every: float, on_sent: Callable[[int, float], None] | None = None) -> Sent:
    """Send one request each `every` seconds over one connection; `on_sent` hears the number and the moment of each."""
    sent, began = Sent(), time.perf_counter()
    for position, request in enumerate(requests):
        await asyncio.sleep(max(0.0, began + position * every - time.perf_counter()))
        if on_sent:
            on_sent(position, time.perf_counter())
        await _one(port, request, sent)
    sent.seconds = time.perf_counter() - began
    return sent


async def _one(port: int, request: bytes, sent: Sent) -> None:
    feed: Iterator[bytes] = iter([request])
    _, protocol = await asyncio.get_running_loop().create_connection(lambda: _Connection(lambda: next(feed, None), sent), "127.0.0.1", port)
    await asyncio.wait_for(protocol.finished, PATIENCE)


def post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The bytes of one POST request."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def alert(*labels: dict[str, str], starts_at: str) -> bytes:
    """What Alertmanager delivers for these alerts (webhook format version 4), with the fields that it really sends."""
    alerts = [
        {
            "status": "firing",
            "labels": one,
            "annotations": {
                "summary": f"{one['alertname']} on {one.get('instance', 'a host')}",
                "description": "p99 latency is above 500 ms.",
            },
            "startsAt": starts_at,
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": f"http://prometheus.example.com/graph?g0.expr={one['alertname']}",
            "fingerprint": hashlib.blake2b(repr(sorted(one.items())).encode(), digest_size=8).hexdigest(),
        }
        for one in labels
    ]
    shared = {"alertname": labels[0]["alertname"]}
    body = {
        "receiver": "muster",
        "status": "firing",
        "alerts": alerts,
        "groupLabels": shared,
        "commonLabels": shared,
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example.com",
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{shared["alertname"]}"}}',
        "truncatedAlerts": 0,
    }
    return json.dumps(body).encode()
