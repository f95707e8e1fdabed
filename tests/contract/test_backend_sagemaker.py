"""SageMaker endpoints: traffic between variants against moto, endpoint configurations against their documented wire format."""

import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import botocore.session
import pytest

from actions.backends.sagemaker import KIND, SageMaker
from actions.contract import CallInvalid, OutcomeUnknown, Rejected
from actions.kinds import Options
from actions.planning import PlanRefused
from actions.testing import CHECKS, Check, Subject
from actions.toolkit import aws
from actions.toolkit.marks import Marks
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call, OutcomeStatus
from tests.parts.amazon import PATIENT, TROUBLES, act, built, check_class, check_trouble, rollback
from tests.parts.endpoints import Endpoints, endpoints
from tests.parts.moto import KEYS, REGION, Moto, moto
from tests.parts.trouble import troubled

GOOD = {"validation_status": "approved", "evaluation_score": "0.902"}
BAD = {"validation_status": "rejected", "evaluation_score": "0.61"}
_number = count()


@pytest.fixture(scope="module")
def real() -> Iterator[Moto]:
    with moto() as running:
        client = running.client("sagemaker")
        client.create_model(ModelName="m", ExecutionRoleArn="arn:aws:iam::123456789012:role/x", PrimaryContainer={"Image": "i"})
        yield running


@pytest.fixture
def fake() -> Iterator[Endpoints]:
    """The endpoint `answers` at the last of four configurations, of which the second is good and the third is bad."""
    with endpoints() as state:
        for name, tags in (("v1", {}), ("v2", GOOD), ("v3", BAD), ("v4", {"evaluation_score": "0.91"})):
            state.config(f"answers-{name}", **tags)
        state.config("answers2-v9", **GOOD)
        state.config("other", **GOOD)
        state.endpoint("answers", "answers-v4")
        yield state


def unhurried(url: str, *, wait: float = 8.0, **more: Any) -> SageMaker:
    """The backend, whose pauses between two looks take no time."""
    secrets = {name: lambda value=value: value for name, value in KEYS.items()}
    account = aws.account(Options({"region": REGION, "endpoint_url": url}), secrets)
    return SageMaker(account=account, environment="production", marks=Marks(), wait=wait, pause=lambda _seconds: None, **more)


def made(real: Moto) -> str:
    """A fresh endpoint whose variant blue takes all traffic."""
    name, client = f"answers-{next(_number)}", real.client("sagemaker")
    variants = [
        {"VariantName": variant, "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
        for variant in ("blue", "green")
    ]
    client.create_endpoint_config(EndpointConfigName=f"{name}-v1", ProductionVariants=variants)
    client.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-v1")
    weigh(real, name, blue=1.0, green=0.0)
    return name


def weigh(real: Moto, name: str, **weights: float) -> None:
    """What another person would do."""
    wanted = [{"VariantName": variant, "DesiredWeight": weight} for variant, weight in weights.items()]
    real.client("sagemaker").update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=wanted)


def outside(real: Moto, name: str) -> dict[str, float]:
    """The weights as somebody else sees them."""
    found = real.client("sagemaker").describe_endpoint(EndpointName=name)["ProductionVariants"]
    return {one["VariantName"]: one["CurrentWeight"] for one in found}


def route(name: str, to: str = "green") -> Call:
    return Call(operation="route.switch", target=name, arguments={"target": name, "route": to})


def test_the_fake_speaks_as_documented(fake: Endpoints) -> None:
    """Every field of the written service's answers stands in AWS's own description of the operation."""
    model = botocore.session.Session().get_service_model("sagemaker")
    fake.endpoints["answers"].pending, fake.endpoints["answers"].failure, fake.endpoints["answers"].guarded = "answers-v1", "x", True
    arn = "arn:aws:sagemaker:eu-central-1:123456789012:endpoint-config/answers-v1"
    for operation, asked in {
        "DescribeEndpoint": {"EndpointName": "answers"},
        "DescribeEndpointConfig": {"EndpointConfigName": "answers-v1"},
        "ListEndpointConfigs": {"NameContains": "answers"},
        "ListTags": {"ResourceArn": arn},
        "UpdateEndpoint": {"EndpointName": "answers", "EndpointConfigName": "answers-v1"},
    }.items():
        _documented(fake.answer(operation, asked), model.operation_model(operation).output_shape)


