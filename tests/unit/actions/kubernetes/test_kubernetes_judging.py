"""What is certain after each answer, who changed what, which release is good, and which names are names."""

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from actions.contract import (
    BackendError,
    CallInvalid,
    Conflict,
    NotPermitted,
    OutcomeUnknown,
    Rejected,
    TargetMissing,
    Throttled,
    Unreachable,
)
from actions.kinds import Options
from actions.kubernetes import marks
from actions.kubernetes.access import Door
from actions.kubernetes.cluster import Cluster, judged
from actions.kubernetes.history import ROLLOUT, history, selector
from actions.kubernetes.marks import Policy, Release
from actions.kubernetes.names import Resource, named
from actions.kubernetes.ownership import changed, records_scaling
from actions.kubernetes.scaling import Limits, Scaling, limits
from actions.kubernetes.writing import Seen, compare_and_set, digest
from actions.toolkit.wire import Answer
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call, Reading
from tests.parts.answering import Asked, answering


def answer(status: int, message: str | None = None, **headers: str) -> Answer:
    """As the API server answers: a Status, or text."""
    body = json.dumps({"kind": "Status", "message": message}) if message else "404 page not found"
    return Answer(status=status, body=body.encode(), headers=headers)


@pytest.mark.parametrize(
    ("status", "message", "error", "words"),
    [
        (401, "Unauthorized", NotPermitted, "wrong or have expired. Renew them"),
        (403, 'User "muster" cannot patch', NotPermitted, 'these credentials do this (403): User "muster" cannot patch.'),
        (403, 'admission webhook "policy" denied the request: no', Rejected, "A policy of the cluster refuses"),
        (400, 'admission webhook "policy" denied the request: no', Rejected, "A policy of the cluster refuses"),
        (409, 'admission webhook "policy" denied the request: no', Rejected, "A policy of the cluster refuses"),
        (500, 'admission webhook "policy" denied the request', Rejected, "A policy of the cluster refuses"),
        (403, "x is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", Rejected, "A policy of the cluster"),
        (404, 'deployments.apps "x" not found', TargetMissing, 'has no Deployment a/x: deployments.apps "x" not found.'),
        (404, None, TargetMissing, "its resource definition is not installed"),
        (410, "gone", TargetMissing, "has no Deployment a/x"),
        (422, "spec.replicas: Invalid value", Rejected, "refuses (422): spec.replicas: Invalid value."),
        (301, None, Rejected, "refuses (301)"),
        (408, None, OutcomeUnknown, "answers 408"),
        (500, 'failed calling webhook "policy"', OutcomeUnknown, "answers 500"),
        (503, None, OutcomeUnknown, "answers 503"),
        (504, "the request timed out", OutcomeUnknown, "answers 504: the request timed out."),
    ],
)
def test_each_answer_has_its_certainty(status: int, message: str | None, error: type[BackendError], words: str) -> None:
    """The error says what is certain, and its sentence repeats the API server's own."""
    with pytest.raises(error) as raised:
        judged(answer(status, message), what="Deployment a/x")
    assert type(raised.value) is error
    assert words in str(raised.value)


def test_a_busy_api_server_says_how_long_to_wait() -> None:
    """Priority and fairness answers 429 with the seconds."""
    with pytest.raises(Throttled) as raised:
        judged(answer(429, "too many requests", **{"retry-after": "3"}), what="it")
    assert raised.value.retry_after == 3.0


def test_the_words_of_the_far_side_are_redacted() -> None:
    """A token in an error message of a webhook is not repeated."""
    with pytest.raises(Rejected) as raised:
        judged(answer(422, "denied for Bearer abcdefghijklmnop"), what="it")
    assert "abcdefghijklmnop" not in str(raised.value)


DEPLOYMENTS = Resource(group="apps", version="v1", plural="deployments", word="Deployment")


