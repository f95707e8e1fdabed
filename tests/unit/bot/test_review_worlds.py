"""The process in which drills act: found again after a kill, started again after its end."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bot.worlds import Worlds
from tests.flowing import StandingClock

PLAN = {"fault": {"kind": "traffic", "factor": 2.0}}


def _worlds(folder: Path) -> Worlds:
    return Worlds(url=None, folder=folder, now=StandingClock().now)


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Worlds]:
    """The worlds of a Muster that has just started."""
    worlds = _worlds(tmp_path)
    yield worlds
    worlds.stop()


def _names(url: str) -> str:
    return httpx.get(f"{url}/worlds", timeout=5.0).text


def test_a_muster_that_was_killed_finds_the_worlds_of_its_drills_again(first: Worlds, tmp_path: Path) -> None:
    """The process of an earlier Muster goes on serving: a second one would be refused by its lock, and drills with it."""
    first.open("drill-1", PLAN)
    second = _worlds(tmp_path)
    assert second.url() == first.url()
    assert "drill-1" in _names(second.url())


def test_a_simulation_that_ended_is_started_again(first: Worlds) -> None:
    """A process that dies under a drill is replaced, its worlds still stand, and the drill's runner speaks to the new one."""
    first.open("drill-1", PLAN)
    before, url = first.runner("drill-1"), first.url()
    assert first._process is not None
    first._process.send_signal(signal.SIGKILL)
    first._process.wait(timeout=5)
    assert first.url() != url
    assert "drill-1" in _names(first.url())
    assert first.runner("drill-1") is not before
