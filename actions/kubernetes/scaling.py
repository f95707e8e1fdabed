"""The number of replicas: by the scale subresource of a Deployment or StatefulSet, or as the least number of an autoscaler.

Limits are our own: Kubernetes takes any number, and a disruption budget does not bound scaling. Sources:
https://kubernetes.io/docs/reference/kubernetes-api/autoscaling-resources/horizontal-pod-autoscaler-v1/ and
https://kubernetes.io/docs/tasks/run-application/configure-pdb/
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from actions.comparing import deadline
from actions.contract import CallInvalid, OutcomeUnknown, TargetMissing
from actions.kinds import Options
from actions.kubernetes.cluster import MANAGER, WHO, Cluster, Permission, Thing, dig
from actions.kubernetes.names import Resource, named
from actions.kubernetes.ownership import KEY, changed, key_of, records_scaling
from actions.kubernetes.writing import Seen, accepted, digest
from runbooks.operation import Call, Proposal, Reading
from runbooks.value import Json

FORM = "namespace/deployment, namespace/statefulset/name or namespace/hpa/name"
EVERY = "*"  # the limits of every target that has none of its own
LONGEST_MANAGER = 128  # characters of a field manager's name that Kubernetes takes

WORKLOADS = {
    "deployment": Resource(group="apps", version="v1", plural="deployments", word="Deployment"),
    "statefulset": Resource(group="apps", version="v1", plural="statefulsets", word="StatefulSet"),
}
AUTOSCALER = Resource(group="autoscaling", version="v1", plural="horizontalpodautoscalers", word="HorizontalPodAutoscaler")
BUDGETS = tuple(
    Resource(group="policy", version=one, plural="poddisruptionbudgets", word="PodDisruptionBudget") for one in ("v1", "v1beta1")
)
NEEDED = (
    Permission(verb="get", group="apps", resource="deployments"),
    Permission(verb="patch", group="apps", resource="deployments", subresource="scale"),
    Permission(verb="list", group="autoscaling", resource="horizontalpodautoscalers"),
)
Left = Callable[[], float]
"""Seconds that are left of a time limit (`actions.comparing.deadline`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many there may be of one target. `budget` names a PodDisruptionBudget whose `minAvailable` is a floor for scaling down."""

    minimum: int
    maximum: int
    budget: str | None = None


def limits(options: Options) -> dict[str, Limits]:
    """The option `limits`, by target or for every other (`*`).

    Raises:
        SettingsInvalid: an entry is not of the form {minimum: 1, maximum: 12, budget: name}.
    """
    return {target: _limits(options, target, entry) for target, entry in options.get("limits", dict, {}).items()}


def _limits(options: Options, target: str, entry: Json) -> Limits:
    place = f"limits.{target}"
    if not isinstance(entry, Mapping) or not set(entry) <= {"minimum", "maximum", "budget"}:
        raise options.invalid(place, "must be of the form {minimum: 1, maximum: 12}, and may name a budget")
    low, high, budget = entry.get("minimum", 1), entry.get("maximum", -1), entry.get("budget")
    if not all(isinstance(one, int) and not isinstance(one, bool) for one in (low, high)) or not 0 <= low <= high:
        raise options.invalid(place, "needs whole numbers: minimum (1 where it is left out) and maximum, which is not below it")
    if not isinstance(budget, str | None):
        raise options.invalid(place, "names its budget by a text")
    return Limits(minimum=low, maximum=high, budget=budget)


class Scaling:
    """`cluster.scale` in one cluster. `bounds` are the limits by target."""

    def __init__(self, cluster: Cluster, *, bounds: Mapping[str, Limits], namespaces: frozenset[str]) -> None:
        self._cluster, self._bounds, self._namespaces = cluster, bounds, namespaces

    def look(self, call: Call, timeout: float) -> Seen:
        """The number that is wanted; as facts how many are ready, the limits, the floor, and the autoscaler that owns the number."""
        (namespace, kind, name), left = self._place(call), deadline(timeout)
        if kind == "hpa":
            return self._autoscaler(call, namespace, name, left)
        resource = WORKLOADS[kind]
        thing = self._cluster.get(resource.path(namespace, name), what=f"{resource.word} {namespace}/{name}", timeout=left())
        owner = self._owner(namespace, resource.word, name, left())
        facts = {"ready": dig(thing, "status", "readyReplicas") or 0, "autoscaler": owner, **self._limited(call, namespace, left)}
        by, at = changed(thing, "spec", "replicas") if records_scaling(thing) else (None, None)
        value = _replicas(dig(thing, "spec", "replicas"), word=f"{resource.word} {namespace}/{name}")
        moved = digest(thing, value)
        return Seen(thing=thing, reading=Reading(value=value, facts=facts, revision=moved, changed_by=_by(by), changed_at=at))

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The number asked for, within the limits.

        Raises:
            CallInvalid: an autoscaler owns the number, no limits are configured, or one would be passed.
        """
        hindered(call, reading)
        wanted, present = call.arguments["replicas"], reading.value["replicas"]
        _within(call, wanted, reading.facts.get("bounds"))
        if wanted < present:
            _above_floor(call, wanted, reading.facts.get("floor"))
        least = "at least " if "at_most" in reading.facts else ""
        note = f"{reading.facts['ready']} of {present} are ready now." if "ready" in reading.facts else ""
        return Proposal(
            value={"replicas": wanted}, before_text=f"{least}{_counted(present)}", after_text=f"{least}{_counted(wanted)}", note=note
        )

    def send(self, call: Call, value: Json, seen: Seen, *, key: str, timeout: float) -> Reading | None:
        """Write the number on the version seen; None where that is no longer the present one.

        Raises:
            CallInvalid: an autoscaler owns the number by now.
        """
        hindered(call, seen.reading)
        namespace, kind, name = self._place(call)
        if kind == "hpa":
            return self._send_autoscaler(call, value, seen, key=key, timeout=timeout)
        resource = WORKLOADS[kind]
        change = {"metadata": {"resourceVersion": seen.version}, "spec": {"replicas": value["replicas"]}}
        path, what = f"{resource.path(namespace, name)}/scale", f"{resource.word} {namespace}/{name}"
        found = self._cluster.patch(path, change, what=what, timeout=timeout, manager=_manager(key))
        if found is None:
            return None
        spec = dig(found, "spec")
        number = _replicas(spec.get("replicas", 0) if isinstance(spec, Mapping) else None, word=what)  # a Scale leaves a zero out
        now = {"value": number, "revision": digest(seen.thing, number), "changed_by": f"{MANAGER}/{key}", "changed_at": None}
        return seen.reading.model_copy(update=now)

    def done(self, seen: Seen, *, key: str) -> bool:
        """Whether the number seen was set under this key. A scale has no room for an annotation: the field manager tells.

        Servers before 1.22 do not record who wrote through a subresource; the number wanted then counts as set.
        """
        if "at_most" in seen.reading.facts:
            return key_of(seen.thing) == key
        if not records_scaling(seen.thing):
            return True
        return changed(seen.thing, "spec", "replicas")[0] == _manager(key)

    def _place(self, call: Call) -> tuple[str, str, str]:
        parts = named(call.target, form=FORM, parts={2, 3}, namespaces=self._namespaces)
        if len(parts) == 2:
            return parts[0], "deployment", parts[1]
        if parts[1] not in {*WORKLOADS, "hpa"}:
            raise CallInvalid(f"{call.target!r} is no target here; write {FORM}.")
        return parts[0], parts[1], parts[2]

    def _owner(self, namespace: str, kind: str, name: str, timeout: float) -> Json:
        """The autoscaler of a workload, if it has one; it would put any other number back within seconds."""
        for one in self._cluster.items(AUTOSCALER.path(namespace), what=f"autoscalers in {namespace}", timeout=timeout):
            target = dig(one, "spec", "scaleTargetRef")
            if (dig(target, "kind"), dig(target, "name")) == (kind, name):
                spec, found = one.get("spec") or {}, str(dig(one, "metadata", "name"))
                return {"target": f"{namespace}/hpa/{found}", "minimum": spec.get("minReplicas", 1), "maximum": spec.get("maxReplicas")}
        return None

    def _limited(self, call: Call, namespace: str, left: Left) -> dict[str, Json]:
        here = self._bounds.get(call.target or "") or self._bounds.get(EVERY)
        if here is None:
            return {"bounds": None}
        floor = self._floor(namespace, here.budget, left) if here.budget else None
        return {"bounds": {"minimum": here.minimum, "maximum": here.maximum}, "floor": floor}

    def _floor(self, namespace: str, budget: str, left: Left) -> Json:
        """What the budget says must stay available, as it stands: a number or a share. policy/v1 is there from 1.21 on."""
        what = f"PodDisruptionBudget {namespace}/{budget}"
        named(f"{namespace}/{budget}", form="the budget's name", parts={2}, namespaces=())
        for version in BUDGETS:
            try:
                found = self._cluster.get(version.path(namespace, budget), what=what, timeout=left())
            except TargetMissing:
                continue
            return {"budget": budget, "available": dig(found, "spec", "minAvailable")}
        raise TargetMissing(f"{WHO} has no {what}, which the limits of this backend name as a floor. Create it, or name another.")

    def _autoscaler(self, call: Call, namespace: str, name: str, left: Left) -> Seen:
        """The least number of an autoscaler. Its greatest stays as it is, and bounds what may be asked for."""
        what = f"{AUTOSCALER.word} {namespace}/{name}"
        thing = self._cluster.get(AUTOSCALER.path(namespace, name), what=what, timeout=left())
        return Seen(thing=thing, reading=_autoscaler_reading(thing, self._limited(call, namespace, left)))

    def _send_autoscaler(self, call: Call, value: Json, seen: Seen, *, key: str, timeout: float) -> Reading | None:
        namespace, _, name = self._place(call)
        change = {
            "metadata": {"resourceVersion": seen.version, "annotations": {KEY: key}},
            "spec": {"minReplicas": value["replicas"]},
        }
        what = f"{AUTOSCALER.word} {namespace}/{name}"
        found = self._cluster.patch(AUTOSCALER.path(namespace, name), change, what=what, timeout=timeout)
        return None if found is None else accepted(lambda: _autoscaler_reading(found, seen.reading.facts))


def hindered(call: Call, reading: Reading) -> None:
    """Raise `CallInvalid` where an autoscaler owns the number: what is set would not last."""
    owner = reading.facts.get("autoscaler")
    if owner:
        raise CallInvalid(
            f"{call.target} is scaled by an autoscaler ({owner['minimum']} to {owner['maximum']}), which would put any other number back. "
            f"Raise its least number instead: target {owner['target']}."
        )


def _autoscaler_reading(thing: Thing, facts: Mapping[str, Json]) -> Reading:
    spec = thing.get("spec") or {}
    low, high = spec.get("minReplicas", 1), spec.get("maxReplicas")
    bounds = facts.get("bounds")
    if bounds and isinstance(high, int):
        bounds = {**bounds, "maximum": min(bounds["maximum"], high)}
    by, at = changed(thing, "spec", "minReplicas")
    return Reading(
        value=_replicas(low, word=AUTOSCALER.word),
        facts={**facts, "bounds": bounds, "at_most": high},
        revision=digest(thing, low),
        changed_by=by,
        changed_at=at,
    )


def _replicas(found: Json, *, word: str) -> dict[str, int]:
    if isinstance(found, bool) or not isinstance(found, int):
        raise OutcomeUnknown(f"{WHO} describes {word} without a number of replicas.")
    return {"replicas": found}


def _within(call: Call, wanted: int, bounds: Json) -> None:
    if not bounds:
        raise CallInvalid(
            f"No limits are configured for {call.target}, so it is not scaled. Write them under limits of this backend: "
            f'"{call.target}": {{minimum: 1, maximum: 12}}.'
        )
    if not bounds["minimum"] <= wanted <= bounds["maximum"]:
        raise CallInvalid(f"{call.target} takes {bounds['minimum']} to {bounds['maximum']} replicas, not {wanted}.")


def _above_floor(call: Call, wanted: int, floor: Json) -> None:
    if not floor:
        return
    least, budget = floor["available"], floor["budget"]
    if not isinstance(least, int):
        raise CallInvalid(
            f"The disruption budget {budget} names no whole number that must stay available ({least or 'maxUnavailable'}), "
            f"so it is no floor for {call.target}. Use minimum instead."
        )
    if wanted < least:
        raise CallInvalid(f"{call.target} must keep {least} available (disruption budget {budget}); {wanted} would be fewer.")


def _counted(number: int) -> str:
    return f"{number} replica" if number == 1 else f"{number} replicas"


def _manager(key: str) -> str:
    return f"{MANAGER}-{key}"[:LONGEST_MANAGER]


def _by(manager: str | None) -> str | None:
    """A manager as a name; one of Muster's own as `muster/key`."""
    return f"{MANAGER}/{manager.removeprefix(f'{MANAGER}-')}" if manager and manager.startswith(f"{MANAGER}-") else manager
