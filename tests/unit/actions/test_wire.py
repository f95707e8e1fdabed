import contextlib
import inspect
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.contract import (
    BackendError,
    CallInvalid,
    Conflict,
    NotPermitted,
    OutcomeUnknown,
    Rejected,
    TargetMissing,
    Throttled,
    Unreachable,
)
from actions.toolkit.wire import Answer, Wire, refuse, retry_after, translated
from bot.secret import SecretMissing
from runbooks.operation import Reading
from tests.parts.answering import answering
from tests.parts.tls import contexts

NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"}
SENSELESS = {"InvalidURL", "UnsupportedProtocol"}


def foreign_errors() -> list[type[Exception]]:
    """Every exception that httpx defines and a request can raise."""
    found = [one for one in vars(httpx).values() if inspect.isclass(one) and issubclass(one, Exception)]
    return [one for one in found if one is not httpx.CookieConflict]  # cookies are neither kept nor read here


def built(kind: type[Exception]) -> Exception:
    if kind is httpx.HTTPStatusError:
        return kind("x", request=httpx.Request("GET", "http://x"), response=httpx.Response(500))  # type: ignore[call-arg]
    parameters = [one for one in inspect.signature(kind.__init__).parameters.values() if one.name != "self"]
    needed = [one for one in parameters if one.default is one.empty and one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}]
    return kind(*["x"] * len(needed))


@pytest.mark.parametrize("kind", foreign_errors(), ids=lambda kind: kind.__name__)
def test_no_error_of_httpx_is_forgotten(kind: type[Exception]) -> None:
    """Each of httpx's errors is caught and becomes the contract's error that says what is certain."""
    assert issubclass(kind, httpx.HTTPError | httpx.InvalidURL | httpx.StreamError)
    error = translated(built(kind), who="It", timeout=5)
    expected = Unreachable if kind.__name__ in NEVER_SENT else CallInvalid if kind.__name__ in SENSELESS else OutcomeUnknown
    assert type(error) is expected
    assert str(error).startswith("It")


@given(status=st.integers(100, 599), body=st.binary(max_size=50))
def test_every_status_is_an_answer_or_one_of_the_contracts_errors(status: int, body: bytes) -> None:
    """Whatever the far side answers, it is success or an error of the contract, and 5xx is never certain."""
    raised: BackendError | None = None
    try:
        refuse(Answer(status=status, body=body), who="It", what="thing")
    except BackendError as error:
        raised = error
    assert (raised is None) is (200 <= status < 300)
    assert isinstance(raised, OutcomeUnknown) is (status >= 500 or status in {408, 499})


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, Rejected), (400, Rejected), (401, NotPermitted), (403, NotPermitted), (404, TargetMissing), (408, OutcomeUnknown),
        (409, Conflict), (410, TargetMissing), (412, Conflict), (422, Rejected), (429, Throttled), (500, OutcomeUnknown), (503, OutcomeUnknown),
    ],
)  # fmt: skip
def test_each_status_has_its_meaning(status: int, expected: type[BackendError]) -> None:
    """The statuses that far sides use to refuse map to what they mean; a conflict carries the present state."""
    with pytest.raises(expected) as raised:
        refuse(Answer(status=status, body=b'{"error": "because"}'), who="It", what="thing", conflict=lambda: Reading(value=7))
    if isinstance(raised.value, Conflict):
        assert raised.value.current.value == 7


def test_the_far_sides_words_are_handed_on_redacted() -> None:
    """The reason given by the far side stands in the error, without secrets and short."""
    body = b'{"reason": "bad value, token=abcdefghijklmnop ' + b"x" * 5000 + b'"}'
    with pytest.raises(Rejected, match="bad value") as raised:
        refuse(Answer(status=422, body=body), who="It", what="thing")
    assert "abcdefghijklmnop" not in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7),
        ("", 5),
        ("soon", 5),
        ("999999", 3600),
        ("Fri, 20 Nov 2026 02:00:30 GMT", 30),
        ("Fri, 20 Nov 2026 01:00:00 GMT", 0),
        ("-3", 5),
        ("²", 5),
    ],
)
def test_how_long_to_wait(said: str, seconds: float) -> None:
    """Seconds and dates are understood, nonsense has a default, and nobody makes us wait for more than an hour."""
    assert retry_after({"retry-after": said}, now=datetime(2026, 11, 20, 2, tzinfo=UTC)) == seconds


