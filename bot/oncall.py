"""Who is on duty: from the configuration alone, or from PagerDuty with the configuration behind it. Implements `ports.OnCall`."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import pagerduty
import structlog
from pydantic import SecretStr

from bot.configuration.moments import moment_of
from bot.configuration.schema import OnCallPlan, Target
from runbooks.errors import MusterError
from runbooks.people import Directory, Person

_PATIENCE = 3  # seconds; a card waits, and the configuration can answer
_log = structlog.get_logger("muster.oncall")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Somebody stands in from `start_at` (included) until `end_at` (excluded)."""

    person: str
    start_at: datetime
    end_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """One paging target, computed: an override wins, then the rotation, and a single person is a rotation of one."""

    people: tuple[str, ...]
    target: Target
    zone: ZoneInfo
    overrides: tuple[Span, ...]

    @classmethod
    def of(cls, target: Target, *, time_zone: str) -> "Duty":
        """The duty of a target; `time_zone` holds where the target names none."""
        zone = ZoneInfo(target.zone or time_zone)
        spans = tuple(Span(person=o.person, start_at=moment_of(o.from_, zone), end_at=moment_of(o.until, zone)) for o in target.overrides)
        return cls(people=(target.person,) if target.person else target.rotation, target=target, zone=zone, overrides=spans)

    def person_at(self, at: datetime) -> str:
        """The person's id; somebody is always on duty."""
        override = next((span.person for span in self.overrides if span.start_at <= at < span.end_at), None)
        return override or self.people[self.shift_at(at) % len(self.people)]

    def shift_at(self, at: datetime) -> int:
        """Which shift it is, from 0 on the day `starts`; negative before.

        A hand-over happens at its local time on each local day: once on the night on which that time comes twice, and at the same
        distance from midnight on the night on which it does not come at all.
        """
        if self.target.starts is None:
            return 0
        day = at.astimezone(self.zone).date()
        if self._hand_over(day.toordinal()) > at:
            day -= timedelta(days=1)
        return (day - self.target.starts).days // (7 if self.target.every == "week" else 1)

    def _hand_over(self, ordinal: int) -> datetime:
        day = datetime.fromordinal(ordinal).date()
        return datetime.combine(day, self.target.hand_over, self.zone).astimezone(UTC)


class OnCallFile:
    """The plan of the configuration: pure computation. A team without an entry is its lead's."""

    def __init__(self, *, plan: OnCallPlan, directory: Directory, time_zone: str = "UTC") -> None:
        self._directory = directory
        self._teams = {team: tuple(targets) for team, targets in plan.teams.items()}
        self._duties = {name: Duty.of(target, time_zone=time_zone) for name, target in plan.targets.items()}

    @property
    def names(self) -> frozenset[str]:
        """Every paging target."""
        return frozenset(self._duties)

    def on_call(self, team: str, at: datetime) -> tuple[Person, ...]:
        """The people on duty for a team, first to be tried first; empty when nobody is."""
        return self.people_of(team, at, self.rotation)

    def rotation(self, name: str, at: datetime) -> tuple[Person, ...]:
        """The person behind a paging target; empty for an unknown one. Also takes `person:ana`'s and a team's plain name."""
        if duty := self._duties.get(name):
            return self._found([duty.person_at(at)])
        if self._directory.team(name):
            return self.on_call(name, at)
        return self._found([name])

    def people_of(self, team: str, at: datetime, rotation: Callable[[str, datetime], tuple[Person, ...]]) -> tuple[Person, ...]:
        """The people behind a team's targets, each once, as `rotation` answers for a target."""
        if team in self._teams:
            return tuple(dict.fromkeys(person for name in self._teams[team] for person in rotation(name, at)))
        known = self._directory.team(team)
        return self._found([known.lead] if known and known.lead else [])

    def _found(self, ids: Iterable[str]) -> tuple[Person, ...]:
        return tuple(person for person in map(self._directory.person, ids) if person is not None)


class NoAnswer(MusterError):
    """PagerDuty did not say who is on duty; the sentence says why."""


