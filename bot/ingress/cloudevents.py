"""CloudEvents 1.0 over HTTP: structured, binary and batched JSON.

Source: https://github.com/cloudevents/spec, the HTTP protocol binding 1.0.2 and the JSON format 1.0.2.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from bot.ingress.mapping import FieldMapping, alert_of
from bot.ingress.payload import LONGEST_LABEL, identity_of, list_of, object_of, read_json, text_of
from bot.ingress.source import Options, PayloadInvalid, Scheme, SourceKind, SourceSettings
from runbooks.alert import Alert

_REQUIRED = ("id", "source", "specversion", "type")
_RESOLVED = (".resolved", ".recovered", ".cleared", ".closed")
_STATES = re.compile(r"\.(?:fired|firing|triggered|opened|resolved|recovered|cleared|closed)\Z")

DEFAULT_MAPPING = FieldMapping(
    title="data.title",
    starts_at="time",
    link="data.link",
    labels={"alertname": "data.alertname", "service": "data.service", "environment": "data.environment", "severity": "data.severity"},
    labels_from="data.labels",
    annotations={"summary": "data.summary", "description": "data.description"},
    annotations_from="data.annotations",
)
"""What is read where the configuration declares no mapping. The state then comes from `data.status`, or from the ending of `type`."""


class CloudEventsSettings(SourceSettings):
    """`mapping` counts from the event: `subject`, `time`, `data.…`. `types`, where given, are the only types that carry alerts."""

    mapping: FieldMapping | None = None
    types: tuple[str, ...] = ()


def parse(body: bytes, headers: Mapping[str, str], options: Options) -> list[Alert]:
    """Every alert of one delivery. An event's `source` and `id` together tell a repeated delivery.

    Raises:
        PayloadInvalid: it is not CloudEvents 1.0 with JSON data (415 for another format).
    """
    settings = options.settings if isinstance(options.settings, CloudEventsSettings) else CloudEventsSettings()
    events = [_checked(event) for event in _events(body, headers)]
    return [_alert(event, settings, options) for event in events if not settings.types or event["type"] in settings.types]


def _events(body: bytes, headers: Mapping[str, str]) -> list[dict[str, Any]]:
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == "application/cloudevents-batch+json":
        return [object_of(event, f"event {n}") for n, event in enumerate(list_of(read_json(body), "the batch"))]
    if media == "application/cloudevents+json":
        return [object_of(read_json(body), "the event")]
    if media.startswith("application/cloudevents"):
        raise PayloadInvalid("of CloudEvents' formats only JSON is understood", status=415)
    if "ce-specversion" not in headers:
        raise PayloadInvalid("this is no CloudEvent: neither its Content-Type nor the header ce-specversion says so", status=415)
    return [_binary(body, headers, media)]


def _binary(body: bytes, headers: Mapping[str, str], media: str) -> dict[str, Any]:
    if body and media not in {"application/json", ""} and not media.endswith("+json"):
        raise PayloadInvalid(f"the data is {media}; only JSON is understood", status=415)
    # Values of the headers are percent-encoded (HTTP binding, section 3.1.3.2).
    event: dict[str, Any] = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
    return event | {"data": read_json(body)} if body else event


def _checked(event: dict[str, Any]) -> dict[str, Any]:
    for name in _REQUIRED:
        if not text_of(event.get(name), name, longest=LONGEST_LABEL):
            raise PayloadInvalid(f"the event's attribute {name} is missing")
    if event["specversion"] != "1.0":
        raise PayloadInvalid("only version 1.0 of CloudEvents is understood")
    if "data_base64" not in event:
        return event
    if "data" in event:
        raise PayloadInvalid("the event holds both data and data_base64")
    try:
        decoded = base64.b64decode(text_of(event["data_base64"], "data_base64", longest=len(event["data_base64"]) + 1), validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise PayloadInvalid("data_base64 is not base64") from None
    return {**event, "data": read_json(decoded)}


def _alert(event: dict[str, Any], settings: CloudEventsSettings, options: Options) -> Alert:
    mapping = settings.mapping or _default_for(event)
    alert = alert_of(event, mapping, options)
    return alert.model_copy(
        update={
            "event_id": alert.event_id or identity_of(f"{event['source']}#{event['id']}", "id"),
            "title": alert.title or text_of(event["type"], "type", longest=LONGEST_LABEL),
            "upstream": {"cloudevents": text_of(event["id"], "id", longest=LONGEST_LABEL)},
        }
    )


def _default_for(event: dict[str, Any]) -> FieldMapping:
    data = event.get("data")
    status = data.get("status") if isinstance(data, dict) else None
    update: dict[str, Any] = {
        "labels": {**DEFAULT_MAPPING.labels, "event_source": "source", "subject": "subject"},
        "constants": {"event_type": text_of(_STATES.sub("", event["type"]), "type", longest=LONGEST_LABEL)},
    }
    if isinstance(data, dict) and data.get("fingerprint"):
        update["fingerprint"] = "data.fingerprint"
    if isinstance(status, str):
        update |= {"status": "data.status", "firing": ("firing",), "resolved": ("resolved",)}
    elif event["type"].endswith(_RESOLVED):
        update |= {"status": "type", "resolved": (event["type"],)}
    return DEFAULT_MAPPING.model_copy(update=update)


SOURCE = SourceKind(name="cloudevents", parse=parse, schemes=(Scheme.BEARER, Scheme.BASIC, Scheme.HMAC), settings=CloudEventsSettings)
