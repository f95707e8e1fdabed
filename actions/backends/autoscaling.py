"""AWS Auto Scaling groups: `cluster.scale` sets a group's desired capacity, within the bounds that the group itself names.

AWS refuses a capacity out of bounds, but is never relied on for that. What would keep the change from taking effect (suspended
processes) refuses it; what would take it back (scaling policies, scheduled actions) is said in the plan.
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetDesiredCapacity.html
"""

import re
from typing import Any

from actions.contract import CallInvalid, TargetMissing
from actions.kinds import BackendKind, Options, Secrets
from actions.operations import CLUSTER_SCALE
from actions.toolkit import aws
from actions.toolkit.understood import understood
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json

OPERATIONS = (CLUSTER_SCALE,)
FORM = "the name of an Auto Scaling group, such as inference-answers-v7"
_NAME = re.compile(r"[\x20-\x39\x3b-\x7e]{1,255}")  # what the API takes, but the colon, which it reserves
_MOST_NAMED = 3  # policies that a plan names; of more, the number is enough


class AutoScaling(aws.Lagging):
    """Auto Scaling groups of one region. Implements `actions.contract.Backend`; a group has no version, so it is compared by value."""

    name = "autoscaling"
    environment: str | None
    world: str | None = None
    operations: tuple[Operation, ...] = OPERATIONS

    def __init__(self, *, account: aws.Account, environment: str) -> None:
        self._account, self.environment = account, environment

    def probe(self, *, timeout: float) -> str:
        """Who we are to AWS, and that groups may be seen."""
        return self._account.probe(
            "autoscaling", "describe_auto_scaling_groups", timeout=timeout, reach="Auto Scaling groups", MaxRecords=1
        )

    def read(self, call: Call, *, timeout: float) -> Reading:
        """The desired capacity; bounds, suspended processes, policies and scheduled actions as facts."""
        name, ask = _name(call), self._account.asking(timeout=timeout)
        with understood(aws.WHO):
            found = ask("autoscaling", "describe_auto_scaling_groups", what=_what(name), AutoScalingGroupNames=[name])["AutoScalingGroups"]
            if not found:
                raise TargetMissing(f"AWS has no {_what(name)} in this region.")
            policies = ask("autoscaling", "describe_policies", what=_what(name), AutoScalingGroupName=name)["ScalingPolicies"]
            planned = ask("autoscaling", "describe_scheduled_actions", what=_what(name), AutoScalingGroupName=name)
            return _reading(found[0], policies=policies, scheduled=planned["ScheduledUpdateGroupActions"])

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The capacity asked for.

        Raises:
            CallInvalid: the group's bounds do not allow it, or something suspended would keep it from taking effect.
        """
        wanted, present = call.arguments["replicas"], reading.value["replicas"]
        low, high = reading.facts["minimum"], reading.facts["maximum"]
        if not low <= wanted <= high:
            raise CallInvalid(f"{call.target} takes {low} to {high} instances, not {wanted}. Change the group's own bounds first.")
        if reading.facts["deleting"]:
            raise CallInvalid(f"{call.target} is being deleted.")
        needed = "Launch" if wanted > present else "Terminate"
        if wanted != present and needed in reading.facts["suspended"]:
            raise CallInvalid(f"{call.target} has its process {needed} suspended, so nothing would happen. Resume it first.")
        before, after = _counted(present), _counted(wanted)
        return Proposal(value={"replicas": wanted}, before_text=before, after_text=after, note=_note(reading))

    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:  # noqa: ARG002
        """Set it, without waiting for the group's cool-down: that is meant for policies, not for a person in an incident."""
        name = _name(call)
        ask = self._account.asking(timeout=timeout)
        ask(
            "autoscaling",
            "set_desired_capacity",
            what=_what(name),
            AutoScalingGroupName=name,
            DesiredCapacity=value["replicas"],
            HonorCooldown=False,
        )


def _name(call: Call) -> str:
    return aws.target(call, _NAME, form=FORM)(0)


def _what(name: str) -> str:
    return f"Auto Scaling group {name}"


def _counted(number: int) -> str:
    return f"{number} instance{'' if number == 1 else 's'}"


def _reading(group: dict[str, Any], *, policies: list[dict[str, Any]], scheduled: list[dict[str, Any]]) -> Reading:
    ready = [one for one in group.get("Instances", ()) if one.get("LifecycleState") == "InService" and one.get("HealthStatus") == "Healthy"]
    suspended = sorted(one["ProcessName"] for one in group.get("SuspendedProcesses", ()))
    alarms = "AlarmNotification" not in suspended
    clock = "ScheduledActions" not in suspended
    facts: dict[str, Json] = {
        "minimum": group["MinSize"],
        "maximum": group["MaxSize"],
        "ready": len(ready),
        "suspended": suspended,
        "deleting": bool(group.get("Status")),  # the API names a status only while the group is being deleted
        "policies": sorted(one["PolicyName"] for one in policies if alarms and one.get("Enabled", True)),
        "scheduled": sorted(one["ScheduledActionName"] for one in scheduled if clock),
    }
    return Reading(value={"replicas": group["DesiredCapacity"]}, facts=facts)


def _note(reading: Reading) -> str:
    """What may take the change back by itself."""
    said = [f"{reading.facts['ready']} ready now."]
    for fact, word in (("policies", "scaling policy"), ("scheduled", "scheduled action")):
        names = reading.facts[fact]
        if names:
            shown = ", ".join(names) if len(names) <= _MOST_NAMED else f"one of {len(names)}"
            said.append(f"The {word} {shown} may change it again.")
    return " ".join(said)


def build(options: Options, secrets: Secrets) -> AutoScaling:
    """See `actions.toolkit.aws.account` for region, profile, role and endpoint_url."""
    return AutoScaling(account=aws.account(options, secrets), environment=options.text("environment"))


KIND = BackendKind(name="autoscaling", operations=OPERATIONS, build=build, options=aws.OPTIONS)
