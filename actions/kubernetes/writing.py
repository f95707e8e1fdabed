"""Compare-and-set by `resourceVersion`, for targets whose status changes all the time.

A `resourceVersion` moves whenever a pod becomes ready, so it cannot be what a plan is bound to. A reading's revision tells of the part
that people set; the write itself names the `resourceVersion` seen a moment before, and where only the status has moved it is done again.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from actions.comparing import deadline, same
from actions.contract import BackendError, Conflict, OutcomeUnknown, Rejected, Unreachable
from actions.kubernetes.cluster import WHO, Thing, dig
from actions.toolkit.understood import understood
from runbooks.operation import Call, Reading
from runbooks.value import Json

T = TypeVar("T")
ATTEMPTS = 8  # an object whose status moves faster than we write eight times is in trouble of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A target as it was seen: the reading, and the object that it was made from."""

    reading: Reading
    thing: Thing

    @property
    def version(self) -> str:
        """Its `resourceVersion`."""
        return str(dig(self.thing, "metadata", "resourceVersion") or "")


Look = Callable[[float], Seen]
"""Look at the target within so many seconds."""

Send = Callable[[Seen, float], Reading | None]
"""Write on the version seen, within so many seconds, and say how it stands; None where that version is no longer the present one."""


def digest(thing: Thing, part: Json) -> str:
    """A revision that moves with this part of the object alone.

    An object's generation would not do: an autoscaler moves it, an annotation does, and another action on the same object too, and
    none of them is a reason not to take a change back. What was changed and changed back counts as unchanged.
    """
    text = json.dumps(part, sort_keys=True, separators=(",", ":"))
    return f"{dig(thing, 'metadata', 'uid')}/{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def compare_and_set(
    call: Call, value: Json, *, expected: Reading, look: Look, send: Send, done: Callable[[Seen], bool], timeout: float
) -> Reading:
    """Make the target's value `value` if it still is as `expected`. `done` says whether what is seen is this very change, made before.

    Raises:
        Conflict: somebody else changed it; nothing was written.
        Unreachable: it could not be looked at beforehand, or not in full; nothing was written.
        Rejected: its status moved faster than it could be written; nothing was.
        OutcomeUnknown: it was written, and it is not known what came of it.
    """
    left = deadline(timeout)
    for _ in range(ATTEMPTS):
        seen = unchanged(lambda: look(left()))
        if seen.reading.value == value and (same(seen.reading, expected) or done(seen)):
            return seen.reading
        if not same(seen.reading, expected):
            raise Conflict(f"Someone else changed {call.target} meanwhile.", current=seen.reading)
        if not seen.version:  # a write that names none would overwrite whatever is there
            raise Unreachable(f"{WHO} describes {call.target} without its resourceVersion, so it was not written. Nothing was changed.")
        with understood(WHO):
            written = send(seen, left())
        if written is not None:
            return written
    raise Rejected(f"{WHO} keeps changing the status of {call.target}; nothing was changed. Try again in a moment.")


def unchanged(look: Callable[[], T]) -> T:
    """A look before the change: whatever goes wrong with it, nothing was changed.

    Raises:
        Unreachable: no trustworthy answer came.
        BackendError: any other error of the look, as it is.
    """
    try:
        with understood(WHO):
            return look()
    except OutcomeUnknown as error:
        raise Unreachable(f"{error} Nothing was changed.") from error


def accepted(read: Callable[[], Reading]) -> Reading:
    """The reading of what the server answered to a change; one that cannot be read was a change all the same.

    Raises:
        OutcomeUnknown: it cannot be read.
    """
    try:
        with understood(WHO):
            return read()
    except BackendError as error:
        raise OutcomeUnknown(f"{WHO} accepted the change and answered something that cannot be read.") from error
