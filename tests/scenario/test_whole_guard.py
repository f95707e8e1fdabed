"""The rest of the guard, one scenario or more for each rule, named by its id: freezes, deploys, blast radius, limits, breaker, kill switch."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from bot.configuration import DEFAULT
from bot.ports import Press, PressKind, Visitor
from runbooks.run import RunState
from storage import breakers, measurements
from tests.between import Proxy, proxied
from tests.inside import ANA, BEN, CHIKA, EVA, INCIDENTS, Inside, inside, text_of
from tests.scenario_alerts import alert
from tests.stack import TOKEN, Stack

pytestmark = [pytest.mark.slow]
LONG = "from: 2026-01-01, until: 2036-01-01, reason: end of the year"
REASON = "Customers cannot pay, and the freeze lasts for weeks."
LATENCY = "inference-latency"


@contextmanager
def configured(ground: Stack, tmp_path: Path, url: str, *lines: str, **more: Any) -> Iterator[Inside]:
    """A Muster with these lines in its muster.yaml besides."""
    with inside(ground, tmp_path, database_url=url, configuration="\n".join([DEFAULT.read_text(), *lines, ""]), **more) as stack:
        yield stack


def replicas(stack: Inside) -> int:
    return int(stack.target()["value"]["replicas"])


def started(stack: Inside) -> list[Any]:
    return [run for run in stack.runs() if run.started_at]


def refusals(stack: Inside, number: int = 1) -> list[str]:
    return [entry.payload["reason"] for entry in stack.entries(number, kind="attempt.refused")]


def told_alone(stack: Inside, user: str, words: str) -> dict[str, Any]:
    """A direct message that says this, once it has come."""
    return stack.until(
        lambda: next((one for one in stack.direct(user) if words in one["text"]), None), what=f"the word about {words!r}", patience=10
    )


def scaling_is_wide(source: str) -> str:
    """The runbook with its scaling one tier higher, which is no safe first action any more."""
    wide = source.replace("tier: R1\n    uses: cluster.scale", "tier: R2\n    uses: cluster.scale")
    return wide.replace("safe_actions: [scale-out, ", "safe_actions: [").replace("approval: none", "approval: one", 1)


def test_s3_a_runbook_may_raise_a_tier_and_never_lower_it(ground: Stack, tmp_path: Path, sqlite_url: str) -> None:
    """A runbook that calls a rollback R1 is not taken at all, with the reason; one that calls scaling R2 gets another person's approval."""
    lowered = {"inference-latency.md": lambda source: source.replace("tier: R2", "tier: R1").replace("approval: one", "approval: none")}
    with inside(ground, tmp_path, database_url=sqlite_url, edits=lowered) as stack:
        assert LATENCY not in {runbook.id for runbook in stack.the.library.all}
        assert any("R2" in str(problem) and LATENCY in str(problem) for problem in stack.the.library.problems)
    raised = {"inference-latency.md": scaling_is_wide}
    with inside(ground, tmp_path, database_url=sqlite_url, edits=raised) as stack:
        stack.incident_with_card()
        view = stack.plan("Scale")
        assert "R2" in text_of(view)
        assert view["submit"]["text"] != "Run it"


def test_s9_a_freeze_holds_whoever_may_not_override_it(ground: Stack, tmp_path: Path, sqlite_url: str) -> None:
    """Frozen: the plan is shown without a button, with the freeze's name, its end, and who can override it; the card says so as well."""
    lines = ("freezes:", f"  - {{{LONG}, services: [answers]}}")
    configuration = "\n".join([DEFAULT.read_text(), *lines, ""]).replace("run: R2, approve: R2}", "run: R2}")
    with inside(ground, tmp_path, database_url=sqlite_url, configuration=configuration) as stack:
        card = stack.incident_with_card()
        assert "frozen until" in json.dumps(card, ensure_ascii=False)
        view = stack.plan()
        assert not view.get("submit")
        told = text_of(view)
        assert "end of the year freezes changes until 01 Jan 2036" in told.replace("End", "end")
        assert "Ben Okafor" in told
        assert "Ana Silva" not in told.split("freezes changes", maxsplit=1)[1].split("can override")[0]
        run = stack.runs()[-1]
        press = Press(kind=PressKind.CONFIRM, incident_id=1, step="scale-out", run_id=run.id, plan_hash=run.plan.hash if run.plan else "")
        reply = stack.the.desk.submit(press, {"override_freeze": REASON}, Visitor(slack_id=ANA, interaction="forged"))
        assert "you may not override this" in str(reply.whisper)
        assert refusals(stack)[-1] == "not_granted"
        assert not started(stack)
        assert replicas(stack) == 2


