"""One lock for each target of a change, with owner and end (rule S12). Holding it is a row, so it outlives a crash until its end."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, or_, select

from storage.tables import locks as table
from storage.text import storable
from storage.transaction import Tx, insert_into


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """Who holds a target, for which run, since when and until when."""

    target: str
    run_id: int
    owner: str
    taken_at: datetime
    until_at: datetime


def take(tx: Tx, target: str, *, run_id: int, owner: str, until_at: datetime, now: datetime) -> Lock:
    """Take the lock if it is free, has ended, or is this run's already (then it is extended). Returns the holder's lock.

    It was taken if and only if the answer's `run_id` is yours.
    """
    row = {"target": storable(target), "run_id": run_id, "owner": storable(owner), "taken_at": now, "until_at": until_at}
    statement = insert_into(tx, table).values(**row)
    free = or_(table.c.until_at <= now, table.c.run_id == run_id)
    tx.execute(statement.on_conflict_do_update(index_elements=["target"], set_=row, where=free))
    return _lock(tx.execute(select(table).where(table.c.target == storable(target))).one())


def release(tx: Tx, target: str, run_id: int) -> bool:
    """Let go. False when this run does not hold it, which is no error."""
    return tx.execute(table.delete().where(table.c.target == storable(target), table.c.run_id == run_id)).rowcount == 1


def held(tx: Tx, targets: Iterable[str], *, now: datetime) -> dict[str, Lock]:
    """The locks on these targets that have not ended, by target."""
    query = select(table).where(table.c.target.in_([storable(target) for target in targets]), table.c.until_at > now)
    return {row.target: _lock(row) for row in tx.execute(query)}


def _lock(row: Row[Any]) -> Lock:
    return Lock(target=row.target, run_id=row.run_id, owner=row.owner, taken_at=row.taken_at, until_at=row.until_at)
