"""What can be changed by Envoy's runtime values: all retries, the retries to one cluster, and the weights of a route.

Runtime values have no version and are gone when Envoy restarts; both are said in the plan.
https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_runtime
https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#runtime
"""

from abc import abstractmethod
from collections.abc import Mapping

from actions.backends.envoy.admin import Admin, Cluster, Left, Value
from actions.backends.envoy.routes import attempts_in_words, named
from actions.comparing import Comparing, deadline
from actions.contract import CallInvalid, TargetMissing
from runbooks.operation import Call, Proposal, Reading
from runbooks.value import Json

LOST = "Envoy forgets this when it restarts."


class Retries(Comparing):
    """Retries off and on again by one runtime value; a number between is not to be had. `_found` says which value, and how it stands."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    @abstractmethod
    def _found(self, call: Call, *, left: Left) -> tuple[Value, int, bool]:
        """The runtime value, the attempts that the routes are configured with, and whether retries are off now."""

    def read(self, call: Call, *, timeout: float) -> Reading:
        """The attempts that are made now: the first alone, or as many as the routes say."""
        value, configured, off = self._found(call, left=deadline(timeout))
        facts = {"configured": configured, "key": value.key, "override": value.override, "below": value.below}
        return Reading(value={"attempts": 1 if off else configured}, facts=facts)

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """One attempt, or again as many as configured."""
        value = {"attempts": call.arguments["attempts"]}
        self._settings(value, reading)
        override = reading.facts["override"]
        if override not in {None, "0"}:
            raise CallInvalid(
                f"Somebody has set {reading.facts['key']} to {override} at run time, and an undo could not put that back. "
                f"Take it away first: POST /runtime_modify?{reading.facts['key']}= on Envoy's admin port."
            )
        before, after = attempts_in_words(reading.value), attempts_in_words(value)
        return Proposal(value=value, before_text=before, after_text=after, note=f"{self._reach(call)} {LOST}")

    @abstractmethod
    def _reach(self, call: Call) -> str:
        """What is touched, in a sentence."""

    def _settings(self, value: Mapping[str, Json], present: Reading) -> dict[str, str]:
        """The override for a number of attempts; empty to take it away."""
        wanted, configured = value["attempts"], present.facts["configured"]
        if wanted == 1:
            return {present.facts["key"]: "0"}
        if wanted != configured:
            raise CallInvalid(
                f"At run time Envoy's retries can only be turned off (1 attempt) or left as configured ({configured}), not {wanted}. "
                "With `by: route_file` any number can be set."
            )
        elsewhere = present.facts["below"] == "0" or present.facts["override"] is None
        if present.value["attempts"] != configured and elsewhere:
            raise CallInvalid(
                f"Envoy's own configuration turns these retries off, not {present.facts['key']} at run time; change it there."
            )
        return {present.facts["key"]: ""}

    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:  # noqa: ARG002
        self._admin.modify(self._settings(value, present), left=deadline(timeout))


class AllRetries(Retries):
    """Every retry of the whole proxy, by `upstream.use_retry`: the share of requests that may be retried. The target is the node's id."""

    def _found(self, call: Call, *, left: Left) -> tuple[Value, int, bool]:
        node, _ = self._admin.node(left=left)
        if call.target != node:
            raise TargetMissing(
                f"This Envoy is called {node}, not {call.target}; `by: runtime` changes all of it, so write {node} as target."
            )
        value = self._admin.values("upstream.use_retry", left=left)["upstream.use_retry"]
        configured = max((route.attempts for route in self._admin.routes(left=left)), default=1)
        return value, configured, value.final == "0"

    def _reach(self, call: Call) -> str:
        return f"Touches every route of {call.target}."