def test_s9_overridden_explicitly_on_record_and_told(ground: Stack, tmp_path: Path, sqlite_url: str) -> None:
    """Who may approve the tier may override the freeze for one run, with a reason: on the timeline, and told to the leads."""
    with configured(ground, tmp_path, sqlite_url, "freezes:", f"  - {{{LONG}}}") as stack:
        stack.incident_with_card()
        view = stack.plan()
        assert "Held up" in text_of(view)
        assert view["submit"]["text"] == "Run it"
        assert "in a sentence" in stack.submitted(view, stack.choose(view, "cannot wait", "now"))
        assert not started(stack)
        view = stack.plan()
        stack.submitted(view, stack.choose(view, "cannot wait", REASON))
        run = stack.until(lambda: stack.run_in("verifying"), what="the run", patience=10)
        assert run.freeze_override is not None
        assert (run.freeze_override.by, run.freeze_override.names) == ("ana", ("end of the year",))
        assert [entry.payload["reason"] for entry in stack.entries(kind="run.freeze_overridden")] == [REASON]
        told_alone(stack, BEN, "overrides end of the year")
        assert replicas(stack) == 4


def test_s9_a_window_that_comes_again_says_its_end_by_its_own_clocks(ground: Stack, tmp_path: Path, sqlite_url: str) -> None:
    """Every yesterday, today and tomorrow is frozen: card, plan and override say until which day and time, by the clocks of the zone."""
    today = datetime.now(ZoneInfo("Asia/Kolkata")).date()
    days = ", ".join(f"{today + timedelta(days=shift):%A}".lower() for shift in (-2, -1, 0, 1, 2))
    line = f"  - {{every: [{days}], zone: Asia/Kolkata, reason: the stocktaking}}"
    with configured(ground, tmp_path, sqlite_url, "freezes:", line) as stack:
        end = f"until {today + timedelta(days=3):%a} 00:00 Asia/Kolkata (18:30 UTC"
        assert f"frozen {end}" in json.dumps(stack.incident_with_card(), ensure_ascii=False)
        view = stack.plan()
        held = text_of(view)
        assert "Held up" in held
        assert "stocktaking freezes changes until" in held
        assert "00:00 Asia/Kolkata" in held
        stack.submitted(view, stack.choose(view, "cannot wait", REASON))
        run = stack.until(lambda: stack.run_in("verifying"), what="the run", patience=10)
        assert run.freeze_override is not None
        assert run.freeze_override.names == ("the stocktaking",)


def test_s9_undo_is_never_frozen(ground: Stack, tmp_path: Path, sqlite_url: str) -> None:
    """Whatever was done before the freeze, or through it, can be taken back while it lasts."""
    with configured(ground, tmp_path, sqlite_url, "freezes:", f"  - {{{LONG}}}") as stack:
        stack.incident_with_card()
        view = stack.plan()
        stack.submitted(view, stack.choose(view, "cannot wait", REASON))
        stack.advance_until(lambda: stack.run_in("verified"), what="the verdict", most=600)
        stack.pressed("Undo", stack.run_message("Undo", saying="Verified"))
        stack.settle()
        stack.until(lambda: stack.run_in("undone"), what="the undo", patience=10)
        assert replicas(stack) == 2


def test_s9_a_freeze_holds_only_what_it_covers(ground: Stack, tmp_path: Path, sqlite_url: str) -> None:
    """A freeze that covers other tiers, services or environments holds nobody up."""
    lines = ("freezes:", f"  - {{{LONG}, tiers: [R2, R3]}}", f"  - {{{LONG.replace('2026-01-01', '2035-12-01')}}}")
    with configured(ground, tmp_path, sqlite_url, *lines) as stack:
        stack.incident_with_card()
        view = stack.plan()
        assert "Held up" not in text_of(view)
        stack.submitted(view)
        stack.until(lambda: stack.run_in("verifying"), what="the run", patience=10)


