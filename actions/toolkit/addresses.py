"""Which addresses Muster may ask, and never by a detour: shared by every backend whose address comes from a runbook or the configuration.

A label must not be able to turn a diagnostic into a look at a cloud's metadata service (rule S29, OWASP's SSRF sheet): the address
is resolved once, judged, and then connected to as judged.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from actions.comparing import deadline
from actions.contract import BackendError, CallInvalid, NotPermitted, Unreachable
from actions.redaction import redact
from actions.toolkit.punctual import Resolve, is_number, looked_up, resolved
from actions.toolkit.wire import Answer, Wire
from runbooks.value import Json

__all__ = ["Guarded", "Host", "Place", "Resolve", "host", "is_number", "is_outside", "resolved"]

GLOBAL = ipaddress.ip_network("2000::/3")  # the only addresses of IPv6 that the internet routes to one host
NAT64 = ipaddress.ip_network("64:ff9b::/96")
LOOK = 5.0  # seconds for looking a name up, where nobody asks for an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host that may be asked. `inside` allows addresses that are private to the company or the machine."""

    scheme: str
    name: str
    port: int
    inside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
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
        raise ValueError(f"{redact(entry, limit=200)!r} is no host; write status.example.com or http://127.0.0.1:8090")
    if not parts.hostname.isascii():
        raise ValueError(f"{parts.hostname} must be written as it is asked for, in ASCII: {_ascii(parts.hostname)}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Host(scheme=parts.scheme, name=parts.hostname, port=port, inside=inside or is_number(parts.hostname))


def _ascii(name: str) -> str:
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return "xn--…"


class Guarded:
    """Requests to listed hosts, each to a numeric address that was judged, under the host's own name."""

    def __init__(self, *, wire: Wire, allow: tuple[Host, ...], resolve: Resolve = resolved) -> None:
        self._wire, self._allow, self._resolve = wire, allow, resolve

    def placed(self, address: str) -> Place:
        """The address on its listed host.

        Raises:
            NotPermitted: its host is not listed, or the address could be read in two ways.
            CallInvalid: it is no address.
        """
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
        return Place(host=found, rest=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""))

    def send(
        self, method: str, place: Place, *, timeout: float, most: int, body: Json = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request; errors as those of `Wire.send`, and `NotPermitted` for a host that points inside without being listed so.

        Where one address cannot be reached, which is certain, the next is tried; all within `timeout` seconds.
        """
        left = deadline(timeout)
        numbers = self._judged(place.host, seconds=left())
        for number in numbers[:-1]:
            try:
                return self._sent(method, place, number, timeout=left(), most=most, body=body, headers=headers)
            except Unreachable:
                continue
        return self._sent(method, place, numbers[-1], timeout=left(), most=most, body=body, headers=headers)

    def _sent(
        self, method: str, place: Place, number: str, *, timeout: float, most: int, body: Json, headers: Mapping[str, str] | None
    ) -> Answer:
        asked = place.host
        netloc = f"[{number}]:{asked.port}" if ":" in number else f"{number}:{asked.port}"
        default = asked.port == (443 if asked.scheme == "https" else 80)
        name = f"[{asked.name}]" if ":" in asked.name else asked.name
        return self._wire.send(
            method,
            f"{asked.scheme}://{netloc}{place.rest}",
            timeout=timeout,
            body=body,
            headers={**(headers or {}), "Host": name if default else f"{name}:{asked.port}"},
            extensions={"sni_hostname": asked.name},
            most=most,
        )

    def unusable(self) -> Iterator[str]:
        """For each listed host that could not be asked now, why."""
        for one in self._allow:
            try:
                self._judged(one, seconds=LOOK)
            except BackendError as error:
                yield str(error)

    def _judged(self, asked: Host, *, seconds: float) -> list[str]:
        """The numeric addresses to connect to; every address of the name must be allowed, so that no mixture slips through."""
        try:
            numbers = looked_up(asked.name, asked.port, seconds=seconds, resolve=self._resolve)
        except OSError as error:
            raise Unreachable(f"{asked.name} cannot be resolved; nothing was sent.") from error
        if not asked.inside and not all(map(is_outside, numbers)):
            raise NotPermitted(f"{asked.name} points to an address inside the house; list it under `inside` if that is meant.")
        return numbers


def is_outside(number: str) -> bool:
    """Whether an address is one of the public internet, also when it is wrapped into IPv6 (mapped, 6to4, NAT64)."""
    address = ipaddress.ip_address(number.split("%", maxsplit=1)[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_outside(str(inner))
        if address not in GLOBAL:  # a library's list of what is private is never whole
            return False
    return address.is_global and not address.is_multicast
