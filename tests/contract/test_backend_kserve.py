"""KServe's InferenceService in a real Kubernetes API: its compare-and-set and validation are real; KServe's status is written by the test."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from actions.backends.kserve import KIND, KServe
from actions.contract import CallInvalid, NotPermitted, OutcomeUnknown, Rejected
from actions.kinds import Options
from actions.planning import PlanRefused
from actions.testing import CHECKS, Check, Subject
from runbooks.operation import Call, OutcomeStatus
from tests.parts.acted import CASES, Act, Case, suffer
from tests.parts.kubernetes import ADMIN, Running, kubernetes, lacking
from tests.parts.trouble import troubled

pytestmark = [pytest.mark.debian, pytest.mark.slow, pytest.mark.skipif(lacking() is not None, reason=str(lacking()))]

SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices"
SHARE = {"type": "integer", "minimum": 0, "maximum": 100}
PREDICTOR = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"canaryTrafficPercent": SHARE}}
OLD, BAD, OTHER = (f"s3://models/answers/v7.{minor}" for minor in (3, 4, 2))
LISTED: list[dict[str, Any]] = [
    {"version": BAD, "at": "2026-11-20T12:00:00Z", "score": 0.61, "good": None, "note": "pull 812"},
    {"version": OLD, "at": "2026-11-01T12:00:00Z", "score": 0.91, "good": True},
    {"version": OTHER, "score": 0.88, "good": False, "note": "leaks prompts"},
]
TIMEOUT = 10.0
_number = count()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Running]:
    with kubernetes(("stranger",)) as running:
        running.define("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService", {"predictor": PREDICTOR})
        yield running


def build(cluster: Running, *, token: str = ADMIN, url: str | None = None, **more: Any) -> KServe:
    """The backend as configured."""
    where = {"server": url} if url else {"server": cluster.url, "ca": str(cluster.ca)}
    found = KIND.build(Options({**where, "environment": "production", **more}), {"token": lambda: token})
    assert isinstance(found, KServe)
    return found


def create(cluster: Running, predictor: dict[str, Any], *, releases: Any = None) -> str:
    """A service; its name."""
    name = f"answers-{next(_number)}"
    annotations = {} if releases is None else {"muster/releases": releases if isinstance(releases, str) else json.dumps(releases)}
    made = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": name, "annotations": annotations}}
    cluster.create(SERVICES, {**made, "spec": {"predictor": predictor}})
    return name


def serverless(cluster: Running, **revisions: str) -> str:
    """A service on Knative whose second revision has all traffic, as KServe writes it; its name."""
    name = create(cluster, {"model": {"modelFormat": {"name": "vllm"}, "storageUri": BAD}, "minReplicas": 1})
    first, second = f"{name}-predictor-00001", f"{name}-predictor-00002"
    usual = {"latestCreatedRevision": second, "latestReadyRevision": second, "latestRolledoutRevision": second}
    status = {**usual, "previousRolledoutRevision": first, **revisions}
    cluster.patch(f"{SERVICES}/{name}/status", {"status": {"components": {"predictor": status}}}, by="kserve")
    return name


def predictor(cluster: Running, name: str) -> Any:
    """The predictor as it stands."""
    return cluster.get(f"{SERVICES}/{name}")["spec"]["predictor"]


def rollback(unit: str, to: str = "last_known_good") -> Call:
    """Back to a release."""
    return Call(operation="model.rollback", target=unit, arguments={"unit": unit, "to": to}, environment="production")


def by_storage(cluster: Running) -> Subject:
    name = create(cluster, {"sklearn": {"storageUri": BAD, "resources": {}}}, releases=LISTED)
    return Subject(
        backend=build(cluster),
        call=rollback(f"default/{name}"),
        missing=rollback("default/nothing"),
        other={"version": OTHER},
        change_outside=lambda value: (
            cluster.patch(f"{SERVICES}/{name}", {"spec": {"predictor": {"sklearn": {"storageUri": value["version"]}}}}) and None
        ),
        invalid=rollback(f"default/{name}", "s3://elsewhere/stolen"),
    )


def by_traffic(cluster: Running) -> Subject:
    name = serverless(cluster)
    return Subject(
        backend=build(cluster),
        call=rollback(f"default/{name}"),
        missing=rollback("default/nothing"),
        other={"version": f"{name}-predictor-00002@10"},
        change_outside=lambda _value: cluster.patch(f"{SERVICES}/{name}", {"spec": {"predictor": {"canaryTrafficPercent": 10}}}) and None,
        invalid=rollback(f"default/{name}", "no-such-revision"),
    )


@pytest.mark.parametrize("way", [by_storage, by_traffic], ids=["storage", "traffic"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_kserve_keeps_the_contract(check: Check, way: Any, cluster: Running) -> None:
    """Both ways pass every check against the real API."""
    check(way(cluster))


def test_a_model_goes_back_by_its_storage_uri(cluster: Running) -> None:
    """The good release's model is written, the rest of the predictor stays, and the undo brings the present one back."""
    name = create(cluster, {"model": {"modelFormat": {"name": "vllm"}, "storageUri": BAD, "args": ["--seed=1"]}}, releases=LISTED)
    before = predictor(cluster, name)
    act = Act(build(cluster), "model.rollback", {"unit": f"default/{name}", "to": "last_known_good"}, tier="R2")
    plan = act.plan()
    assert plan.proposal.note == "Evaluation score 0.61 → 0.91."
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert predictor(cluster, name) == {"model": {**before["model"], "storageUri": OLD}}
    assert (done.after and done.after.changed_by) == "muster/key-1"
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert predictor(cluster, name) == before


