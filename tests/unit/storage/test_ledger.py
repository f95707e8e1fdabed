"""The ledger: append-only, chained, and any tampering shows."""

import json
import re
import shutil
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from runbooks.errors import NotFound
from runbooks.people import MUSTER, Actor, ActorKind
from runbooks.timeline import GENESIS, EntryKind, NewEntry
from storage import ledger, migrations, switches, timeline
from storage.database import Database
from storage.errors import AppendOnly

NOW = datetime(2026, 11, 20, 2, 0, 0, 123456, tzinfo=UTC)
ANA = Actor(kind=ActorKind.PERSON, id="ana", slack_id="U1", via="slack")


def note(summary: str = "p99 is back", **payload) -> NewEntry:
    return NewEntry(kind=EntryKind.NOTE_ADDED, occurred_at=NOW - timedelta(seconds=5), actor=ANA, summary=summary, payload=payload)


def record(database: Database, incident_id: int, *entries: NewEntry):
    return database.write(lambda tx: ledger.record(tx, incident_id, entries, NOW))


def verify(database: Database, **more):
    return database.read(lambda tx: ledger.verify(tx, **more))


def spoiled(database: Database, change: str) -> None:
    """Somebody with the owner's rights goes around the triggers."""
    off = "ALTER TABLE entries DISABLE TRIGGER USER" if database.dialect == "postgresql" else "DROP TRIGGER entries_delete"
    for statement in (off, change):
        database.write(lambda tx, statement=statement: tx.exec_driver_sql(statement))


def test_what_is_recorded_is_read_back(database: Database) -> None:
    """Entries come back exactly as `record` returned them, both clocks to the microsecond, counted from 1 in each incident."""
    written = record(database, 1, note("first", value=0.31), note("second")) + record(database, 1, note("third"))
    other = record(database, 2, note("elsewhere"))
    assert database.read(lambda tx: timeline.of(tx, 1)) == written
    assert [entry.seq for entry in written] == [1, 2, 3]
    assert [entry.seq for entry in other] == [1]
    assert (written[0].recorded_at, written[0].occurred_at) == (NOW, NOW - timedelta(seconds=5))
    assert database.read(lambda tx: timeline.get(tx, 1, 2)).summary == "second"
    assert database.read(lambda tx: timeline.of_kind(tx, 1, EntryKind.CORRECTION)) == []


def test_an_honest_record_verifies(database: Database) -> None:
    """The report counts incidents and entries and prints the head, which is part of every later record."""
    assert verify(database) == ledger.Report(ok=True, incidents=0, entries=0, head=GENESIS, broken=())
    record(database, 1, note(), note())
    first = verify(database)
    assert (first.ok, first.incidents, first.entries) == (True, 1, 2)
    record(database, 2, note())
    assert verify(database, kept=first.head).ok
    assert database.read(ledger.head) == verify(database).head
    assert [(head.incident_id, head.seq) for head in database.read(ledger.heads)] == [(1, 2), (2, 1)]


def test_nothing_to_record_writes_nothing(database: Database) -> None:
    """An empty list leaves the chain as it is."""
    assert record(database, 1) == []
    assert verify(database).head == GENESIS


def test_a_rolled_back_change_leaves_no_entry(database: Database) -> None:
    """Change and entry are one transaction: when the change fails, the record knows nothing of it."""

    def fails(tx):
        switches.put(tx, "pause", True)
        ledger.record(tx, 1, [note()], NOW)
        raise NotFound("no such run")

    with pytest.raises(NotFound):
        database.write(fails)
    assert verify(database).entries == 0


def test_hostile_text_is_kept_and_verifies(database: Database) -> None:
    """NUL, half surrogates, numbers as keys and values that JSON does not know neither break the write nor the chain."""
    hostile = {"a\x00b": "\ud800", "n": [1, 2.5, float("inf")], "at": NOW, "deep": {"2": 1, "10": [None, True]}, "numbers": {2: 1, 10: 2}}
    stranger = Actor(kind=ActorKind.SOURCE, id="so\x00urce \ud800", slack_id="U\udfff")
    record(database, 1, note("x\x00\udfff<!channel>", **hostile).model_copy(update={"actor": stranger}))
    (entry,) = database.read(lambda tx: timeline.of(tx, 1))
    assert "\x00" not in entry.summary
    assert (entry.actor.id, entry.actor.slack_id) == ("so\ufffdurce \ufffd", "U\ufffd")
    assert entry.payload["numbers"] == {"2": 1, "10": 2}
    assert verify(database).ok


