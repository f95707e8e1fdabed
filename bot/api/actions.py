"""Safe actions over the API: the same plan, the same click that counts, the same guards as in Slack."""

import time
from collections.abc import Callable

from pydantic import BaseModel

from bot.api.endpoint import Call, Endpoint, Failed, said
from bot.api.models import Asked, Cleaned, Confirm, Decide, Done, Empty, Extend, Items, Offered, PlanAction, Planned, Reset, SayVerdict
from bot.flows import breaking, dialogs, drawing, repeat
from bot.ports import Press, PressKind
from runbooks.run import ActionRun, Mitigation, RunState
from runbooks.screens import PlanDialog, Refusal
from storage import incidents, measurements, mitigations, runs
from storage.database import Tx

K = PressKind
PATIENCE = 8.0
"""Seconds to wait for a plan: reading the live state takes one or two."""
LOOK_EVERY = 0.05


def offered(call: Call) -> Items[Offered]:
    """What the incident's runbook offers, with why something cannot be pressed now."""

    def find(tx: Tx) -> Items[Offered]:
        incident = incidents.get(tx, call.path["incident"])
        runbook = call.muster.context.shelf.pinned(tx, incident.match.runbook)
        held = breaking.withheld(tx, call.muster.context, incident)
        safe, gated = drawing.buttons(incident, runbook, measurements.latest(tx, incident.id), runs.of_incident(tx, incident.id), held=held)
        items = [*(Offered(action=one, safe=True) for one in safe), *(Offered(action=one, safe=False) for one in gated)]
        return Items(items=tuple(items))

    return call.muster.database.read(find)


def of_incident(call: Call) -> Items[ActionRun]:
    """The incident's runs."""

    def find(tx: Tx) -> list[ActionRun]:
        return runs.of_incident(tx, incidents.get(tx, call.path["incident"]).id)

    return Items(items=tuple(call.muster.database.read(find)))


def shown(call: Call) -> ActionRun:
    """One run."""
    return _run(call)


def planned(call: Call) -> Planned:
    """Ask for a plan, and wait a moment for it: it is made by a task, from the live state. The same request twice is one run."""
    press = Press(kind=K.PLAN, incident_id=call.path["incident"], step=call.path["step"])
    reply = call.submit(press, {"parameters": dict(call.body.parameters)})
    run_id = reply.then.run_id if reply.then else _made_before(call)
    if run_id is None:
        raise Failed(409, "not_planned", said(reply) or "There is no plan.")
    ends = time.monotonic() + (PATIENCE if call.muster.running else 0)
    while True:
        run = call.muster.database.read(lambda tx: runs.get(tx, run_id))
        if run.state is not RunState.PROPOSED or time.monotonic() > ends:
            return _plan_of(call, run)
        time.sleep(LOOK_EVERY)


def _made_before(call: Call) -> int | None:
    """The run that this idempotency key made when it came first."""
    asked = repeat.request(call.interaction, call.body.parameters)
    run = call.muster.database.read(lambda tx: repeat.made_by(tx, call.path["incident"], call.path["step"], asked))
    return run.id if run else None


def plan_shown(call: Call) -> Planned:
    """A run's plan as a person would see it now."""
    return _plan_of(call, _run(call))


def _plan_of(call: Call, run: ActionRun) -> Planned:
    if run.state is RunState.PROPOSED:
        return Planned(run=run)
    screen = call.muster.database.read(lambda tx: dialogs.plan(tx, call.muster.context, run.id))
    if isinstance(screen, PlanDialog):
        return Planned(run=run, plan_hash=screen.plan_hash, refusal=screen.refusal, screen=screen)
    text = screen.text if isinstance(screen, Refusal) else f"{run.title} is {run.state.value}."
    return Planned(run=run, plan_hash=run.plan.hash if run.plan else None, refusal=text)


def confirmed(call: Call) -> Done:
    """The click that counts: it runs, or asks for approval."""
    run = _run(call)
    press = Press(kind=K.CONFIRM, incident_id=run.incident_id, run_id=run.id, step=run.step, plan_hash=call.body.plan_hash)
    call.submit(press, {"break_glass": call.body.break_glass, "override_freeze": call.body.override_freeze})
    return _after(call, "")


def decided(call: Call) -> Done:
    """A second person's word."""
    kind = K.APPROVE if call.body.granted else K.DECLINE
    return _pressed(call, kind, plan_hash=call.body.plan_hash)


def cancelled(call: Call) -> Done:
    """Cancel it before it starts."""
    return _pressed(call, K.CANCEL)


def undone(call: Call) -> Done:
    """Put back the state from before."""
    return _pressed(call, K.UNDO)


def verdict_said(call: Call) -> Done:
    """A person's word where measuring could not tell."""
    return _pressed(call, K.WORKED if call.body.worked else K.NOT_WORKED)


