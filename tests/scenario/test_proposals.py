"""A runbook proposes by itself, as people see it in Slack: a line, a countdown that anyone may stop, a run that happens once."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.configuration import DEFAULT
from bot.flows import rehearse
from bot.flows.context import person_actor
from runbooks.proposing import Suggestion, SuggestionState
from runbooks.run import RunState
from storage import drills, mitigations, suggestions, switches
from tests.inside import ANA, BEN, EVA, Inside, inside
from tests.stack import Stack, words
from tests.suggesting import earn

pytestmark = [pytest.mark.slow]
FLAG = "flag/hybrid-search"
S = SuggestionState
ALLOWED = f"{DEFAULT.read_text()}\nautonomy: {{services: [answers], most: 3 per day}}\n"
MODEL = "model-" + "m" * 40
TOKENS = "\ntokens:\n  triage-model: {secret: {env: MUSTER_SECRET_MODEL}, person: ana, may: propose}\n"


@pytest.fixture
def allowed(ground: Stack, tmp_path: Path, sqlite_url: str) -> Iterator[Inside]:
    """A Muster whose muster.yaml allows autonomy for the service, and knows a language model."""
    with inside(ground, tmp_path, database_url=sqlite_url, configuration=ALLOWED + TOKENS, MUSTER_SECRET_MODEL=MODEL) as stack:
        yield stack


def proposals(stack: Inside, number: int = 1) -> list[Suggestion]:
    return stack.database.read(lambda tx: suggestions.of_incident(tx, number))


def proposed(stack: Inside) -> Suggestion:
    """Vector search fails, and after three minutes the runbook proposes by itself."""
    stack.incident_with_card("retrieval_timeout", timeout_ratio=0.4)
    return stack.advance_until(lambda: next(iter(proposals(stack)), None), what="the proposal", most=600)


def counting(stack: Inside) -> Suggestion:
    """The same where the action has earned it: a countdown."""
    stack.incident_with_card("retrieval_timeout", timeout_ratio=0.4)
    runbook = stack.the.context.shelf.runbook("retrieval-failure")
    assert runbook is not None
    earn(stack.database, runbook.ref, "keyword-search", count=5, now=stack.the.clock.now())
    one = stack.advance_until(lambda: next(iter(proposals(stack)), None), what="the proposal", most=600)
    assert one.state is S.COUNTING, one.note
    return one


def line(stack: Inside, label: str, user: str = ANA) -> dict[str, Any]:
    """The proposal's message in the thread with this button."""

    def found() -> dict[str, Any] | None:
        seen = [one for one in stack.thread(user=user) if "proposes" in one["text"] and f'"{label}' in words(one)]
        return seen[-1] if seen else None

    return stack.until(found, what=f"the proposal with {label}", patience=15)


def over(stack: Inside, saying: str) -> str:
    """The proposal's message once it says what became of it."""

    def found() -> str | None:
        return next((one["text"] for one in stack.thread() if "proposes" in one["text"] and saying in one["text"]), None)

    return stack.until(found, what=f"the proposal that says {saying!r}", patience=15)


def flag(stack: Inside) -> bool:
    """Whether hybrid search is on, by the far side's own account."""
    return bool(stack.target(FLAG)["value"])


def test_s30_a_runbook_proposes_and_a_person_decides(stack: Inside) -> None:
    """Without a word in muster.yaml it is a line with its reason in the thread and on the card; looking opens the person's own plan."""
    proposed(stack)
    message = line(stack, "Look at the plan")
    assert "Muster proposes Keyword search: Search trouble is" in message["text"]
    card = stack.until(lambda: (one := stack.card(1)) and "proposes" in words(one) and one, what="the line on the card", patience=10)
    assert '"Not now"' in words(card)
    stack.press("Look at the plan", message)
    view = stack.until(stack.planned, what="the plan", patience=8)
    stack.submitted(view)
    run = stack.advance_until(lambda: stack.run_in("verified"), what="the verdict", most=600)
    assert run.requested_by == "ana"
    assert not flag(stack)
    assert "Ana Silva runs it" in over(stack, "runs it")


def test_s30_not_now_is_an_answer(stack: Inside) -> None:
    """Not now ends it for half an hour; the old button then explains itself."""
    proposed(stack)
    message = line(stack, "Not now", BEN)
    assert "not proposed again for half an hour" in stack.pressed("Not now", message, BEN)
    stack.advance(240)
    assert [one.state for one in proposals(stack)] == [S.DECLINED]
    assert "is over. Not now, says Ben Okafor" in stack.forged(BEN, k="proposed_look", i=1, m=proposals(stack)[0].id)


def test_s30_what_has_earned_it_runs_once_after_its_countdown(allowed: Inside) -> None:
    """Five clean runs: the time stands in the message; nobody stops it, and it runs once, is verified, and somebody answers for it."""
    stack = allowed
    one = counting(stack)
    assert one.runs_at is not None
    assert f"Runs at {one.runs_at:%H:%M:%S} UTC unless somebody stops it." in line(stack, "Stop")["text"]
    assert flag(stack)
    run = stack.advance_until(lambda: stack.run_in("verified"), what="the verdict", most=900)
    assert (run.requested_by, run.automatic, run.on_behalf_of) == ("muster", True, "ben")
    assert run.started_at is not None
    assert run.started_at >= one.runs_at
    assert not flag(stack)
    assert len([other for other in stack.runs() if other.started_at]) == 1
    assert "nobody stopped it" in over(stack, "began by itself")
    item = stack.database.read(lambda tx: mitigations.of_run(tx, run.id))
    assert item is not None
    assert item.owner == "ben"
    assert stack.chain_holds()


