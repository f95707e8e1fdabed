import contextlib
import inspect
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pagerduty as vendor
import pytest

from actions.backends.pagerduty import FOREIGN, PagerDuty, translated
from actions.contract import BackendError, CallInvalid, NotPermitted, OutcomeUnknown, Rejected, TargetMissing, Throttled, Unreachable
from actions.registry import Registry
from actions.runner import Runner
from runbooks.operation import Call, OutcomeStatus, Reading
from tests.acting import NOW

PAGE = Call(
    operation="page.send",
    arguments={
        "to": "ml-platform-primary",
        "summary": "INC-42: model answers are slow",
        "source": "muster",
        "link": "https://m.example/42",
    },
)
ACKNOWLEDGE = Call(operation="incident.acknowledge", arguments={"incident": "PABC123", "by": "ana@example.com"})


class Vendor:
    """PagerDuty at the wire: keeps what was sent and answers as told."""

    def __init__(self, answer: Callable[[httpx2.Request], httpx2.Response]) -> None:
        self.requests: list[httpx2.Request] = []
        self._answer = answer

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return self._answer(request)

    def backend(self, **given: Any) -> PagerDuty:
        keys = {"default": lambda: "key-default", "ml-platform-primary": lambda: "key-primary"}
        return PagerDuty(
            **{"routing_keys": keys, "token": lambda: "api-token", "transport": lambda: httpx2.MockTransport(self.handle), **given}
        )


def accepted(request: httpx2.Request) -> httpx2.Response:
    said = json.loads(request.content) if request.content else {}
    if request.url.path == "/v2/enqueue":
        return httpx2.Response(202, json={"status": "success", "dedup_key": said["dedup_key"]})
    if request.url.path.endswith("/notes"):
        return httpx2.Response(
            200, json={"notes": [{"content": "already here"}]} if request.method == "GET" else {"note": {"content": "x"}}
        )
    return httpx2.Response(200, json={"incident": {"status": said.get("incident", {}).get("status", "triggered")}})


def send(backend: PagerDuty, call: Call, key: str = "k") -> Reading:
    return backend.apply(call, None, expected=Reading(), key=key, timeout=5)


def test_a_page_goes_out_with_its_key() -> None:
    """A page carries the target's own routing key and our key as dedup key, so that a repetition calls nobody twice."""
    pagerduty = Vendor(accepted)
    backend = pagerduty.backend()
    assert send(backend, PAGE, key="INC-42/primary/1").revision == "INC-42/primary/1"
    send(backend, PAGE, key="INC-42/primary/1")
    sent = [json.loads(request.content) for request in pagerduty.requests]
    assert [one["dedup_key"] for one in sent] == ["INC-42/primary/1"] * 2
    assert sent[0]["routing_key"] == "key-primary"
    assert sent[0]["event_action"] == "trigger"
    assert sent[0]["payload"]["severity"] == "critical"
    assert sent[0]["links"] == [{"href": "https://m.example/42", "text": "Open the incident"}]


def test_another_target_has_the_default_key_or_none() -> None:
    """A paging target without a routing key of its own uses the default; without one nothing is sent."""
    pagerduty = Vendor(accepted)
    other = PAGE.model_copy(update={"arguments": {**PAGE.arguments, "to": "somebody"}})
    send(pagerduty.backend(), other)
    assert json.loads(pagerduty.requests[0].content)["routing_key"] == "key-default"
    with pytest.raises(NotPermitted):
        send(pagerduty.backend(routing_keys={}), other)
    assert len(pagerduty.requests) == 1


def test_upstream_is_answered_in_the_persons_name() -> None:
    """Acknowledging and resolving set the incident's status upstream, from the person who did it here."""
    pagerduty = Vendor(accepted)
    assert send(pagerduty.backend(), ACKNOWLEDGE).value == "acknowledged"
    resolve = ACKNOWLEDGE.model_copy(update={"operation": "incident.resolve"})
    assert send(pagerduty.backend(), resolve).value == "resolved"
    assert [request.headers["from"] for request in pagerduty.requests] == ["ana@example.com"] * 2
    assert [request.url.path for request in pagerduty.requests] == ["/incidents/PABC123"] * 2
    assert pagerduty.backend().read(ACKNOWLEDGE, timeout=5).value == "triggered"


def test_a_note_that_is_there_is_not_written_again() -> None:
    """Notes take no key, so the incident's notes are read before one is written."""
    pagerduty = Vendor(accepted)
    for text, methods in (("already here", ["GET"]), ("new", ["GET", "POST"])):
        pagerduty.requests.clear()
        send(pagerduty.backend(), Call(operation="incident.note", arguments={**ACKNOWLEDGE.arguments, "text": text}))
        assert [request.method for request in pagerduty.requests] == methods


def test_a_note_is_known_again_without_its_outer_spaces() -> None:
    """A far side that keeps a note without its outer spaces is not given it once more at the next attempt."""
    pagerduty = Vendor(accepted)
    send(pagerduty.backend(), Call(operation="incident.note", arguments={**ACKNOWLEDGE.arguments, "text": " already here\n"}))
    assert [request.method for request in pagerduty.requests] == ["GET"]


RESPONDERS = Call(operation="page.responders", arguments={**ACKNOWLEDGE.arguments, "responders": "PBEN001", "text": "help"})
NOTE = Call(operation="incident.note", arguments={**ACKNOWLEDGE.arguments, "text": "new"})


