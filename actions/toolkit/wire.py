"""HTTP to the outside: one request, a deadline over all of it, a size limit, and every foreign error as one of the contract's.

No retries, no redirects, no proxies from the environment, and no connection kept for later: a pooled connection that the far side
closed meanwhile would turn a certain failure into an unknown one.
"""

import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

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
from runbooks.errors import MusterError
from runbooks.operation import Reading
from runbooks.value import Json

MOST_BYTES = 2_000_000  # a diagnostic that needs more than this is the wrong question
MOST_REASON = 300  # characters of the far side's own words in an error
WAIT_UNSAID = 5.0  # seconds to wait after a 429 that names none
LONGEST_WAIT = 3600.0

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_READS = {"GET", "HEAD"}
_INVALID = (httpx.InvalidURL, httpx.UnsupportedProtocol)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete answer from the far side."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Json:
        """The body as JSON.

        Raises:
            Rejected: it is not JSON.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Rejected("The answer is not JSON.") from error

    @property
    def said(self) -> str:
        """The far side's own words, short and redacted; empty when there are none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return redact(self.body.decode("utf-8", "replace"), limit=MOST_REASON)
        if isinstance(found, Mapping):
            found = next((found[key] for key in ("reason", "error", "message", "detail") if isinstance(found.get(key), str)), found)
        return redact(found if isinstance(found, str) else json.dumps(found), limit=MOST_REASON)


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
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(follow_redirects=False, trust_env=False, limits=limits, verify=verify)

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
        ends = time.monotonic() + timeout
        request = {"params": params, "json": body} if body is not None else {"params": params}
        sent = {**self._signed(), **(headers or {})}
        try:
            with self._client.stream(
                method,
                self.base + path,
                headers=sent,
                timeout=timeout,
                extensions=dict(extensions or {}),
                **request,
            ) as response:
                found = self._body(response, ends=ends, most=most, reads=method in _READS)
                return Answer(status=response.status_code, headers=response.headers, body=found)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise translated(error, who=self.who, timeout=timeout) from error

    def _signed(self) -> Mapping[str, str]:
        """The headers of this moment; a credential that cannot be read is a refusal like a wrong one, before anything is sent."""
        try:
            return self._headers()
        except BackendError:
            raise
        except MusterError as error:
            raise NotPermitted(f"The credentials for {self.who} cannot be read: {error}") from error

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
    if status == 408 or status >= 500:
        raise OutcomeUnknown(f"{who} answers {status}{said}.")
    raise Rejected(f"{who} refuses ({status}){said}.")


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float:
    """Seconds to wait, from `Retry-After` as seconds or as a date (RFC 9110, 10.2.3); at most an hour."""
    said = headers.get("retry-after", "").strip()
    if said.isdigit():
        return min(float(said), LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(said)
    except ValueError:
        return WAIT_UNSAID
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - (now or datetime.now(UTC))).total_seconds(), 0.0), LONGEST_WAIT)
