"""Argo Rollouts: back to an earlier release, and stop or hold the one that is being rolled out. Targets are `namespace/rollout`.

`model.rollback` puts an earlier pod template back; to the stable one Argo returns at once, without its steps. `rollout.abort` leaves the
specification as it is and sends everything to the stable release; its way back is a retry. `rollout.pause` holds it where it is.
Sources: https://argo-rollouts.readthedocs.io/en/stable/features/specification/ (spec.paused, status.abort),
https://argo-rollouts.readthedocs.io/en/stable/features/rollback/ and
https://argo-rollouts.readthedocs.io/en/stable/generated/kubectl-argo-rollouts/kubectl-argo-rollouts_abort/
"""

from actions.contract import CallInvalid
from actions.kinds import BackendKind, Options, Secrets
from actions.kubernetes import access, marks, reach
from actions.kubernetes.cluster import WHO, Cluster, Permission, Thing, dig
from actions.kubernetes.history import ROLLOUT
from actions.kubernetes.names import Resource, named
from actions.kubernetes.ownership import KEY, changed, key_of
from actions.kubernetes.rolling import Rolling, Sort
from actions.kubernetes.writing import Seen, accepted, compare_and_set, digest
from actions.operations import MODEL_ROLLBACK
from actions.toolkit.understood import understood
from runbooks.operation import Argument, ArgumentType, Call, Operation, Proposal, Reading
from runbooks.severity import Tier
from runbooks.value import Json

FORM = "namespace/rollout"
ROLLOUTS = Resource(group="argoproj.io", version="v1alpha1", plural="rollouts", word="Rollout")


def _switch(name: str, title: str, sample: dict[str, bool]) -> Operation:
    arguments = {"target": Argument(type=ArgumentType.TEXT, help="the rollout, such as inference/answers")}
    return Operation(name=name, title=title, reads=False, tier=Tier.R1, target="target", arguments=arguments, sample=sample)


ABORT = _switch("rollout.abort", "Stop a rollout and go back to the stable release", {"aborted": True})
PAUSE = _switch("rollout.pause", "Hold a rollout where it is", {"paused": True})
OPERATIONS: tuple[Operation, ...] = (MODEL_ROLLBACK, ABORT, PAUSE)
_GET, _PATCH = (Permission(verb=verb, group="argoproj.io", resource="rollouts") for verb in ("get", "patch"))
NEEDED = {
    MODEL_ROLLBACK.name: (_GET, _PATCH, Permission(verb="list", group="apps", resource="replicasets")),
    ABORT.name: (_GET, Permission(verb="patch", group="argoproj.io", resource="rollouts", subresource="status")),
    PAUSE.name: (_GET, _PATCH),
}


def _held(thing: Thing) -> str:
    if dig(thing, "spec", "workloadRef"):
        return "takes its template from another workload; roll that one back"
    paused = dig(thing, "spec", "paused")
    return "is paused, so an earlier release would not be rolled out. Resume it first" if paused else ""


def _stable(thing: Thing) -> str | None:
    found = dig(thing, "status", "stableRS")
    return found if isinstance(found, str) and found else None


def _current(thing: Thing) -> str | None:
    """The hash of the wanted release, as Argo computed it for this very specification; it writes the generation as text."""
    observed = str(dig(thing, "status", "observedGeneration")) == str(dig(thing, "metadata", "generation"))
    found = dig(thing, "status", "currentPodHash")
    return found if observed and isinstance(found, str) else None


SORT = Sort(
    resource=ROLLOUTS,
    scheme=ROLLOUT,
    form=FORM,
    held=_held,
    busy=lambda _thing: "",  # a rollout under way is what is taken back here: Argo returns to the stable release at once
    stable=_stable,
    current=_current,
)


