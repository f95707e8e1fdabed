"""`kill -9` at every step of the story, on both databases: no alert lost, no card doubled, no action run twice, nothing left running.

The process is really killed: it kills itself at a named point, and is started again as a service manager would.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runbooks.run import IN_FLIGHT, RunState
from storage import incidents, inbox, ledger, runs, tasks
from tests.stack import Stack, running, words

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.timeout(240)]

POINTS = [
    "inbox.after_commit",  # accepted, and the sender does not hear of it
    "triage.before_commit",  # folded, and the fold is lost
    "card.before_call",  # before the card
    "card.after_call",  # the card stands, and nobody wrote down where
    "plan.after_call",  # the plan is made and lost
    "claim_run.after_commit",  # between claim and execution
    "execute.after_call",  # after the execution, before the record
    "settle.before_commit:6",  # somewhere in the middle of the early settlements
    "measure.before_call",  # during verification
    "measure.after_call:3",
    "undo.before_call",  # before undo
    "undo.after_call",  # undone, and not written down
    "adopt.before_commit:2",  # while starting again
]


@pytest.fixture(params=["sqlite", "postgresql"])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """The whole product on each database, with runbooks whose verification is quick."""
    url = request.getfixturevalue("postgres_server").create() if request.param == "postgresql" else None
    with running(tmp_path, database_url=url, quick=True, muster=False) as stack:
        yield stack


@pytest.mark.parametrize("point", POINTS)
def test_the_story_survives_a_kill(stack: Stack, point: str) -> None:
    """Killed at this point and started again, the story ends as if nothing had happened: each effect once."""
    stack.start_muster(kill_point=point)
    stack.fault("traffic", factor=2.5)

    card = stack.advance_until(lambda: revived(stack, lambda: ready_card(stack)), what="the card with its diagnosis")
    press(stack, "Acknowledge", card)
    press(stack, "Scale", card)
    stack.submit(stack.until(lambda: revived(stack, lambda: plan_of(stack)), what="the plan", patience=25))
    stack.advance_until(lambda: revived(stack, lambda: in_state(stack, RunState.VERIFIED)), what="the verdict", most=400)
    assert replicas(stack) == 4, "the pool was not scaled, or was scaled twice"
    message = stack.until(lambda: run_message(stack, "Undo"), what="the run's message")
    stack.press("Undo", message)
    stack.until(lambda: revived(stack, lambda: in_state(stack, RunState.UNDONE)), what="the undo", patience=40)

    assert stack.dead("muster") or point.startswith("adopt"), f"{point} was never reached"
    settled(stack)
    assert replicas(stack) == 2
    assert changes_of(stack) == 2, "each change once: the scaling and its undo"


def revived(stack: Stack, look: Any) -> Any:
    """Start Muster again if it has killed itself, then look."""
    if all(stack.dead(name) for name in stack.processes if name.startswith("muster")):
        count = sum(name.startswith("muster") for name in stack.processes)
        stack.start_muster(name=f"muster{count}")
    return look()


def ready_card(stack: Stack) -> dict[str, Any] | None:
    card = stack.card(1)
    return card if card and "CPU of the pool" in words(card) else None


def press(stack: Stack, label: str, card: dict[str, Any]) -> None:
    """A press that meets a dying Muster is pressed again, as a person would."""
    for _ in range(3):
        if stack.press(label, stack.card(1) or card).get("ok"):
            return
        revived(stack, lambda: True)
    raise AssertionError(f"{label} was not acknowledged in three presses")


def plan_of(stack: Stack) -> dict[str, Any] | None:
    view = stack.view()
    return view if view and view.get("submit") and "replicas" in words(view) else None


def run_message(stack: Stack, label: str) -> dict[str, Any] | None:
    card = stack.card(1)
    found = [message for message in stack.messages(thread=card["ts"]) if f'"{label}"' in words(message)] if card else []
    return found[-1] if found else None


def in_state(stack: Stack, state: RunState) -> bool:
    return any(run.state is state for run in stack.database.read(lambda tx: runs.of_incident(tx, 1)))


def replicas(stack: Stack) -> int:
    answer = stack.http.get(f"{stack.simulation}/targets/pool/inference/reranker-v3")
    return int(answer.json()["value"]["replicas"])


def changes_of(stack: Stack) -> int:
    """How often the pool was really changed, by the far side's own count."""
    return int(stack.http.get(f"{stack.simulation}/targets/pool/inference/reranker-v3").json()["version"]) - 1


def settled(stack: Stack) -> None:
    """Everything is accounted for: one incident, one card, no run in flight, no task overdue or dead, and the chain holds."""
    stack.until(lambda: stack.database.read(tasks.backlog).open == 0, what="the end of all tasks", patience=40)
    backlog = stack.database.read(tasks.backlog)
    assert backlog.dead == 0, [task.error for task in stack.database.read(tasks.dead)]
    assert stack.database.read(inbox.waiting) == 0
    assert len(stack.database.read(incidents.listed)) == 1
    cards = [message for message in stack.messages() if "INC-1 " in message["text"]]
    assert len(cards) == 1, [message["text"] for message in cards]
    found = stack.database.read(lambda tx: runs.of_incident(tx, 1))
    assert not [run for run in found if run.state in IN_FLIGHT]
    assert sum(run.executed_at is not None for run in found) == 1
    report = stack.database.read(ledger.verify)
    assert report.ok, report.broken
