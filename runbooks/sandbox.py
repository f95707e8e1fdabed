"""Where templates run: an environment that knows mappings, lists and a closed list of filters, and nothing else."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from jinja2 import StrictUndefined, Undefined
from jinja2.sandbox import SandboxedEnvironment

from runbooks.errors import LabelMissing, TemplateInvalid
from runbooks.grammar import FILTERS


class Labels(Mapping[str, str]):
    """An alert's labels as templates see them. A missing or empty one is an error, or says so in its place."""

    def __init__(self, labels: Mapping[str, str], *, shown: Callable[[str], str], says_missing: bool) -> None:
        self._labels, self._shown, self._says_missing = labels, shown, says_missing

    def __getitem__(self, name: str) -> str:
        value = self._shown(self._labels.get(name, ""))
        if value.strip():
            return value
        if self._says_missing:
            return str(LabelMissing(name))
        raise LabelMissing(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)


class _Environment(SandboxedEnvironment):
    """Looks into mappings and lists only; an object's attributes and methods do not exist."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Undefined):
            return obj
        known = isinstance(obj, Mapping) and isinstance(argument, str)
        placed = isinstance(obj, list | tuple) and isinstance(argument, int | slice) and not isinstance(argument, bool)
        try:
            return obj[argument] if known or placed else self.undefined(f"there is no {argument} here")
        except LookupError:
            return self.undefined(f"there is no {argument} here")


def _written(value: Any) -> Any:
    """A value as a person writes it: no `None`, no `True`, no `0.30000000000000004`."""
    if value is None:
        raise TemplateInvalid("the value is empty: there is nothing to show")
    if isinstance(value, Mapping | list | tuple):
        raise TemplateInvalid("the value is a whole list or record; name the field of it that is meant, or use join")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else str(round(value, 6))
    return value


def _percent(value: float, digits: int = 0) -> str:
    """A ratio as a percentage: 0.034 is `3 %`, with one digit `3.4 %`."""
    return f"{float(value) * 100:.{min(max(int(digits), 0), 6)}f} %"


def _rounded(value: float, digits: int = 0) -> float:
    return round(float(value), min(max(int(digits), 0), 12))


def _joined(value: Sequence[Any], separator: str = ", ", attribute: str | None = None) -> str:
    """The entries with a separator between them; with `attribute`, that field of each entry."""
    if not isinstance(separator, str) or isinstance(value, str):
        raise TypeError("join takes a list and a separator in quotes")
    return separator.join(str(_written(entry[attribute] if attribute is not None else entry)) for entry in value)


def _quoted(value: Any) -> str:
    return quote(str(value), safe="")


ENVIRONMENT = _Environment(undefined=StrictUndefined, autoescape=False, finalize=_written, keep_trailing_newline=True, cache_size=0)
ENVIRONMENT.globals.clear()
ENVIRONMENT.filters = {
    "urlencode": _quoted,
    "length": len,
    "round": _rounded,
    "percent": _percent,
    "join": _joined,
    "upper": lambda value: str(value).upper(),
    "lower": lambda value: str(value).lower(),
    "first": lambda value: value[0],
    "last": lambda value: value[-1],
}
assert set(ENVIRONMENT.filters) == set(FILTERS)
