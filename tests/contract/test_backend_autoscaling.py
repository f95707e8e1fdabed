"""Auto Scaling groups, against moto; what somebody else sees of them is asked through a client of its own."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from actions.backends.autoscaling import KIND
from actions.contract import CallInvalid
from actions.planning import PlanRefused
from actions.testing import CHECKS, Check, Subject
from runbooks.operation import Call, OutcomeStatus
from tests.parts.amazon import PATIENT, TROUBLES, act, built, check_class, check_trouble, scale
from tests.parts.moto import REGION, Moto, moto
from tests.parts.trouble import troubled

_number = count()


@pytest.fixture(scope="module")
def aws() -> Iterator[Moto]:
    with moto() as running:
        yield running


@pytest.fixture
def group(aws: Moto) -> str:
    """A group of two instances that may have one to six."""
    return made(aws)


def made(aws: Moto) -> str:
    """A fresh group."""
    name, client = f"inference-{next(_number)}", aws.client("autoscaling")
    client.create_launch_configuration(LaunchConfigurationName=name, ImageId="ami-12c6146b", InstanceType="t2.micro")
    client.create_auto_scaling_group(
        AutoScalingGroupName=name, LaunchConfigurationName=name, MinSize=1, MaxSize=6, DesiredCapacity=2, AvailabilityZones=[f"{REGION}a"]
    )
    return name


def outside(aws: Moto, name: str) -> dict[str, Any]:
    """The group as somebody else sees it."""
    return dict(aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0])


def set_outside(aws: Moto, name: str, capacity: int) -> None:
    aws.client("autoscaling").set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=capacity)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_autoscaling_keeps_the_contract(check: Check, aws: Moto, group: str) -> None:
    """Scaling a group passes every check."""
    check(
        Subject(
            backend=built(KIND, aws.url),
            call=scale(group),
            missing=scale("no-such-group"),
            other={"replicas": 5},
            change_outside=lambda value: set_outside(aws, group, value["replicas"]),
            invalid=scale(group, 7),
            atomic=False,
        )
    )


def test_instances_come_and_go_again(aws: Moto, group: str) -> None:
    """Scaling up launches instances that others see, and the undo ends them."""
    story = act(built(KIND, aws.url), scale(group))
    plan = story.plan()
    assert plan.proposal.step == "2 → 4 instances"
    done = story.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    seen = outside(aws, group)
    assert (seen["DesiredCapacity"], len(seen["Instances"])) == (4, 4)
    assert story.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    seen = outside(aws, group)
    assert (seen["DesiredCapacity"], len(seen["Instances"])) == (2, 2)


@pytest.mark.parametrize("replicas", [0, 7, 1000])
def test_the_groups_own_bounds_are_kept_before_anything_is_sent(replicas: int, aws: Moto, group: str) -> None:
    """A number out of the group's bounds gives no plan, although this far side would take it."""
    with pytest.raises(PlanRefused, match="takes 1 to 6 instances"):
        act(built(KIND, aws.url), scale(group, replicas)).plan()
    assert outside(aws, group)["DesiredCapacity"] == 2


@pytest.mark.parametrize(("process", "replicas"), [("Launch", 4), ("Terminate", 1)])
def test_a_suspended_process_refuses_what_it_would_hold_back(process: str, replicas: int, aws: Moto, group: str) -> None:
    """With launching suspended nothing is scaled up, with terminating suspended nothing down; the other way stays open."""
    aws.client("autoscaling").suspend_processes(AutoScalingGroupName=group, ScalingProcesses=[process])
    backend = built(KIND, aws.url)
    with pytest.raises(PlanRefused, match=f"process {process} suspended.*Resume it first"):
        act(backend, scale(group, replicas)).plan()
    assert act(backend, scale(group, 5 - replicas)).plan().proposal.value == {"replicas": 5 - replicas}


def test_what_may_take_the_change_back_is_said(aws: Moto, group: str) -> None:
    """A scaling policy and a scheduled action stand in the plan's note; suspended, they are not mentioned."""
    client = aws.client("autoscaling")
    client.put_scaling_policy(
        AutoScalingGroupName=group,
        PolicyName="cpu-50",
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration={
            "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
            "TargetValue": 50.0,
        },
    )
    client.put_scheduled_update_group_action(
        AutoScalingGroupName=group, ScheduledActionName="nightly", Recurrence="0 3 * * *", DesiredCapacity=1
    )
    note = act(built(KIND, aws.url), scale(group)).plan().proposal.note
    assert "The scaling policy cpu-50 may change it again." in note
    assert "The scheduled action nightly may change it again." in note
    client.suspend_processes(AutoScalingGroupName=group, ScalingProcesses=["AlarmNotification", "ScheduledActions"])
    assert "again" not in act(built(KIND, aws.url), scale(group)).plan().proposal.note


@pytest.mark.slow
@pytest.mark.parametrize("row", TROUBLES.values(), ids=TROUBLES)
def test_every_trouble_with_scaling_is_told_as_it_is(row: Any, aws: Moto) -> None:
    """Whatever goes wrong with the change, the error, the sentence and the later look are true, and it is sent once."""
    with troubled(aws.url) as trouble:
        backend = built(KIND, trouble.url)
        check_trouble(row, act(backend, scale(made(aws))), trouble, operation="SetDesiredCapacity")
        check_class(row, backend, scale(made(aws)), trouble, operation="SetDesiredCapacity")


def test_someone_elses_scaling_between_plan_and_click_stops_it(aws: Moto, group: str) -> None:
    """A capacity that somebody set after the plan stays, and the sentence says what it is now."""
    story = act(built(KIND, aws.url), scale(group))
    plan = story.plan()
    set_outside(aws, group, 3)
    refused = story.execute(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert f"{group} was changed meanwhile; now it is: 3 instances." in refused.reason
    assert outside(aws, group)["DesiredCapacity"] == 3


def test_someone_elses_scaling_between_run_and_undo_is_not_overwritten(aws: Moto, group: str) -> None:
    """An undo leaves a capacity alone that somebody set after the run."""
    story = act(built(KIND, aws.url), scale(group))
    plan = story.plan()
    done = story.execute(plan)
    set_outside(aws, group, 6)
    refused = story.undo(plan, after=done.after)
    assert refused.status is OutcomeStatus.REFUSED
    assert "6 instances. It was not overwritten." in refused.reason
    assert outside(aws, group)["DesiredCapacity"] == 6


def test_a_probe_says_who_we_are(aws: Moto) -> None:
    """The probe names the identity and what may be seen, and changes nothing."""
    assert built(KIND, aws.url).probe(timeout=PATIENT).startswith("Signed in as arn:aws:sts::")


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "x" * 256, "é"])
def test_s29_a_hostile_name_is_not_sent(name: str, aws: Moto) -> None:
    """What cannot be the name of a group is refused on this side."""
    with pytest.raises(CallInvalid, match="write the name of an Auto Scaling group"):
        built(KIND, aws.url).read(Call(operation="cluster.scale", target=name), timeout=PATIENT)
