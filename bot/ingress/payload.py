"""Reading what came over the wire: strict JSON, clean text, sane times. Everything here is hostile (rule S29)."""

import hashlib
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from bot.ingress.source import PayloadInvalid

MOST_ALERTS = 10_000  # what one delivery may hold: Alertmanager's largest groups in a storm, and far below memory's limits
MOST_LABELS = 256  # Prometheus' own advice is 30 and its largest users allow 64
LONGEST_NAME = 200
LONGEST_LABEL = 2_048
LONGEST_TEXT = 8_192
LONGEST_LINK = 2_000  # browsers and Slack agree on about this
CUT_MARK = "…"

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # before it: a zero value, such as Go's 0001-01-01
_AHEAD = timedelta(minutes=5)  # how far a sender's clock may run ahead of ours
_MILLISECONDS = 100_000_000_000  # as seconds this is the year 5138, so a larger number counts milliseconds
_BREAKS = {"\n": "\n", "\t": "\t", "\r": ""}
_JOINERS = {"\u200c", "\u200d"}  # invisible, but Persian and emoji need them


def read_json(body: bytes) -> Any:
    """The JSON value of a body.

    Raises:
        PayloadInvalid: 400; not UTF-8, not JSON, a key twice in one object, NaN or an infinite number, or nested too deeply.
    """
    try:
        return _decoder.decode(body.decode())
    except UnicodeDecodeError as error:
        raise PayloadInvalid(f"the body is not UTF-8 (at byte {error.start})", status=400) from None
    except json.JSONDecodeError as error:
        reason = (
            "the body is empty" if not body.strip() else f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        )
        raise PayloadInvalid(reason, status=400) from None
    except RecursionError:
        raise PayloadInvalid("the body is nested too deeply", status=400) from None
    except ValueError:  # Python refuses to read numbers of thousands of digits
        raise PayloadInvalid("the body holds a number that is too long", status=400) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise PayloadInvalid(f"the key {clean(twice, 80)!r} stands twice in one object", status=400)
    return value


def _no_constant(word: str) -> NoReturn:
    raise PayloadInvalid(f"{word} is not JSON", status=400)


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise PayloadInvalid("the body holds a number that is too large", status=400)
    return number


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)


def clean(text: str, longest: int) -> str:
    """The text without control and direction characters, at most `longest` characters, with a mark where it was cut."""
    if not text.isprintable():
        text = "".join(map(_visible, text))
    return text if len(text) <= longest else text[: longest - 1] + CUT_MARK


def _visible(letter: str) -> str:
    if letter.isprintable() or letter in _JOINERS:
        return letter
    if letter in _BREAKS:
        return _BREAKS[letter]
    category = unicodedata.category(letter)
    if category == "Cs":  # half of a surrogate pair: no database takes it
        return "\N{REPLACEMENT CHARACTER}"
    return "" if category in {"Cc", "Cf", "Cn", "Co"} else " "


def object_of(value: Any, what: str) -> dict[str, Any]:
    """The value, which must be an object.

    Raises:
        PayloadInvalid: it is not.
    """
    if not isinstance(value, dict):
        raise PayloadInvalid(f"{what} must be an object and is {_kind(value)}")
    return value


def list_of(value: Any, what: str, *, most: int = MOST_ALERTS) -> list[Any]:
    """The value, which must be a list of at most `most` entries.

    Raises:
        PayloadInvalid: it is not.
    """
    if not isinstance(value, list):
        raise PayloadInvalid(f"{what} must be a list and is {_kind(value)}")
    if len(value) > most:
        raise PayloadInvalid(f"{what} holds {len(value)} entries; at most {most} are taken at once", status=413)
    return value


def text_of(value: Any, what: str, *, longest: int = LONGEST_TEXT) -> str:
    """The value, which must be text, cleaned; nothing at all is empty text.

    Raises:
        PayloadInvalid: it is not text.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise PayloadInvalid(f"{what} must be text and is {_kind(value)}")
    return clean(value, longest)


def texts_of(value: Any, what: str, *, longest: int) -> dict[str, str]:
    """An object of names and texts, cleaned: labels or annotations.

    Raises:
        PayloadInvalid: it is not, holds more than `MOST_LABELS`, or a name that cannot be one.
    """
    if value is None:
        return {}
    found = object_of(value, what)
    if len(found) > MOST_LABELS:
        raise PayloadInvalid(f"{what} holds {len(found)} names; at most {MOST_LABELS} are taken")
    if _harmless(found, longest):
        return found
    result: dict[str, str] = {}
    for name, text in found.items():
        if not isinstance(text, str):
            raise PayloadInvalid(f"{what}.{clean(name, 80)} must be text and is {_kind(text)}")
        result[_name(name, what)] = clean(text, longest)
    return result


def _harmless(found: dict[str, Any], longest: int) -> bool:
    """Whether all of it can be kept as it is, decided at once for the usual alert: short, printable, nothing but text."""
    try:
        texts, names = "".join(found.values()), "".join(found)
    except TypeError:
        return False
    return len(texts) <= longest and len(names) <= LONGEST_NAME and texts.isprintable() and names.isprintable() and "" not in found


def _name(name: str, what: str) -> str:
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise PayloadInvalid(f"{what} has a name that is empty, longer than {LONGEST_NAME} characters, or not printable")
    return name


def moment_of(value: Any, what: str, *, received_at: datetime) -> datetime:
    """A time: ISO 8601 text with a zone, or seconds or milliseconds since 1970.

    What is absent, before 2000 (a zero value), or ahead of us by more than five minutes (a wrong clock) becomes `received_at`.

    Raises:
        PayloadInvalid: it is none of these.
    """
    if value is None or value == "":
        return received_at
    found = _moment(value, what)
    return received_at if found < _EARLIEST or found > received_at + _AHEAD else found


def _moment(value: Any, what: str) -> datetime:
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            if found.tzinfo is None:
                raise PayloadInvalid(f"{what} is a time without a zone; write it with one, such as 2026-11-20T10:00:00Z")
            return found.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000 if abs(value) >= _MILLISECONDS else value, tz=UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise PayloadInvalid(f"{what} is not a time; write it as 2026-11-20T10:00:00Z")


def identity_of(value: Any, what: str) -> str:
    """Text that identifies something, cleaned; what is longer than a name may be becomes its SHA-256, so that no two fall together.

    Raises:
        PayloadInvalid: it is not text.
    """
    text = text_of(value, what, longest=sys.maxsize)
    return text if len(text) <= LONGEST_NAME else hashlib.sha256(text.encode()).hexdigest()


def link_of(value: Any) -> str | None:
    """The value where it is a web address that can be shown, and None otherwise."""
    if not isinstance(value, str) or len(value) > LONGEST_LINK or not value.isprintable():
        return None
    return value if _WEB.match(value) else None


_WEB = re.compile(r"https?://[^\s<>|\"]+\Z", re.IGNORECASE)

_FNV_OFFSET, _FNV_PRIME, _FNV_MASK = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """The fingerprint as Alertmanager computes it: FNV-1a over the sorted labels, each part closed by the byte 255.

    Source: `model.LabelSet.Fingerprint` of prometheus/common.
    """
    value = _FNV_OFFSET
    for byte in _separated(labels):
        value = ((value ^ byte) * _FNV_PRIME) & _FNV_MASK
    return f"{value:016x}"


def _separated(labels: Mapping[str, str]) -> Iterable[int]:
    for name in sorted(labels):
        yield from name.encode(errors="replace")
        yield 255
        yield from labels[name].encode(errors="replace")
        yield 255


def _kind(value: Any) -> str:
    words = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return words.get(type(value), "a number")
