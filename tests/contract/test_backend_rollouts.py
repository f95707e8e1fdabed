"""Argo's Rollout in a real Kubernetes API: its compare-and-set is real; what Argo's controller would do, the test writes down in its place."""

import copy
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from actions.backends.rollouts import KIND, Rollouts
from actions.contract import CallInvalid, NotPermitted
from actions.kinds import Options
from actions.planning import PlanRefused
from actions.testing import CHECKS, Check, Subject
from runbooks.operation import Call, OutcomeStatus
from tests.parts.acted import CASES, Act, Case, suffer
from tests.parts.kubernetes import ADMIN, Running, deployment, kubernetes, lacking
from tests.parts.trouble import troubled

pytestmark = [pytest.mark.debian, pytest.mark.slow, pytest.mark.skipif(lacking() is not None, reason=str(lacking()))]

ROLLOUTS = "/apis/argoproj.io/v1alpha1/namespaces/default/rollouts"
SETS = "/apis/apps/v1/namespaces/default/replicasets"
OLD, BAD, OTHER = (f"registry.example/answers:v7.{minor}" for minor in (3, 4, 5))
_number = count()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Running]:
    with kubernetes(("stranger",)) as running:
        running.define("argoproj.io", "v1alpha1", "rollouts", "Rollout", {"paused": {"type": "boolean"}, "replicas": {"type": "integer"}})
        yield running


def build(cluster: Running, *, token: str = ADMIN, url: str | None = None, **more: Any) -> Rollouts:
    """The backend as configured."""
    where = {"server": url} if url else {"server": cluster.url, "ca": str(cluster.ca)}
    found = KIND.build(Options({**where, "environment": "production", **more}), {"token": lambda: token})
    assert isinstance(found, Rollouts)
    return found