@pytest.mark.parametrize(
    "target",
    ["", "answers", "a/b/c/d", "a/..", "../b", "a/b?x=1", "a/b%2fc", "a/B", "a/b\n", "a/é", "a/-b", "a/b-", "a.b/c", "/a", "a/", f"a/{'b' * 254}", f"{'a' * 64}/b"],
)  # fmt: skip
def test_s29_what_is_no_name_never_gets_into_an_address(target: str) -> None:
    """Every part is checked by Kubernetes' own rule for names, and the refusal says how to write it."""
    with pytest.raises(CallInvalid, match="write namespace/deployment"):
        named(target, form="namespace/deployment", parts={2}, namespaces=())


def test_names_become_paths() -> None:
    """A good name is taken as it is; outside the configured namespaces it is refused."""
    namespace, name = named("inference/answers.v7-a", form="x", parts={2}, namespaces={"inference"})
    assert DEPLOYMENTS.path(namespace, name) == "/apis/apps/v1/namespaces/inference/deployments/answers.v7-a"
    assert Resource(group="", version="v1", plural="pods", word="Pod").path("a") == "/api/v1/namespaces/a/pods"
    with pytest.raises(CallInvalid, match="kube-system/answers lies outside the namespaces that are configured here: inference"):
        named("kube-system/answers", form="x", parts={2}, namespaces={"inference"})


def managed(*entries: tuple[str, str, dict[str, Any]], key: str | None = None, **more: Any) -> dict[str, Any]:
    """An object with managed fields as the API server writes them."""
    fields = [{"manager": who, "operation": "Update", "time": at, "fieldsV1": owns, **more} for who, at, owns in entries]
    return {"metadata": {"uid": "u", "managedFields": fields, "annotations": {"muster/key": key} if key else {}}}


REPLICAS: dict[str, Any] = {"f:spec": {"f:replicas": {}}}


def test_the_last_owner_of_a_field_changed_it() -> None:
    """Of several owners of its parts the latest is named; Muster's own with its key; a tie of two names nobody."""
    early, late = "2026-11-21T01:00:00Z", "2026-11-21T01:00:05Z"
    by, at = changed(
        managed(("helm", early, REPLICAS), ("kubectl-edit", late, REPLICAS), ("x", late, {"f:status": {}})), "spec", "replicas"
    )
    assert (by, at and at.isoformat()) == ("kubectl-edit", "2026-11-21T01:00:05+00:00")
    assert changed(managed(("muster", late, REPLICAS), key="k7"), "spec", "replicas")[0] == "muster/k7"
    assert changed(managed(("helm", late, REPLICAS), ("ben", late, REPLICAS)), "spec", "replicas") == (None, None)
    assert changed(managed(("helm", late, {"f:metadata": {}})), "spec", "replicas") == (None, None)
    assert changed({"metadata": {}}, "spec", "replicas") == (None, None)


def test_the_key_of_a_scale_is_its_field_manager() -> None:
    """Servers from 1.22 on record who wrote through the scale subresource: only the same key counts as done."""
    scaling = Scaling(None, bounds={}, namespaces=frozenset())  # type: ignore[arg-type]  # asks nothing
    new = managed(("muster-k1", "2026-11-21T01:00:00Z", REPLICAS), subresource="scale")
    assert records_scaling(new)
    assert scaling.done(Seen(thing=new, reading=Reading()), key="k1")
    assert not scaling.done(Seen(thing=new, reading=Reading()), key="k2")
    old = managed(("helm", "2026-11-21T01:00:00Z", REPLICAS))
    assert not records_scaling(old)
    assert scaling.done(Seen(thing=old, reading=Reading()), key="k2")


CALL = Call(operation="model.rollback", target="a/b", arguments={"unit": "a/b", "to": "last_known_good"})


def said(*releases: Release, present: str, **policy: Any) -> Reading:
    """A reading with these releases, newest first."""
    facts = marks.facts(releases, present=present, policy=Policy(**policy))
    return Reading(value={"version": present}, facts=facts)


def marked(version: str, **annotations: Any) -> Release:
    return Release(version=version, annotations={f"muster/{name}": value for name, value in annotations.items()})


