"""PagerDuty: call a person (Events API v2), and answer its incidents (REST API v2), through the official client.

The client would retry and sleep by itself; here every answer is judged as it comes, because the engine repeats, and knows when.
https://developer.pagerduty.com/docs/events-api-v2/overview/
"""

import ssl
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import pagerduty

from actions.comparing import deadline
from actions.contract import BackendError, CallInvalid, NotPermitted, OutcomeUnknown, Unreachable
from actions.kinds import BackendKind, Options, Secrets
from actions.toolkit.understood import understood
from actions.toolkit.wire import Answer, refuse
from runbooks.operation import Argument, ArgumentType, Call, Operation, Proposal, Reading
from runbooks.severity import Tier
from runbooks.value import Json

WHO = "PagerDuty"
MOST_SUMMARY = 1024  # characters; the Events API's own limit
MOST_NOTE = 25_000
MOST_RESPONDERS = 20  # people called by one request; more is a mistake, and wakes everybody
MOST_NOTES = 200  # how many of an incident's notes are looked through for one that is already there
SEVERITIES = ("critical", "error", "warning", "info")

_TEXT = Argument(type=ArgumentType.TEXT)
_INCIDENT = Argument(type=ArgumentType.TEXT, help="PagerDuty's id of the incident")

PAGE = Operation(
    name="page.send",
    title="Page a person",
    reads=False,
    tier=Tier.R1,
    arguments={
        "to": Argument(type=ArgumentType.TEXT, help="the paging target, such as ml-platform-primary"),
        "summary": _TEXT,
        "source": _TEXT,
        "severity": Argument(type=ArgumentType.TEXT, required=False, choices=SEVERITIES),
        "link": Argument(type=ArgumentType.TEXT, required=False),
    },
    looks=False,
    internal=True,
)


def _answer(name: str, title: str, **arguments: Argument) -> Operation:
    return Operation(
        name=name,
        title=title,
        reads=False,
        tier=Tier.R1,
        arguments={"incident": _INCIDENT, "by": Argument(type=ArgumentType.TEXT, help="the person's e-mail address"), **arguments},
        internal=True,
    )


RESPONDERS = _answer(
    "page.responders",
    "Add responders upstream",
    responders=Argument(type=ArgumentType.TEXT, help="PagerDuty's ids of people, or policy:ID, separated by commas"),
    text=_TEXT,
)
OPERATIONS = (
    PAGE,
    _answer("incident.acknowledge", "Acknowledge upstream"),
    _answer("incident.resolve", "Resolve upstream"),
    _answer("incident.note", "Note upstream", text=_TEXT),
    RESPONDERS,
)
_STATUS = {"incident.acknowledge": "acknowledged", "incident.resolve": "resolved"}
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
_INVALID = (httpx2.InvalidURL, httpx2.UnsupportedProtocol, pagerduty.UrlError)
FOREIGN = (pagerduty.Error, pagerduty.UrlError, httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError)
"""Everything that the client may raise by its own account."""


class _Judged:
    """Judge every answer as it comes, before the client's own retries (which have no limit for a 429) get to see it.

    `left` is asked before each request, so that several keep the one time limit.
    """

    max_network_attempts = 0
    left: Callable[[], float]

    @property
    def timeout(self) -> float:
        """Seconds for the next request."""
        return self.left()

    def postprocess(self, response: Any) -> None:
        changes = response.request.method != "GET"
        answer = Answer(status=response.status_code, body=response.content, headers=response.headers, changes=changes)
        refuse(answer, who=WHO, what="such incident or key")


class _Events(_Judged, pagerduty.EventsApiV2Client):  # type: ignore[misc]
    """The Events API, one attempt."""


class _Rest(_Judged, pagerduty.RestApiV2Client):  # type: ignore[misc]
    """The REST API, one attempt."""


