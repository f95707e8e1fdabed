"""Transactions: what is answered is kept, what fails leaves nothing."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
from sqlalchemy import text

from runbooks.errors import NotFound
from storage import killpoints, migrations, switches
from storage.database import Database
from storage.errors import (
    AddressRefused,
    LockedByAnother,
    StatementRefused,
    StorageUnavailable,
    Taken,
    WriteInsideWrite,
)


def test_a_write_is_read_back(database: Database) -> None:
    """What `write` returned from is there for everybody."""
    database.write(lambda tx: switches.put(tx, "pause", {"by": "ana"}))
    assert database.read(lambda tx: switches.get(tx, "pause")) == {"by": "ana"}


def test_a_failed_write_leaves_nothing(database: Database) -> None:
    """An error of the function is the caller's, and none of its statements stay."""

    def fails(tx):
        switches.put(tx, "pause", 1)
        raise NotFound("no such thing")

    with pytest.raises(NotFound, match="no such thing"):
        database.write(fails)
    assert database.read(lambda tx: switches.get(tx, "pause")) is None


def test_a_failed_write_does_not_touch_its_neighbours(database: Database) -> None:
    """Of many writes at once, those that fail leave nothing and all others stand."""

    def put(number):
        def fn(tx):
            switches.put(tx, f"n{number}", number)
            if number % 3 == 0:
                raise ValueError(number)

        return fn

    futures = [database.submit(put(number)) for number in range(60)]
    failed = [number for number, future in enumerate(futures) if future.exception() is not None]
    assert failed == list(range(0, 60, 3))
    assert set(database.read(switches.every)) == {f"n{number}" for number in range(60) if number % 3}


