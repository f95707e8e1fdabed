"""Messages: promised as tasks, built when sent from the newest state, posted once and redrawn in place.

A `say` task names a builder below. Builders answer None when there is nothing to say any more.
"""

from collections.abc import Callable

from bot.flows import breaking, cleanup, suggested
from bot.flows.context import Context
from bot.flows.drawing import run_line
from bot.flows.review import review_notice
from bot.flows.wording import next_step, proven, run_buttons, run_text
from bot.ports import Location
from bot.settlement import Postponed, Settled, Settlement
from runbooks.drill import DrillState
from runbooks.incident import Incident
from runbooks.postmortem import phases_of
from runbooks.run import ActionRun, RunState, Verdict
from runbooks.screens import (
    ApprovalRequest,
    DrillInvitation,
    DrillReport,
    Message,
    MitigationNotice,
    Notice,
    ResolvedMessage,
    RunMessage,
    Welcome,
)
from runbooks.value import Json
from storage import drills, incidents, messages, mitigations, reviews, runs, timeline
from storage.database import Tx
from storage.tasks import Task

Args = dict[str, Json]
Builder = Callable[[Tx, Context, Args], Message | None]
WAIT_FOR_CARD = 2.0
"""Seconds until a thread's message looks again for its card, which must stand first; longer each time."""

LONGEST_WAIT = 60.0
"""Seconds between two looks for a card that has not come for long: its channel is gone, or Slack is."""


def say(ctx: Context, task: Task) -> Settlement:
    """Post a promised message once: into the incident's thread, a channel, or to one person."""
    args: Args = task.args
    screen = ctx.read(lambda tx: BUILDERS[str(args["screen"])](tx, ctx, args))
    if screen is None:
        return Settled(result={"skipped": "nothing to say"})
    if slack_id := args.get("to"):
        location = ctx.messenger.direct(screen, slack_id=str(slack_id), key=task.key, look_first=task.in_doubt)
        return _remember(args, location)
    if channel := args.get("channel"):
        location = ctx.messenger.post(screen, channel=str(channel), key=task.key, look_first=task.in_doubt)
        return _remember(args, location)
    card = ctx.read(lambda tx: messages.get(tx, f"card:{args['incident']}"))
    if card is None:
        return Postponed(
            seconds=min(WAIT_FOR_CARD * task.attempt, LONGEST_WAIT), certain=True, error="the card does not stand yet", throttled=True
        )
    location = ctx.messenger.post(screen, channel=card.channel, thread=card.ts, key=task.key, look_first=task.in_doubt)
    return _remember(args, location)


def _remember(args: Args, location: Location) -> Settled:
    name = str(args["remember"]) if args.get("remember") else None
    if name is None:
        return Settled(result={"channel": location.channel, "ts": location.ts})
    revision = int(args.get("revision") or 0)
    return Settled(apply=lambda tx: messages.put(tx, name, channel=location.channel, ts=location.ts, revision=revision))


def redraw(ctx: Context, task: Task) -> Settlement:
    """Redraw a message that stands under a remembered name; post it first where it does not stand yet.

    It is drawn from the newest state, so what was promised before this moment is drawn with it and need not be drawn again.
    """
    name = str(task.args["remember"])
    message = ctx.read(lambda tx: messages.get(tx, name))
    if message is None:
        return Settled(result={"skipped": "not posted"}) if task.kind == "redraw_known" else say(ctx, task)
    if message.revision > int(task.args["revision"]):
        return Settled(result={"drawn": "by a later task"})
    newest = int(ctx.now().timestamp() * 1000)
    screen = ctx.read(lambda tx: BUILDERS[str(task.args["screen"])](tx, ctx, task.args))
    if screen is None:
        return Settled(result={"skipped": "nothing to say"})
    ctx.messenger.update(screen, at=Location(channel=message.channel, ts=message.ts), key=f"say:{name}")
    return Settled(apply=lambda tx: messages.put(tx, name, channel=message.channel, ts=message.ts, revision=newest))


def _notice(tx: Tx, ctx: Context, args: Args) -> Message:
    incident = incidents.find(tx, int(args["incident"])) if args.get("incident") else None
    people = tuple(person for name in args.get("mentions") or () if (person := ctx.directory.person(str(name))))
    drill, told = bool(incident and incident.is_drill), str(args["text"])
    if drill and people:  # a rehearsal wakes nobody who takes no part in it
        told = f"{told} In a real incident this would call {', '.join(person.name for person in people)}."
    return Notice(text=told, incident_id=incident.id if incident else None, drill=drill, mentions=() if drill else people)


def _run(tx: Tx, ctx: Context, args: Args) -> Message | None:
    run = runs.get(tx, int(args["run"]))
    incident = incidents.get(tx, run.incident_id)
    line = run_line(ctx, ctx.shelf.pinned(tx, run.runbook), run, mitigations.of_incident(tx, incident.id))
    return RunMessage(incident=incident, line=line, text=run_text(ctx, line), next_step=next_step(ctx, line), buttons=run_buttons(line))


