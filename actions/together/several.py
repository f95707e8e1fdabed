"""Several changes as one (rule S24): read all, propose all, made in order, and put back in reverse where one of them fails.

What is several targets to the far side is one target with one value to the runner, the flows and the audit. A change is made as a whole
or not at all: `OutcomeUnknown` is raised only where nobody can say, and then `standing` says exactly which part stands how.
"""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from actions.comparing import afterwards, deadline, same
from actions.contract import (
    Backend,
    BackendError,
    CallInvalid,
    Conflict,
    NotPermitted,
    OutcomeUnknown,
    Rejected,
    TargetMissing,
    Throttled,
    Unreachable,
)
from actions.wording import spoken
from runbooks.operation import SEVERAL, Call, Operation, Proposal, ProposedPart, Reading
from runbooks.severity import Tier
from runbooks.value import Json

FORWARD = 0.6
"""The share of the time limit for the way forward; the rest is kept for putting back, which must not run out of time."""

SEQUENCE = Operation(name=SEVERAL, title="Several changes as one", reads=False, tier=Tier.R1)
"""What a runbook's `steps` become. Its tier is only the lowest there is: a plan takes the highest of its parts."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One change of several: how people call it, by whom it is made, and the call."""

    name: str
    backend: Backend
    call: Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the parts stand between two states of the whole: `mixed` where some stand as before and others as wanted, `text` names each."""

    mixed: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    part: Part
    value: Json
    expected: Reading
    key: str


class AsOne(ABC):
    """A backend whose target is several targets of other backends. Its value holds theirs, and what it reads carries their readings."""

    @abstractmethod
    def _parts(self, call: Call) -> tuple[Part, ...]:
        """The parts, in the order in which they are changed.

        Raises:
            BackendError: they cannot be said, for example because the configuration has changed.
        """

    @abstractmethod
    def _whole(self, call: Call, parts: Sequence[Part], readings: Sequence[Reading]) -> Json:
        """The value of the whole, from those of the parts."""

    @abstractmethod
    def _values(self, parts: Sequence[Part], value: Json) -> tuple[Json, ...]:
        """The parts' values inside the value of the whole."""

    def read(self, call: Call, *, timeout: float) -> Reading:
        """How every part stands."""
        left = deadline(timeout)
        parts = self._parts(call)
        return self._reading(call, parts, [_asked(part, left) for part in parts])

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """Make every part as in `value`, in order; where one fails, put back those before it, in reverse.

        Raises:
            Conflict: somebody else changed a part; everything that was done is put back.
            Rejected: a part could not be changed; everything is as before.
            OutcomeUnknown: a part may or may not have been changed, or could not be put back.
        """
        parts = self._parts(call)
        wanted, before = self._values(parts, value), self._readings(parts, expected)
        moves = [
            _Move(part=part, value=goal, expected=stood, key=f"{key}/{number}")
            for number, (part, goal, stood) in enumerate(zip(parts, wanted, before, strict=True), start=1)
            if stood.value != goal
        ]
        return self._moved(call, moves, timeout=timeout, back=False)

    def take_back(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """Make every part as in `value` again, in reverse. A part that stands so already is left alone.

        Raises:
            Conflict: a part is neither as in `value` nor as `expected`: nothing was touched.
            Rejected: a part could not be taken back; those that were are set again.
            OutcomeUnknown: as for `apply`.
        """
        left = deadline(timeout)
        parts = self._parts(call)
        present = [_asked(part, left) for part in parts]
        goals, were = self._values(parts, value), self._readings(parts, expected)
        for part, now, goal, was in zip(parts, present, goals, were, strict=True):
            if now.value != goal and not same(now, was):
                how = "was changed and changed back" if now.value == was.value else "was changed"
                raise Conflict(f"{part.name} {how}{_by(now) or ' by somebody else'}.", current=self._reading(call, parts, present))
        moves = [
            _Move(part=part, value=goal, expected=now, key=f"{key}/{number}")
            for number, (part, goal, now) in enumerate(zip(parts, goals, present, strict=True), start=1)
            if now.value != goal
        ]
        return self._moved(call, moves[::-1], timeout=left(), back=True)

    def standing(self, call: Call, present: Reading, *, before: Reading, wanted: Json) -> Standing:
        """Which part stands how after a change of unknown outcome."""
        parts = self._parts(call)
        found: list[str] = []
        kinds: set[str] = set()
        for part, now, was, goal in zip(
            parts, self._readings(parts, present), self._readings(parts, before), self._values(parts, wanted), strict=True
        ):
            if was.value == goal == now.value:
                continue
            kind = "took effect" if now.value == goal else "did not" if now.value == was.value else "other"
            kinds.add(kind)
            found.append(f"{part.name} {kind}" if kind != "other" else f"{part.name} was changed{_by(now)}: now it is {spoken(now.value)}")
        return Standing(mixed=kinds == {"took effect", "did not"}, text=f"{'; '.join(found)}.")

    def _reading(self, call: Call, parts: Sequence[Part], readings: Sequence[Reading]) -> Reading:
        latest = max((one for one in readings if one.changed_at), key=lambda one: one.changed_at or 0, default=None)
        revisions = [one.revision for one in readings]
        facts: dict[str, Json] = {"parts": [one.model_dump(mode="json") for one in readings]}
        caveats = [f"{part.name}: {one.facts['caveat']}" for part, one in zip(parts, readings, strict=True) if one.facts.get("caveat")]
        return Reading(
            value=self._whole(call, parts, readings),
            facts=facts | ({"caveat": " ".join(caveats)} if caveats else {}),
            revision=" ".join(one for one in revisions if one) if all(revisions) else None,
            changed_by=latest.changed_by if latest else None,
            changed_at=latest.changed_at if latest else None,
        )

    def _readings(self, parts: Sequence[Part], reading: Reading) -> tuple[Reading, ...]:
        kept = reading.facts.get("parts")
        if isinstance(kept, list) and len(kept) == len(parts):
            return tuple(Reading.model_validate(one) for one in kept)
        if reading.value is None:
            return tuple(Reading() for _ in parts)
        return tuple(Reading(value=value) for value in self._values(parts, reading.value))

    def _moved(self, call: Call, moves: Sequence[_Move], *, timeout: float, back: bool) -> Reading:
        left, forward = deadline(timeout), deadline(timeout * FORWARD)
        done: list[tuple[_Move, Reading]] = []
        for move in moves:
            try:
                done.append((move, _made(move, forward, back=back)))
            except OutcomeUnknown as error:
                raise OutcomeUnknown(f"{_named(move.part, error)}{_so_far(done)}") from error
            except BackendError as error:
                _put_back(done, error, move, left, back=not back)
                raise self._certain(call, move.part, error, done, left) from error
        return afterwards(lambda: self.read(call, timeout=left()))

    def _certain(
        self, call: Call, part: Part, error: BackendError, done: Sequence[tuple[_Move, Reading]], left: Callable[[], float]
    ) -> BackendError:
        """Nothing is changed any more; what was, was put back."""
        back = f" Put back as before: {', '.join(move.part.name for move, _ in reversed(done))}." if done else ""
        text = f"{_named(part, error)}{back}"
        if not isinstance(error, Conflict):
            return _alike(error, text)
        try:
            return Conflict(text, current=self.read(call, timeout=left()))
        except TargetMissing as missing:
            return missing
        except BackendError:  # how the others stand cannot be said; that nothing is changed can
            return Rejected(text)


class Several(AsOne):
    """The calls that a runbook's sequence lists, each at its own backend. Implements `actions.contract.Backend`.

    `serving` answers by whom a call is carried out. The parts stand in the call's arguments, so that plan and approval hold all of them.
    """

    name = SEVERAL
    environment: str | None = None
    world: str | None = None
    operations: tuple[Operation, ...] = (SEQUENCE,)

    def __init__(self, serving: Callable[[Call], Backend]) -> None:
        self._serving = serving

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """What every part would become."""
        parts = self._parts(call)
        made = [
            tried(part, lambda part=part, one=one: part.backend.propose(part.call, one))  # type: ignore[misc]
            for part, one in zip(parts, self._readings(parts, reading), strict=True)
        ]
        shown = tuple(
            ProposedPart(
                name=part.name, target=part.call.target or part.call.operation, before_text=one.before_text, after_text=one.after_text
            )
            for part, one in zip(parts, made, strict=True)
        )
        return Proposal(
            value=[one.value for one in made],
            before_text=", ".join(f"{one.target} {one.before_text}" for one in shown),
            after_text=", ".join(f"{one.target} {one.after_text}" for one in shown),
            note=_noted(parts, made),
            parts=shown,
        )

    def _parts(self, call: Call) -> tuple[Part, ...]:
        calls = [Call.model_validate(one) for one in call.arguments["parts"]]
        targets = Counter(one.target for one in calls)
        names = [one.target if one.target and targets[one.target] == 1 else f"{one.operation} {one.target or ''}".strip() for one in calls]
        return tuple(Part(name=name, backend=self._serving(one), call=one) for name, one in zip(names, calls, strict=True))

    def _whole(self, call: Call, parts: Sequence[Part], readings: Sequence[Reading]) -> Json:  # noqa: ARG002 - the signature of the whole
        return [one.value for one in readings]

    def _values(self, parts: Sequence[Part], value: Json) -> tuple[Json, ...]:
        if not isinstance(value, list) or len(value) != len(parts):
            raise CallInvalid("These are not the values of this sequence; nothing was sent. Plan again.")
        return tuple(value)


def several(calls: Sequence[Call], *, environment: str | None, service: str | None) -> Call:
    """Several calls as one."""
    target = " + ".join(dict.fromkeys(call.target or call.operation for call in calls))
    listed = [call.model_dump(mode="json") for call in calls]
    return Call(operation=SEVERAL, arguments={"parts": listed}, target=target, environment=environment, service=service)


def _asked(part: Part, left: Callable[[], float]) -> Reading:
    return tried(part, lambda: part.backend.read(part.call, timeout=left()))


def _noted(parts: Sequence[Part], made: Sequence[Proposal]) -> str:
    """What the parts' proposals add. What holds of all is said once, what holds of some is said of whom."""
    notes = [(part.name, one.note) for part, one in zip(parts, made, strict=True) if one.note]
    if len(notes) == len(made) and len({note for _, note in notes}) == 1:
        return notes[0][1]
    return " ".join(f"{name}: {note}" for name, note in notes)


def tried(part: Part, work: Callable[[], Answer]) -> Answer:
    """What the part's backend answers; its errors name the part."""
    try:
        return work()
    except BackendError as error:
        raise _alike(error, _named(part, error)) from error


def _made(move: _Move, left: Callable[[], float], *, back: bool) -> Reading:
    """One change. An answer that shows another value proves nothing; a change without an answer may be seen to have come through.

    A part that is several itself is taken `back` in its own reverse order.
    """
    part = move.part
    change = part.backend.take_back if back and isinstance(part.backend, AsOne) else part.backend.apply
    try:
        after = change(part.call, move.value, expected=move.expected, key=move.key, timeout=left())
    except OutcomeUnknown:
        after = afterwards(lambda: part.backend.read(part.call, timeout=left()))
        if after.value != move.value or after.facts.get("caveat"):  # done in part is not done
            raise
    if after.value != move.value:
        raise OutcomeUnknown("the change was accepted, and another value is shown")
    return after


def _put_back(done: Sequence[tuple[_Move, Reading]], error: BackendError, failed: _Move, left: Callable[[], float], *, back: bool) -> None:
    """Undo what was done, in reverse; `back` says that this is the way back, and not that of an undo that failed.

    Raises:
        OutcomeUnknown: a part could not be put back; the text names it.
    """
    for move, after in reversed(done):
        again = _Move(part=move.part, value=move.expected.value, expected=after, key=f"{move.key}/back")
        try:
            _made(again, left, back=back)
        except BackendError as worse:
            reason = f"{_named(failed.part, error)} And what was done before it could not be put back: {_named(move.part, worse)}"
            raise OutcomeUnknown(reason) from worse


def _so_far(done: Sequence[tuple[_Move, Reading]]) -> str:
    return f" Changed before it: {', '.join(move.part.name for move, _ in done)}." if done else ""


def _named(part: Part, error: BackendError) -> str:
    text = str(error).rstrip(".")
    said = re.search(rf"(?<!\w){re.escape(part.name)}(?!\w)", text)
    return f"{text}." if said else f"{part.name}: {text}."


def _alike(error: BackendError, text: str) -> BackendError:
    if isinstance(error, Throttled):
        return Throttled(text, retry_after=error.retry_after)
    kinds = (CallInvalid, TargetMissing, NotPermitted, Rejected, Unreachable)
    return next((kind(text) for kind in kinds if isinstance(error, kind)), OutcomeUnknown(text))


def _by(reading: Reading) -> str:
    who = (reading.changed_by or "").split("/")[0]
    return f" by {who}" if who else ""
