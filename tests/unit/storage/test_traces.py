"""Traces: the same as the whole runs, chosen as the guards need them, in one query on either database."""

import math
import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from runbooks.operation import Outcome, OutcomeStatus
from runbooks.run import IN_FLIGHT, ActionRun, RunState, Sample, Verdict
from runbooks.trace import Trace
from storage import incidents, runs, traces
from storage.database import Database
from storage.errors import Unreadable
from storage.tables import runs as table
from storage.transaction import Tx
from tests import acting
from tests.remembering import incident

NOW = acting.NOW
TARGET = "thing/reranker-v3"


def kept(database: Database, *, days: float = 0, drill: int | None = None, **more: Any) -> ActionRun:
    """A run requested so many days ago in an incident of its own."""
    at = NOW - timedelta(days=days)

    def work(tx: Tx) -> ActionRun:
        own = incidents.add(tx, incident(drill_id=drill))
        number = own.id
        given = {"incident_id": number, "key": f"k{number}", "requested_at": at, "started_at": at, **more}
        return runs.add(tx, acting.run_of(run_id=0, **given))

    return database.write(work)


def statements(database: Database, work: Any) -> tuple[Any, int]:
    """What a read answers, and with how many statements."""
    seen: list[str] = []

    def note(tx: Tx) -> Any:
        event.listen(tx, "before_cursor_execute", lambda *said: seen.append(str(said[2])))
        return work(tx)

    return database.read(note), len(seen)


def around(tx: Tx, **more: Any) -> list[int]:
    given: dict[str, Any] = {
        "incident_id": 0, "drill_id": None, "target": TARGET, "states": IN_FLIGHT, "since": NOW - timedelta(days=8),
        "lately": NOW - timedelta(days=1),
    }  # fmt: skip
    return [trace.id for trace in traces.around(tx, **{**given, **more})]


def test_a_trace_is_what_the_whole_run_says(database: Database) -> None:
    """Field by field, also where a far side answered with what no database takes for JSON."""
    made = acting.plan(acting.runner(acting.backend()), acting.runbook())
    odd = Outcome(status=OutcomeStatus.APPLIED, reason="nul \x00 and half \ud800")
    whole = kept(
        database, plan=made, outcome=odd, samples=(Sample(at=NOW, value=math.nan), Sample(at=NOW, value=math.inf)), value_after=0.5,
        verdict=Verdict.VERIFIED, verify_until_at=NOW, executed_at=NOW, break_glass="It burns.", automatic=True,
        undo_requested_by="ana", undo_started_at=NOW,
    )  # fmt: skip
    bare = kept(database, drill=4, started_at=None, state=RunState.PROPOSED)
    assert database.read(lambda tx: traces.since(tx, NOW, drill_id=None)) == [Trace.of(whole)]
    assert database.read(lambda tx: traces.since(tx, NOW, drill_id=4)) == [Trace.of(bare, drill_id=4)]


def test_guards_see_what_may_be_in_the_way_and_nothing_else(database: Database) -> None:
    """This incident's, what is in flight, the target's for days, everybody's of a day; each in its own world only."""
    own = kept(database, days=300, target="thing/other")
    flying = kept(database, days=300, target="thing/other", state=RunState.UNKNOWN)
    here = kept(database, days=5)
    lately = kept(database, days=0.5, target="thing/other")
    kept(database, days=9)
    kept(database, days=5, target="thing/other")
    drilled = kept(database, drill=4)
    assert database.read(lambda tx: around(tx, incident_id=own.incident_id)) == [own.id, flying.id, here.id, lately.id]
    assert database.read(lambda tx: around(tx, drill_id=4)) == [drilled.id]


