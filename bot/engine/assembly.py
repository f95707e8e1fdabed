"""The engine as a whole: one worker, the triage loop, the sweeps. Handlers and sweeps are injected."""

from collections.abc import Callable, Mapping, Sequence

from bot.engine.loop import Loop
from bot.engine.scheduler import Ticker
from bot.engine.worker import Worker
from bot.settlement import Handler
from storage import tasks
from storage.database import Database, Tx
from storage.killpoints import POINTS, reach
from storage.tasks import Task

URGENT_THREADS = 4

LONGEST_REST = 0.2
"""Seconds that triage rests at most between two folds, so that the intake is not kept from the writer by its own success."""

DEAF_AFTER = 30.0
"""Seconds without a successful look at the database, after which this process is not healthy."""


class Engine:
    """Starts, stops and wakes what works by itself. `urgent` are kinds of tasks that have threads of their own besides."""

    def __init__(
        self,
        *,
        database: Database,
        handlers: Mapping[str, Handler],
        on_buried: Callable[[Tx, Task, str], None],
        triage: Callable[[], int],
        sweeps: Mapping[str, tuple[float, Callable[[], object]]],
        threads: int = 8,
        urgent: Sequence[str] = (),
    ) -> None:
        self._database = database
        self.worker = Worker(database=database, handlers=handlers, on_buried=on_buried, threads=threads)
        self._workers = {"worker": self.worker}
        if urgent:  # when the chat hangs, all threads soon wait for it; what pages, changes and measures must not wait behind them
            second = Worker(database=database, handlers=handlers, on_buried=on_buried, threads=URGENT_THREADS, kinds=urgent)
            self._workers["urgent worker"] = second
        self._triage = Loop(name="triage", step=triage, poll=1.0, longest_rest=LONGEST_REST)
        self._ticker = Ticker(sweeps=dict(sweeps))

    def start(self) -> None:
        """Adopt what was in flight when the embedded server died, then begin."""
        if self._database.dialect == "sqlite":
            self._database.write(_adopt, name="adopt")
        for worker in self._workers.values():
            worker.start()
        self._triage.start()
        self._ticker.start()

    def stop(self) -> None:
        """Take nothing more on; let what runs finish."""
        self._ticker.stop()
        self._triage.stop()
        for worker in self._workers.values():
            worker.stop()

    def wake(self) -> None:
        """Something may be due."""
        for worker in self._workers.values():
            worker.wake()

    def alerts_came(self) -> None:
        """The inbox holds something."""
        self._triage.wake()

    @property
    def deaf(self) -> str | None:
        """Which loop has not reached the database for too long, or None."""
        silent = {**{name: worker.silent_for for name, worker in self._workers.items()}, "triage": self._triage.silent_for}
        return next((f"{name} has been silent for {seconds:.0f} s" for name, seconds in silent.items() if seconds > DEAF_AFTER), None)


def _adopt(tx: Tx) -> int:
    adopted = tasks.adopt(tx)
    reach(POINTS["K10"])
    return adopted
