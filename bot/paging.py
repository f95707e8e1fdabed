"""Paging: by PagerDuty where it is configured, else, and when it does not take the page, by a direct message in Slack (path D).

Backends like any other, so that a page has the guard and the record that every action has. They live here and not in `actions`,
because one of them speaks through the messenger.
"""

import structlog

from actions.backends.pagerduty import PAGE
from actions.contract import Backend, BackendError, OutcomeUnknown, Rejected, Throttled, Unreachable
from actions.kinds import OnlyReads
from bot.ports import Clock, DeliveryError, Messenger, OnCall
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.people import Person
from runbooks.screens import Page
from runbooks.value import Json
from storage import incidents
from storage.database import Database

log = structlog.get_logger(__name__)


class SlackPager(OnlyReads):
    """Implements `actions.contract.Backend` for `page.send`. The key stands in the message, so a lost answer is looked up first."""

    name = "slack-pager"
    environment: str | None = None
    world: str | None = None
    operations: tuple[Operation, ...] = (PAGE,)

    def __init__(self, *, messenger: Messenger, on_call: OnCall, clock: Clock, database: Database, public_url: str) -> None:
        self._messenger, self._on_call, self._clock, self._database = messenger, on_call, clock, database
        self._public_url = public_url.rstrip("/")

    def read(self, call: Call, *, timeout: float) -> Reading:  # noqa: ARG002 - the contract's signature
        """Nothing is known beforehand about a page."""
        return Reading()

    def propose(self, call: Call, reading: Reading) -> Proposal:  # noqa: ARG002
        """What will be said."""
        return Proposal(value="sent", before_text="nothing sent", after_text="sent")

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:  # noqa: ARG002
        """Send it to everyone on duty behind the target.

        Raises:
            Rejected: nobody is on duty there, or none of them can be reached in Slack.
        """
        target = str(call.arguments["to"])
        people = [person for person in self._on_call.rotation(target, self._clock.now()) if person.slack_id]
        if not people:
            raise Rejected(f"Nobody who has a Slack id is on duty for {target}.")
        failures = [error for person in people if (error := self._tried(call, person, key=f"{key}:{person.id}"))]
        lasting = [error for error in failures if isinstance(error, Rejected)]
        if failures and (len(lasting) < len(failures) or len(failures) == len(people)):
            raise next((error for error in failures if not isinstance(error, Rejected)), failures[0])
        return Reading(value="sent", revision=key)

    def _tried(self, call: Call, person: Person, *, key: str) -> BackendError | None:
        """Send to one; one who cannot be reached must not keep the page from the others."""
        try:
            self._send(call, person, key=key)
        except BackendError as error:
            log.warning("page.not_sent", to=person.id, reason=str(error))
            return error
        return None

    def _send(self, call: Call, person: Person, *, key: str) -> None:
        incident_id = int(str(call.arguments["source"]).removeprefix("INC-"))
        incident = self._database.read(lambda tx: incidents.get(tx, incident_id))
        url = str(call.arguments.get("link") or f"{self._public_url}/incidents/{incident_id}")
        screen = Page(incident=incident, person=person, reason=str(call.arguments["summary"]), url=url)
        try:
            # A page is repeated by its task under the same key, so it always looks first: nobody is called twice for one reason.
            self._messenger.direct(screen, slack_id=str(person.slack_id), key=key, look_first=True)
        except DeliveryError as error:
            if error.retry_after is not None:
                raise Throttled(str(error), retry_after=error.retry_after) from error
            if error.permanent:
                raise Rejected(str(error)) from error
            raise (Unreachable if error.certain else OutcomeUnknown)(str(error)) from error


class Pager(OnlyReads):
    """`page.send` over two ways: the first, and where that surely did not take the page, the second. Nobody is left unpaged silently."""

    name = "pager"
    environment: str | None = None
    world: str | None = None
    operations: tuple[Operation, ...] = (PAGE,)

    def __init__(self, *, first: Backend, second: Backend) -> None:
        self._first, self._second = first, second

    def read(self, call: Call, *, timeout: float) -> Reading:  # noqa: ARG002 - the contract's signature
        """Nothing is known beforehand about a page."""
        return Reading()

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """Page by the first way; by the second where the first refused for certain."""
        try:
            return self._first.apply(call, value, expected=expected, key=key, timeout=timeout)
        except (OutcomeUnknown, Throttled):
            # It may have gone out, or will: its own key makes the repetition harmless. Until that is known, Slack says it as well.
            self._said_too(call, value, expected=expected, key=key, timeout=timeout)
            raise
        except BackendError as error:
            log.warning("page.by_slack_instead", to=call.arguments["to"], reason=str(error))
            return self._second.apply(call, value, expected=expected, key=key, timeout=timeout)

    def _said_too(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> None:
        try:
            self._second.apply(call, value, expected=expected, key=key, timeout=timeout)
        except BackendError as error:
            log.warning("page.not_by_slack_either", to=call.arguments["to"], reason=str(error))


class Answering:
    """PagerDuty without its paging: acknowledging, resolving and notes go upstream through it."""

    name = "pagerduty-answers"
    environment: str | None = None
    world: str | None = None

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.operations: tuple[Operation, ...] = tuple(one for one in backend.operations if one.name != PAGE.name)

    def read(self, call: Call, *, timeout: float) -> Reading:
        """What PagerDuty says of its incident."""
        return self._backend.read(call, timeout=timeout)

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """What will be said."""
        return self._backend.propose(call, reading)

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """Say it."""
        return self._backend.apply(call, value, expected=expected, key=key, timeout=timeout)
