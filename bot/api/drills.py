"""Drills over the API: list, plan, start, move, abort, report."""

from collections.abc import Callable

from pydantic import BaseModel

from bot.api.endpoint import Call, Endpoint, said, told
from bot.api.models import Asked, Done, DrillQuery, DrillReported, Empty, Items, MoveDrill, PlanDrill
from bot.ports import Press, PressKind
from runbooks.calendar import quarter_of
from runbooks.drill import Drill
from runbooks.errors import NotFound
from runbooks.postmortem import phases_of
from storage import drills, incidents, timeline
from storage.database import Tx

K = PressKind


def listed(call: Call) -> Items[Drill]:
    """Drills by due date, latest first."""
    return Items(items=tuple(call.muster.database.read(lambda tx: drills.listed(tx, runbook=call.query.runbook, slot=call.query.slot))))


def planned(call: Call) -> Done:
    """The runbook's drill of this quarter; one that is planned already stays as it is."""
    context = call.muster.context
    name = call.body.runbook
    if context.shelf.runbook(name) is None:
        raise NotFound(f"There is no runbook {name}.")
    sentence = said(told(call.muster.desk.command(f"drill {name}", call.visitor)))
    slot = quarter_of(context.now(), zone=context.policy.time_zone)
    return Done(said=sentence, drill=call.muster.database.read(lambda tx: drills.in_slot(tx, name, slot)))


def started(call: Call) -> Done:
    """Start it; a real SEV1 or SEV2 comes first."""
    return _pressed(call, K.DRILL_START)


def aborted(call: Call) -> Done:
    """End it at once; it is not graded."""
    return _pressed(call, K.DRILL_ABORT)


def moved(call: Call) -> Done:
    """Another day within its quarter."""
    drill = _drill(call)
    call.submit(Press(kind=K.DRILL_MOVE_TO, incident_id=drill.incident_id, subject_id=drill.id), {"date": call.body.date})
    return Done(said="Moved.", drill=_drill(call))


def reported(call: Call) -> DrillReported:
    """How it went."""

    def find(tx: Tx) -> DrillReported:
        drill = drills.get(tx, call.path["drill"])
        runbook = call.muster.context.shelf.runbook(drill.runbook)
        incident = incidents.get(tx, drill.incident_id) if drill.incident_id else None
        return DrillReported(
            drill=drill,
            title=runbook.header.title if runbook else drill.runbook,
            findings=drill.findings,
            phases=phases_of(timeline.of(tx, incident.id) if incident else ()),
            incident=incident,
        )

    return call.muster.database.read(find)


def _pressed(call: Call, kind: PressKind) -> Done:
    drill = _drill(call)
    reply = call.press(Press(kind=kind, incident_id=drill.incident_id, subject_id=drill.id))
    return Done(said=said(reply), drill=_drill(call))


def _drill(call: Call) -> Drill:
    return call.muster.database.read(lambda tx: drills.get(tx, call.path["drill"]))


ONE = "/drills/{drill:int}"


def _post(path: str, name: str, summary: str, handler: Callable[[Call], BaseModel], body: type[Asked] = Empty) -> Endpoint:
    return Endpoint(method="POST", path=path, name=name, summary=summary, handler=handler, body=body, answer=Done)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/drills",
        name="list_drills",
        summary="Drills, latest due first",
        handler=listed,
        query=DrillQuery,
        answer=Items[Drill],
    ),
    Endpoint(method="GET", path=ONE, name="show_drill", summary="How a drill went", handler=reported, answer=DrillReported),
    _post("/drills", "plan_drill", "Plan this quarter's drill of a runbook", planned, PlanDrill),
    _post(f"{ONE}/start", "start_drill", "Start it in a simulated world", started),
    _post(f"{ONE}/move", "move_drill", "Another day within its quarter", moved, MoveDrill),
    _post(f"{ONE}/abort", "abort_drill", "End it at once, ungraded", aborted),
)
