"""Tasks: claimed under a lease, settled under a fence, in the order of their lanes."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from storage import tasks
from storage.database import Database
from storage.errors import LeaseLost
from storage.tasks import NewTask


def enqueue(database: Database, *new: NewTask) -> list[str]:
    return database.write(lambda tx: tasks.enqueue(tx, *new))


def claim(database: Database, limit: int = 10, lease: float = 60.0, **more):
    return database.write(lambda tx: tasks.claim(tx, limit, lease, **more), ordered=False)


def keys(claimed) -> list[str]:
    return [task.key for task in claimed]


def test_the_same_key_is_one_task(database: Database) -> None:
    """A key that is known, or stands twice in one call, changes nothing; the answer names the new ones."""
    assert enqueue(database, NewTask(key="a", kind="post"), NewTask(key="a", kind="other"), NewTask(key="b", kind="post")) == ["a", "b"]
    assert enqueue(database, NewTask(key="b", kind="post"), NewTask(key="c", kind="post")) == ["c"]
    assert [(task.key, task.kind) for task in claim(database)] == [("a", "post"), ("b", "post"), ("c", "post")]


def test_a_task_comes_back_as_it_was_promised(database: Database) -> None:
    """Arguments, result and error survive both databases, hostile text included."""
    args = {"text": "a\x00b \ud800 <!channel> ✓", "n": 1.5, "deep": [{"x": None}]}
    enqueue(database, NewTask(key="a", kind="post", args=args))
    (task,) = claim(database)
    assert task.args == args
    database.write(lambda tx: tasks.postpone(tx, task, 0, certain=True, error="bad\x00byte"))
    (again,) = claim(database)
    database.write(lambda tx: tasks.settle(tx, again, {"ts": "1.2"}))
    stored = database.read(lambda tx: tasks.get(tx, "a"))
    assert (stored.state, stored.result, stored.attempt, stored.settled) == ("done", {"ts": "1.2"}, 2, 2)


def test_a_claimed_task_is_not_claimed_again_until_its_lease_ends(database: Database) -> None:
    """While the lease runs nobody else gets it; after its end the next claim does, and it is in doubt."""
    enqueue(database, NewTask(key="a", kind="post"))
    (first,) = claim(database, lease=60)
    assert not first.in_doubt
    assert claim(database) == []
    assert database.read(tasks.next_due) == first.lease_until_at
    enqueue(database, NewTask(key="b", kind="post"))
    claim(database, lease=0)
    (again,) = claim(database)
    assert (again.key, again.attempt, again.in_doubt) == ("b", 2, True)


def test_a_late_worker_changes_nothing(database: Database) -> None:
    """Whoever lost the lease can neither settle nor postpone nor bury, and its other writes roll back with that."""
    enqueue(database, NewTask(key="a", kind="post"))
    (late,) = claim(database, lease=0)
    (holder,) = claim(database)

    def settle_late(tx):
        tasks.enqueue(tx, NewTask(key="follow-up", kind="post"))
        tasks.settle(tx, late)

    for attempt in (
        settle_late,
        lambda tx: tasks.postpone(tx, late, 1, certain=True, error=""),
        lambda tx: tasks.bury(tx, late, "no"),
    ):
        with pytest.raises(LeaseLost):
            database.write(attempt)
    assert database.read(lambda tx: tasks.get(tx, "follow-up")) is None
    database.write(lambda tx: tasks.settle(tx, holder))
    with pytest.raises(LeaseLost):
        database.write(lambda tx: tasks.settle(tx, holder))


@pytest.mark.parametrize(("certain", "doubt"), [(True, False), (False, True)])
def test_only_an_unknown_outcome_is_in_doubt(database: Database, certain: bool, doubt: bool) -> None:
    """After a refusal that surely had no effect the next attempt just calls; after silence it must look first."""
    enqueue(database, NewTask(key="a", kind="post"))
    (task,) = claim(database)
    database.write(lambda tx: tasks.postpone(tx, task, 0, certain=certain, error="429"))
    (again,) = claim(database)
    assert (again.in_doubt, again.error) == (doubt, "429")


def test_doubt_stays_until_an_attempt_is_certain(database: Database) -> None:
    """An unknown outcome followed by a look that failed is still in doubt (a 429 inside the look proves nothing)."""
    enqueue(database, NewTask(key="a", kind="post"))
    for _ in range(2):
        (task,) = claim(database)
        database.write(lambda tx, task=task: tasks.postpone(tx, task, 0, certain=False, error="timeout"))
    (task,) = claim(database)
    assert task.in_doubt
    database.write(lambda tx: tasks.postpone(tx, task, 0, certain=True, error="looked: not there"))
    assert not claim(database)[0].in_doubt


def test_a_lane_goes_one_by_one_in_order(database: Database) -> None:
    """Only a lane's oldest open task is claimed; the next one after it is over, be it done or dead. Other lanes do not wait."""
    enqueue(database, *(NewTask(key=f"{lane}{number}", kind="post", lane=lane) for number in range(3) for lane in "xy"))
    first = claim(database)
    assert sorted(keys(first)) == ["x0", "y0"]
    assert claim(database) == []
    x0, y0 = sorted(first, key=lambda task: task.key)
    database.write(lambda tx: tasks.settle(tx, x0))
    database.write(lambda tx: tasks.bury(tx, y0, "no such channel"))
    assert sorted(keys(claim(database))) == ["x1", "y1"]


