"""Which backend serves which operation in which environment. One each, and a drill's registry holds nothing real (rule S27)."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from actions.contract import Backend
from runbooks.errors import MusterError, NotFound
from runbooks.operation import Operation


class RegistryInvalid(MusterError):
    """These backends cannot stand beside each other. The text says which, and why."""


class Registry:
    """All backends of one process, or of one drill. Immutable."""

    def __init__(self, backends: Sequence[Backend], *, drill: bool = False) -> None:
        """Raise `RegistryInvalid` where two serve the same, or one that changes targets is bound to no environment."""
        self.backends, self._drill = tuple(backends), drill
        self.operations: Mapping[str, Operation] = MappingProxyType(_operations(self.backends, drill=drill))
        self._by_place = _by_place(self.backends)

    @classmethod
    def for_drill(cls, backends: Sequence[Backend], *, world: str) -> "Registry":
        """The registry of a drill: whatever the environment of its alert, only this simulated world is reached.

        Raises:
            RegistryInvalid: one of them is not confined to `world`.
        """
        outside = [backend.name for backend in backends if backend.world != world]
        if not world or outside:
            raise RegistryInvalid(f"A drill cannot be run: {', '.join(outside) or 'nothing'} is not confined to its simulated world.")
        return cls(backends, drill=True)

    @property
    def catalogue(self) -> Mapping[str, Operation]:
        """What runbooks may use here."""
        return MappingProxyType({name: one for name, one in self.operations.items() if not one.internal})

    def backend(self, operation: str, environment: str | None) -> Backend:
        """The backend that serves `operation` in `environment`.

        Raises:
            NotFound: none does; the sentence says where it is served.
        """
        serving = self._by_place.get(operation, {})
        if self._drill and serving:
            return next(iter(serving.values()))
        found = serving.get(environment) or serving.get(None)
        if found is None and environment is None and len(serving) == 1 and self.operations[operation].reads:
            found = next(iter(serving.values()))
        if found is None:
            raise NotFound(_absent(operation, environment, serving))
        return found


def _absent(operation: str, environment: str | None, serving: Mapping[str | None, Backend]) -> str:
    if not serving:
        return f"No backend is configured for {operation}."
    there = ", ".join(sorted(place or "everywhere" for place in serving))
    where = f"in {environment}" if environment else "without knowing the environment"
    return f"No backend is configured for {operation} {where}; there is one for {there}."


def _operations(backends: Iterable[Backend], *, drill: bool) -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    for backend in backends:
        for operation in backend.operations:
            if found.setdefault(operation.name, operation) != operation:
                raise RegistryInvalid(f"{operation.name} is declared in two different ways; one of them is {backend.name}'s.")
            if operation.target and not operation.reads and backend.environment is None and not drill:
                raise RegistryInvalid(f"{backend.name} changes targets and must be bound to one environment.")
    return found


def _by_place(backends: Iterable[Backend]) -> dict[str, dict[str | None, Backend]]:
    found: dict[str, dict[str | None, Backend]] = {}
    for backend in backends:
        for operation in backend.operations:
            places = found.setdefault(operation.name, {})
            if backend.environment in places:
                where = f"in {backend.environment}" if backend.environment else "everywhere"
                raise RegistryInvalid(f"{operation.name} {where} is served by {places[backend.environment].name} and by {backend.name}.")
            places[backend.environment] = backend
    return found
