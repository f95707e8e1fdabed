"""What the API never says, a proxy or another version of a definition may: every part of each object is replaced by what was not expected."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from actions.backends import istio, kserve, kubernetes, rollouts
from actions.contract import OutcomeUnknown
from actions.kinds import BackendKind, Options
from runbooks.errors import MusterError
from runbooks.operation import Call
from tests.parts.answering import Asked, answering
from tests.parts.odd import odd

TARGET = "inference/answers"
THINGS: tuple[Any, ...] = (None, [], {}, "x", 3, [None])
TEMPLATE = {"metadata": {"labels": {"app": "answers"}}, "spec": {"containers": [{"name": "model", "image": "answers:v7"}]}}
OWNED = {"manager": "muster", "time": "2026-11-21T01:00:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {}}}}
ABOUT = {"uid": "u", "resourceVersion": "5", "generation": 1, "annotations": {"muster/key": "k"}, "managedFields": [OWNED]}
SELECTOR = {"matchLabels": {"app": "answers"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a"]}]}
BEFORE = {**TEMPLATE, "spec": {"containers": [{"name": "model", "image": "answers:v6"}]}}


def _kept(version: str, revision: str, template: dict[str, Any]) -> dict[str, Any]:
    """A ReplicaSet that is kept."""
    annotations = {"deployment.kubernetes.io/revision": revision, "kubernetes.io/change-cause": "c", "muster/good": "true"}
    labels = {"pod-template-hash": version, "rollouts-pod-template-hash": version}
    return {
        "metadata": {"labels": labels, "annotations": annotations, "ownerReferences": [{"uid": "u"}]},
        "spec": {"template": template},
    }


SETS = {"items": [_kept("n", "4", TEMPLATE), _kept("h", "3", BEFORE)], "metadata": {}}
SCALER = {"name": "h", "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "answers"}, "minReplicas": 1, "maxReplicas": 4}}
DEPLOYMENT = {
    "metadata": ABOUT,
    "spec": {"replicas": 2, "template": TEMPLATE, "selector": SELECTOR},
    "status": {"readyReplicas": 1, "conditions": [{"type": "Progressing", "reason": "NewReplicaSetAvailable"}]},
}
ROLLOUT = {
    "metadata": ABOUT,
    "spec": {"template": TEMPLATE, "selector": SELECTOR},
    "status": {"stableRS": "old", "currentPodHash": "n", "observedGeneration": "1"},
}
REVISIONS = {"latestReadyRevision": "a2", "latestRolledoutRevision": "a2", "previousRolledoutRevision": "a1"}
BY_TRAFFIC = {
    "metadata": ABOUT,
    "spec": {"predictor": {"canaryTrafficPercent": 10, "model": {"storageUri": "s3://v2"}}},
    "status": {"components": {"predictor": REVISIONS}},
}
LISTED = {"muster/releases": json.dumps([{"version": "s3://v1", "good": "true", "at": "2026-11-21T01:00:00Z"}])}
BY_STORAGE = {"metadata": {**ABOUT, "annotations": LISTED}, "spec": {"predictor": {"model": {"storageUri": "s3://v2"}}}}
ROUTES = [{"destination": {"host": "a", "subset": name}, "weight": share} for name, share in (("p", 100), ("q", 0))]
MESH = {"metadata": ABOUT, "spec": {"http": [{"name": "ask", "retries": {"attempts": 5}, "route": ROUTES}]}}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One operation, what its reading asks for by a part of the path, and a value to write."""

    kind: BackendKind
    operation: str
    value: dict[str, Any]
    documents: dict[str, Any]
    target: str = TARGET
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def call(self) -> Call:
        """The call."""
        arguments = {"target": self.target, "unit": self.target, "to": "last_known_good", "replicas": 3, "attempts": 1, "route": "q"}
        return Call(operation=self.operation, target=self.target, arguments=arguments)


LIMITS = {"limits": {"*": {"maximum": 9, "budget": "floor"}}}
BUDGET = {"spec": {"minAvailable": 1}}
CASES = {
    "scale": Case(
        kind=kubernetes.KIND, operation="cluster.scale", value={"replicas": 3}, options=LIMITS,
        documents={"/deployments/": DEPLOYMENT, "/horizontalpodautoscalers": {"items": []}, "/poddisruptionbudgets/": BUDGET},
    ),
    "autoscaler": Case(
        kind=kubernetes.KIND, operation="cluster.scale", value={"replicas": 3}, target="inference/hpa/answers",
        documents={"/horizontalpodautoscalers/": {**SCALER, "metadata": ABOUT}},
    ),
    "rollback": Case(
        kind=kubernetes.KIND, operation="model.rollback", value={"version": "h"},
        documents={"/deployments/": DEPLOYMENT, "/replicasets": SETS},
    ),
    "rollout": Case(
        kind=rollouts.KIND, operation="model.rollback", value={"version": "h"}, documents={"/rollouts/": ROLLOUT, "/replicasets": SETS}
    ),
    "abort": Case(kind=rollouts.KIND, operation="rollout.abort", value={"aborted": True}, documents={"/rollouts/": ROLLOUT}),
    "traffic": Case(kind=kserve.KIND, operation="model.rollback", value={"version": "a1"}, documents={"/inference": BY_TRAFFIC}),
    "storage": Case(kind=kserve.KIND, operation="model.rollback", value={"version": "s3://v1"}, documents={"/inference": BY_STORAGE}),
    "retries": Case(kind=istio.KIND, operation="retries.cap", value={"attempts": 1}, documents={"/virtual": MESH}),
    "route": Case(kind=istio.KIND, operation="route.switch", value={"route": "q"}, documents={"/virtual": MESH}),
}  # fmt: skip


class Api:
    """Answers a look with the document whose part of the path it asks for, and a change with `changed`."""

    def __init__(self, documents: dict[str, Any]) -> None:
        self.documents, self.changed, self.changes = documents, dict[str, Any](), 0

    def answer(self, asked: Asked) -> tuple[int, Any]:
        """The answer."""
        if asked.method == "PATCH":
            self.changes += 1
            return 200, self.changed
        return 200, next(one for part, one in self.documents.items() if part in f"{asked.path}/")


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def served(case: Case) -> Iterator[tuple[Api, Any]]:
    """The API and the backend."""
    api = Api(dict(case.documents))
    with answering(api.answer) as url:
        yield api, case.kind.build(Options({"server": url, "environment": "production", **case.options}), {"token": lambda: "t"})


def test_an_object_of_another_shape_is_no_crash(case: Case, served: tuple[Api, Any]) -> None:
    """Reading and planning end with a state, or with an error for people."""
    api, backend = served
    backend.read(case.call, timeout=20)
    for part, document in case.documents.items():
        for changed in odd(document, things=THINGS):
            api.documents = {**case.documents, part: changed}
            with suppress(MusterError):
                backend.propose(case.call, backend.read(case.call, timeout=20))


def test_a_change_answered_in_another_shape_is_never_called_undone(case: Case, served: tuple[Api, Any]) -> None:
    """Once the change was sent, whatever is answered is a state or `OutcomeUnknown`."""
    api, backend = served
    expected = backend.read(case.call, timeout=20)
    for changed in odd(next(iter(case.documents.values())), things=THINGS):
        api.changed, before = changed, api.changes
        with suppress(OutcomeUnknown):
            backend.apply(case.call, case.value, expected=expected, key="key", timeout=20)
        assert api.changes == before + 1
