"""Which actions the breaker has taken out of service (rule S15), and up to which run each was looked at. One row for each action.

They are switches, because a person turns them back; all replicas read the same row.
"""

from dataclasses import dataclass
from datetime import datetime

from runbooks.value import Json
from storage import switches
from storage.transaction import Tx

_PREFIX = "breaker:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """One action's breaker. `opened_at` None means that it is in service; runs up to `looked_at_run` no longer count against it.

    `run_id` and `incident_id` are of the last bad end.
    """

    runbook: str
    step: str
    title: str = ""
    failures: int = 0
    run_id: int | None = None
    incident_id: int | None = None
    opened_at: datetime | None = None
    looked_at_run: int = 0
    reset_by: str | None = None
    reset_reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the action is out of service."""
        return self.opened_at is not None


def get(tx: Tx, runbook: str, step: str) -> Breaker:
    """The action's breaker; one that never opened is in service."""
    value = switches.get(tx, _name(runbook, step))
    return _breaker(value) if isinstance(value, dict) else Breaker(runbook=runbook, step=step)


def put(tx: Tx, breaker: Breaker) -> None:
    """Keep it."""
    value: dict[str, Json] = {name: getattr(breaker, name) for name in Breaker.__slots__}
    value["opened_at"] = breaker.opened_at.isoformat() if breaker.opened_at else None
    switches.put(tx, _name(breaker.runbook, breaker.step), value)


def open_ones(tx: Tx) -> list[Breaker]:
    """Every action that is out of service, by name."""
    found = (_breaker(value) for name, value in switches.every(tx).items() if name.startswith(_PREFIX) and isinstance(value, dict))
    return [breaker for breaker in found if breaker.is_open]


def _name(runbook: str, step: str) -> str:
    return f"{_PREFIX}{runbook}/{step}"


def _breaker(value: dict[str, Json]) -> Breaker:
    opened = value.get("opened_at")
    known = {name: value[name] for name in Breaker.__slots__ if name in value}
    return Breaker(**{**known, "opened_at": datetime.fromisoformat(str(opened)) if opened else None})
