"""Events on their way to the app, kept until they were acknowledged or given up."""

from __future__ import annotations

from dataclasses import dataclass

from bot.workspace.protocol import Json
from bot.workspace.store.database import Database, pack, unpack


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One event with the number of the attempt that comes next and when it is due (epoch seconds)."""

    seq: int
    attempt: int
    due: float
    reason: str
    body: Json


class OutboxTable:
    """The events that still must reach the app."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, body: Json, *, due: float) -> None:
        """Queue an event."""
        self._db.run("INSERT INTO outbox (attempt, due, reason, body) VALUES (0, ?, '', ?)", due, pack(body))

    def due(self, now: float, *, limit: int) -> list[int]:
        """The numbers of events whose time has come, oldest first."""
        return [row[0] for row in self._db.rows("SELECT seq FROM outbox WHERE due <= ? ORDER BY seq LIMIT ?", now, limit)]

    def parcel(self, seq: int) -> Parcel | None:
        """The event of that number, or None when it is settled."""
        row = self._db.row("SELECT seq, attempt, due, reason, body FROM outbox WHERE seq = ?", seq)
        return Parcel(seq=row[0], attempt=row[1], due=row[2], reason=row[3], body=unpack(row[4])) if row else None

    def next_due(self) -> float | None:
        """When the earliest event is due (epoch seconds), or None when there is none."""
        found = self._db.value("SELECT min(due) FROM outbox")
        return float(found) if found is not None else None

    def postpone(self, seq: int, *, due: float, reason: str) -> None:
        """Try again later, counted as a further attempt."""
        self._db.run("UPDATE outbox SET attempt = attempt + 1, due = ?, reason = ? WHERE seq = ?", due, reason, seq)

    def drop(self, seq: int) -> None:
        """Forget an event."""
        self._db.run("DELETE FROM outbox WHERE seq = ?", seq)

    def waiting(self) -> int:
        """How many events are not delivered."""
        return int(self._db.value("SELECT count(*) FROM outbox"))
