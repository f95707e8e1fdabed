"""From the card to the undo on systems that people run: a real Unleash and a real Kubernetes, pressed in Slack, seen from outside."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.configuration import DEFAULT
from bot.settings import LIBRARY
from tests.inside import ANA, BEN, Inside, inside, text_of
from tests.parts import kubernetes, npm, unleash
from tests.scenario_alerts import alert
from tests.stack import Stack

MISSING = npm.missing(unleash.PACKAGE) or kubernetes.lacking()
pytestmark = [
    pytest.mark.debian,
    pytest.mark.slow,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
    pytest.mark.timeout(180),
]

WATCH = 'verify: {diagnostic: p99, settle: 10s, holds: "< 5", for: 40s, within: 5m, otherwise: ask}'
RUNBOOK = f"""---
format: 1
id: bad-release
version: 1
title: Answers are worse since the last release
owner: ml-platform
class: availability
severity: SEV2
reviewed: 2026-11-01
match: [{{alertname: WorseAnswers}}]
first_screen: {{what_broke: Answers are worse since the last release., customers: p99, safe_actions: [shorter, scale-out]}}
diagnostics:
  - {{id: p99, title: p99 latency, uses: metrics.query, with: {{query: 'max(model:latency_seconds:p99)'}}, unit: s}}
