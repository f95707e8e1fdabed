"""Numbers, limits and values as people write them."""

from collections.abc import Mapping

from runbooks.duration import Threshold
from runbooks.value import Json

_WORDS = {"<": "under", "<=": "at most", ">": "over", ">=": "at least", "==": "exactly", "!=": "other than"}
_DIGITS = 3
_MOST_DIGITS = 9
_NOTHING = 0.005  # per cent; a smaller share is noise of the arithmetic, and 6.8e-07 % tells nobody anything


def number(value: float, unit: str | None = None, *, beside: float | None = None) -> str:
    """A number with its unit: 0.31 s, 96 %, 1,200. The unit `ratio` is shown in per cent.

    `beside` is a limit that stands next to it: rounding never makes the two look equal when they are not.
    """
    scale = 100 if unit == "ratio" else 1
    digits = _DIGITS
    while (
        beside is not None and value != beside and digits < _MOST_DIGITS and _shown(value * scale, digits) == _shown(beside * scale, digits)
    ):
        digits += 1
    small = unit == "ratio" and abs(value * scale) < _NOTHING and (beside is None or abs(beside * scale) >= _NOTHING)
    shown = "0" if small else _shown(value * scale, digits)
    return f"{shown} %" if unit == "ratio" else f"{shown} {unit}" if unit else shown


def limit(threshold: Threshold, unit: str | None = None) -> str:
    """A comparison in words: under 0.5 s, at least 85 %."""
    return f"{_WORDS[threshold.operator]} {number(threshold.limit, unit)}"


def _shown(value: float, digits: int) -> str:
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def spoken(value: Json) -> str:
    """A target's value where no backend has words for it: `replicas 4`, `on`, `empty`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {spoken(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(spoken(entry) for entry in value)
    return {True: "on", False: "off", None: "empty"}.get(value, str(value)) if isinstance(value, bool | None) else str(value)
