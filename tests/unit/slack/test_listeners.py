"""What people do in Slack, driven through Bolt: one call of the front, an acknowledgement, and an answer in the right place."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
from slack_bolt import BoltRequest, BoltResponse

from bot.ports import Press, PressKind, Reply, Visitor
from bot.slack import app as apps
from bot.slack import cards, intents, messenger
from bot.slack.app import SlackApp
from runbooks.errors import TransitionRefused
from runbooks.screens import DeclareDialog, Loading, Notice, Refusal
from tests import gallery
from tests.fronts import RecordingFront
from tests.slack_wire import Wire, serving

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
NO = Refusal(text="INC-42 is resolved; nothing was changed.")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A Bolt app with its front, over a Slack at the wire."""

    app: SlackApp
    front: RecordingFront
    wire: Wire

    def send(self, body: dict[str, Any]) -> BoltResponse:
        """As Socket Mode brings it."""
        return self.app.dispatch(BoltRequest(mode="socket_mode", body=body))


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Everything that a press needs."""
    front = RecordingFront()
    with serving() as wire, ThreadPoolExecutor(max_workers=2) as executor:
        client = messenger.client(bot_token="xoxb-test", api_url=wire.url, timeout=5)
        app = apps.build(front=front, client=client, bot_token="xoxb-test", signing_secret=SECRET, executor=executor)
        yield Stage(app=app, front=front, wire=wire)


PLAN = Press(kind=PressKind.PLAN, incident_id=42, step="scale-out", version=3)


def click(press: Press | None = None, *, wire: Wire | None = None, view: Any = None, **action: Any) -> dict[str, Any]:
    """A pressed button: on a message in a thread, or in a view."""
    intent = intents.encode(press or PLAN)
    where: dict[str, Any] = {
        "container": {"type": "message", "message_ts": "17.1", "channel_id": "C1", "thread_ts": "16.1"},
        "channel": {"id": "C1"},
        "message": {"ts": "17.1"},
    }
    if wire is not None:
        where["response_url"] = wire.url + "respond"
    if view is not None:
        where = {"container": {"type": "view", "view_id": view["id"]}, "view": view}
    return {
        "type": "block_actions",
        "team": {"id": "T1"},
        "user": {"id": "U0ANA"},
        "api_app_id": "A1",
        "trigger_id": "trigger-1",
        "actions": [{"type": "button", "action_id": intent.name, "block_id": "b", "value": intent.value, "action_ts": "1", **action}],
        **where,
    }


def modal(**update: Any) -> dict[str, Any]:
    """An open dialog as payloads describe it."""
    return {"id": "V7", "type": "modal", "callback_id": "", "root_view_id": "V7", "previous_view_id": None, "blocks": [], **update}


def submission(screen: Any, values: dict[str, Any], **update: Any) -> dict[str, Any]:
    """A submitted dialog, drawn as the product draws it."""
    drawn = cards.draw_view(screen)
    return {
        "type": "view_submission",
        "team": {"id": "T1"},
        "user": {"id": "U0ANA"},
        "trigger_id": "trigger-2",
        "view": {**drawn, "id": "V7", "state": {"values": values}, "previous_view_id": None, "root_view_id": "V7", **update},
    }


def acked(response: BoltResponse) -> Any:
    """The acknowledgement's payload."""
    assert response.status == 200
    return json.loads(response.body) if response.body else {}


def test_a_button_reaches_the_front_once_with_who_and_where(stage: Stage) -> None:
    """The press comes through decoded, with the visitor's id, channel, message, thread and trigger; the acknowledgement is empty."""
    assert acked(stage.send(click())) == {}
    (call,) = stage.front.asked
    visitor = Visitor(slack_id="U0ANA", channel="C1", message_ts="17.1", thread_ts="16.1", interaction="trigger-1")
    assert call == ("press", PLAN, visitor)


def test_a_press_in_app_home_says_that_it_was_there(stage: Stage) -> None:
    """What is pressed in App Home comes with the window's id and the word that it is Home; in a dialog, without."""
    for view, at_home in ((modal(type="home"), True), (modal(), False)):
        stage.send(click(view=view))
        assert stage.front.asked[-1][2] == Visitor(slack_id="U0ANA", view_id="V7", at_home=at_home, interaction="trigger-1")