@contextlib.contextmanager
def serving(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that treats each connection by `handle`; its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    handle(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=5)


def answer(text: bytes) -> Callable[[socket.socket], None]:
    def handle(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(text)

    return handle


def test_a_closed_port_is_unreachable() -> None:
    """Where nobody listens, nothing was sent, and that is certain."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable):
        Wire(who="It", base=f"http://127.0.0.1:{port}").send("PUT", "/x", body={}, timeout=2)


@pytest.mark.parametrize(
    "text",
    [
        b"",  # the connection is closed without a word
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",  # half an answer
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    ],
    ids=["closed", "half", "nonsense", "encoding"],
)
def test_a_broken_answer_is_unknown(text: bytes) -> None:
    """What was sent and not answered wholly may have happened."""
    with serving(answer(text)) as url, pytest.raises(OutcomeUnknown):
        Wire(who="It", base=url).send("PUT", "/x", body={}, timeout=2)


def test_a_silent_server_is_unknown_after_the_time_limit() -> None:
    """An answer that does not come within the limit leaves the outcome unknown."""

    def listen(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass

    with serving(listen) as url, pytest.raises(OutcomeUnknown, match="within"):
        Wire(who="It", base=url).send("PUT", "/x", body={}, timeout=0.2)


def test_s17_an_answer_in_drops_does_not_outlast_the_limit() -> None:
    """A server that sends one byte after another is cut off at the limit of the whole call, not of each byte."""
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not stop.wait(0.02):
            connection.sendall(b"x")

    with serving(drip) as url:
        with pytest.raises(OutcomeUnknown):
            Wire(who="It", base=url).send("GET", "/x", timeout=0.3)
        stop.set()


def test_s17_headers_in_drops_do_not_outlast_the_limit() -> None:
    """A server that sends its headers byte by byte, each in time for itself, is cut off at the limit of the whole call."""
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not stop.wait(0.02):
            connection.sendall(b"x")

    with serving(drip) as url:
        try:
            with pytest.raises(OutcomeUnknown, match="did not answer within"):
                Wire(who="It", base=url).send("PUT", "/x", body={}, timeout=0.3)
        finally:
            stop.set()


def test_tls_is_spoken_and_a_stranger_s_certificate_is_unreachable(tmp_path: Path) -> None:
    """With the right authority the answer comes over TLS; with another one no request is sent, and that is certain."""
    server, client = contexts(tmp_path)
    with answering(lambda _asked: (200, {"ok": True}), tls=server) as url:
        secure = url.replace("http://", "https://")
        assert Wire(who="It", base=secure, verify=client).send("PUT", "/x", body={}, timeout=5).json() == {"ok": True}
        with pytest.raises(Unreachable):
            Wire(who="It", base=secure).send("PUT", "/x", body={}, timeout=5)


def test_cookies_are_neither_kept_nor_sent() -> None:
    """What one answer sets does not go along with the next request: two hosts may share one numeric address."""
    seen: list[bytes] = []

    def keep(connection: socket.socket) -> None:
        seen.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 204 No Content\r\nSet-Cookie: session=abc; Path=/\r\n\r\n")

    with serving(keep) as url:
        wire = Wire(who="It", base=url)
        wire.send("GET", "/x", timeout=2)
        wire.send("GET", "/x", timeout=2)
    assert len(seen) == 2
    assert not any(b"cookie" in one.lower() for one in seen)


@pytest.mark.parametrize("token", ["abc\ndef", "“quoted”", "tök\x00"])
def test_s18_a_credential_that_no_header_takes_is_refused_unsaid(token: str) -> None:
    """A secret with a line break or a typographic quote in it is refused before anything is sent, and is not repeated."""
    with pytest.raises(NotPermitted, match="hold something that no header Authorization takes") as raised:
        Wire(who="Far", base="http://127.0.0.1:9", headers=lambda: {"Authorization": token}).send("PUT", "/", timeout=1)
    assert token not in str(raised.value)


def test_a_line_break_behind_a_credential_does_not_matter() -> None:
    """A file with a secret mostly ends with a line break, which is none of it."""
    seen: list[bytes] = []

    def keep(connection: socket.socket) -> None:
        seen.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with serving(keep) as url:
        Wire(who="It", base=url, headers=lambda: {"Authorization": "Bearer abc\n"}).send("GET", "/x", timeout=2)
    assert b"Bearer abc\r\n" in seen[0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}], ids=["nan", "inf", "set"])
def test_what_no_json_can_say_is_not_sent(value: object) -> None:
    """A body that cannot be written is a senseless call, not a crash."""
    with pytest.raises(CallInvalid, match="Nothing was sent"):
        Wire(who="It", base="http://127.0.0.1:9").send("PUT", "/x", body={"value": value}, timeout=1)


def test_half_a_character_is_sent_as_an_escape_and_refused_in_an_address() -> None:
    """A lone surrogate, which no UTF-8 holds, crashes neither a body nor an address."""
    seen: list[bytes] = []

    def keep(connection: socket.socket) -> None:
        found = b""
        while not found.endswith(b"}"):
            found += connection.recv(65536)
        seen.append(found)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with serving(keep) as url:
        wire = Wire(who="It", base=url)
        wire.send("PUT", "/x", body={"a": "\ud800"}, timeout=2)
        with pytest.raises(CallInvalid, match="cannot be used"):
            wire.send("PUT", "/\ud800", body={}, timeout=2)
    assert [one.rpartition(b"\r\n\r\n")[2] for one in seen] == [rb'{"a": "\ud800"}']


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_after_a_change_is_unknown_and_after_a_question_a_refusal(status: int) -> None:
    """Many forms are carried out and then send to a page, so a redirect is no certain refusal of a change."""
    with pytest.raises(OutcomeUnknown, match="not followed"):
        refuse(Answer(status=status, body=b"", changes=True), who="It", what="thing")
    with pytest.raises(Rejected, match="not followed"):
        refuse(Answer(status=status, body=b""), who="It", what="thing")


@pytest.mark.parametrize(("method", "changes"), [("GET", False), ("PUT", True), ("POST", True), ("DELETE", True)])
def test_an_answer_knows_what_it_answers(method: str, *, changes: bool) -> None:
    """Whether something may have been changed stands in the answer."""
    with serving(answer(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")) as url:
        assert Wire(who="It", base=url).send(method, "/x", timeout=2).changes is changes


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"\xff\xfe\xff", b""], ids=["lists", "objects", "digits", "bytes", "none"]
)
def test_an_odd_body_is_no_crash(body: bytes) -> None:
    """What is no JSON, or nested without end, is refused in words, and what it says is short."""
    found = Answer(status=500, body=body)
    with pytest.raises(Rejected, match="not JSON"):
        found.json()
    assert len(found.said) <= 300


def test_a_number_that_is_none_is_no_data() -> None:
    """NaN and what is too large for a float are null: no threshold may compare them, and no database keeps them."""
    assert Answer(status=200, body=b"[NaN, Infinity, -Infinity, 1e999, -1e999, 1e3]").json() == [None, None, None, None, None, 1000.0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"message": "no such key", "type": "auth_error", "code": "401"}}', "no such key"),
        (b'{"detail": {"error": "no general fallbacks"}}', "no general fallbacks"),
        (b'{"status": "error", "error": "parse error", "errorType": "bad_data"}', "parse error"),
        (b'"plainly"', "plainly"),
        (b'{"errors": [1]}', '{"errors": [1]}'),
        (b"[]", "[]"),
    ],
)
def test_the_far_sides_words_are_found_where_apis_put_them(body: bytes, said: str) -> None:
    """The reason is said without its wrapping, also from one level down; what has none is said as it is."""
    assert Answer(status=400, body=body).said == said


def test_of_a_page_only_the_title_is_said() -> None:
    """A proxy's page of errors is not put before a tired person as HTML."""
    page = b"<html>\r\n<head><title>502 Bad\n Gateway</title></head><body><center>nginx</center></body></html>"
    assert Answer(status=502, body=page).said == "502 Bad Gateway"
    assert Answer(status=502, body=b"<!DOCTYPE html><p>sorry</p>").said == ""


def test_an_answer_beyond_the_size_limit_is_refused() -> None:
    """A huge answer is not read to its end."""
    huge = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)
    with serving(huge) as url, pytest.raises(Rejected, match="more than 1,000 bytes"):
        Wire(who="It", base=url).send("GET", "/x", timeout=2, most=1000)


def test_a_huge_answer_to_a_change_is_no_refusal() -> None:
    """Whatever it says at such length, the change may have been made."""
    huge = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)
    with serving(huge) as url, pytest.raises(OutcomeUnknown, match="more than 1,000 bytes"):
        Wire(who="It", base=url).send("PUT", "/x", timeout=2, most=1000)


