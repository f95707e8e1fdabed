"""What becomes of a proposal, whoever decides it: shown, ended, handed to a person. Its waiting run never outlives it."""

from datetime import datetime, timedelta

from bot.flows.context import Context
from bot.flows.records import entry, save
from bot.flows.standing import BUSY
from bot.flows.wording import name_of
from runbooks.incident import Incident
from runbooks.people import MUSTER, Actor
from runbooks.proposing import Level, Suggestion, SuggestionState
from runbooks.run import BEFORE_RUNNING, ActionRun, RunState
from runbooks.screens import Message, ProposalButton, ProposalMessage, ProposalShown
from runbooks.timeline import EntryKind
from runbooks.value import Json
from storage import incidents, runs, suggestions, tasks
from storage.database import Tx
from storage.tasks import NewTask

S = SuggestionState

LOOK_EVERY = timedelta(seconds=5)
"""How often a standing proposal is compared with what people do meanwhile."""


def redraw(one: Suggestion, *, now: datetime) -> NewTask:
    """The promise of its message in the thread: posted the first time, redrawn in place after."""
    revision = int(now.timestamp() * 1000)
    args: dict[str, Json] = {"screen": "proposal", "proposal": one.id, "incident": one.incident_id}
    return NewTask(
        key=f"proposal:{one.id}:{one.state.value}:{revision}",
        kind="redraw",
        args={**args, "remember": f"proposal:{one.id}", "revision": revision},
        lane=f"proposal:{one.id}",
    )


def end(
    tx: Tx, one: Suggestion, state: SuggestionState, *, why: str, now: datetime, by: str = MUSTER.id, actor: Actor = MUSTER
) -> Suggestion:
    """Nothing more comes of it; its waiting run, if it has one, is over with it."""
    ended = one.to(state, ended_at=now, ended_by=by, ended_why=why)
    suggestions.save(tx, ended, was=one.state, next_at=None)
    _release(tx, one, reason=why, now=now)
    kind = EntryKind.PROPOSAL_STOPPED if state is S.STOPPED else EntryKind.PROPOSAL_ENDED
    said = entry(kind, f"The proposal of {one.title} is {state.value}. {why}", now=now, actor=actor, proposal=one.id, step=one.step)
    incident = incidents.get(tx, one.incident_id)
    save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=[redraw(ended, now=now)])
    return ended


def end_all(tx: Tx, incident_id: int, *, why: str, now: datetime) -> None:
    """The incident is over: so is everything that was proposed in it. Its card is drawn by whoever ends it."""
    for one in suggestions.standing(tx, incident_id):
        ended = one.to(S.WITHDRAWN, ended_at=now, ended_by=MUSTER.id, ended_why=why)
        suggestions.save(tx, ended, was=one.state, next_at=None)
        _release(tx, one, reason=why, now=now)
        tasks.enqueue(tx, redraw(ended, now=now))


def hand_over(tx: Tx, one: Suggestion, *, why: str, now: datetime) -> Suggestion:
    """The countdown ends without a run, and the proposal stays for a person."""
    handed = one.to(S.OPEN, level=Level.SUGGEST, note=why, runs_at=None, run_id=None)
    suggestions.save(tx, handed, was=one.state, next_at=now)
    _release(tx, one, reason=why, now=now, state=RunState.REFUSED)
    text = f"{one.title} does not run by itself. {why}"
    said = entry(EntryKind.PROPOSAL_STOPPED, text, now=now, proposal=one.id, step=one.step, run=one.run_id, reason=why)
    incident = incidents.get(tx, one.incident_id)
    save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=[redraw(handed, now=now)])
    return handed


def running_step(tx: Tx, one: Suggestion) -> ActionRun | None:
    """A person's run of the proposed action that began, or asks for its approval, since it was proposed."""
    for run in runs.of_incident(tx, one.incident_id):
        since = run.step == one.step and run.requested_at >= one.made_at and not run.automatic
        if since and (run.state in BUSY or (run.started_at is not None and run.state is not RunState.REFUSED)):
            return run
    return None


def _release(tx: Tx, one: Suggestion, *, reason: str, now: datetime, state: RunState = RunState.CANCELLED) -> None:
    if one.run_id is None:
        return
    run = runs.get(tx, one.run_id)
    if run.automatic and run.state in BEFORE_RUNNING:
        runs.save(tx, run.to(state, ended_at=now, reason=reason), was=run.state, next_at=None)


def shown(ctx: Context, one: Suggestion) -> ProposalShown:
    """The proposal as the thread and the card show it: what, by whom, why, and the buttons that make sense now."""
    return ProposalShown(
        proposal=one,
        by="Muster" if not one.from_machine else f"{_machine(one)}, a machine for which {name_of(ctx, one.answers)} answers,",
        outcome=outcome(ctx, one),
        buttons=_buttons(one),
    )


def _machine(one: Suggestion) -> str:
    return one.by.partition(":")[2]


def outcome(ctx: Context, one: Suggestion) -> str:
    """What became of it, in a sentence; empty while something can still come of it."""
    if one.ended_at is None:
        return ""
    who = name_of(ctx, one.ended_by)
    match one.state:
        case S.BEGUN:
            return f"It began by itself at {one.ended_at:%H:%M:%S} UTC: nobody stopped it."
        case S.STOPPED:
            return f"Stopped by {who} at {one.ended_at:%H:%M:%S} UTC; nothing was changed."
        case S.DECLINED:
            return f"Not now, says {who}."
        case S.TAKEN:
            return f"{who} runs it."
        case S.EXPIRED:
            return "Nobody answered it in time; nothing was changed."
        case _:
            return f"Withdrawn. {one.ended_why}"


def _buttons(one: Suggestion) -> tuple[ProposalButton, ...]:
    if one.state is S.COUNTING:
        return ("stop", "run")
    if one.state is not S.OPEN:
        return ()
    return ("run", "look", "not_now") if one.level is Level.ONE_CLICK and not one.parameters else ("look", "not_now")


def message(tx: Tx, ctx: Context, args: dict[str, Json]) -> Message:
    """Its message in the thread, from the newest state."""
    one = suggestions.get(tx, int(args["proposal"]))
    return ProposalMessage(incident=incidents.get(tx, one.incident_id), shown=shown(ctx, one))


def on_card(tx: Tx, ctx: Context, incident: Incident) -> tuple[ProposalShown, ...]:
    """Those of which something can still come: what counts down first."""
    found = sorted(suggestions.standing(tx, incident.id), key=lambda one: (one.state is not S.COUNTING, one.id))
    return tuple(shown(ctx, one) for one in found)
