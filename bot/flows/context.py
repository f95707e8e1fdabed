"""What every flow is handed: built once by `bot.app`, never global."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Protocol, TypeVar

from actions.breaker import FAILURES
from actions.runner import Runner
from actions.situation import Freeze, Rates, RecurringFreeze
from bot.flows.fuse import Fuse
from bot.ports import Clock, Messenger, OnCall
from runbooks.incident import Incident, RunbookRef
from runbooks.loading import Library
from runbooks.matching import Matcher
from runbooks.people import Actor, ActorKind, Directory
from runbooks.runbook import Runbook
from runbooks.service import Service
from runbooks.severity import Severity
from storage import runbook_versions
from storage.database import Database, Tx
from storage.errors import Stale

T = TypeVar("T")

STALE_RETRIES = 5
"""Decisions taken again when somebody else was faster; more than a few in a row means a real fight for one incident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Figures that an operator may set. Durations are timedeltas; days of review are business days.

    `button_life`: how long a card's buttons may be pressed after it was drawn (rule S10). `plan_life`: how long a plan may be
    confirmed, before the live state must be read again. `approval_life`: minutes that an approval request stands. `bad_ends`: how many
    in a row take an action out of service. `deploy_life`: for how long a change counts as running whose end nobody reports.
    `autonomous`: the services where actions that have earned it may run by themselves, `automatic_per_day` how many in 24 hours (S30).
    """

    default_channel: str = "incidents"
    public_url: str = "http://127.0.0.1:8080"
    button_life: timedelta = timedelta(days=2)
    plan_life: timedelta = timedelta(minutes=10)
    approval_life: timedelta = timedelta(minutes=30)
    reminder_before: timedelta = timedelta(minutes=15)
    measure_every: timedelta = timedelta(seconds=60)
    measure_for: timedelta = timedelta(hours=1)
    flap_window: timedelta = timedelta(minutes=15)
    flap_count: int = 3
    storm_window: timedelta = timedelta(minutes=10)
    review_days: Mapping[Severity, int] = field(default_factory=lambda: {Severity.SEV1: 5, Severity.SEV2: 5, Severity.SEV3: 10})
    holidays: frozenset[str] = frozenset()
    break_glass_per_day: int = 2
    freezes: tuple[Freeze | RecurringFreeze, ...] = ()
    rates: Rates = field(default_factory=Rates)
    bad_ends: int = FAILURES
    deploy_life: timedelta = timedelta(hours=1)
    autonomous: frozenset[str] = frozenset()
    automatic_per_day: int = 3
    time_zone: str = "UTC"
    drill_hour: int = 10
    redrill_within: timedelta = timedelta(days=21)
    frozen: Callable[[date], str | None] = field(default=lambda _day: None)
    escalates: Callable[[Severity], bool] = field(default=lambda _severity: True)


class People(OnCall, Protocol):
    """Who is on duty, and who everybody is."""

    directory: Directory


class Shelf:
    """The runbooks that a server has loaded, with their matcher. Replaced as a whole on reload."""

    def __init__(self, library: Library) -> None:
        self.replace(library)
        self._kept: dict[str, Runbook] = {}

    def replace(self, library: Library) -> None:
        """Take another library from now on; incidents keep the version that they pinned."""
        self.library, self.matcher = library, Matcher(library.all)
        self._by_id = {runbook.id: runbook for runbook in library.all}

    def runbook(self, runbook_id: str) -> Runbook | None:
        """The loaded runbook with this id."""
        return self._by_id.get(runbook_id)

    def pinned(self, tx: Tx, ref: RunbookRef) -> Runbook:
        """The very version that an incident, run or drill names (mission C1)."""
        if kept := self._kept.get(ref.hash):
            return kept
        runbook = runbook_versions.get(tx, ref)
        self._kept[ref.hash] = runbook
        return runbook


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The flows' surroundings. `wake` tells the engine that something may be due; `runner_for` gives a drill its own world."""

    database: Database
    clock: Clock
    messenger: Messenger
    on_call: People
    shelf: Shelf
    services: Mapping[str, Service]
    policy: Policy
    runner: Runner
    drill_runner: Callable[[str], Runner]
    open_world: Callable[[str, Mapping[str, object]], None]
    close_world: Callable[[str], None]
    wake: Callable[[], None]
    degraded: Callable[[], tuple[str, ...]]
    fuse: Fuse = field(default_factory=Fuse)

    def write(self, work: Callable[[Tx], T], *, name: str = "flow") -> T:
        """One transaction, then wake the engine for the tasks that it may have promised."""
        for _ in range(STALE_RETRIES):
            try:
                result = self.database.write(work, name=name)
            except Stale:
                continue  # somebody was faster: decide again on what is true now
            self.wake()
            return result
        raise Stale("Others are changing the same thing at this moment. Look at the card and press again.")

    def write_if(self, due: Callable[[Tx], object], work: Callable[[Tx], int], *, name: str) -> int:
        """`work` in one transaction, but only where `due` finds something: a look costs the one writer nothing."""
        return self.write(work, name=name) if self.read(due) else 0

    def read(self, work: Callable[[Tx], T]) -> T:
        """A read without a write lock."""
        return self.database.read(work)

    @property
    def directory(self) -> Directory:
        """All people and teams, as they are known now."""
        return self.on_call.directory

    def now(self) -> datetime:
        """The present, for business due times."""
        return self.clock.now()

    def runner_for(self, incident: Incident) -> Runner:
        """Production's runner, or for a drill one that was built without production backends (rule S27)."""
        return self.drill_runner(incident.world) if incident.world else self.runner

    def service(self, name: str | None) -> Service | None:
        """The service with this name."""
        return self.services.get(name) if name else None

    def owner_of(self, incident: Incident, runbook: Runbook) -> str:
        """The team that owns this class of trouble for this service; the runbook's owner where nothing else is said."""
        service = self.service(incident.service)
        if service is None:
            return runbook.header.owner
        known = not runbook.header.fallback
        return service.owner_of(incident.incident_class, runbook_owner=runbook.header.owner, known=known)

    def page_url(self, path: str) -> str:
        """A page of this server as people reach it."""
        return f"{self.policy.public_url.rstrip('/')}{path}"


def person_actor(person_id: str, *, slack_id: str | None = None, via: str = "slack") -> Actor:
    """A person as the timeline names one."""
    return Actor(kind=ActorKind.PERSON, id=person_id, slack_id=slack_id, via=via)
