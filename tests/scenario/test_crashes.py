"""`kill -9` at every step of the story, on both databases: no alert lost, no card doubled, no action run twice, nothing left running.

The process is really killed: it kills itself at a named point, and is started again as a service manager would. K11, a kill within a
migration, is in tests/migration.
"""

import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from bot.clock import DatabaseClock
from runbooks.run import IN_FLIGHT, RunState
from storage import drills, inbox, incidents, ledger, reviews, runs, tasks
from tests.ports import free_port
from tests.scenario_alerts import alert
from tests.stack import ANA, BEN, Stack, running, words

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.timeout(240)]
T = TypeVar("T")

POINTS = [
    "inbox.before_commit",  # K1: taken in, and not on disk: the sender hears no 202 and sends again
    "inbox.after_commit",  # K2: accepted, and the sender does not hear of it
    "triage.before_commit",  # K3: folded, and the fold is lost
    "card.before_call",  # K4: before the card
    "card.after_call",  # K6: the card stands, and nobody wrote down where
    "press.before_commit",  # acknowledged in Slack, and not on disk
    "press.after_commit",  # on disk, and Slack does not hear of it
    "plan.after_call",  # the plan is made and lost
    "claim_run.after_commit",  # between claim and execution
    "task.during_call",  # K5
    "execute.before_call",  # K4
    "execute.after_call",  # K6: after the execution, before the record
    "settle.before_commit:6",  # K7: somewhere in the middle of the early settlements
    "settle.after_commit:6",  # K8
    "measure.before_call",  # during verification
    "measure.after_call:2",
    "undo.before_call",  # before undo
    "undo.after_call",  # undone, and not written down
]


@pytest.fixture(params=["sqlite", "postgresql"])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """The whole product on each database, with runbooks whose verification is quick."""
    url = request.getfixturevalue("postgres_server").create() if request.param == "postgresql" else None
    with running(tmp_path, database_url=url, quick=True, muster=False) as stack:
        yield stack


@pytest.fixture
def shared(postgres_server: Any, tmp_path: Path) -> Iterator[Stack]:
    """The whole product on PostgreSQL, for several replicas."""
    with running(tmp_path, database_url=postgres_server.create(), quick=True, muster=False) as stack:
        yield stack


@pytest.mark.parametrize("point", POINTS)
def test_the_story_survives_a_kill(stack: Stack, point: str) -> None:
    """Killed at this point and started again, the story ends as if nothing had happened: each effect once."""
    stack.start_muster(kill_point=point)
    to_the_end(stack)
    assert stack.dead("muster"), f"{point} was never reached"
    assert stack.processes["muster"].returncode == -signal.SIGKILL
    settled(stack)


def to_the_end(stack: Stack) -> None:
    """The story, told by people who press again when nothing answers, as far as the undo."""
    stack.fault("traffic", factor=2.5)
    stack.advance(60)
    # Its alert comes again in real seconds; driving on meanwhile would only break the service for longer.
    stack.until(lambda: revived(stack, lambda: stack.database.read(incidents.listed)), what="the incident")
    drive(stack, lambda: ready_card(stack), what="the card with its diagnosis")
    press(stack, "Acknowledge", lambda: acknowledged(stack))
    time.sleep(1.1)  # Muster reads the driven clock once a second; what it does next must not bear a time from before the last step
    confirmed(stack)
    drive(stack, lambda: in_state(stack, RunState.VERIFIED, RunState.UNDONE), what="the verdict")
    assert replicas(stack) == 4, "the pool was not scaled, or was scaled twice"
    undone(stack)


def drive(stack: Stack, look: Callable[[], T], *, what: str) -> T:
    """Time passes, and Muster is started again whenever it has died, until it is true."""
    return stack.advance_until(lambda: revived(stack, look), what=what, most=900)


def revived(stack: Stack, look: Callable[[], T]) -> T:
    """Start Muster again if it has killed itself, then look."""
    revive(stack)
    return look()


def revive(stack: Stack, *, kill_point: str | None = None) -> None:
    """What a service manager does; on PostgreSQL the time of the dead one's leases passes at once."""
    if not all(stack.dead(name) for name in stack.processes if name.startswith("muster")):
        return
    count = sum(name.startswith("muster") for name in stack.processes)
    if stack.database.dialect == "postgresql":
        stack.leases_run_out()
    stack.start_muster(name=f"muster{count}", kill_point=kill_point)


def ready_card(stack: Stack) -> dict[str, Any] | None:
    card = stack.card(1)
    return card if card and "CPU of the pool" in words(card) else None


def acknowledged(stack: Stack) -> bool:
    return bool(stack.database.read(lambda tx: incidents.get(tx, 1)).acknowledged_at)