def test_a_redirect_is_not_followed() -> None:
    """A redirect is an answer like any other; a change is never sent on to somewhere else."""
    elsewhere = answer(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    with serving(elsewhere) as url:
        assert Wire(who="It", base=url).send("PUT", "/x", body={}, timeout=2).status == 307


def test_s18_credentials_are_read_for_each_request() -> None:
    """A secret that was rotated is used from the next call on."""
    secrets, seen = iter(["one", "two"]), []

    def keep(connection: socket.socket) -> None:
        seen.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with serving(keep) as url:
        wire = Wire(who="It", base=url, headers=lambda: {"Authorization": f"Bearer {next(secrets)}"})
        wire.send("GET", "/x", timeout=2)
        wire.send("GET", "/x", timeout=2)
    assert b"Bearer one" in seen[0]
    assert b"Bearer two" in seen[1]


def test_a_credential_that_cannot_be_read_is_no_permission() -> None:
    """The secret is gone: nothing is sent, and the sentence says which one is missing."""

    def unreadable() -> dict[str, str]:
        raise SecretMissing("the environment variable TOKEN is not set")

    with pytest.raises(NotPermitted, match="The credentials for Far cannot be read: the environment variable TOKEN is not set"):
        Wire(who="Far", base="http://127.0.0.1:9", headers=unreadable).send("GET", "/", timeout=1)
