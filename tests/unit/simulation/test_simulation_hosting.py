"""What is answered is on disk: restarts, cuts, clocks, worlds apart."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions.simulation.errors import Unacceptable, UnknownThing
from actions.simulation.hosting import Harbour, Hosted
from actions.simulation.journal import Journal, JournalDamaged
from actions.simulation.world import WorldPlan

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
SHORT = timedelta(seconds=60)


class Wall:
    """A wall clock that the test moves."""

    def __init__(self):
        self.at = START

    def __call__(self):
        return self.at

    def sleep(self, seconds):
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def wall():
    return Wall()


def hosted(directory, wall, *, speed=1.0, watched=False, seed=7):
    plan = WorldPlan(seed=seed, origin_at=START, warm_up=timedelta(seconds=60))
    return Hosted(directory, plan, wall=wall, speed=speed, watched=watched)


def put(host, path, value, key=None):
    return host.do({"do": "put", "path": path, "value": value, "if_version": None, "by": "test", "key": key})


def test_world_survives_a_kill(tmp_path, wall):
    """After a kill the world is what it would have been without: same series, same targets, same answers to old keys."""
    first, undisturbed = hosted(tmp_path / "a", wall), hosted(tmp_path / "b", wall)
    for host in (first, undisturbed):
        host.do({"do": "fault", "kind": "traffic", "parameters": {"factor": 3.0}, "by": "test"})
    wall.sleep(30)
    answers = [put(host, "pool/inference/reranker-v3", {"replicas": 4}, key="k") for host in (first, undisturbed)]
    wall.sleep(17)
    again = hosted(tmp_path / "a", wall)
    assert again.catch_up().metrics.exposition(timestamps=True) == undisturbed.catch_up().metrics.exposition(timestamps=True)
    assert put(again, "pool/inference/reranker-v3", {"replicas": 4}, key="k") == {**answers[0], "replayed": True}


def test_snapshot_saves_the_replay(tmp_path, wall):
    """A world opened from a snapshot and the events after it is the world opened from all its events."""
    host = hosted(tmp_path, wall)
    put(host, "flag/rerank", False)
    wall.sleep(400)
    host.catch_up()
    assert (tmp_path / "snapshot.json").exists()
    put(host, "flag/rerank", True)
    wall.sleep(10)
    from_snapshot = hosted(tmp_path, wall).catch_up().to_json()
    (tmp_path / "snapshot.json").unlink()
    from_events = hosted(tmp_path, wall).catch_up().to_json()
    assert {**from_snapshot, "metrics": None} == {**from_events, "metrics": None}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_cut_line_is_dropped_and_nothing_else(tmp_path_factory, data):
    """Wherever a kill cuts the last line of the log, opening it keeps every line before, and goes on after them."""
    directory = tmp_path_factory.mktemp("cut")
    journal = Journal(directory)
    events = data.draw(st.lists(st.dictionaries(st.text(max_size=5), st.integers(), max_size=3), min_size=1, max_size=5))
    for event in events:
        journal.append(event)
    log = directory / "events.jsonl"
    whole = log.read_bytes()
    last = len(json.dumps(events[-1], separators=(",", ":"))) + 1
    log.write_bytes(whole[: len(whole) - data.draw(st.integers(1, last))])
    again = Journal(directory)
    assert again.events == events[:-1]
    again.append({"after": 1})
    assert Journal(directory).events == [*events[:-1], {"after": 1}]


def test_damage_in_the_middle_is_told(tmp_path):
    """A line in the middle that cannot be read stops the start with file and line, and leaves the file as it is."""
    journal = Journal(tmp_path)
    for number in range(3):
        journal.append({"number": number})
    log = tmp_path / "events.jsonl"
    spoilt = log.read_bytes().replace(b'{"number":1}', b'{"number":')
    log.write_bytes(spoilt)
    with pytest.raises(JournalDamaged, match="line 2"):
        Journal(tmp_path)
    assert log.read_bytes() == spoilt


def test_refused_event_leaves_no_trace(tmp_path, wall):
    """What is refused is neither done nor written."""
    host = hosted(tmp_path, wall)
    before = (tmp_path / "events.jsonl").read_bytes()
    with pytest.raises(Unacceptable):
        put(host, "pool/inference/reranker-v3", {"replicas": 99})
    assert (tmp_path / "events.jsonl").read_bytes() == before


def test_clock_runs_at_its_speed_and_can_be_driven(tmp_path, wall):
    """Time passes at speed times the wall clock, a drive comes on top, and both survive a restart."""
    host = hosted(tmp_path, wall, speed=3.0)
    wall.sleep(10)
    assert host.now() == START + timedelta(seconds=30)
    host.skip(60)
    assert host.now() == START + timedelta(seconds=90)
    wall.sleep(10)
    assert hosted(tmp_path, wall, speed=3.0).now() == START + timedelta(seconds=120)


def test_time_stands_at_speed_nought(tmp_path, wall):
    """At speed 0 only the drive moves time."""
    host = hosted(tmp_path, wall, speed=0.0)
    wall.sleep(3600)
    assert host.catch_up().now == START
    host.skip(8)
    assert host.world.now == START + timedelta(seconds=8)


def test_long_pause_is_jumped_over(tmp_path, wall):
    """A pause of a quarter leaves a gap but no replay: the last ten minutes are lived through, the fault is still there."""
    host = hosted(tmp_path, wall)
    host.do({"do": "fault", "kind": "quality_regression", "parameters": {}, "by": "test"})
    steps = len(host.world.metrics.times_after(0))
    wall.sleep(90 * 86_400)
    world = host.catch_up()
    assert world.now == START + timedelta(days=90)
    assert len(world.metrics.times_after(0)) - steps == 300
    assert not world.mended("quality_regression")
    again = hosted(tmp_path, wall).catch_up()
    assert again.metrics.exposition(timestamps=True) == world.metrics.exposition(timestamps=True)


def test_budget_starts_anew_each_day(tmp_path, wall):
    """A day's spending counts until midnight UTC, jumped over or lived through."""
    host = hosted(tmp_path, wall)
    wall.sleep(600)
    assert host.catch_up().metrics.value("cost:usd_today", service="answers") > 25
    wall.sleep(86_400)
    assert host.catch_up().metrics.value("cost:usd_today", service="answers") < 40


