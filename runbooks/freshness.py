"""How far a runbook can be trusted: when it was changed, used, drilled and reviewed, and what to say first (mission B4)."""

from datetime import datetime

from runbooks.drill import Drill, DrillState
from runbooks.runbook import Runbook
from runbooks.screens import Freshness

_GRADED = {DrillState.PASSED, DrillState.FAILED}


def freshness(
    runbook: Runbook,
    *,
    now: datetime,
    last_used_at: datetime | None = None,
    last_drill: Drill | None = None,
    first_seen_at: datetime | None = None,
) -> Freshness:
    """What the card says about the runbook itself.

    Args:
        runbook: the version that the incident pins.
        now: the present.
        last_used_at: when a real incident last followed this runbook, in any version; None for never, or for nobody knows.
        last_drill: the newest drill that was graded; one that was aborted proves nothing and is taken as none.
        first_seen_at: when this version was first seen.

    Ages are whole days, never negative: a clock that differs by minutes does not make a runbook younger than it is.
    """
    drill = last_drill if last_drill and last_drill.state in _GRADED else None
    reviewed = max((now.date() - runbook.header.reviewed).days, 0)
    drilled = _days(drill.ended_at or drill.due_at, now) if drill else None
    failed = _failed_step(runbook, drill)
    overdue = reviewed * 86400 > runbook.header.review_every
    return Freshness(
        runbook=runbook.id,
        title=runbook.header.title,
        version=runbook.header.version,
        hash=runbook.hash,
        reviewed_days=reviewed,
        overdue=overdue,
        drilled_days=drilled,
        drill_passed=drill.state is DrillState.PASSED if drill else None,
        failed_step=failed,
        used_days=_days(last_used_at, now) if last_used_at else None,
        changed_days=_days(first_seen_at, now) if first_seen_at else None,
        warning=_warning(runbook, reviewed=reviewed if overdue else None, drilled=drilled, drill=drill, failed=failed),
    )


def _days(since: datetime, now: datetime) -> int:
    return max((now - since).days, 0)


def _failed_step(runbook: Runbook, drill: Drill | None) -> str | None:
    """The title of the first step that failed in the drill; its id where this version no longer has it."""
    failed = next((finding.step for finding in drill.findings if not finding.passed and finding.step), None) if drill else None
    if failed is None:
        return None
    return next((step.title for step in runbook.steps() if step.id == failed), failed)


def _warning(runbook: Runbook, *, reviewed: int | None, drilled: int | None, drill: Drill | None, failed: str | None) -> str | None:
    """The sentence that stands first on the card's last line, worst news first; None when there is nothing to warn of."""
    parts: list[str] = []
    failed_then = drill is not None and drill.state is DrillState.FAILED
    if drilled is None:
        parts.append("Never drilled")
    elif drilled * 86400 > runbook.header.drill.every:
        parts.append(f"Not drilled for {drilled} days")
    elif failed_then:
        parts.append(f"Drill {drilled} days ago failed" if drilled != 1 else "Drill yesterday failed")
    if failed:
        parts.append(f"step {failed} failed then")
    elif failed_then and drilled is not None and drilled * 86400 > runbook.header.drill.every:
        parts.append("it failed then")
    if reviewed is not None:
        parts.append(f"{'r' if parts else 'R'}eview overdue: last reviewed {reviewed} days ago")
    return "; ".join(parts) if parts else None
