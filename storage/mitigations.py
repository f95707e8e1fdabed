"""Mitigations: changes still in force, each with an owner and an end (rule S23)."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement

from runbooks.run import Mitigation
from storage.shelf import KEEP, NextAt, Shelf
from storage.tables import mitigations as table
from storage.transaction import Tx


def _columns(mitigation: Mitigation) -> dict[str, Any]:
    return {
        "incident_id": mitigation.incident_id,
        "run_id": mitigation.run_id,
        "owner": mitigation.owner,
        "ended_at": mitigation.ended_at,
    }


_shelf = Shelf(table=table, model=Mitigation, noun="mitigation", columns=_columns)


def add(tx: Tx, mitigation: Mitigation, *, next_at: datetime | None = None) -> Mitigation:
    """Keep a new one; the database gives the id."""
    return _shelf.add(tx, mitigation, next_at=next_at)


def get(tx: Tx, mitigation_id: int) -> Mitigation:
    """The mitigation with this id.

    Raises:
        NotFound: there is none.
    """
    return _shelf.get(tx, mitigation_id)


def save(tx: Tx, mitigation: Mitigation, *, next_at: NextAt = KEEP) -> None:
    """Write one that is still in force in the database. `next_at` is when a sweep looks at it again.

    Raises:
        Stale: it has ended meanwhile; nothing was written.
        NotFound: there is no such mitigation.
    """
    _shelf.save(tx, mitigation, table.c.ended_at.is_(None), next_at=next_at)


def wake(tx: Tx, mitigation_id: int, next_at: datetime | None) -> None:
    """Only set when a sweep looks at it next."""
    _shelf.wake(tx, mitigation_id, next_at)


def due(tx: Tx, now: datetime, limit: int = 100) -> list[Mitigation]:
    """Those whose `next_at` has come: a reminder, a question, an end."""
    return _shelf.due(tx, now, limit)


def of_run(tx: Tx, run_id: int) -> Mitigation | None:
    """The mitigation that a run opened."""
    return _shelf.first(tx, table.c.run_id == run_id)


def of_incident(tx: Tx, incident_id: int) -> list[Mitigation]:
    """The incident's mitigations, ended ones too."""
    return _shelf.where(tx, table.c.incident_id == incident_id)


def open_ones(tx: Tx, *, incident_id: int | None = None, owner: str | None = None) -> list[Mitigation]:
    """Those still in force, of this incident and this owner where they are named."""
    conditions: list[ColumnElement[bool]] = [table.c.ended_at.is_(None)]
    conditions += [] if incident_id is None else [table.c.incident_id == incident_id]
    conditions += [] if owner is None else [table.c.owner == owner]
    return _shelf.where(tx, *conditions)
