"""What changed between two versions of a runbook, in words and as text (mission B4)."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff

from runbooks.rendering import outline
from runbooks.runbook import Runbook
from runbooks.value import Json

_LONGEST = 80  # characters of a value in a sentence; the text diff has it whole


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One field, by its dotted path with the ids of steps. None stands for a field that was or is not there."""

    field: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.field}: added" if self.after in {"", None} else f"{self.field}: added, {_short(self.after)}"
        if self.after is None:
            return f"{self.field}: removed"
        if "\n" in self.before + self.after or self.field.startswith("body."):
            return f"{self.field}: text changed"
        return f"{self.field}: {_short(self.before)} → {_short(self.after)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The changed fields in the order of the file, and the whole as a unified diff. `same_version` breaks rule 12."""

    changes: tuple[FieldChange, ...]
    text: str
    same_version: bool

    @property
    def same(self) -> bool:
        """Whether the two files are identical."""
        return not self.text


def diff(old: Runbook, new: Runbook) -> Difference:
    """What became of `old` in `new`. Defaults count as values, so writing one out is no change of a field."""
    before, after = dict(_fields(old)), dict(_fields(new))
    order = list(dict.fromkeys([*before, *after]))
    changes = [FieldChange(field=field, before=before.get(field), after=after.get(field)) for field in order]
    lines = unified_diff(
        old.source.splitlines(),
        new.source.splitlines(),
        fromfile=f"{old.id} v{old.header.version} {old.hash[:8]}",
        tofile=f"{new.id} v{new.header.version} {new.hash[:8]}",
        lineterm="",
    )
    return Difference(
        changes=tuple(_folded([change for change in changes if change.before != change.after])),
        text="\n".join(lines) if old.source != new.source else "",
        same_version=old.id == new.id and old.header.version == new.header.version and old.hash != new.hash,
    )


def _fields(runbook: Runbook) -> Iterator[tuple[str, str]]:
    yield from _flat(runbook.header.model_dump(mode="json", by_alias=True), "")
    yield from ((f"body.{heading}", text) for heading, text in outline(runbook.body))


def _flat(value: Json, path: str) -> Iterator[tuple[str, str]]:
    """Leaves by dotted path; entries of a list by their id, else by their place from 0. A list of plain values is one leaf."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from _flat(entry, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        for index, entry in enumerate(value):
            identity = entry.get("id", index) if isinstance(entry, dict) else index
            yield from _flat(entry, f"{path}.{identity}")
    elif value is not None:
        yield path, _said(value)


def _said(value: Json) -> str:
    if isinstance(value, list):
        return ", ".join(_said(entry) for entry in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _folded(changes: list[FieldChange]) -> Iterator[FieldChange]:
    """A step that came or went is one change, not one for each of its fields."""
    seen: set[str] = set()
    for change in changes:
        parts = change.field.split(".")
        whole = ".".join(parts[:2]) if parts[0] in {"actions", "diagnostics"} and len(parts) > 2 else ""
        came = f"{whole}.id" in {other.field for other in changes if other.before is None}
        went = f"{whole}.id" in {other.field for other in changes if other.after is None}
        if not whole or not (came or went):
            yield change
        elif whole not in seen:
            seen.add(whole)
            yield FieldChange(field=whole, before=None if came else "", after=None if went else "")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
