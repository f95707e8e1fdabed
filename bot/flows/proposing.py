"""A runbook proposes an action by itself: after each round of measuring, what holds is planned and put forward (mission D4, rule S30)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from actions.planning import PlanRefused
from actions.wording import limit, number
from bot.flows import act, permit, standing, stop
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.records import entry, save
from bot.flows.respond import DIAGNOSTIC_TIMEOUT
from bot.flows.suggested import LOOK_EVERY, end, redraw
from bot.settlement import Settled, Settlement
from runbooks.autonomy import Standing
from runbooks.duration import in_words
from runbooks.incident import Incident
from runbooks.operation import Measurement, Plan
from runbooks.people import MUSTER
from runbooks.proposing import Finding, Level, Suggestion, SuggestionState, finding, satisfied
from runbooks.run import ActionRun, RunState, Sample
from runbooks.runbook import Action, Diagnostic, ProposeWhen, Runbook
from runbooks.timeline import EntryKind
from storage import incidents, measurements, runs, suggestions
from storage.database import Tx
from storage.tasks import Task

S = SuggestionState

QUIET = timedelta(minutes=30)
"""After "Not now" or a stop, how long the same action is not proposed again in the same incident.

After one that nobody answered as long, and twice as long after each further one, at most a day: who does not look is not called louder.
"""

MOST_DOUBLED = 6
"""Doubled so often, half an hour is more than a day."""

LOOK_BACK = timedelta(hours=1)
"""How far a look at what was measured goes back beyond `for`: a reason says for how long it has held, up to that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One incident as it is considered: what may be proposed, what stands, and what was measured."""

    incident: Incident
    runbook: Runbook
    candidates: tuple[Action, ...]
    standing: tuple[Suggestion, ...]
    samples: dict[str, list[Sample]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An action whose condition holds and whose plan can be carried out."""

    action: Action
    found: Finding
    plan: Plan


def consider(ctx: Context, task: Task) -> Settlement:
    """After each round of measuring: propose what holds, withdraw what no longer does. Reading is harmless, so repeating is."""
    scene = ctx.read(lambda tx: _scene(tx, ctx, int(task.args["incident"])))
    if scene is None:
        return Settled(result={"skipped": "over"})
    wanted = [one for action in scene.candidates if (one := _wanted(ctx, scene, action))]
    gone = [one for one in scene.standing if not one.from_machine and _is_over(ctx, scene, one)]
    return Settled(apply=lambda tx: _settle(tx, ctx, scene.incident.id, wanted, gone))


def _scene(tx: Tx, ctx: Context, incident_id: int) -> Scene | None:
    incident, now = incidents.get(tx, incident_id), ctx.now()
    if not incident.is_open or incident.mitigated_at is not None:
        return None
    runbook = ctx.shelf.pinned(tx, incident.match.runbook)
    earlier, ran = suggestions.of_incident(tx, incident_id), runs.of_incident(tx, incident_id)
    conditions = [action.propose_when for action in runbook.header.actions if action.propose_when]
    since = now - LOOK_BACK - timedelta(seconds=max((when.for_ for when in conditions), default=0.0))
    return Scene(
        incident=incident,
        runbook=runbook,
        candidates=tuple(action for action in runbook.header.actions if _may_propose(action, earlier, ran, now=now)),
        standing=tuple(one for one in earlier if one.stands),
        samples={when.diagnostic: _samples(tx, incident_id, when.diagnostic, since=since) for when in conditions},
    )


def _samples(tx: Tx, incident_id: int, diagnostic: str, *, since: datetime) -> list[Sample]:
    return [_sample(found) for found in measurements.of_incident(tx, incident_id, diagnostic=diagnostic, since=since)]


def _sample(found: Measurement) -> Sample:
    return Sample(at=found.measured_at, value=found.value if found.error is None else None)


