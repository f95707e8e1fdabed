"""The drill: a rehearsal of one runbook, when it falls due, and how it is graded (mission H)."""

from enum import StrEnum

from runbooks.incident import RunbookRef
from runbooks.value import Moment, Value


class DrillState(StrEnum):
    """planned → asked → running → passed | failed | aborted | expired; `moved` plans go back to planned with another date."""

    PLANNED = "planned"
    ASKED = "asked"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    ABORTED = "aborted"


class Finding(Value):
    """One thing that a drill showed, good or bad. `step` names the runbook step it is about."""

    passed: bool
    text: str
    step: str | None = None


class Drill(Value):
    """One rehearsal; one for each runbook and slot.

    `slot` is the quarter it counts for, such as 2026-Q4, or the incident that it follows, such as `after INC-42`.
    """

    id: int
    runbook: str
    ref: RunbookRef | None = None
    slot: str
    state: DrillState
    lead: str | None = None
    due_at: Moment
    asked_at: Moment | None = None
    started_at: Moment | None = None
    started_by: str | None = None
    ends_at: Moment | None = None
    ended_at: Moment | None = None
    incident_id: int | None = None
    world: str | None = None
    findings: tuple[Finding, ...] = ()
    injected: tuple[int, ...] = ()
    reason: str = ""
