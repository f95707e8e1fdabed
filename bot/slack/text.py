"""Text for Slack: escaped once, cut to Slack's limits, times in the reader's zone, numbers with units.

What comes from outside (labels, log lines, names) is hostile (rule S29): it passes `line`, `prose` or `plain` exactly once, on its way
into a block. Lengths are counted in UTF-16 units, the stricter of the two readings of Slack's limits, which do not say which is meant.
"""

import math
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta

from runbooks.people import Person

ELLIPSIS = "…"
MESSAGE_TEXT = 4_000  # chat.update refuses more (msg_too_long)
SECTION = 3_000
FIELD = 2_000
HEADER = 150
BUTTON = 75
BUTTON_SHOWN = 40  # Slack shows about 30 on a phone; the whole title goes into the accessibility label
URL = 3_000
VIEW_TITLE = 24

_CONTROL_KEPT = {"\n", "\t"}
_REVERSING = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x061C, 0x200E, 0x200F)}
_SPACE = re.compile(r"\s+")
_BLANK_LINES = re.compile(r"\n\s*\n\s*")
_SEQUENCE = re.compile(r"<(?=[!@#])")
_SLACK_ID = re.compile(r"[UW][A-Z0-9]{1,30}")
_ADDRESS = re.compile(r"https?://[^\s<>|\"\\^`{}\x00-\x20]+", re.IGNORECASE)
_FAR = timedelta(hours=18)  # beyond it a bare clock time may mean another day to the reader
_UTC = re.compile(r"\b(?:(?P<day>\d{4}-\d\d-\d\d) )?(?P<clock>\d\d:\d\d(?::\d\d)?) UTC\b")
_CENTS = 0.1  # of a unit of money; below it two decimals say nothing
_WHOLE = 100  # of a unit of money; above it nobody counts cents in an incident
_LONG = 300  # seconds from which on people count in minutes, hours and days
_NOTHING = 0.005  # per cent; a smaller share is noise of the arithmetic
_MONEY = re.compile(r"[A-Z]{3}(?:\b.*)?")


def size(text: str) -> int:
    """Length in UTF-16 units."""
    return len(text) + sum(1 for character in text if ord(character) > 0xFFFF)


def clean(text: str) -> str:
    """Without control characters, halves of characters, and marks that turn the reading direction (they disguise text)."""
    if text.isprintable():
        return text
    return "".join(character for character in text if _may_stand(character))


def _may_stand(character: str) -> bool:
    if character in _CONTROL_KEPT:
        return True
    return character not in _REVERSING and unicodedata.category(character) not in {"Cc", "Cs"} and character != "\ufeff"


def cut(text: str, limit: int, *, form: Callable[[str], str] = str) -> str:
    """`form(text)` in at most `limit` units, ending in … where something is missing. An escape is never cut in two."""
    if size(formed := form(text)) <= limit:
        return formed
    low, high = 0, min(len(text), limit)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size(form(text[:middle])) < limit else (low, middle - 1)
    return form(text[:low].rstrip()) + ELLIPSIS


def escape(text: str) -> str:
    """Text that mrkdwn shows as it is: no mention, no link, no date can hide in it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def line(text: str, limit: int = 300) -> str:
    """One line for mrkdwn: cleaned, blanks folded, escaped, cut."""
    return cut(_SPACE.sub(" ", clean(text)).strip(), limit, form=escape)


def prose(text: str, limit: int = SECTION) -> str:
    """Several lines for mrkdwn: cleaned, escaped, cut; one empty line at most between paragraphs."""
    return cut(_BLANK_LINES.sub("\n\n", clean(text)).strip(), limit, form=escape)


def told(text: str, limit: int = SECTION - 800, *, near: datetime | None = None) -> str:
    """Prose from a flow, with its times in the reader's zone: `2026-11-20 14:09 UTC` and, where `near` says which day, `14:09 UTC`.

    At most eight times are turned, so that the result is at most 800 units longer than `limit`.
    """
    return _UTC.sub(lambda found: _localised(found, near), prose(text, limit), count=8)


def _localised(found: re.Match[str], near: datetime | None) -> str:
    day_said, clock_said = found["day"], found["clock"]
    try:
        if day_said:
            at = datetime.fromisoformat(f"{day_said}T{clock_said}+00:00")
            return when(at, near) if near else moment(at)
        if near is None:
            return found[0]
        that_day = datetime.combine(near.astimezone(UTC).date(), time.fromisoformat(clock_said), UTC)
    except ValueError:
        return found[0]
    return clock(min((that_day + timedelta(days=shift) for shift in (-1, 0, 1)), key=lambda at: abs(at - near)))


def plain(text: str, limit: int = BUTTON) -> str:
    """One line for plain_text, where nothing is escaped. `<!channel>` and its like lose their bracket all the same."""
    return cut(_SEQUENCE.sub("\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}", _SPACE.sub(" ", clean(text)).strip()), limit)


def sentence(text: str) -> str:
    """With a full stop, unless it ends a sentence already."""
    return text if not text or text[-1] in ".!?…:" else f"{text}."


def clock(at: datetime) -> str:
    """The time of day, in the reader's zone."""
    return _date(at, "{time}", "%H:%M UTC")


