"""Shortcuts: Declare incident, Declare from message, Add to timeline."""

import re
from functools import partial

from slack_bolt import Ack, App, BoltContext, Respond

from bot.slack.listeners.desk import Desk, later, place_of
from runbooks.value import Json


def register(app: App, desk: Desk) -> None:
    """Global and message shortcuts. A message goes to the front with the channel that it stands in."""

    @app.shortcut(re.compile(r".*", re.DOTALL))
    def chosen(ack: Ack, body: Json, context: BoltContext, respond: Respond) -> None:
        place = place_of(body, respond)
        message = body.get("message")
        if message is not None:
            message = {**message, "channel": place.visitor.channel}
        reply = desk.ask(lambda: desk.front.shortcut(str(body.get("callback_id")), message, place.visitor))
        ack()
        later(context, partial(desk.show, reply, place))
