"""The list of incidents, and one incident with its timeline."""

from datetime import datetime

from bot.flows import drawing
from bot.pages.door import Asked, Download, Shown
from bot.pages.picture import Picture, Series, draw, kind_of, lane_of
from runbooks import exports
from runbooks.errors import NotFound
from runbooks.incident import Incident, IncidentStatus
from runbooks.naming import named
from runbooks.run import ActionRun
from runbooks.runbook import Runbook
from runbooks.severity import Severity
from runbooks.timeline import Entry, broken_links
from storage import incidents, measurements, mitigations, reviews, runs, timeline
from storage.database import Tx

MOST = 200
FORMS = {"jsonl": "application/x-ndjson", "csv": "text/csv", "md": "text/markdown"}


def listed(asked: Asked) -> Shown:
    """Incidents, latest first, narrowed by what the form says."""
    status = _choice(asked, "status", [one.value for one in IncidentStatus])
    severity = _choice(asked, "severity", [one.value for one in Severity])
    service = _choice(asked, "service", sorted(asked.muster.context.services))
    kind = _choice(asked, "kind", ["real", "drill"])
    found = asked.muster.database.read(
        lambda tx: incidents.listed(
            tx,
            statuses=[IncidentStatus(status)] if status else [],
            severities=[Severity(severity)] if severity else [],
            service=service or None,
            drills={"real": False, "drill": True}.get(kind),
            limit=MOST,
        )
    )
    filters = (
        ("status", "Status", status, [one.value for one in IncidentStatus]),
        ("severity", "Severity", severity, [one.value for one in Severity]),
        ("service", "Service", service, sorted(asked.muster.context.services)),
        ("kind", "Kind", kind, ["real", "drill"]),
    )
    return Shown(template="incidents.html", title="Incidents", values={"incidents": found, "filters": filters, "most": MOST})


def _choice(asked: Asked, name: str, choices: list[str]) -> str:
    value = asked.query.get(name, "")
    return value if value in choices else ""


def shown(asked: Asked) -> Shown:
    """One incident: the picture, what was run, what still stands, and every entry."""
    number, context = asked.path["incident"], asked.muster.context
    now = context.now()

    def find(tx: Tx) -> Shown:
        incident = incidents.get(tx, number)
        runbook = context.shelf.pinned(tx, incident.match.runbook)
        entries, all_runs = timeline.of(tx, number), runs.of_incident(tx, number)
        card = drawing.card(tx, context, incident, now=now)
        broken = tuple(broken_links(entries))
        values = {
            "incident": incident,
            "card": card,
            "roles": drawing.roles(context, incident),
            "entries": named(entries, {person.id: person.name for person in context.directory.people}),
            "lane_of": lane_of,
            "kind_of": kind_of,
            "picture": _picture(tx, incident, runbook, entries, all_runs, now=now),
            "runs": [run for run in all_runs if run.confirmed_at or run.started_at],
            "mitigations": mitigations.of_incident(tx, number),
            "review": reviews.of_incident(tx, number),
            "broken": broken,
            "head": entries[-1].hash if entries else "",
            "name": lambda person: _name(asked, person),
        }
        return Shown(template="incident.html", title=f"{incident.ref} · {incident.title}", values=values)

    return asked.muster.database.read(find)


def _name(asked: Asked, person_id: str | None) -> str:
    person = asked.muster.context.directory.person(person_id) if person_id else None
    return person.name if person else person_id or "nobody"


def _picture(
    tx: Tx, incident: Incident, runbook: Runbook, entries: list[Entry], all_runs: list[ActionRun], *, now: datetime
) -> Picture | None:
    return draw(incident, entries, all_runs, _series(tx, incident, runbook, all_runs), now=now) if entries else None


def _series(tx: Tx, incident: Incident, runbook: Runbook, all_runs: list[ActionRun]) -> Series | None:
    """The value that the first run was to mend, else the first diagnostic that has a limit: its measurements and every run's samples."""
    chosen = [action for run in all_runs if run.executed_at and (action := runbook.action(run.step))]
    limits = {action.verify.diagnostic: action.verify.holds for action in (*reversed(runbook.header.actions), *reversed(chosen))}
    watched = chosen[0].verify.diagnostic if chosen else next((one.id for one in runbook.header.diagnostics if one.id in limits), None)
    diagnostic = runbook.diagnostic(watched) if watched else None
    if diagnostic is None or watched is None:
        return None
    samples = [(item.measured_at, item.value) for item in measurements.of_incident(tx, incident.id, diagnostic=watched)]
    for run in all_runs:
        action = runbook.action(run.step)
        if action and action.verify.diagnostic == watched:
            samples += [(sample.at, sample.value) for sample in run.samples]
            samples += [(run.started_at, run.value_before)] if run.started_at else []
    limit = limits.get(watched) or diagnostic.limit
    return Series(title=diagnostic.title, unit=diagnostic.unit or "", samples=tuple(sorted(samples, key=lambda one: one[0])), limit=limit)


def exported(asked: Asked) -> Download:
    """The timeline as a file."""
    form, number = asked.path["form"], asked.path["incident"]
    if form not in FORMS:
        raise NotFound(f"There is no export as {form}; there are {', '.join(FORMS)}.")
    incident, entries = asked.muster.database.read(lambda tx: (incidents.get(tx, number), timeline.of(tx, number)))
    body = {
        "jsonl": lambda: exports.json_lines(entries),
        "csv": lambda: exports.comma_separated(entries),
        "md": lambda: exports.markdown(incident, entries),
    }[form]()
    return Download(body=body, media=FORMS[form], name=f"{incident.ref}-timeline.{form}")
