"""The breaker: an action that ended badly too often in a row is out of service everywhere, until its owner has looked (rule S15).

The row is durable and one for all incidents and replicas; the owner is told once, where they are and where it happened.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from actions import breaker
from bot.flows import pausing
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.records import entry, say
from bot.flows.wording import name_of
from runbooks.approval import SHORTEST_REASON
from runbooks.incident import Incident
from runbooks.people import Actor, Person
from runbooks.run import ActionRun
from runbooks.screens import BreakerNotice, ResetDialog
from runbooks.timeline import EntryKind
from runbooks.value import Json
from storage import breakers, incidents, ledger, runs, tasks
from storage.breakers import Breaker
from storage.database import Tx
from storage.tasks import NewTask

RUNS_TOLD = 5  # of the row, in the message


def note(tx: Tx, ctx: Context, incident: Incident, run: ActionRun, *, now: datetime) -> None:
    """After a run's end: if it was one bad end too many, take the action out of service and tell its owner once; not after a drill's."""
    if incident.is_drill or not breaker.ended_badly(run):
        return
    held = breakers.get(tx, run.runbook.id, run.step)
    if held.is_open:
        return
    earlier = [one for one in runs.of_step(tx, run.step, after=held.looked_at_run) if one.runbook.id == run.runbook.id]
    row = breaker.bad_row(earlier, failures=ctx.policy.bad_ends)
    if row:
        _open(tx, ctx, replace(held, title=run.title, failures=len(row), run_id=run.id, incident_id=incident.id, opened_at=now), row)


def _open(tx: Tx, ctx: Context, held: Breaker, row: Sequence[ActionRun]) -> None:
    assert held.opened_at is not None
    assert held.incident_id is not None
    breakers.put(tx, held)
    now, owner = held.opened_at, owner_of(ctx, held.runbook)
    text = f"{held.title} failed {held.failures} times in a row and is out of service everywhere until {owner} has looked at it."
    said = entry(
        EntryKind.BREAKER_OPENED,
        text,
        now=now,
        runbook=held.runbook,
        step=held.step,
        runs=[run.id for run in row],
        reasons=[run.verdict_reason or run.reason for run in row],
    )
    ledger.record(tx, held.incident_id, [said], now=now)
    told = owners(ctx, held.runbook, now=now)
    tasks.enqueue(tx, _message(held, mentions=[person.id for person in told]))
    for person in told:
        if person.slack_id:
            tasks.enqueue(tx, _message(held, to=person))


def _message(held: Breaker, *, to: Person | None = None, mentions: list[str] | None = None) -> NewTask:
    name = _name(held, to)
    where = {"lane": f"dm:{to.slack_id}", "to": to.slack_id, "incident": held.incident_id} if to else {"incident_id": held.incident_id}
    args = {"runbook": held.runbook, "step": held.step, "run": held.run_id, "mentions": mentions or [], "remember": name}
    return say(key=name, screen="breaker", **where, **args)  # type: ignore[arg-type]


def message(tx: Tx, ctx: Context, args: dict[str, Json]) -> BreakerNotice:
    """The owner's message as it is now: about the opening by one run, which may be over."""
    held = breakers.get(tx, str(args["runbook"]), str(args["step"]))
    over = not held.is_open or held.run_id != args.get("run")
    notice = _notice(tx, ctx, held)
    if not over:
        told = tuple(person for name in args.get("mentions") or () if (person := ctx.directory.person(str(name))))
        return notice.model_copy(update={"mentions": told})
    decided = f"Put back by {name_of(ctx, held.reset_by)}: {held.reset_reason.rstrip('.')}."
    if held.is_open:
        decided = f"{decided} It is out of service again since then: see the newer message."
    before = "It failed too often in a row, and nobody could run it until then."
    return notice.model_copy(update={"text": before, "reasons": (), "decided": decided})


def notices(tx: Tx, ctx: Context) -> list[BreakerNotice]:
    """Every action that is out of service now."""
    return [_notice(tx, ctx, held) for held in breakers.open_ones(tx)]


def _notice(tx: Tx, ctx: Context, held: Breaker) -> BreakerNotice:
    row = [run for run in runs.of_step(tx, held.step, after=held.looked_at_run) if run.runbook.id == held.runbook]
    bad = [f"INC-{run.incident_id}: {run.verdict_reason or run.reason}" for run in row if breaker.ended_badly(run)]
    return BreakerNotice(
        runbook_id=held.runbook,
        step=held.step,
        title=held.title,
        text=f"It failed {held.failures} times in a row. Nobody can run it anywhere until {owner_of(ctx, held.runbook)} has looked at it.",
        reasons=tuple(bad[: held.failures][:RUNS_TOLD]),
        incident_id=held.incident_id,
        run_id=held.run_id,
        since_at=held.opened_at,
    )


def _name(held: Breaker, person: Person | None) -> str:
    """The name of a message about this opening; each opening has messages of its own."""
    return f"breaker:{held.runbook}/{held.step}:{held.run_id}{':' + person.id if person else ''}"


