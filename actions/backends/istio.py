"""Istio: retries of a route, and which destination it goes to, in a VirtualService.

Targets are `namespace/virtualservice`, or `namespace/virtualservice/route` where it has several HTTP routes.

Istio's `attempts` are the retries after the first attempt; ours are all attempts, the first one included: ours is one more. A route that
says nothing of retries has the mesh's default, two. Sources: https://istio.io/latest/docs/reference/config/networking/virtual-service/
(HTTPRetry, HTTPRouteDestination) and https://istio.io/latest/docs/concepts/traffic-management/#retries
"""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from actions.contract import CallInvalid, TargetMissing
from actions.kinds import BackendKind, Options, Secrets
from actions.kubernetes import access, reach
from actions.kubernetes.cluster import WHO, Cluster, Permission, Thing, dig
from actions.kubernetes.names import Resource, named
from actions.kubernetes.ownership import KEY, changed, key_of
from actions.kubernetes.writing import Seen, accepted, compare_and_set, digest
from actions.operations import RETRIES_CAP, ROUTE_SWITCH
from actions.toolkit.understood import understood
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json

FORM = "namespace/virtualservice, or namespace/virtualservice/route where it has several"
VIRTUAL_SERVICES = Resource(group="networking.istio.io", version="v1beta1", plural="virtualservices", word="VirtualService")
UNSAID = "muster/routes-without-retries"
"""The annotation that remembers which routes said nothing of retries before Muster did, so that taking it back leaves nothing behind."""
DEFAULT_RETRIES = 2  # of the mesh, unless meshConfig.defaultHttpRetryPolicy says otherwise
LONGEST_ROUTE = 253
OPERATIONS: tuple[Operation, ...] = (RETRIES_CAP, ROUTE_SWITCH)
_BOTH = tuple(Permission(verb=verb, group="networking.istio.io", resource="virtualservices") for verb in ("get", "patch"))
NEEDED = {operation.name: _BOTH for operation in OPERATIONS}


