"""Where every press arrives: ask the front once, and show what it answers in the place where the person is.

The front is asked before the acknowledgement (one short transaction, no network). What needs the network, opening a dialog or an
ephemeral line, is put down for `later` and runs after Slack has its acknowledgement. Whatever fails, the person gets a sentence.
"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from slack_bolt import BoltContext
from slack_sdk import WebClient

from bot.ports import Front, Press, PressKind, Reply, Visitor
from bot.slack import cards
from bot.slack.delivery import TRANSPORT, translated
from runbooks.errors import MusterError
from runbooks.screens import Message, Refusal
from runbooks.value import Json

_LATER = "muster_later"
_TOP = 3  # views in a stack (push_limit_reached)
_log = logging.getLogger(__name__)


def later(context: BoltContext, job: Callable[[], None]) -> None:
    """Do this after the acknowledgement."""
    context.setdefault(_LATER, []).append(job)


def jobs(context: BoltContext) -> tuple[Callable[[], None], ...]:
    """What was put down, in order; once."""
    return tuple(context.pop(_LATER, ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the person is: in a message (`channel`), in a dialog or Home (`view`), or at a slash command or shortcut."""

    visitor: Visitor
    trigger_id: str | None = None
    view: Json = None
    respond: Callable[..., Json] | None = None

    @property
    def in_dialog(self) -> bool:
        """Whether a dialog stands open here."""
        return self.view is not None and self.view.get("type") == "modal"


def place_of(body: Json, respond: Callable[..., Json] | None) -> Place:
    """The place that an interactive payload comes from."""
    container = body.get("container") or {}
    message = body.get("message") or {}
    view = body.get("view")
    visitor = Visitor(
        slack_id=(body.get("user") or {}).get("id"),
        channel=(body.get("channel") or {}).get("id") or container.get("channel_id"),
        message_ts=container.get("message_ts") or message.get("ts"),
        thread_ts=container.get("thread_ts") or message.get("thread_ts"),
        view_id=view.get("id") if view else None,
        at_home=bool(view and view.get("type") == "home"),
        interaction=body.get("trigger_id"),
    )
    return Place(visitor=visitor, trigger_id=body.get("trigger_id"), view=view, respond=respond if body.get("response_url") else None)


class Desk:
    """The front, and the ways to show its answers."""

    def __init__(self, *, front: Front, client: WebClient) -> None:
        self.front = front
        self._client = client

    def ask(self, call: Callable[[], Reply]) -> Reply:
        """The front's answer; an error becomes a sentence. An unexpected one is logged under a number that the sentence names."""
        try:
            return call()
        except MusterError as refused:
            return _said(str(refused))
        except Exception:  # noqa: BLE001 - the outermost edge: nothing may end in silence
            number = secrets.token_hex(4)
            _log.exception("a press failed; error %s", number)
            unsure = "Muster failed at this, and cannot say whether it took effect. Look at the card before you press again."
            return _said(f"{unsure} Error {number}.")

    def unreadable(self, error: MusterError, visitor: Visitor) -> Reply:
        """A button that cannot be read is an attempt like any other: the front refuses it, on record."""
        reply = self.front.press(Press(kind=PressKind.UNREADABLE), visitor)
        return reply if reply.whisper is not None else _said(str(error))

    def show(self, reply: Reply, place: Place) -> None:
        """Show an answer by network calls. At most once; a failure is logged and said where that is still possible."""
        try:
            if reply.dialog is not None:
                self._open(reply, place)
            if reply.whisper is not None:
                self._whisper(reply.whisper, place)
        except TRANSPORT as error:
            trouble = translated(error)
            _log.warning("could not show an answer to %s: %s", place.visitor.slack_id, trouble)
            if reply.dialog is not None:
                self._apologise(place)

    def opened(self, reply: Reply, view_id: str, visitor: Visitor) -> None:
        """Tell the front that a loading dialog stands open and waits."""
        if reply.then is None:
            return
        press = reply.then

        def tell() -> Reply:
            self.front.opened(press, view_id, visitor)
            return Reply()

        failed = self.ask(tell)
        if failed.whisper is None:
            return
        try:
            self._client.views_update(view_id=view_id, view=cards.draw_view(failed.whisper))
        except TRANSPORT as error:
            _log.warning("could not say in view %s that it will not be filled: %s", view_id, translated(error))

    def _open(self, reply: Reply, place: Place) -> None:
        assert reply.dialog is not None
        view = cards.draw_view(reply.dialog)
        answer = self._stack(view, place) if place.in_dialog else self._client.views_open(trigger_id=place.trigger_id, view=view)
        self.opened(reply, str(answer["view"]["id"]), place.visitor)

    def _stack(self, view: Json, place: Place) -> Json:
        """On top of the open dialog while the stack has room, else in its place."""
        if _depth(place.view) < _TOP:
            return self._client.views_push(trigger_id=place.trigger_id, view=view)
        return self._client.views_update(view_id=place.view["id"], view=view)

    def _whisper(self, message: Message, place: Place) -> None:
        if place.in_dialog:
            self._stack(cards.draw_view(message), place)
        elif place.respond is not None:
            drawn = cards.draw(message)
            place.respond(
                text=drawn.text,
                blocks=list(drawn.blocks),
                response_type="ephemeral",
                replace_original=False,
                thread_ts=_thread(place.visitor),
            )
        elif place.trigger_id is not None:
            self._client.views_open(trigger_id=place.trigger_id, view=cards.draw_view(message))
        else:
            self._line(message, place.visitor)

    def _line(self, message: Message, visitor: Visitor) -> None:
        """An ephemeral line in a channel; in a direct conversation with Muster, an ordinary one."""
        drawn = cards.draw(message)
        if visitor.channel is not None and visitor.channel.startswith("D"):
            self._client.chat_postMessage(channel=visitor.channel, text=drawn.text, blocks=list(drawn.blocks), thread_ts=visitor.thread_ts)
        elif visitor.channel is not None and visitor.slack_id is not None:
            self._client.chat_postEphemeral(
                channel=visitor.channel,
                user=visitor.slack_id,
                text=drawn.text,
                blocks=list(drawn.blocks),
                thread_ts=visitor.thread_ts,
            )

    def _apologise(self, place: Place) -> None:
        sorry = Refusal(text="Slack did not open the dialog in time; nothing was done. Press again.")
        try:
            if place.respond is not None or place.visitor.channel is not None:
                self._whisper(sorry, Place(visitor=place.visitor, respond=place.respond))
        except TRANSPORT as error:
            _log.warning("could not say so to %s either: %s", place.visitor.slack_id, translated(error))


def _thread(visitor: Visitor) -> str | None:
    """The thread to answer in. A message that has replies is its own thread's first: who pressed there looks at the channel."""
    return visitor.thread_ts if visitor.thread_ts != visitor.message_ts else None


def _depth(view: Json) -> int:
    """How many dialogs stand on each other, this one included: Slack names the root and the one below."""
    if not view.get("previous_view_id"):
        return 1
    return 2 if view["previous_view_id"] == view.get("root_view_id") else _TOP


def _said(sentence: str) -> Reply:
    return Reply(whisper=Refusal(text=sentence))