def press(stack: Stack, label: str, done: Callable[[], Any]) -> None:
    """A press that meets a dying Muster is pressed again, as a person would, until it has had its effect."""
    for _ in range(8):
        revive(stack)
        if done():
            return
        try:
            stack.press(label, stack.card(1) or {"blocks": []})
        except (httpx.HTTPError, AssertionError):
            time.sleep(0.3)  # it was redrawn under the finger, or is being redrawn
        ends = time.monotonic() + 3
        while time.monotonic() < ends and not done():
            time.sleep(0.05)
    raise AssertionError(f"{label} had no effect in eight presses")


def confirmed(stack: Stack, user: str = ANA) -> None:
    """Open the plan and confirm it; a dialog that was lost with the process is opened again."""

    def begun() -> bool:
        found = stack.database.read(lambda tx: runs.of_incident(tx, 1))
        return any(run.confirmed_at is not None for run in found)

    for _ in range(6):
        revive(stack)
        if begun():
            return
        try:
            stack.press("Scale", stack.card(1) or {"blocks": []}, user)
            view = stack.until(lambda: revived(stack, lambda: plan_of(stack, user)), what="the plan", patience=6)
            stack.submit(view, user=user)
            stack.until(begun, what="the confirmation", patience=3)
        except (httpx.HTTPError, AssertionError):
            time.sleep(0.3)
    raise AssertionError("the plan could not be confirmed in six tries")


def plan_of(stack: Stack, user: str = ANA) -> dict[str, Any] | None:
    view = stack.view(user)
    return view if view and view.get("submit") and "replicas" in words(view) else None


def undone(stack: Stack) -> None:
    """Press Undo until it is taken back."""
    for _ in range(8):
        revive(stack)
        if in_state(stack, RunState.UNDONE):
            return
        try:
            stack.press("Undo", stack.until(lambda: run_message(stack, "Undo"), what="the run's message", patience=8))
        except (httpx.HTTPError, AssertionError):
            time.sleep(0.3)
        ends = time.monotonic() + 4
        while time.monotonic() < ends and not in_state(stack, RunState.UNDONE):
            revive(stack)
            time.sleep(0.1)
    raise AssertionError("it was not taken back in eight tries")


def run_message(stack: Stack, label: str) -> dict[str, Any] | None:
    card = stack.card(1)
    found = [message for message in stack.messages(thread=card["ts"]) if f'"{label}"' in words(message)] if card else []
    return found[-1] if found else None


def in_state(stack: Stack, *states: RunState) -> bool:
    return any(run.state in states for run in stack.database.read(lambda tx: runs.of_incident(tx, 1)))


def replicas(stack: Stack) -> int:
    return int(pool(stack)["value"]["replicas"])


def pool(stack: Stack) -> dict[str, Any]:
    """The pool by the far side's own account."""
    return dict(stack.http.get(f"{stack.simulation}/targets/pool/inference/reranker-v3").json())


def settled(stack: Stack) -> None:
    """Everything is accounted for: one incident, one card, one change and one undo, nothing in flight or overdue, and the chain holds."""
    quiet(stack)
    assert len(stack.database.read(incidents.listed)) == 1
    assert one_card(stack)
    found = stack.database.read(lambda tx: runs.of_incident(tx, 1))
    assert not [run for run in found if run.state in IN_FLIGHT]
    assert sum(run.executed_at is not None for run in found) == 1
    assert replicas(stack) == 2
    assert pool(stack)["version"] - 1 == 2, "each change once: the scaling and its undo"
    said = [message["text"] for message in stack.messages(thread=(stack.card(1) or {})["ts"])]
    assert len(said) == len(set(said)), f"something was said twice: {said}"


def quiet(stack: Stack) -> None:
    """No task is left, none was given up, nothing waits in the inbox, and the record verifies."""

    def empty() -> bool:
        revive(stack)
        return stack.database.read(tasks.backlog).open == 0

    stack.until(empty, what="the end of all tasks", patience=60)
    assert stack.database.read(tasks.backlog).dead == 0, [task.error for task in stack.database.read(tasks.dead)]
    assert stack.database.read(inbox.waiting) == 0
    report = stack.database.read(ledger.verify)
    assert report.ok, report.broken


def one_card(stack: Stack) -> bool:
    cards = [message for message in stack.messages() if "INC-1 " in message["text"]]
    assert len(cards) == 1, [message["text"] for message in cards]
    return True


