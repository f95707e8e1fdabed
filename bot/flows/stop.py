"""How a run ends before it changed anything: refused, cancelled, dropped with its incident, or expired."""

from datetime import datetime

from bot.flows import suggested
from bot.flows.approve import redrawn_requests
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.permit import must_be_allowed
from bot.flows.records import entry, redraw_run, save
from bot.flows.wording import name_of
from runbooks.incident import Incident
from runbooks.people import Actor
from runbooks.run import BEFORE_RUNNING, IN_FLIGHT, ActionRun, RunState
from runbooks.timeline import EntryKind
from storage import incidents, runs, tasks
from storage.database import Tx
from storage.tasks import NewTask


def refuse(tx: Tx, run: ActionRun, *, reason: str, now: datetime, by: Actor, tell: bool) -> ActionRun:
    """The run ends before it changed anything; said on the timeline, and in the thread where somebody waits for it."""
    refused = run.to(RunState.REFUSED, ended_at=now, reason=reason)
    runs.save(tx, refused, was=run.state, next_at=None)
    incident = incidents.get(tx, run.incident_id)
    said = entry(EntryKind.RUN_REFUSED, f"{run.title} was not run: {reason}", now=now, actor=by, run=run.id, step=run.step, reason=reason)
    after = incident.redrawn() if tell else incident
    save(tx, before=incident, after=after, entries=[said], now=now, tasks_too=[redraw_run(refused, now=now)] if tell else [])
    return refused


def cancel(tx: Tx, ctx: Context, run: ActionRun, *, by: Actor, now: datetime) -> str:
    """Cancelled before it starts: by the requester, an approver who withdraws, or anyone who may run it."""
    if run.state not in BEFORE_RUNNING:
        advice = "Undo it instead." if run.in_force or run.state in IN_FLIGHT else "There is nothing to cancel."
        raise Refused("started", f"{run.title} is {run.state.value} already. {advice}", audit=False)
    must_be_allowed(tx, ctx, run, by=by, now=now)
    stopped = run.to(RunState.CANCELLED, ended_at=now, reason=f"Cancelled by {name_of(ctx, by.id)}; nothing was changed.")
    runs.save(tx, stopped, was=run.state, next_at=None)
    incident = incidents.get(tx, run.incident_id)
    said = entry(EntryKind.RUN_CANCELLED, f"{by.id} cancels {run.title} before it starts.", now=now, actor=by, run=run.id)
    redrawn = [*redrawn_requests(tx, ctx, stopped, now=now), redraw_run(stopped, now=now), *_dialog(stopped, was=run.state)]
    save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=redrawn)
    return f"{run.title} is cancelled; nothing was changed."


def drop(tx: Tx, ctx: Context, incident: Incident, *, reason: str, now: datetime) -> None:
    """Whatever has not started yet will not: the incident is over. Everything that shows it as waiting is redrawn."""
    for run in runs.of_incident(tx, incident.id):
        if run.state in BEFORE_RUNNING:
            stopped = run.to(RunState.CANCELLED, ended_at=now, reason=reason)
            runs.save(tx, stopped, was=run.state, next_at=None)
            tasks.enqueue(tx, *_redrawn(tx, ctx, stopped, was=run.state, now=now))
    suggested.end_all(tx, incident.id, why=reason, now=now)


def _redrawn(tx: Tx, ctx: Context, run: ActionRun, *, was: RunState, now: datetime) -> list[NewTask]:
    """What people saw of it before it ended: its request, its message once it was approved, and the dialog that waits for its plan."""
    requests = redrawn_requests(tx, ctx, run, now=now) if was in {RunState.AWAITING_APPROVAL, RunState.APPROVED} else []
    message = [redraw_run(run, now=now)] if was is RunState.APPROVED else []
    return [*requests, *message, *_dialog(run, was=was)]


def _dialog(run: ActionRun, *, was: RunState) -> list[NewTask]:
    """The dialog in which somebody still waits for the plan."""
    if was is not RunState.PROPOSED or not run.dialog:
        return []
    return [NewTask(key=f"dialog:{run.id}:{run.dialog}:{run.state.value}", kind="dialog", args={"run": run.id, "view": run.dialog})]


def expire(tx: Tx, ctx: Context, run: ActionRun, *, now: datetime) -> None:
    """A plan that nobody confirmed just ends; a request that nobody decided says so."""
    waited = run.state is RunState.AWAITING_APPROVAL
    reason = "Nobody decided in time; nothing was changed." if waited else "Nobody confirmed it in time; nothing was changed."
    if run.state is RunState.PROPOSED:
        reason = "The present state could not be read in time; nothing was changed. Try again."
    expired = run.to(RunState.EXPIRED, ended_at=now, reason=reason)
    runs.save(tx, expired, was=run.state, next_at=None)
    tasks.enqueue(tx, *_dialog(expired, was=run.state))
    if waited:
        incident = incidents.get(tx, run.incident_id)
        said = entry(EntryKind.RUN_EXPIRED, f"{run.title}: {reason}", now=now, run=run.id, step=run.step)
        save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=redrawn_requests(tx, ctx, expired, now=now))
