"""The calendar. APScheduler computes when a slot is (cron with names of days, time zones) and ticks the sweeps in every replica.

What is due lives in our own rows: `next_at` is advanced by compare-and-set in the transaction that inserts the slot's task, so a
slot fires once with any number of replicas, and one missed while all were down is still there afterwards (engine.md).
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from runbooks.value import Value
from storage import schedules, tasks
from storage.database import Tx
from storage.killpoints import POINTS, reach
from storage.tasks import NewTask


class Spec(Value):
    """What recurs: the kind of task, APScheduler's cron fields (names of days, not numbers), and the time zone of the wall clock."""

    kind: str
    fields: dict[str, str]
    zone: str


def declare(tx: Tx, name: str, spec: Spec, *, now: datetime) -> None:
    """See to it that a schedule stands. The same again changes nothing, so a start loses no slot that was missed."""
    schedules.put(tx, name, spec=spec.model_dump_json(), next_at=next_slot(spec.fields, zone=spec.zone, after=now))


def next_slot(fields: dict[str, str], *, zone: str, after: datetime) -> datetime:
    """The first slot strictly after `after`, in UTC. `fields` are APScheduler's cron fields, with names of days and not numbers.

    Raises:
        ValueError: the fields never meet a date, or are not cron fields.
    """
    trigger = CronTrigger(timezone=ZoneInfo(zone), **fields)
    slot: datetime | None = trigger.get_next_fire_time(None, after + timedelta(microseconds=1))
    if slot is None:
        raise ValueError(f"no date ever fits {fields}")
    return slot.astimezone(ZoneInfo("UTC"))


def slot_name(slot: datetime, *, zone: str) -> str:
    """A slot's name: local wall time without offset, because 02:30 happens twice on one night a year and is one slot."""
    return slot.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%dT%H:%M")


def fire_due(tx: Tx, *, now: datetime) -> int:
    """Turn every schedule that is due into one task, and set its next slot. Slots missed meanwhile are coalesced into the latest."""
    fired = 0
    for row in schedules.due(tx, now):
        spec = Spec.model_validate_json(row.spec)
        slot = following = row.next_at
        while following <= now:
            slot, following = following, next_slot(spec.fields, zone=spec.zone, after=following)
        if schedules.advance(tx, row.name, was=row.next_at, next_at=following):
            name = slot_name(slot, zone=spec.zone)
            args = {"slot": name, "slot_at": slot.isoformat()}
            tasks.enqueue(tx, NewTask(key=f"sched:{row.name}:{name}", kind=spec.kind, args=args))
            fired += 1
            reach(POINTS["K9"])
    return fired


class Ticker:
    """Calls each sweep at its interval, one at a time, coalesced when late."""

    def __init__(self, *, sweeps: dict[str, tuple[float, Callable[[], object]]]) -> None:
        # One thread a sweep: a slow one must not hold up the others, and none may run twice at once.
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(max(len(sweeps), 1))},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )
        for name, (seconds, sweep) in sweeps.items():
            self._scheduler.add_job(sweep, "interval", seconds=seconds, id=name)

    def start(self) -> None:
        """Start ticking."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop after the sweeps that are running."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)
