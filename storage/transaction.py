"""What every function of this room gets: an open transaction, and what the two databases say differently about it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Table, cast, func, literal, select, text
from sqlalchemy.dialects import postgresql, sqlite

Tx = Connection
"""An open transaction: a SQLAlchemy Core connection. Functions of this room only add statements to it; they never commit."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

ORDER = 0x4D555354_00000001  # "MUST", 1: one number space with whoever else takes advisory locks in this PostgreSQL database
INTAKE = 0x4D555354_00000002
MIGRATION = 0x4D555354_00000003

IDLE = 10_000
"""Milliseconds. A transaction does no I/O: one that idles for so long while everybody waits belongs to a process that was stopped."""

_TAKE_ORDER = text("SELECT set_config('idle_in_transaction_session_timeout', :idle, true), pg_advisory_xact_lock(:key)")


def micros(moment: datetime) -> int:
    """Microseconds since 1970 in UTC, exactly.

    Raises:
        ValueError: the time has no zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a time without a zone cannot be stored; use an aware one")
    return (moment - EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """The aware UTC time of `micros`."""
    return EPOCH + timedelta(microseconds=microseconds)


def is_postgres(tx: Tx) -> bool:
    """Whether this is PostgreSQL; otherwise it is SQLite."""
    return tx.dialect.name == "postgresql"


def now_of(tx: Tx) -> ColumnElement[int]:
    """The database's present in microseconds, as an expression: PostgreSQL's clock, or this process's on its own file."""
    if is_postgres(tx):
        return cast(func.extract("epoch", func.statement_timestamp()) * 1_000_000, BigInteger)
    clock: Callable[[], datetime] = tx.get_execution_options()["muster_clock"]
    return literal(micros(clock()), BigInteger)


def hold_order(tx: Tx) -> None:
    """Be the only transaction in order until this one ends.

    SQLite has one writer, so it always is. On PostgreSQL one advisory lock does the same across replicas: sequences, chains and lanes
    are then in commit order, and two transactions that both hold rows cannot wait for each other. Asking twice costs nothing.
    """
    if not is_postgres(tx) or tx.info.get("muster_order") is tx.get_transaction():
        return
    tx.execute(_TAKE_ORDER, {"key": ORDER, "idle": str(IDLE)})
    tx.info["muster_order"] = tx.get_transaction()


def try_hold(tx: Tx, key: int) -> bool:
    """Hold this lock until the transaction ends, unless another replica has it. Always true on SQLite."""
    if not is_postgres(tx):
        return True
    return bool(tx.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key}).scalar_one())


def insert_into(tx: Tx, table: Table) -> Any:
    """The dialect's INSERT, which knows ON CONFLICT. Any, because the two share methods but no type that says so."""
    return postgresql.insert(table) if is_postgres(tx) else sqlite.insert(table)


def insert_new(tx: Tx, table: Table, rows: Sequence[Mapping[str, Any]], *, key: Sequence[str], returning: str | None = None) -> list[Any]:
    """Insert those rows whose `key` is not there yet; with `returning`, that column of the rows that were inserted."""
    if not rows:
        return []
    if returning is None:
        tx.execute(insert_into(tx, table).on_conflict_do_nothing(index_elements=key), list(rows))
        return []
    statement = insert_into(tx, table).values(list(rows)).on_conflict_do_nothing(index_elements=key)
    return list(tx.execute(statement.returning(table.c[returning])).scalars())


def upsert(tx: Tx, table: Table, rows: Iterable[Mapping[str, Any]], *, key: Sequence[str]) -> None:
    """Insert rows, or overwrite everything but the key of those that are there."""
    rows = list(rows)
    if not rows:
        return
    statement = insert_into(tx, table)
    changed = {name: statement.excluded[name] for name in rows[0] if name not in key}
    tx.execute(statement.on_conflict_do_update(index_elements=key, set_=changed), rows)


def purge(tx: Tx, table: Table, condition: ColumnElement[bool], limit: int) -> int:
    """Delete at most `limit` rows for which the condition holds; how many were deleted. Small batches keep the writer free."""
    (column,) = table.primary_key.columns
    batch = select(column).where(condition).limit(limit)
    return tx.execute(table.delete().where(column.in_(batch))).rowcount
