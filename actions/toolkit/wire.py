"""HTTP to the outside: one request, a deadline over all of it, a size limit, and every foreign error as one of the contract's.

No retries, no redirects, no proxies from the environment, no cookies, and no connection kept for later: a pooled connection that the far
side closed meanwhile would turn a certain failure into an unknown one.
"""

import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from math import isfinite
from typing import Literal

import httpcore
import httpx

from actions.contract import (
    BackendError,
    CallInvalid,
    Conflict,
    NotPermitted,
    OutcomeUnknown,
    Rejected,
    TargetMissing,
    Throttled,
    Unreachable,
)
from actions.redaction import redact
from actions.toolkit.punctual import Punctual, until
from runbooks.errors import MusterError
from runbooks.operation import Reading
from runbooks.value import Json

MOST_BYTES = 2_000_000  # a diagnostic that needs more than this is the wrong question
MOST_REASON = 300  # characters of the far side's own words in an error
WORDS = ("reason", "error", "message", "detail")
WAIT_UNSAID = 5.0  # seconds to wait after a 429 that names none
LONGEST_WAIT = 3600.0

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_READS = {"GET", "HEAD"}
_INVALID = (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError)
_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_PAGE = re.compile(r"\s*<(?:!doctype|html|\?xml)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete answer from the far side. `changes` says that the request was none that only reads."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    changes: bool = False

    def json(self) -> Json:
        """The body as JSON. A number that is none (NaN, or too large for a float) is null: no data.

        Raises:
            Rejected: it is not JSON.
        """
        try:
            return json.loads(self.body, parse_constant=lambda _: None, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise Rejected("The answer is not JSON.") from error

    @property
    def said(self) -> str:
        """The far side's own words, short and redacted, of a page only its title; empty when there are none."""
        try:
            found = self.json()
        except Rejected:
            return redact(_plain(self.body.decode("utf-8", "replace")), limit=MOST_REASON)
        within = [found[key] for key in WORDS if key in found] if isinstance(found, Mapping) else []
        words = next(filter(None, map(_words, [found, *within])), None)
        return redact(words or json.dumps(found), limit=MOST_REASON)


def _words(found: Json) -> str | None:
    """The reason in the places where APIs put it; some put it one level down."""
    if isinstance(found, Mapping):
        found = next((found[key] for key in WORDS if isinstance(found.get(key), str)), None)
    return found if isinstance(found, str) else None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if isfinite(number) else None


def _plain(text: str) -> str:
    if not _PAGE.match(text):
        return text
    title = _TITLE.search(text)
    return " ".join(title[1].split()) if title else ""


class _Transport(httpx.HTTPTransport):
    """httpx's own over connections that keep the deadline."""

    def __init__(self, verify: ssl.SSLContext | Literal[True]) -> None:
        context = httpx.create_ssl_context(verify=verify, trust_env=False)
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.ConnectionPool(ssl_context=context, max_keepalive_connections=0, network_backend=Punctual())


class Wire:
    """One far side. `who` is its name in sentences, `base` the start of its URLs, `headers` is called for each request (rule S18).

    `verify` is for a far side with an authority of its own, or one that asks for a client's certificate.
    """

    def __init__(
        self,
        *,
        who: str,
        base: str = "",
        headers: Callable[[], Mapping[str, str]] = dict,
        verify: ssl.SSLContext | Literal[True] = True,
    ) -> None:
        self.who, self.base, self._headers = who, base.rstrip("/"), headers
        none = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        self._client = httpx.Client(transport=_Transport(verify), follow_redirects=False, trust_env=False, cookies=none)

    def send(
        self,
        method: str,
        path: str,
        *,
        timeout: float,
        params: Mapping[str, str] | None = None,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Json] | None = None,
        most: int = MOST_BYTES,
    ) -> Answer:
        """Send one request and read the whole answer, whatever its status, within `timeout` seconds.

        Raises:
            Unreachable: no connection was made.
            OutcomeUnknown: it was sent, and no whole answer came in time.
            Rejected: the answer to a question is larger than `most` bytes; to a change it is `OutcomeUnknown`.
            CallInvalid: the address is none.
            NotPermitted: the credentials cannot be read.
        """
        ends, reads = time.monotonic() + timeout, method in _READS
        sent = {"Accept-Encoding": "identity", **self._signed(), **(headers or {})}
        try:
            request = self._client.build_request(
                method,
                self.base + path,
                headers=sent if body is None else {"Content-Type": "application/json", **sent},
                params=params,
                content=None if body is None else self._written(body),
                timeout=timeout,
                extensions=dict(extensions or {}),
            )
        except (httpx.InvalidURL, UnicodeError) as error:
            raise translated(error, who=self.who, timeout=timeout) from error
        try:
            with until(ends), closing(self._client.send(request, stream=True)) as response:
                found = self._body(response, ends=ends, most=most, reads=reads)
                return Answer(status=response.status_code, headers=response.headers, body=found, changes=not reads)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise translated(error, who=self.who, timeout=timeout) from error

    def _written(self, body: Json) -> bytes:
        try:
            return json.dumps(body, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise CallInvalid(f"{self.who} cannot be sent this: a value in it cannot be written as JSON. Nothing was sent.") from error

    def _signed(self) -> Mapping[str, str]:
        """The headers of this moment; a credential that cannot be read or sent is a refusal like a wrong one, before anything is sent."""
        try:
            found = {name: value.strip() for name, value in self._headers().items()}
        except BackendError:
            raise
        except MusterError as error:
            raise NotPermitted(f"The credentials for {self.who} cannot be read: {error}") from error
        for name, value in found.items():
            if not value.isascii() or not value.isprintable():  # the sentence does not repeat it
                raise NotPermitted(
                    f"The credentials for {self.who} hold something that no header {name} takes, such as a line break or a typographic "
                    "quote; look at how the secret was written down. Nothing was sent."
                )
        return found

    def _body(self, response: httpx.Response, *, ends: float, most: int, reads: bool) -> bytes:
        found = bytearray()
        for chunk in response.iter_bytes():
            found += chunk
            if len(found) > most:
                raise (Rejected if reads else OutcomeUnknown)(f"{self.who} answers with more than {most:,} bytes.")
            if time.monotonic() > ends:
                raise OutcomeUnknown(f"{self.who} did not answer completely in time.")
        return bytes(found)


def translated(error: Exception, *, who: str, timeout: float) -> BackendError:
    """The contract's error for any of httpx: never sent, senseless, or sent without a trustworthy answer."""
    if isinstance(error, _INVALID):
        return CallInvalid(f"{who}: the address cannot be used: {redact(str(error), limit=MOST_REASON)}.")
    if isinstance(error, _NEVER_SENT):
        return Unreachable(f"{who} cannot be reached; nothing was sent.")
    if isinstance(error, httpx.TimeoutException):
        return OutcomeUnknown(f"{who} did not answer within {timeout:.0f} s.")
    return OutcomeUnknown(f"{who} broke off without a whole answer.")


def refuse(answer: Answer, *, who: str, what: str, conflict: Callable[[], Reading] | None = None) -> None:
    """Raise the contract's error for any status but 2xx; `what` is the target or question in words.

    Raises:
        BackendError: the subclass that says what is certain; a 409 or 412 is a `Conflict` where `conflict` tells the present state.
    """
    status, said = answer.status, f": {answer.said}" if answer.said else ""
    if 200 <= status < 300:
        return
    if status in {401, 403, 407}:
        raise NotPermitted(f"{who} does not let these credentials do this ({status}).")
    if status in {404, 410}:
        raise TargetMissing(f"{who} has no {what}{said}.")
    if status in {409, 412} and conflict is not None:
        raise Conflict(f"Someone else changed {what} meanwhile.", current=conflict())
    if status == 429:
        raise Throttled(f"{who} asks to wait.", retry_after=retry_after(answer.headers))
    if 300 <= status < 400:
        text = f"{who} answers {status} and sends elsewhere, which was not followed; look at the configured address."
        raise (OutcomeUnknown if answer.changes else Rejected)(text)  # many forms are carried out and then send to a page
    if status in {408, 499} or status >= 500:
        raise OutcomeUnknown(f"{who} answers {status}{said}.")
    raise Rejected(f"{who} refuses ({status}){said}.")


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float:
    """Seconds to wait, from `Retry-After` as seconds or as a date (RFC 9110, 10.2.3); at most an hour."""
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return min(float(said), LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(said)
    except ValueError:
        return WAIT_UNSAID
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - (now or datetime.now(UTC))).total_seconds(), 0.0), LONGEST_WAIT)
