"""ECS services, against moto; what somebody else sees of them is asked through a client of its own."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from actions.backends.ecs import KIND
from actions.contract import CallInvalid
from actions.planning import PlanRefused
from actions.radius import reach
from actions.testing import CHECKS, Check, Subject
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call, OutcomeStatus
from tests.parts.amazon import PATIENT, TROUBLES, act, built, check_class, check_trouble, documented, rollback, scale
from tests.parts.moto import RUNNING, Moto, moto
from tests.parts.trouble import troubled

CLUSTER = "production"
ARN = "arn:aws:ecs:eu-central-1:123456789012:task-definition"
GOOD = {"validation_status": "approved", "evaluation_score": "0.902"}
BAD = {"validation_status": "rejected", "evaluation_score": "0.61"}
PRESENT = {"evaluation_score": "0.91"}
_number = count()


@pytest.fixture(scope="module")
def aws() -> Iterator[Moto]:
    with moto() as running:
        running.client("ecs").create_cluster(clusterName=CLUSTER)
        yield running


@pytest.fixture
def service(aws: Moto) -> str:
    """A service of two tasks at the last of four revisions, of which the second is good and the third is bad."""
    return made(aws)


def known(url: str) -> Any:
    """The backend, which may give any service up to six tasks."""
    return built(KIND, url, limits={"*": {"maximum": 6}})


def made(aws: Moto, *marks: dict[str, str], wanted: int = RUNNING) -> str:
    """A fresh service at the newest of these revisions of its own family."""
    name, client = f"answers-{next(_number)}", aws.client("ecs")
    for number, tags in enumerate(marks or ({}, GOOD, BAD, PRESENT), start=1):
        client.register_task_definition(
            family=name,
            containerDefinitions=[{"name": "answers", "image": f"images.example/answers:v7.{number}", "memory": 128}],
            tags=[{"key": key, "value": value} for key, value in tags.items()],
        )
    client.create_service(cluster=CLUSTER, serviceName=name, taskDefinition=name, desiredCount=wanted)
    return f"{CLUSTER}/{name}"


def outside(aws: Moto, target: str) -> tuple[int, str]:
    """Tasks wanted and task definition, as somebody else sees them."""
    found = aws.client("ecs").describe_services(cluster=CLUSTER, services=[target.partition("/")[2]])["services"][0]
    return found["desiredCount"], found["taskDefinition"].rpartition("/")[2]


def change(aws: Moto, target: str, **changed: Any) -> None:
    """What another person would do."""
    aws.client("ecs").update_service(cluster=CLUSTER, service=target.partition("/")[2], **changed)


def scaling(aws: Moto, target: str, low: int, high: int) -> None:
    """Register the service with Application Auto Scaling, with a policy."""
    client = aws.client("application-autoscaling")
    about = {"ServiceNamespace": "ecs", "ResourceId": f"service/{target}", "ScalableDimension": "ecs:service:DesiredCount"}
    client.register_scalable_target(**about, MinCapacity=low, MaxCapacity=high)
    client.put_scaling_policy(**about, PolicyName="load-70", PolicyType="TargetTrackingScaling")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_scaling_a_service_keeps_the_contract(check: Check, aws: Moto, service: str) -> None:
    """Scaling a service passes every check."""
    scaling(aws, service, 1, 6)
    check(
        Subject(
            backend=known(aws.url),
            call=scale(service),
            missing=scale(f"{CLUSTER}/no-such-service"),
            other={"replicas": 5},
            change_outside=lambda value: change(aws, service, desiredCount=value["replicas"]),
            invalid=scale(service, 7),
            atomic=False,
        )
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_rolling_a_service_back_keeps_the_contract(check: Check, aws: Moto, service: str) -> None:
    """Rolling a service back passes every check."""
    family = service.partition("/")[2]
    check(
        Subject(
            backend=known(aws.url),
            call=rollback(service),
            missing=rollback(f"{CLUSTER}/no-such-service"),
            other={"version": f"{family}:1"},
            change_outside=lambda value: change(aws, service, taskDefinition=value["version"]),
            invalid=rollback(service, f"{family}:9"),
            atomic=False,
        )
    )


def test_tasks_come_and_go_again(aws: Moto, service: str) -> None:
    """Scaling a service changes what others see, and the undo puts it back."""
    story = act(known(aws.url), scale(service))
    plan = story.plan()
    assert (plan.proposal.step, plan.proposal.note) == ("2 → 4 tasks", "2 of 2 are running now.")
    done = story.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert outside(aws, service)[0] == 4
    assert story.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert outside(aws, service)[0] == 2


def test_the_last_known_good_revision_runs_again(aws: Moto, service: str) -> None:
    """A rollback passes over the bad revision to the good one, says both scores, and can be undone."""
    family = service.partition("/")[2]
    story = act(known(aws.url), rollback(service))
    plan = story.plan()
    assert plan.proposal.step == f"release {family}:4 → {family}:2"
    assert plan.proposal.note == "Evaluation score 0.91 → 0.902."
    listed = [(one["version"], one["good"]) for one in plan.before.facts["releases"]]
    assert listed == [(f"{family}:4", None), (f"{family}:3", False), (f"{family}:2", True), (f"{family}:1", None)]
    assert plan.before.facts["releases"][2]["note"] == "validation_status approved, answers:v7.2"
    done = story.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert outside(aws, service) == (2, f"{family}:2")
    assert story.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert outside(aws, service) == (2, f"{family}:4")


def test_without_a_good_revision_there_is_nothing_to_go_back_to(aws: Moto) -> None:
    """Revisions that nobody marked are not chosen by themselves; a person may name one, and reads that nothing is known of it."""
    service = made(aws, {}, {})
    family, backend = service.partition("/")[2], known(aws.url)
    with pytest.raises(PlanRefused, match=r"no release older than .* that is marked as good"):
        act(backend, rollback(service)).plan()
    reading = backend.read(rollback(service), timeout=PATIENT)
    assert backend.propose(rollback(service, f"{family}:1"), reading).note == "Nothing says whether it is good."


def test_a_bad_revision_is_not_gone_back_to(aws: Moto, service: str) -> None:
    """Naming a revision that is marked as bad gives no plan."""
    backend = known(aws.url)
    reading = backend.read(rollback(service), timeout=PATIENT)
    with pytest.raises(CallInvalid, match="marked as bad"):
        backend.propose(rollback(service, f"{service.partition('/')[2]}:3"), reading)


def test_a_newer_revision_is_judged_by_its_marks_too(aws: Moto) -> None:
    """After a rollback somebody may go on to a newer revision: one that is marked as bad is refused, one too far to be looked at as well."""
    service = made(aws, GOOD, BAD, {}, {}, {})
    family, backend = service.partition("/")[2], known(aws.url)
    change(aws, service, taskDefinition=f"{family}:1")
    reading = backend.read(rollback(service), timeout=PATIENT)
    with pytest.raises(CallInvalid, match="marked as bad"):
        backend.propose(rollback(service, f"{family}:2"), reading)
    with pytest.raises(CallInvalid, match=f"{family}:5 of {service} is too far from {family}:1"):
        backend.propose(rollback(service, f"{family}:5"), reading)
    assert backend.propose(rollback(service, f"{family}:4"), reading).note == "Nothing says whether it is good."


@pytest.mark.parametrize("call", [scale, rollback], ids=["scale", "rollback"])
def test_a_deployment_in_progress_is_left_alone(call: Any, aws: Moto) -> None:
    """While a deployment is under way nothing is planned, and the sentence says what to wait for."""
    service = made(aws, GOOD, {}, wanted=RUNNING + 1)
    with pytest.raises(PlanRefused, match=r"in the middle of a deployment .* Wait until it ends"):
        act(known(aws.url), call(service)).plan()


def test_a_deployment_whose_tasks_fail_may_be_rolled_back(aws: Moto) -> None:
    """A rollback that ends a failing deployment is planned and says so; scaling in the middle of one stays refused."""
    service = made(aws, GOOD, {}, wanted=RUNNING + 1)
    backend = known(aws.url)
    reading = backend.read(rollback(service), timeout=PATIENT)
    failing = reading.model_copy(update={"facts": {**reading.facts, "failed": 3}})
    assert "3 of its tasks have failed; this ends it" in backend.propose(rollback(service), failing).note
    with pytest.raises(CallInvalid, match="in the middle of a deployment"):
        backend.propose(scale(service), failing)


def test_a_deployment_between_plan_and_click_is_noticed(aws: Moto, service: str) -> None:
    """A new deployment of the same revision at the same number of tasks makes the plan void."""
    story = act(known(aws.url), scale(service))
    plan = story.plan()
    change(aws, service, forceNewDeployment=True)
    refused = story.execute(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert refused.reason.startswith("Nothing was changed: ")
    assert outside(aws, service)[0] == 2


@pytest.mark.parametrize("replicas", [0, 7])
def test_limits_of_application_auto_scaling_are_kept(replicas: int, aws: Moto, service: str) -> None:
    """What Application Auto Scaling would take back is refused before; within its limits the policy is named."""
    scaling(aws, service, 1, 6)
    with pytest.raises(PlanRefused, match=f"at 1 to 6 tasks, so {replicas} would not last"):
        act(known(aws.url), scale(service, replicas)).plan()
    assert "The scaling policy load-70 may change it again." in act(known(aws.url), scale(service)).plan().proposal.note


def test_a_service_without_limits_is_not_scaled(aws: Moto, service: str) -> None:
    """ECS takes any number, so a service that neither Application Auto Scaling nor the configuration bounds gives no plan."""
    with pytest.raises(PlanRefused, match=rf'No limits are configured .* "{service}": {{minimum: 1, maximum: 12}}'):
        act(built(KIND, aws.url), scale(service)).plan()
    scaling(aws, service, 1, 6)
    assert act(built(KIND, aws.url), scale(service)).plan().proposal.value == {"replicas": 4}


@pytest.mark.parametrize("replicas", [0, 4])
def test_configured_limits_are_kept_beside_those_of_aws(replicas: int, aws: Moto, service: str) -> None:
    """A service's own limits go before those of every other, and hold even where Application Auto Scaling allows more."""
    scaling(aws, service, 0, 6)
    narrow = built(KIND, aws.url, limits={service: {"maximum": 3}, "*": {"maximum": 6}})
    with pytest.raises(PlanRefused, match=f"{service} takes 1 to 3 tasks, not {replicas}"):
        act(narrow, scale(service, replicas)).plan()
    assert act(narrow, scale(service, 3)).plan().proposal.value == {"replicas": 3}


