"""A safe action from the first click to the start: proposed, planned, shown, confirmed, approved (safe-actions.md, "Before").

Each function is one decision in the caller's transaction. What touches the world is a task: `bot.flows.execute`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import uuid4

from actions import guards
from actions.planning import PlanRefused
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.records import entry, redraw_run, save, say
from bot.flows.rights import attempt, circle_of, guard_state, in_world, lock_name
from bot.ports import Press, PressKind, Reply
from bot.settlement import Settled, Settlement
from runbooks import approval
from runbooks.incident import Incident
from runbooks.operation import Check, Plan
from runbooks.people import MUSTER, Actor
from runbooks.run import BEFORE_RUNNING, IN_FLIGHT, ActionRun, Approval, RunState
from runbooks.runbook import Action, Runbook
from runbooks.screens import Loading
from runbooks.timeline import EntryKind, NewEntry
from runbooks.value import Json
from storage import incidents, messages, runs, tasks
from storage.database import Tx
from storage.tasks import NewTask, Task

REPETITION = "repetition"
"""The check that says that a plan's tier was raised because the same was done before."""

BUSY = IN_FLIGHT | {RunState.AWAITING_APPROVAL, RunState.APPROVED}


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
) -> ActionRun:
    """Somebody wants to see what an action would change. With `at_once` it runs as soon as the plan holds (rule S6, confirm: card).

    Raises:
        Refused: there is no such action, this person may not run it, or it is under way already.
    """
    runbook = ctx.shelf.pinned(tx, incident.match.runbook)
    action = _action(runbook, step)
    _must_not_be_busy(tx, ctx, incident, action)
    if not approval.may_run(by.id, tier=action.tier, circle=circle_of(ctx, incident, now=now)):
        raise _not_entitled(ctx, incident, action, now=now)
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
        ),
        next_at=now + ctx.policy.plan_life,
    )
    args = {"run": run.id, "parameters": dict(parameters or {}), "slack_id": by.slack_id}
    tasks.enqueue(tx, NewTask(key=f"plan:{run.id}", kind="plan", args=args))
    return run


def _action(runbook: Runbook, step: str) -> Action:
    action = runbook.action(step)
    if action is None:
        raise Refused("undeclared", f"{runbook.id} v{runbook.header.version} declares no action {step}; nothing was changed.", offer="plan")
    return action


def _must_not_be_busy(tx: Tx, ctx: Context, incident: Incident, action: Action) -> None:
    for run in runs.of_incident(tx, incident.id):
        if run.step == action.id and run.state in BUSY:
            raise Refused("already_running", already(ctx, run), audit=False)


def already(ctx: Context, run: ActionRun) -> str:
    """Who is at it, since when (rule S11)."""
    since = run.started_at or run.confirmed_at or run.requested_at
    who = _name(ctx, run.requested_by)
    if run.state is RunState.AWAITING_APPROVAL:
        return (
            f"Not run: {who} asked for approval of {run.title} at {since:%H:%M:%S} UTC, and it still waits. "
            "The request stands in the thread; if it cannot wait, take it back there and go without approval."
        )
    if run.state is RunState.UNDOING:
        what = f"what {who} ran is being taken back: {run.title}"
    elif run.state is RunState.VERIFYING:
        what = f"{who} ran {run.title} and Muster watches whether it works"
    else:
        what = f"{who} is running {run.title}"
    return f"Not run again: {what}, since {since:%H:%M:%S} UTC. You will see the result in the thread."


def _not_entitled(ctx: Context, incident: Incident, action: Action, *, now: datetime) -> Refused:
    helpers = approval.runners(tier=action.tier, circle=circle_of(ctx, incident, now=now))
    names = ", ".join(person.name for person in helpers[:5]) or "nobody"
    return Refused("not_granted", f"Not run: you may not run {action.tier.value} actions here. These can: {names}.")


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
            _action(runbook, run.step),
            runbook=runbook,
            labels=incident.labels,
            parameters=parameters,
            environment=incident.environment,
            plan_id=uuid4().hex,
        )
    except PlanRefused as refused:
        reason = str(refused)
        return Settled(apply=lambda tx: no_plan(tx, ctx, run_id, reason))
    return Settled(apply=lambda tx: _planned(tx, ctx, run_id, made, slack_id=task.args.get("slack_id")))