def cleaned(call: Call) -> Done:
    """One thing of the clean-up is done."""
    run = _run(call)
    press = Press(kind=K.CLEANED, incident_id=run.incident_id, run_id=run.id, step=run.step, subject_id=call.body.item)
    return _after(call, said(call.press(press)))


def reset(call: Call) -> Done:
    """Put an action back that the breaker has taken out of service."""
    press = Press(kind=K.RESET_WITH, runbook=call.path["runbook"], step=call.path["step"])
    return Done(said=said(call.submit(press, {"reason": call.body.reason})))


def standing(call: Call) -> Items[Mitigation]:
    """Every change that is still in force."""
    return Items(items=tuple(call.muster.database.read(mitigations.open_ones)))


def extended(call: Call) -> Done:
    """Let it stay longer."""
    item = _mitigation(call)
    press = Press(kind=K.EXTEND_TO, incident_id=item.incident_id, subject_id=item.id)
    return Done(said=said(call.submit(press, {"until": call.body.until.timestamp()})))


def kept(call: Call) -> Done:
    """It stays for good."""
    return _mitigation_pressed(call, K.KEEP)


def reverted(call: Call) -> Done:
    """Undo it."""
    return _mitigation_pressed(call, K.REVERT)


def _mitigation_pressed(call: Call, kind: PressKind) -> Done:
    item = _mitigation(call)
    return Done(said=said(call.press(Press(kind=kind, incident_id=item.incident_id, subject_id=item.id))))


def _mitigation(call: Call) -> Mitigation:
    return call.muster.database.read(lambda tx: mitigations.get(tx, call.path["mitigation"]))


def _run(call: Call) -> ActionRun:
    return call.muster.database.read(lambda tx: runs.get(tx, call.path["run"]))


def _pressed(call: Call, kind: PressKind, plan_hash: str | None = None) -> Done:
    run = _run(call)
    reply = call.press(Press(kind=kind, incident_id=run.incident_id, run_id=run.id, step=run.step, plan_hash=plan_hash))
    return _after(call, said(reply))


def _after(call: Call, sentence: str) -> Done:
    return Done(said=sentence, run=_run(call))


ONE = "/runs/{run:int}"
INCIDENT = "/incidents/{incident:int}"
MITIGATION = "/mitigations/{mitigation:int}"


def _post(path: str, name: str, summary: str, handler: Callable[[Call], BaseModel], body: type[Asked] = Empty) -> Endpoint:
    return Endpoint(method="POST", path=path, name=name, summary=summary, handler=handler, body=body, answer=Done)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path=f"{INCIDENT}/actions",
        name="list_actions",
        summary="What the runbook offers",
        handler=offered,
        answer=Items[Offered],
    ),
    Endpoint(
        method="GET", path=f"{INCIDENT}/runs", name="list_runs", summary="The runs so far", handler=of_incident, answer=Items[ActionRun]
    ),
    Endpoint(
        method="POST",
        path=f"{INCIDENT}/actions/{{step}}/plan",
        name="plan_action",
        summary="Make a plan from the live state; nothing is changed",
        handler=planned,
        body=PlanAction,
        answer=Planned,
    ),
    Endpoint(method="GET", path=ONE, name="show_run", summary="One run", handler=shown, answer=ActionRun),
    Endpoint(method="GET", path=f"{ONE}/plan", name="show_plan", summary="What it would change", handler=plan_shown, answer=Planned),
    _post("/runbooks/{runbook}/actions/{step}/reset", "reset_action", "Put an action back into service", reset, Reset),
    _post(f"{ONE}/run", "run_action", "Run exactly this plan, or ask for its approval", confirmed, Confirm),
    _post(f"{ONE}/approval", "decide_run", "Approve or decline exactly this plan", decided, Decide),
    _post(f"{ONE}/cancel", "cancel_run", "Cancel it before it starts", cancelled),
    _post(f"{ONE}/undo", "undo_run", "Put back the state from before", undone),
    _post(f"{ONE}/cleaned", "tick_cleanup", "Say that one thing of the clean-up is done", cleaned, Cleaned),
    _post(f"{ONE}/verdict", "say_verdict", "Say whether it worked, where measuring could not tell", verdict_said, SayVerdict),
    Endpoint(
        method="GET",
        path="/mitigations",
        name="list_mitigations",
        summary="Changes that are still in force",
        handler=standing,
        answer=Items[Mitigation],
    ),
    _post(f"{MITIGATION}/extend", "extend_mitigation", "Let it stay longer", extended, Extend),
    _post(f"{MITIGATION}/keep", "keep_mitigation", "Let it stay for good", kept),
    _post(f"{MITIGATION}/revert", "revert_mitigation", "Undo it", reverted),
)
