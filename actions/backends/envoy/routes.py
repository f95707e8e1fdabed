"""What Envoy's routes say about retries and clusters. Pure.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actions.contract import CallInvalid, TargetMissing

RATE_LIMIT = "envoy.filters.http.local_ratelimit"
RETRIES_UNSAID = 1  # Envoy's own default where a policy names conditions and no number


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route as Envoy runs it.

    `version` is that of the configuration it came with, empty for one of the bootstrap; `bucket` is that of its local rate limit.
    """

    configuration: str
    version: str
    name: str
    attempts: int
    clusters: tuple[str, ...]
    weights: Mapping[str, int] = field(default_factory=dict)
    runtime_key_prefix: str | None = None
    bucket: Mapping[str, Any] = field(default_factory=dict)


def routes_of(found: Mapping[str, Any]) -> Iterator[Route]:
    """The routes of one entry of /config_dump."""
    configuration = found.get("route_config", {})
    for host in configuration.get("virtual_hosts", []):
        for route in host.get("routes", []):
            if "route" in route:
                yield _route(route, host, configuration=configuration.get("name", ""), version=found.get("version_info", ""))


def _route(route: Mapping[str, Any], host: Mapping[str, Any], *, configuration: str, version: str) -> Route:
    action = route["route"]
    weighted = action.get("weighted_clusters", {})
    weights = {str(one["name"]): int(one.get("weight", 0)) for one in weighted.get("clusters", []) if "name" in one}
    return Route(
        configuration=configuration,
        version=version,
        name=f"{host.get('name', '')}/{route.get('name', '')}",
        attempts=attempts_of(action.get("retry_policy", host.get("retry_policy"))),
        clusters=tuple(weights) or ((action["cluster"],) if "cluster" in action else ()),
        weights=weights,
        runtime_key_prefix=weighted.get("runtime_key_prefix") or None,
        bucket=bucket_of(route),
    )


def bucket_of(route: Mapping[str, Any]) -> Mapping[str, Any]:
    """The token bucket of a route's own local rate limit; empty where it has none."""
    found = (route.get("typed_per_filter_config") or {}).get(RATE_LIMIT) or {}
    return found.get("token_bucket") or {}


def attempts_of(policy: Mapping[str, Any] | None) -> int:
    """Attempts in all that a retry policy allows, the first included. Without conditions nothing is repeated."""
    if not policy or not policy.get("retry_on"):
        return 1
    return 1 + int(policy.get("num_retries", RETRIES_UNSAID))


def named(routes: Sequence[Route], target: str | None) -> Route:
    """The one route of this name, `virtual-host/route`.

    Raises:
        TargetMissing: there is none; the sentence names some that are there.
        CallInvalid: the name is none, or several routes bear it.
    """
    if not target or target.count("/") != 1 or target.startswith("/") or target.endswith("/"):
        raise CallInvalid(f"{target!r} is no route; write virtual-host/route, both by their names in Envoy's configuration.")
    found = [route for route in routes if route.name == target]
    if not found:
        there = sorted({route.name for route in routes if not route.name.endswith("/")})[:5]
        raise TargetMissing(f"Envoy has no route {target}; it has {', '.join(there) or 'no route with a name'}.")
    if len(found) > 1:
        raise CallInvalid(f"Envoy has {len(found)} routes called {target}; give each a name of its own.")
    return found[0]


def attempts_in_words(value: Mapping[str, Any]) -> str:
    """The value of `retries.cap` as people say it."""
    return f"{value['attempts']} {'attempt' if value['attempts'] == 1 else 'attempts'}"
