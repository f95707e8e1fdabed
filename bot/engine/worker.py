"""The worker: claims tasks, calls their handlers, settles. One loop in each replica; the database decides who gets what (engine.md).

A handler does its I/O without a transaction and answers with what follows; domain writes run in the transaction that settles the
task, fenced by the attempt, so a worker whose lease ran out changes nothing.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from bot.ports import DeliveryError
from bot.settlement import Buried, Handler, Postponed, Settled, Settlement
from storage import tasks
from storage.database import Database, Tx
from storage.errors import LeaseLost, Stale, StorageError, StorageUnavailable
from storage.killpoints import POINTS, reach
from storage.tasks import Task

log = structlog.get_logger(__name__)

LEASE = 45.0
"""Seconds that a claim lasts. Longer than the longest single call of a handler, so that only a paused process loses it."""

BUDGET = 1800.0
"""Seconds from a task's first claim until it is given up and shown to a person. A 429 does not use it up."""


HUNG_AFTER = 120.0
"""Seconds without one free thread after which the handlers hang: the longest of them holds its task for a minute."""

STALE_RETRIES = 5
"""Times that an answer is written again because somebody else changed the same thing; then the whole task is tried again."""


def backoff(attempt: int) -> float:
    """Seconds before the next attempt: 0.5, 1, 2, … at most a minute, however many there were."""
    return float(min(0.5 * 2 ** min(max(attempt - 1, 0), 10), 60.0))


def after_failure(task: Task, error: DeliveryError) -> Settlement:
    """What follows from a message that did not get through."""
    if error.permanent:
        return Buried(error=str(error))
    return Postponed(
        seconds=error.retry_after if error.retry_after is not None else backoff(task.attempt),
        certain=error.certain,
        error=str(error),
        throttled=error.retry_after is not None,
    )


