"""Socket Mode: up to ten connections of the app; each payload goes to one of them and is acknowledged there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from dataclasses import dataclass, field

from starlette.websockets import WebSocket, WebSocketDisconnect

from bot.workspace.delivery import Reply
from bot.workspace.protocol import CONNECTIONS, Json
from bot.workspace.state import Workspace


@dataclass(slots=True, eq=False)
class Connection:
    """One open socket of the app, and the envelopes that wait for its acknowledgement."""

    socket: WebSocket
    waiting: dict[str, asyncio.Future[Reply]] = field(default_factory=dict)
    open: bool = True


class Sockets:
    """All connections of the app; a ``Carrier``."""

    def __init__(self, *, ws: Workspace) -> None:
        self._ws = ws
        self._connections: list[Connection] = []
        self._turn = 0
        self._ending: list[asyncio.Task[None]] = []

    @property
    def count(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def ready(self) -> bool:
        """Whether the app has a connection."""
        return bool(self._connections)

    async def serve(self, socket: WebSocket) -> None:
        """Talk with one connection until it ends."""
        ticket = socket.query_params.get("ticket", "")
        if ticket not in self._ws.tickets:
            await socket.close(code=4401)
            return
        self._ws.tickets.discard(ticket)
        await socket.accept()
        if self.count >= CONNECTIONS:
            await socket.send_json(_disconnect("too_many_websockets"))
            await socket.close()
            return
        connection = Connection(socket=socket)
        self._connections.append(connection)
        self._ws.outbox_changed.set()
        timing = self._ws.timing
        life = timing.connection_life if not _debugging(socket) else timing.debug_connection_life
        clock = asyncio.create_task(self._end_of_life(connection, life))
        try:
            await socket.send_json(self._hello(life))
            await self._listen(connection)
        except WebSocketDisconnect:
            pass
        finally:
            clock.cancel()
            self._lose(connection)

    async def send(self, kind: str, body: Json, *, accepts: bool, attempt: int = 0, reason: str = "") -> Reply:
        """Deliver one payload over any one connection and wait for its acknowledgement."""
        connection = self._next()
        if connection is None:
            return Reply(reason="no_connection")
        envelope_id = str(uuid.uuid4())
        envelope: Json = {"envelope_id": envelope_id, "type": kind, "payload": body, "accepts_response_payload": accepts}
        if kind == "events_api":
            envelope |= {"retry_attempt": attempt, "retry_reason": reason}
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        connection.waiting[envelope_id] = answer
        try:
            await connection.socket.send_text(json.dumps(envelope))
            reply = await asyncio.wait_for(answer, timeout=self._ws.timing.ack)
        except TimeoutError:
            return Reply(reason="timeout")
        except (WebSocketDisconnect, RuntimeError):
            # Starlette raises RuntimeError for a send after the close was seen.
            return Reply(reason="no_connection")
        finally:
            connection.waiting.pop(envelope_id, None)
        return reply if accepts else Reply(reason=reply.reason)

    async def ask_to_reconnect(self, reason: str) -> None:
        """Send ``disconnect`` (warning, refresh_requested, link_disabled) on every connection; all but a warning end it."""
        for connection in list(self._connections):
            await self._dismiss(connection, reason)

    async def close(self) -> None:
        """End every connection, as when Slack goes down for a moment."""
        for task in self._ending:
            task.cancel()
        for connection in list(self._connections):
            self._lose(connection)
            await _closed(connection)

    async def _listen(self, connection: Connection) -> None:
        while connection.open:
            try:
                told = json.loads(await connection.socket.receive_text())
            except (json.JSONDecodeError, KeyError):
                continue
            waiting = connection.waiting.get(told.get("envelope_id", "")) if isinstance(told, dict) else None
            if waiting is not None and not waiting.done():
                waiting.set_result(Reply(payload=told.get("payload")))

    def _next(self) -> Connection | None:
        if not self._connections:
            return None
        self._turn += 1
        return self._connections[self._turn % len(self._connections)]

    def _lose(self, connection: Connection) -> None:
        connection.open = False
        if connection in self._connections:
            self._connections.remove(connection)
        for answer in connection.waiting.values():
            if not answer.done():
                answer.set_result(Reply(reason="no_connection"))

    async def _end_of_life(self, connection: Connection, life: float) -> None:
        warning = min(self._ws.timing.disconnect_warning, life)
        await asyncio.sleep(life - warning)
        await self._dismiss(connection, "warning")
        await asyncio.sleep(warning)
        await self._dismiss(connection, "refresh_requested")

    async def _dismiss(self, connection: Connection, reason: str) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await connection.socket.send_json(_disconnect(reason))
        if reason == "warning":
            return
        # Nothing new goes to a connection that was told to leave, but it may still acknowledge what it has.
        if connection in self._connections:
            self._connections.remove(connection)
        self._ending.append(asyncio.create_task(self._end_later(connection)))

    async def _end_later(self, connection: Connection) -> None:
        await asyncio.sleep(self._ws.timing.ack)
        self._lose(connection)
        await _closed(connection)
        self._ending = [task for task in self._ending if not task.done()]

    def _hello(self, life: float) -> Json:
        return {
            "type": "hello",
            "num_connections": self.count,
            "connection_info": {"app_id": self._ws.identity.app_id},
            "debug_info": {"host": "applink-local", "build_number": 1, "approximate_connection_time": int(life)},
        }


def _disconnect(reason: str) -> Json:
    return {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-local"}}


def _debugging(socket: WebSocket) -> bool:
    return socket.query_params.get("debug_reconnects") == "true"


async def _closed(connection: Connection) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await connection.socket.close()
