"""Values for the tests of storage."""

from datetime import UTC, datetime, timedelta

from runbooks.incident import Incident, Match, RunbookRef
from runbooks.operation import Call, Plan, Proposal, Reading
from runbooks.run import ActionRun, RunState
from runbooks.severity import IncidentClass, Severity, Tier

NOW = datetime(2026, 11, 20, 2, 0, 0, 654321, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
REF = RunbookRef(id="inference-latency", version=3, hash="ab" * 32)


def incident(**more) -> Incident:
    """An open incident of the latency story."""
    facts = {
        "id": 0,
        "title": "p99 over 500 ms",
        "severity": Severity.SEV2,
        "incident_class": IncidentClass.AVAILABILITY,
        "match": Match(runbook=REF, score=0.9, reason="alertname"),
        "group_key": "latency/prod",
        "began_at": NOW - MINUTE,
        "opened_at": NOW,
        "labels": {"text": "nul \x00 ✓ {{ 7*7 }}"},
    }
    return Incident(**facts | more)


def plan() -> Plan:
    """A plan to scale."""
    call = Call(operation="cluster.scale", arguments={"target": "pool", "replicas": 6}, target="cluster/pool")
    proposal = Proposal(value=6, before_text="4", after_text="6")
    return Plan(id="p1", step="scale-out", call=call, before=Reading(value=4), proposal=proposal, tier=Tier.R1, made_at=NOW)


def run(**more) -> ActionRun:
    """A planned run."""
    facts = {
        "id": 0,
        "incident_id": 1,
        "runbook": REF,
        "step": "scale-out",
        "title": "Scale out",
        "state": RunState.PLANNED,
        "tier": Tier.R1,
        "plan": plan(),
        "key": "k1",
        "target": "cluster/pool",
        "requested_by": "ana",
        "requested_at": NOW,
    }
    return ActionRun(**facts | more)
