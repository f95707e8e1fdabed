"""PagerDuty's documented wire format over real TLS on this machine, with its state; not the real service."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from actions.backends.pagerduty import PagerDuty
from actions.contract import CallInvalid, NotPermitted, OutcomeUnknown, TargetMissing, Throttled, Unreachable
from actions.registry import Registry
from actions.runner import Runner
from runbooks.operation import Call, Outcome, OutcomeStatus, Reading
from tests.acting import NOW
from tests.parts.answering import Answer, Asked, answering
from tests.parts.tls import contexts

INCIDENT = "PT4KHLK"
ANA = {"id": "PANA001", "type": "user", "email": "ana@example.com", "name": "Ana"}


class Vendor:
    """One account with one incident; keeps pages by their dedup key, as PagerDuty does."""

    def __init__(self) -> None:
        self.pages: dict[str, dict[str, Any]] = {}
        self.notes: list[dict[str, str]] = []
        self.requests: list[dict[str, Any]] = []
        self.status = "triggered"
        self.asked: list[Asked] = []
        self.ill: int | None = None
        self.lies = False

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        changes = asked.method != "GET"
        if changes and self.ill is not None and not self.lies:
            return self.ill, {"error": {"message": "out of order", "code": 2001}}, {"Retry-After": "9"}
        answer = self._events(asked.body) if asked.path == "/v2/enqueue" else self._rest(asked)
        return (500, {"error": {"message": "out of order"}}) if changes and self.lies else answer

    def _events(self, body: Any) -> Answer:
        self.pages[body["dedup_key"]] = body
        return 202, {"status": "success", "message": "Event processed", "dedup_key": body["dedup_key"]}

    def _rest(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != "Token token=right":
            return 401, {"error": {"message": "Unauthorized", "code": 2006}}
        path = asked.path.removeprefix(f"/incidents/{INCIDENT}")
        match asked.method, path:
            case "GET", "/abilities":
                return 200, {"abilities": ["teams", "response_operations"]}
            case "GET", "/users":
                return 200, {"users": [ANA] if asked.query["query"] == [ANA["email"]] else [], "limit": 25, "offset": 0, "more": False}
            case "GET", "/notes":
                return 200, {"notes": self.notes}
            case "POST", "/notes":
                self.notes.append({"content": asked.body["note"]["content"]})
                return 201, {"note": self.notes[-1]}
            case "POST", "/responder_requests":
                self.requests.append(asked.body)
                return 200, {"responder_request": asked.body}
            case "PUT", "":
                self.status = asked.body["incident"]["status"]
        if asked.path == f"/incidents/{INCIDENT}":
            people = [one["responder_request_target"] for request in self.requests for one in request["responder_request_targets"]]
            responders = [{"state": "pending", "user": {"id": one["id"]}} for one in people if one["type"] == "user_reference"]
            return 200, {
                "incident": {"id": INCIDENT, "status": self.status, "incidents_responders": responders, "responder_requests": self.requests}
            }
        return 404, {"error": {"message": "Not Found", "code": 2100}}


class Served(NamedTuple):
    """The vendor, where it listens, and what its clients trust."""

    vendor: Vendor
    url: str
    trust: ssl.SSLContext

    def backend(self, token: str = "right", *, trusted: bool = True) -> PagerDuty:
        keys = {"default": lambda: "R" * 32}
        verify = self.trust if trusted else True
        return PagerDuty(routing_keys=keys, token=lambda: token, events_url=self.url, api_url=self.url, verify=verify)

    def does(self, operation: str, **arguments: str) -> Outcome:
        given = {"incident": INCIDENT, "by": "ana@example.com", **arguments}
        runner = Runner(registry=Registry([self.backend()]), now=lambda: NOW)
        return runner.page(Call(operation=operation, arguments=given), key="INC-42:1", timeout=5)


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """One certificate for the module."""
    return contexts(Path(tmp_path_factory.mktemp("tls")))


@pytest.fixture
def served(trust: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[Served]:
    vendor = Vendor()
    with answering(vendor.answer, tls=trust[0]) as url:
        yield Served(vendor, url, trust[1])


PAGE = {"to": "ml-platform-primary", "summary": "INC-42: model answers are slow", "source": "INC-42"}


def test_a_page_over_tls_calls_once_for_each_key(served: Served) -> None:
    """Sent twice under one key, PagerDuty holds one page, with the words and the severity."""
    runner = Runner(registry=Registry([served.backend()]), now=lambda: NOW)
    for _ in range(2):
        assert runner.page(Call(operation="page.send", arguments=PAGE), key="INC-42:1").status is OutcomeStatus.APPLIED
    assert list(served.vendor.pages) == ["INC-42:1"]
    assert served.vendor.pages["INC-42:1"]["payload"]["summary"] == PAGE["summary"]
    assert len(served.vendor.asked) == 2


def test_s18_nothing_is_said_to_a_server_that_is_not_known(served: Served) -> None:
    """A certificate that nobody vouches for ends the conversation before a key or token is sent."""
    with pytest.raises(Unreachable, match="nothing was sent"):
        served.backend(trusted=False).apply(Call(operation="page.send", arguments=PAGE), None, expected=Reading(), key="k", timeout=5)
    assert served.vendor.asked == []


def test_upstream_follows_what_people_do(served: Served) -> None:
    """Acknowledging, resolving and a note arrive in the person's name; the same note is written once."""
    assert served.does("incident.acknowledge").status is OutcomeStatus.APPLIED
    assert served.vendor.status == "acknowledged"
    assert served.does("incident.resolve").status is OutcomeStatus.APPLIED
    assert served.vendor.status == "resolved"
    for _ in range(2):
        assert served.does("incident.note", text="Scaled the pool.").status is OutcomeStatus.APPLIED
    assert served.vendor.notes == [{"content": "Scaled the pool."}]
    assert {one.headers["from"] for one in served.vendor.asked} == {"ana@example.com"}


