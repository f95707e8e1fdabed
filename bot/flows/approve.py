"""From a confirmed plan to its start: the word of others where it is needed, and the promise to execute (rules S7, S8)."""

from collections.abc import Sequence
from datetime import datetime

from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.permit import action_of, decide, must_pass, requester
from bot.flows.records import entry, redraw_run, save, say
from bot.flows.rights import circle_of, lock_name
from bot.flows.wording import name_of
from runbooks import approval
from runbooks.incident import Incident
from runbooks.people import Actor
from runbooks.run import ActionRun, Approval, RunState
from runbooks.timeline import EntryKind, NewEntry
from runbooks.value import Json
from storage import incidents, messages, runs, tasks
from storage.database import Tx
from storage.tasks import NewTask


def ask(tx: Tx, ctx: Context, incident: Incident, run: ActionRun, decision: approval.Decision, *, by: Actor, now: datetime) -> ActionRun:
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
    said = requested(asking, by=by, now=now)
    save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=notes)
    return asking


def approve(tx: Tx, ctx: Context, run: ActionRun, *, plan_hash: str, granted: bool, by: Actor, now: datetime) -> str:
    """Another person's word on exactly this plan (rules S7, S8). Answers what came of it, in a sentence.

    Raises:
        Refused: this person's word does not count, or there is nothing to decide any more.
    """
    if run.state is not RunState.AWAITING_APPROVAL or run.plan is None:
        ended = f"{run.title} is {run.state.value}" + (f": {run.reason}" if run.reason else "")
        late = granted and run.state is RunState.EXPIRED
        raise Refused("nothing_to_decide", f"Nothing to decide any more: {ended}.", audit=late)
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
        stopped = decided.to(RunState.REFUSED, ended_at=now, reason=f"Declined by {name_of(ctx, by.id)}; nothing was changed.")
        runs.save(tx, stopped, was=run.state, next_at=None)
        save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=redrawn_requests(tx, ctx, stopped, now=now))
        return f"{run.title} is declined; nothing was changed."
    return _count(tx, ctx, incident, run=run, decided=decided, said=said, now=now)


def _count(tx: Tx, ctx: Context, incident: Incident, *, run: ActionRun, decided: ActionRun, said: NewEntry, now: datetime) -> str:
    runbook = ctx.shelf.pinned(tx, run.runbook)
    action = action_of(runbook, run.step)
    must_pass(tx, ctx, incident, run, action, now=now)
    decision = decide(tx, ctx, incident, decided, action, by=requester(run), plan_hash=None, now=now)
    if decision.verdict is approval.Verdict.REFUSED:
        raise Refused(decision.reason.value, decision.text)
    if decision.verdict is approval.Verdict.NEEDS_APPROVAL:
        runs.save(tx, decided, was=run.state)
        save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now)
        return f"Counted: {len(decision.approved_by)} of {decision.needed}. {decision.text}"
    started = start(tx, incident, decided, entries=[said], now=now)
    tasks.enqueue(tx, *redrawn_requests(tx, ctx, started, now=now))
    return f"Approved. {run.title} starts now."


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


def requested(run: ActionRun, *, by: Actor, now: datetime) -> NewEntry:
    assert run.plan is not None
    return entry(
        EntryKind.RUN_REQUESTED,
        f"{by.id} asks for {run.title}: {run.plan.words()}.",
        now=now,
        actor=by,
        run=run.id,
        step=run.step,
        plan=run.plan.hash,
        runbook=run.runbook.model_dump(),
    )


def redrawn_requests(tx: Tx, ctx: Context, run: ActionRun, *, now: datetime) -> list[NewTask]:
    """Redraw every copy of the request, so that nobody presses a dead button. A copy that is still to be posted is drawn as it is then."""
    revision = _revision(now) + 1
    copies = (f"approval:{run.id}:{person.id}" for person in ctx.directory.people)
    names = [f"approval:{run.id}", *(name for name in copies if messages.get(tx, name))]
    args = {"screen": "approval", "run": run.id, "incident": run.incident_id, "revision": revision}
    return [
        NewTask(key=f"redraw:{name}:{revision}", kind="redraw_known", args={**args, "remember": name}, lane=f"run:{run.id}")
        for name in names
    ]


def _revision(now: datetime) -> int:
    return int(now.timestamp() * 1000)