def test_a_dialog_opens_after_the_acknowledgement_and_the_front_hears_of_it(stage: Stage) -> None:
    """The dialog opens with the trigger, and the front is told under which id it stands open."""
    stage.front.reply = Reply(dialog=Loading(title="Plan", text="Reading."), then=PLAN)
    stage.send(click())
    (opened,) = stage.wire.wait_for("views.open")
    assert opened["trigger_id"] == "trigger-1"
    assert opened["view"]["type"] == "modal"
    assert stage.front.told.wait(5)
    press, view_id, visitor = stage.front.opened_with[0]
    assert press == PLAN
    assert view_id.startswith("V")
    assert visitor.slack_id == "U0ANA"


def test_nothing_is_sent_to_slack_before_the_acknowledgement(stage: Stage) -> None:
    """`answer` makes no call; what follows starts only when it is told that the answer has left."""
    stage.front.reply = Reply(dialog=Loading(title="Plan", text="Reading."), whisper=NO)
    response, after = stage.app.answer(BoltRequest(mode="socket_mode", body=click(wire=stage.wire)))
    assert response.status == 200
    assert stage.wire.calls == []
    after()
    stage.wire.wait_for("views.open")
    stage.wire.wait_for("respond")


def test_a_whisper_from_a_message_is_an_ephemeral_line_in_its_thread(stage: Stage) -> None:
    """The sentence stands where the person pressed, for that person only, and the card stays."""
    stage.front.reply = Reply(whisper=NO)
    stage.send(click(wire=stage.wire))
    (said,) = stage.wire.wait_for("respond")
    assert said["text"] == NO.text
    assert said["response_type"] == "ephemeral"
    assert said["replace_original"] is False
    assert said["thread_ts"] == "16.1"


@pytest.mark.parametrize("action", [{"value": "rubbish"}, {"value": '{"v":1,"k":"undo"}'}, {"action_id": "approve_btn", "value": "7"}])
def test_an_old_or_forged_button_explains_itself(stage: Stage, action: dict[str, Any]) -> None:
    """It never acts and is never silent; the front hears of the attempt and of nothing in it."""
    assert acked(stage.send(click(wire=stage.wire, **action))) == {}
    (said,) = stage.wire.wait_for("respond")
    assert "Nothing was done" in said["text"]
    assert [call[1] for call in stage.front.asked] == [Press(kind=PressKind.UNREADABLE)]


def test_a_button_without_a_value_explains_itself(stage: Stage) -> None:
    """A button of an app version that used no value is answered too."""
    body = click(wire=stage.wire)
    del body["actions"][0]["value"]
    stage.send(body)
    assert "Nothing was done" in stage.wire.wait_for("respond")[0]["text"]


def test_a_link_button_is_acknowledged_and_nothing_else(stage: Stage) -> None:
    """Opening an address is no press."""
    assert acked(stage.send(click(Press(kind=PressKind.LINK), url="https://example.com"))) == {}
    assert acked(stage.send(click(Press(kind=PressKind.LINK)))) == {}
    assert stage.front.asked == []


def test_a_refusal_of_the_front_is_shown_in_its_own_words(stage: Stage) -> None:
    """An error that Muster raises on purpose is a sentence for the person."""
    stage.front.error = TransitionRefused("INC-42 is resolved; nothing was changed.")
    stage.send(click(wire=stage.wire))
    assert stage.wire.wait_for("respond")[0]["text"] == "INC-42 is resolved; nothing was changed."


