"""Bad days on purpose: make the Web API fail in a chosen way, so many times, to see what the app does about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.workspace.protocol import SlackError

MODES = ("none", "error_500", "succeed_but_500", "ratelimited", "slow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """What goes wrong next: ``mode``, for how many more calls, of which method (empty: of any).

    error_500 refuses before anything is done; succeed_but_500 does it and loses the answer; ratelimited says 429 with
    ``Retry-After: 1``; slow answers after ``seconds``.
    """

    mode: str = "none"
    count: int = 0
    method: str = ""
    seconds: float = 1.0


class Chaos:
    """The present spell, used up call by call."""

    def __init__(self) -> None:
        self.spell = Spell()

    def cast(self, asked: Mapping[str, Any]) -> None:
        """Begin a spell (``mode``, ``count``, ``method``, ``seconds``).

        Raises:
            SlackError: invalid_arguments.
        """
        mode, count = asked.get("mode", "none"), asked.get("count", 1)
        seconds = asked.get("seconds", 1.0)
        if mode not in MODES or not isinstance(count, int) or not isinstance(seconds, int | float):
            raise SlackError("invalid_arguments")
        self.spell = Spell(mode=mode, count=count, method=str(asked.get("method", "")), seconds=float(seconds))

    def strikes(self, method: str) -> Spell | None:
        """The spell that hits this call, or None."""
        spell = self.spell
        if spell.mode == "none" or spell.count <= 0 or spell.method not in ("", method):
            return None
        self.spell = Spell(mode=spell.mode, count=spell.count - 1, method=spell.method, seconds=spell.seconds)
        return spell
