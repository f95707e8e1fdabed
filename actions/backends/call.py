"""HTTP calls that `muster.yaml` declares, for systems that have no backend of their own: `http.call` and `http.fire`.

Which method, address and body there are stands in the configuration and nowhere else; a runbook chooses a call by name and gives one
target and one value, which are quoted into their places (rules S1, S29). A call that can be read back and taken back is `http.call`;
every other is `http.fire`, which can neither be planned nor undone, and is R3 for that. After a crash it is found again by its key
where a `lookup` is declared, and only by a person where none is.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from actions.comparing import Comparing, deadline
from actions.contract import CallInvalid, NotPermitted, Rejected
from actions.kinds import BackendKind, Options, Secrets
from actions.redaction import redact
from actions.toolkit.addresses import Guarded, Host, Resolve, host, resolved
from actions.toolkit.credentials import signed_in
from actions.toolkit.jsonpath import at
from actions.toolkit.started import once
from actions.toolkit.wire import Answer, Wire, refuse
from runbooks.operation import Argument, ArgumentType, Call, Operation, Proposal, Reading
from runbooks.severity import Tier
from runbooks.value import Json

MOST_BYTES = 500_000
METHODS = ("POST", "PUT", "PATCH", "DELETE")
FIELDS = frozenset({"method", "url", "body", "read", "becomes", "undo", "choices", "minimum", "maximum", "targets", "lookup"})

_TARGET = Argument(type=ArgumentType.TEXT, help="a declared call and what it is about, such as drain/worker-3")
_VALUE = Argument(type=ArgumentType.ANY, required=False, help="what stands at {value} in the declared call")

CALL = Operation(
    name="http.call",
    title="Make a declared call",
    reads=False,
    tier=Tier.R1,
    target="target",
    arguments={"target": _TARGET, "value": _VALUE},
    sample="drained",
)
FIRE = Operation(
    name="http.fire",
    title="Make a declared call that cannot be undone",
    reads=False,
    tier=Tier.R1,
    target="target",
    arguments={"target": _TARGET, "value": _VALUE},
    sample={"target": "restart/worker-3"},
    reversible=False,
    looks=False,
    plans=False,
)

_ABOUT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,199}")
_PLACE = re.compile(r"\{([a-z]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A method, a path below the base with places for `{target}`, `{value}` and `{key}`, and a JSON body with the same places."""

    method: str
    url: str
    body: Json = None

    @property
    def places(self) -> set[str]:
        """The names in braces."""
        return set(_PLACE.findall(self.url)) | _named(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One call of the configuration. Without `read` it is an `http.fire`, which `lookup` may find again by its key, at `path`."""

    name: str
    make: Request
    read: Request | None = None
    lookup: Request | None = None
    path: str = ""
    becomes: Json = None
    undo: Request | None = None
    choices: tuple[Json, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    targets: tuple[str, ...] = ()

    @property
    def takes_value(self) -> bool:
        """Whether the call sets what it is given; then it takes itself back."""
        return "value" in self.make.places


class Calls(Comparing):
    """The declared calls to one host. Implements `actions.contract.Backend`; the key goes along as `Idempotency-Key`."""

    name = "call"
    world: str | None = None

    def __init__(
        self,
        *,
        base: str,
        at_host: Host,
        calls: Mapping[str, Declared],
        environment: str | None,
        headers: Callable[[], Mapping[str, str]] = dict,
        check: str | None = None,
        resolve: Resolve = resolved,
    ) -> None:
        self._check = check
        self.environment, self._base, self._calls, self._who = environment, base.rstrip("/"), calls, at_host.name
        self._guarded = Guarded(wire=Wire(who=self._who, headers=headers), allow=(at_host,), resolve=resolve)
        looks = {one.read is not None for one in calls.values()}
        self.operations: tuple[Operation, ...] = tuple(found for found, wanted in ((CALL, True), (FIRE, False)) if wanted in looks)

    def read(self, call: Call, *, timeout: float) -> Reading:
        """What the declared `read` finds at its path; nothing is known beforehand about what is only fired."""
        declared, about = self._declared(call)
        if declared.read is None:
            return Reading()
        answer = self._sent(declared.read, about=about, value=None, timeout=timeout)
        refuse(answer, who=self._who, what=call.target or declared.name)
        found = at(answer.json(), declared.path)
        if found is None:
            raise Rejected(f"{self._who} says nothing at {declared.path} about {call.target}.")
        return Reading(value=found)

    def find(self, call: Call, *, key: str, timeout: float) -> Reading | None:
        """As `actions.contract.Finding`: what the declared `lookup` shows of the key. A 404 and an empty value are nothing.

        Raises:
            CallInvalid: none is declared.
        """
        declared, about = self._declared(call)
        if declared.lookup is None:
            raise CallInvalid(f"{declared.name} declares no lookup, so nobody but a person can tell whether it was done.")
        answer = self._sent(declared.lookup, about=about, value=call.arguments.get("value"), key=key, timeout=timeout)
        if answer.status == 404:
            return None
        refuse(answer, who=self._who, what=f"{declared.name} under this key")
        there = at(answer.json(), declared.path)
        return Reading(facts={"tells": f"{call.target}, {declared.path} is {_said(there)}"}) if there else None

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The value asked for, or what the call is declared to lead to, within the declared bounds."""
        declared, _ = self._declared(call)
        value = call.arguments.get("value") if declared.takes_value else declared.becomes
        _within(declared, value, call.target or declared.name)
        make = declared.make
        if declared.takes_value and not _fits(make, reading.value):
            now = _said(reading.value)
            raise CallInvalid(f"{call.target} is {now!r} now, which cannot stand in an address, so no undo could restore it.")
        return Proposal(
            value=value, before_text=_said(reading.value), after_text=_said(value), note=f"{make.method} {make.url} at {self._who}."
        )

    def probe(self, *, timeout: float) -> str:
        """Whether the declared `check` answers with these credentials; without one nothing is tried: nothing is known to be harmless."""
        names = ", ".join(sorted(self._calls))
        if self._check is None:
            return f"{self._who} was not asked: no `check` is declared. Declared calls: {names}."
        refuse(self._sent(Request(method="GET", url=self._check), about="", value=None, timeout=timeout), who=self._who, what=self._check)
        return f"{self._who} lets these credentials in. Declared calls: {names}."

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """Compare and set; what cannot be read back is sent once for each key that can be looked up, and is never sent for an undo."""
        declared, about = self._declared(call)
        if declared.read is not None:
            return super().apply(call, value, expected=expected, key=key, timeout=timeout)
        if value is None:
            raise CallInvalid(f"{declared.name} cannot be undone: no way back is declared. A person does it at {self._who}.")
        left = deadline(timeout)

        def fire() -> None:
            self._change(declared.make, about=about, value=call.arguments.get("value"), key=key, timeout=left(), what=call.target or "")

        def look() -> Reading | None:
            return self.find(call, key=key, timeout=left()) if declared.lookup else None

        return once(look=look, start=fire, what=f"{call.target} was done").model_copy(update={"value": value})

    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:  # noqa: ARG002
        declared, about = self._declared(call)
        make = declared.make if declared.takes_value or value == declared.becomes else declared.undo
        if make is None:
            raise CallInvalid(f"{declared.name} cannot lead to {_said(value)}: no way back is declared. Nothing was sent.")
        self._change(make, about=about, value=value, key=key, timeout=timeout, what=call.target or "")

    def _change(self, make: Request, *, about: str, value: Json, key: str, timeout: float, what: str) -> None:
        answer = self._sent(make, about=about, value=value, key=key, timeout=timeout, headers={"Idempotency-Key": key})
        refuse(answer, who=self._who, what=what)

    def _sent(
        self, make: Request, *, about: str, value: Json, timeout: float, key: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:
        if not _fits(make, value):
            raise CallInvalid(f"{_said(value)!r} cannot stand in an address; write letters, digits and . _ : @ -. Nothing was sent.")
        places = {"target": about, "value": _text(value), "key": key}
        path = _PLACE.sub(lambda found: quote(places[found[1]], safe=""), make.url)
        place = self._guarded.placed(self._base + path)
        body = _filled(make.body, places, value=value)
        accept = {"Accept": "application/json", **(headers or {})}
        return self._guarded.send(make.method, place, timeout=timeout, most=MOST_BYTES, body=body, headers=accept)

    def _declared(self, call: Call) -> tuple[Declared, str]:
        """The declared call that the target names, and what it is about.

        Raises:
            CallInvalid: there is no such call for this operation, or the rest is no name.
            NotPermitted: the configuration lists other targets.
        """
        name, slash, about = (call.target or "").partition("/")
        found = self._calls.get(name)
        if found is None or (found.read is not None) != (call.operation == CALL.name):
            known = sorted(one.name for one in self._calls.values() if (one.read is not None) == (call.operation == CALL.name))
            raise CallInvalid(
                f"{redact(name, limit=80)!r} is no call declared for {call.operation}; there are {', '.join(known) or 'none'}."
            )
        wants = "target" in found.make.places
        if wants != bool(slash) or (wants and not _ABOUT.fullmatch(about)):
            form = f"{name}/NAME, where NAME has letters, digits and . _ : @ -" if wants else name
            raise CallInvalid(f"{redact(call.target or '', limit=80)!r} is no target; write {form}. Nothing was sent.")
        if found.targets and about not in found.targets:
            raise NotPermitted(f"{about} is not among the targets of {name}: {', '.join(found.targets)}. Nothing was sent.")
        return found, about


def _fits(make: Request, value: Json) -> bool:
    """Whether the value can be sent: in an address only one plain name can stand."""
    return "value" not in _PLACE.findall(make.url) or bool(_ABOUT.fullmatch(_text(value)))


def _named(body: Json) -> set[str]:
    if isinstance(body, Mapping):
        return {name for entry in body.values() for name in _named(entry)}
    if isinstance(body, list):
        return {name for entry in body for name in _named(entry)}
    return set(_PLACE.findall(body)) if isinstance(body, str) else set()


def _filled(body: Json, places: Mapping[str, str], *, value: Json) -> Json:
    """The body with its places filled; a text that is only `{value}` becomes the value itself, with its type."""
    if isinstance(body, Mapping):
        return {key: _filled(entry, places, value=value) for key, entry in body.items()}
    if isinstance(body, list):
        return [_filled(entry, places, value=value) for entry in body]
    if body == "{value}":
        return value
    return _PLACE.sub(lambda found: places[found[1]], body) if isinstance(body, str) else body


def _within(declared: Declared, value: Json, target: str) -> None:
    if value is None:
        raise CallInvalid(f"{target} needs a value. Nothing was sent.")
    if declared.choices and not any(value == one and type(value) is type(one) for one in declared.choices):
        raise CallInvalid(f"{target} takes {', '.join(map(_said, declared.choices))}, not {_said(value)}.")
    low, high = declared.minimum, declared.maximum
    if (low is None and high is None) or declared.choices:
        return
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not (low is None or value >= low)
        or not (high is None or value <= high)
    ):
        bounds = f"at least {low:g}" if high is None else f"at most {high:g}" if low is None else f"{low:g} to {high:g}"
        raise CallInvalid(f"{target} takes a number, {bounds}, not {_said(value)}.")


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _said(value: Json) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return redact(str(value), limit=200)


def build(options: Options, secrets: Secrets) -> Calls:
    """`base`, `environment`, `calls`; `inside` for a host of one's own; `header` where the token is no bearer; `check`: a harmless page."""
    base = options.text("base")
    parts = urlsplit(base)
    try:
        at_host = host(f"{parts.scheme}://{parts.netloc}", inside=options.get("inside", bool, False))
    except ValueError as error:
        raise options.invalid("base", str(error)) from error
    if parts.query or parts.fragment:
        raise options.invalid("base", "holds a ? or #, behind which no path can stand; write them in the calls' own url")
    calls = {str(name): _declaration(options, str(name), given) for name, given in options.get("calls", dict).items()}
    if not calls:
        raise options.invalid("calls", "declares nothing; write at least one call")
    check = options.text("check", None)
    if check is not None:
        _request(options, "check", {"method": "GET", "url": check}, methods=("GET",))
    return Calls(
        base=base,
        at_host=at_host,
        calls=calls,
        environment=options.text("environment"),
        headers=signed_in(secrets, header=options.text("header", "Authorization")),
        check=check,
    )


def _declaration(options: Options, name: str, given: Json) -> Declared:
    """One call as configured. Every refusal names its field."""
    place = f"calls.{name}"
    if not isinstance(given, Mapping) or not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,60}", name):
        raise options.invalid(place, "must be a mapping under a name of small letters, digits and hyphens")
    if unknown := sorted(set(given) - FIELDS):
        raise options.invalid(f"{place}.{unknown[0]}", f"is not known here; known are {', '.join(sorted(FIELDS))}")
    for field, kinds in (("choices", list), ("targets", list), ("minimum", int | float), ("maximum", int | float)):
        if given.get(field) is not None and (isinstance(given[field], bool) or not isinstance(given[field], kinds)):
            raise options.invalid(f"{place}.{field}", f"is {given[field]!r}; it must be a {'list' if kinds is list else 'number'}")
    read, path = _asking(options, f"{place}.read", given.get("read"))
    lookup, found_at = _asking(options, f"{place}.lookup", given.get("lookup"), "target", "value", "key")
    declared = Declared(
        name=name,
        make=_request(options, place, given),
        read=read,
        lookup=lookup,
        path=path or found_at,
        becomes=given.get("becomes"),
        undo=None if given.get("undo") is None else _request(options, f"{place}.undo", given["undo"]),
        choices=tuple(given.get("choices") or ()),
        minimum=given.get("minimum"),
        maximum=given.get("maximum"),
        targets=tuple(str(one) for one in given.get("targets") or ()),
    )
    _consistent(options, place, declared)
    return declared


