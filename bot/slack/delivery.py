"""What can go wrong between Muster and Slack, and how fast Muster may speak.

Every error of slack_sdk and of the transport becomes a `DeliveryError`, which says what the engine needs to know: surely not
delivered, or perhaps. Nothing here waits: what must not be sent yet is refused with the seconds to wait (engine.md, "Slack").
"""

import http.client
import re
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.error import URLError

from slack_sdk.errors import SlackApiError, SlackClientError

from bot.ports import DeliveryError

UNKNOWN = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout", "rollup_error"})
"""Slack's own names for "something broke here": the effect may have happened."""

PERMANENT = frozenset(
    {
        "channel_not_found",
        "not_in_channel",
        "is_archived",
        "is_inactive",
        "user_not_found",
        "user_disabled",
        "user_not_visible",
        "users_not_found",
        "user_not_in_channel",
        "messages_tab_disabled",
        "restricted_action",
        "restricted_action_read_only_channel",
        "restricted_action_thread_only_channel",
        "method_not_supported_for_channel_type",
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_arguments",
        "msg_blocks_too_long",
        "msg_blocks_too_many",
        "msg_too_long",
        "no_text",
        "metadata_too_large",
        "message_not_found",
        "cant_update_message",
        "edit_window_closed",
        "thread_not_found",
        "view_too_large",
        "not_enabled",
        "cannot_reply_to_message",
    }
)
"""Refusals that another attempt cannot change. Bad tokens and missing scopes are not among them: an operator mends those."""

UNDRAWABLE = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_blocks_too_many"})
"""Slack refuses the blocks, not the message: the text alone can still be sent."""

_CODE = re.compile(r"[a-z][a-z0-9_]*")
_SENTENCES = {
    "channel_not_found": "Slack does not know the channel, or it is private and Muster is not in it. Invite Muster there.",
    "not_in_channel": "Muster is not in the channel. Invite it there.",
    "is_archived": "The channel is archived. Choose another one for this team in muster.yaml.",
    "invalid_auth": "Slack does not accept Muster's token. Install the app again and put the new token in place.",
    "missing_scope": "Muster's Slack app lacks a permission. Install it again from its manifest.",
}
_NEVER_CONNECTED = (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError)


class SlackRefused(DeliveryError):
    """Slack answered no. `code` is its own name for why, for the log and for what may be tried instead."""

    def __init__(self, message: str, *, code: str, certain: bool, retry_after: float | None = None, permanent: bool = False) -> None:
        self.code = code
        super().__init__(message, certain=certain, retry_after=retry_after, permanent=permanent)


def translated(error: Exception) -> DeliveryError:
    """The same error in Muster's words. What is not recognised counts as unknown: the next attempt looks first."""
    if isinstance(error, SlackApiError):
        return _answered(error)
    if isinstance(error, URLError) and isinstance(error.reason, _NEVER_CONNECTED):
        return DeliveryError(f"Slack cannot be reached: {error.reason}.", certain=True)
    if isinstance(error, _NEVER_CONNECTED):
        return DeliveryError(f"Slack cannot be reached: {error}.", certain=True)
    return DeliveryError(f"No answer from Slack ({type(error).__name__}); the call may have taken effect.", certain=False)


TRANSPORT = (SlackClientError, OSError, http.client.HTTPException, ValueError)
"""What a call of slack_sdk may raise: its own errors, the network's (URLError is an OSError), and answers that cannot be read."""


def _answered(error: SlackApiError) -> DeliveryError:
    response = error.response
    status = int(getattr(response, "status_code", 0) or 0)
    code = _code_of(response)
    if status == 429 or code in {"ratelimited", "rate_limited"}:
        return SlackRefused("Slack asks Muster to slow down.", code="ratelimited", certain=True, retry_after=_retry_after(response))
    if status >= 500 or status == 0 or code is None or code in UNKNOWN:
        return DeliveryError(f"Slack failed ({status}); the call may have taken effect.", certain=False)
    sentence = _SENTENCES.get(code, f"Slack refused the call: {code}.")
    return SlackRefused(sentence, code=code, certain=True, permanent=code in PERMANENT)


