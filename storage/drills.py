"""Drills: one for each runbook and slot."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import select

from runbooks.drill import Drill, DrillState
from storage.shelf import KEEP, NextAt, Shelf
from storage.tables import drills as table
from storage.transaction import Tx


def _columns(drill: Drill) -> dict[str, Any]:
    return {
        "runbook": drill.runbook,
        "slot": drill.slot,
        "state": drill.state.value,
        "incident_id": drill.incident_id,
        "due_at": drill.due_at,
        "ended_at": drill.ended_at,
    }


_shelf = Shelf(table=table, model=Drill, noun="drill", columns=_columns)


def add(tx: Tx, drill: Drill, *, next_at: datetime | None = None) -> Drill:
    """Keep a new one; the database gives the id.

    Raises:
        Taken: the runbook has a drill in this slot already; `in_slot` finds it.
    """
    return _shelf.add(tx, drill, next_at=next_at)


def get(tx: Tx, drill_id: int) -> Drill:
    """The drill with this id.

    Raises:
        NotFound: there is none.
    """
    return _shelf.get(tx, drill_id)


def save(tx: Tx, drill: Drill, *, was: DrillState, next_at: NextAt = KEEP) -> None:
    """Write one whose state in the database is still `was`. `next_at` is when a sweep looks at it again.

    Raises:
        Stale: it is in another state by now; nothing was written.
        NotFound: there is no such drill.
    """
    _shelf.save(tx, drill, table.c.state == was.value, next_at=next_at)


def wake(tx: Tx, drill_id: int, next_at: datetime | None) -> None:
    """Only set when a sweep looks at it next."""
    _shelf.wake(tx, drill_id, next_at)


def due(tx: Tx, now: datetime, limit: int = 100) -> list[Drill]:
    """Those whose `next_at` has come: to be asked for, injected into, ended."""
    return _shelf.due(tx, now, limit)


def in_slot(tx: Tx, runbook: str, slot: str) -> Drill | None:
    """The runbook's drill of this slot, for example 2026-Q4."""
    return _shelf.first(tx, table.c.runbook == runbook, table.c.slot == slot)


def of_incident(tx: Tx, incident_id: int) -> Drill | None:
    """The drill that opened this incident."""
    return _shelf.first(tx, table.c.incident_id == incident_id)


def in_states(tx: Tx, states: Iterable[DrillState]) -> list[Drill]:
    """All drills in one of these states, by id."""
    return _shelf.where(tx, table.c.state.in_([state.value for state in states]))


def last_ended(tx: Tx, runbook: str) -> Drill | None:
    """The runbook's latest drill that was graded: passed or failed. The card's freshness line reads it."""
    graded = table.c.state.in_([DrillState.PASSED.value, DrillState.FAILED.value])
    query = select(table).where(table.c.runbook == runbook, graded).order_by(table.c.ended_at.desc(), table.c.id.desc()).limit(1)
    return next(iter(_shelf.listed(tx, query)), None)


def listed(tx: Tx, *, runbook: str | None = None, slot: str | None = None, limit: int = 100) -> list[Drill]:
    """Drills by due date, latest first; of this runbook and slot where they are named."""
    query = select(table).order_by(table.c.due_at.desc(), table.c.id.desc()).limit(limit)
    query = query if runbook is None else query.where(table.c.runbook == runbook)
    return _shelf.listed(tx, query if slot is None else query.where(table.c.slot == slot))
