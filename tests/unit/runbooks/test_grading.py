"""When a drill falls due, and how it went."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks.calendar import is_business_day, quarter_end, quarter_of
from runbooks.drill import Finding
from runbooks.grading import due_in_quarter, due_in_rest, grade
from runbooks.incident import Incident
from runbooks.people import MUSTER
from runbooks.run import ActionRun, RunState, Verdict
from runbooks.runbook import DrillPlan
from runbooks.timeline import Entry, EntryKind
from tests.remembering import NOW, incident, run


def plan(**more: Any) -> DrillPlan:
    """A drill that expects scaling out, forbids the rollback, and has a mark for each of the three times."""
    given_ = {
        "alert": {"alertname": "x"},
        "world": {"fault": {"kind": "traffic"}},
        "expected": ("scale-out",),
        "forbidden": ("previous-release",),
        "pass_if": {"acknowledged": "5m", "first_action": "10m", "verified": "15m"},
    }
    return DrillPlan.model_validate(given_ | more)


def after(minutes: float) -> datetime:
    """So many minutes after the drill's start."""
    return NOW + timedelta(minutes=minutes)


def done(step: str = "scale-out", *, at: float = 8, verified: float | None = 14, state: RunState = RunState.VERIFIED) -> ActionRun:
    """A run that was executed, and verified if so said."""
    proof = {} if verified is None else {"verdict": Verdict.VERIFIED, "verdict_at": after(verified)}
    return run(step=step, state=state, executed_at=after(at), **proof)


def drilled(acknowledged: float | None = 3) -> Incident:
    """The drill's incident."""
    return incident(opened_at=NOW) if acknowledged is None else incident(opened_at=NOW).acknowledged(by="ana", now=after(acknowledged))


TITLES = {"scale-out": "Scale out", "previous-release": "Roll back the release"}
"""How a person knows the actions."""


def failed(findings: tuple[Finding, ...]) -> list[str]:
    """What the drill failed by."""
    return [finding.text for finding in findings if not finding.passed]


def test_a_drill_done_right_passes() -> None:
    """Acknowledged, acted and verified in time, the expected action run and the forbidden one left alone."""
    findings = grade(plan(), incident=drilled(), runs=[done()], entries=[], titles=TITLES)
    assert failed(findings) == []
    assert findings[0].text == "Acknowledged after 3 min, within the mark of 5 min."


@pytest.mark.parametrize(
    ("incident_", "runs", "says"),
    [
        (drilled(6), [done()], "Acknowledged after 6 min, later than the mark of 5 min."),
        (drilled(None), [done()], "Acknowledged: never; the mark was 5 min."),
        (drilled(), [done(at=11)], "First action after 11 min, later than the mark of 10 min."),
        (drilled(), [done(verified=16)], "Verified after 16 min, later than the mark of 15 min."),
        (drilled(), [done(verified=None, state=RunState.FAILED)], "Verified: never; the mark was 15 min."),
        (
            drilled(),
            [done(), done("previous-release", verified=None, state=RunState.FAILED)],
            "Roll back the release was forbidden, and was run.",
        ),
        (drilled(), [done("cap-retries")], "Scale out was expected, and was not run."),
    ],
)
def test_each_way_to_fail_is_named(incident_: Incident, runs: list[ActionRun], says: str) -> None:
    """One thing done wrong fails the drill by that one finding, in a sentence with the figures."""
    assert failed(grade(plan(), incident=incident_, runs=runs, entries=[], titles=TITLES)) == [says]


def test_what_was_planned_and_not_done_does_not_count() -> None:
    """A run that was refused or cancelled is neither the expected action nor the forbidden one."""
    runs = [run(step="scale-out", state=RunState.CANCELLED), run(step="previous-release", state=RunState.REFUSED)]
    says = failed(grade(plan(), incident=drilled(), runs=runs, entries=[], titles=TITLES))
    assert "Scale out was expected, and was not run." in says
    assert not any("Roll back" in text for text in says)


def test_a_proof_stands_though_the_action_was_taken_back() -> None:
    """A mitigation that was verified and has ended since was verified: the drill's end takes all of them back."""
    assert failed(grade(plan(), incident=drilled(), runs=[done(state=RunState.UNDONE)], entries=[], titles=TITLES)) == []


def test_a_mark_that_is_not_set_fails_nobody() -> None:
    """Without pass marks only expected and forbidden actions count."""
    findings = grade(plan(pass_if={}, expected=()), incident=drilled(None), runs=[], entries=[], titles=TITLES)
    assert failed(findings) == []


def test_refused_attempts_are_told_and_fail_nobody() -> None:
    """The guard did its work; the report says so and names the step."""
    refused = Entry(
        kind=EntryKind.RUN_REFUSED, occurred_at=NOW, actor=MUSTER, summary="Not run: too soon.", payload={"step": "scale-out"},
        incident_id=1, seq=1, recorded_at=NOW, digest="d", previous="p", hash="h",
    )  # fmt: skip
    findings = grade(plan(), incident=drilled(), runs=[done()], entries=[refused], titles=TITLES)
    assert failed(findings) == []
    assert (findings[-1].text, findings[-1].step) == ("Refused on the way: Not run: too soon.", "scale-out")


@given(st.floats(0, 30), st.floats(0, 30), st.floats(0, 30), st.floats(0, 30))
def test_earlier_is_never_worse(acknowledged: float, action: float, verified: float, sooner: float) -> None:
    """Doing any of it earlier never turns a pass into a fail."""

    def fails(shift: float) -> set[int]:
        runs = [done(at=max(action - shift, 0), verified=max(verified - shift, 0))]
        findings = grade(plan(), incident=drilled(max(acknowledged - shift, 0)), runs=runs, entries=[], titles=TITLES)
        return {place for place, finding in enumerate(findings) if not finding.passed}

    assert fails(sooner) <= fails(0)


@given(
    st.text(alphabet="abcdefgh-", min_size=1, max_size=20),
    st.datetimes(datetime(2024, 1, 1), datetime(2034, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - the strategy adds the zone
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati"]),
    st.integers(8, 17),
)
def test_a_drill_is_due_on_a_business_day_of_its_quarter(name: str, at: datetime, zone: str, hour: int) -> None:
    """Its day is in the quarter, at the hour of the wall clock, on a business day, with at least two weeks left to move it; always the same."""
    due = due_in_quarter(name, at, zone=zone, hour=hour)
    local = due.astimezone(ZoneInfo(zone))
    assert quarter_of(due, zone=zone) == quarter_of(at, zone=zone)
    assert local.hour == hour
    assert is_business_day(local.date())
    assert quarter_end(at, zone=zone) - due > timedelta(days=14)
    assert due_in_quarter(name, due, zone=zone, hour=hour) == due


def test_drills_are_spread_over_the_quarter() -> None:
    """A hundred runbooks do not all fall on one day."""
    days = {due_in_quarter(f"runbook-{number}", NOW, zone="UTC", hour=10).date() for number in range(100)}
    assert len(days) > 20


MOMENTS = st.integers(0, 6 * 365 * 24).map(lambda hours: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hours))


@given(st.text(alphabet="abcdefgh-", min_size=1, max_size=20), MOMENTS)
def test_a_late_runbook_is_still_drilled_in_its_quarter(name: str, now: datetime) -> None:
    """A runbook that came after its own day falls due later in the same quarter."""
    due = due_in_rest(name, now, zone="UTC", hour=10)
    assert quarter_of(due) == quarter_of(now)
    assert due > now or quarter_of(now + timedelta(hours=1)) != quarter_of(now)
