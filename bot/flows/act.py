"""A safe action from the first click to the click that counts: proposed, planned, shown, confirmed (safe-actions.md, "Before").

Each function is one decision in the caller's transaction. What touches the world is a task: `bot.flows.execute`.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import uuid4

from actions import guards
from actions.planning import PlanRefused
from bot.flows import freezing
from bot.flows.approve import ask, requested, start
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.leads import tell_leads
from bot.flows.permit import BUSY, REPETITION, action_of, already, decide, must_pass, not_entitled, requester
from bot.flows.records import entry, save
from bot.flows.rights import attempt, circle_of, guard_state
from bot.flows.stop import refuse
from bot.ports import Press, PressKind, Reply
from bot.settlement import Settled, Settlement
from runbooks import approval
from runbooks.incident import Incident
from runbooks.operation import Check, Plan
from runbooks.people import Actor
from runbooks.run import ActionRun, Request, RunState
from runbooks.runbook import Action, Runbook
from runbooks.screens import Loading
from runbooks.timeline import EntryKind, NewEntry
from runbooks.value import Json
from storage import incidents, runs, tasks
from storage.database import Tx
from storage.tasks import NewTask, Task


def propose(
    tx: Tx,
    ctx: Context,
    incident: Incident,
    step: str,
    *,
    by: Actor,
    now: datetime,
    parameters: Mapping[str, Json] | None = None,
    at_once: bool = False,
    replaces: int | None = None,
    request: Request | None = None,
) -> ActionRun:
    """Somebody wants to see what an action would change. With `at_once` it runs as soon as the plan holds (rule S6, confirm: card).

    Raises:
        Refused: there is no such action, this person may not run it, or it is under way already.
    """
    runbook = ctx.shelf.pinned(tx, incident.match.runbook)
    action = action_of(runbook, step)
    if not approval.may_run(by.id, tier=action.tier, circle=circle_of(ctx, incident, now=now)):
        raise not_entitled(ctx, incident, action, now=now)
    _must_not_be_busy(tx, ctx, incident, action)
    if at_once and (action.confirm != "card" or action.parameters or approval.needed(action.tier, action.approval)):
        raise Refused("needs_dialog", f"{action.title} needs a look at its plan first. Use its button on the card.", offer="plan")
    run = runs.add(
        tx,
        ActionRun(
            id=0,
            incident_id=incident.id,
            runbook=runbook.ref,
            step=step,
            title=action.title,
            state=RunState.PROPOSED,
            tier=action.tier,
            key=f"{incident.id}/{step}/{uuid4().hex}",
            target=action.uses,
            requested_by=by.id,
            requested_via=by.via,
            requested_at=now,
            confirmed_at=now if at_once else None,
            replaces=replaces,
            request=request,
        ),
        next_at=now + ctx.policy.plan_life,
    )
    args = {"run": run.id, "parameters": dict(parameters or {}), "slack_id": by.slack_id}
    tasks.enqueue(tx, NewTask(key=f"plan:{run.id}", kind="plan", args=args))
    return run


def _must_not_be_busy(tx: Tx, ctx: Context, incident: Incident, action: Action) -> None:
    for run in runs.of_incident(tx, incident.id):
        if run.step == action.id and run.state in BUSY:
            raise Refused("already_running", already(ctx, run), audit=False)


def attach_dialog(tx: Tx, run_id: int, view_id: str) -> None:
    """The dialog that waits for this plan. If the plan is there already, it is shown at once."""
    run = runs.get(tx, run_id)
    runs.save(tx, run.with_(dialog=view_id), was=run.state)
    if run.state is not RunState.PROPOSED:
        tasks.enqueue(tx, _dialog_task(run_id, view_id))


def _dialog_task(run_id: int, view_id: str) -> NewTask:
    return NewTask(key=f"dialog:{run_id}:{view_id}", kind="dialog", args={"run": run_id, "view": view_id})


def plan(ctx: Context, task: Task) -> Settlement:
    """Read the world and say what would change. Reading is harmless, so a repetition is."""
    run_id, parameters = int(task.args["run"]), dict(task.args["parameters"])

    def load(tx: Tx) -> tuple[ActionRun, Incident, Runbook]:
        run = runs.get(tx, run_id)
        return run, incidents.get(tx, run.incident_id), ctx.shelf.pinned(tx, run.runbook)

    run, incident, runbook = ctx.read(load)
    if run.state is not RunState.PROPOSED:
        return Settled(result={"skipped": run.state.value})
    try:
        made = ctx.runner_for(incident).plan(
            action_of(runbook, run.step),
            runbook=runbook,
            labels=incident.labels,
            parameters=parameters,
            environment=incident.environment,
            service=incident.service,
            plan_id=uuid4().hex,
        )
    except PlanRefused as refused:
        reason = str(refused)
        return Settled(apply=lambda tx: no_plan(tx, ctx, run_id, reason))
    return Settled(apply=lambda tx: planned(tx, ctx, run_id, made, slack_id=task.args.get("slack_id")))


def no_plan(tx: Tx, ctx: Context, run_id: int, reason: str) -> None:
    """There will be no plan: said where somebody waits for one."""
    run, now = runs.get(tx, run_id), ctx.now()
    if run.state is not RunState.PROPOSED:
        return
    refuse(tx, run, reason=reason, now=now, by=requester(run), tell=run.confirmed_at is not None)
    if run.dialog:
        tasks.enqueue(tx, _dialog_task(run.id, run.dialog))


def planned(tx: Tx, ctx: Context, run_id: int, made: Plan, *, slack_id: Json = None) -> None:
    """The plan is made: shown where somebody waits for it, and confirmed at once where one click was enough."""
    run, now = runs.get(tx, run_id), ctx.now()
    if run.state is not RunState.PROPOSED:
        return
    incident = incidents.get(tx, run.incident_id)
    made = _raised(tx, ctx, incident, run, made, now=now)
    planned = run.to(
        RunState.PLANNED,
        plan=made,
        tier=made.tier,
        target=made.call.target or made.call.operation,
        key=f"{run.incident_id}/{run.step}/{made.hash[:32]}/{made.id}",
    )
    runs.save(tx, planned, was=run.state, next_at=now + ctx.policy.plan_life)
    words = made.words()
    said = entry(
        EntryKind.RUN_PLANNED,
        f"{requester(run).id} looked at {run.title}: {words}.",
        now=now,
        actor=requester(run),
        run=run.id,
        step=run.step,
        plan=made.hash,
        before=made.before.value,
        after=made.proposal.value,
    )
    save(tx, before=incident, after=incident, entries=[said], now=now)
    if planned.dialog:
        tasks.enqueue(tx, _dialog_task(planned.id, planned.dialog))
    if planned.confirmed_at is not None:
        by = requester(run).model_copy(update={"slack_id": slack_id})
        try:
            confirm(tx, ctx, planned, plan_hash=made.hash, by=by, now=now)
        except Refused as refused:
            refuse(tx, planned, reason=str(refused), now=now, by=by, tell=True)


def _raised(tx: Tx, ctx: Context, incident: Incident, run: ActionRun, made: Plan, *, now: datetime) -> Plan:
    """The same action a second time on one target is one tier higher (rule S14); known only now that the target is."""
    action = action_of(ctx.shelf.pinned(tx, run.runbook), run.step)
    wanted = attempt(incident, run, action, made)
    state = guard_state(tx, ctx, incident, wanted, run=run, now=now)
    made = freezing.said(made, list(state.deploys))
    cleared = guards.repetition(wanted, state, now)
    if isinstance(cleared, guards.GuardRefused) or not cleared.raised_by:
        return made
    check = Check(name=REPETITION, holds=True, text=cleared.note)
    return made.model_copy(update={"tier": made.tier.raised(cleared.raised_by), "checks": (*made.checks, check)})


def submit_plan(tx: Tx, ctx: Context, run: ActionRun, *, plan_hash: str, form: dict[str, Json], by: Actor, now: datetime) -> Reply:
    """The dialog's submit. Changed parameters make a new plan, which is shown before anything runs (rules S6, S7)."""
    asked = form.get("parameters") or {}
    assert isinstance(asked, dict)
    if run.plan is not None and run.state is RunState.PLANNED:
        runbook = ctx.shelf.pinned(tx, run.runbook)
        chosen, errors = typed(action_of(runbook, run.step), asked, run.plan.parameters)
        if errors:
            return Reply(errors=errors)
        if chosen != dict(run.plan.parameters):
            return _replan(tx, ctx, run, chosen, by=by, now=now)
    break_glass = str(form.get("break_glass") or "").strip() or None
    override = str(form.get("override_freeze") or "").strip() or None
    confirm(tx, ctx, run, plan_hash=plan_hash, by=by, now=now, break_glass=break_glass, override_freeze=override)
    return Reply()