def _may_propose(action: Action, earlier: Sequence[Suggestion], ran: Sequence[ActionRun], *, now: datetime) -> bool:
    """Not what stands there already, was answered a while ago, is under way, or was run as often as the runbook allows."""
    if action.propose_when is None:
        return False
    mine = [one for one in earlier if one.step == action.id and not one.from_machine]
    answered = {S.DECLINED, S.STOPPED}
    if any(one.stands or (one.state in answered and one.ended_at and now - one.ended_at < QUIET) for one in mine):
        return False
    unheard = [one.ended_at for one in mine if one.state is S.EXPIRED and one.ended_at]
    if unheard and now - max(unheard) < min(QUIET * 2 ** min(len(unheard) - 1, MOST_DOUBLED), timedelta(days=1)):
        return False
    same = [run for run in ran if run.step == action.id]
    started = [run.started_at for run in same if run.started_at is not None and run.state is not RunState.REFUSED]
    cooling = any(now - at < timedelta(seconds=action.guards.cooldown) for at in started)
    return not cooling and len(started) < action.guards.at_most and not any(run.state in standing.BUSY for run in same)


def _wanted(ctx: Context, scene: Scene, action: Action) -> Wanted | None:
    """The condition is looked at first: only what holds is planned, and only what can be planned is proposed."""
    when, incident = action.propose_when, scene.incident
    assert when is not None
    found = finding(when, scene.samples[when.diagnostic], baseline=_baseline(ctx, scene, when), now=ctx.now())
    if found is None:
        return None
    try:
        plan = ctx.runner_for(incident).plan(
            action,
            runbook=scene.runbook,
            labels=incident.labels,
            parameters={},
            environment=incident.environment,
            service=incident.service,
            plan_id=uuid4().hex,
        )
    except PlanRefused:  # what cannot be planned helps nobody; its button says why
        return None
    return None if plan.blocked_by else Wanted(action=action, found=found, plan=plan)


def _baseline(ctx: Context, scene: Scene, when: ProposeWhen) -> float | None:
    """The diagnostic's value one baseline earlier, by its source; None where none is declared or nobody knows."""
    if when.baseline is None:
        return None
    return value_at(ctx, scene.incident, diagnostic_of(scene.runbook, when), ago=when.baseline)


def value_at(ctx: Context, incident: Incident, diagnostic: Diagnostic, *, ago: float) -> float | None:
    """A diagnostic's value so many seconds ago, by its source; None where nobody knows."""
    asked = ctx.runner_for(incident).measure(
        diagnostic,
        labels=incident.labels,
        environment=incident.environment,
        service=incident.service,
        ago=ago,
        timeout=DIAGNOSTIC_TIMEOUT,
    )
    return asked.value if asked.error is None else None


def diagnostic_of(runbook: Runbook, when: ProposeWhen) -> Diagnostic:
    """What the condition is measured by."""
    found = runbook.diagnostic(when.diagnostic)
    assert found is not None, "loading has checked that the diagnostic exists"
    return found


def _is_over(ctx: Context, scene: Scene, suggestion: Suggestion) -> bool:
    """Whether the newest measurement says that the condition no longer holds; missing data says nothing."""
    action = scene.runbook.action(suggestion.step)
    when = action.propose_when if action else None
    if when is None:
        return True
    newest = max(scene.samples[when.diagnostic], key=lambda sample: sample.at, default=None)
    if newest is None or newest.value is None or newest.at < suggestion.made_at:
        return False
    baseline = _baseline(ctx, scene, when)
    if when.baseline is not None and baseline is None:
        return False
    return not satisfied(when, newest.value, baseline=baseline)


def _settle(tx: Tx, ctx: Context, incident_id: int, wanted: Sequence[Wanted], gone: Sequence[Suggestion]) -> None:
    now = ctx.now()
    for old in gone:
        if (fresh := suggestions.get(tx, old.id)).stands:
            end(tx, fresh, S.WITHDRAWN, why="What it was proposed for no longer holds.", now=now)
    for one in wanted:
        incident = incidents.get(tx, incident_id)
        earlier, ran = suggestions.of_incident(tx, incident_id), runs.of_incident(tx, incident_id)
        if incident.is_open and incident.mitigated_at is None and _may_propose(one.action, earlier, ran, now=now):
            _propose(tx, ctx, incident, one, now=now)


