"""The asynchronous intake: verify, parse, append, COMMIT, and only then 202. It decides nothing; triage does (engine.md)."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

import structlog
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bot.ingress.authentication import Unverified, verify
from bot.ingress.sender import AlertSender, ChangeSender, Sender
from bot.ingress.source import Options, Parse, PayloadInvalid, Scheme
from bot.ports import Clock
from bot.secret import SecretMissing
from runbooks.alert import Alert
from runbooks.change import Change
from storage import changes, inbox, seen
from storage.database import Database, Tx
from storage.errors import StorageUnavailable

LARGEST_BODY = 5_000_000  # bytes; a storm of 5,000 alerts of a kilobyte each, and far below what could hurt
_SLOWEST_BODY = 30.0  # seconds; a sender slower than that holds a connection and nothing else
_LONG_BODY = 200_000  # bytes; parsing more than this takes milliseconds, which belong into a thread
_CLOCK_AGE = 1.0  # seconds
_WAIT_FOR_DATABASE = 5  # seconds until a sender may try again
_WAIT_FOR_SECRET = 60  # seconds; somebody has to mend it first

T = TypeVar("T")
S = TypeVar("S", bound=Sender)

_encode = json.JSONEncoder(separators=(",", ":")).encode
_log = structlog.get_logger("muster.intake")


class IntakeMetrics(Protocol):
    """What the intake counts. `source` is a configured name, or `unknown`."""

    def accepted(self, *, source: str, alerts: int) -> None:
        """A delivery is on disk (or held nothing to keep)."""
        ...

    def refused(self, *, source: str, status: int) -> None:
        """A delivery was answered with an error."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One request, read and verified. Names of headers are in small letters."""

    body: bytes
    headers: Mapping[str, str]
    options: Options

    async def parsed(self, parse: Parse[T]) -> Sequence[T]:
        """What the body says.

        Raises:
            PayloadInvalid: it cannot be understood.
        """
        if len(self.body) > _LONG_BODY:
            return await asyncio.to_thread(parse, self.body, self.headers, self.options)
        return parse(self.body, self.headers, self.options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the sender is told."""

    status: int
    body: dict[str, Any]
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Present:
    """The clock's time for the event loop: asked in a thread at most once a second, and carried on by this machine's steady clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: tuple[datetime, float] | None = None
        self._ask_after = float("-inf")

    async def now(self) -> datetime:
        """The present.

        Raises:
            StorageUnavailable: the clock is the database's, and it cannot be reached.
        """
        steady = time.monotonic()
        if self._known is None or steady > self._ask_after:
            self._ask_after = steady + _CLOCK_AGE  # whoever comes meanwhile does not ask again
            self._known = (await asyncio.to_thread(self._clock.now), time.monotonic())
            return self._known[0]
        known, at = self._known
        return known + timedelta(seconds=steady - at)


class Gone(Exception):
    """The sender hung up before the body was complete; there is nobody to answer."""


def routes(
    *,
    database: Database,
    sources: Mapping[str, AlertSender],
    change_sources: Mapping[str, ChangeSender],
    clock: Clock,
    on_accepted: Callable[[], None],
    metrics: IntakeMetrics,
) -> list[Route]:
    """`POST /alerts/{source}` and `POST /changes/{source}`.

    `on_accepted` is called on the event loop after each COMMIT that kept alerts, and must only wake somebody.
    """
    present = Present(clock)

    async def keep_alerts(sender: AlertSender, delivery: Delivery) -> Answer:
        answer = await _keep_alerts(database, await delivery.parsed(sender.parse), delivery)
        if answer.body["accepted"]:
            on_accepted()
        return answer

    async def keep_changes(sender: ChangeSender, delivery: Delivery) -> Answer:
        return await _keep_changes(database, await delivery.parsed(sender.parse))

    return [
        Route("/alerts/{source}", Door(senders=sources, keep=keep_alerts, present=present, metrics=metrics), methods=["POST"]),
        Route("/changes/{source}", Door(senders=change_sources, keep=keep_changes, present=present, metrics=metrics), methods=["POST"]),
    ]


class Door(Generic[S]):
    """One ASGI application for one kind of delivery. Plain ASGI, because the intake's rate is one of the product's promises.

    `keep` parses a verified delivery and puts it on disk; it may raise `PayloadInvalid` and `StorageUnavailable`.
    """

    def __init__(
        self,
        *,
        senders: Mapping[str, S],
        keep: Callable[[S, Delivery], Awaitable[Answer]],
        present: Present,
        metrics: IntakeMetrics,
    ) -> None:
        self._senders, self._keep, self._present, self._metrics = senders, keep, present, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sender = self._senders.get(scope["path_params"]["source"])
        name = sender.name if sender else "unknown"
        try:
            answer = await self._answer(sender, scope, receive)
        except Gone:
            self._metrics.refused(source=name, status=499)  # nginx's number for a client that hung up
            return
        if answer.status < 300:
            self._metrics.accepted(source=name, alerts=answer.body["accepted"])
        else:
            self._metrics.refused(source=name, status=answer.status)
        await _send(send, answer)

    async def _answer(self, sender: S | None, scope: Scope, receive: Receive) -> Answer:
        if sender is None:
            return _refusal(404, "no source of this name is configured")
        try:
            return await self._keep(sender, await self._verified(sender, _headers(scope), receive))
        except Unverified as error:  # nothing but the counter remembers it
            extra = ((b"www-authenticate", error.challenge.encode()),) if error.challenge else ()
            return _refusal(error.status, error.reason, *extra)
        except PayloadInvalid as error:
            _log.warning("delivery refused", source=sender.name, status=error.status, reason=error.reason)
            return _refusal(error.status, error.reason)
        except StorageUnavailable:
            _log.exception("delivery not kept", source=sender.name)
            return _refusal(503, "the database cannot be reached; nothing was kept, send it again", _retry_after(_WAIT_FOR_DATABASE))
        except SecretMissing as error:
            _log.error("secret missing", source=sender.name, reason=str(error))
            return _refusal(503, "this source cannot be verified at present; send it again later", _retry_after(_WAIT_FOR_SECRET))

    async def _verified(self, sender: Sender, headers: Mapping[str, str], receive: Receive) -> Delivery:
        now = await self._present.now()
        secrets = sender.secret.all()
        signed = sender.check.scheme is Scheme.HMAC
        _no_larger(headers)
        if not signed:  # before the body, so that a stranger cannot make us read one
            verify(sender.check, secrets=secrets, body=b"", headers=headers, now=now)
        body = await _read(receive)
        if signed:
            verify(sender.check, secrets=secrets, body=body, headers=headers, now=now)
        options = Options(source=sender.name, received_at=now, settings=sender.settings)
        return Delivery(body=body, headers=headers, options=options)


async def _keep_alerts(database: Database, found: Sequence[Alert], delivery: Delivery) -> Answer:
    if not found:
        return Answer(status=202, body={"accepted": 0})
    source, now = delivery.options.source, delivery.options.received_at
    whole = inbox.packed(found)

    def keep(tx: Tx) -> int:
        fresh = [a for a in found if not a.event_id or seen.first(tx, f"alert:{source}:{a.event_id}:{a.fingerprint}", now)]
        if fresh:
            packed = whole if len(fresh) == len(found) else inbox.packed(fresh)
            inbox.append(tx, source=source, raw=delivery.body, alerts_json=packed, count=len(fresh), received_at=now)
        return len(fresh)

    kept = await _answered(database.submit(keep, name="inbox", ordered=False))
    return Answer(status=202, body=_counted(kept, len(found)))


async def _keep_changes(database: Database, found: Sequence[Change]) -> Answer:
    def keep(tx: Tx) -> int:
        return changes.add(tx, *found)

    kept = await _answered(database.submit(keep, name="change", ordered=False)) if found else 0
    return Answer(status=202, body=_counted(kept, len(found)))


def _answered(future: "Future[int]") -> "asyncio.Future[int]":
    """`asyncio.wrap_future` without the way back: a delivery that is being committed cannot be called off."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[int] = loop.create_future()
    future.add_done_callback(lambda done: loop.call_soon_threadsafe(_hand_over, done, waiter))
    return waiter


def _hand_over(done: "Future[int]", waiter: "asyncio.Future[int]") -> None:
    if waiter.cancelled():
        return
    if error := done.exception():
        waiter.set_exception(error)
    else:
        waiter.set_result(done.result())


def _counted(kept: int, found: int) -> dict[str, int]:
    return {"accepted": kept} if kept == found else {"accepted": kept, "repeated": found - kept}


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _no_larger(headers: Mapping[str, str]) -> None:
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > LARGEST_BODY:
        raise _too_large()
    if headers.get("content-encoding", "identity") != "identity":
        raise PayloadInvalid("send the body without compression", status=415)


async def _read(receive: Receive) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        return _within(bytes(message.get("body", b"")))
    parts, size = [], 0
    try:
        async with asyncio.timeout(_SLOWEST_BODY):
            while message["type"] == "http.request":
                part = message.get("body", b"")
                parts.append(part)
                size += len(part)
                if size > LARGEST_BODY:
                    raise _too_large()
                if not message.get("more_body"):
                    return b"".join(parts)
                message = await receive()
    except TimeoutError:
        raise PayloadInvalid("the body came too slowly", status=408) from None
    raise Gone


def _within(body: bytes) -> bytes:
    if len(body) > LARGEST_BODY:
        raise _too_large()
    return body


def _too_large() -> PayloadInvalid:
    return PayloadInvalid(f"the body is larger than {LARGEST_BODY // 1_000_000} MB; send fewer at once", status=413)


def _retry_after(seconds: int) -> tuple[bytes, bytes]:
    return (b"retry-after", str(seconds).encode())


def _refusal(status: int, reason: str, *headers: tuple[bytes, bytes]) -> Answer:
    return Answer(status=status, body={"error": reason}, headers=headers)


async def _send(send: Send, answer: Answer) -> None:
    body = _encode(answer.body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
