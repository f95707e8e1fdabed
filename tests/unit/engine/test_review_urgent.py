"""A chat that hangs holds up what is said and nothing else."""

import threading
import time

import pytest

from bot.engine import worker
from bot.engine.assembly import Engine
from bot.engine.worker import Worker
from bot.settlement import Settled, Settlement
from storage import tasks
from storage.database import Database
from storage.tasks import NewTask, Task

PATIENCE = 10.0


def test_a_page_does_not_wait_behind_a_chat_that_hangs(database: Database) -> None:
    """All threads wait for the chat, and more messages stand before the page: it goes out all the same, and is done once."""
    released, paged, ran = threading.Event(), threading.Event(), []
    hanging = threading.Semaphore(0)

    def speak(_task: Task) -> Settlement:
        hanging.release()
        released.wait(PATIENCE)
        return Settled()

    def page(task: Task) -> Settlement:
        ran.append(task.key)
        paged.set()
        return Settled()

    engine = Engine(
        database=database,
        handlers={"say": speak, "page": page},
        on_buried=lambda _tx, _task, _error: None,
        triage=lambda: 0,
        sweeps={},
        threads=2,
        urgent=["page"],
    )
    database.write(lambda tx: tasks.enqueue(tx, *(NewTask(key=f"say:{number}", kind="say") for number in range(6))))
    engine.start()
    try:
        assert all(hanging.acquire(timeout=PATIENCE) for _ in range(2))
        database.write(lambda tx: tasks.enqueue(tx, NewTask(key="page:1", kind="page")))
        engine.wake()
        assert paged.wait(PATIENCE)
    finally:
        released.set()
        ends = time.monotonic() + PATIENCE
        while database.read(tasks.backlog).open and time.monotonic() < ends:
            time.sleep(0.01)
        engine.stop()
    assert ran == ["page:1"]


def test_a_worker_that_is_only_busy_is_not_called_deaf(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """While every thread works on something that may take its time, nobody restarts Muster; when they hang, somebody does."""
    released, begun = threading.Event(), threading.Event()

    def work(_task: Task) -> Settlement:
        begun.set()
        released.wait(PATIENCE)
        return Settled()

    made = Worker(database=database, handlers={"slow": work}, on_buried=lambda *_: None, threads=1, poll=0.01)
    database.write(lambda tx: tasks.enqueue(tx, NewTask(key="a", kind="slow")))
    made.start()
    try:
        assert begun.wait(PATIENCE)
        first = made.last_claim_at
        ends = time.monotonic() + PATIENCE
        while made.last_claim_at == first and time.monotonic() < ends:
            time.sleep(0.01)
        assert made.last_claim_at > first
        monkeypatch.setattr(worker, "HUNG_AFTER", 0.0)
        time.sleep(0.05)
        last = made.last_claim_at
        time.sleep(0.1)
        assert made.last_claim_at == last
    finally:
        released.set()
        made.stop()
