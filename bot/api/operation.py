"""Muster itself: how it is, the kill switch, what was given up, readiness, and the demo's clock."""

import httpx

from bot.api.endpoint import Call, Endpoint, Failed
from bot.api.models import Advance, Advanced, Done, Empty, Items, Pause, Paused, Retry, Status, TaskShown
from bot.app import Muster
from bot.flows import pausing, readiness, retry
from bot.flows.context import Context
from bot.ports import Press, PressKind
from runbooks.readiness import Readiness
from runbooks.run import IN_FLIGHT
from storage import incidents, runs, tasks
from storage.database import Tx


def status(call: Call) -> Status:
    """How Muster is, and who the caller is to it."""
    muster, now = call.muster, call.muster.context.now()

    def find(tx: Tx) -> Status:
        backlog = tasks.backlog(tx)
        return Status(
            running=muster.running,
            now=now,
            trouble=muster.degraded,
            paused=_paused(tx, muster.context),
            you=call.guest.person,
            may_write=call.guest.may_write,
            open_incidents=len(incidents.open_ones(tx)),
            runs_in_flight=len(runs.in_states(tx, IN_FLIGHT)),
            tasks_open=backlog.open,
            tasks_dead=backlog.dead,
            overdue_seconds=round(backlog.overdue_by, 3),
        )

    return muster.database.read(find)


def ready(call: Call) -> Items[Readiness]:
    """What is known about each service."""
    context = call.muster.context
    return Items(items=tuple(call.muster.database.read(lambda tx: readiness.of_services(tx, context, now=context.now()))))


def paused(call: Call) -> Paused:
    """Stop every action (rule S16). It stands on the timeline of every open incident and in Muster's own record."""
    call.submit(Press(kind=PressKind.PAUSE), {"reason": call.body.reason})
    return call.muster.database.read(lambda tx: _paused(tx, call.muster.context))


def resumed(call: Call) -> Paused:
    """Let actions run again."""
    call.press(Press(kind=PressKind.RESUME))
    return call.muster.database.read(lambda tx: _paused(tx, call.muster.context))


def _paused(tx: Tx, context: Context) -> Paused:
    found = context.fuse.pause or pausing.present(tx)
    return Paused(paused=True, by=found.by, since_at=found.since_at, reason=found.reason) if found else Paused(paused=False)


def dead(call: Call) -> Items[TaskShown]:
    """What was given up, latest first."""
    found = call.muster.database.read(tasks.dead)
    return Items(
        items=tuple(
            TaskShown(
                id=task.id, kind=task.kind, key=task.key, attempts=task.attempt, ended_at=task.ended_at, error=task.error, args=task.args
            )
            for task in found
        )
    )


def revived(call: Call) -> Done:
    """Try one again, with a new budget."""
    context, by = call.muster.context, call.muster.desk.actor(call.visitor)
    number, why = call.path["task"], call.body.reason
    return Done(said=context.write(lambda tx: retry.again(tx, number, reason=why, by=by, now=context.now()), name="retry"))


def advanced(call: Call) -> Advanced:
    """Drive both clocks of the demo: the simulated service's first, so that Muster never looks at a past world."""
    url = call.muster.settings.simulation_url
    try:
        httpx.post(f"{url}/clock/advance", json={"seconds": call.body.seconds, "worlds": True}, timeout=30.0).raise_for_status()
    except httpx.HTTPError as error:
        raise Failed(503, "simulation_unreachable", f"The simulated service at {url} does not answer: {error}.") from error
    call.muster.clock.advance(call.body.seconds)
    call.muster.context.wake()
    return Advanced(now=call.muster.context.now())


def _in_demo(muster: Muster) -> bool:
    return muster.settings.simulation_url is not None


ENDPOINTS = (
    Endpoint(
        method="GET", path="/status", name="show_status", summary="How Muster is, and who you are to it", handler=status, answer=Status
    ),
    Endpoint(
        method="GET",
        path="/readiness",
        name="show_readiness",
        summary="What is known about each service",
        handler=ready,
        answer=Items[Readiness],
    ),
    Endpoint(method="POST", path="/pause", name="pause", summary="Stop every action", handler=paused, body=Pause, answer=Paused),
    Endpoint(method="POST", path="/resume", name="resume", summary="Let actions run again", handler=resumed, body=Empty, answer=Paused),
    Endpoint(
        method="GET",
        path="/tasks/dead",
        name="list_dead_tasks",
        summary="Promises that were given up",
        handler=dead,
        answer=Items[TaskShown],
    ),
    Endpoint(
        method="POST",
        path="/tasks/{task:int}/retry",
        name="retry_task",
        summary="Try a given-up promise again",
        handler=revived,
        body=Retry,
        answer=Done,
    ),
    Endpoint(
        method="POST",
        path="/clock/advance",
        name="advance_clock",
        summary="Drive the demo's clocks forward",
        handler=advanced,
        body=Advance,
        answer=Advanced,
        offered=_in_demo,
    ),
)
