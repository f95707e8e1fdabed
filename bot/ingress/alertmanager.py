"""Prometheus Alertmanager: webhook format version 4.

Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config; samples captured from the real Alertmanager.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot.ingress.payload import (
    LONGEST_LABEL,
    LONGEST_TEXT,
    fingerprint_of,
    identity_of,
    link_of,
    list_of,
    moment_of,
    object_of,
    read_json,
    texts_of,
)
from bot.ingress.source import Options, PayloadInvalid, Scheme, SourceKind
from runbooks.alert import Alert, AlertStatus

_STATUS = {"firing": AlertStatus.FIRING, "resolved": AlertStatus.RESOLVED}


def parse(body: bytes, _headers: Mapping[str, str], options: Options) -> list[Alert]:
    """Every alert of one delivery, in its order.

    Raises:
        PayloadInvalid: it is not Alertmanager's version 4.
    """
    delivery = object_of(read_json(body), "the body")
    if delivery.get("version") != "4":
        raise PayloadInvalid('this is not a webhook of Alertmanager: "version" must be "4"')
    entries = list_of(delivery.get("alerts"), "alerts")
    return [_alert(object_of(entry, f"alerts.{at}"), f"alerts.{at}", options) for at, entry in enumerate(entries)]


def _alert(entry: dict[str, Any], where: str, options: Options) -> Alert:
    status = entry.get("status")
    if not isinstance(status, str) or status not in _STATUS:
        raise PayloadInvalid(f"{where}.status must be firing or resolved")
    raw = entry.get("labels")
    labels = texts_of(raw, f"{where}.labels", longest=LONGEST_LABEL)
    if not labels:
        raise PayloadInvalid(f"{where}.labels is empty; without labels nobody can tell what this is about")
    annotations = texts_of(entry.get("annotations"), f"{where}.annotations", longest=LONGEST_TEXT)
    starts_at = moment_of(entry.get("startsAt"), f"{where}.startsAt", received_at=options.received_at)
    resolved = _STATUS[status] is AlertStatus.RESOLVED
    return Alert(
        source=options.source,
        fingerprint=identity_of(entry.get("fingerprint"), f"{where}.fingerprint") or fingerprint_of(raw or {}),
        status=_STATUS[status],
        labels=labels,
        annotations=annotations,
        title=annotations.get("summary") or annotations.get("title") or labels.get("alertname", ""),
        starts_at=starts_at,
        ends_at=_end(entry, where, starts_at, options) if resolved else None,
        link=link_of(entry.get("generatorURL")),
        upstream={},
    )


def _end(entry: dict[str, Any], where: str, starts_at: datetime, options: Options) -> datetime:
    return max(starts_at, moment_of(entry.get("endsAt"), f"{where}.endsAt", received_at=options.received_at))


SOURCE = SourceKind(name="alertmanager", parse=parse, schemes=(Scheme.BEARER, Scheme.BASIC))
