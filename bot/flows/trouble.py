"""What Muster gave up on: never silent, always with what a person can do (engine.md, "dead is shown to a person")."""

from datetime import datetime

import structlog

from bot.flows import act, escalate, execute, rehearse, stop, suggested, undo
from bot.flows.context import Context
from bot.flows.records import entry
from runbooks.people import MUSTER
from runbooks.run import RunState, Verdict
from runbooks.timeline import EntryKind, NewEntry
from storage import drills, incidents, ledger, runs, suggestions, timeline
from storage.database import Tx
from storage.tasks import Task

log = structlog.get_logger(__name__)

_SAYS = {
    "card": "Muster could not draw the card",
    "say": "Muster could not post a message",
    "redraw": "Muster could not redraw a message",
    "diagnose": "Muster could not run the diagnostics",
    "upstream": "Muster could not answer the alert's source",
    "execute": "Muster does not know whether the action took effect",
    "stage": "Muster does not know whether the next part of the action took effect",
    "undo": "Muster does not know whether the change was undone",
    "plan": "Muster could not make a plan",
}
"""The kinds whose end a person must hear of; the rest is in the log and in `muster check`."""


def buried(tx: Tx, ctx: Context, task: Task, error: str) -> None:
    """A task was given up: on the timeline of its incident, and for a run in doubt with a question to a person."""
    log.error("task.given_up", kind=task.kind, key=task.key, error=error)
    now = ctx.now()
    if task.kind in {"execute", "stage", "look", "measure", "undo"} and "run" in task.args:
        _in_doubt(tx, ctx, int(task.args["run"]), error)
    if task.kind == "page":
        escalate.not_paged(tx, ctx, task, error)
    if task.kind == "begin_proposed" and (one := suggestions.get(tx, int(task.args["proposal"]))).stands:
        suggested.hand_over(tx, one, why=f"Muster could not begin it: {error}", now=now)
    if task.kind == "plan":
        act.no_plan(tx, ctx, int(task.args["run"]), f"Muster could not make a plan: {error}")
    if task.kind == "open_drill":
        drill = drills.get(tx, int(task.args["drill"]))
        rehearse.abort(tx, ctx, drill, by=MUSTER, now=now, reason=f"Its world did not open: {error}")
    incident_id = task.args.get("incident")
    said = _SAYS.get(task.kind)
    if said and isinstance(incident_id, int) and incidents.find(tx, incident_id):
        _note_once(tx, incident_id, entry(EntryKind.NOTE_ADDED, f"{said}: {error}", now=now, task=task.key), now=now)


def _note_once(tx: Tx, incident_id: int, note: NewEntry, *, now: datetime) -> None:
    """A card that cannot be drawn fails each minute for the same reason; a timeline that says it once can still be read."""
    before = timeline.of_kind(tx, incident_id, note.kind)
    if not before or before[-1].summary != note.summary:
        ledger.record(tx, incident_id, [note], now)


def _in_doubt(tx: Tx, ctx: Context, run_id: int, error: str) -> None:
    run, now = runs.get(tx, run_id), ctx.now()
    reason = f"Muster gave up looking: {error}. Look at {run.target} yourself, then say what is true."
    if run.state is RunState.UNDOING:
        undo.not_undone(tx, ctx, run, reason, now=now)
    elif run.state is RunState.APPROVED:
        unbegun = f"Muster gave up before it began; nothing was changed: {error}"
        stop.refuse(tx, run, reason=unbegun, now=now, by=MUSTER, tell=True)
    elif run.state in {RunState.UNKNOWN, RunState.VERIFYING}:
        execute.conclude(tx, ctx, run, verdict=Verdict.INCONCLUSIVE, reason=reason, value=None, by=MUSTER, now=now)
    elif run.state is RunState.RUNNING:
        unknown = run.to(RunState.UNKNOWN, reason=error)
        runs.save(tx, unknown, was=run.state)
        execute.conclude(tx, ctx, unknown, verdict=Verdict.INCONCLUSIVE, reason=reason, value=None, by=MUSTER, now=now)
