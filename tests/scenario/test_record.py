"""The record, when somebody tampers with it or the database takes no row: the kill switch engages by itself (rules S16, S26)."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from bot.flows import auditing, escalate, pausing
from bot.flows.records import entry
from runbooks.timeline import OWN, EntryKind
from storage import ledger
from storage.errors import StorageError
from tests.conftest import PostgresServer
from tests.inside import ANA, BEN, EVA, INCIDENTS, Inside, inside, text_of
from tests.stack import Stack

pytestmark = [pytest.mark.slow]


def say(stack: Inside, line: str, user: str) -> None:
    """A line in the channel, as a person types it."""
    assert stack.post("workspace", "/client/message", {"user": user, "channel": INCIDENTS, "text": line})["ok"]


def paused(stack: Inside) -> str | None:
    """Why everything is stopped, if it is: in this process or for all."""
    found = stack.the.context.fuse.pause or stack.database.read(pausing.present)
    return found.reason if found else None


def engaged(stack: Inside) -> str:
    """Look until the kill switch has engaged; its reason."""

    def looked() -> str | None:
        auditing.watch(stack.the.context)
        return paused(stack)

    return str(stack.until(looked, what="the kill switch", patience=15))


def let_go(stack: Inside, user: str = BEN) -> None:
    """A person lets actions run again, once the record takes rows."""
    auditing.watch(stack.the.context)
    say(stack, "/muster resume", user)


@contextmanager
def refusing(stack: Inside) -> Iterator[None]:
    """A database that answers, and takes no row of the record."""
    with sqlite3.connect(stack.the.database.file) as connection:
        connection.execute("CREATE TRIGGER nothing_more BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'nothing more'); END")
    connection.close()
    yield
    with sqlite3.connect(stack.the.database.file) as connection:
        connection.execute("DROP TRIGGER nothing_more")
    connection.close()


def went_on(stack: Inside) -> None:
    """The pause stands on record with its own time, only a person with the right ends it, and then the action runs."""
    stack.until(lambda: own(stack, EntryKind.PAUSED), what="the owed row", patience=15)
    say(stack, "/muster resume", EVA)
    stack.until(lambda: own(stack, EntryKind.ATTEMPT_REFUSED), what="the refused attempt", patience=5)
    assert paused(stack)
    let_go(stack)
    stack.until(lambda: not paused(stack), what="the word of a person", patience=5)
    assert stack.chain_holds()


def own(stack: Inside, kind: EntryKind) -> list[Any]:
    """Entries of Muster's own record."""
    return stack.entries(OWN, kind=kind.value)


def test_s16_a_record_that_takes_no_row_stops_everything_but_pages(stack: Inside) -> None:
    """No row, no action: the click changes nothing; whoever is on duty is paged all the same, and that row is written afterwards."""
    stack.incident_with_card()
    view = stack.plan()
    with refusing(stack):
        stack.submit(view)
        reason = engaged(stack)
        assert "The record cannot be written" in reason
        assert "nothing more" in reason
        stack.the.clock.advance(400)
        escalate.sweep(stack.the.context)
        paged = stack.until(lambda: stack.direct(ANA), what="the page", patience=10)
        assert any("You are called" in str(one["blocks"]) for one in paged)
        assert not stack.entries(kind="page.sent")
        assert not [run for run in stack.runs() if run.started_at]
        assert stack.changes() == 0
    stack.settle()
    (row, *_) = stack.until(lambda: stack.entries(kind="page.sent"), what="the owed row", patience=15)
    assert "while the record could not be written" in row.summary
    calls = [one for one in stack.direct(ANA) if "You are called" in str(one["blocks"])]
    assert len(calls) == len(stack.entries(kind="page.sent"))
    stack.until(
        lambda: any("stopped all actions by itself" in one["text"] for one in stack.direct(BEN)), what="the admin's word", patience=10
    )
    went_on(stack)
    stack.close_views(ANA)
    stack.ran()


