"""What one decision must know of other runs: who did what to which target, when, and what came of it. Never their plans and samples."""

from runbooks.incident import RunbookRef
from runbooks.run import ActionRun, RunState, Verdict
from runbooks.value import Moment, Value


class Trace(Value):
    """A run as the guards and the count of clean runs see it (rules S5, S11 to S14, S25, S30).

    `drill_id` names the rehearsal that it belongs to, None for the real thing. `operation` is None before there is a plan. `measured`:
    something was measured while it was watched. The other facts are those of `ActionRun`.
    """

    id: int
    incident_id: int
    drill_id: int | None = None
    runbook: RunbookRef
    step: str
    title: str
    state: RunState
    key: str
    target: str
    operation: str | None = None
    requested_by: str
    requested_at: Moment
    automatic: bool = False
    break_glass: bool = False
    started_at: Moment | None = None
    executed_at: Moment | None = None
    verdict: Verdict | None = None
    verdict_at: Moment | None = None
    verify_until_at: Moment | None = None
    value_after: float | None = None
    measured: bool = False
    undo_requested_by: str | None = None
    undo_started_at: Moment | None = None

    @classmethod
    def of(cls, run: ActionRun, *, drill_id: int | None = None) -> "Trace":
        """A whole run's trace."""
        return cls(
            id=run.id,
            incident_id=run.incident_id,
            drill_id=drill_id,
            runbook=run.runbook,
            step=run.step,
            title=run.title,
            state=run.state,
            key=run.key,
            target=run.target,
            operation=run.plan.call.operation if run.plan else None,
            requested_by=run.requested_by,
            requested_at=run.requested_at,
            automatic=run.automatic,
            break_glass=bool(run.break_glass),
            started_at=run.started_at,
            executed_at=run.executed_at,
            verdict=run.verdict,
            verdict_at=run.verdict_at,
            verify_until_at=run.verify_until_at,
            value_after=run.value_after,
            measured=bool(run.samples),
            undo_requested_by=run.undo_requested_by,
            undo_started_at=run.undo_started_at,
        )
