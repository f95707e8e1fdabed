"""What happens, pushed to the browsers that look at it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

from bot.workspace.protocol import Json

# A browser this far behind is not reading; it is let go, and loads everything anew when it comes back.
_BACKLOG = 2000


@dataclass(slots=True, eq=False)
class Listener:
    """One open browser window. ``None`` in the queue means: close."""

    user: str
    queue: asyncio.Queue[Json | None] = field(default_factory=lambda: asyncio.Queue(maxsize=_BACKLOG))


class Hub:
    """Pushes are held back until the change behind them is committed, and dropped when it is not."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._held: list[tuple[Json, frozenset[str] | None]] = []
        self.seq = 0

    def join(self, user: str) -> Listener:
        """Start to listen as somebody."""
        listener = Listener(user=user)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Stop listening."""
        self._listeners.discard(listener)

    def is_listening(self, user: str) -> bool:
        """Whether a window is open as somebody."""
        return any(listener.user == user for listener in self._listeners)

    def push(self, event: Json, *, to: Collection[str] | None) -> None:
        """Tell these people (None: everybody) once the transaction is committed."""
        self._held.append((event, None if to is None else frozenset(to)))

    def discard(self) -> None:
        """Forget what was held back: the change did not happen."""
        self._held.clear()

    def flush(self) -> None:
        """Send what was held back."""
        held, self._held = self._held, []
        for event, to in held:
            self.seq += 1
            for listener in list(self._listeners):
                if to is None or listener.user in to:
                    self._send(listener, {"seq": self.seq, **event})

    def close(self) -> None:
        """Ask every window to close."""
        for listener in list(self._listeners):
            self._let_go(listener)

    def _send(self, listener: Listener, event: Json) -> None:
        try:
            listener.queue.put_nowait(event)
        except asyncio.QueueFull:
            self._let_go(listener)

    def _let_go(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        while not listener.queue.empty():
            listener.queue.get_nowait()
        listener.queue.put_nowait(None)
