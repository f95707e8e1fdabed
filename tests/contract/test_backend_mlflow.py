"""MLflow's registry, against the real server; where an alias points is asked by MLflow's own client, and over REST from outside."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from actions.backends.mlflow import KIND, MLflow
from actions.contract import BackendError, CallInvalid, NotPermitted, OutcomeUnknown, Rejected, TargetMissing, Throttled
from actions.kinds import Options
from actions.planning import PlanRefused
from actions.testing import CHECKS, Check, Subject
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call, Outcome, OutcomeStatus, Plan
from tests.parts.acted import CASES, Act, Case, suffer
from tests.parts.amazon import rollback
from tests.parts.mlflow import Registry, mlflow
from tests.parts.odd import never_a_traceback
from tests.parts.trouble import Ill, troubled

GOOD = {"validation_status": "approved", "evaluation_score": "0.902"}
BAD = {"validation_status": "rejected", "evaluation_score": "0.61"}
PATIENT = 20.0
_number = count()


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with mlflow() as running:
        yield running


@pytest.fixture
def model(registry: Registry) -> str:
    """A model whose alias is at the last of four versions, of which the second is good and the third is bad."""
    return made(registry)


def made(registry: Registry, *versions: dict[str, str]) -> str:
    """A fresh model with these versions."""
    name = f"answers-{next(_number)}"
    registry.model(name, *(versions or ({}, GOOD, BAD, {"evaluation_score": "0.91"})))
    return name


def outside(registry: Registry, model: str, alias: str = "champion") -> str:
    """Where the alias points, to MLflow's own client."""
    return str(MlflowClient(tracking_uri=registry.url, registry_uri=registry.url).get_model_version_by_alias(model, alias).version)


def built(url: str, *, token: str | None = None, **more: Any) -> MLflow:
    """The backend as configured."""
    secrets = {"token": lambda: token} if token else {}
    found = KIND.build(Options({"url": url, "environment": "production", **more}), secrets)  # type: ignore[arg-type]
    assert isinstance(found, MLflow)
    return found


def act(backend: MLflow, call: Call) -> Act:
    return Act(backend, call.operation, dict(call.arguments))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_mlflow_keeps_the_contract(check: Check, registry: Registry, model: str) -> None:
    """Moving an alias passes every check against the real server."""
    check(
        Subject(
            backend=built(registry.url),
            call=rollback(model),
            missing=rollback("no-such-model"),
            other={"version": "1"},
            change_outside=lambda value: registry.move(model, value["version"]),
            invalid=rollback(model, "9"),
            atomic=False,
        )
    )


def test_whoever_loads_the_model_gets_the_last_good_version_and_the_bad_one_back(registry: Registry, model: str) -> None:
    """The rollback passes over the bad version to the good one, says both scores; MLflow's client follows it there and back."""
    story = act(built(registry.url), rollback(model))
    plan = story.plan()
    assert plan.proposal.step == "release 4 → 2"
    assert plan.proposal.note == "Evaluation score 0.91 → 0.902."
    assert [(one["version"], one["good"], one["score"]) for one in plan.before.facts["releases"]] == [
        ("4", None, 0.91), ("3", False, 0.61), ("2", True, 0.902), ("1", None, None),
    ]  # fmt: skip
    assert outside(registry, model) == "4"
    done = story.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert outside(registry, model) == "2"
    assert story.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert outside(registry, model) == "4"


def test_another_alias_stays_where_it_is(registry: Registry, model: str) -> None:
    """A target names the alias it means; the others do not move."""
    registry.move(model, "4", alias="shadow")
    story = act(built(registry.url), rollback(f"{model}@shadow"))
    assert story.execute(story.plan()).status is OutcomeStatus.APPLIED
    assert (outside(registry, model, "shadow"), outside(registry, model)) == ("2", "4")
    named = act(built(registry.url, alias="shadow"), rollback(model, "1"))
    assert named.execute(named.plan()).status is OutcomeStatus.APPLIED
    assert (outside(registry, model, "shadow"), outside(registry, model)) == ("1", "4")


