"""Consul: the retries of a service's routes, in its `service-router` configuration entry, by Consul's own compare-and-set.

The target is the service, or service/2 for its second route where it has several.
https://developer.hashicorp.com/consul/api-docs/config and https://developer.hashicorp.com/consul/docs/reference/config-entry/service-router
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from actions.comparing import afterwards, before, deadline
from actions.contract import CallInvalid, Conflict, OutcomeUnknown, TargetMissing, Unreachable
from actions.kinds import BackendKind, Options, Secrets
from actions.operations import RETRIES_CAP
from actions.toolkit.credentials import signed_in
from actions.toolkit.loopback import checked
from actions.toolkit.understood import understood
from actions.toolkit.wire import Wire, refuse
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json

WHO = "Consul"
KIND_OF_ENTRY = "service-router"
RETRIES_UNSAID = 1  # Consul's default where conditions are named and no number
MOST_META = 512  # characters of one value in an entry's Meta
OWN_FIELDS = ("CreateIndex", "ModifyIndex", "Hash")  # Consul's own, not sent back
RUN, OF = "muster-run", "of"
_CONDITIONS = ("RetryOn", "RetryOnConnectFailure", "RetryOnStatusCodes")
_RETRIES = ("NumRetries", *_CONDITIONS)
_TARGET = re.compile(r"(?P<service>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?)(?:/(?P<route>[1-9][0-9]{0,2}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One route of an entry, by its index."""

    entry: Mapping[str, Any]
    index: int

    @property
    def destination(self) -> Mapping[str, Any]:
        """Where the route leads, and what is repeated on the way."""
        return self.entry["Routes"][self.index].get("Destination") or {}

    @property
    def remembered(self) -> Mapping[str, Any] | None:
        """The retries that Muster took from this route, as it left them in the entry's Meta; None where another route has its place."""
        try:
            found = json.loads((self.entry.get("Meta") or {}).get(self.note) or "null")
        except ValueError:
            return None
        if not isinstance(found, dict) or found.pop(OF, None) != self.identity:
            return None
        return found

    @property
    def identity(self) -> str:
        """Which route it is, whatever is repeated on it: what it matches, and the service that it leads to."""
        return _digest([self.entry["Routes"][self.index].get("Match"), self.destination.get("Service")])

    @property
    def note(self) -> str:
        """The name in Meta under which they are remembered."""
        return f"muster-retries-{self.index + 1}"


