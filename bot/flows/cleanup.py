"""What a bad release left behind: a checklist after the rollback is verified, ticked by measurement or by a person (mission D3).

It is looked at until it is done or the post-mortem is written; what is open when the incident is resolved has a named carrier.
"""

from datetime import datetime, timedelta

from actions.toolkit import releases
from actions.wording import limit, number
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.execution import action_of, load
from bot.flows.records import entry, redraw_run, save, say
from bot.flows.respond import measure
from bot.flows.wording import name_of
from bot.settlement import Settled, Settlement
from runbooks.change import ChangeKind
from runbooks.duration import in_words
from runbooks.incident import Incident
from runbooks.operation import Measurement
from runbooks.people import MUSTER, Actor
from runbooks.postmortem import ReviewState
from runbooks.run import ActionRun, CleanItem, RunState
from runbooks.runbook import Action
from runbooks.screens import CleanUpMessage
from runbooks.timeline import EntryKind
from runbooks.value import Json
from storage import changes, incidents, ledger, reviews, runs, tasks
from storage.database import Tx
from storage.tasks import NewTask, Task

EVERY = timedelta(minutes=1)
EVERY_AFTERWARDS = timedelta(minutes=10)
"""Between two measurements: often while people look at it, seldom once the incident is resolved."""

FAR_BACK = timedelta(days=30)
_RELEASES = frozenset({ChangeKind.RELEASE, ChangeKind.MODEL, ChangeKind.PROMPT, ChangeKind.DEPLOY, ChangeKind.INDEX, ChangeKind.FLAG})


def begin(tx: Tx, ctx: Context, run: ActionRun, incident: Incident, *, now: datetime) -> ActionRun:
    """The run is verified: what its action declares to be cleaned up stands in the thread and on the timeline."""
    action = action_of(ctx.shelf.pinned(tx, run.runbook), run)
    if not action.cleanup or run.cleanup or run.state is not RunState.VERIFIED:
        return run
    items = tuple(CleanItem(title=item.title, diagnostic=item.diagnostic, manual=item.manual or "") for item in action.cleanup)
    opened = run.with_(cleanup=items, exposed_from_at=_exposed_from(tx, run, incident))
    runs.save(tx, opened, was=run.state, next_at=now if any(item.diagnostic for item in items) else None)
    listed = ", ".join(item.title for item in items)
    exposed = exposure(opened)
    said = entry(
        EntryKind.CLEANUP_OPENED,
        f"To be cleaned up after {run.title}: {listed}.{f' {exposed}' if exposed else ''}",
        now=now,
        run=run.id,
        items=[item.title for item in items],
        exposed_from=opened.exposed_from_at.isoformat() if opened.exposed_from_at else None,
        exposed_until=opened.executed_at.isoformat() if opened.executed_at else None,
    )
    ledger.record(tx, incident.id, [said], now=now)
    tasks.enqueue(tx, _redrawn(opened, now=now))
    return opened


def _exposed_from(tx: Tx, run: ActionRun, incident: Incident) -> datetime | None:
    """Since when the state that was taken away had its effect: by the far side, by the list of releases, by the change feed."""
    if run.plan is None:
        return None
    before = run.plan.before
    running = releases.version(before)
    released = next((one.at for one in releases.known(before) if running and one.version == running), None)
    return before.changed_at or released or _last_change(tx, run, incident)


def _last_change(tx: Tx, run: ActionRun, incident: Incident) -> datetime | None:
    until = run.started_at or run.requested_at
    services = [incident.service] if incident.service else []
    lately = changes.between(tx, until - FAR_BACK, until, services=services)
    touched = set(run.plan.targets) if run.plan else set()
    return next((one.changed_at for one in lately if one.kind in _RELEASES and one.target in touched), None)


def exposure(run: ActionRun) -> str:
    """From when until when what was replaced was live, in a sentence; empty where that is not known."""
    since, until = run.exposed_from_at, run.executed_at
    if since is None or until is None or until <= since:
        return ""
    lasted = in_words((until - since).total_seconds())
    return f"What it replaced was live from {since:%Y-%m-%d %H:%M} UTC to {until:%Y-%m-%d %H:%M} UTC, for {lasted}."


