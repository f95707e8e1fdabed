"""The worker: what each answer of a handler comes to, and what a crash, a lost lease or a stranger's task does."""

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from bot.engine.worker import STALE_RETRIES, Worker, backoff
from bot.ports import DeliveryError
from bot.settlement import Buried, Handler, Postponed, Settled, Settlement
from storage import switches, tasks
from storage.database import Database, Tx
from storage.errors import Stale, StorageUnavailable
from storage.tasks import NewTask, Task

PATIENCE = 10.0


class Told:
    """What was buried, as a person would be shown it."""

    def __init__(self) -> None:
        self.buried: list[tuple[str, str]] = []

    def __call__(self, tx: Tx, task: Task, error: str) -> None:
        """Remember it, and leave a mark in the same transaction."""
        self.buried.append((task.key, error))
        switches.put(tx, f"told:{task.key}", value=True)


@pytest.fixture
def told() -> Told:
    """Who is told of what was given up."""
    return Told()


def worker(database: Database, handlers: Mapping[str, Handler], told: Told, **more: Any) -> Worker:
    """A worker of these handlers."""
    return Worker(database=database, handlers=handlers, on_buried=told, **more)


def promise(database: Database, *keys: str, kind: str = "post", lane: str | None = None) -> None:
    """Enqueue tasks."""
    database.write(lambda tx: tasks.enqueue(tx, *(NewTask(key=key, kind=kind, lane=lane) for key in keys)))


def stored(database: Database, key: str) -> Task:
    """A task as it stands."""
    task = database.read(lambda tx: tasks.get(tx, key))
    assert task is not None
    return task


def time_passes(database: Database, seconds: float) -> None:
    """Make everything so much longer ago, which is what time does."""
    ago = "UPDATE tasks SET due_at = due_at - :by, first_claimed_at = first_claimed_at - :by, lease_until_at = lease_until_at - :by"
    database.write(lambda tx: tx.execute(text(ago), {"by": round(seconds * 1_000_000)}))


def until(look: Callable[[], object]) -> None:
    """Look until it is true, at most for a while."""
    ends = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < ends, "it did not come"
        time.sleep(0.01)


def raises(error: Exception) -> Callable[..., Any]:
    """Something that always fails so."""

    def fail(*_args: object) -> Any:
        raise error

    return fail


def test_what_follows_is_written_with_the_settling(database: Database, told: Told) -> None:
    """A handler's answer, its domain writes and the end of the task are one transaction; its own task key is its argument."""
    seen: list[str] = []

    def handle(task: Task) -> Settlement:
        seen.append(task.key)
        return Settled(apply=lambda tx: switches.put(tx, "followed", value=task.key), result={"ts": "1.2"})

    promise(database, "a")
    assert worker(database, {"post": handle}, told).run_until_idle() == 1
    assert seen == ["a"]
    assert database.read(lambda tx: switches.get(tx, "followed")) == "a"
    assert (stored(database, "a").state, stored(database, "a").result) == ("done", {"ts": "1.2"})
    assert told.buried == []


@pytest.mark.parametrize(("certain", "doubt"), [(True, False), (False, True)])
def test_a_postponed_task_waits_and_says_whether_it_is_in_doubt(database: Database, told: Told, certain: bool, doubt: bool) -> None:
    """It is due again after its seconds; only what may have had its effect is looked up first."""
    doubts: list[bool] = []

    def handle(task: Task) -> Settlement:
        doubts.append(task.in_doubt)
        return Postponed(seconds=0.0, certain=certain, error="not yet") if len(doubts) == 1 else Settled()

    promise(database, "a")
    worker(database, {"post": handle}, told).run_until_idle()
    assert doubts == [False, doubt]
    assert stored(database, "a").state == "done"


def test_postponed_means_later(database: Database, told: Told) -> None:
    """A task postponed for a minute is not run again now, and its error stands with it."""
    promise(database, "a")
    ran = worker(database, {"post": lambda _task: Postponed(seconds=60.0, certain=True, error="busy")}, told).run_until_idle()
    task = stored(database, "a")
    assert (ran, task.state, task.error) == (1, "open", "busy")
    assert task.due_at > datetime.now(UTC) + timedelta(seconds=50)


def test_what_is_buried_is_shown(database: Database, told: Told) -> None:
    """Given up is dead, told to a person in the same transaction, with what the handler had to say about it."""
    promise(database, "a")
    answer = Buried(error="no such channel", apply=lambda tx: switches.put(tx, "said", value=True))
    worker(database, {"post": lambda _task: answer}, told).run_until_idle()
    assert (stored(database, "a").state, stored(database, "a").error) == ("dead", "no such channel")
    assert told.buried == [("a", "no such channel")]
    assert database.read(lambda tx: (switches.get(tx, "said"), switches.get(tx, "told:a"))) == (True, True)


