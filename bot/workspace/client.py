"""What the browser front asks for: one function per request, for the person it says it is.

There is no sign-in: this workspace runs on one machine for one tester, who chooses whom to be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bot.workspace import marking, posting, rooming, typing_in
from bot.workspace.interactions import Interactions, visible_channel
from bot.workspace.limits import RATES
from bot.workspace.protocol import TEXT_CUT, Json, SlackError
from bot.workspace.state import Workspace
from bot.workspace.store.rooms import Channel

_PAGE = 60


class Client:
    """The browser's side of the workspace."""

    def __init__(self, *, ws: Workspace, interactions: Interactions, admin: Callable[[Json], Awaitable[Json]]) -> None:
        self._ws = ws
        self._do = interactions
        self._admin = admin

    def boot(self, user: str) -> Json:
        """Everything a window needs to begin."""
        ws = self._ws
        unread = ws.rooms.unread(user)
        seen = [c for c in ws.rooms.channels() if c.kind == "public" or ws.rooms.is_member(c.id, user)]
        channels = [rooming.client_channel(ws, c) | {"unread": unread.get(c.id, 0)} for c in seen]
        who = ws.identity
        app = {
            "id": who.app_id,
            "name": ws.manifest.display_name,
            "bot_id": who.bot_id,
            "bot_user_id": who.bot_user_id,
            "home_tab": ws.manifest.home_tab,
            "messages_tab": ws.manifest.messages_tab,
            "shortcuts": list(ws.manifest.shortcuts),
            "commands": list(ws.manifest.commands),
        }
        return {
            "team": {"id": who.team_id, "name": who.team_name, "domain": who.team_domain},
            "users": [_person(entry) for entry in ws.rooms.users()],
            "channels": channels,
            "app": app,
            "limits": {"text": TEXT_CUT, "ack_seconds": ws.timing.ack, "rates": ws.limiter.rates.name},
            "seq": ws.hub.seq,
        }

    def messages(self, user: str, query: Mapping[str, str]) -> Json:
        """A stretch of a channel, or a thread with its parent, oldest first; reading the newest marks the channel read."""
        ws = self._ws
        channel = visible_channel(ws, query.get("channel"), user)
        limit = max(1, min(200, int(query.get("limit") or _PAGE)))
        thread, before = query.get("thread_ts"), query.get("before")
        hidden = ws.talk.ephemerals(channel.id, user)
        if thread:
            parent = ws.talk.get(channel.id, thread)
            replies, more = ws.talk.replies(channel.id, thread, after=query.get("after") or "0", limit=1000)
            found = ([parent] if parent else []) + replies
            hidden = [line for line in hidden if line.get("thread_ts") == thread]
        else:
            newest, more = ws.talk.history(channel.id, before=before or "9", after="0", limit=limit)
            found = newest[::-1]
            oldest = found[0]["ts"] if found and more else "0"
            hidden = [h for h in hidden if not h.get("thread_ts") and oldest < h["ts"] < (before or "9")]
            if found and not before:
                ws.rooms.mark_read(channel.id, user, found[-1]["ts"])
        shown = [posting.for_client(ws, channel, message) for message in found]
        return {"messages": sorted(shown + hidden, key=lambda m: str(m["ts"])), "has_more": more}

    async def post(self, user: str, body: Json, base_url: str) -> Json:
        """Say something, or call a slash command."""
        ws = self._ws
        channel = visible_channel(ws, body.get("channel"), user)
        typed = _text(body)
        command, _, rest = typed.strip().partition(" ")
        if command.startswith("/") and len(command) > 1 and "/" not in command[1:]:
            if body.get("thread_ts"):
                return {"ok": False, "error": f"{command} is not supported in threads. Sorry!"}
            return await self._slash(user, channel, command, rest, base_url)
        if channel.archived:
            raise SlackError("is_archived")
        with ws.transaction():
            if not ws.rooms.is_member(channel.id, user):
                rooming.join(ws, channel, user)
            message: Json = {"user": user, "text": typing_in.message_text(ws, typed)[:TEXT_CUT]}
            if body.get("thread_ts"):
                message["thread_ts"] = str(body["thread_ts"])
            return {"ok": True, "message": posting.post(ws, channel, message)}

    async def _slash(self, user: str, channel: Channel, command: str, rest: str, base_url: str) -> Json:
        declared = self._ws.manifest.command(command)
        if declared is None:
            return {"ok": False, "error": f"{command} is not a valid command."}
        text = typing_in.command_text(self._ws, rest, escape=bool(declared.get("should_escape")))
        return await self._do.slash(user=user, channel=channel, command=command, text=text, base_url=base_url)

    async def action(self, user: str, body: Json, base_url: str) -> Json:
        """Click or choose."""
        return await self._do.click(user=user, told=body, base_url=base_url)

    async def submit(self, user: str, body: Json, base_url: str) -> Json:
        """Submit a modal."""
        state = body.get("state") if isinstance(body.get("state"), dict) else {}
        return await self._do.submit(user=user, view_id=str(body.get("view_id")), state=state or {}, base_url=base_url)

    async def close(self, user: str, body: Json, base_url: str) -> Json:
        """Close a modal; ``clear`` closes all."""
        del base_url
        return await self._do.close_view(user=user, view_id=str(body.get("view_id")), everything=bool(body.get("clear")))

    async def shortcut(self, user: str, body: Json, base_url: str) -> Json:
        """Call a shortcut."""
        return await self._do.shortcut(user=user, told=body, base_url=base_url)

    async def suggest(self, user: str, body: Json, base_url: str) -> Json:
        """Look for options of an external_select."""
        del base_url
        return await self._do.suggest(user=user, told=body)

    async def reaction(self, user: str, body: Json, base_url: str) -> Json:
        """React to a message, or take it back; twice the same is no error here."""
        del base_url
        channel, message = self._message(user, body, "ts")
        act = marking.unreact if body.get("remove") else marking.react
        return self._mark(lambda: act(self._ws, channel, message, name=marking.emoji(str(body.get("name"))), user=user))

    async def pin(self, user: str, body: Json, base_url: str) -> Json:
        """Pin a message, or take the pin away."""
        del base_url
        channel, message = self._message(user, body, "ts")
        act = marking.unpin if body.get("remove") else marking.pin
        return self._mark(lambda: act(self._ws, channel, message, user=user))

    def _mark(self, act: Callable[[], None]) -> Json:
        try:
            with self._ws.transaction():
                act()
        except SlackError as refusal:
            if refusal.code not in ("already_reacted", "no_reaction", "already_pinned", "no_pin"):
                raise
        return {"ok": True}

    def _message(self, user: str, body: Json, name: str) -> tuple[Channel, Json]:
        channel = visible_channel(self._ws, body.get("channel"), user)
        message = self._ws.talk.get(channel.id, str(body.get(name)))
        if message is None:
            raise SlackError("message_not_found")
        return channel, message

    async def channel(self, user: str, body: Json, base_url: str) -> Json:
        """Make a channel, or archive one (``archive``)."""
        del base_url
        with self._ws.transaction():
            if body.get("archive"):
                channel = visible_channel(self._ws, body.get("channel"), user)
                rooming.archive(self._ws, channel, by=user)
                return {"ok": True}
            made = rooming.create(self._ws, name=str(body.get("name", "")), creator=user, private=bool(body.get("private")))
        return {"ok": True, "channel": rooming.client_channel(self._ws, made)}

    async def join(self, user: str, body: Json, base_url: str) -> Json:
        """Join a channel, or bring somebody (``invite``: a user id, the app's too) into it."""
        del base_url
        channel = visible_channel(self._ws, body.get("channel"), user)
        if channel.archived:
            raise SlackError("is_archived")
        guest = body.get("invite")
        if guest and self._ws.rooms.user(str(guest)) is None:
            raise SlackError("user_not_found")
        with self._ws.transaction():
            rooming.join(self._ws, channel, str(guest or user), inviter=user if guest else None)
        return {"ok": True}

    async def direct(self, user: str, body: Json, base_url: str) -> Json:
        """Open the direct conversation with somebody."""
        del base_url
        other = str(body.get("other"))
        if self._ws.rooms.user(other) is None:
            raise SlackError("user_not_found")
        with self._ws.transaction():
            channel = rooming.direct(self._ws, one=user, other=other)
        return {"ok": True, "channel": rooming.client_channel(self._ws, channel)}

    async def home(self, user: str, body: Json, base_url: str) -> Json:
        """Open the app's Home (or its Messages ``tab``): the app hears of it, and may publish anew."""
        del base_url
        ws = self._ws
        with ws.transaction():
            channel = rooming.direct(ws, one=ws.identity.bot_user_id, other=user)
            tab = "messages" if body.get("tab") == "messages" else "home"
            event = {"type": "app_home_opened", "user": user, "channel": channel.id, "tab": tab}
            view = ws.surfaces.home(user)
            known = {"view": view} if view is not None and tab == "home" else {}
            ws.emit({**event, **known, "event_ts": ws.new_ts()})
        return {"ok": True, "view": view, "channel": channel.id}

    async def dismiss(self, user: str, body: Json, base_url: str) -> Json:
        """Take an ephemeral line away."""
        del base_url
        with self._ws.transaction():
            ts = str(body.get("ts") or body.get("ephemeral"))
            posting.drop_whisper(self._ws, self._ws.talk.ephemeral_channel(user, ts), user=user, ts=ts)
        return {"ok": True}

    async def admin(self, user: str, body: Json, base_url: str) -> Json:
        """What testers switch.

        ``harsh`` or ``rates`` (slack, harsh, off) set the limits; ``disconnect`` (warning, refresh_requested,
        link_disabled, drop) makes the app reconnect; ``chaos`` makes the Web API fail.
        """
        del user, base_url
        rates = body.get("rates") or ("harsh" if body.get("harsh") else "slack" if "harsh" in body else None)
        if rates is not None:
            if rates not in RATES:
                raise SlackError("invalid_arguments")
            self._ws.limiter.set_rates(RATES[str(rates)])
        return await self._admin(body)

    def view(self, user: str) -> Json:
        """The modal on top of somebody's stack, and the ids of the whole stack."""
        stack = self._ws.surfaces.stack(user)
        return {"view": stack[-1] if stack else None, "stack": [view["id"] for view in stack]}


def _text(body: Json) -> str:
    typed = body.get("text")
    if not isinstance(typed, str) or not typed.strip():
        raise SlackError("no_text")
    return typed


def _person(user: Json) -> Json:
    words = user["real_name"].split()
    return {
        "id": user["id"],
        "name": user["name"],
        "real_name": user["real_name"],
        "email": user["profile"].get("email", ""),
        "title": user["profile"].get("title", ""),
        "avatar_initials": "".join(word[0] for word in (words[0], words[-1])).upper() if len(words) > 1 else words[0][:1].upper(),
        "color": f"#{user['color']}",
        "is_bot": user["is_bot"],
        "tz": user["tz"],
    }


Post = Callable[[Client, str, Json, str], Awaitable[Any]]
POSTS: Mapping[str, Post] = {
    "message": Client.post,
    "action": Client.action,
    "view/submit": Client.submit,
    "view/close": Client.close,
    "shortcut": Client.shortcut,
    "suggest": Client.suggest,
    "reaction": Client.reaction,
    "pin": Client.pin,
    "channel": Client.channel,
    "join": Client.join,
    "dm": Client.direct,
    "home": Client.home,
    "dismiss": Client.dismiss,
    "admin": Client.admin,
}
