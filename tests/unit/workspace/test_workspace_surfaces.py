"""Triggers, views, response URLs and acknowledgements, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.workspace import answering, opening, posting, typing_in
from bot.workspace.delivery import Reply
from bot.workspace.interactions import TROUBLE, Interactions
from bot.workspace.protocol import SlackError
from bot.workspace.state import Workspace

ANA, BEN = "U01ANA0000", "U01BEN0000"
INCIDENTS = "C01INCIDNT"
BASE = "http://127.0.0.1:8089"


def words(text: str) -> dict[str, str]:
    return {"type": "plain_text", "text": text}


def modal(**fields: Any) -> dict[str, Any]:
    field = {"type": "input", "block_id": "b", "label": words("L"), "element": {"type": "plain_text_input", "action_id": "a"}}
    return {"type": "modal", "title": words("T"), "submit": words("S"), "blocks": [field], **fields}


HOME = {"type": "home", "blocks": [{"type": "divider"}]}
ANSWERED = {"values": {"b": {"a": {"type": "plain_text_input", "value": "x"}}}}


class App:
    """Stands where the app is: keeps what it was sent and answers as told."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.reply = Reply()

    def ready(self) -> bool:
        return True

    async def send(self, kind: str, body: dict[str, Any], *, accepts: bool, attempt: int = 0, reason: str = "") -> Reply:
        self.sent.append({"kind": kind, "body": body, "accepts": accepts})
        return self.reply


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def do(ws: Workspace, app: App) -> Interactions:
    return Interactions(ws=ws, carrier=app)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def opened(ws: Workspace, api: Any, view: dict[str, Any] | None = None) -> dict[str, Any]:
    return api("views.open", trigger_id=opening.new_trigger(ws, ANA), view=view or modal())["view"]


def test_a_trigger_lives_three_seconds(ws: Workspace, api: Any, now: Any) -> None:
    """At three seconds it opens a view, a moment later it has expired."""
    first, second = opening.new_trigger(ws, ANA), opening.new_trigger(ws, ANA)
    now.passes(3.0)
    assert api("views.open", trigger_id=first, view=modal())["view"]["title"]["text"] == "T"
    now.passes(0.1)
    assert api.refusal("views.open", trigger_id=second, view=modal()) == "expired_trigger_id"


def test_a_trigger_works_once(ws: Workspace, api: Any) -> None:
    """The second use is exchanged_trigger_id, an unknown one invalid; a refused view does not use it up."""
    trigger = opening.new_trigger(ws, ANA)
    assert api.refusal("views.open", trigger_id=trigger, view=modal(title=words("x" * 25))) == "invalid_arguments"
    assert api("views.open", trigger_id=trigger, view=modal())["ok"]
    assert api.refusal("views.open", trigger_id=trigger, view=modal()) == "exchanged_trigger_id"
    assert api.refusal("views.open", trigger_id="1.2.3", view=modal()) == "invalid_trigger_id"


def test_a_stack_has_three_views(ws: Workspace, api: Any) -> None:
    """Two can be pushed over the first; the third push is refused; without a first there is nothing to push on."""
    assert api.refusal("views.push", trigger_id=opening.new_trigger(ws, ANA), view=modal()) == "not_found"
    root = opened(ws, api)
    for _ in range(2):
        pushed = api("views.push", trigger_id=opening.new_trigger(ws, ANA), view=modal())["view"]
        assert pushed["root_view_id"] == root["id"]
    assert api.refusal("views.push", trigger_id=opening.new_trigger(ws, ANA), view=modal()) == "push_limit_reached"


def test_a_view_is_updated_by_id_or_external_id_if_the_hash_is_fresh(ws: Workspace, api: Any) -> None:
    """hash_conflict when it is stale, not_found when the view is gone, and an external_id belongs to one view."""
    view = opened(ws, api, modal(external_id="e"))
    newer = api("views.update", view_id=view["id"], hash=view["hash"], view=modal(external_id="e"))["view"]
    assert (newer["id"], newer["hash"] == view["hash"]) == (view["id"], False)
    assert api.refusal("views.update", view_id=view["id"], hash=view["hash"], view=modal()) == "hash_conflict"
    assert api("views.update", external_id="e", view=modal(external_id="e"))["ok"]
    assert api.refusal("views.update", external_id="other", view=modal()) == "not_found"
    assert api.refusal("views.update", view=modal()) == "invalid_arguments"
    pushed = {"trigger_id": opening.new_trigger(ws, ANA), "view": modal(external_id="e")}
    assert api.refusal("views.push", **pushed) == "duplicate_external_id"


