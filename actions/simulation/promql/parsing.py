"""Tokens to a tree, by precedence climbing. Every part outside the subset is refused here, by name."""

import re
from functools import lru_cache
from math import inf, nan
from typing import Literal, cast

from .functions import ARGUMENTS
from .lexing import Token, number, seconds, tokens, unquoted
from .syntax import AGGREGATES, COMPARISONS, Aggregate, Binary, Call, Matcher, Negation, Node, Number, QueryRefused, Selector

_PRECEDENCE = {**dict.fromkeys(COMPARISONS, 1), "+": 2, "-": 2, "*": 3, "/": 3, "%": 3, "^": 5}
_UNARY = 4
_UNSUPPORTED = {
    "and": "set operators", "or": "set operators", "unless": "set operators", "atan2": "the operator atan2", "group_left": "group_left",
    "group_right": "group_right",
}  # fmt: skip
_DEEPEST = 60
_LONGEST = 4000


@lru_cache(maxsize=512)
def parse(query: str) -> Node:
    """Return the tree of a query.

    Raises:
        QueryRefused: the query is not PromQL, or not of the subset; the text says where or what.
    """
    if len(query) > _LONGEST:
        raise QueryRefused(f"the query is longer than {_LONGEST} characters")
    parser = _Parser(tokens(query))
    tree = parser.expression(0)
    parser.finish()
    return tree


