"""A runbook's file, taken apart: the YAML header as plain data with the line of every field, and the prose.

YAML is read strictly: a duplicate key, an unsafe tag, a key that is not text, and anything that could blow up in memory are
errors. The reading never builds an object but text, numbers, booleans, dates, lists and mappings.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from math import isfinite
from typing import Any

import yaml

from runbooks.value import Json

Path = tuple[str | int, ...]

LARGEST = 256 * 1024  # characters; the longest runbook in use has about 12,000
_DEEPEST = 16  # levels; the format needs 6
_MOST_ALIASES = 100
_MOST_VALUES = 20_000  # after aliases are expanded; stops "billion laughs"
_TAG = "tag:yaml.org,2002:"
_SCALARS = {_TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with the file itself."""

    path: Path
    reason: str
    line: int | None = None


@dataclass(slots=True, kw_only=True)
class FrontMatter:
    """Header, prose, and where each field stands. `lines` counts from 1 in the whole file; `body_line` is the prose's first line."""

    data: dict[str, Json] = field(default_factory=dict)
    body: str = ""
    body_line: int = 1
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, path: Path) -> int | None:
        """The line of the field, or of the nearest field around it that stands in the file."""
        return next((self.lines[path[:end]] for end in range(len(path), -1, -1) if path[:end] in self.lines), None)


class _TooMuch(Exception):
    def __init__(self, reason: str, mark: Any) -> None:
        self.reason, self.mark = reason, mark
        super().__init__(reason)


def read(text: str) -> FrontMatter:
    """Take the file apart. What is wrong stands in `faults`; then `data` holds what could be read all the same."""
    found = FrontMatter()
    if len(text) > LARGEST:
        found.faults.append(Fault(path=(), reason=f"the file is {len(text)} characters long; {LARGEST} are allowed"))
        return found
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    ends = next((number for number, line in enumerate(lines[1:], start=1) if line.rstrip() == "---"), None)
    if lines[0].rstrip() != "---" or ends is None:
        reason = "the file must begin with a YAML header between two lines of three hyphens (---)"
        found.faults.append(Fault(path=(), reason=reason, line=1))
        return found
    found.body, found.body_line = "\n".join(lines[ends + 1 :]), ends + 2
    _header("\n".join(lines[1:ends]), found)
    return found


def _header(text: str, found: FrontMatter) -> None:
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            if not isinstance(root, yaml.MappingNode):
                found.faults.append(Fault(path=(), reason="the header must be a mapping of fields, such as `format: 1`", line=2))
                return
            found.data = _Builder(loader, found).mapping(root, ())
        finally:
            loader.dispose()
    except _TooMuch as error:
        found.faults.append(Fault(path=(), reason=error.reason, line=error.mark.line + 2))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = f"the header is not YAML: {error.problem or error.context or 'it cannot be read'}"
        found.faults.append(Fault(path=(), reason=reason, line=mark.line + 2 if mark else None))
    except yaml.YAMLError as error:
        found.faults.append(Fault(path=(), reason=f"the header is not YAML: {' '.join(str(error).split())}"))
    except (ValueError, OverflowError):  # PyYAML's scanner does not catch an escape such as "\UFFFFFFFF" that is no character
        found.faults.append(Fault(path=(), reason="the header is not YAML: it holds an escape that is no character"))


class _Loader(yaml.SafeLoader):
    """Counts depth and aliases while the tree is built: PyYAML itself would recurse without end."""

    depth = aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.depth > _DEEPEST:
            raise _TooMuch(f"the header nests more than {_DEEPEST} levels deep", mark)
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > _MOST_ALIASES:
                raise _TooMuch(f"the header uses more than {_MOST_ALIASES} aliases; write the values out", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Builder:
    """Builds plain data from the tree of nodes, and notes lines and faults on the way."""

    def __init__(self, loader: yaml.SafeLoader, found: FrontMatter) -> None:
        self._loader, self._found, self._values = loader, found, 0

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Json]:
        self._found.lines.setdefault(path, node.start_mark.line + 2)
        built: dict[str, Json] = {}
        for name, key, value in self._entries(node, path):
            inner = (*path, name)
            if name in built:
                first = self._found.lines[inner]
                self._fault(inner, f"is written twice, first in line {first}; YAML would silently keep one of them", key)
                continue
            self._found.lines[inner] = key.start_mark.line + 2
            built[name] = self.value(value, inner)
        return built

    def value(self, node: yaml.Node, path: Path) -> Json:
        self._values += 1
        if self._values > _MOST_VALUES or len(path) > _DEEPEST:
            raise _TooMuch("the header becomes too large when its aliases are expanded; write the values out", node.start_mark)
        self._found.lines.setdefault(path, node.start_mark.line + 2)
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(entry, (*path, index)) for index, entry in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            return self._scalar(node, path)
        self._fault(path, f"the tag {node.tag.replace(_TAG, '!!')} is not allowed; write plain text, numbers, lists or mappings", node)
        return None

    def _entries(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                self._fault(path, "merge keys (<<) are not allowed; write the fields out", key)
            elif not isinstance(key, yaml.ScalarNode):
                self._fault(path, "a field's name must be text", key)
            elif key.tag != _TAG + "str":
                kind = key.tag.removeprefix(_TAG)
                self._fault((*path, key.value), f'YAML reads this name as {_KINDS.get(kind, kind)}; put it in quotes: "{key.value}"', key)
            else:
                yield key.value, key, value

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Json:
        try:
            value = self._loader.construct_object(node)
        except (ValueError, OverflowError, KeyError, yaml.YAMLError):
            self._fault(path, f"{node.value[:40]!r} cannot be read as {node.tag.removeprefix(_TAG)}; put it in quotes if it is text", node)
            return None
        if isinstance(value, float) and not isfinite(value):
            self._fault(path, "must be a finite number", node)
            return None
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
            self._fault(path, "is too large a number; put it in quotes if it is text", node)
            return None
        return value

    def _fault(self, path: Path, reason: str, node: yaml.Node) -> None:
        self._found.faults.append(Fault(path=path, reason=reason, line=node.start_mark.line + 2))


_KINDS = {"bool": "a truth value", "int": "a number", "float": "a number", "null": "nothing", "timestamp": "a date"}


def kind(value: Json) -> str:
    """What YAML made of a value, in words."""
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "a truth value (true or false)"),
        ((int, float), "a number"),
        (str, "text"),
        (date, "a date"),
        (list, "a list"),
        (dict, "a mapping"),
    )
    return next((words for types, words in names if isinstance(value, types)), "nothing")
