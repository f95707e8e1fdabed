"""All four kinds over a lenient stand-in at the wire: quick, on every machine. The real API server proves them in tests/contract."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from actions.backends import istio, kserve, kubernetes, rollouts
from actions.contract import Backend, TargetMissing
from actions.kinds import BackendKind, Options
from actions.planning import PlanRefused
from runbooks.operation import Call, OutcomeStatus
from tests.parts.acted import CASES, Act, Case, suffer
from tests.parts.kubernetes_stand_in import StandIn, standing_in
from tests.parts.trouble import troubled

DEPLOYMENTS, AUTOSCALERS = "apps/v1/deployments", "autoscaling/v1/horizontalpodautoscalers"
SERVICES, VIRTUAL = "serving.kserve.io/v1beta1/inferenceservices", "networking.istio.io/v1beta1/virtualservices"
ROLLOUTS = "argoproj.io/v1alpha1/rollouts"
TARGET = "inference/answers"


@pytest.fixture(scope="module")
def running_stand_in() -> Iterator[StandIn]:
    with standing_in(DEPLOYMENTS, AUTOSCALERS, SERVICES, VIRTUAL, ROLLOUTS) as found:
        yield found


@pytest.fixture
def api(running_stand_in: StandIn) -> StandIn:
    """Everything as at its beginning."""
    template = {"metadata": {"labels": {"app": "answers"}}, "spec": {"containers": [{"name": "model", "image": "answers:v7"}]}}
    running_stand_in.put(
        DEPLOYMENTS, "inference", "answers", {"spec": {"replicas": 2, "template": template}, "status": {"readyReplicas": 1}}
    )
    status = {"latestReadyRevision": "answers-2", "latestRolledoutRevision": "answers-2", "previousRolledoutRevision": "answers-1"}
    service = {"spec": {"predictor": {"model": {"storageUri": "s3://v2"}}}, "status": {"components": {"predictor": status}}}
    running_stand_in.put(SERVICES, "inference", "answers", service)
    route = [{"destination": {"host": "answers", "subset": name}, "weight": share} for name, share in (("primary", 100), ("backup", 0))]
    http = [{"name": "ask", "retries": {"attempts": 5}, "route": route}]
    running_stand_in.put(VIRTUAL, "inference", "answers", {"spec": {"hosts": ["answers"], "http": http}})
    status = {"currentPodHash": "new", "stableRS": "old"}
    running_stand_in.put(ROLLOUTS, "inference", "answers", {"spec": {"replicas": 2, "template": template}, "status": status})
    return running_stand_in


def build(kind: BackendKind, url: str, **more: Any) -> Backend:
    """The backend as configured."""
    return kind.build(Options({"server": url, "environment": "production", **more}), {"token": lambda: "a-token"})


def scaling(url: str) -> Backend:
    """With room to scale."""
    return build(kubernetes.KIND, url, limits={"*": {"maximum": 12}})


DEEDS: dict[str, tuple[BackendKind, dict[str, Any], str]] = {
    "cluster.scale": (kubernetes.KIND, {"target": TARGET, "replicas": 4}, "2 → 4 replicas"),
    "model.rollback": (kserve.KIND, {"unit": TARGET, "to": "last_known_good"}, "release answers-2 → answers-1"),
    "retries.cap": (istio.KIND, {"target": f"{TARGET}/ask", "attempts": 1}, "6 attempts → 1 attempt"),
    "route.switch": (istio.KIND, {"target": TARGET, "route": "backup"}, "route primary → backup"),
    "rollout.abort": (rollouts.KIND, {"target": TARGET}, "going on → aborted"),
    "rollout.pause": (rollouts.KIND, {"target": TARGET}, "running → paused"),
}


@pytest.mark.parametrize("operation", DEEDS)
def test_planned_done_and_taken_back(operation: str, api: StandIn) -> None:
    """The plan says what will change, the deed is seen when read again, and the undo restores what was."""
    kind, arguments, step = DEEDS[operation]
    more = {"limits": {"*": {"maximum": 12}}} if kind is kubernetes.KIND else {}
    act = Act(build(kind, api.url, **more), operation, arguments, tier="R2" if operation == "model.rollback" else "R1")
    plan = act.plan()
    assert plan.proposal.step == step
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert act.runner.reconcile(plan).reason == "It took effect."
    undone = act.undo(plan, after=done.after)
    assert undone.status is OutcomeStatus.APPLIED, undone.reason
    assert act.plan("p2").before.value == plan.before.value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_change_in_trouble_is_as_certain_as_it_is(case: Case, api: StandIn) -> None:
    """Whatever goes wrong with the change, the sentence is as certain as the truth, and a look afterwards tells it."""
    with troubled(api.url) as trouble:
        act = Act(scaling(trouble.url), "cluster.scale", {"target": TARGET, "replicas": 4})
        suffer(case, act, trouble, says="does not accept the credentials (401)" if case.status == 401 else None)
        assert ("PATCH", "/apis/apps/v1/namespaces/inference/deployments/answers/scale?fieldManager=muster-key-1") in trouble.seen


def test_a_scale_asks_for_nothing_but_the_scale(api: StandIn) -> None:
    """One look at the workload, one for its autoscaler, and the subresource alone is written."""
    with troubled(api.url) as trouble:
        act = Act(scaling(trouble.url), "cluster.scale", {"target": TARGET, "replicas": 4})
        plan = act.plan()
        trouble.seen.clear()
        assert act.execute(plan).status is OutcomeStatus.APPLIED
    root = "/apis/apps/v1/namespaces/inference/deployments/answers"
    look = [("GET", root), ("GET", "/apis/autoscaling/v1/namespaces/inference/horizontalpodautoscalers?limit=100")]
    assert trouble.seen == [*look, *look, ("PATCH", f"{root}/scale?fieldManager=muster-key-1")]


def test_a_stranger_is_seen_and_left_alone(api: StandIn) -> None:
    """Between plan and click, and between run and undo."""
    act = Act(scaling(api.url), "cluster.scale", {"target": TARGET, "replicas": 4})
    plan = act.plan()
    thing = api.get(DEPLOYMENTS, "inference", "answers")
    api.put(DEPLOYMENTS, "inference", "answers", {**thing, "spec": {**thing["spec"], "replicas": 3}})
    assert act.execute(plan).reason == (
        f"Nothing was changed: {TARGET} was changed meanwhile; now it is: 3 replicas. Plan again to see what it would be now."
    )
    plan = act.plan("p2")
    done = act.execute(plan)
    api.put(DEPLOYMENTS, "inference", "answers", {**thing, "spec": {**thing["spec"], "replicas": 7}})
    assert act.undo(plan, after=done.after).reason == (
        f"Not undone: {TARGET} was changed meanwhile; now it is: 7 replicas. It was not overwritten."
    )


def rollout(api: StandIn, **status: Any) -> None:
    """A rollout of another workload's template."""
    said = {"currentPodHash": "new", "stableRS": "old", **status}
    api.put(ROLLOUTS, "inference", "answers", {"spec": {"workloadRef": {"kind": "Deployment", "name": "answers"}}, "status": said})