class _Parser:
    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._position = 0
        self._depth = 0

    def expression(self, weakest: int) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise QueryRefused("the query is nested too deeply")
        left = self._operand()
        while (token := self._next).text in _PRECEDENCE and token.kind == "sign" and _PRECEDENCE[token.text] >= max(weakest, 1):
            left = self._binary(left, self._take())
        if self._next.kind == "name" and self._next.text in _UNSUPPORTED:
            raise QueryRefused(f"{_UNSUPPORTED[self._next.text]} not supported")
        self._depth -= 1
        return left

    def finish(self) -> None:
        if self._next.kind != "end":
            raise self._unexpected()

    def _binary(self, left: Node, operator: Token) -> Node:
        as_bool = self._accept_name("bool")
        if as_bool and operator.text not in COMPARISONS:
            raise QueryRefused("bool modifier is for comparisons only")
        labels, on = self._matching()
        level = _PRECEDENCE[operator.text]
        # A power binds to the right (2^3^2 is 2^9), all else to the left.
        right = self.expression(level if operator.text == "^" else level + 1)
        comparing_numbers = operator.text in COMPARISONS and _is_scalar(left) and _is_scalar(right)
        if comparing_numbers and not as_bool:
            raise QueryRefused("comparisons between scalars must use the bool modifier")
        for side in (left, right):
            _no_range(side)
        return Binary(operator=operator.text, left=left, right=right, as_bool=as_bool, labels=labels, on=on)

    def _matching(self) -> tuple[tuple[str, ...], bool]:
        if self._next.kind != "name" or self._next.text not in {"on", "ignoring"}:
            return (), False
        on = self._take().text == "on"
        labels = self._labels()
        if self._next.kind == "name" and self._next.text in _UNSUPPORTED:
            raise QueryRefused(f"{_UNSUPPORTED[self._next.text]} not supported")
        return labels, on

    def _operand(self) -> Node:
        token = self._next
        if token.kind == "sign" and token.text in "+-":
            self._take()
            operand = self.expression(_UNARY)
            _no_range(operand)
            return Negation(operand=operand) if token.text == "-" else operand
        if token.kind == "number":
            return Number(value=number(self._take().text))
        if token.kind == "sign" and token.text == "(":
            self._take()
            inner = self.expression(0)
            self._expect(")")
            return self._refuse_subquery(inner)
        if token.kind == "name":
            return self._named()
        if token.kind == "sign" and token.text == "{":
            return self._selector(())
        if token.kind == "text":
            raise QueryRefused("string literals not supported")
        raise self._unexpected()

    def _named(self) -> Node:
        name = self._take().text
        follows = self._next
        if name.lower() in AGGREGATES and (follows.text == "(" or follows.text in {"by", "without"}):
            return self._refuse_subquery(self._aggregate(name.lower()))
        if follows.kind == "sign" and follows.text == "(":
            return self._refuse_subquery(self._call(name))
        if name.lower() in {"inf", "nan"}:
            return Number(value=inf if name.lower() == "inf" else nan)
        return self._selector((Matcher(label="__name__", operator="=", value=name),))

    def _call(self, name: str) -> Node:
        if name not in ARGUMENTS:
            raise QueryRefused(f"function {name} not supported; there are {', '.join(sorted(ARGUMENTS))}")
        arguments = self._arguments()
        kinds = ARGUMENTS[name]
        fewest = sum(not kind.endswith("?") for kind in kinds)
        if not fewest <= len(arguments) <= len(kinds):
            raise QueryRefused(f"{name} takes {' and '.join(kinds) or 'no argument'}, not {len(arguments)} arguments")
        for kind, argument in zip(kinds, arguments, strict=False):
            found = _kind(argument)
            if found != kind.rstrip("?"):
                raise QueryRefused(f"{name} takes {' and '.join(kinds)}; a {found} stands where a {kind.rstrip('?')} belongs")
        return Call(function=name, arguments=tuple(arguments))

    def _aggregate(self, operator: str) -> Node:
        labels, without = self._grouping()
        arguments = self._arguments()
        if not labels and not without:
            labels, without = self._grouping()
        wanted = 2 if operator in {"topk", "bottomk"} else 1
        if len(arguments) != wanted or _kind(arguments[-1]) != "vector" or (wanted == 2 and _kind(arguments[0]) != "scalar"):
            raise QueryRefused(f"{operator} takes {'a scalar and a vector' if wanted == 2 else 'one vector'}")
        parameter = arguments[0] if wanted == 2 else None
        return Aggregate(operator=operator, over=arguments[-1], parameter=parameter, labels=labels, without=without)

    def _grouping(self) -> tuple[tuple[str, ...], bool]:
        if self._next.kind != "name" or self._next.text not in {"by", "without"}:
            return (), False
        without = self._take().text == "without"
        return self._labels(), without

    def _labels(self) -> tuple[str, ...]:
        self._expect("(")
        labels = []
        while self._next.text != ")":
            if self._next.kind != "name" or ":" in self._next.text:
                raise self._unexpected()
            labels.append(self._take().text)
            if self._next.text != ")":
                self._expect(",")
        self._expect(")")
        return tuple(labels)

    def _arguments(self) -> list[Node]:
        self._expect("(")
        arguments: list[Node] = []
        while self._next.text != ")" or self._next.kind != "sign":
            arguments.append(self.expression(0))
            if self._next.text != ")":
                self._expect(",")
        self._expect(")")
        return arguments

    def _selector(self, given: tuple[Matcher, ...]) -> Node:
        matchers = list(given)
        if self._next.kind == "sign" and self._next.text == "{":
            self._take()
            while self._next.text != "}" or self._next.kind != "sign":
                matchers.append(self._matcher())
                if self._next.text != "}":
                    self._expect(",")
            self._expect("}")
        if all(re.fullmatch(one.value, "") if one.operator == "=~" else one.operator != "=" or not one.value for one in matchers):
            raise QueryRefused("a selector must contain at least one matcher that does not match the empty string")
        return Selector(matchers=tuple(matchers), span=self._span(), offset=self._offset())

    def _matcher(self) -> Matcher:
        label, operator, value = self._take(), self._take(), self._take()
        if label.kind != "name" or operator.text not in {"=", "!=", "=~", "!~"} or value.kind != "text":
            raise QueryRefused(f'a matcher such as model="a" belongs at position {label.at}')
        text = unquoted(value.text)
        if operator.text in {"=~", "!~"}:
            try:
                re.compile(text)
            except re.error as problem:
                raise QueryRefused(f"{text!r} is not a regular expression: {problem}") from problem
        return Matcher(label=label.text, operator=cast("Literal['=', '!=', '=~', '!~']", operator.text), value=text)

    def _span(self) -> float | None:
        if self._next.kind != "sign" or self._next.text != "[":
            return None
        self._take()
        span = self._duration()
        if self._next.text.startswith(":"):
            raise QueryRefused("subqueries not supported")
        self._expect("]")
        return span

    def _offset(self) -> float:
        self._refuse_at()
        if not self._accept_name("offset"):
            return 0.0
        sign = -1.0 if self._next.text == "-" else 1.0
        if self._next.text == "-":
            self._take()
        offset = sign * self._duration()
        self._refuse_at()
        return offset

    def _duration(self) -> float:
        token = self._take()
        if token.kind != "duration":
            raise QueryRefused(f"a duration such as 5m belongs at position {token.at}, not {token.text!r}")
        return seconds(token.text)

    def _refuse_at(self) -> None:
        if self._next.kind == "sign" and self._next.text == "@":
            raise QueryRefused("the @ modifier not supported")

    def _refuse_subquery(self, node: Node) -> Node:
        if self._next.kind == "sign" and self._next.text == "[":
            raise QueryRefused("subqueries not supported")
        if self._next.kind == "name" and self._next.text == "offset":
            raise QueryRefused("offset not supported on anything but a selector")
        return node

    def _accept_name(self, name: str) -> bool:
        if self._next.kind == "name" and self._next.text == name:
            self._take()
            return True
        return False

    @property
    def _next(self) -> Token:
        return self._tokens[self._position]

    def _take(self) -> Token:
        token = self._next
        self._position = min(self._position + 1, len(self._tokens) - 1)
        return token

    def _expect(self, sign: str) -> None:
        if self._next.kind != "sign" or self._next.text != sign:
            raise self._unexpected(wanted=sign)
        self._take()

    def _unexpected(self, wanted: str = "") -> QueryRefused:
        token = self._next
        return QueryRefused(f"unexpected {token.text!r} at position {token.at}{f', {wanted!r} belongs there' if wanted else ''}")


def _kind(node: Node) -> str:
    if isinstance(node, Selector):
        return "vector" if node.span is None else "range"
    return "scalar" if _is_scalar(node) else "vector"


def _is_scalar(node: Node) -> bool:
    match node:
        case Number():
            return True
        case Negation(operand=operand):
            return _is_scalar(operand)
        case Binary(left=left, right=right):
            return _is_scalar(left) and _is_scalar(right)
        case Call(function="time"):
            return True
    return False


def _no_range(node: Node) -> None:
    if _kind(node) == "range":
        raise QueryRefused("a range selector belongs into a function such as rate()")
