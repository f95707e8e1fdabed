"""`kill -9` of Muster while a system has its change in hand: afterwards the truth is read from that system, and shown (rule S20)."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from actions.kinds import declared
from bot.settings import LIBRARY
from runbooks.run import ActionRun, RunState
from runbooks.severity import Tier
from runbooks.timeline import EntryKind
from storage import incidents, runs, timeline
from tests.parts.changing import REAL, Part
from tests.parts.documented import DOCUMENTED, STARTED
from tests.parts.trouble import Ill
from tests.scenario_alerts import alert
from tests.stack import Stack, running

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.timeout(240)]

RUNBOOK = """---
format: 1
id: real-change
version: 1
title: A change of a real system
owner: ml-platform
class: availability
severity: SEV3
reviewed: 2026-11-01
match: [{alertname: RealTrouble}]
first_screen: {what_broke: Something real broke., customers: p99, safe_actions: []}
diagnostics:
  - {id: p99, title: p99 latency, uses: metrics.query, with: {query: 'max(model:latency_seconds:p99)'}, unit: s}
actions:
  - id: change
    title: Change it
    tier: TIER
    uses: USES
    with: WITH
    approval: MANY
    verify: {diagnostic: p99, settle: 10s, holds: "< 5", for: 40s, within: 5m, otherwise: ask}
    undo: UNDO
    cost: {money: none, quality: none, latency: none}
