"""What each dialog's submit button does, decided in the caller's transaction."""

from datetime import UTC, datetime, timedelta

from bot.flows import (
    act,
    breaking,
    declare,
    dialogs,
    pausing,
    permit,
    register,
    rehearse,
    repeat,
    resolve,
    respond,
)
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.pressing import must_be_current, redraw_invitation, required, said, text_of
from bot.flows.records import entry, save, say
from bot.flows.wording import name_of
from bot.ports import Press, PressKind, Reply, Visitor
from runbooks.errors import MusterError
from runbooks.incident import Incident
from runbooks.people import Actor, Role
from runbooks.severity import Severity
from runbooks.timeline import EntryKind
from runbooks.value import Json
from storage import drills, incidents, mitigations, runs, seen
from storage.database import Tx

K = PressKind
NOTE_MOST = 2900  # one section of a message


class Incomplete(Exception):
    """A dialog or a request lacks something; nothing of it is kept, so that it may be sent again."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__("incomplete")


class Submitting:
    """Every dialog."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx

    def submit(self, tx: Tx, press: Press, form: dict[str, Json], *, visitor: Visitor, by: Actor, now: datetime) -> Reply:
        """A dialog takes effect once; a plan's dialog may show a second plan, and its run knows by itself that it has begun."""
        once = press.kind is not K.CONFIRM and visitor.view_id is not None
        if once and not seen.first(tx, f"submitted:{visitor.view_id}", now=now):
            return said("This was sent already, and it counts once.")
        reply = self._submitted(tx, press, form, visitor=visitor, by=by, now=now)
        if reply.errors:
            raise Incomplete(reply)
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
                run = runs.get(tx, required(press.run_id))
                return act.submit_plan(tx, self.ctx, run, plan_hash=press.plan_hash or "", form=form, by=by, now=now)
        incident = incidents.get(tx, required(press.incident_id))
        must_be_current(press, incident, now)
        match press.kind:
            case K.PLAN:
                return self._plan_with(tx, press, form, incident, visitor=visitor, by=by, now=now)
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

    def _plan_with(
        self, tx: Tx, press: Press, form: dict[str, Json], incident: Incident, *, visitor: Visitor, by: Actor, now: datetime
    ) -> Reply:
        """A plan with chosen parameters from the first, for callers that have no dialog to choose them in."""
        action = self.ctx.shelf.pinned(tx, incident.match.runbook).action(text_of(press.step))
        asked = form.get("parameters") or {}
        assert isinstance(asked, dict)
        chosen, errors = act.typed(action, asked, {}) if action else ({}, {})
        if action and (unknown := sorted(set(asked) - set(action.parameters))):
            errors = {name: f"{action.title} has no parameter {name}." for name in unknown}
        if errors:
            return Reply(errors=errors)
        known = repeat.request(visitor.interaction, asked) if visitor.interaction else None
        run = act.propose(tx, self.ctx, incident, text_of(press.step), by=by, now=now, parameters=chosen, request=known)
        return Reply(then=Press(kind=K.PLAN, incident_id=incident.id, step=run.step, run_id=run.id))

    def _with_reason(self, tx: Tx, press: Press, reason: str, by: Actor, now: datetime) -> Reply:
        if press.kind is K.PAUSE:
            return said(pausing.pause(tx, self.ctx, by=by, reason=reason, now=now))
        return said(breaking.reset(tx, self.ctx, text_of(press.runbook), text_of(press.step), reason=reason, by=by, now=now))

    def _declare(self, tx: Tx, form: dict[str, Json], visitor: Visitor, by: Actor, now: datetime) -> Reply:
        title = str(form.get("title") or "").strip()
        if not title:
            return Reply(errors={"title": "Say in a few words what is wrong."})
        severity = Severity(str(form["severity"])) if form.get("severity") else None
        key = f"declared:{visitor.view_id or visitor.interaction or now.isoformat()}"
        service = str(form["service"]) if form.get("service") else None
        incident = declare.declare(tx, self.ctx, title=title, severity=severity, service=service, by=by, key=key, now=now)
        return said(f"{incident.ref} is open. Its card comes in a moment in #{incident.channel or self.ctx.policy.default_channel}.")

    def _note(self, tx: Tx, incident: Incident, text: str, by: Actor, now: datetime) -> Reply:
        if not text.strip():
            return Reply(errors={"text": "Write what people should know."})
        said = entry(EntryKind.UPDATE_POSTED, text.strip()[:NOTE_MOST], now=now, actor=by)
        note = say(
            key=f"note:{incident.id}:{incident.revision}",
            screen="notice",
            incident_id=incident.id,
            text=f"Update by {name_of(self.ctx, by.id)}: {text.strip()[:NOTE_MOST]}",
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
        item = mitigations.get(tx, required(press.subject_id))
        if item.ended_at is not None:
            return said(f"{item.title} is no longer in force.")
        permit.must_be_allowed(tx, self.ctx, runs.get(tx, item.run_id), by=by, now=now)
        until = datetime.fromtimestamp(float(form.get("until") or 0), UTC)
        if not now < until <= now + timedelta(days=14):
            return Reply(errors={"until": "Choose a time from now on, at most two weeks ahead."})
        register.extend(tx, self.ctx, item, until=until, by=by, now=now)
        return Reply()

    def _move_drill(self, tx: Tx, press: Press, form: dict[str, Json], by: Actor, now: datetime) -> Reply:
        drill = drills.get(tx, required(press.subject_id))
        try:
            to = dialogs.local_moment(self.ctx, str(form.get("date") or ""))
            rehearse.move(tx, self.ctx, drill, to=to, by=by, now=now)
        except (ValueError, MusterError) as error:
            return Reply(errors={"date": str(error)})
        redraw_invitation(tx, drill.id, moved=True, now=now)
        return Reply()
