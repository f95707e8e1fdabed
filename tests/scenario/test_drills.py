"""Drills in the driven clock: they fall due, are run by two people on the real path in a world of their own, and are graded."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from bot.flows.pausing import set_pause
from runbooks.drill import Drill, DrillState
from runbooks.people import Actor
from storage import drills, incidents, runbook_versions
from tests.inside import ANA, BEN, CHIKA, DOV, EVA, Inside, text_of
from tests.scenario_alerts import alert
from tests.stack import find_button

pytestmark = [pytest.mark.slow]
RUNBOOK = "inference-latency"


def drill_of(stack: Inside, runbook: str = RUNBOOK) -> Drill:
    """This quarter's drill of a runbook, as it is stored."""
    found = stack.database.read(lambda tx: [one for one in drills.listed(tx) if one.runbook == runbook])
    return min(found, key=lambda one: one.due_at)


def due(stack: Inside) -> Drill:
    """Drive the clock until the drill is due and its lead was asked."""
    planned = stack.until(lambda: drill_of(stack), what="the planned drill", patience=5)
    stack.skip((planned.due_at - stack.the.clock.now()).total_seconds() + 5)
    return stack.until(lambda: asked(stack), what="the invitation", patience=10)


def asked(stack: Inside) -> Drill | None:
    drill = drill_of(stack)
    return drill if drill.asked_at else None


def invitation(stack: Inside, user: str = BEN) -> dict[str, Any]:
    """The lead's message with Start and Move."""

    def found() -> dict[str, Any] | None:
        seen = [one for one in stack.direct(user) if "Model answers are slow" in one["text"] and '"Start"' in json.dumps(one.get("blocks"))]
        return seen[-1] if seen else None

    return stack.until(found, what="the invitation", patience=10)


def press_invitation(stack: Inside, label: str) -> dict[str, Any]:
    return stack.press(label, invitation(stack), BEN, channel=stack._direct_channel(BEN))


def begin(stack: Inside) -> dict[str, Any]:
    """The drill is started by its lead; its card."""
    due(stack)
    assert press_invitation(stack, "Start")["ok"]
    stack.settle()
    stack.until(lambda: drill_of(stack).incident_id, what="the drill's incident", patience=15)
    return stack.until(lambda: stack.card(1), what="the drill's card", patience=15)


def drilled_right(stack: Inside) -> Drill:
    """Two people do what the runbook expects, and end it."""
    card = begin(stack)
    stack.advance(30)
    assert stack.press("Acknowledge", stack.card(1) or card)["ok"]
    stack.ran(user=BEN, until="verified")
    assert stack.press_in_view("Resolve", stack.more_of())["ok"]
    stack.submitted(stack.dialog("What fixed it"))
    return drill_of(stack)


def test_a_drill_falls_due_is_run_by_two_and_passes(stack: Inside) -> None:
    """The lead is invited on the day, two people run it on the real path, and it is graded as passed, with each finding met."""
    before = stack.target()
    drill = drilled_right(stack)
    assert drill.state.value == "passed", drill.findings
    assert drill.findings
    assert all(finding.passed for finding in drill.findings)
    run = stack.runs()[-1]
    assert (run.requested_by, run.verdict.value if run.verdict else None) == ("ben", "verified")
    assert stack.target() == before, "a drill touched production"
    report = stack.until(lambda: find_report(stack), what="the report", patience=15)
    assert "DRILL passed" in report["text"]
    assert stack.chain_holds()


def find_report(stack: Inside) -> dict[str, Any] | None:
    seen = [*stack.messages(), *stack.thread()]
    return next((one for one in seen if "DRILL" in one["text"] and "Open report" in json.dumps(one.get("blocks", []))), None)


def test_every_word_of_a_drill_says_drill(stack: Inside) -> None:
    """Card, thread, dialogs and page: each begins with DRILL, so that nobody takes it for the real thing, on a lock screen either."""
    card = begin(stack)
    stack.until(lambda: stack.entries(kind="diagnostic.measured"), what="the diagnosis", patience=10)
    assert card["text"].startswith("DRILL")
    header = next(block for block in card["blocks"] if block["type"] == "header")
    assert header["text"]["text"].startswith("DRILL")
    view = stack.plan()
    assert "DRILL" in json.dumps(view)
    stack.submitted(view)
    stack.until(stack.thread, what="the run's words", patience=10)
    assert all("DRILL" in message["text"] for message in stack.thread()), [message["text"] for message in stack.thread()]
    page = stack.http.get(f"{stack.url}/incidents/1")
    if page.status_code == 200:
        assert "DRILL" in page.text