drill: {alert: {alertname: RealTrouble}, world: {fault: {kind: traffic}}, expected: [change], pass_if: {verified: 10m}}
---
## Meaning
It broke.
## Impact
Somebody waits.
## Diagnosis
Look at {{ step("p99") }}.
## Mitigation
{{ step("change") }}.
## Trade-offs
None.
## Afterwards
Nothing.
"""


@pytest.fixture
def part(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Part]:
    """The system of this test."""
    folder = tmp_path / "part"
    folder.mkdir()
    with ExitStack() as stack:
        found: Part = stack.enter_context(request.param(request, folder))
        if found.which is not None:
            found.trouble.which = found.which
        yield found


@pytest.fixture
def stack(part: Part, tmp_path: Path) -> Iterator[Stack]:
    """The whole product with this system as its backend, an incident open."""
    folder = tmp_path / "muster"
    with running(folder, muster=False) as found:
        (folder / "runbooks").mkdir()
        operation = declared()[part.uses]
        tier = operation.tier if operation.reversible else Tier.R3
        many = {Tier.R2: "one", Tier.R3: "two"}.get(tier, "none")
        undo = "{to: prior, after: 4h, then: ask}" if operation.reversible else "{to: not-possible}"
        words = {"USES": part.uses, "WITH": json.dumps(part.arguments), "TIER": tier.value, "MANY": many, "UNDO": undo}
        text = re.sub("|".join(words), lambda found: words[found[0]], RUNBOOK)
        (folder / "runbooks" / "real-change.md").write_text(text)
        for who, token in TOKENS.items():
            (folder / f"token.{who}").write_text(token)
        for name, value in part.secrets.items():
            (folder / f"secret.{name}").write_text(value)
        secrets = {name: {"file": str(folder / f"secret.{name}")} for name in part.secrets}
        real = {**part.backend, "environment": "production", "operations": [part.uses], "secrets": secrets}
        callers = {who: {"secret": {"file": str(folder / f"token.{who}")}, "person": who, "may": "write"} for who in TOKENS}
        found.configured = lambda default: (
            f"{default.replace(*TRUSTED)}\nbackends: {json.dumps({'real': real})}\ntokens: {json.dumps(callers)}\n"
        )
        found.runbooks = [LIBRARY, folder / "runbooks"]
        found.start_muster()
        assert found.alert(alert(name="RealTrouble")).status_code == 202
        found.until(lambda: found.database.read(incidents.listed), what="the incident")
        yield found


TOKENS = {who: f"the-token-of-{who}-in-the-tests" for who in ("ana", "ben", "dov")}
TRUSTED = '{who: "team:trust-and-safety", run: R2, approve: R2}', '{who: "team:trust-and-safety", run: R3, approve: R3}'  # Ana and Dov


def call(stack: Stack, path: str, body: Any, *, who: str = "ana") -> None:
    """One change through the API."""
    answer = stack.http.post(f"{stack.url}/api/v1{path}", json=body, headers={"Authorization": f"Bearer {TOKENS[who]}"})
    assert answer.is_success, answer.text


def run_of(stack: Stack) -> ActionRun:
    """The one run there is."""
    return stack.database.read(lambda tx: runs.of_incident(tx, 1))[-1]


def pressed(stack: Stack) -> None:
    """Ana plans the change and runs it; where it needs others, Ben approves, and Dov too."""
    call(stack, "/incidents/1/actions/change/plan", {})
    stack.until(lambda: run_of(stack).state is not RunState.PROPOSED, what="the plan")
    planned = run_of(stack)
    assert planned.plan is not None, planned.reason
    call(stack, f"/runs/{planned.id}/run", {"plan_hash": planned.plan.hash})
    for who in ("ben", "dov"):
        if run_of(stack).state is RunState.AWAITING_APPROVAL:
            call(stack, f"/runs/{planned.id}/approval", {"plan_hash": planned.plan.hash, "granted": True}, who=who)


def struck(part: Part, stack: Stack, ill: Ill) -> None:
    """Muster is killed with the change in hand, before it has arrived or after, and started again where all is well."""
    assert part.stands() == part.before
    part.trouble.ill = ill
    pressed(stack)
    stack.until(lambda: part.asked, what="the change's request")
    if ill is Ill.KEPT:
        stack.until(lambda: part.stands() == part.after, what="the change")
    stack.kill()
    part.trouble.ill = Ill.NONE
    stack.start_muster(name="muster-again")


def reconciled(stack: Stack) -> str:
    """What the timeline says of the look."""
    entries = stack.database.read(lambda tx: timeline.of(tx, 1))
    (said,) = [one.summary for one in entries if one.kind is EntryKind.RUN_RECONCILED]
    assert said.startswith("Muster was interrupted in the middle of Change it. It looked:")
    return said


def looked_up(part: Part, stack: Stack, ill: Ill) -> None:
    """Kill Muster in the middle; after its restart the change stands as wanted, made once, and the timeline says how it was found."""
    struck(part, stack, ill)
    stack.advance_until(lambda: run_of(stack).state is RunState.VERIFIED, what="the verdict", most=300)
    assert (part.stands(), part.made) == (part.after, 1)
    said = reconciled(stack)
    assert said.endswith(part.told) == (ill is Ill.KEPT), said
    assert ("nothing had been changed, so it was done now" in said) == (ill is Ill.HANG)


@pytest.mark.parametrize("part", REAL, indirect=True)
@pytest.mark.parametrize("ill", [Ill.KEPT, Ill.HANG])
def test_s20_a_kill_during_a_real_systems_change_is_looked_up(part: Part, stack: Stack, ill: Ill) -> None:
    """Whether the change had arrived or not: Muster looks after its restart, it stands as wanted, made once, and the timeline says so."""
    looked_up(part, stack, ill)


@pytest.mark.parametrize("part", DOCUMENTED, indirect=True)
def test_s20_a_kill_after_a_documented_systems_change_is_looked_up(part: Part, stack: Stack) -> None:
    """The same of what answers by its documentation alone: the change had arrived, is found, and is not made again."""
    looked_up(part, stack, Ill.KEPT)


@pytest.mark.parametrize("part", STARTED, indirect=True)
def test_s20_what_a_kill_left_started_is_found_by_its_key(part: Part, stack: Stack) -> None:
    """What cannot be read back is found under the key that it was sent with, is started no second time, and the timeline says how it stands."""
    struck(part, stack, Ill.KEPT)
    stack.advance_until(lambda: run_of(stack).state is RunState.VERIFIED, what="the verdict", most=300)
    assert (part.stands(), part.made) == (part.after, 1)
    said = reconciled(stack)
    assert "it was found under its key" in said
    assert said.endswith(part.told), said


@pytest.mark.parametrize("part", STARTED, indirect=True)
def test_s20_what_nobody_can_find_after_a_kill_goes_to_a_person(part: Part, stack: Stack) -> None:
    """Not to be seen proves nothing: nothing is started again, and after a while a person reads where to look for which key."""
    struck(part, stack, Ill.HANG)
    run = stack.advance_until(lambda: (found := run_of(stack)).state is RunState.INCONCLUSIVE and found, what="the question", step=60.0)
    assert (part.stands(), part.made) == (part.before, 0)
    assert run.verdict_reason.startswith("Muster could not find out whether it took effect: Nothing is seen there of 1/change/")
    assert f"Look at {run.target} yourself, then say what is true." in run.verdict_reason