def _replan(tx: Tx, ctx: Context, run: ActionRun, chosen: dict[str, Json], *, by: Actor, now: datetime) -> Reply:
    old = run.to(RunState.CANCELLED, ended_at=now, reason="Planned anew with other parameters.")
    runs.save(tx, old, was=run.state, next_at=None)
    fresh = propose(tx, ctx, incidents.get(tx, run.incident_id), run.step, by=by, now=now, parameters=chosen, replaces=run.id)
    return Reply(
        dialog=Loading(title=run.title, text="Planning again with what you have chosen …"),
        then=Press(kind=PressKind.PLAN, incident_id=run.incident_id, step=run.step, run_id=fresh.id),
    )


def typed(action: Action, asked: Mapping[str, Json], planned: Mapping[str, Json]) -> tuple[dict[str, Json], dict[str, str]]:
    """The form's values in the parameters' types, and what is wrong with them by field. What the form leaves out stays as planned."""
    chosen: dict[str, Json] = dict(planned)
    errors: dict[str, str] = {}
    for name, value in asked.items():
        parameter = action.parameters.get(name)
        if parameter is None or value is None:
            continue
        try:
            number = int(str(value)) if parameter.type == "integer" else float(str(value)) if parameter.type == "number" else None
        except ValueError:
            errors[name] = f"{parameter.title} must be a number."
            continue
        if number is not None:
            low, high = parameter.minimum, parameter.maximum
            if (low is not None and number < low) or (high is not None and number > high):
                errors[name] = (
                    f"{parameter.title} must be from {low:g} to {high:g}."
                    if low is not None and high is not None
                    else f"{value} is out of bounds."
                )
        chosen[name] = number if number is not None else value
    return chosen, errors


