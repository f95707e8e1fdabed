"""What a template may say, decided on its syntax tree before anything runs (runbook-format.md, rules 6, 8 and 10)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache

from jinja2 import Environment, TemplateError, nodes

from runbooks.errors import TemplateInvalid

FILTERS = ("first", "join", "last", "length", "lower", "percent", "round", "upper", "urlencode")

LONGEST = 100_000  # characters; the longest prose in use has about 5,000
DEEPEST = 24  # levels of nesting; a readable template has about five, and Python's own parser gives up near 90

_NAMES = 'alert.labels.<name>, parameters.<name>, result and step("<id>")'
_ROOTS = ("alert", "parameters", "result", "step")
_ALLOWED = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Slice),
    *(nodes.Filter, nodes.Call, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Test, nodes.If, nodes.CondExpr),
    *(nodes.Concat, nodes.Add, nodes.Sub, nodes.Div, nodes.Neg),
)
_WORDS: dict[type[nodes.Node], str] = {
    nodes.For: "loops",
    nodes.Assign: "assignments",
    nodes.AssignBlock: "assignments",
    nodes.Macro: "macros",
    nodes.Include: "includes",
    nodes.Import: "imports",
    nodes.FromImport: "imports",
    nodes.Extends: "inheritance",
    nodes.Block: "blocks",
    nodes.Mul: "multiplication",
    nodes.Pow: "powers",
    nodes.Mod: "the % operator",
    nodes.List: "lists",
    nodes.Tuple: "tuples",
    nodes.Dict: "dictionaries",
}
_SINGLE = re.compile(r"\{\{[-+]?(.*?)[-+]?\}\}", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What a template refers to. `bare_labels` are the labels that somewhere stand without `| urlencode`."""

    labels: frozenset[str] = frozenset()
    bare_labels: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    result: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A template that is allowed. `single_expression` is its inside when it is exactly one `{{ … }}` and no text."""

    references: References
    single_expression: str | None


@dataclass(slots=True, kw_only=True)
class _Walk:
    labels: set[str] = field(default_factory=set)
    bare_labels: set[str] = field(default_factory=set)
    parameters: set[str] = field(default_factory=set)
    steps: set[str] = field(default_factory=set)
    result: bool = False

    def visit(self, node: nodes.Node, *, depth: int = 0, quoted: bool = False) -> None:
        if depth > DEEPEST:
            raise TemplateInvalid(f"the template nests more than {DEEPEST} levels deep; say it more simply")
        if not isinstance(node, _ALLOWED):
            raise TemplateInvalid(f"a template has no {_WORDS.get(type(node), type(node).__name__)}; it may use {_NAMES}")
        for child in self._inside(node, quoted):
            self.visit(child, depth=depth + 1, quoted=quoted or (isinstance(node, nodes.Filter) and node.name == "urlencode"))

    def _inside(self, node: nodes.Node, quoted: bool) -> Iterator[nodes.Node]:
        """Note what the node refers to; the children that are left to visit."""
        path = _path(node)
        if path is not None:
            self._refer(path, quoted)
            return
        if isinstance(node, nodes.Call):
            self._call(node)
            return
        if isinstance(node, nodes.Filter) and node.name not in FILTERS:
            raise TemplateInvalid(f"the filter {node.name} is not allowed; allowed are {', '.join(FILTERS)}")
        if isinstance(node, nodes.Test) and node.name != "none":
            raise TemplateInvalid(f"the test {node.name} is not allowed; only `is none` is")
        yield from node.iter_child_nodes()

    def _refer(self, path: tuple[str | int, ...], quoted: bool) -> None:
        match path:
            case ("alert", "labels", str(name)):
                self.labels.add(name)
                if not quoted:
                    self.bare_labels.add(name)
            case ("parameters", str(name)):
                self.parameters.add(name)
            case ("result", *_):
                self.result = True
            case ("alert", *_):
                raise TemplateInvalid(f"{_dotted(path)} is not available; of an alert, a template may use alert.labels.<name> only")
            case _:
                near = [] if path[0] in _ROOTS else get_close_matches(str(path[0]), _ROOTS, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise TemplateInvalid(f"{_dotted(path)} is unknown{hint}; a template may use {_NAMES}")

    def _call(self, node: nodes.Call) -> None:
        given = node.args[0] if len(node.args) == 1 and not (node.kwargs or node.dyn_args or node.dyn_kwargs) else None
        called = node.node.name if isinstance(node.node, nodes.Name) else None
        if called != "step":
            raise TemplateInvalid('only step("<id>") can be called in a template')
        if not isinstance(given, nodes.Const) or not isinstance(given.value, str):
            raise TemplateInvalid('step takes one id in quotes, for example step("scale-out")')
        self.steps.add(given.value)


def _path(node: nodes.Node) -> tuple[str | int, ...] | None:
    """The dotted path that a chain of attributes and constant subscripts spells, from its root name; None for anything else."""
    parts: list[str | int] = []
    while True:
        match node:
            case nodes.Name(name=name):
                return (name, *reversed(parts))
            case nodes.Getattr(node=inner, attr=attr):
                parts.append(attr)
                node = inner
            case nodes.Getitem(node=inner, arg=nodes.Const(value=str() | int() as key)):
                parts.append(key)
                node = inner
            case nodes.Getitem(node=inner, arg=nodes.Slice()) | nodes.Filter(node=nodes.Node() as inner, name="first" | "last") if parts:
                node = inner  # result.rows[:3] and (result.rows | first).customer are paths into the result
            case nodes.Getitem(node=inner, arg=nodes.Slice()):
                node = inner
            case _:
                return None
        if len(parts) > DEEPEST:
            raise TemplateInvalid(f"the template nests more than {DEEPEST} levels deep; say it more simply")


def _dotted(path: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in path)


@lru_cache(maxsize=4096)
def parsed(template: str) -> Parsed:
    """The template's references, after every rule of syntax is checked.

    Raises:
        TemplateInvalid: it does not parse, is too long or too deep, or says something that is not allowed.
    """
    if len(template) > LONGEST:
        raise TemplateInvalid(f"the text is {len(template)} characters long; {LONGEST} are allowed")
    try:
        tree = Environment(keep_trailing_newline=True, autoescape=False).parse(template)  # noqa: S701 - parsed, never rendered
    except TemplateError as error:
        raise TemplateInvalid(f"the template does not parse: {error.message}") from error
    except (RecursionError, ValueError, OverflowError) as error:
        raise TemplateInvalid("the template does not parse: it nests too deep or holds too large a number") from error
    walk = _Walk()
    walk.visit(tree)
    found = References(
        labels=frozenset(walk.labels),
        bare_labels=frozenset(walk.bare_labels),
        parameters=frozenset(walk.parameters),
        steps=frozenset(walk.steps),
        result=walk.result,
    )
    return Parsed(references=found, single_expression=_single(template, tree))


def _single(template: str, tree: nodes.Template) -> str | None:
    match tree.body, _SINGLE.fullmatch(template):
        case [nodes.Output(nodes=[node])], re.Match() as whole if not isinstance(node, nodes.TemplateData):
            return str(whole[1])
        case _:
            return None


def references(template: str) -> References:
    """What the template refers to. Raises `TemplateInvalid` as `parsed` does."""
    return parsed(template).references