def test_killed_while_it_starts_again(tmp_path: Path) -> None:
    """K10: killed in the middle of the story, and again while it adopts what was in flight: the second start carries on (embedded only)."""
    with running(tmp_path, quick=True, muster=False) as stack:
        stack.start_muster(kill_point="execute.after_call")
        stack.fault("traffic", factor=2.5)
        drive(stack, lambda: ready_card(stack), what="the card with its diagnosis")
        confirmed(stack)
        stack.until(stack.dead, what="the first death", patience=10)
        revive(stack, kill_point="adopt.before_commit")
        stack.until(lambda: stack.dead("muster1"), what="the second death", patience=10)
        drive(stack, lambda: in_state(stack, RunState.VERIFIED), what="the verdict")
        undone(stack)
        settled(stack)


@pytest.mark.parametrize("point", ["press.before_commit:3", "press.after_commit:3", "say.before_call", "say.after_call"])
def test_resolving_survives_a_kill(stack: Stack, point: str) -> None:
    """Killed while it resolves: resolved once, one review, one last message, however often the person had to press."""
    stack.start_muster()
    stack.alert(alert())
    drive(stack, lambda: stack.card(1), what="the card")
    stack.until(lambda: stack.database.read(tasks.backlog).open == 0, what="the end of the beginning", patience=30)
    stack.kill()
    revive(stack, kill_point=point)
    resolved(stack)
    quiet(stack)
    assert stack.dead("muster1"), f"{point} was never reached"
    assert one_card(stack)
    assert stack.database.read(lambda tx: reviews.of_incident(tx, 1)) is not None
    last = [one["text"] for one in stack.messages(thread=(stack.card(1) or {})["ts"])[1:] if "It went away" in one["text"]]
    assert len(last) == 1, last


def resolved(stack: Stack) -> None:
    """Open the dialog under More and resolve; again, where it was lost."""

    def over() -> bool:
        return not stack.database.read(lambda tx: incidents.get(tx, 1)).is_open

    for _ in range(6):
        revive(stack)
        if over():
            return
        try:
            clear(stack, ANA)
            stack.press("More", stack.card(1) or {"blocks": []})
            stack.press_in_view("Resolve", stack.until(lambda: view_with(stack, "Set severity"), what="More", patience=4))
            view = stack.until(lambda: view_with(stack, "What fixed it"), what="the dialog", patience=4)
            block = next(one for one in view["blocks"] if one.get("type") == "input")
            state = {"type": block["element"]["type"], "value": "It went away."}
            stack.submit(view, {block["block_id"]: {block["element"]["action_id"]: state}})
            stack.until(over, what="the end", patience=3)
        except (httpx.HTTPError, AssertionError):
            time.sleep(0.3)
    raise AssertionError("it could not be resolved in six tries")


def view_with(stack: Stack, word: str) -> dict[str, Any] | None:
    view = stack.view()
    return view if view and word in json.dumps(view, ensure_ascii=False) else None


def clear(stack: Stack, user: str) -> None:
    view = stack.view(user)
    if view:
        stack.http.post(f"{stack.workspace}/client/view/close", json={"user": user, "view_id": view["id"], "clear": True})


@pytest.mark.parametrize("point", ["open_drill.before_call", "open_drill.after_call", "close_drill.before_call", "close_drill.after_call"])
def test_a_drill_survives_a_kill(stack: Stack, point: str) -> None:
    """Killed while a drill's world opens or closes: one incident, one world, and in the end none."""
    stack.start_muster(kill_point=point)
    drill = stack.until(lambda: first_drill(stack), what="the planned drill")
    clock = DatabaseClock(database=stack.database)
    clock.advance((drill.due_at - clock.now()).total_seconds() + 5)
    opened = {"user": BEN, "other": "U01MUSTER0"}
    channel = stack.http.post(f"{stack.workspace}/client/dm", json=opened).json()["channel"]["id"]

    def invitation() -> dict[str, Any] | None:
        seen = stack.messages(BEN, channel)
        return next((one for one in seen if "Model answers are slow" in one["text"] and '"Start"' in words(one)), None)

    stack.press("Start", stack.until(invitation, what="the invitation"), BEN, channel)
    stack.until(lambda: revived(stack, lambda: first_drill(stack).incident_id), what="the drill's incident", patience=60)
    drive(stack, lambda: stack.card(1), what="the drill's card")
    assert len(stack.database.read(incidents.listed)) == 1
    ends_at = first_drill(stack).ends_at
    assert ends_at
    clock.advance((ends_at - clock.now()).total_seconds() + 5)
    stack.until(lambda: revived(stack, lambda: first_drill(stack).ended_at), what="the end of the drill", patience=60)
    quiet(stack)
    assert stack.dead("muster"), f"{point} was never reached"
    worlds = stack.http.get(f"{stack.simulation}/worlds").json()["worlds"]
    assert not [world for world in worlds if str(world["id"]).startswith("drill-")]
    assert one_card(stack)