def test_an_entry_can_be_erased_and_the_chain_still_verifies(database: Database) -> None:
    """Text and payload go for ever, the entry's place, time and kind stay; twice is once; an unknown entry is not found."""
    record(database, 1, note("customer@example.org called", mail="customer@example.org"), note())
    for _ in range(2):
        erased = database.write(lambda tx: timeline.erase(tx, 1, 1))
    assert (erased.erased, erased.summary, erased.payload, erased.kind) == (True, "", {}, EntryKind.NOTE_ADDED)
    assert verify(database).ok
    assert "customer@example.org" not in json.dumps([e.model_dump(mode="json") for e in database.read(lambda tx: timeline.of(tx, 1))])
    with pytest.raises(NotFound, match="INC-1#9"):
        database.write(lambda tx: timeline.erase(tx, 1, 9))


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries",
        "DELETE FROM chain",
        "UPDATE entries SET summary = 'nothing happened'",
        "UPDATE entries SET erased = 1",
        "UPDATE entries SET erased = 1, summary = NULL, payload = NULL, occurred_at = 0",
        "UPDATE entries SET erased = 1, summary = NULL, payload = NULL, kind = 'correction'",
        "UPDATE entries SET erased = 1, summary = NULL, payload = NULL, hash = 'x'",
        "UPDATE chain SET head = 'x'",
        "TRUNCATE entries",
        "TRUNCATE chain",
    ],
)
def test_the_database_itself_refuses_to_change_the_record(database: Database, statement: str) -> None:
    """Whoever holds the connection can add to the record and erase an entry's text, and nothing else."""
    if statement.startswith("TRUNCATE") and database.dialect == "sqlite":
        pytest.skip("SQLite has no TRUNCATE")
    record(database, 1, note())
    with pytest.raises(AppendOnly, match="only be added to"):
        database.write(lambda tx: tx.execute(text(statement)))
    assert verify(database).ok
    assert database.read(lambda tx: timeline.of(tx, 1))[0].summary == "p99 is back"


