"""Text to tokens. Durations are tokens of their own, so that `5m` is never a number followed by a name."""

import re
from dataclasses import dataclass

from .syntax import QueryRefused

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0, "y": 31_536_000.0}
_TOKENS = re.compile(
    r"""
    (?P<space>\s+|\#[^\n]*)
  | (?P<duration>(?:[0-9]+(?:ms|[smhdwy]))+)(?![a-zA-Z0-9_.])
  | (?P<number>0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![a-zA-Z0-9_:.])
  | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
  | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
  | (?P<sign>=~|!~|==|!=|>=|<=|[-+*/%^(){}\[\],=<>@:])
    """,
    re.VERBOSE,
)
_DURATION_PART = re.compile(r"([0-9]+)(ms|[smhdwy])")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token; `kind` is duration, number, name, text, sign or end, `at` its place in the query."""

    kind: str
    text: str
    at: int


def tokens(query: str) -> list[Token]:
    """Return the tokens of a query, ended by one of kind `end`.

    Raises:
        QueryRefused: a character or a number that PromQL does not have.
    """
    found: list[Token] = []
    position = 0
    while position < len(query):
        match = _TOKENS.match(query, position)
        if match is None:
            raise QueryRefused(f"unexpected {query[position : position + 12]!r} at position {position}")
        kind = str(match.lastgroup)
        if kind != "space":
            found.append(Token(kind=kind, text=match.group(), at=position))
        position = match.end()
    return [*found, Token(kind="end", text="the end of the query", at=position)]


def seconds(duration: str) -> float:
    """Return the seconds of a duration such as `1h30m`."""
    return sum(int(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(duration))


def number(text: str) -> float:
    """Return the value of a number token."""
    return float(int(text, 16)) if text[:2].lower() == "0x" else float(text)


def unquoted(text: str) -> str:
    """Return the content of a text token with its escapes resolved.

    Raises:
        QueryRefused: an escape that PromQL does not have.
    """
    if text[0] == "`":
        return text[1:-1]
    return re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", _escape, text[1:-1])


def _escape(match: re.Match[str]) -> str:
    inner = match.group(1)
    if inner[0] in "xu" and len(inner) > 1:
        return chr(int(inner[1:], 16))
    if inner not in _ESCAPES:
        raise QueryRefused(f"unknown escape \\{inner}")
    return _ESCAPES[inner]