def no_plan(tx: Tx, ctx: Context, run_id: int, reason: str) -> None:
    """There will be no plan: said where somebody waits for one."""
    run, now = runs.get(tx, run_id), ctx.now()
    if run.state is not RunState.PROPOSED:
        return
    refuse(tx, run, reason=reason, now=now, by=_requester(run), tell=run.confirmed_at is not None)
    if run.dialog:
        tasks.enqueue(tx, _dialog_task(run.id, run.dialog))


def _planned(tx: Tx, ctx: Context, run_id: int, made: Plan, *, slack_id: Json) -> None:
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
    words = f"{planned.target} {made.proposal.before_text} → {made.proposal.after_text}"
    said = entry(
        EntryKind.RUN_PLANNED,
        f"{_requester(run).id} looked at {run.title}: {words}.",
        now=now,
        actor=_requester(run),
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
        by = _requester(run).model_copy(update={"slack_id": slack_id})
        try:
            confirm(tx, ctx, planned, plan_hash=made.hash, by=by, now=now)
        except Refused as refused:
            refuse(tx, planned, reason=str(refused), now=now, by=by, tell=True)


def _raised(tx: Tx, ctx: Context, incident: Incident, run: ActionRun, made: Plan, *, now: datetime) -> Plan:
    """The same action a second time on one target is one tier higher (rule S14); known only now that the target is."""
    action = _action(ctx.shelf.pinned(tx, run.runbook), run.step)
    cleared = guards.repetition(attempt(incident, run, action, made), guard_state(tx, ctx, incident, now=now), now)
    if isinstance(cleared, guards.GuardRefused) or not cleared.raised_by:
        return made
    check = Check(name=REPETITION, holds=True, text=cleared.note)
    return made.model_copy(update={"tier": made.tier.raised(cleared.raised_by), "checks": (*made.checks, check)})


def _requester(run: ActionRun) -> Actor:
    via = run.requested_via if run.requested_via in {"slack", "cli", "api"} else "sweep"
    return MUSTER if run.requested_by == MUSTER.id else Actor.model_validate({"kind": "person", "id": run.requested_by, "via": via})


def submit_plan(tx: Tx, ctx: Context, run: ActionRun, *, plan_hash: str, form: dict[str, Json], by: Actor, now: datetime) -> Reply:
    """The dialog's submit. Changed parameters make a new plan, which is shown before anything runs (rules S6, S7)."""
    asked = form.get("parameters") or {}
    assert isinstance(asked, dict)
    if run.plan is not None and run.state is RunState.PLANNED:
        runbook = ctx.shelf.pinned(tx, run.runbook)
        chosen, errors = typed(_action(runbook, run.step), asked, run.plan.parameters)
        if errors:
            return Reply(errors=errors)
        if chosen != dict(run.plan.parameters):
            return _replan(tx, ctx, run, chosen, by=by, now=now)
    break_glass = str(form.get("break_glass") or "").strip() or None
    confirm(tx, ctx, run, plan_hash=plan_hash, by=by, now=now, break_glass=break_glass)
    return Reply()


def _replan(tx: Tx, ctx: Context, run: ActionRun, chosen: dict[str, Json], *, by: Actor, now: datetime) -> Reply:
    old = run.to(RunState.CANCELLED, ended_at=now, reason="Planned anew with other parameters.")
    runs.save(tx, old, was=run.state, next_at=None)
    fresh = propose(tx, ctx, incidents.get(tx, run.incident_id), run.step, by=by, now=now, parameters=chosen)
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


def confirm(tx: Tx, ctx: Context, run: ActionRun, *, plan_hash: str, by: Actor, now: datetime, break_glass: str | None = None) -> ActionRun:
    """The click that counts: the run starts, or asks for approval. A second click is told who is at it and changes nothing.

    Raises:
        Refused: with the reason, who can help, and what can be done instead. Nothing is changed then.
    """
    _must_be_planned(ctx, run, now=now)
    assert run.plan is not None
    incident = incidents.get(tx, run.incident_id)
    if not incident.is_open:
        raise Refused("resolved", f"{incident.ref} is resolved; nothing was changed.", offer="timeline")
    runbook = ctx.shelf.pinned(tx, run.runbook)
    action = _action(runbook, run.step)
    if incident.match.runbook != run.runbook:
        raise Refused(
            "stale_version", f"{incident.ref} follows {incident.match.runbook.id} now. Use the buttons on the card.", offer="plan"
        )
    if blocked := run.plan.blocked_by:
        raise Refused("check_unmet", f"Not run: {' '.join(check.text for check in blocked)}", offer="plan")
    must_pass(tx, ctx, incident, run, action, now=now)
    decision = _decide(tx, ctx, incident, run, action, by=by, plan_hash=plan_hash, break_glass=break_glass, now=now)
    if decision.verdict is approval.Verdict.REFUSED:
        raise Refused(decision.reason.value, decision.text, offer="plan")
    asking = run.with_(confirmed_at=run.confirmed_at or now, requested_by=by.id, approvals_needed=decision.needed)
    if decision.verdict is approval.Verdict.NEEDS_APPROVAL:
        return _ask(tx, ctx, incident, asking, decision, by=by, now=now)
    said = [_requested(asking, by=by, now=now)]
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


def must_pass(tx: Tx, ctx: Context, incident: Incident, run: ActionRun, action: Action, *, now: datetime) -> None:
    """The guards over what is locked, running and was run lately (rules S5, S11, S12, S14, S16).

    Raises:
        Refused: with the first guard's sentence.
    """
    assert run.plan is not None
    cleared = guards.guard(attempt(incident, run, action, run.plan), guard_state(tx, ctx, incident, now=now), now=now)
    if isinstance(cleared, guards.GuardRefused):
        raise Refused(cleared.reason.value, cleared.text, offer="plan")
    if cleared.raised_by and all(check.name != REPETITION for check in run.plan.checks):
        raise Refused("plan_old", f"Not run: {cleared.note} This plan does not know that yet. Open the current plan.", offer="plan")


def _decide(
    tx: Tx,
    ctx: Context,
    incident: Incident,
    run: ActionRun,
    action: Action,
    *,
    by: Actor,
    plan_hash: str | None,
    now: datetime,
    break_glass: str | None = None,
) -> approval.Decision:
    assert run.plan is not None
    day = in_world(tx, incident, runs.recent(tx, since=now - timedelta(hours=24), person=by.id))
    return approval.decide(
        plan=run.plan,
        asked=action.approval,
        requester=by,
        circle=circle_of(ctx, incident, now=now),
        approvals=run.approvals,
        requested_hash=plan_hash,
        until_at=run.approve_until_at,
        break_glass=break_glass,
        break_glass_used=sum(1 for other in day if other.break_glass and other.id != run.id),
        break_glass_limit=ctx.policy.break_glass_per_day,
        valid_for=ctx.policy.approval_life.total_seconds(),
        now=now,
    )


def must_be_entitled(tx: Tx, ctx: Context, incident: Incident, run: ActionRun, action: Action, *, now: datetime) -> None:
    """Rights and approvals as they are at the last moment: a grant may be gone, an approval too old (rules S4, S7, S8).

    Raises:
        Refused: what allowed the run before does not allow it now.
    """
    decision = _decide(tx, ctx, incident, run, action, by=_requester(run), plan_hash=None, now=now, break_glass=run.break_glass)
    if not decision.allowed:
        raise Refused(decision.reason.value, decision.text, offer="plan")


def _requested(run: ActionRun, *, by: Actor, now: datetime) -> NewEntry:
    assert run.plan is not None
    return entry(
        EntryKind.RUN_REQUESTED,
        f"{by.id} asks for {run.title}: {run.target} {run.plan.proposal.before_text} → {run.plan.proposal.after_text}.",
        now=now,
        actor=by,
        run=run.id,
        step=run.step,
        plan=run.plan.hash,
        runbook=run.runbook.model_dump(),
    )


def _ask(tx: Tx, ctx: Context, incident: Incident, run: ActionRun, decision: approval.Decision, *, by: Actor, now: datetime) -> ActionRun:
    """Put the plan to those who may approve: in the thread, and to each of them."""
    until = now + ctx.policy.approval_life
    asking = run.to(RunState.AWAITING_APPROVAL, approve_until_at=until)
    runs.save(tx, asking, was=run.state, next_at=until)
    names = ", ".join(person.name for person in decision.helpers[:5]) or "nobody can approve now"
    args: dict[str, Json] = {"run": run.id, "approvers": names, "revision": _revision(now)}
    notes = [say(key=f"approval:{run.id}", screen="approval", incident_id=incident.id, remember=f"approval:{run.id}", **args)]
    notes += [
        say(
            key=f"approval:{run.id}:{person.id}",
            screen="approval",
            lane=f"dm:{person.slack_id}",
            to=person.slack_id,
            remember=f"approval:{run.id}:{person.id}",
            **args,
        )
        for person in decision.helpers[:5]
        if person.slack_id
    ]
    said = _requested(asking, by=by, now=now)
    save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=notes)
    return asking


