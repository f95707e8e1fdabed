from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest

from tests.parts.trouble import Ill, troubled


class Counter:
    """A server that counts what reached it."""

    def __init__(self) -> None:
        self.puts = 0


@pytest.fixture
def counted() -> Iterator[tuple[Counter, str]]:
    """A running server that counts, and its address."""
    counter = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            counter.puts += 1
            self._ok()

        def do_GET(self) -> None:
            self._ok()

        def _ok(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield counter, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("ill", list(Ill))
def test_each_ill_is_what_it_says(ill: Ill, counted: tuple[Counter, str]) -> None:
    """Reads pass always; a change is answered, lost or kept from the server exactly as switched, and counted where it arrived."""
    counter, url = counted
    with troubled(url) as trouble:
        trouble.ill = ill
        assert httpx.get(trouble.url, trust_env=False).text == "ok"
        if ill in {Ill.NONE, Ill.STATUS, Ill.LIED}:
            status = httpx.put(trouble.url, content=b"x", trust_env=False).status_code
            assert status == (200 if ill is Ill.NONE else 500)
        else:
            expected = httpx.ReadTimeout if ill in {Ill.HANG, Ill.KEPT} else httpx.TransportError
            with pytest.raises(expected):
                httpx.put(trouble.url, content=b"x", trust_env=False, timeout=0.3)
        assert counter.puts == (1 if ill in {Ill.NONE, Ill.LOST, Ill.LIED, Ill.KEPT} else 0)
