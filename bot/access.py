"""Who is asking: a token's owner, somebody on this machine through the Unix socket, or a reader of pages on a loopback address."""

import ipaddress
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from bot.configuration import Configuration, Tokens
from bot.ports import Visitor
from runbooks.people import Person

LOCAL_UID = "muster.uid"
"""The ASGI scope's key for the user id behind the Unix socket. Only `bot.local` and the command line set it; no header can."""

COOKIE = "muster_token"

PROXIES = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers by which a proxy shows itself: whoever comes through one is not on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """Somebody who may read. `may_write` is never true without a person (rule S4). `name` is the token's or the login's.

    `may_propose` is a machine that may only propose (rule S28): the person answers for it, and it never acts as that person.
    """

    name: str
    person: Person | None
    may_write: bool
    via: Literal["cli", "api"]
    may_propose: bool = False

    def visitor(self, interaction: str | None) -> Visitor:
        """How the flows see this guest: a machine is nobody to them, whoever answers for it."""
        if self.may_propose:
            return Visitor(slack_id=None, person=None, via=self.via, interaction=interaction)
        return Visitor(slack_id=self.person.slack_id if self.person else None, person=self.person, via=self.via, interaction=interaction)


class Access:
    """Decides from a request's ASGI scope alone. `bound_to` is the address on which the server listens."""

    def __init__(self, *, configuration: Configuration, tokens: Tokens, bound_to: str, public_url: str) -> None:
        self._configuration, self._tokens = configuration, tokens
        self._only_here = is_loopback(bound_to) and _is_here((urlsplit(public_url).hostname or "").lower())

    def guest(self, scope: Mapping[str, Any]) -> Guest | None:
        """Whoever proved who they are by a Bearer token or by the Unix socket; None for anybody else."""
        if (uid := scope.get(LOCAL_UID)) is not None:
            return self._local(int(uid))
        scheme, _, token = Headers(raw=scope["headers"]).get("authorization", "").partition(" ")
        return self.of_token(token.strip()) if scheme.lower() == "bearer" else None

    def reader(self, scope: Mapping[str, Any], cookie: str | None) -> bool:
        """Whether the pages may be shown: to a guest, to the cookie of one, and to anybody where only this machine can ask.

        That is: Muster listens on a loopback address, its public address is one too, and no proxy stands in between. The Host header
        must then be a name of this machine, so that no page in the same browser can read ours by pointing its own name here (DNS
        rebinding).
        """
        if self.guest(scope) is not None or (cookie and self.of_token(cookie) is not None):
            return True
        headers = Headers(raw=scope["headers"])
        forwarded = any(name in headers for name in PROXIES)
        return self._only_here and not forwarded and _is_here(_name_in(headers.get("host", "")))

    def of_token(self, token: str) -> Guest | None:
        """The guest with this token."""
        caller = self._tokens.caller(token)
        if caller is None:
            return None
        return Guest(name=caller.token, person=caller.person, may_write=caller.may_write, via="api", may_propose=caller.may_propose)

    def _local(self, uid: int) -> Guest:
        login = login_of(uid)
        person = self._configuration.person_for_login(login)
        return Guest(name=login, person=person, may_write=person is not None, via="cli")


def login_of(uid: int) -> str:
    """The login name of a user id; the number itself where the system has no name for it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name_in(host: str) -> str:
    """The name in a Host header; nothing where it cannot be read."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:  # such as a bracket without its end
        return ""


def _is_here(host: str) -> bool:
    return host == "localhost" or is_loopback(host)
