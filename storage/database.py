"""The database, from a URL: SQLite in a file (one process, one writer) or PostgreSQL (any number of replicas).

Every change in Muster passes through `Database.write`; nothing else opens a write transaction.
"""

import fcntl
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import URL, Engine, create_engine, event, make_url, select
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from storage import killpoints
from storage.errors import AddressRefused, LockedByAnother, StorageUnavailable, is_conflict, translated
from storage.transaction import Tx, hold_order, moment, now_of
from storage.writer import Writer

__all__ = ["Database", "Tx"]

T = TypeVar("T")

TRIES = 6  # a deadlock or serialization failure is solved by one more try; six in a row is an outage
POOL = 16  # the intake was measured with 16 connections (engine.md)

_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # a 202 means "on disk" also when the power fails; the shared COMMIT makes it cheap
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",  # a statement's journal wants a temporary folder otherwise, and a read-only container has none
    "PRAGMA busy_timeout = 5000",  # milliseconds; only a command line on the same file is ever waited for
)
_POSTGRES_OPTIONS = (
    "-c lock_timeout=15000"  # milliseconds: longer than a stopped replica may hold a lock (transaction.IDLE); after that it is an outage
)


def _system_clock() -> datetime:
    return datetime.now(UTC)


class Database:
    """One database. Safe to use from any thread; closed once, at the end.

    `url` is `sqlite:///path/to/file`, or `postgresql://…` (also `postgres://…`). `clock` stands in for SQLite's time in tests;
    PostgreSQL always uses its own.

    Raises:
        AddressRefused: the URL cannot be used.
    """

    def __init__(self, *, url: str, clock: Callable[[], datetime] = _system_clock) -> None:
        self.url = _parsed(url)
        self.dialect: Literal["sqlite", "postgresql"] = "sqlite" if self.url.get_backend_name() == "sqlite" else "postgresql"
        self._writer: Writer | None = None
        self._pool: ThreadPoolExecutor | None = None
        if self.dialect == "sqlite":
            _make(self.file)
            self._writing = _sqlite(self.url, clock, begin="BEGIN IMMEDIATE")
            self._reading = _sqlite(self.url, clock, begin="BEGIN", only_reads=True)
            self._writer = Writer(self._writing)
        else:
            self._writing = _postgres(self.url)
            self._reading = self._writing.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            self._pool = ThreadPoolExecutor(max_workers=POOL, thread_name_prefix="muster-write")

    @property
    def file(self) -> Path:
        """SQLite's file.

        Raises:
            AddressRefused: this is PostgreSQL, which has none.
        """
        if self.url.database is None or self.dialect != "sqlite":
            raise AddressRefused("Only an SQLite database is a file.")
        return Path(self.url.database)

    def write(self, fn: Callable[[Tx], T], *, name: str = "write", ordered: bool = True) -> T:
        """Run `fn` in one transaction and return its result after COMMIT.

        `fn` does no I/O but its statements, and may run more than once. What it raises is raised here, and nothing is written.
        An `ordered` transaction is the only one at work, also across replicas, so what it reads stays true until it commits.
        `ordered=False` is for those that only append or claim (intake, `tasks.claim`). `name` names the kill points.

        Raises:
            StorageUnavailable: nothing was promised; it may be asked for again.
        """
        if self._writer is not None:
            written: Future[T] = self._writer.submit(fn, name=name)
            return written.result()
        return self._write_postgres(fn, name, ordered=ordered)

    def submit(self, fn: Callable[[Tx], T], *, name: str = "write", ordered: bool = True) -> Future[T]:
        """`write` without waiting; `asyncio.wrap_future` makes it awaitable. The future is answered after COMMIT."""
        if self._writer is not None:
            return self._writer.submit(fn, name=name)
        assert self._pool is not None
        return self._pool.submit(self._write_postgres, fn, name, ordered=ordered)

    def read(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` on one unchanging picture of the database, beside the writers. It cannot change anything.

        Raises:
            StorageUnavailable: the database cannot be reached.
        """
        try:
            with self._reading.connect() as connection, connection.begin():
                return fn(connection)
        except SQLAlchemyError as error:
            raise translated(error) from error

    def now(self) -> datetime:
        """The database's time: aware, UTC, to the microsecond."""
        return moment(self.read(lambda tx: int(tx.execute(select(now_of(tx))).scalar_one())))

    @contextmanager
    def serve_lock(self) -> Iterator[None]:
        """Be the one server on this file. PostgreSQL takes any number, so there it does nothing.

        Raises:
            LockedByAnother: another process serves it; the sentence names its process id.
        """
        if self.dialect == "postgresql":
            yield
            return
        handle = os.open(f"{self.file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _take(handle, self.file)
            yield
        finally:
            os.close(handle)

    def close(self) -> None:
        """Finish the writes that wait, then let go of every connection."""
        if self._writer is not None:
            self._writer.close()
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        self._writing.dispose()
        self._reading.dispose()

    def exclusive(self) -> Engine:
        """An engine whose connections write outside the one writer, for migrations alone."""
        return self._writing

    def _write_postgres(self, fn: Callable[[Tx], T], name: str, *, ordered: bool) -> T:
        for attempt in range(TRIES):
            try:
                with self._writing.connect() as connection, connection.begin():
                    if ordered:
                        hold_order(connection)
                    value = fn(connection)
                    killpoints.reach(f"{name}.before_commit")
                killpoints.reach(f"{name}.after_commit")
            except SQLAlchemyError as error:
                if not is_conflict(error) or attempt == TRIES - 1:
                    raise translated(error) from error
                time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - spreads rivals; nothing secret
            else:
                return value
        raise AssertionError("unreachable: the last attempt returns or raises")


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise AddressRefused("The database URL cannot be read; write sqlite:///muster.sqlite or postgresql://user@host/name.") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise AddressRefused("Muster needs an SQLite file: an in-memory database forgets. Write sqlite:///path/to/muster.sqlite.")
        return parsed.set(drivername="sqlite+pysqlite")
    if backend in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+psycopg")
    raise AddressRefused(f"Muster keeps its data in SQLite or PostgreSQL, not in {backend}.")


def _make(file: Path) -> None:
    """Make the file before SQLite does, so that only its owner can read what people wrote into incidents."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise AddressRefused(f"The database file {file} cannot be written: {error.strerror}. Check MUSTER_DATABASE_URL.") from error


def _sqlite(url: URL, clock: Callable[[], datetime], *, begin: str, only_reads: bool = False) -> Engine:
    engine = create_engine(url, pool_size=POOL, max_overflow=POOL, pool_timeout=10, execution_options={"muster_clock": clock})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # sqlite3 opens transactions at moments of its own choosing otherwise
        for pragma in (*_SQLITE_PRAGMAS, *(["PRAGMA query_only = ON"] if only_reads else [])):
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def _begin(connection: Tx) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _postgres(url: URL) -> Engine:
    try:
        return create_engine(
            url,
            pool_size=POOL,
            max_overflow=POOL,
            pool_timeout=10,
            pool_pre_ping=True,  # a restarted database must cost nobody an error
            connect_args={"options": _POSTGRES_OPTIONS, "connect_timeout": 5, "application_name": "muster"},
        )
    except ModuleNotFoundError as error:
        raise AddressRefused("PostgreSQL needs its driver: pip install 'muster[postgres]'.") from error


def _take(handle: int, file: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
        raise LockedByAnother(
            f"Muster already serves {file} (process {holder}). Stop that one first, or give this one another MUSTER_DATABASE_URL."
        ) from error
    except OSError as error:
        raise StorageUnavailable(f"{file}.lock cannot be locked: {error.strerror}.") from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
