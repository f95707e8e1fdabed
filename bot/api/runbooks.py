"""Runbooks over the API: what is loaded, how fresh it is, and every version that was ever seen."""

from bot.api.endpoint import Call, Endpoint
from bot.api.models import Items, RunbookLine, RunbookShown
from bot.flows import standing
from bot.flows.drawing import freshness_of
from runbooks.errors import NotFound
from runbooks.runbook import Runbook
from storage import runbook_versions
from storage.database import Tx


def listed(call: Call) -> Items[RunbookLine]:
    """Every loaded runbook, by id."""
    return Items(items=tuple(call.muster.database.read(lambda tx: [_line(tx, call, one) for one in call.muster.context.shelf.library.all])))


def shown(call: Call) -> RunbookShown:
    """One loaded runbook."""
    runbook = call.muster.context.shelf.runbook(call.path["runbook"])
    if runbook is None:
        raise NotFound(f"There is no runbook {call.path['runbook']}.")
    found = runbook

    def find(tx: Tx) -> RunbookShown:
        return RunbookShown(
            line=_line(tx, call, found),
            header=found.header.model_dump(mode="json", by_alias=True),
            body=found.body,
            versions=tuple(version.ref for version in runbook_versions.history(tx, found.id)),
            autonomy=tuple(str(one) for one in standing.of_runbook(tx, call.muster.context, found, now=call.muster.context.now())),
        )

    return call.muster.database.read(find)


def _line(tx: Tx, call: Call, runbook: Runbook) -> RunbookLine:
    fresh = freshness_of(tx, runbook, now=call.muster.context.now())
    header = runbook.header
    return RunbookLine(
        ref=runbook.ref,
        title=header.title,
        owner=header.owner,
        incident_class=header.class_,
        severity=header.severity,
        reviewed_days=fresh.reviewed_days,
        overdue=fresh.overdue,
        drilled_days=fresh.drilled_days,
        drill_passed=fresh.drill_passed,
        warning=fresh.warning,
        fallback=header.fallback,
    )


ENDPOINTS = (
    Endpoint(
        method="GET", path="/runbooks", name="list_runbooks", summary="The loaded runbooks", handler=listed, answer=Items[RunbookLine]
    ),
    Endpoint(
        method="GET", path="/runbooks/{runbook}", name="show_runbook", summary="One runbook whole", handler=shown, answer=RunbookShown
    ),
)
