"""Envoy's admin interface: what it runs with, and its runtime values (https://www.envoyproxy.io/docs/envoy/latest/operations/admin)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from actions.backends.envoy.routes import Route, routes_of
from actions.contract import CallInvalid, OutcomeUnknown, Rejected
from actions.toolkit.understood import understood
from actions.toolkit.wire import Answer, Wire, refuse
from runbooks.value import Json

WHO = "Envoy"
MOST_DUMP = 20_000_000  # bytes; a mesh's proxy carries many routes
Left = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One runtime value: `override` stands in the admin layer, which is changed at run time, `below` in the layers beneath it."""

    key: str
    override: str | None
    below: str | None
    final: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One cluster as it runs now: its limit of concurrent retries (default priority), and its hosts, all and those that may be used."""

    name: str
    max_retries: int
    hosts: int
    healthy: int


class Admin:
    """The questions and the one change. No credentials: the door has no lock."""

    def __init__(self, *, url: str) -> None:
        self._wire = Wire(who=WHO, base=url)

    @understood(WHO)
    def state(self, *, left: Left) -> str:
        """Which Envoy answers, and whether it serves."""
        found = _mapping(self._asked("/server_info", left=left))
        version = f"{found.get('version', '')}/".split("/")[1]  # commit/version/state/kind/TLS library
        return f"{WHO} {version or 'of an unknown version'} is {found.get('state', 'in an unknown state')}"

    @understood(WHO)
    def node(self, *, left: Left) -> tuple[str, str | None]:
        """The node's id (`envoy` where it has none), and the name of the runtime's admin layer, None where there is none."""
        found = self._dump(left=left, mask="bootstrap.node.id,bootstrap.layered_runtime")
        bootstrap: Mapping[str, Any] = next((one["bootstrap"] for one in found if isinstance(one.get("bootstrap"), Mapping)), {})
        layers = bootstrap.get("layered_runtime", {}).get("layers", [])
        return str(bootstrap.get("node", {}).get("id") or "envoy"), next((one.get("name") for one in layers if "admin_layer" in one), None)

    @understood(WHO)
    def routes(self, *, left: Left) -> tuple[Route, ...]:
        """Every route that Envoy runs with, from its own configuration and from what it was given."""
        given = self._dump(left=left, resource="dynamic_route_configs")
        own = self._dump(left=left, resource="static_route_configs")
        return tuple(route for one in (*given, *own) for route in routes_of(one))

    @understood(WHO)
    def clusters(self, *, left: Left) -> dict[str, Cluster]:
        """Every cluster by name."""
        found = _mapping(self._asked("/clusters", left=left, format="json"))
        return {str(one["name"]): _cluster(one) for one in found.get("cluster_statuses", [])}

    @understood(WHO)
    def has_budget(self, cluster: str, *, left: Left) -> bool:
        """Whether a cluster limits retries by a budget: its number of concurrent retries then has no meaning."""
        for resource in ("static_clusters", "dynamic_active_clusters"):
            for one in self._dump(left=left, resource=resource):
                found = one.get("cluster", {})
                if found.get("name") == cluster:
                    return any("retry_budget" in limit for limit in found.get("circuit_breakers", {}).get("thresholds", []))
        return False

    @understood(WHO)
    def values(self, *keys: str, left: Left) -> dict[str, Value]:
        """Runtime values by key, and where each comes from.

        Raises:
            CallInvalid: this Envoy has no admin layer, so that nothing can be changed at run time.
        """
        _, layer = self.node(left=left)
        if layer is None:
            raise CallInvalid(
                "This Envoy has no admin layer, so its runtime values cannot be changed. Add `layered_runtime: {layers: [{name: admin, "
                "admin_layer: {}}]}` to its bootstrap, or use `by: route_file`."
            )
        found = _mapping(self._asked("/runtime", left=left))
        index = list(found.get("layers", [])).index(layer)
        return {key: _value(key, found.get("entries", {}).get(key, {}), index) for key in keys}

    def modify(self, values: Mapping[str, str], *, left: Left) -> None:
        """Set overrides in the admin layer, all in one; an empty one is taken away."""
        asked = urlencode(values, quote_via=quote)  # Envoy takes + for itself and not for a space
        answer = self._wire.send("POST", f"/runtime_modify?{asked}", timeout=left())
        if answer.status == 503 and b"No admin layer" in answer.body:
            raise Rejected("Envoy has no admin layer that could be changed.")
        refuse(answer, who=WHO, what="runtime")

    def _dump(self, *, left: Left, **asked: str) -> list[dict[str, Any]]:
        found = _mapping(self._asked("/config_dump", left=left, **asked))
        return [one for one in found.get("configs", []) if isinstance(one, dict)]

    def _asked(self, path: str, *, left: Left, **asked: str) -> Json:
        answer: Answer = self._wire.send("GET", path, params=asked or None, timeout=left(), most=MOST_DUMP)
        refuse(answer, who=WHO, what=path)
        return answer.json()


def _mapping(found: Json) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise OutcomeUnknown(f"{WHO} answers something that cannot be read; is that its admin port?")
    return found


def _value(key: str, entry: Mapping[str, Any], index: int) -> Value:
    """`layer_values` stand in the order of the layers; the last one that is not empty holds."""
    layers = list(entry.get("layer_values", []))
    below = next((one for one in reversed(layers[:index]) if one), None)
    return Value(key=key, override=(layers[index] if layers else "") or None, below=below, final=entry.get("final_value") or None)


def _cluster(found: Mapping[str, Any]) -> Cluster:
    thresholds = found.get("circuit_breakers", {}).get("thresholds", [])
    default: Mapping[str, Any] = next((one for one in thresholds if one.get("priority", "DEFAULT") == "DEFAULT"), {})
    hosts = found.get("host_statuses", [])
    return Cluster(
        name=str(found["name"]),
        max_retries=int(default.get("max_retries", 0)),
        hosts=len(hosts),
        healthy=sum(_is_healthy(one.get("health_status", {})) for one in hosts),
    )


def _is_healthy(status: Mapping[str, Any]) -> bool:
    """A failed check of any kind is written as a field that is true; what a discovery service says stands in words."""
    return status.get("eds_health_status", "HEALTHY") in {"HEALTHY", "UNKNOWN", "DEGRADED"} and True not in status.values()
