"""Every version of every runbook that was ever loaded, immutable: incidents, runs and drills pin one (mission C1)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, select, update

from runbooks.errors import NotFound
from runbooks.incident import RunbookRef
from runbooks.runbook import Runbook
from storage.convert import runbook_body, value_of
from storage.tables import runbook_versions as table
from storage.transaction import Tx, insert_new


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version: when it was first seen, when it last became the one in use, and the file as it was then."""

    ref: RunbookRef
    seen_at: datetime
    current_at: datetime
    source: str


def keep(tx: Tx, runbook: Runbook, seen_at: datetime) -> bool:
    """Keep this version and make it the one in use; true if it was never seen. Reloading the version in use changes nothing.

    Going back to an older version makes that one `latest` again.
    """
    ref = runbook.ref
    row = {
        "runbook": ref.id,
        "version": ref.version,
        "hash": ref.hash,
        "seen_at": seen_at,
        "current_at": seen_at,
        "source": runbook.source,
        "body": runbook_body(runbook),
    }
    if insert_new(tx, table, [row], key=["runbook", "version", "hash"], returning="hash"):
        return True
    if latest(tx, ref.id) != ref:
        tx.execute(update(table).where(*_place(ref)).values(current_at=seen_at))
    return False


def get(tx: Tx, ref: RunbookRef) -> Runbook:
    """The runbook exactly as it was.

    Raises:
        NotFound: this version was never seen.
        Unreadable: its format is one that this Muster no longer reads.
    """
    row = tx.execute(select(table).where(*_place(ref))).one_or_none()
    if row is None:
        raise NotFound(f"Version {ref.version} of the runbook {ref.id} ({ref.hash[:12]}) was never seen here.")
    return value_of(Runbook, row)


def latest(tx: Tx, runbook: str) -> RunbookRef | None:
    """The version that last became the one in use."""
    row = tx.execute(_history(runbook).limit(1)).one_or_none()
    return None if row is None else _ref(row)


def history(tx: Tx, runbook: str) -> list[Version]:
    """All versions, the one in use first."""
    return [
        Version(ref=_ref(row), seen_at=row.seen_at, current_at=row.current_at, source=row.source) for row in tx.execute(_history(runbook))
    ]


def _history(runbook: str) -> Select[Any]:
    order = (table.c.current_at.desc(), table.c.version.desc(), table.c.seen_at.desc(), table.c.hash)
    return select(table).where(table.c.runbook == runbook).order_by(*order)


def _place(ref: RunbookRef) -> tuple[Any, ...]:
    return (table.c.runbook == ref.id, table.c.version == ref.version, table.c.hash == ref.hash)


def _ref(row: Row[Any]) -> RunbookRef:
    return RunbookRef(id=row.runbook, version=row.version, hash=row.hash)
