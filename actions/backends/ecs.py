"""AWS ECS services: `cluster.scale` sets how many tasks are wanted, `model.rollback` goes back to an earlier task definition.

A service of ECS's own deployments only; the revision compared holds its primary deployment, so that a deployment between plan and
click is noticed although the number is the same. Application Auto Scaling's bounds are kept where the service is registered there, and
the configured limits everywhere; a service with neither is not scaled.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actions.contract import CallInvalid, TargetMissing
from actions.kinds import BackendKind, Options, Secrets
from actions.operations import CLUSTER_SCALE, MODEL_ROLLBACK
from actions.toolkit import aws, marks
from actions.toolkit.marks import Marked, Marks
from actions.toolkit.understood import understood
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json

OPERATIONS = (CLUSTER_SCALE, MODEL_ROLLBACK)
FORM = "cluster/service, such as production/answers"
_TARGET = re.compile(r"([A-Za-z0-9_-]{1,255})/([A-Za-z0-9_-]{1,255})")
_LOOKED_AT = 10  # revisions down from the present one whose tags are read; each is a request of its own
_NEWER = 3  # revisions up from it, likewise: somebody may want to go on from an earlier rollback
_SCALED = "ecs:service:DesiredCount"
EVERY = "*"  # the limits of every service that has none of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many tasks a service may be given."""

    minimum: int
    maximum: int


class Ecs(aws.Lagging):
    """ECS services of one region. Implements `actions.contract.Backend`."""

    name = "ecs"
    environment: str | None
    world: str | None = None
    operations: tuple[Operation, ...] = OPERATIONS

    def __init__(self, *, account: aws.Account, environment: str, marks: Marks, limits: Mapping[str, Limits] | None = None) -> None:
        """`limits` by service, or for every other (`*`)."""
        self._account, self.environment, self._marks, self._limits = account, environment, marks, limits or {}

    def probe(self, *, timeout: float) -> str:
        """Who we are to AWS, and that clusters may be seen."""
        return self._account.probe("ecs", "list_clusters", timeout=timeout, reach="ECS clusters", maxResults=1)

    def read(self, call: Call, *, timeout: float) -> Reading:
        """The tasks wanted, or the task definition with what could be gone back to; as facts how many run, and a deployment in progress."""
        cluster, service = _parts(call)
        ask = self._account.asking(timeout=timeout)
        with understood(aws.WHO):
            found = _service(ask, cluster, service)
            if call.operation == MODEL_ROLLBACK.name:
                return self._release(ask, found)
            facts = {**_facts(found), **_scaling(ask, cluster, service)}
            return _reading({"replicas": found["desiredCount"]}, found, facts=facts)

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The number of tasks, or the task definition; a deployment whose tasks fail may be rolled back before it ends.

        Raises:
            CallInvalid: a deployment is in progress, the service is not ECS's own to change, or a bound would be passed.
        """
        facts = reading.facts
        stuck = bool(facts["failed"]) and call.operation == MODEL_ROLLBACK.name
        if facts["deploying"] and not stuck:
            raise CallInvalid(
                f"{call.target} is in the middle of a deployment ({facts['deploying']}). Wait until it ends, or stop it first."
            )
        if call.operation != MODEL_ROLLBACK.name:
            return _scaled(call, reading, self._limits.get(call.target or "") or self._limits.get(EVERY))
        if facts["controller"] != "ECS":
            raise CallInvalid(f"{call.target} is deployed by {facts['controller']}; roll back there.")
        proposal = marks.rollback(call, reading)
        if not stuck:
            return proposal
        ends = f"The deployment of {reading.value['version']} goes on, {facts['failed']} of its tasks have failed; this ends it."
        return proposal.model_copy(update={"note": f"{proposal.note} {ends}".strip()})

    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:  # noqa: ARG002
        """One UpdateService with the one field that changes."""
        cluster, service = _parts(call)
        changed = {"taskDefinition": value["version"]} if "version" in value else {"desiredCount": value["replicas"]}
        ask = self._account.asking(timeout=timeout)
        ask("ecs", "update_service", what=_what(cluster, service), cluster=cluster, service=service, **changed)

    def _release(self, ask: aws.Asking, found: Mapping[str, Any]) -> Reading:
        present = _version(found["taskDefinition"])
        family = present.rpartition(":")[0]
        names = sorted({*_listed(ask, family, present), present}, key=_number, reverse=True)
        older = [name for name in names if _number(name) <= _number(present)][:_LOOKED_AT]
        newer = [name for name in names if _number(name) > _number(present)][-_NEWER:]
        known = {name: self._described(ask, name) for name in (*newer, *older)}
        every = [known.get(name) or Marked(version=name, order=_number(name), read=False) for name in names]
        return _reading({"version": present}, found, facts={**_facts(found), **marks.facts(every, present=known[present])})

    def _described(self, ask: aws.Asking, name: str) -> Marked:
        answer = ask("ecs", "describe_task_definition", what=f"task definition {name}", taskDefinition=name, include=["TAGS"])
        definition = answer["taskDefinition"]
        images = ", ".join(str(one.get("image", "")).rpartition("/")[2] for one in definition.get("containerDefinitions", ()))
        return self._marks.release(
            name, order=_number(name), at=definition.get("registeredAt"), tags=aws.tags(answer.get("tags")), note=images
        )


def _parts(call: Call) -> tuple[str, str]:
    part = aws.target(call, _TARGET, form=FORM)
    return part(1), part(2)


def _what(cluster: str, service: str) -> str:
    return f"service {service} in the cluster {cluster}"


def _version(arn: str) -> str:
    """family:revision, from the end of the definition's name in full."""
    return str(arn).rpartition("/")[2]


