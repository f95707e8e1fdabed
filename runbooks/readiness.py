"""What is known about a service's readiness, by evidence alone (mission I1). What nobody knows is unknown: not red, and never green."""

from collections.abc import Sequence

from runbooks.autonomy import Standing
from runbooks.drill import Drill, DrillState
from runbooks.people import Person
from runbooks.screens import Freshness
from runbooks.value import Value


class Evidence(Value):
    """One thing about a service. `good` None means that nothing is known; `text` says by what it is judged."""

    name: str
    good: bool | None
    text: str


class Readiness(Value):
    """What can be said about one service now."""

    service: str
    owner: str
    evidence: tuple[Evidence, ...]


class Rehearsed(Value):
    """A runbook that serves the service, its owner's people, and its drill of this quarter, if one is planned."""

    freshness: Freshness
    owner: str
    owned: bool
    drill: Drill | None = None


def alerts_covered(*, matched: int, fallback: int, days: int) -> Evidence:
    """Whether the service's alerts of the last days found a runbook of their own."""
    total, name = matched + fallback, "Alerts covered"
    if total == 0:
        return Evidence(name=name, good=None, text=f"No alert of this service came in {days} days, so nothing is known.")
    return Evidence(name=name, good=fallback == 0, text=f"{matched} of {total} incidents in {days} days had a runbook of their own.")


def runbooks_fresh(rehearsed: Sequence[Rehearsed]) -> Evidence:
    """Whether every runbook that serves the service has people behind it and was reviewed in time."""
    name = "Runbooks owned and fresh"
    if not rehearsed:
        return Evidence(name=name, good=False, text="No runbook belongs to this service's teams, and none was ever followed.")
    ownerless = [item.freshness.runbook for item in rehearsed if not item.owned]
    if ownerless:
        return Evidence(name=name, good=False, text=f"No owner, no readiness: {', '.join(ownerless)}.")
    stale = [item.freshness.runbook for item in rehearsed if item.freshness.overdue]
    if stale:
        return Evidence(name=name, good=False, text=f"Review overdue: {', '.join(stale)}.")
    return Evidence(name=name, good=True, text=f"{len(rehearsed)} runbooks, all owned and reviewed in time.")


def drilled(rehearsed: Sequence[Rehearsed], *, slot: str) -> Evidence:
    """Whether every runbook of the service was rehearsed in this quarter, and passed."""
    name = f"Drilled in {slot}"
    if not rehearsed:
        return Evidence(name=name, good=None, text="There is no runbook to rehearse.")
    passed = [item for item in rehearsed if item.drill and item.drill.state is DrillState.PASSED]
    failed = [item.freshness.runbook for item in rehearsed if item.drill and item.drill.state is DrillState.FAILED]
    if failed:
        return Evidence(name=name, good=False, text=f"Failed: {', '.join(failed)}.")
    if len(passed) == len(rehearsed):
        return Evidence(name=name, good=True, text=f"All {len(passed)} runbooks, passed.")
    return Evidence(name=name, good=False, text=f"{len(passed)} of {len(rehearsed)} runbooks so far.")


def escalation_reachable(team: str, on_duty: Sequence[Person]) -> Evidence:
    """Whether somebody is on duty for the owning team whom Muster can reach."""
    name = "Escalation reachable"
    if not on_duty:
        return Evidence(name=name, good=False, text=f"Nobody is on duty for {team}.")
    reachable = [person.name for person in on_duty if person.slack_id]
    if not reachable:
        return Evidence(name=name, good=False, text=f"{', '.join(person.name for person in on_duty)}: no Slack id is known.")
    return Evidence(name=name, good=True, text=f"On duty: {', '.join(reachable)}. Whether a page wakes them is not tested here.")


def autonomy_earned(standings: Sequence[Standing]) -> Evidence:
    """How far actions go by themselves, and what is missing. Only what was lost is bad: a person who decides is no gap."""
    name = "Autonomy"
    if not standings:
        return Evidence(name=name, good=None, text="No action proposes itself.")
    lost = any(one.ended_by is not None and one.clean < one.wanted for one in standings)
    return Evidence(name=name, good=not lost, text=" ".join(str(one) for one in standings))


def lessons_closed(*, overdue_reviews: int, overdue_follow_ups: int) -> Evidence:
    """Whether what was promised after incidents is done in time."""
    name = "Reviews and follow-ups"
    late = [f"{count} {what} overdue" for count, what in ((overdue_reviews, "post-mortems"), (overdue_follow_ups, "follow-ups")) if count]
    return Evidence(name=name, good=not late, text=f"{', '.join(late)}." if late else "None is overdue.")
