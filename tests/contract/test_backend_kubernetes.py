"""Kubernetes: a real API server with its controllers; what they do about a change proves it."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from actions.backends.kubernetes import KIND, Kubernetes
from actions.contract import CallInvalid, Conflict, NotPermitted, OutcomeUnknown, Rejected, TargetMissing, Throttled, Unreachable
from actions.kinds import Options
from actions.planning import PlanRefused
from actions.testing import CHECKS, Check, Subject
from runbooks.operation import Call, OutcomeStatus
from tests.parts.acted import CASES, Act, Case, suffer
from tests.parts.kubernetes import ADMIN, Kubelet, Running, deployment, kubernetes, lacking
from tests.parts.trouble import Ill, troubled

pytestmark = [pytest.mark.debian, pytest.mark.slow, pytest.mark.skipif(lacking() is not None, reason=str(lacking()))]

DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"
REVISION = "deployment.kubernetes.io/revision"
PLENTY: dict[str, Any] = {"*": {"minimum": 0, "maximum": 20}}
PAGE = Path(__file__).parents[2] / "docs" / "backends" / "kubernetes.md"
SCALER = yaml.safe_load(PAGE.read_text().split("```yaml\n")[2].split("```")[0])["rules"]
"""The role on the page that scales and nothing else."""
TIMEOUT = 10.0
_number = count()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Running]:
    with kubernetes(("stranger", "scaler")) as running:
        yield running


@pytest.fixture
def kubelet(cluster: Running) -> Iterator[Kubelet]:
    """A namespace of its own, whose pods become ready."""
    name = f"inference-{next(_number)}"
    cluster.create("/api/v1/namespaces", {"metadata": {"name": name}})
    with Kubelet(cluster, name) as found:
        yield found


@pytest.fixture
def namespace(kubelet: Kubelet) -> str:
    return kubelet.namespace


def build(cluster: Running, *, token: str = ADMIN, url: str | None = None, **more: Any) -> Kubernetes:
    """The backend as configured."""
    where = {"server": url} if url else {"server": cluster.url, "ca": str(cluster.ca)}
    found = KIND.build(Options({**where, "environment": "production", "limits": PLENTY, **more}), {"token": lambda: token})
    assert isinstance(found, Kubernetes)
    return found


def scale(target: str, replicas: int = 3) -> Call:
    """So many replicas."""
    return Call(operation="cluster.scale", target=target, arguments={"target": target, "replicas": replicas}, environment="production")


def rollback(unit: str, to: str = "last_known_good") -> Call:
    """Back to a release."""
    return Call(operation="model.rollback", target=unit, arguments={"unit": unit, "to": to}, environment="production")


def settled(found: Any) -> bool:
    """Whether a Deployment's rollout is complete."""
    status, wanted = found.get("status") or {}, found["spec"]["replicas"]
    reasons = [one["reason"] for one in status.get("conditions") or () if one["type"] == "Progressing"]
    complete = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")] == [wanted] * 3
    return complete and reasons == ["NewReplicaSetAvailable"] and status["observedGeneration"] == found["metadata"]["generation"]


def deployed(cluster: Running, namespace: str, *images: str, replicas: int = 2) -> str:
    """A Deployment that has rolled out these images one after the other; its name."""
    name, path = f"answers-{next(_number)}", DEPLOYMENTS.format(namespace)
    first, *others = images or ("registry.example/answers:v7.3",)
    cluster.create(path, deployment(name, image=first, replicas=replicas, **{"kubernetes.io/change-cause": f"release {first[-4:]}"}))
    cluster.until(f"{path}/{name}", settled)
    for image in others:
        release(cluster, namespace, name, image)
        cluster.until(f"{path}/{name}", settled)
    return name


def release(cluster: Running, namespace: str, name: str, image: str, *, by: str = "ben") -> Any:
    """Roll out an image as a pipeline does."""
    template = {"spec": {"containers": [{"name": "model", "image": image}]}}
    change = {"metadata": {"annotations": {"kubernetes.io/change-cause": f"release {image[-4:]}"}}, "spec": {"template": template}}
    return cluster.patch(f"{DEPLOYMENTS.format(namespace)}/{name}", change, by=by)