def test_another_release_of_another_workload_is_not_stopped_in_its_place(api: StandIn) -> None:
    """Where the template stands elsewhere, the release that Argo sees there is what a plan is bound to."""
    rollout(api)
    act = Act(build(rollouts.KIND, api.url), "rollout.abort", {"target": TARGET})
    plan = act.plan()
    rollout(api, currentPodHash="newer")
    assert act.execute(plan).status is OutcomeStatus.REFUSED
    assert "abort" not in api.get(ROLLOUTS, "inference", "answers")["status"]


def test_a_rollout_that_ended_meanwhile_is_not_stopped(api: StandIn) -> None:
    """Between plan and click the release became the stable one: there is nothing to stop any more."""
    act = Act(build(rollouts.KIND, api.url), "rollout.abort", {"target": TARGET})
    plan = act.plan()
    thing = api.get(ROLLOUTS, "inference", "answers")
    api.put(ROLLOUTS, "inference", "answers", {**thing, "status": {"currentPodHash": "new", "stableRS": "new"}})
    assert f"Nothing is being rolled out of {TARGET}; there is nothing to stop." in act.execute(plan).reason
    assert "abort" not in api.get(ROLLOUTS, "inference", "answers")["status"]


def unready(api: StandIn) -> None:
    """A newest revision that does not come up, while the one before has all traffic."""
    thing = api.get(SERVICES, "inference", "answers")
    predictor = {**thing["status"]["components"]["predictor"], "latestCreatedRevision": "answers-3"}
    api.put(SERVICES, "inference", "answers", {**thing, "status": {"components": {"predictor": predictor}}})


