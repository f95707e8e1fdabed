"""How an Envoy is configured, and what its routes mean."""

from typing import Any

import pytest

from actions.backends.envoy import KIND
from actions.backends.envoy.routes import attempts_of, named, routes_of
from actions.contract import CallInvalid
from actions.kinds import Options
from actions.toolkit.loopback import is_loopback
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]"])
def test_this_machine_is_recognised(host: str) -> None:
    """Every way to write this machine's own address is one."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["10.0.0.4", "envoy.internal", "localhost.evil.example", "0.0.0.0", "::ffff:8.8.8.8", "127.0.0.1.nip.io", ""]
)
def test_everything_else_is_elsewhere(host: str) -> None:
    """A name that only looks like this machine is not it."""
    assert not is_loopback(host)


def test_an_admin_port_elsewhere_is_refused_unless_trusted() -> None:
    """An admin port without authentication on another machine needs somebody who says that it may be trusted, and the refusal says why."""
    with pytest.raises(SettingsInvalid, match="asks nobody for a password"):
        KIND.build(Options({"admin": "http://10.0.0.4:9901"}), {})
    assert KIND.build(Options({"admin": "http://10.0.0.4:9901", "trusted": True}), {}).environment == "production"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "admin"),
        ({"admin": "127.0.0.1:9901"}, "admin"),
        ({"admin": "http://127.0.0.1:9901", "by": "magic"}, "by"),
        ({"admin": "http://127.0.0.1:9901", "by": "route_file"}, "route_file"),
        ({"admin": "http://127.0.0.1:9901", "route_file": "routes.yaml"}, "route_file"),
        ({"admin": "http://127.0.0.1:9901", "route_file": "/etc/envoy/routes.pb"}, "route_file"),
        ({"admin": "http://127.0.0.1:9901", "trusted": "yes"}, None),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], field: str | None) -> None:
    """Each option that cannot be used is named with what to write; one that is not needed is not looked at."""
    if field is None:
        assert KIND.build(Options(options), {}).name == "envoy"
        return
    with pytest.raises(SettingsInvalid) as refused:
        KIND.build(Options(options), {})
    assert refused.value.problems[0].field == f"backends.{field}"


def test_limits_need_the_file() -> None:
    """Without a route file there is no limit to set, and the backend does not offer it."""
    backend = KIND.build(Options({"admin": "http://127.0.0.1:9901"}), {})
    assert {one.name for one in backend.operations} == {"retries.cap", "route.switch"}
    with pytest.raises(CallInvalid, match=r"not configured for limit\.set"):
        backend.read(Call(operation="limit.set", target="a/b/max_tokens"), timeout=1)


@pytest.mark.parametrize(
    ("policy", "attempts"),
    [(None, 1), ({}, 1), ({"num_retries": 5}, 1), ({"retry_on": "5xx"}, 2), ({"retry_on": "5xx", "num_retries": 0}, 1),
     ({"retry_on": "5xx", "num_retries": 5}, 6)],
)  # fmt: skip
def test_attempts_are_counted_as_envoy_does(policy: dict[str, Any] | None, attempts: int) -> None:
    """Without conditions nothing is repeated; with conditions and no number once; the first attempt always counts."""
    assert attempts_of(policy) == attempts


def test_a_virtual_host_speaks_for_its_routes() -> None:
    """A route without a retry policy has its virtual host's; one of its own outranks that; redirects are no routes here."""
    host = {
        "name": "answers",
        "retry_policy": {"retry_on": "5xx", "num_retries": 3},
        "routes": [
            {"name": "a", "route": {"cluster": "x"}},
            {"name": "b", "route": {"cluster": "x", "retry_policy": {"retry_on": "reset"}}},
            {"name": "c", "redirect": {}},
            {"name": "a", "route": {"cluster": "y"}},
        ],
    }
    routes = tuple(routes_of({"route_config": {"name": "gateway", "virtual_hosts": [host]}, "version_info": "1"}))
    assert [(route.name, route.attempts, route.clusters) for route in routes] == [
        ("answers/a", 4, ("x",)),
        ("answers/b", 2, ("x",)),
        ("answers/a", 4, ("y",)),
    ]
    with pytest.raises(CallInvalid, match="2 routes called answers/a"):
        named(routes, "answers/a")
