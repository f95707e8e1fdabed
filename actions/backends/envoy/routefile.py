"""What can be changed in the file that Envoy takes its routes from: the retries of one route, and its local rate limit.

The file is replaced by rename, which Envoy notices, under a lock and only if it still is as it was read; `version_info` in it is counted
up, so that Envoy's own pages tell which version runs. The change survives a restart. https://www.envoyproxy.io/docs/envoy/latest/configuration/overview/xds_api#filesystem-subscriptions
"""

import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actions.backends.envoy.admin import Admin, Left
from actions.backends.envoy.routes import RATE_LIMIT, Route, attempts_in_words, attempts_of, bucket_of
from actions.comparing import before, deadline, same
from actions.contract import BackendError, CallInvalid, Conflict, OutcomeUnknown, Rejected, TargetMissing, Unreachable
from actions.toolkit.rewriting import Place, locked, parsed, put, text_of, with_scalars
from runbooks.operation import Call, Proposal, Reading
from runbooks.value import Json

PAUSE = 0.03  # seconds between two looks at whether Envoy has taken a file over; it needs about a tenth of one
PATIENCE = 3.0  # seconds after which it is said that Envoy has not
LEAST = 1.0  # seconds that must be left when the file is replaced
PUTTING_BACK = 3.0  # seconds, beyond the time limit: a file that Envoy refuses must not stay
DURABLE = "Written to Envoy's route file: it stays when Envoy restarts, until it is undone or the file is delivered anew."
_COUNTS = ("max_tokens", "tokens_per_fill")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One route in the file: where it stands, its content, that of its virtual host, and the file's version."""

    place: Place
    route: Mapping[str, Any]
    host: Mapping[str, Any]
    configuration: str
    version: str
    text: str

    @property
    def revision(self) -> str:
        """The route's own content: two changes of one file can each be undone, whatever became of the other."""
        said = json.dumps([self.route, self.host.get("retry_policy")], sort_keys=True, default=str)
        return hashlib.sha256(said.encode()).hexdigest()[:16]


class NotTaken(OutcomeUnknown):
    """Envoy runs with something else than the file says."""


class InFile(ABC):
    """One kind of value of a route in the file."""

    def __init__(self, admin: Admin, *, path: Path) -> None:
        self._admin, self._path = admin, path

    @abstractmethod
    def _value(self, entry: Entry, call: Call) -> Json:
        """The value as the file has it."""

    @abstractmethod
    def _live(self, route: Route, call: Call) -> Json:
        """The value as Envoy runs it."""

    @abstractmethod
    def _changes(self, entry: Entry, call: Call, value: Json) -> dict[Place, str]:
        """The single values to be written, as YAML, by their places."""

    @abstractmethod
    def propose(self, call: Call, reading: Reading) -> Proposal:
        """As `actions.contract.Backend.propose`."""

    def read(self, call: Call, *, timeout: float) -> Reading:
        """The value in the file, once Envoy runs with it.

        Envoy keeps its old version's name where only the name has changed, so the values are compared and not the versions.

        Raises:
            OutcomeUnknown: Envoy runs with something else than the file says.
        """
        left = deadline(timeout)
        ends = time.monotonic() + min(PATIENCE, timeout * 0.8)  # the rest is for the last look
        while True:
            entry = self._entry(call)
            present = self._reading(entry, call)
            running = self._running(entry, left=left)
            if running and self._live(running, call) == present.value:
                return present
            if time.monotonic() + PAUSE > ends:
                raise NotTaken(self._apart(running))
            time.sleep(PAUSE)

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:  # noqa: ARG002 - a file takes no key
        """Replace the file if the route still is as expected, and wait until Envoy runs with it; if it does not, put the file back."""
        left = deadline(timeout)
        before(lambda: self.read(call, timeout=left()))
        with locked(self._path, left=left):
            entry = self._entry(call)
            present = self._reading(entry, call)
            if present.value == value:
                return present
            if not same(present, expected):
                raise Conflict(f"Someone else changed {call.target} meanwhile.", current=present)
            changed = self._changed(entry, call, value)
            if left() < LEAST:
                raise Unreachable("Too little time is left to see whether Envoy takes its file over; the file was not changed.")
            if text_of(self._path) != entry.text:
                raise Conflict(f"Someone else is changing {self._path.name} at this moment.", current=present)
            put(self._path, changed)
        try:
            return self.read(call, timeout=left())
        except NotTaken as error:
            self._put_back(entry.text, instead_of=changed)
            raise Rejected(f"Envoy does not take the changed file, so it was put back as it was. {error}") from error
        except BackendError as error:
            raise OutcomeUnknown(f"It was sent, and then: {error}") from error

    def _put_back(self, text: str, *, instead_of: str) -> None:
        """Only where nobody has changed the file since.

        Raises:
            OutcomeUnknown: it stands changed, and Envoy has not taken it over yet.
        """
        try:
            with locked(self._path, left=deadline(PUTTING_BACK)):
                if text_of(self._path) == instead_of:
                    put(self._path, text)
                    return
        except BackendError as error:
            raise OutcomeUnknown(f"{self._path.name} was changed, Envoy does not take it, and it cannot be put back: {error}") from error
        raise OutcomeUnknown(f"{self._path.name} was changed, Envoy did not take it, and somebody has changed it again meanwhile.")

    def _changed(self, entry: Entry, call: Call, value: Json) -> str:
        if not entry.version.isdigit():
            raise CallInvalid(f'{self._path.name} has no version that can be counted; write `version_info: "1"` at its top.')
        counted: dict[Place, str] = {("version_info",): json.dumps(str(int(entry.version) + 1))}
        return with_scalars(entry.text, {**self._changes(entry, call, value), **counted}, name=self._path.name)

    def _entry(self, call: Call) -> Entry:
        text = text_of(self._path)
        document = parsed(text, name=self._path.name)
        if not isinstance(document, Mapping) or not isinstance(document.get("resources"), list):
            raise Rejected(f"{self._path.name} is no discovery response of Envoy's: it has no `resources`.")
        host_name, _, rest = (call.target or "").partition("/")
        route_name = rest.partition("/")[0]
        found = list(_entries(document, host_name, route_name, text=text)) if route_name else []
        if len(found) != 1:
            many = f"{len(found)} routes" if found else "no route"
            error = CallInvalid if found else TargetMissing
            raise error(f"{self._path.name} has {many} {host_name}/{route_name}; write virtual-host/route, by names that are there once.")
        return found[0]

    def _reading(self, entry: Entry, call: Call) -> Reading:
        try:
            return Reading(value=self._value(entry, call), revision=entry.revision)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise Rejected(f"{self._path.name} says of {call.target} what is no route of Envoy's; look at it there.") from error

    def _running(self, entry: Entry, *, left: Left) -> Route | None:
        name = f"{entry.host.get('name')}/{entry.route.get('name')}"
        found = [route for route in self._admin.routes(left=left) if (route.configuration, route.name) == (entry.configuration, name)]
        return found[0] if len(found) == 1 else None

    def _apart(self, running: Route | None) -> str:
        runs = f"still runs its version {running.version or 'without a name'}" if running else "does not run this route"
        return (
            f"Envoy {runs}, and not what {self._path.name} says. Look for update_rejected or update_failure in its /stats, and at its log."
        )


