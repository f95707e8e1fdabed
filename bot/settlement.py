"""What a task's handler answers: what follows from its I/O, to be written in the transaction that settles the task."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from storage.database import Tx
from storage.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Done. `apply` writes what follows in the settling transaction."""

    apply: Callable[[Tx], Any] | None = None
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """Not yet: try again in `seconds`. `certain` says that nothing was done outside, so the next attempt is not in doubt.

    `throttled` means that the far side asked to wait, which does not use up the task's budget.
    """

    seconds: float
    certain: bool
    error: str = ""
    throttled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Buried:
    """Given up: shown to a person, never silent. `apply` says so where people look."""

    error: str
    apply: Callable[[Tx], Any] | None = None


Settlement = Settled | Postponed | Buried
Handler = Callable[[Task], Settlement]