def test_traffic_that_kserve_would_not_move_is_not_promised(api: StandIn) -> None:
    """While the newest revision is not ready, KServe keeps all traffic where it is: neither plan nor click says otherwise."""
    act = Act(build(kserve.KIND, api.url), "model.rollback", {"unit": TARGET, "to": "last_known_good"}, tier="R2")
    plan = act.plan()
    unready(api)
    refused = act.execute(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert "answers-3, is not ready" in refused.reason
    assert "canaryTrafficPercent" not in api.get(SERVICES, "inference", "answers")["spec"]["predictor"]
    with pytest.raises(PlanRefused, match="answers-3, is not ready"):
        act.plan("p2")


def test_a_model_that_could_not_be_put_back_is_not_replaced(api: StandIn) -> None:
    """A storage URI that this backend never writes gives no plan: the undo would be refused."""
    releases = json.dumps([{"version": "s3://v1", "good": "true"}])
    service = {"metadata": {"annotations": {"muster/releases": releases}}, "spec": {"predictor": {"model": {"storageUri": "file:///v2"}}}}
    api.put(SERVICES, "inference", "answers", service)
    with pytest.raises(PlanRefused, match=r"'file:///v2' is no storage URI"):
        Act(build(kserve.KIND, api.url), "model.rollback", {"unit": TARGET, "to": "s3://v1"}, tier="R2").plan()


def split(api: StandIn, *destinations: dict[str, Any]) -> None:
    """A route to these destinations, the first of which takes all."""
    route = [{"destination": one, "weight": 0 if number else 100} for number, one in enumerate(destinations)]
    api.put(VIRTUAL, "inference", "answers", {"spec": {"hosts": ["answers"], "http": [{"name": "ask", "route": route}]}})


def test_destinations_of_one_name_are_told_apart(api: StandIn) -> None:
    """Two hosts with a subset of the same name: one of them takes everything, not both."""
    split(api, {"host": "small", "subset": "stable"}, {"host": "large", "subset": "stable"})
    act = Act(build(istio.KIND, api.url), "route.switch", {"target": TARGET, "route": "large/stable"})
    plan = act.plan()
    assert plan.proposal.step == "route small/stable → large/stable"
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert [one["weight"] for one in api.get(VIRTUAL, "inference", "answers")["spec"]["http"][0]["route"]] == [0, 100]
    split(api, {"host": "small", "port": {"number": 80}}, {"host": "small", "port": {"number": 81}})
    assert Act(build(istio.KIND, api.url), "route.switch", {"target": TARGET, "route": "small/81"}).plan().proposal.value == {
        "route": "small/81"
    }


def test_a_destination_named_twice_is_not_switched(api: StandIn) -> None:
    """Which of two that are the same is meant, nobody can tell."""
    split(api, {"host": "small"}, {"host": "small"})
    with pytest.raises(PlanRefused, match="names a destination twice"):
        Act(build(istio.KIND, api.url), "route.switch", {"target": TARGET, "route": "small"}).plan()


def test_a_target_that_was_made_anew_is_another_one(api: StandIn) -> None:
    """Deleted and created with the same number under the same name: the plan is void."""
    act = Act(scaling(api.url), "cluster.scale", {"target": TARGET, "replicas": 4})
    plan = act.plan()
    thing = api.get(DEPLOYMENTS, "inference", "answers")
    api.put(DEPLOYMENTS, "inference", "answers", {**thing, "metadata": {**thing["metadata"], "uid": "another"}})
    assert act.execute(plan).status is OutcomeStatus.REFUSED
    assert api.get(DEPLOYMENTS, "inference", "answers")["spec"]["replicas"] == 2


def test_missing_targets_and_strange_operations(api: StandIn) -> None:
    """A target that is not there is named; a kind that does not serve an operation says so in a plan."""
    gone = "inference/gone"
    for operation, (kind, arguments, _) in DEEDS.items():
        backend = build(kind, api.url)
        call = Call(operation=operation, target=gone, arguments=arguments)
        with pytest.raises(TargetMissing, match=r"has no .* inference/gone"):
            backend.read(call, timeout=5)
    with pytest.raises(PlanRefused, match=r"No backend is configured for flag\.disable"):
        Act(scaling(api.url), "flag.disable", {"flag": "x"}).plan()
