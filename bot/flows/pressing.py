"""What each button does, decided in the caller's transaction; `front` is the door that everybody comes through."""

from collections.abc import Callable
from datetime import datetime
from typing import NoReturn

from bot.flows import (
    act,
    approve,
    breaking,
    cleanup,
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
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.wording import name_of
from bot.ports import Press, PressKind, Reply, Visitor
from runbooks.drill import DrillState
from runbooks.errors import NotFound
from runbooks.incident import Incident
from runbooks.people import Actor, Role
from runbooks.run import BEFORE_RUNNING
from runbooks.screens import DeclareDialog, HandOverDialog, Loading, NoteDialog, Notice, Refusal
from storage import drills, incidents, mitigations, runs, tasks
from storage.database import Tx
from storage.tasks import NewTask

K = PressKind


class Pressing:
    """Every button and menu entry."""

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

    def press(self, tx: Tx, press: Press, visitor: Visitor, by: Actor, now: datetime) -> Reply:
        """The answer to one press.

        Raises:
            Refused: with the reason, and what can be done instead. Nothing is changed then.
        """
        if press.kind is K.LINK:
            return Reply()
        if press.kind is K.DECLARE:
            return Reply(dialog=DeclareDialog(services=tuple(self.ctx.services), channel=visitor.channel))
        if press.kind in {K.DRILL_START, K.DRILL_MOVE, K.DRILL_ABORT}:
            return self._drill(tx, press, by, now)
        if press.kind is K.REVIEW_DONE:
            review.finish(tx, required(press.subject_id), by=by, now=now)
            return said("The post-mortem is marked as finished.")
        if press.kind in {K.EXTEND, K.KEEP, K.REVERT}:
            return self._mitigation(tx, press, by, now)
        if press.kind is K.RESET:
            return Reply(dialog=breaking.dialog(tx, self.ctx, text_of(press.runbook), text_of(press.step), by=by, now=now))
        if press.kind is K.RESUME:
            return said(pausing.resume(tx, self.ctx, by=by, now=now))
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
        incident = incidents.get(tx, required(press.incident_id))
        must_be_current(press, incident, now)
        return self._pressed[press.kind](tx, press, incident, by, now)

    def _plan(self, tx: Tx, press: Press, incident: Incident, by: Actor, now: datetime) -> Reply:
        run = act.propose(tx, self.ctx, incident, text_of(press.step), by=by, now=now)
        return Reply(
            dialog=Loading(title=run.title, text="Reading the present state and checking what may be done …"),
            then=Press(kind=K.PLAN, incident_id=incident.id, step=run.step, run_id=run.id),
        )

    def _run_now(self, tx: Tx, press: Press, incident: Incident, by: Actor, now: datetime) -> Reply:
        act.propose(tx, self.ctx, incident, text_of(press.step), by=by, now=now, at_once=True)
        return Reply()

    def _acknowledge(self, tx: Tx, press: Press, incident: Incident, by: Actor, now: datetime) -> Reply:
        del press
        if incident.acknowledged_at is not None:
            at = f"{incident.acknowledged_at:%H:%M} UTC"
            who = "You have" if incident.acknowledged_by == by.id else f"{name_of(self.ctx, incident.acknowledged_by)} has"
            return said(f"{who} acknowledged {incident.ref} already, at {at}.")
        respond.acknowledge(tx, incident, by=by, now=now)
        return Reply()

    def _take_command(self, tx: Tx, press: Press, incident: Incident, by: Actor, now: datetime) -> Reply:
        del press
        if incident.commander == by.id:
            return said(f"You command {incident.ref} already.")
        respond.take_role(tx, incident, role=Role.COMMANDER, person=by.id, by=by, now=now)
        return Reply()

    def _explain(self, tx: Tx, press: Press, incident: Incident, by: Actor, now: datetime) -> Reply:
        del by
        reason = dialogs.why_withheld(tx, self.ctx, incident, text_of(press.step), now=now)
        return Reply(whisper=Refusal(text=reason, incident_id=incident.id, step=press.step))

    def _run(self, tx: Tx, press: Press, by: Actor, now: datetime) -> Reply:
        run = runs.get(tx, required(press.run_id))
        match press.kind:
            case K.APPROVE | K.DECLINE:
                granted = press.kind is K.APPROVE
                return said(approve.approve(tx, self.ctx, run, plan_hash=press.plan_hash or "", granted=granted, by=by, now=now))
            case K.CANCEL if run.ramp is not None and run.state not in BEFORE_RUNNING:
                return said(ramp.cancel(tx, self.ctx, run, by=by, now=now))
            case K.CANCEL:
                return said(stop.cancel(tx, self.ctx, run, by=by, now=now))
            case K.UNDO:
                return said(undo.request(tx, self.ctx, run, by=by, reason="", now=now))
            case K.WORKED | K.NOT_WORKED:
                return said(execute.say_verdict(tx, self.ctx, run, worked=press.kind is K.WORKED, by=by, now=now))
            case K.ESCALATE:
                return said(execute.escalate(tx, self.ctx, run, by=by, now=now))
            case K.CLEANED:
                return said(cleanup.done(tx, self.ctx, run, required(press.subject_id), by=by, now=now))
            case _:
                raise Refused("unknown_button", "This button belongs to another version of Muster. Use the buttons on the card.")

    def _mitigation(self, tx: Tx, press: Press, by: Actor, now: datetime) -> Reply:
        if press.subject_id is not None:
            item = mitigations.get(tx, press.subject_id)
        else:
            item = mitigations.of_run(tx, required(press.run_id)) or _gone()
        if item.ended_at is not None:
            return said(f"{item.title} is no longer in force: {item.end_reason or 'it has ended'}.")
        if press.kind is K.REVERT:
            return said(undo.request(tx, self.ctx, runs.get(tx, item.run_id), by=by, reason="", now=now))
        permit.must_be_allowed(tx, self.ctx, runs.get(tx, item.run_id), by=by, now=now)
        if press.kind is K.KEEP:
            register.keep(tx, item, by=by, now=now)
            return said(f"{item.title} stays. It is out of the register.")
        return Reply(dialog=dialogs.extend(tx, item, now=now))

    def _drill(self, tx: Tx, press: Press, by: Actor, now: datetime) -> Reply:
        drill = drills.get(tx, required(press.subject_id))
        match press.kind:
            case K.DRILL_START:
                already = drill.state.value == "running"
                rehearse.start(tx, self.ctx, drill, by=by, now=now)
                redraw_invitation(tx, drill.id, moved=False, now=now)
                return said(
                    "The drill runs already; see its card." if already else "The drill begins. Its card comes in a moment, marked DRILL."
                )
            case K.DRILL_ABORT:
                if drill.ended_at is None and drill.state is not DrillState.RUNNING:
                    return said("The drill has not begun; there is nothing to end.")
                rehearse.abort(tx, self.ctx, drill, by=by, now=now)
                return said("The drill is over; nothing of it touched production.")
            case _:
                return Reply(dialog=dialogs.move_drill(self.ctx, drill, now=now))


def must_be_current(press: Press, incident: Incident, now: datetime) -> None:
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


def redraw_invitation(tx: Tx, drill_id: int, *, moved: bool, now: datetime) -> None:
    """The lead's message about a drill shows what became of it."""
    revision = int(now.timestamp() * 1000)
    args = {"screen": "drill_invitation", "drill": drill_id, "moved": moved, "remember": f"drill:{drill_id}", "revision": revision}
    key = f"redraw:drill:{drill_id}:{revision}"
    tasks.enqueue(tx, NewTask(key=key, kind="redraw_known", args=args, lane=f"drill:{drill_id}"))


def said(text: str) -> Reply:
    """A sentence that only the person who pressed sees."""
    return Reply(whisper=Notice(text=text))


def required(number: int | None) -> int:
    """The number that a button must carry."""
    if number is None:
        raise Refused("unknown_button", "This button says nothing that Muster understands. Use the buttons on the card.")
    return number


def text_of(step: str | None) -> str:
    """The name that a button must carry."""
    if step is None:
        raise Refused("unknown_button", "This button names no action. Use the buttons on the card.")
    return step


def _gone() -> NoReturn:
    raise NotFound("This change is not in the register.")
