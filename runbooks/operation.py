"""What a backend can do, what a run would change, and what came of it. The words that `actions` and flows share."""

import hashlib
from enum import StrEnum

from pydantic import Field

from runbooks.severity import Tier
from runbooks.timeline import canonical
from runbooks.value import Json, Moment, Value

SEVERAL = "sequence"
"""The operation of several changes that are made as one (rule S24); its call's arguments hold theirs."""


class ArgumentType(StrEnum):
    """Types that an operation's argument may have."""

    INTEGER = "integer"
    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    ANY = "any"


class Argument(Value):
    """One argument of an operation, as its backend declares it. Bounds are absolute."""

    type: ArgumentType
    required: bool = True
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Json, ...] = ()
    help: str = ""


AGO = "ago"
"""The argument by which a reading operation is asked about the past, in seconds before the far side's present."""


class Operation(Value):
    """One thing that a backend can do.

    `reads` operations never change anything and are what diagnostics use. `tier` is the base tier (rule S3). `target` names the
    argument that says what is touched. `sample` is an example result, with which every `shows` template is tried on loading.
    `reversible` false makes every use R3. `looks` says whether the present state can be read back after a crash; where it cannot,
    an unknown outcome goes to a person (engine.md, "in doubt"). `plans` false means that it cannot say beforehand what will change,
    and the tier rises (rule S6). `internal` operations are Muster's own (paging, answering upstream): no runbook may use them.
    """

    name: str = Field(pattern=r"^[a-z]+(\.[a-z_]+)?$")
    title: str
    reads: bool
    tier: Tier = Tier.R0
    arguments: dict[str, Argument] = {}
    target: str | None = None
    sample: Json = None
    reversible: bool = True
    looks: bool = True
    plans: bool = True
    internal: bool = False

    @property
    def looks_back(self) -> bool:
        """Whether it can be asked how things stood so many seconds `ago`, by the far side's own clock."""
        return self.reads and AGO in self.arguments


class Call(Value):
    """One operation with its arguments, complete and rendered.

    `environment` and `service` say where the incident is, `backend` names the configured backend that the plan was read from.
    """

    operation: str
    arguments: dict[str, Json] = {}
    bind: dict[str, str] = {}
    target: str | None = None
    environment: str | None = None
    service: str | None = None
    backend: str | None = None


class Reading(Value):
    """What was read: the present state of a target, or a diagnostic's result.

    `value` is JSON. For `metrics.query` it is {"rows": [{label: text, …, "value": number}], "value": number or None}.
    `facts` are what a proposal needs to know beside it (bounds, releases to go back to); they are no part of the state compared. Two of
    them, whole numbers, the guard reads (rule S13): `units`, how many the target has, and `ready`, how many of them serve. `caveat` is a
    sentence that a look adds to "it took effect", where that is not the whole truth.
    `revision` is the far side's own version, where it has one; a change is a compare-and-set against it, else against `value`.
    """

    value: Json = None
    facts: dict[str, Json] = {}
    revision: str | None = None
    changed_by: str | None = None
    changed_at: Moment | None = None
    read_at: Moment | None = None


class ProposedPart(Value):
    """One of several changes that are made as one (rule S24): whose it is, which target, and both states in words.

    The words are empty where a part stays as it is.
    """

    name: str
    target: str
    before_text: str
    after_text: str

    @property
    def step(self) -> str:
        """From the present to the wanted in one, or that it stays."""
        return stepped(self.before_text, self.after_text) if self.before_text != self.after_text else f"stays {self.before_text}"


class Proposal(Value):
    """What a call would make of a reading: the value wanted, and how to say both in words. `parts` are the changes that it is made of."""

    value: Json
    before_text: str
    after_text: str
    count: int = 1
    note: str = ""
    parts: tuple[ProposedPart, ...] = ()

    @property
    def step(self) -> str:
        """From the present to the wanted, in one: `2 → 4 replicas`, `route primary → backup`; a word that both share is said once."""
        return stepped(self.before_text, self.after_text)

    def reversed(self) -> "Proposal":
        """The way back, for its words."""
        back = tuple(
            part.model_copy(update={"before_text": part.after_text, "after_text": part.before_text}) for part in reversed(self.parts)
        )
        return self.model_copy(update={"before_text": self.after_text, "after_text": self.before_text, "parts": back})


