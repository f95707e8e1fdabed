"""What a button means, written into it and read back: here and nowhere else.

A button carries an `action_id` that is unique in its block and a small JSON `value`; a dialog carries the same as `callback_id` and
`private_metadata`. Slack vouches for who pressed (signature or socket), not for how old the button is: everything read here is
checked again by the flow. What cannot be read raises `IntentUnreadable`, whose text is a sentence for the person.
"""

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.ports import Press, PressKind
from runbooks.errors import MusterError
from runbooks.value import Json

__all__ = ["Intent", "IntentUnreadable", "Press", "PressKind", "Submission", "decode", "decode_form", "encode", "encode_form"]
# Press and PressKind are offered on: cards take them from here, because they may not import ports.

VERSION = 1
VALUE_LIMIT = 2_000  # of a button's value; private_metadata would take 3,000
ID_LIMIT = 255
_PREFIX = "muster"
_LONGEST_TEXT = 300
_LARGEST_ID = 2**63 - 1
_LARGEST_TIME = 4_102_444_800  # the year 2100: an expiry beyond it was not written by Muster


class IntentUnreadable(MusterError):
    """A button or dialog that this version of Muster did not write, or that was changed on its way."""

    def __init__(self) -> None:
        super().__init__(
            "This button is from another version of Muster, or was changed. Nothing was done. Use the newest card, or /muster."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """An encoded press: `name` is the action_id or callback_id, `value` the button's value or the dialog's private_metadata."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A decoded dialog: what its submit button means, and facts that it carries for its form."""

    press: Press
    extra: dict[str, str]


def encode(press: Press) -> Intent:
    """The press as Slack carries it. Expiry keeps whole seconds.

    Raises:
        ValueError: a step or hash too long to be one; card and flow never make such.
    """
    return _encode(press, {})


def encode_form(press: Press, *, extra: dict[str, str] | None = None) -> Intent:
    """A dialog's submit button; `extra` are short texts that come back with the form, such as a link to the message it began with."""
    return _encode(press, extra or {})


def decode(name: str, value: str) -> Press:
    """The press that a button carries.

    Raises:
        IntentUnreadable: old, forged or damaged.
    """
    return _decode(name, value).press


def decode_form(callback_id: str, private_metadata: str) -> Submission:
    """What a dialog's submit button means.

    Raises:
        IntentUnreadable: old, forged or damaged.
    """
    return _decode(callback_id, private_metadata)


def _encode(press: Press, extra: dict[str, str]) -> Intent:
    fields: dict[str, Json] = {
        "v": VERSION,
        "k": press.kind.value,
        "i": press.incident_id,
        "s": press.step,
        "r": press.run_id,
        "m": press.subject_id,
        "h": press.plan_hash,
        "b": press.runbook,
        "n": press.version,
        "e": None if press.expires_at is None else math.floor(press.expires_at.timestamp()),
        "x": extra or None,
    }
    value = json.dumps({key: item for key, item in fields.items() if item is not None}, separators=(",", ":"), ensure_ascii=True)
    about = (press.incident_id, press.step, press.run_id, press.subject_id)
    name = ".".join([_PREFIX, press.kind.value, *(str(part) for part in about if part is not None)])
    if len(value) > VALUE_LIMIT or len(name) > ID_LIMIT:
        raise ValueError(f"{press.kind} does not fit a button: {len(value)} characters")
    return Intent(name=name, value=value)


def _decode(name: str, value: str) -> Submission:
    try:
        fields = json.loads(value)
    except (ValueError, TypeError, RecursionError):
        raise IntentUnreadable from None
    if not isinstance(fields, dict) or fields.get("v") != VERSION or isinstance(fields.get("v"), bool):
        raise IntentUnreadable
    kind = _kind(fields.get("k"), name)
    press = Press(
        kind=kind,
        incident_id=_whole(fields.get("i")),
        step=_text(fields.get("s")),
        run_id=_whole(fields.get("r")),
        subject_id=_whole(fields.get("m")),
        plan_hash=_text(fields.get("h")),
        runbook=_text(fields.get("b")),
        version=_whole(fields.get("n")),
        expires_at=_time(fields.get("e")),
    )
    return Submission(press=press, extra=_extra(fields.get("x")))


def _kind(value: Json, name: str) -> PressKind:
    if name.split(".")[:2] != [_PREFIX, str(value)]:
        raise IntentUnreadable
    try:
        return PressKind(value)
    except ValueError:
        raise IntentUnreadable from None


def _whole(value: Json) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_ID:
        raise IntentUnreadable
    return value


def _text(value: Json) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise IntentUnreadable
    return value


def _time(value: Json) -> datetime | None:
    whole = _whole(value)
    if whole is None:
        return None
    if whole > _LARGEST_TIME:
        raise IntentUnreadable
    return datetime.fromtimestamp(whole, UTC)


def _extra(value: Json) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise IntentUnreadable
    return value
