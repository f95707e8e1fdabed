"""What people do with the app: click, submit, close, call a command or a shortcut, look for an option.

Each waits for the app's acknowledgement for three seconds and then tells the person what Slack would: nothing is
retried. All methods answer the browser with ``{"ok": true, …}`` or ``{"ok": false, "error": text}``.
"""

from __future__ import annotations

from typing import Any

from bot.workspace import answering, finding, opening, posting
from bot.workspace.blocks.elements import GROUPS, OPTIONS
from bot.workspace.blocks.engine import Report
from bot.workspace.blocks.judge import judge_view
from bot.workspace.delivery import Carrier, Reply
from bot.workspace.protocol import Json, SlackError
from bot.workspace.state import SLACKBOT, Workspace
from bot.workspace.store.rooms import Channel

TROUBLE = "We had some trouble connecting. Try again?"


class Interactions:
    """The way from a person's click to the app and back."""

    def __init__(self, *, ws: Workspace, carrier: Carrier) -> None:
        self._ws = ws
        self._carrier = carrier

    async def click(self, *, user: str, told: Json, base_url: str) -> Json:
        """Press a button or choose something, in a message or a view (``told``: container, block_id, action_id, value, state)."""
        container = told.get("container") or {}
        with self._ws.transaction():
            build = self._click_in_view if container.get("type") == "view" else self._click_in_message
            payload = build(user, told, container, base_url)
        reply = await self._send("interactive", payload, accepts=False)
        return {"ok": True} if reply.acknowledged else self._unanswered(reply)

    def _click_in_message(self, user: str, told: Json, container: Json, base_url: str) -> Json:
        ws = self._ws
        channel = visible_channel(ws, container.get("channel"), user)
        ts, hidden = str(container.get("ts")), bool(container.get("ephemeral"))
        message = ws.talk.ephemeral(user, ts) if hidden else ws.talk.get(channel.id, ts)
        if message is None:
            raise SlackError("message_not_found")
        where = {"type": "message", "message_ts": ts, "channel_id": channel.id, "is_ephemeral": hidden}
        about = {"channel": channel.id, "user": user, "ts": ts, "ephemeral": hidden}
        if message.get("thread_ts"):
            where["thread_ts"] = message["thread_ts"]
        if not hidden:
            message = posting.shown(ws, channel, message)
        return {
            **self._click(user, told, message.get("blocks", [])),
            "container": where,
            "channel": {"id": channel.id, "name": _name(channel)},
            "message": message,
            "state": told.get("state") or {"values": {}},
            "response_url": answering.new_response_url(ws, base_url, about=about),
        }

    def _click_in_view(self, user: str, told: Json, container: Json, base_url: str) -> Json:
        del base_url
        ws = self._ws
        view_id = str(container.get("view_id"))
        open_view = ws.surfaces.view(view_id)
        view = open_view[2] if open_view is not None and open_view[0] == user else ws.surfaces.home(user)
        if view is None or view["id"] != view_id:
            raise SlackError("view_not_found")
        if told.get("state"):
            view = {**view, "state": told["state"]}
            if open_view is not None:
                ws.surfaces.put_view(user, open_view[1], view)
        return {
            **self._click(user, told, view["blocks"]),
            "container": {"type": "view", "view_id": view_id},
            "view": view,
        }

    def _click(self, user: str, told: Json, blocks: list[Json]) -> Json:
        block_id, action_id = str(told.get("block_id")), str(told.get("action_id"))
        found = finding.element(blocks, block_id=block_id, action_id=action_id)
        told = {**told, **(told.get("action") or {})}
        done = finding.action(found, told, block_id=block_id, user=user, at=self._ws.new_ts())
        return {**self._who("block_actions", user), "trigger_id": opening.new_trigger(self._ws, user), "actions": [done]}

    async def submit(self, *, user: str, view_id: str, state: Json, base_url: str) -> Json:
        """Press a modal's submit button."""
        with self._ws.transaction():
            view = {**self._top(user, view_id), "state": {"values": state.get("values") or {}}}
            missing = finding.unanswered(view["blocks"], view["state"]["values"])
            if missing:
                return {"ok": False, "errors": missing}
            payload = {
                **self._who("view_submission", user),
                "trigger_id": opening.new_trigger(self._ws, user),
                "view": view,
                "response_urls": self._response_urls(user, view, base_url),
            }
        reply = await self._send("interactive", payload, accepts=True)
        if not reply.acknowledged:
            return {"ok": False, "error": TROUBLE, "reason": reply.reason}
        return self._after_submit(user, view, reply.payload or {})

    def _response_urls(self, user: str, view: Json, base_url: str) -> list[Json]:
        urls = []
        for block in finding.flat(view["blocks"]):
            item = block.get("element") or {}
            if not item.get("response_url_enabled"):
                continue
            chosen = (view["state"]["values"].get(block["block_id"]) or {}).get(item["action_id"]) or {}
            channel = chosen.get("selected_conversation") or chosen.get("selected_channel")
            if channel:
                about = {"channel": channel, "user": user}
                url = answering.new_response_url(self._ws, base_url, about=about)
                place = {"block_id": block["block_id"], "action_id": item["action_id"], "channel_id": channel}
                urls.append({**place, "response_url": url})
        return urls

    def _after_submit(self, user: str, view: Json, told: Any) -> Json:
        """Do what the acknowledgement says; when it cannot be done, the person sees that something went wrong."""
        try:
            with self._ws.transaction():
                return self._obey(user, view, told if isinstance(told, dict) else {})
        except SlackError as refusal:
            self._ws.counters[f"refused acknowledgement {refusal.code}"] += 1
            return {"ok": False, "error": TROUBLE, "reason": refusal.code, "detail": refusal.body()}

    def _obey(self, user: str, view: Json, told: Json) -> Json:
        ws, order = self._ws, told.get("response_action")
        found = ws.surfaces.view(view["id"])
        if order == "errors":
            return {"ok": False, "errors": _checked_errors(view, told.get("errors"))}
        if order == "update" and found is not None:
            asked = judge_view(told.get("view"), kind="modal")
            return {"ok": True, "view": opening.replace(ws, user, found[1], found[2], asked)}
        if order == "push":
            return {"ok": True, "view": opening.lay_over(ws, user, judge_view(told.get("view"), kind="modal"))}
        if order not in (None, "clear", "update"):
            raise SlackError("invalid_response_action")
        if found is not None:
            cleared = order == "clear" or view["clear_on_close"]
            opening.close(ws, user, 0 if cleared else found[1])
            return {"ok": True, "closed": True, **({"cleared": True} if cleared else {})}
        return {"ok": True, "closed": True}

    async def close_view(self, *, user: str, view_id: str, everything: bool) -> Json:
        """Close a modal (Cancel, Escape), or the whole stack (its X): the app hears of it where it asked to."""
        with self._ws.transaction():
            view = self._top(user, view_id)
            stack = self._ws.surfaces.stack(user)
            cleared = everything or view["clear_on_close"]
            depth = 0 if cleared else len(stack) - 1
            opening.close(self._ws, user, depth)
        whole = cleared and len(stack) > 1
        tell = stack[0] if whole else view
        if tell["notify_on_close"]:
            payload = {**self._who("view_closed", user), "view": tell, "is_cleared": everything}
            await self._send("interactive", payload, accepts=False)
        return {"ok": True}

    async def shortcut(self, *, user: str, told: Json, base_url: str) -> Json:
        """Call a global shortcut, or one on a message."""
        kind, callback_id = str(told.get("type")), str(told.get("callback_id"))
        if self._ws.manifest.shortcut(callback_id=callback_id, kind=kind) is None:
            raise SlackError("shortcut_not_found")
        with self._ws.transaction():
            shared = {"callback_id": callback_id, "trigger_id": opening.new_trigger(self._ws, user)}
            stamp = {"action_ts": self._ws.new_ts()}
            if kind == "global":
                payload = {**self._who("shortcut", user), **shared, **stamp}
            else:
                payload = {**self._on_message(user, told, base_url), **shared, **stamp}
        reply = await self._send("interactive", payload, accepts=False)
        return {"ok": True} if reply.acknowledged else self._unanswered(reply)

    def _on_message(self, user: str, told: Json, base_url: str) -> Json:
        ws = self._ws
        channel = visible_channel(ws, told.get("channel"), user)
        message = ws.talk.get(channel.id, str(told.get("message_ts")))
        if message is None:
            raise SlackError("message_not_found")
        about = {"channel": channel.id, "user": user, "ts": message["ts"], "ephemeral": False}
        return {
            **self._who("message_action", user),
            "message_ts": message["ts"],
            "message": posting.shown(ws, channel, message),
            "channel": {"id": channel.id, "name": _name(channel)},
            "response_url": answering.new_response_url(ws, base_url, about=about),
        }

    async def slash(self, *, user: str, channel: Channel, command: str, text: str, base_url: str) -> Json:
        """Call a slash command; what the acknowledgement says is shown to the person, or in the channel."""
        ws = self._ws
        about = {"channel": channel.id, "user": user}
        with ws.transaction():
            body = self._command(user, channel, command, text)
            body["response_url"] = answering.new_response_url(ws, base_url, about=about)
        reply = await self._send("slash_commands", body, accepts=True)
        if not reply.acknowledged:
            word = "dispatch_failed" if reply.reason in ("no_connection", "connection_failed") else "operation_timeout"
            return self._say_failed(channel, user, f'{command} failed with the error "{word}"')
        told = {"text": reply.payload} if isinstance(reply.payload, str) else reply.payload
        if not told or not any(told.get(name) for name in ("text", "blocks", "attachments")):
            return {"ok": True}
        return self._say_answer(channel, user, command, told)

    def _say_answer(self, channel: Channel, user: str, command: str, told: Json) -> Json:
        try:
            with self._ws.transaction():
                answering.answer(self._ws, {"channel": channel.id, "user": user}, told)
        except SlackError as refusal:
            self._ws.counters[f"refused acknowledgement {refusal.code}"] += 1
            return self._say_failed(channel, user, f'{command} failed with the error "{refusal.code}"')
        return {"ok": True}

    def _say_failed(self, channel: Channel, user: str, text: str) -> Json:
        with self._ws.transaction():
            posting.whisper(self._ws, channel, user=user, message={"user": SLACKBOT, "text": text})
        return {"ok": False, "error": text}

    def _command(self, user: str, channel: Channel, command: str, text: str) -> Json:
        who = self._ws.identity
        person = self._ws.rooms.user(user) or {}
        return {
            "token": who.verification_token,
            "team_id": who.team_id,
            "team_domain": who.team_domain,
            "channel_id": channel.id,
            "channel_name": _name(channel),
            "user_id": user,
            "user_name": person.get("name", ""),
            "command": command,
            "text": text,
            "api_app_id": who.app_id,
            "is_enterprise_install": "false",
            "trigger_id": opening.new_trigger(self._ws, user),
        }

    async def suggest(self, *, user: str, told: Json) -> Json:
        """Ask the app for the options of an external_select."""
        container, block_id, action_id = told.get("container") or {}, str(told.get("block_id")), str(told.get("action_id"))
        with self._ws.transaction():
            payload = {**self._suggestion(user, container, block_id, action_id), "value": str(told.get("value", ""))}
        reply = await self._send("interactive", payload, accepts=True)
        if not reply.acknowledged:
            return {"ok": False, "error": "No result", "reason": reply.reason}
        offered = reply.payload if isinstance(reply.payload, dict) else {}
        report = Report(surface="modal")
        name = "option_groups" if "option_groups" in offered else "options"
        if offered.get(name) != []:
            (GROUPS if name == "option_groups" else OPTIONS).check(offered.get(name), f"/{name}", report)
        if report.problems:
            self._ws.counters["refused acknowledgement invalid_options"] += 1
            return {"ok": False, "error": "No result", "reason": report.problems[0].message}
        return {"ok": True, name: offered[name]}

    def _suggestion(self, user: str, container: Json, block_id: str, action_id: str) -> Json:
        ws = self._ws
        shared = {**self._who("block_suggestion", user), "block_id": block_id, "action_id": action_id}
        if container.get("type") == "view":
            view = self._top(user, str(container.get("view_id")))
            finding.element(view["blocks"], block_id=block_id, action_id=action_id)
            return {**shared, "container": {"type": "view", "view_id": view["id"]}, "view": view}
        channel = visible_channel(ws, container.get("channel"), user)
        message = ws.talk.get(channel.id, str(container.get("ts")))
        if message is None:
            raise SlackError("message_not_found")
        finding.element(message.get("blocks", []), block_id=block_id, action_id=action_id)
        where = {"type": "message", "message_ts": message["ts"], "channel_id": channel.id, "is_ephemeral": False}
        return {**shared, "container": where, "channel": {"id": channel.id, "name": _name(channel)}, "message": message}

    def _top(self, user: str, view_id: str) -> Json:
        stack = self._ws.surfaces.stack(user)
        if not stack or stack[-1]["id"] != view_id:
            raise SlackError("view_not_found")
        return stack[-1]

    def _who(self, kind: str, user: str) -> Json:
        who = self._ws.identity
        person = self._ws.rooms.user(user)
        if person is None:
            raise SlackError("user_not_found")
        name = person["name"]
        return {
            "type": kind,
            "team": {"id": who.team_id, "domain": who.team_domain},
            "user": {"id": user, "username": name, "name": name, "team_id": who.team_id},
            "api_app_id": who.app_id,
            "token": who.verification_token,
            "is_enterprise_install": False,
            "enterprise": None,
        }

    async def _send(self, kind: str, body: Json, *, accepts: bool) -> Reply:
        if kind == "interactive" and not self._ws.manifest.interactive:
            raise SlackError("interactivity_disabled")
        reply = await self._carrier.send(kind, body, accepts=accepts)
        self._ws.counters[f"{body.get('type', kind)} {'acknowledged' if reply.acknowledged else reply.reason}"] += 1
        return reply

    def _unanswered(self, reply: Reply) -> Json:
        name = self._ws.manifest.display_name
        error = f"{name} did not respond in time. Try again."
        if reply.reason in ("no_connection", "connection_failed"):
            error = f"{name} is not responding. Try again later."
        return {"ok": False, "error": error, "reason": reply.reason}


def _checked_errors(view: Json, errors: Any) -> dict[str, str]:
    """Errors must name input blocks of the view, each with a text."""
    inputs = {block["block_id"] for block in finding.flat(view["blocks"]) if block.get("type") == "input"}
    if not isinstance(errors, dict) or not errors or not set(errors) <= inputs:
        raise SlackError("invalid_response_errors", expected=sorted(inputs))
    return {block_id: str(text) for block_id, text in errors.items()}


def _name(channel: Channel) -> str:
    return "directmessage" if channel.kind == "im" else channel.name


def visible_channel(ws: Workspace, channel_id: Any, user: str) -> Channel:
    """A channel somebody may look at.

    Raises:
        SlackError: channel_not_found.
    """
    channel = ws.rooms.channel(str(channel_id))
    if channel is None or (channel.kind != "public" and not ws.rooms.is_member(channel.id, user)):
        raise SlackError("channel_not_found")
    return channel
