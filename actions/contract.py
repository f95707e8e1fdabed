"""The one contract to the outside: a backend reads, proposes and applies. Nothing else in Muster changes the world.

Errors that a backend may raise, and no others; `actions.testing` proves that every foreign error is mapped to one of them:

BackendError
├── CallInvalid       the arguments make no sense here: nothing was sent (say what would)
├── TargetMissing     the target is not there: nothing was changed
├── NotPermitted      the credentials are missing, wrong or too weak: nothing was changed
├── Rejected          the far side refused: nothing was changed
├── Conflict          someone else changed the target since `expected`: nothing was changed; carries the present reading
├── Throttled         too many requests: nothing was changed; carries seconds to wait
├── Unreachable       the connection was never made: nothing was changed
└── OutcomeUnknown    time limit, reset, 5xx on a change: it may have happened, so look before anything else
"""

from typing import Protocol, runtime_checkable

from runbooks.errors import MusterError
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json


class BackendError(MusterError):
    """The far side did not do as asked. The text says what to do next."""


class CallInvalid(BackendError):
    """The call cannot be meant as it stands."""


class TargetMissing(BackendError):
    """There is no such target."""


class NotPermitted(BackendError):
    """The far side does not let these credentials do this."""


class Rejected(BackendError):
    """The far side understood and refused."""


class Conflict(BackendError):
    """The target is not as expected."""

    def __init__(self, message: str, *, current: Reading) -> None:
        self.current = current
        super().__init__(message)


class Throttled(BackendError):
    """The far side asks to wait."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Unreachable(BackendError):
    """No connection: certain that nothing happened."""


class OutcomeUnknown(BackendError):
    """Sent, and no trustworthy answer came."""


class Backend(Protocol):
    """One system that Muster can ask and change.

    `timeout` is seconds left for the call; a backend passes it to every request it makes. Credentials are read at the moment of
    use (rule S18). A backend keeps no state between calls and is safe to use from several threads.

    `environment` is the only one it reaches (staging never touches production); None is for backends that touch no target of
    their own: readers of a shared system, people, paging. `world` names the simulated world it is confined to, None being the real
    one: a drill's registry takes nothing else (rule S27).
    """

    name: str
    environment: str | None
    world: str | None
    operations: tuple[Operation, ...]

    def read(self, call: Call, *, timeout: float) -> Reading:
        """The present state of the call's target, or a diagnostic's result. Never changes anything."""
        ...

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """What this call would make of `reading`. Pure: the same answer for the same input.

        Raises:
            CallInvalid: there is no such future, for example nothing to roll back to, or a bound would be passed.
        """
        ...

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """Make the target's value `value`, if it is still as `expected`; answer how it stands afterwards.

        `key` goes to the far side as idempotency key where it takes one. Undo is the same call with the value from before.

        Raises:
            Conflict: the target is no longer as expected.
            OutcomeUnknown: it may or may not have happened.
        """
        ...


@runtime_checkable
class Finding(Protocol):
    """A backend that finds again what it made under a key. It is asked where the target itself tells nothing (`looks` false)."""

    def find(self, call: Call, *, key: str, timeout: float) -> Reading | None:
        """What `apply` made under `key`, with how it stands in words as the fact `tells`. Changes nothing.

        None where nothing is seen of it, which proves nothing: what was just started may not be listed yet, or not any more.

        Raises:
            BackendError: it cannot be looked up; the text says why.
        """
        ...


@runtime_checkable
class Probing(Protocol):
    """A backend that can say whether it would work, for `muster check`."""

    def probe(self, *, timeout: float) -> str:
        """Whether the credentials are let in, in a sentence such as "signed in as muster, may change production". Changes nothing.

        Raises:
            BackendError: it would not work; the text says what to do.
        """
        ...
