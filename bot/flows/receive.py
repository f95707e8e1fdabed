"""What waits in the inbox becomes incidents, the oldest first; what cannot be folded is set aside and holds up nothing (mission A3)."""

from collections.abc import Sequence

import structlog

from bot.flows.context import Context
from bot.flows.folding import Rehearsal, fold
from storage import inbox
from storage.database import Tx
from storage.errors import Stale, StorageUnavailable
from storage.inbox import Received
from storage.killpoints import POINTS, reach

__all__ = ["BATCH", "Rehearsal", "fold", "triage"]

log = structlog.get_logger(__name__)

BATCH = 1000
"""Alerts in one transaction at most. A fold costs much the same for few as for many: every touched incident writes its own rows."""


_PASSES = (StorageUnavailable, Stale)
"""What ends by itself: the database is away, or somebody was faster. Nothing is wrong with the alerts."""


def triage(ctx: Context) -> int:
    """Take the oldest waiting alerts and fold them into incidents; answers how many requests were taken.

    Raises:
        StorageUnavailable, Stale: nothing was taken; call again later.
    """
    try:
        return len(ctx.write(lambda tx: _take(tx, ctx, BATCH), name="triage"))
    except _PASSES:
        raise
    except Exception:
        # One request that cannot be folded must not hold up all that come after it: take the oldest alone, or set it aside.
        log.exception("triage.batch_failed")
        return _take_one(ctx)


def _take(tx: Tx, ctx: Context, limit: int) -> list[Received]:
    received = inbox.take(tx, limit)
    _fold_requests(tx, ctx, received)
    return received


def _fold_requests(tx: Tx, ctx: Context, received: Sequence[Received]) -> None:
    if received:
        now = ctx.now()
        fold(tx, ctx, [alert for item in received for alert in item.alerts()], now=now)
        reach(POINTS["K3"])
        inbox.done(tx, [item.id for item in received], now)


def _take_one(ctx: Context) -> int:
    """The oldest request in a transaction of its own; what cannot be folded is set aside in another, so that nothing half done stays."""
    tried: list[int] = []

    def alone(tx: Tx) -> int:
        received = inbox.take(tx, 1)
        tried[:] = [item.id for item in received]
        _fold_requests(tx, ctx, received)
        return len(received)

    try:
        return ctx.write(alone, name="triage")
    except _PASSES:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the alerts behind it must not wait; it is set aside with the reason
        reason = f"{type(error).__name__}: {error}"
        return ctx.write(lambda tx: _set_aside(tx, ctx, tried, reason), name="triage")


def _set_aside(tx: Tx, ctx: Context, tried: Sequence[int], reason: str) -> int:
    """Set aside what was tried, if it still is the oldest: another replica may have come first."""
    received = inbox.take(tx, 1)
    for item in received:
        if item.id in tried:
            log.error("triage.set_aside", inbox=item.id, source=item.source, error=reason)
            inbox.set_aside(tx, [item.id], ctx.now(), reason)
    return len(received)