@contextmanager
def full_disk(stack: Inside) -> Iterator[None]:
    """SQLite's own limit of a file's size, set where the file ends now, on whichever connection writes."""
    engine = stack.the.database.exclusive()

    def limited(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # SQLite takes the present size, if that is larger

    event.listen(engine, "connect", limited)
    stack.the.database.write(lambda tx: tx.exec_driver_sql("PRAGMA max_page_count = 1").fetchall())
    yield
    event.remove(engine, "connect", limited)
    stack.the.database.write(lambda tx: tx.exec_driver_sql("PRAGMA max_page_count = 1073741823").fetchall())


def fill(stack: Inside) -> None:
    """Write until there is no room: large rows first, then small ones for what is left."""
    for size in (900, 1):
        note = entry(EntryKind.NOTE_ADDED, "x" * size, now=stack.the.clock.now())
        try:
            for _ in range(5000):
                stack.the.database.write(partial(ledger.record, incident_id=999, entries=[note], now=note.occurred_at))
        except StorageError:
            if size == 1:
                raise


def test_s16_a_full_disk_stops_everything(stack: Inside) -> None:
    """SQLite says that the disk is full: nothing starts, and when there is room again the pause stands until a person resumes."""
    stack.incident_with_card()
    view = stack.plan()
    stack.settle()
    with full_disk(stack):
        with pytest.raises(StorageError, match="full"):
            fill(stack)
        stack.submit(view)
        assert "The record cannot be written" in engaged(stack)
        assert not [run for run in stack.runs() if run.started_at]
    went_on(stack)
    assert stack.changes() == 0


def test_s16_postgresql_that_takes_no_row_stops_everything(ground: Stack, tmp_path: Path, postgres_server: PostgresServer) -> None:
    """A right that somebody took away in PostgreSQL does the same: nothing starts until it is back and a person has resumed."""
    url = postgres_server.create()
    postgres_server.run("DROP ROLE IF EXISTS muster_app")
    postgres_server.run("CREATE ROLE muster_app LOGIN SUPERUSER")
    with inside(ground, tmp_path, database_url=url.replace("//postgres:", "//muster_app:", 1)) as stack:
        stack.incident_with_card()
        view = stack.plan()
        denied = "CREATE FUNCTION denied() RETURNS trigger AS $$ BEGIN RAISE insufficient_privilege; END $$ LANGUAGE plpgsql"
        with stack.the.database.exclusive().begin() as tx:
            tx.execute(text(denied))
            tx.execute(text("CREATE TRIGGER denied BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION denied()"))
        stack.submit(view)
        assert "The record cannot be written" in engaged(stack)
        assert not [run for run in stack.runs() if run.started_at]
        with stack.the.database.exclusive().begin() as tx:
            tx.execute(text("DROP TRIGGER denied ON entries"))
        went_on(stack)
        stack.close_views(ANA)
        stack.ran()


def tampered(stack: Inside, *statements: str) -> None:
    """Change the file past its triggers, as somebody with access to the disk could."""
    with sqlite3.connect(stack.the.database.file) as connection:
        triggers = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ('entries', 'chain')"
        ).fetchall()
        for (name,) in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def found(stack: Inside, kept: str | None = None) -> dict[str, str]:
    """What the proof finds: reason by place."""
    report = stack.database.read(lambda tx: ledger.verify(tx, kept=kept))
    return {broken.place: broken.reason for broken in report.broken}


