"""What diagnostics answered, incident by incident."""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import func, select

from runbooks.operation import Measurement
from storage.convert import body_of, value_of
from storage.tables import incidents
from storage.tables import measurements as table
from storage.transaction import Tx


def add(tx: Tx, incident_id: int, *measurements: Measurement) -> None:
    """Keep what was measured, in this order."""
    rows = [
        {"incident_id": incident_id, "diagnostic": found.diagnostic, "measured_at": found.measured_at, "body": body_of(found)}
        for found in measurements
    ]
    if rows:
        tx.execute(table.insert(), rows)


def latest(tx: Tx, incident_id: int) -> dict[str, Measurement]:
    """Each diagnostic's last answer, by its id."""
    last = select(func.max(table.c.id)).where(table.c.incident_id == incident_id).group_by(table.c.diagnostic)
    return {
        row.diagnostic: value_of(Measurement, row) for row in tx.execute(select(table).where(table.c.id.in_(last)).order_by(table.c.id))
    }


def newest(tx: Tx, wanted: Mapping[str, Collection[int]]) -> dict[tuple[int, str], Measurement]:
    """The last answers of several diagnostics, each of several incidents, by both: one query for every diagnostic.

    However much was measured, the newest row of each is found from the end of its incident's index.
    """
    found: dict[tuple[int, str], Measurement] = {}
    for diagnostic, numbers in wanted.items():
        last = (
            select(table.c.id)
            .where(table.c.incident_id == incidents.c.id, table.c.diagnostic == diagnostic)
            .order_by(table.c.id.desc())
            .limit(1)
            .scalar_subquery()
        )
        rows = tx.execute(select(table).where(table.c.id.in_(select(last).where(incidents.c.id.in_(numbers)))))
        found |= {(row.incident_id, diagnostic): value_of(Measurement, row) for row in rows}
    return found


def of_incident(tx: Tx, incident_id: int, *, diagnostic: str | None = None, since: datetime | None = None) -> list[Measurement]:
    """Everything that was measured, in order; of one diagnostic where it is named, and from a moment on where one is given."""
    query = select(table).where(table.c.incident_id == incident_id).order_by(table.c.id)
    query = query if diagnostic is None else query.where(table.c.diagnostic == diagnostic)
    query = query if since is None else query.where(table.c.measured_at >= since)
    return [value_of(Measurement, row) for row in tx.execute(query)]