def _asking(options: Options, place: str, given: Json, *places: str) -> tuple[Request | None, str]:
    """A question of the configuration, and the path of its answer; nothing where none is declared."""
    if given is None:
        return None, ""
    if not isinstance(given, Mapping) or set(given) != {"url", "path"} or not isinstance(given["path"], str):
        raise options.invalid(place, "must be {url: …, path: …}")
    try:
        at(None, given["path"])
    except CallInvalid as error:
        raise options.invalid(f"{place}.path", str(error)) from error
    asking = {"method": "GET", "url": given["url"]}
    return _request(options, place, asking, *(places or ("target", "value")), methods=("GET",)), given["path"]


def _request(options: Options, place: str, given: Json, *places: str, methods: tuple[str, ...] = METHODS) -> Request:
    fields: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    method, url = fields.get("method"), fields.get("url")
    if method not in methods:
        raise options.invalid(f"{place}.method", f"is {method!r}; it must be one of {', '.join(methods)}")
    if not isinstance(url, str) or not url.startswith("/") or url.startswith("//") or {".", ".."} & set(urlsplit(url).path.split("/")):
        raise options.invalid(f"{place}.url", f"is {url!r}; it must be a path below base, such as /workers/{{target}}")
    found = Request(method=method, url=url, body=fields.get("body"))
    known = places or ("target", "value", "key")
    if unknown := sorted(found.places - set(known)):
        raise options.invalid(place, f"names {{{unknown[0]}}}; there are {', '.join(f'{{{one}}}' for one in known)}")
    return found