def confirm(
    tx: Tx,
    ctx: Context,
    run: ActionRun,
    *,
    plan_hash: str,
    by: Actor,
    now: datetime,
    break_glass: str | None = None,
    override_freeze: str | None = None,
) -> ActionRun:
    """The click that counts: the run starts, or asks for approval. A second click is told who is at it and changes nothing.

    `break_glass` is the reason for doing without approval, `override_freeze` the one for not waiting until a freeze ends.

    Raises:
        Refused: with the reason, who can help, and what can be done instead. Nothing is changed then.
    """
    _must_be_planned(ctx, run, now=now)
    assert run.plan is not None
    incident = incidents.get(tx, run.incident_id)
    if not incident.is_open:
        raise Refused("resolved", f"{incident.ref} is resolved; nothing was changed.", offer="timeline")
    runbook = ctx.shelf.pinned(tx, run.runbook)
    action = action_of(runbook, run.step)
    if blocked := run.plan.blocked_by:
        raise Refused("check_unmet", f"Not run: {' '.join(check.text for check in blocked)}", offer="plan")
    if override_freeze:
        asked, circle = attempt(incident, run, action, run.plan), circle_of(ctx, incident, now=now)
        state = guard_state(tx, ctx, incident, asked, run=run, now=now)
        run = freezing.overridden(tx, ctx, run, asked, state, circle=circle, reason=override_freeze, by=by, now=now)
    must_pass(tx, ctx, incident, run, action, now=now)
    decision = decide(tx, ctx, incident, run, action, by=by, plan_hash=plan_hash, break_glass=break_glass, now=now)
    if decision.verdict is approval.Verdict.REFUSED:
        raise Refused(decision.reason.value, decision.text, offer="plan")
    asking = run.with_(confirmed_at=run.confirmed_at or now, requested_by=by.id, approvals_needed=decision.needed)
    if decision.verdict is approval.Verdict.NEEDS_APPROVAL:
        return ask(tx, ctx, incident, asking, decision, by=by, now=now)
    said = [requested(asking, by=by, now=now)]
    if decision.review:
        asking = asking.with_(break_glass=break_glass)
        said.append(_glass(ctx, asking, by=by, now=now, tx=tx))
    return start(tx, incident, asking, entries=said, now=now)


def _must_be_planned(ctx: Context, run: ActionRun, *, now: datetime) -> None:
    if run.state in BUSY:
        raise Refused("already_running", already(ctx, run), audit=False)
    if run.state is not RunState.PLANNED or run.plan is None:
        ended = f" It is {run.state.value}{': ' + run.reason if run.reason else '.'}"
        raise Refused("not_planned", f"Nothing was changed: this plan can no longer be run.{ended} Open the current plan.", offer="plan")
    if now > run.plan.made_at + ctx.policy.plan_life:
        raise Refused("plan_old", "Not run: this plan is too old to be true. Open the current plan.", offer="plan")


def _glass(ctx: Context, run: ActionRun, *, by: Actor, now: datetime, tx: Tx) -> NewEntry:
    """Break-glass tells the leads at once and leaves a review behind (rule S25)."""
    text = f"{by.id} goes without approval for {run.title}: {run.break_glass}"
    tell_leads(tx, ctx, run, text, key=f"glass:{run.id}", but=by.id)
    return entry(EntryKind.BREAK_GLASS, text, now=now, actor=by, run=run.id, step=run.step, reason=run.break_glass)
