"""Attacks on the guard, as somebody would try them: nothing gets through, and each attempt stands in the record."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bot.app import Muster
from bot.configuration import DEFAULT
from bot.ports import Press, PressKind, Visitor
from runbooks.run import RunState
from runbooks.timeline import OWN
from storage import ledger
from tests.between import button_payload
from tests.inside import ANA, BEN, EVA, INCIDENTS, Inside, inside, text_of
from tests.scenario.test_drills import begin
from tests.scenario_alerts import alert
from tests.stack import Stack

pytestmark = [pytest.mark.slow]
BOT = "U01MUSTER0"
NOBODY = "U0STRANGER"
RELEASE = "release/reranker-v3"


def refused(stack: Inside, number: int = 1) -> list[tuple[str, str]]:
    """Attempts on record: who, and the reason."""
    return [(entry.actor.slack_id or entry.actor.id, entry.payload["reason"]) for entry in stack.entries(number, kind="attempt.refused")]


def on_record(stack: Inside, who: str, reason: str, number: int = 1) -> None:
    """The attempt comes to stand on record."""
    stack.until(lambda: (who, reason) in refused(stack, number), what=f"{who} and {reason} on record: {refused(stack, number)}", patience=5)


def nothing_ran(stack: Inside) -> bool:
    """Nothing was started, and the far side counts no change."""
    return not [run for run in stack.runs() if run.started_at] and stack.changes() == 0


def waiting(stack: Inside) -> dict[str, Any]:
    """A rollback that ana asks for and that waits for somebody else; the press that would approve it."""
    stack.incident_with_card("slow_release", unit="reranker-v3")
    stack.submitted(stack.plan("Roll back"))
    run = stack.until(lambda: stack.run_in("awaiting approval"), what="the request", patience=10)
    assert run.plan is not None
    return {"k": "approve", "i": 1, "s": run.step, "r": run.id, "h": run.plan.hash, "n": run.runbook.version}


@pytest.mark.parametrize("kind", ["plan", "run_now", "confirm", "approve", "undo", "cancel", "worked"])
def test_a_person_without_the_right_gets_nowhere(stack: Inside, kind: str) -> None:
    """Whichever button of the run somebody without a right presses: refused, on record, and nothing changes."""
    press = waiting(stack)
    before = stack.target(RELEASE)["version"]
    told = stack.forged(EVA, **{**press, "k": kind})
    assert told
    assert not [run for run in stack.runs() if run.started_at]
    assert stack.target(RELEASE)["version"] == before
    if kind not in {"confirm", "undo", "worked"}:  # there, the run's own state answers first, the same to everybody
        on_record(stack, EVA, "not_granted")


FORGED = {
    "a step that nobody declared": ({"k": "plan", "i": 1, "s": "drop-the-database"}, 1, "undeclared"),
    "an incident that is not": ({"k": "plan", "i": 999, "s": "scale-out"}, OWN, "not_found"),
    "a run that is not": ({"k": "approve", "i": 1, "r": 999, "h": "0" * 64}, 1, "not_found"),
    "past the dialog": ({"k": "run_now", "i": 1, "s": "scale-out"}, 1, "needs_dialog"),
    "of another version": ({"k": "plan", "i": 1, "s": "scale-out", "n": 77}, 1, "stale_version"),
    "of another runbook": ({"k": "plan", "i": 1, "s": "scale-out", "b": "cost-spike"}, 1, "stale_runbook"),
    "long expired": ({"k": "plan", "i": 1, "s": "scale-out", "e": 1_600_000_000}, 1, "expired"),
    "a kill switch on a button": ({"k": "resume"}, OWN, "not_granted"),
    "a breaker on a button": ({"k": "reset", "b": "no-such", "s": "scale-out"}, OWN, "in_service"),
}


@pytest.mark.parametrize(("press", "number", "reason"), FORGED.values(), ids=FORGED.keys())
def test_a_forged_button_does_nothing(stack: Inside, press: dict[str, Any], number: int, reason: str) -> None:
    """A value that Muster never wrote, truly signed by Slack: a sentence, a row on record, and no run."""
    stack.incident_with_card()
    assert stack.forged(ANA, **press)
    if reason != "in_service":  # which is true, and no attempt on anything
        on_record(stack, ANA, reason, number)
    assert nothing_ran(stack)


@pytest.mark.parametrize(
    "value", ["", "rubbish", '{"v":1,"k":"approve","i":-1}', '{"v":1,"k":"rm -rf"}', '{"v":1,"k":"undo","r":"1 OR 1=1"}', "[" * 900]
)
def test_a_button_that_cannot_be_read_is_on_record(stack: Inside, value: str) -> None:
    """Rubbish in a button's value is answered with a sentence and stands in Muster's own record."""
    stack.incident_with_card()
    payload = button_payload(user=ANA, channel=INCIDENTS, press={"k": "plan", "i": 1, "s": "scale-out"})
    payload["actions"][0]["value"] = value
    assert stack.slack(payload).status_code == 200
    on_record(stack, ANA, "unreadable", OWN)
    assert nothing_ran(stack)


def test_a_plan_cannot_be_swapped_under_the_click(stack: Inside) -> None:
    """The hash of another plan, on the very run: refused, on record; the plan that was shown still runs."""
    stack.incident_with_card()
    view = stack.plan()
    run = stack.runs()[-1]
    by = Visitor(slack_id=ANA, channel=INCIDENTS, interaction="forged-hash")
    press = Press(kind=PressKind.CONFIRM, incident_id=1, step="scale-out", run_id=run.id, plan_hash="0" * 64)
    stack.the.desk.submit(press, {}, by)
    on_record(stack, ANA, "plan_changed")
    assert nothing_ran(stack)
    stack.submitted(view)
    stack.until(lambda: stack.run_in("verifying"), what="the honest run", patience=10)


def test_an_approval_by_the_requester_by_a_bot_or_by_nobody_does_not_count(stack: Inside) -> None:
    """Who asked, Muster's own bot, and a Slack id that nobody configured: each is refused by its own reason, and the request still waits."""
    press = waiting(stack)
    stack.forged(ANA, **press)
    for who in (BOT, NOBODY):
        stack.slack(button_payload(user=who, channel=INCIDENTS, press=press))
    for who, reason in ((ANA, "own_request"), (BOT, "unknown_person"), (NOBODY, "unknown_person")):
        on_record(stack, who, reason)
    run = stack.run_in("awaiting approval")
    assert run is not None
    assert not run.approvals
    assert not run.started_at


