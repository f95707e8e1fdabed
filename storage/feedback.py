"""What people said about matches: "wrong runbook" puts a case into this queue, from which the matcher's cases are made (mission A4)."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select

from runbooks.value import Json
from storage.tables import feedback as table
from storage.text import json_text, storable
from storage.transaction import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One person's word that `better` would have been the right runbook instead of `chosen`. `alert` is what was matched, as JSON."""

    incident_id: int
    chosen: str
    better: str
    person: str
    given_at: datetime
    alert: Json = None


def add(tx: Tx, feedback: Feedback) -> None:
    """Keep it."""
    tx.execute(
        table.insert(),
        {
            "incident_id": feedback.incident_id,
            "chosen": storable(feedback.chosen),
            "better": storable(feedback.better),
            "person": storable(feedback.person),
            "given_at": feedback.given_at,
            "alert": json_text(feedback.alert),
        },
    )


def of_incident(tx: Tx, incident_id: int) -> list[Feedback]:
    """What was said about this incident's runbook, in order."""
    return [_feedback(row) for row in tx.execute(select(table).where(table.c.incident_id == incident_id).order_by(table.c.id))]


def listed(tx: Tx, limit: int = 100) -> list[Feedback]:
    """The latest cases, latest first."""
    return [_feedback(row) for row in tx.execute(select(table).order_by(table.c.id.desc()).limit(limit))]


def _feedback(row: Row[Any]) -> Feedback:
    return Feedback(
        incident_id=row.incident_id,
        chosen=row.chosen,
        better=row.better,
        person=row.person,
        given_at=row.given_at,
        alert=json.loads(row.alert),
    )
