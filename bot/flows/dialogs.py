"""Dialogs as data: the plan, everything else that can be done, the match, dates (cards.md, screens 2 and "More")."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from actions import guards
from actions.toolkit import releases
from bot.flows import breaking, freezing, stop
from bot.flows.context import Context
from bot.flows.drawing import buttons, card, freshness_of, roles
from bot.flows.errors import Refused
from bot.flows.records import card_task, entry, save, say
from bot.flows.rights import attempt, circle_of, guard_state
from bot.flows.wording import name_of
from bot.ports import Reply
from bot.settlement import Settled, Settlement
from runbooks import approval
from runbooks.calendar import business_moment, quarter_end
from runbooks.drill import Drill
from runbooks.duration import in_words
from runbooks.incident import Incident, Match
from runbooks.operation import Plan
from runbooks.people import Actor
from runbooks.run import IN_FLIGHT, ActionRun, Mitigation, RunState
from runbooks.runbook import Action, Parameter
from runbooks.screens import (
    Dialog,
    DrillMoveDialog,
    ExtendDialog,
    MatchDialog,
    MoreDialog,
    PlanDialog,
    Refusal,
    SeverityDialog,
)
from runbooks.severity import Severity
from runbooks.timeline import EntryKind
from storage import alerts, feedback, incidents, measurements, runbook_versions, runs, tasks, traces
from storage.database import Tx
from storage.feedback import Feedback
from storage.tasks import NewTask, Task

CANDIDATES = 20  # runbooks to choose from in "wrong runbook"; the likely ones come first


def show_plan(ctx: Context, task: Task) -> Settlement:
    """Fill the dialog that waits for its plan. It may be closed by now, which is no error."""
    run_id, view = int(task.args["run"]), str(task.args["view"])
    ctx.messenger.view(ctx.read(lambda tx: plan(tx, ctx, run_id)), view_id=view)
    return Settled()


def plan(tx: Tx, ctx: Context, run_id: int) -> Dialog:
    """The click that counts, with everything that it will do; or why there is none."""
    run = runs.get(tx, run_id)
    incident = incidents.get(tx, run.incident_id)
    if run.plan is None or run.state is not RunState.PLANNED:
        return Refusal(text=run.reason or f"{run.title} is {run.state.value}.", incident_id=incident.id, step=run.step, offer="none")
    now = ctx.now()
    runbook = ctx.shelf.pinned(tx, run.runbook)
    action = runbook.action(run.step)
    assert action is not None
    circle = circle_of(ctx, incident, now=now)
    needed = approval.needed(run.plan.tier, action.approval)
    helpers = approval.approvers(tier=run.plan.tier, circle=circle, but={run.requested_by})
    ends_at = now + timedelta(seconds=run.plan.ends_after) if run.plan.ends_after else None
    refusal, frozen = _refusal(tx, ctx, incident, run, action, now=now)
    return PlanDialog(
        incident=incident,
        run_id=run.id,
        title=run.title,
        plan=run.plan,
        plan_hash=run.plan.hash,
        tier=run.plan.tier,
        approvals=needed,
        approvers=", ".join(person.name for person in helpers[:3]) or "nobody",
        parameters={name: _offered(action, parameter, run.plan) for name, parameter in action.parameters.items()},
        choices_shown={name: _shown(run.plan) for name, parameter in action.parameters.items() if parameter.type == "release"},
        values=dict(run.plan.parameters),
        refusal=refusal,
        frozen=frozen,
        ends_at=ends_at,
        reminder_at=ends_at - ctx.policy.reminder_before if ends_at else None,
        last_run=_last_run(tx, incident, run, now=now),
        break_glass=needed > 0,
        anew=run.replaces is not None,
        expires_at=run.plan.made_at + ctx.policy.plan_life,
    )


def _offered(action: Action, parameter: Parameter, plan: Plan) -> Parameter:
    """The parameter with what there is to choose from: a target that the runbook allows, a release that is known to be good."""
    match parameter.type:
        case "target":
            return parameter.model_copy(update={"choices": action.targets})
        case "release":
            return parameter.model_copy(update={"choices": tuple(one.version for one in releases.candidates(plan.before))})
    return parameter


def _shown(plan: Plan) -> dict[str, str]:
    """Each release with what a person decides by: its score, its day, its note."""
    return {one.version: _release(one) for one in releases.candidates(plan.before)}


def _release(one: releases.Release) -> str:
    score = f"score {one.score:g}" if one.score is not None else "not evaluated"
    day = f"{one.at:%d %b %Y}" if one.at else ""
    return " · ".join(part for part in (one.version, score, day, one.note) if part)


def _refusal(tx: Tx, ctx: Context, incident: Incident, run: ActionRun, action: Action, *, now: datetime) -> tuple[str | None, str]:
    """Why it cannot run now, in the place where the button would be; and beside it what holds it up that its requester may override."""
    assert run.plan is not None
    if unmet := run.plan.blocked_by:
        return " ".join(check.text for check in unmet), ""
    wanted = attempt(incident, run, action, run.plan)
    state = guard_state(tx, ctx, incident, wanted, run=run, now=now)
    cleared = guards.guard(wanted, state, now=now)
    if not isinstance(cleared, guards.GuardRefused):
        return None, ""
    if cleared.reason not in freezing.LIFTABLE or run.requested_by not in _overriders(ctx, incident, run, now=now):
        return cleared.text, ""
    rest = freezing.in_the_way(wanted, state, now=now)
    return (rest.text, "") if isinstance(rest, guards.GuardRefused) else (None, cleared.text)


def _overriders(ctx: Context, incident: Incident, run: ActionRun, *, now: datetime) -> set[str]:
    return {person.id for person in approval.overriders(tier=run.tier, circle=circle_of(ctx, incident, now=now))}


def _last_run(tx: Tx, incident: Incident, run: ActionRun, *, now: datetime) -> str:
    since = now - timedelta(days=90)
    there = traces.since(tx, since, drill_id=incident.drill_id, target=run.target)
    before = [other for other in there if other.executed_at and other.id != run.id]
    if not before:
        return "not run on this target in the last 90 days"
    last = max(before, key=lambda other: other.requested_at)
    return f"last run {in_words((now - last.requested_at).total_seconds())} ago ({last.state.value})"


def more(tx: Tx, ctx: Context, incident: Incident, *, now: datetime) -> MoreDialog:
    """Everything else that can be done."""
    runbook = ctx.shelf.pinned(tx, incident.match.runbook)
    safe, gated = buttons(
        incident,
        runbook,
        measurements.latest(tx, incident.id),
        runs.of_incident(tx, incident.id),
        held=breaking.withheld(tx, ctx, incident),
    )
    return MoreDialog(
        incident=incident,
        gated_actions=gated,
        safe_actions=safe,
        freshness=freshness_of(tx, runbook, now=now, before=incident.id),
        links={"timeline": ctx.page_url(f"/incidents/{incident.id}")},
        owners=roles(ctx, incident),
        expires_at=now + ctx.policy.button_life,
    )


def match(tx: Tx, ctx: Context, incident: Incident) -> MatchDialog:
    """Why this runbook, and which others there are, nearest first."""
    title = ctx.shelf.pinned(tx, incident.match.runbook).header.title
    near = [other.runbook for other in incident.match.runners_up]
    rest = [runbook.id for runbook in ctx.shelf.library.all if runbook.id not in near]
    chosen = [name for name in (*near, *rest) if name != incident.match.runbook.id][:CANDIDATES]
    titles = {name: found.header.title for name in chosen if (found := ctx.shelf.runbook(name))}
    return MatchDialog(incident=incident, runbook_title=title, candidates=titles)


def wrong_runbook(tx: Tx, ctx: Context, incident: Incident, better: str, *, by: Actor, now: datetime) -> Reply:
    """Follow another runbook from here on, and keep the case for the matching's golden set (mission A4).

    What waits under the rejected one is dropped, so that nobody approves it any more (rules S7, S10).
    """
    runbook = ctx.shelf.runbook(better)
    if runbook is None:
        return Reply(errors={"runbook": "Choose the runbook that fits."})
    if runbook.ref == incident.match.runbook:
        return Reply(errors={"runbook": "This is the runbook that the incident follows already."})
    busy = [run.title for run in runs.of_incident(tx, incident.id) if run.state in IN_FLIGHT]
    if busy:
        return Reply(errors={"runbook": f"{busy[0]} is under way. Wait for its end, or undo it first."})
    runbook_versions.keep(tx, runbook, seen_at=now)
    first = next(iter(alerts.of_incident(tx, incident.id)), None)
    case = {"labels": incident.labels, "title": first.title if first else incident.title}
    feedback.add(
        tx,
        Feedback(incident_id=incident.id, chosen=incident.match.runbook.id, better=better, person=by.id, given_at=now, alert=case),
    )
    follows = Match(runbook=runbook.ref, score=1.0, reason=f"chosen by {by.id}", runners_up=incident.match.runners_up)
    after = incident.model_copy(
        update={
            "match": follows,
            "revision": incident.revision + 1,
            "incident_class": runbook.header.class_,
            "title": incident.title if runbook.header.fallback else runbook.header.title,
        }
    )
    said = entry(
        EntryKind.RUNBOOK_REJECTED,
        f"{by.id}: {incident.match.runbook.id} is the wrong runbook; {better} v{runbook.header.version} from here on.",
        now=now,
        actor=by,
        rejected=incident.match.runbook.model_dump(),
        runbook=runbook.ref.model_dump(),
    )
    round_ = int(now.timestamp())
    diagnose = NewTask(key=f"diagnose:{incident.id}:{round_}", kind="diagnose", args={"incident": incident.id, "round": 1})
    note = say(
        key=f"runbook:{incident.id}:{after.revision}",
        screen="notice",
        incident_id=incident.id,
        text=f"{name_of(ctx, by.id)} chose another runbook: {runbook.header.title}.",
    )
    save(tx, before=incident, after=after, entries=[said], now=now, tasks_too=[diagnose, note])
    stop.drop(tx, ctx, after, reason=f"{after.ref} follows {better} now; nothing was changed.", now=now)
    return Reply()


def severity(incident: Incident) -> SeverityDialog:
    """Choose the severity."""
    return SeverityDialog(incident=incident, choices=tuple(Severity))


def why_withheld(tx: Tx, ctx: Context, incident: Incident, step: str, *, now: datetime) -> str:
    """Why an action cannot be pressed now. If it can by now, the card is drawn anew."""
    screen = card(tx, ctx, incident, now=now)
    button = next((item for item in (*screen.safe_actions, *screen.gated_actions) if item.step == step), None)
    if button is None:
        raise Refused("undeclared", f"The runbook declares no action {step}.")
    if button.withheld:
        return f"{button.title} is withheld: {button.withheld}."
    _redraw(tx, incident)
    return f"{button.title} can be run now; the card is being redrawn. Press it again."


def _redraw(tx: Tx, incident: Incident) -> None:
    after = incident.redrawn()
    incidents.save(tx, after, was=incident.revision)
    tasks.enqueue(tx, card_task(after))


def extend(tx: Tx, item: Mitigation, *, now: datetime) -> ExtendDialog:
    """Until when a mitigation should stay; four hours more are proposed."""
    return ExtendDialog(
        incident=incidents.get(tx, item.incident_id), mitigation=item, proposed_at=max(item.ends_at or now, now) + timedelta(hours=4)
    )


def move_drill(ctx: Context, drill: Drill, *, now: datetime) -> DrillMoveDialog:
    """Another day within the drill's quarter."""
    runbook = ctx.shelf.runbook(drill.runbook)
    latest = quarter_end(max(drill.due_at, now), zone=ctx.policy.time_zone) - timedelta(days=1)
    return DrillMoveDialog(drill=drill, runbook_title=runbook.header.title if runbook else drill.runbook, latest_at=latest)


def local_moment(ctx: Context, date: str) -> datetime:
    """The drill hour on that local day, or on the first business day after it.

    Raises:
        ValueError: it is not a date.
    """
    try:
        day = datetime.strptime(date, "%Y-%m-%d")  # noqa: DTZ007 - a date without a zone; the zone is ours
    except ValueError as error:
        raise ValueError("Choose a day.") from error
    noon = datetime.combine(day.date(), time(12), ZoneInfo(ctx.policy.time_zone))
    return business_moment(noon, zone=ctx.policy.time_zone, hour=ctx.policy.drill_hour, holidays=ctx.policy.holidays)
