"""Schedules: when something recurring happens next. Advanced by compare-and-set in the transaction that enqueues its task (engine.md)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update

from storage.tables import schedules as table
from storage.transaction import Tx, insert_new


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`spec` is the calendar's own text, for example a cron line with names of days and a time zone."""

    name: str
    spec: str
    next_at: datetime


def put(tx: Tx, name: str, *, spec: str, next_at: datetime) -> bool:
    """Declare a schedule. The same `spec` again changes nothing, so a start loses no missed slot; another one starts at `next_at`."""
    if insert_new(tx, table, [{"name": name, "spec": spec, "next_at": next_at}], key=["name"], returning="name"):
        return True
    changed = update(table).where(table.c.name == name, table.c.spec != spec).values(spec=spec, next_at=next_at)
    return tx.execute(changed).rowcount == 1


def get(tx: Tx, name: str) -> Schedule | None:
    """The schedule with this name."""
    row = tx.execute(select(table).where(table.c.name == name)).one_or_none()
    return None if row is None else _schedule(row)


def every(tx: Tx) -> list[Schedule]:
    """All schedules by name."""
    return [_schedule(row) for row in tx.execute(select(table).order_by(table.c.name))]


def due(tx: Tx, now: datetime, limit: int = 100) -> list[Schedule]:
    """Those whose time has come, longest overdue first."""
    return [
        _schedule(row)
        for row in tx.execute(select(table).where(table.c.next_at <= now).order_by(table.c.next_at, table.c.name).limit(limit))
    ]


def advance(tx: Tx, name: str, *, was: datetime, next_at: datetime) -> bool:
    """Move on from `was`; false when somebody else has, and then nothing may be enqueued."""
    moved = update(table).where(table.c.name == name, table.c.next_at == was).values(next_at=next_at)
    return tx.execute(moved).rowcount == 1


def remove(tx: Tx, name: str) -> None:
    """It recurs no more."""
    tx.execute(table.delete().where(table.c.name == name))


def _schedule(row: Row[Any]) -> Schedule:
    return Schedule(name=row.name, spec=row.spec, next_at=row.next_at)
