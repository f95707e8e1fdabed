"""One scenario for each rule of safe actions, named by its id: what a person sees, and what the far side really did."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from bot.configuration import DEFAULT
from bot.flows.pausing import set_pause
from runbooks.people import Actor
from storage import ledger, mitigations, reviews
from storage.errors import AppendOnly
from tests.between import Proxy, button_payload, proxied
from tests.inside import ANA, BEN, DOV, EVA, Inside, inside, text_of
from tests.scenario_alerts import alert
from tests.stack import Stack, find_button

pytestmark = [pytest.mark.slow]
RELEASE = "release/reranker-v3"
CHANGE = "UPDATE entries SET summary = 'nothing happened' WHERE incident_id = 1 AND seq = 3"
HOURS = 3600.0


@pytest.fixture
def proxy(ground: Stack) -> Iterator[Proxy]:
    """What spoils changes on their way to the simulated service."""
    with proxied(ground.simulation) as proxy:
        yield proxy


@pytest.fixture
def behind(ground: Stack, tmp_path: Path, sqlite_url: str, proxy: Proxy) -> Iterator[Inside]:
    """A Muster that reaches the service only through the proxy."""
    with inside(ground, tmp_path, database_url=sqlite_url, MUSTER_SIMULATION_URL=proxy.url) as stack:
        yield stack


def replicas(stack: Inside) -> int:
    return int(stack.target()["value"]["replicas"])


def asked_for_rollback(stack: Inside, user: str = ANA) -> None:
    """A slow release, and a request to roll it back that waits for somebody else."""
    stack.incident_with_card("slow_release", unit="reranker-v3")
    view = stack.plan("Roll back", user)
    assert view.get("submit"), text_of(view)
    told = stack.submitted(view, user=user)
    stack.until(lambda: stack.run_in("awaiting approval"), what=f"the request ({told}, {stack.runs()[-1].state})", patience=5)


def request_message(stack: Inside, user: str = BEN) -> dict[str, Any]:
    """The request for approval, in the thread or the channel."""

    def found() -> dict[str, Any] | None:
        seen = [*stack.messages(user), *stack.thread(user=user)]
        return next((one for one in seen if '"Approve' in json.dumps(one.get("blocks", []))), None)

    return stack.until(found, what="the request for approval", patience=10)


def approve(stack: Inside, user: str, label: str = "Approve") -> str:
    """Press a button on the request; the sentence that came of it."""
    return stack.pressed(label, request_message(stack, user), user)


def test_s1_a_step_that_no_runbook_declares_is_refused(stack: Inside) -> None:
    """A forged button cannot name an action that stands in no runbook: refused in a sentence, on the timeline, nothing touched."""
    stack.incident_with_card()
    told = stack.forged(k="plan", i=1, s="drop-the-database")
    assert "declares no action drop-the-database" in told
    assert stack.changes() == 0
    assert not stack.runs()
    assert [entry.payload["reason"] for entry in stack.entries(kind="attempt.refused")] == ["undeclared"]


def test_s2_a_value_out_of_bounds_starts_nothing(stack: Inside) -> None:
    """A number beyond the runbook's bounds is named at its field, and the dialog stays."""
    stack.incident_with_card()
    view = stack.plan()
    told = stack.submitted(view, stack.choose(view, "Replicas", "99"))
    assert "16" in told
    assert stack.run_in("planned")
    assert replicas(stack) == 2


def test_s2_a_target_that_the_runbook_does_not_list_has_no_plan(stack: Inside) -> None:
    """A label cannot smuggle in another target: there is no plan, and the reason is said."""
    stack.alert(alert(model="payments-db"))
    stack.settle()
    stack.until(stack.diagnosed, what="the card", patience=10)
    view = stack.plan("Scale")
    assert not view.get("submit")
    assert "payments-db" in text_of(view)
    assert not [run for run in stack.runs() if run.started_at]


def test_s4_a_person_without_the_right_is_told_who_has_it(stack: Inside) -> None:
    """Rights are by configuration, deny by default (S3, S4): who may not is told who may, and the attempt is on record."""
    card = stack.incident_with_card()
    told = stack.pressed("Scale", card, EVA)
    assert "may not run actions of low risk (R1)" in told
    assert "Ana Silva" in told
    assert [entry.payload["reason"] for entry in stack.entries(kind="attempt.refused")] == ["not_granted"]
    assert not stack.runs()


