"""What the guards look at, and how they answer: the flow loads it in the claiming transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from runbooks.recurrence import Recurrence, Window
from runbooks.runbook import Action
from runbooks.severity import Tier
from runbooks.trace import Trace


class Reason(StrEnum):
    """Why a guard refuses. A closed list."""

    PAUSED = "paused"
    BREAKER = "breaker_open"
    FROZEN = "frozen"
    DEPLOYING = "deploying"
    ALREADY_DONE = "already_done"
    ALREADY_RUNNING = "already_running"
    LOCKED = "locked"
    COOLDOWN = "cooldown"
    AT_MOST = "at_most"
    VELOCITY = "velocity"
    BLAST_RADIUS = "blast_radius"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRefused:
    """Why not, in a sentence; who can help (ids of people or teams), and when it would be possible, where that is known."""

    rule: str
    reason: Reason
    text: str
    helpers: tuple[str, ...] = ()
    possible_at: datetime | None = None
    run_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What is about to be done. `key` is the idempotency key of rule S11; `count` how many targets it touches, `parts` which besides.

    `automatic` is true where no person pressed: a repetition then is refused instead of raised (rule S14).
    """

    run_id: int | None
    incident_id: int
    runbook: str
    action: Action
    target: str
    person: str
    key: str
    environment: str | None = None
    service: str | None = None
    tier: Tier | None = None
    count: int = 1
    parts: tuple[str, ...] = ()
    automatic: bool = False

    @property
    def height(self) -> Tier:
        """The plan's tier, which may be above the action's; the action's where there is no plan yet."""
        return self.tier or self.action.tier


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLock:
    """A target's lock as its row says (rule S12)."""

    target: str
    run_id: int
    owner: str
    since_at: datetime
    until_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """All execution is stopped (rule S16). `target` None means everywhere."""

    by: str
    since_at: datetime
    reason: str
    environment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """No changes from `from_at` (included) until `until_at` (excluded); `name` is why, in words (rule S9).

    `environments`, `services` and `tiers` confine it; empty means all. `zone` is whose clocks say its end. `helpers` names who may
    override it, and `overridden_by` who did, on record, for the run in question.
    """

    name: str
    from_at: datetime
    until_at: datetime
    environments: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    tiers: frozenset[Tier] = frozenset()
    zone: ZoneInfo | None = None
    helpers: tuple[str, ...] = ()
    overridden_by: str | None = None

    def at(self, now: datetime) -> "Freeze | None":
        """This freeze while it is on."""
        return self if self.from_at <= now < self.until_at else None

    def upcoming(self, now: datetime) -> "Freeze | None":
        """This freeze before it begins."""
        return self if now < self.from_at else None

    @property
    def from_text(self) -> str:
        """Its beginning, with the day: Fri 27 Nov 2026 18:00 Europe/Zurich (17:00 UTC)."""
        return self._said(self.from_at, "%a %d %b %Y %H:%M")

    @property
    def until_text(self) -> str:
        """Its end: Mon 06:00 Europe/Zurich (05:00 UTC), with the date where a weekday says too little."""
        return self._said(self.until_at, "%a %H:%M" if self.until_at - self.from_at < _WEEK else "%a %d %b %Y %H:%M")

    def _said(self, at: datetime, form: str) -> str:
        """By the clocks of its zone, and in UTC."""
        if self.zone is None:
            return f"{at:%d %b %Y %H:%M} UTC"
        utc = "" if self.zone.key == "UTC" else f" ({at:%H:%M} UTC)"
        return f"{at.astimezone(self.zone):{form}} {self.zone.key}{utc}"


_WEEK = timedelta(days=6, hours=12)
"""So far from its beginning a weekday says which day its end is on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringFreeze:
    """A freeze that comes again: each time it is a freeze of its own, so that a word that lifts one lifts no later one."""

    name: str
    recurrence: Recurrence
    environments: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    tiers: frozenset[Tier] = frozenset()

    def at(self, now: datetime) -> Freeze | None:
        """The freeze that is on now."""
        window = self.recurrence.at(now)
        return self._during(window) if window else None

    def upcoming(self, now: datetime) -> Freeze | None:
        """The next one; None where none begins for six weeks."""
        window = self.recurrence.upcoming(now)
        return self._during(window) if window else None

    def _during(self, window: Window) -> Freeze:
        return Freeze(
            name=self.name,
            from_at=window.from_at,
            until_at=window.until_at,
            environments=self.environments,
            services=self.services,
            tiers=self.tiers,
            zone=self.recurrence.zone,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """A change of the same service that has begun and whose end nobody has reported (rule S5). Overridden as a freeze is."""

    title: str
    since_at: datetime
    until_at: datetime
    author: str = ""
    helpers: tuple[str, ...] = ()
    overridden_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How many runs may start in `window` seconds, for one action, one target, one person, and everywhere (rule S14).

    `targets` is how many targets one run may touch at once, where its runbook names no ceiling of its own (rule S13).
    """

    window: float = 3600.0
    action: int = 10
    target: int = 6
    person: int = 12
    everywhere: int = 30
    targets: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfService:
    """An action that ended badly so often in a row that nobody may run it until its owner has looked (rule S15)."""

    since_at: datetime
    failures: int
    owner: str
    run_id: int | None = None


def action_key(runbook: str, step: str) -> str:
    """One action, whatever its runbook's version."""
    return f"{runbook}/{step}"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the flow has loaded in the claiming transaction.

    `runs` are all that are in flight, all of this incident, all of the last day, and those on the attempt's target for as long as they
    count there; `locks` those on anything that it touches. `owners` names the owner of each runbook, `out_of_service` what the breaker
    has taken out, by `action_key`.
    """

    runs: Sequence[Trace] = ()
    locks: Sequence[HeldLock] = ()
    pause: Pause | None = None
    freezes: Sequence[Freeze] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    rates: Rates = field(default_factory=Rates)
    deploys: Sequence[Deploy] = ()
    out_of_service: Mapping[str, OutOfService] = field(default_factory=dict)

    def name(self, person: str) -> str:
        """How sentences call a person."""
        return self.names.get(person, person)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """No guard refuses. `raised_by` tiers are added because the same was done before (rule S14), and `note` says so."""

    raised_by: int = 0
    note: str = ""
