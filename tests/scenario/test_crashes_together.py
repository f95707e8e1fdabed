"""`kill -9` in the middle of several changes as one, on both databases: the whole takes effect or is put back, and nobody is left in doubt."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runbooks.run import IN_FLIGHT, ActionRun
from storage import ledger, runs
from tests.parts.trouble import Ill, Trouble, troubled
from tests.stack import ANA, Stack, running, words
from tests.together import RETRIES, scaled, with_actions

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.timeout(240)]


@pytest.fixture(params=["sqlite", "postgresql"])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """The whole product on each database, with a sequence and a ramp in its runbook."""
    url = request.getfixturevalue("postgres_server").create() if request.param == "postgresql" else None
    with running(tmp_path, database_url=url, quick=True, muster=False) as stack:
        stack.edits = {"inference-latency.md": with_actions}
        yield stack


@pytest.fixture
def trouble(stack: Stack) -> Iterator[Trouble]:
    """What stands between Muster and the simulated service."""
    with troubled(stack.simulation) as trouble:
        stack.through = trouble.url
        yield trouble


def target(stack: Stack, path: str) -> Any:
    """A target by the far side's own account."""
    return stack.http.get(f"{stack.simulation}/targets/{path}").json()["value"]


def stands(stack: Stack) -> tuple[int, int]:
    """Replicas of the pool, and attempts of the gateway."""
    return int(target(stack, "pool/inference/reranker-v3")["replicas"]), int(target(stack, RETRIES)["attempts"])


def found(stack: Stack, *states: str) -> ActionRun | None:
    """The newest run in one of these states."""
    seen = [run for run in stack.database.read(lambda tx: runs.of_incident(tx, 1)) if run.state.value in states]
    return seen[-1] if seen else None


def begun(stack: Stack, label: str) -> None:
    """An incident, the plan of the action with this label, and the click that counts."""
    stack.start_muster()
    stack.fault("traffic", factor=2.5)
    stack.advance_until(lambda: card if (card := stack.card(1)) and "CPU of the pool" in words(card) else None, what="the card", most=900)
    for _ in range(6):
        try:
            stack.press("More", stack.card(1) or {}, ANA)
            more = stack.until(lambda: view if (view := stack.view(ANA)) and label in words(view) else None, what="More", patience=6)
            stack.press_in_view(label, more, ANA)
            plan = stack.until(
                lambda: view if (view := stack.view(ANA)) and "parts as one" in words(view) else None, what="the plan", patience=6
            )
            stack.submit(plan, user=ANA)
            stack.until(lambda: found(stack, "approved", "running", "verifying", "unknown"), what="the start", patience=5)
        except (httpx.HTTPError, AssertionError):
            time.sleep(0.3)  # it was redrawn under the finger
        else:
            return
    raise AssertionError(f"{label} could not be started in six tries")


def again(stack: Stack) -> None:
    """What a service manager does; on PostgreSQL the time of the dead one's leases passes at once."""
    if stack.database.dialect == "postgresql":
        stack.leases_run_out()
    stack.start_muster(name="muster1")


def settled(stack: Stack) -> None:
    """Nothing is left in flight, and the record verifies."""
    assert not [run for run in stack.database.read(lambda tx: runs.of_incident(tx, 1)) if run.state in IN_FLIGHT]
    assert stack.database.read(ledger.verify).ok


def test_s24_killed_between_two_parts_the_whole_is_put_back(stack: Stack, trouble: Trouble) -> None:
    """Killed when the first part stands and the second is asked for: after the restart every part is read, and the first is put back."""
    trouble.which, trouble.ill = scaled, Ill.HANG
    begun(stack, "Relieve at once")
    stack.until(
        lambda: stands(stack) == (2, 1) and any("pool" in path for method, path in trouble.seen if method == "PUT"), what="the middle"
    )
    stack.kill()
    trouble.ill = Ill.NONE
    trouble.over.set()
    again(stack)
    run = stack.advance_until(lambda: found(stack, "refused", "inconclusive"), what="the end", most=900)
    assert stands(stack) == (2, 3)
    assert run.state.value == "refused"
    assert "gateway/answers took effect; inference/reranker-v3 did not." in run.reason
    settled(stack)


def test_s24_killed_after_the_last_part_the_whole_is_watched(stack: Stack, trouble: Trouble) -> None:
    """Killed when all parts stand and nobody wrote it down: after the restart every part is read as wanted, and the run is verified."""
    trouble.which, trouble.ill = scaled, Ill.KEPT
    begun(stack, "Relieve at once")
    stack.until(lambda: stands(stack) == (4, 1), what="the last part")
    stack.kill()
    trouble.ill = Ill.NONE
    trouble.over.set()
    again(stack)
    stack.advance_until(lambda: found(stack, "verified"), what="the verdict", most=900)
    assert stands(stack) == (4, 1)
    settled(stack)


def test_s13_killed_between_two_stages_the_ramp_goes_on(stack: Stack, trouble: Trouble) -> None:
    """Killed after the first stage: the restart waits out the pause, measures, and goes on with the next; nothing is done twice."""
    begun(stack, "Step by step")
    stack.until(lambda: (run := found(stack, "running")) and run.ramp and run.ramp.done == 1, what="the first stage")
    stack.kill()
    assert stands(stack) == (4, 3)
    again(stack)
    stack.advance_until(lambda: found(stack, "verified"), what="the verdict", most=900)
    assert stands(stack) == (4, 1)
    assert len([path for method, path in trouble.seen if method == "PUT" and "pool" in path]) == 1
    settled(stack)


def test_s13_killed_within_a_stage_it_is_looked_up_first(stack: Stack, trouble: Trouble) -> None:
    """Killed while the first stage is being asked for and does not come: it is looked up, done once, and the ramp goes on to the end."""
    trouble.which, trouble.ill = scaled, Ill.HANG
    begun(stack, "Step by step")
    stack.until(lambda: any("pool" in path for method, path in trouble.seen if method == "PUT"), what="the middle of the stage")
    stack.kill()
    trouble.ill = Ill.NONE
    trouble.over.set()
    again(stack)
    stack.advance_until(lambda: found(stack, "verified"), what="the verdict", most=900)
    assert stands(stack) == (4, 1)
    assert len([path for method, path in trouble.passed if method == "PUT" and "pool" in path]) == 1
    settled(stack)