def test_s4_somebody_whom_nobody_configured_may_do_nothing(ground: Stack, tmp_path: Path, sqlite_url: str) -> None:
    """An unknown Slack id is refused in a sentence: identity is never guessed from a name."""
    configuration = DEFAULT.read_text().replace("email: eva@example.com, slack_id: U01EVA0000", "email: other@example.com")
    with inside(ground, tmp_path, database_url=sqlite_url, configuration=configuration) as stack:
        card = stack.incident_with_card()
        assert "does not know you" in stack.pressed("Acknowledge", card, EVA)
        assert stack.incident().acknowledged_at is None


def test_s5_drift_between_plan_and_click_runs_nothing(stack: Inside) -> None:
    """When somebody else changes the target after the plan, the click changes nothing and says what is there now."""
    stack.incident_with_card()
    view = stack.plan()
    stack.put({"replicas": 3})
    stack.submitted(view)
    run = stack.until(lambda: stack.run_in("refused"), what="the refusal", patience=10)
    assert "3" in run.reason
    assert replicas(stack) == 3
    assert stack.target()["changed_by"] == "somebody-else"


def test_s6_the_plan_shows_before_and_after_before_the_click_that_counts(stack: Inside) -> None:
    """Nothing is changed until a person has seen the value now, the value after and how it ends, and has confirmed."""
    stack.incident_with_card()
    shown = text_of(stack.plan())
    assert "2 replicas" in shown
    assert "4 replicas" in shown
    assert "3.10 USD" in shown
    assert "After 4 h: back to 2 replicas" in shown
    assert stack.changes() == 0
    stack.ran(until="verifying")
    assert (replicas(stack), stack.changes()) == (4, 1)


def test_s6_what_a_person_chose_is_planned_again_and_shown_before_it_runs(stack: Inside) -> None:
    """A changed parameter does not run at once: the dialog comes back with the plan of what was chosen, says so, and counts only then."""
    stack.incident_with_card()
    view = stack.plan()
    stack.submit(view, stack.choose(view, "Replicas", "3"))
    again = stack.dialog("Planned again with what you chose. Nothing has run yet.")
    assert "2 → 3 replicas" in text_of(again)
    assert (replicas(stack), stack.changes()) == (2, 0)
    stack.submitted(again)
    stack.until(lambda: stack.run_in("verifying"), what="the watch", patience=10)
    assert (replicas(stack), stack.changes()) == (3, 1)


def test_s7_an_approval_does_not_outlive_the_state_that_it_was_given_for(stack: Inside) -> None:
    """Approved, but the target has changed since the plan: nothing runs, and it is said."""
    asked_for_rollback(stack)
    present = stack.target(RELEASE)["value"]
    others = stack.http.get(f"{stack.simulation}/releases/reranker-v3").json()["versions"]
    other = next(one["version"] for one in others if one["version"] not in json.dumps(present))
    stack.put({**present, "version": other} if isinstance(present, dict) else other, RELEASE)
    changed = stack.target(RELEASE)["version"]
    approve(stack, BEN)
    stack.settle()
    run = stack.until(lambda: stack.run_in("refused"), what="the refusal", patience=10)
    assert run.started_at is not None or "changed" in run.reason
    assert stack.target(RELEASE)["version"] == changed


def test_s8_ones_own_approval_does_not_count(stack: Inside) -> None:
    """Who asks cannot approve: refused politely, and the request still waits."""
    asked_for_rollback(stack)
    told = approve(stack, ANA)
    assert "your own" in told.lower() or "yourself" in told.lower() or "somebody else" in told.lower(), told
    assert stack.run_in("awaiting approval")


def test_s8_a_bot_cannot_approve(stack: Inside) -> None:
    """An approval in the bot's name is refused and changes nothing."""
    asked_for_rollback(stack)
    run = stack.run_in("awaiting approval")
    assert run is not None
    assert run.plan is not None
    press = {"k": "approve", "i": 1, "s": run.step, "r": run.id, "h": run.plan.hash, "n": 1}
    stack.slack(button_payload(user="U01MUSTER0", channel="C01INCIDNT", press=press))
    stack.settle()
    waiting = stack.run_in("awaiting approval")
    assert waiting is not None
    assert not waiting.approvals


