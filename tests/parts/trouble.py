"""A proxy that stands before a real or a fake HTTP server and makes its changes go wrong in the ways that networks and servers do."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import httpx

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "content-encoding", "accept-encoding"}


class Ill(StrEnum):
    """What happens to a request."""

    NONE = "none"  # passed on, and the answer back
    STATUS = "status"  # answered here with `status`; never passed on
    HANG = "hang"  # never passed on, never answered
    RESET = "reset"  # never passed on; the connection is reset
    LOST = "lost"  # passed on, and the answer is lost: the connection is reset
    KEPT = "kept"  # passed on, and the answer is kept back until the trouble is over
    LIED = "lied"  # passed on, and then answered with 500: it succeeded and says that it failed


def _changes(method: str, path: str) -> bool:
    return method not in {"GET", "HEAD"}


def _operation(headers: Mapping[str, str], body: bytes) -> str:
    """`#Operation` where the path does not say what is asked: AWS names it in a header or in a form, and posts everything to /."""
    named = headers.get("x-amz-target", "").rpartition(".")[2] or parse_qs(body.decode("latin-1")).get("Action", [""])[0]
    return f"#{named}" if named else ""


@dataclass(slots=True)
class Trouble:
    """The proxy's switches and what it saw. `which` says which requests are meant, by method and path; by default those that change."""

    url: str
    ill: Ill = Ill.NONE
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"message": "out of order"}'
    which: Callable[[str, str], bool] = _changes
    seen: list[tuple[str, str]] = field(default_factory=list)
    passed: list[tuple[str, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def troubled(upstream: str, *, verify: ssl.SSLContext | bool = True) -> Iterator[Trouble]:
    """A proxy before `upstream` (`http://127.0.0.1:PORT`, or https with an authority of its own), well until `ill` is set."""
    client = httpx.Client(base_url=upstream, trust_env=False, timeout=30, verify=verify)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else every answer waits 40 ms for the other side's acknowledgement

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):
                return self._any
            raise AttributeError(name)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's signature
            """Say nothing."""

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            path = self.path + _operation(self.headers, body)
            trouble.seen.append((self.command, path))
            ill = trouble.ill if trouble.which(self.command, path) else Ill.NONE
            if ill is Ill.STATUS:
                self._answer(trouble.status, trouble.headers, trouble.body)
            elif ill is Ill.HANG:
                trouble.over.wait(60)
                self._reset()
            elif ill is Ill.RESET:
                self._reset()
            else:
                answer = self._passed_on(body)
                if ill is Ill.KEPT:
                    trouble.over.wait(60)
                if ill in {Ill.LOST, Ill.KEPT}:
                    self._reset()
                elif ill is Ill.LIED:
                    self._answer(500, {}, trouble.body)
                else:
                    self._answer(answer.status_code, dict(answer.headers), answer.content)

        def _passed_on(self, body: bytes) -> httpx.Response:
            headers = {key: value for key, value in self.headers.items() if key.lower() not in _HOP}
            answer = client.request(self.command, self.path, content=body, headers=headers)
            trouble.passed.append((self.command, self.path + _operation(self.headers, body)))
            return answer

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for key, value in headers.items():
                if key.lower() not in _HOP:
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _reset(self) -> None:
            """Close with an RST, as a crashed server or a broken link does."""
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

        def finish(self) -> None:
            """The parent flushes, which a reset connection does not take."""
            try:
                super().finish()
            except OSError:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    trouble = Trouble(url=f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield trouble
    finally:
        trouble.over.set()
        server.shutdown()
        server.server_close()
        client.close()
        thread.join(5)