@pytest.mark.parametrize("call", [ACKNOWLEDGE, NOTE, RESPONDERS], ids=lambda call: str(call.operation))
@pytest.mark.parametrize(
    "body", [None, [], "x", 7, {}, {"incident": None}, {"incident": [None]}, {"notes": 7}, {"notes": [None]}, {"notes": {}}]
)
def test_an_answer_of_another_shape_is_unknown_and_no_crash(call: Call, body: Any) -> None:
    """Whatever stands in an answer, it ends in an error for people: the change may have been made."""
    backend = Vendor(lambda _: httpx2.Response(200, json=body)).backend()
    for work in (lambda: send(backend, call), lambda: backend.read(call, timeout=5), lambda: backend.probe(timeout=5)):
        with contextlib.suppress(BackendError):
            work()


def test_several_requests_keep_one_time_limit() -> None:
    """Adding responders asks three times; each has only what the ones before it left."""
    limits: list[float] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        limits.append(request.extensions["timeout"]["read"])
        users = {"users": [{"id": "PANA", "email": "ana@example.com"}], "more": False}
        return httpx2.Response(200, json=users if request.url.path == "/users" else {"incident": {}})

    send(Vendor(answer).backend(), RESPONDERS)
    assert len(limits) == 3
    assert 5 > limits[0] > limits[1] > limits[2]


@pytest.mark.parametrize("incident", ["../services/X", "P1/notes", "", "P1?x", "Pé"])
def test_an_id_from_outside_stays_an_id(incident: str) -> None:
    """What came as an incident's id cannot become another path."""
    pagerduty = Vendor(accepted)
    with pytest.raises(CallInvalid):
        send(pagerduty.backend(), Call(operation="incident.resolve", arguments={"incident": incident, "by": "ana@example.com"}))
    assert pagerduty.requests == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, Rejected), (401, NotPermitted), (403, NotPermitted), (404, TargetMissing), (429, Throttled), (500, OutcomeUnknown),
        (503, OutcomeUnknown), (302, OutcomeUnknown),
    ],
)  # fmt: skip
@pytest.mark.parametrize("call", [PAGE, ACKNOWLEDGE], ids=["page", "acknowledge"])
def test_every_refusal_is_judged_once_and_not_retried(call: Call, status: int, expected: type[BackendError]) -> None:
    """Each status becomes the contract's error at the first answer; the client neither sleeps nor tries again."""
    pagerduty = Vendor(lambda _: httpx2.Response(status, json={"error": "x"}, headers={"Retry-After": "7"}))
    with pytest.raises(expected) as raised:
        send(pagerduty.backend(), call)
    assert len(pagerduty.requests) == 1
    assert getattr(raised.value, "retry_after", 7) == 7


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx2.ConnectError("x"), Unreachable),
        (httpx2.ConnectTimeout("x"), Unreachable),
        (httpx2.ReadTimeout("x"), OutcomeUnknown),
        (httpx2.ReadError("x"), OutcomeUnknown),
        (httpx2.RemoteProtocolError("x"), OutcomeUnknown),
        (httpx2.DecodingError("x"), OutcomeUnknown),
        (httpx2.InvalidURL("x"), CallInvalid),
    ],
)
def test_a_broken_connection_is_judged_once(error: Exception, expected: type[BackendError]) -> None:
    """What was surely not sent and what may have arrived are told apart, at the first attempt."""

    def fail(_: httpx2.Request) -> httpx2.Response:
        raise error

    pagerduty = Vendor(fail)
    with pytest.raises(expected):
        send(pagerduty.backend(), PAGE)
    assert len(pagerduty.requests) == 1


@pytest.mark.parametrize(
    "kind", [one for one in (*vars(httpx2).values(), *vars(vendor).values()) if inspect.isclass(one) and issubclass(one, Exception)]
)
def test_no_error_of_the_client_is_forgotten(kind: type[Exception]) -> None:
    """Every error that the client or its transport defines is among those translated."""
    known = {httpx2.CookieConflict, httpx2.SSEError, vendor.HttpError}
    assert issubclass(kind, FOREIGN) or kind in known or kind.__module__.startswith("pagerduty.cli")
    error = kind.__new__(kind)
    assert isinstance(translated(error, timeout=5), BackendError)


def test_an_answer_without_its_key_is_not_success() -> None:
    """A 2xx of another shape is not taken for a page that went out."""
    with pytest.raises(OutcomeUnknown):
        send(Vendor(lambda _: httpx2.Response(202, json={})).backend(), PAGE)


def test_an_address_without_tls_is_refused() -> None:
    """A token is never sent in the clear, even if the configuration says so."""
    pagerduty = Vendor(accepted)
    with pytest.raises(CallInvalid, match="https://"):
        send(pagerduty.backend(events_url="http://127.0.0.1:1"), PAGE)
    assert pagerduty.requests == []


def test_the_runner_pages() -> None:
    """Through the runner a page is applied, refused with a wait, or unknown, and never raises for what the vendor does."""

    def outcome(answer: Callable[[httpx2.Request], httpx2.Response]) -> Any:
        return Runner(registry=Registry([Vendor(answer).backend()]), now=lambda: NOW).page(PAGE, key="k")

    assert outcome(accepted).status is OutcomeStatus.APPLIED
    throttled = outcome(lambda _: httpx2.Response(429, headers={"Retry-After": "9"}))
    assert (throttled.status, throttled.retry_after) == (OutcomeStatus.REFUSED, 9)
    assert outcome(lambda _: httpx2.Response(500)).status is OutcomeStatus.UNKNOWN
    nowhere = Runner(registry=Registry([]), now=lambda: NOW).page(PAGE, key="k")
    assert nowhere.status is OutcomeStatus.REFUSED
    assert "No backend is configured for page.send" in nowhere.reason
