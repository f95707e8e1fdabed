"""Telling those who answer for how Muster is used: the teams' leads, at once, whenever a person went past a guard (rules S9, S25)."""

from bot.flows.context import Context
from bot.flows.records import say
from bot.flows.wording import name_of
from runbooks.run import ActionRun
from storage import tasks
from storage.database import Tx


def tell_leads(tx: Tx, ctx: Context, run: ActionRun, text: str, *, key: str, but: str) -> None:
    """A direct message to every lead `but` the one who did it, with whose id `text` begins.

    Where none can be reached, the thread names whoever is on duty.
    """
    text = f"{name_of(ctx, but)}{text.removeprefix(but)}"
    leads = sorted({team.lead for team in ctx.directory.teams if team.lead and team.lead != but})
    reached = [person for lead in leads if (person := ctx.directory.person(lead)) and person.slack_id]
    for person in reached:
        told = f"INC-{run.incident_id}: {text}"
        tasks.enqueue(
            tx,
            say(
                key=f"{key}:{person.id}",
                screen="notice",
                lane=f"dm:{person.slack_id}",
                to=person.slack_id,
                text=told,
                incident=run.incident_id,
            ),
        )
    if not reached:
        runbook = ctx.shelf.runbook(run.runbook.id)
        duty = [person.id for person in ctx.on_call.on_call(runbook.header.owner, ctx.now())] if runbook else []
        tasks.enqueue(tx, say(key=key, screen="notice", incident_id=run.incident_id, text=text, mentions=duty))
