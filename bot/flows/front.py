"""The product's face: every press, submit, command and event, decided in one short transaction without network (ports.Front).

A press that may do nothing answers with a sentence; nothing is ever silent, and a second press is not an error.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import structlog

from bot.flows import (
    act,
    approve,
    breaking,
    capture,
    cleanup,
    declare,
    dialogs,
    execute,
    pausing,
    permit,
    proposals,
    ramp,
    register,
    rehearse,
    resolve,
    respond,
    review,
    stop,
    undo,
)
from bot.flows.commands import answer as answer_command
from bot.flows.context import Context, person_actor
from bot.flows.errors import Refused
from bot.flows.records import entry, save, say
from bot.ports import Press, PressKind, Reply, Visitor
from runbooks.drill import DrillState
from runbooks.errors import MusterError, NotFound, TransitionRefused
from runbooks.incident import Incident
from runbooks.people import Actor, ActorKind, Person, Role
from runbooks.run import BEFORE_RUNNING
from runbooks.screens import DeclareDialog, HandOverDialog, Loading, NoteDialog, Notice, Refusal
from runbooks.severity import Severity
from runbooks.timeline import OWN, EntryKind
from runbooks.value import Json
from storage import drills, incidents, ledger, mitigations, runs, seen, suggestions, tasks
from storage.database import Tx
from storage.tasks import NewTask

log = structlog.get_logger(__name__)

K = PressKind
MISTAKES = frozenset({"invalid", "no_number"})
"""Reasons that speak of a slip of the pen: about no incident they are nothing to keep."""
NOTE_MOST = 2900  # one section of a message


class _Incomplete(Exception):
    """A dialog stays open for want of something; nothing of it is kept, so that it may be sent again."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__("incomplete")