def test_the_evaluation_of_a_run_counts_for_its_version(registry: Registry) -> None:
    """Where a version bears no score of its own, its run's metric is taken, and a least score decides what is good."""
    model = made(registry, {"run_id": registry.run(accuracy=0.93)}, {"run_id": registry.run(accuracy=0.71)}, {})
    plan = act(built(registry.url, score_tag="accuracy", minimum_score=0.9), rollback(model)).plan()
    assert plan.proposal.value == {"version": "1"}
    assert [(one["version"], one["score"], one["good"]) for one in plan.before.facts["releases"]] == [
        ("3", None, None), ("2", 0.71, False), ("1", 0.93, True),
    ]  # fmt: skip


def test_other_tags_and_words_may_mean_good(registry: Registry) -> None:
    """Which tag says it, and in which words, is configured."""
    model = made(registry, {"gate": "Released"}, GOOD, {})
    assert act(built(registry.url, status_tag="gate", good=["released"]), rollback(model)).plan().proposal.value == {"version": "1"}


def test_nothing_good_to_go_back_to_is_said(registry: Registry) -> None:
    """Without an older version that is marked as good there is no plan, and the sentence says what to do."""
    for versions in (({}, {}), (BAD, {}), ({}, GOOD)):
        with pytest.raises(PlanRefused, match=r"nothing to roll back to\. Mark one, or name the version"):
            act(built(registry.url), rollback(made(registry, *versions))).plan()


def test_a_bad_version_is_not_gone_back_to(registry: Registry, model: str) -> None:
    """Naming a version that is marked as bad gives no plan."""
    known = built(registry.url)
    with pytest.raises(CallInvalid, match="marked as bad"):
        known.propose(rollback(model, "3"), known.read(rollback(model), timeout=PATIENT))


def test_who_moved_an_alias_is_known_until_somebody_else_does(registry: Registry, model: str) -> None:
    """The registry bears who moved the alias and from where; a stranger's move is not taken for ours."""
    story = act(built(registry.url), rollback(model))
    done = story.execute(story.plan(), key="run-7")
    assert done.after is not None
    assert done.after.changed_by == "muster/run-7"
    tags = {one["key"]: one["value"] for one in registry.get("registered-models/get", name=model)["registered_model"]["tags"]}
    assert '"from": "4"' in tags["muster.moved.champion"]
    registry.move(model, "1")
    assert built(registry.url).read(rollback(model), timeout=PATIENT).changed_by is None


@pytest.mark.parametrize("said", ["", "no json", "[1]", '{"version": "4"}', '{"version": "4", "by": "x", "at": "yesterday"}'])
def test_s29_a_tag_written_by_hand_is_no_trouble(said: str, registry: Registry, model: str) -> None:
    """Whatever somebody writes into the tag, the alias is read, and nobody is named."""
    registry.post("registered-models/set-tag", name=model, key="muster.moved.champion", value=said)
    found = built(registry.url).read(rollback(model), timeout=PATIENT)
    assert (found.value, found.changed_by) == ({"version": "4"}, None)


def moves(method: str, path: str) -> bool:
    """The request that moves the alias."""
    return method == "POST" and path.endswith("/registered-models/alias")


@pytest.mark.parametrize("case", [one for one in CASES if one.ill is not Ill.HANG], ids=lambda case: case.id)
def test_every_trouble_with_the_move_is_told_as_it_is(case: Case, registry: Registry, model: str) -> None:
    """Whatever goes wrong with the move, the sentence and the later look are true."""
    with troubled(registry.url) as trouble:
        trouble.which = moves
        suffer(case, Patient(built(trouble.url), "model.rollback", dict(rollback(model).arguments)), trouble)
    assert outside(registry, model) == ("2" if case.done else "4")


class Patient(Act):
    """The story with time enough for a busy machine, whatever limit is asked for."""

    def execute(self, plan: Plan, *, key: str = "key-1", timeout: float | None = None) -> Outcome:
        return super().execute(plan, key=key, timeout=PATIENT)