@pytest.mark.parametrize(
    "entry", [3, {"minimum": 1}, {"maximum": "6"}, {"minimum": 3, "maximum": 2}, {"maximum": True}, {"maximum": 2, "most": 3}]
)
def test_limits_that_are_none_are_refused(entry: Any) -> None:
    """An entry that is not two whole numbers stops the start and is named."""
    with pytest.raises(SettingsInvalid, match=r"limits\.a/b"):
        built(KIND, "http://127.0.0.1:1", limits={"a/b": entry})


@pytest.mark.parametrize("call", [scale, rollback], ids=["scale", "rollback"])
def test_how_many_tasks_run_of_those_wanted_is_a_fact(call: Any, aws: Moto, service: str) -> None:
    """`units` and `ready` are what the guard counts and a person reads; how far the deployment has come stands beside them."""
    facts = known(aws.url).read(call(service), timeout=PATIENT).facts
    assert {name: facts[name] for name in ("units", "ready", "pending", "rollout")} == {
        "units": 2, "ready": 2, "pending": 0, "rollout": "COMPLETED",
    }  # fmt: skip
    less = known(aws.url).read(call(made(aws, GOOD, {}, wanted=RUNNING + 1)), timeout=PATIENT).facts
    assert {name: less[name] for name in ("units", "ready", "pending", "rollout")} == {
        "units": 3, "ready": 2, "pending": 1, "rollout": "IN_PROGRESS",
    }  # fmt: skip


