"""What a run in flight belongs to: its incident, its pinned runbook, its action, and what is measured for it."""

from bot.flows.context import Context
from runbooks.incident import Incident
from runbooks.run import ActionRun
from runbooks.runbook import Action, Diagnostic, Runbook
from storage import incidents, runs
from storage.database import Tx


def load(tx: Tx, ctx: Context, run_id: int) -> tuple[ActionRun, Incident, Runbook]:
    """The run with its incident and the very runbook version that it pins."""
    run = runs.get(tx, run_id)
    return run, incidents.get(tx, run.incident_id), ctx.shelf.pinned(tx, run.runbook)


def diagnostic_of(runbook: Runbook, run: ActionRun) -> Diagnostic:
    """What is measured to verify the run."""
    found = runbook.diagnostic(action_of(runbook, run).verify.diagnostic)
    assert found is not None, "loading has checked that the diagnostic exists"
    return found


def action_of(runbook: Runbook, run: ActionRun) -> Action:
    """The action that the run carries out."""
    action = runbook.action(run.step)
    assert action is not None, "a run names an action of its own pinned version"
    return action
