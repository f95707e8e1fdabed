"""One SQLite file that holds the whole workspace; a commit survives ``kill -9``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS channels (
  id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, archived INTEGER NOT NULL DEFAULT 0,
  creator TEXT NOT NULL, created INTEGER NOT NULL, general INTEGER NOT NULL DEFAULT 0,
  topic TEXT NOT NULL DEFAULT '{}', purpose TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS members (
  channel TEXT NOT NULL, user TEXT NOT NULL, last_read TEXT NOT NULL DEFAULT '0', PRIMARY KEY (channel, user));
CREATE INDEX IF NOT EXISTS members_by_user ON members (user);
CREATE TABLE IF NOT EXISTS messages (
  channel TEXT NOT NULL, ts TEXT NOT NULL, thread TEXT, user TEXT NOT NULL, data TEXT NOT NULL,
  PRIMARY KEY (channel, ts));
CREATE INDEX IF NOT EXISTS messages_by_thread ON messages (channel, thread, ts);
CREATE TABLE IF NOT EXISTS reactions (
  seq INTEGER PRIMARY KEY, channel TEXT NOT NULL, ts TEXT NOT NULL, name TEXT NOT NULL, user TEXT NOT NULL,
  UNIQUE (channel, ts, name, user));
CREATE TABLE IF NOT EXISTS pins (
  channel TEXT NOT NULL, ts TEXT NOT NULL, user TEXT NOT NULL, created INTEGER NOT NULL, PRIMARY KEY (channel, ts));
CREATE TABLE IF NOT EXISTS bookmarks (id TEXT PRIMARY KEY, channel TEXT NOT NULL, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS usergroups (id TEXT PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (id TEXT PRIMARY KEY, secret TEXT NOT NULL, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS ephemerals (
  ts TEXT NOT NULL, channel TEXT NOT NULL, user TEXT NOT NULL, thread TEXT, data TEXT NOT NULL, PRIMARY KEY (ts, user));
CREATE TABLE IF NOT EXISTS views (
  id TEXT PRIMARY KEY, user TEXT NOT NULL, depth INTEGER NOT NULL, external TEXT UNIQUE, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS views_by_user ON views (user, depth);
CREATE TABLE IF NOT EXISTS homes (user TEXT PRIMARY KEY, external TEXT UNIQUE, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS triggers (
  id TEXT PRIMARY KEY, user TEXT NOT NULL, made REAL NOT NULL, used INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS response_urls (
  id TEXT PRIMARY KEY, made REAL NOT NULL, uses INTEGER NOT NULL DEFAULT 0, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
  seq INTEGER PRIMARY KEY, attempt INTEGER NOT NULL, due REAL NOT NULL, reason TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS outbox_by_due ON outbox (due, seq);
"""


class Database:
    """A thin hold on SQLite: JSON columns in and out, and one transaction at a time.

    It is used from one thread (the server's event loop), so a statement never waits for another.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        # A commit reaches the operating system at once; only a power cut could lose the last ones, and this is a trial workspace.
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)
        self._open = False

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._open

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        self._open = True
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        else:
            self._db.execute("COMMIT")
        finally:
            self._open = False

    def run(self, sql: str, *values: Any) -> int:
        """Execute one statement and return how many rows it changed."""
        return self._db.execute(sql, values).rowcount

    def rows(self, sql: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        """All rows of a query."""
        return self._db.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        found = self._db.execute(sql, values).fetchone()
        return tuple(found) if found is not None else None

    def value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row, or None."""
        found = self.row(sql, *values)
        return found[0] if found else None


def pack(value: Any) -> str:
    """A value as the text of a JSON column."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def unpack(text: str) -> Any:
    """The value of a JSON column."""
    return json.loads(text)
