"""Incidents over the API: list, show, and everything that the card's buttons do."""

from bot.api.endpoint import Call, Endpoint, Failed, said
from bot.api.models import (
    Declare,
    Done,
    Empty,
    HandOver,
    IncidentQuery,
    Items,
    Note,
    Resolve,
    SetSeverity,
    WrongRunbook,
)
from bot.flows import drawing
from bot.ports import Press, PressKind
from runbooks.incident import Incident, IncidentStatus
from runbooks.screens import IncidentCard
from runbooks.value import Json
from storage import alerts, incidents
from storage.database import Tx

K = PressKind
OPEN = tuple(status for status in IncidentStatus if status is not IncidentStatus.RESOLVED)


def listed(call: Call) -> Items[Incident]:
    """Incidents, latest first."""
    asked: IncidentQuery = call.query
    statuses = [asked.status] if asked.status else []
    if asked.open is not None:
        wanted = OPEN if asked.open else (IncidentStatus.RESOLVED,)
        statuses = [status for status in wanted if not statuses or status in statuses]
    found = call.muster.database.read(
        lambda tx: incidents.listed(
            tx,
            statuses=statuses,
            severities=[asked.severity] if asked.severity else [],
            service=asked.service,
            drills=asked.drills,
            limit=asked.limit,
        )
    )
    return Items(items=tuple(found))


def shown(call: Call) -> IncidentCard:
    """Everything that the card shows."""
    context = call.muster.context
    now = context.now()
    return call.muster.database.read(lambda tx: drawing.card(tx, context, incidents.get(tx, call.path["incident"]), now=now))


def declared(call: Call) -> Done:
    """Open an incident. The same idempotency key twice is one incident."""
    form: dict[str, Json] = call.body.model_dump(mode="json")
    if form["service"] and form["service"] not in call.muster.context.services:
        names = ", ".join(sorted(call.muster.context.services)) or "none"
        raise Failed(422, "invalid", f"There is no service {form['service']}; there are: {names}.", fields={"service": "unknown"})
    reply = call.submit(Press(kind=K.DECLARE_AS), form)
    key = ("people", f"declared:{call.interaction}"[:200])

    def find(tx: Tx) -> Incident:
        row = alerts.known(tx, [key])[key]
        assert row.incident_id is not None
        return incidents.get(tx, row.incident_id)

    return Done(said=said(reply), incident=call.muster.database.read(find))


def acknowledged(call: Call) -> Done:
    """Somebody looks after it."""
    return _after(call, said(call.press(_press(call, K.ACKNOWLEDGE))))


def commanded(call: Call) -> Done:
    """The caller takes command."""
    return _after(call, said(call.press(_press(call, K.TAKE_COMMAND))))


def handed_over(call: Call) -> Done:
    """Somebody else takes command."""
    return _after(call, said(call.submit(_press(call, K.HAND_OVER_TO), call.body.model_dump(mode="json"))))


def severity_set(call: Call) -> Done:
    """Another severity."""
    return _after(call, said(call.submit(_press(call, K.SET_SEVERITY), call.body.model_dump(mode="json"))))


def noted(call: Call) -> Done:
    """A status update."""
    return _after(call, said(call.submit(_press(call, K.ADD_NOTE), call.body.model_dump(mode="json"))))


def rematched(call: Call) -> Done:
    """Follow another runbook."""
    return _after(call, said(call.submit(_press(call, K.WRONG_RUNBOOK), call.body.model_dump(mode="json"))))


def resolved(call: Call) -> Done:
    """It is over."""
    return _after(call, said(call.submit(_press(call, K.RESOLVE_AS), call.body.model_dump(mode="json"))))


def _press(call: Call, kind: PressKind) -> Press:
    return Press(kind=kind, incident_id=call.path["incident"])


def _after(call: Call, sentence: str) -> Done:
    return Done(said=sentence, incident=call.muster.database.read(lambda tx: incidents.get(tx, call.path["incident"])))


ONE = "/incidents/{incident:int}"
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/incidents",
        name="list_incidents",
        summary="Incidents, latest first",
        handler=listed,
        query=IncidentQuery,
        answer=Items[Incident],
    ),
    Endpoint(method="GET", path=ONE, name="show_incident", summary="All that the card shows", handler=shown, answer=IncidentCard),
    Endpoint(
        method="POST", path="/incidents", name="declare_incident", summary="Open an incident", handler=declared, body=Declare, answer=Done
    ),
    Endpoint(
        method="POST",
        path=f"{ONE}/acknowledge",
        name="acknowledge",
        summary="Say that somebody looks after it",
        handler=acknowledged,
        body=Empty,
        answer=Done,
    ),
    Endpoint(method="POST", path=f"{ONE}/command", name="take_command", summary="Take command", handler=commanded, body=Empty, answer=Done),
    Endpoint(
        method="POST", path=f"{ONE}/hand-over", name="hand_over", summary="Give command", handler=handed_over, body=HandOver, answer=Done
    ),
    Endpoint(
        method="POST",
        path=f"{ONE}/severity",
        name="set_severity",
        summary="Set the severity",
        handler=severity_set,
        body=SetSeverity,
        answer=Done,
    ),
    Endpoint(method="POST", path=f"{ONE}/notes", name="add_note", summary="Post a status update", handler=noted, body=Note, answer=Done),
    Endpoint(
        method="POST",
        path=f"{ONE}/runbook",
        name="follow_runbook",
        summary="Follow another runbook; the case goes to the matching's queue",
        handler=rematched,
        body=WrongRunbook,
        answer=Done,
    ),
    Endpoint(method="POST", path=f"{ONE}/resolve", name="resolve", summary="Resolve", handler=resolved, body=Resolve, answer=Done),
)
