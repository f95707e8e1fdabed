"""The product's face: every press, submit, command and event, decided in one short transaction without network (ports.Front).

A press that may do nothing answers with a sentence; nothing is ever silent, and a second press is not an error.
"""

from collections.abc import Callable
from datetime import datetime

import structlog

from bot.flows import (
    act,
    capture,
    proposals,
)
from bot.flows.commands import answer as answer_command
from bot.flows.context import Context, person_actor
from bot.flows.errors import Refused
from bot.flows.pressing import Pressing
from bot.flows.records import entry
from bot.flows.submitting import Incomplete, Submitting
from bot.ports import Press, PressKind, Reply, Visitor
from runbooks.errors import NotFound, TransitionRefused
from runbooks.people import Actor, ActorKind, Person
from runbooks.screens import Refusal
from runbooks.timeline import OWN, EntryKind
from runbooks.value import Json
from storage import incidents, ledger, mitigations, runs, seen, suggestions
from storage.database import Tx

log = structlog.get_logger(__name__)

K = PressKind
MISTAKES = frozenset({"invalid", "no_number"})
"""Reasons that speak of a slip of the pen: about no incident they are nothing to keep."""


class Desk:
    """Implements `ports.Front` over a context."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self._pressing, self._submitting = Pressing(ctx), Submitting(ctx)

    def press(self, press: Press, visitor: Visitor) -> Reply:
        """A button or a menu entry."""
        reply = self._guarded(press, visitor, lambda tx, by, now: self._pressing.press(tx, press, visitor, by, now))
        if visitor.at_home:
            self.ctx.write(lambda tx: capture.home(tx, visitor, now=self.ctx.now()), name="press")
        return reply

    def submit(self, press: Press, form: dict[str, Json], visitor: Visitor) -> Reply:
        """A dialog's submit button with its fields."""
        return self._guarded(press, visitor, lambda tx, by, now: self._submitting.submit(tx, press, form, visitor=visitor, by=by, now=now))

    def opened(self, press: Press, view_id: str, visitor: Visitor) -> None:
        """A loading dialog stands open: plan, and fill it."""

        def work(tx: Tx) -> None:
            if press.run_id is not None:
                act.attach_dialog(tx, press.run_id, view_id)

        del visitor
        self.ctx.write(work, name="press")

    def command(self, text: str, visitor: Visitor) -> Reply:
        """`/muster …` or a mention."""
        press = Press(kind=K.LINK)
        return self._guarded(press, visitor, lambda tx, by, now: answer_command(tx, self.ctx, text, visitor, by, now))

    def shortcut(self, callback_id: str, message: dict[str, Json] | None, visitor: Visitor) -> Reply:
        """Global and message shortcuts."""
        press = Press(kind=K.LINK)

        def work(tx: Tx, by: Actor, now: datetime) -> Reply:
            if callback_id == "add_to_timeline":
                return capture.keep_message(tx, self.ctx, message or {}, by=by, now=now)
            return Reply(dialog=capture.declare_dialog(self.ctx, message, channel=visitor.channel))

        return self._guarded(press, visitor, work)

    def event(self, kind: str, event: dict[str, Json], *, event_id: str, visitor: Visitor) -> None:
        """A Slack event, once."""

        def work(tx: Tx) -> None:
            now = self.ctx.now()
            if seen.first(tx, f"slack:{event_id}", now=now):
                capture.event(tx, self.ctx, kind, event, visitor=visitor, now=now)

        self.ctx.write(work, name="press")

    def actor(self, visitor: Visitor) -> Actor:
        """The person behind a visitor; an unresolved one may look and not act (rule S4).

        Raises:
            Refused: nobody in muster.yaml has this Slack id or e-mail.
        """
        person = self._person(visitor)
        if person is None:
            raise Refused(
                "unknown_person",
                "Muster does not know you: nobody in muster.yaml has your Slack id or e-mail. Ask the operator of Muster to add you.",
            )
        return person_actor(person.id, slack_id=visitor.slack_id, via=visitor.via)

    def _person(self, visitor: Visitor) -> Person | None:
        if visitor.person:
            return self.ctx.directory.person(visitor.person.id)
        return self.ctx.directory.by_slack_id(visitor.slack_id) if visitor.slack_id else None

    def _guarded(self, press: Press, visitor: Visitor, work: Callable[[Tx, Actor, datetime], Reply]) -> Reply:
        """Run one decision; a refusal becomes a sentence, and an attempt that was not allowed stands in the audit."""
        try:
            by = self.actor(visitor)
            return self.ctx.write(lambda tx: self._once(tx, press, visitor, lambda now: work(tx, by, now)), name="press")
        except Incomplete as incomplete:
            return incomplete.reply
        except Refused as refused:
            self._audit(press, visitor, refused)
            said = Refusal(text=str(refused), reason=refused.reason, incident_id=press.incident_id, step=press.step, offer=refused.offer)
            return Reply(whisper=said)
        except (TransitionRefused, NotFound) as error:
            reason = "not_found" if isinstance(error, NotFound) else "transition"
            drawn = visitor.via == "slack" and press.kind is not K.LINK
            if isinstance(error, NotFound) and drawn:  # a button that Muster drew names what there is; a number that was typed may not
                self._audit(press, visitor, Refused(reason, str(error)))
            return Reply(whisper=Refusal(text=str(error), reason=reason, incident_id=press.incident_id))

    def _once(self, tx: Tx, press: Press, visitor: Visitor, work: Callable[[datetime], Reply]) -> Reply:
        """The same delivery a second time was answered the first time (ports.Visitor)."""
        now = self.ctx.now()
        about = f"{press.kind.value}:{press.incident_id}:{press.run_id}:{press.subject_id}:{press.step}"
        if visitor.interaction and not seen.first(tx, f"press:{about}:{visitor.interaction}", now=now):
            return Reply()
        return work(now)

    def _audit(self, press: Press, visitor: Visitor, refused: Refused) -> None:
        log.info("press.refused", reason=refused.reason, press=press.kind.value, incident=press.incident_id, slack_id=visitor.slack_id)
        if not refused.audit:
            return
        person = self._person(visitor)
        who = person.id if person else visitor.slack_id or visitor.via
        kind = ActorKind.PERSON if person else ActorKind.SOURCE
        actor = Actor(kind=kind, id=who, slack_id=visitor.slack_id, via=visitor.via)

        def work(tx: Tx) -> None:
            incident_id, now = _incident_of(tx, press), self.ctx.now()
            if incident_id is None or incidents.find(tx, incident_id) is None:
                if refused.reason in MISTAKES:
                    return
                incident_id = OWN  # about nothing that there is, and on record all the same
            said = entry(
                EntryKind.ATTEMPT_REFUSED,
                f"{who} tried {press.kind.value.replace('_', ' ')}{' ' + press.step if press.step else ''}: {refused}",
                now=now,
                actor=actor,
                reason=refused.reason,
                step=press.step,
            )
            ledger.record(tx, incident_id, [said], now=now)

        self.ctx.write(work)


def _incident_of(tx: Tx, press: Press) -> int | None:
    """The incident that an attempt was about: the run's or the mitigation's own, whatever the button says."""
    try:
        if press.run_id is not None:
            return runs.get(tx, press.run_id).incident_id
        if press.kind in {K.EXTEND, K.EXTEND_TO, K.KEEP, K.REVERT} and press.subject_id is not None:
            return mitigations.get(tx, press.subject_id).incident_id
        if press.kind in proposals.PRESSED and press.subject_id is not None:
            return suggestions.get(tx, press.subject_id).incident_id
    except NotFound:
        return press.incident_id
    return press.incident_id