def _revision(now: datetime) -> int:
    return int(now.timestamp() * 1000)


def _glass(ctx: Context, run: ActionRun, *, by: Actor, now: datetime, tx: Tx) -> NewEntry:
    """Break-glass tells the leads at once and leaves a review behind (rule S25)."""
    text = f"{by.id} goes without approval for {run.title}: {run.break_glass}"
    leads = sorted({team.lead for team in ctx.directory.teams if team.lead and team.lead != by.id})
    for lead in leads:
        person = ctx.directory.person(lead)
        if person and person.slack_id:
            key = f"glass:{run.id}:{lead}"
            tasks.enqueue(
                tx,
                say(
                    key=key,
                    screen="notice",
                    lane=f"dm:{person.slack_id}",
                    to=person.slack_id,
                    text=f"INC-{run.incident_id}: {text}",
                    incident=run.incident_id,
                ),
            )
    return entry(EntryKind.BREAK_GLASS, text, now=now, actor=by, run=run.id, step=run.step, reason=run.break_glass)


def start(tx: Tx, incident: Incident, run: ActionRun, *, entries: Sequence[NewEntry], now: datetime) -> ActionRun:
    """Everything is allowed: promise the execution."""
    approved = run.to(RunState.APPROVED)
    runs.save(tx, approved, was=run.state, next_at=None)
    execution = NewTask(key=f"execute:{run.id}", kind="execute", args={"run": run.id}, lane=f"target:{lock_name(incident, run.target)}")
    save(
        tx,
        before=incident,
        after=incident.redrawn(),
        entries=entries,
        now=now,
        tasks_too=[execution, redraw_run(approved, now=now)],
    )
    return approved


