"""The parts of a query, and the one error of this package."""

from dataclasses import dataclass
from typing import Literal


class QueryRefused(ValueError):
    """The query cannot be read, or uses what the subset does not have; the text names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """A condition on one label; a regular expression must match the whole value."""

    label: str
    operator: Literal["=", "!=", "=~", "!~"]
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A scalar literal."""

    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Series by name and labels, `offset` seconds ago; with `span` seconds of samples it is a range selector."""

    matchers: tuple[Matcher, ...]
    span: float | None = None
    offset: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function applied to its arguments."""

    function: str
    arguments: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """An aggregation over the labels named (or over all but these); `parameter` is the k of topk and bottomk."""

    operator: str
    over: "Node"
    parameter: "Node | None" = None
    labels: tuple[str, ...] = ()
    without: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """Arithmetic or comparison of two sides, matched one to one on the labels (`on`) or on all but these."""

    operator: str
    left: "Node"
    right: "Node"
    as_bool: bool = False
    labels: tuple[str, ...] = ()
    on: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Negation:
    """Minus something."""

    operand: "Node"


Node = Number | Selector | Call | Aggregate | Binary | Negation

AGGREGATES = frozenset({"sum", "avg", "min", "max", "count", "topk", "bottomk"})
COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