def test_only_an_older_good_release_is_gone_back_to() -> None:
    """Newer ones, bad ones and unmarked ones are passed over."""
    reading = said(
        marked("v6", good="true"),
        marked("v5"),
        marked("v4"),
        marked("v3", good="false"),
        marked("v2", good="TRUE", score="0.9"),
        present="v5",
    )
    assert reading.facts["last_known_good"] == "v2"
    assert marks.proposal(CALL, reading).value == {"version": "v2"}
    assert reading.facts["versions"] == ["v6", "v5", "v4", "v3", "v2"]


@pytest.mark.parametrize(("score", "good"), [("0.9", True), ("0.89", False), ("nan", None), ("much", None), (None, None), (0, False)])
def test_a_score_decides_where_there_is_no_mark(score: Any, good: bool | None) -> None:
    """At least the least score is good; what is no number says nothing; the mark itself always wins."""
    assert marked("v1", score=score).good(Policy(minimum_score=0.9)) is good
    assert marked("v1", score=score, good="true").good(Policy(minimum_score=0.9)) is True


def test_the_one_before_counts_only_where_nothing_is_marked() -> None:
    """One mark anywhere, and the marks decide."""
    assert said(marked("v2"), marked("v1"), present="v2", previous_is_good=True).facts["last_known_good"] == "v1"
    assert said(marked("v2", good="false"), marked("v1"), present="v2", previous_is_good=True).facts["last_known_good"] is None
    assert said(marked("v2"), marked("v1"), present="v2").facts["last_known_good"] is None
    assert said(marked("v2"), present="v2", previous_is_good=True).facts["last_known_good"] is None


def test_ten_releases_are_enough_to_choose_from() -> None:
    """The present one and the good one are among them, however old."""
    many = [marked(f"v{number}") for number in range(30, 0, -1)]
    facts = said(*many[:-1], marked("v1", good="true"), present="v30").facts
    assert len(facts["releases"]) == 10
    assert [facts["releases"][0]["version"], facts["releases"][-1]["version"]] == ["v30", "v1"]


def test_a_bad_release_is_refused_although_it_is_not_shown() -> None:
    """Ten are shown; one that is marked as bad and lies behind them is refused all the same."""
    reading = said(*(marked(f"v{number}") for number in range(30, 2, -1)), marked("v2", good="false"), present="v30")
    assert "v2" not in [one["version"] for one in reading.facts["releases"]]
    with pytest.raises(CallInvalid, match="v2 of a/b is marked as bad"):
        marks.proposal(CALL.model_copy(update={"arguments": {"unit": "a/b", "to": "v2"}}), reading)


def test_a_present_release_that_nobody_knows_has_all_others_before_it() -> None:
    """A model that is not on the list may go back to the newest good one."""
    assert said(marked("v2", good="true"), marked("v1", good="true"), present="elsewhere").facts["last_known_good"] == "v2"


def test_bad_and_unknown_versions_are_refused() -> None:
    """With the reason, and with those that there are."""
    reading = said(marked("v2"), marked("v1", good="false"), present="v2")
    for wanted, why in (("v1", "is marked as bad"), ("v9", "has no release v9; there are v2, v1")):
        with pytest.raises(CallInvalid, match=why):
            marks.proposal(CALL.model_copy(update={"arguments": {"unit": "a/b", "to": wanted}}), reading)
    with pytest.raises(CallInvalid, match='mark a good one with the annotation muster/good: "true"'):
        marks.proposal(CALL, reading)


def test_a_minimum_score_is_a_number() -> None:
    """A text or a boolean is refused when the configuration is read."""
    assert marks.policy(Options({"minimum_score": 1})).minimum_score == 1
    for wrong in ("0.9", True):
        with pytest.raises(SettingsInvalid, match="minimum_score"):
            marks.policy(Options({"minimum_score": wrong}))


@pytest.mark.parametrize(
    "entry", [None, 3, {"minimum": 1}, {"maximum": "12"}, {"minimum": 3, "maximum": 2}, {"minimum": -1, "maximum": 2}, {"maximum": 2, "most": 3}, {"maximum": True}, {"maximum": 2, "budget": 3}]
)  # fmt: skip
def test_limits_that_are_none_are_refused(entry: Any) -> None:
    """Every entry needs a maximum that is not below its minimum, as whole numbers, and nothing misspelt."""
    with pytest.raises(SettingsInvalid, match=r"limits\.a/b"):
        limits(Options({"limits": {"a/b": entry}}))


