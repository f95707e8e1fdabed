"""A new runbook to edit: complete, and valid as it stands, so that the author changes words and never guesses fields."""

import json
from datetime import date
from importlib.resources import files

from runbooks.severity import IncidentClass, Severity

_FAULTS = {
    IncidentClass.AVAILABILITY: "traffic",
    IncidentClass.QUALITY: "quality_regression",
    IncidentClass.SAFETY: "safety_failure",
    IncidentClass.COST: "cost_spike",
    IncidentClass.DATA: "retrieval_stale",
    IncidentClass.SECURITY: "safety_failure",
}
"""The simulated fault that comes nearest to each class, to rehearse with until the author chooses another."""


def new(
    runbook_id: str,
    *,
    title: str,
    incident_class: IncidentClass,
    owner: str,
    reviewed: date,
    severity: Severity = Severity.SEV3,
) -> str:
    """The text of a new runbook's file.

    Whatever is given is written as quoted text, so a wrong id or title is found by `loading.load` with its reason and can break
    nothing else. `reviewed` is the day from which the review counts, normally today.
    """
    template = files("runbooks").joinpath("templates", "new.md").read_text(encoding="utf-8")
    values = {
        "id": json.dumps(runbook_id),
        "title": json.dumps(title, ensure_ascii=False),
        "class": incident_class.value,
        "owner": json.dumps(owner),
        "severity": severity.value,
        "reviewed": reviewed.isoformat(),
        "alertname": json.dumps(_alert_name(runbook_id)),
        "fault": _FAULTS[incident_class],
    }
    for name, value in values.items():
        template = template.replace(f"<<{name}>>", value)
    return template


def _alert_name(runbook_id: str) -> str:
    """The alert that such a runbook is likely for: `queue-full` is `QueueFull`."""
    return "".join(word.capitalize() for word in runbook_id.replace(".", "-").split("-")) or "Alert"
