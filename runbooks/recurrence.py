"""Windows that come again: on these days, from one time of day until another, by the clocks of one time zone.

What counts is what the wall clock shows. A time that the clocks skip in spring is the moment at which they jump; of a time that they show
twice in autumn, a window takes both: it begins at the first and ends at the second.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}

_REACH = 43
"""Days to either side of a moment that are looked at: more than lie between two "last Friday", and a window's length besides."""

_ENDLESS = timedelta(days=35)
"""Windows that run into one another for so long leave no gap: five weeks hold every first, second, third, fourth and last day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRule:
    """Some days: every one, every weekday of this name, or the first (… last) of the month. `weekday` counts from Monday, 0."""

    weekday: int | None = None
    which: int | None = None

    @classmethod
    def read(cls, text: str) -> "DayRule":
        """`day`, `friday`, `fri`, `first sunday` or `last friday`.

        Raises:
            ValueError: it is none of these.
        """
        *ordinal, name = text.lower().split() or [""]
        if not ordinal and name == "day":
            return cls()
        weekday = weekday_of(name)
        if weekday is None or len(ordinal) > 1 or (ordinal and ordinal[0] not in ORDINALS):
            raise ValueError(f"{text!r} is no day; write day, friday, first sunday or last friday")
        return cls(weekday=weekday, which=ORDINALS[ordinal[0]] if ordinal else None)

    def falls_on(self, day: date) -> bool:
        """Whether this day is one of them."""
        if self.weekday is None:
            return True
        if day.weekday() != self.weekday:
            return False
        if self.which == -1:
            return (day + timedelta(days=7)).month != day.month
        return self.which is None or (day.day - 1) // 7 + 1 == self.which

    def __str__(self) -> str:
        """As people write it."""
        ordinal = next((f"{word} " for word, which in ORDINALS.items() if which == self.which), "")
        return "day" if self.weekday is None else f"{ordinal}{WEEKDAYS[self.weekday].capitalize()}"


def weekday_of(name: str) -> int | None:
    """The number of a weekday from Monday, 0; by its name or the first three letters of it."""
    return next((at for at, weekday in enumerate(WEEKDAYS) if name.lower() in {weekday, weekday[:3]}), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One time: from `from_at` (included) until `until_at` (excluded), in UTC."""

    from_at: datetime
    until_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """On each of `days` from `from_` until `until`, by the clocks of `zone`.

    The end is on the next such weekday where `until_day` names one (0 is Monday), else on the same day, or on the next where that would be
    too early: midnight is the end of the day. Windows that touch or overlap are one.
    """

    days: tuple[DayRule, ...]
    from_: time = time(0)
    until: time = time(0)
    until_day: int | None = None
    zone: ZoneInfo

    def at(self, now: datetime) -> Window | None:
        """The window that is open now."""
        return next((window for window in self._around(now) if window.from_at <= now < window.until_at), None)

    def upcoming(self, now: datetime) -> Window | None:
        """The next window that begins after now; None where none does for six weeks."""
        return next((window for window in self._around(now) if window.from_at > now), None)

    @property
    def is_endless(self) -> bool:
        """Whether its windows run into one another and leave no gap."""
        somewhere = datetime(2026, 3, 1, tzinfo=UTC)
        return any(window.until_at - window.from_at > _ENDLESS for window in self._around(somewhere))

    def _around(self, now: datetime) -> list[Window]:
        """Everything near this moment, in order; what touches is joined."""
        joined: list[Window] = []
        for window in self._single(now.astimezone(self.zone).date()):
            if joined and window.from_at <= joined[-1].until_at:
                until_at = max(joined[-1].until_at, window.until_at)
                joined[-1] = Window(from_at=joined[-1].from_at, until_at=until_at)
            else:
                joined.append(window)
        return joined

    def _single(self, today: date) -> Iterator[Window]:
        """One window for each of the days, by its beginning; a time that the clocks skip altogether is none."""
        for shift in range(-_REACH, _REACH + 1):
            day = today + timedelta(days=shift)
            if any(rule.falls_on(day) for rule in self.days):
                from_at = moment(day, self.from_, self.zone)
                until_at = moment(self._last_day(day), self.until, self.zone, late=True)
                if from_at < until_at:
                    yield Window(from_at=from_at, until_at=until_at)

    def _last_day(self, day: date) -> date:
        if self.until_day is None:
            return day if self.until > self.from_ else day + timedelta(days=1)
        ahead = (self.until_day - day.weekday()) % 7
        return day + timedelta(days=7 if ahead == 0 and self.until <= self.from_ else ahead)

    def __str__(self) -> str:
        """As people say it: every Friday 18:00 until Monday 06:00 Europe/Zurich."""
        *first, last = [str(rule) for rule in self.days]
        days = f"{', '.join(first)} and {last}" if first else last
        if self.until_day is not None:
            end = f"{WEEKDAYS[self.until_day].capitalize()} {self.until:%H:%M}"
        elif self.until == time(0):
            end = "midnight"
        else:
            end = f"{self.until:%H:%M}{'' if self.until > self.from_ else ' the next day'}"
        return f"every {days} {self.from_:%H:%M} until {end} {self.zone.key}"


def moment(day: date, clock: time, zone: ZoneInfo, *, late: bool = False) -> datetime:
    """When the clocks of the zone show this time of this day, in UTC; `late` takes the second of a time that they show twice.

    Of a time that they skip it is the moment of the jump.
    """
    local = datetime.combine(day, clock, zone)
    first, second = local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)
    if second < first:  # skipped: the two readings lie on either side of the jump
        return _jump(second, first, zone)
    return second if late else first


def _jump(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The first second at which the offset of `after` holds."""
    offset = after.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before).total_seconds() // 2)
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after
