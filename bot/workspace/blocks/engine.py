"""A small schema language for Block Kit, and the walk that applies it.

A rule looks at one value and writes what is wrong into a ``Report``, with a JSON pointer, in the words Slack uses.
Nothing here knows a block; the tables in ``elements``, ``layout`` and ``rich`` do. Lengths are counted in characters
(Slack does not say whether it counts UTF-16 units).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from bot.workspace.protocol import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong; ``code`` where Slack has an error name of its own for it."""

    message: str
    pointer: str
    code: str | None = None


@dataclass(slots=True)
class Report:
    """What a walk found, and the totals that span a whole payload."""

    surface: str
    problems: list[Problem] = field(default_factory=list)
    block_ids: dict[str, str] = field(default_factory=dict)
    tally: dict[str, int] = field(default_factory=dict)
    characters: int = 0

    def add(self, message: str, pointer: str, code: str | None = None) -> None:
        """Note one problem."""
        self.problems.append(Problem(message=message, pointer=pointer, code=code))

    def count(self, what: str, amount: int = 1) -> int:
        """Add to a total over the payload and return it."""
        self.tally[what] = self.tally.get(what, 0) + amount
        return self.tally[what]

    @contextmanager
    def aside(self) -> Iterator[list[Problem]]:
        """Collect problems apart, to try one of several alternatives."""
        kept, self.problems = self.problems, []
        try:
            yield self.problems
        finally:
            self.problems = kept


class Rule(Protocol):
    """Anything that can judge one value."""

    def check(self, value: Any, pointer: str, report: Report) -> None:
        """Write what is wrong with ``value`` into ``report``."""


Extra = Callable[[Json, str, Report], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A plain JSON string. ``pattern`` must match whole; ``hint`` is what the caller is told when it does not."""

    least: int = 1
    most: int = 3000
    pattern: str | None = None
    hint: str = "must match the required pattern"
    code: str | None = None

    def check(self, value: Any, pointer: str, report: Report) -> None:
        if not isinstance(value, str):
            report.add("must be a string", pointer)
        elif len(value) < self.least:
            report.add(f"must be more than {self.least - 1} characters", pointer, self.code)
        elif len(value) > self.most:
            report.add(f"must be less than {self.most + 1} characters", pointer, self.code)
        elif self.pattern is not None and not re.fullmatch(self.pattern, value):
            report.add(self.hint, pointer)
        else:
            report.characters += len(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """What does not count towards a message's size: ids, values, URLs, and tables (which have totals of their own)."""

    of: Rule

    def check(self, value: Any, pointer: str, report: Report) -> None:
        before = report.characters
        self.of.check(value, pointer, report)
        report.characters = before


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A JSON number within bounds; whole unless ``fraction``."""

    least: float | None = None
    most: float | None = None
    fraction: bool = False

    def check(self, value: Any, pointer: str, report: Report) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, float) and not self.fraction):
            report.add("must be a number" if self.fraction else "must be an integer", pointer)
        elif self.least is not None and value < self.least:
            report.add(f"must be greater than or equal to {self.least:g}", pointer)
        elif self.most is not None and value > self.most:
            report.add(f"must be less than or equal to {self.most:g}", pointer)


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    def check(self, value: Any, pointer: str, report: Report) -> None:
        if not isinstance(value, bool):
            report.add("must be a boolean", pointer)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a closed list of strings."""

    values: tuple[str, ...]

    def check(self, value: Any, pointer: str, report: Report) -> None:
        if value not in self.values:
            report.add(f"must be a valid enum value ({', '.join(self.values)})", pointer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A list of ``of``. ``code`` names Slack's own error for too many items."""

    of: Rule
    least: int = 1
    most: int
    code: str | None = None

    def check(self, value: Any, pointer: str, report: Report) -> None:
        if not isinstance(value, list):
            report.add("must be an array", pointer)
            return
        if len(value) < self.least:
            report.add(f"no less than {self.least} items allowed", pointer)
        if len(value) > self.most:
            report.add(f"no more than {self.most} items allowed", pointer, self.code)
            return
        for index, item in enumerate(value):
            self.of.check(item, f"{pointer}/{index}", report)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A JSON object with declared fields and no others; ``extras`` judge fields against each other."""

    fields: Mapping[str, Rule]
    required: tuple[str, ...] = ()
    extras: tuple[Extra, ...] = ()

    def check(self, value: Any, pointer: str, report: Report) -> None:
        if not isinstance(value, dict):
            report.add("must be an object", pointer)
            return
        for name in self.required:
            if value.get(name) is None:
                report.add(f"missing required field: {name}", pointer)
        for name, item in value.items():
            if name not in self.fields:
                report.add(f"invalid additional property: {name}", pointer)
            elif item is not None or name in self.required:
                self._check_field(name, item, pointer, report)
        for extra in self.extras:
            extra(value, pointer, report)

    def _check_field(self, name: str, item: Any, pointer: str, report: Report) -> None:
        if item is not None:
            self.fields[name].check(item, f"{pointer}/{name}", report)


@dataclass(frozen=True, slots=True)
class Tagged:
    """An object whose ``type`` says which of several shapes it must have."""

    shapes: Mapping[str, Rule]

    def check(self, value: Any, pointer: str, report: Report) -> None:
        if not isinstance(value, dict):
            report.add("must be an object", pointer)
            return
        kind = value.get("type")
        if kind is None:
            report.add("missing required field: type", pointer)
        elif not isinstance(kind, str) or kind not in self.shapes:
            report.add(f"unsupported type: {kind}", f"{pointer}/type")
        else:
            self.shapes[kind].check(value, pointer, report)


@dataclass(frozen=True, slots=True)
class Later:
    """A rule looked up when it is used, for shapes that contain themselves."""

    find: Callable[[], Rule]

    def check(self, value: Any, pointer: str, report: Report) -> None:
        self.find().check(value, pointer, report)


@dataclass(frozen=True, slots=True)
class OrNull:
    """``rule``, or null (which a ``Shape`` passes over, but a ``Rows`` does not)."""

    rule: Rule

    def check(self, value: Any, pointer: str, report: Report) -> None:
        if value is not None:
            self.rule.check(value, pointer, report)


def typed(name: str, fields: Mapping[str, Rule], required: tuple[str, ...] = (), extras: tuple[Extra, ...] = ()) -> Shape:
    """A shape with a fixed ``type``."""
    return Shape(fields={"type": Choice((name,)), **fields}, required=("type", *required), extras=extras)


def exactly_one(*names: str) -> Extra:
    """Of these fields one must be there, and only one."""

    def judge(value: Json, pointer: str, report: Report) -> None:
        given = [name for name in names if value.get(name) is not None]
        if len(given) != 1:
            report.add(f"must have exactly one of: {', '.join(names)}", pointer)

    return judge


def any_of(*names: str) -> Extra:
    """Of these fields at least one must be there."""

    def judge(value: Json, pointer: str, report: Report) -> None:
        if all(value.get(name) is None for name in names):
            report.add(f"must have at least one of: {', '.join(names)}", pointer)

    return judge


def not_both(one: str, other: str) -> Extra:
    """These two fields exclude each other."""

    def judge(value: Json, pointer: str, report: Report) -> None:
        if value.get(one) and value.get(other):
            report.add(f"cannot have both {one} and {other}", pointer)

    return judge


def needs(one: str, other: str) -> Extra:
    """The first field, when set, needs the second."""

    def judge(value: Json, pointer: str, report: Report) -> None:
        if value.get(one) and not value.get(other):
            report.add(f"{one} requires {other}", pointer)

    return judge