def _number(version: str) -> int:
    return int(version.rpartition(":")[2])


def _service(ask: aws.Asking, cluster: str, service: str) -> dict[str, Any]:
    found = ask("ecs", "describe_services", what=f"cluster {cluster}", cluster=cluster, services=[service])["services"]
    there = [one for one in found if one.get("status") != "INACTIVE"]
    if not there:
        raise TargetMissing(f"AWS has no {_what(cluster, service)} in this region.")
    return dict(there[0])


def _listed(ask: aws.Asking, family: str, present: str) -> list[str]:
    """The family's revisions, newest first, as far back as they are looked at."""
    asked = {"familyPrefix": family, "status": "ACTIVE", "sort": "DESC"}
    listed = ask.every("ecs", "list_task_definitions", what=f"task family {family}", key="taskDefinitionArns", more="nextToken", **asked)
    found: list[str] = []
    older = 0
    for arn in listed:
        name = _version(arn)
        if name.rpartition(":")[0] == family:
            found.append(name)
            older += _number(name) < _number(present)
        if older == _LOOKED_AT:
            break
    return found


def _facts(found: Mapping[str, Any]) -> dict[str, Json]:
    """`units` and `ready` are what the guard counts; `pending` and `rollout` tell of a deployment how far it has come."""
    deployments = found.get("deployments", ())
    under_way = [one for one in deployments if one.get("rolloutState") == "IN_PROGRESS"] or (deployments if len(deployments) > 1 else ())
    versions = sorted({_version(one["taskDefinition"]) for one in under_way}, key=_number)
    return {
        "deploying": " beside ".join(versions) if found.get("status") != "DRAINING" else "it is being deleted",
        "failed": sum(one.get("failedTasks", 0) for one in under_way if one.get("status") == "PRIMARY"),
        "controller": found.get("deploymentController", {}).get("type", "ECS"),
        "strategy": found.get("schedulingStrategy", "REPLICA"),
        "units": found.get("desiredCount"),
        "ready": found.get("runningCount"),
        "pending": found.get("pendingCount"),
        "rollout": _primary(found).get("rolloutState"),
    }


