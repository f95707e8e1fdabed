"""A service behind a proxy: it counts who asks it, and fails as long as it is told to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


@dataclass(slots=True)
class Upstream:
    """What it answers, and the paths it was asked for, in order."""

    port: int
    status: int = 503
    asked: list[str] = field(default_factory=list)

    def hits(self, url: str) -> int:
        """How often one request to `url`, which leads here through a proxy, arrives here."""
        before = len(self.asked)
        httpx.get(url, timeout=10, trust_env=False)
        return len(self.asked) - before


@contextmanager
def serving(*, status: int = 503) -> Iterator[Upstream]:
    """A service on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            upstream.asked.append(self.path)
            self.send_response(upstream.status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's signature
            """Say nothing."""

        def handle(self) -> None:
            """A proxy that goes away resets its connections."""
            try:
                super().handle()
            except ConnectionError:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    upstream = Upstream(port=server.server_address[1], status=status)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
