"""Which alerts belong to one incident (mission A3): the same runbook, service and environment; in a storm, the same runbook alone."""

from runbooks.alert import Alert
from runbooks.incident import RunbookRef

STORM = 5
"""Open incidents of one runbook opened within the window, after which further services join one storm incident."""


def group_key(*, runbook: RunbookRef, service: str | None, environment: str | None, alert: Alert, drill_id: int | None = None) -> str:
    """The key under which open incidents are found. An alert that names no service is grouped by its own name."""
    who = service or f"alert:{alert.name}"
    prefix = f"drill:{drill_id}/" if drill_id is not None else ""
    return f"{prefix}{runbook.id}/{environment or '-'}/{who}"[:300]


def storm_key(*, runbook: RunbookRef, environment: str | None) -> str:
    """The key of the one incident that takes in a storm's further services."""
    return f"storm/{runbook.id}/{environment or '-'}"[:300]