def _consistent(options: Options, place: str, declared: Declared) -> None:
    """A call that is read back must be one that can be taken back; half a declaration would look safer than it is."""
    named = [one.places for one in (declared.read, declared.undo, declared.lookup) if one is not None]
    if declared.read is not None and "value" in declared.read.places:
        raise options.invalid(f"{place}.read", "names {value}, but there is none when it is looked at; only {target} can stand there")
    if any("target" in places and "target" not in declared.make.places for places in named):
        raise options.invalid(place, "names {target} in read, undo or lookup, but not in the call itself")
    if declared.lookup is not None and (declared.read is not None or "key" not in declared.lookup.places):
        raise options.invalid(
            f"{place}.lookup", "must name {key}, and belongs to a call without read: what is read back needs no other look"
        )
    if declared.read is None and (declared.undo is not None or declared.becomes is not None):
        raise options.invalid(f"{place}.read", "is needed where becomes or undo stand: what cannot be looked at is not taken back blindly")
    if declared.read is not None and not declared.takes_value and (declared.undo is None or declared.becomes is None):
        raise options.invalid(place, "with read needs {value} in url or body, or both becomes and undo; without read it is an http.fire")
    if declared.takes_value and (declared.undo is not None or declared.becomes is not None):
        raise options.invalid(place, "sets {value}, so it takes itself back; becomes and undo do not belong here")


KIND = BackendKind(
    name="call", operations=(CALL, FIRE), build=build, options=frozenset({"base", "inside", "header", "check", "environment", "calls"})
)