def stepped(before_text: str, after_text: str) -> str:
    """Two states in one: a unit or a kind that both share is said once."""
    before, _, unit = before_text.rpartition(" ")
    if before and unit.isalpha() and after_text.endswith(f" {unit}"):
        return f"{before} → {after_text}"
    kind, _, after = after_text.partition(" ")
    shared = after and kind.isalpha() and before_text.startswith(f"{kind} ")
    return f"{before_text} → {after if shared else after_text}"


class Check(Value):
    """A pre-check with its result in words (rule S5). `holds` None means: no data."""

    name: str
    holds: bool | None
    text: str


class Plan(Value):
    """What will change, exactly (rule S6). Its hash is what an approval binds to (rule S7).

    `id` is new with each planning, so that scaling, undoing and scaling again works (rule S11). `ends_after` is seconds until the
    declared end, None for a change that is not limited in time. Money, quality and latency are the runbook's words, rendered.
    """

    id: str
    step: str
    call: Call
    parameters: dict[str, Json] = {}
    before: Reading
    proposal: Proposal
    tier: Tier
    checks: tuple[Check, ...] = ()
    effect: str = ""
    cost: dict[str, str] = {}
    undo: str = ""
    ends_after: float | None = None
    made_at: Moment

    @property
    def hash(self) -> str:
        """SHA-256 over what will be done to what from which state: parameters and live state, not the words."""
        return hashlib.sha256(
            canonical(
                {
                    "id": self.id,
                    "step": self.step,
                    "call": self.call.model_dump(mode="json"),
                    "parameters": self.parameters,
                    "before": {"value": self.before.value, "revision": self.before.revision},
                    "after": self.proposal.value,
                    "tier": self.tier.value,
                }
            )
        ).hexdigest()

    @property
    def blocked_by(self) -> tuple[Check, ...]:
        """The checks that do not hold; missing data does not hold."""
        return tuple(check for check in self.checks if check.holds is not True)

    @property
    def targets(self) -> tuple[str, ...]:
        """Everything that it touches: the whole first, then each part; each is locked while it runs (rule S12)."""
        return tuple(dict.fromkeys([self.call.target or self.call.operation, *(part.target for part in self.proposal.parts)]))

    def words(self, *, back: bool = False) -> str:
        """What is changed from what to what, with its target; of several each that changes. `back` says the way back."""
        proposal = self.proposal.reversed() if back else self.proposal
        target = self.call.target or self.call.operation
        parts = ", ".join(f"{part.target} {part.step}" for part in proposal.parts if part.before_text != part.after_text)
        if self.call.operation == SEVERAL:
            return parts
        whole = f"{target} {proposal.before_text} → {proposal.after_text}"
        return f"{whole} ({parts})" if parts else whole

    @property
    def changes_nothing(self) -> bool:
        """Whether the target already is as wanted."""
        return bool(self.before.value == self.proposal.value)


class OutcomeStatus(StrEnum):
    """What is known about an effect."""

    APPLIED = "applied"
    REFUSED = "refused"  # certain: nothing was changed
    UNKNOWN = "unknown"  # may or may not have happened: look before anything else


class Outcome(Value):
    """What came of an attempt to change something. `reason` is a sentence for the person who pressed.

    `mixed` says that of several changes some took effect and others did not (rule S24); `reason` then names each.
    """

    status: OutcomeStatus
    reason: str = ""
    before: Reading | None = None
    after: Reading | None = None
    retry_after: float | None = None
    mixed: bool = False


class Measurement(Value):
    """One diagnostic's answer. `value` is the number that thresholds compare; None is "no data", never zero."""

    diagnostic: str
    title: str
    text: str
    value: float | None = None
    unit: str | None = None
    measured_at: Moment
    error: str | None = None
    result: Json = None