def owner_of(ctx: Context, runbook_id: str) -> str:
    """The team that answers for a runbook; a word for it where the runbook is gone."""
    runbook = ctx.shelf.runbook(runbook_id)
    return runbook.header.owner if runbook else "its owner"


def owners(ctx: Context, runbook_id: str, *, now: datetime) -> tuple[Person, ...]:
    """Who is told: the owner's people on duty and its lead, each once; all of its members where there is neither."""
    team = ctx.directory.team(owner_of(ctx, runbook_id))
    if team is None:
        return ()
    lead = ctx.directory.person(team.lead) if team.lead else None
    found = dict.fromkeys([*ctx.on_call.on_call(team.id, now), *([lead] if lead else [])])
    return tuple(found) or ctx.directory.members(team.id)


def withheld(tx: Tx, ctx: Context, incident: Incident) -> dict[str, str]:
    """Why actions of the incident's runbook cannot be pressed, by step: for the card."""
    if incident.is_drill:
        return {}
    found = [one for one in breakers.open_ones(tx) if one.runbook == incident.match.runbook.id]
    return {one.step: f"failed {one.failures} times in a row; {owner_of(ctx, one.runbook)} must look first" for one in found}


def dialog(tx: Tx, ctx: Context, runbook_id: str, step: str, *, by: Actor, now: datetime) -> ResetDialog:
    """Ask what was found before the action goes back into service.

    Raises:
        Refused: it is in service, or this person may not.
    """
    held = _must_be_open(tx, ctx, runbook_id, step)
    _must_answer_for_it(ctx, held, by=by, now=now)
    return ResetDialog(
        runbook_id=runbook_id, step=step, title=held.title, failures=held.failures, incident_id=held.incident_id, run_id=held.run_id
    )


def reset(tx: Tx, ctx: Context, runbook_id: str, step: str, *, reason: str, by: Actor, now: datetime) -> str:
    """Put an action back into service, on record. What it did before no longer counts against it.

    Raises:
        Refused: it is in service, this person may not, or the reason explains nothing.
    """
    held = _must_be_open(tx, ctx, runbook_id, step)
    _must_answer_for_it(ctx, held, by=by, now=now)
    if len(reason.strip()) < SHORTEST_REASON:
        raise Refused("reset_reason", "Still out of service: say in a sentence what was found and why it will work now.")
    latest = max((run.id for run in runs.of_step(tx, step, limit=1)), default=held.run_id or 0)
    breakers.put(tx, replace(held, opened_at=None, looked_at_run=latest, reset_by=by.id, reset_reason=reason.strip()))
    text = f"{by.id} puts {held.title} back into service: {reason.strip()}"
    if held.incident_id is not None and (incident := incidents.find(tx, held.incident_id)):
        said = entry(EntryKind.BREAKER_RESET, text, now=now, actor=by, runbook=runbook_id, step=step, reason=reason.strip())
        ledger.record(tx, incident.id, [said], now=now)
        told = f"{name_of(ctx, by.id)} puts {held.title} back into service: {reason.strip()}"
        tasks.enqueue(tx, say(key=f"{_name(held, None)}:reset", screen="notice", incident_id=incident.id, text=told))
    tasks.enqueue(tx, *_redrawn(ctx, held, now=now))
    return f"{held.title} is back in service."


def _redrawn(ctx: Context, held: Breaker, *, now: datetime) -> list[NewTask]:
    """Every copy of the message is drawn anew, so that nobody presses a dead button."""
    revision = int(now.timestamp() * 1000)
    args = {"screen": "breaker", "runbook": held.runbook, "step": held.step, "run": held.run_id, "incident": held.incident_id}
    names = [_name(held, person) for person in (None, *ctx.directory.people)]
    return [
        NewTask(key=f"redraw:{name}:{revision}", kind="redraw_known", args={**args, "remember": name, "revision": revision}, lane=name)
        for name in names
    ]


def _must_be_open(tx: Tx, ctx: Context, runbook_id: str, step: str) -> Breaker:
    held = breakers.get(tx, runbook_id, step)
    if held.is_open:
        return held
    by = f"; {name_of(ctx, held.reset_by)} put it back: {held.reset_reason.rstrip('.')}" if held.reset_by else ""
    raise Refused("in_service", f"{held.title or f'{runbook_id}/{step}'} is in service{by}.", audit=False)


def _must_answer_for_it(ctx: Context, held: Breaker, *, by: Actor, now: datetime) -> None:
    team = ctx.directory.team(owner_of(ctx, held.runbook))
    own = {person.id for person in owners(ctx, held.runbook, now=now)} | set(team.members if team else ())
    if by.is_human and (by.id in own or pausing.is_admin(ctx, by.id, now=now)):
        return
    names = ", ".join(person.name for person in owners(ctx, held.runbook, now=now)[:5]) or "nobody"
    raise Refused("not_granted", f"Still out of service: its owner or an admin puts {held.title} back. These can: {names}.")
