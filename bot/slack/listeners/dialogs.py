"""Dialogs: submitted or closed. What is wrong with a field is said at the field, and the dialog stays."""

import re
from functools import partial

from slack_bolt import Ack, App, BoltContext

from bot.ports import PressKind, Reply
from bot.slack import cards, intents
from bot.slack.cards import forms
from bot.slack.listeners.desk import Desk, Place, later, place_of
from runbooks.screens import Refusal
from runbooks.value import Json

_ANY = re.compile(r".*", re.DOTALL)


def register(app: App, desk: Desk) -> None:
    """Submissions go to the front; a dialog that was closed needs nothing."""

    @app.view(_ANY)
    def submitted(ack: Ack, body: Json, context: BoltContext) -> None:
        place = place_of(body, None)
        reply = desk.ask(lambda: _submit(desk, body, place))
        _answer(ack, reply, body["view"])
        if reply.dialog is not None and reply.then is not None:
            later(context, partial(desk.opened, reply, str(body["view"]["id"]), place.visitor))

    @app.view_closed(_ANY)
    def closed(ack: Ack) -> None:
        ack()


def _submit(desk: Desk, body: Json, place: Place) -> Reply:
    view = body["view"]
    try:
        submission = intents.decode_form(str(view.get("callback_id")), str(view.get("private_metadata")))
    except intents.IntentUnreadable as error:
        return desk.unreadable(error, place.visitor)
    form = {**submission.extra, **forms.read((view.get("state") or {}).get("values") or {})}
    if submission.press.kind is PressKind.CONFIRM:
        form.setdefault("parameters", {})
    if submission.press.kind is PressKind.RESOLVE_AS:
        form.setdefault("mitigations", {})
    return desk.front.submit(submission.press, form, place.visitor)


def _answer(ack: Ack, reply: Reply, view: Json) -> None:
    shown, homeless = forms.errors(reply.errors, view.get("blocks") or ())
    if shown:
        ack(response_action="errors", errors=shown)
    elif homeless:
        ack(response_action="update", view=cards.draw_view(Refusal(text=" ".join(homeless))))
    elif reply.dialog is not None:
        ack(response_action="update", view=cards.draw_view(reply.dialog))
    elif reply.whisper is not None:
        ack(response_action="update", view=cards.draw_view(reply.whisper))
    else:
        # What stands below was drawn before this took effect: close the whole stack.
        ack(response_action="clear")
