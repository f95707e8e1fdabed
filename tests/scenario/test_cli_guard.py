"""The guard on the command line: the same refusals as in Slack, with exit codes for scripts."""

import json
from collections.abc import Iterator

import pytest

from storage import incidents, runs
from tests.opened import TOKENS, configured
from tests.scenario.test_cli import muster
from tests.stack import Stack, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
FREEZE = "\nfreezes:\n  - {from: 2026-01-01, until: 2036-01-01, reason: end of the year}\n"
REASON = "Customers cannot pay, and the freeze lasts for weeks."


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything runs, changes are frozen, and whoever runs the tests is Ben."""
    with running(tmp_path_factory.mktemp("frozen"), quick=True, muster=False) as one:
        one.configured = lambda text: configured(text).replace(TOKENS, "") + FREEZE
        one.start_muster()
        yield one


def test_the_guard_from_the_command_line(stack: Stack) -> None:
    """Frozen, overridden, paused, repeated, out of service: each is refused with 4 and a sentence, and stands on record."""
    stack.advance(30)
    stack.fault("traffic", factor=2.5)
    stack.advance_until(lambda: stack.database.read(incidents.open_ones), what="the incident")
    number = str(stack.database.read(incidents.open_ones)[0].id)
    stack.until(lambda: stack.card(int(number)), what="the card")
    assert "HELD UP" in muster(stack, "action", "plan", number, "scale-out")
    muster(stack, "action", "run", number, "scale-out", "--yes", "--no-wait", expected=4)
    muster(stack, "action", "run", number, "scale-out", "--yes", "--no-wait", "--override-freeze", "now", expected=4)
    muster(stack, "pause", "we look first")
    assert "paused all actions" in muster(stack, "action", "plan", number, "scale-out", expected=4)
    muster(stack, "resume")
    words = ("--override-freeze", REASON)
    ran = json.loads(muster(stack, "action", "run", number, "scale-out", "--yes", "--no-wait", "--json", *words))
    run = stack.database.read(lambda tx: runs.get(tx, ran["id"]))
    assert run.freeze_override is not None
    assert run.freeze_override.reason == REASON
    muster(stack, "action", "run", number, "scale-out", "--yes", "--no-wait", *words, expected=4)
    muster(stack, "action", "reset", "inference-latency", "scale-out", "--reason", "It was never out of service.", expected=4)
    own = muster(stack, "timeline", "own")
    assert "All actions are paused by ben: we look first" in own
    assert muster(stack, "timeline", "verify").startswith("The record holds")