def test_a_postponed_task_holds_its_lane(database: Database) -> None:
    """What must be tried again later is not overtaken by its lane."""
    enqueue(database, NewTask(key="a", kind="post", lane="x"), NewTask(key="b", kind="post", lane="x"))
    (task,) = claim(database)
    database.write(lambda tx: tasks.postpone(tx, task, 60, certain=True, error="429"))
    assert claim(database) == []


def test_a_delayed_task_waits_and_carries_no_lane(database: Database) -> None:
    """A reminder is not claimed before its time, and one with a lane is refused, because the lane would wait with it."""
    enqueue(database, NewTask(key="a", kind="remind", delay=60))
    assert claim(database) == []
    assert database.read(tasks.next_due) > datetime.now(UTC) + timedelta(seconds=30)
    with pytest.raises(ValueError, match="lane"):
        NewTask(key="b", kind="remind", lane="x", delay=1)


def test_kinds_narrow_a_claim(database: Database) -> None:
    """A worker that asks for some kinds gets only those."""
    enqueue(database, NewTask(key="a", kind="post"), NewTask(key="b", kind="run"))
    assert keys(claim(database, kinds=["run"])) == ["b"]


def test_the_longest_overdue_is_claimed_first(database: Database) -> None:
    """With more due than asked for, the longest overdue come first, each task once."""
    enqueue(database, *(NewTask(key=f"{number:02}", kind="post") for number in range(10)))
    assert keys(claim(database, 4)) == ["00", "01", "02", "03"]
    assert keys(claim(database, 4)) == ["04", "05", "06", "07"]
    assert keys(claim(database, 4)) == ["08", "09"]


def test_adoption_makes_what_was_in_flight_due(database: Database) -> None:
    """After a restart what the dead process held is due at once and in doubt; what waits for its time waits on; its old worker is out."""
    enqueue(database, NewTask(key="held", kind="post"), NewTask(key="later", kind="post", delay=60))
    (held,) = claim(database)
    assert database.write(tasks.adopt) == 1
    with pytest.raises(LeaseLost):
        database.write(lambda tx: tasks.settle(tx, held))
    (again,) = claim(database)
    assert (again.key, again.in_doubt) == ("held", True)


def test_a_dead_task_can_be_revived_at_the_end_of_its_lane(database: Database) -> None:
    """A person's "try again" makes it due once more, behind its lane, its doubts kept; a task that is not dead is left alone."""
    enqueue(database, NewTask(key="a", kind="post", lane="x"), NewTask(key="b", kind="post", lane="x"))
    (a,) = claim(database)
    database.write(lambda tx: tasks.bury(tx, a, "unknown outcome"))
    (dead,) = database.read(tasks.dead)
    assert (dead.key, dead.error) == ("a", "unknown outcome")
    (b,) = claim(database)
    assert database.write(lambda tx: tasks.revive(tx, dead.id))
    assert not database.write(lambda tx: tasks.revive(tx, dead.id))
    assert claim(database) == []
    database.write(lambda tx: tasks.settle(tx, b))
    (again,) = claim(database)
    assert (again.key, again.attempt, again.in_doubt) == ("a", 2, True)


def test_a_superseded_update_can_be_told(database: Database) -> None:
    """An update behind which a later one of the same lane and kind waits may be dropped; the last one may not."""
    enqueue(database, *(NewTask(key=f"card:{revision}", kind="update", lane="inc:1") for revision in (1, 2)))
    (first,) = claim(database)
    assert database.read(lambda tx: tasks.superseded(tx, first))
    database.write(lambda tx: tasks.settle(tx, first))
    (last,) = claim(database)
    assert not database.read(lambda tx: tasks.superseded(tx, last))


