"""The messenger against Slack at the wire: once and only once, and every failure in Muster's words."""

import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest

from bot.ports import DeliveryError, Location
from bot.slack import messenger as messengers
from bot.slack.delivery import PERMANENT, Pace, Rate, SlackRefused
from bot.slack.messenger import SlackMessenger
from runbooks.screens import HomeScreen, Loading, Notice
from tests import gallery
from tests.slack_wire import Wire, serving

CARD = gallery.card()


@pytest.fixture
def wire() -> Iterator[Wire]:
    """Slack at the wire."""
    with serving() as served:
        yield served


class Ticks:
    """A monotonic clock that stands still unless told."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def speaker(wire: Wire, *, rates: dict[str, Rate] | None = None, ticks: Ticks | None = None, timeout: int = 5) -> SlackMessenger:
    """A messenger that talks to the wire; without rates it is not paced."""
    client = messengers.client(bot_token="xoxb-test", api_url=wire.url, timeout=timeout)
    clock = ticks or Ticks()
    return SlackMessenger(client=client, monotonic=clock, now=lambda: gallery.NOW, pace=Pace(monotonic=clock, rates=rates or {}))


def test_a_card_is_posted_with_text_blocks_key_and_without_unfurling(wire: Wire) -> None:
    """One post carries the text, the blocks, the key as metadata, and no unfurling."""
    at = speaker(wire).post(CARD, channel="C1", key="card:42")
    sent = wire.of("chat.postMessage")
    assert len(sent) == 1
    assert sent[0]["text"].startswith("SEV2 INC-42 triggered")
    assert sent[0]["blocks"][0]["type"] == "header"
    assert sent[0]["metadata"] == {"event_type": "muster_card", "event_payload": {"key": "card:42"}}
    assert sent[0]["unfurl_links"] is False
    assert sent[0]["unfurl_media"] is False
    assert at == Location(channel="C1", ts=wire.messages["C1"][0]["ts"])


def test_a_lost_answer_leaves_doubt_and_the_next_attempt_finds_the_message(wire: Wire) -> None:
    """When only the answer is lost, the second attempt finds the first post and posts nothing."""
    wire.fail["chat.postMessage"].append("lost")
    speaking = speaker(wire)
    with pytest.raises(DeliveryError) as caught:
        speaking.post(CARD, channel="C1", key="card:42")
    assert not caught.value.certain
    at = speaking.post(CARD, channel="C1", key="card:42", look_first=True)
    assert len(wire.messages["C1"]) == 1
    assert at.ts == wire.messages["C1"][0]["ts"]
    assert len(wire.of("chat.postMessage")) == 1


def test_a_reset_before_the_effect_is_posted_once_by_the_second_attempt(wire: Wire) -> None:
    """When the first attempt did not take effect, the look proves it and the message is posted."""
    wire.fail["chat.postMessage"].append("reset")
    speaking = speaker(wire)
    with pytest.raises(DeliveryError):
        speaking.post(CARD, channel="C1", key="card:42")
    speaking.post(CARD, channel="C1", key="card:42", look_first=True)
    assert len(wire.messages["C1"]) == 1


def test_the_look_finds_a_key_in_a_thread_and_past_the_first_page(wire: Wire) -> None:
    """The search pages on, and looks into the thread where the message belongs there."""
    wire.page = 2
    speaking = speaker(wire)
    root = speaking.post(CARD, channel="C1", key="root")
    wanted = speaking.post(Notice(text="first"), channel="C1", key="run:1", thread=root.ts)
    for number in range(5):
        speaking.post(Notice(text="more"), channel="C1", key=f"other:{number}")
        speaking.post(Notice(text="more"), channel="C1", key=f"reply:{number}", thread=root.ts)
    posted = len(wire.of("chat.postMessage"))
    assert speaking.post(CARD, channel="C1", key="root", look_first=True) == root
    assert speaking.post(Notice(text="first"), channel="C1", key="run:1", thread=root.ts, look_first=True) == wanted
    assert len(wire.of("chat.postMessage")) == posted
    oldest = (gallery.NOW - timedelta(hours=24)).timestamp()
    assert float(wire.of("conversations.history")[0]["oldest"]) == pytest.approx(oldest)


@pytest.mark.parametrize(
    "failure", ["429", "500", "reset", "html", "internal_error", "channel_not_found", "not_in_channel", "invalid_auth"]
)
def test_a_failing_look_proves_nothing(wire: Wire, failure: str) -> None:
    """Whatever goes wrong while looking, the earlier attempt stays in doubt and nothing is posted."""
    wire.fail["conversations.history"].append(failure)
    with pytest.raises(DeliveryError) as caught:
        speaker(wire).post(CARD, channel="C1", key="card:42", look_first=True)
    assert not caught.value.certain
    assert wire.of("chat.postMessage") == []


def test_running_out_of_tokens_during_the_look_proves_nothing(wire: Wire) -> None:
    """Muster's own pace must not clear the doubt either."""
    speaking = speaker(wire, rates={"conversations.history": Rate(burst=0, per_second=1)})
    with pytest.raises(DeliveryError) as caught:
        speaking.post(CARD, channel="C1", key="card:42", look_first=True)
    assert not caught.value.certain
    assert caught.value.retry_after == pytest.approx(1.0)