class ClusterRetries(Retries):
    """The retries to one cluster, by its circuit breaker: no retry may be under way. The target is the cluster's name."""

    def _found(self, call: Call, *, left: Left) -> tuple[Value, int, bool]:
        cluster = _existing(self._admin.clusters(left=left), call.target)
        key, budget = (f"circuit_breakers.{cluster.name}.default.{one}" for one in ("max_retries", "retry_budget.budget_percent"))
        values = self._admin.values(key, budget, left=left)
        if values[budget].final is not None or self._admin.has_budget(cluster.name, left=left):
            raise CallInvalid(f"{cluster.name} limits its retries by a retry budget, which outranks their number. Use `by: route_file`.")
        attempts = [route.attempts for route in self._admin.routes(left=left) if cluster.name in route.clusters]
        return values[key], max(attempts, default=1), cluster.max_retries == 0

    def _reach(self, call: Call) -> str:
        return f"Touches every route that leads to {call.target}."


class Weights(Comparing):
    """Where a route with weighted clusters leads, by the runtime fractions below its `runtime_key_prefix`.

    The target is virtual-host/route. A route's text is the name of the one cluster that gets everything, or the shares:
    `primary=90,backup=10`.
    """

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    def read(self, call: Call, *, timeout: float) -> Reading:
        """Which cluster gets the requests, or in which shares."""
        left = deadline(timeout)
        route = named(self._admin.routes(left=left), call.target)
        if route.runtime_key_prefix is None or not route.weights:
            raise CallInvalid(f"{call.target} has no weighted_clusters with a runtime_key_prefix, so it cannot be switched at run time.")
        keys = {name: f"{route.runtime_key_prefix}.{name}" for name in route.weights}
        values = self._admin.values(*keys.values(), left=left)
        now = {name: _weight(values[key].final, route.weights[name]) for name, key in keys.items()}
        below = {name: _weight(values[key].below, route.weights[name]) for name, key in keys.items()}
        clusters = self._admin.clusters(left=left)
        facts = {
            "clusters": list(keys),
            "prefix": route.runtime_key_prefix,
            "total": sum(route.weights.values()) or 100,
            "configured": _said(below),
            "healthy": {name: clusters[name].healthy if name in clusters else 0 for name in keys},
        }
        return Reading(value={"route": _said(now)}, facts=facts)

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The route asked for, if it leads somewhere where someone is."""
        weights = self._meant(str(call.arguments["route"]), reading)
        empty = [name for name, weight in weights.items() if weight and not reading.facts["healthy"][name]]
        if empty:
            raise CallInvalid(f"{', '.join(empty)} has no healthy host now; requests sent there would fail.")
        value = {"route": _said(weights)}
        before, after = f"route {reading.value['route']}", f"route {value['route']}"
        return Proposal(value=value, before_text=before, after_text=after, note=LOST)

    def _meant(self, text: str, reading: Reading) -> dict[str, int]:
        known: list[str] = reading.facts["clusters"]
        parts = dict.fromkeys(known, 0)
        for part in text.split(","):
            name, given, weight = part.strip().partition("=")
            if name not in parts or (given and not (weight.isascii() and weight.isdigit() and len(weight) <= 6)):
                raise CallInvalid(
                    f"{text!r} is no route here; write one of {', '.join(known)}, or shares such as {known[0]}=90,{known[-1]}=10."
                )
            parts[name] = int(weight) if given else reading.facts["total"]
        if not any(parts.values()):
            raise CallInvalid(f"{text!r} would leave no cluster any request.")
        return parts

    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:  # noqa: ARG002
        """All weights in one request, so that no request is routed in between; as configured means no override at all."""
        weights = self._meant(value["route"], present)
        as_configured = value["route"] == present.facts["configured"]
        prefix = present.facts["prefix"]
        changed = {f"{prefix}.{name}": "" if as_configured else str(weight) for name, weight in weights.items()}
        self._admin.modify(changed, left=deadline(timeout))


def _existing(clusters: Mapping[str, Cluster], target: str | None) -> Cluster:
    found = clusters.get(target or "")
    if found is None:
        raise TargetMissing(f"Envoy has no cluster {target}; it has {', '.join(sorted(clusters)[:8]) or 'none'}.")
    return found


def _weight(text: str | None, otherwise: int) -> int:
    """A runtime value that is no whole number is ignored by Envoy, too."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else otherwise


def _said(weights: Mapping[str, int]) -> str:
    used = [name for name, weight in weights.items() if weight]
    return used[0] if len(used) == 1 else ",".join(f"{name}={weight}" for name, weight in weights.items())
