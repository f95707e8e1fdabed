"""Business days and quarters."""

from collections.abc import Container
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

SATURDAY = 5


def is_business_day(day: date, holidays: Container[str] = frozenset()) -> bool:
    """Monday to Friday, and not among `holidays` (ISO dates)."""
    return day.weekday() < SATURDAY and day.isoformat() not in holidays


def add_business_days(start: datetime, days: int, *, zone: str, holidays: Container[str] = frozenset(), hour: int = 17) -> datetime:
    """`hour` o'clock local time, `days` business days after the local day of `start`; for 0 the next business day's."""
    day = start.astimezone(ZoneInfo(zone)).date()
    left = max(days, 1)
    while left:
        day += timedelta(days=1)
        left -= is_business_day(day, holidays)
    return datetime.combine(day, time(hour), ZoneInfo(zone)).astimezone(ZoneInfo("UTC"))


def quarter_of(at: datetime, *, zone: str = "UTC") -> str:
    """The quarter's name, such as 2026-Q4, by local date."""
    day = at.astimezone(ZoneInfo(zone)).date()
    return f"{day.year}-Q{(day.month - 1) // 3 + 1}"


def quarter_start(at: datetime, *, zone: str = "UTC") -> datetime:
    """The first moment of the local quarter that `at` is in."""
    day = at.astimezone(ZoneInfo(zone)).date()
    first = date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
    return datetime.combine(first, time(0), ZoneInfo(zone)).astimezone(ZoneInfo("UTC"))


def quarter_end(at: datetime, *, zone: str = "UTC") -> datetime:
    """The first moment of the local quarter after the one that `at` is in."""
    start = quarter_start(at, zone=zone).astimezone(ZoneInfo(zone)).date()
    month = start.month + 3
    following = date(start.year + (month > 12), (month - 1) % 12 + 1, 1)
    return datetime.combine(following, time(0), ZoneInfo(zone)).astimezone(ZoneInfo("UTC"))


def business_moment(at: datetime, *, zone: str, hour: int, holidays: Container[str] = frozenset()) -> datetime:
    """`hour` o'clock on the local day of `at`, or on the first business day after it."""
    day = at.astimezone(ZoneInfo(zone)).date()
    while not is_business_day(day, holidays):
        day += timedelta(days=1)
    return datetime.combine(day, time(hour), ZoneInfo(zone)).astimezone(ZoneInfo("UTC"))
