"""Every button twice, by two people at once and a week later; a dialog sent twice; Slack's own repetitions: each effect once, never silence."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import httpx
import pytest

from storage import drills, incidents, mitigations
from tests.between import button_payload, form, signed
from tests.inside import ANA, BEN, INCIDENTS, Inside
from tests.stack import initial_state

pytestmark = [pytest.mark.slow]
WEEK = 7 * 86400.0
_numbers = count(1)


def buttons(message: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every button of a message or dialog that does something here, with its block."""
    for block in message.get("blocks", []):
        for element in [*block.get("elements", []), *([block["accessory"]] if "accessory" in block else [])]:
            if element.get("type") == "button" and not element.get("url"):
                yield block, element


def fields(element: dict[str, Any]) -> dict[str, Any]:
    """What a button carries."""
    return {key: value for key, value in json.loads(element["value"]).items() if key != "v"}


def deliver(stack: Inside, user: str, element: dict[str, Any], *, trigger: str | None = None) -> httpx.Response:
    """One press as Slack delivers it, signed."""
    return stack.slack(button_payload(user=user, channel=INCIDENTS, press=fields(element), trigger=trigger))


def answered(stack: Inside, user: str, act: Callable[[], Any]) -> str:
    """Do it, and answer what the person saw of it: a whisper, a dialog, or another card. Silence is a failure."""
    stack.close_views(user)
    whispers, seen, view = len(stack.whispers(user)), [m["text"] + str(m.get("blocks")) for m in stack.messages()], stack.view(user)
    act()
    ends = time.monotonic() + 5
    while time.monotonic() < ends:
        if len(told := stack.whispers(user)) > whispers:
            return told[-1]
        if (now := stack.view(user)) and now != view:
            return f"dialog {now['title']['text']}"
        if [m["text"] + str(m.get("blocks")) for m in stack.messages()] != seen:
            return "the card changed"
        time.sleep(0.05)
    raise AssertionError("a press was answered by silence")