def test_worlds_apart_do_not_touch(tmp_path, wall):
    """A fault or a change in one world leaves the others alone, and a restart brings every world back."""
    harbour = Harbour(tmp_path, wall=wall, warm_up=SHORT)
    fault = {"kind": "traffic", "parameters": {"factor": 2.5}, "by": "drill"}
    assert harbour.create("drill-1", seed=3, replicas=2, fault=fault) is True
    assert harbour.create("drill-2", seed=3) is True
    assert harbour.create("drill-1", seed=99) is False
    put(harbour.world("drill-2"), "flag/rerank", False)
    wall.sleep(60)
    again = Harbour(tmp_path, wall=wall, warm_up=SHORT)
    assert again.names() == ["drill-1", "drill-2"]
    assert not again.world("drill-1").catch_up().mended("traffic")
    assert again.world("drill-2").catch_up().mended("traffic")
    assert again.main.catch_up().register.changes == []
    again.delete("drill-1")
    with pytest.raises(UnknownThing):
        again.world("drill-1")
    assert Harbour(tmp_path, wall=wall, warm_up=SHORT).names() == ["drill-2"]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("../main", {}),
        ("", {}),
        ("a/b", {}),
        ("x", {"replicas": 0}),
        ("x", {"replicas": {"moon": 2}}),
        ("x", {"fault": {"kind": "traffic", "parameters": {"factor": 1000}, "by": "drill"}}),
        ("x", {"fault": {"kind": "earthquake", "parameters": {}, "by": "drill"}}),
    ],
)
def test_world_that_cannot_be_is_not_created(tmp_path, wall, name, given):
    """A world with a bad id, plan or fault is refused, and nothing of it stands on disk."""
    harbour = Harbour(tmp_path, wall=wall, warm_up=SHORT)
    with pytest.raises((Unacceptable, UnknownThing)):
        harbour.create(name, **given)
    assert harbour.names() == []
    assert list((tmp_path / "worlds").glob("*")) == []


def test_worlds_are_limited(tmp_path, wall, monkeypatch):
    """More worlds than a process can carry are refused."""
    monkeypatch.setattr("actions.simulation.hosting._MOST_WORLDS", 1)
    harbour = Harbour(tmp_path, wall=wall, warm_up=SHORT)
    harbour.create("one")
    with pytest.raises(Unacceptable, match="delete one"):
        harbour.create("two")
