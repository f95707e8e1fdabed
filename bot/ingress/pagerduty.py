"""PagerDuty webhooks, version 3.

Source: https://developer.pagerduty.com/docs/webhooks-overview and …/verifying-webhook-signatures. One delivery is one event; a
signature carries no timestamp, so a repeated delivery is known by the event's id.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import StrictStr

from bot.ingress.payload import LONGEST_LABEL, identity_of, link_of, moment_of, object_of, read_json, text_of
from bot.ingress.source import Options, PayloadInvalid, Scheme, SignatureForm, SourceKind, SourceSettings
from runbooks.alert import Alert, AlertStatus

_STATUS = {
    "incident.triggered": AlertStatus.FIRING,
    "incident.acknowledged": AlertStatus.FIRING,
    "incident.unacknowledged": AlertStatus.FIRING,
    "incident.reopened": AlertStatus.FIRING,
    "incident.resolved": AlertStatus.RESOLVED,
}
"""Events that say whether something is broken. All others (notes, priorities, responders, pings …) are accepted and carry no alert."""


class PagerDutySettings(SourceSettings):
    """`services` maps PagerDuty's services (id or name) to those of this configuration; what it lacks keeps PagerDuty's name."""

    services: dict[StrictStr, StrictStr] = {}


def parse(body: bytes, _headers: Mapping[str, str], options: Options) -> list[Alert]:
    """The alert of an incident event, or none for an event that is not about an incident's state.

    The fingerprint is the incident's id; `upstream` holds it as `pagerduty`, the event's type as `event`, and who caused it, where
    PagerDuty says so, as `agent`.

    Raises:
        PayloadInvalid: it is not a version 3 event.
    """
    event = object_of(object_of(read_json(body), "the body").get("event"), "event")
    kind = text_of(event.get("event_type"), "event.event_type", longest=100)
    identity = identity_of(event.get("id"), "event.id")
    if not kind or not identity:
        raise PayloadInvalid("this is not a PagerDuty webhook of version 3: event.id and event.event_type must be there")
    if kind not in _STATUS:
        return []
    return [_alert(event, kind, identity, options)]


def _alert(event: dict[str, Any], kind: str, identity: str, options: Options) -> Alert:
    data = object_of(event.get("data"), "event.data")
    incident = identity_of(data.get("id"), "event.data.id")
    if not incident:
        raise PayloadInvalid("event.data.id is missing; it names the incident")
    status = _STATUS[kind]
    occurred_at = moment_of(event.get("occurred_at"), "event.occurred_at", received_at=options.received_at)
    created_at = moment_of(data.get("created_at"), "event.data.created_at", received_at=occurred_at)
    # A reopened incident keeps its creation time, but the trouble began anew: with the old time it would look like a late delivery.
    starts_at = occurred_at if kind == "incident.reopened" else min(occurred_at, created_at)
    return Alert(
        source=options.source,
        fingerprint=incident,
        status=status,
        labels=_labels(data, options),
        annotations={"summary": text_of(data.get("title"), "event.data.title"), "event": kind},
        title=text_of(data.get("title"), "event.data.title"),
        starts_at=starts_at,
        ends_at=occurred_at if status is AlertStatus.RESOLVED else None,
        link=link_of(data.get("html_url")),
        event_id=f"{identity}/{kind}",
        upstream=_upstream(event, kind, incident),
    )


def _upstream(event: dict[str, Any], kind: str, incident: str) -> dict[str, str]:
    facts = {"pagerduty": incident, "event": kind, "agent": _summary(event, "agent")}
    return {name: fact for name, fact in facts.items() if fact}


def _labels(data: dict[str, Any], options: Options) -> dict[str, str]:
    teams = data.get("teams")
    first_team = teams[0] if isinstance(teams, list) and teams and isinstance(teams[0], dict) else {}
    labels = {
        "service": _service(data, options.settings),
        "urgency": text_of(data.get("urgency"), "event.data.urgency", longest=LONGEST_LABEL),
        "priority": _summary(data, "priority"),
        "escalation_policy": _summary(data, "escalation_policy"),
        "team": _summary({"team": first_team}, "team"),
        "incident_key": text_of(data.get("incident_key"), "event.data.incident_key", longest=LONGEST_LABEL),
    }
    return {name: value for name, value in labels.items() if value}


def _service(data: dict[str, Any], settings: SourceSettings) -> str:
    known = settings.services if isinstance(settings, PagerDutySettings) else {}
    reference = data.get("service")
    identity = reference.get("id") if isinstance(reference, dict) else None
    name = _summary(data, "service")
    return (known.get(identity) if isinstance(identity, str) else None) or known.get(name) or name


def _summary(data: dict[str, Any], field: str) -> str:
    reference = data.get(field)
    if reference is None:
        return ""
    return text_of(object_of(reference, f"event.data.{field}").get("summary"), f"event.data.{field}.summary", longest=LONGEST_LABEL)


SOURCE = SourceKind(
    name="pagerduty",
    parse=parse,
    schemes=(Scheme.HMAC,),
    signature=SignatureForm(header="X-PagerDuty-Signature", prefix="v1="),
    signature_is_fixed=True,
    settings=PagerDutySettings,
)