class _Client(pagerduty.RestApiV2Client):
    """The official client, told to give up at once: it would sleep and repeat, for a 429 without end, while a card waits."""

    max_network_attempts = 0

    def postprocess(self, response: httpx2.Response, suffix: str | None = None) -> None:  # noqa: ARG002 - the client's signature
        if not response.is_success:
            raise NoAnswer(f"PagerDuty answered {response.status_code}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    at: datetime
    people: tuple[Person, ...]
    trouble: str | None = None


class PagerDutyOnCall:
    """PagerDuty first, for targets that name an escalation policy; the configuration where it does not answer, and then says so.

    An answer, or its absence, holds for a minute. Safe to use from several threads.
    """

    KEEP = timedelta(minutes=1)

    def __init__(
        self,
        *,
        file: OnCallFile,
        policies: Mapping[str, str],
        directory: Directory,
        token: SecretStr,
        base_url: str = "https://api.pagerduty.com",
        client_options: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """`policies` are escalation policies by paging target; `client_options` go to the client, for a proxy or a private authority."""
        self._file, self._policies, self._directory = file, dict(policies), directory
        self._token, self._base_url, self._client_options = token, base_url, dict(client_options)
        self._heard: dict[str, _Heard] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, plan: OnCallPlan, *, file: OnCallFile, directory: Directory, token: SecretStr, base_url: str) -> "PagerDutyOnCall":
        """Built from the plan, whose targets name their policies."""
        policies = {name: target.pagerduty for name, target in plan.targets.items() if target.pagerduty}
        return cls(file=file, policies=policies, directory=directory, token=token, base_url=base_url)

    def on_call(self, team: str, at: datetime) -> tuple[Person, ...]:
        """The people on duty for a team, first to be tried first; empty when nobody is."""
        return self._file.people_of(team, at, self.rotation)

    def rotation(self, name: str, at: datetime) -> tuple[Person, ...]:
        """The people behind a paging target, in the order of PagerDuty's levels."""
        policy = self._policies.get(name)
        if policy is None:
            return self._file.rotation(name, at)
        return self._ask(policy, at).people or self._file.rotation(name, at)

    def degraded(self) -> tuple[str, ...]:
        """What is not working at present, in sentences; empty when all is well."""
        with self._lock:
            troubles = {heard.trouble for heard in self._heard.values() if heard.trouble}
        return tuple(f"{trouble}; on call comes from muster.yaml" for trouble in sorted(troubles))

    def _ask(self, policy: str, at: datetime) -> _Heard:
        with self._lock:
            heard = self._heard.get(policy)
        if heard and timedelta(0) <= at - heard.at < self.KEEP:
            return heard
        heard = self._fresh(policy, at)  # without the lock: two may ask at once, and none waits for another's network
        with self._lock:
            self._heard[policy] = heard
        return heard

    def _fresh(self, policy: str, at: datetime) -> _Heard:
        try:
            people = self._people(self._fetch(policy, at))
        except NoAnswer as error:
            _log.warning("pagerduty did not say who is on duty", policy=policy, reason=str(error))
            return _Heard(at=at, people=(), trouble=str(error))
        return _Heard(at=at, people=people, trouble=None if people else "PagerDuty names nobody who is known here")

    def _fetch(self, policy: str, at: datetime) -> list[Any]:
        moment = at.astimezone(UTC).isoformat()
        asked: dict[str, Any] = {"escalation_policy_ids": [policy], "include": ["users"], "since": moment, "until": moment, "limit": 100}
        try:
            with _Client(self._token.get_secret_value(), base_url=self._base_url, **self._client_options) as client:
                client.timeout = _PATIENCE
                answer = client.get("/oncalls", params=asked).json()
        except (pagerduty.Error, pagerduty.UrlError, httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise NoAnswer(f"PagerDuty did not answer ({type(error).__name__})") from error
        found = answer.get("oncalls") if isinstance(answer, dict) else None
        if not isinstance(found, list):
            raise NoAnswer("PagerDuty's answer is not understood")
        return found

    def _people(self, entries: list[Any]) -> tuple[Person, ...]:
        levels: list[tuple[int, Person]] = []
        for entry in entries:
            user = entry.get("user") if isinstance(entry, dict) else None
            level = entry.get("escalation_level") if isinstance(entry, dict) else None
            email = user.get("email") if isinstance(user, dict) else None
            person = self._directory.by_email(email) if isinstance(email, str) and email else None
            if person and isinstance(level, int):
                levels.append((level, person))
        return tuple(dict.fromkeys(person for _, person in sorted(levels, key=lambda pair: pair[0])))
