"""Durations and thresholds as runbooks write them: `5m`, `1h30m`, `90d`, and `< 0.5`."""

import operator
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, model_serializer, model_validator

from runbooks.value import Value

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhdw]){1,5}")
_PART = re.compile(r"([0-9]+)([smhdw])")
_SHARE = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,3})?) ?%")
_THRESHOLD = re.compile(r"\s*(<=|>=|==|!=|<|>)\s*(-?[0-9]{1,15}(?:\.[0-9]{1,15})?)\s*")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def seconds(text: object) -> float:
    """Seconds in a duration such as `90s`, `5m`, `1h30m` or `90d`.

    Raises:
        ValueError: it is not one; a bare number is refused because nobody can tell its unit.
    """
    if isinstance(text, str) and _DURATION.fullmatch(text):
        return float(sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
    raise ValueError(f"{text!r} is not a duration; write a number with a unit, such as 30s, 5m, 4h or 90d")


def in_words(duration: float) -> str:
    """A duration as people read it: 90 seconds are `1 min 30 s`; whole units only, at most two."""
    parts: list[str] = []
    rest = round(duration)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if rest >= size and len(parts) < 2:
            parts.append(f"{rest // size} {unit}")
            rest %= size
    return " ".join(parts) or "0 s"


def exactly(duration: float) -> str:
    """A duration as `seconds` reads it back without loss, to the whole second."""
    rest, parts = round(duration), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if rest >= size:
            parts.append(f"{rest // size}{unit}")
            rest %= size
    return "".join(parts) or "0s"


def _parsed(value: Any, info: ValidationInfo) -> float:
    """Text always; seconds only where a program, and not a file, gives them (`context={"written": True}` says that a file does)."""
    if isinstance(value, float) and not (info.context or {}).get("written"):
        return value
    return seconds(value)


Duration = Annotated[float, BeforeValidator(_parsed), PlainSerializer(exactly, return_type=str, when_used="json")]
"""Seconds, written as text with units."""


def _share(value: Any, info: ValidationInfo) -> float:
    """Text with its sign always; a ratio only where a program, and not a file, gives it."""
    if isinstance(value, float) and not (info.context or {}).get("written"):
        return value
    found = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if not found or float(found[1]) == 0:
        raise ValueError(f"{value!r} is not a share; write a number over 0 with its sign, such as 20%")
    return float(found[1]) / 100


def _percent(share: float) -> str:
    return f"{share * 100:.10g}%"


Share = Annotated[float, BeforeValidator(_share), PlainSerializer(_percent, return_type=str, when_used="json")]
"""A ratio over 0, written in per cent: `20%` is 0.2."""


class Threshold(Value):
    """One comparison, such as `< 0.5`. There is no expression language (runbook-format, rule 6)."""

    operator: Literal["<", "<=", ">", ">=", "==", "!="]
    limit: float

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, dict | Threshold):
            return value
        found = _THRESHOLD.fullmatch(value) if isinstance(value, str) else None
        if not found:
            raise ValueError(f'{value!r} is not a comparison; write one of < <= > >= == != and a number, such as "< 0.5"')
        return {"operator": found[1], "limit": float(found[2])}

    @model_serializer
    def _to_text(self) -> str:
        return str(self)

    def __str__(self) -> str:
        digits = format(Decimal(repr(self.limit)), "f").removesuffix(".0")  # as it was written, and never as 1e+06
        return f"{self.operator} {digits}"

    def holds(self, value: float) -> bool:
        """Whether `value` satisfies the comparison."""
        return _COMPARE[self.operator](value, self.limit)