def test_an_approval_after_drift_starts_nothing(stack: Inside) -> None:
    """Approved after somebody else has changed the target: the run is refused on record, and the other's change stands."""
    press = waiting(stack)
    releases = stack.http.get(f"{stack.simulation}/releases/reranker-v3").json()["versions"]
    present = stack.target(RELEASE)["value"]
    other = next(one["version"] for one in releases if one["version"] not in json.dumps(present))
    stack.put({**present, "version": other}, RELEASE)
    version = stack.target(RELEASE)["version"]
    stack.slack(button_payload(user=BEN, channel=INCIDENTS, press=press))
    stack.settle()
    run = stack.until(lambda: stack.run_in("refused"), what="the refusal", patience=10)
    assert "Nothing was changed" in run.reason
    assert stack.entries(kind="run.refused")
    assert stack.target(RELEASE)["version"] == version


def test_an_approval_after_expiry_is_refused_and_on_record(stack: Inside) -> None:
    """Half an hour later the request has lapsed: a late yes changes nothing and stands on record."""
    press = waiting(stack)
    before = stack.target(RELEASE)["version"]
    stack.skip(45 * 60)
    assert stack.run_in("expired")
    assert "Nothing to decide any more" in stack.forged(BEN, **press)
    on_record(stack, BEN, "nothing_to_decide")
    stack.settle()
    assert stack.runs()[-1].state is RunState.EXPIRED
    assert stack.target(RELEASE)["version"] == before


@contextmanager
def trap() -> Iterator[tuple[str, list[str]]]:
    """A server that nobody should ever ask, with what it was asked: a cloud's metadata service, or a real backend."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def _any(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        do_GET = do_POST = do_PUT = _any  # noqa: N815 - http.server's names

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


PAGE = """diagnostics:
  - id: page
    title: Its page
    uses: http.get
    with: {url: "/targets/pool/inference/{{ alert.labels.model | urlencode }}"}
"""


def test_a_label_becomes_no_address(ground: Stack, tmp_path: Path, sqlite_url: str) -> None:
    """Labels that are addresses, a metadata service's and a detour among them, are asked of nobody; raw in an address they do not load."""
    edits = {"inference-latency.md": lambda source: source.replace("diagnostics:\n", PAGE, 1)}
    with trap() as (url, asked), inside(ground, tmp_path, database_url=sqlite_url, edits=edits) as stack:
        for number, hostile in enumerate(
            (f"{url}/latest/meta-data", "http://169.254.169.254/latest/meta-data/", f"../../../@{url[7:]}/x"), 1
        ):
            payload = alert(model=hostile, service=f"answers-{number}")
            payload["alerts"][0]["fingerprint"] = f"f{number}"
            assert stack.alert(payload).status_code == 202
            stack.settle()
            found = stack.until(lambda n=number: measured(stack, n), what="the diagnosis", patience=15)  # type: ignore[misc]
            assert found["error"]
            assert found["value"] is None
        assert asked == []
        assert stack.changes() == 0
    raw = {"inference-latency.md": lambda source: source.replace("diagnostics:\n", PAGE.replace(" | urlencode", ""), 1)}
    with inside(ground, tmp_path, database_url=sqlite_url, edits=raw) as stack:
        assert "inference-latency" not in {runbook.id for runbook in stack.the.library.all}
        assert any("raw into an address" in str(problem) for problem in stack.the.library.problems)