class Switching:
    """`rollout.abort` and `rollout.pause`: one switch each, of the status or of the specification."""

    def __init__(self, cluster: Cluster, *, namespaces: frozenset[str]) -> None:
        self._cluster, self._namespaces = cluster, namespaces

    def look(self, call: Call, timeout: float) -> Seen:
        """Whether it is aborted or paused, and what is being rolled out."""
        namespace, name = named(call.target, form=FORM, parts={2}, namespaces=self._namespaces)
        thing = self._cluster.get(ROLLOUTS.path(namespace, name), what=_what(call), timeout=timeout)
        return Seen(thing=thing, reading=_reading(call, thing))

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The switch thrown.

        Raises:
            CallInvalid: nothing is being rolled out.
        """
        stable, current = reading.facts.get("stable"), reading.facts.get("current")
        if call.operation == ABORT.name and not reading.value["aborted"]:
            _under_way(call, reading)
        wanted = dict.fromkeys(reading.value, True)
        words = {"aborted": ("going on", "aborted"), "paused": ("running", "paused")}[next(iter(wanted))]
        return Proposal(
            value=wanted,
            before_text=words[all(reading.value.values())],
            after_text=words[1],
            note=f"Release {current} is being rolled out, {stable} is stable." if stable and stable != current else "",
        )

    def send(self, call: Call, value: Json, seen: Seen, *, key: str, timeout: float) -> Reading | None:
        """Throw the switch on the version seen; None where that is no longer the present one.

        Raises:
            CallInvalid: what was to be stopped has ended by now.
        """
        if value.get("aborted"):
            _under_way(call, seen.reading)
        namespace, name = named(call.target, form=FORM, parts={2}, namespaces=self._namespaces)
        path, on = ROLLOUTS.path(namespace, name), {"resourceVersion": seen.version}
        if call.operation == ABORT.name:
            path, change = f"{path}/status", {"metadata": on, "status": {"abort": value["aborted"]}}
        else:
            change = {"metadata": {**on, "annotations": {KEY: key}}, "spec": {"paused": value["paused"]}}
        found = self._cluster.patch(path, change, what=_what(call), timeout=timeout)
        return None if found is None else accepted(lambda: _reading(call, found))


class Rollouts:
    """The rollouts of one cluster, bound to one environment. Implements `actions.contract.Backend` and `Probing`."""

    name = "rollouts"
    world: str | None = None
    operations = OPERATIONS

    def __init__(
        self, cluster: Cluster, *, environment: str, namespaces: frozenset[str] = frozenset(), policy: marks.Policy | None = None
    ) -> None:
        """`namespaces` are the only ones reached; empty: all."""
        self.environment: str | None = environment
        self._cluster, self._namespaces = cluster, namespaces
        self._rolling = Rolling(cluster, SORT, policy=policy or marks.Policy(), interrupt=True, namespaces=namespaces)
        self._switching = Switching(cluster, namespaces=namespaces)

    @understood(WHO)
    def read(self, call: Call, *, timeout: float) -> Reading:
        """Which release is wanted, or how the switch stands."""
        return self._part(call).look(call, timeout).reading

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The release asked for, or the switch thrown."""
        return self._part(call).propose(call, reading)

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """Write it on the very version that was looked at last, if nobody changed it since `expected`.

        The status has no room for a key: an abort that is there already counts as done.
        """
        part = self._part(call)
        return compare_and_set(
            call,
            value,
            expected=expected,
            look=lambda left: part.look(call, left),
            send=lambda seen, left: part.send(call, value, seen, key=key, timeout=left),
            done=lambda seen: call.operation == ABORT.name or key_of(seen.thing) == key,
            timeout=timeout,
        )

    def probe(self, *, timeout: float) -> str:
        """Whether the credentials may do what the operations need."""
        return reach.reach(self._cluster, needed=NEEDED, namespaces=self._namespaces, timeout=timeout)

    def _part(self, call: Call) -> Rolling | Switching:
        if call.operation == MODEL_ROLLBACK.name:
            return self._rolling
        if call.operation in {ABORT.name, PAUSE.name}:
            return self._switching
        raise CallInvalid(f"{WHO} has no operation {call.operation} here.")


def _under_way(call: Call, reading: Reading) -> None:
    stable, current = reading.facts.get("stable"), reading.facts.get("current")
    if not stable or stable == current:
        raise CallInvalid(f"Nothing is being rolled out of {call.target}; there is nothing to stop.")


def _reading(call: Call, thing: Thing) -> Reading:
    """The switch. A change of release between plan and click is one of the switch, too: another rollout would be stopped.

    Where the template stands in another workload, it is the release that Argo sees there.
    """
    current, stable = dig(thing, "status", "currentPodHash"), _stable(thing)
    if call.operation == ABORT.name:
        value, (by, at) = {"aborted": bool(dig(thing, "status", "abort"))}, changed(thing, "status", "abort")
    else:
        value, (by, at) = {"paused": bool(dig(thing, "spec", "paused"))}, changed(thing, "spec", "paused")
    return Reading(
        value=value,
        facts={"current": current, "stable": stable, "phase": dig(thing, "status", "phase")},
        revision=digest(thing, [value, dig(thing, "spec", "template") or [dig(thing, "spec", "workloadRef"), current]]),
        changed_by=by,
        changed_at=at,
    )


def _what(call: Call) -> str:
    return f"{ROLLOUTS.word} {call.target}"


def build(options: Options, secrets: Secrets) -> Rollouts:
    """Secrets: `token`, for `server`."""
    return Rollouts(
        Cluster(access.access(options, secrets)),
        environment=options.text("environment"),
        namespaces=frozenset(options.texts("namespaces", [])),
        policy=marks.policy(options),
    )


KIND = BackendKind(
    name="rollouts", operations=OPERATIONS, build=build, options=access.OPTIONS | marks.OPTIONS | {"environment", "namespaces"}
)
