"""A loop that nothing ends but its own stop."""

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.engine.loop import Loop, _pause
from storage.errors import StorageUnavailable

PATIENCE = 10.0


def until(look: Callable[[], object]) -> None:
    """Look until it is true, at most for a while."""
    ends = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < ends, "it did not come"
        time.sleep(0.005)


def test_it_goes_on_while_there_is_something_to_do() -> None:
    """As long as a step has done something the next follows at once; then it waits for the poll or for being woken."""
    work, turns = [3, 2, 1], []

    def step() -> int:
        turns.append(1)
        return work.pop() if work else 0

    loop = Loop(name="t", step=step, poll=3600.0)
    loop.start()
    until(lambda: len(turns) == 4)
    work.append(1)
    loop.wake()
    until(lambda: len(turns) == 6)
    loop.stop()
    assert not work


@pytest.mark.parametrize("error", [StorageUnavailable("away"), RuntimeError("a mistake of ours")])
def test_no_error_ends_it(error: Exception) -> None:
    """After an outage or a mistake it waits and takes the next step, and is silent as long as none goes through."""
    turns: list[float] = []

    def step() -> int:
        turns.append(loop.silent_for)
        if len(turns) == 1:
            raise error
        return 0

    loop = Loop(name="t", step=step, poll=0.01)
    loop.start()
    until(lambda: len(turns) >= 3)
    loop.stop()
    assert turns[1] > turns[2]


def test_stop_waits_for_the_step_that_runs() -> None:
    """Stopping lets the present step finish and begins no other."""
    inside, go_on, ended = threading.Event(), threading.Event(), []

    def step() -> int:
        inside.set()
        assert go_on.wait(PATIENCE)
        ended.append(1)
        return 1

    loop = Loop(name="t", step=step, poll=0.01)
    loop.start()
    assert inside.wait(PATIENCE)
    stopping = threading.Thread(target=loop.stop)
    stopping.start()
    until(loop._stopping.is_set)
    go_on.set()
    stopping.join(PATIENCE)
    assert ended == [1]


def test_a_loop_that_never_started_stops() -> None:
    """Stopping before the start is no error: a start that failed half-way stops everything."""
    Loop(name="t", step=lambda: 0, poll=1.0).stop()


@given(st.integers(1, 10**9))
def test_the_pause_is_bounded(trouble: int) -> None:
    """However many failures in a row, the pause is at most five seconds and can be computed."""
    assert 0 < _pause(trouble) <= _pause(trouble + 1) <= 5.0