class Istio:
    """The virtual services of one cluster, bound to one environment. Implements `actions.contract.Backend` and `Probing`."""

    name = "istio"
    world: str | None = None
    operations = OPERATIONS

    def __init__(
        self,
        cluster: Cluster,
        *,
        environment: str,
        namespaces: frozenset[str] = frozenset(),
        default_retries: int = DEFAULT_RETRIES,
    ) -> None:
        """`namespaces` are the only ones reached (empty: all); `default_retries` is what the mesh does where a route says nothing."""
        self.environment: str | None = environment
        self._cluster, self._namespaces, self._default = cluster, namespaces, default_retries

    @understood(WHO)
    def read(self, call: Call, *, timeout: float) -> Reading:
        """All attempts of the route, or its destinations."""
        return self._look(call, timeout).reading

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The attempts or the destination asked for.

        Raises:
            CallInvalid: fewer than one attempt, or a destination that the route does not name.
        """
        if call.operation == RETRIES_CAP.name:
            return _capped(call, reading)
        return _switched(call, reading)

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """Write it on the very version that was looked at last, if nobody changed this part of the route since `expected`."""
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
        """Whether the credentials may read and change virtual services."""
        return reach.reach(self._cluster, needed=NEEDED, namespaces=self._namespaces, timeout=timeout)

    def _look(self, call: Call, timeout: float) -> Seen:
        namespace, name, _ = self._place(call)
        thing = self._cluster.get(VIRTUAL_SERVICES.path(namespace, name), what=_what(call), timeout=timeout)
        return Seen(thing=thing, reading=self._reading(call, thing))

    def _send(self, call: Call, value: Json, seen: Seen, *, key: str, timeout: float) -> Reading | None:
        namespace, name, route = self._place(call)
        routes = copy.deepcopy(dig(seen.thing, "spec", "http"))
        at, unsaid = _index(call, seen.thing, route), _unsaid(seen.thing)
        if call.operation == RETRIES_CAP.name:
            unsaid = _cap(routes[at], value["attempts"] - 1, unsaid=unsaid, mark=_mark(routes[at], at), default=self._default)
        else:
            _weigh(routes[at], _weights(call, value["route"], routes[at]))
        annotations = {KEY: key, UNSAID: json.dumps(unsaid) if unsaid else None}  # a null takes an annotation out
        change = {"metadata": {"resourceVersion": seen.version, "annotations": annotations}, "spec": {"http": routes}}
        found = self._cluster.patch(VIRTUAL_SERVICES.path(namespace, name), change, what=_what(call), timeout=timeout)
        return None if found is None else accepted(lambda: self._reading(call, found))

    def _reading(self, call: Call, thing: Thing) -> Reading:
        _, _, named_route = self._place(call)
        route = dig(thing, "spec", "http")[_index(call, thing, named_route)]
        by, at = changed(thing, "spec", "http")
        if call.operation == RETRIES_CAP.name:
            retries = route.get("retries")
            attempts = 1 + (self._default if retries is None else int(retries.get("attempts") or 0))
            found = Reading(value={"attempts": attempts}, facts={"said": retries is not None}, revision=digest(thing, retries))
        else:
            shares = _shares(route)
            found = Reading(value={"route": _text(shares)}, facts={"choices": list(shares)}, revision=digest(thing, route.get("route")))
        return found.model_copy(update={"changed_by": by, "changed_at": at})

    def _place(self, call: Call) -> tuple[str, str, str | None]:
        """Namespace, name, and the route's name; that one is compared only, and never gets into an address."""
        if call.operation not in {one.name for one in OPERATIONS}:
            raise CallInvalid(f"{WHO} has no operation {call.operation} here.")
        first, _, rest = (call.target or "").partition("/")
        second, slash, route = rest.partition("/")
        namespace, name = named(f"{first}/{second}", form=FORM, parts={2}, namespaces=self._namespaces)
        if slash and not (route.isprintable() and 0 < len(route) <= LONGEST_ROUTE):
            raise CallInvalid(f"{call.target!r} is no target here; write {FORM}.")
        return namespace, name, route if slash else None


def _capped(call: Call, reading: Reading) -> Proposal:
    wanted, present = call.arguments["attempts"], reading.value["attempts"]
    if wanted < 1:
        raise CallInvalid(f"{call.target} makes at least one attempt; 1 means no retries.")
    note = "" if reading.facts["said"] else "The route says nothing of retries; this is the mesh's default."
    return Proposal(value={"attempts": wanted}, before_text=_counted(present), after_text=_counted(wanted), note=note)


def _switched(call: Call, reading: Reading) -> Proposal:
    wanted, choices = str(call.arguments["route"]), reading.facts["choices"]
    if wanted not in choices:
        raise CallInvalid(f"{call.target} has no destination {wanted}; there are {', '.join(choices)}.")
    return Proposal(value={"route": wanted}, before_text=f"route {reading.value['route']}", after_text=f"route {wanted}")


def _index(call: Call, thing: Thing, name: str | None) -> int:
    """Where the route stands in the list.

    Raises:
        TargetMissing: there is none of that name.
        CallInvalid: none is named, and there are several.
    """
    routes = dig(thing, "spec", "http") or ()
    names = [str(one.get("name") or f"#{place}") for place, one in enumerate(routes)]
    if name is None and len(routes) == 1:
        return 0
    if name is None and routes:
        raise CallInvalid(f"{call.target} has several routes; name one of them: {', '.join(f'{call.target}/{one}' for one in names)}.")
    if names.count(name or "") != 1:
        raise TargetMissing(f"{WHO} has no {_what(call)}: its HTTP routes are {', '.join(names) or 'none'}.")
    return names.index(name or "")


def _mark(route: Mapping[str, Any], place: int) -> str:
    return str(route.get("name") or f"#{place}")