def test_tasks_that_do_not_run_count_for_the_guards_floor(aws: Moto, service: str) -> None:
    """Of three wanted tasks two run: a floor of two holds nothing back but taking one more away."""
    backend = known(aws.url)
    before = backend.read(scale(service), timeout=PATIENT)
    one_lost = before.model_copy(update={"value": {"replicas": 3}, "facts": {**before.facts, "units": 3, "ready": 2}})
    proposal = backend.propose(scale(service, 2), one_lost)
    assert (reach(one_lost, proposal).touched, reach(one_lost, proposal).left) == (1, 1)


class Service:
    """One service at the last of its revisions, as the documentation describes the answers about it.

    `page` is how many revisions one answer lists, with an empty page after the first; `lag` how many looks still show the state from
    before a change.
    """

    def __init__(self, *, revisions: int = 4, page: int = 100, lag: int = 0) -> None:
        self.revisions, self.page, self.lag = revisions, page, lag
        self.shown = self.wanted = 2
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def answer(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        """The documented answer."""
        self.asked.append((operation, asked))
        return {
            "DescribeServices": self._described,
            "UpdateService": self._updated,
            "ListTaskDefinitions": self._listed,
            "DescribeTaskDefinition": self._definition,
            "DescribeScalableTargets": lambda _asked: {"ScalableTargets": []},
        }[operation](asked)

    def _described(self, _asked: dict[str, Any]) -> dict[str, Any]:
        if self.shown != self.wanted:
            self.lag -= 1
            self.shown = self.wanted if self.lag < 0 else self.shown
        definition = f"{ARN}/answers:{self.revisions}"
        primary = {"id": "ecs-svc/1", "status": "PRIMARY", "taskDefinition": definition, "rolloutState": "COMPLETED"}
        about = {"status": "ACTIVE", "desiredCount": self.shown, "runningCount": 2, "pendingCount": 0, "taskDefinition": definition}
        return {"services": [{**about, "deployments": [primary]}]}

    def _updated(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.wanted = asked["desiredCount"]
        return {"service": {"desiredCount": self.wanted}}

    def _listed(self, asked: dict[str, Any]) -> dict[str, Any]:
        every = [f"{ARN}/answers-of-another:9", *(f"{ARN}/answers:{number}" for number in range(self.revisions, 0, -1))]
        start = int(asked.get("nextToken", 0))
        if start == self.page and not self.asked[-2][1].get("nextToken"):
            return {"taskDefinitionArns": [], "nextToken": str(start)}
        more = {"nextToken": str(start + self.page)} if len(every) > start + self.page else {}
        return {"taskDefinitionArns": every[start : start + self.page], **more}

    def _definition(self, asked: dict[str, Any]) -> dict[str, Any]:
        tags = GOOD if asked["taskDefinition"] == "answers:2" else {}
        return {"taskDefinition": {}, "tags": [{"key": key, "value": value} for key, value in tags.items()]}


def test_a_family_with_more_revisions_than_one_page_is_read_to_its_good_one() -> None:
    """A list comes in pages, of which one may be empty: the good revision on a later one is found, and another family's is none of it."""
    service = Service(page=2)
    with documented(service.answer) as url:
        facts = known(url).read(rollback("production/answers"), timeout=PATIENT).facts
    assert [asked.get("nextToken") for operation, asked in service.asked if operation == "ListTaskDefinitions"] == [None, "2", "2", "4"]
    assert (facts["last_known_good"], facts["versions"]) == ("answers:2", [f"answers:{number}" for number in (4, 3, 2, 1)])


def test_a_family_is_read_no_further_than_it_is_looked_at() -> None:
    """Of hundreds of revisions the pages behind the ten that may be gone back to are left alone."""
    service = Service(revisions=300, page=20)
    with documented(service.answer) as url:
        facts = known(url).read(rollback("production/answers"), timeout=PATIENT).facts
    assert facts["last_known_good"] is None
    assert len([operation for operation, _ in service.asked if operation == "ListTaskDefinitions"]) == 1


def test_an_answer_from_before_the_change_is_not_the_last_word() -> None:
    """AWS may show the old state for a moment after a change: it is looked at again before anybody is told."""
    service = Service(lag=2)
    with documented(service.answer) as url:
        backend = known(url)
        backend.pause = lambda _seconds: None
        story = act(backend, scale("production/answers"))
        done = story.execute(story.plan())
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert [operation for operation, _ in service.asked].count("UpdateService") == 1


def test_what_never_shows_is_said_to_be_unknown() -> None:
    """After four seconds of the old state nobody is told that it was done, and nothing is sent again."""
    service, waits = Service(lag=100), list[float]()
    with documented(service.answer) as url:
        backend = known(url)
        backend.pause = waits.append
        story = act(backend, scale("production/answers"))
        done = story.execute(story.plan())
    assert (done.status, done.reason) == (OutcomeStatus.UNKNOWN, "The far side accepted the change and shows another value.")
    assert sum(waits) == 4.0
    assert [operation for operation, _ in service.asked].count("UpdateService") == 1


@pytest.mark.slow
@pytest.mark.parametrize("row", TROUBLES.values(), ids=TROUBLES)
def test_every_trouble_with_a_service_is_told_as_it_is(row: Any, aws: Moto) -> None:
    """Whatever goes wrong with the change, the error, the sentence and the later look are true, and it is sent once."""
    with troubled(aws.url) as trouble:
        backend = known(trouble.url)
        check_trouble(row, act(backend, rollback(made(aws))), trouble, operation="UpdateService")
        check_class(row, backend, scale(made(aws)), trouble, operation="UpdateService")


def test_someone_elses_deployment_between_run_and_undo_is_not_overwritten(aws: Moto, service: str) -> None:
    """An undo leaves a revision alone that somebody deployed after the rollback."""
    family = service.partition("/")[2]
    story = act(known(aws.url), rollback(service))
    plan = story.plan()
    done = story.execute(plan)
    change(aws, service, taskDefinition=f"{family}:1")
    refused = story.undo(plan, after=done.after)
    assert refused.status is OutcomeStatus.REFUSED
    assert "It was not overwritten." in refused.reason
    assert outside(aws, service)[1] == f"{family}:1"


def test_a_probe_says_who_we_are(aws: Moto) -> None:
    """The probe names the identity and what may be seen, and changes nothing."""
    assert known(aws.url).probe(timeout=PATIENT).endswith("may see ECS clusters. What it may change only a change would show.")


@pytest.mark.parametrize("name", ["", "answers", "a/b/c", "../answers", "production/", "production/a b", "arn:aws:ecs:x"])
def test_s29_a_hostile_name_is_not_sent(name: str, aws: Moto) -> None:
    """What is no cluster and service is refused on this side."""
    with pytest.raises(CallInvalid, match="write cluster/service"):
        known(aws.url).read(Call(operation="cluster.scale", target=name), timeout=PATIENT)
