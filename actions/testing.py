"""The fake that ships with the product, and the checks that every backend must pass: the fake and each real one alike."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from actions.contract import Backend, CallInvalid, Conflict, OutcomeUnknown, TargetMissing, Unreachable
from runbooks.operation import Argument, ArgumentType, Call, Operation, Proposal, Reading
from runbooks.severity import Tier
from runbooks.value import Json

SET = Operation(
    name="thing.set",
    title="Set a thing",
    reads=False,
    tier=Tier.R1,
    target="target",
    arguments={
        "target": Argument(type=ArgumentType.TEXT),
        "value": Argument(type=ArgumentType.NUMBER, minimum=0, maximum=100),
    },
    sample={"value": 1},
)
ASK = Operation(
    name="thing.ask",
    title="Ask about a thing",
    reads=True,
    arguments={"about": Argument(type=ArgumentType.TEXT)},
    sample={"rows": [], "value": 1.0},
)


class Chaos(StrEnum):
    """What goes wrong with the next change."""

    NONE = "none"
    BEFORE = "before"  # certain: no connection, nothing was changed
    AFTER = "after"  # it was changed, and the answer got lost
    HANG = "hang"  # nothing was changed, and no answer came
    CONFLICT = "conflict"  # somebody else was faster


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One change that really happened."""

    target: str
    value: Json
    key: str
    at: datetime


@dataclass(slots=True)
class _Thing:
    value: Json
    version: int = 1
    by: str = "somebody"


@dataclass(slots=True)
class RecordingBackend:
    """Things in memory, changed by compare-and-set, with every effect written down. Implements `actions.contract.Backend`.

    `answers` are what `thing.ask` says, by its argument; a missing one is an unreachable server.
    """

    things: dict[str, _Thing] = field(default_factory=dict)
    answers: dict[str, Json] = field(default_factory=dict)
    environment: str | None = "production"
    world: str | None = None
    chaos: Chaos = Chaos.NONE
    effects: list[Effect] = field(default_factory=list)
    reads: int = 0
    name: str = "recording"
    operations: tuple[Operation, ...] = (SET, ASK)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _done: dict[str, Reading] = field(default_factory=dict)

    def put(self, target: str, value: Json, *, by: str = "somebody") -> None:
        """Change a thing from outside, as another person would."""
        with self._lock:
            there = self.things.get(target)
            self.things[target] = _Thing(value=value, version=there.version + 1 if there else 1, by=by)

    def read(self, call: Call, *, timeout: float) -> Reading:  # noqa: ARG002 - the contract's signature
        """The thing, or an answer that was laid ready."""
        self.reads += 1
        if call.operation == ASK.name:
            about = str(call.arguments["about"])
            if about not in self.answers:
                raise Unreachable("The recording cannot be reached; nothing was sent.")
            return Reading(value=self.answers[about])
        with self._lock:
            return self._reading(call)

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The value asked for, from 0 to 100."""
        if not 0 <= call.arguments["value"] <= 100:
            raise CallInvalid(f"{call.target} takes 0 to 100.")
        value = {"value": call.arguments["value"]}
        return Proposal(value=value, before_text=f"value {reading.value['value']}", after_text=f"value {value['value']}")

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:  # noqa: ARG002
        """Change the thing once for each key, if it is as expected; or fail in the way that `chaos` says."""
        chaos, self.chaos = self.chaos, Chaos.NONE
        if chaos is Chaos.BEFORE:
            raise Unreachable("The recording cannot be reached; nothing was sent.")
        if chaos is Chaos.HANG:
            raise OutcomeUnknown("The recording did not answer within 1 s.")
        if chaos is Chaos.CONFLICT and call.target:
            self.put(call.target, {"value": 99}, by="ben")
        with self._lock:
            after = self._changed(call, value, expected=expected, key=key)
        if chaos is Chaos.AFTER:
            raise OutcomeUnknown("The recording broke off without a whole answer.")
        return after

    def _changed(self, call: Call, value: Json, *, expected: Reading, key: str) -> Reading:
        if key in self._done:
            return self._done[key]
        present = self._reading(call)
        if present.revision != expected.revision:
            raise Conflict(f"Someone else changed {call.target} meanwhile.", current=present)
        thing = self.things[call.target or ""]
        thing.value, thing.version, thing.by = value, thing.version + 1, f"muster/{key}"
        self.effects.append(Effect(target=call.target or "", value=value, key=key, at=datetime.now(UTC)))
        self._done[key] = self._reading(call)
        return self._done[key]

    def _reading(self, call: Call) -> Reading:
        thing = self.things.get(call.target or "")
        if thing is None:
            raise TargetMissing(f"The recording has no {call.target}.")
        return Reading(value=thing.value, revision=str(thing.version), changed_by=thing.by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A backend to be checked: a fresh one, a call that changes one target, a missing target, and a way to change it from outside.

    `other` is a second value that the target may be given, different from what `call` proposes and from the present one.
    `atomic` is false for a far side without a compare-and-set of its own (`actions.comparing`): two at once may then both be told yes.
    """

    backend: Backend
    call: Call
    missing: Call
    other: Json
    change_outside: Callable[[Json], None]
    invalid: Call | None = None
    atomic: bool = True


Check = Callable[[Subject], None]
TIMEOUT = 10.0


