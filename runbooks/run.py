"""One attempt at one action, from the first plan to the verdict and the undo."""

from enum import StrEnum

from runbooks.errors import TransitionRefused
from runbooks.incident import RunbookRef
from runbooks.operation import Outcome, Plan
from runbooks.severity import Tier
from runbooks.value import Moment, Value


class RunState(StrEnum):
    """See `NEXT` for where each may go."""

    PROPOSED = "proposed"
    PLANNED = "planned"
    AWAITING_APPROVAL = "awaiting approval"
    APPROVED = "approved"
    RUNNING = "running"
    VERIFYING = "verifying"
    VERIFIED = "verified"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    UNDOING = "undoing"
    UNDONE = "undone"
    REFUSED = "refused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


S = RunState
NEXT: dict[RunState, frozenset[RunState]] = {
    S.PROPOSED: frozenset({S.PLANNED, S.REFUSED, S.EXPIRED, S.CANCELLED}),
    S.PLANNED: frozenset({S.AWAITING_APPROVAL, S.APPROVED, S.REFUSED, S.EXPIRED, S.CANCELLED}),
    S.AWAITING_APPROVAL: frozenset({S.APPROVED, S.REFUSED, S.EXPIRED, S.CANCELLED}),
    S.APPROVED: frozenset({S.RUNNING, S.REFUSED, S.EXPIRED, S.CANCELLED}),
    S.RUNNING: frozenset({S.VERIFYING, S.FAILED, S.INCONCLUSIVE, S.REFUSED, S.UNKNOWN}),
    S.UNKNOWN: frozenset({S.VERIFYING, S.FAILED, S.REFUSED, S.INCONCLUSIVE, S.UNDONE, S.UNDOING}),
    S.VERIFYING: frozenset({S.VERIFIED, S.FAILED, S.INCONCLUSIVE, S.UNDOING, S.UNKNOWN}),
    S.VERIFIED: frozenset({S.UNDOING}),
    S.FAILED: frozenset({S.UNDOING, S.VERIFIED}),
    S.INCONCLUSIVE: frozenset({S.UNDOING, S.VERIFIED, S.FAILED}),
    S.UNDOING: frozenset({S.UNDONE, S.VERIFIED, S.FAILED, S.INCONCLUSIVE, S.UNKNOWN}),
    S.UNDONE: frozenset(),
    S.REFUSED: frozenset(),
    S.EXPIRED: frozenset(),
    S.CANCELLED: frozenset(),
}
"""Every transition there is. What is not here is refused."""

BEFORE_RUNNING = frozenset({S.PROPOSED, S.PLANNED, S.AWAITING_APPROVAL, S.APPROVED})
IN_FLIGHT = frozenset({S.RUNNING, S.UNKNOWN, S.VERIFYING, S.UNDOING})
ENDED = frozenset({S.VERIFIED, S.FAILED, S.INCONCLUSIVE, S.UNDONE, S.REFUSED, S.EXPIRED, S.CANCELLED})


class Verdict(StrEnum):
    """What the world says about a run (rule S21). Exit code 0 is not among them."""

    VERIFIED = "verified"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


class Approval(Value):
    """One person's word on one plan (rules S7, S8). Bound to `plan_hash`; void for any other."""

    person: str
    plan_hash: str
    granted: bool
    reason: str = ""
    given_at: Moment
    withdrawn_at: Moment | None = None


class FreezeOverride(Value):
    """Somebody's word that a run must not wait for the end of what holds changes up (rules S9, S5). It lifts what `names` says, no more."""

    by: str
    reason: str
    names: tuple[str, ...]
    given_at: Moment


class Sample(Value):
    """One measurement during verification; `value` None is missing data."""

    at: Moment
    value: float | None


class RampState(Value):
    """How far a run has come that goes in stages (rule S13): of its parts `done` are carried out, and `at_work` are being so.

    `next_at` is when the next stage falls due, `value` what was measured last, `cancelled_by` who stopped it.
    """

    done: int = 0
    at_work: int = 0
    next_at: Moment | None = None
    value: float | None = None
    cancelled_by: str | None = None


class CleanItem(Value):
    """One thing to be cleaned up after a run: measured by `diagnostic`, or done by a person as `manual` says.

    `done_at` None means that it is open; `done_by` is who ticked it, Muster's own id where it was measured. `carrier` answers for what was
    open when the incident was resolved.
    """

    title: str
    diagnostic: str | None = None
    manual: str = ""
    value: float | None = None
    done_at: Moment | None = None
    done_by: str | None = None
    carrier: str | None = None


