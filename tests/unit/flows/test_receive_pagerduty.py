"""A PagerDuty incident through its life: one alert, whatever order its events come in."""

import json
from pathlib import Path
from typing import Any

from bot.flows import receive
from bot.flows.context import Context
from bot.ingress import pagerduty
from bot.ingress.source import Options
from runbooks.incident import Incident
from storage import incidents
from storage.database import Database
from tests.flowing import START, context

SAMPLE = Path(__file__).parents[2] / "samples" / "pagerduty" / "webhook_v3_triggered.derived.json"
OPTIONS = Options(source="pagerduty", received_at=START)


def deliver(ctx: Context, kind: str, minute: int) -> None:
    """One event of the sample's incident, so many minutes after its creation."""
    event: dict[str, Any] = json.loads(SAMPLE.read_text())
    created = event["event"]["data"]["created_at"]
    event["event"] |= {
        "event_type": f"incident.{kind}",
        "id": f"{kind}-{minute}",
        "occurred_at": created.replace(created[14:16], f"{minute:02}"),
    }
    event["event"]["data"]["created_at"] = created.replace(created[14:16], "00")
    alerts = pagerduty.parse(json.dumps(event).encode(), {}, OPTIONS)
    ctx.write(lambda tx: receive.fold(tx, ctx, alerts, now=ctx.now()))


def open_ones(ctx: Context) -> list[Incident]:
    """Open incidents."""
    return ctx.read(incidents.open_ones)


def test_a_reopened_incident_fires_again(database: Database) -> None:
    """Reopened after it was resolved, it is an alert that began anew, although PagerDuty keeps its creation time; then it ends again."""
    ctx = context(database)
    deliver(ctx, "triggered", 0)
    deliver(ctx, "resolved", 5)
    assert [incident.firing for incident in open_ones(ctx)] == [0]
    deliver(ctx, "reopened", 9)
    deliver(ctx, "acknowledged", 10)
    assert [(incident.firing, incident.alerts) for incident in open_ones(ctx)] == [(1, 1)]
    deliver(ctx, "resolved", 12)
    assert [incident.firing for incident in open_ones(ctx)] == [0]


def test_an_acknowledgement_that_comes_late_reopens_nothing(database: Database) -> None:
    """Its time lies before the end that is known."""
    ctx = context(database)
    deliver(ctx, "triggered", 0)
    deliver(ctx, "resolved", 5)
    deliver(ctx, "acknowledged", 3)
    assert [incident.firing for incident in open_ones(ctx)] == [0]
