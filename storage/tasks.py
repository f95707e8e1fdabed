"""What must still happen: durable tasks, claimed under a lease and settled under a fence (engine.md, "The design").

A crash needs no detector: a claimed task falls due again when its lease ends. A worker that comes back late changes nothing, because
`settle`, `postpone` and `bury` are fenced by the attempt. All due times and leases are by the database's clock.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, exists, func, literal_column, or_, select, update

from runbooks.value import Json
from storage.errors import LeaseLost
from storage.shelf import LARGEST_ID
from storage.tables import tasks
from storage.text import storable
from storage.transaction import Tx, hold_order, insert_new, is_postgres, micros, moment, now_of
from storage.transaction import purge as purge_rows

OPEN, DONE, DEAD = "open", "done", "dead"

_IS_OPEN = tasks.c.state == literal_column("'open'")  # written out, so that prepared plans can use the partial indexes


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A promise of an effect. The same `key` twice is one task.

    One that `folds` is not promised where its lane holds another of its kind that nobody has claimed yet: that one will draw the
    newest state anyway.

    `lane` orders tasks strictly, one at a time: only the lane's oldest open task is claimed. `delay` is seconds until it falls due;
    a delayed task carries no lane, because it would stop all that stand behind it.
    """

    key: str
    kind: str
    args: dict[str, Json] = field(default_factory=dict)
    lane: str | None = None
    delay: float = 0.0
    folds: bool = False

    def __post_init__(self) -> None:
        if self.lane is not None and self.delay > 0:
            raise ValueError(f"task {self.key}: a delayed task carries no lane; let it enqueue one that does when it is due")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as it stands. `attempt` counts claims; `settled` is the last attempt whose outcome is certain."""

    id: int
    key: str
    kind: str
    args: dict[str, Json]
    lane: str | None
    state: str
    attempt: int
    settled: int
    due_at: datetime
    created_at: datetime
    first_claimed_at: datetime | None
    lease_until_at: datetime | None
    ended_at: datetime | None
    error: str | None
    result: Json

    @property
    def in_doubt(self) -> bool:
        """Whether an earlier attempt may have had its effect: look before calling again."""
        return self.attempt - 1 > self.settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits. `overdue_by` is seconds since the oldest claimable task fell due; 0 when none is."""

    open: int
    in_flight: int
    dead: int
    overdue_by: float


def enqueue(tx: Tx, *new: NewTask) -> list[str]:
    """Promise effects, in the transaction of the change that wants them. The keys that were new; known ones change nothing."""
    if not new:
        return []
    if any(task.lane is not None for task in new):
        hold_order(tx)  # ids within a lane must be in commit order
    now = _present(tx)
    unique: dict[str, NewTask] = {}
    for task in new:
        if not (task.folds and _unclaimed(tx, task)):
            unique.setdefault(task.key, task)
    if not unique:
        return []
    rows = [_columns(task, now) for task in unique.values()]
    return insert_new(tx, tasks, rows, key=["key"], returning="key")


def _unclaimed(tx: Tx, task: NewTask) -> bool:
    """Whether the lane holds such a task that nobody works on, and keeps it so until this transaction ends."""
    mine = and_(tasks.c.lane == task.lane, tasks.c.kind == task.kind, _IS_OPEN, tasks.c.lease_until_at.is_(None))
    query = select(tasks.c.id).where(mine).limit(1)
    # PostgreSQL: locked, so that no replica claims it and reads the old state while this change is not yet committed.
    return tx.execute(query.with_for_update() if is_postgres(tx) else query).first() is not None


def _columns(task: NewTask, now: int) -> dict[str, Any]:
    return {
        "key": task.key,
        "kind": task.kind,
        "args": json.dumps(task.args),
        "lane": task.lane,
        "due_at": now + round(task.delay * 1_000_000),
        "state": OPEN,
        "attempt": 0,
        "settled": 0,
        "created_at": now,
    }


