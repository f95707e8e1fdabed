"""The clock of business due times: the database's time, plus an offset that the demo and tests may drive forward."""

import threading
import time
from datetime import UTC, datetime, timedelta

from storage import switches
from storage.database import Database, Tx

OFFSET = "clock.offset_seconds"
LATEST = 10
"""How many turns a ticker may be late before `now` reads the database by itself."""


class DatabaseClock:
    """The database's time, read at most once a second and carried on in between by this machine's steady clock.

    Where somebody calls `keep` from a thread of its own, `now` asks the database for nothing: flows look at the clock inside a
    transaction, and must not wait there for a second connection.
    """

    def __init__(self, *, database: Database, refresh: float = 1.0) -> None:
        self._database = database
        self._refresh = refresh
        self._lock = threading.Lock()
        self._kept = False
        self._read_at = float("-inf")
        self._base = datetime.now(UTC)
        self._latest = self._base

    def now(self) -> datetime:
        """The present, aware and in UTC; never goes back within one process."""
        with self._lock:
            steady = time.monotonic()
            if steady - self._read_at > self._refresh * (LATEST if self._kept else 1):
                self._base = self._database.now() + timedelta(seconds=self._offset())
                self._read_at = steady = time.monotonic()
            self._latest = max(self._latest, self._base + timedelta(seconds=steady - self._read_at))
            return self._latest

    def keep(self) -> None:
        """Read the database's time now. Called again and again by a ticker; when it stops, `now` reads for itself again."""
        base = self._database.now() + timedelta(seconds=self._offset())
        with self._lock:
            self._base, self._read_at, self._kept = base, time.monotonic(), True

    def advance(self, seconds: float) -> float:
        """Drive the clock forward by `seconds`; answers the whole offset. Never backwards: what was due stays done."""
        if seconds < 0:
            raise ValueError("the clock only goes forward")

        def move(tx: Tx) -> float:
            offset = float(switches.get(tx, OFFSET) or 0) + seconds
            switches.put(tx, OFFSET, offset)
            return offset

        offset = self._database.write(move)
        with self._lock:
            self._read_at = float("-inf")
        return offset

    def _offset(self) -> float:
        return float(self._database.read(lambda tx: switches.get(tx, OFFSET)) or 0)
