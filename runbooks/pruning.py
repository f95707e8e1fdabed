"""A header without its broken parts, so that what is wrong with the rest can be said in the same go."""

import re
from collections.abc import Collection
from copy import deepcopy
from dataclasses import dataclass
from datetime import date

from runbooks.frontmatter import Path
from runbooks.value import Json

_LISTS: tuple[Path, ...] = (("actions",), ("diagnostics",), ("escalation",), ("drill", "injects"))
"""Lists whose entries stand for themselves: one of them can be left out."""
_DEPENDED: tuple[Path, ...] = (("labels",), ("match",), ("fallback",), ("drill", "ends_after"))
"""Fields that others are judged by: without them, what is right would look wrong."""
_STAND_INS: dict[str, Json] = {
    "format": 1,
    "id": "x",
    "version": 1,
    "title": "x",
    "owner": "x",
    "class": "availability",
    "reviewed": date(2000, 1, 1),
}
"""For fields that must be there and that nothing else is judged by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What is left. `names` are the ids that went with their steps: what refers to them is not wrong because of that."""

    data: Json
    names: frozenset[str]
    origins: dict[Path, list[int]]

    def place(self, path: Path) -> Path:
        """The path in the file of what stands at `path` here."""
        kept = self.origins.get(path[:-1]) if path else None
        last = path[-1] if path else None
        if kept is not None and isinstance(last, int):
            return (*path[:-1], kept[last])
        return (*self.place(path[:-1]), *path[-1:]) if path else path

    def explains(self, reason: str) -> bool:
        """Whether a problem speaks of a step that was only left out here."""
        return bool(self.names.intersection(re.findall(r"[a-z0-9-]+", reason)))


def prune(data: Json, wrong: Collection[Path]) -> Pruned | None:
    """Leave out the list entries that hold something wrong, and every other wrong field where it stands. Changes nothing in `data`.

    None where the rest cannot be judged alone.
    """
    if any(path[: len(field)] == field for path in wrong for field in _DEPENDED):
        return None
    left, drop, names = deepcopy(data), {path: set[int]() for path in _LISTS}, set[str]()
    for path in wrong:
        entries = next((entries for entries in _LISTS if path[: len(entries)] == entries and len(path) > len(entries)), None)
        index = path[len(entries)] if entries else None
        if entries and isinstance(index, int):
            drop[entries].add(index)
        elif path:
            around = _at(left, path[:-1])
            if isinstance(around, dict):
                around.pop(path[-1], None)
                around.update({name: value for name, value in _STAND_INS.items() if path == (name,)})
    origins: dict[Path, list[int]] = {}
    for path, indices in drop.items():
        entries_here = _at(left, path)
        if indices and isinstance(entries_here, list):
            names |= {
                str(entry["id"]) for i, entry in enumerate(entries_here) if i in indices and isinstance(entry, dict) and "id" in entry
            }
            origins[path] = [index for index in range(len(entries_here)) if index not in indices]
            entries_here[:] = [entries_here[index] for index in origins[path]]
    return Pruned(data=left, names=frozenset(names), origins=origins)


def _at(data: Json, path: Path) -> Json:
    for part in path:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data
