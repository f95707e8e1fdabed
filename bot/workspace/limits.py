"""Slack's rate limits: so many calls of a method a minute, and about one message a second in a channel.

Source: docs.slack.dev, Web API rate limits: tier 1 = 1+, 2 = 20+, 3 = 50+, 4 = 100+ a minute, per method, app and
workspace; chat.postMessage about 1 a second per channel and several hundred a minute in all. Bursts are tolerated but
unpublished: ``slack`` lets a whole minute's calls come at once and ten messages in a row into a channel; ``harsh`` takes
"design for one request a second" at its word and halves the rest; ``off`` is for measuring something else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bot.workspace.protocol import Clock, RateLimited

PER_MINUTE: Mapping[int, int] = {1: 1, 2: 20, 3: 50, 4: 100}
SPECIAL = 600  # methods without a tier, auth.test for one: "hundreds of requests per minute"
POSTS_PER_MINUTE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """One way to be limited: a factor on the tiers, and how many messages may come at once."""

    name: str
    factor: float
    burst: int | None
    posts_at_once: int


RATES: Mapping[str, Rates] = {
    "slack": Rates(name="slack", factor=1.0, burst=None, posts_at_once=10),
    "harsh": Rates(name="harsh", factor=0.5, burst=5, posts_at_once=1),
    "off": Rates(name="off", factor=math.inf, burst=None, posts_at_once=0),
}


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Limiter:
    """Token buckets by key. Its memory is short by nature, so it is not kept over a restart."""

    def __init__(self, *, rates: Rates, clock: Clock) -> None:
        self.rates = rates
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def set_rates(self, rates: Rates) -> None:
        """Change how hard the limits are; everybody starts afresh."""
        self.rates = rates
        self._buckets.clear()

    def call(self, *, method: str, tier: int | None) -> None:
        """Count one call of a method.

        Raises:
            RateLimited: the method was called too often.
        """
        per_minute = (PER_MINUTE[tier] if tier is not None else SPECIAL) * self.rates.factor
        burst = per_minute if self.rates.burst is None else min(per_minute, float(self.rates.burst))
        self._take(f"method {method}", per_second=per_minute / 60, burst=max(1.0, burst))

    def post(self, channel: str) -> None:
        """Count one message into a channel.

        Raises:
            RateLimited: too many into this channel, or into the workspace.
        """
        self._take(f"channel {channel}", per_second=1.0, burst=float(self.rates.posts_at_once))
        self._take("posts", per_second=POSTS_PER_MINUTE / 60, burst=POSTS_PER_MINUTE * min(1.0, self.rates.factor))

    def hook(self, url_id: str) -> None:
        """Count one use of a response URL (one a second).

        Raises:
            RateLimited: too fast.
        """
        self._take(f"hook {url_id}", per_second=1.0, burst=float(min(5, self.rates.posts_at_once)))

    def _take(self, key: str, *, per_second: float, burst: float) -> None:
        if math.isinf(self.rates.factor):
            return
        now = self._clock()
        bucket = self._buckets.setdefault(key, _Bucket(tokens=burst, at=now))
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.at) * per_second)
        bucket.at = now
        if bucket.tokens < 1:
            raise RateLimited(max(1, math.ceil((1 - bucket.tokens) / per_second)))
        bucket.tokens -= 1
