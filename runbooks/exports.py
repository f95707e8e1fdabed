"""The timeline in forms that other tools read: JSON Lines, CSV, Markdown (missions F3, rule S26)."""

import csv
import io
from collections.abc import Sequence

from runbooks.document import literal
from runbooks.incident import Incident
from runbooks.timeline import Entry

COLUMNS = ("seq", "occurred_at", "recorded_at", "kind", "actor", "via", "summary", "digest", "previous", "hash")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def json_lines(entries: Sequence[Entry]) -> str:
    """One entry a line, whole: with it the chain can be recomputed elsewhere."""
    return "".join(f"{entry.model_dump_json()}\n" for entry in entries)


def comma_separated(entries: Sequence[Entry]) -> str:
    """A table for a spreadsheet. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for entry in entries:
        cells = (
            entry.seq,
            entry.occurred_at.isoformat(),
            entry.recorded_at.isoformat(),
            entry.kind.value,
            entry.actor.id,
            entry.actor.via,
            entry.summary,
            entry.digest,
            entry.previous,
            entry.hash,
        )
        writer.writerow([_harmless(cell) for cell in cells])
    return out.getvalue()


def _harmless(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def markdown(incident: Incident, entries: Sequence[Entry]) -> str:
    """A table to paste into a document."""
    drill = "DRILL · " if incident.is_drill else ""
    lines = [
        f"# {drill}{incident.ref} · {literal(incident.title)}",
        "",
        f"{incident.severity.value} · {incident.status.value} · times in UTC",
        "",
        "| # | Time | What | Who |",
        "| --- | --- | --- | --- |",
        *(
            f"| {entry.seq} | {entry.occurred_at:%Y-%m-%d %H:%M:%S} | {literal(entry.summary)} | {literal(entry.actor.id)} |"
            for entry in entries
        ),
    ]
    return "\n".join(lines) + "\n"
