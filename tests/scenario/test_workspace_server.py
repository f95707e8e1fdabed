"""The workspace as a process: its doors, its bodies, and what is left after kill -9."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.ports import free_port

ANA = "U01ANA0000"
INCIDENTS = "C01INCIDNT"


class Running:
    """One run of ``python -m bot.workspace``."""

    def __init__(self, data: Path, *args: str) -> None:
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "bot.workspace", "--port", str(self.port), "--data", str(data), *args]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=10)
        self.wait()
        self.secrets = json.loads((data / "app.json").read_text())

    def wait(self) -> None:
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if self.http.get("/healthz").status_code == 200:
                    return
            time.sleep(0.02)
        raise AssertionError("the workspace did not start")

    def api(self, method: str, **args: Any) -> Any:
        return self.http.post(f"/api/{method}", json=args, headers={"authorization": f"Bearer {self.secrets['bot_token']}"}).json()

    def does(self, what: str, **body: Any) -> Any:
        return self.http.post(f"/client/{what}", json={"user": ANA, **body}).json()

    def sockets(self) -> Any:
        told = self.http.post("/api/apps.connections.open", headers={"authorization": f"Bearer {self.secrets['app_token']}"})
        return connect(told.json()["url"], open_timeout=5, proxy=None)

    def end(self, how: int = signal.SIGTERM) -> int:
        self.http.close()
        os.kill(self.process.pid, how)
        code = self.process.wait(10)
        if self.process.stderr:
            self.process.stderr.close()
        return code


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    run = Running(tmp_path_factory.mktemp("harbor"))
    yield run
    run.end()


@pytest.fixture
def running(process: Running) -> Iterator[Running]:
    """The shared process, as calm as at its start."""
    yield process
    process.http.post("/client/admin", json={"rates": "slack", "chaos": {"mode": "none"}})


def test_everything_survives_a_kill(tmp_path: Path) -> None:
    """After kill -9: the same secrets, messages and reactions, and the events that were not acknowledged come again."""
    data = tmp_path / "data"
    first = Running(data)
    with first.sockets() as app, connect(f"ws://127.0.0.1:{first.port}/client/socket?user={ANA}", proxy=None) as window:
        assert json.loads(app.recv(5))["type"] == "hello"
        assert json.loads(window.recv(5))["type"] == "hello"
        posted = first.api("chat.postMessage", channel=INCIDENTS, text="card")
        first.does("reaction", channel=INCIDENTS, ts=posted["ts"], name="eyes")
        told: list[dict[str, Any]] = [json.loads(app.recv(5)) for _ in range(2)]
        assert [json.loads(window.recv(5))["type"] for _ in range(2)] == ["message", "reaction"]
        before = first.http.get("/client/boot", params={"user": ANA}).json()
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
    assert sorted(one["payload"]["event"]["type"] for one in told) == ["message", "reaction_added"]

    second = Running(data)
    try:
        assert second.secrets == first.secrets
        again = second.http.get("/client/boot", params={"user": ANA}).json()
        assert (again["channels"], again["users"]) == (before["channels"], before["users"])
        found = second.http.get("/client/messages", params={"user": ANA, "channel": INCIDENTS}).json()["messages"][0]
        assert (found["ts"], found["reactions"][0]["name"]) == (posted["ts"], "eyes")
        with second.sockets() as app:
            events = set()
            while len(events) < 2:
                envelope = json.loads(app.recv(5))
                if envelope["type"] != "events_api":
                    continue
                assert envelope["accepts_response_payload"] is False
                app.send(json.dumps({"envelope_id": envelope["envelope_id"]}))
                events.add(envelope["payload"]["event_id"])
        assert events == {one["payload"]["event_id"] for one in told}
        later = second.api("chat.postMessage", channel=INCIDENTS, text="later")
        assert later["ts"] > posted["ts"]
    finally:
        second.end()


def test_the_secrets_are_for_the_owner_only(running: Running) -> None:
    """app.json has mode 0600 and names what the app needs."""
    mode = stat.S_IMODE((running.data / "app.json").stat().st_mode)
    assert mode == 0o600
    assert {"bot_token", "app_token", "signing_secret", "bot_user_id", "team_id", "app_id"} <= set(running.secrets)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "[::1"},
        {"origin": "http://[::1"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    ],
)
def test_other_web_pages_cannot_act(running: Running, headers: dict[str, str]) -> None:
    """A foreign Host (DNS rebinding) or Origin is refused for reading and writing."""
    for answer in (
        running.http.get("/client/boot", params={"user": ANA}, headers=headers),
        running.http.post("/client/message", json={"user": ANA, "channel": INCIDENTS, "text": "x"}, headers=headers),
    ):
        assert answer.status_code == 403
    with pytest.raises(InvalidStatus):
        connect(f"ws://127.0.0.1:{running.port}/client/socket?user={ANA}", origin="http://evil.example", proxy=None)


def test_a_form_cannot_speak_for_a_person(running: Running) -> None:
    """Only JSON is taken, which a cross-site form cannot send."""
    answer = running.http.post("/client/message", content=b'{"user":"U01ANA0000"}', headers={"content-type": "text/plain"})
    assert answer.status_code == 415


def test_bodies_are_bounded_and_rubbish_is_named(running: Running) -> None:
    """Too big is 413, broken JSON, wrong shapes and wrong people are refusals, never a 500."""
    auth = {"authorization": f"Bearer {running.secrets['bot_token']}", "content-type": "application/json"}
    big = running.http.post("/api/chat.postMessage", content=b"x" * 1_000_001, headers=auth)
    assert (big.status_code, big.json()["error"]) == (413, "request_too_large")
    for body, error in ((b"{", "invalid_json"), (b"[]", "json_not_object"), (b"\xff", "invalid_json"), (b"[" * 100_000, "invalid_json")):
        assert running.http.post("/api/chat.postMessage", content=body, headers=auth).json()["error"] == error
    for body, error in (({}, "user_not_found"), ({"user": "U01MUSTER0"}, "user_not_found"), ([1], "json_not_object")):
        answer = running.http.post("/client/message", json=body)
        assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert running.http.get("/client/messages", params={"user": ANA, "channel": "C0"}).json()["error"] == "channel_not_found"
    assert running.http.get("/client/messages", params={"user": ANA, "channel": INCIDENTS, "limit": "x"}).status_code == 400


def test_calls_may_be_form_json_or_query(running: Running) -> None:
    """The same method answers alike however its arguments come; the token may be an argument."""
    token = running.secrets["bot_token"]
    answers = [
        running.http.get("/api/users.info", params={"token": token, "user": ANA}),
        running.http.post("/api/users.info", data={"token": token, "user": ANA}),
        running.http.post("/api/users.info", json={"user": ANA}, headers={"authorization": f"Bearer {token}"}),
        running.http.post("/api/users.info", files={"user": (None, ANA)}, headers={"authorization": f"Bearer {token}"}),
    ]
    assert [answer.json()["user"]["name"] for answer in answers] == ["ana"] * 4
    assert "chat:write" in answers[0].headers["x-oauth-scopes"]


def test_too_many_calls_are_429_with_retry_after(running: Running) -> None:
    """Harsh limits answer the second message at once with HTTP 429 and the seconds to wait."""
    assert running.http.post("/client/admin", json={"harsh": True}).json()["harsh"] is True
    auth = {"authorization": f"Bearer {running.secrets['bot_token']}"}
    answers = [running.http.post("/api/chat.postMessage", json={"channel": INCIDENTS, "text": "x"}, headers=auth) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert (answers[1].headers["retry-after"], answers[1].json()["error"]) == ("1", "ratelimited")


@pytest.mark.parametrize(("mode", "status", "posted"), [("error_500", 500, 0), ("succeed_but_500", 500, 1), ("ratelimited", 429, 0)])
def test_the_api_fails_as_told_and_as_often_as_told(running: Running, mode: str, status: int, posted: int) -> None:
    """A spell hits the named method only, the given number of times, before or after the work is done."""

    def shown() -> int:
        query = {"user": ANA, "channel": INCIDENTS}
        return len(running.http.get("/client/messages", params=query).json()["messages"])

    before = shown()
    spell = {"mode": mode, "count": 1, "method": "chat.postMessage"}
    assert running.http.post("/client/admin", json={"chaos": spell}).json()["chaos"] == {"mode": mode, "count": 1}
    auth = {"authorization": f"Bearer {running.secrets['bot_token']}"}
    assert running.http.post("/api/auth.test", headers=auth).status_code == 200
    about = {"channel": INCIDENTS, "text": "x"}
    assert running.http.post("/api/chat.postMessage", json=about, headers=auth).status_code == status
    assert shown() == before + posted
    assert running.http.post("/api/chat.postMessage", json=about, headers=auth).json()["ok"] is True


def test_a_ticket_opens_one_connection_and_ten_are_the_most(running: Running) -> None:
    """A used or invented ticket is refused; the eleventh connection is told too_many_websockets."""
    with contextlib.ExitStack() as stack:
        for number in range(1, 11):
            app = stack.enter_context(running.sockets())
            assert json.loads(app.recv(5))["num_connections"] == number
        eleventh = stack.enter_context(running.sockets())
        assert json.loads(eleventh.recv(5))["reason"] == "too_many_websockets"
        with pytest.raises(ConnectionClosed):
            eleventh.recv(5)
    with pytest.raises(InvalidStatus):
        connect(f"ws://127.0.0.1:{running.port}/link/?ticket=guess", proxy=None)


def test_one_of_several_connections_gets_each_payload(running: Running) -> None:
    """With two connections each event comes to one of them, once."""
    with running.sockets() as one, running.sockets() as two:
        for app in (one, two):
            assert json.loads(app.recv(5))["type"] == "hello"
        for number in range(4):
            running.does("message", channel=INCIDENTS, text=f"shared {number}")
        heard = {one: [], two: []}
        deadline = time.monotonic() + 8
        while sum(map(len, heard.values())) < 4 and time.monotonic() < deadline:
            for app, texts in heard.items():
                with contextlib.suppress(TimeoutError):
                    envelope = json.loads(app.recv(0.1))
                    app.send(json.dumps({"envelope_id": envelope["envelope_id"]}))
                    texts += [text for text in [envelope["payload"]["event"].get("text", "")] if text.startswith("shared")]
    assert sorted(heard[one] + heard[two]) == [f"shared {number}" for number in range(4)]


def test_a_permalink_leads_to_the_message(running: Running) -> None:
    """chat.getPermalink has Slack's form and leads to the place in the browser front."""
    ts = running.api("chat.postMessage", channel=INCIDENTS, text="x")["ts"]
    link = running.api("chat.getPermalink", channel=INCIDENTS, message_ts=ts)["permalink"]
    assert link == f"{running.url}/archives/{INCIDENTS}/p{ts.replace('.', '')}"
    assert running.http.get(link).headers["location"] == f"/#/channel/{INCIDENTS}/{ts}"


def test_a_wrong_manifest_stops_the_start(tmp_path: Path) -> None:
    """The reason is printed and the exit status is 2."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("display_information: {name: ''}")
    command = [sys.executable, "-m", "bot.workspace", "--data", str(tmp_path / "d"), "--manifest", str(wrong)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "display_information.name: must be 1 to 35 characters" in run.stderr
