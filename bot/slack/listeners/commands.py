"""`/muster …`: the answer comes back with the acknowledgement."""

from functools import partial

from slack_bolt import Ack, App, BoltContext, Respond

from bot.ports import Reply, Visitor
from bot.slack import cards
from bot.slack.listeners.desk import Desk, Place, later
from bot.slack.text import clean
from runbooks.value import Json

COMMAND = "/muster"


def register(app: App, desk: Desk) -> None:
    """The one slash command."""

    @app.command(COMMAND)
    def typed(ack: Ack, body: Json, context: BoltContext, respond: Respond) -> None:
        visitor = Visitor(slack_id=body.get("user_id"), channel=body.get("channel_id"), interaction=body.get("trigger_id"))
        reply = desk.ask(lambda: desk.front.command(clean(str(body.get("text") or "")).strip(), visitor))
        if reply.whisper is not None:
            drawn = cards.draw(reply.whisper)
            ack(text=drawn.text, blocks=list(drawn.blocks), response_type="ephemeral")
        else:
            ack()
        if reply.dialog is not None:
            place = Place(visitor=visitor, trigger_id=body.get("trigger_id"), respond=respond if body.get("response_url") else None)
            later(context, partial(desk.show, Reply(dialog=reply.dialog, then=reply.then), place))
