"""Evidence in the database: kept whole, for good, provable, and erasable by law."""

import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from sqlalchemy import text

from runbooks.errors import NotFound
from runbooks.evidence import Piece, Snapshot, digest, grouped, sealed
from storage import evidence, killpoints, retention
from storage.database import Database
from storage.errors import AppendOnly, Unreadable
from tests.remembering import MINUTE, NOW

PROMPT, LOG = "Wie baue ich … \x00 ✓".encode(), b"\xff\x00 not even text"


def taken(*bodies: bytes, at=NOW, name="unsafe-answers", service="answers", environment="production") -> tuple[Snapshot, dict[str, bytes]]:
    """A snapshot of these bodies, and the bodies by digest."""
    pieces = [Piece(source=f"s{number}", sha256=digest(body), size=len(body)) for number, body in enumerate(bodies)]
    found = sealed(name=name, environment=environment, service=service, taken_at=at, pieces=pieces, missing={"log": "It is silent."})
    return found, {digest(body): body for body in bodies}


def kept(database: Database, *bodies: bytes, **more) -> Snapshot:
    """A snapshot that stands in the database."""
    found, by_digest = taken(*bodies, **more)
    evidence.Vault(database).keep(found, by_digest)
    return found


def test_what_is_kept_reads_back_byte_for_byte(database: Database) -> None:
    """Snapshot and pieces come back as they were given, whatever bytes they are, and keeping them again changes nothing."""
    snapshot, bodies = taken(PROMPT, LOG, b"")
    for _ in range(2):
        evidence.Vault(database).keep(snapshot, bodies)
    assert database.read(lambda tx: evidence.get(tx, grouped(snapshot.sha256))) == snapshot
    assert [database.read(lambda tx, one=one: evidence.body(tx, one.sha256)) for one in snapshot.pieces] == [PROMPT, LOG, b""]
    assert database.read(lambda tx: list(evidence.damaged(tx))) == []
    assert snapshot.size == len(PROMPT) + len(LOG)


def test_every_replica_finds_the_newest(database: Database) -> None:
    """The newest snapshot of a name, environment and service is found from anywhere; another's and an older one are not."""
    old, new = kept(database, b"1"), kept(database, b"2", at=NOW + MINUTE)
    kept(database, b"3", at=NOW + 2 * MINUTE, service="summaries")
    kept(database, b"4", at=NOW + 2 * MINUTE, environment="staging")
    kept(database, b"5", at=NOW + 2 * MINUTE, name="other", service=None, environment=None)
    other = Database(url=database.url.render_as_string(hide_password=False)) if database.dialect == "postgresql" else database
    ask = {"name": "unsafe-answers", "environment": "production", "service": "answers"}
    assert evidence.Vault(other).latest(**ask, since=NOW) == new
    assert evidence.Vault(other).latest(**ask, since=NOW + 2 * MINUTE) is None
    assert evidence.Vault(other).latest(name="other", environment=None, service=None, since=NOW) is not None
    assert database.read(lambda tx: evidence.between(tx, NOW, NOW + MINUTE)) == [old, new]
    if other is not database:
        other.close()


def test_retention_never_takes_evidence(database: Database) -> None:
    """However old, evidence stays, and no sweep names its tables."""
    snapshot = kept(database, PROMPT)
    swept = retention.sweep(database, NOW + timedelta(days=100_000))
    assert not {name for name in swept if "evidence" in name}
    assert database.read(lambda tx: evidence.body(tx, snapshot.pieces[0].sha256)) == PROMPT


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM evidence", "DELETE FROM evidence_pieces", "UPDATE evidence SET name = 'x'", "UPDATE evidence SET manifest = '{}'",
        "UPDATE evidence_pieces SET size = 1", "UPDATE evidence_pieces SET body = NULL", "UPDATE evidence_pieces SET erased = 1",
        "UPDATE evidence_pieces SET sha256 = 'x', body = NULL, erased = 1",
    ],
)  # fmt: skip
def test_nobody_changes_or_removes_evidence(statement: str, database: Database) -> None:
    """The database itself refuses whatever is not erasing by law."""
    snapshot = kept(database, PROMPT)
    with pytest.raises(AppendOnly):
        database.write(lambda tx: tx.execute(text(statement)))
    assert database.read(lambda tx: evidence.get(tx, snapshot.sha256)) == snapshot
    assert database.read(lambda tx: list(evidence.damaged(tx))) == []