class Worker:
    """Runs tasks until stopped; of these `kinds` alone, where they are named.

    `run_until_idle` does the same in the caller's thread, for tests and the command line.
    """

    def __init__(
        self,
        *,
        database: Database,
        handlers: Mapping[str, Handler],
        on_buried: Callable[[Tx, Task, str], None],
        threads: int = 8,
        poll: float = 0.5,
        lease: float = LEASE,
        budget: float = BUDGET,
        kinds: Sequence[str] | None = None,
    ) -> None:
        self._database = database
        self._handlers = handlers
        self._on_buried = on_buried
        self._threads = threads
        self._poll = poll
        self._lease = lease
        self._budget = budget
        self._kinds = kinds
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._free = threading.Semaphore(threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="task")
        self._loop = threading.Thread(target=self._run, name="worker", daemon=True)
        self.last_claim_at = time.monotonic()
        self._busy_since: float | None = None

    def start(self) -> None:
        """Start the loop."""
        self._loop.start()

    def stop(self, *, grace: float = 10.0) -> None:
        """Claim nothing more and let running handlers finish within `grace` seconds."""
        self._stopping.set()
        self._wake.set()
        ends = time.monotonic() + grace
        if self._loop.is_alive():
            self._loop.join(timeout=grace)
        self._pool.shutdown(wait=False, cancel_futures=True)
        free = sum(self._free.acquire(timeout=max(ends - time.monotonic(), 0.0)) for _ in range(self._threads))
        if free:  # all of them, or the grace is over
            self._free.release(free)

    def wake(self) -> None:
        """There may be something to do: look now and not at the next poll."""
        self._wake.set()

    @property
    def silent_for(self) -> float:
        """Seconds since the last claim that the database answered."""
        return time.monotonic() - self.last_claim_at

    def run_until_idle(self, *, most: int = 10_000) -> int:
        """Run what is due, in this thread, until nothing is; answers how many tasks ran."""
        ran = 0
        while ran < most and (batch := self._claim(1)):
            self.run(batch[0])
            ran += 1
        return ran

    def _run(self) -> None:
        trouble = 0
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                more = self._dispatch()
                trouble = 0
            except StorageError as error:
                trouble += 1
                log.warning("worker.storage_unavailable", error=str(error), attempt=trouble)
                self._stopping.wait(min(backoff(trouble), 5.0))
                continue
            except Exception:
                trouble += 1
                log.exception("worker.claim_failed", attempt=trouble)
                self._stopping.wait(min(backoff(trouble), 5.0))
                continue
            if not more:
                self._wake.wait(self._poll)

    def _dispatch(self) -> bool:
        """Claim as many tasks as there are free threads; answers whether there may be more."""
        free = 0
        while free < self._threads and self._free.acquire(blocking=free == 0, timeout=self._poll if free == 0 else None):
            free += 1
        if not free:
            self._all_busy()
            return False
        self._busy_since = None
        claimed: list[Task] = []
        try:
            claimed = self._claim(free)
        finally:
            for _ in range(free - len(claimed)):
                self._free.release()
        for task in claimed:
            self._pool.submit(self.run, task).add_done_callback(self._finished)
        return len(claimed) == free

    def _all_busy(self) -> None:
        """Too busy to claim is not deaf, for as long as any handler may rightly take; beyond that they hang."""
        now = time.monotonic()
        self._busy_since = self._busy_since or now
        if now - self._busy_since < HUNG_AFTER:
            self.last_claim_at = now

    def _finished(self, done: "Future[None]") -> None:
        self._free.release()
        self._wake.set()
        if not done.cancelled() and (error := done.exception()):
            log.error("worker.run_failed", error=repr(error))

    def _claim(self, limit: int) -> list[Task]:
        if not self._database.read(lambda tx: tasks.claimable(tx, kinds=self._kinds)):
            self.last_claim_at = time.monotonic()
            return []
        claimed = self._database.write(lambda tx: tasks.claim(tx, limit, self._lease, kinds=self._kinds), name="claim", ordered=False)
        self.last_claim_at = time.monotonic()
        return claimed

    def run(self, task: Task) -> None:
        """Run one claimed task to its settlement. Never raises for what a handler did."""
        structlog.contextvars.bind_contextvars(task=task.key, attempt=task.attempt, incident=task.args.get("incident"))
        try:
            reach(POINTS["K4"])
            reach(f"{task.kind}.before_call")
            settlement = self._handle(task)
            reach(POINTS["K6"])
            reach(f"{task.kind}.after_call")
            self._settle(task, settlement)
        except LeaseLost:
            log.warning("task.lease_lost")
        except StorageError as error:
            log.warning("task.not_settled", error=str(error))
        finally:
            structlog.contextvars.unbind_contextvars("task", "attempt", "incident")

    def _handle(self, task: Task) -> Settlement:
        handler = self._handlers.get(task.kind)
        if handler is None:
            return Buried(error=f"no handler for {task.kind}: this task was written by another version of Muster")
        try:
            return handler(task)
        except DeliveryError as error:
            return after_failure(task, error)
        except StorageError as error:
            return Postponed(seconds=backoff(task.attempt), certain=False, error=str(error))
        except Exception as error:
            log.exception("task.failed")
            return Postponed(seconds=backoff(task.attempt), certain=False, error=f"{type(error).__name__}: {error}")

    def _settle(self, task: Task, settlement: Settlement) -> None:
        """Write what the handler answered. Where that cannot be written, the task is tried again, in doubt, or given up in time."""
        settlement = self._in_time(task, settlement)
        try:
            self._write_again_if_stale(task, settlement)
        except (LeaseLost, StorageUnavailable):
            raise
        except Exception as error:
            log.exception("task.answer_not_written")
            reason = f"{type(error).__name__}: {error}"
            again = self._in_time(task, Postponed(seconds=backoff(task.attempt), certain=False, error=reason))
            if isinstance(again, Buried):  # without what may be the very thing that fails
                self._database.write(lambda tx: tasks.bury(tx, task, reason), name="settle")
            else:
                self._database.write(lambda tx: self._write(tx, task, again), name="settle")

    def _in_time(self, task: Task, settlement: Settlement) -> Settlement:
        """The settlement, or the end of it where the task's budget is used up."""
        if isinstance(settlement, Postponed) and not settlement.throttled and self._age(task) > self._budget:
            settlement = Buried(error=settlement.error or "gave up")
        if isinstance(settlement, Buried):
            log.error("task.dead", error=settlement.error)
        return settlement

    def _age(self, task: Task) -> float:
        """Seconds from the first claim to this one, by the database's clock; a claimed task is due when its lease ends."""
        return (task.due_at - task.first_claimed_at).total_seconds() - self._lease if task.first_claimed_at else 0.0

    def _write_again_if_stale(self, task: Task, settlement: Settlement) -> None:
        """What follows decides on what is true now: when somebody else was faster, it decides again. The outside is not called again."""
        for left in reversed(range(STALE_RETRIES)):
            try:
                self._database.write(lambda tx: self._write(tx, task, settlement), name="settle")
            except Stale:
                if not left:
                    raise
            else:
                return

    def _write(self, tx: Tx, task: Task, settlement: Settlement) -> None:
        match settlement:
            case Settled(apply=apply, result=result):
                tasks.settle(tx, task, result)
                if apply:
                    apply(tx)
            case Postponed(seconds=delay, certain=certain, error=error, throttled=throttled):
                tasks.postpone(tx, task, delay, certain=certain, error=error, counted=not throttled)
            case Buried(error=error, apply=apply):
                tasks.bury(tx, task, error)
                if apply:
                    apply(tx)
                self._on_buried(tx, task, error)
