"""Bring things to the app: one carrier at a time, events again until acknowledged, interactions once."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any, Protocol

from bot.workspace.protocol import Json
from bot.workspace.state import Workspace
from bot.workspace.store.outbox import Parcel

# So many events may be under way at once; the rest wait their turn in the outbox.
_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of one delivery.

    ``reason`` is empty when the app acknowledged, else Slack's word for the failure (``http_timeout``, ``timeout``,
    ``no_connection`` …). ``payload`` is what the acknowledgement carried. ``final``: the app asked not to be sent it again.
    """

    reason: str = ""
    payload: Any = None
    final: bool = False

    @property
    def acknowledged(self) -> bool:
        """Whether the app took it."""
        return not self.reason


class Carrier(Protocol):
    """A way to the app: Socket Mode or signed HTTP."""

    def ready(self) -> bool:
        """Whether the app can be reached at all just now."""

    async def send(self, kind: str, body: Json, *, accepts: bool, attempt: int = 0, reason: str = "") -> Reply:
        """Deliver one payload and wait for its acknowledgement.

        ``kind`` is events_api, interactive or slash_commands; ``accepts``: the acknowledgement may carry a payload;
        ``attempt`` counts retries from 0 and ``reason`` is why the one before failed.
        """


class Postman:
    """Empties the outbox: each event at once, and again after 0 s, 1 min and 5 min while it is not acknowledged."""

    def __init__(self, *, ws: Workspace, carrier: Carrier) -> None:
        self._ws = ws
        self._carrier = carrier
        self._under_way: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Deliver for ever. What is not acknowledged when this is cancelled stays in the outbox."""
        patient_until = asyncio.get_running_loop().time() + self._ws.timing.grace
        try:
            while True:
                self._ws.outbox_changed.clear()
                if self._carrier.ready() or asyncio.get_running_loop().time() >= patient_until:
                    self._start_due()
                await self._pause()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start_due(self) -> None:
        for seq in self._ws.outbox.due(self._ws.clock(), limit=_AT_ONCE * 2):
            parcel = self._ws.outbox.parcel(seq) if seq not in self._under_way and len(self._under_way) < _AT_ONCE else None
            if parcel is not None:
                self._under_way.add(seq)
                task = asyncio.create_task(self._deliver(parcel))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _pause(self) -> None:
        """Until something is queued or settled, or a retry falls due (looked for each half second: clocks can be moved)."""
        idle = self._ws.outbox.next_due() is None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ws.outbox_changed.wait(), timeout=None if idle else 0.5)

    async def _deliver(self, parcel: Parcel) -> None:
        try:
            reply = await self._carrier.send("events_api", parcel.body, accepts=False, attempt=parcel.attempt, reason=parcel.reason)
            self._settle(parcel, reply)
        finally:
            self._under_way.discard(parcel.seq)
            self._ws.outbox_changed.set()

    def _settle(self, parcel: Parcel, reply: Reply) -> None:
        ws = self._ws
        delays = ws.timing.retries
        if reply.acknowledged:
            ws.counters["events acknowledged"] += 1
            ws.outbox.drop(parcel.seq)
        elif reply.final or parcel.attempt >= len(delays):
            ws.counters["events given up"] += 1
            ws.outbox.drop(parcel.seq)
        else:
            ws.counters["events retried"] += 1
            ws.outbox.postpone(parcel.seq, due=ws.clock() + delays[parcel.attempt], reason=reply.reason)