def test_failing_to_reach_the_person_leaves_an_earlier_message_in_doubt(wire: Wire) -> None:
    """A direct message that may have been sent stays in doubt when the conversation cannot be opened now."""
    wire.fail["conversations.open"].append("429")
    with pytest.raises(DeliveryError) as caught:
        speaker(wire).direct(CARD, slack_id="U0ANA", key="page:1", look_first=True)
    assert not caught.value.certain
    assert caught.value.retry_after == 7


FAILURES = [
    ("429", True, 7.0, False),
    ("500", False, None, False),
    ("500 after", False, None, False),
    ("html", False, None, False),
    ("reset", False, None, False),
    ("lost", False, None, False),
    ("internal_error", False, None, False),
    ("fatal_error", False, None, False),
    ("ratelimited", True, 30.0, False),
    ("invalid_auth", True, None, False),
    ("missing_scope", True, None, False),
    ("is_archived", True, None, True),
    ("no_such_word_yet", True, None, False),
]


@pytest.mark.parametrize(("failure", "certain", "retry_after", "permanent"), FAILURES)
@pytest.mark.parametrize("call", ["post", "update", "whisper", "direct", "view", "home"])
def test_every_failure_of_every_call_is_translated(
    wire: Wire, call: str, *, failure: str, certain: bool, retry_after: float | None, permanent: bool
) -> None:
    """No error of slack_sdk or of the network escapes, and each says whether the effect surely did not happen."""
    speaking = speaker(wire)
    methods = {
        "post": ("chat.postMessage", lambda: speaking.post(CARD, channel="C1", key="k")),
        "update": ("chat.update", lambda: speaking.update(CARD, at=Location(channel="C1", ts="1.1"), key="k")),
        "whisper": ("chat.postEphemeral", lambda: speaking.whisper(CARD, channel="C1", slack_id="U0ANA")),
        "direct": ("conversations.open", lambda: speaking.direct(CARD, slack_id="U0ANA", key="k")),
        "view": ("views.update", lambda: speaking.view(Loading(title="t", text="x"), view_id="V1")),
        "home": ("views.publish", lambda: speaking.home(HomeScreen(person=None, drawn_at=gallery.NOW), slack_id="U0ANA")),
    }
    method, act = methods[call]
    wire.fail[method].append(failure)
    with pytest.raises(DeliveryError) as caught:
        act()
    assert (caught.value.certain, caught.value.retry_after, caught.value.permanent) == (certain, retry_after, permanent)
    assert len(wire.of(method)) == 1, "slack_sdk must not retry by itself"