def test_traffic_goes_back_to_the_last_revision_that_had_all(cluster: Running) -> None:
    """A share of nothing for the newest; the undo takes the share away, also after KServe has noted the rollback in its status."""
    name = serverless(cluster)
    before = predictor(cluster, name)
    act = Act(build(cluster), "model.rollback", {"unit": f"default/{name}", "to": "last_known_good"}, tier="R2")
    plan = act.plan()
    assert plan.proposal.step == f"release {name}-predictor-00002 → {name}-predictor-00001"
    done = act.execute(plan)
    assert predictor(cluster, name) == {**before, "canaryTrafficPercent": 0}
    noted = {"latestRolledoutRevision": f"{name}-predictor-00001"}
    cluster.patch(f"{SERVICES}/{name}/status", {"status": {"components": {"predictor": noted}}}, by="kserve")
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert predictor(cluster, name) == before


def test_a_canary_goes_back_and_comes_back_with_its_share(cluster: Running) -> None:
    """Ten per cent for a new revision are part of the version; the undo restores exactly them."""
    name = serverless(cluster, latestRolledoutRevision="answers-predictor-00001")
    cluster.patch(f"{SERVICES}/{name}", {"spec": {"predictor": {"canaryTrafficPercent": 10}}})
    act = Act(build(cluster), "model.rollback", {"unit": f"default/{name}", "to": "last_known_good"}, tier="R2")
    plan = act.plan()
    assert plan.before.value == {"version": f"{name}-predictor-00002@10"}
    assert plan.proposal.value == {"version": "answers-predictor-00001"}
    done = act.execute(plan)
    assert predictor(cluster, name)["canaryTrafficPercent"] == 0
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert predictor(cluster, name)["canaryTrafficPercent"] == 10


def refusal(act: Act) -> str:
    """Why there is no plan."""
    with pytest.raises(PlanRefused) as refused:
        act.plan()
    return str(refused.value)


def test_nothing_to_go_back_to_is_said(cluster: Running) -> None:
    """No revision before, no list and no Knative, no good one in the list, a canary in the way, a list that is none."""

    def said(name: str, to: str = "last_known_good") -> str:
        return refusal(Act(build(cluster), "model.rollback", {"unit": f"default/{name}", "to": to}, tier="R2"))

    model = {"model": {"storageUri": BAD}}
    assert "nothing to roll back to" in said(serverless(cluster, previousRolledoutRevision=""))
    assert "has no ready revision of Knative, and no annotation muster/releases" in said(create(cluster, model))
    assert "nothing to roll back to" in said(create(cluster, model, releases=[LISTED[0], LISTED[2]]))
    assert "A canary of 10 % of " in said(create(cluster, {**model, "canaryTrafficPercent": 10}, releases=LISTED))
    assert "is not the list that it should be" in said(create(cluster, model, releases="[{]"))
    assert "names no model by a storage URI" in said(create(cluster, {"containers": [{"image": "x"}]}, releases=LISTED))


