"""An action that has earned it begins after a countdown that anyone may stop (rule S30).

`sweep` lets time pass; `begin` measures once more and begins. What waits is a row, so that a restart and a `kill -9` change nothing, and
every run goes through the whole guard as a person's does.
"""

from datetime import datetime, timedelta

from bot.flows import act
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.proposing import diagnostic_of, value_at
from bot.flows.respond import measure
from bot.flows.suggested import LOOK_EVERY, end, hand_over, redraw, running_step
from bot.flows.sweeping import PUT_OFF, each
from bot.flows.wording import name_of
from bot.settlement import Settled, Settlement
from runbooks.incident import Incident
from runbooks.people import MUSTER
from runbooks.proposing import Suggestion, SuggestionState, satisfied
from runbooks.run import RunState
from runbooks.runbook import Runbook
from storage import incidents, runs, suggestions, tasks
from storage.database import Tx
from storage.tasks import NewTask, Task

S = SuggestionState

LIFE = timedelta(minutes=30)
"""How long a proposal stands that nobody answers."""

LATEST = timedelta(minutes=2)
"""How long after its time an action still begins by itself. Later, as after a long stop, a person decides."""


TOO_LATE = "Its time came while Muster could not look; a person decides."


def sweep(ctx: Context) -> int:
    """Let time pass for what stands there: begin what nobody stopped, end what people or time have decided."""

    def work(tx: Tx) -> int:
        now = ctx.now()
        due = suggestions.due(tx, now, limit=50)
        return each(tx, due, lambda one: _due(tx, ctx, one, now=now), put_off=lambda one: suggestions.wake(tx, one.id, now + PUT_OFF))

    return ctx.write_if(lambda tx: suggestions.due(tx, ctx.now(), limit=1), work, name="autonomy")


def _due(tx: Tx, ctx: Context, one: Suggestion, *, now: datetime) -> None:
    incident = incidents.get(tx, one.incident_id)
    if not one.stands:
        suggestions.wake(tx, one.id, None)
    elif not incident.is_open or incident.mitigated_at is not None:
        over = "resolved" if not incident.is_open else "mitigated"
        end(tx, one, S.WITHDRAWN, why=f"{incident.ref} is {over}.", now=now)
    elif taken := running_step(tx, one):
        end(tx, one, S.TAKEN, why=f"{name_of(ctx, taken.requested_by)} runs it.", by=taken.requested_by, now=now)
    elif one.runs_at is not None and one.state is S.COUNTING and now >= one.runs_at:
        _time_is_over(tx, one, now=now)
    elif one.state is S.OPEN and now >= one.made_at + LIFE:
        end(tx, one, S.EXPIRED, why="Nobody answered it.", now=now)
    else:
        soon = now + LOOK_EVERY
        suggestions.wake(tx, one.id, min(soon, one.runs_at) if one.runs_at and one.state is S.COUNTING else soon)


def _time_is_over(tx: Tx, one: Suggestion, *, now: datetime) -> None:
    if _is_late(one, now):
        hand_over(tx, one, why=TOO_LATE, now=now)
        return
    tasks.enqueue(
        tx, NewTask(key=f"proposal:{one.id}:begin", kind="begin_proposed", args={"proposal": one.id, "incident": one.incident_id})
    )
    suggestions.wake(tx, one.id, now + LOOK_EVERY)


def _is_late(one: Suggestion, now: datetime) -> bool:
    return one.runs_at is None or now > one.runs_at + LATEST


def begin(ctx: Context, task: Task) -> Settlement:
    """The countdown is over: measure once more, and begin if it is still wanted and still allowed."""

    def load(tx: Tx) -> tuple[Suggestion, Incident, Runbook]:
        one = suggestions.get(tx, int(task.args["proposal"]))
        return one, incidents.get(tx, one.incident_id), ctx.shelf.pinned(tx, one.runbook)

    one, incident, runbook = ctx.read(load)
    action = runbook.action(one.step)
    if one.state is not S.COUNTING or action is None or action.propose_when is None:
        return Settled(result={"state": one.state.value})
    when = action.propose_when
    diagnostic = diagnostic_of(runbook, when)
    present = measure(ctx, incident, diagnostic)
    value = present.value if present.error is None else None
    baseline = value_at(ctx, incident, diagnostic, ago=when.baseline) if when.baseline is not None else None
    unknown = value is None or (when.baseline is not None and baseline is None)
    holds = None if unknown or value is None else satisfied(when, value, baseline=baseline)
    return Settled(apply=lambda tx: _begin(tx, ctx, one.id, holds=holds, said=f"{present.title} is {present.text}"))


def _begin(tx: Tx, ctx: Context, suggestion_id: int, *, holds: bool | None, said: str) -> None:
    one, now = suggestions.get(tx, suggestion_id), ctx.now()
    if one.state is not S.COUNTING or one.run_id is None:
        return
    run = runs.get(tx, one.run_id)
    if _is_late(one, now):
        hand_over(tx, one, why=TOO_LATE, now=now)
    elif holds is False:
        end(tx, one, S.WITHDRAWN, why=f"It is no longer needed: {said}.", now=now)
    elif holds is None:
        hand_over(tx, one, why="Its reason could not be measured at the end of the countdown; a person decides.", now=now)
    elif (newest := ctx.shelf.runbook(run.runbook.id)) is None or newest.ref != run.runbook:
        hand_over(tx, one, why=f"The runbook {run.runbook.id} has changed since it was proposed; a person decides.", now=now)
    elif run.state is not RunState.PLANNED or run.plan is None:
        hand_over(tx, one, why=f"Its plan is {run.state.value}; a person decides.", now=now)
    else:
        try:
            act.confirm(tx, ctx, run, plan_hash=run.plan.hash, by=MUSTER, now=now)
        except Refused as refused:
            hand_over(tx, one, why=str(refused), now=now)
            return
        begun = one.to(S.BEGUN, ended_at=now, ended_by=MUSTER.id, ended_why="Nobody stopped it.")
        suggestions.save(tx, begun, was=one.state, next_at=None)
        tasks.enqueue(tx, redraw(begun, now=now))