def test_s8_a_decline_wins(stack: Inside) -> None:
    """One no ends the request; a yes afterwards is told so, and nothing runs."""
    asked_for_rollback(stack)
    message = request_message(stack)
    before = stack.target(RELEASE)["version"]
    assert "declined" in stack.pressed("Decline", message, BEN)
    press = {"k": "approve", "i": 1, "s": "previous-release", "r": stack.runs()[-1].id, "h": stack.runs()[-1].plan.hash, "n": 1}
    assert "Nothing to decide any more" in stack.forged(DOV, **press)
    assert stack.runs()[-1].state.value == "refused"
    assert stack.target(RELEASE)["version"] == before


def test_s8_another_persons_approval_starts_it(stack: Inside) -> None:
    """One other person's word on this plan starts it at once; a second yes is told that it has begun."""
    asked_for_rollback(stack)
    press = {"k": "approve", "i": 1, "s": "previous-release", "r": stack.runs()[-1].id, "h": stack.runs()[-1].plan.hash, "n": 1}
    assert "starts now" in approve(stack, BEN)
    stack.settle()
    run = stack.until(lambda: stack.run_in("verifying"), what="the run", patience=10)
    assert [word.person for word in run.approvals] == ["ben"]
    assert "Nothing to decide any more" in stack.forged(DOV, **press)
    assert stack.target(RELEASE)["changed_by"].startswith("muster/")


def test_s8_two_people_where_the_runbook_asks_for_two(ground: Stack, tmp_path: Path, sqlite_url: str) -> None:
    """With a quorum of two, the first yes is counted and starts nothing; the same person's second yes counts for nothing."""
    edits = {"inference-latency.md": lambda source: source.replace("approval: one", "approval: two")}
    with inside(ground, tmp_path, database_url=sqlite_url, edits=edits) as stack:
        asked_for_rollback(stack)
        assert "1 of 2" in approve(stack, BEN)
        assert "already" in approve(stack, BEN)
        assert stack.run_in("awaiting approval")
        assert "starts now" in approve(stack, DOV)
        stack.settle()
        stack.until(lambda: stack.run_in("verifying"), what="the run", patience=10)


def test_s10_an_old_button_explains_itself(stack: Inside) -> None:
    """A button of another runbook version, of another runbook, and one that is a week old, do nothing and say why."""
    card = stack.incident_with_card()
    assert "version 7 of the runbook" in stack.forged(k="plan", i=1, s="scale-out", n=7)
    assert "from the runbook cost-spike" in stack.forged(k="plan", i=1, s="scale-out", b="cost-spike", n=1)
    _, element = find_button(card["blocks"], "Scale")
    old = json.loads(element["value"])
    stack.skip(7 * 24 * HOURS)
    assert "too old" in stack.forged(**{key: value for key, value in old.items() if key != "v"})
    assert not stack.runs()


def test_s11_two_people_at_once_make_one_change(stack: Inside) -> None:
    """Two people confirm the same action at the same moment: one run, one change, and the other is told by whom."""
    stack.incident_with_card()
    views = {user: stack.plan(user=user) for user in (ANA, BEN)}
    together(lambda user: stack.submit(views[user], user=user), ANA, BEN)
    stack.settle()
    told = [text_of(view) for user in (ANA, BEN) if (view := stack.view(user)) and not view.get("submit")]
    stack.until(lambda: stack.run_in("verifying"), what="the run", patience=10)
    assert len([run for run in stack.runs() if run.started_at]) == 1
    assert stack.changes() == 1
    refused = [run.reason for run in stack.runs() if run.state.value == "refused"]
    assert "Not run" in " ".join([*told, *refused])