@pytest.mark.parametrize(
    "releases", ["3", "[3]", '[{"at": "now"}]', '[{"version": "s3://m", "at": "2026-11-20"}]', '{"version": "s3://m"}'], ids=str
)
def test_a_list_that_is_none_is_never_guessed_at(releases: str, cluster: Running) -> None:
    """Whatever stands in the annotation, it is a list of releases with aware times or it is refused."""
    name = create(cluster, {"model": {"storageUri": BAD}}, releases=releases)
    with pytest.raises(OutcomeUnknown, match="is not the list that it should be"):
        build(cluster).read(rollback(f"default/{name}"), timeout=TIMEOUT)


def test_only_what_kserve_loads_is_written(cluster: Running) -> None:
    """A version that is no storage URI, and a revision that is not kept, are refused before anything is sent."""
    backend = build(cluster)
    stored = create(cluster, {"model": {"storageUri": BAD}}, releases=LISTED)
    now = backend.read(rollback(f"default/{stored}"), timeout=TIMEOUT)
    with pytest.raises(CallInvalid, match="is no storage URI that KServe loads"):
        backend.apply(rollback(f"default/{stored}"), {"version": "file:///etc/passwd"}, expected=now, key="k", timeout=TIMEOUT)
    routed = serverless(cluster)
    now = backend.read(rollback(f"default/{routed}"), timeout=TIMEOUT)
    with pytest.raises(CallInvalid, match="is not among them"):
        backend.apply(rollback(f"default/{routed}"), {"version": "other-00009"}, expected=now, key="k", timeout=TIMEOUT)
    with pytest.raises(Rejected, match=r"refuses \(422\).*canaryTrafficPercent"):
        backend.apply(rollback(f"default/{routed}"), {"version": f"{routed}-predictor-00002@101"}, expected=now, key="k", timeout=TIMEOUT)


def test_the_stranger_is_named_and_not_overwritten(cluster: Running) -> None:
    """Between run and undo somebody put another model in; it stays."""
    name = create(cluster, {"model": {"storageUri": BAD}}, releases=LISTED)
    act = Act(build(cluster), "model.rollback", {"unit": f"default/{name}", "to": "last_known_good"}, tier="R2")
    plan = act.plan()
    done = act.execute(plan)
    cluster.patch(f"{SERVICES}/{name}", {"spec": {"predictor": {"model": {"storageUri": OTHER}}}}, by="zoe")
    kept = act.undo(plan, after=done.after)
    assert kept.status is OutcomeStatus.REFUSED
    assert kept.reason.startswith(f"Not undone: default/{name} was changed by zoe meanwhile; now it is: ")
    assert predictor(cluster, name)["model"]["storageUri"] == OTHER


@pytest.mark.parametrize("way", ["storage", "traffic"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_change_in_trouble(case: Case, way: str, cluster: Running) -> None:
    """Whatever goes wrong with the change, the sentence is as certain as the truth, and a look afterwards tells it."""
    name = serverless(cluster) if way == "traffic" else create(cluster, {"model": {"storageUri": BAD}}, releases=LISTED)
    with troubled(cluster.url, verify=cluster.trust) as trouble:
        act = Act(build(cluster, url=trouble.url), "model.rollback", {"unit": f"default/{name}", "to": "last_known_good"}, tier="R2")
        suffer(case, act, trouble, says="does not accept the credentials (401)" if case.status == 401 else None)


def test_credentials_and_names(cluster: Running) -> None:
    """The missing right is named, the probe says what may be done, and a hostile name never gets into an address."""
    with pytest.raises(NotPermitted, match='cannot get resource "inferenceservices"'):
        build(cluster, token="token-of-stranger").read(rollback("default/answers"), timeout=TIMEOUT)
    assert build(cluster).probe(timeout=TIMEOUT).endswith("they may do model.rollback.")
    for hostile in ("answers", "default/a/b", "default/..", "default/a?b", "default/A", ""):
        with pytest.raises(CallInvalid, match="write namespace/inferenceservice"):
            build(cluster).read(rollback(hostile), timeout=TIMEOUT)
