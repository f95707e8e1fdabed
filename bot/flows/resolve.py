"""The end of an incident: what fixed it, who carries what still stands, and what follows (cards.md, screen 5)."""

from datetime import datetime

from bot.flows import cleanup, register, rehearse, stop, undo
from bot.flows.context import Context
from bot.flows.drawing import run_line
from bot.flows.records import entry, save, say
from bot.flows.respond import upstream_tasks
from bot.flows.review import open_review
from bot.flows.wording import name_of, proven
from runbooks.errors import TransitionRefused
from runbooks.incident import Incident
from runbooks.people import Actor
from runbooks.run import IN_FLIGHT, Mitigation, RunState, Verdict
from runbooks.screens import ResolveDialog, RunLine
from runbooks.timeline import EntryKind
from runbooks.value import Json
from storage import drills, incidents, mitigations, runs, tasks
from storage.database import Tx

CHOICES = ("revert", "keep", "hand")


def dialog(tx: Tx, ctx: Context, incident: Incident) -> ResolveDialog:
    """What the person is asked, with what fixed it proposed from the verified runs."""
    all_runs = runs.of_incident(tx, incident.id)
    return ResolveDialog(
        incident=incident,
        proposed=proposed([run_line(ctx, ctx.shelf.pinned(tx, run.runbook), run, []) for run in all_runs], incident),
        mitigations=tuple(open_mitigations(tx, incident.id)),
        people=tuple(ctx.directory.people),
        to_clean=() if incident.is_drill else tuple(item.title for _, item in cleanup.open_items(tx, incident.id)),
        running=tuple(run.title for run in all_runs if run.state in IN_FLIGHT),
    )


def proposed(lines: list[RunLine], incident: Incident) -> str:
    """What fixed it, as far as the record shows."""
    worked = [line for line in lines if line.run.state is RunState.VERIFIED and line.run.verdict is Verdict.VERIFIED]
    if worked:
        return "; ".join(proven(line) for line in worked)
    return "The alert ended by itself." if incident.alerts_clear_at else ""


def open_mitigations(tx: Tx, incident_id: int) -> list[Mitigation]:
    """What still stands of what was changed in this incident."""
    return [item for item in mitigations.of_incident(tx, incident_id) if item.ended_at is None]


def resolve(
    tx: Tx, ctx: Context, incident: Incident, *, resolution: str, choices: dict[str, Json], carrier: str | None, by: Actor, now: datetime
) -> dict[str, str]:
    """Resolve, or answer what is missing by form field. Nothing is changed where anything is missing.

    Raises:
        TransitionRefused: it is over already.
    """
    if missing := _missing(tx, incident, resolution, choices, carrier):
        return missing
    for item in open_mitigations(tx, incident.id) if not incident.is_drill else ():
        _settle(tx, ctx, item, str(choices.get(str(item.id)) or "hand"), carrier or by.id, by=by, now=now)
    if carrier and not incident.is_drill:
        cleanup.hand(tx, ctx, incident, carrier=carrier, by=by, now=now)
    before = incidents.get(tx, incident.id)
    after = before.resolved(by=by.id, resolution=resolution.strip(), now=now)
    said = [
        entry(EntryKind.INCIDENT_RESOLVED, f"Resolved by {by.id}: {resolution.strip()}", now=now, actor=by, resolution=resolution.strip())
    ]
    if before.mitigated_at is None:
        said.insert(0, entry(EntryKind.INCIDENT_MITIGATED, f"{by.id} says that it is over.", now=now, actor=by))
    save(tx, before=before, after=after, entries=said, now=now, tasks_too=upstream_tasks(after, "resolve", by))
    stop.drop(tx, ctx, after, reason=f"{after.ref} is resolved; nothing was changed.", now=now)
    if after.drill_id is not None:
        rehearse.finish(tx, ctx, drills.get(tx, after.drill_id), by=by, now=now, reason=f"Resolved by {name_of(ctx, by.id)}.")
        return {}
    review = open_review(tx, ctx, after, now=now)
    again = rehearse.plan_again(tx, ctx, after, now=now)
    note = say(
        key=f"resolved:{after.id}",
        screen="resolved",
        incident_id=after.id,
        review=review.id if review else None,
        drill=again.id if again else None,
    )
    tasks.enqueue(tx, note)
    return {}


def _missing(tx: Tx, incident: Incident, resolution: str, choices: dict[str, Json], carrier: str | None) -> dict[str, str]:
    if not incident.is_open:
        raise TransitionRefused(f"{incident.ref} is resolved; nothing was changed.")
    missing = {}
    if not resolution.strip():
        missing["resolution"] = "Say in a few words what fixed it, or that it went away by itself."
    for item in open_mitigations(tx, incident.id):
        choice = choices.get(str(item.id))
        if choice not in CHOICES:
            missing["mitigations"] = f"Say what becomes of {item.title}: undo it, keep it until it ends, or hand it to somebody."
        elif choice == "hand" and not carrier:
            missing["carrier"] = f"Name who carries {item.title} from here on."
    to_clean = [] if incident.is_drill else [item.title for _, item in cleanup.open_items(tx, incident.id)]
    if to_clean and not carrier:
        missing["carrier"] = f"Name who sees to what is still to be cleaned up: {', '.join(to_clean)}."
    busy = [run.title for run in runs.of_incident(tx, incident.id) if run.state in IN_FLIGHT]
    if busy:
        missing["resolution"] = f"Still going on: {', '.join(busy)}. Wait for its end, or undo it first."
    return missing


def _settle(tx: Tx, ctx: Context, item: Mitigation, choice: str, carrier: str, *, by: Actor, now: datetime) -> None:
    match choice:
        case "revert":
            undo.request(tx, ctx, runs.get(tx, item.run_id), by=by, reason="Undone on resolving.", now=now)
        case "hand":
            register.hand(tx, item, to=carrier, by=by, now=now)
            _tell_carrier(tx, ctx, item, carrier, by=by, now=now)
        case _:
            register.hand(tx, item, to=item.owner if ctx.directory.person(item.owner) else by.id, by=by, now=now)


def _tell_carrier(tx: Tx, ctx: Context, item: Mitigation, carrier: str, *, by: Actor, now: datetime) -> None:
    """Whoever is to answer for a change hears of it, also when they took no part in the incident."""
    person = ctx.directory.person(carrier)
    if person is None or person.slack_id is None or carrier in {by.id, item.owner}:
        return
    until = f" It ends {item.ends_at:%Y-%m-%d %H:%M} UTC." if item.ends_at else ""
    what = f"{item.title} on {item.target}"
    text = f"{name_of(ctx, by.id)} resolved INC-{item.incident_id} and handed {what} to you; it is still in force.{until}"
    key = f"handed:{item.id}:{carrier}:{int(now.timestamp() * 1000)}"
    where = {"lane": f"dm:{person.slack_id}", "to": person.slack_id}
    tasks.enqueue(tx, say(key=key, screen="notice", incident_id=item.incident_id, text=text, **where))