def _cap(route: dict[str, Any], retries: int, *, unsaid: list[str], mark: str, default: int) -> list[str]:
    """Set the retries, and answer which routes said nothing of them before. Back at the default, such a route says nothing again."""
    if mark in unsaid and retries == default:
        route.pop("retries", None)
        return [one for one in unsaid if one != mark]
    before = route.get("retries")
    route["retries"] = {**(before or {}), "attempts": retries}
    return [*unsaid, mark] if before is None and mark not in unsaid else unsaid


def _unsaid(thing: Thing) -> list[str]:
    try:
        return [str(one) for one in json.loads(dig(thing, "metadata", "annotations", UNSAID) or "[]")]
    except (ValueError, TypeError):  # somebody edited it: then nothing is known, and the retries stay written out
        return []


def _names(destinations: Sequence[Thing]) -> list[str]:
    """Each destination in a word: its subset, else its host; where two would be called the same, with host, subset and port.

    Raises:
        CallInvalid: two cannot be told apart even so.
    """
    hosts, subsets = ([dig(one, "destination", part) for one in destinations] for part in ("host", "subset"))
    short = [str(subset or host or "") for host, subset in zip(hosts, subsets, strict=True)]
    if len(set(short)) == len(short):
        return short
    ports = [dig(one, "destination", "port", "number") for one in destinations]
    full = ["/".join(str(part) for part in parts if part) for parts in zip(hosts, subsets, ports, strict=True)]
    if len(set(full)) < len(full):
        raise CallInvalid(f"The route names a destination twice ({', '.join(full)}); which of them is meant cannot be told.")
    return full


def _shares(route: Mapping[str, Any]) -> dict[str, int]:
    """Per cent by destination. A single one without a weight has all."""
    destinations: list[Thing] = list(route.get("route") or ())
    names = _names(destinations)
    if len(names) == 1:
        return {names[0]: 100}
    return {name: int(one.get("weight") or 0) for name, one in zip(names, destinations, strict=True)}


def _text(shares: Mapping[str, int]) -> str:
    """One destination by its name, a split as `stable=90,canary=10`."""
    used = {name: share for name, share in shares.items() if share}
    return next(iter(used)) if len(used) == 1 else ",".join(f"{name}={share}" for name, share in used.items())


def _weights(call: Call, text: str, route: Mapping[str, Any]) -> dict[str, int]:
    """The shares that a text means, for the destinations that the route has now.

    Raises:
        CallInvalid: it names one that the route no longer has.
    """
    shares = _shares(route)
    parts = [one.rpartition("=") for one in text.split(",")]
    wanted = {text: 100} if text in shares else {name: int(share) for name, _, share in parts if share.isdecimal()}
    if not wanted or not set(wanted) <= set(shares):
        raise CallInvalid(f"{call.target} has no destination {text}; there are {', '.join(shares)}. Nothing was changed.")
    return {name: wanted.get(name, 0) for name in shares}


def _weigh(route: dict[str, Any], shares: Mapping[str, int]) -> None:
    destinations = route["route"]
    for name, one in zip(_names(destinations), destinations, strict=True):
        if len(destinations) > 1:
            one["weight"] = shares[name]


def _counted(number: int) -> str:
    return f"{number} attempt" if number == 1 else f"{number} attempts"


def _what(call: Call) -> str:
    return f"{VIRTUAL_SERVICES.word} {call.target}"


def build(options: Options, secrets: Secrets) -> Istio:
    """Secrets: `token`, for `server`."""
    default = options.get("default_retries", int, DEFAULT_RETRIES)
    if default < 0:
        raise options.invalid("default_retries", "must not be negative")
    return Istio(
        Cluster(access.access(options, secrets)),
        environment=options.text("environment"),
        namespaces=frozenset(options.texts("namespaces", [])),
        default_retries=default,
    )


KIND = BackendKind(
    name="istio", operations=OPERATIONS, build=build, options=access.OPTIONS | {"environment", "namespaces", "default_retries"}
)