actions:
  - id: shorter
    title: Switch long answers off
    tier: R1
    uses: flag.disable
    with: {{flag: long-answers}}
    approval: none
    {WATCH}
    undo: {{to: prior, after: 4h, then: revert}}
    cost: {{money: none, quality: answers are shorter, latency: none}}
  - id: scale-out
    title: Scale both pools out
    tier: R1
    uses: cluster.scale
    with: {{replicas: 4}}
    targets: [default/answers, default/search]
    ramp: {{pause: 30s}}
    approval: none
    {WATCH}
    undo: {{to: prior, after: 4h, then: revert}}
    cost: {{money: 3.10 USD per replica and hour, quality: none, latency: none}}
  - id: roll-back
    title: Roll the release back
    tier: R2
    uses: model.rollback
    with: {{unit: default/answers, to: "{{{{ parameters.to }}}}"}}
    parameters:
      to: {{type: release, title: Release}}
    approval: one
    {WATCH}
    undo: {{to: prior, after: 24h, then: ask}}
    cost: {{money: none, quality: the earlier release's score, latency: none}}
drill: {{alert: {{alertname: WorseAnswers}}, world: {{fault: {{kind: traffic}}}}, expected: [shorter], pass_if: {{verified: 10m}}}}
---
## Meaning
Answers are worse.
## Impact
People notice.
## Diagnosis
Look at {{{{ step("p99") }}}}.
## Mitigation
{{{{ step("shorter") }}}}, {{{{ step("scale-out") }}}}, {{{{ step("roll-back") }}}}.
## Trade-offs
None.
## Afterwards
Nothing.
"""
SCORES = {"v7.3": "0.91", "v7.4": "0.93", "v7.5": "0.94"}
"""The releases that were evaluated; the one that runs, v7.6, was not."""
PLACE = "/apis/apps/v1/namespaces/default"


@dataclass
class World:
    """Both systems as somebody else sees them, and Muster before them."""

    stack: Inside
    flags: unleash.Running
    cluster: kubernetes.Running

    @property
    def on(self) -> bool:
        """Whether the flag is on in production, as Unleash tells an administrator."""
        found = self.flags.client.get("/api/admin/projects/default/features/long-answers").json()
        return next(bool(one["enabled"]) for one in found["environments"] if one["name"] == "production")

    def replicas(self, name: str) -> int:
        """How many pods of a Deployment are ready."""
        return int(self.cluster.get(f"{PLACE}/deployments/{name}")["status"].get("readyReplicas", 0))

    @property
    def release(self) -> str:
        """The image of which all ready pods are."""
        found = self.cluster.get("/api/v1/namespaces/default/pods?labelSelector=app=answers")["items"]
        images = {one["spec"]["containers"][0]["image"].split(":")[-1] for one in found if "deletionTimestamp" not in one["metadata"]}
        return " ".join(sorted(images))

    def until_release(self, release: str) -> None:
        """Wait until the cluster has rolled it out."""
        self.stack.until(lambda: self.release == release, what=f"{release} on every pod, now {self.release}")

    def ran(self, label: str, step: str) -> None:
        """Plan and run an action, until its recovery is proven."""
        self.stack.submitted(self.stack.plan(label))
        self.verified(step)

    def verified(self, step: str) -> None:
        """Drive the clocks until this step's newest run is verified."""
        self.stack.advance_until(lambda: self._state(step) == "verified", what=f"{step} verified")

    def _state(self, step: str) -> str | None:
        return next((run.state.value for run in reversed(self.stack.runs()) if run.step == step), None)

    def undone(self, user: str, *, saying: str) -> None:
        """Press Undo on a run's message."""
        self.stack.pressed("Undo", self.stack.run_message("Undo", saying=saying), user)
        self.stack.settle()


def released(cluster: kubernetes.Running) -> None:
    """Two Deployments; one of them has had four releases, of which three were evaluated."""
    for name in ("answers", "search"):
        cluster.create(f"{PLACE}/deployments", kubernetes.deployment(name))
        cluster.until(f"{PLACE}/deployments/{name}", rolled_out)
    for release in ("v7.4", "v7.5", "v7.6"):
        template = {"spec": {"containers": [{"name": "model", "image": f"registry.example/answers:{release}"}]}}
        cluster.patch(f"{PLACE}/deployments/answers", {"spec": {"template": template}})
        cluster.until(f"{PLACE}/deployments/answers", rolled_out)
    for one in cluster.get(f"{PLACE}/replicasets?labelSelector=app=answers")["items"]:
        score = SCORES.get(one["spec"]["template"]["spec"]["containers"][0]["image"].split(":")[-1])
        if score:
            marks = {"muster/good": "true", "muster/score": score}
            cluster.patch(f"{PLACE}/replicasets/{one['metadata']['name']}", {"metadata": {"annotations": marks}})


def rolled_out(found: Any) -> bool:
    """Whether a Deployment has got where it was to go."""
    status, wanted = found.get("status") or {}, found["spec"]["replicas"]
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return counts == [wanted] * 3 and status["observedGeneration"] == found["metadata"]["generation"]


def configuration(folder: Path, flags: unleash.Running, cluster: kubernetes.Running) -> str:
    """The built-in one with both systems instead of the simulation's."""
    (folder / "flags.token").write_text(unleash.ADMIN)
    (folder / "cluster.token").write_text(kubernetes.ADMIN)
    backends = {
        "flags": {
            "kind": "unleash",
            "url": flags.url,
            "environment": "production",
            "operations": ["flag.disable"],
            "secrets": {"token": {"file": str(folder / "flags.token")}},
        },
        "cluster": {
            "kind": "kubernetes",
            "server": cluster.url,
            "ca": str(cluster.ca),
            "environment": "production",
            "operations": ["cluster.scale", "model.rollback"],
            "limits": {"*": {"minimum": 1, "maximum": 9}},
            "secrets": {"token": {"file": str(folder / "cluster.token")}},
        },
    }
    return f"{DEFAULT.read_text()}\nbackends: {json.dumps(backends)}\n"


@pytest.fixture
def world(ground: Stack, tmp_path: Path, sqlite_url: str, postgres_server: Any) -> Iterator[World]:
    """Both systems, and an incident whose runbook acts on them."""
    with ExitStack() as parts:
        flags = parts.enter_context(unleash.running(postgres_server.create(migrated=False), log=tmp_path / "unleash.log"))
        flags.flag("long-answers")
        cluster = parts.enter_context(kubernetes.kubernetes())
        parts.enter_context(kubernetes.Kubelet(cluster, "default"))
        released(cluster)
        books = tmp_path / "books"
        books.mkdir()
        (books / "bad-release.md").write_text(RUNBOOK)
        where = os.pathsep.join(map(str, (LIBRARY, books)))
        settled = configuration(tmp_path, flags, cluster)
        stack = parts.enter_context(inside(ground, tmp_path, database_url=sqlite_url, configuration=settled, MUSTER_RUNBOOKS=where))
        assert stack.alert(alert(name="WorseAnswers")).status_code == 202
        stack.until(stack.diagnosed, what="the card with its diagnosis")
        yield World(stack, flags, cluster)


def test_a_night_on_real_systems(world: World) -> None:
    """Flag off, both pools out one after the other, a chosen release back with an approval: verified, undone, and never over a stranger."""
    stack = world.stack
    assert (world.on, world.replicas("answers"), world.replicas("search"), world.release) == (True, 2, 2, "v7.6")

    shown = text_of(stack.plan("Switch long answers off"))
    assert "on → off" in shown
    assert world.on
    world.ran("Switch long answers off", "shorter")
    assert not world.on

    world.ran("Scale both pools out", "scale-out")
    stack.until(lambda: (world.replicas("answers"), world.replicas("search")) == (4, 4), what="four ready pods of each")

    view = stack.plan("Roll the release back")
    offered = text_of(view)
    assert all(f"score {score}" in offered for score in SCORES.values()), offered
    before = {one["spec"]["template"]["spec"]["containers"][0]["image"].split(":")[-1]: one for one in sets(world.cluster)}
    wanted = before["v7.4"]["metadata"]["labels"]["pod-template-hash"]
    stack.submit(view, stack.choose(view, "Release", wanted))
    again = stack.dialog("Planned again with what you chose")
    assert "answers:v7.4" in text_of(again)
    stack.submitted(again)
    stack.until(lambda: stack.run_in("awaiting approval"), what="the request for approval")
    assert world.release == "v7.6"
    stack.pressed("Approve", stack.run_message("Approve"), BEN)
    world.verified("roll-back")
    world.until_release("v7.4")

    world.undone(BEN, saying="Roll the release back")
    stack.until(lambda: stack.run_in("undone"), what="the undo")
    world.until_release("v7.6")

    world.flags.switch("long-answers", on=True)
    world.flags.switch("long-answers", on=False)
    world.undone(ANA, saying="Switch long answers off")
    said = stack.until(
        lambda: next((one["text"] for one in stack.thread() if "was not overwritten" in one.get("text", "")), None), what="the refusal"
    )
    assert "long-answers was changed by admin meanwhile" in said
    assert not world.on
    assert stack.chain_holds()


def sets(cluster: kubernetes.Running) -> list[dict[str, Any]]:
    """The ReplicaSets of the answers."""
    return list(cluster.get(f"{PLACE}/replicasets?labelSelector=app=answers")["items"])