def test_a_move_that_hangs_is_unknown_until_looked_at(registry: Registry, model: str) -> None:
    """Without an answer in time nobody claims anything; the look shows that the alias did not move."""
    with troubled(registry.url) as trouble:
        trouble.which = moves
        story = act(built(trouble.url), rollback(model))
        plan = story.plan()
        trouble.ill = Ill.HANG
        outcome = story.execute(plan, timeout=2.5)
        assert outcome.status is OutcomeStatus.UNKNOWN
        assert "did not answer" in outcome.reason
        trouble.ill = Ill.NONE
        assert story.runner.reconcile(plan).reason == "It did not take effect."


def test_where_the_tag_cannot_be_written_nothing_moves(registry: Registry, model: str) -> None:
    """Whatever happens to the tag that says who moves it, it is certain that the alias was not moved."""
    for ill in (Ill.STATUS, Ill.RESET, Ill.LOST, Ill.LIED):
        with troubled(registry.url) as trouble:
            trouble.which = lambda _method, path: path.endswith("/set-tag")
            story = act(built(trouble.url), rollback(model))
            plan = story.plan()
            trouble.ill = ill
            refused = story.execute(plan)
            assert refused.status is OutcomeStatus.REFUSED, refused.reason
            assert refused.reason.startswith("Nothing was changed: ")
        assert outside(registry, model) == "4"


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, NotPermitted), (403, NotPermitted), (404, TargetMissing), (429, Throttled), (400, Rejected), (500, OutcomeUnknown)],
)
def test_every_refusal_is_its_own_error(status: int, error: type[BackendError], registry: Registry, model: str) -> None:
    """Each status of the move becomes exactly one error of the contract."""
    with troubled(registry.url) as trouble:
        known = built(trouble.url)
        before = known.read(rollback(model), timeout=PATIENT)
        trouble.which, trouble.ill, trouble.status = moves, Ill.STATUS, status
        with pytest.raises(BackendError) as raised:
            known.apply(rollback(model), {"version": "2"}, expected=before, key="k", timeout=PATIENT)
        assert type(raised.value) is error


def test_a_version_that_was_deleted_meanwhile_is_missing(registry: Registry, model: str) -> None:
    """Moving to a version that is gone is refused by the real server, and the alias stays."""
    known = built(registry.url)
    before = known.read(rollback(model), timeout=PATIENT)
    with pytest.raises(TargetMissing, match="version 99"):
        known.apply(rollback(model), {"version": "99"}, expected=before, key="k", timeout=PATIENT)
    assert outside(registry, model) == "4"


def test_someone_elses_move_between_plan_and_click_stops_it(registry: Registry, model: str) -> None:
    """An alias that somebody moved after the plan stays there, and the sentence says where."""
    story = act(built(registry.url), rollback(model))
    plan = story.plan()
    registry.move(model, "1")
    refused = story.execute(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert f"Nothing was changed: {model} was changed meanwhile; now it is: " in refused.reason
    assert outside(registry, model) == "1"


def test_someone_elses_move_between_run_and_undo_is_not_overwritten(registry: Registry, model: str) -> None:
    """An undo leaves an alias alone that somebody moved after the rollback."""
    story = act(built(registry.url), rollback(model))
    plan = story.plan()
    done = story.execute(plan)
    registry.move(model, "1")
    refused = story.undo(plan, after=done.after)
    assert refused.status is OutcomeStatus.REFUSED
    assert "It was not overwritten." in refused.reason
    assert outside(registry, model) == "1"


def test_a_model_without_the_alias_is_named(registry: Registry, model: str) -> None:
    """A missing model and a missing alias are both told as missing."""
    for name in ("no-such-model", f"{model}@no-such-alias"):
        with pytest.raises(TargetMissing, match=name.partition("@")[2] or name):
            built(registry.url).read(rollback(name), timeout=PATIENT)


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "a@", "a@b@c", "a@latest", "a@v1", "a'b", 'a"b', "a\nb", "x" * 201, " ", "a@b c"])
def test_s29_a_hostile_name_is_not_sent(name: str) -> None:
    """What could leave the filter or mean something else is refused before anything is sent."""
    with pytest.raises(CallInvalid, match="write model or model@alias"):
        built("http://127.0.0.1:1").read(rollback(name), timeout=PATIENT)


