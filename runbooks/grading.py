"""When a drill falls due, and how it went (mission H). Teams are graded, never people."""

import hashlib
from collections.abc import Container, Mapping, Sequence
from datetime import datetime, timedelta

from runbooks.calendar import business_moment, quarter_end, quarter_start
from runbooks.drill import Finding
from runbooks.duration import in_words
from runbooks.incident import Incident
from runbooks.run import ActionRun, Verdict
from runbooks.runbook import DrillPlan
from runbooks.timeline import Entry, EntryKind


def due_in_quarter(runbook_id: str, at: datetime, *, zone: str, hour: int, holidays: Container[str] = frozenset()) -> datetime:
    """A runbook's own business day within the quarter of `at`: spread by its name over the first ten weeks, the same every year.

    The last three weeks stay free, so that a drill that is moved still falls into its quarter.
    """
    start, end = quarter_start(at, zone=zone), quarter_end(at, zone=zone)
    room = (end - start).days - 21
    offset = _place(runbook_id) % max(room, 1)
    return business_moment(start + timedelta(days=offset, hours=12), zone=zone, hour=hour, holidays=holidays)


def due_in_rest(runbook_id: str, now: datetime, *, zone: str, hour: int, holidays: Container[str] = frozenset()) -> datetime:
    """A business day in what is left of the quarter, for a runbook that came after its own day: spread by its name again.

    Where nothing is left of the quarter, it is an hour before its end: late, and still in its slot.
    """
    end = quarter_end(now, zone=zone)
    left = max((end - now).days - 3, 1)
    due = business_moment(now + timedelta(days=1 + _place(runbook_id) % left), zone=zone, hour=hour, holidays=holidays)
    return due if now < due < end else end - timedelta(hours=1)


def _place(runbook_id: str) -> int:
    """A number that is the runbook's own, the same on every machine."""
    return int.from_bytes(hashlib.sha256(runbook_id.encode()).digest()[:4], "big")


def grade(
    plan: DrillPlan, *, incident: Incident, runs: Sequence[ActionRun], entries: Sequence[Entry], titles: Mapping[str, str]
) -> tuple[Finding, ...]:
    """What the drill showed against its pass marks, expected and forbidden actions by their `titles`; passed when every finding is."""
    done = [run for run in runs if run.executed_at is not None]
    return (
        _in_time("Acknowledged", incident.opened_at, incident.acknowledged_at, plan.pass_if.acknowledged),
        _in_time(
            "First action",
            incident.opened_at,
            min((run.executed_at for run in done if run.executed_at), default=None),
            plan.pass_if.first_action,
        ),
        _in_time("Verified", incident.opened_at, _verified_at(runs), plan.pass_if.verified),
        *(_expected(step, titles.get(step, step), done) for step in plan.expected),
        *(_forbidden(step, titles.get(step, step), done) for step in plan.forbidden),
        *_blocked(entries),
    )


def _in_time(what: str, start: datetime, at: datetime | None, limit: float | None) -> Finding:
    if limit is None:
        return Finding(passed=True, text=f"{what}: {'not needed' if at is None else f'after {in_words((at - start).total_seconds())}'}.")
    if at is None:
        return Finding(passed=False, text=f"{what}: never; the mark was {in_words(limit)}.")
    took = (at - start).total_seconds()
    verdict = "within" if took <= limit else "later than"
    return Finding(passed=took <= limit, text=f"{what} after {in_words(took)}, {verdict} the mark of {in_words(limit)}.")


def _verified_at(runs: Sequence[ActionRun]) -> datetime | None:
    """By the verdict and not by the state: what was proven and later taken back, as every mitigation is, was proven all the same."""
    return min((run.verdict_at for run in runs if run.verdict is Verdict.VERIFIED and run.verdict_at), default=None)


def _expected(step: str, title: str, done: Sequence[ActionRun]) -> Finding:
    ran = [run for run in done if run.step == step]
    return Finding(passed=bool(ran), step=step, text=f"{title} was expected, and was {'run' if ran else 'not run'}.")


def _forbidden(step: str, title: str, done: Sequence[ActionRun]) -> Finding:
    ran = [run for run in done if run.step == step]
    return Finding(passed=not ran, step=step, text=f"{title} was forbidden, and was {'run' if ran else 'left alone'}.")


def _blocked(entries: Sequence[Entry]) -> list[Finding]:
    """Refused attempts are worth knowing and fail nobody: the guard did its work."""
    refused = [item for item in entries if item.kind in {EntryKind.RUN_REFUSED, EntryKind.ATTEMPT_REFUSED}]
    return [Finding(passed=True, text=f"Refused on the way: {item.summary}", step=item.payload.get("step")) for item in refused]