def test_the_same_drill_done_wrong_fails(stack: Inside) -> None:
    """A forbidden action and no proven recovery: failed, with each miss named."""
    begin(stack)
    view = stack.plan("Roll back", BEN)
    if view.get("submit"):
        stack.submitted(view, stack.choose(view, "cannot wait", "The drill wants me to hurry, I believe."), BEN)
    stack.until(lambda: [run for run in stack.runs() if run.started_at or run.state.value == "refused"], what="the run", patience=10)
    drive_to_the_end(stack)
    drill = drill_of(stack)
    assert drill.state.value == "failed"
    missed = " ".join(finding.text for finding in drill.findings if not finding.passed)
    assert "scale" in missed.lower()
    assert "acknowledg" in missed.lower()
    report = stack.until(lambda: find_report(stack), what="the report", patience=15)
    assert "DRILL failed" in report["text"]


def drive_to_the_end(stack: Inside) -> None:
    drill = drill_of(stack)
    assert drill.ends_at
    stack.skip((drill.ends_at - stack.the.clock.now()).total_seconds() + 5)
    stack.until(lambda: drill_of(stack).ended_at, what="the end of the drill", patience=10)


def test_a_drill_ends_by_its_time_limit(stack: Inside) -> None:
    """Nobody does anything: at its time limit the drill ends by itself, fails, and its incident is closed."""
    begin(stack)
    drive_to_the_end(stack)
    assert drill_of(stack).state.value == "failed"
    assert not stack.incident().is_open
    stack.until(lambda: not stack.worlds(), what="the end of the world", patience=10)


def test_anyone_may_abort_and_a_second_time_changes_nothing(stack: Inside) -> None:
    """Somebody without any right ends the drill at once; it is not graded, and pressing again is no error."""
    begin(stack)
    waiting = next(one for one in stack.database.read(drills.listed) if one.state is DrillState.PLANNED)
    assert "has not begun" in stack.forged(CHIKA, k="drill_abort", m=waiting.id)
    assert stack.press_in_view("Abort", stack.more_of(EVA), EVA)["ok"]
    stack.settle()
    drill = drill_of(stack)
    assert (drill.state.value, drill.findings) == ("aborted", ())
    told = stack.forged(CHIKA, k="drill_abort", i=1, m=drill.id)
    assert "over" in told
    again = drill_of(stack)
    assert (again.ended_at, again.reason) == (drill.ended_at, drill.reason)


def test_moved_to_another_day_of_the_quarter(stack: Inside) -> None:
    """Move asks for a day, refuses one outside the quarter in a sentence, and the lead is asked again on the new day only."""
    drill = due(stack)
    assert press_invitation(stack, "Move")["ok"]
    view = stack.dialog("New date", BEN)
    outside = f"{drill.due_at.year + 1}-02-10"
    assert drill.slot in stack.submitted(view, stack.choose(view, "New date", outside), BEN)
    assert drill_of(stack).due_at == drill.due_at
    wanted = (stack.the.clock.now() + timedelta(days=4)).date()
    stack.submitted(stack.view(BEN) or view, stack.choose(view, "New date", wanted.isoformat()), BEN)
    moved = drill_of(stack)
    assert moved.state.value == "planned"
    assert moved.due_at.date() >= wanted
    assert moved.asked_at is None
    stack.skip((moved.due_at - stack.the.clock.now()).total_seconds() + 5)
    assert drill_of(stack).state.value == "asked"


def test_a_real_sev2_ends_a_running_drill(stack: Inside) -> None:
    """The same people are needed: a real SEV2 aborts the drill and says which incident comes first."""
    begin(stack)
    stack.alert(alert(name="UnsafeAnswersHigh", model="answers-v7"))
    stack.settle()
    drill = stack.until(lambda: ended(stack), what="the end of the drill", patience=10)
    assert drill.state.value == "aborted"
    assert "is real and comes first" in drill.reason
    assert stack.incident(2).is_open
    assert not stack.incident(2).is_drill


def ended(stack: Inside) -> Drill | None:
    stack.settle()
    drill = drill_of(stack)
    return drill if drill.ended_at else None