def test_a_group_shares_one_commit(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that wait while one is at work are committed with it, and nobody of them is answered before that."""
    monkeypatch.setattr("storage.writer.PATIENCE", 10)
    database = Database(url=sqlite_url)
    held, go, points = threading.Event(), threading.Event(), []
    killpoints.arm(points.append)

    def slow(tx):
        held.set()
        go.wait(10)

    first = database.submit(slow, name="first")
    assert held.wait(10)
    rest = [database.submit(lambda tx: None, name="rest") for _ in range(5)]
    go.set()
    for future in [first, *rest]:
        future.result(10)
    database.close()
    assert points == ["first.before_commit", *["rest.before_commit"] * 5, "first.after_commit", *["rest.after_commit"] * 5]


def test_nobody_is_answered_before_the_commit(database: Database) -> None:
    """When the answer's kill point before COMMIT is reached, the caller still waits and nobody else sees the change."""
    seen = []
    future: Future[None] = Future()

    def look(point):
        if point == "inbox.before_commit":
            seen.append((future.done(), database.read(lambda tx: switches.get(tx, "x"))))

    killpoints.arm(look)
    database.submit(lambda tx: switches.put(tx, "x", 1), name="inbox").add_done_callback(lambda _: future.set_result(None))
    future.result(10)
    assert seen == [(False, None)]


def test_submit_is_awaitable(database: Database) -> None:
    """The asynchronous intake can wait for the COMMIT without a thread of its own."""

    async def accept():
        return await asyncio.wrap_future(database.submit(lambda tx: switches.put(tx, "x", 1) or "kept"))

    assert asyncio.run(accept()) == "kept"


def test_a_read_cannot_write(database: Database) -> None:
    """A function handed to `read` changes nothing, whatever it tries."""
    with pytest.raises((StorageUnavailable, StatementRefused)):
        database.read(lambda tx: switches.put(tx, "x", 1))
    assert database.read(lambda tx: switches.get(tx, "x")) is None


def test_a_read_sees_one_picture(database: Database) -> None:
    """What is committed between two statements of one read is not seen by the second."""

    def look(tx):
        before = switches.get(tx, "x")
        database.write(lambda other: switches.put(other, "x", 1))
        return before, switches.get(tx, "x")

    assert database.read(look) == (None, None)


def test_ordered_writes_never_overlap(database: Database) -> None:
    """Many threads that each read, then write one more, lose no count: on both databases one ordered write is at work at a time."""

    def more(tx):
        switches.put(tx, "n", (switches.get(tx, "n") or 0) + 1)

    threads = [threading.Thread(target=lambda: [database.write(more) for _ in range(10)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert database.read(lambda tx: switches.get(tx, "n")) == 80


def test_a_deadlock_is_tried_again(postgres_url: str) -> None:
    """Two unordered transactions that lock two rows crosswise both succeed."""
    database = Database(url=postgres_url)
    database.write(lambda tx: (switches.put(tx, "a", 0), switches.put(tx, "b", 0)))
    meet = threading.Barrier(2)

    def crosswise(first, second):
        tries = iter([True])

        def fn(tx):
            tx.execute(text("UPDATE switches SET value = 'x' || value WHERE name = :n"), {"n": first})
            if next(tries, False):
                meet.wait(10)
            tx.execute(text("UPDATE switches SET value = 'y' || value WHERE name = :n"), {"n": second})

        return fn

    futures = [database.submit(crosswise(*names), ordered=False) for names in (("a", "b"), ("b", "a"))]
    for future in futures:
        future.result(30)
    rows = database.read(lambda tx: sorted(len(value) for value in tx.execute(text("SELECT value FROM switches")).scalars()))
    database.close()
    assert rows == [3, 3]


def test_a_write_inside_a_write_is_refused(sqlite_url: str) -> None:
    """A function that asks the one writer to write waits for nobody: it is told at once."""
    database = Database(url=sqlite_url)
    with pytest.raises(WriteInsideWrite):
        database.write(lambda tx: database.write(lambda inner: None))
    database.close()


def test_a_closed_database_says_so(sqlite_url: str) -> None:
    """After `close`, a write is refused as unavailable; what waited before it was finished."""
    database = Database(url=sqlite_url)
    futures = [database.submit(lambda tx: 7) for _ in range(20)]
    database.close()
    assert [future.result(0) for future in futures] == [7] * 20
    with pytest.raises(StorageUnavailable, match="stopping"):
        database.write(lambda tx: None)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://", "in-memory"),
        ("sqlite:///:memory:", "in-memory"),
        ("mysql://host/name", "not in mysql"),
        ("nonsense", "cannot be read"),
    ],
)
def test_a_useless_address_is_refused(url: str, words: str) -> None:
    """A URL that cannot work is refused with what to write instead."""
    with pytest.raises(AddressRefused, match=words):
        Database(url=url)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_each_way_to_write_postgres_is_taken(postgres_url: str, scheme: str) -> None:
    """All three spellings that providers print are the same database."""
    database = Database(url=postgres_url.replace("postgresql", scheme, 1))
    assert database.dialect == "postgresql"
    assert database.now().tzinfo is not None
    database.close()


def test_a_second_server_on_one_file_is_refused(sqlite_url: str) -> None:
    """A second process that wants to serve the file is told who has it, and may once the first is gone."""
    program = (
        "import sys; from storage.database import Database\n"
        f"with Database(url={sqlite_url!r}).serve_lock(): print('have', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "have\n"
        database = Database(url=sqlite_url)
        with pytest.raises(LockedByAnother, match=f"process {other.pid}"), database.serve_lock():
            pass
    finally:
        other.kill()
        other.communicate()
    with database.serve_lock():
        assert (database.file.parent / "muster.sqlite.lock").read_text() == f"{os.getpid()}\n"
    database.close()


def test_a_lock_of_the_file_is_an_outage(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When somebody else holds the file's write lock for too long, the answer is "unavailable" and the writer works on afterwards."""
    monkeypatch.setattr("storage.database._SQLITE_PRAGMAS", ("PRAGMA busy_timeout = 50",))
    database = Database(url=sqlite_url)
    other = sqlite3.connect(database.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable, match="locked"):
        database.write(lambda tx: switches.put(tx, "x", 1))
    other.execute("ROLLBACK")
    other.close()
    database.write(lambda tx: switches.put(tx, "x", 2))
    assert database.read(lambda tx: switches.get(tx, "x")) == 2
    database.close()


def test_a_full_disk_fails_the_whole_group_and_nothing_after_it(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the file cannot grow, everybody in the group hears "unavailable", nothing of it stays, and small writes go on."""
    monkeypatch.setattr("storage.writer.PATIENCE", 10)
    database = Database(url=sqlite_url)
    pages = database.write(lambda tx: tx.exec_driver_sql("PRAGMA page_count").scalar_one())
    database.write(lambda tx: tx.exec_driver_sql(f"PRAGMA max_page_count = {pages + 1}").scalar_one())
    go = threading.Event()
    database.submit(lambda tx: go.wait(10))
    group = [
        database.submit(lambda tx: switches.put(tx, "neighbour", 1)),
        database.submit(lambda tx: switches.put(tx, "big", "x" * 1_000_000)),
    ]
    go.set()
    for future in group:
        with pytest.raises(StorageUnavailable, match="full"):
            future.result(10)
    database.write(lambda tx: switches.put(tx, "small", 1))
    assert database.read(switches.every) == {"small": 1}
    database.close()


def test_a_lost_connection_costs_one_answer(postgres_url: str) -> None:
    """When PostgreSQL ends a session in the middle of a write, the caller hears "unavailable" and the next write succeeds."""
    database = Database(url=postgres_url)

    def dies(tx):
        switches.put(tx, "x", 1)
        tx.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(StorageUnavailable):
        database.write(dies)
    database.write(lambda tx: switches.put(tx, "y", 2))
    assert database.read(switches.every) == {"y": 2}
    database.close()


def test_a_stopped_replica_does_not_stop_the_others(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is paused inside an ordered transaction loses it, so that the others go on; it writes nothing when it wakes."""
    monkeypatch.setattr("storage.transaction.IDLE", 200)
    paused, other = Database(url=postgres_url), Database(url=postgres_url)
    inside, wake = threading.Event(), threading.Event()

    def stops(tx):
        switches.put(tx, "x", "paused")
        inside.set()
        wake.wait(20)
        switches.put(tx, "y", "paused")

    future = paused.submit(stops)
    assert inside.wait(10)
    other.write(lambda tx: switches.put(tx, "x", "other"))
    wake.set()
    with pytest.raises(StorageUnavailable):
        future.result(20)
    assert other.read(switches.every) == {"x": "other"}
    paused.close()
    other.close()


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    """What people write into incidents is not for every account of the machine, the write-ahead log included."""
    database = Database(url=f"sqlite:///{tmp_path}/deep/muster.sqlite")
    migrations.ready(database)
    modes = {file.name: file.stat().st_mode & 0o777 for file in database.file.parent.iterdir()}
    database.close()
    assert set(modes.values()) == {0o600}
    assert "muster.sqlite-wal" in modes


def test_a_file_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A path that leads nowhere is refused with the name of the setting."""
    (tmp_path / "file").touch()
    with pytest.raises(AddressRefused, match="MUSTER_DATABASE_URL"):
        Database(url=f"sqlite:///{tmp_path}/file/muster.sqlite")


def test_an_unreachable_server_is_an_outage() -> None:
    """A server that does not answer is "unavailable" for reads, writes and the clock, in our words."""
    database = Database(url="postgresql://nobody@127.0.0.1:1/none")
    for call in (lambda: database.write(lambda tx: None), lambda: database.read(lambda tx: None), database.now):
        with pytest.raises(StorageUnavailable):
            call()
    database.close()


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELECT * FROM no_such_table", StatementRefused),
        ("INSERT INTO switches (name, value) VALUES ('a', '1'), ('a', '2')", Taken),
        ("INSERT INTO switches (name, value) VALUES (NULL, NULL)", Taken),
        ("INSERT INTO", StatementRefused),
        ("not even SQL", StatementRefused),
        ("SELECT CAST(9223372036854775807 AS BIGINT) + CAST(:x AS BIGINT)", StatementRefused),
    ],
)
def test_a_foreign_error_becomes_ours(database: Database, statement: str, error: type[Exception]) -> None:
    """Whatever the database refuses reaches callers as an error of this room, from reads and writes alike."""
    values = {"x": 1} if ":x" in statement else {}
    if ":x" in statement and database.dialect == "sqlite":
        pytest.skip("SQLite computes on in floating point")
    with pytest.raises(error):
        database.write(lambda tx: tx.execute(text(statement), values).all())
    if not statement.startswith("INSERT"):
        with pytest.raises(error):
            database.read(lambda tx: tx.execute(text(statement), values).all())
