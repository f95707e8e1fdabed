"""Readiness: gathers what the record and the configuration say about each service; the rules are `runbooks.readiness`."""

from datetime import datetime, timedelta

from bot.flows import standing
from bot.flows.context import Context
from bot.flows.drawing import freshness_of
from runbooks import readiness as rules
from runbooks.calendar import quarter_of
from runbooks.incident import Incident
from runbooks.readiness import Readiness, Rehearsed
from runbooks.runbook import Runbook
from runbooks.service import Service
from storage import drills, follow_ups, incidents, reviews
from storage.database import Tx

WINDOW = timedelta(days=90)
MOST = 500  # a service's incidents in the window; more of them prove nothing more


def of_services(tx: Tx, ctx: Context, *, now: datetime) -> list[Readiness]:
    """Every service of muster.yaml, by name."""
    return [of(tx, ctx, service, now=now) for _, service in sorted(ctx.services.items())]


def of(tx: Tx, ctx: Context, service: Service, *, now: datetime) -> Readiness:
    """What can be said about one service now."""
    lately = incidents.listed(tx, service=service.name, drills=False, opened_since=now - WINDOW, limit=MOST)
    slot = quarter_of(now, zone=ctx.policy.time_zone)
    serving = _serving(ctx, service, lately)
    rehearsed = [_rehearsed(tx, ctx, runbook, slot=slot, now=now) for runbook in serving]
    standings = [one for runbook in serving for one in standing.of_runbook(tx, ctx, runbook, service=service.name, now=now)]
    mine = {incident.id for incident in incidents.listed(tx, service=service.name, drills=False, limit=MOST)}
    fallback = sum(incident.match.fallback for incident in lately)
    return Readiness(
        service=service.name,
        owner=service.owner,
        evidence=(
            rules.alerts_covered(matched=len(lately) - fallback, fallback=fallback, days=WINDOW.days),
            rules.runbooks_fresh(rehearsed),
            rules.drilled(rehearsed, slot=slot),
            rules.autonomy_earned(standings),
            rules.escalation_reachable(service.owner, ctx.on_call.on_call(service.owner, now)),
            rules.lessons_closed(
                overdue_reviews=sum(item.incident_id in mine and item.due_at < now for item in reviews.open_ones(tx)),
                overdue_follow_ups=sum(item.incident_id in mine and item.due_at < now for item in follow_ups.open_ones(tx)),
            ),
        ),
    )


def _serving(ctx: Context, service: Service, lately: list[Incident]) -> list[Runbook]:
    """The runbooks that the service's incidents followed, and those of its owning teams; the fallback is nobody's preparation."""
    followed = {incident.match.runbook.id for incident in lately}
    teams = {service.owner, *service.owners.values()}
    return [
        runbook
        for runbook in ctx.shelf.library.all
        if not runbook.header.fallback and (runbook.id in followed or runbook.header.owner in teams)
    ]


def _rehearsed(tx: Tx, ctx: Context, runbook: Runbook, *, slot: str, now: datetime) -> Rehearsed:
    return Rehearsed(
        freshness=freshness_of(tx, runbook, now=now),
        owner=runbook.header.owner,
        owned=bool(ctx.directory.members(runbook.header.owner)),
        drill=drills.in_slot(tx, runbook.id, slot),
    )
