"""A diagnostic's answer as a measurement: its text, its number, or why there is none."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from actions.redaction import clean, redact
from actions.wording import number
from runbooks.errors import LabelMissing, TemplateInvalid
from runbooks.operation import Measurement
from runbooks.rendering import render
from runbooks.runbook import Diagnostic
from runbooks.value import Json

MOST_SHOWN = 300  # characters of one diagnostic on a card
MOST_ROWS = 5  # rows named when a diagnostic says nothing of how to show them


def measured(diagnostic: Diagnostic, value: Json, *, labels: Mapping[str, str], now: datetime) -> Measurement:
    """What was read, redacted and in words. No rows and no number is "no data", which is the diagnostic's `empty` text and never zero."""
    result = clean(value)
    found = result.get("value") if isinstance(result, Mapping) else result
    figure = float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
    rows = result.get("rows") if isinstance(result, Mapping) else None
    if found is None and not rows:
        return _measurement(diagnostic, now=now, text=diagnostic.empty, result=result)
    error, text = None, _plain(found, rows, diagnostic.unit)
    if diagnostic.shows:
        try:
            text = render(diagnostic.shows, labels=labels, result=result)
        except (LabelMissing, TemplateInvalid) as refused:
            error = str(refused)
    return _measurement(diagnostic, now=now, text=text, value=figure, result=result, error=error)


def failed(diagnostic: Diagnostic, reason: str, *, now: datetime) -> Measurement:
    """No answer, and why."""
    return _measurement(diagnostic, now=now, text=diagnostic.empty, error=redact(reason, limit=MOST_SHOWN))


def _measurement(
    diagnostic: Diagnostic, *, now: datetime, text: str, value: float | None = None, result: Json = None, error: str | None = None
) -> Measurement:
    return Measurement(
        diagnostic=diagnostic.id,
        title=diagnostic.title,
        text=redact(text, limit=MOST_SHOWN),
        value=value,
        unit=diagnostic.unit,
        measured_at=now,
        error=error,
        result=result,
    )


def _plain(found: Json, rows: Sequence[Mapping[str, Json]] | None, unit: str | None) -> str:
    if isinstance(found, int | float) and not isinstance(found, bool):
        return number(found, unit)
    if found is not None:
        return str(found)
    shown = [_row(row, unit) for row in (rows or [])[:MOST_ROWS]]
    more = len(rows or []) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _row(row: Json, unit: str | None) -> str:
    if not isinstance(row, Mapping):
        return str(row)
    names = " ".join(str(value) for key, value in row.items() if key != "value")
    value = row.get("value")
    return f"{names} {number(value, unit)}".strip() if isinstance(value, int | float) else names
