"""What is known of every alert: whether it holds, since when, how often, and which incident it belongs to."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Row, and_, func, select, tuple_

from runbooks.alert import AlertStatus
from storage.tables import alerts as table
from storage.text import json_text, storable
from storage.transaction import Tx, micros, moment, upsert

Key = tuple[str, str]
"""Source and fingerprint."""

_MANY = 500  # keys in one IN list


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """One alert within one incident. `incident_id` None means: it belongs to none yet (a resolve that came before its fire).

    `first_at` and `last_at` are when Muster heard of it, `starts_at` and `ends_at` what the source says. `count` counts deliveries.
    `flips` are the recent moments at which it changed between firing and resolved, oldest first: flapping is judged by them.
    """

    source: str
    fingerprint: str
    incident_id: int | None
    status: AlertStatus
    first_at: datetime
    last_at: datetime
    starts_at: datetime
    ends_at: datetime | None = None
    count: int = 1
    title: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    link: str | None = None
    upstream: dict[str, str] = field(default_factory=dict)
    flips: tuple[datetime, ...] = ()

    @property
    def key(self) -> Key:
        """How deliveries find it."""
        return (self.source, self.fingerprint)


def known(tx: Tx, keys: Iterable[Key]) -> dict[Key, AlertRow]:
    """What is known of these alerts: for each, its row in the latest incident that it belonged to."""
    wanted = {(storable(source), storable(fingerprint)): (source, fingerprint) for source, fingerprint in keys}
    by_source: dict[str, list[str]] = {}
    for source, fingerprint in wanted:
        by_source.setdefault(source, []).append(fingerprint)
    found: dict[Key, AlertRow] = {}
    for source, names in by_source.items():
        for start in range(0, len(names), _MANY):
            # SQLite looks a list of pairs up by reading the whole table; one column's list it finds by the index.
            place = and_(table.c.source == source, table.c.fingerprint.in_(names[start : start + _MANY]))
            for row in tx.execute(select(table).where(place).order_by(table.c.incident_id)):
                found[wanted[row.source, row.fingerprint]] = _alert(row)
    return found


def save(tx: Tx, rows: Iterable[AlertRow]) -> None:
    """Write what is known now, many at once; a row is replaced where source, fingerprint and incident are the same."""
    latest = {(row.source, row.fingerprint, row.incident_id): row for row in rows}
    upsert(tx, table, [_columns(row) for row in latest.values()], key=["source", "fingerprint", "incident_id"])


def of_incident(tx: Tx, incident_id: int) -> list[AlertRow]:
    """The incident's alerts, first heard first."""
    query = select(table).where(table.c.incident_id == incident_id).order_by(table.c.first_at, table.c.source, table.c.fingerprint)
    return [_alert(row) for row in tx.execute(query)]


def firing(tx: Tx, incident_id: int) -> int:
    """How many of the incident's alerts hold now."""
    condition = and_(table.c.incident_id == incident_id, table.c.status == AlertStatus.FIRING.value)
    return int(tx.execute(select(func.count()).where(condition)).scalar_one())


def tally(tx: Tx, incident_id: int) -> tuple[int, int]:
    """How many of the incident's alerts hold now, and how many there are: `Incident.firing` and `Incident.alerts`."""
    holds = func.count().filter(table.c.status == AlertStatus.FIRING.value)
    row = tx.execute(select(holds, func.count()).where(table.c.incident_id == incident_id)).one()
    return int(row[0]), int(row[1])


def purge(tx: Tx, before: datetime, limit: int = 1000) -> int:
    """Forget at most `limit` resolved alerts that were last heard of before then. How many went."""
    names = (table.c.source, table.c.fingerprint, table.c.incident_id)
    old = and_(table.c.last_at < before, table.c.status == AlertStatus.RESOLVED.value)
    return tx.execute(table.delete().where(tuple_(*names).in_(select(*names).where(old).limit(limit)))).rowcount


def _columns(row: AlertRow) -> dict[str, Any]:
    body = {
        "title": row.title,
        "labels": row.labels,
        "annotations": row.annotations,
        "link": row.link,
        "upstream": row.upstream,
        "flips": [micros(flip) for flip in row.flips],
    }
    return {
        "source": storable(row.source),
        "fingerprint": storable(row.fingerprint),
        "incident_id": row.incident_id or 0,
        "status": row.status.value,
        "first_at": row.first_at,
        "last_at": row.last_at,
        "starts_at": row.starts_at,
        "ends_at": row.ends_at,
        "times": row.count,
        "body": json_text(body),
    }


def _alert(row: Row[Any]) -> AlertRow:
    body = from_json(row.body)
    return AlertRow(
        source=row.source,
        fingerprint=row.fingerprint,
        incident_id=row.incident_id or None,
        status=AlertStatus(row.status),
        first_at=row.first_at,
        last_at=row.last_at,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        count=row.times,
        title=body["title"],
        labels=body["labels"],
        annotations=body["annotations"],
        link=body["link"],
        upstream=body["upstream"],
        flips=tuple(moment(flip) for flip in body["flips"]),
    )