def test_a_task_of_an_unknown_kind_is_buried(database: Database, told: Told) -> None:
    """What another version has written is shown to a person, and its lane goes on."""
    promise(database, "strange", kind="from-the-future", lane="x")
    promise(database, "known", lane="x")
    worker(database, {"post": lambda _task: Settled()}, told).run_until_idle()
    assert (stored(database, "strange").state, stored(database, "known").state) == ("dead", "done")
    assert "from-the-future" in told.buried[0][1]


@pytest.mark.parametrize(
    ("error", "state", "doubt"),
    [
        (DeliveryError("no channel", certain=True, permanent=True), "dead", False),
        (DeliveryError("slow down", certain=True, retry_after=30.0), "open", False),
        (DeliveryError("refused", certain=True), "open", False),
        (DeliveryError("timeout", certain=False), "open", True),
        (StorageUnavailable("away"), "open", True),
        (RuntimeError("a mistake of ours"), "open", True),
    ],
)
def test_each_failure_has_its_consequence(database: Database, told: Told, error: Exception, state: str, doubt: bool) -> None:
    """Permanent is dead; surely not done is tried again plainly; whatever may have been done is in doubt. None ends the worker."""
    promise(database, "a")
    worker(database, {"post": raises(error)}, told).run_until_idle(most=1)
    task = stored(database, "a")
    assert task.state == state
    assert (task.settled < task.attempt) is (doubt or state == "dead")
    assert str(error) in (task.error or "")


def test_the_far_side_says_when(database: Database, told: Told) -> None:
    """A Retry-After is kept to."""
    promise(database, "a")
    worker(database, {"post": raises(DeliveryError("429", certain=True, retry_after=300.0))}, told).run_until_idle(most=1)
    assert stored(database, "a").due_at > datetime.now(UTC) + timedelta(seconds=280)


def test_the_budget_is_elapsed_time(database: Database, told: Told) -> None:
    """A task that fails is tried until its budget is over, then buried with its last error; within the budget it never is."""
    promise(database, "young", "old")
    failing = {"post": lambda _task: Postponed(seconds=0.0, certain=True, error="still down")}
    worker(database, failing, told, budget=1000.0).run_until_idle(most=40)
    assert stored(database, "young").state == stored(database, "old").state == "open"
    assert stored(database, "old").attempt >= 15
    worker(database, failing, told, budget=0.0).run_until_idle(most=4)
    assert {key for key, _ in told.buried} == {"young", "old"}
    assert told.buried[0][1] == "still down"


@pytest.mark.parametrize(("throttled", "state"), [(True, "open"), (False, "dead")])
def test_a_429_uses_up_no_budget(database: Database, told: Told, throttled: bool, state: str) -> None:
    """However long the far side asks to wait, the wait does not count: the first failure after it is not the end. Other waits count."""
    wait = Postponed(seconds=600.0, certain=True, error="429", throttled=throttled)
    answers = iter([wait, wait, wait, Postponed(seconds=60.0, certain=True, error="503")])
    promise(database, "a")
    one = worker(database, {"post": lambda _task: next(answers)}, told, budget=1500.0)
    for _ in range(4):
        assert one.run_until_idle() == 1
        time_passes(database, 600.0)
    assert (stored(database, "a").state, stored(database, "a").error) == (state, "503")


def test_a_late_worker_changes_nothing(database: Database, told: Told) -> None:
    """A worker whose lease ran out while its handler was busy writes nothing, and another's result stands."""
    inside = threading.Event()
    go_on = threading.Event()

    def slow(_task: Task) -> Settlement:
        inside.set()
        assert go_on.wait(PATIENCE)
        return Settled(apply=lambda tx: switches.put(tx, "who", value="late"), result="late")

    quick = {"post": lambda _task: Settled(apply=lambda tx: switches.put(tx, "who", value="quick"), result="quick")}
    promise(database, "a")
    (task,) = database.write(lambda tx: tasks.claim(tx, 1, 0.0), ordered=False)
    late = threading.Thread(target=worker(database, {"post": slow}, told).run, args=(task,))
    late.start()
    assert inside.wait(PATIENCE)
    worker(database, quick, told).run_until_idle()
    go_on.set()
    late.join(PATIENCE)
    assert stored(database, "a").result == "quick"
    assert database.read(lambda tx: switches.get(tx, "who")) == "quick"