def test_an_echoed_view_must_be_stripped(ws: Workspace, api: Any) -> None:
    """A view sent back as it came (id, state, hash) is refused."""
    view = opened(ws, api)
    assert api.refusal("views.update", view_id=view["id"], view=view) == "invalid_arguments"


def test_a_home_tab_is_published_for_one_person(ws: Workspace, api: Any, make_ws: Any, manifest: Any) -> None:
    """Published with hash protection, for people who exist, and only where the tab is switched on."""
    first = api("views.publish", user_id=ANA, view=HOME)["view"]
    api("views.publish", user_id=ANA, view=HOME, hash=first["hash"])
    assert api.refusal("views.publish", user_id=ANA, view=HOME, hash=first["hash"]) == "hash_conflict"
    assert api.refusal("views.publish", user_id="U0NOBODY", view=HOME) == "user_not_found"
    assert (ws.surfaces.home(BEN), ws.surfaces.home(ANA)["type"]) == (None, "home")
    manifest["features"]["app_home"]["home_tab_enabled"] = False
    with pytest.raises(SlackError, match="not_enabled"):
        opening.publish(make_ws(manifest), user=ANA, view=HOME, known_hash="")


def test_a_submission_waits_for_required_fields(ws: Workspace, api: Any, do: Interactions, app: App) -> None:
    """An empty required input is told to the person, and the app is not asked."""
    view = opened(ws, api)
    told = run(do.submit(user=ANA, view_id=view["id"], state={"values": {}}, base_url=BASE))
    assert (told["errors"], app.sent) == ({"b": "Please complete this required field."}, [])


ACKNOWLEDGED = [
    (None, {"ok": True, "closed": True}),
    ({"response_action": "clear"}, {"ok": True, "closed": True, "cleared": True}),
    ({"response_action": "errors", "errors": {"b": "No"}}, {"ok": False, "errors": {"b": "No"}}),
]


@pytest.mark.parametrize("told", ACKNOWLEDGED)
def test_what_the_acknowledgement_of_a_submission_does(ws: Workspace, api: Any, do: Interactions, app: App, told: Any) -> None:
    """Empty closes, clear closes all, errors are shown and keep the view open."""
    payload, seen = told
    view = opened(ws, api)
    app.reply = Reply(payload=payload)
    assert run(do.submit(user=ANA, view_id=view["id"], state=ANSWERED, base_url=BASE)) == seen
    assert bool(ws.surfaces.stack(ANA)) is ("errors" in seen)
    assert app.sent[0]["body"]["view"]["state"] == ANSWERED


@pytest.mark.parametrize(
    "payload",
    [
        {"response_action": "errors", "errors": {"nowhere": "No"}},
        {"response_action": "errors", "errors": {}},
        {"response_action": "update", "view": modal(title=words("x" * 25))},
        {"response_action": "push"},
        {"response_action": "dance"},
    ],
)
def test_an_acknowledgement_slack_cannot_follow_is_trouble(ws: Workspace, api: Any, do: Interactions, app: App, payload: Any) -> None:
    """Wrong errors, wrong views and unknown actions leave the view open, and the person reads that it did not work."""
    view = opened(ws, api)
    app.reply = Reply(payload=payload)
    told = run(do.submit(user=ANA, view_id=view["id"], state=ANSWERED, base_url=BASE))
    assert (told["ok"], told["error"]) == (False, TROUBLE)
    assert ws.surfaces.stack(ANA)[-1]["hash"] == view["hash"]