def test_runs_are_found_by_person_target_and_state(database: Database) -> None:
    """Of one world, since a moment."""
    old = kept(database, days=2)
    mine = kept(database)
    theirs = kept(database, requested_by="bo", target="thing/other", state=RunState.RUNNING)

    def since(days: float, **more: Any) -> list[int]:
        return [run.id for run in database.read(lambda tx: traces.since(tx, NOW - timedelta(days=days), drill_id=None, **more))]

    assert since(1) == [mine.id, theirs.id]
    assert since(3, target=TARGET) == [old.id, mine.id]
    assert since(3, person="bo") == [theirs.id]
    assert [run.id for run in database.read(lambda tx: traces.in_states(tx, IN_FLIGHT, drill_id=None))] == [theirs.id]
    assert database.read(lambda tx: traces.in_states(tx, IN_FLIGHT, drill_id=4)) == []


def test_an_actions_past_is_its_latest_runs_that_began(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest first, drills among them, no more than are ever needed, and none of another runbook with a step of that name."""
    other = acting.REF.model_copy(update={"id": "other"})
    first, second = kept(database, days=3), kept(database, days=2, drill=4)
    kept(database, days=1, state=RunState.EXPIRED, started_at=None)
    kept(database, days=1, runbook=other)
    kept(database, days=400)

    def past() -> list[tuple[int, int | None]]:
        found = database.read(lambda tx: traces.of_action(tx, acting.REF.id, "turn-up", since=NOW - timedelta(days=365)))
        return [(run.id, run.drill_id) for run in found]

    assert past() == [(second.id, 4), (first.id, None)]
    monkeypatch.setattr(traces, "MOST", 2)
    assert past() == [(second.id, 4)]


def test_each_is_one_query_however_many_runs_and_incidents(database: Database) -> None:
    """A decision excludes all others while it lasts: it does not ask again for each run that it finds."""
    for number in range(12):
        kept(database, days=number / 24, drill=4 if number % 3 == 0 else None)
    for work, size in (
        (around, 8),
        (lambda tx: traces.since(tx, NOW - timedelta(days=1), drill_id=None), 8),
        (lambda tx: traces.in_states(tx, RunState, drill_id=4), 4),
        (lambda tx: traces.of_action(tx, acting.REF.id, "turn-up", since=NOW - timedelta(days=1)), 12),
    ):
        found, asked = statements(database, work)
        assert (len(found), asked) == (size, 1)


def test_the_runs_are_chosen_by_an_index_of_theirs(sqlite_url: str) -> None:
    """However many years of runs and incidents there are, a decision begins with the few runs that concern it."""
    database = Database(url=sqlite_url)
    for work, indices in (
        (around, {"runs_incident", "runs_state", "runs_target", "runs_requested"}),
        (lambda tx: traces.since(tx, NOW, drill_id=None), {"runs_requested"}),
        (lambda tx: traces.since(tx, NOW, drill_id=None, target=TARGET), {"runs_target"}),
        (lambda tx: traces.in_states(tx, IN_FLIGHT, drill_id=None), {"runs_state"}),
        (lambda tx: traces.of_action(tx, "book", "step", since=NOW), {"runs_step"}),
    ):
        told: list[tuple[str, Any]] = []

        def look(tx: Tx, work: Any = work, told: list[tuple[str, Any]] = told) -> list[str]:
            event.listen(tx, "before_cursor_execute", lambda *said: told.append((said[2], said[3])))
            work(tx)
            statement, values = told[0]
            return [str(row[3]) for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]

        plan = database.read(look)
        assert {name for line in plan for name in re.findall(r"INDEX (runs_\w+)", line)} == indices
        assert not [line for line in plan if "SCAN" in line or "incidents_" in line.replace("sqlite_autoindex_incidents_1", "")]
    database.close()


def test_what_cannot_be_read_names_its_run(database: Database) -> None:
    """A row of a newer version is an error with the run's number, and never a run less in the guards' eyes."""
    run = kept(database)
    database.write(lambda tx: tx.execute(table.update().values(body='{"title": 1}')))
    with pytest.raises(Unreadable, match=f"Run {run.id} in the database"):
        database.read(around)