def check(ctx: Context, task: Task) -> Settlement:
    """Measure what is still open of a clean-up and can be measured. Reading is harmless, so a repetition is."""
    run_id = int(task.args["run"])
    run, incident, runbook = ctx.read(lambda tx: load(tx, ctx, run_id))
    asked = {item.diagnostic for item in run.to_clean if item.diagnostic}
    if run.state is not RunState.VERIFIED or not asked:
        return Settled(result={"state": run.state.value})
    diagnostics = [found for name in sorted(asked) if (found := runbook.diagnostic(name))]
    measured = {one.id: measure(ctx, incident, one) for one in diagnostics}
    return Settled(apply=lambda tx: _ticked(tx, ctx, run_id, measured))


def _ticked(tx: Tx, ctx: Context, run_id: int, measured: dict[str, Measurement]) -> None:
    run, incident, runbook = load(tx, ctx, run_id)
    now, action = ctx.now(), action_of(runbook, run)
    if run.state is not RunState.VERIFIED:
        return
    items = [_looked_at(item, action, number_, measured.get(item.diagnostic or ""), now=now) for number_, item in enumerate(run.cleanup)]
    after = run.with_(cleanup=tuple(items))
    newly = [(was, item) for was, item in zip(run.cleanup, items, strict=True) if was.done_at is None and item.done_at is not None]
    runs.save(tx, after, was=run.state, next_at=_next(tx, after, incident, now=now))
    for _, item in newly:
        found = measured[item.diagnostic or ""]
        text = f"Clean: {item.title}. {found.title} is {number(item.value or 0.0, found.unit)}."
        ledger.record(tx, incident.id, [entry(EntryKind.CLEANUP_DONE, text, now=now, run=run.id, item=item.title)], now=now)
    if after.cleanup != run.cleanup:
        tasks.enqueue(tx, _redrawn(after, now=now))


def _looked_at(item: CleanItem, action: Action, place: int, measured: Measurement | None, *, now: datetime) -> CleanItem:
    holds = action.cleanup[place].holds
    if item.done_at is not None or measured is None or measured.error is not None or measured.value is None or holds is None:
        return item
    seen = item.model_copy(update={"value": measured.value})
    return seen.model_copy(update={"done_at": now, "done_by": MUSTER.id}) if holds.holds(measured.value) else seen


def _next(tx: Tx, run: ActionRun, incident: Incident, *, now: datetime) -> datetime | None:
    """When to measure again: never once nothing measurable is open, or the post-mortem is written."""
    if not any(item.diagnostic for item in run.to_clean):
        return None
    if incident.is_open:
        return now + EVERY
    review = reviews.of_incident(tx, incident.id)
    return now + EVERY_AFTERWARDS if review is not None and review.state is ReviewState.DUE else None


def done(tx: Tx, ctx: Context, run: ActionRun, place: int, *, by: Actor, now: datetime) -> str:
    """A person says that one thing is cleaned up. It changes nothing in the world, so everybody whom Muster knows may.

    Raises:
        Refused: there is no such thing, or it is measured and not said.
    """
    if not 0 <= place < len(run.cleanup):
        raise Refused("unknown_button", "This clean-up has no such line. Use the newest message.")
    item = run.cleanup[place]
    if item.done_at is not None:
        return f"{item.title}: done already, by {name_of(ctx, item.done_by)} at {item.done_at:%H:%M} UTC."
    if item.diagnostic is not None:
        raise Refused("measured", f"{item.title} is measured; it is ticked when the measurement says so.", audit=False)
    if run.state is RunState.UNDONE:
        return f"{run.title} was undone; there is nothing to clean up."
    ticked = item.model_copy(update={"done_at": now, "done_by": by.id})
    after = run.with_(cleanup=(*run.cleanup[:place], ticked, *run.cleanup[place + 1 :]))
    runs.save(tx, after, was=run.state)
    before = incidents.get(tx, run.incident_id)
    said = entry(EntryKind.CLEANUP_DONE, f"{by.id} cleaned up: {item.title}.", now=now, actor=by, run=run.id, item=item.title)
    save(tx, before=before, after=before.redrawn(), entries=[said], now=now, tasks_too=[_redrawn(after, now=now)])
    return f"Noted: {item.title} is done."


