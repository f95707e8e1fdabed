"""Several changes as one, in stages, as a release unit, and what is cleaned up afterwards: what a person sees, and what the far side did."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.configuration import DEFAULT
from bot.ports import Press, PressKind, Visitor
from tests.inside import ANA, BEN, Inside, inside, text_of
from tests.parts.trouble import Ill, Trouble, troubled
from tests.stack import Stack
from tests.together import RELEASES, RETRIES, UNITS, capped, scaled, with_actions

pytestmark = [pytest.mark.slow]


@pytest.fixture
def trouble(ground: Stack) -> Iterator[Trouble]:
    """What makes some changes go wrong on their way to the simulated service."""
    with troubled(ground.simulation) as trouble:
        yield trouble


@pytest.fixture
def together(ground: Stack, tmp_path: Path, sqlite_url: str, trouble: Trouble) -> Iterator[Inside]:
    """A Muster whose runbook has a sequence and a ramp, and whose rollback is that of a release unit."""
    edits = {"inference-latency.md": with_actions}
    configuration = DEFAULT.read_text() + UNITS
    with inside(
        ground, tmp_path, database_url=sqlite_url, configuration=configuration, edits=edits, MUSTER_SIMULATION_URL=trouble.url
    ) as stack:
        yield stack


def stands(stack: Inside) -> tuple[int, int]:
    """Replicas of the pool, and attempts of the gateway."""
    return int(stack.target()["value"]["replicas"]), int(stack.target(RETRIES)["value"]["attempts"])


def test_s24_a_sequence_is_one_plan_one_click_and_one_undo(together: Inside) -> None:
    """The dialog shows each part on its own line; one click changes all, the whole is verified, and one undo takes all back."""
    together.incident_with_card()
    shown = text_of(together.plan("Relieve"))
    assert "2 parts as one in production, in this order:" in shown
    assert "`gateway/answers` 3 → 1 attempt" in shown or "`gateway/answers` 3 attempts → 1 attempt" in shown
    assert "`inference/reranker-v3` 2 → 4 replicas" in shown
    run = together.ran("Relieve", until="verified")
    assert stands(together) == (4, 1)
    assert run.plan is not None
    assert run.plan.targets[1:] == ("gateway/answers", "inference/reranker-v3")
    told = json.dumps(together.card(1), ensure_ascii=False)
    assert "`inference/reranker-v3` 2 → 4 replicas" in told
    together.pressed("Undo", together.run_message("Undo", saying="Verified"))
    together.until(lambda: together.run_in("undone"), what="the undo", patience=15)
    assert stands(together) == (2, 3)
    assert together.chain_holds()


def test_s24_a_part_that_fails_leaves_nothing_behind(together: Inside, trouble: Trouble) -> None:
    """The second part is refused by the far side: the first is put back, the run is refused, and the sentence says both."""
    together.incident_with_card()
    view = together.plan("Relieve")
    trouble.which, trouble.ill, trouble.status = scaled, Ill.STATUS, 403
    together.submitted(view)
    run = together.until(lambda: together.run_in("refused"), what="the refusal", patience=15)
    assert "Put back as before: gateway/answers." in run.reason
    assert stands(together) == (2, 3)
    assert int(together.target(RETRIES)["version"]) > 1, "the first part was never changed, so nothing was put back"


def test_s24_what_took_effect_in_part_is_put_back_once_and_said(together: Inside, trouble: Trouble) -> None:
    """The second part never answers: it is looked up, the mixture is named part by part, and what took effect is put back."""
    together.incident_with_card()
    view = together.plan("Relieve")
    trouble.which, trouble.ill = scaled, Ill.RESET
    together.submitted(view)
    run = together.advance_until(lambda: together.run_in("refused"), what="the end of the doubt", most=900)
    trouble.ill = Ill.NONE
    assert stands(together) == (2, 3)
    assert "gateway/answers took effect; inference/reranker-v3 did not." in run.reason
    assert run.restored_at is not None


def test_s24_what_cannot_be_put_back_goes_to_a_person(together: Inside, trouble: Trouble) -> None:
    """Putting back does not work either: the run is inconclusive, says which part stands how, is on the register, and can be undone."""
    together.incident_with_card()
    view = together.plan("Relieve")
    trouble.which, trouble.ill = scaled, Ill.RESET
    together.submitted(view)
    together.until(lambda: together.run_in("unknown"), what="the doubt", patience=15)
    trouble.which, trouble.ill, trouble.status = capped, Ill.STATUS, 403
    run = together.advance_until(lambda: together.run_in("inconclusive"), what="the question to a person", most=900)
    trouble.ill = Ill.NONE
    assert "gateway/answers took effect; inference/reranker-v3 did not." in run.verdict_reason
    assert stands(together) == (2, 1)
    together.pressed("Undo", together.run_message("Undo", saying="Not clear"))
    together.until(lambda: together.run_in("undone"), what="the undo", patience=15)
    assert stands(together) == (2, 3)


def test_s12_every_part_of_a_sequence_is_locked(together: Inside) -> None:
    """While a sequence is watched, nobody changes one of its parts by another action, and is told who is at it."""
    together.incident_with_card()
    together.ran("Relieve", until="verifying")
    view = together.plan("Scale", BEN)
    assert not view.get("submit")
    assert "Ana Silva" in text_of(view)
    assert "inference/reranker-v3" in text_of(view)


def test_s13_a_ramp_goes_one_then_two_and_is_verified_as_a_whole(together: Inside) -> None:
    """First one target, after a pause and a look at p99 the next two; the thread says how far it is; then the whole is watched."""
    together.incident_with_card()
    view = together.plan("Step by step")
    assert view.get("submit"), text_of(view)
    assert "One first, then two, then four, 1 min apart, stopped and undone if p99 latency is over 1 s" in text_of(view)
    together.submitted(view)
    first = together.until(lambda: staged(together, 1), what="the first stage", patience=15)
    assert stands(together) == (4, 3)
    assert "1 of 3 done" in together.run_message("Stop")["text"]
    assert first.executed_at is not None
    together.advance_until(lambda: together.run_in("verifying", "verified"), what="the last stage", most=300)
    assert stands(together) == (4, 1)
    run = together.advance_until(lambda: together.run_in("verified"), what="the verdict", most=900)
    assert [entry.payload.get("stage") for entry in together.entries(kind="run.executed")] == [1, None]
    together.pressed("Undo", together.run_message("Undo", saying="Verified"))
    together.until(lambda: together.run_in("undone"), what="the undo", patience=15)
    assert stands(together) == (2, 3)
    assert run.ramp is not None
    assert run.ramp.done == 3


def staged(stack: Inside, done: int) -> Any:
    """The run once so many parts are done."""
    found = [run for run in stack.runs() if run.ramp and run.ramp.done >= done]
    return found[-1] if found else None


def test_s13_a_ramp_stops_at_its_threshold_and_takes_back_what_was_done(together: Inside) -> None:
    """After the first part it is no better than the limit to stop at: no second part is touched, the first is taken back, the reason said."""
    together.incident_with_card()
    together.submitted(together.plan("Step by step"))
    together.until(lambda: staged(together, 1), what="the first stage", patience=15)
    together.fault("traffic", factor=6.0)
    run = together.advance_until(lambda: together.run_in("undone"), what="the way back", most=300)
    assert stands(together) == (2, 3)
    assert "gateway/answers" not in json.dumps([entry.payload for entry in together.entries(kind="run.executed")])
    assert "after 1 of 3 done" in run.verdict_reason


def test_s17_a_ramp_can_be_stopped_by_a_person_who_is_asked_what_becomes_of_it(together: Inside) -> None:
    """Stop goes no further; what was done stands, on the register, until somebody takes it back or says that it is enough."""
    together.incident_with_card()
    together.submitted(together.plan("Step by step"))
    together.until(lambda: staged(together, 1), what="the first stage", patience=15)
    assert "goes no further" in together.pressed("Stop", together.run_message("Stop"), BEN)
    run = together.until(lambda: together.run_in("inconclusive"), what="the question", patience=15)
    assert "Stopped by Ben" in run.verdict_reason
    together.advance(180)
    assert stands(together) == (4, 3)
    together.pressed("Undo", together.run_message("Undo", saying="Stopped by Ben"))
    together.until(lambda: together.run_in("undone"), what="the undo", patience=15)
    assert stands(together) == (2, 3)


def test_s24_a_release_unit_goes_back_as_one_to_the_release_that_was_chosen(together: Inside) -> None:
    """The plan offers the known-good releases with their scores and names every part; after approval all parts are of that release."""
    together.incident_with_card("slow_release", unit="reranker-v3")
    together.put(False, "flag/semantic-cache")
    view = together.plan("Roll back")
    shown = json.dumps(view, ensure_ascii=False)
    assert "r2 · score 0.9 · " in shown
    assert "r3 · " not in shown, "a bad release was offered"
    assert "cache was changed by hand" in text_of(view)
    assert "*model* " not in text_of(view)
    together.submitted(view)
    together.until(lambda: together.run_in("awaiting approval"), what="the request", patience=10)
    approved(together)
    together.advance_until(lambda: together.run_in("verified"), what="the verdict", most=900)
    assert together.target("release/reranker-v3")["value"]["version"] == RELEASES["r2"]
    assert together.target("flag/semantic-cache")["value"] is True


def approved(stack: Inside) -> None:
    """Ben approves what waits."""

    def found() -> dict[str, Any] | None:
        seen = [*stack.messages(BEN), *stack.thread(user=BEN)]
        return next((one for one in seen if '"Approve' in json.dumps(one.get("blocks", []))), None)

    stack.pressed("Approve", stack.until(found, what="the request for approval", patience=10), BEN)


def test_s23_what_a_bad_release_left_is_cleaned_up_and_carried(stack: Inside) -> None:
    """After a verified rollback a checklist stands: measured things tick themselves, a person ticks theirs, and the rest has a carrier."""
    stack.incident_with_card("quality_regression", release="answers-v7")
    view = stack.plan("Roll back")
    assert "answers-v7.4 · score 0.91" in json.dumps(view, ensure_ascii=False)
    stack.submitted(view)
    stack.until(lambda: stack.run_in("awaiting approval"), what="the request", patience=10)
    approved(stack)
    stack.advance_until(lambda: stack.run_in("verified"), what="the verdict", most=900)
    stack.advance_until(lambda: len(stack.runs()[-1].to_clean) == 3, what="what is measured to be clean", most=300)
    checklist = stack.until(lambda: checklist_of(stack, "1 of 4 done"), what="the checklist", patience=10)
    assert "What it replaced was live from" in checklist["text"]
    assert "is done" in stack.pressed("Done: Cached answers", checklist, BEN)
    assert [item.title for item in stack.runs()[-1].to_clean] == ["Stored prompts", "Who acted on poor answers"]
    card = stack.card(1)
    assert card is not None
    stack.press_in_view("Resolve", stack.more_of(ANA), ANA)
    view = stack.dialog("What fixed it?")
    assert "Still to be cleaned up:* Stored prompts" in text_of(view)
    assert "required" in stack.submitted(view, stack.choose(view, "What fixed it", "The rollback."))
    press, ana = Press(kind=PressKind.RESOLVE_AS, incident_id=1), Visitor(slack_id=ANA)
    assert "Stored prompts" in stack.the.desk.submit(press, {"resolution": "The rollback."}, ana).errors["carrier"]
    filled = {**stack.choose(view, "What fixed it", "The rollback."), **stack.choose(view, "Carrier", BEN)}
    stack.submitted(view, filled)
    stack.until(lambda: not stack.incident().is_open, what="the end", patience=10)
    assert {item.carrier for item in stack.runs()[-1].to_clean} == {"ben"}
    page = stack.http.get(f"{stack.url}/postmortems/1").text
    assert page is not None
    assert [entry.payload["carrier"] for entry in stack.entries(kind="cleanup.handed")] == ["ben"]
    assert stack.entries(kind="cleanup.opened")[0].payload["exposed_from"]


def checklist_of(stack: Inside, saying: str) -> dict[str, Any] | None:
    """The message with what is to be cleaned up, once it says so."""
    return next((one for one in stack.thread() if "To be cleaned up" in one["text"] and saying in one["text"]), None)