def test_responders_are_called_once(served: Served) -> None:
    """People and policies are asked for in one request in the person's name; who was asked already is not called again."""
    first = served.does("page.responders", responders="PBEN002, policy:PUS0KTE", text="We need the data team.")
    assert first.status is OutcomeStatus.APPLIED, first.reason
    assert served.vendor.requests == [
        {
            "requester_id": "PANA001",
            "message": "We need the data team.",
            "responder_request_targets": [
                {"responder_request_target": {"id": "PBEN002", "type": "user_reference"}},
                {"responder_request_target": {"id": "PUS0KTE", "type": "escalation_policy_reference"}},
            ],
        }
    ]
    assert served.does("page.responders", responders="PBEN002,policy:PUS0KTE", text="Again.").status is OutcomeStatus.APPLIED
    assert len(served.vendor.requests) == 1
    assert served.does("page.responders", responders="PBEN002,PCHI003", text="More.").status is OutcomeStatus.APPLIED
    assert [one["responder_request_target"]["id"] for one in served.vendor.requests[1]["responder_request_targets"]] == ["PCHI003"]


@pytest.mark.parametrize(
    "responders", ["", ",", "../users", "P1,policy:", "ana@example.com", ",".join(f"P{number}" for number in range(21))]
)
def test_s29_only_ids_are_called(responders: str, served: Served) -> None:
    """Whatever is no id of PagerDuty's, or a whole company of them, calls nobody."""
    call = Call(
        operation="page.responders", arguments={"incident": INCIDENT, "by": "ana@example.com", "responders": responders, "text": "x"}
    )
    with pytest.raises(CallInvalid, match="Nobody was called"):
        served.backend().apply(call, None, expected=Reading(), key="k", timeout=5)
    assert served.vendor.requests == []


def test_nobody_asks_in_the_name_of_a_stranger(served: Served) -> None:
    """Whoever PagerDuty does not know cannot call people through it."""
    refused = served.does("page.responders", by="mallory@example.com", responders="PBEN002", text="x")
    assert (refused.status, "nobody was called" in refused.reason) == (OutcomeStatus.REFUSED, True)
    assert served.vendor.requests == []


@pytest.mark.parametrize(
    ("status", "expected"), [(403, NotPermitted), (404, TargetMissing), (429, Throttled), (500, OutcomeUnknown), (503, OutcomeUnknown)]
)
@pytest.mark.parametrize("operation", ["page.send", "incident.acknowledge", "incident.note", "page.responders"])
def test_refusals_over_the_wire_are_told_apart(operation: str, status: int, expected: type[Exception], served: Served) -> None:
    """Each refusal of a change is judged at the first answer and leaves PagerDuty as it was."""
    served.vendor.ill = status
    arguments = {**PAGE, "incident": INCIDENT, "by": "ana@example.com", "text": "x", "responders": "PBEN002"}
    with pytest.raises(expected) as raised:
        served.backend().apply(Call(operation=operation, arguments=arguments), None, expected=Reading(), key="k", timeout=5)
    assert getattr(raised.value, "retry_after", 9) == 9
    assert (served.vendor.pages, served.vendor.notes, served.vendor.requests, served.vendor.status) == ({}, [], [], "triggered")
    assert len([one for one in served.vendor.asked if one.method != "GET"]) == 1


@pytest.mark.parametrize("operation", ["page.send", "incident.note", "page.responders"])
def test_what_succeeded_and_said_it_failed_is_not_doubled(operation: str, served: Served) -> None:
    """After an answer that lied, the repetition under the same key finds what is there: one page, one note, one request."""
    arguments = {**PAGE, "incident": INCIDENT, "by": "ana@example.com", "text": "x", "responders": "PBEN002"}
    served.vendor.lies = True
    assert served.does(operation, **arguments).status is OutcomeStatus.UNKNOWN
    served.vendor.lies = False
    assert served.does(operation, **arguments).status is OutcomeStatus.APPLIED
    assert (len(served.vendor.pages), len(served.vendor.notes), len(served.vendor.requests)) == {
        "page.send": (1, 0, 0), "incident.note": (0, 1, 0), "page.responders": (0, 0, 1),
    }[operation]  # fmt: skip


def test_the_probe_pages_nobody(served: Served) -> None:
    """The token is tried, a routing key is not; a wrong token is said without repeating it."""
    assert "lets the API token in" in served.backend().probe(timeout=5)
    with pytest.raises(NotPermitted) as refused:
        served.backend(token="sw0rdfish").probe(timeout=5)
    assert "sw0rdfish" not in str(refused.value)
    assert (served.vendor.pages, {one.method for one in served.vendor.asked}) == ({}, {"GET"})
