"""What is known of one alert after another delivery of it. Pure."""

from dataclasses import replace
from datetime import datetime

from runbooks.alert import Alert, AlertStatus
from storage.alerts import AlertRow

FLIPS_KEPT = 12  # recent changes between firing and resolved; flapping is judged by a few of them


def first(alert: Alert, *, now: datetime, incident_id: int | None) -> AlertRow:
    """Heard of for the first time; without an incident it is a resolve that came before its fire."""
    return AlertRow(
        source=alert.source,
        fingerprint=alert.fingerprint,
        incident_id=incident_id,
        status=alert.status,
        first_at=now,
        last_at=now,
        starts_at=alert.starts_at,
        ends_at=alert.ends_at or now if alert.status is AlertStatus.RESOLVED else None,
        title=alert.title,
        labels=alert.labels,
        annotations=alert.annotations,
        link=alert.link,
        upstream=alert.upstream,
    )


def again(row: AlertRow, alert: Alert, *, now: datetime) -> AlertRow:
    """Delivered again and nothing new: counted.

    The latest start and end that were heard of are kept, so that deliveries in any order come to the same: a resolve of an earlier
    time must not end what has begun again since, and the fire that belongs to a resolve must not outlive it.
    """
    same = alert.status is row.status
    starts_at = max(row.starts_at, alert.starts_at) if same else row.starts_at
    ends_at = max(row.ends_at, alert.ends_at) if same and row.ends_at and alert.ends_at else row.ends_at
    annotations = alert.annotations or row.annotations
    return replace(row, last_at=now, count=row.count + 1, annotations=annotations, starts_at=starts_at, ends_at=ends_at)


def resolved(row: AlertRow, alert: Alert, *, now: datetime, ended_at: datetime) -> AlertRow:
    """It no longer holds."""
    return replace(
        again(row, alert, now=now),
        status=AlertStatus.RESOLVED,
        starts_at=max(row.starts_at, alert.starts_at),
        ends_at=ended_at,
        flips=(*row.flips, now)[-FLIPS_KEPT:],
    )


def fired(row: AlertRow, alert: Alert, *, now: datetime, incident_id: int) -> AlertRow:
    """It holds again. In another incident it is another row, with its own count."""
    if row.incident_id != incident_id:
        fresh = first(alert, now=now, incident_id=incident_id)
        return replace(fresh, starts_at=max(row.starts_at, alert.starts_at)) if row.status is AlertStatus.FIRING else fresh
    return replace(
        again(row, alert, now=now),
        status=AlertStatus.FIRING,
        starts_at=alert.starts_at,
        ends_at=None,
        labels=alert.labels,
        flips=(*row.flips, now)[-FLIPS_KEPT:],
    )


def name_of(row: AlertRow) -> str:
    """The alert's name, as people know it."""
    return row.labels.get("alertname") or row.title or row.fingerprint