class Consul:
    """The service routers of one Consul datacenter. Implements `actions.contract.Backend`."""

    name = "consul"
    world: str | None = None
    operations: tuple[Operation, ...] = (RETRIES_CAP,)

    def __init__(self, *, url: str, secrets: Secrets, scope: Mapping[str, str], environment: str | None = "production") -> None:
        """`scope` are the query's `dc`, `ns` and `partition`; the secret `token` is sent with every request."""
        self.environment, self._scope = environment, dict(scope)
        self._wire = Wire(who=WHO, base=url, headers=signed_in(secrets, header="X-Consul-Token"))

    def read(self, call: Call, *, timeout: float) -> Reading:
        """The attempts of the route as configured, with the entry's ModifyIndex."""
        return _reading(self._place(call, timeout=timeout))

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The number asked for; more than one only where something says what is to be repeated."""
        wanted = call.arguments["attempts"]
        if wanted < 1:
            raise CallInvalid("The first attempt always happens; 1 attempt is the least.")
        if wanted > 1 and not reading.facts["repeatable"]:
            raise CallInvalid(f"{call.target} has no RetryOn, RetryOnConnectFailure or RetryOnStatusCodes, so nothing would be repeated.")
        value = {"attempts": wanted}
        return Proposal(
            value=value,
            before_text=_in_words(reading.value),
            after_text=_in_words(value),
            note="Proxies take it over within seconds; Muster does not see when the last one has.",
        )

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """Write the entry if it still has the ModifyIndex that `expected` was read at; the key stays in its Meta."""
        left = deadline(timeout)
        try:
            place = self._place(call, timeout=left())
        except OutcomeUnknown as error:
            raise Unreachable(f"{error} Nothing was sent.") from error
        present = _reading(place)
        if present.value == value and (present.changed_by == f"muster/{key}" or present.revision == expected.revision):
            return present
        if expected.revision is None or present.revision != expected.revision:
            raise Conflict(f"Someone else changed {call.target} meanwhile.", current=present)
        entry = _changed(place, value["attempts"], key=key)
        answer = self._wire.send("PUT", "/v1/config", params={**self._scope, "cas": expected.revision}, body=entry, timeout=left())
        refuse(answer, who=WHO, what=f"{KIND_OF_ENTRY} {call.target}")
        if answer.body.strip() == b"false":
            current = before(lambda: self.read(call, timeout=left()))
            raise Conflict(f"Someone else changed {call.target} meanwhile.", current=current)
        if answer.body.strip() != b"true":
            raise OutcomeUnknown(f"{WHO} answers neither true nor false to the change.")
        return afterwards(lambda: self.read(call, timeout=left()))

    def probe(self, *, timeout: float) -> str:
        """Whether the token may read service routers, and how many it sees. Changes nothing."""
        answer = self._wire.send("GET", f"/v1/config/{KIND_OF_ENTRY}", params=self._scope, timeout=timeout)
        refuse(answer, who=WHO, what="service routers")
        found = answer.json()
        with understood(WHO):
            names = sorted(str(one.get("Name")) for one in found)
        return f"{WHO} lets this token read {len(names)} service routers: {', '.join(names[:5]) or 'none'}. Writing needs service:write."

    def _place(self, call: Call, *, timeout: float) -> Place:
        match = _TARGET.fullmatch(call.target or "")
        if match is None:
            raise CallInvalid(f"{call.target!r} is no route; write the service, or service/2 for its second route.")
        service = match["service"]
        path = f"/v1/config/{KIND_OF_ENTRY}/{quote(service, safe='')}"
        answer = self._wire.send("GET", path, params={**self._scope, "consistent": ""}, timeout=timeout)
        refuse(answer, who=WHO, what=f"{KIND_OF_ENTRY} {service}")
        found = answer.json()
        if not isinstance(found, Mapping) or "ModifyIndex" not in found:
            raise OutcomeUnknown(f"{WHO} describes {service} without a ModifyIndex.")
        with understood(WHO):
            return Place(entry=found, index=_index(match["route"], found.get("Routes") or [], service=service))


def _index(asked: str | None, routes: list[Any], *, service: str) -> int:
    if not routes or (asked and int(asked) > len(routes)):
        raise TargetMissing(f"{WHO}'s service-router {service} has {len(routes) or 'no'} routes.")
    if asked is None and len(routes) > 1:
        raise CallInvalid(f"{service} has {len(routes)} routes; write {service}/1 to {service}/{len(routes)}.")
    return int(asked or 1) - 1


def _reading(place: Place) -> Reading:
    with understood(WHO):
        return _read(place)


def _read(place: Place) -> Reading:
    repeats = _repeats(place.destination)
    attempts = 1 + (place.destination.get("NumRetries") or RETRIES_UNSAID) if repeats else 1
    key, _, digest = str((place.entry.get("Meta") or {}).get(RUN, "")).rpartition(" ")
    return Reading(
        value={"attempts": attempts},
        facts={"repeatable": repeats or place.remembered is not None},
        revision=str(place.entry["ModifyIndex"]),
        changed_by=f"muster/{key}" if key and digest == _digest(place.entry["Routes"]) else None,
    )


def _repeats(destination: Mapping[str, Any]) -> bool:
    """Whether anything is repeated at all: without a condition a number of retries means nothing to the proxy."""
    return any(destination.get(name) for name in _CONDITIONS)


def _changed(place: Place, attempts: int, *, key: str) -> dict[str, Any]:
    """The entry with this number of attempts.

    One attempt means no conditions, because Consul reads 0 retries with conditions as its default of one. What is taken away is
    remembered in the entry's Meta, with the route that it was taken from, so that the way back restores it there.
    """
    entry: dict[str, Any] = json.loads(json.dumps({name: value for name, value in place.entry.items() if name not in OWN_FIELDS}))
    meta = dict(entry.get("Meta") or {})
    destination = entry["Routes"][place.index].get("Destination") or {}
    if attempts == 1:
        taken = {name: destination.pop(name) for name in _RETRIES if name in destination}
        meta[place.note] = json.dumps({OF: place.identity, **taken}, separators=(",", ":"))
        if len(meta[place.note]) > MOST_META:
            raise CallInvalid(
                "The route's conditions are too long for Consul's Meta, so that an undo could not restore them. Change it by hand."
            )
    else:
        destination = _repeating(destination, place.remembered, attempts)
        meta.pop(place.note, None)
    entry["Routes"][place.index]["Destination"] = destination
    return {**entry, "Meta": {**meta, RUN: f"{key[:400]} {_digest(entry['Routes'])}"}}


def _repeating(destination: Mapping[str, Any], remembered: Mapping[str, Any] | None, attempts: int) -> dict[str, Any]:
    if not _repeats(destination) and remembered is None:
        raise CallInvalid("The route has no conditions for retries, and none are remembered, so nothing would be repeated.")
    found = {**destination, **({} if _repeats(destination) else remembered or {})}
    if 1 + (found.get("NumRetries") or RETRIES_UNSAID) != attempts:
        found["NumRetries"] = attempts - 1
    return found


def _digest(routes: Json) -> str:
    """Says whether the routes still are as Muster wrote them; empty fields, which Consul leaves out or adds, do not count."""
    return hashlib.sha256(json.dumps(_full(routes), sort_keys=True).encode()).hexdigest()[:12]


def _full(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {name: _full(one) for name, one in value.items() if one not in (None, "", 0, False, [], {})}
    return [_full(one) for one in value] if isinstance(value, list) else value


def _in_words(value: Json) -> str:
    return f"{value['attempts']} {'attempt' if value['attempts'] == 1 else 'attempts'}"


def build(options: Options, secrets: Secrets) -> Consul:
    """Options: `url`, `datacenter`, `namespace`, `partition`, `environment`; `trusted` for one elsewhere without the secret `token`."""
    url = options.text("url")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise options.invalid("url", f"is {url!r}; write Consul's address, such as http://127.0.0.1:8500")
    if "token" not in secrets:
        checked(options, "url", parts.hostname)
    names = {"dc": "datacenter", "ns": "namespace", "partition": "partition"}
    scope = {short: options.text(name, None) for short, name in names.items()}
    return Consul(
        url=url,
        secrets=secrets,
        scope={short: value for short, value in scope.items() if value},
        environment=options.text("environment", "production"),
    )


KIND = BackendKind(
    name="consul",
    operations=(RETRIES_CAP,),
    build=build,
    options=frozenset({"url", "datacenter", "namespace", "partition", "environment", "trusted"}),
)