def test_a_selector_is_written_as_the_api_takes_it() -> None:
    """Labels and expressions; an owner that selects nothing is refused rather than asking for all."""
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
        {"key": "x", "operator": "NotIn", "values": ["c"]},
        {"key": "y", "operator": "Exists"},
    ]
    owner = {"spec": {"selector": {"matchLabels": {"app": "a"}, "matchExpressions": expressions}}}
    assert selector(owner) == "app=a,tier in (a,b),!old,x notin (c),y"
    with pytest.raises(CallInvalid, match="selects no pods by labels"):
        selector({"spec": {}})


def test_only_its_own_replica_sets_are_a_workloads_history() -> None:
    """A ReplicaSet with the same labels that belongs to another is none of its releases."""
    owner = {"metadata": {"uid": "u1"}, "spec": {"template": {"spec": {"containers": []}}}}

    def one(version: str, uid: str) -> dict[str, Any]:
        labels = {ROLLOUT.hash_label: version}
        return {"metadata": {"labels": labels, "ownerReferences": [{"uid": uid}]}, "spec": {"template": {"metadata": {"labels": labels}}}}

    found = history(owner, [one("mine", "u1"), one("theirs", "u2")], ROLLOUT)
    assert list(found.sets) == ["mine"]
    assert found.present.startswith("unrecorded-")
    with pytest.raises(CallInvalid, match="no longer among the ReplicaSets that are kept; there are mine"):
        found.template("theirs")


def test_a_status_that_never_rests_is_given_up_on() -> None:
    """After some attempts nothing was changed, and it is said so."""
    seen = Seen(thing={"metadata": {"uid": "u", "resourceVersion": "1"}}, reading=Reading(value=1, revision="r"))
    with pytest.raises(Rejected, match="keeps changing the status of a/b; nothing was changed"):
        compare_and_set(
            CALL, 2, expected=seen.reading, look=lambda _left: seen, send=lambda _seen, _left: None, done=lambda _seen: False, timeout=5
        )


def test_what_has_no_version_is_not_written() -> None:
    """A write that names no version would overwrite whatever is there: an answer without one is no ground for a change."""
    seen = Seen(thing={"metadata": {"uid": "u"}}, reading=Reading(value=1, revision="r"))
    wrote: list[Seen] = []

    def send(on: Seen, _left: float) -> Reading:
        wrote.append(on)
        return on.reading

    with pytest.raises(Unreachable, match="without its resourceVersion"):
        compare_and_set(CALL, 2, expected=seen.reading, look=lambda _left: seen, send=send, done=lambda _seen: False, timeout=5)
    assert wrote == []


@pytest.fixture
def answers() -> Iterator[Callable[..., Cluster]]:
    """Builds a cluster that gives these answers one after the other, each a status with a sentence, or an object."""
    with ExitStack() as stack:

        def build(*given: tuple[int, str] | dict[str, Any]) -> Cluster:
            left = [one if isinstance(one, tuple) else (200, one) for one in given]

            def answer(_asked: Asked) -> tuple[int, Any]:
                status, said = left.pop(0)
                return status, {"kind": "Status", "message": said} if isinstance(said, str) else said

            url = stack.enter_context(answering(answer))
            return Cluster(lambda: Door(server=url, headers={}, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)))

        yield build


def test_a_policy_that_says_no_with_409_is_not_a_stale_version(answers: Callable[..., Cluster]) -> None:
    """A webhook may deny with any status: a denial is told at once, a stale version is looked at again."""
    denied = answers((409, 'admission webhook "policy" denied the request: not now'))
    with pytest.raises(Rejected, match="not now"):
        denied.patch("/x", {}, what="it", timeout=5)
    assert answers((409, "the object has been modified")).patch("/x", {}, what="it", timeout=5) is None


