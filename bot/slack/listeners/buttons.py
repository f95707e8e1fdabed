"""Buttons, on cards, in dialogs and in App Home."""

import re
from functools import partial

from slack_bolt import Ack, App, BoltContext, Respond

from bot.ports import PressKind, Reply
from bot.slack import intents
from bot.slack.listeners.desk import Desk, later, place_of
from runbooks.value import Json


def register(app: App, desk: Desk) -> None:
    """Answer every button; also those of cards that an earlier version drew."""

    @app.action(re.compile(r".*", re.DOTALL))
    def pressed(ack: Ack, body: Json, action: Json, context: BoltContext, respond: Respond) -> None:
        if action.get("type") == "button" and not action.get("url"):
            place = place_of(body, respond)

            def press() -> Reply:
                try:
                    decoded = intents.decode(str(action.get("action_id")), str(action.get("value")))
                except intents.IntentUnreadable as error:
                    return desk.unreadable(error, place.visitor)
                return Reply() if decoded.kind is PressKind.LINK else desk.front.press(decoded, place.visitor)

            reply = desk.ask(press)
            later(context, partial(desk.show, reply, place))
        ack()
