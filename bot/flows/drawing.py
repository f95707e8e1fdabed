"""The card as data, drawn from the database alone (mission B1, B2, B4, B5)."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from actions.wording import limit, number
from bot.flows import breaking, freezing, suggested
from bot.flows.context import Context
from runbooks.approval import needed
from runbooks.change import Suspect
from runbooks.drill import Drill, DrillState
from runbooks.errors import LabelMissing, TemplateInvalid
from runbooks.freshness import freshness
from runbooks.incident import Incident
from runbooks.operation import Measurement
from runbooks.people import Person
from runbooks.rendering import render
from runbooks.run import ActionRun, Mitigation, RunState
from runbooks.runbook import Action, Runbook
from runbooks.screens import ActionButton, Freshness, IncidentCard, RunLine, Shown
from runbooks.suspicion import rank
from storage import changes, drills, incidents, measurements, mitigations, runbook_versions, runs
from storage.database import Tx

STATE = "state:"  # readings that say how a target stands; see `respond.diagnose`
UNTOLD = (LabelMissing, TemplateInvalid)
"""Why a template has no text for this alert. A card with a gap is worth more at night than no card."""
SHOWN_RUNS = 4  # the newest runs on the card; all of them stand in the thread and on the timeline


def card(tx: Tx, ctx: Context, incident: Incident, *, now: datetime) -> IncidentCard:
    """Everything that the card shows of one incident, at this moment."""
    runbook = ctx.shelf.pinned(tx, incident.match.runbook)
    measured = measurements.latest(tx, incident.id)
    all_runs = runs.of_incident(tx, incident.id)
    standing = mitigations.of_incident(tx, incident.id)
    safe, gated = buttons(incident, runbook, measured, all_runs, held=breaking.withheld(tx, ctx, incident))
    return IncidentCard(
        incident=incident,
        what_broke=_what_broke(incident, runbook),
        owner=incident.owner or runbook.header.owner,
        on_call=ctx.on_call.on_call(incident.owner or runbook.header.owner, now),
        affected=_affected(ctx, incident, runbook, measured),
        commander=_person(ctx, incident.commander),
        acknowledged_by=_person(ctx, incident.acknowledged_by),
        safe_actions=safe,
        gated_actions=gated,
        proposals=suggested.on_card(tx, ctx, incident) if incident.is_open else (),
        diagnosis=_diagnosis(runbook, measured),
        diagnosing=not measured,
        measured_at=max((item.measured_at for item in measured.values()), default=None),
        suspects=tuple(_suspects(tx, incident)),
        state_lines=tuple(f"{item.title} {item.text}" for name, item in sorted(measured.items()) if name.startswith(STATE)),
        runs=tuple(run_line(ctx, runbook, run, standing) for run in _shown(all_runs)),
        mitigations=tuple(item for item in standing if item.ended_at is None),
        links=_links(ctx, incident, runbook),
        freshness=freshness_of(tx, runbook, now=now, before=incident.id),
        notes=(*_notes(incident), *freezing.notes(ctx, incident, now=now)),
        degraded=ctx.degraded(),
        button_expires_at=now + ctx.policy.button_life,
        drawn_at=now,
    )


def buttons(
    incident: Incident,
    runbook: Runbook,
    measured: dict[str, Measurement],
    all_runs: list[ActionRun],
    *,
    held: Mapping[str, str] = MappingProxyType({}),
) -> tuple[tuple[ActionButton, ...], tuple[ActionButton, ...]]:
    """The safe actions in the runbook's order, then the ones that need somebody's approval. `held` is why some are out of service."""
    safe_ids = runbook.header.first_screen.safe_actions
    offered = {action.id: _button(incident, action, measured, all_runs, held.get(action.id)) for action in runbook.header.actions}
    safe = tuple(offered[step] for step in safe_ids if step in offered)
    return safe, tuple(button for step, button in offered.items() if step not in safe_ids)


def _button(
    incident: Incident, action: Action, measured: dict[str, Measurement], all_runs: list[ActionRun], held: str | None
) -> ActionButton:
    direct = action.confirm == "card" and not action.parameters
    withheld = held or _withheld(incident, action, measured, all_runs)
    return ActionButton(
        step=action.id,
        title=action.title,
        tier=action.tier,
        approvals=needed(action.tier, action.approval),
        direct=direct,
        withheld=withheld,
        plan_text=_in_short(incident, action) if direct and withheld is None else "",
    )


def _withheld(incident: Incident, action: Action, measured: dict[str, Measurement], all_runs: list[ActionRun]) -> str | None:
    """Why the action cannot be pressed now, as far as the card can know; the plan checks all of it again."""
    try:
        for value in action.rendered:
            if isinstance(value, str):
                render(value, labels=incident.labels, parameters=dict.fromkeys(action.parameters, 0))
    except UNTOLD as missing:
        return str(missing)
    for run in all_runs:
        if run.step == action.id and run.state in {RunState.RUNNING, RunState.VERIFYING, RunState.UNDOING, RunState.UNKNOWN}:
            return f"{run.state.value} since {run.started_at:%H:%M} UTC" if run.started_at else run.state.value
    for diagnostic, threshold in action.guards.requires.items():
        reading = measured.get(diagnostic)
        if reading and reading.value is not None and not threshold.holds(reading.value):
            found = number(reading.value, reading.unit, beside=threshold.limit)
            return f"{reading.title} {found}, must be {limit(threshold, reading.unit)}"
    return None


def _in_short(incident: Incident, action: Action) -> str:
    shown = {key: render(value, labels=incident.labels) if isinstance(value, str) else value for key, value in action.with_.items()}
    return ", ".join(f"{key} {value}" for key, value in shown.items())


def _what_broke(incident: Incident, runbook: Runbook) -> str:
    try:
        return render(runbook.header.first_screen.what_broke, labels=incident.labels)
    except UNTOLD as missing:
        return f"{incident.title} ({missing})"


def _affected(ctx: Context, incident: Incident, runbook: Runbook, measured: dict[str, Measurement]) -> str:
    reading = measured.get(runbook.header.first_screen.customers)
    if reading and reading.error is None:
        return reading.text
    service = ctx.service(incident.service)
    if service and service.customers:
        return f"not measured; this service serves {', '.join(service.customers[:5])}"
    return "being measured" if reading is None else "not measured"


def _diagnosis(runbook: Runbook, measured: dict[str, Measurement]) -> tuple[Shown, ...]:
    """Measured diagnostics in the runbook's order, without the customers', which stand above."""
    limits = {action.verify.diagnostic: action.verify.holds for action in runbook.header.actions}
    return tuple(
        Shown(measurement=measured[item.id], limit=item.limit or limits.get(item.id), stage=item.stage)
        for item in runbook.header.diagnostics
        if item.id in measured and item.id != runbook.header.first_screen.customers
    )


def _suspects(tx: Tx, incident: Incident) -> list[Suspect]:
    if incident.is_drill:
        return []
    recent = changes.between(tx, since=incident.began_at - timedelta(hours=24), until=incident.opened_at)
    return rank(recent, began_at=incident.began_at, service=incident.service, incident_class=incident.incident_class)[:3]


def _shown(all_runs: list[ActionRun]) -> list[ActionRun]:
    said = [run for run in all_runs if run.state not in {RunState.PROPOSED, RunState.PLANNED, RunState.CANCELLED, RunState.EXPIRED}]
    return said[-SHOWN_RUNS:]


def run_line(ctx: Context, runbook: Runbook, run: ActionRun, standing: list[Mitigation]) -> RunLine:
    """A run as the card and the thread show it."""
    action = runbook.action(run.step)
    watched = runbook.diagnostic(action.verify.diagnostic) if action else None
    held = 0.0
    if action and run.state is RunState.VERIFYING:
        good = []
        for sample in reversed(run.samples):
            if sample.value is None or not action.verify.holds.holds(sample.value):
                break
            good.append(sample.at)
        held = (good[0] - good[-1]).total_seconds() if good else 0.0
    return RunLine(
        run=run,
        mitigation=next((item for item in standing if item.run_id == run.id), None),
        by=_person(ctx, run.requested_by),
        measured=watched.title if watched else "",
        holds=action.verify.holds if action else None,
        hold_for=action.verify.for_ if action else 0.0,
        held_for=held,
    )


def _links(ctx: Context, incident: Incident, runbook: Runbook) -> dict[str, str]:
    links: dict[str, str] = {}
    for name, template in runbook.header.links.items():
        try:
            links[name] = render(template, labels=incident.labels)
        except UNTOLD:
            continue
    service = ctx.service(incident.service)
    return {
        **links,
        **(service.links if service else {}),
        **incident.links,
        "timeline": ctx.page_url(f"/incidents/{incident.id}"),
    }


def freshness_of(tx: Tx, runbook: Runbook, *, now: datetime, before: int | None = None) -> Freshness:
    """How far this version can be trusted, from what was kept of its use and its drills."""
    history = runbook_versions.history(tx, runbook.id)
    used = incidents.last_with_runbook(tx, runbook.id, before=before)
    seen = next((item.seen_at for item in history if item.ref.hash == runbook.hash), None)
    return freshness(
        runbook,
        now=now,
        first_seen_at=seen if len(history) > 1 else None,
        last_used_at=used.opened_at if used else None,
        last_drill=_graded(drills.last_ended(tx, runbook.id)),
    )


def _graded(drill: Drill | None) -> Drill | None:
    """An aborted drill proves nothing."""
    return drill if drill and drill.state in {DrillState.PASSED, DrillState.FAILED} else None


def _notes(incident: Incident) -> list[str]:
    notes = []
    if incident.flapping:
        notes.append("The alert comes and goes.")
    if incident.alerts_clear_at and incident.is_open:
        notes.append("No alert fires any more; resolve it when you are sure.")
    if incident.alerts > 1:
        notes.append(f"{incident.alerts} alerts belong to this.")
    return notes


def _person(ctx: Context, person_id: str | None) -> Person | None:
    return ctx.directory.person(person_id) if person_id else None


def roles(ctx: Context, incident: Incident) -> dict[str, str]:
    """Teams by what they answer for in the incident's service, by their names."""
    service = ctx.service(incident.service)
    found = service.roles if service else {}
    teams = {role.value: (ctx.directory.team(team), team) for role, team in found.items()}
    return {role: (team.name if team and team.name else key) for role, (team, key) in teams.items()}
