"""A world in service: its clock, its journal, its alerts. And all the worlds of one process."""

import re
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .alerts import Alert, AlertBook
from .errors import Unacceptable, UnknownThing
from .journal import Journal
from .world import WARM_UP, World, WorldPlan

Wall = Callable[[], datetime]

# More than this in one piece is not lived through but jumped over, up to the last ten minutes: a laptop that slept, a drill a week later.
_LIVED_THROUGH = timedelta(minutes=30)
_AFTER_A_JUMP = timedelta(minutes=10)
_SNAPSHOT_EVERY = timedelta(minutes=5)
# A world apart is wanted at once, so it has lived through less when it is handed out.
_WARM_UP_APART = timedelta(minutes=5)
# Alerts that began shortly before a stop and were not kept are found again by looking at so much of the past.
_WATCHED_AGAIN = timedelta(minutes=3)
_MOST_WORLDS = 64
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,79}")


class Hosted:
    """One world on disk and in step with the wall clock times `speed`."""

    def __init__(self, directory: Path, plan: WorldPlan, *, wall: Wall, speed: float, watched: bool = False) -> None:
        self._wall = wall
        self._journal = Journal(directory)
        if not self._journal.events:
            self._journal.append({"do": "begin", "format": 1, "plan": plan.model_dump(mode="json")})
        snapshot = self._journal.kept("snapshot.json")
        self.world, done = self._restored(snapshot)
        self._base_wall, self._base_sim, self.speed = wall(), self.world.now, speed
        self._replay(done)
        self.book = AlertBook(self._kept_alerts()) if watched else None
        if self.book is not None:
            recent = (self.world.now - _WATCHED_AGAIN).timestamp()
            self._watch(max([recent, *(alert.seen_at for alert in self.book.alerts.values())]))
        self._snapshot_at = wall()
        self._set_clock(self._base_sim)

    def now(self) -> datetime:
        """Return the time in this world, aware UTC."""
        return self._base_sim + (self._wall() - self._base_wall) * self.speed

    def catch_up(self) -> World:
        """Bring the world up to its clock and return it."""
        now = self.now()
        if now - self.world.now > _LIVED_THROUGH:
            self._do({"do": "jump", "to": (now - _AFTER_A_JUMP).isoformat()})
        since = self.world.now.timestamp()
        self.world.advance_to(now)
        self._watch(since)
        if self._wall() - self._snapshot_at > _SNAPSHOT_EVERY:
            self.snapshot()
        return self.world

    def do(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out an event: checked, then on disk, then done. The same put again has its first answer.

        Raises:
            SimulationError: the event cannot be carried out; nothing was changed.
        """
        self.catch_up()
        again = self.world.prepare(event)
        return again if again is not None else self._do(event)

    def skip(self, seconds: float) -> None:
        """Drive the clock forward."""
        self._set_clock(self.now() + timedelta(seconds=seconds))
        self.catch_up()

    def snapshot(self) -> None:
        """Keep the world as it is, so that opening it again need not replay its life."""
        self._snapshot_at = self._wall()
        self._journal.keep("snapshot.json", {"events": len(self._journal.events), "world": self.world.to_json()})

    def keep_alerts(self, delivered: Mapping[str, Any]) -> None:
        """Keep which alerts stand and what was delivered of them."""
        assert self.book is not None
        self._journal.keep("alerts.json", {"alerts": self.book.to_json(), "delivered": dict(delivered)})

    def delivered(self) -> dict[str, Any]:
        """Return what was delivered before the last stop."""
        return dict((self._journal.kept("alerts.json") or {}).get("delivered", {}))

    def _do(self, event: Mapping[str, Any]) -> dict[str, Any]:
        self._journal.append({**event, "step": self.world.step})
        return self.world.apply(event)

    def _watch(self, since: float) -> None:
        if self.book is not None:
            for at in self.world.metrics.times_after(since):
                self.book.evaluate(self.world.metrics, at)

    def _set_clock(self, sim: datetime) -> None:
        self._base_wall, self._base_sim = self._wall(), sim
        clock = {"do": "clock", "wall": self._base_wall.isoformat(), "sim": sim.isoformat(), "speed": self.speed}
        self._journal.append({**clock, "step": self.world.step})

    def _restored(self, snapshot: Mapping[str, Any] | None) -> tuple[World, int]:
        plan = WorldPlan.model_validate(self._journal.events[0]["plan"])
        if snapshot is None or snapshot["events"] > len(self._journal.events):
            return World(plan), 1
        return World(plan, kept=snapshot["world"]), snapshot["events"]

    def _replay(self, done: int) -> None:
        """Live through the events after the snapshot, and set the clock where it would be had the process not stopped."""
        clocks = [event for event in self._journal.events if event["do"] == "clock"]
        for event in self._journal.events[done:]:
            self.world.advance_by_steps(event["step"] - self.world.step)
            if event["do"] != "clock":
                self.world.apply(event)
        if clocks:
            last = clocks[-1]
            stopped = (self._wall() - datetime.fromisoformat(last["wall"])) * last["speed"]
            self._base_sim = max(self.world.now, datetime.fromisoformat(last["sim"]) + max(stopped, timedelta()))

    def _kept_alerts(self) -> list[Alert]:
        return [Alert(**alert) for alert in (self._journal.kept("alerts.json") or {}).get("alerts", [])]


class Harbour:
    """The main world and the worlds apart, each in a directory of its own."""

    def __init__(
        self, directory: Path, *, seed: int = 7, speed: float = 1.0, wall: Wall | None = None, warm_up: timedelta = WARM_UP
    ) -> None:
        self._directory, self._speed = directory, speed
        self._wall = wall or (lambda: datetime.now(UTC))
        plan = WorldPlan(seed=seed, origin_at=self._wall().replace(microsecond=0), warm_up=warm_up)
        self._warm_up = min(warm_up, _WARM_UP_APART)
        self.main = Hosted(directory / "main", plan, wall=self._wall, speed=speed, watched=True)
        self._worlds: dict[str, Hosted] = {}
        for found in sorted((directory / "worlds").glob("*/events.jsonl")):
            self._worlds[found.parent.name] = Hosted(found.parent, plan, wall=self._wall, speed=speed)

    def world(self, name: str | None) -> Hosted:
        """Return a world by its id, or the main one."""
        if name is None:
            return self.main
        if name not in self._worlds:
            raise UnknownThing(f"no world {name!r}; create it by POST /worlds")
        return self._worlds[name]

    def names(self) -> list[str]:
        """Return the ids of the worlds apart."""
        return sorted(self._worlds)

    def create(self, name: str, *, fault: Mapping[str, Any] | None = None, **plan: Any) -> bool:
        """Create a world and break it if asked; returns whether it is new. A world that exists is left as it is.

        Raises:
            Unacceptable: the id, the plan or the fault cannot be taken; nothing was created.
        """
        if name in self._worlds:
            return False
        if not _NAME.fullmatch(name):
            raise Unacceptable("a world's id is 1 to 80 letters, digits, dots, dashes and underscores")
        if len(self._worlds) >= _MOST_WORLDS:
            raise Unacceptable(f"there are {_MOST_WORLDS} worlds; delete one first")
        begin = WorldPlan(origin_at=self.main.now().replace(microsecond=0), warm_up=self._warm_up, **plan)
        begin.pools()
        event = None if fault is None else {"do": "fault", **fault}
        if event is not None:
            self.main.world.prepare(event)
        hosted = Hosted(self._directory / "worlds" / name, begin, wall=self._wall, speed=self._speed)
        if event is not None:
            hosted.do(event)
        self._worlds[name] = hosted
        return True

    def delete(self, name: str) -> None:
        """Remove a world and all it kept."""
        self.world(name)
        del self._worlds[name]
        shutil.rmtree(self._directory / "worlds" / name)

    def close(self) -> None:
        """Keep a snapshot of every world."""
        for hosted in (self.main, *self._worlds.values()):
            hosted.snapshot()
