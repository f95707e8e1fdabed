"""The change feed: what somebody changed in the system (mission B2)."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import or_, select

from runbooks.change import Change, ChangeState
from storage.convert import body_of, value_of
from storage.tables import changes as table
from storage.text import storable
from storage.transaction import Tx, insert_new
from storage.transaction import purge as purge_rows


def add(tx: Tx, *changes: Change) -> int:
    """Keep changes; how many were new. Works in an unordered transaction.

    Those whose key is known change nothing, but that the end of a change ends the started one of its key; when it began stays.
    """
    ended = {storable(change.key): change for change in changes if change.state is not ChangeState.STARTED}
    unique = {storable(change.key): change for change in reversed(changes)} | ended
    rows = [
        {
            "key": key,
            "service": None if change.service is None else storable(change.service),
            "changed_at": change.changed_at,
            "body": body_of(change),
        }
        for key, change in unique.items()
    ]
    new = insert_new(tx, table, rows, key=["key"], returning="key")
    for key in sorted(set(ended) - set(new)):
        _end(tx, key, ended[key])
    return len(new)


def _end(tx: Tx, key: str, change: Change) -> None:
    known = get(tx, key)
    if known is not None and known.state is ChangeState.STARTED:
        over = known.model_copy(update={"state": change.state, "title": change.title, "link": change.link or known.link})
        tx.execute(table.update().where(table.c.key == key).values(body=body_of(over)))


def get(tx: Tx, key: str) -> Change | None:
    """The change with this key."""
    row = tx.execute(select(table).where(table.c.key == storable(key))).one_or_none()
    return None if row is None else value_of(Change, row)


def between(tx: Tx, since: datetime, until: datetime, *, services: Sequence[str] = (), limit: int = 100) -> list[Change]:
    """Changes from `since` to `until`, latest first. With `services`, only theirs and those that name no service."""
    query = select(table).where(table.c.changed_at >= since, table.c.changed_at <= until)
    if services:
        query = query.where(or_(table.c.service.is_(None), table.c.service.in_([storable(service) for service in services])))
    return [value_of(Change, row) for row in tx.execute(query.order_by(table.c.changed_at.desc(), table.c.key).limit(limit))]


def purge(tx: Tx, before: datetime, limit: int = 1000) -> int:
    """Forget at most `limit` changes from before then. How many went."""
    return purge_rows(tx, table, table.c.changed_at < before, limit)