def approve(tx: Tx, ctx: Context, run: ActionRun, *, plan_hash: str, granted: bool, by: Actor, now: datetime) -> str:
    """Another person's word on exactly this plan (rules S7, S8). Answers what came of it, in a sentence.

    Raises:
        Refused: this person's word does not count, or there is nothing to decide any more.
    """
    if run.state is not RunState.AWAITING_APPROVAL or run.plan is None:
        ended = f"{run.title} is {run.state.value}" + (f": {run.reason}" if run.reason else "")
        raise Refused("nothing_to_decide", f"Nothing to decide any more: {ended}.", audit=False)
    incident = incidents.get(tx, run.incident_id)
    if granted and not incident.is_open:
        raise Refused("resolved", f"{incident.ref} is resolved; nothing was changed.", offer="timeline", audit=False)
    if granted and run.approve_until_at is not None and now >= run.approve_until_at:
        raise Refused("expired", f"Not counted: the time to approve {run.title} is over. Plan again to see what would change now.")
    circle = circle_of(ctx, incident, now=now)
    counts = approval.may_decide(by, plan=run.plan, requester=run.requested_by, circle=circle)
    if not counts.allowed:
        raise Refused(counts.reason.value, counts.text)
    if plan_hash != run.plan.hash:
        raise Refused("plan_changed", "Not counted: this button shows another plan than the one that waits. Use the newest request.")
    if any(other.person == by.id and other.granted == granted for other in run.approvals):
        return f"You have {'approved' if granted else 'declined'} this already."
    word = Approval(person=by.id, plan_hash=plan_hash, granted=granted, given_at=now)
    decided = run.with_(approvals=(*run.approvals, word))
    kind = EntryKind.RUN_APPROVED if granted else EntryKind.RUN_DECLINED
    said = entry(kind, f"{by.id} {'approves' if granted else 'declines'} {run.title}.", now=now, actor=by, run=run.id, plan=plan_hash)
    if not granted:
        stopped = decided.to(RunState.REFUSED, ended_at=now, reason=f"Declined by {_name(ctx, by.id)}; nothing was changed.")
        runs.save(tx, stopped, was=run.state, next_at=None)
        save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=_decided(tx, ctx, stopped, now=now))
        return f"{run.title} is declined; nothing was changed."
    return _count(tx, ctx, incident, run=run, decided=decided, said=said, now=now)