class Request(Value):
    """The request that made a run, by the digests of its caller's key and of what was asked for: the same twice is one run (rule S11)."""

    key: str
    parameters: str


class ActionRun(Value):
    """One attempt at one action of one runbook version in one incident.

    `key` is the idempotency key of rule S11, unique in the database and sent to the far side where it takes one.
    `started_at` to `executed_at` is the change itself; `verify_from_at` to `verify_until_at` is the watch. `undo_of_at` names the
    moment an undo was asked for. `restored_at` is when a change that
    took effect only in part was put back (rule S24), `exposed_from_at` since when what it took away had its effect. `dialog` is the
    Slack view that shows the plan, where one does. `automatic` is one that nobody pressed (rule S30): Muster asks for it, and the person
    `on_behalf_of` whom it does so answers for what it leaves. `replaces` is the run whose plan this person changed before anything ran.
    `request` is what made it, where its caller named that.
    """

    id: int
    incident_id: int
    runbook: RunbookRef
    step: str
    title: str
    state: RunState
    tier: Tier
    plan: Plan | None = None
    key: str
    target: str
    requested_by: str
    requested_via: str = "slack"
    automatic: bool = False
    on_behalf_of: str | None = None
    replaces: int | None = None
    requested_at: Moment
    approvals: tuple[Approval, ...] = ()
    approvals_needed: int = 0
    approve_until_at: Moment | None = None
    break_glass: str | None = None
    freeze_override: FreezeOverride | None = None
    confirmed_at: Moment | None = None
    started_at: Moment | None = None
    executed_at: Moment | None = None
    outcome: Outcome | None = None
    value_before: float | None = None
    value_after: float | None = None
    unit: str | None = None
    samples: tuple[Sample, ...] = ()
    verify_from_at: Moment | None = None
    verify_until_at: Moment | None = None
    verdict: Verdict | None = None
    verdict_at: Moment | None = None
    verdict_reason: str = ""
    undo_requested_by: str | None = None
    undo_reason: str = ""
    undo_started_at: Moment | None = None
    undone_at: Moment | None = None
    ended_at: Moment | None = None
    reason: str = ""
    dialog: str | None = None
    state_before_undo: RunState | None = None
    ramp: RampState | None = None
    restored_at: Moment | None = None
    cleanup: tuple[CleanItem, ...] = ()
    exposed_from_at: Moment | None = None
    request: Request | None = None

    def to(self, state: RunState, **update: object) -> "ActionRun":
        """The run in its next state; refused with both names where the table above has no such step."""
        if state not in NEXT[self.state]:
            raise TransitionRefused(f"run {self.id} is {self.state.value}; it cannot become {state.value}.")
        return self.model_copy(update={"state": state, **update})

    def with_(self, **update: object) -> "ActionRun":
        """The same run with other facts; the state stays."""
        return self.model_copy(update=update)

    @property
    def answerable(self) -> str:
        """Who answers for what it leaves behind: whoever asked, or the person on whose behalf nobody needed to."""
        return self.on_behalf_of or self.requested_by

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in ENDED

    @property
    def to_clean(self) -> tuple[CleanItem, ...]:
        """What is still to be cleaned up; nothing once the run itself is taken back."""
        return tuple(item for item in self.cleanup if item.done_at is None) if self.state is not S.UNDONE else ()

    @property
    def in_force(self) -> bool:
        """Whether the change it made still stands, as far as is known."""
        return self.executed_at is not None and self.undone_at is None and self.state not in {S.REFUSED, S.UNDONE}


class MitigationEnd(StrEnum):
    """What happens when a mitigation's time is over (rule S23)."""

    REVERT = "revert"
    ASK = "ask"
    KEEP = "keep"


class Mitigation(Value):
    """A change still in force, with an owner and an end (rule S23). `ended_at` None means it still is."""

    id: int
    run_id: int
    incident_id: int
    title: str
    target: str
    owner: str
    opened_at: Moment
    ends_at: Moment | None
    then: MitigationEnd
    reminded_at: Moment | None = None
    asked_at: Moment | None = None
    ended_at: Moment | None = None
    end_reason: str = ""