def test_a_list_whose_place_is_lost_is_no_missing_target(answers: Callable[..., Cluster]) -> None:
    """Between two pages the API server may forget where we were; the thing itself is there."""
    page = {"items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "more"}}
    gone = answers(page, (410, "The provided continue parameter is too old"))
    with pytest.raises(Unreachable, match=r"its list of ReplicaSets in a where we were\. Try again"):
        gone.items("/x", what="ReplicaSets in a", timeout=5)
    with pytest.raises(TargetMissing):
        answers((404, "not found")).items("/x", what="ReplicaSets in a", timeout=5)


@pytest.mark.parametrize("items", [None, 3, "x", {"a": 1}, [None, 3]])
def test_a_list_of_nothing_is_empty(items: Any, answers: Callable[..., Cluster]) -> None:
    """Whatever stands where the objects should be, there are none."""
    assert answers({"items": items}).items("/x", what="them", timeout=5) == []


def test_a_scale_without_a_number_is_zero(answers: Callable[..., Cluster]) -> None:
    """A Scale leaves a zero out of its answer; an answer that is no Scale stays unknown."""
    call = Call(operation="cluster.scale", target="a/b", arguments={"target": "a/b", "replicas": 0})
    seen = Seen(thing={"metadata": {"uid": "u", "resourceVersion": "1"}}, reading=Reading(value={"replicas": 2}))

    def sent(said: dict[str, Any]) -> Reading | None:
        return Scaling(answers(said), bounds={}, namespaces=frozenset()).send(call, {"replicas": 0}, seen, key="k", timeout=5)

    found = sent({"kind": "Scale", "spec": {}})
    assert found is not None
    assert found.value == {"replicas": 0}
    with pytest.raises(OutcomeUnknown, match="without a number of replicas"):
        sent({"kind": "Something"})


def test_a_budget_that_is_not_there_is_named(answers: Callable[..., Cluster]) -> None:
    """Neither version of the API has it: the sentence says which one is meant and who names it, not that a definition is missing."""
    workload = {"metadata": {"uid": "u"}, "spec": {"replicas": 2}}
    cluster = answers(workload, {"items": []}, (404, 'poddisruptionbudgets.policy "gone" not found'), (404, ""))
    scaling = Scaling(cluster, bounds={"*": Limits(minimum=1, maximum=4, budget="gone")}, namespaces=frozenset())
    with pytest.raises(TargetMissing, match="has no PodDisruptionBudget a/gone, which the limits of this backend name as a floor"):
        scaling.look(Call(operation="cluster.scale", target="a/b", arguments={}), 5.0)


def test_what_somebody_changed_is_not_written_at_all() -> None:
    """A stranger's value is a conflict that carries it, a stranger's change to the wanted value too; the same key again is done already."""
    wrote: list[Seen] = []

    def attempt(present: Any, *, mine: bool) -> Reading:
        seen = Seen(thing={"metadata": {"uid": "u", "resourceVersion": "1"}}, reading=Reading(value=present, revision=f"r{present}"))

        def send(on: Seen, _left: float) -> Reading:
            wrote.append(on)
            return on.reading

        expected = Reading(value=1, revision="r1")
        return compare_and_set(CALL, 2, expected=expected, look=lambda _left: seen, send=send, done=lambda _seen: mine, timeout=5)

    for present in (3, 2):
        with pytest.raises(Conflict, match="Someone else changed a/b meanwhile") as conflict:
            attempt(present, mine=False)
        assert conflict.value.current.value == present
    assert attempt(2, mine=True).value == 2
    assert wrote == []
    attempt(1, mine=False)
    assert len(wrote) == 1


def test_a_revision_tells_of_its_part_alone() -> None:
    """The same part of the same object gives the same revision, whatever else moves; another object another."""
    thing = {"metadata": {"uid": "u", "resourceVersion": "1"}}
    assert digest(thing, {"a": 1, "b": 2}) == digest({"metadata": {"uid": "u", "resourceVersion": "9"}}, {"b": 2, "a": 1})
    assert digest(thing, 1) != digest(thing, 2)
    assert digest(thing, 1) != digest({"metadata": {"uid": "other"}}, 1)
