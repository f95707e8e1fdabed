"""The words of the wire: refusals, and the numbers Slack's documentation gives.

Errors of this room::

    SlackError        a refusal with Slack's own error name, sent to whoever called
    └── RateLimited   the same, with the seconds to wait
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Clock = Callable[[], float]
"""Seconds since the Unix epoch (UTC), as Slack's own timestamps count them."""

TEXT_CUT = 40_000  # chat.postMessage cuts here, without an error
UPDATE_TEXT = 4_000  # chat.update and chat.postEphemeral refuse above it
MARKDOWN_TEXT = 12_000
ATTACHMENTS = 100
METADATA_BYTES = 16_000  # Slack publishes no figure; this one is ours
CHANNEL_NAME = 80
CHANNEL_TOPIC = 250
INVITES_PER_CALL = 100
OPEN_USERS = 8
PINS_PER_CHANNEL = 100
BOOKMARKS_PER_CHANNEL = 100
REACTIONS_PER_MESSAGE = 50  # different emoji on one message
REACTIONS_PER_PERSON = 23
VIEW_STACK = 3
RESPONSE_URL_USES = 5
RESPONSE_URL_LIFE = 30 * 60.0
SNIPPET_BYTES = 1_000_000
ALT_TEXT = 1_000
CONNECTIONS = 10
EVENTS_PER_HOUR = 30_000


class SlackError(Exception):
    """A refusal that the caller sees as ``{"ok": false, "error": code}`` plus further fields."""

    def __init__(self, code: str, **fields: Any) -> None:
        super().__init__(code)
        self.code = code
        self.fields: Mapping[str, Any] = fields

    def body(self) -> Json:
        """The JSON answer Slack gives for this refusal."""
        return {"ok": False, "error": self.code, **self.fields}


class RateLimited(SlackError):
    """HTTP 429: too many calls of this method; ``retry_after`` is whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("ratelimited")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long Slack waits, in seconds. Tests shorten these; a running workspace uses Slack's own."""

    ack: float = 3.0
    trigger: float = 3.0
    retries: tuple[float, ...] = (0.0, 60.0, 300.0)
    connection_life: float = 3600.0
    debug_connection_life: float = 360.0
    disconnect_warning: float = 10.0
    grace: float = 10.0  # after a start of the workspace itself: the app may come back before attempts are counted
