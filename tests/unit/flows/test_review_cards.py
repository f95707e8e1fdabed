"""The card comes, whatever the alert lacks."""

import pytest

from bot.configuration import Configuration
from bot.duty import Duty
from bot.flows import drawing, receive
from bot.flows.context import Context
from bot.oncall import OnCallFile
from runbooks.runbook import Runbook
from storage.database import Database
from tests.flowing import LIBRARY, alert, context


@pytest.fixture
def ctx(database: Database) -> Context:
    """The flows' surroundings, with people on duty."""
    people = Configuration.default()
    file = OnCallFile(plan=people.file.on_call, directory=people.directory, time_zone="UTC")
    return context(database, on_call=Duty(directory=people.directory, file=file, pagerduty=None))


@pytest.mark.parametrize("runbook", LIBRARY.all, ids=lambda runbook: runbook.id)
def test_an_alert_without_any_label_gets_its_card(ctx: Context, runbook: Runbook) -> None:
    """Every runbook's card can be drawn for an alert that carries nothing but its name: what lacks a label is withheld, and says why."""
    bare = alert(f"bare-{runbook.id}", source="drill").model_copy(update={"labels": {"alertname": "Bare"}})
    rehearsal = receive.Rehearsal(drill_id=1, world="w", runbook=runbook)
    (incident,) = ctx.write(lambda tx: receive.fold(tx, ctx, [bare], now=ctx.now(), rehearsal=rehearsal))
    card = ctx.read(lambda tx: drawing.card(tx, ctx, incident, now=ctx.now()))
    assert card.what_broke
    for button in (*card.safe_actions, *card.gated_actions):
        action = runbook.action(button.step)
        assert action is not None
        if any("alert.labels" in str(value) for value in action.with_.values()):
            assert button.withheld, button.title
