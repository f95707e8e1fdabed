"""The engine as a whole: what was in flight is taken up again, what comes is done, and silence is noticed."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from bot.engine.assembly import DEAF_AFTER, Engine
from bot.settlement import Settled, Settlement
from storage import tasks
from storage.database import Database
from storage.tasks import NewTask, Task

PATIENCE = 10.0


class Work:
    """What the engine is given to do, and what it has done."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, bool]] = []
        self.triaged = 0
        self.swept = threading.Event()

    def handle(self, task: Task) -> Settlement:
        """Remember the task, and whether it was in doubt."""
        self.ran.append((task.key, task.in_doubt))
        return Settled()

    def triage(self) -> int:
        """Nothing waits."""
        self.triaged += 1
        return 0


@pytest.fixture
def work() -> Work:
    """What there is to do."""
    return Work()


@pytest.fixture
def engine(database: Database, work: Work) -> Iterator[Engine]:
    """An engine over the database, stopped in the end."""
    made = Engine(
        database=database,
        handlers={"post": work.handle},
        on_buried=lambda _tx, _task, _error: None,
        triage=work.triage,
        sweeps={"sweep": (0.05, work.swept.set)},
        threads=2,
    )
    yield made
    made.stop()


def until(look: Callable[[], object]) -> None:
    """Look until it is true, at most for a while."""
    ends = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < ends, "it did not come"
        time.sleep(0.01)


def test_it_does_what_is_due_when_woken(database: Database, engine: Engine, work: Work) -> None:
    """Tasks, deliveries and sweeps are all taken up by a started engine."""
    engine.start()
    database.write(lambda tx: tasks.enqueue(tx, NewTask(key="a", kind="post")))
    engine.wake()
    until(lambda: work.ran == [("a", False)])
    before = work.triaged
    engine.alerts_came()
    until(lambda: work.triaged > before)
    assert work.swept.wait(PATIENCE)


def test_an_embedded_start_takes_up_what_was_in_flight(sqlite_url: str, work: Work) -> None:
    """On its own file nobody else can hold a task: what the dead process held is due at once, and in doubt. PostgreSQL waits for leases."""
    database = Database(url=sqlite_url)
    database.write(lambda tx: tasks.enqueue(tx, NewTask(key="held", kind="post")))
    database.write(lambda tx: tasks.claim(tx, 1, 3600.0), ordered=False)
    engine = Engine(database=database, handlers={"post": work.handle}, on_buried=lambda *_: None, triage=work.triage, sweeps={})
    engine.start()
    until(lambda: work.ran == [("held", True)])
    engine.stop()
    engine.stop()  # a stop that follows a failed stop is no error and takes no time
    database.close()


def test_a_loop_that_reaches_the_database_no_more_is_named(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Health names the loop that has been silent for too long, and nothing while all are heard."""
    assert engine.deaf is None
    monkeypatch.setattr(engine.worker, "last_claim_at", time.monotonic() - DEAF_AFTER - 5)
    assert engine.deaf is not None
    assert engine.deaf.startswith("worker")
