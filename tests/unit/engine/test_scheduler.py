"""The calendar: every slot once, whatever happens meanwhile."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from bot.engine.scheduler import Spec, Ticker, declare, fire_due, next_slot, slot_name
from storage import schedules
from storage.database import Database, Tx
from storage.schedules import Schedule

BERLIN = "Europe/Berlin"
NIGHTLY = Spec(kind="nightly", fields={"hour": "2", "minute": "30"}, zone=BERLIN)
QUARTERLY = Spec(kind="plan", fields={"month": "1,4,7,10", "day": "1", "hour": "0", "minute": "0"}, zone=BERLIN)
MONDAYS = Spec(kind="weekly", fields={"day_of_week": "mon", "hour": "9", "minute": "0"}, zone="UTC")
START = datetime(2026, 1, 1, 0, 0, tzinfo=UTC)


def slots(database: Database, name: str) -> list[str]:
    """The slots of a schedule that became a task, in order."""
    query = text("SELECT key FROM tasks WHERE key LIKE :like ORDER BY key")
    found = database.read(lambda tx: list(tx.execute(query, {"like": f"sched:{name}:%"}).scalars()))
    return [key.removeprefix(f"sched:{name}:") for key in found]


def put(database: Database, name: str, spec: Spec, *, now: datetime) -> None:
    """Declare a schedule, as every start does."""
    database.write(lambda tx: declare(tx, name, spec, now=now))


def fire(database: Database, *, now: datetime) -> int:
    """One sweep."""
    return database.write(lambda tx: fire_due(tx, now=now))


def days(first: datetime, last: datetime, zone: str) -> Iterator[str]:
    """Local dates from one to the other."""
    day, end = first.astimezone(ZoneInfo(zone)).date(), last.astimezone(ZoneInfo(zone)).date()
    while day <= end:
        yield day.isoformat()
        day += timedelta(days=1)


def test_a_slot_becomes_one_task_with_its_time(database: Database) -> None:
    """Not before its time, once at it, and the schedule then stands at the next slot."""
    put(database, "n", NIGHTLY, now=START)
    assert fire(database, now=datetime(2026, 1, 1, 1, 29, 59, tzinfo=UTC)) == 0
    assert fire(database, now=datetime(2026, 1, 1, 1, 30, tzinfo=UTC)) == 1
    assert fire(database, now=datetime(2026, 1, 1, 1, 31, tzinfo=UTC)) == 0
    assert slots(database, "n") == ["2026-01-01T02:30"]
    standing = database.read(lambda tx: schedules.get(tx, "n"))
    assert standing is not None
    assert standing.next_at == datetime(2026, 1, 2, 1, 30, tzinfo=UTC)


def test_several_replicas_fire_a_slot_once(database: Database) -> None:
    """Four sweeps at the same moment: one of them inserts the task, the others find that it has."""
    put(database, "n", NIGHTLY, now=START)
    ready, fired = threading.Barrier(4), []

    def replica() -> None:
        for day in range(1, 8):
            ready.wait(timeout=20)
            fired.append(fire(database, now=datetime(2026, 1, day, 1, 30, tzinfo=UTC)))

    threads = [threading.Thread(target=replica) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert Counter(fired) == {1: 7, 0: 21}
    assert slots(database, "n") == [f"2026-01-0{day}T02:30" for day in range(1, 8)]


def test_replicas_that_see_the_same_slot_at_once_fire_it_once(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have read that it is due before either has written: one advances the schedule, the other finds it moved on and fires nothing.

    Ordered transactions never get so far; the compare-and-set must hold without that.
    """
    both, real = threading.Barrier(2), schedules.due

    def due(tx: Tx, now: datetime) -> list[Schedule]:
        found = real(tx, now)
        both.wait(timeout=20)
        return found

    replicas = [Database(url=postgres_url) for _ in range(2)]
    put(replicas[0], "n", NIGHTLY, now=START)
    monkeypatch.setattr(schedules, "due", due)
    with ThreadPoolExecutor(2) as pool:
        at = START + timedelta(hours=3)
        fired = list(pool.map(lambda replica: replica.write(lambda tx: fire_due(tx, now=at), ordered=False), replicas))
    assert sorted(fired) == [0, 1]
    assert slots(replicas[0], "n") == ["2026-01-01T02:30"]
    for replica in replicas:
        replica.close()


@pytest.mark.parametrize("down", [0, 1, 5])
def test_slots_missed_while_all_were_down_are_one(database: Database, down: int) -> None:
    """After downtime over none, one or many slots the latest fires once, late, and the next is in the future; a restart loses none."""
    put(database, "n", NIGHTLY, now=START)
    back = START + timedelta(days=down, hours=1)
    put(database, "n", NIGHTLY, now=back)
    assert fire(database, now=back) == (1 if down else 0)
    assert slots(database, "n") == ([f"2026-01-0{down}T02:30"] if down else [])
    assert fire(database, now=back + timedelta(days=1)) == 1


