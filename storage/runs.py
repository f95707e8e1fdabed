"""Action runs. A run changes only from the state that the change was decided on: a second press finds the row elsewhere."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from runbooks.run import ActionRun, RunState
from storage.shelf import KEEP, NextAt, Shelf
from storage.tables import incidents
from storage.tables import runs as table
from storage.transaction import Tx


def _columns(run: ActionRun) -> dict[str, Any]:
    return {
        "incident_id": run.incident_id,
        "key": run.key,
        "state": run.state.value,
        "step": run.step,
        "target": run.target,
        "operation": run.plan.call.operation if run.plan else None,
        "requested_by": run.requested_by,
        "requested_at": run.requested_at,
    }


_shelf = Shelf(table=table, model=ActionRun, noun="run", columns=_columns)


def add(tx: Tx, run: ActionRun, *, next_at: datetime | None = None) -> ActionRun:
    """Keep a new run; the database gives the id.

    Raises:
        Taken: a run with this key exists; `by_key` finds it.
    """
    return _shelf.add(tx, run, next_at=next_at)


def get(tx: Tx, run_id: int) -> ActionRun:
    """The run with this id.

    Raises:
        NotFound: there is none.
    """
    return _shelf.get(tx, run_id)


def by_key(tx: Tx, key: str) -> ActionRun | None:
    """The run with this idempotency key (rule S11)."""
    return _shelf.first(tx, table.c.key == key)


def save(tx: Tx, run: ActionRun, *, was: RunState, next_at: NextAt = KEEP) -> None:
    """Write a run whose state in the database is still `was`. `next_at` is when a sweep looks at it again.

    Raises:
        Stale: it is in another state by now; nothing was written.
        NotFound: there is no such run.
    """
    _shelf.save(tx, run, table.c.state == was.value, next_at=next_at)


def wake(tx: Tx, run_id: int, next_at: datetime | None) -> None:
    """Only set when a sweep looks at it next."""
    _shelf.wake(tx, run_id, next_at)


def due(tx: Tx, now: datetime, limit: int = 100) -> list[ActionRun]:
    """Runs whose `next_at` has come: to be measured, to expire, to be reconciled."""
    return _shelf.due(tx, now, limit)


def of_incident(tx: Tx, incident_id: int) -> list[ActionRun]:
    """The incident's runs by id."""
    return _shelf.where(tx, table.c.incident_id == incident_id)


def in_states(tx: Tx, states: Iterable[RunState]) -> list[ActionRun]:
    """All runs in one of these states, by id."""
    return _shelf.where(tx, table.c.state.in_([state.value for state in states]))


def with_cleanup(tx: Tx) -> list[ActionRun]:
    """Verified runs that left something to be cleaned up, by id, whether it is done or not."""
    left = table.c.body.like('%"cleanup": [{%')  # a quote within a text stands escaped in JSON, so that no words can look like it
    return _shelf.where(tx, table.c.state == RunState.VERIFIED.value, left)


def of_step(tx: Tx, step: str, *, after: int = 0, limit: int = 50) -> list[ActionRun]:
    """The latest runs of this step outside drills, of whichever runbook and incident, with a greater id than `after`; newest first."""
    real = select(table).join(incidents, incidents.c.id == table.c.incident_id).where(func.coalesce(incidents.c.drill_id, 0) == 0)
    query = real.where(table.c.step == step, table.c.id > after).order_by(table.c.id.desc()).limit(limit)
    return list(_shelf.listed(tx, query))


def last_of_step(tx: Tx, incident_id: int, step: str) -> ActionRun | None:
    """The incident's latest run of this step."""
    query = select(table).where(table.c.incident_id == incident_id, table.c.step == step).order_by(table.c.id.desc()).limit(1)
    return next(iter(_shelf.listed(tx, query)), None)
