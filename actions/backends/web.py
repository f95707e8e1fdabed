"""`http.get`: a status page, a health check, a few log lines. Only hosts that the configuration lists, and never by a detour.

A label must not be able to turn a diagnostic into a look at a cloud's metadata service (rule S29, OWASP's SSRF sheet): the address
is resolved once, judged, and then connected to as judged; a redirect may change the path and nothing else.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from actions.contract import BackendError, CallInvalid, NotPermitted, Rejected, Unreachable
from actions.kinds import BackendKind, OnlyReads, Options, Secrets
from actions.wire import Answer, Wire, refuse
from runbooks.operation import Argument, ArgumentType, Call, Operation, Reading
from runbooks.value import Json

WHO = "The page"
MOST_BYTES = 500_000
MOST_BODY = 4000  # characters of a text body that are kept
MOST_REDIRECTS = 3

OPERATION = Operation(
    name="http.get",
    title="Read a page",
    reads=True,
    arguments={
        "url": Argument(type=ArgumentType.TEXT, help="an address on a listed host, or a path such as /log?stage=app below `base`"),
        "path": Argument(type=ArgumentType.TEXT, required=False, help="where the result lies in a JSON body, such as components[0].status"),
        "expect": Argument(
            type=ArgumentType.INTEGER, required=False, minimum=100, maximum=599, help="the status to expect; 200 to 299 without it"
        ),
    },
    sample={"status": 200, "body": {"status": "ok"}, "rows": [{"stage": "model", "line": "ok", "value": 1.0}], "value": 1.0},
)

_STEP = re.compile(r"\.?([A-Za-z_][\w-]*)|\[(\d{1,6})\]")

Resolve = Callable[[str, int], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host that may be asked. `inside` allows addresses that are private to the company or the machine."""

    scheme: str
    name: str
    port: int
    inside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """An address taken apart, on a listed host."""

    host: Host
    rest: str


def host(entry: str, *, inside: bool = False) -> Host:
    """One entry of the list: `status.example.com` (https, 443), or with scheme and port, `http://127.0.0.1:8090`.

    An address written as a number is allowed by being written.

    Raises:
        ValueError: it is no host.
    """
    parts = urlsplit(entry if "://" in entry else f"https://{entry}")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.path not in {"", "/"} or parts.query:
        raise ValueError(f"{entry!r} is no host; write status.example.com or http://127.0.0.1:8090")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Host(scheme=parts.scheme, name=parts.hostname, port=port, inside=inside or _is_number(parts.hostname))


def resolved(name: str, port: int) -> list[str]:
    """The numeric addresses of a name."""
    return [str(found[4][0]) for found in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)]


