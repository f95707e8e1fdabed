"""Events: what happens in Slack without a press. Slack repeats one that was not acknowledged; the front knows it by its id."""

import re
from functools import partial

from slack_bolt import App, BoltContext

from bot.ports import Reply, Visitor
from bot.slack.listeners.desk import Desk, Place, later
from bot.slack.text import clean
from runbooks.screens import Refusal
from runbooks.value import Json

_MENTION = re.compile(r"^\s*<@[UW][A-Z0-9]+(\|[^>]*)?>\s*")
_SPOKEN = frozenset({None, "file_share", "thread_broadcast", "bot_message", "me_message"})
"""Subtypes of messages that somebody said. Edits, joins and topic lines come as messages too, and have events of their own."""
_KEPT_FROM_SELF = frozenset({"member_joined_channel"})


def register(app: App, desk: Desk) -> None:
    """A mention or a direct message is a command; everything else goes to the front as it is.

    An event that the front could not take is not acknowledged: the error goes up, Bolt answers 500, and Slack sends it again.
    """

    @app.event(re.compile(r".*", re.DOTALL))
    def happened(body: Json, event: Json, context: BoltContext) -> None:
        kind, event_id = str(event.get("type")), str(body.get("event_id"))
        if _own(body, event) or (kind == "message" and event.get("subtype") not in _SPOKEN):
            return
        visitor = _visitor(event, event_id)
        if kind == "app_mention" or _is_direct(event):
            said = clean(_MENTION.sub("", str(event.get("text") or ""))).strip()
            reply = desk.ask(lambda: desk.front.command(said, visitor))
            later(context, partial(desk.show, _without_dialog(reply, said), Place(visitor=visitor)))
        else:
            desk.front.event(kind, event, event_id=event_id, visitor=visitor)


def _visitor(event: Json, event_id: str) -> Visitor:
    item = event.get("item") or {}
    user = event.get("user")
    channel = event.get("channel") or item.get("channel") or event.get("channel_id")
    return Visitor(
        slack_id=user.get("id") if isinstance(user, dict) else user,
        channel=channel.get("id") if isinstance(channel, dict) else channel,
        message_ts=event.get("ts") or item.get("ts"),
        thread_ts=event.get("thread_ts"),
        interaction=event_id,
    )


def _is_direct(event: Json) -> bool:
    return event.get("type") == "message" and event.get("channel_type") == "im" and not event.get("bot_id")


def _own(body: Json, event: Json) -> bool:
    """Whether Muster itself caused it: its own messages are no news to it."""
    if event.get("type") in _KEPT_FROM_SELF:
        return False
    bots = {item.get("user_id") for item in body.get("authorizations") or () if item.get("is_bot")}
    return event.get("user") in bots if event.get("user") else bool(event.get("app_id")) and event.get("app_id") == body.get("api_app_id")


def _without_dialog(reply: Reply, said: str) -> Reply:
    """A message brings no trigger, so that no dialog can open: say where it can."""
    if reply.dialog is None:
        return reply
    return Reply(whisper=Refusal(text=f"That needs a dialog, which a message cannot open. Type /muster {said}."))
