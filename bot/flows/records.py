"""Writing an incident: state, timeline and the promise of the redrawn card together, in the caller's transaction."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from runbooks.incident import Incident
from runbooks.people import MUSTER, Actor
from runbooks.run import ActionRun
from runbooks.timeline import EntryKind, NewEntry
from runbooks.value import Json
from storage import incidents, ledger, tasks
from storage.database import Tx
from storage.tasks import NewTask


def entry(
    kind: EntryKind, summary: str, *, now: datetime, actor: Actor = MUSTER, occurred_at: datetime | None = None, **payload: Json
) -> NewEntry:
    """A timeline entry; what happened now unless said otherwise."""
    return NewEntry(kind=kind, occurred_at=occurred_at or now, actor=actor, summary=summary, payload=payload)


def save(
    tx: Tx, *, before: Incident, after: Incident, entries: Sequence[NewEntry], now: datetime, tasks_too: Iterable[NewTask] = ()
) -> Incident:
    """Write the incident's next state with its entries, and promise its redrawn card. Unchanged and wordless is nothing at all.

    Raises:
        Stale: somebody else has changed the incident since `before` was read.
    """
    if after is before:
        if not entries:
            tasks.enqueue(tx, *tasks_too)
            return before
        after = before.redrawn()
    incidents.save(tx, after, was=before.revision)
    ledger.record(tx, after.id, entries, now=now)
    tasks.enqueue(tx, card_task(after), *tasks_too)
    return after


def card_task(incident: Incident) -> NewTask:
    """The promise to draw this revision of the card. Drawing takes the newest, so one that waits serves for all after it."""
    return NewTask(
        key=f"card:{incident.id}:{incident.revision}",
        kind="card",
        args={"incident": incident.id, "revision": incident.revision},
        lane=f"card:{incident.id}",
        folds=True,
    )


def say(*, key: str, screen: str, incident_id: int | None = None, lane: str | None = None, **args: Json) -> NewTask:
    """The promise of one message. `screen` names a builder in `bot.flows.speak`; it is drawn when sent, from the newest state."""
    return NewTask(
        key=f"say:{key}",
        kind="say",
        args={"screen": screen, "incident": incident_id, **args},
        lane=lane or (f"thread:{incident_id}" if incident_id is not None else None),
    )


def redraw_run(run: ActionRun, *, now: datetime) -> NewTask:
    """The promise of the run's message in the thread: posted the first time, redrawn in place after."""
    revision = int(now.timestamp() * 1000)
    return NewTask(
        key=f"run:{run.id}:{run.state.value}:{revision}",
        kind="redraw",
        args={"screen": "run", "run": run.id, "incident": run.incident_id, "remember": f"run:{run.id}", "revision": revision},
        lane=f"run:{run.id}",
    )