def test_closing_tells_the_app_only_where_it_asked(ws: Workspace, api: Any, do: Interactions, app: App) -> None:
    """view_closed needs notify_on_close; the X reports the root view and that all was cleared."""
    run(do.close_view(user=ANA, view_id=opened(ws, api)["id"], everything=False))
    assert app.sent == []
    root = opened(ws, api, modal(notify_on_close=True))
    top = api("views.push", trigger_id=opening.new_trigger(ws, ANA), view=modal())["view"]
    run(do.close_view(user=ANA, view_id=top["id"], everything=True))
    body = app.sent[0]["body"]
    assert (body["type"], body["is_cleared"], body["view"]["id"]) == ("view_closed", True, root["id"])
    assert ws.surfaces.stack(ANA) == []


def test_only_the_person_in_front_can_use_a_view(ws: Workspace, api: Any, do: Interactions) -> None:
    """Nobody submits or closes another's modal, nor one that is not on top."""
    root = opened(ws, api)
    api("views.push", trigger_id=opening.new_trigger(ws, ANA), view=modal())
    for user in (ANA, BEN):
        with pytest.raises(SlackError, match="view_not_found"):
            run(do.submit(user=user, view_id=root["id"], state=ANSWERED, base_url=BASE))


SELECT = {
    "type": "actions",
    "block_id": "acts",
    "elements": [
        {"type": "static_select", "action_id": "sev", "options": [{"text": words("One"), "value": "1"}]},
        {"type": "button", "action_id": "go", "text": words("Go"), "value": "true value", "visible_to_user_ids": [ANA]},
    ],
}


def clicks(do: Interactions, ts: str, action_id: str, user: str = ANA, **told: Any) -> Any:
    about = {"container": {"type": "message", "channel": INCIDENTS, "ts": ts}, "block_id": "acts", "action_id": action_id, **told}
    return run(do.click(user=user, told=about, base_url=BASE))


def test_a_click_cannot_be_forged(api: Any, do: Interactions, app: App) -> None:
    """A button's value is the app's, a choice must be on offer, and hidden buttons are not for others."""
    ts = api("chat.postMessage", channel=INCIDENTS, text="x", blocks=[SELECT])["ts"]
    assert clicks(do, ts, "go", value="forged") == {"ok": True}
    assert app.sent[0]["body"]["actions"][0]["value"] == "true value"
    assert clicks(do, ts, "sev", selected_option={"text": words("One"), "value": "1"}) == {"ok": True}
    for user, action_id, told in (
        (ANA, "sev", {"selected_option": {"text": words("Two"), "value": "2"}}),
        (BEN, "go", {}),
        (ANA, "nothing", {}),
    ):
        with pytest.raises(SlackError):
            clicks(do, ts, action_id, user=user, **told)
    assert len(app.sent) == 2


def test_a_response_url_answers_five_times_in_thirty_minutes(ws: Workspace, now: Any) -> None:
    """Five posts pass and the sixth is used_url; one after thirty minutes is expired_url."""

    def fresh() -> str:
        about = {"channel": INCIDENTS, "user": ANA}
        return answering.new_response_url(ws, BASE, about=about).removeprefix(f"{BASE}/actions/")

    url, late = fresh(), fresh()
    for n in range(5):
        answering.answer_by_url(ws, url, {"text": str(n)})
    with pytest.raises(SlackError, match="used_url"):
        answering.answer_by_url(ws, url, {"text": "6"})
    assert [m["text"] for m in ws.talk.ephemerals(INCIDENTS, ANA)] == ["0", "1", "2", "3", "4"]
    now.passes(30 * 60)
    answering.answer_by_url(ws, late, {"text": "in time", "response_type": "in_channel"})
    now.passes(1)
    with pytest.raises(SlackError, match="expired_url"):
        answering.answer_by_url(ws, late, {"text": "late"})


def test_a_response_url_replaces_and_deletes_the_original(api: Any, ws: Workspace, do: Interactions, app: App) -> None:
    """The clicked message changes or goes; a command has no original to delete."""
    ts = api("chat.postMessage", channel=INCIDENTS, text="x", blocks=[SELECT])["ts"]
    clicks(do, ts, "go")
    url = app.sent[0]["body"]["response_url"].removeprefix(f"{BASE}/actions/")
    answering.answer_by_url(ws, url, {"text": "done", "replace_original": True})
    assert ws.talk.get(INCIDENTS, ts)["text"] == "done"
    answering.answer_by_url(ws, url, {"delete_original": True})
    assert ws.talk.get(INCIDENTS, ts) is None
    slash = answering.new_response_url(ws, BASE, about={"channel": INCIDENTS, "user": ANA}).removeprefix(f"{BASE}/actions/")
    with pytest.raises(SlackError, match="message_not_found"):
        answering.answer_by_url(ws, slash, {"delete_original": True})


