"""Targets as runbooks name them, and the paths that they become: every part is checked by Kubernetes' own rule for names.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from actions.contract import CallInvalid

_PART = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAMESPACE = re.compile(_PART)
_NAME = re.compile(rf"{_PART}(\.{_PART})*")
LONGEST_NAMESPACE, LONGEST_NAME = 63, 253


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind of object: where its API lies, and how people call it."""

    group: str
    version: str
    plural: str
    word: str

    def path(self, namespace: str, name: str = "") -> str:
        """The object's path, or that of all of its kind in the namespace; both parts are checked names."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


def named(target: str | None, *, form: str, parts: Collection[int], namespaces: Collection[str]) -> list[str]:
    """The parts of a target; `form` is how it should be written, `namespaces` the only ones allowed (empty: all).

    The first is the namespace. What is no name of Kubernetes never gets into an address.

    Raises:
        CallInvalid: it is not of that form, or it lies elsewhere.
    """
    found = (target or "").split("/")
    if len(found) not in parts or not _is_namespace(found[0]) or not all(_is_name(part) for part in found[1:]):
        raise CallInvalid(f"{target!r} is no target here; write {form}.")
    if namespaces and found[0] not in namespaces:
        raise CallInvalid(f"{target} lies outside the namespaces that are configured here: {', '.join(sorted(namespaces))}.")
    return found


def _is_namespace(part: str) -> bool:
    return len(part) <= LONGEST_NAMESPACE and _NAMESPACE.fullmatch(part) is not None


def _is_name(part: str) -> bool:
    return len(part) <= LONGEST_NAME and _NAME.fullmatch(part) is not None
