"""Drills: due each quarter, started by a person, the real path with a simulated world of their own, graded (mission H, path C)."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from bot.flows import receive, register, stop
from bot.flows.context import Context
from bot.flows.records import entry, redraw_run, save, say
from bot.flows.rights import release_locks
from bot.flows.sweeping import PUT_OFF, each
from bot.flows.wording import name_of
from bot.settlement import Settled, Settlement
from runbooks.alert import Alert, AlertStatus
from runbooks.calendar import business_moment, quarter_of
from runbooks.drill import Drill, DrillState, Finding
from runbooks.errors import NotFound, TransitionRefused
from runbooks.grading import due_in_quarter, due_in_rest, grade
from runbooks.incident import Incident
from runbooks.people import MUSTER, Actor
from runbooks.run import IN_FLIGHT, RunState
from runbooks.runbook import Runbook
from runbooks.severity import Severity
from runbooks.timeline import EntryKind
from runbooks.value import Json
from storage import drills, incidents, ledger, runbook_versions, runs, tasks, timeline
from storage.database import Tx
from storage.tasks import NewTask, Task

OVERDUE_AFTER = timedelta(days=7)
OVER = "The drill is over and its world is gone."


def plan_now(tx: Tx, ctx: Context, *, now: datetime) -> None:
    """This quarter's drills, for runbooks that have none yet: on the first start, and when a runbook is new."""
    slot = quarter_of(now, zone=ctx.policy.time_zone)
    args = {"slot": slot, "slot_at": now.isoformat()}
    tasks.enqueue(tx, NewTask(key=f"plan_drills:first:{slot}:{_library_key(ctx)}", kind="plan_drills", args=args))


def _library_key(ctx: Context) -> str:
    ids = ",".join(sorted(runbook.id for runbook in ctx.shelf.library.all))
    return hashlib.sha256(ids.encode()).hexdigest()[:16]


def plan_quarter(ctx: Context, task: Task) -> Settlement:
    """One drill for each runbook in the slot's quarter; what is planned already stays as it is."""
    at = datetime.fromisoformat(str(task.args["slot_at"]))

    def apply(tx: Tx) -> None:
        for runbook in ctx.shelf.library.all:
            plan(tx, ctx, runbook, at=at, now=ctx.now())

    return Settled(apply=apply)


def plan(tx: Tx, ctx: Context, runbook: Runbook, *, at: datetime, now: datetime) -> Drill:
    """The drill of this runbook for the quarter of `at`: on the runbook's own day, or on one of the days left when that is past."""
    zone = ctx.policy.time_zone
    slot = quarter_of(at, zone=zone)
    if known := drills.in_slot(tx, runbook.id, slot):
        return known
    due_at = due_in_quarter(runbook.id, at, zone=zone, hour=ctx.policy.drill_hour, holidays=ctx.policy.holidays)
    if due_at <= now:
        due_at = due_in_rest(runbook.id, now, zone=zone, hour=ctx.policy.drill_hour, holidays=ctx.policy.holidays)
    team = ctx.directory.team(runbook.header.owner)
    lead = team.lead if team else None
    return drills.add(tx, Drill(id=0, runbook=runbook.id, slot=slot, state=DrillState.PLANNED, lead=lead, due_at=due_at), next_at=due_at)


def plan_again(tx: Tx, ctx: Context, incident: Incident, *, now: datetime) -> Drill | None:
    """A re-drill of the runbook that a real incident followed, within three weeks (mission H1); none for a lesser one."""
    runbook = ctx.shelf.runbook(incident.match.runbook.id)
    if runbook is None or incident.severity.rank > Severity.SEV2.rank:
        return None
    slot = f"after {incident.ref}"
    if known := drills.in_slot(tx, runbook.id, slot):
        return known
    soon = now + ctx.policy.redrill_within - timedelta(days=7)
    due_at = business_moment(soon, zone=ctx.policy.time_zone, hour=ctx.policy.drill_hour, holidays=ctx.policy.holidays)
    team = ctx.directory.team(runbook.header.owner)
    drill = Drill(id=0, runbook=runbook.id, slot=slot, state=DrillState.PLANNED, lead=team.lead if team else None, due_at=due_at)
    return drills.add(tx, drill, next_at=due_at)


def sweep(ctx: Context) -> int:
    """Ask leads whose drill is due, send injects, and end drills whose time is over."""

    def work(tx: Tx) -> int:
        now = ctx.now()
        _stop_for_real(tx, ctx, now=now)
        due = drills.due(tx, now, limit=50)
        return each(tx, due, lambda drill: _due(tx, ctx, drill, now=now), put_off=lambda drill: drills.wake(tx, drill.id, now + PUT_OFF))

    def look(tx: Tx) -> object:
        return drills.due(tx, ctx.now(), limit=1) or drills.in_states(tx, [DrillState.RUNNING])

    return ctx.write_if(look, work, name="rehearse")