@pytest.mark.parametrize(
    ("payload", "ok"),
    [
        ({"options": [{"text": words("A"), "value": "a"}]}, True),
        ({"options": []}, True),
        ({"options": [{"text": words("A"), "value": "a"}] * 101}, False),
        (None, False),
    ],
)
def test_suggested_options_are_judged(api: Any, do: Interactions, app: App, payload: Any, ok: bool) -> None:
    """Up to a hundred options are shown; more, or none at all, are no result."""
    external = {"type": "actions", "block_id": "acts", "elements": [{"type": "external_select", "action_id": "find"}]}
    ts = api("chat.postMessage", channel=INCIDENTS, text="x", blocks=[external])["ts"]
    app.reply = Reply(payload=payload)
    about = {"container": {"type": "message", "channel": INCIDENTS, "ts": ts}, "block_id": "acts", "action_id": "find", "value": "a"}
    assert run(do.suggest(user=ANA, told=about))["ok"] is ok
    assert app.sent[0]["body"]["type"] == "block_suggestion"


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("a < b & c", "a &lt; b &amp; c"),
        ("hi @Ben Okafor!", f"hi <@{BEN}>!"),
        ("@ben, @benjamin", f"<@{BEN}>, @benjamin"),
        ("mail ana@example.com", "mail ana@example.com"),
        ("<!channel> <@U01ANA0000> <script>", "<!channel> <@U01ANA0000> &lt;script&gt;"),
        ("see https://e.com/a?b=1&c=2.", "see <https://e.com/a?b=1&amp;c=2>."),
    ],
)
def test_what_people_type_becomes_mrkdwn(ws: Workspace, typed: str, sent: str) -> None:
    """Mentions and links become tokens, everything else is escaped."""
    assert typing_in.message_text(ws, typed) == sent


@given(st.text(alphabet=st.sampled_from("<>@&#!|ab U0CANE:/.\n"), max_size=40))
def test_typed_text_cannot_smuggle_control_sequences(lasting_ws: Workspace, typed: str) -> None:
    """Whatever is typed, only known kinds of tokens keep their angle brackets."""
    seen = typing_in.message_text(lasting_ws, typed)
    token = r"<(@[UW][A-Z0-9]+|#C[A-Z0-9]+|!(here|channel|everyone)|!subteam\^S[A-Z0-9]+)(\|[^<>\n]*)?>|<https?://[^<>\s]+>"
    assert not re.search("[<>]", re.sub(token, "", seen))


def test_a_command_with_should_escape_names_people_and_channels(ws: Workspace) -> None:
    """@names and #channels become <@U…|name> and <#C…|name>; without the switch the text stays as typed."""
    typed = " hand over to @ben in #incidents "
    assert typing_in.command_text(ws, typed, escape=True) == f"hand over to <@{BEN}|ben> in <#{INCIDENTS}|incidents>"
    assert typing_in.command_text(ws, typed, escape=False) == typed.strip()


def test_what_is_pushed_waits_for_the_commit(ws: Workspace) -> None:
    """A change that is rolled back is never shown in any window."""
    listener = ws.hub.join(ANA)
    channel = ws.rooms.channel(INCIDENTS)

    def fails() -> None:
        with ws.transaction():
            posting.post(ws, channel, {"user": ANA, "text": "never"})
            raise SlackError("no")

    with pytest.raises(SlackError):
        fails()
    with ws.transaction():
        posting.post(ws, channel, {"user": ANA, "text": "said"})
    assert [listener.queue.get_nowait()["message"]["text"] for _ in range(listener.queue.qsize())] == ["said"]
    assert [m["text"] for m in ws.talk.history(INCIDENTS, before="9", after="0", limit=9)[0]] == ["said"]