def _documented(said: Any, shape: Any) -> None:
    if shape.type_name == "structure":
        assert set(said) <= set(shape.members)
        for key, value in said.items():
            _documented(value, shape.members[key])
    elif shape.type_name == "list":
        for one in said:
            _documented(one, shape.member)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_switching_traffic_keeps_the_contract(check: Check, real: Moto) -> None:
    """Shifting traffic between variants passes every check."""
    name = made(real)
    check(
        Subject(
            backend=built(KIND, real.url),
            call=route(name),
            missing=route("no-such-endpoint"),
            other={"route": "blue=1,green=1"},
            change_outside=lambda _value: weigh(real, name, blue=1.0, green=1.0),
            invalid=route(name, "red"),
            atomic=False,
        )
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_rolling_an_endpoint_back_keeps_the_contract(check: Check, fake: Endpoints) -> None:
    """Putting an earlier configuration back passes every check, at the documented wire format."""
    fake.slow = 0
    check(
        Subject(
            backend=unhurried(fake.url),
            call=rollback("answers"),
            missing=rollback("no-such-endpoint"),
            other={"version": "answers-v1"},
            change_outside=lambda value: fake.update("answers", value["version"]),
            invalid=rollback("answers", "answers-v9"),
            atomic=False,
        )
    )


def test_traffic_moves_and_comes_back(real: Moto) -> None:
    """All traffic goes to the other variant, as others see, and the undo restores the weights from before."""
    name = made(real)
    weigh(real, name, blue=9.0, green=1.0)
    story = act(built(KIND, real.url), route(name))
    plan = story.plan()
    assert plan.proposal.step == "route blue=9,green=1 → green"
    done = story.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert outside(real, name) == {"blue": 0.0, "green": 1.0}
    assert story.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert outside(real, name) == {"blue": 9.0, "green": 1.0}


def test_weights_may_be_written_out(real: Moto) -> None:
    """A route may name a weight for each variant; one that is not named gets nothing."""
    name = made(real)
    story = act(built(KIND, real.url), route(name, "green=3, blue=1"))
    assert story.execute(story.plan()).status is OutcomeStatus.APPLIED
    assert outside(real, name) == {"blue": 1.0, "green": 3.0}


def test_weights_of_many_digits_come_back(real: Moto) -> None:
    """What is read of somebody's weights can always be put back, however fine or large they are."""
    name = made(real)
    weigh(real, name, blue=0.333333333, green=1234567.0)
    story = act(built(KIND, real.url), route(name))
    plan = story.plan()
    assert plan.before.value == {"route": "blue=0.333333,green=1234570"}
    done = story.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert story.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert outside(real, name) == {"blue": 0.333333, "green": 1234570.0}


@pytest.mark.parametrize("to", ["red", "blue=1,red=1", "blue=0", "blue=-1", "blue=x", "blue,green", "blue=1,blue=2", "", "blue=1e9", "=1"])
def test_s29_a_senseless_route_is_not_sent(to: str, real: Moto) -> None:
    """Unknown variants, no weight at all and what is no number give no plan."""
    known, name = built(KIND, real.url), made(real)
    before = known.read(route(name), timeout=PATIENT)
    with pytest.raises(CallInvalid):
        known.propose(route(name, to), before)


def test_a_variant_without_an_instance_takes_no_traffic(fake: Endpoints) -> None:
    """Traffic is not sent to a variant that nobody serves."""
    fake.config("answers-two", "blue", "green")
    fake.endpoint("pair", "answers-two")
    fake.endpoints["pair"].counts["green"] = 0
    with pytest.raises(PlanRefused, match="has no instance that could take traffic"):
        act(unhurried(fake.url), route("pair")).plan()


def test_the_last_known_good_configuration_is_put_back(fake: Endpoints) -> None:
    """A rollback passes over the bad configuration and others' to the good one, and ends in service; the undo puts it back."""
    story = act(unhurried(fake.url), rollback("answers"))
    plan = story.plan()
    assert plan.proposal.step == "release answers-v4 → answers-v2"
    assert plan.proposal.note == "Evaluation score 0.91 → 0.902."
    listed = plan.before.facts["releases"]
    assert [(one["version"], one["good"]) for one in listed] == [
        ("answers-v4", None), ("answers-v3", False), ("answers-v2", True), ("answers-v1", None),
    ]  # fmt: skip
    assert all(re.fullmatch(r"2025-10-09T.*\+00:00", one["at"]) for one in listed)
    done = story.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert (fake.endpoints["answers"].config, fake.endpoints["answers"].status) == ("answers-v2", "InService")
    assert story.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert fake.endpoints["answers"].config == "answers-v4"


def test_a_rollback_keeps_the_instances_and_the_guard_of_the_deployment(fake: Endpoints) -> None:
    """What scaling chose and what watches a deployment stay; weights come from the configuration."""
    fake.endpoints["answers"].guarded = True
    story = act(unhurried(fake.url), rollback("answers"))
    story.execute(story.plan())
    sent = next(asked for operation, asked in fake.asked if operation == "UpdateEndpoint")
    assert sent["RetainAllVariantProperties"] is True
    assert {"VariantPropertyType": "DesiredWeight"} in sent["ExcludeRetainedVariantProperties"]
    assert {"VariantPropertyType": "DesiredInstanceCount"} not in sent["ExcludeRetainedVariantProperties"]
    assert sent["RetainDeploymentConfig"] is True


def test_an_update_that_takes_long_counts_as_set(fake: Endpoints) -> None:
    """What is on its way is what was set: the run is applied, its status is known, and a look after a crash says that it took effect."""
    fake.slow = None
    story = act(unhurried(fake.url), rollback("answers"))
    plan = story.plan()
    done = story.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert done.after is not None
    assert done.after.facts["status"] == "Updating"
    assert story.runner.reconcile(plan).reason == "It took effect."


def test_an_undo_in_the_middle_of_its_own_update_says_so(fake: Endpoints) -> None:
    """AWS takes no second update before the first has ended; the undo is refused as certain, and works afterwards."""
    fake.slow = None
    story = act(unhurried(fake.url), rollback("answers"))
    plan = story.plan()
    done = story.execute(plan)
    refused = story.undo(plan, after=done.after)
    assert refused.status is OutcomeStatus.REFUSED
    assert "Cannot update in-progress endpoint" in refused.reason
    fake.slow = 0
    fake.finish("answers")
    assert story.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert fake.endpoints["answers"].config == "answers-v4"


def test_an_update_that_fails_at_once_is_not_called_done(fake: Endpoints) -> None:
    """An endpoint that SageMaker itself put back is not as wanted, and nobody says so."""
    fake.slow = None

    def fail(_seconds: float) -> None:
        fake.fail("answers")

    known = unhurried(fake.url)
    known._pause = fail
    story = act(known, rollback("answers"))
    plan = story.plan()
    done = story.execute(plan)
    assert (done.status, done.reason) == (OutcomeStatus.UNKNOWN, "The far side accepted the change and shows another value.")
    assert story.runner.reconcile(plan).reason == "It did not take effect."


def test_an_endpoint_that_is_being_updated_is_left_alone(fake: Endpoints) -> None:
    """While somebody updates the endpoint nothing is planned, and the sentence says what to wait for."""
    fake.slow = None
    fake.answer("UpdateEndpoint", {"EndpointName": "answers", "EndpointConfigName": "answers-v1"})
    for call in (rollback("answers", "answers-v2"), route("answers", "all")):
        with pytest.raises(PlanRefused, match=r"is Updating and takes no change now\. Wait until it is InService"):
            act(unhurried(fake.url), call).plan()


def test_a_failed_endpoint_says_why(fake: Endpoints) -> None:
    """An endpoint that failed must be made anew, and AWS's reason is given."""
    fake.endpoints["answers"].status, fake.endpoints["answers"].failure = "Failed", "No capacity."
    with pytest.raises(PlanRefused, match=r"is Failed .* must be made anew\. No capacity\."):
        act(unhurried(fake.url), rollback("answers")).plan()


def test_an_update_that_began_meanwhile_is_refused_by_aws(fake: Endpoints) -> None:
    """An update to the same configuration between look and click is AWS's to refuse, and then nothing was changed."""
    known = unhurried(fake.url)
    before = known.read(rollback("answers"), timeout=PATIENT)
    fake.endpoints["answers"].status, fake.slow = "SystemUpdating", None
    with pytest.raises(Rejected, match="Cannot update in-progress endpoint"):
        known.apply(rollback("answers"), {"version": "answers-v2"}, expected=before, key="k", timeout=PATIENT)


def test_configurations_may_be_named_otherwise(fake: Endpoints) -> None:
    """Which configurations are an endpoint's is configured by how their names begin."""
    fake.config("llm-1", **GOOD)
    fake.config("llm-2")
    fake.endpoint("chat", "llm-2")
    assert act(unhurried(fake.url, prefixes={"chat": "llm-"}), rollback("chat")).plan().proposal.value == {"version": "llm-1"}


def test_an_endpoint_with_a_long_name_has_its_releases(fake: Endpoints) -> None:
    """AWS takes at most 63 characters to look for, and an endpoint's name may have as many."""
    name = "a" * 63
    fake.config(name)
    fake.endpoint(name, name)
    assert unhurried(fake.url).read(rollback(name), timeout=PATIENT).value == {"version": name}
    assert [len(asked["NameContains"]) for operation, asked in fake.asked if operation == "ListEndpointConfigs"] == [63]


def test_a_newer_configuration_is_judged_by_its_marks_too(fake: Endpoints) -> None:
    """After a rollback somebody may go on to a newer configuration: one that is marked as bad is refused."""
    fake.endpoint("answers", "answers-v2")
    backend = unhurried(fake.url)
    reading = backend.read(rollback("answers"), timeout=PATIENT)
    with pytest.raises(CallInvalid, match="answers-v3 of answers is marked as bad"):
        backend.propose(rollback("answers", "answers-v3"), reading)
    assert backend.propose(rollback("answers", "answers-v4"), reading).value == {"version": "answers-v4"}


def test_configurations_on_a_later_page_are_found(fake: Endpoints) -> None:
    """A list comes in pages: the good configuration on the second one is gone back to."""
    fake.page = 2
    assert unhurried(fake.url).read(rollback("answers"), timeout=PATIENT).facts["last_known_good"] == "answers-v2"
    tokens = [asked.get("NextToken") for operation, asked in fake.asked if operation == "ListEndpointConfigs"]
    assert tokens == [None, "2"]


def test_a_configuration_of_another_name_can_run(fake: Endpoints) -> None:
    """A present configuration that is named otherwise is still known, and older ones of the endpoint's name are offered."""
    fake.config("by-hand")
    fake.endpoint("answers", "by-hand")
    assert act(unhurried(fake.url), rollback("answers")).plan().proposal.step == "release by-hand → answers-v2"


@pytest.mark.slow
@pytest.mark.parametrize("row", TROUBLES.values(), ids=TROUBLES)
def test_every_trouble_with_a_rollback_is_told_as_it_is(row: Any, fake: Endpoints) -> None:
    """Whatever goes wrong with the update, the error, the sentence and the later look are true, and it is sent once."""
    fake.slow = 0
    with troubled(fake.url) as trouble:
        check_trouble(row, act(unhurried(trouble.url), rollback("answers")), trouble, operation="UpdateEndpoint")
        fake.finish("answers")
        fake.update("answers", "answers-v4")
        check_class(row, unhurried(trouble.url), rollback("answers"), trouble, operation="UpdateEndpoint")


@pytest.mark.slow
@pytest.mark.parametrize("row", TROUBLES.values(), ids=TROUBLES)
def test_every_trouble_with_traffic_is_told_as_it_is(row: Any, real: Moto) -> None:
    """Whatever goes wrong with the shift, the error, the sentence and the later look are true, and it is sent once."""
    with troubled(real.url) as trouble:
        known = built(KIND, trouble.url)
        check_trouble(row, act(known, route(made(real))), trouble, operation="UpdateEndpointWeightsAndCapacities")
        check_class(row, known, route(made(real)), trouble, operation="UpdateEndpointWeightsAndCapacities")


def test_a_look_that_fails_after_the_update_leaves_it_unknown(fake: Endpoints) -> None:
    """Once sent, whatever happens to the looks after it, nobody says that nothing was changed."""
    with troubled(fake.url) as trouble:
        known = unhurried(trouble.url)
        before = known.read(rollback("answers"), timeout=PATIENT)
        row = TROUBLES["denied"]
        trouble.ill, trouble.status = row.ill, 403
        trouble.which = lambda _method, path: path.endswith("#DescribeEndpoint") and fake.asked[-1][0] == "UpdateEndpoint"
        with pytest.raises(OutcomeUnknown, match="It was sent, and then"):
            known.apply(rollback("answers"), {"version": "answers-v2"}, expected=before, key="k", timeout=PATIENT)


def test_someone_elses_deployment_between_plan_and_click_stops_it(fake: Endpoints) -> None:
    """A configuration that somebody put in after the plan stays, and the sentence says which."""
    story = act(unhurried(fake.url), rollback("answers"))
    plan = story.plan()
    fake.update("answers", "answers-v3")
    refused = story.execute(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert "answers was changed meanwhile; now it is: release answers-v3." in refused.reason
    assert fake.endpoints["answers"].config == "answers-v3"


def test_someone_elses_deployment_between_run_and_undo_is_not_overwritten(fake: Endpoints) -> None:
    """An undo leaves a configuration alone that somebody put in after the rollback."""
    story = act(unhurried(fake.url), rollback("answers"))
    plan = story.plan()
    done = story.execute(plan)
    fake.update("answers", "answers-v3")
    refused = story.undo(plan, after=done.after)
    assert refused.status is OutcomeStatus.REFUSED
    assert "It was not overwritten." in refused.reason
    assert fake.endpoints["answers"].config == "answers-v3"


def test_a_probe_says_who_we_are(real: Moto) -> None:
    """The probe names the identity and what may be seen; with a role it is the role's."""
    assert "may see SageMaker endpoints" in built(KIND, real.url).probe(timeout=PATIENT)
    role = built(KIND, real.url, role="arn:aws:iam::123456789012:role/muster-production")
    assert "assumed-role/muster-production/muster" in role.probe(timeout=PATIENT)


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a b", "-a", "a" * 64, "arn:aws:sagemaker:x", "ä"])
def test_s29_a_hostile_name_is_not_sent(name: str, fake: Endpoints) -> None:
    """What cannot be the name of an endpoint is refused on this side."""
    with pytest.raises(CallInvalid, match="write the name of a SageMaker endpoint"):
        unhurried(fake.url).read(rollback(name), timeout=PATIENT)
    assert fake.asked == []


def test_a_wrong_option_is_named() -> None:
    """A prefix that cannot begin a name stops the start and names the field."""
    with pytest.raises(SettingsInvalid, match="prefixes"):
        built(KIND, "http://127.0.0.1:1", prefixes={"answers": "a/b"})