def sets(cluster: Running, namespace: str, name: str) -> dict[str, Any]:
    """The Deployment's ReplicaSets by their image."""
    found = cluster.get(f"/apis/apps/v1/namespaces/{namespace}/replicasets?labelSelector=app={name}")["items"]
    return {one["spec"]["template"]["spec"]["containers"][0]["image"]: one for one in found}


def mark(cluster: Running, namespace: str, name: str, image: str, **annotations: str) -> str:
    """Mark a release, as an evaluation does; answers its version."""
    one = sets(cluster, namespace, name)[image]
    named = {f"muster/{key}": value for key, value in annotations.items()}
    cluster.patch(f"/apis/apps/v1/namespaces/{namespace}/replicasets/{one['metadata']['name']}", {"metadata": {"annotations": named}})
    return str(one["metadata"]["labels"]["pod-template-hash"])


OLD, BAD, OTHER = (f"registry.example/answers:v7.{minor}" for minor in (3, 4, 5))


def scaling(cluster: Running, namespace: str, kind: str) -> Subject:
    """A workload with two replicas."""
    plural = {"deployment": "deployments", "statefulset": "statefulsets"}[kind]
    name, path = f"{kind}-{next(_number)}", f"/apis/apps/v1/namespaces/{namespace}/{plural}"
    cluster.create(path, deployment(name) | ({} if kind == "deployment" else {"kind": "StatefulSet"}))
    cluster.until(f"{path}/{name}", lambda found: (found.get("status") or {}).get("readyReplicas") == 2)
    target = f"{namespace}/{name}" if kind == "deployment" else f"{namespace}/{kind}/{name}"
    return Subject(
        backend=build(cluster),
        call=scale(target),
        missing=scale(f"{namespace}/nothing"),
        other={"replicas": 5},
        change_outside=lambda value: cluster.patch(f"{path}/{name}/scale", {"spec": value}) and None,
        invalid=scale(target, 21),
        atomic=False,  # this version does not record who wrote through a subresource, and both want the same number
    )


def rolling_back(cluster: Running, namespace: str) -> Subject:
    """A Deployment whose newest release is bad."""
    name = deployed(cluster, namespace, OTHER, OLD, BAD)
    mark(cluster, namespace, name, OLD, good="true", score="0.91")
    other = mark(cluster, namespace, name, OTHER, good="true", score="0.90")
    return Subject(
        backend=build(cluster),
        call=rollback(f"{namespace}/{name}"),
        missing=rollback(f"{namespace}/nothing"),
        other={"version": other},
        change_outside=lambda _value: release(cluster, namespace, name, OTHER) and None,
        invalid=rollback(f"{namespace}/{name}", "no-such-release"),
    )


def autoscaling(cluster: Running, namespace: str) -> Subject:
    """An autoscaler from two to ten."""
    name, path = f"hpa-{next(_number)}", f"/apis/autoscaling/v1/namespaces/{namespace}/horizontalpodautoscalers"
    autoscaler(cluster, namespace, name, of="answers")
    return Subject(
        backend=build(cluster),
        call=scale(f"{namespace}/hpa/{name}"),
        missing=scale(f"{namespace}/hpa/nothing"),
        other={"replicas": 5},
        change_outside=lambda value: cluster.patch(f"{path}/{name}", {"spec": {"minReplicas": value["replicas"]}}) and None,
        invalid=scale(f"{namespace}/hpa/{name}", 11),
    )