def claim(tx: Tx, limit: int, lease: float, *, kinds: Sequence[str] | None = None) -> list[Task]:
    """Take up to `limit` due tasks for `lease` seconds, oldest due first; `kinds` narrows them. Works in an unordered transaction.

    Of a lane only the oldest open task is taken. Ids within a lane are in commit order (`enqueue` and `revive` see to it), so no older
    one can appear while it is in flight.
    """
    now = now_of(tx)
    picked = _claimable(now, kinds).order_by(tasks.c.due_at, tasks.c.id).limit(limit)
    if is_postgres(tx):
        # Without the materialised CTE PostgreSQL may run the inner query again and lock more rows than the limit.
        cte = picked.with_for_update(of=tasks, skip_locked=True).cte("picked").prefix_with("MATERIALIZED", dialect="postgresql")
        chosen: ColumnElement[bool] = tasks.c.id.in_(select(cte.c.id))
    else:
        chosen = tasks.c.id.in_(picked.scalar_subquery())
    statement = (
        update(tasks)
        .where(chosen)
        .values(
            attempt=tasks.c.attempt + 1,
            due_at=now + round(lease * 1_000_000),
            lease_until_at=now + round(lease * 1_000_000),
            first_claimed_at=func.coalesce(tasks.c.first_claimed_at, now),
        )
        .returning(*tasks.c)
    )
    return sorted((_task(row) for row in tx.execute(statement)), key=lambda task: task.id)


def claimable(tx: Tx, *, kinds: Sequence[str] | None = None) -> bool:
    """Whether `claim` would find anything now: a look that waits for no writer."""
    return bool(tx.execute(select(_claimable(now_of(tx), kinds).exists())).scalar_one())


def _claimable(now: ColumnElement[int], kinds: Sequence[str] | None) -> Select[Any]:
    other = tasks.alias("other")
    blocked = exists().where(other.c.lane == tasks.c.lane, other.c.state == literal_column("'open'"), other.c.id < tasks.c.id)
    chosen = select(tasks.c.id).where(_IS_OPEN, tasks.c.due_at <= now, or_(tasks.c.lane.is_(None), ~blocked))
    return chosen if kinds is None else chosen.where(tasks.c.kind.in_(kinds))


def settle(tx: Tx, task: Task, result: Json = None) -> None:
    """It is done. In one transaction with what follows from it.

    Raises:
        LeaseLost: somebody else holds it now; the whole transaction must roll back.
    """
    now = now_of(tx)
    _fenced(tx, task, state=DONE, settled=task.attempt, result=json.dumps(result), error=None, lease_until_at=None, ended_at=now)


def postpone(tx: Tx, task: Task, seconds: float, *, certain: bool, error: str, counted: bool = True) -> None:
    """Not now: due again after `seconds`. `certain` says that this attempt surely had no effect; otherwise the next one is in doubt.

    Not `counted`, the wait does not make the task older: `first_claimed_at` moves on with it (a 429 uses up no budget).

    Raises:
        LeaseLost: somebody else holds it now.
    """
    wait = round(seconds * 1_000_000)
    settled = {"settled": task.attempt} if certain else {}
    younger = {} if counted else {"first_claimed_at": tasks.c.first_claimed_at + wait}
    _fenced(tx, task, due_at=now_of(tx) + wait, lease_until_at=None, error=storable(error), **settled, **younger)


def renew(tx: Tx, task: Task, lease: float) -> None:
    """Hold it for `lease` seconds from now, in the transaction that begins what must not be begun twice.

    Raises:
        LeaseLost: somebody else holds it now; the whole transaction must roll back.
    """
    until = now_of(tx) + round(lease * 1_000_000)
    _fenced(tx, task, due_at=until, lease_until_at=until)


def bury(tx: Tx, task: Task, error: str) -> None:
    """Give up: it is dead, its lane goes on, and a person is shown why.

    Raises:
        LeaseLost: somebody else holds it now.
    """
    _fenced(tx, task, state=DEAD, lease_until_at=None, error=storable(error), ended_at=now_of(tx))


def _fenced(tx: Tx, task: Task, **values: Any) -> None:
    mine = and_(tasks.c.id == task.id, tasks.c.attempt == task.attempt, _IS_OPEN, tasks.c.lease_until_at.is_not(None))
    if tx.execute(update(tasks).where(mine).values(**values)).rowcount != 1:
        raise LeaseLost(f"Task {task.key} was taken over after attempt {task.attempt}; this attempt writes nothing.")