def test_no_drill_begins_while_a_real_one_burns(stack: Inside) -> None:
    """Start is refused in a sentence while a real SEV1 or SEV2 is open."""
    due(stack)
    stack.alert(alert(name="UnsafeAnswersHigh", model="answers-v7"))
    stack.settle()
    stack.until(lambda: stack.card(1), what="the real card", patience=10)
    told = stack.forged(BEN, k="drill_start", m=drill_of(stack).id)
    assert "comes first" in told
    assert drill_of(stack).started_at is None


def versions(stack: Inside) -> dict[str, int]:
    """How often each target of production was changed, by the far side's own count."""
    return {f"{one['kind']}/{one['name']}": one["version"] for one in stack.http.get(f"{stack.simulation}/targets").json()}


def test_s27_a_drill_cannot_reach_production(stack: Inside) -> None:
    """Production's targets keep their version through a whole drill, by the far side's own count; the drill's world is what changed."""
    targets = versions(stack)
    begin(stack)
    stack.ran(user=BEN)
    world = drill_of(stack).world
    inside = stack.http.get(f"{stack.simulation}/worlds/{world}/targets/pool/inference/reranker-v3").json()
    assert inside["value"]["replicas"] == 4
    assert versions(stack) == targets


def test_a_drill_pages_nobody(stack: Inside) -> None:
    """Not acknowledged in time: the thread says who would be called, and no one gets a direct message."""
    begin(stack)
    seen = {user: len(pages(stack, user)) for user in (ANA, BEN, DOV)}
    stack.advance(660, step=60)
    stack.until(lambda: any("would be paged" in one["text"] for one in stack.thread()), what="the words in the thread", patience=10)
    assert {user: len(pages(stack, user)) for user in (ANA, BEN, DOV)} == seen
    assert stack.entries(kind="escalated")


def pages(stack: Inside, user: str) -> list[str]:
    return [one["text"] for one in stack.direct(user) if "due" not in one["text"]]


def test_a_drill_is_outside_the_figures(stack: Inside) -> None:
    """A drill counts neither as an open real incident nor as a real use of its runbook; its metric is labelled as a drill's."""
    begin(stack)
    assert stack.database.read(lambda tx: incidents.open_ones(tx, drills=False)) == []
    stack.until(lambda: 'drill="true"' in stack.http.get(f"{stack.url}/metrics").text, what="the metric", patience=15)
    metrics = stack.http.get(f"{stack.url}/metrics").text
    counted = [line for line in metrics.splitlines() if line.startswith("muster_open_incidents{")]
    assert all('drill="true"' in line for line in counted if not line.endswith(" 0.0"))
    assert stack.database.read(lambda tx: incidents.last_with_runbook(tx, RUNBOOK, before=None)) is None


def test_the_freshness_line_reads_the_result(stack: Inside) -> None:
    """The next real card says when the runbook was last drilled, and that it passed."""
    assert drilled_right(stack).state.value == "passed"
    stack.advance(30)
    stack.alert(alert())
    stack.settle()
    card = stack.until(lambda: stack.card(2), what="the real card", patience=15)
    assert "drilled" in text_of(card)
    assert "passed" in text_of(card)
    assert "ever drilled" not in text_of(card)


def test_a_pause_holds_in_a_drill_too(stack: Inside) -> None:
    """The kill switch stops a drill's actions as it stops real ones."""
    begin(stack)
    now: datetime = stack.the.clock.now()
    by = Actor.model_validate({"kind": "person", "id": "ben"})
    stack.the.database.write(lambda tx: set_pause(tx, by=by, reason="we look first", at=now))
    view = stack.plan()
    assert not view.get("submit")
    assert "paused all actions" in text_of(view)


def test_started_twice_is_one_drill(stack: Inside) -> None:
    """The lead presses Start twice, and a restart lies between: one incident, one world."""
    begin(stack)
    told = stack.forged(BEN, k="drill_start", m=drill_of(stack).id)
    assert "runs already" in told
    stack.again()
    stack.settle()
    assert len(stack.database.read(incidents.listed)) == 1
    assert len(stack.worlds()) == 1
    assert find_button((stack.card(1) or {})["blocks"], "Acknowledge")
    assert stack.database.read(lambda tx: runbook_versions.latest(tx, RUNBOOK)) is not None