class Argo:
    """One Rollout, and what Argo's controller writes: a ReplicaSet for each template, and its status."""

    def __init__(self, cluster: Running, *images: str) -> None:
        self.cluster, self.name = cluster, f"answers-{next(_number)}"
        self.path = f"{ROLLOUTS}/{self.name}"
        spec = {**deployment(self.name, image=images[0])["spec"], "strategy": {"canary": {"steps": [{"setWeight": 20}, {"pause": {}}]}}}
        self.made = cluster.create(
            ROLLOUTS, {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": self.name}, "spec": spec}
        )
        self.versions: dict[str, str] = {}
        for number, image in enumerate(images, start=1):
            self._record(image, number)
        self.stable = self.versions[images[0]]
        self.release(images[-1])

    @property
    def target(self) -> str:
        return f"default/{self.name}"

    def _record(self, image: str, number: int) -> None:
        """The ReplicaSet of a template, with the defaults that the API server gives it."""
        version = f"{number}{self.name.replace('-', '')}"
        template = copy.deepcopy(deployment(self.name, image=image)["spec"]["template"])
        template["metadata"]["labels"]["rollouts-pod-template-hash"] = version
        owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": self.name, "uid": self.made["metadata"]["uid"]}
        metadata = {
            "name": f"{self.name}-{version}",
            "labels": template["metadata"]["labels"],
            "annotations": {"rollout.argoproj.io/revision": str(number)},
            "ownerReferences": [{**owner, "controller": True}],
        }
        selector = {"matchLabels": template["metadata"]["labels"]}
        self.cluster.create(SETS, {"metadata": metadata, "spec": {"replicas": 0, "selector": selector, "template": template}})
        self.versions[image] = version

    def release(self, image: str, *, by: str = "ben") -> None:
        """A new image in the specification, as a pipeline writes it, seen by the controller."""
        self.cluster.patch(self.path, {"spec": {"template": {"spec": {"containers": [{"name": "model", "image": image}]}}}}, by=by)
        self.observe(self.versions[image])

    def observe(self, current: str) -> None:
        """The controller's status for the present specification."""
        generation = str(self.read()["metadata"]["generation"])
        status = {"currentPodHash": current, "stableRS": self.stable, "observedGeneration": generation, "phase": "Progressing"}
        self.cluster.patch(f"{self.path}/status", {"status": status}, by="rollouts-controller")

    def read(self) -> Any:
        return self.cluster.get(self.path)

    def mark(self, image: str, **annotations: str) -> str:
        """Mark a release; answers its version."""
        named = {f"muster/{key}": value for key, value in annotations.items()}
        self.cluster.patch(f"{SETS}/{self.name}-{self.versions[image]}", {"metadata": {"annotations": named}})
        return self.versions[image]


def call(operation: str, target: str, **more: Any) -> Call:
    """A call on one rollout."""
    touched = "unit" if operation == "model.rollback" else "target"
    return Call(operation=operation, target=target, arguments={touched: target, **more}, environment="production")


def rolling_back(cluster: Running) -> Subject:
    argo = Argo(cluster, OTHER, OLD, BAD)
    argo.mark(OLD, good="true")
    return Subject(
        backend=build(cluster),
        call=call("model.rollback", argo.target, to="last_known_good"),
        missing=call("model.rollback", "default/nothing", to="last_known_good"),
        other={"version": argo.versions[OTHER]},
        change_outside=lambda _value: argo.release(OTHER),
        invalid=call("model.rollback", argo.target, to="no-such-release"),
    )


def aborting(cluster: Running) -> Subject:
    argo = Argo(cluster, OTHER, OLD, BAD)
    return Subject(
        backend=build(cluster),
        call=call("rollout.abort", argo.target),
        missing=call("rollout.abort", "default/nothing"),
        other={"aborted": False},
        change_outside=lambda _value: argo.release(OLD),
        atomic=False,  # the status has no room for a key
    )


def pausing(cluster: Running) -> Subject:
    argo = Argo(cluster, OTHER, OLD, BAD)
    return Subject(
        backend=build(cluster),
        call=call("rollout.pause", argo.target),
        missing=call("rollout.pause", "default/nothing"),
        other={"paused": False},
        change_outside=lambda _value: argo.release(OLD),
    )


@pytest.mark.parametrize("operation", [rolling_back, aborting, pausing], ids=[one.name for one in KIND.operations])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_argo_rollouts_keeps_the_contract(check: Check, operation: Any, cluster: Running) -> None:
    """Each operation passes every check against the real API."""
    check(operation(cluster))


def test_back_to_the_stable_release_during_a_rollout(cluster: Running) -> None:
    """Argo itself vouches for the stable release; its template comes back whole, the undo restores the bad one, the steps stay."""
    argo = Argo(cluster, OLD, BAD)
    act = Act(build(cluster), "model.rollback", {"unit": argo.target, "to": "last_known_good"}, tier="R2")
    plan = act.plan()
    assert plan.proposal.value == {"version": argo.versions[OLD]}
    assert plan.proposal.after_text == f"release {argo.versions[OLD]} (answers:v7.3)"
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    spec = argo.read()["spec"]
    assert spec["template"]["spec"]["containers"][0]["image"] == OLD
    assert "rollouts-pod-template-hash" not in spec["template"]["metadata"]["labels"]
    assert spec["strategy"]["canary"]["steps"] == [{"setWeight": 20}, {"pause": {}}]
    argo.observe(argo.versions[OLD])
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert argo.read()["spec"]["template"]["spec"]["containers"][0]["image"] == BAD


def test_an_autoscaler_does_not_void_a_rollback(cluster: Running) -> None:
    """The number of replicas moves between plan and click and between run and undo; both go through."""
    argo = Argo(cluster, OLD, BAD)
    act = Act(build(cluster), "model.rollback", {"unit": argo.target, "to": "last_known_good"}, tier="R2")
    plan = act.plan()
    argo.cluster.patch(argo.path, {"spec": {"replicas": 7}}, by="horizontal-pod-autoscaler")
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    argo.cluster.patch(argo.path, {"spec": {"replicas": 9}}, by="horizontal-pod-autoscaler")
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert argo.read()["spec"]["replicas"] == 9


def test_an_abort_is_written_to_the_status_and_taken_back(cluster: Running) -> None:
    """Abort sets what Argo's own tool sets, the undo is a retry, and the specification stays."""
    argo = Argo(cluster, OLD, BAD)
    act = Act(build(cluster), "rollout.abort", {"target": argo.target})
    plan, spec = act.plan(), argo.read()["spec"]
    assert plan.proposal.note == f"Release {argo.versions[BAD]} is being rolled out, {argo.versions[OLD]} is stable."
    done = act.execute(plan)
    assert argo.read()["status"]["abort"] is True
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert argo.read()["status"]["abort"] is False
    assert argo.read()["spec"] == spec


def refusal(act: Act) -> str:
    """Why there is no plan."""
    with pytest.raises(PlanRefused) as refused:
        act.plan()
    return str(refused.value)


def test_what_is_not_rolled_out_cannot_be_stopped(cluster: Running) -> None:
    """An abort without a rollout, a rollback of a paused one and one whose template stands elsewhere are refused in words."""
    argo = Argo(cluster, OLD)
    assert refusal(Act(build(cluster), "rollout.abort", {"target": argo.target})) == (
        f"Nothing is being rolled out of {argo.target}; there is nothing to stop."
    )
    rolled = {"unit": argo.target, "to": "last_known_good"}
    assert "nothing to roll back to" in refusal(Act(build(cluster), "model.rollback", rolled, tier="R2"))
    cluster.patch(argo.path, {"spec": {"paused": True}})
    assert "is paused" in refusal(Act(build(cluster), "model.rollback", rolled, tier="R2"))
    cluster.patch(argo.path, {"spec": {"template": None, "workloadRef": {"kind": "Deployment", "name": "answers"}}})
    assert "takes its template from another workload; roll that one back" in refusal(
        Act(build(cluster), "model.rollback", rolled, tier="R2")
    )


def test_a_template_that_argo_has_not_seen_yet(cluster: Running) -> None:
    """Between a pipeline's change and Argo's status nobody knows which release is wanted: plan again."""
    argo = Argo(cluster, OLD, BAD)
    template = {"spec": {"containers": [{"name": "model", "image": "registry.example/answers:v8"}]}}
    cluster.patch(argo.path, {"spec": {"template": template}})
    act = Act(build(cluster), "model.rollback", {"unit": argo.target, "to": "last_known_good"}, tier="R2")
    assert "its controller has not recorded it yet. Plan again." in refusal(act)


def test_another_rollout_is_not_stopped_in_its_place(cluster: Running) -> None:
    """The plan was to stop one release; meanwhile another is being rolled out, and the click stops nothing."""
    argo = Argo(cluster, OTHER, OLD, BAD)
    act = Act(build(cluster), "rollout.abort", {"target": argo.target})
    plan = act.plan()
    argo.release(OLD, by="zoe")
    refused = act.execute(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert "abort" not in argo.read()["status"]


@pytest.mark.parametrize("operation", ["model.rollback", "rollout.abort"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_change_in_trouble(case: Case, operation: str, cluster: Running) -> None:
    """Whatever goes wrong with the change, the sentence is as certain as the truth, and a look afterwards tells it."""
    argo = Argo(cluster, OLD, BAD)
    given = {"unit": argo.target, "to": "last_known_good"} if operation == "model.rollback" else {"target": argo.target}
    with troubled(cluster.url, verify=cluster.trust) as trouble:
        act = Act(build(cluster, url=trouble.url), operation, given, tier="R2" if operation == "model.rollback" else "R1")
        suffer(case, act, trouble, says="does not accept the credentials (401)" if case.status == 401 else None)


def test_credentials_and_names(cluster: Running) -> None:
    """The missing right is named, the probe says what may be done, and a hostile name never gets into an address."""
    with pytest.raises(NotPermitted, match='cannot get resource "rollouts"'):
        build(cluster, token="token-of-stranger").read(call("rollout.abort", "default/answers"), timeout=10)
    assert build(cluster).probe(timeout=10).endswith("they may do model.rollback, rollout.abort, rollout.pause.")
    for hostile in ("answers", "default/a/b", "default/..", "default/a%2fb", "default/A", ""):
        with pytest.raises(CallInvalid, match="write namespace/rollout"):
            build(cluster).read(call("rollout.abort", hostile), timeout=10)
