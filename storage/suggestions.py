"""Suggestions: actions that Muster or a machine proposes, one row each, changed only from the state that the change was decided on."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import select

from runbooks.proposing import STANDING, Suggestion, SuggestionState
from storage.shelf import KEEP, NextAt, Shelf
from storage.tables import incidents
from storage.tables import suggestions as table
from storage.transaction import Tx


def _columns(suggestion: Suggestion) -> dict[str, Any]:
    return {"incident_id": suggestion.incident_id, "step": suggestion.step, "state": suggestion.state.value}


_shelf = Shelf(table=table, model=Suggestion, noun="proposal", columns=_columns)


def add(tx: Tx, suggestion: Suggestion, *, next_at: datetime | None = None) -> Suggestion:
    """Keep a new one; the database gives the id."""
    return _shelf.add(tx, suggestion, next_at=next_at)


def get(tx: Tx, suggestion_id: int) -> Suggestion:
    """The suggestion with this id.

    Raises:
        NotFound: there is none.
    """
    return _shelf.get(tx, suggestion_id)


def save(tx: Tx, suggestion: Suggestion, *, was: SuggestionState, next_at: NextAt = KEEP) -> None:
    """Write one whose state in the database is still `was`. `next_at` is when a sweep looks at it again.

    Raises:
        Stale: it is in another state by now; nothing was written.
        NotFound: there is no such suggestion.
    """
    _shelf.save(tx, suggestion, table.c.state == was.value, next_at=next_at)


def wake(tx: Tx, suggestion_id: int, next_at: datetime | None) -> None:
    """Only set when a sweep looks at it next."""
    _shelf.wake(tx, suggestion_id, next_at)


def due(tx: Tx, now: datetime, limit: int = 100) -> list[Suggestion]:
    """Those whose `next_at` has come: a countdown is over, or one must be looked at again."""
    return _shelf.due(tx, now, limit)


def of_incident(tx: Tx, incident_id: int) -> list[Suggestion]:
    """The incident's suggestions by id, ended ones too."""
    return _shelf.where(tx, table.c.incident_id == incident_id)


def standing(tx: Tx, incident_id: int) -> list[Suggestion]:
    """Those of the incident of which something can still come."""
    return _shelf.where(tx, table.c.incident_id == incident_id, table.c.state.in_([state.value for state in STANDING]))


def in_open(tx: Tx, states: Iterable[SuggestionState]) -> list[Suggestion]:
    """Those in one of these states whose incident is open, by id."""
    of_open = select(table).join(incidents, incidents.c.id == table.c.incident_id).where(incidents.c.status != "resolved")
    return _shelf.listed(tx, of_open.where(table.c.state.in_([state.value for state in states])).order_by(table.c.id))
