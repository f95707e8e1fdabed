"""What is known of alerts: one row for each alert and incident."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from runbooks.alert import AlertStatus
from storage import alerts
from storage.alerts import AlertRow
from storage.database import Database
from storage.transaction import micros, moment

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)


def row(fingerprint: str = "a", incident_id: int | None = 1, **more) -> AlertRow:
    known = {"source": "s", "status": AlertStatus.FIRING, "first_at": NOW, "last_at": NOW, "starts_at": NOW} | more
    return AlertRow(fingerprint=fingerprint, incident_id=incident_id, **known)


def test_a_row_comes_back_as_it_was_saved(database: Database) -> None:
    """Every field survives, times to the microsecond, hostile text too."""
    full = row(
        ends_at=NOW + timedelta(microseconds=1),
        count=7,
        title="p99 \x00",
        labels={"a": "\x00✓😀"},
        annotations={"b": "c"},
        link="https://x",
        upstream={"id": "P1"},
        flips=(NOW, NOW + timedelta(seconds=1)),
    )
    database.write(lambda tx: alerts.save(tx, [full]))
    assert database.read(lambda tx: alerts.known(tx, [full.key])) == {full.key: full}
    assert database.read(lambda tx: alerts.of_incident(tx, 1)) == [full]


def test_half_a_character_is_replaced(database: Database) -> None:
    """A label with half a surrogate pair is kept with U+FFFD in its place, and can be read."""
    database.write(lambda tx: alerts.save(tx, [row(labels={"a": "\ud800x"})]))
    assert database.read(lambda tx: alerts.of_incident(tx, 1))[0].labels == {"a": "\ufffdx"}


def test_saving_again_replaces(database: Database) -> None:
    """The same alert in the same incident is one row; the last of a batch wins."""
    database.write(lambda tx: alerts.save(tx, [row(), row(count=2)]))
    database.write(lambda tx: alerts.save(tx, [row(count=3, status=AlertStatus.RESOLVED)]))
    assert [(found.count, found.status) for found in database.read(lambda tx: alerts.of_incident(tx, 1))] == [(3, AlertStatus.RESOLVED)]


def test_an_alert_is_known_by_its_latest_incident_and_stays_in_the_earlier_one(database: Database) -> None:
    """When an alert fires again after its incident, the new incident has it, and the old one's card can still be drawn."""
    database.write(lambda tx: alerts.save(tx, [row(incident_id=None), row(incident_id=1), row(incident_id=2)]))
    assert database.read(lambda tx: alerts.known(tx, [("s", "a")]))["s", "a"].incident_id == 2
    assert len(database.read(lambda tx: alerts.of_incident(tx, 1))) == 1


def test_thousands_are_found_at_once(database: Database) -> None:
    """More keys than one statement takes are found, and only those that exist."""
    many = [row(f"f{number}") for number in range(1300)]
    database.write(lambda tx: alerts.save(tx, many))
    keys = [found.key for found in many] + [("s", "unknown"), ("other", "f1")]
    assert database.read(lambda tx: alerts.known(tx, keys)) == {found.key: found for found in many}


def test_firing_is_counted(database: Database) -> None:
    """An incident knows how many of its alerts hold, and how many there are."""
    database.write(lambda tx: alerts.save(tx, [row("a"), row("b"), replace(row("c"), status=AlertStatus.RESOLVED), row("d", 2)]))
    assert database.read(lambda tx: alerts.firing(tx, 1)) == 2
    assert database.read(lambda tx: alerts.tally(tx, 1)) == (2, 3)


def test_only_old_resolved_alerts_are_forgotten(database: Database) -> None:
    """Retention never forgets an alert that still holds."""
    old = NOW - timedelta(days=500)
    database.write(lambda tx: alerts.save(tx, [row("a", last_at=old), row("b", last_at=old, status=AlertStatus.RESOLVED), row("c")]))
    assert database.write(lambda tx: alerts.purge(tx, NOW - timedelta(days=400))) == 1
    assert {found.fingerprint for found in database.read(lambda tx: alerts.of_incident(tx, 1))} == {"a", "c"}


@given(st.datetimes(timezones=st.timezones()))
def test_times_are_kept_to_the_microsecond(when: datetime) -> None:
    """Any aware time comes back as the same moment, in UTC."""
    try:
        expected = when.astimezone(UTC)
    except OverflowError:
        return
    assert moment(micros(when)) == expected
