"""Compare-and-set for a far side that has none: look, compare, write, look again, with every error as certain as it really is.

Between the look and the write somebody else may still be faster: the window is one request wide, and the second look shows what came
of it. A far side with a compare-and-set of its own does not need this.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from actions.contract import BackendError, Conflict, OutcomeUnknown, Unreachable
from runbooks.operation import Call, Reading
from runbooks.value import Json


class TimeUp(Unreachable):
    """The time limit of the whole step ran out between two calls: nothing more was sent."""


def deadline(limit: float, *, monotonic: Callable[[], float] = time.monotonic) -> Callable[[], float]:
    """Seconds that are left of `limit`; raises `TimeUp` where nothing is, before anything more is sent."""
    ends = monotonic() + limit

    def left() -> float:
        rest = ends - monotonic()
        if rest <= 0:
            raise TimeUp(f"The time limit of {limit:.0f} s is over; nothing more was sent.")
        return rest

    return left


def same(one: Reading, other: Reading) -> bool:
    """Whether nothing was changed between two readings: by the far side's version where both have one, else by value."""
    if one.revision is not None and other.revision is not None:
        return one.revision == other.revision
    return bool(one.value == other.value)


class Comparing(ABC):
    """`apply` in terms of `read` and `_write`."""

    @abstractmethod
    def read(self, call: Call, *, timeout: float) -> Reading:
        """As `actions.contract.Backend.read`."""

    @abstractmethod
    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:
        """Send the change, and raise the contract's errors: `OutcomeUnknown` for whatever may have happened."""

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """Make the target's value `value` if it still is as `expected`. One that has it already is left alone: the same key again.

        Raises:
            Conflict: the target is not as expected.
            Unreachable: it could not be looked at beforehand, and nothing was sent.
            OutcomeUnknown: it was sent, and it is not known what came of it.
        """
        left = deadline(timeout)
        present = before(lambda: self.read(call, timeout=left()))
        if present.value == value:
            return present
        if not same(present, expected):
            raise Conflict(f"Someone else changed {call.target} meanwhile.", current=present)
        self._write(call, value, present=present, key=key, timeout=left())
        return afterwards(lambda: self.read(call, timeout=left()))


def before(look: Callable[[], Reading]) -> Reading:
    """A look before the change: whatever goes wrong with it, nothing was changed."""
    try:
        return look()
    except OutcomeUnknown as error:
        raise Unreachable(f"{error} Nothing was sent.") from error


def afterwards(look: Callable[[], Reading]) -> Reading:
    """A look after the change: whatever goes wrong with it, the change was sent."""
    try:
        return look()
    except BackendError as error:
        raise OutcomeUnknown(f"It was sent, and then: {error}") from error
