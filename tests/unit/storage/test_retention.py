"""Retention: old things go, in batches, and nothing that is still needed."""

from datetime import timedelta

import pytest

from runbooks.alert import AlertStatus
from runbooks.people import MUSTER
from runbooks.timeline import EntryKind, NewEntry
from storage import alerts, inbox, killpoints, ledger, retention, seen, tasks
from storage.alerts import AlertRow
from storage.database import Database
from storage.tasks import NewTask
from tests.remembering import NOW

LATER = NOW + timedelta(days=10_000)


def test_what_is_old_and_over_goes_and_the_rest_stays(database: Database) -> None:
    """After a sweep far in the future only what waits, holds or belongs to the record is left; a second sweep finds nothing."""

    def fill(tx):
        tasks.enqueue(tx, *(NewTask(key=f"t{number}", kind="x") for number in range(3)))
        done = tasks.claim(tx, 2, 60)
        for task in done:
            tasks.settle(tx, task)
        for number in range(2):
            inbox.append(tx, source="s", raw=b"", alerts_json=b"[]", count=number + 1, received_at=NOW)
        inbox.done(tx, [inbox.take(tx, 1)[0].id], NOW)
        seen.first(tx, "Ev1", NOW)
        facts = {"source": "s", "incident_id": 1, "first_at": NOW, "last_at": NOW, "starts_at": NOW}
        alerts.save(tx, [AlertRow(fingerprint=status.value, status=status, **facts) for status in AlertStatus])
        ledger.record(tx, 1, [NewEntry(kind=EntryKind.NOTE_ADDED, occurred_at=NOW, actor=MUSTER, summary="kept")], NOW)

    database.write(fill)
    assert retention.sweep(database, LATER) == {"tasks": 2, "inbox": 1, "seen": 1, "alerts": 1, "changes": 0}
    assert set(retention.sweep(database, LATER).values()) == {0}
    assert (database.read(inbox.waiting), database.read(tasks.backlog).open) == (2, 1)
    assert [found.status for found in database.read(lambda tx: alerts.of_incident(tx, 1))] == [AlertStatus.FIRING]
    assert database.read(ledger.verify).entries == 1


def test_what_is_young_stays(database: Database) -> None:
    """Nothing goes before its time."""
    database.write(lambda tx: seen.first(tx, "Ev1", NOW))
    assert retention.sweep(database, NOW + timedelta(days=6))["seen"] == 0
    assert retention.sweep(database, NOW + timedelta(days=8))["seen"] == 1


def test_a_large_purge_is_many_small_transactions(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes meanwhile waits for one batch, not for all of it."""
    monkeypatch.setattr(retention, "BATCH", 10)
    database.write(lambda tx: [seen.first(tx, f"Ev{number}", NOW) for number in range(35)])
    commits = []
    killpoints.arm(commits.append)
    assert retention.sweep(database, LATER)["seen"] == 35
    # four batches of `seen`, and one look at each of the four empty tables
    assert commits.count("retention.after_commit") == 8
