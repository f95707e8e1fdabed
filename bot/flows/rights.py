"""What a decision about a run must know: who people are now, what is locked, what ran lately. Loaded in the deciding transaction."""

from datetime import datetime, timedelta

from actions import guards
from actions.guards import Attempt, HeldLock, OutOfService, State
from actions.situation import action_key
from bot.flows import freezing, pausing
from bot.flows.context import Context
from runbooks.approval import Circle
from runbooks.incident import Incident
from runbooks.operation import Plan
from runbooks.people import MUSTER
from runbooks.run import IN_FLIGHT, ActionRun
from runbooks.runbook import Action
from storage import breakers, locks, traces
from storage.database import Tx

LATELY = timedelta(days=1)
"""How long a run may have waited between the wish and its start; what counts by its start is looked for so much earlier."""


def circle_of(ctx: Context, incident: Incident, *, now: datetime) -> Circle:
    """The people around an incident, at this moment."""
    duty = {team.id: tuple(person.id for person in ctx.on_call.on_call(team.id, now)) for team in ctx.directory.teams}
    return Circle(directory=ctx.directory, on_call=duty, commander=incident.commander, service=incident.service)


def guard_state(tx: Tx, ctx: Context, incident: Incident, wanted: Attempt, *, run: ActionRun | None = None, now: datetime) -> State:
    """What the guards look at for what is wanted: locks, what runs and ran, what is frozen, paused or out of service.

    `run` may have lifted a freeze.
    """
    circle = circle_of(ctx, incident, now=now)
    held = locks.held(tx, {lock_name(incident, target) for target in (wanted.target, *wanted.parts)}, now=now)
    return State(
        runs=traces.around(
            tx,
            incident_id=incident.id,
            drill_id=incident.drill_id,
            target=wanted.target,
            states=IN_FLIGHT,
            since=now - LATELY - timedelta(seconds=guards.remembered(wanted.action)),
            lately=now - LATELY - timedelta(seconds=ctx.policy.rates.window),
        ),
        locks=[
            HeldLock(target=name.split("|", 1)[1], run_id=lock.run_id, owner=lock.owner, since_at=lock.taken_at, until_at=lock.until_at)
            for name, lock in held.items()
        ],
        pause=ctx.fuse.pause or pausing.present(tx),
        freezes=freezing.freezes(ctx, incident, run=run, circle=circle, now=now),
        deploys=freezing.deploys(tx, ctx, incident, run=run, circle=circle, now=now),
        out_of_service={} if incident.is_drill else out_of_service(tx, ctx),
        names={MUSTER.id: "Muster", **{person.id: person.name for person in ctx.directory.people}},
        owners={runbook.id: runbook.header.owner for runbook in ctx.shelf.library.all},
        rates=ctx.policy.rates,
    )


def out_of_service(tx: Tx, ctx: Context) -> dict[str, OutOfService]:
    """What the breaker has taken out, with the owner who puts it back (rule S15)."""
    return {
        action_key(one.runbook, one.step): OutOfService(
            since_at=one.opened_at,
            failures=one.failures,
            owner=runbook.header.owner if (runbook := ctx.shelf.runbook(one.runbook)) else "its owner",
            run_id=one.run_id,
        )
        for one in breakers.open_ones(tx)
        if one.opened_at is not None
    }


def lock_name(incident: Incident, target: str) -> str:
    """A target's lock; each world has its own."""
    return f"{incident.world or 'production'}|{target}"


def lock_names(incident: Incident, run: ActionRun) -> list[str]:
    """The locks of everything that a run touches: its target, and of several changes as one each part's (rules S12, S24)."""
    return [lock_name(incident, target) for target in dict.fromkeys([run.target, *(run.plan.targets if run.plan else ())])]


def take_locks(tx: Tx, incident: Incident, run: ActionRun, *, owner: str, until_at: datetime, now: datetime) -> HeldLock | None:
    """Take or extend all of a run's locks; where one is another's, none is taken and that one is answered."""
    for name in lock_names(incident, run):
        lock = locks.take(tx, name, run_id=run.id, owner=owner, until_at=until_at, now=now)
        if lock.run_id != run.id:
            release_locks(tx, incident, run)
            target = name.split("|", 1)[1]
            return HeldLock(target=target, run_id=lock.run_id, owner=lock.owner, since_at=lock.taken_at, until_at=lock.until_at)
    return None


def hold_locks(tx: Tx, incident: Incident, run: ActionRun, *, owner: str, until_at: datetime, now: datetime) -> None:
    """Hold what a run has changed for longer; what another has taken meanwhile stays theirs."""
    for name in lock_names(incident, run):
        locks.take(tx, name, run_id=run.id, owner=owner, until_at=until_at, now=now)


def release_locks(tx: Tx, incident: Incident, run: ActionRun) -> None:
    """Let go of everything that this run holds."""
    for name in lock_names(incident, run):
        locks.release(tx, name, run.id)


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
        service=incident.service,
        tier=plan.tier,
        count=plan.proposal.count,
        parts=plan.targets,
        automatic=run.automatic,
    )
