"""`kill -9` of Muster while a real system has its change in hand: afterwards the truth is read from that system, and shown (rule S20)."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from actions.operations import SHARED
from bot.settings import LIBRARY
from runbooks.run import ActionRun, RunState
from runbooks.severity import Tier
from runbooks.timeline import EntryKind
from storage import incidents, runs, timeline
from tests.parts import envoy, kubernetes, npm, unleash
from tests.parts.mlflow import mlflow
from tests.parts.moto import KEYS, REGION, moto
from tests.parts.trouble import Ill, Trouble, troubled
from tests.scenario_alerts import alert
from tests.stack import Stack, running

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.timeout(240)]

RUNBOOK = """---
format: 1
id: real-change
version: 1
title: A change of a real system
owner: ml-platform
class: availability
severity: SEV3
reviewed: 2026-11-01
match: [{alertname: RealTrouble}]
first_screen: {what_broke: Something real broke., customers: p99, safe_actions: []}
diagnostics:
  - {id: p99, title: p99 latency, uses: metrics.query, with: {query: 'max(model:latency_seconds:p99)'}, unit: s}
actions:
  - id: change
    title: Change it
    tier: TIER
    uses: USES
    with: WITH
    approval: MANY
    verify: {diagnostic: p99, settle: 10s, holds: "< 5", for: 40s, within: 5m, otherwise: ask}
    undo: {to: prior, after: 4h, then: ask}
    cost: {money: none, quality: none, latency: none}
drill: {alert: {alertname: RealTrouble}, world: {fault: {kind: traffic}}, expected: [change], pass_if: {verified: 10m}}
---
## Meaning
It broke.
## Impact
Somebody waits.
## Diagnosis
Look at {{ step("p99") }}.
## Mitigation
{{ step("change") }}.
## Trade-offs
None.
## Afterwards
Nothing.
"""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A real system with one target, how Muster reaches it, what the action does, and how the target stands to somebody else."""

    trouble: Trouble
    backend: dict[str, Any]
    uses: str
    arguments: dict[str, Any]
    stands: Callable[[], Any]
    before: Any
    after: Any
    which: Callable[[str, str], bool] | None = None
    secrets: dict[str, str] = field(default_factory=dict)


@contextmanager
def an_mlflow(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Part]:
    """A model registry, whose alias moves back to the good version."""
    with mlflow() as registry, troubled(registry.url) as trouble:
        registry.model("answers", {"evaluation_score": "0.9", "validation_status": "approved"}, {"evaluation_score": "0.5"})
        yield Part(
            trouble=trouble,
            backend={"kind": "mlflow", "url": trouble.url},
            uses="model.rollback",
            arguments={"unit": "answers", "to": "1"},
            stands=lambda: registry.get("registered-models/alias", name="answers", alias="champion")["model_version"]["version"],
            before="2",
            after="1",
            which=lambda method, path: method == "POST" and path.endswith("/registered-models/alias"),
        )


@contextmanager
def a_group(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Part]:
    """An Auto Scaling group that grows from two to four."""
    with moto() as aws, troubled(aws.url) as trouble:
        client = aws.client("autoscaling")
        client.create_launch_configuration(LaunchConfigurationName="l", ImageId="ami-12c6146b", InstanceType="t2.micro")
        client.create_auto_scaling_group(
            AutoScalingGroupName="pool",
            LaunchConfigurationName="l",
            MinSize=1,
            MaxSize=6,
            DesiredCapacity=2,
            AvailabilityZones=[f"{REGION}a"],
        )
        yield Part(
            trouble=trouble,
            backend={"kind": "autoscaling", "region": REGION, "endpoint_url": trouble.url},
            uses="cluster.scale",
            arguments={"target": "pool", "replicas": 4},
            stands=lambda: client.describe_auto_scaling_groups()["AutoScalingGroups"][0]["DesiredCapacity"],
            before=2,
            after=4,
            which=lambda _method, path: "#Describe" not in path,
            secrets=dict(KEYS),
        )