def test_a_refused_connection_is_certain() -> None:
    """Where nobody listens, nothing was delivered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DeliveryError) as caught:
        speaker(Wire(port=port)).post(CARD, channel="C1", key="k")
    assert caught.value.certain


def test_no_answer_in_time_is_unknown() -> None:
    """A far side that accepts and is silent may have done it."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(DeliveryError) as caught:
            speaker(Wire(port=silent.getsockname()[1]), timeout=1).post(CARD, channel="C1", key="k")
    assert not caught.value.certain


def test_permanent_refusals_are_permanent(wire: Wire) -> None:
    """Every refusal on the list is certain and final, whatever the method."""
    speaking = speaker(wire)
    for code in sorted(PERMANENT - {"not_in_channel", "channel_not_found"}):
        wire.fail["chat.update"].extend([code, code])
        with pytest.raises(SlackRefused) as caught:
            speaking.update(CARD, at=Location(channel="C1", ts="1.1"), key="k")
        assert (caught.value.certain, caught.value.permanent) == (True, True), code
        wire.fail["chat.update"].clear()


def test_refused_blocks_cost_the_buttons_and_not_the_message(wire: Wire) -> None:
    """Slack refuses the blocks: the text goes out alone, and says how to act."""
    wire.fail["chat.postMessage"].append("invalid_blocks")
    at = speaker(wire).post(CARD, channel="C1", key="card:42")
    message = wire.messages["C1"][0]
    assert message["ts"] == at.ts
    assert not message.get("blocks")
    assert message["text"].startswith("SEV2 INC-42")
    assert "/muster" in message["text"]
    assert message["metadata"]["event_payload"]["key"] == "card:42"


def test_an_update_whose_blocks_are_refused_shows_its_text(wire: Wire) -> None:
    """An update never leaves an old card standing with buttons of another time."""
    speaking = speaker(wire)
    at = speaking.post(CARD, channel="C1", key="k")
    wire.fail["chat.update"].append("msg_blocks_too_long")
    speaking.update(gallery.card(gallery.RESOLVED), at=at, key="k")
    assert wire.messages["C1"][0]["blocks"] == []
    assert "resolved" in wire.messages["C1"][0]["text"]


def test_muster_joins_a_public_channel_and_posts(wire: Wire) -> None:
    """Not in a public channel: join it, post, once."""
    wire.public.add("C2")
    speaker(wire).post(CARD, channel="C2", key="k")
    assert len(wire.messages["C2"]) == 1
    assert len(wire.of("conversations.join")) == 1


def test_a_private_channel_without_muster_is_a_permanent_refusal_that_says_what_to_do(wire: Wire) -> None:
    """The error tells the person to invite Muster."""
    with pytest.raises(DeliveryError) as caught:
        speaker(wire).post(CARD, channel="C9", key="k")
    assert caught.value.permanent
    assert "Invite" in str(caught.value)


def test_a_channel_s_name_is_looked_up_once(wire: Wire) -> None:
    """`#incidents` becomes its id, and is remembered."""
    wire.members.add("C0INC")
    speaking = speaker(wire)
    speaking.post(CARD, channel="#incidents", key="a")
    speaking.post(CARD, channel="incidents", key="b")
    assert len(wire.messages["C0INC"]) == 2
    assert len(wire.of("conversations.list")) == 1
    with pytest.raises(DeliveryError) as caught:
        speaking.post(CARD, channel="#nowhere", key="c")
    assert caught.value.permanent


def test_an_update_sends_text_blocks_and_key_together(wire: Wire) -> None:
    """Slack drops the blocks of an update that brings only text."""
    speaking = speaker(wire)
    at = speaking.post(CARD, channel="C1", key="k")
    speaking.update(gallery.card(gallery.ACKNOWLEDGED), at=at, key="k")
    sent = wire.of("chat.update")[0]
    assert sent["blocks"]
    assert sent["text"].startswith("SEV2 INC-42 acknowledged")
    assert sent["metadata"]["event_payload"]["key"] == "k"