@pytest.mark.parametrize("name", ["a b", "a%b", "a&name=other", "ä", "a..b"])
def test_s29_an_odd_name_means_itself(name: str, registry: Registry) -> None:
    """Spaces, signs of a URL and letters of other languages stay part of the name."""
    if not any(one["name"] == name for one in registry.get("registered-models/search").get("registered_models", [])):
        registry.model(name, GOOD, {})
    assert built(registry.url).read(rollback(name), timeout=PATIENT).value == {"version": "2"}


def test_credentials_are_read_for_each_request(registry: Registry, model: str) -> None:
    """A token that was renewed meanwhile is the one that is sent, and no error repeats it."""
    tokens = iter(f"token-{number}" for number in range(100))
    secrets = {"token": lambda: next(tokens)}
    with troubled(registry.url) as seen:
        known = KIND.build(Options({"url": seen.url, "environment": "production"}), secrets)
        known.read(rollback(model), timeout=PATIENT)
        assert next(tokens) == f"token-{len(seen.seen)}"
        seen.which, seen.ill, seen.status = (lambda _method, _path: True), Ill.STATUS, 401
        with pytest.raises(NotPermitted) as refused:
            known.read(rollback(model), timeout=PATIENT)
    assert "token-" not in str(refused.value)


def test_a_user_may_sign_in_with_a_password() -> None:
    """Name and password are sent as MLflow's basic authentication takes them; anything else stops the start and is named."""
    options = Options({"url": "http://127.0.0.1:1", "environment": "production"})
    known = KIND.build(options, {"username": lambda: "muster", "password": lambda: "hünter2"})
    assert isinstance(known, MLflow)
    assert known._wire._headers() == {"Authorization": "Basic bXVzdGVyOmjDvG50ZXIy"}
    with pytest.raises(SettingsInvalid, match="secrets"):
        KIND.build(options, {"username": lambda: "muster"})


def test_a_probe_says_that_it_answers(registry: Registry, model: str) -> None:
    """The probe says where the registry is and that models are seen; with a registry that refuses, what to do."""
    assert "shows models" in built(registry.url).probe(timeout=PATIENT)
    with troubled(registry.url) as trouble:
        trouble.which, trouble.ill, trouble.status = (lambda _method, _path: True), Ill.STATUS, 403
        with pytest.raises(NotPermitted):
            built(trouble.url).probe(timeout=PATIENT)


@pytest.mark.parametrize(
    ("field", "given"), [("alias", "latest"), ("alias", "v3"), ("alias", "a b"), ("url", "mlflow:5000"), ("minimum_score", "high")]
)
def test_a_wrong_option_is_named(field: str, given: Any) -> None:
    """An option that cannot be meant stops the start and names the field."""
    with pytest.raises(SettingsInvalid, match=field):
        built(**{"url": "http://127.0.0.1:1", field: given})


def test_an_answer_of_another_shape_is_said_and_no_crash(registry: Registry, model: str) -> None:
    """Whatever stands where MLflow should: reading and planning end with a sentence."""
    backend, call = built(registry.url), rollback(model)
    assert (
        never_a_traceback(
            backend._wire, lambda: backend.propose(call, backend.read(call, timeout=PATIENT)), things=(None, {}, "x", 10**400)
        )
        > 200
    )


def test_a_run_that_may_not_be_seen_leaves_the_release_unjudged(registry: Registry) -> None:
    """An experiment's rights are not the registry's: the rollback can be planned, and nothing says that such a release is good."""
    model = made(registry, GOOD, {"run_id": registry.run(evaluation_score=0.9)}, {"evaluation_score": "0.91"})
    with troubled(registry.url) as trouble:
        trouble.which = lambda _method, path: "/runs/get" in path
        trouble.ill, trouble.status = Ill.STATUS, 403
        reading = built(trouble.url).read(rollback(model), timeout=PATIENT)
        assert any("/runs/get" in path for _, path in trouble.seen)
    assert reading.facts["last_known_good"] == "1"
    assert {one["version"]: one["good"] for one in reading.facts["releases"]} == {"3": None, "2": None, "1": True}
