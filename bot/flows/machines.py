"""Language models and other automations: they may plan and propose declared actions with their sources, and nothing else (rule S28).

A machine makes no run and no plan that anybody could confirm: what it proposes is planned once to see that it could be, in bounds, and
planned anew as the plan of whoever looks at it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from actions.planning import PlanRefused
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.permit import action_of
from bot.flows.records import entry, save
from bot.flows.suggested import LOOK_EVERY, redraw
from runbooks.incident import Incident
from runbooks.operation import Plan
from runbooks.people import Actor, ActorKind, Person
from runbooks.proposing import TOKEN, Level, Source, Suggestion, SuggestionState
from runbooks.runbook import Action, Runbook
from runbooks.timeline import OWN, EntryKind
from runbooks.value import Json
from storage import incidents, ledger, suggestions
from storage.database import Tx

MOST_STANDING = 3
"""Proposals of machines that may stand in one incident at a time: a thread is for people."""

MOST_AN_HOUR = 10
"""How often one machine may propose in one incident within an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine's token, and the person who answers for what it proposes."""

    token: str
    person: Person

    @property
    def id(self) -> str:
        """How rows name it: no person's id has a colon."""
        return f"{TOKEN}{self.token}"

    @property
    def actor(self) -> Actor:
        """How the timeline names it: never as its person."""
        return Actor(kind=ActorKind.TOKEN, id=self.token, via="api")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a machine proposes: a step of the incident's runbook with parameters within its bounds, why, and from which sources."""

    step: str
    parameters: Mapping[str, Json]
    reason: str
    sources: Sequence[Source]


def plan(ctx: Context, incident_id: int, wish: Wish, *, machine: Machine) -> Plan:
    """What the action would change with these parameters, from the live state. Changes nothing and keeps nothing.

    Raises:
        Refused: the runbook declares no such action, or there is no such plan: unknown parameters, out of bounds, wrong target.
    """
    incident, runbook = ctx.read(lambda tx: _scene(tx, ctx, incident_id))
    action = action_of(runbook, wish.step)
    try:
        made = ctx.runner_for(incident).plan(
            action,
            runbook=runbook,
            labels=incident.labels,
            parameters=wish.parameters,
            environment=incident.environment,
            service=incident.service,
            plan_id=uuid4().hex,
        )
    except PlanRefused as refused:
        text, reason = f"Not proposed: {refused}", refused.reason
        what = f"proposed {wish.step}, and there is no such plan: {refused}"
        ctx.write(lambda tx: attempted(tx, ctx, machine, what, reason=reason, incident_id=incident_id))
        raise Refused(reason, text, audit=False) from refused
    return made


def _scene(tx: Tx, ctx: Context, incident_id: int) -> tuple[Incident, Runbook]:
    incident = incidents.get(tx, incident_id)
    if not incident.is_open:
        raise Refused("resolved", f"{incident.ref} is resolved; nothing is proposed any more.", audit=False)
    return incident, ctx.shelf.pinned(tx, incident.match.runbook)


def propose(tx: Tx, ctx: Context, incident_id: int, wish: Wish, *, machine: Machine, made: Plan, now: datetime) -> Suggestion:
    """Put it into the thread and on the card, as a machine's words. A person decides; nothing counts down.

    Raises:
        Refused: the incident is over, the same stands there already, or there are too many.
    """
    incident, runbook = _scene(tx, ctx, incident_id)
    action = action_of(runbook, wish.step)
    _must_have_room(tx, incident, action, machine, now=now)
    one = suggestions.add(
        tx,
        Suggestion(
            id=0,
            incident_id=incident.id,
            runbook=runbook.ref,
            step=action.id,
            title=action.title,
            state=SuggestionState.OPEN,
            level=Level.SUGGEST,
            by=machine.id,
            answers=machine.person.id,
            reason=wish.reason,
            change=f"{made.call.target or made.call.operation} {made.proposal.step}",
            parameters={name: value for name, value in made.parameters.items() if name in wish.parameters},
            sources=tuple(wish.sources),
            made_at=now,
        ),
        next_at=now + LOOK_EVERY,
    )
    said = entry(
        EntryKind.PROPOSED,
        f"The machine {machine.token}, for which {machine.person.id} answers, proposes {action.title}: {wish.reason}",
        now=now,
        actor=machine.actor,
        proposal=one.id,
        step=action.id,
        parameters=one.parameters,
        sources=[source.model_dump() for source in one.sources],
        answers=machine.person.id,
    )
    save(tx, before=incident, after=incident.redrawn(), entries=[said], now=now, tasks_too=[redraw(one, now=now)])
    return one


def _must_have_room(tx: Tx, incident: Incident, action: Action, machine: Machine, *, now: datetime) -> None:
    found = suggestions.of_incident(tx, incident.id)
    stands = [one for one in found if one.stands]
    if any(one.step == action.id for one in stands):
        raise Refused("proposed_already", f"{action.title} is proposed already in {incident.ref}; a person decides.", audit=False)
    if sum(one.from_machine for one in stands) >= MOST_STANDING:
        text = f"{MOST_STANDING} proposals of machines stand in {incident.ref} already; wait until somebody has answered one."
        raise Refused("too_many", text, audit=False)
    lately = [one for one in found if one.by == machine.id and now - one.made_at < timedelta(hours=1)]
    if len(lately) >= MOST_AN_HOUR:
        raise Refused("too_many", f"You proposed {len(lately)} times in {incident.ref} within an hour, the limit.", audit=False)


def attempted(tx: Tx, ctx: Context, machine: Machine, what: str, *, reason: str, incident_id: int | None) -> None:
    """A machine tried what it may not: on the incident's timeline, else in Muster's own record."""
    now = ctx.now()
    said = entry(
        EntryKind.ATTEMPT_REFUSED,
        f"The machine {machine.token}, for which {machine.person.id} answers, {what}",
        now=now,
        actor=machine.actor,
        reason=reason,
        answers=machine.person.id,
    )
    known = incident_id is not None and incidents.find(tx, incident_id) is not None
    ledger.record(tx, incident_id if known and incident_id is not None else OWN, [said], now=now)