def at_once(*acts: Callable[[], Any]) -> None:
    """Do several things at the same moment."""
    gate = threading.Barrier(len(acts))

    def one(act: Callable[[], Any]) -> None:
        gate.wait()
        act()

    threads = [threading.Thread(target=one, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def press_again(stack: Inside, element: dict[str, Any], user: str) -> None:
    """Press this button on the card as it stands now; where it has gone, as it stood, because a phone may still show it."""
    for _ in range(6):
        card = stack.card(1)
        assert card is not None
        found = [pair for pair in buttons(card) if pair[1]["action_id"] == element["action_id"]]
        if not found:
            assert deliver(stack, user, element).status_code == 200
            return
        block, now = found[0]
        body = {
            "user": user,
            "container": {"type": "message", "channel": INCIDENTS, "ts": card["ts"], "ephemeral": False},
            "block_id": block["block_id"],
            "action_id": now["action_id"],
            "type": "button",
            "value": now["value"],
        }
        answer = stack.http.post(f"{stack.workspace}/client/action", json=body)
        if answer.status_code == 200:
            assert answer.json()["ok"], answer.text
            return
        time.sleep(0.1)
    raise AssertionError(f"{element['action_id']} could not be pressed in six tries")


def test_every_button_of_the_card_twice(stack: Inside) -> None:
    """Each button of the card, pressed twice by one person: both presses are answered, and each effect is there once."""
    card = stack.incident_with_card()
    drawn = [element for _, element in buttons(card)]
    assert len(drawn) >= 6
    for element in drawn:
        for _ in range(2):
            answered(stack, ANA, lambda element=element: press_again(stack, element, ANA))  # type: ignore[misc]
    stack.settle()
    assert len(stack.entries(kind="incident.acknowledged")) == 1
    assert len(stack.entries(kind="role.taken")) == 1
    assert not [run for run in stack.runs() if run.started_at]
    assert stack.chain_holds()


def test_two_people_acknowledge_at_once(stack: Inside) -> None:
    """Two people acknowledge at the same moment: one of them has it, and the other is told who."""
    stack.incident_with_card()
    before = {user: len(stack.whispers(user)) for user in (ANA, BEN)}
    press = {"k": "acknowledge", "i": 1, "n": 1}
    payloads = [button_payload(user=user, channel=INCIDENTS, press=press) for user in (ANA, BEN)]
    at_once(*(lambda payload=payload: stack.slack(payload) for payload in payloads))  # type: ignore[misc]
    (entry,) = stack.entries(kind="incident.acknowledged")
    second, name = (BEN, "Ana Silva") if entry.actor.id == "ana" else (ANA, "Ben Okafor")
    told = stack.until(lambda: stack.whispers(second)[before[second] :], what="the word to the second", patience=5)
    assert f"{name} has acknowledged INC-1 already" in told[-1]


def test_every_button_of_the_card_a_week_later(stack: Inside) -> None:
    """The buttons of a card that is a week old do nothing, and each says why in a sentence."""
    card = stack.incident_with_card()
    old = [element for _, element in buttons(card)]
    stack.skip(WEEK)
    for element in old:
        before = len(stack.whispers(BEN))
        assert deliver(stack, BEN, element).status_code == 200
        told = stack.until(lambda before=before: stack.whispers(BEN)[before:], what=f"a word for {element['action_id']}", patience=5)  # type: ignore[misc]
        assert "too old" in told[-1], (element["action_id"], told)
    assert stack.incident().acknowledged_at is None
    assert stack.incident().commander is None
    assert not stack.runs()


def test_every_button_of_a_run_twice_and_a_week_later(stack: Inside) -> None:
    """Undo, Extend and Keep under a verified run, by two people and again a week later: one undo, one end, always a sentence."""
    stack.incident_with_card()
    stack.ran(until="verified")
    message = stack.run_message("Undo", saying="Verified")
    drawn = {fields(element)["k"]: element for _, element in buttons(message)}
    assert set(drawn) == {"undo", "extend", "keep"}
    at_once(*(lambda user=user: deliver(stack, user, drawn["undo"]) for user in (ANA, BEN)))  # type: ignore[misc]
    stack.settle()
    stack.until(lambda: stack.run_in("undone"), what="the undo", patience=10)
    assert len(stack.entries(kind="run.undo_started")) == 1
    assert stack.changes() == 2
    for wait in (0.0, WEEK):
        stack.skip(wait)
        for kind, element in drawn.items():
            before = len(stack.whispers(BEN))
            assert deliver(stack, BEN, element).status_code == 200
            told = stack.until(lambda before=before: stack.whispers(BEN)[before:], what=f"a word for {kind}", patience=5)  # type: ignore[misc]
            assert "undo" in told[-1].lower() or "cancel" in told[-1].lower() or "no longer in force" in told[-1], told
    assert stack.changes() == 2


def test_keep_by_two_at_once(stack: Inside) -> None:
    """Two people keep the same change: it leaves the register once, and both are answered."""
    stack.incident_with_card()
    stack.ran(until="verified")
    keep = {"k": "keep", "i": 1, "s": "scale-out", "r": stack.runs()[-1].id, "n": 1}
    before = {user: len(stack.whispers(user)) for user in (ANA, BEN)}
    payloads = [button_payload(user=user, channel=INCIDENTS, press=keep) for user in (ANA, BEN)]
    at_once(*(lambda payload=payload: stack.slack(payload) for payload in payloads))  # type: ignore[misc]
    for user in (ANA, BEN):
        stack.until(lambda user=user: stack.whispers(user)[before[user] :], what="the answer", patience=5)  # type: ignore[misc]
    assert len(stack.entries(kind="mitigation.kept")) == 1


def test_approved_and_declined_at_once(stack: Inside) -> None:
    """One approves while another declines: whichever comes first counts, the other is told, and at most one run starts."""
    stack.incident_with_card("slow_release", unit="reranker-v3")
    stack.submitted(stack.plan("Roll back"))
    run = stack.until(lambda: stack.run_in("awaiting approval"), what="the request", patience=10)
    assert run.plan
    press = {"i": 1, "s": run.step, "r": run.id, "h": run.plan.hash, "n": 1}
    yes = button_payload(user=BEN, channel=INCIDENTS, press={"k": "approve", **press})
    no = button_payload(user="U01DOV0000", channel=INCIDENTS, press={"k": "decline", **press})
    at_once(lambda: stack.slack(yes), lambda: stack.slack(no), lambda: stack.slack(yes))
    stack.settle()
    ended = stack.until(lambda: stack.run_in("verifying", "refused"), what="what came of it", patience=10)
    assert len(stack.entries(kind="run.started")) == (1 if ended.state.value == "verifying" else 0)
    assert len(stack.entries(kind="run.approved")) + len(stack.entries(kind="run.declined")) == 1


def submission(view: dict[str, Any], values: dict[str, Any], user: str = ANA) -> dict[str, Any]:
    """A `view_submission` of this dialog as Slack sends it, with a trigger of its own."""
    state = {**initial_state(view["blocks"]), **values}
    return {
        "type": "view_submission",
        "team": {"id": "T01HARBOR0", "domain": "harbor"},
        "user": {"id": user, "username": "somebody", "team_id": "T01HARBOR0"},
        "api_app_id": "A01MUSTER0",
        "trigger_id": f"1.2.{next(_numbers)}-{time.time()}",
        "view": {**view, "state": {"values": state}},
        "response_urls": [],
    }


DIALOGS = {
    "Post an update": ("update", "update.posted", lambda stack, view: stack.choose(view, "Update", "We are on it.")),
    "Set severity": ("severity", "severity.set", lambda stack, view: stack.choose(view, "Severity", "SEV3")),
    "Hand over": ("command", "role.taken", lambda stack, view: stack.choose(view, "Who takes command", BEN)),
    "Wrong runbook": ("runbook", "runbook.rejected", lambda stack, view: stack.choose(view, "right runbook", "cost-spike")),
    "Resolve": ("resolve", "incident.resolved", lambda stack, view: stack.choose(view, "What fixed it", "It went away.")),
}


@pytest.mark.parametrize("label", DIALOGS)
def test_a_dialog_sent_twice_counts_once(stack: Inside, label: str) -> None:
    """The same dialog submitted twice, at once and again after: one effect on the timeline, and every submission is acknowledged."""
    word, kind, filled = DIALOGS[label]
    stack.incident_with_card()
    assert stack.press_in_view(label, stack.more_of())["ok"]
    view = stack.dialog(f"· {word}")
    values = filled(stack, view)
    answers: list[httpx.Response] = []
    at_once(*(lambda: answers.append(stack.slack(submission(view, values))) for _ in range(3)))
    answers.append(stack.slack(submission(view, values)))
    stack.settle()
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len(stack.entries(kind=kind)) == 1
    assert sum("update" in answer.text and "response_action" in answer.text for answer in answers) == 3, "the repetitions got no word"


def test_a_plan_confirmed_twice_runs_once(stack: Inside) -> None:
    """The plan's dialog submitted three times at once: one run, one change; the others are told that it is under way."""
    stack.incident_with_card()
    view = stack.plan()
    answers: list[httpx.Response] = []
    at_once(*(lambda: answers.append(stack.slack(submission(view, {}))) for _ in range(3)))
    stack.settle()
    stack.until(lambda: stack.run_in("verifying"), what="the run", patience=10)
    assert stack.changes() == 1
    assert sum("Not run again" in answer.text or "can no longer be run" in answer.text for answer in answers) == 2


def test_declared_twice_is_one_incident(stack: Inside) -> None:
    """A declaration submitted twice opens one incident."""
    stack.post("workspace", "/client/message", {"user": ANA, "channel": INCIDENTS, "text": "/muster declare Checkout is odd"})
    view = stack.dialog("What is wrong")
    at_once(*(lambda: stack.slack(submission(view, {})) for _ in range(2)))
    stack.slack(submission(view, {}))
    stack.settle()
    assert len(stack.database.read(incidents.listed)) == 1


def test_an_extension_sent_twice_is_one(stack: Inside) -> None:
    """The same extension submitted twice moves the end once."""
    stack.incident_with_card()
    stack.ran(until="verified")
    stack.press("Extend", stack.run_message("Extend", saying="Verified"))
    view = stack.dialog("Stays until")
    at_once(*(lambda: stack.slack(submission(view, {})) for _ in range(2)))
    assert len(stack.entries(kind="mitigation.extended")) == 1
    (item,) = stack.database.read(lambda tx: mitigations.of_incident(tx, 1))
    assert item.ended_at is None


def test_slacks_retry_of_an_event_counts_once(stack: Inside) -> None:
    """Slack delivers a mention again because our answer was slow: it is carried out and answered once."""
    stack.incident_with_card()
    text = "<@U01MUSTER0> ack 1"
    event = {
        "type": "app_mention",
        "user": ANA,
        "text": text,
        "ts": "1700000000.000100",
        "channel": INCIDENTS,
        "event_ts": "1700000000.000100",
    }
    body = json.dumps(
        {
            "token": "unused",
            "team_id": "T01HARBOR0",
            "api_app_id": "A01MUSTER0",
            "event": event,
            "type": "event_callback",
            "event_id": "Ev0000000001",
            "event_time": 1700000000,
            "authorizations": [],
        }
    ).encode()
    before = len(stack.whispers(ANA))
    for attempt in range(3):
        again = {"x-slack-retry-num": str(attempt), "x-slack-retry-reason": "http_timeout"} if attempt else {}
        headers = {**signed(body, secret=stack.signing_secret), **again}
        assert stack.http.post(f"{stack.url}/slack/events", content=body, headers=headers).status_code == 200
    stack.until(lambda: stack.whispers(ANA)[before:], what="the answer", patience=5)
    stack.settle()
    assert stack.whispers(ANA)[before:] == ["INC-1 is acknowledged by you."]
    assert len(stack.entries(kind="incident.acknowledged")) == 1


def test_the_same_delivery_twice_is_one_press(stack: Inside) -> None:
    """One press whose HTTP delivery comes twice, byte for byte: one plan is made, not two."""
    stack.incident_with_card()
    payload = button_payload(user=ANA, channel=INCIDENTS, press={"k": "plan", "i": 1, "s": "scale-out"}, trigger="11.22.same")
    body = form(payload)
    headers = signed(body, secret=stack.signing_secret, content_type="application/x-www-form-urlencoded")
    at_once(*(lambda: stack.http.post(f"{stack.url}/slack/events", content=body, headers=headers) for _ in range(2)))
    stack.settle()
    assert len(stack.runs()) == 1


def test_every_button_under_more_and_in_home_twice(stack: Inside) -> None:
    """Each button of the dialog with everything else and of App Home, pressed twice: acknowledged and answered each time."""
    stack.incident_with_card()
    stack.ran(until="verified")
    for _, element in list(buttons(stack.more_of())):
        for _ in range(2):
            view = stack.more_of()
            label = element.get("accessibility_label") or element["text"]["text"]
            assert stack.press_in_view(label, view)["ok"], label
            stack.until(lambda view=view: top(stack) != view["id"], what=f"what {label} opens", patience=5)  # type: ignore[misc]
    home = stack.until(lambda: stack.post("workspace", "/client/home", {"user": ANA})["view"], what="App Home", patience=10)
    pressed = list(buttons(home))
    assert pressed, "App Home offers nothing to do although a change is in force"
    for block, element in pressed:
        for _ in range(2):
            stack.close_views(ANA)
            body = {
                "user": ANA,
                "container": {"type": "view", "view_id": home["id"]},
                "block_id": block["block_id"],
                "action_id": element["action_id"],
                "type": "button",
                "value": element["value"],
            }
            answer = stack.http.post(f"{stack.workspace}/client/action", json=body)
            if answer.status_code == 200:
                assert answer.json()["ok"], element["action_id"]
    stack.settle()
    assert len([run for run in stack.runs() if run.started_at]) == 1
    assert stack.database.read(drills.listed) is not None


def top(stack: Inside) -> str | None:
    view = stack.view(ANA)
    return view["id"] if view else None
