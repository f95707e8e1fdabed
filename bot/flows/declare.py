"""An incident that people declare: same match, same card, same path as an alert's (mission E1)."""

from datetime import datetime

from bot.flows import receive
from bot.flows.context import Context
from bot.flows.records import entry, save
from runbooks.alert import Alert, AlertStatus
from runbooks.incident import Incident
from runbooks.people import Actor
from runbooks.severity import Severity
from runbooks.timeline import EntryKind
from storage.database import Tx

TITLE_MOST = 140


def declare(
    tx: Tx,
    ctx: Context,
    *,
    title: str,
    severity: Severity | None,
    service: str | None,
    by: Actor,
    key: str,
    now: datetime,
    link: str | None = None,
) -> Incident:
    """Open an incident in words. `key` is the interaction's, so that the same submit twice is one incident.

    What joins an incident that is open already may make it worse and never milder: whoever declares knows only their part of it.
    """
    words = " ".join(title.split())[:TITLE_MOST]
    known = ctx.service(service)
    labels = {"declared_by": by.id, **({"service": service} if service else {})}
    if known:
        labels["environment"] = known.environment
    alert = Alert(source="people", fingerprint=key[:200], status=AlertStatus.FIRING, labels=labels, title=words, starts_at=now, link=link)
    (incident,) = receive.fold(tx, ctx, [alert], now=now)
    after = incident.model_copy(update={"title": words}) if incident.alerts <= 1 else incident
    if severity and severity is not incident.severity and (incident.alerts <= 1 or severity.worse_than(incident.severity)):
        after = after.with_severity(severity)
    if after is incident:
        return incident
    said = entry(
        EntryKind.SEVERITY_SET, f"Declared by {by.id} as {after.severity.value}: {words}", now=now, actor=by, after=after.severity.value
    )
    return save(tx, before=incident, after=after.model_copy(update={"revision": incident.revision + 1}), entries=[said], now=now)