@contextmanager
def an_envoy(_request: pytest.FixtureRequest, folder: Path) -> Iterator[Part]:
    """A proxy whose retries are capped at the first attempt."""
    with envoy.running(folder) as proxy, troubled(proxy.admin) as trouble:

        def stands() -> str:
            found = httpx.get(f"{proxy.admin}/runtime", timeout=5, trust_env=False).json()["entries"].get("upstream.use_retry", {})
            return str(found.get("final_value", ""))

        yield Part(
            trouble=trouble,
            backend={"kind": "envoy", "admin": trouble.url, "by": "runtime"},
            uses="retries.cap",
            arguments={"target": ENVOY, "attempts": 1},
            stands=stands,
            before="",
            after="0",
        )


@contextmanager
def an_unleash(request: pytest.FixtureRequest, folder: Path) -> Iterator[Part]:
    """A flag that is switched off."""
    if (why := npm.missing(unleash.PACKAGE)) is not None:
        pytest.skip(str(why))
    url = request.getfixturevalue("postgres_server").create(migrated=False)
    with unleash.running(url, log=folder / "unleash.log") as server, troubled(server.url) as trouble:
        server.flag("long-answers")

        def stands() -> bool:
            path = f"{server.url}/api/admin/projects/default/features/long-answers"
            found = httpx.get(path, headers={"Authorization": unleash.ADMIN}, timeout=10, trust_env=False).json()
            return next(bool(one["enabled"]) for one in found["environments"] if one["name"] == "production")

        yield Part(
            trouble=trouble,
            backend={"kind": "unleash", "url": trouble.url},
            uses="flag.disable",
            arguments={"flag": "long-answers"},
            stands=stands,
            before=True,
            after=False,
            secrets={"token": unleash.ADMIN},
        )


@contextmanager
def a_cluster(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Part]:
    """A Deployment that grows from two to three."""
    if (why := kubernetes.lacking()) is not None:
        pytest.skip(why)
    with kubernetes.kubernetes() as cluster, troubled(cluster.url, verify=cluster.trust) as trouble:
        cluster.create("/apis/apps/v1/namespaces/default/deployments", kubernetes.deployment("answers"))
        path = "/apis/apps/v1/namespaces/default/deployments/answers"
        yield Part(
            trouble=trouble,
            backend={"kind": "kubernetes", "server": trouble.url, "limits": {"default/answers": {"minimum": 1, "maximum": 9}}},
            uses="cluster.scale",
            arguments={"target": "default/answers", "replicas": 3},
            stands=lambda: cluster.get(path)["spec"]["replicas"],
            before=2,
            after=3,
            secrets={"token": kubernetes.ADMIN},
        )


PARTS = [
    pytest.param(an_mlflow, id="mlflow"),
    pytest.param(a_group, id="autoscaling"),
    pytest.param(an_envoy, id="envoy"),
    pytest.param(an_unleash, id="unleash", marks=pytest.mark.debian),
    pytest.param(a_cluster, id="kubernetes", marks=pytest.mark.debian),
]
ENVOY = "gateway-1"  # the proxy that starts in front of everything


@pytest.fixture(params=PARTS)
def part(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Part]:
    """Each real system in turn."""
    folder = tmp_path / "part"
    folder.mkdir()
    with ExitStack() as stack:
        found: Part = stack.enter_context(request.param(request, folder))
        if found.which is not None:
            found.trouble.which = found.which
        yield found