def test_the_law_can_have_a_piece_erased(database: Database) -> None:
    """An erased piece is gone from every snapshot for ever, twice is once, keeping it again does not bring it back; all digests still hold."""
    first, second = kept(database, PROMPT, LOG), kept(database, PROMPT, at=NOW + MINUTE)
    piece = first.pieces[0].sha256
    for _ in range(2):
        database.write(lambda tx: evidence.erase(tx, grouped(piece)))
    kept(database, PROMPT, at=NOW + 2 * MINUTE)
    assert database.read(lambda tx: evidence.body(tx, piece)) is None
    assert database.read(lambda tx: evidence.body(tx, first.pieces[1].sha256)) == LOG
    assert [database.read(lambda tx, one=one: evidence.get(tx, one.sha256)) for one in (first, second)] == [first, second]
    assert database.read(lambda tx: list(evidence.damaged(tx))) == []
    with pytest.raises(NotFound):
        database.write(lambda tx: evidence.erase(tx, "0" * 64))


def test_evidence_that_was_changed_is_named(sqlite_url: str) -> None:
    """Whoever goes around the triggers is found: changed bytes, a changed snapshot, a removed piece."""
    database = Database(url=sqlite_url)
    first, second, third = kept(database, PROMPT), kept(database, LOG, at=NOW + MINUTE), kept(database, b"x", at=NOW + 2 * MINUTE)

    def forge(tx):
        for name in ("evidence_update", "evidence_pieces_update", "evidence_pieces_delete"):
            tx.execute(text(f"DROP TRIGGER {name}"))
        tx.execute(text("UPDATE evidence_pieces SET body = :b WHERE sha256 = :s"), {"b": b"harmless", "s": first.pieces[0].sha256})
        tx.execute(text("UPDATE evidence SET manifest = replace(manifest, 'answers', 'nothing') WHERE sha256 = :s"), {"s": second.sha256})
        tx.execute(text("DELETE FROM evidence_pieces WHERE sha256 = :s"), {"s": third.pieces[0].sha256})

    database.write(forge)
    found = {one.sha256 for one in database.read(lambda tx: list(evidence.damaged(tx)))}
    assert found == {first.pieces[0].sha256, second.sha256, third.sha256}
    with pytest.raises(Unreadable, match="was changed"):
        database.read(lambda tx: evidence.body(tx, first.pieces[0].sha256))
    database.close()


def test_what_is_not_sealed_is_not_kept(database: Database) -> None:
    """A snapshot whose digest is not its own, or whose bytes are others, is refused whole."""
    snapshot, bodies = taken(PROMPT, LOG)
    for wrong, given in ((snapshot.model_copy(update={"name": "x"}), bodies), (snapshot, {}), (snapshot, dict.fromkeys(bodies, b"y"))):
        with pytest.raises(ValueError, match=r"digest|sealed"):
            evidence.Vault(database).keep(wrong, given)
    assert database.read(lambda tx: evidence.between(tx, NOW - MINUTE, NOW + MINUTE)) == []


@pytest.mark.crash
@pytest.mark.parametrize("point", ["evidence.before_commit", "evidence.after_commit"])
def test_a_kill_leaves_all_of_it_or_nothing(point: str, database: Database) -> None:
    """`kill -9` before the commit leaves no trace, after it everything."""
    url = database.url.render_as_string(hide_password=False)
    program = (
        "import os, signal, sys; sys.path.insert(0, '.')\n"
        "from storage import evidence, killpoints; from storage.database import Database\n"
        "from tests.unit.storage.test_evidence import LOG, PROMPT, kept\n"
        f"killpoints.arm(lambda point: os.kill(os.getpid(), signal.SIGKILL) if point == {point!r} else None)\n"
        f"kept(Database(url={url!r}), PROMPT, LOG)"
    )
    if database.dialect == "sqlite":
        database.close()
    died = subprocess.run([sys.executable, "-c", program], check=False, env=os.environ, timeout=60, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    again = Database(url=url)
    snapshots = again.read(lambda tx: evidence.between(tx, NOW, NOW))
    assert len(snapshots) == (point == "evidence.after_commit")
    assert [again.read(lambda tx, one=one: evidence.body(tx, one.sha256)) for found in snapshots for one in found.pieces] == [PROMPT, LOG][
        : 2 * len(snapshots)
    ]
    assert again.read(lambda tx: list(evidence.damaged(tx))) == []
    again.close()


def test_the_kill_points_are_those_of_the_write(database: Database) -> None:
    """The points at which the kill test kills are really passed."""
    seen: list[str] = []
    killpoints.arm(seen.append)
    kept(database, PROMPT)
    assert {"evidence.before_commit", "evidence.after_commit"} <= set(seen)