def test_s12_a_locked_target_names_who_holds_it(ground: Stack, tmp_path: Path, sqlite_url: str) -> None:
    """While one run works on a target, another runbook's action on it is refused with the holder's name."""

    def other_value(source: str) -> str:
        return source.replace("attempts: 1}", "attempts: 2}").replace(', requires: {amplification: "> 1.5"}', "")

    with inside(ground, tmp_path, database_url=sqlite_url, edits={"cost-spike.md": other_value}) as stack:
        stack.incident_with_card()
        stack.alert(alert(name="CostPerHourHigh", model="answers-v7"))
        stack.settle()
        stack.until(lambda: stack.card(2), what="the second card", patience=15)
        stack.ran("Cap")
        view = stack.plan("Cap", BEN, number=2)
        assert not view.get("submit")
        assert "Ana Silva is at" in text_of(view)
        assert not [run for run in stack.runs(2) if run.started_at]


def ran_and_undone(stack: Inside) -> None:
    """A scaling that worked and was taken back, while the traffic stays."""
    stack.incident_with_card()
    stack.ran(until="verified")
    stack.pressed("Undo", stack.run_message("Undo", saying="Verified"))
    stack.settle()
    stack.until(lambda: stack.run_in("undone"), what="the undo", patience=10)
    stack.advance(120, step=30)


def test_s14_cool_down_then_one_tier_more(stack: Inside) -> None:
    """The same again: first it waits out its cool-down, then it needs another person, because a second time is a tier higher."""
    ran_and_undone(stack)
    early = stack.plan()
    assert not early.get("submit")
    assert "waits 10 min between" in text_of(early), text_of(early)
    stack.advance(600, step=60)
    later = stack.plan()
    assert later.get("submit"), text_of(later)
    assert "R2" in text_of(later)
    assert later["submit"]["text"] != "Run it"


def test_s14_at_most_so_often_in_one_incident(ground: Stack, tmp_path: Path, sqlite_url: str) -> None:
    """An action that may run once in an incident and did is refused with whom to ask."""
    edits = {"inference-latency.md": lambda source: source.replace("at_most: 2", "at_most: 1")}
    with inside(ground, tmp_path, database_url=sqlite_url, edits=edits) as stack:
        ran_and_undone(stack)
        stack.advance(600, step=60)
        view = stack.plan()
        assert not view.get("submit")
        assert "once in one incident" in text_of(view)


def test_s16_a_pause_stops_actions_and_never_pages(stack: Inside) -> None:
    """Paused: no action starts, with the name of who paused; escalation still pages whoever is on duty."""
    stack.incident_with_card()
    by = Actor.model_validate({"kind": "person", "id": "ben"})
    now = stack.the.clock.now()
    stack.the.database.write(lambda tx: set_pause(tx, by=by, reason="we look first", at=now))
    view = stack.plan()
    assert not view.get("submit")
    assert "Ben Okafor paused all actions" in text_of(view)
    stack.advance(360, step=60)
    stack.until(lambda: stack.direct(ANA), what="the page to Ana", patience=10)
    assert stack.entries(kind="page.sent")
    assert not [run for run in stack.runs() if run.started_at]


def test_s17_a_call_that_hangs_is_unknown_and_then_reconciled(behind: Inside, proxy: Proxy) -> None:
    """The far side acts and never answers: the run becomes unknown after its time limit, is looked up, and counts once."""
    behind.incident_with_card()
    proxy.mode = "act_then_hang"
    behind.submitted(behind.plan())
    run = behind.advance_until(lambda: behind.run_in("verifying"), what="the reconciled run", most=900)
    assert [entry.payload["run"] for entry in behind.entries(kind="run.unknown")] == [run.id]
    assert behind.entries(kind="run.reconciled")
    assert (proxy.puts, replicas(behind)) == (1, 4)


def test_s19_secrets_in_answers_are_not_repeated(behind: Inside, proxy: Proxy) -> None:
    """What a far side says when it refuses is shown without the secrets in it: in Slack, on the timeline and in the database."""
    behind.incident_with_card()
    secret = "hunter2-hunter2"
    proxy.mode, proxy.body = "refuse", json.dumps({"error": f"password={secret} Authorization: Bearer {secret}abcdef"})
    behind.submitted(behind.plan())
    behind.advance_until(lambda: behind.run_in("refused"), what="the refusal", most=60)
    behind.until(behind.thread, what="the words in the thread", patience=10)
    said = json.dumps([*behind.thread(), *behind.messages()]) + str(behind.entries()) + str(behind.runs())
    assert "password" in said or "422" in said or "refused" in said
    assert secret not in said


