"""Freezes as the file writes them: once, from one moment to another, or again and again on certain days (rule S9)."""

from collections.abc import Iterator
from datetime import datetime, time
from zoneinfo import ZoneInfo

from actions.situation import Freeze, RecurringFreeze
from bot.configuration.moments import moment_of
from bot.configuration.schema import ChangeFreeze, File, When
from runbooks.recurrence import Recurrence, weekday_of

MIDNIGHT = time(0)


class FreezeInvalid(ValueError):
    """A freeze that is none; `field` is what is wrong with it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def freezes_of(file: File) -> tuple[Freeze | RecurringFreeze, ...]:
    """All of them, in the order of the file, which has been checked."""
    return tuple(freeze_of(one, zone=file.time_zone) for one in file.freezes)


def problems(freeze: ChangeFreeze, *, zone: str) -> Iterator[tuple[str, str]]:
    """Which field of a freeze does not hold together, and why."""
    try:
        freeze_of(freeze, zone=zone)
    except FreezeInvalid as error:
        yield error.field, str(error)


def freeze_of(entry: ChangeFreeze, *, zone: str) -> Freeze | RecurringFreeze:
    """The freeze in the core's words; `zone` holds where it names none.

    Raises:
        FreezeInvalid: its times are no times, or it would never begin or never end.
    """
    clocks = ZoneInfo(entry.zone or zone)
    environments, services, tiers = frozenset(entry.environments), frozenset(entry.services), frozenset(entry.tiers)
    if entry.every:
        again = _recurrence(entry, clocks)
        return RecurringFreeze(name=entry.reason, recurrence=again, environments=environments, services=services, tiers=tiers)
    from_at, until_at = _moment(entry.from_, "from", clocks), _moment(entry.until, "until", clocks)
    if until_at <= from_at:
        raise FreezeInvalid("until", "is not after from; a day means its midnight, so write the day after the last one")
    return Freeze(
        name=entry.reason,
        from_at=from_at,
        until_at=until_at,
        environments=environments,
        services=services,
        tiers=tiers,
        zone=clocks if entry.zone else None,
    )


def _moment(when: When | None, field: str, zone: ZoneInfo) -> datetime:
    if when is None:
        raise FreezeInvalid(field, "is missing; a freeze has from and until, or every and the days on which it comes again")
    try:
        return moment_of(when, zone)
    except ValueError as error:
        raise FreezeInvalid(field, str(error)) from None


def _recurrence(entry: ChangeFreeze, zone: ZoneInfo) -> Recurrence:
    from_, on = _clock(entry.from_, "from")
    if on is not None:
        raise FreezeInvalid("from", 'is on the days of every; write a time of day alone, such as "18:00"')
    until, until_day = _clock(entry.until, "until")
    if until_day is not None and any(rule.weekday is None for rule in entry.every):
        raise FreezeInvalid("until", 'names a weekday, and it begins on every day; write a time of day alone, such as "06:00"')
    again = Recurrence(days=entry.every, from_=from_, until=until, until_day=until_day, zone=zone)
    if again.is_endless:
        raise FreezeInvalid("every", "leaves no gap, so that it would never end; leave a day out, or write from and until")
    return again


def _clock(when: When | None, field: str) -> tuple[time, int | None]:
    """A time of day, and its weekday where one stands before it; midnight where nothing is said."""
    if when is None:
        return MIDNIGHT, None
    if isinstance(when, str):
        *name, clock = when.split() or [""]
        weekday = weekday_of(name[0]) if name else None
        try:
            if len(name) <= 1 and (weekday is not None) == bool(name):
                return datetime.strptime(clock, "%H:%M").time(), weekday  # noqa: DTZ007 - the zone stands beside it
        except ValueError:
            pass
    raise FreezeInvalid(field, f'{when!s} is no time of day; with every, write such as "18:00", or until: "monday 06:00"')