def open_items(tx: Tx, incident_id: int) -> list[tuple[ActionRun, CleanItem]]:
    """What is still to be cleaned up after the runs of this incident."""
    return [(run, item) for run in runs.of_incident(tx, incident_id) for item in run.to_clean]


def hand(tx: Tx, ctx: Context, incident: Incident, *, carrier: str, by: Actor, now: datetime) -> None:
    """Name who carries what is still open when the incident is resolved (rule S23)."""
    for run in runs.of_incident(tx, incident.id):
        if not run.to_clean:
            continue
        items = tuple(item if item.done_at else item.model_copy(update={"carrier": carrier}) for item in run.cleanup)
        after = run.with_(cleanup=items)
        runs.save(tx, after, was=run.state)
        listed = ", ".join(item.title for item in run.to_clean)
        said = entry(
            EntryKind.CLEANUP_HANDED,
            f"{by.id} hands what is still to be cleaned up to {carrier}: {listed}.",
            now=now,
            actor=by,
            run=run.id,
            carrier=carrier,
            items=[item.title for item in run.to_clean],
        )
        ledger.record(tx, incident.id, [said], now=now)
        tasks.enqueue(tx, _redrawn(after, now=now), *_told(ctx, incident, run, listed, carrier, by=by))


def _told(ctx: Context, incident: Incident, run: ActionRun, listed: str, carrier: str, *, by: Actor) -> list[NewTask]:
    person = ctx.directory.person(carrier)
    if person is None or person.slack_id is None or carrier == by.id:
        return []
    text = f"{name_of(ctx, by.id)} resolved {incident.ref} and handed to you what is still to be cleaned up after {run.title}: {listed}."
    where = {"lane": f"dm:{person.slack_id}", "to": person.slack_id}
    return [say(key=f"clean:{run.id}:{carrier}", screen="notice", incident_id=incident.id, text=text, **where)]


def checklists(tx: Tx, ctx: Context, *, incident_id: int | None = None, done: bool = False) -> list[CleanUpMessage]:
    """What is still to be cleaned up after verified runs, of one incident or of all; with what is done, where it is asked for."""
    found = [run for run in runs.with_cleanup(tx) if incident_id in {None, run.incident_id} and (done or run.to_clean)]
    return [shown for run in found if (shown := checklist(tx, ctx, run.id))]


def message(tx: Tx, ctx: Context, args: dict[str, Json]) -> CleanUpMessage | None:
    """The checklist of the run that `args` name."""
    return checklist(tx, ctx, int(args["run"]))


def checklist(tx: Tx, ctx: Context, run_id: int) -> CleanUpMessage | None:
    """The checklist as it stands; None for a run that left nothing to be cleaned up."""
    run, incident, runbook = load(tx, ctx, run_id)
    if not run.cleanup:
        return None
    people = {name: name_of(ctx, name) for item in run.cleanup for name in (item.done_by, item.carrier) if name}
    action = action_of(runbook, run)
    return CleanUpMessage(
        incident=incident,
        run=run,
        shown=tuple(_shown(item, action, place) for place, item in enumerate(run.cleanup)),
        exposed=exposure(run),
        people=people,
        over=f"{run.title} was undone; there is nothing to clean up." if run.state is RunState.UNDONE else None,
    )


def _shown(item: CleanItem, action: Action, place: int) -> str:
    """What is to be done, or what must be measured and is."""
    holds = action.cleanup[place].holds
    if item.diagnostic is None or holds is None:
        return item.manual
    found = f", is {number(item.value, beside=holds.limit)}" if item.value is not None else ""
    return f"measured, must be {limit(holds)}{found}"


def _redrawn(run: ActionRun, *, now: datetime) -> NewTask:
    revision = int(now.timestamp() * 1000) + sum(item.done_at is not None for item in run.cleanup)
    args = {"screen": "cleanup", "run": run.id, "incident": run.incident_id, "remember": f"cleanup:{run.id}", "revision": revision}
    return NewTask(key=f"cleanup:{run.id}:{run.state.value}:{revision}", kind="redraw", args=args, lane=f"run:{run.id}")


def dropped(run: ActionRun, *, now: datetime) -> list[NewTask]:
    """The run was undone: its checklist says so."""
    return [redraw_run(run, now=now), *([_redrawn(run, now=now)] if run.cleanup else [])]