def reads_without_changing(subject: Subject) -> None:
    """Reading twice gives the same, and a proposal is the same for the same reading."""
    first, second = (subject.backend.read(subject.call, timeout=TIMEOUT) for _ in range(2))
    assert (first.value, first.revision) == (second.value, second.revision)
    assert subject.backend.propose(subject.call, first) == subject.backend.propose(subject.call, first)
    assert subject.backend.read(subject.call, timeout=TIMEOUT).value == first.value


def applies_what_was_proposed(subject: Subject) -> None:
    """After `apply` the target is as proposed, in the answer and when read again."""
    before, proposal, after = _applied(subject, key="k1")
    assert before.value != proposal.value
    assert after.value == proposal.value
    again = subject.backend.read(subject.call, timeout=TIMEOUT)
    assert (again.value, again.revision) == (after.value, after.revision)


def undoes_by_the_same_call(subject: Subject) -> None:
    """The value from before can be put back, and then stands."""
    before, _, after = _applied(subject, key="k2")
    undone = subject.backend.apply(subject.call, before.value, expected=after, key="k2-undo", timeout=TIMEOUT)
    assert undone.value == before.value == subject.backend.read(subject.call, timeout=TIMEOUT).value


def repeats_a_key_without_effect(subject: Subject) -> None:
    """The same key again neither changes anything more nor fails, even though the target is no longer as it was expected."""
    before, proposal, after = _applied(subject, key="k3")
    again = subject.backend.apply(subject.call, proposal.value, expected=before, key="k3", timeout=TIMEOUT)
    assert again.value == after.value
    assert subject.backend.read(subject.call, timeout=TIMEOUT).revision == after.revision


def never_overwrites_a_stranger(subject: Subject) -> None:
    """A target that somebody changed meanwhile is left alone, and the conflict carries how it stands now."""
    before = subject.backend.read(subject.call, timeout=TIMEOUT)
    wanted = subject.backend.propose(subject.call, before).value
    subject.change_outside(subject.other)
    try:
        subject.backend.apply(subject.call, wanted, expected=before, key="k4", timeout=TIMEOUT)
    except Conflict as refused:
        seen = refused.current.value
    else:
        raise AssertionError("a stranger's change was overwritten")
    assert seen == subject.other
    assert subject.backend.read(subject.call, timeout=TIMEOUT).value == subject.other


def lets_one_of_two_win(subject: Subject) -> None:
    """Of two changes made at once from the same reading, one takes effect and the other is told; without `atomic` both may be told yes."""
    before = subject.backend.read(subject.call, timeout=TIMEOUT)
    wanted = subject.backend.propose(subject.call, before).value
    ends: list[str] = []

    def change(key: str) -> None:
        try:
            subject.backend.apply(subject.call, wanted, expected=before, key=key, timeout=TIMEOUT)
        except Conflict:
            ends.append("conflict")
        else:
            ends.append("applied")

    threads = [threading.Thread(target=change, args=(key,)) for key in ("k5", "k6")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["applied", "conflict"] or (not subject.atomic and ends == ["applied", "applied"])
    assert subject.backend.read(subject.call, timeout=TIMEOUT).value == wanted


def names_a_missing_target(subject: Subject) -> None:
    """What is not there is `TargetMissing`, when read and when changed."""

    def read() -> None:
        subject.backend.read(subject.missing, timeout=TIMEOUT)

    def change() -> None:
        subject.backend.apply(subject.missing, subject.other, expected=Reading(revision="1"), key="k7", timeout=TIMEOUT)

    for attempt in (read, change):
        try:
            attempt()
        except TargetMissing:
            continue
        raise AssertionError("a missing target was not named")


def refuses_the_senseless(subject: Subject) -> None:
    """A call out of bounds is refused while planning, before anything is sent."""
    if subject.invalid is None:
        return
    before = subject.backend.read(subject.invalid, timeout=TIMEOUT)
    try:
        subject.backend.propose(subject.invalid, before)
    except CallInvalid:
        return
    raise AssertionError("a senseless call was planned")


def declares_itself(subject: Subject) -> None:
    """Name, operations and their samples are complete, and the call's target is what its operation says it is."""
    operations: Mapping[str, Operation] = {operation.name: operation for operation in subject.backend.operations}
    operation = operations[subject.call.operation]
    assert subject.backend.name
    assert len(operations) == len(subject.backend.operations)
    assert not operation.reads
    assert operation.target is None or subject.call.arguments[operation.target] == subject.call.target


CHECKS: tuple[Check, ...] = (
    declares_itself,
    reads_without_changing,
    applies_what_was_proposed,
    undoes_by_the_same_call,
    repeats_a_key_without_effect,
    never_overwrites_a_stranger,
    lets_one_of_two_win,
    names_a_missing_target,
    refuses_the_senseless,
)


def check_backend(subject: Callable[[], Subject]) -> None:
    """Run every check, each on a fresh subject. Raises `AssertionError` with what is wrong."""
    for check in CHECKS:
        check(subject())


def _applied(subject: Subject, *, key: str) -> tuple[Reading, Proposal, Reading]:
    before = subject.backend.read(subject.call, timeout=TIMEOUT)
    proposal = subject.backend.propose(subject.call, before)
    return before, proposal, subject.backend.apply(subject.call, proposal.value, expected=before, key=key, timeout=TIMEOUT)
