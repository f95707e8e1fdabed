"""Envoy: retries, routes and local rate limits, through its admin port and its route file, without a restart.

Targets: the node's id (retries, `by: runtime`), a cluster (`by: circuit_breaker`), virtual-host/route (retries by `route_file`, and
routes), virtual-host/route/max_tokens (limits).
"""

from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from actions.backends.envoy.admin import Admin
from actions.backends.envoy.routefile import RouteLimit, RouteRetries
from actions.backends.envoy.runtime import AllRetries, ClusterRetries, Weights
from actions.comparing import deadline
from actions.contract import CallInvalid
from actions.kinds import BackendKind, Options, Secrets
from actions.operations import LIMIT_SET, RETRIES_CAP, ROUTE_SWITCH
from actions.toolkit.loopback import checked
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json

OPERATIONS = (RETRIES_CAP, ROUTE_SWITCH, LIMIT_SET)
WAYS = ("runtime", "circuit_breaker", "route_file")
MOST_TARGET = 300


class Way(Protocol):
    """How one operation is done here: a backend's three functions for it."""

    def read(self, call: Call, *, timeout: float) -> Reading: ...
    def propose(self, call: Call, reading: Reading) -> Proposal: ...
    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading: ...


class Envoy:
    """One Envoy. Implements `actions.contract.Backend`."""

    name = "envoy"
    world: str | None = None

    def __init__(self, *, admin: str, by: str, route_file: Path | None = None, environment: str | None = "production") -> None:
        """`admin` is the admin port's address; `by` says how retries are capped; limits need the `route_file`."""
        self.environment = environment
        self._admin = Admin(url=admin)
        self._ways: dict[str, Way] = {ROUTE_SWITCH.name: Weights(self._admin)}
        if by == "route_file" and route_file is not None:
            self._ways[RETRIES_CAP.name] = RouteRetries(self._admin, path=route_file)
        else:
            self._ways[RETRIES_CAP.name] = AllRetries(self._admin) if by == "runtime" else ClusterRetries(self._admin)
        if route_file is not None:
            self._ways[LIMIT_SET.name] = RouteLimit(self._admin, path=route_file)
        self.operations: tuple[Operation, ...] = tuple(one for one in OPERATIONS if one.name in self._ways)

    def read(self, call: Call, *, timeout: float) -> Reading:
        """The target as Envoy runs it now."""
        return self._way(call).read(call, timeout=timeout)

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """What the call would make of it."""
        return self._way(call).propose(call, reading)

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """Change it if it is as expected, and look again."""
        return self._way(call).apply(call, value, expected=expected, key=key, timeout=timeout)

    def probe(self, *, timeout: float) -> str:
        """Which Envoy answers, and whether its runtime values can be changed."""
        left = deadline(timeout)
        state = self._admin.state(left=left)
        node, layer = self._admin.node(left=left)
        how = "its runtime values can be changed" if layer else "it has no admin layer, so only its route file can be changed"
        return f"{state}, called {node}; {how}."

    def _way(self, call: Call) -> Way:
        way = self._ways.get(call.operation)
        if way is None:
            raise CallInvalid(f"This Envoy is not configured for {call.operation}.")
        if not call.target or len(call.target) > MOST_TARGET or not call.target.isprintable():
            raise CallInvalid(f"{call.operation} needs the name of a target, printable and at most {MOST_TARGET} characters long.")
        return way


def build(options: Options, secrets: Secrets) -> Envoy:  # noqa: ARG001 - the admin port asks for none
    """Options: `admin`, `by`, `route_file`, `environment`, and `trusted` for an admin port on another machine."""
    admin, by, route_file = options.text("admin"), options.text("by", "circuit_breaker"), options.text("route_file", None)
    parts = urlsplit(admin)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise options.invalid("admin", f"is {admin!r}; write Envoy's admin address, such as http://127.0.0.1:9901")
    checked(options, "admin", parts.hostname)
    if by not in WAYS:
        raise options.invalid("by", f"is {by!r}; write one of {', '.join(WAYS)}")
    if by == "route_file" and route_file is None:
        raise options.invalid("route_file", "is needed where retries are capped by it")
    if route_file is not None and (not Path(route_file).is_absolute() or Path(route_file).suffix not in {".yaml", ".yml", ".json"}):
        raise options.invalid(
            "route_file", f"is {route_file!r}; write the whole path of the YAML or JSON file that Envoy takes its routes from"
        )
    return Envoy(
        admin=admin, by=by, route_file=Path(route_file) if route_file else None, environment=options.text("environment", "production")
    )


KIND = BackendKind(
    name="envoy",
    operations=OPERATIONS,
    build=build,
    options=frozenset({"admin", "by", "route_file", "environment", "trusted"}),
)