class Desk:
    """Implements `ports.Front` over a context."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self._pressed: dict[PressKind, Callable[[Tx, Press, Incident, Actor, datetime], Reply]] = {
            K.PLAN: self._plan,
            K.RUN_NOW: self._run_now,
            K.ACKNOWLEDGE: self._acknowledge,
            K.TAKE_COMMAND: self._take_command,
            K.HAND_OVER: lambda _tx, _p, incident, _by, _now: Reply(dialog=HandOverDialog(incident=incident)),
            K.MORE: lambda tx, _p, incident, _by, now: Reply(dialog=dialogs.more(tx, self.ctx, incident, now=now)),
            K.WHY: lambda tx, _p, incident, _by, _now: Reply(dialog=dialogs.match(tx, self.ctx, incident)),
            K.SEVERITY: lambda _tx, _p, incident, _by, _now: Reply(dialog=dialogs.severity(incident)),
            K.NOTE: lambda _tx, _p, incident, _by, _now: Reply(dialog=NoteDialog(incident=incident)),
            K.RESOLVE: lambda tx, _p, incident, _by, _now: Reply(dialog=resolve.dialog(tx, self.ctx, incident)),
            K.EXPLAIN: self._explain,
        }

    def press(self, press: Press, visitor: Visitor) -> Reply:
        """A button or a menu entry."""
        return self._guarded(press, visitor, lambda tx, by, now: self._press(tx, press, visitor, by, now))

    def submit(self, press: Press, form: dict[str, Json], visitor: Visitor) -> Reply:
        """A dialog's submit button with its fields."""
        return self._guarded(press, visitor, lambda tx, by, now: self._submit(tx, press, form, visitor=visitor, by=by, now=now))

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
        except _Incomplete as incomplete:
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
        if visitor.interaction and not seen.first(tx, f"press:{press.kind.value}:{visitor.interaction}", now=now):
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

    def _press(self, tx: Tx, press: Press, visitor: Visitor, by: Actor, now: datetime) -> Reply:
        if press.kind is K.LINK:
            return Reply()
        if press.kind is K.DECLARE:
            return Reply(dialog=DeclareDialog(services=tuple(self.ctx.services), channel=visitor.channel))
        if press.kind in {K.DRILL_START, K.DRILL_MOVE, K.DRILL_ABORT}:
            return self._drill(tx, press, by, now)
        if press.kind is K.REVIEW_DONE:
            review.finish(tx, _required(press.subject_id), by=by, now=now)
            return _said("The post-mortem is marked as finished.")
        if press.kind in {K.EXTEND, K.KEEP, K.REVERT}:
            return self._mitigation(tx, press, by, now)
        if press.kind is K.RESET:
            return Reply(dialog=breaking.dialog(tx, self.ctx, _text(press.runbook), _text(press.step), by=by, now=now))
        if press.kind is K.RESUME:
            return _said(pausing.resume(tx, self.ctx, by=by, now=now))
        if press.kind is K.UNREADABLE:
            raise Refused(
                "unreadable", "This button is from another version of Muster, or was changed. Nothing was done. Use the newest card."
            )
        if press.kind in proposals.PRESSED:
            return proposals.press(tx, self.ctx, press, by=by, now=now)
        if press.run_id is not None and press.kind not in self._pressed:
            return self._run(tx, press, by, now)
        if press.kind not in self._pressed:
            raise Refused("unknown_button", "This button says nothing that Muster understands. Use the buttons on the card.")
        incident = incidents.get(tx, _required(press.incident_id))
        self._must_be_current(press, incident, now)
        return self._pressed[press.kind](tx, press, incident, by, now)

    def _must_be_current(self, press: Press, incident: Incident, now: datetime) -> None:
        """A button that is too old, or drawn from another runbook version, explains itself and does nothing (rule S10)."""
        if not incident.is_open:
            raise Refused("resolved", f"{incident.ref} is resolved; nothing was changed.", offer="timeline", audit=False)
        if press.runbook is not None and press.runbook != incident.match.runbook.id:
            raise Refused(
                "stale_runbook",
                f"This button is from the runbook {press.runbook}; {incident.ref} follows {incident.match.runbook.id} now. "
                "Use the buttons on the card.",
                offer="plan",
            )
        if press.version is not None and press.version != incident.match.runbook.version and press.kind in {K.PLAN, K.RUN_NOW, K.CONFIRM}:
            raise Refused(
                "stale_version",
                f"This button is from version {press.version} of the runbook; {incident.ref} follows version "
                f"{incident.match.runbook.version} of {incident.match.runbook.id} now. Use the buttons on the card.",
                offer="plan",
            )
        if press.expires_at is not None and now > press.expires_at:
            raise Refused("expired", "This button is too old; nothing was changed. Open the current plan from the card.", offer="plan")

    def _plan(self, tx: Tx, press: Press, incident: Incident, by: Actor, now: datetime) -> Reply:
        run = act.propose(tx, self.ctx, incident, _text(press.step), by=by, now=now)
        return Reply(
            dialog=Loading(title=run.title, text="Reading the present state and checking what may be done …"),
            then=Press(kind=K.PLAN, incident_id=incident.id, step=run.step, run_id=run.id),
        )

    def _plan_with(self, tx: Tx, press: Press, form: dict[str, Json], incident: Incident, *, by: Actor, now: datetime) -> Reply:
        """A plan with chosen parameters from the first, for callers that have no dialog to choose them in."""
        action = self.ctx.shelf.pinned(tx, incident.match.runbook).action(_text(press.step))
        asked = form.get("parameters") or {}
        assert isinstance(asked, dict)
        chosen, errors = act.typed(action, asked, {}) if action else ({}, {})
        if action and (unknown := sorted(set(asked) - set(action.parameters))):
            errors = {name: f"{action.title} has no parameter {name}." for name in unknown}
        if errors:
            return Reply(errors=errors)
        run = act.propose(tx, self.ctx, incident, _text(press.step), by=by, now=now, parameters=chosen)
        return Reply(then=Press(kind=K.PLAN, incident_id=incident.id, step=run.step, run_id=run.id))

    def _run_now(self, tx: Tx, press: Press, incident: Incident, by: Actor, now: datetime) -> Reply:
        act.propose(tx, self.ctx, incident, _text(press.step), by=by, now=now, at_once=True)
        return Reply()

    def _acknowledge(self, tx: Tx, press: Press, incident: Incident, by: Actor, now: datetime) -> Reply:
        del press
        if incident.acknowledged_at is not None:
            at = f"{incident.acknowledged_at:%H:%M} UTC"
            who = "You have" if incident.acknowledged_by == by.id else f"{incident.acknowledged_by} has"
            return _said(f"{who} acknowledged {incident.ref} already, at {at}.")
        respond.acknowledge(tx, incident, by=by, now=now)
        return Reply()

    def _take_command(self, tx: Tx, press: Press, incident: Incident, by: Actor, now: datetime) -> Reply:
        del press
        if incident.commander == by.id:
            return _said(f"You command {incident.ref} already.")
        respond.take_role(tx, incident, role=Role.COMMANDER, person=by.id, by=by, now=now)
        return Reply()

    def _explain(self, tx: Tx, press: Press, incident: Incident, by: Actor, now: datetime) -> Reply:
        del by
        reason = dialogs.why_withheld(tx, self.ctx, incident, _text(press.step), now=now)
        return Reply(whisper=Refusal(text=reason, incident_id=incident.id, step=press.step))

    def _run(self, tx: Tx, press: Press, by: Actor, now: datetime) -> Reply:
        run = runs.get(tx, _required(press.run_id))
        match press.kind:
            case K.APPROVE | K.DECLINE:
                granted = press.kind is K.APPROVE
                return _said(approve.approve(tx, self.ctx, run, plan_hash=press.plan_hash or "", granted=granted, by=by, now=now))
            case K.CANCEL if run.ramp is not None and run.state not in BEFORE_RUNNING:
                return _said(ramp.cancel(tx, self.ctx, run, by=by, now=now))
            case K.CANCEL:
                return _said(stop.cancel(tx, self.ctx, run, by=by, now=now))
            case K.UNDO:
                return _said(undo.request(tx, self.ctx, run, by=by, reason="", now=now))
            case K.WORKED | K.NOT_WORKED:
                return _said(execute.say_verdict(tx, self.ctx, run, worked=press.kind is K.WORKED, by=by, now=now))
            case K.ESCALATE:
                return _said(execute.escalate(tx, self.ctx, run, by=by, now=now))
            case K.CLEANED:
                return _said(cleanup.done(tx, self.ctx, run, _required(press.subject_id), by=by, now=now))
            case _:
                raise Refused("unknown_button", "This button belongs to another version of Muster. Use the buttons on the card.")

    def _mitigation(self, tx: Tx, press: Press, by: Actor, now: datetime) -> Reply:
        if press.subject_id is not None:
            item = mitigations.get(tx, press.subject_id)
        else:
            item = mitigations.of_run(tx, _required(press.run_id)) or _gone()
        if item.ended_at is not None:
            return _said(f"{item.title} is no longer in force: {item.end_reason or 'it has ended'}.")
        if press.kind is K.REVERT:
            return _said(undo.request(tx, self.ctx, runs.get(tx, item.run_id), by=by, reason="", now=now))
        permit.must_be_allowed(tx, self.ctx, runs.get(tx, item.run_id), by=by, now=now)
        if press.kind is K.KEEP:
            register.keep(tx, item, by=by, now=now)
            return _said(f"{item.title} stays. It is out of the register.")
        return Reply(dialog=dialogs.extend(tx, item, now=now))

    def _drill(self, tx: Tx, press: Press, by: Actor, now: datetime) -> Reply:
        drill = drills.get(tx, _required(press.subject_id))
        match press.kind:
            case K.DRILL_START:
                already = drill.state.value == "running"
                rehearse.start(tx, self.ctx, drill, by=by, now=now)
                self._redraw_invitation(tx, drill.id, moved=False, now=now)
                return _said(
                    "The drill runs already; see its card." if already else "The drill begins. Its card comes in a moment, marked DRILL."
                )
            case K.DRILL_ABORT:
                if drill.ended_at is None and drill.state is not DrillState.RUNNING:
                    return _said("The drill has not begun; there is nothing to end.")
                rehearse.abort(tx, self.ctx, drill, by=by, now=now)
                return _said("The drill is over; nothing of it touched production.")
            case _:
                return Reply(dialog=dialogs.move_drill(self.ctx, drill, now=now))

    def _redraw_invitation(self, tx: Tx, drill_id: int, *, moved: bool, now: datetime) -> None:
        revision = int(now.timestamp() * 1000)
        args = {"screen": "drill_invitation", "drill": drill_id, "moved": moved, "remember": f"drill:{drill_id}", "revision": revision}
        key = f"redraw:drill:{drill_id}:{revision}"
        tasks.enqueue(tx, NewTask(key=key, kind="redraw_known", args=args, lane=f"drill:{drill_id}"))

    def _submit(self, tx: Tx, press: Press, form: dict[str, Json], *, visitor: Visitor, by: Actor, now: datetime) -> Reply:
        """A dialog takes effect once; a plan's dialog may show a second plan, and its run knows by itself that it has begun."""
        once = press.kind is not K.CONFIRM and visitor.view_id is not None
        if once and not seen.first(tx, f"submitted:{visitor.view_id}", now=now):
            return _said("This was sent already, and it counts once.")
        reply = self._submitted(tx, press, form, visitor=visitor, by=by, now=now)
        if once and reply.errors:
            raise _Incomplete(reply)
        return reply

    def _submitted(self, tx: Tx, press: Press, form: dict[str, Json], *, visitor: Visitor, by: Actor, now: datetime) -> Reply:
        match press.kind:
            case K.DECLARE_AS:
                return self._declare(tx, form, visitor, by, now)
            case K.DRILL_MOVE_TO:
                return self._move_drill(tx, press, form, by, now)
            case K.EXTEND_TO:
                return self._extend(tx, press, form, by, now)
            case K.RESET_WITH | K.PAUSE:
                return self._with_reason(tx, press, str(form.get("reason") or ""), by, now)
            case K.CONFIRM:
                run = runs.get(tx, _required(press.run_id))
                return act.submit_plan(tx, self.ctx, run, plan_hash=press.plan_hash or "", form=form, by=by, now=now)
        incident = incidents.get(tx, _required(press.incident_id))
        self._must_be_current(press, incident, now)
        match press.kind:
            case K.PLAN:
                return self._plan_with(tx, press, form, incident, by=by, now=now)
            case K.WRONG_RUNBOOK:
                return dialogs.wrong_runbook(tx, self.ctx, incident, str(form.get("runbook") or ""), by=by, now=now)
            case K.SET_SEVERITY:
                respond.set_severity(tx, incident, severity=Severity(str(form["severity"])), by=by, now=now)
            case K.ADD_NOTE:
                return self._note(tx, incident, str(form.get("text") or ""), by, now)
            case K.HAND_OVER_TO:
                return self._hand_over(tx, incident, str(form.get("person") or ""), by, now)
            case K.RESOLVE_AS:
                return self._resolve(tx, incident, form, by, now)
            case _:
                raise Refused("unknown_dialog", "This dialog belongs to another version of Muster. Close it and open it again.")
        return Reply()

    def _with_reason(self, tx: Tx, press: Press, reason: str, by: Actor, now: datetime) -> Reply:
        if press.kind is K.PAUSE:
            return _said(pausing.pause(tx, self.ctx, by=by, reason=reason, now=now))
        return _said(breaking.reset(tx, self.ctx, _text(press.runbook), _text(press.step), reason=reason, by=by, now=now))

    def _declare(self, tx: Tx, form: dict[str, Json], visitor: Visitor, by: Actor, now: datetime) -> Reply:
        title = str(form.get("title") or "").strip()
        if not title:
            return Reply(errors={"title": "Say in a few words what is wrong."})
        severity = Severity(str(form["severity"])) if form.get("severity") else None
        key = f"declared:{visitor.view_id or visitor.interaction or now.isoformat()}"
        service = str(form["service"]) if form.get("service") else None
        incident = declare.declare(tx, self.ctx, title=title, severity=severity, service=service, by=by, key=key, now=now)
        return _said(f"{incident.ref} is open. Its card comes in a moment in #{incident.channel or self.ctx.policy.default_channel}.")

    def _note(self, tx: Tx, incident: Incident, text: str, by: Actor, now: datetime) -> Reply:
        if not text.strip():
            return Reply(errors={"text": "Write what people should know."})
        said = entry(EntryKind.UPDATE_POSTED, text.strip()[:NOTE_MOST], now=now, actor=by)
        note = say(
            key=f"note:{incident.id}:{incident.revision}",
            screen="notice",
            incident_id=incident.id,
            text=f"Update by {by.id}: {text.strip()[:NOTE_MOST]}",
        )
        save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=[note])
        return Reply()

    def _hand_over(self, tx: Tx, incident: Incident, slack_id: str, by: Actor, now: datetime) -> Reply:
        person = self.ctx.directory.by_slack_id(slack_id) or self.ctx.directory.person(slack_id)
        if person is None:
            return Reply(errors={"person": "Muster does not know this person; they must stand in muster.yaml."})
        respond.take_role(tx, incident, role=Role.COMMANDER, person=person.id, by=by, now=now)
        return Reply()

    def _resolve(self, tx: Tx, incident: Incident, form: dict[str, Json], by: Actor, now: datetime) -> Reply:
        named = str(form.get("carrier") or "")
        carrier = self.ctx.directory.by_slack_id(named) or self.ctx.directory.person(named)
        choices = form.get("mitigations") or {}
        assert isinstance(choices, dict)
        errors = resolve.resolve(
            tx,
            self.ctx,
            incident,
            resolution=str(form.get("resolution") or ""),
            choices=choices,
            carrier=carrier.id if carrier else None,
            by=by,
            now=now,
        )
        return Reply(errors=errors)

    def _extend(self, tx: Tx, press: Press, form: dict[str, Json], by: Actor, now: datetime) -> Reply:
        item = mitigations.get(tx, _required(press.subject_id))
        if item.ended_at is not None:
            return _said(f"{item.title} is no longer in force.")
        permit.must_be_allowed(tx, self.ctx, runs.get(tx, item.run_id), by=by, now=now)
        until = datetime.fromtimestamp(float(form.get("until") or 0), UTC)
        if not now < until <= now + timedelta(days=14):
            return Reply(errors={"until": "Choose a time from now on, at most two weeks ahead."})
        register.extend(tx, self.ctx, item, until=until, by=by, now=now)
        return Reply()

    def _move_drill(self, tx: Tx, press: Press, form: dict[str, Json], by: Actor, now: datetime) -> Reply:
        drill = drills.get(tx, _required(press.subject_id))
        try:
            to = dialogs.local_moment(self.ctx, str(form.get("date") or ""))
            rehearse.move(tx, self.ctx, drill, to=to, by=by, now=now)
        except (ValueError, MusterError) as error:
            return Reply(errors={"date": str(error)})
        self._redraw_invitation(tx, drill.id, moved=True, now=now)
        return Reply()


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


def _said(text: str) -> Reply:
    return Reply(whisper=Notice(text=text))


def _required(number: int | None) -> int:
    if number is None:
        raise Refused("unknown_button", "This button says nothing that Muster understands. Use the buttons on the card.")
    return number


def _text(step: str | None) -> str:
    if step is None:
        raise Refused("unknown_button", "This button names no action. Use the buttons on the card.")
    return step


def _gone() -> NoReturn:
    raise NotFound("This change is not in the register.")