def autoscaler(cluster: Running, namespace: str, name: str, *, of: str) -> None:
    """Two to ten replicas."""
    spec = {"minReplicas": 2, "maxReplicas": 10, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": of}}
    path = f"/apis/autoscaling/v1/namespaces/{namespace}/horizontalpodautoscalers"
    cluster.create(path, {"metadata": {"name": name}, "spec": spec})


def subject(kind: str, cluster: Running, namespace: str) -> Subject:
    if kind == "rollback":
        return rolling_back(cluster, namespace)
    return autoscaling(cluster, namespace) if kind == "hpa" else scaling(cluster, namespace, kind)


def test_scaling_to_nothing_and_back(cluster: Running, namespace: str) -> None:
    """None at all is a number like every other: the API leaves it out of its answer, and it is told as done."""
    target = f"{namespace}/{deployed(cluster, namespace)}"
    act = Act(build(cluster), "cluster.scale", {"target": target, "replicas": 0})
    plan = act.plan()
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert cluster.get(f"{DEPLOYMENTS.format(namespace)}/{target.partition('/')[2]}")["spec"]["replicas"] == 0
    undone = act.undo(plan, after=done.after)
    assert undone.status is OutcomeStatus.APPLIED, undone.reason


@pytest.mark.parametrize("kind", ["deployment", "statefulset", "hpa", "rollback"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_kubernetes_keeps_the_contract(check: Check, kind: str, cluster: Running, namespace: str) -> None:
    """Each form of target passes every check against the real API."""
    check(subject(kind, cluster, namespace))


def test_a_scale_is_proven_by_the_pods_that_become_ready(cluster: Running, namespace: str) -> None:
    """Four are asked for: the controller makes four pods, all become ready; the undo leaves two."""
    name = deployed(cluster, namespace)
    act = Act(build(cluster), "cluster.scale", {"target": f"{namespace}/{name}", "replicas": 4})
    plan = act.plan()
    assert plan.proposal.step == "2 → 4 replicas"
    assert plan.proposal.note == "2 of 2 are ready now."
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    path = f"{DEPLOYMENTS.format(namespace)}/{name}"
    cluster.until(path, lambda found: found["status"].get("readyReplicas") == 4)
    assert len(cluster.get(f"/api/v1/namespaces/{namespace}/pods?labelSelector=app={name}")["items"]) == 4
    undone = act.undo(plan, after=done.after)
    assert undone.status is OutcomeStatus.APPLIED, undone.reason
    cluster.until(path, lambda found: found["status"].get("readyReplicas") == 2 and found["status"]["replicas"] == 2)


def test_a_rollback_is_proven_by_the_pods_that_run(cluster: Running, namespace: str) -> None:
    """The old template comes back as a new revision with its change-cause, the pods run its image, and the undo brings the new one back."""
    name = deployed(cluster, namespace, OLD, BAD)
    good = mark(cluster, namespace, name, OLD, good="true", score="0.91")
    act = Act(build(cluster), "model.rollback", {"unit": f"{namespace}/{name}", "to": "last_known_good"}, tier="R2")
    plan = act.plan()
    cluster.next_second()
    assert plan.proposal.value == {"version": good}
    assert "answers:v7.4" in plan.proposal.before_text
    assert "answers:v7.3" in plan.proposal.after_text
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    path = f"{DEPLOYMENTS.format(namespace)}/{name}"
    found = cluster.until(path, lambda found: settled(found) and found["metadata"]["annotations"][REVISION] == "3")
    assert found["metadata"]["annotations"]["kubernetes.io/change-cause"] == "release v7.3"
    assert found["spec"]["template"] == sets_template(cluster, namespace, name, OLD)
    assert running_images(cluster, namespace, name) == {OLD}
    assert (done.after and done.after.changed_by) == "muster/key-1"
    undone = act.undo(plan, after=done.after)
    assert undone.status is OutcomeStatus.APPLIED, undone.reason
    cluster.until(path, lambda found: settled(found) and found["metadata"]["annotations"][REVISION] == "4")
    assert running_images(cluster, namespace, name) == {BAD}


def sets_template(cluster: Running, namespace: str, name: str, image: str) -> Any:
    """A ReplicaSet's template without its controller's label."""
    template = sets(cluster, namespace, name)[image]["spec"]["template"]
    del template["metadata"]["labels"]["pod-template-hash"]
    return template


def running_images(cluster: Running, namespace: str, name: str) -> set[str]:
    """What the pods run that are not going away."""
    pods = cluster.get(f"/api/v1/namespaces/{namespace}/pods?labelSelector=app={name}")["items"]
    return {one["spec"]["containers"][0]["image"] for one in pods if "deletionTimestamp" not in one["metadata"]}


def test_pods_that_come_and_go_do_not_void_a_plan(cluster: Running, namespace: str) -> None:
    """Only the status moved between plan and click, and with it the resourceVersion: the click still counts."""
    name = deployed(cluster, namespace)
    act = Act(build(cluster), "cluster.scale", {"target": f"{namespace}/{name}", "replicas": 4})
    plan = act.plan()
    path = f"{DEPLOYMENTS.format(namespace)}/{name}"
    version = cluster.get(path)["metadata"]["resourceVersion"]
    cluster.patch(path, {"metadata": {"annotations": {"seen": "again"}}})
    cluster.patch(path, {"spec": {"minReadySeconds": 1}})
    assert cluster.get(path)["metadata"]["resourceVersion"] != version
    assert act.execute(plan).status is OutcomeStatus.APPLIED


def test_a_stranger_between_plan_and_click_and_between_run_and_undo(cluster: Running, namespace: str) -> None:
    """Both times it is said what happened, and nothing of the stranger's is overwritten."""
    name = deployed(cluster, namespace)
    path = f"{DEPLOYMENTS.format(namespace)}/{name}"
    act = Act(build(cluster), "cluster.scale", {"target": f"{namespace}/{name}", "replicas": 4})
    plan = act.plan()
    cluster.patch(path, {"spec": {"replicas": 3}})
    refused = act.execute(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert refused.reason == (
        f"Nothing was changed: {namespace}/{name} was changed meanwhile; now it is: 3 replicas. Plan again to see what it would be now."
    )
    plan = act.plan("p2")
    done = act.execute(plan, key="key-2")
    cluster.patch(path, {"spec": {"replicas": 6}})
    kept = act.undo(plan, after=done.after)
    assert kept.reason == f"Not undone: {namespace}/{name} was changed meanwhile; now it is: 6 replicas. It was not overwritten."
    assert cluster.get(path)["spec"]["replicas"] == 6


def test_the_stranger_of_a_rollback_is_named(cluster: Running, namespace: str) -> None:
    """Who put a new template in meanwhile is known from the API server's own record."""
    name = deployed(cluster, namespace, OLD, BAD)
    mark(cluster, namespace, name, OLD, good="true")
    act = Act(build(cluster), "model.rollback", {"unit": f"{namespace}/{name}", "to": "last_known_good"}, tier="R2")
    plan = act.plan()
    template = {"spec": {"containers": [{"name": "model", "image": OTHER}]}}
    cluster.next_second()
    cluster.patch(f"{DEPLOYMENTS.format(namespace)}/{name}", {"spec": {"template": template}}, by="zoe-at-her-desk")
    refused = act.execute(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert refused.reason.startswith(f"Nothing was changed: {namespace}/{name} was changed by zoe-at-her-desk meanwhile; now it is: ")


def refusal(act: Act) -> str:
    """Why there is no plan."""
    with pytest.raises(PlanRefused) as refused:
        act.plan()
    return str(refused.value)


def test_what_an_autoscaler_owns_is_not_scaled(cluster: Running, namespace: str) -> None:
    """The plan is refused with the target that would last; one that appears after the plan stops the click."""
    name = deployed(cluster, namespace)
    target = f"{namespace}/{name}"
    act = Act(build(cluster), "cluster.scale", {"target": target, "replicas": 4})
    plan = act.plan()
    autoscaler(cluster, namespace, "grows", of=name)
    why = (
        f"{target} is scaled by an autoscaler (2 to 10), which would put any other number back. "
        f"Raise its least number instead: target {namespace}/hpa/grows."
    )
    assert refusal(act) == why
    assert act.execute(plan).reason == f"Nothing was changed: {why}"
    raised = Act(build(cluster), "cluster.scale", {"target": f"{namespace}/hpa/grows", "replicas": 4})
    least = raised.plan()
    assert (least.proposal.before_text, least.proposal.after_text) == ("at least 2 replicas", "at least 4 replicas")
    assert raised.execute(least).status is OutcomeStatus.APPLIED
    path = f"/apis/autoscaling/v1/namespaces/{namespace}/horizontalpodautoscalers/grows"
    assert cluster.get(path)["spec"]["minReplicas"] == 4


def test_an_autoscaler_on_the_second_page_is_found(cluster: Running, namespace: str) -> None:
    """A namespace with more autoscalers than one answer holds is read to its end."""
    name = deployed(cluster, namespace)
    for number in range(101):
        autoscaler(cluster, namespace, f"a{number:03}", of=f"other-{number}")
    autoscaler(cluster, namespace, "z", of=name)
    act = Act(build(cluster), "cluster.scale", {"target": f"{namespace}/{name}", "replicas": 4})
    assert f"target {namespace}/hpa/z." in refusal(act)


def test_limits_are_our_own(cluster: Running, namespace: str) -> None:
    """Kubernetes would take any number; without limits nothing is scaled, and a disruption budget is a floor."""
    name = deployed(cluster, namespace, replicas=4)
    target, budgets = f"{namespace}/{name}", f"/apis/policy/v1beta1/namespaces/{namespace}/poddisruptionbudgets"
    selector = {"matchLabels": {"app": name}}
    cluster.create(budgets, {"metadata": {"name": "three"}, "spec": {"minAvailable": 3, "selector": selector}})
    cluster.create(budgets, {"metadata": {"name": "half"}, "spec": {"minAvailable": "50%", "selector": selector}})

    def said(replicas: int, **limits: Any) -> str:
        return refusal(Act(build(cluster, limits=limits), "cluster.scale", {"target": target, "replicas": replicas}))

    assert said(5) == (
        f"No limits are configured for {target}, so it is not scaled. "
        f'Write them under limits of this backend: "{target}": {{minimum: 1, maximum: 12}}.'
    )
    assert said(13, **{target: {"maximum": 12}}) == f"{target} takes 1 to 12 replicas, not 13."
    assert said(0, **{"*": {"maximum": 12}}) == f"{target} takes 1 to 12 replicas, not 0."
    assert said(2, **{target: {"maximum": 12, "budget": "three"}}) == (
        f"{target} must keep 3 available (disruption budget three); 2 would be fewer."
    )
    assert "names no whole number that must stay available (50%)" in said(2, **{target: {"maximum": 12, "budget": "half"}})
    assert f"has no PodDisruptionBudget {namespace}/gone" in said(2, **{target: {"maximum": 12, "budget": "gone"}})


def test_a_paused_or_moving_rollout_is_left_alone(cluster: Running, kubelet: Kubelet) -> None:
    """Paused: nothing would come of it. Moving: it is said how far it is, and turned back only by choice. Failed: it is free."""
    kubelet.broken.add("v7.4")
    name = deployed(cluster, kubelet.namespace, OLD)
    path, unit = f"{DEPLOYMENTS.format(kubelet.namespace)}/{name}", f"{kubelet.namespace}/{name}"
    good, arguments = mark(cluster, kubelet.namespace, name, OLD, good="true"), {"unit": unit, "to": "last_known_good"}
    act = Act(build(cluster), "model.rollback", arguments, tier="R2")
    release(cluster, kubelet.namespace, name, BAD)
    cluster.until(path, lambda found: found["status"].get("updatedReplicas") == 1 and found["status"].get("unavailableReplicas"))
    assert refusal(act) == f"A rollout of {unit} is under way: 1 of 2 are of the new release. Wait until it has ended or failed."
    assert Act(build(cluster, interrupt_rollouts=True), "model.rollback", arguments, tier="R2").plan().proposal.value == {"version": good}
    cluster.patch(path, {"spec": {"paused": True}})
    assert "is paused, so an earlier release would not be rolled out" in refusal(act)
    cluster.patch(path, {"spec": {"paused": False, "progressDeadlineSeconds": 1}})
    cluster.until(path, lambda found: "ProgressDeadlineExceeded" in [one["reason"] for one in found["status"]["conditions"]])
    assert act.execute(act.plan()).status is OutcomeStatus.APPLIED
    cluster.until(path, settled)
    assert running_images(cluster, kubelet.namespace, name) == {OLD}


def test_a_rollout_that_is_paused_after_the_plan_is_left_alone(cluster: Running, namespace: str) -> None:
    """The template would be written and nothing would come of it, so the click is refused."""
    name = deployed(cluster, namespace, OLD, BAD)
    mark(cluster, namespace, name, OLD, good="true")
    act = Act(build(cluster), "model.rollback", {"unit": f"{namespace}/{name}", "to": "last_known_good"}, tier="R2")
    plan = act.plan()
    cluster.patch(f"{DEPLOYMENTS.format(namespace)}/{name}", {"spec": {"paused": True}})
    refused = act.execute(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert "is paused" in refused.reason
    assert cluster.get(f"{DEPLOYMENTS.format(namespace)}/{name}")["spec"]["template"]["spec"]["containers"][0]["image"] == BAD


def test_nothing_good_to_go_back_to(cluster: Running, namespace: str) -> None:
    """Unmarked releases are not known to be good; by configuration the one before counts as good; a bad mark always holds."""
    name = deployed(cluster, namespace, OLD, BAD)
    unit, arguments = f"{namespace}/{name}", {"unit": f"{namespace}/{name}", "to": "last_known_good"}
    assert "nothing to roll back to" in refusal(Act(build(cluster), "model.rollback", arguments, tier="R2"))
    before = Act(build(cluster, previous_is_good=True), "model.rollback", arguments, tier="R2").plan()
    version = mark(cluster, namespace, name, OLD, good="false")
    assert before.proposal.value == {"version": version}
    assert "nothing to roll back to" in refusal(Act(build(cluster, previous_is_good=True), "model.rollback", arguments, tier="R2"))
    backend = build(cluster)
    reading = backend.read(rollback(unit), timeout=TIMEOUT)
    with pytest.raises(CallInvalid, match="is marked as bad"):
        backend.propose(rollback(unit, version), reading)


def test_the_releases_to_choose_from(cluster: Running, namespace: str) -> None:
    """Newest first, each with its time, score, mark and words."""
    name = deployed(cluster, namespace, OTHER, OLD, BAD)
    good = mark(cluster, namespace, name, OLD, good="true", score="0.91")
    poor = mark(cluster, namespace, name, OTHER, score="0.42")
    backend = build(cluster, minimum_score=0.9)
    facts = backend.read(rollback(f"{namespace}/{name}"), timeout=TIMEOUT).facts
    assert [(one["version"] if one["good"] is not None else None, one["score"], one["good"]) for one in facts["releases"]] == [
        (None, None, None),
        (good, 0.91, True),
        (poor, 0.42, False),
    ]
    assert facts["releases"][1]["note"] == "revision 2, answers:v7.3, release v7.3"
    assert facts["last_known_good"] == good
    assert all(set(one) == {"version", "at", "score", "good", "note"} for one in facts["releases"])


@pytest.mark.parametrize("operation", ["cluster.scale", "model.rollback"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_change_in_trouble(case: Case, operation: str, cluster: Running, namespace: str) -> None:
    """Whatever goes wrong with the change, the sentence is as certain as the truth, and a look afterwards tells it."""
    name = deployed(cluster, namespace, OLD, BAD) if operation == "model.rollback" else deployed(cluster, namespace)
    if operation == "model.rollback":
        mark(cluster, namespace, name, OLD, good="true")
    arguments = {
        "cluster.scale": {"target": f"{namespace}/{name}", "replicas": 4},
        "model.rollback": {"unit": f"{namespace}/{name}", "to": "last_known_good"},
    }[operation]
    with troubled(cluster.url, verify=cluster.trust) as trouble:
        act = Act(build(cluster, url=trouble.url), operation, arguments, tier="R2" if operation == "model.rollback" else "R1")
        says = "does not accept the credentials (401): they are wrong or have expired. Renew them." if case.status == 401 else None
        suffer(case, act, trouble, says=says)


ERRORS = {401: NotPermitted, 403: NotPermitted, 404: TargetMissing, 422: Rejected, 429: Throttled, 500: OutcomeUnknown}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_each_trouble_has_its_error(case: Case, cluster: Running, namespace: str) -> None:
    """The backend raises the contract's error for what happened to the change, and Unreachable where the look before failed."""
    target = f"{namespace}/{deployed(cluster, namespace)}"
    with troubled(cluster.url, verify=cluster.trust) as trouble:
        backend = build(cluster, url=trouble.url)
        before = backend.read(scale(target), timeout=TIMEOUT)
        trouble.ill, trouble.status, trouble.headers = case.ill, case.status, case.headers
        with pytest.raises(ERRORS[case.status] if case.ill is Ill.STATUS else OutcomeUnknown):
            backend.apply(scale(target), {"replicas": 4}, expected=before, key="k", timeout=1.0)
        trouble.which = lambda _method, _path: True
        with pytest.raises(ERRORS[case.status] if case.ill is Ill.STATUS and case.status < 500 else Unreachable):
            backend.apply(scale(target), {"replicas": 5}, expected=before, key="k2", timeout=1.0)


def test_wrong_and_weak_credentials_say_what_to_do(cluster: Running, namespace: str) -> None:
    """The API server's own sentence names the user and the right that is missing; a role for scaling cannot roll back."""
    name = deployed(cluster, namespace, OLD, BAD)
    mark(cluster, namespace, name, OLD, good="true")
    target = f"{namespace}/{name}"
    with pytest.raises(NotPermitted, match=r"does not accept the credentials \(401\)"):
        build(cluster, token="wrong").read(scale(target), timeout=TIMEOUT)
    with pytest.raises(NotPermitted, match='User "stranger" cannot get resource "deployments"'):
        build(cluster, token="token-of-stranger").read(scale(target), timeout=TIMEOUT)
    token = cluster.account("scaler", namespace=namespace, rules=SCALER)
    weak = build(cluster, token=token, namespaces=[namespace])
    before = weak.read(scale(target), timeout=TIMEOUT)
    assert weak.apply(scale(target), {"replicas": 3}, expected=before, key="k", timeout=TIMEOUT).value == {"replicas": 3}
    with pytest.raises(NotPermitted, match='cannot list resource "replicasets"'):
        weak.read(rollback(target), timeout=TIMEOUT)
    lets = "Kubernetes lets these credentials in;"
    full = build(cluster, namespaces=[namespace]).probe(timeout=TIMEOUT)
    assert full == f"{lets} in {namespace} they may do cluster.scale, model.rollback."
    assert weak.probe(timeout=TIMEOUT) == (
        f"{lets} in {namespace} they may do cluster.scale, but not model.rollback (it lacks patch deployments, list replicasets)."
    )
    with pytest.raises(
        NotPermitted, match=r"in all namespaces they may not get deployments, patch deployments/scale, .* Extend their role\."
    ):
        build(cluster, token="token-of-stranger").probe(timeout=TIMEOUT)


def test_a_missing_target_is_named(cluster: Running, namespace: str) -> None:
    """The sentence holds the kind, the namespace and the name."""
    with pytest.raises(TargetMissing, match=f'has no Deployment {namespace}/nothing: deployments.apps "nothing" not found'):
        build(cluster).read(scale(f"{namespace}/nothing"), timeout=TIMEOUT)


def test_a_busy_status_never_makes_a_conflict(cluster: Running, namespace: str) -> None:
    """While the object's version moves all the time, a change goes through, and only one that differs in what people set is refused."""
    name = deployed(cluster, namespace)
    path, backend, target = f"{DEPLOYMENTS.format(namespace)}/{name}", build(cluster), f"{namespace}/{name}"
    with troubled(cluster.url, verify=cluster.trust) as trouble:
        restless = build(cluster, url=trouble.url)
        before = restless.read(scale(target), timeout=TIMEOUT)
        moves = iter(range(2))

        def move(method: str, _path: str) -> bool:
            if method == "PATCH" and next(moves, None) is not None:
                cluster.patch(path, {"metadata": {"annotations": {"moved": str(next(_number))}}})
            return False

        trouble.which = move
        after = restless.apply(scale(target), {"replicas": 4}, expected=before, key="k", timeout=TIMEOUT)
        assert len([one for one in trouble.passed if one[0] == "PATCH"]) >= 3
    assert after == backend.read(scale(target), timeout=TIMEOUT).model_copy(update={"facts": after.facts, "changed_by": "muster/k"})
    with pytest.raises(Conflict) as conflict:
        backend.apply(scale(target), {"replicas": 9}, expected=before, key="k9", timeout=TIMEOUT)
    assert conflict.value.current.value == {"replicas": 4}