class Web(OnlyReads):
    """Pages on listed hosts. Implements `actions.contract.Backend`; it only reads."""

    name = "http"
    operations: tuple[Operation, ...] = (OPERATION,)

    def __init__(
        self,
        *,
        allow: tuple[Host, ...],
        base: str | None = None,
        environment: str | None = None,
        world: str | None = None,
        resolve: Resolve = resolved,
    ) -> None:
        self.environment, self.world = environment, world
        self._allow, self._base, self._resolve = allow, base, resolve
        self._wire = Wire(who=WHO, headers=lambda: {"Accept": "application/json, text/plain;q=0.9, */*;q=0.1"})

    def read(self, call: Call, *, timeout: float) -> Reading:
        """Status, body, and what lies at `path`: as `value` if it is one thing, as `rows` if it is a list."""
        asked = str(call.arguments["url"])
        answer = self._follow(self._start(asked), timeout=timeout)
        expected = call.arguments.get("expect")
        if expected is not None and answer.status != expected:
            raise Rejected(f"{asked} answers {answer.status}, expected {expected}.")
        if expected is None:
            refuse(answer, who=WHO, what="such address")
        return Reading(value=_result(answer, call.arguments.get("path")))

    def _start(self, asked: str) -> str:
        """The whole address: a path stands below `base` and cannot leave it."""
        if not asked.startswith("/"):
            if self.world is not None:
                raise NotPermitted("A drill reads only pages of its simulated world.")
            return asked
        if self._base is None:
            raise CallInvalid(f"{asked} has no host, and no base is configured.")
        parts = re.split(r"[/\\]|%2f|%5c", urlsplit(asked).path.lower().replace("%2e", "."))
        if asked.startswith("//") or not {".", ".."}.isdisjoint(parts):
            raise NotPermitted(f"{asked} leaves the base.")
        return self._base.rstrip("/") + asked

    def _follow(self, address: str, *, timeout: float) -> Answer:
        start = place = self._placed(address)
        for _ in range(MOST_REDIRECTS + 1):
            answer = self._get(place, timeout=timeout)
            location = answer.headers.get("location")
            if answer.status not in {301, 302, 303, 307, 308} or not location:
                return answer
            if self.world is not None:
                raise NotPermitted("The page sends elsewhere; inside a simulated world that is not followed.")
            address = urljoin(address, location)
            place = self._placed(address)
            if place.host != start.host:
                raise NotPermitted(f"The page sends to another host ({place.host.name}); that is not followed.")
        raise Rejected(f"The page sends on more than {MOST_REDIRECTS} times.")

    def _placed(self, address: str) -> _Place:
        try:
            parts = urlsplit(address)
            name, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise CallInvalid("The address cannot be read.") from error
        if parts.username is not None or parts.password is not None or "\\" in address:
            raise NotPermitted("An address with a name, a password or a backslash in it is not asked.")
        found = next((one for one in self._allow if (one.scheme, one.name, one.port) == (parts.scheme, name, port)), None)
        if found is None:
            listed = ", ".join(sorted(one.name for one in self._allow)) or "none"
            raise NotPermitted(f"{name or address} is not among the hosts that may be asked: {listed}.")
        return _Place(host=found, rest=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""))

    def _get(self, place: _Place, *, timeout: float) -> Answer:
        asked, number = place.host, self._judged(place.host)
        netloc = f"[{number}]:{asked.port}" if ":" in number else f"{number}:{asked.port}"
        default = asked.port == (443 if asked.scheme == "https" else 80)
        name = f"[{asked.name}]" if ":" in asked.name else asked.name
        return self._wire.send(
            "GET",
            f"{asked.scheme}://{netloc}{place.rest}",
            timeout=timeout,
            headers={"Host": name if default else f"{name}:{asked.port}"},
            extensions={"sni_hostname": asked.name},
            most=MOST_BYTES,
        )

    def _judged(self, asked: Host) -> str:
        """The one numeric address to connect to; every address of the name must be allowed, so that no mixture slips through."""
        try:
            numbers = [asked.name] if _is_number(asked.name) else self._resolve(asked.name, asked.port)
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"{asked.name} cannot be resolved.") from error
        if not numbers:
            raise Unreachable(f"{asked.name} cannot be resolved.")
        inward = [number for number in numbers if not _is_outside(number)]
        if inward and not asked.inside:
            raise NotPermitted(f"{asked.name} points to an address inside the house; list it under `inside` if that is meant.")
        return numbers[0]


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_outside(number: str) -> bool:
    """Whether an address is one of the public internet, also when it is wrapped into IPv6 (mapped, 6to4, NAT64)."""
    address = ipaddress.ip_address(number.split("%", maxsplit=1)[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_outside(str(inner))
    return address.is_global and not address.is_multicast


def _result(answer: Answer, path: Json) -> dict[str, Json]:
    try:
        body = answer.json()
    except BackendError:
        body = answer.body.decode("utf-8", "replace")[:MOST_BODY]
        if path is not None:
            raise
    found = body if path is None else at(body, str(path))
    rows = found if isinstance(found, list) else []
    value = found if isinstance(found, str | int | float | bool) and path is not None else None
    return {"status": answer.status, "body": body, "rows": rows, "value": value}


def at(body: Json, path: str) -> Json:
    """What lies at a path such as `components[0].status`; None where nothing does.

    Raises:
        CallInvalid: it is no path.
    """
    position = 0
    found = body
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise CallInvalid(f"{path!r} is no path; write one such as components[0].status.")
        name, index = step.groups()
        if index is not None:
            found = found[int(index)] if isinstance(found, list) and int(index) < len(found) else None
        else:
            found = found.get(name) if isinstance(found, Mapping) else None
        position = step.end()
    return found


def build(options: Options, secrets: Secrets) -> Web:  # noqa: ARG001 - pages are read without credentials
    """`allow`: hosts on the internet; `inside`: hosts of one's own; `base`: where addresses that are only a path begin."""
    base = options.text("base", None)
    try:
        allow = [host(entry) for entry in options.texts("allow", [])]
        allow += [host(entry, inside=True) for entry in options.texts("inside", [])]
        if base is not None:
            parts = urlsplit(base)
            allow.append(host(f"{parts.scheme}://{parts.netloc}", inside=True))
    except ValueError as error:
        raise options.invalid("allow", str(error)) from error
    return Web(allow=tuple(allow), base=base, environment=options.text("environment", None), world=options.text("world", None))


KIND = BackendKind(
    name="http", operations=(OPERATION,), build=build, options=frozenset({"allow", "inside", "base", "environment", "world"})
)