@pytest.mark.parametrize(("mode", "puts", "after"), [("reset", 0, 2), ("act_then_500", 1, 4)])
def test_s20_an_unknown_outcome_is_settled_by_reading_the_world(behind: Inside, proxy: Proxy, mode: str, puts: int, after: int) -> None:
    """A lost answer is neither repeated nor believed: what the target says decides whether it took effect."""
    behind.incident_with_card()
    proxy.mode = mode
    behind.submitted(behind.plan())
    ended = "verifying" if after == 4 else "refused"
    behind.advance_until(lambda: behind.run_in(ended), what=f"the run that is {ended}", most=900)
    assert (proxy.puts, replicas(behind)) == (puts, after)
    assert behind.entries(kind="run.unknown")


def test_s21_verified_with_the_value_before_and_after(stack: Inside) -> None:
    """A recovery is proven by measuring: the verdict names the value before and the value after, in the thread and on the card."""
    stack.incident_with_card()
    run = stack.ran(until="verified")
    assert run.value_before is not None
    assert run.value_after is not None
    assert run.value_before > 0.5 > run.value_after
    assert "→" in stack.run_message("Undo", saying="Verified")["text"]
    assert stack.incident().status.value == "mitigated"


def test_s21_failed_when_it_got_no_better(stack: Inside) -> None:
    """Done and no help: the verdict is failed with both values, and the people on duty are called."""
    stack.alert(alert())
    stack.incident_with_card("traffic", factor=6.0)
    stack.advance(60, step=20)
    run = stack.ran(until="failed", most=900)
    assert run.value_after is not None
    assert run.value_after > 2
    assert stack.incident().mitigated_at is None
    stack.settle()
    stack.until(lambda: any("U01ANA0000" in json.dumps(one) for one in stack.thread()), what="the call", patience=10)


def test_s21_missing_data_is_inconclusive_and_asks_a_person(stack: Inside) -> None:
    """Nothing can be measured: inconclusive, never verified; a person says that it worked, and a second word changes nothing."""
    stack.incident_with_card()
    stack.ran(until="verifying")
    stack.chaos("error_500", path="/api/v1")
    stack.advance_until(lambda: stack.run_in("inconclusive"), what="the verdict", most=900)
    stack.calm()
    message = stack.until(lambda: asked(stack), what="the question", patience=10)
    assert "worked" in stack.pressed("It worked", message)
    assert stack.runs()[-1].state.value == "verified"
    press = {"k": "not_worked", "i": 1, "s": "scale-out", "r": stack.runs()[-1].id, "n": 1}
    assert "nothing to decide any more" in stack.forged(BEN, **press)
    assert stack.runs()[-1].state.value == "verified"


def asked(stack: Inside) -> dict[str, Any] | None:
    return next((one for one in stack.thread() if "It worked" in json.dumps(one.get("blocks", []))), None)


def test_s22_undo_puts_back_what_was(stack: Inside) -> None:
    """Undo restores the captured state, once; the second press is told who was first."""
    stack.incident_with_card()
    stack.ran(until="verified")
    message = stack.run_message("Undo")
    stack.pressed("Undo", message)
    stack.settle()
    stack.until(lambda: stack.run_in("undone"), what="the undo", patience=10)
    press = {"k": "undo", "i": 1, "s": "scale-out", "r": stack.runs()[-1].id, "n": 1}
    assert "was undone by Ana Silva" in stack.forged(BEN, **press)
    assert (replicas(stack), stack.changes()) == (2, 2)


def test_s22_undo_does_not_overwrite_somebody_else(stack: Inside) -> None:
    """Somebody has changed the target since: the undo says so, overwrites nothing and asks a person."""
    stack.incident_with_card()
    stack.ran(until="verified")
    stack.put({"replicas": 9})
    stack.pressed("Undo", stack.run_message("Undo"))
    stack.settle()
    refused = stack.until(lambda: stack.entries(kind="run.undo_refused"), what="the refusal", patience=10)
    assert "9" in refused[-1].summary
    assert replicas(stack) == 9
    stack.until(lambda: any("was not undone: " in one["text"] for one in stack.thread()), what="the words", patience=10)
    assert not any("Not undone" in one["text"] for one in stack.thread()), "the same is said twice"


