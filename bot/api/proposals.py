"""Proposals over the API: what stands in an incident, and the one thing that a language model or another automation may do (rule S28)."""

from typing import Annotated

from pydantic import Field

from bot.api.endpoint import Call, Endpoint, Failed, said
from bot.api.models import Asked, Done, Empty, Items
from bot.flows import machines
from bot.flows.machines import Machine, Wish
from bot.ports import Press, PressKind
from runbooks.operation import Plan
from runbooks.proposing import MOST_SOURCES, Source, Suggestion
from runbooks.value import Json, Value
from storage import incidents, suggestions
from storage.database import Tx


class Cited(Asked):
    """What a proposal rests on: a title, where it stands on the web, and the words that count. It is quoted, never followed."""

    title: Annotated[str, Field(min_length=1, max_length=120)]
    link: Annotated[str, Field(pattern=r"^https?://[^\s<>|\"]+$", max_length=500)] | None = None
    quote: Annotated[str, Field(max_length=500)] = ""


class ProposeAction(Asked):
    """A declared action of the incident's runbook, why, and what that rests on. Parameters stay within the runbook's bounds.

    With `only_plan` nothing is said to anybody: the answer is what would change.
    """

    step: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=60)]
    parameters: dict[str, Json] = {}
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    sources: Annotated[tuple[Cited, ...], Field(min_length=1, max_length=MOST_SOURCES)]
    only_plan: bool = False


class Proposed(Value):
    """The proposal, None where only a plan was asked for, and what the action would change as it was when it was asked."""

    proposal: Suggestion | None
    plan: Plan


def listed(call: Call) -> Items[Suggestion]:
    """Everything that was proposed in the incident, oldest first."""

    def find(tx: Tx) -> list[Suggestion]:
        return suggestions.of_incident(tx, incidents.get(tx, call.path["incident"]).id)

    return Items(items=tuple(call.muster.database.read(find)))


def proposed(call: Call) -> Proposed:
    """Plan it from the live state, and put it into the thread for people to decide."""
    context, incident_id = call.muster.context, int(call.path["incident"])
    machine, body = _machine(call), call.body
    sources = [Source(**cited.model_dump()) for cited in body.sources]
    wish = Wish(step=body.step, parameters=body.parameters, reason=body.reason, sources=sources)
    made = machines.plan(context, incident_id, wish, machine=machine)
    if body.only_plan:
        return Proposed(proposal=None, plan=made)
    one = context.write(
        lambda tx: machines.propose(tx, context, incident_id, wish, machine=machine, made=made, now=context.now()), name="propose"
    )
    return Proposed(proposal=one, plan=made)


def stopped(call: Call) -> Done:
    """Stop a countdown, or say not now: anybody whom Muster knows may, and it is on record."""
    return Done(said=said(call.press(Press(kind=PressKind.PROPOSED_STOP, subject_id=call.path["proposal"]))))


def _machine(call: Call) -> Machine:
    guest = call.guest
    if guest.person is None or guest.via != "api":
        raise Failed(403, "propose_only", "Only a token of muster.yaml proposes here; people use the buttons, or plan and run the action.")
    return Machine(token=guest.name, person=guest.person)


PATH = "/incidents/{incident:int}/proposals"
ENDPOINTS = (
    Endpoint(
        method="GET", path=PATH, name="list_proposals", summary="What was proposed, and by whom", handler=listed, answer=Items[Suggestion]
    ),
    Endpoint(
        method="POST",
        path=PATH,
        name="propose_action",
        summary="Propose a declared action with your sources; a person decides",
        handler=proposed,
        body=ProposeAction,
        answer=Proposed,
        needs="propose",
    ),
    Endpoint(
        method="POST",
        path="/proposals/{proposal:int}/stop",
        name="stop_proposal",
        summary="Stop a countdown, or say not now to a proposal",
        handler=stopped,
        body=Empty,
        answer=Done,
    ),
)
