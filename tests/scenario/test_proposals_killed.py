"""A countdown under `kill -9` and over replicas: it runs once, at its time, or is left to a person; never twice, never early."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from bot.clock import DatabaseClock
from runbooks.proposing import Suggestion, SuggestionState
from runbooks.run import ActionRun, RunState
from storage import incidents, ledger, measurements, runbook_versions, runs, suggestions
from tests.ports import free_port
from tests.stack import Stack, running
from tests.suggesting import earn

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.timeout(240)]
T = TypeVar("T")
DONE = {RunState.VERIFYING, RunState.VERIFIED}


@pytest.fixture(params=["sqlite", "postgresql"])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """The whole product on each database, where muster.yaml allows autonomy."""
    url = request.getfixturevalue("postgres_server").create() if request.param == "postgresql" else None
    with running(tmp_path, database_url=url, quick=True, muster=False) as stack:
        stack.configured = allowed
        yield stack


@pytest.fixture
def shared(postgres_server: Any, tmp_path: Path) -> Iterator[Stack]:
    """The same on PostgreSQL, for several replicas."""
    with running(tmp_path, database_url=postgres_server.create(), quick=True, muster=False) as stack:
        stack.configured = allowed
        yield stack


def allowed(text: str) -> str:
    return f"{text}\nautonomy: {{services: [answers], most: 3 per day}}\n"


def proposal(stack: Stack) -> Suggestion | None:
    return next(iter(stack.database.read(lambda tx: suggestions.of_incident(tx, 1))), None)


def began(stack: Stack) -> list[ActionRun]:
    """The runs of the story that really started."""
    return [run for run in stack.database.read(lambda tx: runs.of_incident(tx, 1)) if run.started_at is not None]


def versions(stack: Stack) -> int:
    """How often the flag was changed, by the far side's own count."""
    return int(stack.http.get(f"{stack.simulation}/targets/flag/hybrid-search").json()["version"])


def counting(stack: Stack) -> Suggestion:
    """Vector search fails, the action has earned autonomy, and its countdown begins."""
    stack.fault("retrieval_timeout", timeout_ratio=0.4)
    stack.advance_until(lambda: stack.database.read(incidents.listed), what="the incident", most=300)
    ref = stack.database.read(lambda tx: runbook_versions.history(tx, "retrieval-failure"))[-1].ref
    earn(stack.database, ref, "keyword-search", count=5, now=DatabaseClock(database=stack.database).now())
    for _ in range(8):
        if proposal(stack):
            break
        stack.advance(60)
        stack.until(lambda: measured(stack) or proposal(stack), what="a fresh measurement")
    one = stack.until(lambda: proposal(stack), what="the proposal", patience=8)
    assert one.state is SuggestionState.COUNTING, one.note
    return one


def measured(stack: Stack) -> bool:
    """Whether Muster has measured since the clock was driven; it reads a driven clock once a second."""
    found = stack.database.read(lambda tx: measurements.of_incident(tx, 1, diagnostic="search-trouble"))
    return bool(found) and DatabaseClock(database=stack.database).now() - found[-1].measured_at < timedelta(seconds=60)


def slowly(stack: Stack, look: Callable[[], T], *, what: str) -> T:
    """Drive the clock no faster than Muster reads it, once a second: what comes late by minutes is left to a person."""
    for _ in range(20):
        if found := look():
            return found
        stack.advance(20)
        time.sleep(1.1)
    raise AssertionError(f"{what} did not come in 400 s of driven time")


def revived(stack: Stack) -> None:
    if stack.database.dialect == "postgresql":
        stack.leases_run_out()
    stack.start_muster(name=f"muster{len(stack.processes)}")


def test_s30_a_countdown_survives_kill_9(stack: Stack) -> None:
    """Killed in the middle of its countdown and started again, it runs once, not before its time."""
    stack.start_muster()
    one, before = counting(stack), versions(stack)
    stack.kill()
    revived(stack)
    run = slowly(stack, lambda: next((run for run in began(stack) if run.state in DONE), None), what="the run")
    assert one.runs_at is not None
    assert run.started_at is not None
    assert run.started_at >= one.runs_at
    assert len(began(stack)) == 1
    assert versions(stack) == before + 1
    assert stack.database.read(ledger.verify).ok


def test_s30_killed_while_it_begins_it_begins_once(stack: Stack) -> None:
    """Killed at the moment in which the countdown's end is settled, it is begun by the next process, once."""
    stack.start_muster(kill_point="begin_proposed.after_call")
    counting(stack)
    before = versions(stack)
    slowly(stack, stack.dead, what="the kill")
    revived(stack)
    slowly(stack, lambda: next((run for run in began(stack) if run.state in DONE), None), what="the run")
    assert len(began(stack)) == 1
    assert versions(stack) == before + 1


def test_s30_two_replicas_run_it_once(shared: Stack) -> None:
    """Two processes see the same countdown end; there is one run and one change."""
    stack = shared
    stack.start_muster()
    stack.start_muster(name="muster2", port=free_port())
    counting(stack)
    before = versions(stack)
    slowly(stack, lambda: next((run for run in began(stack) if run.state in DONE), None), what="the run")
    stack.advance(30)
    assert len(began(stack)) == 1
    assert versions(stack) == before + 1
