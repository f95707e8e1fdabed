"""The story from the command line alone, as on a night when Slack is down: through the server's socket."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime

import httpx
import pytest

from runbooks.drill import Drill
from storage import drills, incidents, runs
from tests.opened import SECRETS, TOKENS, configured
from tests.stack import Stack, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything runs; whoever runs the tests is Ben; the folder lies deeper than a socket's address may be long."""
    folder = tmp_path_factory.mktemp("deep") / ("a-folder-with-a-long-name-" * 4)
    with running(folder, quick=True, muster=False) as one:
        one.configured = lambda text: configured(text).replace(TOKENS, "")
        one.start_muster()
        yield one


def muster(stack: Stack, *words: str, expected: int = 0) -> str:
    """Run a command as a person would, in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MUSTER_", "SLACK_"))}
    environment = {**clean, **SECRETS, "MUSTER_DATABASE_URL": stack.database_url}
    done = subprocess.run(
        [sys.executable, "-m", "bot", *words],
        cwd=stack.folder.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == expected, (words, done.stdout, done.stderr)
    return done.stdout


def test_the_story_from_the_command_line(stack):
    """Alert, acknowledge, plan, run, proven, resolved with a carrier, post-mortem: every step through the socket, once each."""
    stack.advance(30)
    stack.fault("traffic", factor=2.5)
    stack.advance_until(lambda: stack.database.read(incidents.open_ones), what="the incident")
    number = stack.database.read(incidents.open_ones)[0].id
    muster(stack, "incident", "ack", str(number))
    planned = json.loads(muster(stack, "action", "plan", str(number), "scale-out", "--json"))
    assert planned["run"]["plan"]["proposal"]["before_text"] == "2 replicas"
    ran = json.loads(muster(stack, "action", "run", str(number), "scale-out", "--yes", "--no-wait", "--json"))
    verdict = stack.advance_until(lambda: stack.database.read(lambda tx: runs.get(tx, ran["id"])).verdict, what="the verdict")
    assert verdict.value == "verified"
    assert "is verified" in muster(stack, "action", "show", str(ran["id"]))
    asked = json.loads(muster(stack, "action", "run", str(number), "previous-release", "--yes", "--no-wait", "--json"))
    assert asked["state"] == "awaiting approval"
    assert muster(stack, "action", "approve", str(asked["id"]), expected=4) == ""  # nobody approves their own request (rule S8)
    assert "nothing was changed" in muster(stack, "action", "cancel", str(asked["id"]))
    missing = muster(stack, "incident", "resolve", str(number), "Scaled out", expected=2)
    assert missing == ""
    (change,) = json.loads(muster(stack, "action", "open", "--json"))["items"]
    muster(stack, "incident", "resolve", str(number), "Scaled out", "--mitigation", f"{change['id']}=hand", "--carrier", "ana")
    assert muster(stack, "timeline", "verify").startswith("The record holds")
    draft = muster(stack, "postmortem", "draft", str(number))
    assert "Scaled out" in draft
    executed = [run for run in stack.database.read(lambda tx: runs.of_incident(tx, number)) if run.executed_at]
    assert len(executed) == 1
    assert executed[0].requested_via == "cli"
    undone = json.loads(muster(stack, "action", "undo", str(ran["id"]), "--no-wait", "--json"))
    assert undone["state"] == "undoing"


def test_a_drill_from_the_command_line(stack):
    """A drill is planned, started, aborted and reported without Slack, and its incident is marked."""
    made = json.loads(muster(stack, "drill", "plan", "provider-degradation", "--json"))["drill"]
    muster(stack, "drill", "start", str(made["id"]))
    drill = stack.until(lambda: _begun(stack, made["id"]), what="the drill")
    assert "DRILL · " in muster(stack, "incident", "show", str(drill.incident_id))
    muster(stack, "drill", "abort", str(made["id"]))
    assert "aborted" in muster(stack, "drill", "report", str(made["id"]))


def _begun(stack: Stack, number: int) -> Drill | None:
    drill = stack.database.read(lambda tx: drills.get(tx, number))
    return drill if drill.incident_id else None


def test_the_clock_moves_both_worlds(stack):
    """One command drives Muster and the simulated service by the same time."""
    before = json.loads(muster(stack, "status", "--json"))["now"]
    there = httpx.get(f"{stack.simulation}/clock").json()
    after = json.loads(muster(stack, "clock", "advance", "2h", "--json"))["now"]
    moved = (datetime.fromisoformat(after) - datetime.fromisoformat(before)).total_seconds()
    assert 7200 <= moved < 7200 + 120
    assert httpx.get(f"{stack.simulation}/clock").json() != there


def test_only_the_owner_may_open_the_socket_and_a_stale_one_is_replaced(stack):
    """The socket is 0600; after kill -9 it is left behind, the next start takes its place, and an orderly end removes it."""
    path = stack.folder / "muster.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_ISSOCK(path.stat().st_mode)
    stack.kill()
    assert path.exists()
    assert "No server" in muster(stack, "status")
    stack.start_muster()
    assert muster(stack, "status").startswith("Muster runs.")
    process = stack.processes["muster"]
    process.terminate()
    process.wait(timeout=20)
    assert not path.exists()
    stack.start_muster()


def test_over_tcp_the_same_api_needs_a_token(stack):
    """What the socket answers without a token, the port refuses; pages on the loopback address are shown."""
    assert stack.http.get(f"{stack.url}/api/v1/incidents").status_code == 401
    assert stack.http.get(f"{stack.url}/incidents").status_code == 200
    assert stack.http.get(f"{stack.url}/api/v1/openapi.json").status_code == 200
    forged = {"X-Forwarded-For": "unix", "Forwarded": "for=unix"}
    assert stack.http.get(f"{stack.url}/api/v1/incidents", headers=forged).status_code == 401
