"""Connections that keep one deadline over everything: looking a name up, each address tried, TLS, and every piece sent or received.

The time limits of an HTTP client are for each single step, so that a server that sends one byte of its headers now and then, or a name
with many dead addresses, would hold a thread for many times as long (rule S17).
"""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import ip_address

import httpcore

Resolve = Callable[[str, int], list[str]]

_ENDS: ContextVar[float] = ContextVar("ends")


def resolved(name: str, port: int) -> list[str]:
    """The numeric addresses of a name, each once."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)))


def is_number(name: str) -> bool:
    """Whether a host is written as a numeric address."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def looked_up(name: str, port: int, *, seconds: float, resolve: Resolve = resolved) -> list[str]:
    """The numeric addresses of a name, within so many seconds: the system's own look-up has no limit that could be given.

    Raises:
        OSError: there are none, or they were not said in time.
    """
    if is_number(name):
        return [name]
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(resolve(name, port))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True, name=f"look up {name}").start()
    try:
        found = answers.get(timeout=max(seconds, 0.0))
    except queue.Empty:
        raise TimeoutError(f"{name} was not looked up in time") from None
    if isinstance(found, Exception):
        raise OSError(f"{name} has no address") from found
    if not found:
        raise OSError(f"{name} has no address")
    return found


@contextmanager
def until(ends: float) -> Iterator[None]:
    """While it lasts, this thread's connections by `Punctual` end at this moment of the monotonic clock."""
    token = _ENDS.set(ends)
    try:
        yield
    finally:
        _ENDS.reset(token)


def _left(over: type[httpcore.TimeoutException]) -> float:
    rest = _ENDS.get() - time.monotonic()
    if rest <= 0:
        raise over("time is up")
    return rest


class Punctual(httpcore.NetworkBackend):
    """httpcore's own backend under the deadline of `until`; the limits of single steps that it is given do not matter."""

    def __init__(self, *, resolve: Resolve = resolved) -> None:
        self._plain, self._resolve = httpcore.SyncBackend(), resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers; each may take its share of the time."""
        try:
            numbers = looked_up(host, port, seconds=_left(httpcore.ConnectTimeout), resolve=self._resolve)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        for number, rest in zip(numbers, range(len(numbers), 0, -1), strict=True):
            share = _left(httpcore.ConnectTimeout) / rest
            try:
                return _Line(self._plain.connect_tcp(number, port, share, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if rest == 1:
                    raise
        raise httpcore.ConnectError(f"{host} has no address")


class _Line(httpcore.NetworkStream):
    """One connection."""

    def __init__(self, plain: httpcore.NetworkStream) -> None:
        self._plain = plain

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - httpcore's signature
        return self._plain.read(max_bytes, _left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - httpcore's signature
        self._plain.write(buffer, _left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._plain.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - httpcore's signature
    ) -> httpcore.NetworkStream:
        return _Line(self._plain.start_tls(ssl_context, server_hostname, _left(httpcore.ConnectTimeout)))

    def get_extra_info(self, info: str) -> object:
        return self._plain.get_extra_info(info)
