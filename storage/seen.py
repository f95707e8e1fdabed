"""What was seen already: event ids, trigger ids, deliveries. The second time is none."""

from datetime import datetime

from storage.tables import seen as table
from storage.text import storable
from storage.transaction import Tx, insert_new
from storage.transaction import purge as purge_rows


def first(tx: Tx, key: str, now: datetime) -> bool:
    """Whether this is the first time. Rolls back with the transaction, so what failed may come again."""
    return bool(insert_new(tx, table, [{"key": storable(key), "seen_at": now}], key=["key"], returning="key"))


def forget(tx: Tx, before: datetime, limit: int = 1000) -> int:
    """Forget at most `limit` keys that were seen before then. How many went."""
    return purge_rows(tx, table, table.c.seen_at < before, limit)