@pytest.fixture
def stack(part: Part, tmp_path: Path) -> Iterator[Stack]:
    """The whole product with this system as its backend, an incident open."""
    folder = tmp_path / "muster"
    with running(folder, muster=False) as found:
        (folder / "runbooks").mkdir()
        tier = SHARED[part.uses].tier
        words = {"USES": part.uses, "WITH": json.dumps(part.arguments), "TIER": tier.value, "MANY": "one" if tier is Tier.R2 else "none"}
        text = re.sub("|".join(words), lambda found: words[found[0]], RUNBOOK)
        (folder / "runbooks" / "real-change.md").write_text(text)
        (folder / "token.ana").write_text(ANA)
        (folder / "token.ben").write_text(BEN)
        for name, value in part.secrets.items():
            (folder / f"secret.{name}").write_text(value)
        secrets = {name: {"file": str(folder / f"secret.{name}")} for name in part.secrets}
        real = {**part.backend, "environment": "production", "operations": [part.uses], "secrets": secrets}
        callers = {who: {"secret": {"file": str(folder / f"token.{who}")}, "person": who, "may": "write"} for who in ("ana", "ben")}
        found.configured = lambda default: f"{default}\nbackends: {json.dumps({'real': real})}\ntokens: {json.dumps(callers)}\n"
        found.runbooks = [LIBRARY, folder / "runbooks"]
        found.start_muster()
        assert found.alert(alert(name="RealTrouble")).status_code == 202
        found.until(lambda: found.database.read(incidents.listed), what="the incident")
        yield found


ANA, BEN = "the-token-of-ana-in-the-tests", "the-token-of-ben-in-the-tests"


def call(stack: Stack, path: str, body: Any, *, token: str = ANA) -> None:
    """One change through the API."""
    answer = stack.http.post(f"{stack.url}/api/v1{path}", json=body, headers={"Authorization": f"Bearer {token}"})
    assert answer.is_success, answer.text


def run_of(stack: Stack) -> ActionRun:
    """The one run there is."""
    return stack.database.read(lambda tx: runs.of_incident(tx, 1))[-1]


def pressed(stack: Stack) -> None:
    """Ana plans the change and runs it; where it needs a second person, Ben approves."""
    call(stack, "/incidents/1/actions/change/plan", {})
    stack.until(lambda: run_of(stack).state is not RunState.PROPOSED, what="the plan")
    planned = run_of(stack)
    assert planned.plan is not None, planned.reason
    call(stack, f"/runs/{planned.id}/run", {"plan_hash": planned.plan.hash})
    if run_of(stack).state is RunState.AWAITING_APPROVAL:
        call(stack, f"/runs/{planned.id}/approval", {"plan_hash": planned.plan.hash, "granted": True}, token=BEN)


@pytest.mark.parametrize("ill", [Ill.KEPT, Ill.HANG])
def test_s20_a_kill_during_a_real_systems_change_is_looked_up(part: Part, stack: Stack, ill: Ill) -> None:
    """Whether the change had arrived or not: Muster looks after its restart, it stands as wanted, made once, and the timeline says so."""
    assert part.stands() == part.before
    part.trouble.ill = ill
    asked = len(part.trouble.seen)
    pressed(stack)
    stack.until(lambda: any(part.trouble.which(*one) for one in part.trouble.seen[asked:]), what="the change's request")
    if ill is Ill.KEPT:
        stack.until(lambda: part.stands() == part.after, what="the change")
    stack.kill()
    part.trouble.ill = Ill.NONE
    stack.start_muster(name="muster-again")
    stack.advance_until(lambda: run_of(stack).state is RunState.VERIFIED, what="the verdict", most=300)
    assert part.stands() == part.after
    changes = [one for one in part.trouble.passed if part.trouble.which(*one)]
    assert len(changes) == 1, f"sent {len(changes)} times: {changes}"
    entries = stack.database.read(lambda tx: timeline.of(tx, 1))
    (said,) = [one.summary for one in entries if one.kind is EntryKind.RUN_RECONCILED]
    assert said.startswith("Muster was interrupted in the middle of Change it. It looked:")
    assert ("took effect" in said) == (ill is Ill.KEPT)
    assert ("nothing had been changed, so it was done now" in said) == (ill is Ill.HANG)
