"""Business days and quarters, in any time zone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks.calendar import add_business_days, business_moment, is_business_day, quarter_end, quarter_of, quarter_start

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Kiritimati", "America/St_Johns"]
ZONE = st.sampled_from(ZONES)
AT = st.datetimes(datetime(2020, 1, 1), datetime(2035, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds the zone
HOLIDAYS = st.frozensets(st.dates(date(2020, 1, 1), date(2036, 1, 31)).map(str), max_size=20)


def at(text: str) -> datetime:
    """A UTC time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "days", "holidays", "due"),
    [
        ("2026-11-20T10:00", 5, (), "2026-11-27T16:00"),  # a Friday: Monday is the first day
        ("2026-11-20T10:00", 1, (), "2026-11-23T16:00"),
        ("2026-11-20T10:00", 0, (), "2026-11-23T16:00"),
        ("2026-11-21T10:00", 1, (), "2026-11-23T16:00"),  # a Saturday
        ("2026-12-23T10:00", 2, ("2026-12-24", "2026-12-25"), "2026-12-29T16:00"),
        ("2026-11-19T23:30", 1, (), "2026-11-23T16:00"),  # already Friday in Berlin
        ("2026-03-27T10:00", 1, (), "2026-03-30T15:00"),  # summer time begins on Sunday: 17:00 is an hour earlier in UTC
        ("2026-10-23T10:00", 1, (), "2026-10-26T16:00"),  # and ends
    ],
)
def test_business_days_in_berlin(start: str, days: int, holidays: tuple[str, ...], due: str) -> None:
    """So many business days after the local day, at 17:00 of the wall clock; weekends, holidays and summer time reckoned with."""
    assert add_business_days(at(start), days, zone="Europe/Berlin", holidays=holidays) == at(due)


@given(AT, st.integers(0, 30), ZONE, HOLIDAYS, st.integers(4, 23))
def test_a_due_time_is_on_a_business_day_with_the_right_number_before_it(
    start: datetime, days: int, zone: str, holidays: frozenset[str], hour: int
) -> None:
    """The local day is a business day, exactly `days` of them (at least one) lie after the start's day, and the wall clock shows the hour."""
    due = add_business_days(start, days, zone=zone, holidays=holidays, hour=hour)
    local, first = due.astimezone(ZoneInfo(zone)), start.astimezone(ZoneInfo(zone)).date()
    between = [first + timedelta(days=count) for count in range(1, (local.date() - first).days + 1)]
    assert sum(is_business_day(day, holidays) for day in between) == max(days, 1)
    assert is_business_day(local.date(), holidays)
    assert (local.hour, local.minute) == (hour, 0)
    assert due.tzinfo == ZoneInfo("UTC")
    assert due > start


@given(AT, ZONE, HOLIDAYS, st.integers(4, 23))
def test_a_business_moment_is_the_first_at_or_after_the_day(start: datetime, zone: str, holidays: frozenset[str], hour: int) -> None:
    """It is on the local day itself if that is a business day, else on the first after it, at that hour of the wall clock."""
    local = business_moment(start, zone=zone, hour=hour, holidays=holidays).astimezone(ZoneInfo(zone))
    day = start.astimezone(ZoneInfo(zone)).date()
    passed = [day + timedelta(days=count) for count in range((local.date() - day).days)]
    assert is_business_day(local.date(), holidays)
    assert not any(is_business_day(one, holidays) for one in passed)
    assert local.hour == hour


@given(AT, ZONE)
def test_quarters_meet_without_gap_or_overlap(moment: datetime, zone: str) -> None:
    """Every moment is in exactly one quarter: from its start to its end, which is the next one's start, and all of it has one name."""
    start, end = quarter_start(moment, zone=zone), quarter_end(moment, zone=zone)
    assert start <= moment < end
    assert quarter_start(end, zone=zone) == end
    assert quarter_of(start, zone=zone) == quarter_of(moment, zone=zone) == quarter_of(end - timedelta(microseconds=1), zone=zone)
    assert quarter_of(end, zone=zone) != quarter_of(moment, zone=zone)
    assert timedelta(days=89) < end - start < timedelta(days=93)


@pytest.mark.parametrize(
    ("moment", "zone", "name"),
    [
        ("2026-12-31T23:30", "UTC", "2026-Q4"),
        ("2026-12-31T23:30", "Europe/Berlin", "2027-Q1"),
        ("2027-01-01T04:30", "America/New_York", "2026-Q4"),
        ("2026-03-31T23:59", "UTC", "2026-Q1"),
        ("2026-04-01T00:00", "UTC", "2026-Q2"),
    ],
)
def test_the_edge_of_a_quarter_is_the_local_midnight(moment: str, zone: str, name: str) -> None:
    """The name is by local date."""
    assert quarter_of(at(moment), zone=zone) == name
