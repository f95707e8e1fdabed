"""KServe: an InferenceService's predictor back to an earlier release. Targets are `namespace/inferenceservice`.

Two ways, of which the service itself decides:

- With the annotation `muster/releases` (a JSON list of {"version": storage URI, "at", "score", "good", "note"}, newest first), a version
  is a model's storage URI, and going back writes it. This is also the way of services without Knative, whose revisions nobody keeps.
- Without it, a version is a Knative revision: `canaryTrafficPercent: 0` sends everything to the last one that was rolled out fully.
  KServe keeps that one only, so there is one step back. A canary's share is part of the version: `answers-predictor-00004@10`.

Sources: https://kserve.github.io/website/docs/model-serving/predictive-inference/rollout-strategies/canary and
https://kserve.github.io/website/docs/reference/crd-api (ComponentExtensionSpec, ComponentStatusSpec)
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from actions.contract import CallInvalid, OutcomeUnknown
from actions.kinds import BackendKind, Options, Secrets
from actions.kubernetes import access, marks, reach
from actions.kubernetes.cluster import WHO, Cluster, Permission, Thing, dig
from actions.kubernetes.names import Resource, named
from actions.kubernetes.ownership import KEY, changed, key_of
from actions.kubernetes.writing import Seen, accepted, compare_and_set, digest
from actions.operations import MODEL_ROLLBACK
from actions.redaction import redact
from actions.toolkit.understood import understood
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json

FORM = "namespace/inferenceservice"
SERVICES = Resource(group="serving.kserve.io", version="v1beta1", plural="inferenceservices", word="InferenceService")
RELEASES = "muster/releases"
SCHEMES = ("s3://", "gs://", "hf://", "https://", "http://", "pvc://", "oci://", "hdfs://", "webhdfs://")  # what KServe loads models from
OPERATIONS: tuple[Operation, ...] = (MODEL_ROLLBACK,)
NEEDED = {
    MODEL_ROLLBACK.name: tuple(Permission(verb=verb, group="serving.kserve.io", resource="inferenceservices") for verb in ("get", "patch"))
}


class KServe:
    """The inference services of one cluster, bound to one environment. Implements `actions.contract.Backend` and `Probing`."""

    name = "kserve"
    world: str | None = None
    operations = OPERATIONS

    def __init__(
        self, cluster: Cluster, *, environment: str, namespaces: frozenset[str] = frozenset(), policy: marks.Policy | None = None
    ) -> None:
        """`namespaces` are the only ones reached; empty: all."""
        self.environment: str | None = environment
        self._cluster, self._namespaces, self._policy = cluster, namespaces, policy or marks.Policy()

    @understood(WHO)
    def read(self, call: Call, *, timeout: float) -> Reading:
        """The release that the specification asks for, and those to go back to."""
        return self._look(call, timeout).reading

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The release asked for.

        Raises:
            CallInvalid: there is none such, or it could not be put back; a canary is under way that a new storage URI would be hidden
                behind, or a newest revision that is not ready keeps KServe from moving the traffic.
        """
        if reading.facts["by"] == "storage" and reading.facts["canary"] is not None:
            raise CallInvalid(
                f"A canary of {reading.facts['canary']} % of {call.target} is under way; another model would get that share only. "
                "Promote it or take it back first."
            )
        _free(call, reading)
        found = marks.proposal(call, reading)
        for version in (found.value["version"], reading.value["version"]) if reading.facts["by"] == "storage" else ():
            _loadable(call, version)
        return found

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """Write it on the very version that was looked at last, if nobody changed the model or the canary since `expected`."""
        return compare_and_set(
            call,
            value,
            expected=expected,
            look=lambda left: self._look(call, left),
            send=lambda seen, left: self._send(call, value, seen, key=key, timeout=left),
            done=lambda seen: key_of(seen.thing) == key,
            timeout=timeout,
        )

    def probe(self, *, timeout: float) -> str:
        """Whether the credentials may read and change inference services."""
        return reach.reach(self._cluster, needed=NEEDED, namespaces=self._namespaces, timeout=timeout)

    def _look(self, call: Call, timeout: float) -> Seen:
        namespace, name = self._place(call)
        thing = self._cluster.get(SERVICES.path(namespace, name), what=_what(call), timeout=timeout)
        return Seen(thing=thing, reading=self._reading(thing))

    def _send(self, call: Call, value: Json, seen: Seen, *, key: str, timeout: float) -> Reading | None:
        namespace, name = self._place(call)
        predictor = _by_storage(call, value, seen) if seen.reading.facts["by"] == "storage" else _by_traffic(call, value, seen)
        change = {
            "metadata": {"resourceVersion": seen.version, "annotations": {KEY: key}},
            "spec": {"predictor": predictor},
        }
        found = self._cluster.patch(SERVICES.path(namespace, name), change, what=_what(call), timeout=timeout)
        return None if found is None else accepted(lambda: self._reading(found))

    def _reading(self, thing: Thing) -> Reading:
        predictor = dig(thing, "spec", "predictor") or {}
        canary, listed = predictor.get("canaryTrafficPercent"), _listed(thing)
        if listed is None:
            present, found = _traffic(thing), _revisions(thing, self._policy)
        else:
            present = str(dig(predictor, _model(predictor), "storageUri") or "")
            found = marks.facts(listed, present=present, policy=self._policy)
        written = ("canaryTrafficPercent",) if listed is None else (_model(predictor), "storageUri")
        by, at = changed(thing, "spec", "predictor", *written)
        return Reading(
            value={"version": present},
            facts={**found, "canary": canary, "by": "traffic" if listed is None else "storage", "unready": _unready(thing, listed)},
            revision=digest(thing, [present, canary]),
            changed_by=by,
            changed_at=at,
        )

    def _place(self, call: Call) -> list[str]:
        if call.operation != MODEL_ROLLBACK.name:
            raise CallInvalid(f"{WHO} has no operation {call.operation} here.")
        return named(call.target, form=FORM, parts={2}, namespaces=self._namespaces)


