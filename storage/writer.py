"""SQLite's one writer: a thread that commits what waits as one group (engine.md, "Writes").

Many threads each opening a write transaction is the worst choice on SQLite. Here each request runs in a savepoint of its own, a whole
group shares one COMMIT and so one flush to disk, and nobody is answered before it.
"""

import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from storage import killpoints
from storage.errors import StorageUnavailable, WriteInsideWrite, translated
from storage.transaction import Tx

GROUP = 128  # beyond this the shared flush is already cheap, and the first in line would only wait longer
PATIENCE = 0.005  # seconds: a group takes no newcomers after this, or after as long as the last flush took, so that nobody waits for many


@dataclass(slots=True, kw_only=True)
class _Request:
    fn: Callable[[Tx], Any]
    name: str
    future: Future[Any] = field(default_factory=Future)
    value: Any = None
    error: BaseException | None = None

    def answer(self) -> None:
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.value)


class Writer:
    """Runs functions one after another in write transactions. Started with the first request, ended by `close`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._connection: Connection | None = None
        self._flush = 0.0  # seconds that the last COMMIT took

    def submit(self, fn: Callable[[Tx], Any], *, name: str) -> Future[Any]:
        """Run `fn` in the next group; the future is answered after its COMMIT."""
        if threading.current_thread() is self._thread:
            raise WriteInsideWrite("A write was asked for inside a write; use the transaction that is open.")
        request = _Request(fn=fn, name=name)
        with self._guard:
            if self._closed:
                raise StorageUnavailable("The database is closed; Muster is stopping.")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="muster-writer", daemon=True)
                self._thread.start()
            self._queue.put(request)
        return request.future

    def close(self) -> None:
        """Finish what waits, then stop."""
        with self._guard:
            closing, self._closed = not self._closed, True
        if closing and self._thread is not None:
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group: list[_Request] = []
            try:
                self._commit(first, group)
            except Exception as error:  # noqa: BLE001 - the outermost loop: the thread lives on, and the group learns what happened
                self._fail(group or [first], error)
            else:
                for request in group:
                    killpoints.reach(f"{request.name}.after_commit")
                    request.answer()
        self._drop()

    def _commit(self, first: _Request, group: list[_Request]) -> None:
        if self._connection is None:
            self._connection = self._engine.connect()
        with self._connection.begin():
            for request in self._waiting(first):
                if request.future.set_running_or_notify_cancel():
                    group.append(request)
                    self._perform(self._connection, request)
            for request in group:
                killpoints.reach(f"{request.name}.before_commit")
            began = time.monotonic()
        self._flush = time.monotonic() - began

    def _waiting(self, first: _Request) -> Iterator[_Request]:
        """The first request, and whoever comes while the group is young and small."""
        until = time.monotonic() + max(PATIENCE, self._flush)
        yield first
        for _ in range(GROUP - 1):
            if time.monotonic() > until:
                return
            try:
                request = self._queue.get_nowait()
            except queue.Empty:
                return
            if request is None:
                self._queue.put(None)  # the end comes after this group
                return
            yield request

    @staticmethod
    def _perform(tx: Connection, request: _Request) -> None:
        driver: Any = tx.connection.driver_connection  # spares SQLAlchemy's work for statements that are always the same
        driver.execute("SAVEPOINT request")
        try:
            request.value = request.fn(tx)
        except SQLAlchemyError as error:
            if not driver.in_transaction:
                raise  # SQLite has ended the whole transaction, for example because the disk is full
            request.error = translated(error)
            request.error.__cause__ = error
        except Exception as error:  # noqa: BLE001 - whatever a caller's function raises is the caller's answer, and its savepoint rolls back
            request.error = error
        if request.error is not None:
            driver.execute("ROLLBACK TO request")
        driver.execute("RELEASE request")

    def _fail(self, group: list[_Request], cause: Exception) -> None:
        """Nothing of this group was committed: everybody is told so, and the next group gets a new connection."""
        self._drop()
        for request in group:
            if not request.future.done():
                request.error = request.error or _answer_for(cause)
                request.answer()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


def _answer_for(cause: Exception) -> Exception:
    if isinstance(cause, SQLAlchemyError):
        return translated(cause)
    if isinstance(cause, sqlite3.Error):
        return StorageUnavailable(f"The database cannot be used now, nothing was promised: {cause}")
    return cause