def changed(stack: Inside, state: str, *, key: str = "build-812") -> None:
    """What the delivery pipeline says of a deploy."""
    body = {"key": key, "kind": "deploy", "title": "answers 8.1.2", "service": "answers", "author": "cleo", "state": state}
    answer = stack.http.post(f"{stack.url}/changes/simulation", json=body, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 202, answer.text


def test_s5_a_deploy_that_runs_is_said_and_holds_up_what_is_wide(stack: Inside) -> None:
    """While the service is being deployed, R1 is only told; R2 waits for the deploy's end, which frees it at once."""
    stack.incident_with_card("slow_release", unit="reranker-v3")
    changed(stack, "started")
    assert '"answers 8.1.2" is under way' in text_of(stack.plan("Cap"))
    view = stack.plan("Roll back")
    assert "Held up" in text_of(view)
    assert "by cleo began" in text_of(view)
    changed(stack, "finished")
    view = stack.plan("Roll back")
    assert view.get("submit")
    assert "Held up" not in text_of(view)
    assert "under way" not in text_of(view)


def test_s13_a_ceiling_and_a_floor_of_the_runbook(ground: Stack, tmp_path: Path, sqlite_url: str) -> None:
    """Scaling in by more than the runbook's share, or below its floor, has no button; what only adds runs."""

    def guarded(source: str) -> str:
        return source.replace('at_most: 2, requires: {cpu: "> 0.8"}}', "at_most: 2, most: 50%, floor: 3}", 1)

    with inside(ground, tmp_path, database_url=sqlite_url, edits={"inference-latency.md": guarded}) as stack:
        stack.put({"replicas": 8})
        stack.alert(alert())
        stack.settle()
        stack.until(stack.diagnosed, what="the card", patience=15)
        stack.advance(60, step=20)  # until all eight are ready
        view = stack.plan()
        stack.submitted(view, stack.choose(view, "Replicas", "2"))
        view = stack.until(lambda: refused_dialog(stack), what="the refusal", patience=10)
        assert "it touches 6 of 8 (75 %), at most 50 % are allowed; 2 would stay healthy, at least 3 must" in text_of(view)
        assert not started(stack)
        stack.close_views(ANA)
        stack.ran()
        assert replicas(stack) == 10


def refused_dialog(stack: Inside) -> dict[str, Any] | None:
    view = stack.planned()
    return view if view and "Cannot run now" in text_of(view) else None


def test_s14_limits_are_the_operators_and_name_the_time(ground: Stack, tmp_path: Path, sqlite_url: str) -> None:
    """With one run an hour for each person, the second is refused with the time at which it is possible; somebody else still may."""
    with configured(ground, tmp_path, sqlite_url, "limits: {person: 1, window: 1h}") as stack:
        stack.incident_with_card()
        stack.ran()
        view = stack.plan("Cap")
        assert not view.get("submit")
        assert "Ana Silva had 1 runs in 1 h, and 1 is the limit. The next is possible at" in text_of(view)
        assert stack.plan("Skip", BEN).get("submit")


@pytest.fixture
def proxy(ground: Stack) -> Iterator[Proxy]:
    """What spoils changes on their way to the simulated service."""
    with proxied(ground.simulation) as proxy:
        yield proxy


def test_s15_three_bad_ends_take_an_action_out_of_service_everywhere(ground: Stack, tmp_path: Path, sqlite_url: str, proxy: Proxy) -> None:
    """Refused thrice by the far side, the action is out of service after a restart and for everybody, until its owner says what was wrong."""
    edits = {
        "inference-latency.md": lambda source: source.replace("at_most: 2", "at_most: 9", 1).replace("cooldown: 10m", "cooldown: 0s", 1)
    }
    with inside(ground, tmp_path, database_url=sqlite_url, edits=edits, MUSTER_SIMULATION_URL=proxy.url) as stack:
        stack.incident_with_card()
        proxy.mode, proxy.body = "refuse", json.dumps({"error": "the quota is used up"})
        late = stack.plan(user=BEN)
        for number in range(1, 4):
            stack.submitted(stack.plan())
            stack.until(lambda n=number: len(ended(stack)) == n, what=f"the end of run {number}", patience=10)  # type: ignore[misc]
        proxy.mode = "pass"
        assert len(stack.entries(kind="breaker.opened")) == 1
        notice = told_alone(stack, BEN, "failed 3 times in a row")
        assert len([one for one in stack.direct(BEN) if "failed 3 times in a row" in one["text"]]) == 1
        assert any("failed 3 times in a row" in one["text"] for one in stack.thread())
        assert "out of service" in stack.submitted(late, user=BEN)
        stack.again()
        card = stack.until(lambda: stack.card(1), what="the card", patience=10)
        assert "failed 3 times in a row; ml-platform must look first" in stack.pressed("Scale", card, BEN)
        put_back(stack, notice)
        stack.ran(user=BEN)
        assert replicas(stack) == 4


def ended(stack: Inside) -> list[Any]:
    return [run for run in stack.runs() if run.state is RunState.REFUSED and run.started_at]


def put_back(stack: Inside, notice: dict[str, Any]) -> None:
    """Who does not own it may not, by a forged press; a word is no reason; the owner puts it back, on record."""
    assert "its owner or an admin" in stack.forged(CHIKA, k="reset", i=1, s="scale-out", b=LATENCY)
    assert "not_granted" in refusals(stack)
    direct = stack._direct_channel(BEN)
    for reason in ("quota", "The quota was used up; it is raised."):
        stack.close_views(BEN)
        assert stack.press("Put it back", notice, BEN, direct)["ok"]
        view = stack.dialog("What was found", BEN)
        stack.submitted(view, stack.choose(view, "What was found", reason), BEN)
        held = stack.database.read(lambda tx: breakers.get(tx, LATENCY, "scale-out"))
        assert held.is_open is (reason == "quota")
    assert [entry.actor.id for entry in stack.entries(kind="breaker.reset")] == ["ben"]
    stack.close_views(BEN)


def say(stack: Inside, text: str, user: str) -> None:
    """A line in the channel, as a person types it."""
    assert stack.post("workspace", "/client/message", {"user": user, "channel": INCIDENTS, "text": text})["ok"]


def test_s16_only_a_person_with_the_right_pauses_and_resumes(stack: Inside) -> None:
    """In Slack, too: one line stops everything, another lets it go on; who may not is refused, and both stand on record."""
    stack.incident_with_card()
    say(stack, "/muster pause we look first", EVA)
    stack.until(lambda: "not_granted" in refusals(stack, -1), what="the refused attempt", patience=5)
    assert stack.plan().get("submit")
    say(stack, "/muster pause we look first", BEN)
    stack.until(lambda: stack.entries(kind="muster.paused"), what="the pause", patience=5)
    assert "Ben Okafor paused all actions" in text_of(stack.plan())
    say(stack, "/muster resume", EVA)
    assert not stack.plan().get("submit")
    say(stack, "/muster resume", BEN)
    stack.until(lambda: stack.entries(kind="muster.resumed"), what="the word that it goes on", patience=5)
    assert stack.plan().get("submit")
    assert stack.chain_holds()


@contextmanager
def behind_a_token(target: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The service's measurements for whoever brings the token that `door` names; what was brought is kept there."""
    door: dict[str, Any] = {"token": "", "brought": []}
    http = httpx.Client(timeout=10.0)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            door["brought"].append(self.headers.get("Authorization"))
            allowed = self.headers.get("Authorization") == f"Bearer {door['token']}"
            answer = http.get(f"{target}{self.path}")
            self.send_response(answer.status_code if allowed else 401)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(answer.content if allowed else f"{self.headers.get('Authorization')} is wrong".encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", door
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        http.close()


def test_s18_a_credential_is_read_at_the_moment_of_use_and_stands_nowhere(
    ground: Stack, tmp_path: Path, sqlite_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A token that is replaced in its file counts at the next question; neither it nor the wrong one stands in Slack, the log or the database."""
    wrong, right = "tok-wrong-0123456789abcdef", "tok-right-0123456789abcdef"
    (tmp_path / "token").write_text(wrong)
    with behind_a_token(ground.simulation) as (url, door):
        door["token"] = right
        lines = (
            "backends:",
            f"  simulated: {{kind: simulation, url: '{ground.simulation}'}}",
            f"  measured: {{kind: metrics, url: '{url}', secrets: {{token: {{file: token}}}}}}",
            f"  pages: {{kind: http, inside: ['{ground.simulation[7:]}'], base: '{ground.simulation}'}}",
        )
        with configured(ground, tmp_path, sqlite_url, *lines) as stack:
            stack.alert(alert())
            stack.settle()
            stack.until(stack.diagnosed, what="the card", patience=15)
            assert latency(stack) is None
            (tmp_path / "token").write_text(right)
            stack.skip(120)
            stack.until(lambda: latency(stack) is not None, what="the value", patience=15)
            assert {f"Bearer {wrong}", f"Bearer {right}"} <= set(door["brought"])
            said = json.dumps([*stack.messages(), *stack.thread()]) + "".join(capfd.readouterr())
            kept = b"".join(file.read_bytes() for file in tmp_path.glob("muster.sqlite*"))
            for token in (wrong, right):
                assert token not in said
                assert token.encode() not in kept


def latency(stack: Inside) -> float | None:
    """The newest p99 that was measured."""
    found = stack.database.read(lambda tx: measurements.latest(tx, 1)).get("p99")
    return found.value if found else None