def test_s23_a_reminder_comes_and_at_the_end_it_is_taken_back(stack: Inside) -> None:
    """A change in force reminds its owner once before its end, and then the declared choice happens: back to two replicas."""
    stack.incident_with_card()
    stack.ran(until="verified")
    stack.skip(3.7 * HOURS)
    assert not stack.entries(kind="mitigation.reminded")
    stack.skip(0.2 * HOURS)
    assert len(stack.entries(kind="mitigation.reminded")) == 1
    stack.skip(0.2 * HOURS)
    stack.until(lambda: stack.run_in("undone"), what="the end", patience=10)
    assert replicas(stack) == 2
    assert len(stack.entries(kind="mitigation.reminded")) == 1
    assert stack.entries(kind="mitigation.ended")


def test_s23_asked_at_the_end_where_the_runbook_says_ask(stack: Inside) -> None:
    """A change whose end asks stays in force until a person decides."""
    asked_for_rollback(stack)
    approve(stack, BEN)
    stack.advance_until(lambda: stack.run_in("verified"), what="the verdict", most=900)
    version = stack.target(RELEASE)["version"]
    stack.skip(24.2 * HOURS)
    stack.until(lambda: any("undo it, extend it or keep it" in one["text"] for one in stack.direct(ANA)), what="the question", patience=10)
    assert stack.target(RELEASE)["version"] == version
    (item,) = stack.database.read(lambda tx: mitigations.of_incident(tx, 1))
    assert item.ended_at is None


def test_s23_extended_and_kept(stack: Inside) -> None:
    """Extend moves the end and the reminder with it; Keep takes it out of the register and nothing is taken back."""
    stack.incident_with_card()
    stack.ran(until="verified")
    (before,) = stack.database.read(lambda tx: mitigations.of_incident(tx, 1))
    stack.pressed("Extend", stack.run_message("Extend"))
    view = stack.until(lambda: stack.view(ANA), what="the dialog", patience=5)
    stack.submitted(view)
    (after,) = stack.database.read(lambda tx: mitigations.of_incident(tx, 1))
    assert after.ends_at is not None
    assert before.ends_at is not None
    assert after.ends_at > before.ends_at + timedelta(hours=3)
    stack.skip(4.2 * HOURS)
    assert replicas(stack) == 4
    assert "stays" in stack.pressed("Keep", stack.run_message("Keep"))
    stack.skip(12 * HOURS)
    assert replicas(stack) == 4


def test_s23_resolving_needs_somebody_who_carries_what_stands(stack: Inside) -> None:
    """With a change in force the incident closes only when somebody is named for it, and that person owns it from then on."""
    stack.incident_with_card()
    stack.ran(until="verified")
    assert stack.press_in_view("Resolve", stack.more_of())["ok"]
    view = stack.dialog("What fixed it")
    values = stack.choose(view, "still in force", "hand")
    answer = stack.submit(view, values)
    assert "carries" in json.dumps(answer["errors"])
    assert stack.incident().is_open
    assert stack.submit(view, {**values, **stack.choose(view, "Carrier", BEN)})["ok"]
    stack.settle()
    assert not stack.incident().is_open
    (item,) = stack.database.read(lambda tx: mitigations.of_incident(tx, 1))
    assert (item.owner, item.ended_at) == ("ben", None)


