"""What is to be cleaned up after a rollback, over the API: the same checklist as in Slack. `tick_cleanup` says that a line is done."""

from pydantic import Field

from bot.api.endpoint import Call, Endpoint, Failed
from bot.api.models import Asked, Items
from bot.flows import cleanup
from runbooks.incident import RunbookRef
from runbooks.screens import CleanUpMessage
from runbooks.value import Moment, Value


class CleanUpQuery(Asked):
    """Of one incident; `done` shows what is cleaned up, too."""

    incident: int | None = Field(default=None, ge=1)
    done: bool = False


class CleanUpLine(Value):
    """One thing. `item` is what `tick_cleanup` wants, counted from 0, and `number` what people say, from 1.

    `how` is what a person does, or what must be measured and is; who did it and who carries it are names.
    """

    item: int
    number: int
    title: str
    how: str
    measured: bool
    done_at: Moment | None
    done_by: str | None
    carrier: str | None


class CleanUp(Value):
    """The checklist of one run. `exposed` says how long what it replaced was live, `over` why nothing is to be done any more."""

    run: int
    incident_id: int
    title: str
    runbook: RunbookRef
    step: str
    exposed: str
    over: str | None
    items: tuple[CleanUpLine, ...]


def listed(call: Call) -> Items[CleanUp]:
    """What is still to be cleaned up."""
    context, query = call.muster.context, call.query
    found = call.muster.database.read(lambda tx: cleanup.checklists(tx, context, incident_id=query.incident, done=query.done))
    return Items(items=tuple(_shown(one) for one in found))


def of_run(call: Call) -> CleanUp:
    """One run's checklist, and why it is there."""
    found = call.muster.database.read(lambda tx: cleanup.checklist(tx, call.muster.context, call.path["run"]))
    if found is None:
        raise Failed(404, "not_found", f"Run {call.path['run']} left nothing to be cleaned up.")
    return _shown(found)


def _shown(screen: CleanUpMessage) -> CleanUp:
    run = screen.run
    return CleanUp(
        run=run.id,
        incident_id=run.incident_id,
        title=run.title,
        runbook=run.runbook,
        step=run.step,
        exposed=screen.exposed,
        over=screen.over,
        items=tuple(_line(screen, place) for place in range(len(run.cleanup))),
    )


def _line(screen: CleanUpMessage, place: int) -> CleanUpLine:
    item = screen.run.cleanup[place]
    return CleanUpLine(
        item=place,
        number=place + 1,
        title=item.title,
        how=screen.shown[place],
        measured=item.diagnostic is not None,
        done_at=item.done_at,
        done_by=screen.people.get(item.done_by) if item.done_by else None,
        carrier=screen.people.get(item.carrier) if item.carrier else None,
    )


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/cleanup",
        name="list_cleanup",
        summary="What is still to be cleaned up after rollbacks",
        handler=listed,
        query=CleanUpQuery,
        answer=Items[CleanUp],
    ),
    Endpoint(
        method="GET",
        path="/runs/{run:int}/cleanup",
        name="show_cleanup",
        summary="What a run left to be cleaned up, and why",
        handler=of_run,
        answer=CleanUp,
    ),
)