@pytest.mark.parametrize(
    ("night", "expected"),
    [("2026-10-25", ["2026-10-25T02:30"]), ("2026-03-29", ["2026-03-29T03:30"])],
)
def test_a_night_on_which_the_clocks_change_has_one_slot(database: Database, night: str, expected: list[str]) -> None:
    """02:30 comes twice in October and is one slot; it does not come in March and is made up for an hour later. Ticked every ten minutes."""
    now = datetime.fromisoformat(night).replace(tzinfo=UTC) - timedelta(hours=2)
    put(database, "n", NIGHTLY, now=now)
    for _ in range(6 * 12):
        now += timedelta(minutes=10)
        fire(database, now=now)
    assert slots(database, "n") == expected


def test_names_of_days_mean_what_they_say() -> None:
    """`mon` is a Monday, whatever number cron gives it."""
    slot = next_slot(MONDAYS.fields, zone="UTC", after=START)
    assert (slot.weekday(), slot.hour) == (0, 9)


def test_a_year_with_restarts_has_every_slot_once(database: Database) -> None:
    """Driven forward in uneven steps of less than a day, restarted again and again by two replicas: each night once, each quarter once."""
    now, step = START - timedelta(hours=3), 0
    end = START + timedelta(days=366)
    for name, spec in (("n", NIGHTLY), ("q", QUARTERLY), ("m", MONDAYS)):
        put(database, name, spec, now=now)
    while now < end:
        step += 1
        now += timedelta(hours=7 + step * 5 % 16)
        if step % 9 == 0:
            for name, spec in (("n", NIGHTLY), ("q", QUARTERLY), ("m", MONDAYS)):
                put(database, name, spec, now=now)
        fire(database, now=now)
        fire(database, now=now)
    nights = [slot[:10] for slot in slots(database, "n")]
    assert nights[:365] == list(days(START, START + timedelta(days=364), BERLIN))
    assert len(nights) == len(set(nights))
    assert slots(database, "q")[:4] == ["2026-01-01T00:00", "2026-04-01T00:00", "2026-07-01T00:00", "2026-10-01T00:00"]
    assert [datetime.fromisoformat(slot).weekday() for slot in slots(database, "m")] == [0] * len(slots(database, "m"))
    assert len(slots(database, "m")) in {52, 53}


@given(st.lists(st.integers(1, 200), min_size=1, max_size=15))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_long_the_steps_no_slot_fires_twice_or_early(database: Database, steps: list[int]) -> None:
    """Each sweep fires at most the one latest slot that has come, always a real one, always later than the one before."""
    name = f"p{len(database.read(schedules.every))}"
    now = START
    put(database, name, NIGHTLY, now=now)
    for hours in steps:
        before, now = slots(database, name), now + timedelta(hours=hours)
        fire(database, now=now)
        after = slots(database, name)
        assert after[: len(before)] == before
        assert len(after) - len(before) <= 1
        if after:
            slot = datetime.fromisoformat(after[-1]).replace(tzinfo=ZoneInfo(BERLIN))
            assert now - timedelta(hours=max(hours, 26)) <= slot.astimezone(UTC) <= now or after == before
    put(database, name, NIGHTLY, now=now)
    standing = database.read(lambda tx: schedules.get(tx, name))
    assert standing is not None
    assert standing.next_at > now


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - the strategy adds the zone
    st.sampled_from([BERLIN, "UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
)
def test_the_next_slot_is_later_and_has_the_right_name(after: datetime, zone: str) -> None:
    """Strictly later, within a day and an hour, and named by the local wall clock."""
    slot = next_slot(NIGHTLY.fields, zone=zone, after=after)
    assert timedelta(0) < slot - after <= timedelta(hours=25)
    assert slot_name(slot, zone=zone) == slot.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%dT%H:%M")


def test_a_calendar_that_never_comes_is_refused() -> None:
    """The 30th of February is an error when it is declared, not a silence for ever."""
    with pytest.raises(ValueError, match="no date"):
        next_slot({"month": "2", "day": "30"}, zone="UTC", after=START)


def test_a_sweep_that_fails_goes_on_being_called() -> None:
    """One sweep's errors end neither itself nor the others."""
    turns, others, enough = [], [], threading.Event()

    def fails() -> None:
        turns.append(1)
        raise RuntimeError("a mistake of ours")

    def works() -> None:
        others.append(1)
        if len(turns) >= 3 and len(others) >= 3:
            enough.set()

    ticker = Ticker(sweeps={"fails": (0.05, fails), "works": (0.05, works)})
    ticker.start()
    try:
        assert enough.wait(20)
    finally:
        ticker.stop()
