"""App Home: what waits for me, what I run, what still stands, what comes next (cards.md, screen 6)."""

from datetime import datetime

from bot.flows import breaking, pausing, suggested
from bot.flows.context import Context
from bot.flows.proposing import QUIET
from bot.flows.speak import approval_request
from bot.flows.wording import name_of
from bot.settlement import Settled, Settlement
from runbooks.drill import DrillState
from runbooks.incident import Incident
from runbooks.people import Person
from runbooks.proposing import STANDING, Suggestion, SuggestionState
from runbooks.run import ActionRun, RunState
from runbooks.screens import ApprovalRequest, HomeScreen, PauseShown, ProposalMessage
from storage import drills, follow_ups, incidents, mitigations, reviews, runs, suggestions
from storage.database import Tx
from storage.tasks import Task

SHOWN = 8  # of each list; a home tab holds 100 blocks


def publish(ctx: Context, task: Task) -> Settlement:
    """Draw one person's App Home from the database and publish it. At most a moment old, and drawn anew on every visit."""
    slack_id = str(task.args["slack_id"])
    person = ctx.directory.by_slack_id(slack_id)
    ctx.messenger.home(ctx.read(lambda tx: screen(tx, ctx, person)), slack_id=slack_id)
    return Settled()


def screen(tx: Tx, ctx: Context, person: Person | None) -> HomeScreen:
    """Everything that App Home shows one person; somebody unknown sees what is open and why they cannot act."""
    now = ctx.now()
    open_ones = {incident.id: incident for incident in incidents.open_ones(tx)}
    standing = mitigations.open_ones(tx)
    waiting_runs = runs.in_states(tx, [RunState.AWAITING_APPROVAL, RunState.INCONCLUSIVE, RunState.UNKNOWN])
    planned = drills.in_states(tx, [DrillState.PLANNED, DrillState.ASKED])
    next_drill = min(planned, key=lambda drill: drill.due_at, default=None)
    rehearsed = ctx.shelf.runbook(next_drill.runbook) if next_drill else None
    mine = [incident for incident in open_ones.values() if _mine(ctx, incident, person)]
    return HomeScreen(
        person=person,
        pause=_pause(tx, ctx),
        proposals=tuple(_proposals(tx, ctx, open_ones, person, now=now)[:SHOWN]),
        out_of_service=tuple(breaking.notices(tx, ctx)[:SHOWN]),
        waiting=tuple(_waiting(waiting_runs, open_ones)[:SHOWN]),
        approvals=tuple(_approvals(ctx, waiting_runs, open_ones, person)[:SHOWN]),
        incidents=tuple((mine or list(open_ones.values()))[:SHOWN]),
        mitigations=tuple((item, incidents.get(tx, item.incident_id)) for item in standing[:SHOWN]),
        reviews=tuple((review, incidents.get(tx, review.incident_id)) for review in reviews.open_ones(tx)[:SHOWN]),
        follow_ups=tuple(follow_ups.open_ones(tx)[:SHOWN]),
        next_drill=next_drill,
        next_drill_title=rehearsed.header.title if rehearsed else "",
        on_call={team.id: ", ".join(p.name for p in ctx.on_call.on_call(team.id, now)) or "nobody" for team in ctx.directory.teams},
        links={"Drills": ctx.page_url("/drills"), "Incidents": ctx.page_url("/incidents")},
        drawn_at=now,
    )


def _pause(tx: Tx, ctx: Context) -> PauseShown | None:
    found = ctx.fuse.pause or pausing.present(tx)
    return PauseShown(by=name_of(ctx, found.by), since_at=found.since_at, reason=found.reason) if found else None


def _proposals(tx: Tx, ctx: Context, open_ones: dict[int, Incident], person: Person | None, *, now: datetime) -> list[ProposalMessage]:
    """What runs by itself first, soonest first; then what stands; then what somebody has stopped a moment ago."""
    found = [one for one in suggestions.in_open(tx, [*STANDING, SuggestionState.STOPPED]) if one.incident_id in open_ones]
    lately = [one for one in found if one.stands or (one.ended_at is not None and now - one.ended_at < QUIET)]
    shown = [(one, suggested.shown(ctx, one)) for one in sorted(lately, key=_urgency)]
    buttons: dict[str, object] = {} if person else {"buttons": ()}
    return [ProposalMessage(incident=open_ones[one.incident_id], shown=screen.model_copy(update=buttons)) for one, screen in shown]


def _urgency(one: Suggestion) -> tuple[bool, bool, datetime, int]:
    counting = one.state is SuggestionState.COUNTING
    return (not one.stands, not counting, one.runs_at if counting and one.runs_at else one.made_at, one.id)


def _mine(ctx: Context, incident: Incident, person: Person | None) -> bool:
    if person is None:
        return False
    team = ctx.directory.team(incident.owner) if incident.owner else None
    return person.id in {incident.commander, incident.acknowledged_by} or bool(team and person.id in team.members)


def _approvals(ctx: Context, waiting: list[ActionRun], open_ones: dict[int, Incident], person: Person | None) -> list[ApprovalRequest]:
    return [
        approval_request(ctx, open_ones[run.incident_id], run, approvers="")
        for run in waiting
        if run.state is RunState.AWAITING_APPROVAL
        and run.plan
        and run.incident_id in open_ones
        and person
        and run.requested_by != person.id
    ]


def _waiting(waiting: list[ActionRun], open_ones: dict[int, Incident]) -> list[str]:
    return [
        f"{open_ones[run.incident_id].ref}: did {run.title} work? Muster could not tell; say so in its thread."
        for run in waiting
        if run.state is not RunState.AWAITING_APPROVAL and run.incident_id in open_ones
    ]
