import socket
import threading
import time
from collections.abc import Iterator

import httpcore
import pytest

from actions.toolkit.punctual import Punctual, looked_up, until


@pytest.fixture
def port() -> Iterator[int]:
    """A port of 127.0.0.1 at which somebody listens; nobody does at 127.0.0.2."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_s17_where_one_address_is_dead_the_next_is_asked(port: int) -> None:
    """A name with a dead address first is reached at its living one."""
    with until(time.monotonic() + 5):
        line = Punctual(resolve=lambda *_: ["127.0.0.2", "127.0.0.1"]).connect_tcp("two.example", port)
    assert line.get_extra_info("server_addr")[0] == "127.0.0.1"  # type: ignore[index]  # httpcore says only object
    line.close()


def test_where_all_addresses_are_dead_nothing_was_sent(port: int) -> None:
    """The last one's error is the answer."""
    with until(time.monotonic() + 5), pytest.raises(httpcore.ConnectError):
        Punctual(resolve=lambda *_: ["127.0.0.2", "127.0.0.3"]).connect_tcp("two.example", port)


def test_s17_a_name_that_is_not_looked_up_in_time_is_not_waited_for(port: int) -> None:
    """The system's own look-up knows no limit; when time is up, no connection is made."""
    stop = threading.Event()
    try:
        with until(time.monotonic() + 0.1), pytest.raises(httpcore.ConnectError, match="not looked up in time"):
            Punctual(resolve=lambda *_: ["127.0.0.1"] if stop.wait(30) else []).connect_tcp("slow.example", port)
    finally:
        stop.set()


def test_s17_when_time_is_up_nothing_more_is_sent_or_read(port: int) -> None:
    """Each step of a connection has what is left of the whole, whatever limit of its own it is given."""
    with until(time.monotonic() + 5):
        line = Punctual().connect_tcp("127.0.0.1", port)
    with until(time.monotonic()):
        with pytest.raises(httpcore.ReadTimeout):
            line.read(1, timeout=60)
        with pytest.raises(httpcore.WriteTimeout):
            line.write(b"x", timeout=60)
        with pytest.raises(httpcore.ConnectTimeout):
            Punctual().connect_tcp("127.0.0.1", port, timeout=60)
    line.close()


@pytest.mark.parametrize("problem", [OSError("no such name"), UnicodeError("label too long")], ids=["unknown", "no name"])
def test_a_name_that_has_no_address_is_one_kind_of_error(problem: Exception) -> None:
    """Whatever the system says of a name, and where it says nothing, it is an `OSError`."""

    def fails(*_: object) -> list[str]:
        raise problem

    for resolve in (fails, lambda *_: []):
        with pytest.raises(OSError, match="has no address"):
            looked_up("nowhere.example", 443, seconds=5, resolve=resolve)


@pytest.mark.parametrize("number", ["127.0.0.1", "::1"])
def test_a_number_is_not_looked_up(number: str) -> None:
    """A numeric address is its own, without asking anybody."""

    def never(*_: object) -> list[str]:
        raise AssertionError("was looked up")

    assert looked_up(number, 443, seconds=5, resolve=never) == [number]
