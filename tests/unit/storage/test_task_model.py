"""The task table against a model of it: any order of claims, answers, crashes and time."""

import tempfile
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from storage import migrations, tasks
from storage.database import Database
from storage.errors import LeaseLost
from storage.tasks import NewTask, Task

LEASE = 30.0


class TaskModel(RuleBasedStateMachine):
    """Knows of each key: its lane, state, attempts, and which handle is the valid one."""

    @initialize()
    def start(self) -> None:
        self.now = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(url=f"sqlite:///{self.folder.name}/muster.sqlite", clock=lambda: self.now)
        migrations.ready(self.database)
        self.order: dict[str, int] = {}
        self.lane: dict[str, str | None] = {}
        self.state: dict[str, str] = {}
        self.due: dict[str, datetime] = {}
        self.attempt: dict[str, int] = {}
        self.certain: dict[str, int] = {}
        self.leased: dict[str, datetime | None] = {}
        self.handles: list[Task] = []

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
            self.folder.cleanup()

    @rule(key=st.sampled_from("abcdefgh"), lane=st.sampled_from([None, "x", "y"]), delay=st.sampled_from([0.0, 0.0, 40.0]))
    def enqueue(self, key: str, lane: str | None, delay: float) -> None:
        lane = None if delay else lane
        new = self.database.write(lambda tx: tasks.enqueue(tx, NewTask(key=key, kind="post", lane=lane, delay=delay)))
        assert new == ([] if key in self.order else [key])
        if new:
            self.order[key], self.lane[key], self.state[key] = len(self.order), lane, "open"
            self.due[key], self.attempt[key], self.certain[key] = self.now + timedelta(seconds=delay), 0, 0
            self.leased[key] = None

    @rule(seconds=st.sampled_from([1, 10, 31, 100]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        claimable = sorted((key for key in self.order if self._claimable(key)), key=lambda key: (self.due[key], self.order[key]))
        claimed = self.database.write(lambda tx: tasks.claim(tx, limit, LEASE))
        assert {task.key for task in claimed} == set(claimable[:limit])
        for task in claimed:
            self.attempt[task.key] += 1
            assert task.attempt == self.attempt[task.key]
            assert task.in_doubt == (task.attempt - 1 > self.certain[task.key])
            self.due[task.key] = self.leased[task.key] = self.now + timedelta(seconds=LEASE)
            self.handles.append(task)

    def _claimable(self, key: str) -> bool:
        if self.state[key] != "open" or self.due[key] > self.now:
            return False
        peers = [other for other in self.order if self.lane[key] and self.lane[other] == self.lane[key] and self.state[other] == "open"]
        return all(self.order[key] <= self.order[other] for other in peers)

    def _answer(self, data: st.DataObject, act) -> str | None:
        """Let any worker that ever held a task answer; only the present holder may, and `None` says that it was not."""
        if not self.handles:
            return None
        task = data.draw(st.sampled_from(self.handles))
        holder = self.state[task.key] == "open" and self.attempt[task.key] == task.attempt and self.leased[task.key] is not None
        try:
            self.database.write(lambda tx: act(tx, task))
        except LeaseLost:
            assert not holder
            return None
        assert holder
        self.leased[task.key] = None
        return task.key

    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        if key := self._answer(data, lambda tx, task: tasks.settle(tx, task, {"ok": True})):
            self.state[key] = "done"

    @rule(data=st.data())
    def bury(self, data: st.DataObject) -> None:
        if key := self._answer(data, lambda tx, task: tasks.bury(tx, task, "no")):
            self.state[key] = "dead"

    @rule(data=st.data(), certain=st.booleans(), seconds=st.sampled_from([0.0, 5.0]))
    def postpone(self, data: st.DataObject, certain: bool, seconds: float) -> None:
        if key := self._answer(data, lambda tx, task: tasks.postpone(tx, task, seconds, certain=certain, error="later")):
            self.due[key] = self.now + timedelta(seconds=seconds)
            self.certain[key] = self.attempt[key] if certain else self.certain[key]

    @rule()
    def crash_and_restart(self) -> None:
        self.database.close()
        self.database = Database(url=str(self.database.url), clock=lambda: self.now)
        adopted = self.database.write(tasks.adopt)
        held = [key for key in self.order if self.state[key] == "open" and self.leased[key] is not None]
        assert adopted == len(held)
        for key in held:
            self.due[key], self.leased[key] = self.now, None

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "database"):
            stored = {key: self.database.read(lambda tx, key=key: tasks.get(tx, key)).state for key in self.order}
            assert stored == self.state


TestTaskModel = TaskModel.TestCase
TestTaskModel.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
