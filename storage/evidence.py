"""Evidence: snapshots and the bytes of their pieces. Kept for good: retention does not know these tables, and triggers refuse a change.

A piece can be erased where the law asks; its digest and its size stay, so that every snapshot still proves what else it holds.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, or_, select, update

from runbooks.errors import NotFound
from runbooks.evidence import Snapshot, digest, manifest
from storage.database import Database
from storage.errors import Unreadable
from storage.tables import evidence as table
from storage.tables import evidence_pieces as pieces
from storage.transaction import Tx, insert_new


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """Evidence that no longer is what its digest says."""

    sha256: str
    reason: str


def add(tx: Tx, snapshot: Snapshot, bodies: Mapping[str, bytes]) -> None:
    """Keep a snapshot with the bytes of every piece, by digest. The same one twice is once. Works in an unordered transaction.

    Raises:
        ValueError: a digest is not of what was given, or a piece's bytes are missing: a mistake of ours, and nothing is kept.
    """
    told = manifest(snapshot)
    wanted = {piece.sha256: piece.size for piece in snapshot.pieces}
    if digest(told) != snapshot.sha256 or set(wanted) - set(bodies):
        raise ValueError("a snapshot must be sealed, and every piece must come with its bytes")
    if any(digest(bodies[sha256]) != sha256 or len(bodies[sha256]) != size for sha256, size in wanted.items()):
        raise ValueError("a piece's bytes are not those of its digest")
    rows = [{"sha256": sha256, "size": size, "body": bodies[sha256], "erased": 0} for sha256, size in sorted(wanted.items())]
    insert_new(tx, pieces, rows, key=["sha256"])
    row = {
        "sha256": snapshot.sha256,
        "name": snapshot.name,
        "environment": snapshot.environment,
        "service": snapshot.service,
        "taken_at": snapshot.taken_at,
        "manifest": told.decode(),
    }
    insert_new(tx, table, [row], key=["sha256"])


def get(tx: Tx, sha256: str) -> Snapshot:
    """The snapshot with this digest; colons between its letters do not matter.

    Raises:
        NotFound: there is none.
    """
    row = tx.execute(select(table).where(table.c.sha256 == sha256.replace(":", ""))).one_or_none()
    if row is None:
        raise NotFound(f"There is no evidence {sha256}.")
    return _snapshot(row)


def latest(tx: Tx, *, name: str, environment: str | None, service: str | None, since: datetime) -> Snapshot | None:
    """The newest snapshot of this name, environment and service that was taken at `since` or later."""
    query = select(table).where(
        table.c.name == name,
        table.c.environment.is_not_distinct_from(environment),
        table.c.service.is_not_distinct_from(service),
        table.c.taken_at >= since,
    )
    row = tx.execute(query.order_by(table.c.taken_at.desc(), table.c.sha256).limit(1)).first()
    return None if row is None else _snapshot(row)


def between(tx: Tx, since: datetime, until: datetime, *, limit: int = 100) -> list[Snapshot]:
    """Snapshots that were taken from `since` to `until`, oldest first."""
    query = select(table).where(table.c.taken_at >= since, table.c.taken_at <= until)
    return [_snapshot(row) for row in tx.execute(query.order_by(table.c.taken_at, table.c.sha256).limit(limit))]


def concerning(
    tx: Tx, since: datetime, until: datetime, *, environment: str | None, service: str | None, limit: int = 100
) -> list[Snapshot]:
    """Snapshots from `since` to `until` of this environment and service, and those that name none, oldest first."""
    query = select(table).where(
        table.c.taken_at >= since,
        table.c.taken_at <= until,
        or_(table.c.environment.is_(None), table.c.environment == environment),
        or_(table.c.service.is_(None), table.c.service == service),
    )
    return [_snapshot(row) for row in tx.execute(query.order_by(table.c.taken_at, table.c.sha256).limit(limit))]


def body(tx: Tx, sha256: str) -> bytes | None:
    """A piece's bytes; None where they were erased.

    Raises:
        NotFound: there is no such piece.
        Unreadable: they are not what the digest says.
    """
    row = tx.execute(select(pieces).where(pieces.c.sha256 == sha256.replace(":", ""))).one_or_none()
    if row is None:
        raise NotFound(f"There is no piece of evidence {sha256}.")
    if row.body is not None and digest(row.body) != row.sha256:
        raise Unreadable(f"The piece of evidence {sha256} was changed: its bytes are not those of its digest.")
    return None if row.body is None else bytes(row.body)


def erase(tx: Tx, sha256: str) -> None:
    """Remove a piece's bytes for ever, because the law asks, from every snapshot that holds it. Twice is once.

    Raises:
        NotFound: there is no such piece.
    """
    plain = sha256.replace(":", "")
    if tx.execute(select(pieces.c.sha256).where(pieces.c.sha256 == plain)).first() is None:
        raise NotFound(f"There is no piece of evidence {sha256}.")
    tx.execute(update(pieces).where(pieces.c.sha256 == plain, pieces.c.erased == 0).values(body=None, erased=1))


def damaged(tx: Tx) -> Iterator[Damaged]:
    """Everything that no longer is what its digest says; erased pieces are as they should be."""
    known: set[str] = set()
    for row in tx.execution_options(yield_per=20).execute(select(pieces)):
        known.add(row.sha256)
        wrong = row.body is None if not row.erased else row.body is not None
        if wrong or (row.body is not None and (digest(row.body) != row.sha256 or len(row.body) != row.size)):
            yield Damaged(sha256=row.sha256, reason="its bytes are not those of its digest")
    for row in tx.execute(select(table)):
        if digest(row.manifest.encode()) != row.sha256:
            yield Damaged(sha256=row.sha256, reason="the snapshot is not the one of its digest")
        elif gone := [piece.source for piece in _snapshot(row).pieces if piece.sha256 not in known]:
            yield Damaged(sha256=row.sha256, reason=f"pieces are missing: {', '.join(gone)}")


class Vault:
    """Evidence in the database; what `actions.evidence.Vault` asks for. Every replica sees what another one has kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def latest(self, *, name: str, environment: str | None, service: str | None, since: datetime) -> Snapshot | None:
        """See `latest`."""
        return self._database.read(lambda tx: latest(tx, name=name, environment=environment, service=service, since=since))

    def keep(self, snapshot: Snapshot, bodies: Mapping[str, bytes]) -> None:
        """See `add`; on disk when this returns."""
        self._database.write(lambda tx: add(tx, snapshot, bodies), name="evidence", ordered=False)


def _snapshot(row: Row[Any]) -> Snapshot:
    try:
        return Snapshot.model_validate({**json.loads(row.manifest), "sha256": row.sha256})
    except ValueError as error:
        raise Unreadable(f"The evidence {row.sha256} cannot be read by this version of Muster: {error}") from error
