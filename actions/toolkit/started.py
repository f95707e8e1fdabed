"""What is started elsewhere and cannot be taken back: a job, a workflow. It is looked up by our key, because there is no other trace.

Before it is started, again when no clear answer came, and after a crash, it is looked for; only where it cannot be found does a person
have to look.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

from actions.comparing import deadline
from actions.contract import BackendError, CallInvalid, OutcomeUnknown, Unreachable
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json

UNKNOWN = "This cannot be said beforehand."


class Starting(ABC):
    """`read`, `propose`, `apply` and `find` in terms of `_exists`, `_found` and `_start`.

    `blind` says why nothing that was started is found again; None where the key goes along and can be seen.
    """

    starts: Operation
    blind: str | None

    @abstractmethod
    def _exists(self, call: Call, *, timeout: float) -> None:
        """Raise the contract's error if what would be started is not there, is switched off, or may not be seen."""

    @abstractmethod
    def _found(self, call: Call, *, key: str, timeout: float) -> Reading | None:
        """What was started under this key; None where nothing is seen of it."""

    @abstractmethod
    def _start(self, call: Call, *, key: str, timeout: float) -> Reading | None:
        """Start it; what the answer says of it, None where it says nothing."""

    @abstractmethod
    def _latest(self, call: Call, *, timeout: float) -> Reading:
        """How the latest one ended, for a diagnostic."""

    def read(self, call: Call, *, timeout: float) -> Reading:
        """For a diagnostic, how the latest one ended; before a start, that there is something to start, and nothing else."""
        if call.operation != self.starts.name:
            return self._latest(call, timeout=timeout)
        self._exists(call, timeout=timeout)
        return Reading()

    def find(self, call: Call, *, key: str, timeout: float) -> Reading | None:
        """As `actions.contract.Finding`.

        Raises:
            CallInvalid: no key goes along.
        """
        if self.blind is not None:
            raise CallInvalid(self.blind)
        return self._found(call, key=key, timeout=timeout)

    def propose(self, call: Call, reading: Reading) -> Proposal:  # noqa: ARG002 - the contract's signature
        """That it is started; what it does is its own business."""
        return Proposal(value=dict(call.arguments), before_text="not started", after_text="started", note=UNKNOWN)

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:  # noqa: ARG002
        """Start it once for each key.

        Raises:
            CallInvalid: an undo, which there is not.
            OutcomeUnknown: no clear answer came, and nothing is seen of it yet.
        """
        if value is None:
            raise CallInvalid(f"{call.target} was started and cannot be undone. A person looks at what it did.")
        left = deadline(timeout)
        started = once(
            look=lambda: self._found(call, key=key, timeout=left()),
            start=lambda: self._start(call, key=key, timeout=left()),
            what=f"{call.target} was started under {key}",
        )
        return started.model_copy(update={"value": value})


def once(*, look: Callable[[], Reading | None], start: Callable[[], Reading | None], what: str) -> Reading:
    """Start it unless a look finds it already; look again where no clear answer came.

    Raises:
        Unreachable: it could not be looked for; nothing was sent.
        OutcomeUnknown: no clear answer came, and nothing is seen of it yet; `what` says what a person has to look for.
    """
    try:
        there = look()
    except OutcomeUnknown as error:
        raise Unreachable(f"{error} Nothing was sent.") from error
    if there is not None:
        return there
    try:
        return start() or Reading(facts={"state": "started"})
    except OutcomeUnknown as doubt:
        try:
            there = look()
        except BackendError:
            there = None
        if there is None:
            raise OutcomeUnknown(f"{doubt} Look there whether {what}.") from doubt
        return there


def standing(what: str, *, state: str, value: float | None, url: str) -> str:
    """How something that was started stands, in words; `value` is 1 for a good end, 0 for any other, None while it has none."""
    stands = f"is {state}" if value is None else f"ended {'well' if value == 1 else 'badly'}: {state}"
    return f"{what} {stands.replace('_', ' ')}" + (f" ({url})" if url else "")


def plain_name(call: Call, *, form: str, parts: int, letters: str) -> tuple[str, ...]:
    """The parts of the call's target, each a plain name.

    Raises:
        CallInvalid: it has another form.
    """
    found = tuple((call.target or "").split("/"))
    wrong = any(not part or part in {".", ".."} or not set(part) <= set(letters) or len(part) > 200 for part in found)
    if len(found) != parts or wrong:
        raise CallInvalid(f"{(call.target or '')[:80]!r} is no target; write {form}. Nothing was sent.")
    return found