def first_drill(stack: Stack) -> Any:
    found = stack.database.read(lambda tx: [one for one in drills.listed(tx) if one.runbook == "inference-latency"])
    return min(found, key=lambda one: one.due_at) if found else None


def test_a_slot_of_the_calendar_survives_a_kill(stack: Stack) -> None:
    """K9: killed between a schedule's advance and its commit: the quarter is planned once."""
    stack.start_muster(kill_point="schedule.before_commit")
    stack.until(lambda: first_drill(stack), what="this quarter's drills")
    planned = {drill.slot for drill in stack.database.read(drills.listed)}
    clock = DatabaseClock(database=stack.database)
    for _ in range(16):
        clock.advance(7 * 86400)
        time.sleep(1.5)
        revive(stack)
    stack.until(stack.dead, what="the death at the calendar", patience=10)
    stack.until(
        lambda: len({drill.slot for drill in stack.database.read(drills.listed)} - planned) >= 1, what="the next quarter", patience=30
    )
    found = [(drill.runbook, drill.slot) for drill in stack.database.read(drills.listed)]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("seed", [1, 2])
def test_random_kills(stack: Stack, seed: int) -> None:
    """Killed at moments nobody chose, six times within one story: still each effect once."""
    chance = random.Random(seed)
    over = threading.Event()
    killed: list[str] = []

    def kill_now_and_then() -> None:
        while not over.is_set() and len(killed) < 6:
            over.wait(chance.uniform(1.5, 5.0))
            for name, process in list(stack.processes.items()):
                if name.startswith("muster") and process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                    killed.append(name)

    stack.start_muster()
    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    try:
        to_the_end(stack)
    finally:
        over.set()
        killer.join()
    assert killed
    settled(stack)


def test_two_replicas_and_two_people_at_once(shared: Stack) -> None:
    """Two replicas serve, two people confirm at the same moment, and one replica dies while it executes: one change, one verdict."""
    shared.start_muster(kill_point="execute.after_call")
    shared.start_muster(name="muster1", port=free_port())
    shared.fault("traffic", factor=2.5)
    drive(shared, lambda: ready_card(shared), what="the card with its diagnosis")
    views = {}
    for user in (ANA, BEN):
        for _ in range(5):
            try:
                shared.press("Scale", shared.card(1) or {"blocks": []}, user)
                views[user] = shared.until(lambda user=user: plan_of(shared, user), what="the plan", patience=6)  # type: ignore[misc]
                break
            except (httpx.HTTPError, AssertionError):
                time.sleep(0.3)
    threads = [threading.Thread(target=shared.submit, args=(view,), kwargs={"user": user}) for user, view in views.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shared.until(lambda: in_state(shared, RunState.RUNNING, RunState.VERIFYING), what="the run")
    if shared.dead("muster"):
        shared.leases_run_out()
    drive(shared, lambda: in_state(shared, RunState.VERIFIED), what="the verdict")
    started = [run for run in shared.database.read(lambda tx: runs.of_incident(tx, 1)) if run.started_at]
    assert len(started) == 1
    undone(shared)
    settled(shared)


def second_replica(stack: Stack) -> None:
    """Start another replica, and again while the sleeping one still holds a lock: PostgreSQL ends its idle transaction before long."""
    for _ in range(6):
        stack.start_muster(name="muster1", port=free_port())
        if not stack.dead("muster1"):
            return
    raise AssertionError("a sleeping replica keeps another from starting")


def test_stopped_past_its_lease(shared: Stack) -> None:
    """A replica is stopped in the middle of an execution and wakes after another has taken over: it changes nothing more."""
    shared.start_muster()
    shared.fault("traffic", factor=2.5)
    drive(shared, lambda: ready_card(shared), what="the card with its diagnosis")
    shared.http.post(f"{shared.simulation}/chaos", json={"mode": "slow", "seconds": 3, "path_prefix": "/targets", "count": 40})
    confirmed(shared)
    shared.until(lambda: in_state(shared, RunState.RUNNING), what="the running run", patience=30)
    sleeper = shared.processes["muster"]
    sleeper.send_signal(signal.SIGSTOP)
    try:
        shared.http.post(f"{shared.simulation}/chaos", json={"mode": "none"})
        second_replica(shared)
        shared.leases_run_out()
        taken = (RunState.VERIFYING, RunState.UNKNOWN, RunState.VERIFIED)
        shared.advance_until(lambda: in_state(shared, *taken), what="the take-over")  # a busy machine may make it look twice
    finally:
        sleeper.send_signal(signal.SIGCONT)
    drive(shared, lambda: in_state(shared, RunState.VERIFIED), what="the verdict")
    undone(shared)
    settled(shared)