def test_an_unexpected_error_is_logged_under_the_number_that_the_person_sees(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The person is told that it failed, without the error's inside; the log has both."""
    stage.front.error = RuntimeError("secret inside")
    assert acked(stage.send(click(wire=stage.wire))) == {}
    said = stage.wire.wait_for("respond")[0]["text"]
    number = said.rstrip(".").rpartition(" ")[2]
    assert "secret" not in said
    assert number in caplog.text
    assert "secret inside" in caplog.text


@pytest.mark.parametrize(
    ("stack", "method"),
    [
        ({"previous_view_id": None, "root_view_id": "V7"}, "views.push"),
        ({"previous_view_id": "V1", "root_view_id": "V1"}, "views.push"),
        ({"previous_view_id": "V2", "root_view_id": "V1"}, "views.update"),
    ],
)
def test_a_button_in_a_dialog_stacks_the_next_one_while_there_is_room(stage: Stage, stack: dict[str, Any], method: str) -> None:
    """Slack takes three dialogs on each other; the fourth replaces the third."""
    stage.front.reply = Reply(dialog=Loading(title="Plan", text="Reading."))
    stage.send(click(view=modal(**stack)))
    assert stage.wire.wait_for(method)[0]["view"]["title"]["text"] == "Plan"


def test_a_whisper_in_a_dialog_is_a_small_dialog(stage: Stage) -> None:
    """Where there is no message to answer at, the sentence stands in a dialog of its own."""
    stage.front.reply = Reply(whisper=NO)
    stage.send(click(view=modal()))
    assert NO.text in json.dumps(stage.wire.wait_for("views.push")[0]["view"])


def test_a_button_in_app_home_opens_dialogs(stage: Stage) -> None:
    """Home has no channel and no stack: both answers open as a dialog."""
    stage.front.reply = Reply(whisper=NO)
    stage.send(click(view={"id": "VH", "type": "home", "blocks": []}))
    assert NO.text in json.dumps(stage.wire.wait_for("views.open")[0]["view"])


def test_a_dialog_that_slack_does_not_open_is_said(stage: Stage) -> None:
    """The trigger was too old: the person reads so where they pressed."""
    stage.wire.fail["views.open"].append("expired_trigger_id")
    stage.front.reply = Reply(dialog=Loading(title="Plan", text="Reading."))
    stage.send(click(wire=stage.wire))
    assert "Press again" in stage.wire.wait_for("respond")[0]["text"]


def test_a_loading_dialog_that_cannot_be_filled_says_so(stage: Stage) -> None:
    """When the front fails after the dialog has opened, the dialog does not stay on loading."""
    stage.front.reply = Reply(dialog=Loading(title="Plan", text="Reading."), then=PLAN)
    stage.front.opened_error = RuntimeError("boom")
    stage.send(click())
    assert "Error" in json.dumps(stage.wire.wait_for("views.update")[0]["view"])


def test_a_plan_s_parameters_come_through_typed(stage: Stage) -> None:
    """Numbers are numbers, switches are booleans, choices keep their type, and an empty reason is absent."""
    screen = gallery.plan_dialog(parameters=gallery.PARAMETERS, values={"replicas": 4}, approvals=1, break_glass=True)
    values = {
        "field:parameters.replicas": {"integer": {"type": "number_input", "value": "6"}},
        "field:parameters.share": {"number": {"type": "number_input", "value": "0.25"}},
        "field:parameters.route": {"choice": {"type": "static_select", "selected_option": {"value": '"backup"'}}},
        "field:parameters.drain": {"boolean": {"type": "checkboxes", "selected_options": []}},
        "field:break_glass": {"text": {"type": "plain_text_input", "value": None}},
        "unknown": {"x": {"type": "plain_text_input", "value": "y"}},
    }
    stage.send(submission(screen, values))
    name, press, form, visitor = stage.front.asked[0]
    assert name == "submit"
    assert press.kind is PressKind.CONFIRM
    assert press.run_id == 11
    assert press.plan_hash == screen.plan_hash
    assert form == {"parameters": {"replicas": 6, "share": 0.25, "route": "backup", "drain": False}}
    assert visitor.view_id == "V7"


def test_a_plan_without_parameters_submits_an_empty_set(stage: Stage) -> None:
    """The flow finds `parameters` in every confirmation."""
    stage.send(submission(gallery.plan_dialog(), {}))
    assert stage.front.asked[0][2] == {"parameters": {}}


def test_resolve_brings_back_what_becomes_of_each_mitigation(stage: Stage) -> None:
    """By the mitigation's id: revert, keep or hand; and who carries them."""
    screen = next(screen for screen in gallery.dialogs() if type(screen).__name__ == "ResolveDialog" and screen.mitigations)
    values = {
        "field:resolution": {"text": {"value": "Scaled out"}},
        "field:mitigations.5": {"choice": {"selected_option": {"value": '"revert"'}}},
        "field:mitigations.6": {"choice": {"selected_option": {"value": '"hand"'}}},
        "field:carrier": {"person": {"selected_user": "U0BEN"}},
    }
    stage.send(submission(screen, values))
    assert stage.front.asked[0][2] == {"resolution": "Scaled out", "mitigations": {"5": "revert", "6": "hand"}, "carrier": "U0BEN"}


def test_what_people_type_is_cleaned_at_the_border(stage: Stage) -> None:
    """Half characters and control characters, which no database takes, do not reach the front; blanks alone are nothing."""
    note = next(screen for screen in gallery.dialogs() if type(screen).__name__ == "NoteDialog")
    stage.send(submission(note, {"field:text": {"text": {"value": " all \ud83d\x00quiet\n"}}}))
    stage.send(submission(note, {"field:text": {"text": {"value": " \x00 "}}}))
    stage.send(slash("list\ud83d\x00", stage.wire))
    assert [call[2] for call in stage.front.asked[:2]] == [{"text": "all quiet"}, {}]
    assert stage.front.asked[2][1] == "list"


def test_the_other_forms_bring_back_what_was_entered(stage: Stage) -> None:
    """A moment as seconds, a date as text, a person as Slack id, a declared incident with the message it began with."""
    declare = DeclareDialog(services=("answers",), message_link="https://example.slack.com/archives/C1/p2", channel="C1")
    extend = next(screen for screen in gallery.dialogs() if type(screen).__name__ == "ExtendDialog")
    move = next(screen for screen in gallery.dialogs() if type(screen).__name__ == "DrillMoveDialog")
    stage.send(submission(extend, {"field:until": {"moment": {"selected_date_time": 1_800_000_000}}}))
    stage.send(submission(move, {"field:date": {"date": {"selected_date": "2026-12-03"}}}))
    entered = {"field:title": {"text": {"value": "Slow"}}, "field:severity": {"choice": {"selected_option": {"value": '"SEV2"'}}}}
    stage.send(submission(declare, entered))
    forms = [call[2] for call in stage.front.asked]
    assert forms == [
        {"until": 1_800_000_000},
        {"date": "2026-12-03"},
        {"title": "Slow", "severity": "SEV2", "message_link": "https://example.slack.com/archives/C1/p2", "channel": "C1"},
    ]


def test_what_is_wrong_with_a_field_is_said_at_the_field(stage: Stage) -> None:
    """Errors by field name are keyed by the block of that field, and the dialog stays open."""
    stage.front.reply = Reply(errors={"replicas": "At most 12.", "parameters.share": "At least 0.05."})
    screen = gallery.plan_dialog(parameters=gallery.PARAMETERS)
    assert acked(stage.send(submission(screen, {}))) == {
        "response_action": "errors",
        "errors": {"field:parameters.replicas": "At most 12.", "field:parameters.share": "At least 0.05."},
    }


def test_an_error_without_a_field_is_shown_all_the_same(stage: Stage) -> None:
    """Slack would drop an error for a field that is not there; the person reads it as a dialog."""
    stage.front.reply = Reply(errors={"plan": "The plan is out of date."})
    answer = acked(stage.send(submission(gallery.plan_dialog(), {})))
    assert answer["response_action"] == "update"
    assert "out of date" in json.dumps(answer["view"])


def test_a_submission_may_lead_to_another_dialog(stage: Stage) -> None:
    """It takes the place of the first with the acknowledgement, and the front is told after it."""
    stage.front.reply = Reply(dialog=Loading(title="Plan", text="Planning again."), then=PLAN)
    answer = acked(stage.send(submission(gallery.plan_dialog(), {})))
    assert answer["response_action"] == "update"
    assert stage.front.told.wait(5)
    assert stage.front.opened_with[0][:2] == (PLAN, "V7")


def test_a_submission_that_took_effect_closes_the_whole_stack(stage: Stage) -> None:
    """What stands below was drawn before, and would offer old buttons."""
    assert acked(stage.send(submission(gallery.plan_dialog(), {}))) == {"response_action": "clear"}


def test_a_sentence_after_a_submission_takes_its_place(stage: Stage) -> None:
    """A refusal, and an error, stand where the dialog was."""
    stage.front.reply = Reply(whisper=NO)
    assert NO.text in json.dumps(acked(stage.send(submission(gallery.plan_dialog(), {}))))
    stage.front.error = RuntimeError("boom")
    assert "Error" in json.dumps(acked(stage.send(submission(gallery.plan_dialog(), {}))))


def test_a_forged_submission_is_answered_with_a_sentence(stage: Stage) -> None:
    """Private metadata that Muster did not write never reaches the front; that somebody tried does."""
    answer = acked(stage.send(submission(gallery.plan_dialog(), {}, private_metadata="{}")))
    assert "Nothing was done" in json.dumps(answer["view"])
    assert [call[1] for call in stage.front.asked] == [Press(kind=PressKind.UNREADABLE)]


def test_a_closed_dialog_is_acknowledged(stage: Stage) -> None:
    """Closing needs nothing, but an answer."""
    assert (
        acked(stage.send({"type": "view_closed", "team": {"id": "T1"}, "user": {"id": "U0ANA"}, "view": modal(), "is_cleared": False}))
        == {}
    )


def slash(text: str, wire: Wire) -> dict[str, Any]:
    """A typed command."""
    return {
        "command": "/muster",
        "text": text,
        "user_id": "U0ANA",
        "channel_id": "C1",
        "team_id": "T1",
        "trigger_id": "trigger-3",
        "response_url": wire.url + "respond",
    }


def test_a_command_s_answer_comes_with_the_acknowledgement(stage: Stage) -> None:
    """No second call is needed for a sentence."""
    stage.front.reply = Reply(whisper=Notice(text="No incident is open."))
    answer = acked(stage.send(slash(" list ", stage.wire)))
    assert answer["text"] == "No incident is open."
    assert answer["response_type"] == "ephemeral"
    assert stage.front.asked[0] == ("command", "list", Visitor(slack_id="U0ANA", channel="C1", interaction="trigger-3"))
    assert stage.wire.calls == []


def test_a_command_may_open_a_dialog(stage: Stage) -> None:
    """`/muster declare` opens the form."""
    stage.front.reply = Reply(dialog=DeclareDialog())
    assert acked(stage.send(slash("declare", stage.wire))) == {}
    assert stage.wire.wait_for("views.open")[0]["trigger_id"] == "trigger-3"


def test_shortcuts_reach_the_front_with_their_message(stage: Stage) -> None:
    """A message shortcut brings the message and its channel; a global one neither, and its sentence opens as a dialog."""
    message = {"ts": "18.1", "text": "look at this", "user": "U0BEN"}
    body = {
        "type": "message_action",
        "callback_id": "add_to_timeline",
        "trigger_id": "t",
        "message_ts": "18.1",
        "message": message,
        "channel": {"id": "C1"},
        "user": {"id": "U0ANA"},
        "team": {"id": "T1"},
        "response_url": stage.wire.url + "respond",
    }
    stage.front.reply = Reply(whisper=Notice(text="Kept."))
    assert acked(stage.send(body)) == {}
    assert stage.front.asked[0][:3] == ("shortcut", "add_to_timeline", {**message, "channel": "C1"})
    assert stage.wire.wait_for("respond")[0]["text"] == "Kept."
    stage.send({"type": "shortcut", "callback_id": "declare_incident", "trigger_id": "t2", "user": {"id": "U0ANA"}, "team": {"id": "T1"}})
    assert stage.front.asked[1][:3] == ("shortcut", "declare_incident", None)
    stage.wire.wait_for("views.open")


def event(body: dict[str, Any], **update: Any) -> dict[str, Any]:
    """An event as Slack delivers it."""
    return {
        "type": "event_callback",
        "team_id": "T1",
        "api_app_id": "A1",
        "event_id": "Ev1",
        "event_time": 1,
        "authorizations": [{"team_id": "T1", "user_id": "U0BOT", "is_bot": True}],
        "event": body,
        **update,
    }


REACTION = {"type": "reaction_added", "user": "U0ANA", "reaction": "pushpin", "item": {"type": "message", "channel": "C1", "ts": "17.1"}}


@pytest.mark.parametrize(
    "body",
    [
        REACTION,
        {"type": "app_home_opened", "user": "U0ANA", "channel": "D1", "tab": "home"},
        {"type": "pin_added", "user": "U0ANA", "channel_id": "C1", "item": {"type": "message"}},
        {"type": "member_joined_channel", "user": "U0BOT", "channel": "C1"},
        {"type": "channel_archive", "channel": "C1", "user": "U0ANA"},
        {"type": "channel_rename", "channel": {"id": "C1", "name": "x"}},
        {"type": "message", "user": "U0ANA", "channel": "C1", "channel_type": "channel", "text": "hi", "ts": "1.1"},
        {"type": "message", "subtype": "bot_message", "bot_id": "B9", "channel": "C1", "text": "alert", "ts": "1.2"},
    ],
    ids=lambda body: str(body["type"]),
)
def test_events_reach_the_front_as_they_are(stage: Stage, body: dict[str, Any]) -> None:
    """With their id, so that the front can tell a repeated one."""
    assert stage.send(event(body)).status == 200
    name, kind, seen, event_id, visitor = stage.front.asked[0]
    assert (name, kind, seen, event_id) == ("event", body["type"], body, "Ev1")
    assert visitor.interaction == "Ev1"
    assert visitor.slack_id == body.get("user")


def test_a_repeated_event_reaches_the_front_again_with_the_same_id(stage: Stage) -> None:
    """Bolt does not tell retries apart; the front does, by the id."""
    for number in ("0", "1"):
        request = BoltRequest(mode="socket_mode", body=event(REACTION), headers={"x-slack-retry-num": number})
        assert stage.app.dispatch(request).status == 200
    assert [call[3] for call in stage.front.asked] == ["Ev1", "Ev1"]


def test_an_event_that_could_not_be_kept_is_not_acknowledged(stage: Stage) -> None:
    """Slack sends it again: a 2xx means that it is on disk."""
    stage.front.error = RuntimeError("the database is away")
    assert stage.send(event(REACTION)).status == 500


@pytest.mark.parametrize(
    "body",
    [
        {"type": "message", "user": "U0BOT", "bot_id": "B1", "channel": "C1", "text": "a card", "ts": "1.1"},
        {"type": "message", "bot_id": "B1", "app_id": "A1", "channel": "C1", "text": "a card", "ts": "1.1"},
        {"type": "message", "subtype": "message_changed", "channel": "C1", "message": {"text": "a card"}},
        {"type": "message", "subtype": "channel_join", "user": "U0ANA", "channel": "C1"},
        {"type": "pin_added", "user": "U0BOT", "channel_id": "C1"},
    ],
)
def test_muster_s_own_doings_and_edits_are_no_news(stage: Stage, body: dict[str, Any]) -> None:
    """Otherwise every card update would come back as an event."""
    assert stage.send(event(body)).status == 200
    assert stage.front.asked == []


def test_a_mention_is_a_command_answered_in_its_thread(stage: Stage) -> None:
    """`@Muster what now` asks the front, and only the asker sees the answer."""
    stage.front.reply = Reply(whisper=Notice(text="Look at INC-42."))
    said = {"type": "app_mention", "user": "U0ANA", "channel": "C1", "text": "<@U0BOT> what now?", "ts": "20.1", "thread_ts": "19.1"}
    stage.send(event(said))
    assert stage.front.asked[0][:2] == ("command", "what now?")
    (line,) = stage.wire.wait_for("chat.postEphemeral")
    assert (line["channel"], line["user"], line["thread_ts"]) == ("C1", "U0ANA", "19.1")


def test_a_direct_message_is_a_command_answered_in_the_conversation(stage: Stage) -> None:
    """What needs a dialog says how to open it."""
    stage.front.reply = Reply(dialog=DeclareDialog())
    stage.send(event({"type": "message", "channel_type": "im", "user": "U0ANA", "channel": "D1", "text": "declare", "ts": "1.1"}))
    (line,) = stage.wire.wait_for("chat.postMessage")
    assert "/muster declare" in line["text"]
    assert line["channel"] == "D1"


def signed(body: str, *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    """Headers as Slack signs them."""
    stamp = str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}


def http(stage: Stage, body: str, headers: dict[str, str], kind: str = "application/json") -> apps.Answer:
    """One request to /slack/events."""
    return apps.answer_http(stage.app, body=body.encode(), headers={"Content-Type": kind, **headers})


def test_http_takes_what_slack_signed(stage: Stage) -> None:
    """The challenge, an event, a button and a command come in over HTTP as over the socket."""
    challenge = json.dumps({"type": "url_verification", "challenge": "abc", "token": "t"})
    assert "abc" in http(stage, challenge, signed(challenge)).body
    happened = json.dumps(event(REACTION))
    assert http(stage, happened, signed(happened)).status == 200
    pressed = urlencode({"payload": json.dumps(click())})
    assert http(stage, pressed, signed(pressed), "application/x-www-form-urlencoded").status == 200
    typed = urlencode(slash("list", stage.wire))
    assert http(stage, typed, signed(typed), "application/x-www-form-urlencoded").status == 200
    assert [call[0] for call in stage.front.asked] == ["event", "press", "command"]


@pytest.mark.parametrize(
    "headers",
    [
        lambda body: {},
        lambda body: signed(body, secret="another"),
        lambda body: signed(body, at=time.time() - 400),
        lambda body: signed(body + " "),
        lambda body: {**signed(body), "X-Slack-Signature": "v0="},
        lambda body: {**signed(body), "X-Slack-Request-Timestamp": "yesterday"},
        lambda body: {**signed(body), "X-Slack-Request-Timestamp": "\u00b2"},
        lambda body: {**signed(body), "X-Slack-Request-Timestamp": "9" * 5000},
    ],
)
def test_http_refuses_what_slack_did_not_sign(stage: Stage, headers: Callable[[str], dict[str, str]]) -> None:
    """No signature, another secret, an old stamp, another body: 401, and nobody is asked."""
    body = json.dumps(event(REACTION))
    assert http(stage, body, headers(body)).status == 401
    assert stage.front.asked == []


def test_http_is_shut_without_a_signing_secret(stage: Stage) -> None:
    """An empty secret would let in whoever signs with an empty secret."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        client = messenger.client(bot_token="x", api_url=stage.wire.url)
        app = apps.build(front=stage.front, client=client, bot_token="x", signing_secret=None, executor=executor)
        body = json.dumps(event(REACTION))
        answer = apps.answer_http(app, body=body.encode(), headers={"Content-Type": "application/json", **signed(body, secret="")})
    assert answer.status == 404
    assert stage.front.asked == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"payload=%7B", b"payload=null", b"[]"])
def test_http_survives_rubbish(stage: Stage, body: bytes) -> None:
    """Rubbish, even signed, is answered and reaches nobody."""
    text = body.decode("utf-8", "replace")
    answer = apps.answer_http(stage.app, body=body, headers={"Content-Type": "application/x-www-form-urlencoded", **signed(text)})
    assert answer.status >= 200
    assert stage.front.asked == []


def test_building_the_app_calls_nobody() -> None:
    """Muster starts while Slack is down."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        client = messenger.client(bot_token="x", api_url="http://127.0.0.1:9/api/")
        app = apps.build(front=RecordingFront(), client=client, bot_token="x", signing_secret=None, executor=executor)
        assert app.dispatch(BoltRequest(mode="socket_mode", body=event(REACTION))).status == 200