def _approval(tx: Tx, ctx: Context, args: Args) -> Message | None:
    run = runs.get(tx, int(args["run"]))
    if run.plan is None or run.approve_until_at is None:
        return None
    return approval_request(ctx, incidents.get(tx, run.incident_id), run, approvers=str(args.get("approvers") or ""))


def approval_request(ctx: Context, incident: Incident, run: ActionRun, *, approvers: str) -> ApprovalRequest:
    """The plan put to those who may approve; with what was decided, once it was."""
    assert run.plan is not None and run.approve_until_at is not None  # noqa: PT018 - both are set together
    return ApprovalRequest(
        incident=incident,
        run=run,
        plan=run.plan,
        requested_by=ctx.directory.person(run.requested_by),
        approvers=approvers,
        until_at=run.approve_until_at,
        decided=_decided(ctx, run),
    )


def _decided(ctx: Context, run: ActionRun) -> str | None:
    if run.state is RunState.AWAITING_APPROVAL:
        return None
    last = run.approvals[-1] if run.approvals else None
    match run.state:
        case RunState.EXPIRED:
            return "Nobody decided in time; nothing was changed."
        case RunState.CANCELLED | RunState.REFUSED:
            return run.reason or "Cancelled; nothing was changed."
        case _:
            return f"Approved by {_name(ctx, last.person)} at {last.given_at:%H:%M} UTC." if last else "Started."


def _resolved(tx: Tx, ctx: Context, args: Args) -> Message:
    incident = incidents.get(tx, int(args["incident"]))
    review = reviews.of_incident(tx, incident.id)
    worked = [run for run in runs.of_incident(tx, incident.id) if run.verdict is Verdict.VERIFIED]
    standing = mitigations.of_incident(tx, incident.id)
    carried = [item for item in standing if item.ended_at is None]
    lines = [run_line(ctx, ctx.shelf.pinned(tx, run.runbook), run, standing) for run in worked]
    return ResolvedMessage(
        incident=incident,
        phases=phases_of(timeline.of(tx, incident.id)),
        worked=tuple(proven(line) for line in lines),
        carried=tuple(f"{item.title}, carried by {_name(ctx, item.owner)}" for item in carried),
        review=review,
        review_owner=ctx.directory.person(review.owner) if review else None,
        draft_url=ctx.page_url(f"/postmortems/{incident.id}"),
        redrill_at=drills.get(tx, int(args["drill"])).due_at if args.get("drill") else None,
    )


def _name(ctx: Context, person_id: str) -> str:
    person = ctx.directory.person(person_id)
    return person.name if person else person_id


def _mitigation(tx: Tx, ctx: Context, args: Args) -> Message | None:
    item = mitigations.get(tx, int(args["mitigation"]))
    if item.ended_at is not None:
        return None
    asks = bool(args.get("asks"))
    return MitigationNotice(
        incident=incidents.get(tx, item.incident_id),
        mitigation=item,
        owner=ctx.directory.person(item.owner),
        asks=asks,
        text=str(args["text"]),
    )


def _drill_invitation(tx: Tx, ctx: Context, args: Args) -> Message | None:
    drill = drills.get(tx, int(args["drill"]))
    runbook = ctx.shelf.runbook(drill.runbook)
    if runbook is None:
        return None
    decided = None
    if drill.state not in {DrillState.PLANNED, DrillState.ASKED}:
        decided = f"{drill.state.value}{' by ' + drill.started_by if drill.started_by else ''}"
    elif args.get("moved"):
        decided = f"moved to {drill.due_at:%Y-%m-%d}"
    return DrillInvitation(
        drill=drill,
        runbook_title=runbook.header.title,
        lead=ctx.directory.person(drill.lead) if drill.lead else None,
        overdue=bool(args.get("overdue")),
        decided=decided,
    )


def _drill_report(tx: Tx, ctx: Context, args: Args) -> Message | None:
    drill = drills.get(tx, int(args["drill"]))
    runbook = ctx.shelf.runbook(drill.runbook)
    incident = incidents.get(tx, drill.incident_id) if drill.incident_id else None
    return DrillReport(
        drill=drill,
        runbook_title=runbook.header.title if runbook else drill.runbook,
        incident=incident,
        phases=phases_of(timeline.of(tx, incident.id) if incident else ()),
        url=ctx.page_url(f"/drills/{drill.id}"),
    )


def _welcome(_tx: Tx, _ctx: Context, args: Args) -> Message:
    return Welcome(
        simulation_url=str(args["simulation"]),
        steps=(
            "Break the simulated service: press a fault there, for example Traffic surge. Its alert arrives here within a minute.",
            "Acknowledge the card. Read what is over its limit.",
            "Press an action, read the plan, run it. Muster watches until the recovery is proven.",
            "Resolve it, and open the draft of the post-mortem.",
        ),
    )


BUILDERS: dict[str, Builder] = {
    "notice": _notice,
    "run": _run,
    "breaker": breaking.message,
    "proposal": suggested.message,
    "approval": _approval,
    "resolved": _resolved,
    "mitigation": _mitigation,
    "cleanup": cleanup.message,
    "drill_invitation": _drill_invitation,
    "drill_report": _drill_report,
    "review": review_notice,
    "welcome": _welcome,
}
"""Every message that a task can promise, by the name in its arguments."""
