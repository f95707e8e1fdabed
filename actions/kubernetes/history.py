"""The releases of a Deployment or of an Argo Rollout: the ReplicaSets that its controller keeps, each with the pod template of its time.

A release is named by its template's hash, which stays the same when it is rolled back to; the revision number moves then. Sources:
https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-back-a-deployment and
https://argo-rollouts.readthedocs.io/en/stable/features/rollback/
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actions.contract import CallInvalid
from actions.kubernetes.cluster import Thing, dig
from actions.kubernetes.marks import Policy, Release, facts
from actions.kubernetes.writing import digest
from actions.redaction import redact
from runbooks.value import Json

CAUSE = "kubernetes.io/change-cause"
MOST_WORDS = 80  # characters of the images' names in a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """Where a controller writes a template's hash and its revision."""

    hash_label: str
    revision: str


DEPLOYMENT = Scheme(hash_label="pod-template-hash", revision="deployment.kubernetes.io/revision")
ROLLOUT = Scheme(hash_label="rollouts-pod-template-hash", revision="rollout.argoproj.io/revision")


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What ran and what runs: ReplicaSets by their template's hash, newest first. `current` is the controller's own word, if it has one."""

    scheme: Scheme
    owner: Thing
    sets: Mapping[str, Thing]
    current: str | None = None

    @property
    def present(self) -> str:
        """The version that is wanted now. One that its controller has not recorded yet is named by our own hash."""
        wanted = pure(dig(self.owner, "spec", "template"), self.scheme)
        found = (name for name, one in self.sets.items() if pure(dig(one, "spec", "template"), self.scheme) == wanted)
        said = self.current if self.current in self.sets else f"unrecorded-{digest(self.owner, wanted).rpartition('/')[2]}"
        return str(next(found, said))

    def template(self, version: str) -> Json:
        """The pod template of a version, as it goes back into the owner.

        Raises:
            CallInvalid: it is no longer kept.
        """
        if version not in self.sets:
            raise CallInvalid(
                f"Release {version} is no longer among the ReplicaSets that are kept; there are {', '.join(self.sets) or 'none'}. "
                "Deploy it again by the usual way."
            )
        return pure(dig(self.sets[version], "spec", "template"), self.scheme)

    def cause(self, version: str) -> str | None:
        """Why that release was rolled out, where somebody wrote it down."""
        found = dig(self.sets.get(version), "metadata", "annotations", CAUSE)
        return found if isinstance(found, str) else None

    def facts(self, policy: Policy, *, stable: str | None = None) -> dict[str, Json]:
        """The releases to choose from, and how to say each in words. `stable` is one that the controller itself vouches for."""
        present = self.present
        found = facts([self._release(name, stable=stable) for name in self.sets], present=present, policy=policy)
        return {**found, "words": {name: self._words(name) for name in (*self.sets, present)}}

    def _release(self, name: str, *, stable: str | None) -> Release:
        one = self.sets[name]
        said = [f"revision {revision_number(one, self.scheme)}", self._images(name)]
        said += [self.cause(name) or "", "stable" if name == stable else ""]
        return Release(
            version=name,
            at=dig(one, "metadata", "creationTimestamp"),
            annotations=dig(one, "metadata", "annotations") or {},
            note=redact(", ".join(part for part in said if part), limit=160),
            vouched=name == stable,
        )

    def _words(self, name: str) -> str:
        images = self._images(name)
        return f"release {name} ({images})" if images else f"release {name}"

    def _images(self, name: str) -> str:
        containers = dig(self.sets.get(name, self.owner), "spec", "template", "spec", "containers") or ()
        return redact(", ".join(_short(str(dig(one, "image"))) for one in containers), limit=MOST_WORDS)


def history(owner: Thing, sets: Sequence[Thing], scheme: Scheme, *, current: str | None = None) -> History:
    """The history of `owner` among the ReplicaSets of its selector: those that it owns itself."""
    uid = dig(owner, "metadata", "uid")
    own = [one for one in sets if any(dig(ref, "uid") == uid for ref in dig(one, "metadata", "ownerReferences") or ())]
    newest = sorted(own, key=lambda one: revision_number(one, scheme), reverse=True)
    named = {str(dig(one, "metadata", "labels", scheme.hash_label)): one for one in newest}
    return History(scheme=scheme, owner=owner, sets=named, current=current)


def revision_number(one: Thing, scheme: Scheme) -> int:
    """The revision that the controller numbered a ReplicaSet with; 0 where it has not."""
    found = str(dig(one, "metadata", "annotations", scheme.revision) or "")
    return int(found) if found.isdecimal() else 0


def selector(owner: Thing) -> str:
    """The owner's label selector as a query.

    Raises:
        CallInvalid: it selects nothing.
    """
    terms = [f"{key}={value}" for key, value in (dig(owner, "spec", "selector", "matchLabels") or {}).items()]
    terms += [_expression(one) for one in dig(owner, "spec", "selector", "matchExpressions") or ()]
    if not terms:
        raise CallInvalid("It selects no pods by labels, so its releases cannot be found.")
    return ",".join(terms)


def revision(owner: Thing, scheme: Scheme) -> str:
    """Moves with the pod template alone: an autoscaler changes the number of replicas of the same object at any time."""
    return digest(owner, pure(dig(owner, "spec", "template"), scheme))


def pure(found: Json, scheme: Scheme) -> dict[str, Any]:
    """A template without what its controller adds to it."""
    if not isinstance(found, Mapping):
        return {}
    labels = {key: value for key, value in (dig(found, "metadata", "labels") or {}).items() if key != scheme.hash_label}
    metadata = {key: value for key, value in (found.get("metadata") or {}).items() if value is not None}
    return {**found, "metadata": {**metadata, "labels": labels}}


def _expression(one: Thing) -> str:
    key, operator, values = one.get("key"), one.get("operator"), ",".join(one.get("values") or ())
    words = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": f"{key}", "DoesNotExist": f"!{key}"}
    return words.get(str(operator), f"{key}")


def _short(image: str) -> str:
    """An image without its registry, and a digest in its first characters."""
    name, _, tail = image.rpartition("/")[2].partition("@sha256:")
    return f"{name}@{tail[:12]}" if tail else name
