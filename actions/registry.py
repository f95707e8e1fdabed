"""Which backend serves which operation where. One each, and a drill's registry holds nothing real (rule S27)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from actions.contract import Backend
from actions.together.several import Several
from runbooks.errors import MusterError, NotFound
from runbooks.operation import SEVERAL, Call, Operation


class RegistryInvalid(MusterError):
    """These backends cannot stand beside each other. The text says which, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A backend under its configured name.

    `services` confines it to their incidents, `only` to these of its operations, `targets` to these targets; empty means every service,
    and all of them.
    """

    name: str
    backend: Backend
    services: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What it is asked for here."""
        return tuple(one for one in self.backend.operations if not self.only or one.name in self.only)

    @property
    def environment(self) -> str | None:
        """The only environment that it reaches; None for one that touches no target of its own."""
        return self.backend.environment

    def serves(self, *, environment: str | None, service: str | None, target: str | None = None) -> bool:
        """Whether incidents of this service in this environment are its business, and this target is."""
        if self.targets and target not in self.targets:
            return False
        here = self.environment is None or self.environment == environment
        return here and (not self.services or service in self.services)


class Registry:
    """All backends of one process, or of one drill. Immutable."""

    def __init__(self, backends: Sequence[Backend | Bound], *, drill: bool = False) -> None:
        """Raise `RegistryInvalid` where two serve the same, or one that changes targets is bound to no environment."""
        bound = [one if isinstance(one, Bound) else Bound(name=one.name, backend=one) for one in backends]
        self.backends, self._drill = tuple(one.backend for one in bound), drill
        self.operations: Mapping[str, Operation] = MappingProxyType(_operations(bound, drill=drill))
        self._serving = _serving(bound)
        self._several = Several(self.planned)

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

    def backend(self, operation: str, environment: str | None, service: str | None = None, *, target: str | None = None) -> Backend:
        """The backend of `bound`."""
        return self.bound(operation, environment, service, target=target).backend

    def bound(self, operation: str, environment: str | None, service: str | None = None, *, target: str | None = None) -> Bound:
        """Who serves `operation` for this service in this environment: the one for this target, else for the service, else for all.

        Raises:
            NotFound: nobody does; the sentence says where it is served.
        """
        serving = self._serving.get(operation, ())
        if self._drill and serving:
            return serving[0]
        found = [one for one in serving if one.serves(environment=environment, service=service, target=target)]
        if not found and environment is None and len(serving) == 1 and self.operations[operation].reads:
            found = list(serving)
        if not found:
            raise NotFound(_absent(operation, environment, serving))
        return max(found, key=lambda one: (one.environment is not None, bool(one.targets), bool(one.services)))

    def planned(self, call: Call) -> Backend:
        """The backend that a plan's call was made with: a plan is carried out by the system that it was read from, or not at all.

        Several calls as one are carried out by theirs.

        Raises:
            NotFound: it is no longer configured so.
        """
        if call.operation == SEVERAL:
            return self._several
        if call.backend is None or self._drill:
            return self.backend(call.operation, call.environment)
        here = (one for one in self._serving.get(call.operation, ()) if one.environment in {None, call.environment})
        found = next((one for one in here if one.name == call.backend), None)
        if found is None:
            raise NotFound(f"{call.backend} no longer serves {call.operation} here. Plan again.")
        return found.backend


def _absent(operation: str, environment: str | None, serving: Sequence[Bound]) -> str:
    if not serving:
        return f"No backend is configured for {operation}."
    here = [one for one in serving if one.environment in {None, environment}]
    if here:
        served = ", ".join(sorted({name for one in here for name in one.services}))
        return f"No backend is configured for {operation} of this service; there is one for {served}."
    there = ", ".join(sorted({one.environment or "everywhere" for one in serving}))
    where = f"in {environment}" if environment else "without knowing the environment"
    return f"No backend is configured for {operation} {where}; there is one for {there}."


def _operations(backends: Iterable[Bound], *, drill: bool) -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    for backend in backends:
        for operation in backend.operations:
            if found.setdefault(operation.name, operation) != operation:
                raise RegistryInvalid(f"{operation.name} is declared in two different ways; one of them is {backend.name}'s.")
            if operation.target and not operation.reads and backend.environment is None and not drill:
                raise RegistryInvalid(f"{backend.name} changes targets and must be bound to one environment.")
    return found


def _serving(backends: Iterable[Bound]) -> dict[str, tuple[Bound, ...]]:
    found: dict[str, tuple[Bound, ...]] = {}
    for one in backends:
        for operation in one.operations:
            others = found.get(operation.name, ())
            rival = next((other for other in others if _overlap(one, other)), None)
            if rival is not None:
                where = f"in {one.environment}" if one.environment else "everywhere"
                raise RegistryInvalid(f"{operation.name} {where} is served by {rival.name} and by {one.name}.")
            found[operation.name] = (*others, one)
    return found


def _overlap(one: Bound, other: Bound) -> bool:
    """Whether nobody could say which of the two is meant."""
    if bool(one.targets) != bool(other.targets) or (one.targets and not one.targets & other.targets):
        return False
    alike = bool(one.services & other.services) or (not one.services and not other.services)
    return one.environment == other.environment and alike
