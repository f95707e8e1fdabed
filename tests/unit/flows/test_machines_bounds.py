"""A machine's text never becomes more than a parameter within its declared bounds (rules S2, S28, S29)."""

from typing import Any

import pytest

from bot.flows import machines
from bot.flows.errors import Refused
from bot.flows.machines import Machine, Wish
from bot.ports import PressKind
from runbooks.proposing import Source, Suggestion, SuggestionState
from storage import runs
from storage.database import Database
from tests.suggesting import ANA, EVA, Stage

SOURCES = (Source(title="Graph", link="https://graphs.example.com/load", quote="load is at 96 %"),)


def machine(stage: Stage) -> Machine:
    person = stage.ctx.directory.person("ben")
    assert person is not None
    return Machine(token="model", person=person)


def proposed(stage: Stage, **parameters: Any) -> Suggestion:
    """What a model proposes with these parameters."""
    stage.answers(0.9)
    wish = Wish(step="turn-up", parameters=parameters, reason="It is at its limit.", sources=SOURCES)
    made = machines.plan(stage.ctx, stage.incident.id, wish, machine=machine(stage))
    now = stage.clock.now()
    return stage.ctx.write(lambda tx: machines.propose(tx, stage.ctx, stage.incident.id, wish, machine=machine(stage), made=made, now=now))


@pytest.mark.parametrize(
    "value",
    [13, 1, 4.5, "4; drop", "{{ alert.labels.model }}", "{{ 7 * 7 }}", "http://169.254.169.254/", True, [4], {"value": 4}, "99"],
    ids=str,
)
def test_s28_a_text_cannot_become_a_parameter_beyond_its_bounds(database: Database, value: Any) -> None:
    """Out of bounds, of another type, a template, an address: there is no plan, no proposal, no run, and the try is on record."""
    stage = Stage(database)
    with pytest.raises(Refused, match="Not proposed"):
        proposed(stage, value=value)
    assert stage.proposals() == []
    assert stage.runs() == []
    assert "there is no such plan" in stage.entries("attempt.refused")[0].summary
    assert stage.backend.effects == []


def test_s28_an_unknown_parameter_is_refused(database: Database) -> None:
    """A name that the runbook does not declare is nobody's parameter."""
    with pytest.raises(Refused, match="has no parameter target"):
        proposed(Stage(database), target="thing/payments")


def test_s28_a_person_looks_and_the_plan_is_theirs(database: Database) -> None:
    """Looking plans anew with the chosen value as that person's run; who may not run it gets no plan."""
    stage = Stage(database)
    one = proposed(stage, value="6")
    assert one.parameters == {"value": 6}
    assert one.change == "thing/reranker-v3 value 2 → 6"
    with pytest.raises(Refused, match="you may not run"):
        stage.press(PressKind.PROPOSED_LOOK, by=EVA)
    reply = stage.press(PressKind.PROPOSED_LOOK, by=ANA)
    assert reply.then is not None
    assert reply.then.run_id is not None
    number = reply.then.run_id
    stage.work("plan")
    run = stage.ctx.read(lambda tx: runs.get(tx, number))
    assert (run.requested_by, run.automatic) == ("ana", False)
    assert run.plan is not None
    assert run.plan.parameters == {"value": 6}


def test_s28_a_machine_never_counts_down(database: Database) -> None:
    """Whatever the action has earned, what a machine proposes waits for a person and lapses without one."""
    stage = Stage(database)
    stage.earned(5)
    one = proposed(stage, value=4)
    assert (one.state, one.runs_at, one.run_id) == (SuggestionState.OPEN, None, None)
    stage.pass_(1900, step=60)
    assert stage.proposals()[0].state is SuggestionState.EXPIRED
    assert stage.backend.effects == []


def test_s28_a_machine_does_not_hold_the_runbook_back(database: Database) -> None:
    """What a machine has proposed, or somebody has declined of it, keeps the runbook's own proposal from nobody."""
    stage = Stage(database)
    proposed(stage, value=4)
    stage.measured(0.9, 0.9, 0.9)
    stage.consider()
    assert [one.by for one in stage.proposals()] == ["token:model", "muster"]
