"""Reviews: the duty to write a post-mortem. One for each incident."""

from datetime import datetime
from typing import Any

from runbooks.postmortem import Review, ReviewState
from storage.shelf import KEEP, NextAt, Shelf
from storage.tables import reviews as table
from storage.transaction import Tx


def _columns(review: Review) -> dict[str, Any]:
    return {"incident_id": review.incident_id, "owner": review.owner, "state": review.state.value}


_shelf = Shelf(table=table, model=Review, noun="review", columns=_columns)


def add(tx: Tx, review: Review, *, next_at: datetime | None = None) -> Review:
    """Keep a new one; the database gives the id.

    Raises:
        Taken: the incident has one already; `of_incident` finds it.
    """
    return _shelf.add(tx, review, next_at=next_at)


def get(tx: Tx, review_id: int) -> Review:
    """The review with this id.

    Raises:
        NotFound: there is none.
    """
    return _shelf.get(tx, review_id)


def save(tx: Tx, review: Review, *, was: ReviewState, next_at: NextAt = KEEP) -> None:
    """Write one whose state in the database is still `was`. `next_at` is when a sweep looks at it again.

    Raises:
        Stale: it is in another state by now; nothing was written.
        NotFound: there is no such review.
    """
    _shelf.save(tx, review, table.c.state == was.value, next_at=next_at)


def wake(tx: Tx, review_id: int, next_at: datetime | None) -> None:
    """Only set when a sweep looks at it next."""
    _shelf.wake(tx, review_id, next_at)


def due(tx: Tx, now: datetime, limit: int = 100) -> list[Review]:
    """Those whose `next_at` has come: a reminder before, one after."""
    return _shelf.due(tx, now, limit)


def of_incident(tx: Tx, incident_id: int) -> Review | None:
    """The incident's review."""
    return _shelf.first(tx, table.c.incident_id == incident_id)


def open_ones(tx: Tx, *, owner: str | None = None) -> list[Review]:
    """Those not done, of this owner where one is named."""
    return _shelf.where(tx, table.c.state == ReviewState.DUE.value, *([] if owner is None else [table.c.owner == owner]))