def test_a_dialog_that_was_closed_is_no_error(wire: Wire) -> None:
    """The person closed the window while it was being filled."""
    wire.fail["views.update"].append("not_found")
    speaker(wire).view(Loading(title="t", text="x"), view_id="V1")


@pytest.mark.parametrize("refusal", ["user_not_in_channel", "not_in_channel", "channel_not_found"])
def test_an_ephemeral_line_that_cannot_be_shown_goes_to_the_person_directly(wire: Wire, refusal: str) -> None:
    """Never silence: who is not in the channel is told in a direct message."""
    wire.fail["chat.postEphemeral"].append(refusal)
    speaker(wire).whisper(Notice(text="Not run."), channel="C1", slack_id="U0ANA")
    assert [message["text"] for message in wire.messages["DU0ANA"]] == ["Not run."]


def test_pace_refuses_with_the_seconds_to_wait_and_refills() -> None:
    """A token bucket: so many at once, then at its rate; nothing sleeps."""
    ticks = Ticks()
    pace = Pace(monotonic=ticks, rates={"m": Rate(burst=2, per_second=0.5)})
    pace.take("m")
    pace.take("m")
    with pytest.raises(DeliveryError) as caught:
        pace.take("m")
    assert caught.value.certain
    assert caught.value.retry_after == pytest.approx(2.0)
    ticks.at += 2.0
    pace.take("m")
    with pytest.raises(DeliveryError):
        pace.take("m")


def test_pace_is_by_channel_and_a_refusal_uses_no_token() -> None:
    """One busy channel does not slow another, and being refused costs nothing of the method's budget."""
    ticks = Ticks()
    pace = Pace(monotonic=ticks, rates={"m": Rate(burst=3, per_second=1), "m/channel": Rate(burst=1, per_second=1)})
    pace.take("m", channel="C1")
    for _ in range(5):
        with pytest.raises(DeliveryError):
            pace.take("m", channel="C1")
    pace.take("m", channel="C2")
    pace.take("m", channel="C3")
    with pytest.raises(DeliveryError):
        pace.take("m", channel="C4")


def test_pace_never_lets_more_through_in_a_minute_than_slack_allows() -> None:
    """With the shipped rates, any minute sees at most 50 updates, and any second run of posts stays near one a second."""
    ticks = Ticks()
    pace = Pace(monotonic=ticks)
    allowed = 0
    for _ in range(6_000):
        ticks.at += 0.01
        try:
            pace.take("chat.update")
        except DeliveryError:
            continue
        allowed += 1
    assert 45 <= allowed <= 50


def test_pace_forgets_channels_that_are_quiet() -> None:
    """Thousands of direct messages do not fill the memory."""
    ticks = Ticks()
    pace = Pace(monotonic=ticks, rates={"m/channel": Rate(burst=1, per_second=1)})
    for number in range(5_000):
        ticks.at += 1.0
        pace.take("m", channel=f"D{number}")
    assert len(pace._buckets) <= 1_001


def test_pace_sends_each_who_waits_to_a_moment_of_their_own() -> None:
    """Ten who come at once for one token are told ten different moments, one token apart, and at each there is one."""
    ticks = Ticks()
    pace = Pace(monotonic=ticks, rates={"m": Rate(burst=1, per_second=0.5)})
    pace.take("m")
    waits: list[float] = []
    for _ in range(10):
        with pytest.raises(DeliveryError) as refused:
            pace.take("m")
        assert refused.value.retry_after is not None
        waits.append(refused.value.retry_after)
    assert waits == pytest.approx([2.0 * number for number in range(1, 11)])
    began = ticks.at
    for wait in waits:
        ticks.at = began + wait
        pace.take("m")
