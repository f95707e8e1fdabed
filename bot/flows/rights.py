"""What a decision about a run must know: who people are now, what is locked, what ran lately. Loaded in the deciding transaction."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from actions.guards import Attempt, HeldLock, Pause, State
from bot.flows.context import Context
from runbooks.approval import Circle
from runbooks.incident import Incident
from runbooks.operation import Plan
from runbooks.run import IN_FLIGHT, ActionRun
from runbooks.runbook import Action
from storage import incidents, locks, runs, switches
from storage.database import Tx

PAUSED = "paused"
LOOK_BACK = timedelta(days=8)


def circle_of(ctx: Context, incident: Incident, *, now: datetime) -> Circle:
    """The people around an incident, at this moment."""
    duty = {team.id: tuple(person.id for person in ctx.on_call.on_call(team.id, now)) for team in ctx.directory.teams}
    return Circle(directory=ctx.directory, on_call=duty, commander=incident.commander, service=incident.service)


def guard_state(tx: Tx, ctx: Context, incident: Incident, *, now: datetime) -> State:
    """What the guards look at: locks, what runs and ran, whether everything is paused."""
    lately = {run.id: run for run in runs.recent(tx, since=now - LOOK_BACK)}
    lately |= {run.id: run for run in runs.of_incident(tx, incident.id)}
    lately |= {run.id: run for run in runs.in_states(tx, IN_FLIGHT)}
    same_world = in_world(tx, incident, lately.values())
    held = locks.held(tx, {lock_name(incident, run.target) for run in same_world}, now=now)
    return State(
        runs=same_world,
        locks=[
            HeldLock(target=name.split("|", 1)[1], run_id=lock.run_id, owner=lock.owner, since_at=lock.taken_at, until_at=lock.until_at)
            for name, lock in held.items()
        ],
        pause=pause(tx),
        names={person.id: person.name for person in ctx.directory.people},
        owners={runbook.id: runbook.header.owner for runbook in ctx.shelf.library.all},
    )


def in_world(tx: Tx, incident: Incident, found: Iterable[ActionRun]) -> list[ActionRun]:
    """Those runs that acted where this incident's runs act: a drill neither blocks production, nor counts in it, nor is blocked by it."""
    worlds: dict[int, str | None] = {incident.id: incident.world}
    same: list[ActionRun] = []
    for run in found:
        if run.incident_id not in worlds:
            worlds[run.incident_id] = incidents.get(tx, run.incident_id).world
        if worlds[run.incident_id] == incident.world:
            same.append(run)
    return same


def lock_name(incident: Incident, target: str) -> str:
    """A target's lock; each world has its own."""
    return f"{incident.world or 'production'}|{target}"


def pause(tx: Tx) -> Pause | None:
    """The kill switch, as it was set."""
    value = switches.get(tx, PAUSED)
    if not isinstance(value, dict):
        return None
    return Pause(by=str(value["by"]), since_at=datetime.fromisoformat(str(value["at"])), reason=str(value["reason"]))


def attempt(incident: Incident, run: ActionRun, action: Action, plan: Plan) -> Attempt:
    """What is about to be done, as the guards name it."""
    return Attempt(
        run_id=run.id,
        incident_id=incident.id,
        runbook=run.runbook.id,
        action=action,
        target=plan.call.target or plan.call.operation,
        person=run.requested_by,
        key=run.key,
        environment=incident.environment,
        count=plan.proposal.count,
    )