def _count(tx: Tx, ctx: Context, incident: Incident, *, run: ActionRun, decided: ActionRun, said: NewEntry, now: datetime) -> str:
    runbook = ctx.shelf.pinned(tx, run.runbook)
    action = _action(runbook, run.step)
    must_pass(tx, ctx, incident, run, action, now=now)
    decision = _decide(tx, ctx, incident, decided, action, by=_requester(run), plan_hash=None, now=now)
    if decision.verdict is approval.Verdict.REFUSED:
        raise Refused(decision.reason.value, decision.text)
    if decision.verdict is approval.Verdict.NEEDS_APPROVAL:
        runs.save(tx, decided, was=run.state)
        save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now)
        return f"Counted: {len(decision.approved_by)} of {decision.needed}. {decision.text}"
    started = start(tx, incident, decided, entries=[said], now=now)
    tasks.enqueue(tx, *_decided(tx, ctx, started, now=now))
    return f"Approved. {run.title} starts now."


def _decided(tx: Tx, ctx: Context, run: ActionRun, *, now: datetime) -> list[NewTask]:
    """Redraw every copy of the request, so that nobody presses a dead button. A copy that is still to be posted is drawn as it is then."""
    revision = _revision(now) + 1
    copies = (f"approval:{run.id}:{person.id}" for person in ctx.directory.people)
    names = [f"approval:{run.id}", *(name for name in copies if messages.get(tx, name))]
    args = {"screen": "approval", "run": run.id, "incident": run.incident_id, "revision": revision}
    return [
        NewTask(key=f"redraw:{name}:{revision}", kind="redraw_known", args={**args, "remember": name}, lane=f"run:{run.id}")
        for name in names
    ]


def cancel(tx: Tx, ctx: Context, run: ActionRun, *, by: Actor, now: datetime) -> str:
    """Taken back before it starts: by the requester, an approver who withdraws, or anyone who may run it."""
    if run.state not in BEFORE_RUNNING:
        advice = "Take it back with Undo." if run.in_force or run.state in IN_FLIGHT else "There is nothing to take back."
        raise Refused("started", f"{run.title} is {run.state.value} already. {advice}", audit=False)
    must_be_allowed(tx, ctx, run, by=by, now=now)
    stopped = run.to(RunState.CANCELLED, ended_at=now, reason=f"Taken back by {_name(ctx, by.id)}; nothing was changed.")
    runs.save(tx, stopped, was=run.state, next_at=None)
    incident = incidents.get(tx, run.incident_id)
    said = entry(EntryKind.RUN_CANCELLED, f"{by.id} takes back {run.title} before it started.", now=now, actor=by, run=run.id)
    redrawn = [*_decided(tx, ctx, stopped, now=now), redraw_run(stopped, now=now)]
    save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=redrawn)
    return f"{run.title} is taken back; nothing was changed."


