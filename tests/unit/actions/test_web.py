import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.backends.web import Web, build
from actions.contract import CallInvalid, NotPermitted, OutcomeUnknown, Rejected, TargetMissing, Unreachable
from actions.kinds import Options
from actions.toolkit.addresses import Host, host
from actions.toolkit.jsonpath import at
from actions.toolkit.wire import Answer, Wire
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call

PUBLIC = "93.184.216.34"


class Page(BaseHTTPRequestHandler):
    """A few pages: JSON, text, redirects in and out, an error."""

    def do_GET(self) -> None:
        status, headers, body = {
            "/json": (200, {}, b'{"status": {"ok": true}, "items": [{"name": "a", "value": 1}, {"name": "b", "value": 2}], "n": 7}'),
            "/text": (200, {}, b"all well\xff"),
            "/moved": (302, {"Location": "/json"}, b""),
            "/out": (302, {"Location": "http://169.254.169.254/latest/meta-data"}, b""),
            "/round": (302, {"Location": "/round"}, b""),
            "/broken": (503, {}, b"down"),
            "/huge": (200, {}, b"x" * 600_000),
        }.get(self.path, (404, {}, b"none"))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body)), "X-Host": self.headers["Host"]}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


def get(web: Web, url: str, **arguments: Any) -> Any:
    return web.read(Call(operation="http.get", arguments={"url": url, **arguments}), timeout=5).value


def test_a_listed_page_is_read(page: str) -> None:
    """A page on a listed host gives its status and body, and what lies at `path`."""
    web = Web(allow=(host(page),))
    read = get(web, f"{page}/json", path="n")
    assert (read["status"], read["rows"], read["value"]) == (200, [], 7)
    assert read["body"]["n"] == 7
    assert [row["name"] for row in get(web, f"{page}/json", path="items")["rows"]] == ["a", "b"]
    assert get(web, f"{page}/json", path="items[1].value")["value"] == 2
    assert get(web, f"{page}/json", path="missing.there")["value"] is None
    assert get(web, f"{page}/text")["body"].startswith("all well")


def test_a_path_stands_below_the_base(page: str) -> None:
    """An address without host is read below the base; without a base it makes no sense."""
    assert get(Web(allow=(host(page),), base=page), "/json")["status"] == 200
    with pytest.raises(CallInvalid):
        get(Web(allow=(host(page),)), "/json")


@pytest.mark.parametrize(
    "url",
    ["/../json", "/a/%2e%2e/json", "/a/..%2fjson", "//evil.example/json", "/a\\..\\json", "/%2E%2e/x", "/a/..;/json", "/..%3Bx=1/json"],
)
def test_s29_a_path_does_not_leave_its_base(url: str, page: str) -> None:
    """No label can climb out of the base, as it could out of a drill's world."""
    web = Web(allow=(host(page),), base=f"{page}/worlds/w1", world="w1")
    with pytest.raises(NotPermitted):
        get(web, url)


def test_s27_a_drill_reads_no_page_outside_its_world(page: str) -> None:
    """In a drill even a listed host is read only below the world."""
    with pytest.raises(NotPermitted):
        get(Web(allow=(host(page),), base=f"{page}/worlds/w1", world="w1"), f"{page}/json")


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/", "http://status.example/", "https://status.example:444/", "ftp://status.example/", "status.example",
        "https://status.example@evil.example/", "https://evil.example#status.example", "https://status.example\\@evil.example/",
        "https://user:pw@status.example/", "https://status.example.evil.example/", "file:///etc/passwd", "https://[::1]/", "https://[x/",
        "https://status.example:99999/", "", "https://",
    ],
)  # fmt: skip
def test_s29_only_listed_hosts_are_asked(url: str) -> None:
    """Another host, scheme or port, a name in the address, and what no two readers understand alike are refused unasked."""

    def never(name: str, port: int) -> list[str]:
        raise AssertionError(f"{name}:{port} was resolved")

    with pytest.raises((NotPermitted, CallInvalid)):
        get(Web(allow=(host("status.example"),), resolve=never), url)