def measured(stack: Inside, number: int) -> dict[str, Any] | None:
    seen = [entry.payload for entry in stack.entries(number, kind="diagnostic.measured")]
    return next((payload for payload in seen if payload["diagnostic"] == "page"), None)


def test_a_label_becomes_no_parameter_and_no_template(stack: Inside) -> None:
    """Labels named like parameters, and values that are templates, change no plan: what runs is what the runbook says."""
    stack.fault("traffic", factor=2.5)
    stack.advance(60, step=20)
    payload = alert(replicas="16", parameters="{'replicas': 16}", target="release/reranker-v3", tier="R0", approval="none")
    payload["alerts"][0]["annotations"]["summary"] = (
        "{{ parameters.replicas }} {{ ''.__class__.__mro__ }} {% for x in range(9) %}!{% endfor %}"
    )
    assert stack.alert(payload).status_code == 202
    stack.settle()
    stack.until(stack.diagnosed, what="the card", patience=15)
    shown = text_of(stack.plan())
    assert "2 → 4 replicas" in shown
    assert "R1" in shown
    assert "<class" not in json.dumps(stack.card(1))
    assert nothing_ran(stack)


SILENCE = "uses: alert.silence\n    with: {matchers: 'alertname=ModelLatencyP99High', minutes: 30, reason: we know}"


def test_a_drill_cannot_reach_a_real_backend(ground: Stack, tmp_path: Path, sqlite_url: str) -> None:
    """In a drill, an action of a backend that only production has finds none; and a real one stays as it was, whatever is pressed."""
    with trap() as (url, asked):
        silencing = f"backends:\n  silences: {{kind: alertmanager, environment: production, url: '{url}'}}\n"
        edits = {"inference-latency.md": silenced}
        with inside(ground, tmp_path, database_url=sqlite_url, configuration=f"{DEFAULT.read_text()}\n{silencing}", edits=edits) as stack:
            before = stack.target()
            begin(stack)
            stack.until(lambda: stack.entries(kind="diagnostic.measured"), what="the diagnosis", patience=15)
            view = stack.plan("Skip", BEN)
            assert not view.get("submit")
            assert "No backend" in text_of(view)
            assert asked == []
            assert stack.entries(kind="run.refused")
            stack.ran(user=BEN)
            assert stack.target() == before
            assert asked == []
            assert stack.chain_holds()


def silenced(source: str) -> str:
    """The runbook with an action on a backend that no simulated world has."""
    return source.replace("uses: flag.disable\n    with: {flag: rerank}", SILENCE, 1)


def test_two_replicas_clicking_at_once_on_postgresql(ground: Stack, tmp_path: Path, postgres_url: str) -> None:
    """Two people confirm two plans of one action on two replicas at the same moment: one change; who lost is refused, on record."""
    with inside(ground, tmp_path, database_url=postgres_url) as stack:
        other = Muster(
            settings=stack.the.settings.model_copy(update={"slack_app_token": None}),
            configuration=stack.the.configuration,
            secrets=stack.the.secrets,
            library=stack.the.library,
        )
        other.start()
        try:
            stack.incident_with_card()
            presses = {user: planned(stack, user) for user in (ANA, BEN)}
            desks = [(stack.the.desk, ANA), (other.desk, BEN), (other.desk, ANA), (stack.the.desk, BEN)]
            together([lambda desk=desk, user=user: desk.submit(presses[user], {}, visitor(user, desk)) for desk, user in desks])  # type: ignore[misc]
            stack.settle()
            stack.until(lambda: stack.run_in("verifying", "verified"), what="the one run", patience=20)
            assert len([run for run in stack.runs() if run.started_at]) == 1
            assert stack.changes() == 1
            lost = stack.entries(kind="attempt.refused") or stack.entries(kind="run.refused")
            assert lost
            assert stack.database.read(ledger.verify).ok
        finally:
            other.stop()


def visitor(user: str, desk: Any) -> Visitor:
    return Visitor(slack_id=user, channel=INCIDENTS, interaction=f"{user}-{id(desk)}")


def planned(stack: Inside, user: str) -> Press:
    """A plan of the action by this person, and the press that would run it."""
    stack.plan(user=user)
    run = [run for run in stack.runs() if run.state is RunState.PLANNED][-1]
    assert run.plan is not None
    return Press(kind=PressKind.CONFIRM, incident_id=1, step=run.step, run_id=run.id, plan_hash=run.plan.hash)


def together(acts: list[Any]) -> None:
    """Do several things at the same moment."""
    gate = threading.Barrier(len(acts))

    def one(act: Any) -> None:
        gate.wait()
        act()

    threads = [threading.Thread(target=one, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