def drop(tx: Tx, ctx: Context, incident: Incident, *, reason: str, now: datetime) -> None:
    """Whatever has not started yet will not: the incident is over. Every copy of a request is redrawn."""
    for run in runs.of_incident(tx, incident.id):
        if run.state in BEFORE_RUNNING:
            stopped = run.to(RunState.CANCELLED, ended_at=now, reason=reason)
            runs.save(tx, stopped, was=run.state, next_at=None)
            tasks.enqueue(tx, *(_decided(tx, ctx, stopped, now=now) if run.state is RunState.AWAITING_APPROVAL else ()))


def must_have_its_world(incident: Incident) -> None:
    """Nothing more can be said or done about a change in a world that is gone.

    Raises:
        Refused: the drill is over.
    """
    if incident.is_drill and not incident.is_open:
        raise Refused("drill_over", "The drill is over and its world is gone with everything that was changed in it.", audit=False)


def must_be_allowed(tx: Tx, ctx: Context, run: ActionRun, *, by: Actor, now: datetime) -> None:
    """Whoever may run an action may also end, extend and undo it (rule S22).

    Raises:
        Refused: this person may not.
    """
    incident = incidents.get(tx, run.incident_id)
    must_have_its_world(incident)
    if not by.is_human or not approval.may_run(by.id, tier=run.tier, circle=circle_of(ctx, incident, now=now)):
        action = _action(ctx.shelf.pinned(tx, run.runbook), run.step)
        raise _not_entitled(ctx, incident, action, now=now)


def refuse(tx: Tx, run: ActionRun, *, reason: str, now: datetime, by: Actor, tell: bool) -> ActionRun:
    """The run ends before it changed anything; said on the timeline, and in the thread where somebody waits for it."""
    refused = run.to(RunState.REFUSED, ended_at=now, reason=reason)
    runs.save(tx, refused, was=run.state, next_at=None)
    incident = incidents.get(tx, run.incident_id)
    said = entry(EntryKind.RUN_REFUSED, f"{run.title} was not run: {reason}", now=now, actor=by, run=run.id, step=run.step, reason=reason)
    after = incident.redrawn() if tell else incident
    save(tx, before=incident, after=after, entries=[said], now=now, tasks_too=[redraw_run(refused, now=now)] if tell else [])
    return refused


def expire(tx: Tx, ctx: Context, run: ActionRun, *, now: datetime) -> None:
    """A plan that nobody confirmed just ends; a request that nobody decided says so."""
    waited = run.state is RunState.AWAITING_APPROVAL
    reason = "Nobody decided in time; nothing was changed." if waited else "Nobody confirmed it in time; nothing was changed."
    if run.state is RunState.PROPOSED:
        reason = "The present state could not be read in time; nothing was changed. Try again."
    expired = run.to(RunState.EXPIRED, ended_at=now, reason=reason)
    runs.save(tx, expired, was=run.state, next_at=None)
    if run.state is RunState.PROPOSED and run.dialog:
        tasks.enqueue(tx, NewTask(key=f"dialog:{run.id}:{run.dialog}:expired", kind="dialog", args={"run": run.id, "view": run.dialog}))
    if waited:
        incident = incidents.get(tx, run.incident_id)
        said = entry(EntryKind.RUN_EXPIRED, f"{run.title}: {reason}", now=now, run=run.id, step=run.step)
        save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=_decided(tx, ctx, expired, now=now))


def _name(ctx: Context, person_id: str) -> str:
    person = ctx.directory.person(person_id)
    return person.name if person else person_id
