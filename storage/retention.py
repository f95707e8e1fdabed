"""Forgetting what nobody needs any more, in small batches, so that no write waits long behind it.

The timeline and its chain are never deleted; `timeline.erase` empties an entry where the law asks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from storage import alerts, changes, inbox, seen, tasks
from storage.database import Database
from storage.transaction import Tx

BATCH = 500  # rows; a few milliseconds of the one writer's time

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How long each is kept."""

    tasks: timedelta = 7 * _DAY
    inbox: timedelta = 30 * _DAY
    seen: timedelta = 7 * _DAY
    alerts: timedelta = 400 * _DAY
    changes: timedelta = 400 * _DAY


def sweep(database: Database, now: datetime, keeping: Keeping = Keeping()) -> dict[str, int]:
    """Forget everything that is older than it is kept, batch by batch; how many rows went, by table."""
    purges: dict[str, tuple[Callable[[Tx, datetime, int], int], timedelta]] = {
        "tasks": (tasks.purge, keeping.tasks),
        "inbox": (inbox.purge, keeping.inbox),
        "seen": (seen.forget, keeping.seen),
        "alerts": (alerts.purge, keeping.alerts),
        "changes": (changes.purge, keeping.changes),
    }
    return {name: _emptied(database, purge, now - age) for name, (purge, age) in purges.items()}


def _emptied(database: Database, purge: Callable[[Tx, datetime, int], int], before: datetime) -> int:
    total = 0
    while True:
        gone = database.write(lambda tx: purge(tx, before, BATCH), name="retention", ordered=False)
        total += gone
        if gone < BATCH:
            return total
