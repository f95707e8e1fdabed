"""What people make of a proposal: look at its plan, run it now, not now, stop its countdown (rules S28, S30)."""

from collections.abc import Callable
from datetime import datetime

from bot.flows import act
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.suggested import end, outcome
from bot.flows.wording import name_of
from bot.ports import Press, PressKind, Reply
from runbooks.people import Actor
from runbooks.proposing import Suggestion, SuggestionState
from runbooks.run import RunState
from runbooks.screens import Loading, Notice
from storage import incidents, runs, suggestions
from storage.database import Tx

S = SuggestionState
K = PressKind


def press(tx: Tx, ctx: Context, pressed: Press, *, by: Actor, now: datetime) -> Reply:
    """A button of a proposal. One that is over explains itself (rule S10).

    Raises:
        Refused: it is over, or this person may not run the action. Nothing was changed.
    """
    if pressed.subject_id is None:
        raise Refused("unknown_button", "This button names no proposal. Use the buttons on the card.")
    one = suggestions.get(tx, pressed.subject_id)
    incident = incidents.get(tx, one.incident_id)
    if not incident.is_open:
        raise Refused("resolved", f"{incident.ref} is resolved; nothing was changed.", offer="timeline", audit=False)
    return PRESSED[pressed.kind](tx, ctx, one, by, now)


def _must_stand(ctx: Context, one: Suggestion) -> None:
    if not one.stands:
        raise Refused("proposal_over", f"The proposal of {one.title} is over. {outcome(ctx, one)}", offer="plan", audit=False)


def _look(tx: Tx, ctx: Context, one: Suggestion, by: Actor, now: datetime) -> Reply:
    """The plan, made anew from the live state as a plan of whoever looks: what a machine wrote is at most the chosen parameters."""
    _must_stand(ctx, one)
    incident = incidents.get(tx, one.incident_id)
    run = act.propose(tx, ctx, incident, one.step, by=by, now=now, parameters=one.parameters)
    return Reply(
        dialog=Loading(title=run.title, text="Reading the present state and checking what may be done …"),
        then=Press(kind=K.PLAN, incident_id=incident.id, step=run.step, run_id=run.id),
    )


def _run(tx: Tx, ctx: Context, one: Suggestion, by: Actor, now: datetime) -> Reply:
    """A person does not wait for the countdown, or takes the one click: it is that person's run, by that person's right."""
    _must_stand(ctx, one)
    if one.state is S.OPEN:
        incident = incidents.get(tx, one.incident_id)
        act.propose(tx, ctx, incident, one.step, by=by, now=now, parameters=one.parameters, at_once=True)
        return Reply()
    run = runs.get(tx, one.run_id or 0)
    if run.plan is None:
        raise Refused("not_planned", f"Not run: {one.title} has no plan any more. Open the current plan from the card.", offer="plan")
    mine = run.with_(automatic=False, on_behalf_of=None, requested_by=by.id, requested_via=by.via)
    act.confirm(tx, ctx, mine, plan_hash=run.plan.hash, by=by, now=now)
    end(tx, one, S.TAKEN, why=f"{name_of(ctx, by.id)} runs it now.", by=by.id, actor=by, now=now)
    return _said(f"{one.title} starts now. You will see the result in the thread.")


def _stop(tx: Tx, ctx: Context, one: Suggestion, by: Actor, now: datetime) -> Reply:
    """Anyone whom Muster knows may stop what nobody asked for; no right is needed, and who did it stays on record."""
    waiting = one.run_id is not None and runs.get(tx, one.run_id).state is RunState.APPROVED
    if one.state is S.BEGUN and not waiting:
        run = runs.get(tx, one.run_id or 0)
        raise Refused("started", f"{one.title} has begun and is {run.state.value}. Undo it in the thread.", audit=False)
    if one.state not in {S.COUNTING, S.BEGUN}:
        _must_stand(ctx, one)
        return _not_now(tx, ctx, one, by, now)
    end(tx, one, S.STOPPED, why=f"{name_of(ctx, by.id)} stopped it.", by=by.id, actor=by, now=now)
    return _said(f"{one.title} is stopped; nothing was changed.")


def _not_now(tx: Tx, ctx: Context, one: Suggestion, by: Actor, now: datetime) -> Reply:
    if one.state is S.COUNTING:
        return _stop(tx, ctx, one, by, now)
    _must_stand(ctx, one)
    end(tx, one, S.DECLINED, why=f"{name_of(ctx, by.id)} says not now.", by=by.id, actor=by, now=now)
    return _said(f"Noted. {one.title} is not proposed again for half an hour; its button stays.")


def _said(text: str) -> Reply:
    return Reply(whisper=Notice(text=text))


PRESSED: dict[PressKind, Callable[[Tx, Context, Suggestion, Actor, datetime], Reply]] = {
    K.PROPOSED_LOOK: _look,
    K.PROPOSED_RUN: _run,
    K.PROPOSED_STOP: _stop,
    K.NOT_NOW: _not_now,
}
"""The buttons of a proposal. None of them needs the card's runbook version: each names its proposal, which pins one."""
