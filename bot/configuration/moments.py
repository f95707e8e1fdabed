"""Moments as the file writes them."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from bot.configuration.schema import When


def moment_of(when: When, zone: ZoneInfo) -> datetime:
    """The moment, in UTC: a day is its midnight, and a time without a zone is local to `zone`.

    Raises:
        ValueError: it is text that is no time.
    """
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when)
        except ValueError:
            raise ValueError(f"{when!r} is not a time; write 2026-12-24 or 2026-12-24 18:00") from None
    if not isinstance(when, datetime):
        when = datetime.combine(when, time(0))
    return (when if when.tzinfo else when.replace(tzinfo=zone)).astimezone(UTC)
