"""One small runbook over the recording backend, for tests of what acts."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from actions.registry import Registry
from actions.runner import Runner
from actions.testing import RecordingBackend
from runbooks.incident import RunbookRef
from runbooks.operation import Plan
from runbooks.run import ActionRun, RunState
from runbooks.runbook import Action, Header, Runbook
from runbooks.severity import Tier

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
LABELS = {"model": "reranker-v3", "service": "answers"}
REF = RunbookRef(id="slow-things", version=3, hash="h" * 64)


def at(seconds: float) -> datetime:
    """So many seconds after the start of the story."""
    return NOW + timedelta(seconds=seconds)


def action(**changed: Any) -> Action:
    """Set a thing: R1, one parameter, reversible, 4 hours."""
    given: dict[str, Any] = {
        "id": "turn-up",
        "title": "Turn it up",
        "tier": "R1",
        "uses": "thing.set",
        "with": {"target": "thing/{{ alert.labels.model }}", "value": "{{ parameters.value }}"},
        "targets": ["thing/reranker-v3"],
        "parameters": {"value": {"type": "integer", "title": "Value", "default": {"relative": 2}, "minimum": 2, "maximum": 12}},
        "approval": "none",
        "guards": {"cooldown": "10m", "at_most": 2},
        "verify": {
            "diagnostic": "load", "settle": "1m", "holds": "< 0.5", "for": "2m", "fails": "> 2", "within": "5m", "otherwise": "ask",
        },
        "undo": {"to": "prior", "after": "4h", "then": "revert"},
        "cost": {"money": "{{ parameters.value }} USD an hour", "quality": "none", "latency": "none"},
    }  # fmt: skip
    return Action.model_validate({**given, **changed})


def runbook(*actions: Action) -> Runbook:
    """A runbook with the diagnostic `load` and these actions."""
    header = Header.model_validate(
        {
            "format": 1, "id": REF.id, "version": REF.version, "title": "Things are slow", "owner": "ml-platform",
            "class": "availability", "severity": "SEV2", "reviewed": datetime(2026, 10, 1, tzinfo=UTC).date(), "labels": ["model", "service"],
            "first_screen": {"what_broke": "It is slow.", "customers": "load", "safe_actions": []},
            "diagnostics": [
                {"id": "load", "title": "Load", "uses": "thing.ask", "with": {"about": "load"}, "unit": "ratio"},
                {"id": "rows", "title": "Rows", "uses": "thing.ask", "with": {"about": "rows"}, "shows": "{{ result.rows | length }} of them"},
            ],
            "actions": actions or (action(),),
            "drill": {"alert": {"alertname": "Slow"}, "world": {"fault": {"kind": "traffic"}}, "pass_if": {}},
        }
    )  # fmt: skip
    return Runbook(header=header, body="", source="", hash=REF.hash)


def backend(**things: Any) -> RecordingBackend:
    """A recording backend that holds the thing of the story at 2 and answers about its load."""
    recording = RecordingBackend(answers={"load": {"rows": [{"value": 0.96}], "value": 0.96}})
    recording.put("thing/reranker-v3", {"value": 2})
    for name, value in things.items():
        recording.put(name, {"value": value})
    return recording


def runner(*backends: Any) -> Runner:
    """A runner whose clock stands still."""
    return Runner(registry=Registry(backends), now=lambda: NOW)


def plan(
    run: Runner, book: Runbook, *, step: str = "turn-up", parameters: Mapping[str, Any] | None = None, plan_id: str = "p1", **more: Any
) -> Plan:
    """The plan of a step for the story's labels in production."""
    found = book.action(step)
    assert found is not None
    return run.plan(found, runbook=book, labels=LABELS, parameters=parameters or {}, environment="production", plan_id=plan_id, **more)


def run_of(*, run_id: int = 1, state: RunState = RunState.VERIFIED, started: float | None = 0.0, **changed: Any) -> ActionRun:
    """A run of the story's action by ana, started so many seconds after the beginning."""
    given: dict[str, Any] = {
        "id": run_id, "incident_id": 42, "runbook": REF, "step": "turn-up", "title": "Turn it up", "state": state, "tier": Tier.R1,
        "key": f"key-{run_id}", "target": "thing/reranker-v3", "requested_by": "ana", "requested_at": at(started or 0.0),
        "started_at": None if started is None else at(started),
    }  # fmt: skip
    return ActionRun(**{**given, **changed})
