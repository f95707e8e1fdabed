"""Numbers and limits as people write them."""

from runbooks.duration import Threshold

_WORDS = {"<": "under", "<=": "at most", ">": "over", ">=": "at least", "==": "exactly", "!=": "other than"}


def number(value: float, unit: str | None = None) -> str:
    """A number with its unit: 0.31 s, 96 %, 1,200. The unit `ratio` is shown in per cent."""
    if unit == "ratio":
        return f"{value * 100:.3g} %"
    return f"{value:,.4g}{f' {unit}' if unit else ''}"


def limit(threshold: Threshold, unit: str | None = None) -> str:
    """A comparison in words: under 0.5 s, at least 85 %."""
    return f"{_WORDS[threshold.operator]} {number(threshold.limit, unit)}"