@pytest.mark.parametrize(
    "number",
    [
        "127.0.0.1", "10.0.0.8", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "fe80::1", "fd00:ec2::254",
        "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "::127.0.0.1", "fec0::1", "5f00::1", "2002:7f00:1::", "224.0.0.1", "255.255.255.255", "198.18.0.1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("mixed", [False, True])
def test_s29_a_listed_name_that_points_inside_is_not_asked(number: str, mixed: bool) -> None:
    """Private, loopback, link-local and metadata addresses are refused, also when only one of several is such."""
    web = Web(allow=(host("status.example"),), resolve=lambda *_: [PUBLIC, number] if mixed else [number])
    with pytest.raises(NotPermitted, match="inside the house"):
        get(web, "https://status.example/")


def test_an_inside_host_is_asked_where_it_is_listed_as_such(page: str) -> None:
    """A host of one's own is asked by the address that was judged, under its own name."""
    port = int(page.rsplit(":", 1)[1])
    web = Web(allow=(Host(scheme="http", name="status.internal", port=port, inside=True),), resolve=lambda *_: ["127.0.0.1"])
    assert get(web, f"http://status.internal:{port}/json")["status"] == 200


def test_a_name_that_is_not_known_is_unreachable() -> None:
    """What cannot be resolved was not asked."""

    def unknown(*_: Any) -> list[str]:
        raise OSError("no such name")

    for resolve in (unknown, lambda *_: []):
        with pytest.raises(Unreachable):
            get(Web(allow=(host("status.example"),), resolve=resolve), "https://status.example/")


def test_the_probe_names_every_host_that_cannot_be_asked() -> None:
    """A host that points inside or nowhere is named before an incident needs it; no page is read."""

    def resolve(name: str, _port: int) -> list[str]:
        return {"good.example": [PUBLIC], "inward.example": ["10.0.0.8"]}.get(name, [])

    good = Web(allow=(host("good.example"), host("http://127.0.0.1:9")), resolve=resolve)
    assert "no page was read" in good.probe(timeout=5)
    with pytest.raises(Unreachable, match=r"inward\.example points to an address inside.*gone\.example cannot be resolved"):
        Web(allow=tuple(host(f"{name}.example") for name in ("good", "inward", "gone")), resolve=resolve).probe(timeout=5)


def test_redirects_stay_on_their_host(page: str) -> None:
    """A redirect on the same host is followed, one to another host is not, and a circle ends."""
    web = Web(allow=(host(page), host("http://169.254.169.254")))
    assert get(web, f"{page}/moved")["status"] == 200
    with pytest.raises(NotPermitted):
        get(web, f"{page}/out")
    with pytest.raises(Rejected):
        get(web, f"{page}/round")


def test_s17_redirects_share_one_time_limit(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hop has what the hops before it have left, so that a chain takes no longer than one page."""
    given: list[float] = []
    send = Wire.send

    def noted(self: Wire, *asked: Any, timeout: float, **more: Any) -> Answer:
        given.append(timeout)
        return send(self, *asked, timeout=timeout, **more)

    monkeypatch.setattr(Wire, "send", noted)
    with pytest.raises(Rejected, match="sends on more than"):
        get(Web(allow=(host(page),)), f"{page}/round")
    assert len(given) == 4
    assert given == sorted(given, reverse=True)
    assert len(set(given)) == 4


def test_where_one_address_cannot_be_reached_the_next_is_asked(page: str) -> None:
    """A name with a dead address first is read at its living one; that a connection was never made is certain."""
    port = int(page.rsplit(":", 1)[1])
    listed = Host(scheme="http", name="status.internal", port=port, inside=True)
    web = Web(allow=(listed,), resolve=lambda *_: ["127.0.0.2", "127.0.0.1"])
    assert get(web, f"http://status.internal:{port}/json")["status"] == 200


def test_an_address_in_other_letters_is_named_in_ascii() -> None:
    """A host that no header can name is refused on loading, with the form that can; a password in it is not repeated."""
    with pytest.raises(ValueError, match=r"xn--bcher-kva\.example"):
        host("bücher.example")
    with pytest.raises(ValueError, match="is no host") as raised:
        host("https://me:s3cret-word@x.example")
    assert "s3cret-word" not in str(raised.value)


def test_the_expected_status_is_compared(page: str) -> None:
    """Without `expect` an error status is an error; with it, exactly that status is the answer."""
    web = Web(allow=(host(page),))
    assert get(web, f"{page}/broken", expect=503)["status"] == 503
    with pytest.raises(OutcomeUnknown):
        get(web, f"{page}/broken")
    with pytest.raises(TargetMissing):
        get(web, f"{page}/none")
    with pytest.raises(Rejected, match="answers 200, expected 503"):
        get(web, f"{page}/json", expect=503)


def test_a_page_is_a_measurement(page: str) -> None:
    """The status or the seconds can be what a threshold compares; a bad status is a number then, and a slow page is not."""
    web = Web(allow=(host(page),))
    assert get(web, f"{page}/broken", measure="status")["value"] == 503
    assert get(web, f"{page}/json", measure="status")["value"] == 200
    timed = get(web, f"{page}/json", measure="seconds")
    assert timed["value"] == timed["seconds"] > 0
    with pytest.raises(OutcomeUnknown):
        get(web, f"{page}/broken", measure="seconds")
    with pytest.raises(Unreachable):
        get(Web(allow=(host("http://127.0.0.1:9"),)), "http://127.0.0.1:9/", measure="status")


def test_a_page_that_is_no_json_has_no_path(page: str) -> None:
    """A path into a text is an error and not "no data"; a page beyond the size limit is refused."""
    web = Web(allow=(host(page),))
    with pytest.raises(Rejected):
        get(web, f"{page}/text", path="a")
    with pytest.raises(Rejected):
        get(web, f"{page}/huge")


@given(path=st.text(alphabet="ab[]01.-", max_size=12), body=st.sampled_from([{"a": [1, {"b": 2}]}, [], 7, None, "a"]))
def test_a_path_finds_something_or_nothing_or_is_none(path: str, body: Any) -> None:
    """Whatever the path, the answer is a value of the body, None, or that it is no path."""
    try:
        at(body, path)
    except CallInvalid as error:
        refusal = str(error)
    else:
        refusal = "is no path"
    assert "is no path" in refusal


@pytest.mark.parametrize("entry", ["", "ftp://x.example", "https://x.example/path", "https://a:b@x.example", "https://", "x.example?y"])
def test_what_is_no_host_is_not_listed(entry: str) -> None:
    """A mistake in the list stops the start with the field's name."""
    with pytest.raises(SettingsInvalid, match=r"backends\.web\.allow"):
        build(Options({"allow": [entry]}, place="backends.web"), {})
