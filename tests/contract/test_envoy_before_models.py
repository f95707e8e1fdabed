"""The real Envoy as a gateway before two model providers, one of which says 429: what a client gets, and what the provider sees."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from actions.backends.envoy import KIND
from actions.contract import Backend
from actions.kinds import Options
from runbooks.operation import OutcomeStatus
from tests.parts import aimock, envoy, npm
from tests.parts.acted import Act
from tests.parts.aimock import Provider, chat

pytestmark = [
    pytest.mark.debian,
    pytest.mark.skipif(npm.missing(aimock.PACKAGE) is not None, reason=str(npm.missing(aimock.PACKAGE))),
]
ROUTES = """\
version_info: "1"
resources:
- "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
  name: gateway
  virtual_hosts:
  - name: models
    domains: ["*"]
    routes:
    - name: chat
      match: {prefix: "/v1/chat"}
      route:
        weighted_clusters:
          runtime_key_prefix: routing.chat
          clusters:
          - {name: primary, weight: 100}
          - {name: backup, weight: 0}
        retry_policy:
          retry_on: retriable-status-codes
          retriable_status_codes: [429]
          num_retries: 5
          retry_back_off: {base_interval: 0.001s, max_interval: 0.002s}
"""


@dataclass(frozen=True, slots=True)
class Gateway:
    """The backend, where clients ask, and the two providers."""

    backend: Backend
    url: str
    limited: Provider
    spare: Provider


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("models")
    with (
        aimock.running(folder, says="the first one", limited=True) as limited,
        aimock.running(folder, says="the spare one") as spare,
        envoy.running(folder, routes=ROUTES, behind=(limited.port, spare.port)) as proxy,
    ):
        options = {"admin": proxy.admin, "by": "circuit_breaker", "environment": "production"}
        yield Gateway(KIND.build(Options(options), {}), proxy.url, limited, spare)


def test_a_switched_route_turns_429_into_answers(gateway: Gateway) -> None:
    """Clients get 429 from the limited provider, an answer while the route leads to the other one, and 429 again after the undo."""
    act = Act(gateway.backend, "route.switch", {"target": "models/chat", "route": "backup"})
    assert chat(gateway.url).status_code == 429
    plan = act.plan()
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    seen = gateway.limited.asked
    answer = chat(gateway.url)
    assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "the spare one")
    assert gateway.limited.asked == seen
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert chat(gateway.url).status_code == 429


def test_capped_retries_spare_a_limited_provider(gateway: Gateway) -> None:
    """A provider that says 429 is asked six times for each request, and once while retries to it are capped."""

    def asked() -> int:
        before = gateway.limited.asked
        chat(gateway.url)
        return gateway.limited.asked - before

    act = Act(gateway.backend, "retries.cap", {"target": "primary", "attempts": 1})
    assert asked() == 6
    plan = act.plan()
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert asked() == 1
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert asked() == 6
