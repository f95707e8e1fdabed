"""Kubernetes: the number of replicas, and a Deployment back to an earlier release. Targets are `namespace/deployment` and the like.

What the API server itself compares and sets is one object's `resourceVersion`; see actions/kubernetes for what stands on it.
"""

from collections.abc import Mapping

from actions.contract import CallInvalid
from actions.kinds import BackendKind, Options, Secrets
from actions.kubernetes import access, marks, reach, rolling, scaling
from actions.kubernetes.cluster import WHO, Cluster
from actions.kubernetes.ownership import key_of
from actions.kubernetes.rolling import DEPLOYMENTS, Rolling
from actions.kubernetes.scaling import Limits, Scaling
from actions.kubernetes.writing import Seen, compare_and_set
from actions.operations import CLUSTER_SCALE, MODEL_ROLLBACK
from actions.toolkit.understood import understood
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json

OPERATIONS: tuple[Operation, ...] = (CLUSTER_SCALE, MODEL_ROLLBACK)
NEEDED = {CLUSTER_SCALE.name: scaling.NEEDED, MODEL_ROLLBACK.name: rolling.NEEDED}


class Kubernetes:
    """One cluster, bound to one environment. Implements `actions.contract.Backend` and `Probing`."""

    name = "kubernetes"
    world: str | None = None
    operations = OPERATIONS

    def __init__(
        self,
        cluster: Cluster,
        *,
        environment: str,
        namespaces: frozenset[str] = frozenset(),
        bounds: Mapping[str, Limits] | None = None,
        policy: marks.Policy | None = None,
        interrupt: bool = False,
    ) -> None:
        """`namespaces` are the only ones reached (empty: all); `interrupt`: a rollout that is under way may be turned back."""
        self.environment: str | None = environment
        self._cluster, self._namespaces = cluster, namespaces
        self._scaling = Scaling(cluster, bounds=bounds or {}, namespaces=namespaces)
        self._rolling = Rolling(cluster, DEPLOYMENTS, policy=policy or marks.Policy(), interrupt=interrupt, namespaces=namespaces)

    @understood(WHO)
    def read(self, call: Call, *, timeout: float) -> Reading:
        """How many replicas are wanted, or which release."""
        return self._part(call).look(call, timeout).reading

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The number or the release asked for, within what is configured."""
        return self._part(call).propose(call, reading)

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """Write it on the very version that was looked at last, if nobody changed it since `expected`."""
        part = self._part(call)

        def done(seen: Seen) -> bool:
            return part.done(seen, key=key) if isinstance(part, Scaling) else key_of(seen.thing) == key

        return compare_and_set(
            call,
            value,
            expected=expected,
            look=lambda left: part.look(call, left),
            send=lambda seen, left: part.send(call, value, seen, key=key, timeout=left),
            done=done,
            timeout=timeout,
        )

    def probe(self, *, timeout: float) -> str:
        """Whether the credentials may scale, and whether they may roll back."""
        return reach.reach(self._cluster, needed=NEEDED, namespaces=self._namespaces, timeout=timeout)

    def _part(self, call: Call) -> Scaling | Rolling:
        if call.operation == CLUSTER_SCALE.name:
            return self._scaling
        if call.operation == MODEL_ROLLBACK.name:
            return self._rolling
        raise CallInvalid(f"{WHO} has no operation {call.operation} here.")


def build(options: Options, secrets: Secrets) -> Kubernetes:
    """Secrets: `token`, for `server`."""
    return Kubernetes(
        Cluster(access.access(options, secrets)),
        environment=options.text("environment"),
        namespaces=frozenset(options.texts("namespaces", [])),
        bounds=scaling.limits(options),
        policy=marks.policy(options),
        interrupt=options.get("interrupt_rollouts", bool, False),
    )


KIND = BackendKind(
    name="kubernetes",
    operations=OPERATIONS,
    build=build,
    options=access.OPTIONS | marks.OPTIONS | {"environment", "namespaces", "limits", "interrupt_rollouts"},
)
