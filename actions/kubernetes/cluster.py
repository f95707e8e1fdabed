"""Requests to one cluster's API, each judged for what is certain afterwards.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ and
https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actions.comparing import deadline
from actions.contract import NotPermitted, OutcomeUnknown, Rejected, TargetMissing, Throttled, Unreachable
from actions.kubernetes.access import Access
from actions.redaction import redact
from actions.toolkit.wire import MOST_REASON, Answer, Wire, retry_after
from runbooks.value import Json

WHO = "Kubernetes"
PAGE = "100"  # objects of a list at once: with what is recorded of their owners, more would not fit into one answer
MANAGER = "muster"
"""The field manager that changes are made as; `kubectl get --show-managed-fields` shows it."""
_DENIED = re.compile(r"admission webhook .{1,260} denied the request|ValidatingAdmissionPolicy .{1,260} denied request")
"""How the API server words the refusal of a policy, before anything is stored; a webhook may choose any status from 400 on."""

Thing = Mapping[str, Json]
"""An object of the API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One thing that credentials may or may not do."""

    verb: str
    group: str
    resource: str
    subresource: str = ""

    @property
    def words(self) -> str:
        """Such as `patch deployments/scale`."""
        return f"{self.verb} {self.resource}{f'/{self.subresource}' if self.subresource else ''}"


class Cluster:
    """One cluster. Keeps nothing between requests, neither connections nor credentials."""

    def __init__(self, enter: Access) -> None:
        self._enter = enter

    def get(self, path: str, *, what: str, timeout: float) -> Thing:
        """One object; `what` is the object in words.

        Raises:
            BackendError: as `judged`.
        """
        return _thing(self._send("GET", path, what=what, timeout=timeout), what=what)

    def items(self, path: str, *, what: str, timeout: float, selector: str = "") -> list[Thing]:
        """All objects of a list, of those that `selector` picks by their labels.

        Raises:
            BackendError: as `judged`.
        """
        left, params = deadline(timeout), {"limit": PAGE, **({"labelSelector": selector} if selector else {})}
        every: list[Thing] = []
        while True:
            try:
                found = _thing(self._send("GET", path, what=what, timeout=left(), params=params), what=what)
            except TargetMissing as error:
                if "continue" not in params:
                    raise
                raise Unreachable(f"{WHO} no longer knows the place in its list of {what} where we were. Try again.") from error
            listed = found.get("items")
            every += [one for one in (listed if isinstance(listed, list) else ()) if isinstance(one, Mapping)]
            more = dig(found, "metadata", "continue")
            if not more:
                return every
            params = {**params, "continue": str(more)}

    def patch(self, path: str, change: Thing | Sequence[Thing], *, what: str, timeout: float, manager: str = MANAGER) -> Thing | None:
        """Change one object and answer how it is then; None where its resourceVersion is no longer the one that `change` names.

        A mapping is a merge patch (RFC 7386), a sequence a JSON patch (RFC 6902); either is refused as a whole on a stale version.

        Raises:
            BackendError: as `judged`; everything that may have happened is `OutcomeUnknown`.
        """
        kind = "application/merge-patch+json" if isinstance(change, Mapping) else "application/json-patch+json"
        params = {"fieldManager": manager}
        answer = self._send("PATCH", path, what=what, timeout=timeout, params=params, body=change, headers={"Content-Type": kind})
        return None if answer.status == 409 else _thing(answer, what=what)

    def may(self, permission: Permission, *, namespace: str, timeout: float) -> bool:
        """Whether the credentials may do this, in one namespace or ("") in all. Asks, and changes nothing.

        Raises:
            BackendError: as `judged`.
        """
        asked = {
            "verb": permission.verb,
            "group": permission.group,
            "resource": permission.resource,
            "subresource": permission.subresource,
            "namespace": namespace,
        }
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked}}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        found = _thing(self._send("POST", path, what="access review", timeout=timeout, body=body), what="access review")
        return bool(dig(found, "status", "allowed"))

    def _send(
        self,
        method: str,
        path: str,
        *,
        what: str,
        timeout: float,
        params: Mapping[str, str] | None = None,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        door = self._enter()
        wire = Wire(who=WHO, base=door.server, headers=lambda: door.headers, verify=door.verify)
        try:
            answer = wire.send(method, path, timeout=timeout, params=params, body=body, headers=headers)
        except Unreachable as error:
            raise _untrusted(error, server=door.server) from error
        except Rejected as error:  # the answer was too large, and the change was made all the same
            raise (OutcomeUnknown(str(error)) if method == "PATCH" else error) from error
        if not (method == "PATCH" and answer.status == 409 and not _DENIED.search(_said(answer))):
            judged(answer, what=what)
        return answer


def judged(answer: Answer, *, what: str) -> None:
    """Raise the contract's error for any status but 2xx, with the API server's own sentence: it names user, verb and object.

    Raises:
        NotPermitted: 401, 403.
        TargetMissing: 404.
        Throttled: 429.
        OutcomeUnknown: 408 and 5xx: it may have happened.
        Rejected: everything else, and what a policy denies.
    """
    status, said = answer.status, _said(answer)
    because = f": {said}" if said else ""
    if 200 <= status < 300:
        return
    if status == 401:
        raise NotPermitted(f"{WHO} does not accept the credentials (401): they are wrong or have expired. Renew them.")
    if status >= 400 and _DENIED.search(said):
        raise Rejected(f"A policy of the cluster refuses{because}.")
    if status == 403:
        raise NotPermitted(f"{WHO} does not let these credentials do this (403){because}.")
    if status == 404 and not said:
        raise TargetMissing(
            f"{WHO} does not know this kind of object here, so there is no {what}: its resource definition is not installed."
        )
    if status in {404, 410}:
        raise TargetMissing(f"{WHO} has no {what}{because}.")
    if status == 429:
        raise Throttled(f"{WHO} asks to wait.", retry_after=retry_after(answer.headers))
    if status == 408 or status >= 500:
        raise OutcomeUnknown(f"{WHO} answers {status}{because}.")
    raise Rejected(f"{WHO} refuses ({status}){because}.")


def dig(found: Json, *path: str) -> Json:
    """What lies at a path of keys; None where it leads nowhere."""
    for key in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found


def _said(answer: Answer) -> str:
    """The sentence of a `Status`, redacted; empty for anything else, such as "404 page not found"."""
    try:
        found = answer.json()
    except Rejected:
        return ""
    message = found.get("message") if isinstance(found, Mapping) else None
    return redact(message, limit=MOST_REASON).rstrip(".") if isinstance(message, str) else ""


def _thing(answer: Answer, *, what: str) -> Thing:
    """The object of a 2xx. One that cannot be read leaves it open what happened."""
    try:
        found = answer.json()
    except Rejected as error:
        raise OutcomeUnknown(f"{WHO} answers for {what} with something that is not JSON.") from error
    if not isinstance(found, Mapping):
        raise OutcomeUnknown(f"{WHO} answers for {what} with something that is no object.")
    return found


def _untrusted(error: Unreachable, *, server: str) -> Unreachable:
    """A certificate that is not trusted looks like no connection; a person must be told which it is."""
    reason: BaseException | None = error
    while reason is not None:
        if isinstance(reason, ssl.SSLCertVerificationError):
            return Unreachable(
                f"The certificate of {server} is not trusted ({reason.verify_message}); nothing was sent. Check its authority."
            )
        reason = reason.__cause__ or reason.__context__
    return error
