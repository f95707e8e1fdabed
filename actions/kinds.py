"""How a backend is found and built: an entry point of the group `muster.backends` names a `BackendKind`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

from actions.contract import Backend, CallInvalid
from runbooks.errors import Problem, SettingsInvalid
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json

GROUP = "muster.backends"
_SIGNED_IN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#@]*:[^/?#]*@")

Secrets = Mapping[str, Callable[[], str]]
"""Secrets by name; each is read at the moment of use and kept nowhere (rule S18)."""


class Options:
    """A backend's options as configured. Every refusal names the field."""

    def __init__(self, values: Mapping[str, Json], *, place: str = "backends") -> None:
        self._values, self._place = values, place

    def get(self, name: str, kind: type, default: Any = ...) -> Any:
        """The option `name`, of type `kind`; `...` as default means that it must be there.

        Raises:
            SettingsInvalid: it is missing or of another type.
        """
        value = self._values.get(name)
        if value is None:
            if default is ...:
                raise self.invalid(name, "is needed")
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.invalid(name, f"is {value!r}; it must be a {kind.__name__}")
        return value

    def text(self, name: str, default: Any = ...) -> Any:
        """A text option. An address that holds a password is refused and not repeated: options are shown, secrets are not (rule S18)."""
        found = self.get(name, str, default)
        if isinstance(found, str) and _SIGNED_IN.match(found):
            raise self.invalid(name, "holds a password; leave it out of the address, and give it as a secret")
        return found

    def texts(self, name: str, default: Any = ...) -> tuple[str, ...]:
        """A list of texts."""
        found = self.get(name, list, default)
        if not all(isinstance(one, str) for one in found):
            raise self.invalid(name, "must be a list of texts")
        return tuple(found)

    def invalid(self, name: str, reason: str) -> SettingsInvalid:
        """The error for one field."""
        return SettingsInvalid([Problem(file="muster.yaml", field=f"{self._place}.{name}", reason=reason)])

    def only(self, names: frozenset[str]) -> None:
        """Refuse what no one reads: a misspelt option would be silently without effect.

        Raises:
            SettingsInvalid: with one problem for each unknown name.
        """
        unknown = sorted(set(self._values) - names)
        if unknown:
            may = f"is not known here; known are {', '.join(sorted(names))}"
            raise SettingsInvalid([Problem(file="muster.yaml", field=f"{self._place}.{name}", reason=may) for name in unknown])


class OnlyReads:
    """What a backend that changes nothing has in common with others of its kind: it cannot propose, and it cannot apply."""

    def propose(self, call: Call, reading: Reading) -> Proposal:  # noqa: ARG002 - the contract's signature
        """Raise `CallInvalid`: there is nothing to change."""
        raise CallInvalid(f"{call.operation} only reads.")

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:  # noqa: ARG002
        """Raise `CallInvalid`: there is nothing to change."""
        raise CallInvalid(f"{call.operation} only reads.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendKind:
    """One kind of backend: its operations are known without building it, so that runbooks can be checked anywhere."""

    name: str
    operations: tuple[Operation, ...]
    build: Callable[[Options, Secrets], Backend]
    options: frozenset[str] = field(default_factory=frozenset)


def installed() -> dict[str, BackendKind]:
    """Every kind that is installed, ours and strangers', by the name of its entry point."""
    return {point.name: point.load() for point in entry_points(group=GROUP)}


def declared() -> dict[str, Operation]:
    """The catalogue for runbooks: what every installed kind offers, without Muster's own operations and without any configuration."""
    return {operation.name: operation for kind in installed().values() for operation in kind.operations if not operation.internal}


def build(kind: str, options: Mapping[str, Json], *, secrets: Secrets, name: str = "") -> Backend:
    """Build one configured backend; `name` is what the configuration calls it.

    Raises:
        SettingsInvalid: there is no such kind, an option is unknown, missing or wrong.
    """
    kinds = installed()
    read = Options(options, place=f"backends.{name or kind}")
    if kind not in kinds:
        raise read.invalid("kind", f"is {kind!r}; installed are {', '.join(sorted(kinds))}")
    read.only(kinds[kind].options)
    return kinds[kind].build(read, secrets)
