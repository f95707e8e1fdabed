"""Follow-ups: what must be done after an incident."""

from datetime import datetime
from typing import Any

from runbooks.postmortem import FollowUp
from storage.shelf import KEEP, NextAt, Shelf
from storage.tables import follow_ups as table
from storage.transaction import Tx


def _columns(follow_up: FollowUp) -> dict[str, Any]:
    return {
        "incident_id": follow_up.incident_id,
        "owner": follow_up.owner,
        "due_at": follow_up.due_at,
        "closed_at": follow_up.closed_at,
    }


_shelf = Shelf(table=table, model=FollowUp, noun="follow-up", columns=_columns)


def add(tx: Tx, follow_up: FollowUp, *, next_at: datetime | None = None) -> FollowUp:
    """Keep a new one; the database gives the id."""
    return _shelf.add(tx, follow_up, next_at=next_at)


def get(tx: Tx, follow_up_id: int) -> FollowUp:
    """The follow-up with this id.

    Raises:
        NotFound: there is none.
    """
    return _shelf.get(tx, follow_up_id)


def save(tx: Tx, follow_up: FollowUp, *, next_at: NextAt = KEEP) -> None:
    """Write one that is still open in the database. `next_at` is when a sweep looks at it again.

    Raises:
        Stale: it was closed meanwhile; nothing was written.
        NotFound: there is no such follow-up.
    """
    _shelf.save(tx, follow_up, table.c.closed_at.is_(None), next_at=next_at)


def due(tx: Tx, now: datetime, limit: int = 100) -> list[FollowUp]:
    """Those whose `next_at` has come: to be reminded of."""
    return _shelf.due(tx, now, limit)


def of_incident(tx: Tx, incident_id: int) -> list[FollowUp]:
    """The incident's follow-ups, closed ones too."""
    return _shelf.where(tx, table.c.incident_id == incident_id)


def open_ones(tx: Tx, *, owner: str | None = None) -> list[FollowUp]:
    """Those not closed, of this owner where one is named."""
    return _shelf.where(tx, table.c.closed_at.is_(None), *([] if owner is None else [table.c.owner == owner]))
