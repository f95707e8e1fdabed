"""What a button means survives the way through Slack, and nothing else is read from it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.ports import Press, PressKind
from bot.slack import intents
from bot.slack.intents import IntentUnreadable

STEPS = st.from_regex(r"[a-z][a-z0-9-]{0,59}", fullmatch=True)
IDS = st.integers(0, 2**63 - 1)
PRESSES = st.builds(
    Press,
    kind=st.sampled_from(PressKind),
    incident_id=st.none() | IDS,
    step=st.none() | STEPS,
    run_id=st.none() | IDS,
    subject_id=st.none() | IDS,
    plan_hash=st.none() | st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    version=st.none() | IDS,
    expires_at=st.none() | st.integers(0, 4_102_444_800).map(lambda at: datetime.fromtimestamp(at, UTC)),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("vkisrmhnex") | st.text(max_size=3), inner, max_size=10),
    max_leaves=12,
)


@given(press=PRESSES)
def test_a_press_comes_back_as_it_was(press: Press) -> None:
    """Encode, decode: the same press, within Slack's limits for a button and for a dialog."""
    intent = intents.encode(press)
    assert intents.decode(intent.name, intent.value) == press
    assert len(intent.name) <= 255
    assert len(intent.value) <= 2_000


@given(press=PRESSES, extra=st.dictionaries(st.sampled_from(["message_link", "channel"]), st.text(max_size=100), max_size=2))
def test_a_dialog_carries_its_press_and_its_extras(press: Press, extra: dict[str, str]) -> None:
    """A dialog's submit button means the same, and brings back the short facts that it carried."""
    intent = intents.encode_form(press, extra=extra)
    submission = intents.decode_form(intent.name, intent.value)
    assert submission.press == press
    assert submission.extra == extra


@given(first=PRESSES, second=PRESSES)
def test_different_buttons_of_one_incident_have_different_names(first: Press, second: Press) -> None:
    """Slack wants action ids unique in a block: they differ when kind, incident, step, run or subject differ."""
    same = (first.kind, first.incident_id, first.step, first.run_id, first.subject_id)
    other = (second.kind, second.incident_id, second.step, second.run_id, second.subject_id)
    if [part for part in same if part is not None] != [part for part in other if part is not None]:
        assert intents.encode(first).name != intents.encode(second).name


@given(value=JSON, kind=st.sampled_from(PressKind))
def test_any_json_is_a_press_or_unreadable(value: Any, kind: PressKind) -> None:
    """A forged value is a press with checked types, or IntentUnreadable; no other exception escapes."""
    if isinstance(value, dict):
        value = {**value, "v": 1, "k": kind.value}
    try:
        press = intents.decode(f"muster.{kind.value}", json.dumps(value))
    except IntentUnreadable:
        return
    assert isinstance(press.incident_id, int | None)
    assert not isinstance(press.incident_id, bool)
    assert isinstance(press.step, str | None)
    assert press.expires_at is None or press.expires_at.tzinfo is not None


@given(name=st.text(max_size=40), value=st.text(max_size=200))
def test_any_text_is_a_press_or_unreadable(name: str, value: str) -> None:
    """Rubbish never raises anything but IntentUnreadable."""
    with pytest.raises(IntentUnreadable):
        intents.decode(name, value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "null",
        "[]",
        '{"v":1}',
        '{"v":2,"k":"plan"}',
        '{"v":true,"k":"plan"}',
        '{"v":1,"k":"delete_everything"}',
        '{"v":1,"k":"undo"}',
        '{"v":1,"k":"plan","i":"42"}',
        '{"v":1,"k":"plan","i":-1}',
        '{"v":1,"k":"plan","i":true}',
        '{"v":1,"k":"plan","e":99999999999999}',
        '{"v":1,"k":"plan","s":["x"]}',
        '{"v":1,"k":"plan","x":{"a":1}}',
        "[" * 100_000,
    ],
)
def test_old_and_forged_values_are_refused_with_a_sentence(value: str) -> None:
    """Another version, another kind than the name says, wrong types: refused, and the error says what to do."""
    with pytest.raises(IntentUnreadable, match="Nothing was done"):
        intents.decode("muster.plan", value)


def test_what_does_not_fit_is_refused_when_it_is_written() -> None:
    """A card with a button that Slack would refuse fails in the making, not at Slack."""
    with pytest.raises(ValueError, match="does not fit"):
        intents.encode(Press(kind=PressKind.PLAN, step="x" * 300))
