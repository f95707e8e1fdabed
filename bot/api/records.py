"""What stands on record: the timeline with its exports and its proof, the post-mortem, the alerts."""

from bot.api.endpoint import Call, Document, Endpoint
from bot.api.models import (
    AlertQuery,
    AlertShown,
    DocumentQuery,
    Done,
    Draft,
    Duty,
    Empty,
    Items,
    Timeline,
    TimelineQuery,
    Verified,
    VerifyQuery,
)
from bot.flows.review import draft_of
from bot.ports import Press, PressKind
from runbooks import exports
from runbooks.document import markdown
from runbooks.errors import NotFound
from runbooks.incident import Incident
from runbooks.timeline import OWN, Entry
from storage import alerts, incidents, ledger, reviews, timeline
from storage.database import Tx


def entries(call: Call) -> Timeline | Document:
    """The timeline, in the form that was asked for."""
    number = call.path["incident"]

    def find(tx: Tx) -> tuple[Incident, list[Entry]]:
        return incidents.get(tx, number), timeline.of(tx, number)

    incident, found = call.muster.database.read(find)
    name = f"{incident.ref}-timeline"
    match call.query.format:
        case "jsonl":
            return Document(body=exports.json_lines(found), media="application/x-ndjson", name=f"{name}.jsonl")
        case "csv":
            return Document(body=exports.comma_separated(found), media="text/csv", name=f"{name}.csv")
        case "md":
            return Document(body=exports.markdown(incident, found), media="text/markdown", name=f"{name}.md")
        case _:
            return Timeline(incident=incident, entries=tuple(found))


def own(call: Call) -> Items[Entry]:
    """What concerns no incident: pauses, and attempts on what does not exist."""
    return Items(items=tuple(call.muster.database.read(lambda tx: timeline.of(tx, OWN))))


def verified(call: Call) -> Verified:
    """Check every chain."""
    report = call.muster.database.read(lambda tx: ledger.verify(tx, kept=call.query.head))
    return Verified(ok=report.ok, incidents=report.incidents, entries=report.entries, head=report.head, broken=report.broken)


def postmortem(call: Call) -> Draft | Document:
    """The draft, made anew from the entries."""

    def find(tx: Tx) -> Draft:
        incident, made = draft_of(tx, call.path["incident"], call.muster.context.directory)
        return Draft(incident=incident, postmortem=made, review=reviews.of_incident(tx, incident.id))

    found = call.muster.database.read(find)
    if call.query.format == "json":
        return found
    body = markdown(found.postmortem, found.incident)
    return Document(body=body, media="text/markdown", name=f"{found.incident.ref}-postmortem.md")


def due(call: Call) -> Items[Duty]:
    """Post-mortems that are not finished, the next due first."""
    now = call.muster.context.now()

    def find(tx: Tx) -> list[Duty]:
        return [
            Duty(review=review, incident=incidents.get(tx, review.incident_id), overdue=review.due_at < now)
            for review in reviews.open_ones(tx)
        ]

    return Items(items=tuple(sorted(call.muster.database.read(find), key=lambda duty: duty.review.due_at)))


def finished(call: Call) -> Done:
    """The post-mortem is written."""

    def find(tx: Tx) -> int:
        review = reviews.of_incident(tx, call.path["incident"])
        if review is None:
            raise NotFound(f"INC-{call.path['incident']} asks for no post-mortem.")
        return review.id

    call.press(Press(kind=PressKind.REVIEW_DONE, incident_id=call.path["incident"], subject_id=call.muster.database.read(find)))
    return Done(said="The post-mortem is marked as finished.")


def alerts_of(call: Call) -> Items[AlertShown]:
    """The alerts of one incident."""

    def find(tx: Tx) -> list[AlertShown]:
        number = incidents.get(tx, call.query.incident).id
        names = AlertShown.model_fields
        return [AlertShown(**{name: getattr(row, name) for name in names}) for row in alerts.of_incident(tx, number)]

    return Items(items=tuple(call.muster.database.read(find)))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/incidents/{incident:int}/timeline",
        name="show_timeline",
        summary="The timeline, as JSON, JSON Lines, CSV or Markdown",
        handler=entries,
        query=TimelineQuery,
        answer=Timeline,
        media=("application/x-ndjson", "text/csv", "text/markdown"),
    ),
    Endpoint(
        method="GET",
        path="/timeline/own",
        name="show_own_record",
        summary="Muster's own record: what concerns no incident",
        handler=own,
        answer=Items[Entry],
    ),
    Endpoint(
        method="GET",
        path="/timeline/verify",
        name="verify_timeline",
        summary="Check every hash chain",
        handler=verified,
        query=VerifyQuery,
        answer=Verified,
    ),
    Endpoint(
        method="GET",
        path="/incidents/{incident:int}/postmortem",
        name="show_postmortem",
        summary="The draft, each sentence citing its entries",
        handler=postmortem,
        query=DocumentQuery,
        answer=Draft,
        media=("text/markdown",),
    ),
    Endpoint(
        method="POST",
        path="/incidents/{incident:int}/postmortem/done",
        name="finish_postmortem",
        summary="Mark it as finished",
        handler=finished,
        body=Empty,
        answer=Done,
    ),
    Endpoint(
        method="GET", path="/postmortems", name="list_postmortems", summary="Post-mortems to be finished", handler=due, answer=Items[Duty]
    ),
    Endpoint(
        method="GET",
        path="/alerts",
        name="list_alerts",
        summary="The alerts of one incident",
        handler=alerts_of,
        query=AlertQuery,
        answer=Items[AlertShown],
    ),
)
