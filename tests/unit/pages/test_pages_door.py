"""Who may read a page, and what a page can do in a browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.app import Muster
from bot.pages import PAGES
from tests.opened import BEN, READER, client, opened

HOSTILE = "<script>alert(1)</script> {{ 7*7 }} <!channel> [x](javascript:alert(1)) \"'&"


@pytest.fixture
def muster(tmp_path: Path, sqlite_url: str) -> Iterator[Muster]:
    """A Muster on a loopback address, with one incident whose title is hostile."""
    with opened(tmp_path, sqlite_url) as one:
        answer = client(one, token=BEN).post("/api/v1/incidents", json={"title": HOSTILE, "service": "answers", "severity": "SEV1"})
        assert answer.status_code == 200
        client(one, token=BEN).post("/api/v1/incidents/1/notes", json={"text": HOSTILE})
        client(one, token=BEN).post("/api/v1/drills", json={"runbook": "inference-latency"})
        yield one


@pytest.fixture
def outside(tmp_path: Path, sqlite_url: str) -> Iterator[Muster]:
    """A Muster that listens on every interface."""
    with opened(tmp_path, sqlite_url, MUSTER_HTTP_HOST="0.0.0.0", MUSTER_PUBLIC_URL="https://muster.example.com") as one:
        yield one


PATHS = [
    "/incidents",
    "/incidents/1",
    "/postmortems",
    "/postmortems/1",
    "/drills",
    "/drills/1",
    "/readiness",
    "/runbooks",
    "/runbooks/inference-latency",
]


def test_every_page_is_shown_here_without_a_token_and_can_run_nothing(muster):
    """On a loopback address each page reads without a token, and no page may run a script, load anything foreign or be framed."""
    browser = client(muster)
    for path in PATHS:
        answer = browser.get(path)
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy
        assert "<script" not in answer.text
        assert " style=" not in answer.text, path
    assert len({path.split("/")[1] for path in PATHS}) == len({path.split("/")[1] for path, _ in PAGES})


def test_text_from_outside_stands_as_text(muster):
    """A hostile title and note are shown letter by letter, on the incident, its picture and its post-mortem."""
    for path in ("/incidents", "/incidents/1", "/postmortems/1"):
        text = client(muster).get(path).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt; {{ 7*7 }}" in text
        assert 'href="javascript' not in text


def test_another_name_for_this_machine_reads_nothing(muster):
    """A foreign page that points its own name at this machine is asked to sign in (DNS rebinding)."""
    rebinding = client(muster, headers={"Host": "evil.example.net"})
    assert rebinding.get("/incidents/1", follow_redirects=False).status_code == 401
    assert client(muster, headers={"Host": "localhost:8080"}).get("/incidents/1").status_code == 200
    assert client(muster, headers={"Host": "[::1"}).get("/incidents/1", follow_redirects=False).status_code == 401


def test_whoever_comes_through_a_proxy_is_not_here(muster, tmp_path, sqlite_url):
    """A proxy on the same machine makes nobody local: by its headers, and by a public address elsewhere."""
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        assert client(muster, headers={name: "127.0.0.1"}).get("/incidents", follow_redirects=False).status_code == 401
    with opened(tmp_path, sqlite_url, MUSTER_PUBLIC_URL="https://muster.example.com") as proxied:
        assert client(proxied).get("/incidents", follow_redirects=False).status_code == 401
        assert client(proxied, token=READER).get("/incidents").status_code == 200


def test_outside_a_token_is_needed_and_a_cookie_keeps_it(outside):
    """On other addresses nobody reads without a token; signing in keeps one in a cookie that scripts and other sites cannot use."""
    stranger = client(outside)
    asked = stranger.get("/readiness", headers={"Accept": "text/html"}, follow_redirects=False)
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?to=/readiness")
    assert stranger.get("/readiness", headers={"Accept": "*/*"}).status_code == 401
    assert client(outside, token=READER).get("/readiness").status_code == 200
    assert stranger.post("/sign-in", data={"token": "wrong", "to": "/readiness"}).status_code == 401
    signed = stranger.post("/sign-in", data={"token": READER, "to": "/readiness"}, follow_redirects=False)
    assert (signed.status_code, signed.headers["location"]) == (303, "/readiness")
    cookie = signed.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "secure"))
    assert stranger.get("/readiness", headers={"Cookie": f"muster_token={READER}"}).status_code == 200


def test_the_cookie_opens_no_door_to_the_api(outside):
    """What a browser sends by itself can change nothing, so no other site can make it act."""
    for method, path in (("GET", "/api/v1/incidents"), ("POST", "/api/v1/pause")):
        assert client(outside, headers={"Cookie": f"muster_token={BEN}"}).request(method, path, json={}).status_code == 401


@pytest.mark.parametrize("to", ["//evil.example.net", "https://evil.example.net", "/\\evil.example.net", ""])
def test_signing_in_leads_to_this_server_only(outside, to):
    """However the wanted page is written, nobody is sent to another host."""
    answer = client(outside).post("/sign-in", data={"token": READER, "to": to}, follow_redirects=False)
    assert answer.headers["location"] == "/incidents"


def test_what_is_not_there_is_a_page_that_says_so(muster):
    """A wrong number or form is 404 with a sentence."""
    huge = "9" * 30
    missing = ("/incidents/99", "/postmortems/99", "/drills/99", "/runbooks/none", "/incidents/1/timeline.exe")
    for path in (*missing, f"/incidents/{huge}", f"/postmortems/{huge}", f"/drills/{huge}"):
        answer = client(muster).get(path)
        assert answer.status_code == 404, path
        assert "There is no" in answer.text


def test_downloads_are_the_same_record(muster):
    """The exports of a page are the API's, offered as files."""
    reader, browser = client(muster, token=READER), client(muster)
    for form in ("jsonl", "csv", "md"):
        answer = browser.get(f"/incidents/1/timeline.{form}")
        assert answer.text == reader.get("/api/v1/incidents/1/timeline", params={"format": form}).text
        assert "attachment" in answer.headers["content-disposition"]
    assert browser.get("/postmortems/1.md").text == reader.get("/api/v1/incidents/1/postmortem", params={"format": "md"}).text


def test_the_list_is_narrowed_and_a_wrong_filter_is_none(muster):
    """Each filter narrows the list; a value that does not exist filters nothing and breaks nothing."""
    browser = client(muster)
    assert "INC-1" in browser.get("/incidents", params={"severity": "SEV1", "service": "answers"}).text
    assert "INC-1" not in browser.get("/incidents", params={"severity": "SEV2"}).text
    assert "INC-1" not in browser.get("/incidents", params={"kind": "drill"}).text
    assert "INC-1" in browser.get("/incidents", params={"status": "<script>"}).text


def test_every_mark_of_the_picture_leads_to_an_entry_on_the_page(muster):
    """Each link in the picture names an entry's own anchor."""
    import re

    text = client(muster).get("/incidents/1").text
    anchors = set(re.findall(r'<tr id="(e\d+)"', text))
    links = set(re.findall(r'href="#(e\d+)"', text))
    assert links
    assert links <= anchors