def day(at: datetime) -> str:
    """The date, in the reader's zone."""
    return _date(at, "{date_short}", "%d %b %Y")


def moment(at: datetime) -> str:
    """Date and time, in the reader's zone."""
    return _date(at, "{date_short_pretty} {time}", "%d %b %Y %H:%M UTC")


def when(at: datetime, now: datetime) -> str:
    """The time of day if it is near, else with its date."""
    return clock(at) if abs(at - now) <= _FAR else moment(at)


def spoken(at: datetime, now: datetime) -> str:
    """A time for lock screens and screen readers, which read no date tokens: UTC, said so."""
    utc = at.astimezone(UTC)
    return utc.strftime("%H:%M UTC" if abs(at - now) <= _FAR else "%d %b %H:%M UTC")


def _date(at: datetime, token: str, fallback: str) -> str:
    utc = at.astimezone(UTC)
    return f"<!date^{int(utc.timestamp())}^{token}|{utc.strftime(fallback)}>"


def lasting(seconds: float) -> str:
    """A duration in at most two units, such as `40 s`, `6 min`, `1 h 5 min`, `3 d`."""
    total = max(0, round(seconds))
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min"
    if total < 2 * 86400:
        hours, minutes = divmod(total // 60, 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{total // 86400} d"


def number(value: float, unit: str | None = None, *, beside: float | None = None) -> str:
    """A number with its unit. A ratio is shown in percent, money with two decimals.

    `beside` is a limit shown next to it: rounding never makes the two look equal when they are not.
    """
    if not math.isfinite(value):
        return "no data"
    if unit in {"ratio", "%"}:
        factor = 100 if unit == "ratio" else 1
        if abs(value * factor) < _NOTHING and (beside is None or abs(beside * factor) >= _NOTHING):
            return "0 %"
        return f"{_rounded(value * factor, beside * factor if beside is not None else None)} %"
    if unit == "s" and abs(value) >= _LONG:
        return lasting(value)
    if unit and _MONEY.fullmatch(unit):
        shown = _significant(value, 2) if 0 < abs(value) < _CENTS else f"{value:,.0f}" if abs(value) >= _WHOLE else f"{value:,.2f}"
        return f"{shown} {line(unit, 40)}"
    shown = _rounded(value, beside)
    return f"{shown} {line(unit, 40)}" if unit else shown


def _rounded(value: float, beside: float | None) -> str:
    for digits in range(2, 9):
        shown = _significant(value, digits)
        if beside is None or value == beside or shown != _significant(beside, digits):
            return shown
    return f"{value:g}"


def _significant(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    if not 1e-6 <= abs(value) < 1e12:
        return f"{value:.{digits}g}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    shown = f"{value:,.{min(places, 12)}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def mention(person: Person) -> str:
    """A person, so that Slack calls them; the name where no Slack id is known."""
    if person.slack_id and _SLACK_ID.fullmatch(person.slack_id):
        return f"<@{person.slack_id}>"
    return line(person.name, 80)


def address(url: str, limit: int = URL) -> str | None:
    """The address if it may stand in a link: http or https, no blanks or brackets, within Slack's limit."""
    return url if size(url) <= limit and _ADDRESS.fullmatch(url) else None


def link(url: str, label: str, limit: int = 500) -> str:
    """A link in mrkdwn; only the label where the address may not be linked."""
    words = line(label.replace("|", "¦"), 80)
    target = address(url, limit)
    return f"<{target.replace('&', '&amp;')}|{words}>" if target else words
