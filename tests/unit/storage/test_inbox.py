"""The inbox: whole requests, oldest first, one replica at a time."""

from datetime import UTC, datetime, timedelta

from runbooks.alert import Alert, AlertStatus
from storage import inbox
from storage.database import Database

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)


def alert(fingerprint: str, **more) -> Alert:
    return Alert(source="alertmanager", fingerprint=fingerprint, status=AlertStatus.FIRING, starts_at=NOW, **more)


def append(database: Database, *alerts: Alert, at: datetime = NOW, raw: bytes = b"{}") -> None:
    packed = inbox.packed(alerts)
    database.write(
        lambda tx: inbox.append(tx, source="alertmanager", raw=raw, alerts_json=packed, count=len(alerts), received_at=at),
        name="inbox",
        ordered=False,
    )


def take(database: Database, limit: int):
    return database.write(lambda tx: inbox.take(tx, limit))


def test_a_request_comes_back_as_it_was_accepted(database: Database) -> None:
    """Raw bytes, alerts and time are what was accepted, whatever the bytes are."""
    one = alert("a", labels={"text": "nul \x00 ✓"})
    append(database, one, raw=b"\x00\xff not json")
    (received,) = take(database, 100)
    assert (received.source, received.raw, received.alerts(), received.received_at) == ("alertmanager", b"\x00\xff not json", (one,), NOW)


def test_whole_requests_are_taken_oldest_first_up_to_the_limit(database: Database) -> None:
    """As many whole requests as hold `limit` alerts together, and at least one, however big it is."""
    for size in (3, 4, 5, 20, 1):
        append(database, *(alert(f"{size}.{number}") for number in range(size)))
    assert [request.count for request in take(database, 8)] == [3, 4]
    first = take(database, 12)
    assert [request.count for request in first] == [3, 4, 5]
    database.write(lambda tx: inbox.done(tx, [request.id for request in first], NOW))
    assert [request.count for request in take(database, 8)] == [20]


def test_what_is_done_is_not_taken_again(database: Database) -> None:
    """Done requests are out of the count and of the way; the oldest that waits is known."""
    append(database, alert("a"), at=NOW)
    append(database, alert("b"), alert("c"), at=NOW + timedelta(seconds=1))
    assert (database.read(inbox.waiting), database.read(inbox.oldest_waiting)) == (3, NOW)
    (first,) = take(database, 1)
    database.write(lambda tx: inbox.done(tx, [first.id], NOW))
    assert (database.read(inbox.waiting), database.read(inbox.oldest_waiting)) == (2, NOW + timedelta(seconds=1))


def test_a_request_that_cannot_be_folded_is_set_aside_and_shown(database: Database) -> None:
    """A poisonous request stops nobody behind it, and its reason can be read."""
    append(database, alert("a"))
    append(database, alert("b"))
    (bad,) = take(database, 1)
    database.write(lambda tx: inbox.set_aside(tx, [bad.id], NOW, "label \x00 is bad"))
    assert [request.alerts()[0].fingerprint for request in take(database, 10)] == ["b"]
    assert database.read(inbox.refused) == [(bad.id, "alertmanager", "label \ufffd is bad")]


def test_an_empty_inbox_gives_nothing(database: Database) -> None:
    """No request, no alert, no oldest."""
    assert take(database, 10) == []
    assert (database.read(inbox.waiting), database.read(inbox.oldest_waiting)) == (0, None)


def test_one_replica_triages_at_a_time(postgres_url: str) -> None:
    """While one replica's triage is at work another gets nothing, and afterwards only what is left."""
    one, two = Database(url=postgres_url), Database(url=postgres_url)
    append(one, alert("a"))

    def triage(tx):
        mine = inbox.take(tx, 10)
        theirs = two.write(lambda other: inbox.take(other, 10), ordered=False)
        inbox.done(tx, [request.id for request in mine], NOW)
        return len(mine), len(theirs)

    assert one.write(triage, ordered=False) == (1, 0)
    assert take(two, 10) == []
    one.close()
    two.close()


def test_old_requests_are_forgotten_only_when_done(database: Database) -> None:
    """Retention deletes what was folded long ago, in batches, and never what waits."""
    for name in "abc":
        append(database, alert(name), at=NOW - timedelta(days=90))
    done = take(database, 2)
    database.write(lambda tx: inbox.done(tx, [request.id for request in done], NOW - timedelta(days=60)))
    before = NOW - timedelta(days=30)
    assert [database.write(lambda tx: inbox.purge(tx, before, 1)) for _ in range(3)] == [1, 1, 0]
    assert database.read(inbox.waiting) == 1