def _code_of(response: object) -> str | None:
    data = getattr(response, "data", None)
    code = data.get("error") if isinstance(data, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None


def _retry_after(response: object) -> float:
    headers = getattr(response, "headers", None) or {}
    named = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    try:
        return max(1.0, float(named)) if named is not None else 30.0
    except (TypeError, ValueError):
        return 30.0


def in_doubt(error: DeliveryError) -> DeliveryError:
    """The same error, raised while an earlier attempt is unresolved: whatever it proves of itself, it proves nothing of that one."""
    return DeliveryError(str(error), certain=False, retry_after=error.retry_after, permanent=error.permanent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many at once, and so many a second after that."""

    burst: float
    per_second: float


# Slack's figures (docs.slack.dev, rate limits): chat.postMessage about 1 a second and channel and "several hundred" a minute in all;
# chat.update 50 a minute for the whole workspace; views.publish 100. Burst and refill are chosen so that no minute exceeds them.
RATES: dict[str, Rate] = {
    "chat.postMessage": Rate(burst=60, per_second=4),
    "chat.postMessage/channel": Rate(burst=5, per_second=1),
    "chat.update": Rate(burst=15, per_second=35 / 60),
    "chat.postEphemeral": Rate(burst=30, per_second=70 / 60),
    "views.update": Rate(burst=30, per_second=70 / 60),
    "views.publish": Rate(burst=30, per_second=70 / 60),
    "conversations.history": Rate(burst=15, per_second=35 / 60),
    "conversations.replies": Rate(burst=15, per_second=35 / 60),
    "conversations.open": Rate(burst=15, per_second=35 / 60),
}


SLACKNESS = 1e-6
"""Of a token: who comes back at the very moment that they were told must not fail by a rounding error."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float
    promised_at: float = float("-inf")

    def next_slot(self, rate: Rate, now: float) -> float:
        """Seconds until a token that nobody was sent away for yet."""
        return max(now + (1 - self.tokens) / rate.per_second, self.promised_at + 1 / rate.per_second) - now


class Pace:
    """Tokens by method and place. Each process keeps its own; where replicas together are too fast, Slack's 429 says so.

    Whoever is sent away is given a moment of their own to come back, one after the other: a hundred cards that all came back for the
    next token would be drawn a hundred times for one of them to be shown.
    """

    def __init__(self, *, monotonic: Callable[[], float], rates: dict[str, Rate] | None = None) -> None:
        self._monotonic = monotonic
        self._rates = RATES if rates is None else rates
        self._buckets: dict[str, _Bucket] = {}
        self._lock = threading.Lock()

    def take(self, method: str, *, channel: str | None = None) -> None:
        """Take one token of the method, and one of the channel where it has its own rate: all or none.

        Raises:
            DeliveryError: not yet; certain, with the seconds to wait.
        """
        wanted = [(method, method)]
        if channel is not None:
            wanted.append((f"{method}/channel", f"{method}/{channel}"))
        with self._lock:
            now = self._monotonic()
            buckets = [(self._filled(name, self._rates[rate], now), self._rates[rate]) for rate, name in wanted if rate in self._rates]
            empty = [(bucket, rate) for bucket, rate in buckets if bucket.tokens < 1 - SLACKNESS]
            if empty:
                wait = max(bucket.next_slot(rate, now) for bucket, rate in empty)
                for bucket, _ in empty:
                    bucket.promised_at = now + wait
                raise DeliveryError("Muster is speaking as fast as Slack allows.", certain=True, retry_after=wait)
            for bucket, _ in buckets:
                bucket.tokens -= 1

    def _filled(self, name: str, rate: Rate, now: float) -> _Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[name] = _Bucket(tokens=rate.burst, filled_at=now)
        bucket.tokens = min(rate.burst, bucket.tokens + (now - bucket.filled_at) * rate.per_second)
        bucket.filled_at = now
        return bucket

    def _forget(self, now: float) -> None:
        """Drop what has been quiet for ten minutes: every bucket is full again by then."""
        if len(self._buckets) >= 1_000:
            self._buckets = {name: bucket for name, bucket in self._buckets.items() if now - bucket.filled_at < 600}