def test_s25_alone_at_night_a_rollback_is_possible(stack: Inside) -> None:
    """With a reason it runs without approval; the leads are told at once, and a review is owed even where the severity asks for none."""
    stack.incident_with_card("slow_release", unit="reranker-v3")
    assert stack.press_in_view("Set severity", stack.more_of())["ok"]
    view = stack.dialog("· severity")
    stack.submitted(view, stack.choose(view, "Severity", "SEV4"))
    reason = "Nobody else is awake, and customers wait."
    view = stack.plan("Roll back")
    stack.submitted(view, stack.choose(view, "cannot wait", reason))
    run = stack.until(lambda: stack.run_in("verifying"), what="the run", patience=10)
    assert run.break_glass == reason
    assert [entry.payload["reason"] for entry in stack.entries(kind="run.break_glass")] == [reason]
    stack.until(lambda: any("without approval" in one["text"] for one in stack.direct(BEN)), what="the word to the lead", patience=10)
    stack.advance_until(lambda: stack.run_in("verified"), what="the verdict", most=900)
    assert stack.press_in_view("Resolve", stack.more_of())["ok"]
    stack.submitted(stack.dialog("What fixed it"))
    assert not stack.incident().is_open
    review = stack.database.read(lambda tx: reviews.of_incident(tx, 1))
    assert review is not None
    assert review.owner == "ana"


def test_s25_a_reason_is_needed_and_the_glass_is_limited(stack: Inside) -> None:
    """A word is no reason; and whoever went without approval twice in a day is refused the third time and told whom to call."""
    for kind, parameters in (("slow_release", {"unit": "reranker-v3"}), ("retrieval_timeout", {}), ("safety_failure", {})):
        stack.fault(kind, **parameters)
    stack.advance_until(lambda: stack.card(3), what="three cards", most=600)
    view = stack.plan("R2", number=1)
    assert "why this cannot wait" in stack.submitted(view, stack.choose(view, "cannot wait", "now"))
    assert not started(stack, 1)
    for number in (1, 2):
        view = stack.plan("R2", number=number)
        stack.submitted(view, stack.choose(view, "cannot wait", "Nobody else is awake, and customers wait."))
        stack.until(lambda number=number: started(stack, number), what="the run", patience=10)  # type: ignore[misc]
    view = stack.plan("R2", number=3)
    assert "2 is the limit" in stack.submitted(view, stack.choose(view, "cannot wait", "Nobody else is awake, and customers wait."))
    assert not started(stack, 3)


def started(stack: Inside, number: int) -> list[Any]:
    return [run for run in stack.runs(number) if run.started_at]


def test_s26_the_record_verifies_and_tampering_is_named(stack: Inside) -> None:
    """The chain holds after a whole story; the database refuses a change, and one made past its triggers is named by incident and number."""
    stack.incident_with_card()
    stack.ran(until="verified")
    assert stack.chain_holds()
    with pytest.raises(AppendOnly):
        stack.the.database.write(lambda tx: tx.execute(text(CHANGE)))
    with sqlite3.connect(stack.the.database.file) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'entries'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(CHANGE)
    connection.close()
    report = stack.database.read(ledger.verify)
    assert not report.ok
    assert (1, 3) in {(broken.incident_id, broken.seq) for broken in report.broken}


@pytest.mark.parametrize(
    "hostile",
    ["{{ 77*77 }}", "<!channel> <@U01ANA0000>", "a\x00b\x1b[31m\u202e\u0007c", "<https://evil.example|click me>", "x" * 4000],
    ids=["template", "mention", "control", "link", "long"],
)
def test_s29_text_from_outside_is_only_text(stack: Inside, hostile: str) -> None:
    """Hostile labels and summaries get their card and are never a template, a mention, a link or a target."""
    payload = alert(model="reranker-v3", summary=hostile, title=hostile)
    payload["alerts"][0]["labels"]["service"] = hostile
    assert stack.alert(payload).status_code == 202
    stack.settle()
    card = stack.until(stack.diagnosed, what="the card", patience=15)
    said = json.dumps(card, ensure_ascii=False)
    assert "5929" not in text_of(card)
    assert "<!channel>" not in said
    assert "<https://evil.example|" not in said
    assert "\x00" not in said
    assert "\\u001b" not in json.dumps(card)
    assert stack.chain_holds()
    payload["alerts"][0]["labels"]["model"] = hostile
    payload["alerts"][0]["fingerprint"] = "f2"
    assert stack.alert(payload).status_code == 202
    stack.settle()
    assert not [run for run in stack.runs() if run.started_at]


def together(act: Any, *people: str) -> None:
    """Let several people do the same at once."""
    gate = threading.Barrier(len(people))

    def one(person: str) -> None:
        gate.wait()
        act(person)

    threads = [threading.Thread(target=one, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