class PagerDuty:
    """Pages and answers. Implements `actions.contract.Backend`; `key` becomes the dedup key, so that a repetition calls nobody twice."""

    name = "pagerduty"
    environment: str | None = None
    world: str | None = None
    operations: tuple[Operation, ...] = OPERATIONS

    def __init__(
        self,
        *,
        routing_keys: Mapping[str, Callable[[], str]],
        token: Callable[[], str] | None = None,
        events_url: str | None = None,
        api_url: str | None = None,
        transport: Callable[[], httpx2.BaseTransport] | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        """`routing_keys` by paging target, `default` for the rest; `token` of the REST API; `transport` and `verify` are for tests."""
        self._routing_keys, self._token = routing_keys, token
        self._events_url, self._api_url, self._transport, self._verify = events_url, api_url, transport, verify

    def read(self, call: Call, *, timeout: float) -> Reading:
        """The incident's status upstream; nothing is known beforehand about a page."""
        if call.operation == PAGE.name:
            return Reading()
        with _translating(timeout), self._rest(call, timeout=timeout) as client, understood(WHO):
            return Reading(value=str(client.rget(f"/incidents/{_incident(call)}")["status"]))

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """What will be said."""
        wanted = _STATUS.get(call.operation, "sent")
        return Proposal(value=wanted, before_text=str(reading.value or "nothing sent"), after_text=wanted)

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:  # noqa: ARG002
        """Send it. Repeated with the same key it changes nothing more."""
        with _translating(timeout):
            if call.operation == PAGE.name:
                return self._page(call, key=key, timeout=timeout)
            with self._rest(call, timeout=timeout) as client, understood(WHO):
                return _ANSWERS.get(call.operation, _status)(client, call)

    def probe(self, *, timeout: float) -> str:
        """Whether the REST token is let in; a routing key shows only when somebody is paged, so none is tried."""
        keys = f"{len(self._routing_keys)} routing keys are configured, and none was tried: that would page somebody."
        if self._token is None:
            return f"No API token: {WHO}'s incidents are not answered. {keys}"
        with _translating(timeout), _Rest(self._token(), base_url=self._api_url, **self._options()) as client:
            client.left = deadline(timeout)
            with understood(WHO):
                count = len(client.rget("/abilities"))
        return f"{WHO} lets the API token in; the account has {count} abilities. {keys}"

    def _page(self, call: Call, *, key: str, timeout: float) -> Reading:
        said = call.arguments
        routing_key = self._routing_keys.get(said["to"]) or self._routing_keys.get("default")
        if routing_key is None:
            raise NotPermitted(f"No routing key is configured for {said['to']}.")
        link = [{"href": said["link"], "text": "Open the incident"}] if said.get("link") else None
        with _Events(routing_key(), base_url=self._events_url, **self._options()) as client:
            client.left = deadline(timeout)
            client.trigger(
                str(said["summary"])[:MOST_SUMMARY],
                str(said["source"])[:MOST_SUMMARY],
                dedup_key=key,
                severity=said.get("severity") or "critical",
                custom_details={"paged": said["to"]},
                links=link,
            )
        return Reading(value="sent", revision=key)

    def _rest(self, call: Call, *, timeout: float) -> Any:
        if self._token is None:
            raise NotPermitted("No API token of PagerDuty is configured; it cannot be answered.")
        client = _Rest(self._token(), default_from=str(call.arguments["by"]), base_url=self._api_url, **self._options())
        client.left = deadline(timeout)
        return client

    def _options(self) -> dict[str, Any]:
        return {"trust_env": False, "verify": self._verify, **({"transport": self._transport()} if self._transport else {})}


class _translating:  # noqa: N801 - used as a statement
    """Turn whatever the client raises into the contract's errors."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FOREIGN) and not isinstance(error, BackendError):
            raise translated(error, timeout=self._timeout) from error


def translated(error: BaseException, *, timeout: float) -> BackendError:
    """The contract's error; the client wraps what really happened as the cause."""
    cause = error.__cause__ if isinstance(error, pagerduty.Error) and error.__cause__ else error
    if isinstance(cause, _INVALID):
        return CallInvalid(f"{WHO}: the configured address cannot be used; it must begin with https://.")
    if isinstance(cause, _NEVER_SENT):
        return Unreachable(f"{WHO} cannot be reached; nothing was sent.")
    if isinstance(cause, httpx2.TimeoutException):
        return OutcomeUnknown(f"{WHO} did not answer within {timeout:.0f} s.")
    return OutcomeUnknown(f"{WHO} gave no trustworthy answer.")


def _incident(call: Call) -> str:
    found = str(call.arguments["incident"])
    if not found.isalnum() or not found.isascii():
        raise CallInvalid(f"{found!r} is no id of a PagerDuty incident.")
    return found


def _status(client: Any, call: Call) -> Reading:
    wanted = _STATUS[call.operation]
    found = client.rput(f"/incidents/{_incident(call)}", json={"type": "incident_reference", "status": wanted})
    return Reading(value=str(found["status"]))


def _note(client: Any, call: Call) -> Reading:
    """Write the note unless the incident carries it already: PagerDuty takes no idempotency key for notes."""
    text, path = str(call.arguments["text"])[:MOST_NOTE].strip(), f"/incidents/{_incident(call)}/notes"
    if text not in [str(note.get("content")).strip() for note in client.rget(path)[:MOST_NOTES]]:
        client.rpost(path, json={"content": text})
    return Reading(value="sent")


def _responders(client: Any, call: Call) -> Reading:
    """Ask for responders who were not asked yet: a request pages people, and PagerDuty takes no key for it."""
    path = f"/incidents/{_incident(call)}"
    wanted = _wanted(str(call.arguments["responders"]))
    incident = client.rget(path)
    asked = {str((one.get("user") or {}).get("id")) for one in incident.get("incidents_responders") or ()}
    for request in incident.get("responder_requests") or ():
        targets = (one.get("responder_request_target") or {} for one in request.get("responder_request_targets") or ())
        asked |= {str(target.get("id")) for target in targets}
    missing = [one for one in wanted if one["id"] not in asked]
    if missing:
        body = {
            "requester_id": _requester(client, str(call.arguments["by"])),
            "message": str(call.arguments["text"])[:MOST_SUMMARY],
            "responder_request_targets": [{"responder_request_target": one} for one in missing],
        }
        client.post(f"{path}/responder_requests", json=body)
    return Reading(value="sent", facts={"asked": [one["id"] for one in missing]})


def _wanted(listed: str) -> list[dict[str, str]]:
    """The people and escalation policies that are named.

    Raises:
        CallInvalid: one is no id of PagerDuty's, or there are none or too many.
    """
    names = [name.strip() for name in listed.split(",") if name.strip()]
    found = [
        {"id": name.removeprefix("policy:"), "type": f"{'escalation_policy' if name.startswith('policy:') else 'user'}_reference"}
        for name in dict.fromkeys(names)
    ]
    if not 1 <= len(found) <= MOST_RESPONDERS or any(not (one["id"].isalnum() and one["id"].isascii()) for one in found):
        raise CallInvalid(f"Name 1 to {MOST_RESPONDERS} of PagerDuty's ids, such as PXPGF42 or policy:PUS0KTE. Nobody was called.")
    return found


def _requester(client: Any, email: str) -> str:
    """Who asks, by the e-mail address: PagerDuty wants the person's id."""
    found = [one for one in client.rget("/users", params={"query": email}) if str(one.get("email", "")).lower() == email.lower()]
    if len(found) != 1:
        raise NotPermitted(f"{WHO} knows nobody by the e-mail address of whoever asks; nobody was called.")
    return str(found[0]["id"])


_ANSWERS: dict[str, Callable[[Any, Call], Reading]] = {"incident.note": _note, RESPONDERS.name: _responders}


def build(options: Options, secrets: Secrets) -> PagerDuty:
    """Secrets: `api_token` for answering upstream; every other one is the routing key of the paging target of that name."""
    return PagerDuty(
        routing_keys={name: secret for name, secret in secrets.items() if name != "api_token"},
        token=secrets.get("api_token"),
        events_url=options.text("events_url", None),
        api_url=options.text("api_url", None),
    )


KIND = BackendKind(name="pagerduty", operations=OPERATIONS, build=build, options=frozenset({"events_url", "api_url"}))