def _due(tx: Tx, ctx: Context, drill: Drill, *, now: datetime) -> None:
    match drill.state:
        case DrillState.PLANNED:
            _ask(tx, ctx, drill, now=now)
        case DrillState.ASKED:
            _overdue(tx, ctx, drill)
        case DrillState.RUNNING:
            _carry_on(tx, ctx, drill, now=now)
        case _:
            drills.save(tx, drill, was=drill.state, next_at=None)


def _ask(tx: Tx, ctx: Context, drill: Drill, *, now: datetime) -> None:
    """Ask the lead; in a freeze, ask on the first day after it."""
    day = now.astimezone(ZoneInfo(ctx.policy.time_zone)).date()
    if ctx.policy.frozen(day) is not None:
        noon = datetime.combine(day + timedelta(days=1), time(12), ZoneInfo(ctx.policy.time_zone))
        later = business_moment(noon, zone=ctx.policy.time_zone, hour=ctx.policy.drill_hour, holidays=ctx.policy.holidays)
        drills.save(tx, drill.model_copy(update={"due_at": later}), was=drill.state, next_at=later)
        return
    asked = drill.model_copy(update={"state": DrillState.ASKED, "asked_at": now})
    drills.save(tx, asked, was=drill.state, next_at=now + OVERDUE_AFTER)
    _invite(tx, ctx, asked, key=f"drill:{drill.id}:ask:{drill.due_at:%Y%m%d}", overdue=False)


def _overdue(tx: Tx, ctx: Context, drill: Drill) -> None:
    """Asked a week ago and neither started nor moved: said once more, to the team's channel as well."""
    drills.save(tx, drill, was=drill.state, next_at=None)
    _invite(tx, ctx, drill, key=f"drill:{drill.id}:overdue:{drill.due_at:%Y%m%d}", overdue=True)


def _invite(tx: Tx, ctx: Context, drill: Drill, *, key: str, overdue: bool) -> None:
    lead = ctx.directory.person(drill.lead) if drill.lead else None
    to_lead = lead is not None and lead.slack_id is not None
    args: dict[str, Json] = {"drill": drill.id, "overdue": overdue, "remember": f"drill:{drill.id}", "revision": 1}
    if lead is not None and to_lead:
        tasks.enqueue(tx, say(key=key, screen="drill_invitation", lane=f"dm:{lead.slack_id}", to=lead.slack_id, **args))
    if overdue or not to_lead:
        tasks.enqueue(tx, say(key=f"{key}:channel", screen="drill_invitation", lane="drills", channel=_channel(ctx, drill), **args))


def _channel(ctx: Context, drill: Drill) -> str:
    runbook = ctx.shelf.runbook(drill.runbook)
    team = ctx.directory.team(runbook.header.owner) if runbook else None
    return (team.channel if team else None) or ctx.policy.default_channel


def start(tx: Tx, ctx: Context, drill: Drill, *, by: Actor, now: datetime) -> Drill:
    """Start it: the world is made by a task, then the drill's alert takes the real path. A second press changes nothing.

    Raises:
        TransitionRefused: it is over, or a real SEV1 or SEV2 is open and comes first.
    """
    if drill.state is DrillState.RUNNING:
        return drill
    if drill.state not in {DrillState.PLANNED, DrillState.ASKED}:
        raise TransitionRefused(f"This drill is {drill.state.value}; plan another one with /muster drill {drill.runbook}.")
    real = [item for item in incidents.open_ones(tx, drills=False) if item.severity.rank <= 2]
    if real:
        raise TransitionRefused(f"{real[0].ref} is a real {real[0].severity.value} and comes first. Start the drill when it is over.")
    runbook = ctx.shelf.runbook(drill.runbook)
    if runbook is None:
        raise NotFound(f"The runbook {drill.runbook} is not loaded.")
    ends_at = now + timedelta(seconds=runbook.header.drill.ends_after)
    running = drill.model_copy(
        update={
            "state": DrillState.RUNNING,
            "ref": runbook.ref,
            "started_at": now,
            "started_by": by.id,
            "ends_at": ends_at,
            "world": f"drill-{drill.id}",
        }
    )
    drills.save(tx, running, was=drill.state, next_at=ends_at)
    runbook_versions.keep(tx, runbook, seen_at=now)
    tasks.enqueue(tx, NewTask(key=f"drill:{drill.id}:open", kind="open_drill", args={"drill": drill.id, "by": by.id}))
    return running


