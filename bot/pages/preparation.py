"""What happens before anything breaks: drills, readiness, runbooks."""

from datetime import datetime, timedelta

from markdown_it import MarkdownIt
from markupsafe import Markup

from bot.flows import readiness
from bot.flows.drawing import freshness_of
from bot.pages.door import Asked, Shown
from runbooks.calendar import quarter_of, quarter_start
from runbooks.differences import Difference, diff
from runbooks.document import phase_words
from runbooks.drill import Drill
from runbooks.errors import MusterError, NotFound
from runbooks.postmortem import phases_of
from runbooks.rendering import prose
from runbooks.runbook import Runbook
from storage import drills, incidents, runbook_versions, timeline
from storage.database import Tx

QUARTERS = 4
MARKDOWN = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")


def drills_listed(asked: Asked) -> Shown:
    """The last year by quarter, runbook by runbook."""
    context = asked.muster.context
    now, zone = context.now(), context.policy.time_zone
    slots = _quarters(now, zone)

    def find(tx: Tx) -> Shown:
        held: dict[tuple[str, str], Drill] = {}
        for slot in slots:
            held |= {(drill.runbook, slot): drill for drill in drills.listed(tx, slot=slot)}
        names = sorted({*(one.id for one in context.shelf.library.all), *(runbook for runbook, _ in held)})
        titles = {one.id: one.header.title for one in context.shelf.library.all}
        people = {person.id: person.name for person in context.directory.people}
        values = {"slots": slots, "names": names, "titles": titles, "held": held, "people": people}
        return Shown(template="drills.html", title="Drills", values=values)

    return asked.muster.database.read(find)


def _quarters(now: datetime, zone: str) -> list[str]:
    """This quarter and those before it, latest first."""
    found, at = [], now
    for _ in range(QUARTERS):
        found.append(quarter_of(at, zone=zone))
        at = quarter_start(at, zone=zone) - timedelta(days=1)
    return found


def drill_shown(asked: Asked) -> Shown:
    """How one drill went."""
    context = asked.muster.context

    def find(tx: Tx) -> Shown:
        drill = drills.get(tx, asked.path["drill"])
        runbook = context.shelf.pinned(tx, drill.ref) if drill.ref else context.shelf.runbook(drill.runbook)
        incident = incidents.get(tx, drill.incident_id) if drill.incident_id else None
        lead = context.directory.person(drill.lead) if drill.lead else None
        values = {
            "drill": drill,
            "runbook": runbook,
            "incident": incident,
            "lead": lead.name if lead else drill.lead or "nobody",
            "phases": [one for one in phase_words(phases_of(timeline.of(tx, incident.id) if incident else ())) if one[0] != "resolved"],
        }
        return Shown(template="drill.html", title=f"DRILL of {drill.runbook}, {drill.slot}", values=values)

    return asked.muster.database.read(find)


def readiness_shown(asked: Asked) -> Shown:
    """What is known about each service; unknown is said."""
    context = asked.muster.context
    now = context.now()
    found = asked.muster.database.read(lambda tx: readiness.of_services(tx, context, now=now))
    return Shown(template="readiness.html", title="Readiness", values={"services": found, "now": now})


def runbooks_listed(asked: Asked) -> Shown:
    """The loaded runbooks, and what was refused."""
    context = asked.muster.context
    now = context.now()
    library = context.shelf.library
    found = asked.muster.database.read(lambda tx: [(one, freshness_of(tx, one, now=now)) for one in library.all])
    return Shown(template="runbooks.html", title="Runbooks", values={"runbooks": found, "problems": library.problems})


def runbook_shown(asked: Asked) -> Shown:
    """One runbook as it reads with the labels of its own drill, how fresh it is, and what changed since the version before."""
    context = asked.muster.context
    runbook = context.shelf.runbook(asked.path["runbook"])
    if runbook is None:
        raise NotFound(f"There is no runbook {asked.path['runbook']}.")
    one, now = runbook, context.now()

    def find(tx: Tx) -> Shown:
        values = {
            "runbook": one,
            "freshness": freshness_of(tx, one, now=now),
            "prose": _prose(one),
            "difference": _difference(tx, one),
            "versions": runbook_versions.history(tx, one.id),
        }
        return Shown(template="runbook.html", title=one.header.title, values=values)

    return asked.muster.database.read(find)


def _prose(runbook: Runbook) -> Markup:
    """HTML from Markdown in which raw HTML is text; that makes it safe to place as it is."""
    return Markup(MARKDOWN.render(prose(runbook, labels=runbook.header.drill.alert)))  # noqa: S704 - html is disabled above


def _difference(tx: Tx, runbook: Runbook) -> Difference | None:
    """To the version that was in use before this one, where it can still be read."""
    for version in runbook_versions.history(tx, runbook.id):
        if version.ref.hash == runbook.hash:
            continue
        try:
            return diff(runbook_versions.get(tx, version.ref), runbook)
        except MusterError:
            continue  # of a format that this version no longer reads
    return None