def adopt(tx: Tx) -> int:
    """Make everything in flight due at once: for the embedded start, where whoever held it is gone. How many there were."""
    in_flight = and_(_IS_OPEN, tasks.c.lease_until_at.is_not(None))
    return tx.execute(update(tasks).where(in_flight).values(due_at=now_of(tx), lease_until_at=None)).rowcount


def get(tx: Tx, key: str) -> Task | None:
    """The task with this key."""
    row = tx.execute(select(tasks).where(tasks.c.key == key)).one_or_none()
    return None if row is None else _task(row)


def superseded(tx: Tx, task: Task) -> bool:
    """Whether a later open task of the same lane and kind makes this one needless (a card is drawn from the database anyway)."""
    if task.lane is None:
        return False
    later = exists().where(tasks.c.lane == task.lane, tasks.c.kind == task.kind, _IS_OPEN, tasks.c.id > task.id)
    return bool(tx.execute(select(later)).scalar_one())


def dead(tx: Tx, limit: int = 100) -> list[Task]:
    """What was given up, latest first."""
    query = select(tasks).where(tasks.c.state == DEAD).order_by(tasks.c.ended_at.desc(), tasks.c.id.desc()).limit(limit)
    return [_task(row) for row in tx.execute(query)]


def revive(tx: Tx, task_id: int) -> Task | None:
    """Try a dead task again, at the end of its lane; its doubts stay. The task as it was given up, or None where it was not."""
    if task_id > LARGEST_ID:
        return None
    hold_order(tx)
    row = tx.execute(select(tasks).where(tasks.c.id == task_id, tasks.c.state == DEAD)).one_or_none()
    if row is None:
        return None
    tx.execute(tasks.delete().where(tasks.c.id == task_id))
    again = {name: value for name, value in row._asdict().items() if name != "id"}
    # A new budget begins with the person's word.
    again |= {"state": OPEN, "ended_at": None, "first_claimed_at": None, "due_at": _present(tx)}
    tx.execute(tasks.insert().values(**again))
    return _task(row)


def backlog(tx: Tx) -> Backlog:
    """Figures for health and metrics."""
    now = _present(tx)
    in_flight = and_(_IS_OPEN, tasks.c.lease_until_at > now)
    counts = select(
        func.count().filter(_IS_OPEN),
        func.count().filter(in_flight),
        func.count().filter(tasks.c.state == DEAD),
    ).where(tasks.c.state != DONE)
    opened, flying, buried = tx.execute(counts).one()
    oldest = tx.execute(select(func.min(tasks.c.due_at)).where(_IS_OPEN, tasks.c.due_at <= now)).scalar_one()
    return Backlog(open=opened, in_flight=flying, dead=buried, overdue_by=0.0 if oldest is None else (now - oldest) / 1_000_000)


def next_due(tx: Tx) -> datetime | None:
    """When the earliest open task falls due; a worker need not look before, unless it is told of something new."""
    due = tx.execute(select(func.min(tasks.c.due_at)).where(_IS_OPEN)).scalar_one()
    return None if due is None else moment(due)


def purge(tx: Tx, before: datetime, limit: int = 1000) -> int:
    """Forget at most `limit` tasks that were done before then; dead ones stay for people. How many went."""
    return purge_rows(tx, tasks, and_(tasks.c.state == DONE, tasks.c.ended_at < micros(before)), limit)


def _present(tx: Tx) -> int:
    return int(tx.execute(select(now_of(tx))).scalar_one())


def _when(value: int | None) -> datetime | None:
    return None if value is None else moment(value)


def _task(row: Row[Any]) -> Task:
    return Task(
        id=row.id,
        key=row.key,
        kind=row.kind,
        args=json.loads(row.args),
        lane=row.lane,
        state=row.state,
        attempt=row.attempt,
        settled=row.settled,
        due_at=moment(row.due_at),
        created_at=moment(row.created_at),
        first_claimed_at=_when(row.first_claimed_at),
        lease_until_at=_when(row.lease_until_at),
        ended_at=_when(row.ended_at),
        error=row.error,
        result=None if row.result is None else json.loads(row.result),
    )