def test_the_backlog_is_counted(database: Database) -> None:
    """Health sees how much is open, in flight and dead, and how long the oldest has waited."""
    enqueue(database, *(NewTask(key=f"{number}", kind="post") for number in range(4)))
    (first,) = claim(database, 1)
    (second,) = claim(database, 1)
    database.write(lambda tx: tasks.bury(tx, second, "no"))
    backlog = database.read(tasks.backlog)
    assert (backlog.open, backlog.in_flight, backlog.dead) == (3, 1, 1)
    assert 0 < backlog.overdue_by < 60
    database.write(lambda tx: tasks.settle(tx, first))
    assert database.read(tasks.backlog).in_flight == 0


def test_only_done_tasks_are_forgotten(database: Database) -> None:
    """Retention deletes what is done and old, in batches; open and dead ones stay."""
    enqueue(database, *(NewTask(key=f"{number}", kind="post") for number in range(5)))
    claimed = claim(database, 4)
    for task in claimed[:3]:
        database.write(lambda tx, task=task: tasks.settle(tx, task))
    database.write(lambda tx: tasks.bury(tx, claimed[3], "no"))
    later = datetime.now(UTC) + timedelta(days=1)
    assert database.write(lambda tx: tasks.purge(tx, later - timedelta(days=2))) == 0
    assert [database.write(lambda tx: tasks.purge(tx, later, 2)) for _ in range(3)] == [2, 1, 0]
    assert database.read(tasks.backlog).open == 1
    assert keys(database.read(tasks.dead)) == ["3"]


def test_replicas_share_the_work_and_keep_the_lanes(postgres_url: str) -> None:
    """Three replicas on PostgreSQL that claim at once: every task once, every lane in order, never two of a lane at a time."""
    replicas = [Database(url=postgres_url) for _ in range(3)]
    enqueue(replicas[0], *(NewTask(key=f"{lane}:{number}", kind="post", lane=f"lane{lane}") for number in range(15) for lane in range(4)))
    enqueue(replicas[0], *(NewTask(key=f"free:{number}", kind="post") for number in range(40)))
    ran, busy, overlaps, guard = [], set(), [], threading.Lock()

    def work(replica: Database) -> None:
        deadline = datetime.now(UTC) + timedelta(seconds=60)
        while len(ran) < 100 and datetime.now(UTC) < deadline:
            for task in claim(replica, 3, 60):
                with guard:
                    overlaps.extend([task.lane] if task.lane in busy else [])
                    busy.update([task.lane] if task.lane else [])
                with guard:
                    ran.append(task.key)
                    busy.discard(task.lane)
                replica.write(lambda tx, task=task: tasks.settle(tx, task))

    threads = [threading.Thread(target=work, args=(replica,)) for replica in replicas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    for replica in replicas:
        replica.close()
    assert overlaps == []
    assert len(ran) == len(set(ran)) == 100
    for lane in range(4):
        assert [key for key in ran if key.startswith(f"{lane}:")] == [f"{lane}:{number}" for number in range(15)]


def test_a_lane_is_in_commit_order_across_replicas(postgres_url: str) -> None:
    """Whoever enqueues into a lane second waits for the first to commit, so no older task can appear behind one that is in flight."""
    database = Database(url=postgres_url)
    enqueued, go = threading.Event(), threading.Event()

    def slow(tx):
        tasks.enqueue(tx, NewTask(key="first", kind="post", lane="x"))
        enqueued.set()
        go.wait(10)

    first = database.submit(slow, ordered=False)
    assert enqueued.wait(10)
    second = database.submit(lambda tx: tasks.enqueue(tx, NewTask(key="second", kind="post", lane="x")), ordered=False)
    deadline = time.monotonic() + 10
    while not (second.done() or database.read(_waiters)):
        assert time.monotonic() < deadline
    assert not second.done()
    go.set()
    first.result(10)
    second.result(10)
    (claimed,) = claim(database)
    assert claimed.key == "first"
    database.write(lambda tx: tasks.settle(tx, claimed))
    assert keys(claim(database)) == ["second"]
    database.close()


def _waiters(tx) -> int:
    return tx.execute(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")).scalar_one()


def test_a_folding_promise_waits_for_none_that_waits_already(database: Database) -> None:
    """While one of its kind waits unclaimed in its lane, a folding task is not promised; once that is claimed, it is."""
    first, second, third = (NewTask(key=f"card:{number}", kind="card", lane="card:1", folds=True) for number in (1, 2, 3))
    assert enqueue(database, first) == ["card:1"]
    assert enqueue(database, second) == []
    (claimed,) = database.write(lambda tx: tasks.claim(tx, 5, 60.0), ordered=False)
    assert claimed.key == "card:1"
    assert enqueue(database, third) == ["card:3"]
    assert enqueue(database, second) == []
