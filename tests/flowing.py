"""The flows' surroundings for tests: real parts over a real database, and a clock that stands until it is told."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from actions.registry import Registry
from actions.runner import Runner
from bot.configuration import Configuration
from bot.flows.context import Context, Policy, Shelf
from bot.oncall import OnCallFile
from bot.ports import Location
from runbooks.alert import Alert, AlertStatus
from runbooks.loading import load_folder
from runbooks.screens import Message
from storage import runbook_versions
from storage.database import Database
from tests.catalogue import catalogue

START = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
LIBRARY = load_folder([Path(__file__).parents[1] / "runbooks" / "library"], catalogue=catalogue())


class StandingClock:
    """The present, moved by hand."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        """Where it stands."""
        return self.at

    def pass_(self, **time: float) -> datetime:
        """Move on."""
        self.at += timedelta(**time)
        return self.at


class Desk:
    """What was posted, in place of a chat. Only what flows call here is there; anything else is an error."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, Message]] = []
        self.updated: list[tuple[str, Message]] = []

    def post(self, screen: Message, *, channel: str, key: str, thread: str | None = None, look_first: bool = False) -> Location:
        """Keep it."""
        self.posted.append((key, screen))
        return Location(channel=channel, ts=f"{len(self.posted)}.0")

    def update(self, screen: Message, *, at: Location, key: str) -> None:
        """Keep it."""
        self.updated.append((key, screen))


def context(database: Database, *, clock: StandingClock | None = None, policy: Policy | None = None, **more: Any) -> Context:
    """Everything that flows are handed, with the shipped library and the built-in configuration."""
    clock, configuration = clock or StandingClock(), Configuration.default()
    plan = configuration.file.on_call
    runner = Runner(registry=Registry([]), now=clock.now)
    given: dict[str, Any] = {
        "database": database,
        "clock": clock,
        "messenger": Desk(),
        "on_call": OnCallFile(plan=plan, directory=configuration.directory, time_zone=configuration.file.time_zone),
        "shelf": Shelf(LIBRARY),
        "services": configuration.services,
        "policy": policy or Policy(),
        "runner": runner,
        "drill_runner": lambda _world: runner,
        "open_world": lambda _name, _plan: None,
        "close_world": lambda _name: None,
        "wake": lambda: None,
        "degraded": lambda: (),
    }
    made = Context(**given | more)
    database.write(lambda tx: [runbook_versions.keep(tx, runbook, seen_at=clock.now()) for runbook in LIBRARY.all] and None)
    return made


def alert(
    fingerprint: str = "f1", *, at: datetime = START, ended: datetime | None = None, source: str = "prometheus", **labels: str
) -> Alert:
    """An alert that began at `at`; a resolved one where `ended` is given."""
    labels = {"alertname": "ModelLatencyP99High", "environment": "production", "service": "answers", "model": "answers-v7"} | labels
    return Alert(
        source=source, fingerprint=fingerprint, status=AlertStatus.RESOLVED if ended else AlertStatus.FIRING, labels=labels,
        title=labels["alertname"], starts_at=at, ends_at=ended,
    )  # fmt: skip