def _by_storage(call: Call, value: Json, seen: Seen) -> dict[str, Any]:
    """The predictor with another model. Only what the annotation lists, or what ran before, is ever written."""
    version = str(value["version"])
    _loadable(call, version)
    return {_model(dig(seen.thing, "spec", "predictor") or {}): {"storageUri": version}}


def _by_traffic(call: Call, value: Json, seen: Seen) -> dict[str, Any]:
    """The predictor with the share of the newest revision that a version means; a null takes the share away, and it has all."""
    latest, stable = _latest(seen.thing), _stable(seen.thing)
    name, _, share = str(value["version"]).partition("@")
    if name == latest and (not share or share.isdecimal()):
        return {"canaryTrafficPercent": int(share) if share else None}
    if name == stable and not share:
        _free(call, seen.reading)
        return {"canaryTrafficPercent": 0}
    raise CallInvalid(
        f"{call.target} keeps the revisions {latest} and {stable or 'no other'}; {name} is not among them. Nothing was changed."
    )


def _loadable(call: Call, version: str) -> None:
    if not version.startswith(SCHEMES):
        raise CallInvalid(f"{version!r} is no storage URI that KServe loads {call.target} from; nothing was changed.")


def _free(call: Call, reading: Reading) -> None:
    """Raise `CallInvalid` where KServe would not move the traffic, whatever share is written."""
    unready = reading.facts.get("unready")
    if unready:
        raise CallInvalid(
            f"The newest revision of {call.target}, {unready}, is not ready, and until then KServe does not move the traffic back. "
            "Mend it, or put the specification back that ran before. Nothing was changed."
        )


