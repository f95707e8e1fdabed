"""What came in. One row for each request of a sender, on disk before the sender hears "accepted" (engine.md, requirement 1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import func, select, update

from runbooks.alert import Alert
from storage.tables import inbox
from storage.text import storable
from storage.transaction import INTAKE, Tx, try_hold
from storage.transaction import purge as purge_rows

_APPEND = inbox.insert()  # built once: the intake's whole work is this statement
_ALERTS = TypeAdapter(tuple[Alert, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it was accepted. `raw` is the body as it came; `alerts_json` is what the source's parser made of it."""

    id: int
    source: str
    raw: bytes
    alerts_json: bytes
    count: int
    received_at: datetime

    def alerts(self) -> tuple[Alert, ...]:
        """The alerts, parsed. Costs time: do it outside a transaction where that is possible."""
        return _ALERTS.validate_json(self.alerts_json)


def packed(alerts: Sequence[Alert]) -> bytes:
    """The alerts as `append` wants them; made by the caller, so that the one writer does not spend its time on it."""
    return _ALERTS.dump_json(tuple(alerts))


def append(tx: Tx, *, source: str, raw: bytes, alerts_json: bytes, count: int, received_at: datetime) -> None:
    """Keep one request. `count` is the number of alerts in `alerts_json`. Works in an unordered transaction."""
    tx.execute(
        _APPEND,
        {"source": source, "raw": raw, "alerts": alerts_json, "amount": count, "received_at": received_at},
    )


def take(tx: Tx, limit: int) -> list[Received]:
    """The oldest whole requests that wait, until they hold `limit` alerts together; at least one if any waits.

    Taken until the transaction ends: on PostgreSQL another replica gets an empty list meanwhile. Call `done` in the same transaction.
    """
    if not try_hold(tx, INTAKE):
        return []
    waiting = select(inbox.c.id, inbox.c.amount).where(inbox.c.done_at.is_(None)).order_by(inbox.c.id).limit(max(limit, 1))
    chosen: list[int] = []
    alerts = 0
    for request_id, count in tx.execute(waiting):
        if chosen and alerts + count > limit:
            break
        chosen.append(request_id)
        alerts += count
    return _read(tx, chosen)


def _read(tx: Tx, ids: Sequence[int]) -> list[Received]:
    if not ids:
        return []
    query = select(inbox).where(inbox.c.id.between(ids[0], ids[-1]), inbox.c.done_at.is_(None)).order_by(inbox.c.id)
    wanted = set(ids)
    return [
        Received(id=row.id, source=row.source, raw=row.raw, alerts_json=row.alerts, count=row.amount, received_at=row.received_at)
        for row in tx.execute(query)
        if row.id in wanted
    ]


def done(tx: Tx, ids: Sequence[int], now: datetime) -> None:
    """These requests are folded into incidents."""
    _finish(tx, ids, now, None)


def set_aside(tx: Tx, ids: Sequence[int], now: datetime, error: str) -> None:
    """These requests cannot be folded, and why; they stay to be seen, and stop nobody behind them."""
    _finish(tx, ids, now, storable(error))


def _finish(tx: Tx, ids: Sequence[int], now: datetime, error: str | None) -> None:
    if ids:
        tx.execute(update(inbox).where(inbox.c.id.in_(ids)).values(done_at=now, error=error))


def refused(tx: Tx, limit: int = 100) -> list[tuple[int, str, str]]:
    """Requests that were set aside, latest first: id, source, reason."""
    query = select(inbox.c.id, inbox.c.source, inbox.c.error).where(inbox.c.error.is_not(None)).order_by(inbox.c.id.desc()).limit(limit)
    return [(row.id, row.source, row.error) for row in tx.execute(query)]


def waiting(tx: Tx) -> int:
    """How many alerts wait for triage."""
    return int(tx.execute(select(func.coalesce(func.sum(inbox.c.amount), 0)).where(inbox.c.done_at.is_(None))).scalar_one())


def oldest_waiting(tx: Tx) -> datetime | None:
    """When the oldest request that still waits was received."""
    query = select(inbox.c.received_at).where(inbox.c.done_at.is_(None)).order_by(inbox.c.id).limit(1)
    return tx.execute(query).scalar_one_or_none()


def purge(tx: Tx, before: datetime, limit: int = 1000) -> int:
    """Forget at most `limit` requests that were done before then, raw bodies included. How many went."""
    return purge_rows(tx, inbox, inbox.c.done_at < before, limit)