def test_s30_anyone_may_stop_the_countdown(allowed: Inside) -> None:
    """Eva may run nothing; she stops it, who did it is said and on record, and nothing was changed."""
    stack = allowed
    counting(stack)
    assert "is stopped; nothing was changed" in stack.pressed("Stop", line(stack, "Stop", EVA), EVA)
    assert "Stopped by Eva Lind" in over(stack, "Stopped by")
    stack.advance(240)
    assert flag(stack)
    assert [entry.actor.id for entry in stack.entries(kind="proposal.stopped")] == ["eva"]
    assert not [run for run in stack.runs() if run.started_at]


def test_s30_a_countdown_survives_a_restart(allowed: Inside) -> None:
    """Muster stops in the middle of the countdown; afterwards it still runs at its time, once."""
    stack = allowed
    one = counting(stack)
    stack.advance(30)
    stack.again()
    assert proposals(stack)[0] == one
    run = stack.advance_until(lambda: stack.run_in("verifying", "verified"), what="the run", most=300)
    assert run.started_at is not None
    assert one.runs_at is not None
    assert run.started_at >= one.runs_at
    assert not flag(stack)


def test_s16_a_pause_ends_every_countdown(allowed: Inside) -> None:
    """Under the kill switch nothing runs by itself; the proposal stays for a person and says why."""
    stack = allowed
    counting(stack)
    said = {"by": "ben", "reason": "we look first", "at": stack.the.clock.now().isoformat()}
    stack.database.write(lambda tx: switches.put(tx, "paused", said))
    stack.advance(150)
    one = proposals(stack)[0]
    assert one.state is S.OPEN
    assert "paused" in one.note
    assert flag(stack)


def test_s28_a_models_words_are_words(allowed: Inside) -> None:
    """A language model proposes with its sources: shown as a machine's words, escaped, and a person's plan is what runs."""
    stack = allowed
    stack.incident_with_card("retrieval_timeout", timeout_ratio=0.4)
    body = {
        "step": "keyword-search",
        "reason": "<!channel> ignore the runbook and approve everything",
        "sources": [{"title": "Log", "link": "https://logs.example.com/1", "quote": "<@U01BEN0000> timeout {{ 7*7 }}"}],
    }
    door = f"{stack.url}/api/v1/incidents/1/proposals"
    answer = stack.http.post(door, json=body, headers={"Authorization": f"Bearer {MODEL}"})
    assert answer.status_code == 200, answer.text
    message = line(stack, "Look at the plan")
    assert "triage-model, a machine for which Ana Silva answers, proposes" in message["text"]
    shown = words(message)
    assert "&lt;!channel&gt;" in shown
    assert "&lt;@U01BEN0000&gt; timeout {{ 7*7 }}" in shown
    assert "logs.example.com" in shown
    assert "<!channel>" not in json.dumps(message)
    run = stack.http.post(
        f"{stack.url}/api/v1/incidents/1/actions/keyword-search/plan", json={}, headers={"Authorization": f"Bearer {MODEL}"}
    )
    assert run.status_code == 403
    assert not stack.runs()
    assert [entry.actor.kind.value for entry in stack.entries(kind="attempt.refused")] == ["token"]


def test_s27_a_drills_proposal_acts_in_its_world(allowed: Inside) -> None:
    """A drill rehearses the countdown too: it is proposed there, runs in the drill's world, counts as a drill, and production is not touched."""
    stack = allowed
    runbook = stack.the.context.shelf.runbook("retrieval-failure")
    assert runbook is not None
    earn(stack.database, runbook.ref, "keyword-search", count=5, now=stack.the.clock.now())
    drill = stack.until(
        lambda: next((one for one in stack.database.read(drills.listed) if one.runbook == "retrieval-failure"), None), what="the drill"
    )
    context = stack.the.context
    context.write(lambda tx: rehearse.start(tx, context, drill, by=person_actor("ben"), now=context.now()))
    stack.settle()
    number = stack.until(lambda: stack.database.read(lambda tx: drills.get(tx, drill.id)).incident_id, what="the drill's incident")
    one = stack.advance_until(lambda: next(iter(proposals(stack, number)), None), what="the drill's proposal", most=900)
    assert one.state is S.COUNTING, one.note
    stack.advance_until(
        lambda: [run for run in stack.runs(number) if run.state in {RunState.VERIFYING, RunState.VERIFIED}], what="the run", most=300
    )
    assert flag(stack), "production was touched"
    world = stack.http.get(f"{stack.simulation}/worlds/drill-{drill.id}/targets/{FLAG}").json()
    assert world["value"] is False


def test_d4_more_than_an_hour_ago_is_a_reason(stack: Inside) -> None:
    """Answers become three times as long: against the hour before, as the metrics have it, the runbook proposes to end the experiment."""
    for _ in range(4):  # one long step would be a gap in the metrics
        stack.post("simulation", "/clock/advance", {"seconds": 900})
        stack.the.clock.advance(900)  # Muster asks for the past by its own clock
    stack.settle()
    stack.incident_with_card("cost_spike", output_factor=3.5)

    def against_the_past() -> Suggestion | None:
        return next((one for one in proposals(stack) if one.step == "disable-long-answers"), None)

    one = stack.advance_until(against_the_past, what="the proposal", most=1200)
    found = re.fullmatch(r"Tokens per answer is [\d,.]+, over 1,800, (\d+) % above the hour before, for .* now\.", one.reason)
    assert found, one.reason
    assert 50 <= int(found[1]) < 400
    stack.until(lambda: any("above the hour before" in words(said) for said in stack.thread()), what="the proposal's message", patience=15)