def test_after_a_crash_the_next_worker_looks_first(database: Database, told: Told) -> None:
    """A process that dies with a task in its hands leaves it in doubt; whoever takes it over knows."""
    doubts: list[bool] = []

    def handle(task: Task) -> Settlement:
        doubts.append(task.in_doubt)
        return Settled()

    promise(database, "a")
    database.write(lambda tx: tasks.claim(tx, 1, 60.0), ordered=False)  # claimed, and never heard of again
    database.write(tasks.adopt)
    worker(database, {"post": handle}, told).run_until_idle()
    assert doubts == [True]


def test_an_answer_is_written_again_when_somebody_was_faster(database: Database, told: Told) -> None:
    """Stale rows make what follows decide again, without calling the outside again."""
    calls: list[str] = []
    tries: list[int] = []

    def apply(tx: Tx) -> None:
        tries.append(1)
        if len(tries) < STALE_RETRIES:
            raise Stale("somebody was faster")
        switches.put(tx, "written", value=True)

    def handle(_task: Task) -> Settlement:
        calls.append("out")
        return Settled(apply=apply)

    promise(database, "a")
    worker(database, {"post": handle}, told).run_until_idle()
    assert (calls, stored(database, "a").state) == (["out"], "done")
    assert database.read(lambda tx: switches.get(tx, "written")) is True


@pytest.mark.parametrize("error", [Stale("always"), ValueError("a mistake of ours")])
def test_an_answer_that_cannot_be_written_is_given_up_in_time(database: Database, told: Told, error: Exception) -> None:
    """It is tried again in doubt, writes nothing of itself, and is dead when its budget is over, whatever telling people does."""

    def apply(tx: Tx) -> None:
        switches.put(tx, "half", value=True)
        raise error

    promise(database, "a")
    worker(database, {"post": lambda _task: Settled(apply=apply)}, told).run_until_idle(most=1)
    task = stored(database, "a")
    assert (task.state, task.settled, task.lease_until_at) == ("open", 0, None)
    time_passes(database, 10.0)
    worker(database, {"post": lambda _task: Settled(apply=apply)}, told, budget=5.0).run_until_idle(most=1)
    assert stored(database, "a").state == "dead"
    assert database.read(lambda tx: switches.get(tx, "half")) is None


def test_the_loop_runs_what_comes_and_stops_after_what_runs(database: Database, told: Told) -> None:
    """Woken, it takes on what is due; told to stop, it lets the running handler write its answer."""
    inside, go_on = threading.Event(), threading.Event()

    def handle(task: Task) -> Settlement:
        if task.key == "slow":
            inside.set()
            assert go_on.wait(PATIENCE)
        return Settled()

    running = worker(database, {"post": handle}, told, threads=2, poll=0.05)
    running.start()
    promise(database, "quick", "slow")
    running.wake()
    assert inside.wait(PATIENCE)
    until(lambda: stored(database, "quick").state == "done")
    stopping = threading.Thread(target=running.stop)
    stopping.start()
    go_on.set()
    stopping.join(PATIENCE)
    assert stored(database, "slow").state == "done"


def test_no_database_error_ends_the_loop(database: Database, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage, and even a mistake of ours while claiming, makes it wait and look again."""
    real, troubles = tasks.claim, iter([StorageUnavailable("away"), RuntimeError("unreadable")])

    def claim(*args: Any, **more: Any) -> list[Task]:
        for trouble in troubles:
            raise trouble
        return real(*args, **more)

    monkeypatch.setattr(tasks, "claim", claim)
    promise(database, "a")
    running = worker(database, {"post": lambda _task: Settled()}, told, poll=0.05)
    running.start()
    try:
        until(lambda: stored(database, "a").state == "done")
    finally:
        running.stop()


def test_many_workers_run_each_task_once_and_lanes_in_order(database: Database, told: Told) -> None:
    """Three workers over one database: every task once, and those of a lane one after the other in their order."""
    ran: list[str] = []
    guard = threading.Lock()

    def handle(task: Task) -> Settlement:
        with guard:
            ran.append(task.key)
        return Settled()

    for number in range(10):
        promise(database, f"x{number}", lane="x")
        promise(database, f"y{number}", lane="y")
        promise(database, f"free{number}")
    workers = [worker(database, {"post": handle}, told, threads=3, poll=0.02) for _ in range(3)]
    for one in workers:
        one.start()
    try:
        until(lambda: database.read(tasks.backlog).open == 0)
    finally:
        for one in workers:
            one.stop()
    assert sorted(ran) == sorted(set(ran))
    assert len(ran) == 30
    for lane in "xy":
        assert [key for key in ran if key.startswith(lane)] == [f"{lane}{number}" for number in range(10)]


@given(st.integers(0, 10**9))
def test_backing_off_grows_and_ends_at_a_minute(attempt: int) -> None:
    """Between half a second and a minute, never less than for the attempt before, and no number of attempts is too many."""
    assert 0.5 <= backoff(attempt) <= backoff(attempt + 1) <= 60.0
