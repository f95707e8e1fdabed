"""Runs as other decisions see them: chosen by an index, bounded in number, each with its incident's world, in one query.

Deciding transactions exclude each other, so no whole run is built here. The fields are picked from the body in Python and not by the
database: JSON there knows no NaN, and one far side that answered so would stop every decision.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic_core import from_json
from sqlalchemy import ColumnElement, Row, Select, and_, func, literal_column, or_, select

from runbooks.run import BEFORE_RUNNING, RunState
from runbooks.trace import Trace
from storage.errors import Unreadable
from storage.tables import incidents
from storage.tables import runs as table
from storage.text import storable
from storage.transaction import Tx

MOST = 1000
"""Runs of one step that are looked back upon. A row of clean runs that earns something is at most 100 long."""

_COLUMNS = ("id", "incident_id", "step", "state", "key", "target", "operation", "requested_by", "requested_at")

_FIELDS = (
    "runbook",
    "title",
    "automatic",
    "started_at",
    "executed_at",
    "verdict",
    "verdict_at",
    "verify_until_at",
    "value_after",
    "undo_requested_by",
    "undo_started_at",
)

_NEVER_BEGAN = [state.value for state in (*BEFORE_RUNNING, RunState.EXPIRED, RunState.CANCELLED)]


def around(
    tx: Tx, *, incident_id: int, drill_id: int | None, target: str, states: Iterable[RunState], since: datetime, lately: datetime
) -> list[Trace]:
    """What may stand in the way of a run on this target, in its own world, by id.

    These are the incident's runs, those in one of the states, those requested on the target since `since`, and all since `lately`.
    """
    near = or_(
        table.c.incident_id == incident_id,
        _in(states),
        and_(table.c.target == storable(target), table.c.requested_at >= since),
        table.c.requested_at >= lately,
    )
    return _by_id(tx, _of_world(drill_id).where(near))


def since(tx: Tx, moment: datetime, *, drill_id: int | None, target: str | None = None, person: str | None = None) -> list[Trace]:
    """Runs of one world that were requested since then, on this target and by this person where they are named, by id."""
    wanted = ((table.c.target, target), (table.c.requested_by, person))
    named = [column == storable(value) for column, value in wanted if value is not None]
    return _by_id(tx, _of_world(drill_id).where(table.c.requested_at >= moment, *named))


def in_states(tx: Tx, states: Iterable[RunState], *, drill_id: int | None) -> list[Trace]:
    """Runs of one world that are in one of these states, by id."""
    return _by_id(tx, _of_world(drill_id).where(_in(states)))


def of_open(tx: Tx, states: Iterable[RunState]) -> list[Trace]:
    """Runs of all open incidents that are in one of these states, by id."""
    return _by_id(tx, _SELECT.where(incidents.c.status != literal_column("'resolved'"), _in(states)))


def of_action(tx: Tx, runbook: str, step: str, *, since: datetime) -> list[Trace]:
    """The latest runs of one runbook's step that began, requested since then, in any world and of any version; newest first."""
    began = _SELECT.where(table.c.step == step, table.c.requested_at >= since, table.c.state.not_in(_NEVER_BEGAN))
    found = _read(tx, began.order_by(table.c.requested_at.desc(), table.c.id.desc()).limit(MOST))
    return [trace for trace in found if trace.runbook.id == runbook]


_SELECT: Select[Any] = select(*(table.c[name] for name in (*_COLUMNS, "body")), incidents.c.drill_id).select_from(
    table.join(incidents, incidents.c.id == table.c.incident_id)
)


def _in(states: Iterable[RunState]) -> ColumnElement[bool]:
    return table.c.state.in_([state.value for state in states])


def _of_world(drill_id: int | None) -> Select[Any]:
    """A drill neither blocks production, nor counts in it, nor is blocked by it.

    In a form that no index serves: the runs are chosen first, or SQLite would begin with all incidents that are no drill.
    """
    return _SELECT.where(func.coalesce(incidents.c.drill_id, 0) == (drill_id or 0))


def _read(tx: Tx, query: Select[Any]) -> list[Trace]:
    return [_trace(row) for row in tx.execute(query)]


def _by_id(tx: Tx, query: Select[Any]) -> list[Trace]:
    """Put in order here: asked to do it, SQLite would walk all runs by their ids."""
    return sorted(_read(tx, query), key=lambda run: run.id)


def _trace(row: Row[Any]) -> Trace:
    try:
        body = from_json(row.body)
        columns = {name: getattr(row, name) for name in (*_COLUMNS, "drill_id")}
        fields = {name: body[name] for name in _FIELDS if name in body}
        told = {"break_glass": bool(body.get("break_glass")), "measured": bool(body.get("samples"))}
        return Trace.model_validate({**columns, **fields, **told})
    except ValueError as error:  # pydantic's own errors are ValueErrors too
        raise Unreadable(f"Run {row.id} in the database cannot be read by this version of Muster: {error}") from error
