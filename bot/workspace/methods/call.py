"""One call of a Web API method: its arguments, what its token allows, and the channels it may see."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.workspace.protocol import Json, SlackError
from bot.workspace.state import Workspace
from bot.workspace.store.rooms import Channel

Family = Mapping[str, tuple[str, ...]]
READ: Family = {"public": ("channels:read",), "private": ("groups:read",), "im": ("im:read",)}
HISTORY: Family = {"public": ("channels:history",), "private": ("groups:history",), "im": ("im:history",)}
MANAGE: Family = {"public": ("channels:manage",), "private": ("groups:write",), "im": ("im:write",)}
TOPIC: Family = {
    "public": ("channels:manage", "channels:write.topic"),
    "private": ("groups:write", "groups:write.topic"),
    "im": ("im:write", "im:write.topic"),
}
INVITES: Family = {
    "public": ("channels:manage", "channels:write.invites"),
    "private": ("groups:write", "groups:write.invites"),
    "im": ("im:write",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Arguments come as text from forms and as any JSON from JSON bodies; these readers take both."""

    ws: Workspace
    method: str
    args: Mapping[str, Any]
    base_url: str

    @property
    def bot(self) -> str:
        """The app's user id."""
        return self.ws.identity.bot_user_id

    def text(self, name: str, default: str = "") -> str:
        """A string argument."""
        value = self.args.get(name)
        if value is None:
            return default
        return value if isinstance(value, str) else str(value)

    def given(self, name: str) -> bool:
        """Whether an argument was sent at all (even empty)."""
        return self.args.get(name) is not None

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A true-or-false argument."""
        value = self.args.get(name)
        if value is None:
            return default
        return value if isinstance(value, bool) else str(value).lower() in ("1", "true")

    def limit(self, *, default: int = 100, most: int = 1000) -> int:
        """The page size.

        Raises:
            SlackError: invalid_limit.
        """
        value = self.args.get("limit")
        if value is None or value == "":
            return default
        try:
            number = int(value)
        except (TypeError, ValueError):
            raise SlackError("invalid_limit") from None
        if number < 0 or number > most:
            raise SlackError("invalid_limit")
        return number or default

    def json(self, name: str, *, otherwise: str) -> Any:
        """A structured argument, which forms carry as JSON text; None when it is missing.

        Raises:
            SlackError: ``otherwise``, when the text is not JSON.
        """
        value = self.args.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise SlackError(otherwise) from None

    def items(self, name: str) -> list[str]:
        """A list of strings, sent as a JSON array or separated by commas."""
        value = self.args.get(name)
        if isinstance(value, list):
            return [str(item) for item in value]
        return [part.strip() for part in str(value or "").split(",") if part.strip()]

    def need_scope(self, *any_of: str) -> None:
        """Refuse unless the app holds one of these scopes.

        Raises:
            SlackError: missing_scope, with what is needed and provided.
        """
        held = self.ws.manifest.scopes
        if any_of and not set(any_of) & set(held):
            raise SlackError("missing_scope", needed=",".join(any_of), provided=",".join(held))

    def channel(self, name: str = "channel", *, family: Family | None = None, member: bool = False) -> Channel:
        """The channel an argument names, if the app can see it and holds the scope for its kind.

        Raises:
            SlackError: channel_not_found (also for private channels the app is not in), missing_scope, not_in_channel.
        """
        found = self.ws.rooms.channel(self.text(name))
        if found is None:
            raise SlackError("channel_not_found")
        inside = self.ws.rooms.is_member(found.id, self.bot)
        if found.kind != "public" and not inside:
            raise SlackError("channel_not_found")
        if family is not None:
            self.need_scope(*family[found.kind])
        if member and not inside:
            raise SlackError("not_in_channel")
        return found

    def open_channel(self, name: str = "channel", *, family: Family | None = None, member: bool = True) -> Channel:
        """Like ``channel``, and not archived.

        Raises:
            SlackError: as ``channel``, and is_archived.
        """
        found = self.channel(name, family=family, member=False)
        if found.archived:
            raise SlackError("is_archived")
        return self.channel(name, family=family, member=member)

    def message(self, channel: Channel, name: str) -> Json:
        """The message an argument names by its ts.

        Raises:
            SlackError: bad_timestamp or message_not_found.
        """
        ts = self.text(name)
        head, dot, tail = ts.partition(".")
        if not (head.isdigit() and dot and tail.isdigit()):
            raise SlackError("bad_timestamp" if self.method.startswith(("reactions.", "pins.")) else "message_not_found")
        found = self.ws.talk.get(channel.id, ts)
        if found is None:
            raise SlackError("message_not_found")
        return found

    def page(self, items: list[Any], *, default: int = 100) -> tuple[list[Any], Json]:
        """One page of a list, and the ``response_metadata`` that leads to the next.

        Raises:
            SlackError: invalid_cursor, invalid_limit.
        """
        size = self.limit(default=default)
        start = int(self.cursor("offset") or 0)
        following = start + size if start + size < len(items) else None
        return items[start : start + size], next_cursor("offset", following)

    def cursor(self, kind: str) -> str | None:
        """What the cursor argument says, or None when there is none.

        Raises:
            SlackError: invalid_cursor.
        """
        given = self.text("cursor")
        if not given:
            return None
        try:
            name, _, value = base64.b64decode(given, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise SlackError("invalid_cursor") from None
        if name != kind or not value.replace(".", "").isdigit():
            raise SlackError("invalid_cursor")
        return value


def next_cursor(kind: str, value: Any) -> Json:
    """``response_metadata`` with the cursor of the next page (empty on the last)."""
    text = "" if value is None else base64.b64encode(f"{kind}:{value}".encode()).decode()
    return {"next_cursor": text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A Web API method: what it does, its rate tier (None: special), who may call it, what it must be given.

    ``scopes``: one of them must be held. ``caller``: whose token it takes: bot, app (xapp-) or anyone.
    """

    run: Callable[[Call], Json]
    tier: int | None
    scopes: tuple[str, ...] = ()
    caller: str = "bot"
    required: tuple[str, ...] = ()
