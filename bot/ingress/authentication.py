"""Who sent this? Pure checks, in constant time, against one or several secrets (rotation)."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from bot.ingress.source import Scheme, SignatureForm
from runbooks.errors import MusterError


class Unverified(MusterError):
    """The sender did not prove who it is. `status` is the HTTP answer: 400 no signature, 401 no or wrong token, 403 wrong signature.

    The sentence tells a rightful sender what to mend, and a wrong one nothing about the secret.
    """

    def __init__(self, reason: str, *, status: int, challenge: str | None = None) -> None:
        self.status, self.reason, self.challenge = status, reason, challenge
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How one source's deliveries are verified. `user` belongs to basic, `signature` to HMAC."""

    scheme: Scheme
    user: str = ""
    signature: SignatureForm | None = None


def verify(check: Check, *, secrets: Sequence[SecretStr], body: bytes, headers: Mapping[str, str], now: datetime) -> None:
    """Return if the sender holds one of `secrets`. Names of headers are in small letters.

    Raises:
        Unverified: with the HTTP status and a sentence.
    """
    if check.scheme is Scheme.BEARER:
        verify_bearer(headers, secrets)
    elif check.scheme is Scheme.BASIC:
        verify_basic(headers, check.user, secrets)
    else:
        verify_signature(headers, body, form=check.signature, secrets=secrets, now=now)


def verify_bearer(headers: Mapping[str, str], secrets: Sequence[SecretStr]) -> None:
    """`Authorization: Bearer <secret>` (RFC 6750).

    Raises:
        Unverified: 401.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    token = token.strip(" \t")
    if scheme.lower() != "bearer" or not token:
        raise Unverified("send the header Authorization: Bearer <token>", status=401, challenge="Bearer")
    if not _any_equal(_bytes(token), secrets):
        raise Unverified("this token is not known here", status=401, challenge='Bearer error="invalid_token"')


def verify_basic(headers: Mapping[str, str], user: str, secrets: Sequence[SecretStr]) -> None:
    """`Authorization: Basic <user:secret>` (RFC 7617).

    Raises:
        Unverified: 401.
    """
    challenge = 'Basic realm="muster", charset="UTF-8"'
    scheme, _, code = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise Unverified("send user and password by basic authentication", status=401, challenge=challenge)
    try:
        sent_user, _, sent = base64.b64decode(_bytes(code.strip()), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Unverified("the user and password cannot be read", status=401, challenge=challenge) from None
    right_user = hmac.compare_digest(sent_user.encode(), user.encode())
    if not (_any_equal(sent.encode(), secrets) and right_user):
        raise Unverified("this user and password are not known here", status=401, challenge=challenge)


def verify_signature(
    headers: Mapping[str, str], body: bytes, *, form: SignatureForm | None, secrets: Sequence[SecretStr], now: datetime
) -> None:
    """HMAC-SHA256 over the raw body, as `form` says; any of the signatures sent may match any of the secrets.

    Raises:
        Unverified: 400 where the signature or its timestamp is missing; 403 where it is wrong or outside the window.
    """
    if form is None:
        raise ValueError("an HMAC check without the form of its signature")
    sent = [part.strip() for part in headers.get(form.header.lower(), "").split(",") if part.strip()]
    if not sent:
        raise Unverified(f"the header {form.header} is missing", status=400)
    signed = _stamp(headers, form, now) + body
    codes = [part.removeprefix(form.prefix).lower() for part in sent if part.startswith(form.prefix)]
    right = [sign(signed, secret) for secret in secrets]
    # Every pair is compared, so that the time taken tells nothing about which one matched.
    if not sum(hmac.compare_digest(a.encode(), b.encode()) for a in codes for b in right):
        raise Unverified(f"no signature in {form.header} fits this body", status=403)


def sign(signed: bytes, secret: SecretStr) -> str:
    """The HMAC-SHA256 of `signed`, in hexadecimal digits."""
    return hmac.new(secret.get_secret_value().encode(), signed, hashlib.sha256).hexdigest()


def _stamp(headers: Mapping[str, str], form: SignatureForm, now: datetime) -> bytes:
    if form.timestamp_header is None:
        return b""
    text = headers.get(form.timestamp_header.lower(), "").strip()
    if not text:
        raise Unverified(f"the header {form.timestamp_header} is missing", status=400)
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise Unverified(f"{form.timestamp_header} must be whole seconds since 1970", status=400)
    if abs(int(text) - now.timestamp()) > form.window:
        raise Unverified(f"{form.timestamp_header} is more than {form.window:g} seconds from the present", status=403)
    return text.encode() + b"."


def _bytes(header: str) -> bytes:
    """What travelled: servers decode headers as Latin-1."""
    return header.encode("latin-1", errors="replace")


def _any_equal(sent: bytes, secrets: Sequence[SecretStr]) -> bool:
    return sum(hmac.compare_digest(sent, secret.get_secret_value().encode()) for secret in secrets) > 0
