"""A real HAProxy in front of two services, as Debian brings it; and a socket between that makes its answers go wrong."""

import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.parts.trouble import Ill
from tests.parts.upstream import Upstream, serving
from tests.ports import free_port

READY = 20.0  # seconds
MISSING = None if shutil.which("haproxy") or Path("/usr/sbin/haproxy").exists() else "HAProxy is not installed: apt-get install haproxy"
RETRIES = "# attempts in all, by client\nanswers   answers-6\nsearch answers-3\n"
ROUTES = "answers primary\n"
CONFIGURATION = """\
global
  stats socket {folder}/haproxy.sock mode 600 level user
defaults
  mode http
  timeout connect 1s
  timeout client 10s
  timeout server 10s
  retry-on all-retryable-errors
frontend gateway
  bind 127.0.0.1:{port}
  use_backend %[str(answers),map({folder}/routes.map,primary)] if {{ path_beg /routed }}
  use_backend %[str(answers),map({folder}/retries.map,answers-6)]
backend answers-1
  retries 0
  server one 127.0.0.1:{primary}
backend answers-3
  retries 2
  server one 127.0.0.1:{primary}
backend answers-6
  retries 5
  server one 127.0.0.1:{primary}
backend primary
  server one 127.0.0.1:{primary}
backend backup
  server one 127.0.0.1:{backup}
backend empty
"""


@dataclass(slots=True)
class RunningHAProxy:
    """Where it is reached, its maps, and what is behind it."""

    url: str
    socket: str
    retries: Path
    routes: Path
    primary: Upstream
    backup: Upstream

    def ask(self, command: str) -> str:
        """Say something at the socket, as somebody else would."""
        return said(self.socket, command)

    def lead(self, target: str, backend: str, *, map_name: str = "retries") -> None:
        """Change a map's entry in memory from outside."""
        assert self.ask(f"set map {self.retries.with_name(f'{map_name}.map')} {target} {backend}").strip() == ""

    def reset(self) -> None:
        """Everything as at the beginning."""
        self.retries.write_text(RETRIES)
        self.routes.write_text(ROUTES)
        self.lead("answers", "answers-6")
        self.lead("search", "answers-3")
        self.lead("answers", "primary", map_name="routes")


def said(path: str, command: str) -> str:
    """One command and its whole answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)
        connection.sendall(f"{command}\n".encode())
        found = b""
        while some := connection.recv(65_536):
            found += some
    return found.decode()


@contextmanager
def running() -> Iterator[RunningHAProxy]:
    """A HAProxy of its own, in a folder whose path is short enough for a socket."""
    if MISSING:
        pytest.skip(MISSING)
    folder = Path(tempfile.mkdtemp(prefix="muster-ha-"))
    (folder / "retries.map").write_text(RETRIES)
    (folder / "routes.map").write_text(ROUTES)
    port = free_port()
    try:
        with serving() as primary, serving() as backup:
            text = CONFIGURATION.format(folder=folder, port=port, primary=primary.port, backup=backup.port)
            (folder / "haproxy.cfg").write_text(text)
            with _process(folder):
                yield RunningHAProxy(
                    url=f"http://127.0.0.1:{port}",
                    socket=f"{folder}/haproxy.sock",
                    retries=folder / "retries.map",
                    routes=folder / "routes.map",
                    primary=primary,
                    backup=backup,
                )
    finally:
        shutil.rmtree(folder)


@contextmanager
def _process(folder: Path) -> Iterator[None]:
    binary = shutil.which("haproxy") or "/usr/sbin/haproxy"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([binary, "-f", str(folder / "haproxy.cfg"), "-db"], stdout=log, stderr=log)
    try:
        ends = time.monotonic() + READY
        while True:
            if process.poll() is not None or time.monotonic() > ends:
                pytest.fail(f"HAProxy did not start: {(folder / 'log').read_text()}")
            try:
                said(f"{folder}/haproxy.sock", "show info")
                break
            except OSError:
                time.sleep(0.03)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@dataclass(slots=True)
class Meddling:
    """A socket before a runtime socket. `which` says which commands are meant, by default those that change."""

    socket: str
    ill: Ill = Ill.NONE
    answer: str = "Internal error.\n\n"
    which: Callable[[str], bool] = lambda command: command.startswith("set ")
    seen: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def meddled(upstream: Callable[[str], str]) -> Iterator[Meddling]:
    """A socket that passes each command to `upstream`, well until `ill` is set. A reset is a connection closed without a word."""
    folder = Path(tempfile.mkdtemp(prefix="muster-ms-"))
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "s"))
    server.listen()
    found = Meddling(socket=str(folder / "s"))
    thread = threading.Thread(target=_serve, args=(server, found, upstream), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.over.set()
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)
        shutil.rmtree(folder)


def _serve(server: socket.socket, found: Meddling, upstream: Callable[[str], str]) -> None:
    while not found.over.is_set():
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_one, args=(connection, found, upstream), daemon=True).start()


def _one(connection: socket.socket, found: Meddling, upstream: Callable[[str], str]) -> None:
    with connection, suppress(OSError):
        command = connection.makefile().readline().strip()
        found.seen.append(command)
        ill = found.ill if found.which(command) else Ill.NONE
        if ill is Ill.HANG:
            found.over.wait(60)
        elif ill is Ill.STATUS:
            connection.sendall(found.answer.encode())
        elif ill is not Ill.RESET:
            answer = upstream(command)
            found.passed.append(command)
            if ill is Ill.KEPT:
                found.over.wait(60)
            connection.sendall(b"" if ill is Ill.LOST else found.answer.encode() if ill is Ill.LIED else answer.encode())
