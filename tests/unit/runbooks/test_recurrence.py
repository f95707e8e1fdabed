"""Windows that come again: by the wall clock of their zone, on the nights too on which the clocks change."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runbooks.recurrence import DayRule, Recurrence, Window, moment

ZONES = ["UTC", "Europe/Zurich", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca", "America/St_Johns"]
CLOCK = st.times(time(0), time(23, 59)).map(lambda clock: clock.replace(second=0, microsecond=0))
RULE = st.builds(DayRule, weekday=st.integers(0, 6), which=st.sampled_from([None, 1, 2, 3, 4, -1])) | st.just(DayRule())
RECURRENCE = st.builds(
    Recurrence,
    days=st.lists(RULE, min_size=1, max_size=3).map(tuple),
    from_=CLOCK,
    until=CLOCK,
    until_day=st.none() | st.integers(0, 6),
    zone=st.sampled_from(ZONES).map(ZoneInfo),
)
SUNDAY = (DayRule(weekday=6),)
SPRING = Recurrence(days=SUNDAY, from_=time(2, 30), until=time(5), zone=ZoneInfo("Europe/Zurich"))
AUTUMN = Recurrence(days=SUNDAY, from_=time(1), until=time(2, 30), zone=ZoneInfo("Europe/Zurich"))
WEEKEND = Recurrence(days=(DayRule.read("friday"),), from_=time(18), until=time(6), until_day=0, zone=ZoneInfo("Europe/Zurich"))


def at(text: str) -> datetime:
    """A UTC time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def recurrence(*days: str, start: str = "00:00", end: str = "00:00", zone: str = "Europe/Zurich") -> Recurrence:
    """The recurrence of these words."""
    rules = tuple(DayRule.read(day) for day in days)
    return Recurrence(days=rules, from_=time.fromisoformat(start), until=time.fromisoformat(end), zone=ZoneInfo(zone))


def shown_inside(one: Recurrence, now: datetime) -> bool:
    """The same question asked of nothing but the wall clock: does it show a time between a beginning and its end?"""
    wall = now.astimezone(one.zone).replace(tzinfo=None)
    for back in range(9):
        day = wall.date() - timedelta(days=back)
        if any(rule.falls_on(day) for rule in one.days):
            start, end = datetime.combine(day, one.from_), datetime.combine(day, one.until)
            while end <= start or (one.until_day is not None and end.weekday() != one.until_day):
                end += timedelta(days=1)
            if start <= wall < end:
                return True
    return False


@example(one=SPRING, on=date(2026, 3, 29), minute=60)
@example(one=AUTUMN, on=date(2026, 10, 25), minute=45)
@given(
    one=RECURRENCE,
    on=st.dates(date(2020, 1, 1), date(2035, 12, 31)) | st.sampled_from([date(2026, 3, 29), date(2026, 10, 25), date(2026, 3, 8)]),
    minute=st.integers(0, 1439),
)
def test_s9_a_window_is_open_when_the_wall_clock_shows_it(one: Recurrence, on: date, minute: int) -> None:
    """In every zone: never closed while the clock shows a time inside, and never open outside but in an hour that the clock shows twice."""
    now = datetime.combine(on, time(0), UTC) + timedelta(minutes=minute)
    local = now.astimezone(one.zone)
    twice = local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
    found = one.at(now)
    assert found is not None or not shown_inside(one, now)
    assert found is None or twice or shown_inside(one, now)
    assert found is None or found.from_at <= now < found.until_at


@given(RECURRENCE, st.dates(date(2020, 1, 1), date(2035, 1, 1)))
def test_s9_what_begins_next_is_open_from_its_beginning_to_its_end(one: Recurrence, on: date) -> None:
    """The next window is the one that is found at its own beginning and at its last second, and nothing is open just before and after it."""
    coming = one.upcoming(datetime.combine(on, time(12), UTC))
    if one.is_endless or coming is None:
        return
    second = timedelta(seconds=1)
    assert one.at(coming.from_at) == coming == one.at(coming.until_at - second)
    assert one.at(coming.from_at - second) is None
    assert one.at(coming.until_at) is None


def test_s9_the_night_on_which_the_clocks_change() -> None:
    """In spring what begins in the skipped hour begins at the jump; in autumn what ends in the doubled hour ends the second time."""
    zone = ZoneInfo("Europe/Zurich")
    assert moment(date(2026, 3, 29), time(2, 30), zone) == at("2026-03-29T01:00")
    assert moment(date(2026, 10, 25), time(2, 30), zone) == at("2026-10-25T00:30")
    assert moment(date(2026, 10, 25), time(2, 30), zone, late=True) == at("2026-10-25T01:30")
    assert moment(date(2011, 12, 30), time(12), ZoneInfo("Pacific/Apia")) == at("2011-12-30T10:00"), "a day that Samoa never had"
    winter, summer = WEEKEND.at(at("2026-01-17T12:00")), WEEKEND.at(at("2026-03-28T12:00"))
    assert winter == Window(from_at=at("2026-01-16T17:00"), until_at=at("2026-01-19T05:00"))
    assert summer == Window(from_at=at("2026-03-27T17:00"), until_at=at("2026-03-30T04:00")), "an hour shorter"


@pytest.mark.parametrize(
    ("days", "now", "begins"),
    [
        (("first sunday",), "2026-11-02T00:00", "2026-12-05T23:00"),
        (("last friday",), "2026-11-02T00:00", "2026-11-26T23:00"),
        (("second tuesday",), "2026-11-09T00:00", "2026-11-09T23:00"),
        (("Sat", "sun"), "2026-11-20T12:00", "2026-11-20T23:00"),
        (("fourth monday", "wed"), "2026-11-19T12:00", "2026-11-22T23:00"),
    ],
)
def test_s9_days_are_said_as_people_say_them(days: tuple[str, ...], now: str, begins: str) -> None:
    """Weekdays by name or three letters, and the first, second, third, fourth or last of a month."""
    coming = recurrence(*days).upcoming(at(now))
    assert coming is not None
    assert coming.from_at == at(begins)


def test_s9_windows_that_touch_are_one() -> None:
    """Saturday and Sunday are one freeze with one beginning and one end, so that its end is said truly; every day has no end."""
    both = recurrence("saturday", "sunday").at(at("2026-11-21T12:00"))
    assert both == Window(from_at=at("2026-11-20T23:00"), until_at=at("2026-11-22T23:00"))
    assert recurrence("day").is_endless
    assert not recurrence("day", end="23:59").is_endless
    assert not recurrence("saturday", "sunday").is_endless


@pytest.mark.parametrize("text", ["", "someday", "fifth monday", "first day", "the first monday", "mo", "7"])
def test_s9_what_is_no_day_is_refused(text: str) -> None:
    """What is no day says so, with what may be written."""
    with pytest.raises(ValueError, match="is no day; write day, friday, first sunday or last friday"):
        DayRule.read(text)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (WEEKEND, "every Friday 18:00 until Monday 06:00 Europe/Zurich"),
        (recurrence("sat", "sun"), "every Saturday and Sunday 00:00 until midnight Europe/Zurich"),
        (recurrence("first tuesday", start="22:00", end="04:00"), "every first Tuesday 22:00 until 04:00 the next day Europe/Zurich"),
        (recurrence("day", start="08:00", end="09:30", zone="UTC"), "every day 08:00 until 09:30 UTC"),
    ],
)
def test_s9_a_recurrence_in_words(one: Recurrence, words: str) -> None:
    """What `muster check` shows is what somebody would say."""
    assert str(one) == words
