"""Credentials as request headers, read at the moment of each request and kept nowhere (rule S18)."""

from base64 import b64encode
from collections.abc import Callable, Mapping

from actions.contract import NotPermitted
from actions.kinds import Secrets

Headers = Callable[[], Mapping[str, str]]


def signed_in(secrets: Secrets, *, header: str = "Authorization") -> Headers:
    """A secret `token` as bearer, or as it is in another `header`; else `username` and `password` as basic (RFC 7617); else nothing."""
    token, username, password = secrets.get("token"), secrets.get("username"), secrets.get("password")
    if token is not None:
        return lambda: {header: _plain(token(), "token", prefix="Bearer " if header == "Authorization" else "")}
    if username is not None and password is not None:
        return lambda: {"Authorization": f"Basic {b64encode(f'{username()}:{password()}'.encode()).decode()}"}
    return dict


def _plain(value: str, name: str, *, prefix: str = "") -> str:
    """A header's value; what cannot be one is refused here, where the sentence does not repeat it."""
    found = prefix + value.strip()
    if not found.isascii() or not found.isprintable():
        raise NotPermitted(f"The secret {name} holds something that cannot be sent; look at how it was written down. Nothing was sent.")
    return found