def test_s16_a_record_that_does_not_verify_stops_everything(stack: Inside) -> None:
    """A row that somebody changed engages the kill switch, with its name; a person who has seen it resumes, and only new breaks stop again."""
    stack.incident_with_card()
    assert auditing.verify(stack.the.context) == 0
    tampered(stack, "UPDATE entries SET summary = 'nothing happened' WHERE incident_id = 1 AND seq = 2")
    assert auditing.verify(stack.the.context) == 1
    assert paused(stack) == "The record does not verify: INC-1#2: text or payload was changed"
    view = stack.plan()
    assert not view.get("submit")
    assert "Muster paused all actions" in text_of(view)
    let_go(stack)
    stack.until(lambda: not paused(stack), what="the word of a person", patience=5)
    assert own(stack, EntryKind.RESUMED)[-1].payload["accepted"] == ["INC-1#2: text or payload was changed"]
    assert auditing.verify(stack.the.context) == 0
    assert not paused(stack)
    tampered(stack, "DELETE FROM entries WHERE incident_id = 1 AND seq = 1")
    assert auditing.verify(stack.the.context) == 1
    assert "INC-1#1: entry 1 is missing" in str(paused(stack))


CHANGES = {
    "changed text": (("UPDATE entries SET summary = 'all was well' WHERE incident_id = 1 AND seq = 3",), "INC-1#3", "text or payload was changed"),
    "changed actor": (("UPDATE entries SET kind = 'note.added' WHERE incident_id = 1 AND seq = 3",), "INC-1#3", "kind, time or actor was changed"),
    "removed": (("DELETE FROM entries WHERE incident_id = 1 AND seq = 3",), "INC-1#3", "entry 3 is missing"),
    "several removed": (("DELETE FROM entries WHERE incident_id = 1 AND seq IN (2, 3)",), "INC-1#2", "entries 2 to 3 are missing"),
    "reordered": (
        tuple(f"UPDATE entries SET seq = {new} WHERE incident_id = 1 AND seq = {old}" for old, new in ((2, 99), (3, 2), (99, 3))),
        "INC-1#2",
        "is entry 3, put in another place",
    ),
    "all removed": (("DELETE FROM entries WHERE incident_id = 1",), "INC-1#1", "entries 1 to "),
    "a link changed": (("UPDATE chain SET entries = entries + 1 WHERE position = 2",), "global chain, link 2", "a link of the global chain was changed"),
    "a link removed": (("DELETE FROM chain WHERE position = 2",), "global chain, link 2", "link 2 of the global chain is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("statements", "place", "reason"), CHANGES.values(), ids=CHANGES.keys())
def test_s26_every_kind_of_tampering_is_found_and_named(stack: Inside, statements: tuple[str, ...], place: str, reason: str) -> None:
    """Changed, removed, reordered: the proof names the row and what was done to it."""
    stack.incident_with_card()
    assert found(stack) == {}
    tampered(stack, *statements)
    assert [said for where, said in found(stack).items() if where.startswith(place)][0].startswith(reason)  # noqa: RUF015 - the first is what is said


def test_s26_a_tail_that_was_cut_is_named(stack: Inside) -> None:
    """Cut from the timeline alone, the global chain says from where to where it is gone."""
    stack.incident_with_card()
    stack.settle()
    last = stack.entries()[-1].seq
    tampered(stack, f"DELETE FROM entries WHERE incident_id = 1 AND seq > {last - 2}")
    assert found(stack) == {f"INC-1#{last - 1}": f"entries {last - 1} to {last} are missing"}


def test_s26_a_tail_cut_from_both_chains_shows_by_the_head_that_was_kept(stack: Inside) -> None:
    """What nobody can see in the file itself, the head that was printed before and kept elsewhere proves."""
    stack.incident_with_card()
    stack.settle()
    head = stack.database.read(ledger.head)
    with sqlite3.connect(stack.the.database.file) as connection:
        (position, before), *_ = connection.execute(
            "SELECT position, (SELECT max(seq) FROM chain AS c WHERE c.position < chain.position) FROM chain ORDER BY position DESC LIMIT 1"
        ).fetchall()
    connection.close()
    tampered(stack, f"DELETE FROM entries WHERE incident_id = 1 AND seq > {before}", f"DELETE FROM chain WHERE position = {position}")
    assert found(stack) == {}
    assert any("its tail was cut or rewritten" in reason for reason in found(stack, kept=head).values())
