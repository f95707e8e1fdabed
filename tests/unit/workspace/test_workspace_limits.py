"""Rate limits, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.workspace.limits import PER_MINUTE, RATES, Limiter
from bot.workspace.methods.registry import METHODS
from bot.workspace.protocol import RateLimited
from bot.workspace.state import Workspace

# Tiers as slack-platform facts 2.3 gives them.
TIERS = {
    "chat.update": 3,
    "chat.postEphemeral": 4,
    "conversations.create": 2,
    "conversations.setTopic": 2,
    "conversations.invite": 3,
    "conversations.history": 3,
    "conversations.list": 2,
    "conversations.members": 4,
    "pins.add": 2,
    "bookmarks.add": 2,
    "bookmarks.list": 3,
    "reactions.add": 3,
    "reactions.remove": 2,
    "users.info": 4,
    "users.list": 2,
    "users.lookupByEmail": 3,
    "views.open": 4,
    "views.publish": 4,
    "usergroups.list": 2,
}


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.mark.parametrize("method", TIERS)
def test_each_method_has_slacks_tier(method: str) -> None:
    """The table of methods carries the documented tiers."""
    assert METHODS[method].tier == TIERS[method]


@pytest.mark.parametrize("tier", PER_MINUTE)
def test_a_minutes_calls_pass_and_the_next_is_told_when(tier: int) -> None:
    """A tier's number of calls may come at once; one more is refused until Retry-After has passed."""
    clock = Clock()
    limiter = Limiter(rates=RATES["slack"], clock=clock)
    for _ in range(PER_MINUTE[tier]):
        limiter.call(method="m", tier=tier)
    with pytest.raises(RateLimited) as refused:
        limiter.call(method="m", tier=tier)
    limiter.call(method="another", tier=tier)
    clock.at += refused.value.retry_after
    limiter.call(method="m", tier=tier)


def test_a_channel_takes_ten_messages_at_once_then_one_a_second() -> None:
    """One channel's limit does not touch another's."""
    clock = Clock()
    limiter = Limiter(rates=RATES["slack"], clock=clock)
    for _ in range(10):
        limiter.post("C1")
    with pytest.raises(RateLimited) as refused:
        limiter.post("C1")
    assert refused.value.retry_after == 1
    limiter.post("C2")
    clock.at += 1
    limiter.post("C1")


def test_harsh_allows_no_burst_and_off_allows_all() -> None:
    """The switch makes the second message in a row a 429; off never refuses."""
    limiter = Limiter(rates=RATES["harsh"], clock=Clock())
    limiter.post("C1")
    with pytest.raises(RateLimited):
        limiter.post("C1")
    limiter.set_rates(RATES["off"])
    for _ in range(1000):
        limiter.post("C1")


@given(st.lists(st.floats(0, 5), max_size=200))
def test_no_minute_ever_sees_more_than_twice_the_tier(gaps: list[float]) -> None:
    """Whatever the rhythm, a window of sixty seconds holds at most a full burst and what refilled meanwhile."""
    clock = Clock()
    limiter = Limiter(rates=RATES["slack"], clock=clock)
    passed: list[float] = []
    for gap in gaps:
        clock.at += gap
        try:
            limiter.call(method="m", tier=2)
        except RateLimited:
            continue
        passed.append(clock.at)
    for start in passed:
        assert sum(start <= at < start + 60 for at in passed) <= 40


def test_a_limited_call_changes_nothing(make_ws: Callable[..., Workspace], now: Any) -> None:
    """A message over the limit is not posted, and passes after Retry-After."""
    from bot.workspace.methods import registry

    ws = make_ws(rates="harsh")

    def post() -> None:
        registry.run(ws, name="chat.postMessage", args={"channel": "C01INCIDNT", "text": "x"}, token=ws.identity.bot_token, base_url="")

    post()
    with pytest.raises(RateLimited) as refused:
        post()
    assert len(ws.talk.history("C01INCIDNT", before="9", after="0", limit=9)[0]) == 1
    now.passes(refused.value.retry_after)
    post()