def open_drill(ctx: Context, task: Task) -> Settlement:
    """Make the drill's world, then let its alert take the real path. Making a world that exists changes nothing."""
    drill_id = int(task.args["drill"])
    drill = ctx.read(lambda tx: drills.get(tx, drill_id))
    if drill.state is not DrillState.RUNNING or drill.ref is None or drill.world is None:
        return Settled(result={"skipped": drill.state.value})
    ref = drill.ref
    runbook = ctx.read(lambda tx: ctx.shelf.pinned(tx, ref))
    ctx.open_world(drill.world, runbook.header.drill.world.model_dump())
    return Settled(apply=lambda tx: _inject_alert(tx, ctx, drill_id, runbook, by=str(task.args["by"])))


def _inject_alert(tx: Tx, ctx: Context, drill_id: int, runbook: Runbook, *, by: str) -> None:
    drill, now = drills.get(tx, drill_id), ctx.now()
    if drill.state is not DrillState.RUNNING and drill.world is not None:
        # It was ended while its world was being made, and its world may have come after it was taken away.
        tasks.enqueue(tx, NewTask(key=f"drill:{drill.id}:close:late", kind="close_drill", args={"drill": drill.id}))
    if drill.state is not DrillState.RUNNING or drill.incident_id is not None or drill.world is None:
        return
    labels = dict(runbook.header.drill.alert)
    alert = Alert(
        source="drill",
        fingerprint=f"drill-{drill.id}",
        status=AlertStatus.FIRING,
        labels=labels,
        title=runbook.header.title,
        starts_at=now,
    )
    (incident,) = receive.fold(
        tx, ctx, [alert], now=now, rehearsal=receive.Rehearsal(drill_id=drill.id, world=drill.world, runbook=runbook)
    )
    said = entry(EntryKind.DRILL_STARTED, f"DRILL of {runbook.id} v{runbook.header.version} started by {by}.", now=now, drill=drill.id)
    ledger.record(tx, incident.id, [said], now=now)
    drills.save(tx, drill.model_copy(update={"incident_id": incident.id}), was=drill.state, next_at=_next(drill, runbook, now=now))


def _next(drill: Drill, runbook: Runbook, *, now: datetime) -> datetime | None:
    """The next moment at which the drill needs the sweep: an inject, or its end."""
    if drill.started_at is None or drill.ends_at is None:
        return now
    started = drill.started_at
    injects = (
        started + timedelta(seconds=inject.after)
        for index, inject in enumerate(runbook.header.drill.injects)
        if index not in drill.injected
    )
    return min(*injects, drill.ends_at, drill.ends_at)


def _carry_on(tx: Tx, ctx: Context, drill: Drill, *, now: datetime) -> None:
    if drill.ref is None or drill.started_at is None:
        return
    runbook = ctx.shelf.pinned(tx, drill.ref)
    if drill.incident_id is not None:
        drill = _send_injects(tx, drill, runbook, incident_id=drill.incident_id, started=drill.started_at, now=now)
    if drill.ends_at is not None and now >= drill.ends_at:
        finish(tx, ctx, drill, by=MUSTER, now=now, reason="Its time was over.")
    else:
        drills.save(tx, drill, was=drill.state, next_at=_next(drill, runbook, now=now))


def _send_injects(tx: Tx, drill: Drill, runbook: Runbook, *, incident_id: int, started: datetime, now: datetime) -> Drill:
    ran = {run.step for run in runs.of_incident(tx, incident_id) if run.executed_at is not None}
    for index, inject in enumerate(runbook.header.drill.injects):
        if index in drill.injected or now < started + timedelta(seconds=inject.after):
            continue
        drill = drill.model_copy(update={"injected": (*drill.injected, index)})
        if inject.unless is None or inject.unless not in ran:
            ledger.record(tx, incident_id, [entry(EntryKind.DRILL_INJECT, inject.message, now=now, drill=drill.id)], now)
            text = f"Inject: {inject.message}"
            tasks.enqueue(tx, say(key=f"drill:{drill.id}:inject:{index}", screen="notice", incident_id=incident_id, text=text))
    return drill


def abort(tx: Tx, ctx: Context, drill: Drill, *, by: Actor, now: datetime, reason: str = "") -> Drill:
    """Anyone may end a drill at once; an aborted one is not graded. A second time changes nothing."""
    if drill.state is not DrillState.RUNNING:
        return drill
    return _close(
        tx, ctx, drill, state=DrillState.ABORTED, findings=(), by=by, now=now, reason=reason or f"Aborted by {name_of(ctx, by.id)}."
    )