def _unready(thing: Thing, listed: list[marks.Release] | None) -> str | None:
    """The newest revision while it is not ready and the last ready one has all traffic: KServe then keeps it there.

    https://github.com/kserve/kserve/blob/master/pkg/apis/serving/v1beta1/inference_service_status.go (PropagateStatus)
    """
    status = _status(thing)
    created, ready = status.get("latestCreatedRevision"), status.get("latestReadyRevision")
    held = listed is None and created and created != ready and status.get("latestRolledoutRevision") == ready
    return str(created) if held else None


def _latest(thing: Thing) -> str:
    found = _status(thing).get("latestReadyRevision")
    if not isinstance(found, str) or not found:
        raise CallInvalid(
            f"{dig(thing, 'metadata', 'name')} has no ready revision of Knative, and no annotation {RELEASES} that lists its releases; "
            "there is nothing to roll back to."
        )
    return found


def _stable(thing: Thing) -> str | None:
    """Where KServe sends what the newest revision does not get: the last one that had all, and was not this one."""
    status = _status(thing)
    rolled_out = status.get("latestRolledoutRevision")
    found = status.get("previousRolledoutRevision") if rolled_out == status.get("latestReadyRevision") else rolled_out
    return str(found) if found else None


def _status(thing: Thing) -> Mapping[str, Json]:
    found = dig(thing, "status", "components", "predictor")
    return found if isinstance(found, Mapping) else {}


def _traffic(thing: Thing) -> str:
    """The version that the specification asks for. Without an earlier revision KServe ignores the share."""
    share, latest, stable = dig(thing, "spec", "predictor", "canaryTrafficPercent"), _latest(thing), _stable(thing)
    if share is None or share == 100 or stable is None:
        return latest
    return stable if share == 0 else f"{latest}@{share}"


def _revisions(thing: Thing, policy: marks.Policy) -> dict[str, Json]:
    """The newest revision and the one before; KServe itself vouches for the latter, which had all traffic once."""
    latest, stable, present = _latest(thing), _stable(thing), _traffic(thing)
    names = dict.fromkeys([present if present.startswith(f"{latest}@") else latest, latest, *([stable] if stable else [])])
    every = [marks.Release(version=name, vouched=name == stable, note="rolled out fully" if name == stable else "") for name in names]
    return marks.facts(every, present=present, policy=policy)


def _model(predictor: Mapping[str, Json]) -> str:
    """Which part of the predictor names the model: `model`, or in the older form a framework's name such as `sklearn`."""
    found = next((name for name, entry in predictor.items() if isinstance(entry, Mapping) and "storageUri" in entry), None)
    if found is None:
        raise CallInvalid("Its predictor names no model by a storage URI; there is nothing to roll back.")
    return found


def _listed(thing: Thing) -> list[marks.Release] | None:
    """The releases of the annotation, newest first; None where there is none."""
    found = dig(thing, "metadata", "annotations", RELEASES)
    if found is None:
        return None
    try:
        entries = json.loads(found)
        return [_release(one) for one in entries]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise OutcomeUnknown(f"The annotation {RELEASES} of {dig(thing, 'metadata', 'name')} is not the list that it should be.") from error


def _release(one: Mapping[str, Json]) -> marks.Release:
    annotations = {marks.GOOD: one.get("good"), marks.SCORE: one.get("score")}
    note, at = redact(str(one.get("note") or ""), limit=160), one.get("at")
    released = datetime.fromisoformat(at) if at else None
    if released and released.tzinfo is None:
        raise ValueError("a time without a zone")
    return marks.Release(version=str(one["version"]), at=released.isoformat() if released else None, annotations=annotations, note=note)


def _what(call: Call) -> str:
    return f"{SERVICES.word} {call.target}"


def build(options: Options, secrets: Secrets) -> KServe:
    """Secrets: `token`, for `server`."""
    return KServe(
        Cluster(access.access(options, secrets)),
        environment=options.text("environment"),
        namespaces=frozenset(options.texts("namespaces", [])),
        policy=marks.policy(options),
    )


KIND = BackendKind(
    name="kserve", operations=OPERATIONS, build=build, options=access.OPTIONS | marks.OPTIONS | {"environment", "namespaces"}
)
