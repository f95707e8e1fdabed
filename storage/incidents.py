"""Incidents. Ids are 1, 2, 3 … without gaps, as people see them: INC-1."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, literal_column, select

from runbooks.incident import Incident, IncidentStatus
from runbooks.severity import Severity
from storage.shelf import KEEP, LARGEST_ID, NextAt, Shelf
from storage.tables import incidents as table
from storage.tables import numbers
from storage.text import storable
from storage.transaction import Tx, hold_order, upsert

_MANY = 500  # values in one IN list; SQLite allows 32,766 parameters, and plans get slow long before


def _columns(incident: Incident) -> dict[str, Any]:
    return {
        "status": incident.status.value,
        "severity": incident.severity.value,
        "service": incident.service,
        "group_key": incident.group_key,
        "channel": incident.channel,
        "runbook": incident.match.runbook.id,
        "drill_id": incident.drill_id,
        "opened_at": incident.opened_at,
        "resolved_at": incident.resolved_at,
        "revision": incident.revision,
    }


_shelf = Shelf(table=table, model=Incident, noun="incident", columns=_columns)
_is_open = table.c.status != literal_column("'resolved'")  # written out, so that prepared plans can use the partial index


def add(tx: Tx, incident: Incident, *, next_at: datetime | None = None) -> Incident:
    """Keep a new incident; it gets the next number, whatever its id says."""
    hold_order(tx)
    number = (tx.execute(select(numbers.c.last).where(numbers.c.name == "incident")).scalar_one_or_none() or 0) + 1
    upsert(tx, numbers, [{"name": "incident", "last": number}], key=["name"])
    return _shelf.add(tx, incident, next_at=next_at, number=number)


def get(tx: Tx, incident_id: int) -> Incident:
    """The incident with this id.

    Raises:
        NotFound: there is none.
    """
    return _shelf.get(tx, incident_id)


def find(tx: Tx, incident_id: int) -> Incident | None:
    """The incident with this id, or None."""
    return _shelf.first(tx, table.c.id == incident_id) if incident_id <= LARGEST_ID else None


def save(tx: Tx, incident: Incident, *, was: int, next_at: NextAt = KEEP) -> None:
    """Write an incident whose `revision` in the database is still `was`. `next_at` is when a sweep looks at it again.

    Raises:
        Stale: somebody else has changed it; nothing was written.
        NotFound: there is no such incident.
    """
    _shelf.save(tx, incident, table.c.revision == was, next_at=next_at)


def wake(tx: Tx, incident_id: int, next_at: datetime | None) -> None:
    """Only set when a sweep looks at it next; the card does not change."""
    _shelf.wake(tx, incident_id, next_at)


def due(tx: Tx, now: datetime, limit: int = 100) -> list[Incident]:
    """Incidents whose `next_at` has come, longest overdue first."""
    return _shelf.due(tx, now, limit)


def watched(tx: Tx) -> int:
    """How many incidents a sweep will look at again."""
    return int(tx.execute(select(func.count()).select_from(table).where(table.c.next_at.is_not(None))).scalar_one())


def open_ones(tx: Tx, *, drills: bool | None = None) -> list[Incident]:
    """Open incidents by id; `drills` True or False narrows them to rehearsals or to the rest."""
    return _shelf.where(tx, _is_open, *_drills(drills))


def open_by_group(tx: Tx, keys: Iterable[str]) -> dict[str, Incident]:
    """The open incident of each group that has one; the latest, should there be several. Keys are as the caller wrote them."""
    wanted = {storable(key): key for key in keys}
    found: dict[str, Incident] = {}
    for chunk in _chunks(list(wanted)):
        for incident in _shelf.where(tx, _is_open, table.c.group_key.in_(chunk)):
            found[wanted[storable(incident.group_key)]] = incident
    return found


def by_channel(tx: Tx, channel: str) -> Incident | None:
    """The latest open incident whose own channel this is."""
    return _latest(tx, channel, only_open=True) or _latest(tx, channel, only_open=False)


def _latest(tx: Tx, channel: str, *, only_open: bool) -> Incident | None:
    query = select(table).where(table.c.channel == channel, *([_is_open] if only_open else [])).order_by(table.c.id.desc()).limit(1)
    return next(iter(_shelf.listed(tx, query)), None)


def of_drill(tx: Tx, drill_id: int) -> Incident | None:
    """The incident of a rehearsal."""
    return _shelf.first(tx, table.c.drill_id == drill_id)


def last_with_runbook(tx: Tx, runbook: str, *, before: int | None = None, drills: bool = False) -> Incident | None:
    """The latest incident that followed this runbook, other than `before` and later ones: when it was last used."""
    query = select(table).where(table.c.runbook == runbook, *_drills(drills)).order_by(table.c.id.desc()).limit(1)
    return next(iter(_shelf.listed(tx, query if before is None else query.where(table.c.id < before))), None)


def listed(
    tx: Tx,
    *,
    statuses: Sequence[IncidentStatus] = (),
    severities: Sequence[Severity] = (),
    service: str | None = None,
    drills: bool | None = None,
    opened_since: datetime | None = None,
    opened_before: datetime | None = None,
    limit: int = 100,
) -> list[Incident]:
    """Incidents, latest first; each condition narrows the list."""
    query = select(table).where(*_drills(drills)).order_by(table.c.id.desc()).limit(limit)
    if statuses:
        query = query.where(table.c.status.in_([status.value for status in statuses]))
    if severities:
        query = query.where(table.c.severity.in_([severity.value for severity in severities]))
    if service is not None:
        query = query.where(table.c.service == service)
    if opened_since is not None:
        query = query.where(table.c.opened_at >= opened_since)
    if opened_before is not None:
        query = query.where(table.c.opened_at < opened_before)
    return _shelf.listed(tx, query)


def _drills(drills: bool | None) -> list[Any]:
    if drills is None:
        return []
    return [table.c.drill_id.is_not(None) if drills else table.c.drill_id.is_(None)]


def _chunks(keys: list[str]) -> Iterable[list[str]]:
    return (keys[start : start + _MANY] for start in range(0, len(keys), _MANY))


def opened_since(tx: Tx, *, runbook: str, since: datetime) -> int:
    """How many open incidents of this runbook were opened since then, drills left out: how a storm is noticed."""
    conditions = (_is_open, table.c.runbook == runbook, table.c.opened_at >= since, table.c.drill_id.is_(None))
    return int(tx.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one())