def _propose(tx: Tx, ctx: Context, incident: Incident, wanted: Wanted, *, now: datetime) -> None:
    """The line in the thread and on the card; with a countdown where the action has earned it and nothing forbids it."""
    action, plan = wanted.action, wanted.plan
    runbook = ctx.shelf.pinned(tx, incident.match.runbook)
    found = standing.of_action(tx, ctx, runbook, action, service=incident.service, now=now)
    reason = because(runbook, action, wanted.found)
    waiting, note = _waiting(tx, ctx, incident, runbook, wanted, now=now) if found.automatic else (None, _missing(ctx, incident, found))
    runs_at = now + timedelta(seconds=action.autonomy.countdown) if waiting and action.autonomy else None
    direct = found.level is Level.ONE_CLICK or (found.automatic and action.confirm == "card" and not action.parameters)
    made = suggestions.add(
        tx,
        Suggestion(
            id=0,
            incident_id=incident.id,
            runbook=runbook.ref,
            step=action.id,
            title=action.title,
            state=S.COUNTING if runs_at else S.OPEN,
            level=Level.AUTOMATIC if runs_at else Level.ONE_CLICK if direct else Level.SUGGEST,
            by=MUSTER.id,
            answers=waiting.on_behalf_of if waiting else None,
            reason=reason,
            change=f"{plan.call.target or plan.call.operation} {plan.proposal.step}",
            made_at=now,
            runs_at=runs_at,
            run_id=waiting.id if waiting else None,
            note=note,
        ),
        next_at=now + LOOK_EVERY,
    )
    said = [entry(EntryKind.PROPOSED, f"Muster proposes {action.title}: {reason}", now=now, proposal=made.id, step=action.id)]
    if runs_at:
        words = f"{made.title} runs at {runs_at:%H:%M:%S} UTC unless somebody stops it: {made.change}."
        said.append(entry(EntryKind.PROPOSAL_COUNTING, words, now=now, proposal=made.id, step=action.id, run=made.run_id))
    fresh = incidents.get(tx, incident.id)
    save(tx, before=fresh, after=fresh.redrawn(), entries=said, now=now, tasks_too=[redraw(made, now=now)])


def _missing(ctx: Context, incident: Incident, found: Standing) -> str:
    """How far it is from running by itself; said only where muster.yaml would allow it."""
    return f"It may run by itself after {found.wanted} clean runs; it has {found.clean}." if _counts(ctx, incident, found) else ""


def _counts(ctx: Context, incident: Incident, found: Standing) -> bool:
    return found.wanted > found.clean and incident.service in ctx.policy.autonomous


def _waiting(tx: Tx, ctx: Context, incident: Incident, runbook: Runbook, wanted: Wanted, *, now: datetime) -> tuple[ActionRun | None, str]:
    """The run that waits for the end of its countdown, planned and allowed as far as can be known now; or why there is none."""
    action = wanted.action
    person = standing.answering(ctx, runbook, now=now)
    run = runs.add(
        tx,
        ActionRun(
            id=0,
            incident_id=incident.id,
            runbook=runbook.ref,
            step=action.id,
            title=action.title,
            state=RunState.PROPOSED,
            tier=action.tier,
            key=f"{incident.id}/{action.id}/{uuid4().hex}",
            target=action.id,
            requested_by=MUSTER.id,
            requested_via="sweep",
            automatic=True,
            on_behalf_of=person.id if person else None,
            requested_at=now,
        ),
    )
    act.planned(tx, ctx, run.id, wanted.plan)
    run = runs.get(tx, run.id)
    fresh = incidents.get(tx, incident.id)
    try:
        permit.must_pass(tx, ctx, fresh, run, action, now=now)
        permit.must_be_entitled(tx, ctx, fresh, run, action, now=now)
    except Refused as refused:
        stop.refuse(tx, run, reason=str(refused), now=now, by=MUSTER, tell=False)
        return None, str(refused)
    return run, ""


def because(runbook: Runbook, action: Action, found: Finding) -> str:
    """Why, in words: p99 is 3.1 s, 24 % above the hour before."""
    when = action.propose_when
    assert when is not None
    diagnostic = diagnostic_of(runbook, when)
    beside = when.holds.limit if when.holds else None
    said = [f"{diagnostic.title} is {number(found.value, diagnostic.unit, beside=beside)}"]
    if when.holds:
        said.append(limit(when.holds, diagnostic.unit))
    if found.share is not None and when.baseline is not None:
        side = "above" if found.share >= 0 else "below"
        said.append(f"{abs(found.share) * 100:.0f} % {side} {_before(when.baseline)}")
    lasting = f", for {in_words(found.held_for)} now" if found.held_for else ""
    return f"{', '.join(said)}{lasting}."


_SPANS = {3600.0: "the hour before", 86400.0: "the day before", 7 * 86400.0: "the week before"}


def _before(baseline: float) -> str:
    return _SPANS.get(baseline, f"{in_words(baseline)} before")