def _entries(document: Mapping[str, Any], host_name: str, route_name: str, *, text: str) -> list[Entry]:
    return [
        Entry(
            place=("resources", number, "virtual_hosts", at, "routes", index),
            route=route,
            host=host,
            configuration=str(resource.get("name", "")),
            version=str(document.get("version_info", "")),
            text=text,
        )
        for number, resource in _mappings(document["resources"])
        for at, host in _mappings(resource.get("virtual_hosts"))
        if host.get("name") == host_name
        for index, route in _mappings(host.get("routes"))
        if route.get("name") == route_name
    ]


def _mappings(found: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    return ((at, one) for at, one in enumerate(found if isinstance(found, list) else []) if isinstance(one, Mapping))


class RouteRetries(InFile):
    """`num_retries` of one route. The target is virtual-host/route."""

    def _value(self, entry: Entry, call: Call) -> Json:
        if (call.target or "").count("/") != 1:
            raise CallInvalid(f"{call.target!r} is no route; write virtual-host/route.")
        action = entry.route.get("route", {})
        return {"attempts": attempts_of(action.get("retry_policy", entry.host.get("retry_policy")))}

    def _live(self, route: Route, call: Call) -> Json:  # noqa: ARG002 - the parent's signature
        return {"attempts": route.attempts}

    def _changes(self, entry: Entry, call: Call, value: Json) -> dict[Place, str]:
        policy = entry.route.get("route", {}).get("retry_policy")
        if not policy or not policy.get("retry_on"):
            raise CallInvalid(f"{call.target} has no retry_policy of its own with retry_on; there is nothing to cap in the file.")
        return {(*entry.place, "route", "retry_policy", "num_retries"): str(value["attempts"] - 1)}

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The number asked for; at least the first attempt."""
        value = {"attempts": call.arguments["attempts"]}
        if value["attempts"] < 1:
            raise CallInvalid("The first attempt always happens; 1 attempt is the least.")
        before_text, after_text = attempts_in_words(reading.value), attempts_in_words(value)
        return Proposal(value=value, before_text=before_text, after_text=after_text, note=DURABLE)


class RouteLimit(InFile):
    """The token bucket of one route's local rate limit. The target is virtual-host/route/max_tokens, or …/tokens_per_fill.

    A changed bucket begins full. https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/local_rate_limit_filter
    """

    def _value(self, entry: Entry, call: Call) -> Json:
        found = bucket_of(entry.route).get(_count(call))
        if isinstance(found, bool) or not isinstance(found, int):
            raise TargetMissing(
                f"{call.target} is not written in {self._path.name}; give the route a token_bucket with {_count(call)} there."
            )
        return {"value": found}

    def _live(self, route: Route, call: Call) -> Json:
        return {"value": route.bucket.get(_count(call))}

    def _changes(self, entry: Entry, call: Call, value: Json) -> dict[Place, str]:
        place = (*entry.place, "typed_per_filter_config", RATE_LIMIT, "token_bucket", _count(call))
        return {place: str(int(value["value"]))}

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The number asked for: whole, and at least 1, which is the least that Envoy takes."""
        wanted = call.arguments["value"]
        if wanted != int(wanted) or not 1 <= wanted <= 2**32 - 1:
            raise CallInvalid(
                f"{call.target} takes whole numbers from 1 on, not {wanted:g}; to let nobody through, switch the route instead."
            )
        value = {"value": int(wanted)}
        words = {"max_tokens": "at once", "tokens_per_fill": "each filling"}[_count(call)]
        before_text, after_text = f"{reading.value['value']:,} {words}", f"{value['value']:,} {words}"
        return Proposal(value=value, before_text=before_text, after_text=after_text, note=DURABLE)


def _count(call: Call) -> str:
    name = (call.target or "").rpartition("/")[2]
    if (call.target or "").count("/") != 2 or name not in _COUNTS:
        raise CallInvalid(f"{call.target!r} is no limit; write virtual-host/route/max_tokens or virtual-host/route/tokens_per_fill.")
    return name