def _primary(found: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((one for one in found.get("deployments", ()) if one.get("status") == "PRIMARY"), {})


def _reading(value: Json, found: Mapping[str, Any], *, facts: dict[str, Json]) -> Reading:
    primary = _primary(found)
    held = value.get("version", value.get("replicas"))
    at = primary.get("createdAt") if "version" in value else None
    return Reading(value=value, facts=facts, revision=f"{primary.get('id', '')} {held}", changed_at=at)


def _scaling(ask: aws.Asking, cluster: str, service: str) -> dict[str, Json]:
    """The bounds and policies of Application Auto Scaling, where the service is registered there."""
    about = {"ServiceNamespace": "ecs", "ScalableDimension": _SCALED}
    resource = f"service/{cluster}/{service}"
    what = "scaling limits"
    targets = ask("application-autoscaling", "describe_scalable_targets", what=what, ResourceIds=[resource], **about)["ScalableTargets"]
    if not targets:
        return {"policies": []}
    policies = ask("application-autoscaling", "describe_scaling_policies", what=what, ResourceId=resource, **about)["ScalingPolicies"]
    paused = targets[0].get("SuspendedState", {})
    asleep = bool(paused.get("DynamicScalingInSuspended")) and bool(paused.get("DynamicScalingOutSuspended"))
    names = [] if asleep else sorted(one["PolicyName"] for one in policies if one["ResourceId"] == resource)
    return {"minimum": targets[0]["MinCapacity"], "maximum": targets[0]["MaxCapacity"], "policies": names}


def _scaled(call: Call, reading: Reading, limits: Limits | None) -> Proposal:
    wanted, present, facts = call.arguments["replicas"], reading.value["replicas"], reading.facts
    if facts["strategy"] == "DAEMON":
        raise CallInvalid(f"{call.target} runs one task on each instance (DAEMON); scale the instances instead.")
    _within(call, wanted, facts, limits)
    names = facts["policies"]
    again = f" The scaling policy {', '.join(names)} may change it again." if names else ""
    return Proposal(
        value={"replicas": wanted},
        before_text=_counted(present),
        after_text=_counted(wanted),
        note=f"{facts['ready']} of {present} are running now.{again}",
    )


def _within(call: Call, wanted: int, facts: Mapping[str, Json], limits: Limits | None) -> None:
    """Both bounds hold where there are both: those of Application Auto Scaling, and the configured ones."""
    low, high = facts.get("minimum"), facts.get("maximum")
    if low is None and limits is None:
        raise CallInvalid(
            f"No limits are configured for {call.target}, so it is not scaled. Write them under limits of this backend: "
            f'"{call.target}": {{minimum: 1, maximum: 12}}.'
        )
    if low is not None and high is not None and not low <= wanted <= high:
        raise CallInvalid(
            f"Application Auto Scaling keeps {call.target} at {low} to {high} tasks, so {wanted} would not last. Change its limits first."
        )
    if limits is not None and not limits.minimum <= wanted <= limits.maximum:
        raise CallInvalid(f"{call.target} takes {limits.minimum} to {limits.maximum} tasks, not {wanted}.")


def _counted(number: int) -> str:
    return f"{number} task{'' if number == 1 else 's'}"


def _limits(options: Options) -> dict[str, Limits]:
    found: dict[str, Limits] = {}
    for name, entry in options.get("limits", dict, {}).items():
        ends = (
            (entry.get("minimum", 1), entry.get("maximum")) if isinstance(entry, Mapping) and set(entry) <= {"minimum", "maximum"} else ()
        )
        numbers = [end for end in ends if isinstance(end, int) and not isinstance(end, bool)]
        if len(numbers) != 2 or not 0 <= numbers[0] <= numbers[1]:
            raise options.invalid(f"limits.{name}", "takes minimum (1 where it is left out) and maximum, two whole numbers")
        found[str(name)] = Limits(minimum=numbers[0], maximum=numbers[1])
    return found


def build(options: Options, secrets: Secrets) -> Ecs:
    """See `actions.toolkit.aws.account` for the account's options, `actions.toolkit.marks` for what marks a revision as good.

    Raises:
        SettingsInvalid: an option cannot be meant.
    """
    return Ecs(
        account=aws.account(options, secrets),
        environment=options.text("environment"),
        marks=marks.marks(options),
        limits=_limits(options),
    )


KIND = BackendKind(name="ecs", operations=OPERATIONS, build=build, options=aws.OPTIONS | marks.OPTIONS | {"limits"})