def test_replicas_that_record_at_once_make_one_chain(postgres_url: str) -> None:
    """Three replicas that record into the same and other incidents leave whole chains without gaps."""
    replicas = [Database(url=postgres_url) for _ in range(3)]

    def work(replica: Database, own: int) -> None:
        for number in range(10):
            record(replica, 1, note(f"{own}.{number}"))
            record(replica, own, note())

    threads = [threading.Thread(target=work, args=(replica, place + 2)) for place, replica in enumerate(replicas)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    report = verify(replicas[0])
    for replica in replicas:
        replica.close()
    assert (report.ok, report.incidents, report.entries) == (True, 4, 60)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with three incidents whose triggers somebody has dropped."""
    folder = tmp_path_factory.mktemp("honest")
    database = Database(url=f"sqlite:///{folder}/muster.sqlite")
    migrations.ready(database)
    for round_ in range(3):
        for incident_id in (1, 2, 3):
            record(database, incident_id, note(f"{round_}a"), note(f"{round_}b"))
    database.write(lambda tx: timeline.erase(tx, 2, 2))
    assert verify(database).ok
    for name in ("entries_update", "entries_delete", "chain_update", "chain_delete"):
        database.write(lambda tx, name=name: tx.exec_driver_sql(f"DROP TRIGGER {name}"))
    database.close()
    with sqlite3.connect(database.file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return database.file


def tampered(honest: Path, folder: Path, *statements: str, kept: bool = False):
    """The report on a copy of the honest file after these statements."""
    copy = folder / "copy.sqlite"
    shutil.copy(honest, copy)
    database = Database(url=f"sqlite:///{copy}")
    head = database.read(ledger.head)
    for statement in statements:
        database.write(lambda tx, statement=statement: tx.exec_driver_sql(statement))
    report = verify(database, kept=head if kept else None)
    database.close()
    for leftover in folder.glob("copy.sqlite*"):
        leftover.unlink()
    return report


ENTRY_SPOILERS = {
    "kind": "'correction'",
    "occurred_at": "occurred_at + 1",
    "recorded_at": "recorded_at - 1",
    "actor": """'{"kind": "person", "id": "bob", "slack_id": "U1", "via": "slack"}'""",
    "summary": "'nothing happened'",
    "payload": """'{"x": 1}'""",
    "digest": "'0'",
    "previous": "'0'",
    "hash": "'0'",
}
CHAIN_SPOILERS = {
    "incident_id": "incident_id + 1",
    "seq": "seq + 1",
    "head": "'0'",
    "entries": "entries + 1",
    "recorded_at": "recorded_at + 1",
    "previous": "'0'",
    "hash": "'0'",
}


@settings(max_examples=40, deadline=None)
@given(incident=st.integers(1, 3), seq=st.integers(1, 6), column=st.sampled_from(sorted(ENTRY_SPOILERS)))
def test_any_changed_column_of_any_entry_shows(honest, tmp_path_factory, incident: int, seq: int, column: str) -> None:
    """Whatever is changed in whichever entry, the report names that entry."""
    if (incident, seq) == (2, 2) and column in {"summary", "payload"}:
        column = "kind"  # the erased one has neither; filling it again has its own test
    change = f"UPDATE entries SET {column} = {ENTRY_SPOILERS[column]} WHERE incident_id = {incident} AND seq = {seq}"
    report = tampered(honest, tmp_path_factory.mktemp("x"), change)
    assert not report.ok
    assert (incident, seq) in {(broken.incident_id, broken.seq) for broken in report.broken}


@settings(max_examples=20, deadline=None)
@given(position=st.integers(1, 9), column=st.sampled_from(sorted(CHAIN_SPOILERS)))
def test_any_changed_column_of_the_global_chain_shows(honest, tmp_path_factory, position: int, column: str) -> None:
    """Whatever is changed in whichever link, the report names that link."""
    change = f"UPDATE chain SET {column} = {CHAIN_SPOILERS[column]} WHERE position = {position}"
    report = tampered(honest, tmp_path_factory.mktemp("x"), change)
    assert (ledger.GLOBAL, position) in {(broken.incident_id, broken.seq) for broken in report.broken}


@settings(max_examples=25, deadline=None)
@given(incident=st.integers(1, 3), first=st.integers(1, 6), last=st.integers(1, 6))
def test_any_removed_stretch_shows(honest, tmp_path_factory, incident: int, first: int, last: int) -> None:
    """A removed beginning, middle or tail of an incident, or all of it, is named as missing."""
    first, last = min(first, last), max(first, last)
    report = tampered(
        honest, tmp_path_factory.mktemp("x"), f"DELETE FROM entries WHERE incident_id = {incident} AND seq BETWEEN {first} AND {last}"
    )
    missing = [broken for broken in report.broken if broken.incident_id == incident and "missing" in broken.reason]
    assert missing
    assert all(first <= broken.seq <= 6 for broken in missing)


@settings(max_examples=15, deadline=None)
@given(incident=st.integers(1, 3), pair=st.lists(st.integers(1, 6), min_size=2, max_size=2, unique=True))
def test_any_two_entries_in_another_order_show(honest, tmp_path_factory, incident: int, pair: list[int]) -> None:
    """Two entries that changed places are found, though each of them is whole."""
    one, two = pair
    moves = [
        f"UPDATE entries SET seq = {new} WHERE incident_id = {incident} AND seq = {old}" for old, new in ((one, 99), (two, one), (99, two))
    ]
    report = tampered(honest, tmp_path_factory.mktemp("x"), *moves)
    assert {broken.seq for broken in report.broken if broken.incident_id == incident} & {one, two}


def test_a_tail_cut_off_both_chains_shows_against_a_kept_head(honest: Path, tmp_path: Path) -> None:
    """Who removes the last entries and their links together leaves whole chains; only the head that was kept elsewhere tells."""
    cut = ("DELETE FROM entries WHERE incident_id = 3 AND seq > 4", "DELETE FROM chain WHERE position = 9")
    assert tampered(honest, tmp_path, *cut).ok
    (broken,) = tampered(honest, tmp_path, *cut, kept=True).broken
    assert broken.place == "global chain"
    assert re.fullmatch(
        r"the head that was kept \([0-9a-f]{12}…\) is not in the global chain: its tail was cut or rewritten", broken.reason
    )


def test_a_lost_head_is_the_same_break_however_long_the_chain_grows(database: Database) -> None:
    """What a person let stand is known again after more was recorded, and another lost head is another break."""
    record(database, 1, note())
    before = verify(database, kept="a" * 64).broken
    record(database, 1, note())
    assert verify(database, kept="a" * 64).broken == before != verify(database, kept="b" * 64).broken


@pytest.mark.parametrize(
    ("cut", "hole"),
    [
        ("seq > 2", (3, "entries 3 to 5 are missing")),
        ("seq > 0", (1, "entries 1 to 5 are missing")),
        ("seq = 5", (5, "entry 5 is missing")),
    ],
    ids=["tail", "all", "last"],
)
def test_what_was_cut_is_the_same_break_however_long_the_chain_grows(database: Database, cut: str, hole: tuple[int, str]) -> None:
    """Entries cut away with their links left are one hole: their numbers are not given again, and what follows them holds."""
    for _ in range(5):
        record(database, 1, note())
    record(database, 2, note())
    spoiled(database, f"DELETE FROM entries WHERE incident_id = 1 AND {cut}")
    for grown in range(3):
        assert [(one.incident_id, one.seq, one.reason) for one in verify(database).broken] == [(1, *hole)]
        (written,) = record(database, 1, note())
        assert written.seq == 6 + grown


def test_a_removed_link_shows(honest: Path, tmp_path: Path) -> None:
    """A link missing from the middle of the global chain is named."""
    report = tampered(honest, tmp_path, "DELETE FROM chain WHERE position = 4")
    assert (ledger.GLOBAL, 4, "link 4 of the global chain is missing") in {(b.incident_id, b.seq, b.reason) for b in report.broken}


def test_entries_slipped_in_behind_the_head_show(honest: Path, tmp_path: Path) -> None:
    """An entry that the global chain does not know is named, even where the incident's own chain is whole."""
    report = tampered(honest, tmp_path, "DELETE FROM chain WHERE position > 6")
    assert {(b.incident_id, b.seq) for b in report.broken if "unknown" in b.reason} == {(i, s) for i in (1, 2, 3) for s in (5, 6)}


def test_an_erased_entry_that_is_filled_again_shows(honest: Path, tmp_path: Path) -> None:
    """Erased is erased: new text in an erased entry is found although no digest guards it."""
    report = tampered(honest, tmp_path, "UPDATE entries SET summary = 'all was well' WHERE incident_id = 2 AND seq = 2")
    assert [(b.incident_id, b.seq, b.reason) for b in report.broken] == [(2, 2, "was filled again after it had been erased")]


def test_a_row_that_is_no_entry_is_named_and_stops_nothing(honest: Path, tmp_path: Path) -> None:
    """Rubbish in a row is reported; the other incidents are still checked."""
    report = tampered(honest, tmp_path, "UPDATE entries SET actor = 'rubbish' WHERE incident_id = 1 AND seq = 3")
    assert (1, 3) in {(b.incident_id, b.seq) for b in report.broken}
    assert report.entries == 18


def test_muster_is_an_actor(database: Database) -> None:
    """What Muster does by itself is recorded under its own name."""
    record(database, 1, NewEntry(kind=EntryKind.CARD_POSTED, occurred_at=NOW, actor=MUSTER, summary="card"))
    assert database.read(lambda tx: timeline.of(tx, 1))[0].actor == MUSTER
