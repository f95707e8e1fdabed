"""A front that keeps what it was asked, for tests of what stands before it."""

import threading
from dataclasses import dataclass, field
from typing import Any

from bot.ports import Press, Reply, Visitor


@dataclass
class RecordingFront:
    """Keeps what it was asked, and answers as it is told."""

    reply: Reply = field(default_factory=Reply)
    error: Exception | None = None
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    opened_with: list[tuple[Any, ...]] = field(default_factory=list)
    opened_error: Exception | None = None
    told: threading.Event = field(default_factory=threading.Event)

    def _answer(self, *call: Any) -> Reply:
        self.asked.append(call)
        if self.error:
            raise self.error
        return self.reply

    def press(self, press: Press, visitor: Visitor) -> Reply:
        return self._answer("press", press, visitor)

    def submit(self, press: Press, form: dict[str, Any], visitor: Visitor) -> Reply:
        return self._answer("submit", press, form, visitor)

    def opened(self, press: Press, view_id: str, visitor: Visitor) -> None:
        self.opened_with.append((press, view_id, visitor))
        self.told.set()
        if self.opened_error:
            raise self.opened_error

    def command(self, text: str, visitor: Visitor) -> Reply:
        return self._answer("command", text, visitor)

    def shortcut(self, callback_id: str, message: dict[str, Any] | None, visitor: Visitor) -> Reply:
        return self._answer("shortcut", callback_id, message, visitor)

    def event(self, kind: str, event: dict[str, Any], *, event_id: str, visitor: Visitor) -> None:
        self._answer("event", kind, event, event_id, visitor)