def finish(tx: Tx, ctx: Context, drill: Drill, *, by: Actor, now: datetime, reason: str) -> Drill:
    """The drill is over: grade it by its pinned runbook and report."""
    if drill.state is not DrillState.RUNNING or drill.ref is None:
        return drill
    if drill.incident_id is None:
        return _close(
            tx, ctx, drill, state=DrillState.ABORTED, findings=(), by=by, now=now, reason="It never began: its world did not open."
        )
    runbook = ctx.shelf.pinned(tx, drill.ref)
    findings = grade(
        runbook.header.drill,
        incident=incidents.get(tx, drill.incident_id),
        runs=runs.of_incident(tx, drill.incident_id),
        entries=timeline.of(tx, drill.incident_id),
        titles={action.id: action.title for action in runbook.header.actions},
    )
    state = DrillState.PASSED if all(finding.passed for finding in findings) else DrillState.FAILED
    return _close(tx, ctx, drill, state=state, findings=findings, by=by, now=now, reason=reason)


def _close(
    tx: Tx, ctx: Context, drill: Drill, *, state: DrillState, findings: Sequence[Finding], by: Actor, now: datetime, reason: str
) -> Drill:
    closed = drill.model_copy(update={"state": state, "findings": tuple(findings), "ended_at": now, "reason": reason})
    drills.save(tx, closed, was=drill.state, next_at=None)
    if drill.incident_id is not None:
        _close_incident(tx, ctx, incidents.get(tx, drill.incident_id), closed, by=by, now=now)
    where: dict[str, Json] = (
        {"incident_id": drill.incident_id} if drill.incident_id else {"channel": _channel(ctx, drill), "lane": "drills"}
    )
    tasks.enqueue(
        tx,
        say(key=f"drill:{drill.id}:report", screen="drill_report", drill=drill.id, **where),
        NewTask(key=f"drill:{drill.id}:close", kind="close_drill", args={"drill": drill.id}),
    )
    return closed


def _close_incident(tx: Tx, ctx: Context, incident: Incident, drill: Drill, *, by: Actor, now: datetime) -> None:
    """End the rehearsed incident and whatever of it was still under way: its world goes away with it."""
    stop.drop(tx, ctx, incident, reason=OVER, now=now)
    for run in runs.of_incident(tx, incident.id):
        if run.state in IN_FLIGHT:
            ended = RunState.FAILED if run.state is RunState.RUNNING else RunState.INCONCLUSIVE
            runs.save(tx, run.to(ended, ended_at=now, reason=OVER), was=run.state, next_at=None)
            release_locks(tx, incident, run)
        if run.executed_at is not None:
            register.ended(tx, run, reason=OVER, now=now)
        if run.started_at is not None:
            tasks.enqueue(tx, redraw_run(run, now=now))
    said = entry(
        EntryKind.DRILL_ENDED, f"DRILL {drill.state.value}. {drill.reason}", now=now, actor=by, drill=drill.id, state=drill.state.value
    )
    after = (
        incident.resolved(by=by.id, resolution=f"The drill is over: {drill.state.value}.", now=now)
        if incident.is_open
        else incident.redrawn()
    )
    save(tx, before=incident, after=after, entries=[said], now=now)


def close_drill(ctx: Context, task: Task) -> Settlement:
    """Take the drill's world away. Taking away what is gone changes nothing."""
    drill = ctx.read(lambda tx: drills.get(tx, int(task.args["drill"])))
    if drill.world:
        ctx.close_world(drill.world)
    return Settled()


def move(tx: Tx, ctx: Context, drill: Drill, *, to: datetime, by: Actor, now: datetime) -> Drill:
    """Another day within its quarter.

    Raises:
        TransitionRefused: it has begun, or the day is past or outside its quarter.
    """
    if drill.state not in {DrillState.PLANNED, DrillState.ASKED}:
        raise TransitionRefused(f"This drill is {drill.state.value} and cannot be moved.")
    zone = ctx.policy.time_zone
    if drill.slot.startswith("after "):
        if not now < to <= drill.due_at + timedelta(days=14):
            raise TransitionRefused("Choose a day after today, at most two weeks later: a re-drill belongs to its incident.")
    elif to <= now or quarter_of(to, zone=zone) != drill.slot:
        raise TransitionRefused(f"Choose a day after today within {drill.slot}; a quarter without a drill is a gap.")
    moved = drill.model_copy(
        update={"state": DrillState.PLANNED, "due_at": to, "asked_at": None, "reason": f"Moved by {name_of(ctx, by.id)}."}
    )
    drills.save(tx, moved, was=drill.state, next_at=to)
    return moved


def _stop_for_real(tx: Tx, ctx: Context, *, now: datetime) -> None:
    """A real SEV1 or SEV2 meanwhile ends every running drill: the same people are needed (mission H2)."""
    running = drills.in_states(tx, [DrillState.RUNNING])
    real = [item for item in incidents.open_ones(tx, drills=False) if item.severity.rank <= 2] if running else []
    if real:  # none was when the drill began: it has opened since, or grown worse
        reason = f"{real[-1].ref} is real and comes first."
        each(tx, running, lambda drill: abort(tx, ctx, drill, by=MUSTER, now=now, reason=reason), put_off=lambda _drill: None)
