"""Back to an earlier pod template: what `kubectl rollout undo` does, as a compare-and-set.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-back-to-a-previous-revision
"""

from collections.abc import Callable
from dataclasses import dataclass

from actions.comparing import deadline
from actions.contract import CallInvalid
from actions.kubernetes.cluster import Cluster, Permission, Thing, dig
from actions.kubernetes.history import CAUSE, DEPLOYMENT, History, Scheme, history, revision, selector
from actions.kubernetes.marks import Policy, proposal
from actions.kubernetes.names import Resource, named
from actions.kubernetes.ownership import KEY, changed
from actions.kubernetes.scaling import WORKLOADS
from actions.kubernetes.writing import Seen, accepted, unchanged
from runbooks.operation import Call, Proposal, Reading
from runbooks.value import Json

REPLICA_SETS = Resource(group="apps", version="v1", plural="replicasets", word="ReplicaSet")
NEEDED = (
    Permission(verb="get", group="apps", resource="deployments"),
    Permission(verb="patch", group="apps", resource="deployments"),
    Permission(verb="list", group="apps", resource="replicasets"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """One sort of owner of releases: where it lies, how its controller writes, and what speaks against a rollback now.

    `held` is why a new template would not be rolled out at all, `busy` what is under way; both are sentences, empty where nothing is.
    `stable` is the release that the controller vouches for, `current` the one that it says is wanted, where it has seen the present
    template: a custom resource's template lacks the defaults that its ReplicaSet has, and is not to be found by comparing.
    """

    resource: Resource
    scheme: Scheme
    form: str
    held: Callable[[Thing], str]
    busy: Callable[[Thing], str]
    stable: Callable[[Thing], str | None] = lambda _thing: None
    current: Callable[[Thing], str | None] = lambda _thing: None


class Rolling:
    """`model.rollback` of one sort of workload."""

    def __init__(self, cluster: Cluster, sort: Sort, *, policy: Policy, interrupt: bool, namespaces: frozenset[str]) -> None:
        self._cluster, self._sort, self._policy, self._interrupt, self._namespaces = cluster, sort, policy, interrupt, namespaces

    def look(self, call: Call, timeout: float) -> Seen:
        """The release that is wanted now, with all that are kept."""
        namespace, name = named(call.target, form=self._sort.form, parts={2}, namespaces=self._namespaces)
        left = deadline(timeout)
        thing = self._cluster.get(self._sort.resource.path(namespace, name), what=self._what(call), timeout=left())
        return Seen(thing=thing, reading=self._reading(self._history(thing, namespace, left())))

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The release asked for.

        Raises:
            CallInvalid: there is none such, it is marked as bad, or the workload is paused or in the middle of a rollout.
        """
        self._free(call, reading)
        if str(reading.value["version"]).startswith("unrecorded-"):
            raise CallInvalid(
                f"{call.target} was given a new template this moment, and its controller has not recorded it yet. Plan again."
            )
        if reading.facts["busy"] and not self._interrupt:
            raise CallInvalid(f"A rollout of {call.target} is under way: {reading.facts['busy']}. Wait until it has ended or failed.")
        return proposal(call, reading)

    def send(self, call: Call, value: Json, seen: Seen, *, key: str, timeout: float) -> Reading | None:
        """Put the template of a release back, on the version seen; None where that is no longer the present one.

        Raises:
            CallInvalid: that release is no longer kept, or the workload is paused by now.
        """
        self._free(call, seen.reading)
        namespace, name = named(call.target, form=self._sort.form, parts={2}, namespaces=self._namespaces)
        left = deadline(timeout)
        past = unchanged(lambda: self._history(seen.thing, namespace, left()))
        version = str(value["version"])
        change = _change(seen, template=past.template(version), cause=past.cause(version), key=key)
        found = self._cluster.patch(self._sort.resource.path(namespace, name), change, what=self._what(call), timeout=left())
        if found is None:
            return None
        return accepted(lambda: self._reading(History(scheme=past.scheme, owner=found, sets=past.sets)))

    def _history(self, thing: Thing, namespace: str, timeout: float) -> History:
        if not dig(thing, "spec", "template"):  # it stands elsewhere, and so do its releases
            return history(thing, [], self._sort.scheme)
        what = f"ReplicaSets in {namespace}"
        sets = self._cluster.items(REPLICA_SETS.path(namespace), what=what, timeout=timeout, selector=selector(thing))
        return history(thing, sets, self._sort.scheme, current=self._sort.current(thing))

    def _reading(self, past: History) -> Reading:
        thing = past.owner
        by, at = changed(thing, "spec", "template")
        facts = past.facts(self._policy, stable=self._sort.stable(thing))
        return Reading(
            value={"version": past.present},
            facts={**facts, "held": self._sort.held(thing), "busy": self._sort.busy(thing)},
            revision=revision(thing, past.scheme),
            changed_by=by,
            changed_at=at,
        )

    def _free(self, call: Call, reading: Reading) -> None:
        if reading.facts.get("held"):
            raise CallInvalid(f"{call.target} {reading.facts['held']}.")

    def _what(self, call: Call) -> str:
        return f"{self._sort.resource.word} {call.target}"


def _change(seen: Seen, *, template: Json, cause: str | None, key: str) -> list[Thing]:
    """A JSON patch: a merge patch could not take out what the bad template added."""
    annotations = dict(dig(seen.thing, "metadata", "annotations") or {})
    annotations.pop(CAUSE, None)
    annotations |= {KEY: key, **({CAUSE: cause} if cause else {})}
    return [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": seen.version},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
        {"op": "replace", "path": "/spec/template", "value": template},
    ]


def _held(thing: Thing) -> str:
    paused = dig(thing, "spec", "paused")
    return "is paused, so an earlier release would not be rolled out. Resume it first (kubectl rollout resume)" if paused else ""


def _busy(thing: Thing) -> str:
    """What the Deployment's controller is doing. One that has passed its progress deadline has failed, and is free to be taken back.

    How many are available says nothing: the pods of a bad release that was completed long ago may be crashing now.
    """
    conditions = dig(thing, "status", "conditions") or ()
    progressing = next((one for one in conditions if dig(one, "type") == "Progressing"), None)
    if progressing is None or dig(progressing, "reason") in {"NewReplicaSetAvailable", "ProgressDeadlineExceeded", "DeploymentPaused"}:
        return ""
    return f"{dig(thing, 'status', 'updatedReplicas') or 0} of {dig(thing, 'spec', 'replicas')} are of the new release"


DEPLOYMENTS = Sort(resource=WORKLOADS["deployment"], scheme=DEPLOYMENT, form="namespace/deployment", held=_held, busy=_busy)
