"""A declared mapping: which field of a stranger's JSON is which field of an alert. Paths only, no expressions."""

import re
from collections.abc import Mapping as MappingType
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StrictStr, model_validator

from bot.ingress.payload import (
    LONGEST_LABEL,
    LONGEST_NAME,
    LONGEST_TEXT,
    MOST_LABELS,
    clean,
    fingerprint_of,
    identity_of,
    link_of,
    list_of,
    moment_of,
    object_of,
)
from bot.ingress.source import Options, PayloadInvalid, SourceSettings
from runbooks.alert import Alert, AlertStatus

_STEP = re.compile(r"(?:\\.|[^.\\])+")
_WHOLE = re.compile(rf"{_STEP.pattern}(?:\.{_STEP.pattern})*")


@lru_cache(maxsize=1024)
def steps_of(path: str) -> tuple[str, ...]:
    r"""The steps of a dotted path: `check.tags.0`; a full stop inside a name is written `\.`.

    Raises:
        ValueError: a step is empty, or a backslash stands alone.
    """
    if not _WHOLE.fullmatch(path):
        raise ValueError(f"{path!r} is not a path; write names with full stops between them, such as check.name")
    return tuple(re.sub(r"\\(.)", r"\1", step) for step in _STEP.findall(path))


def _path(value: str) -> str:
    steps_of(value)
    return value


Path = Annotated[StrictStr, AfterValidator(_path), Field(max_length=500)]
"""Where a value stands: names with full stops between them; a number counts in a list, from 0."""


class FieldMapping(SourceSettings):
    """Paths into one entry. What has no path, or is absent, is left out; only `status` may not be absent once it is mapped.

    `fingerprint` may name several paths, which are joined; without it the labels make it, as Alertmanager does. A status that
    stands in neither `firing` nor `resolved` is refused where both are given; where one is given, all else means the other.
    """

    alerts: Path | None = None
    fingerprint: tuple[Path, ...] | Path | None = None
    status: Path | None = None
    firing: tuple[StrictStr, ...] = ()
    resolved: tuple[StrictStr, ...] = ()
    title: Path | None = None
    starts_at: Path | None = None
    ends_at: Path | None = None
    link: Path | None = None
    event_id: Path | None = None
    labels: dict[StrictStr, Path] = {}
    labels_from: Path | None = None
    annotations: dict[StrictStr, Path] = {}
    annotations_from: Path | None = None
    constants: dict[StrictStr, StrictStr] = {}

    @model_validator(mode="after")
    def _says_enough(self) -> "FieldMapping":
        if self.status and not (self.firing or self.resolved):
            raise ValueError("status is mapped, so say which values mean firing or resolved")
        if not (self.labels or self.labels_from or self.title):
            raise ValueError("map at least labels, labels_from or title; otherwise every alert looks the same")
        return self


_NOTHING = object()


def at(value: Any, path: str) -> Any:
    """What stands at a path, or None."""
    found = _at(value, path)
    return None if found is _NOTHING else found


def _at(value: Any, path: str) -> Any:
    for step in steps_of(path):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isascii() and step.isdigit() and len(step) < 6 and int(step) < len(value):
            value = value[int(step)]
        else:
            return _NOTHING
    return value


def alerts_of(document: Any, mapping: FieldMapping, options: Options) -> list[Alert]:
    """The alerts of a document: one for an object, one for each entry of a list.

    Raises:
        PayloadInvalid: the document does not fit the mapping.
    """
    found = at(document, mapping.alerts) if mapping.alerts else document
    if found is None:
        raise PayloadInvalid(f"{mapping.alerts} is missing" if mapping.alerts else "the body is null")
    where = mapping.alerts or "the body"
    entries = list_of(found, where) if isinstance(found, list) else [found]
    return [alert_of(object_of(entry, f"{where}.{n}" if len(entries) > 1 else where), mapping, options) for n, entry in enumerate(entries)]


def alert_of(entry: MappingType[str, Any], mapping: FieldMapping, options: Options) -> Alert:
    """One alert of one entry.

    Raises:
        PayloadInvalid: the entry does not fit the mapping.
    """
    status = _status(entry, mapping)
    title = _text(entry, mapping.title, LONGEST_TEXT)
    labels = _texts(entry, mapping.labels, mapping.labels_from, LONGEST_LABEL) | mapping.constants
    starts_at = _moment(entry, mapping.starts_at, options.received_at)
    event_id = _plain(at(entry, mapping.event_id)) if mapping.event_id else ""
    return Alert(
        source=options.source,
        fingerprint=_fingerprint(entry, mapping, labels, title),
        status=status,
        labels=labels,
        annotations=_texts(entry, mapping.annotations, mapping.annotations_from, LONGEST_TEXT),
        title=title or labels.get("alertname", ""),
        starts_at=starts_at,
        ends_at=max(starts_at, _moment(entry, mapping.ends_at, options.received_at)) if status is AlertStatus.RESOLVED else None,
        link=link_of(at(entry, mapping.link)) if mapping.link else None,
        event_id=identity_of(event_id, "event_id") or None,
    )


def _status(entry: MappingType[str, Any], mapping: FieldMapping) -> AlertStatus:
    if mapping.status is None:
        return AlertStatus.FIRING
    value = _plain(at(entry, mapping.status)).lower()
    if value and value in {word.lower() for word in mapping.resolved}:
        return AlertStatus.RESOLVED
    if value and value in {word.lower() for word in mapping.firing}:
        return AlertStatus.FIRING
    if not value or (mapping.firing and mapping.resolved):
        words = ", ".join((*mapping.firing, *mapping.resolved))
        raise PayloadInvalid(f"{mapping.status} is {clean(value, 80) or 'missing'!r}; known are {words}")
    return AlertStatus.FIRING if mapping.resolved else AlertStatus.RESOLVED


def _fingerprint(entry: MappingType[str, Any], mapping: FieldMapping, labels: dict[str, str], title: str) -> str:
    if mapping.fingerprint is None:
        return fingerprint_of(labels or {"title": title})
    paths = (mapping.fingerprint,) if isinstance(mapping.fingerprint, str) else mapping.fingerprint
    parts = [_plain(at(entry, path)) for path in paths]
    if not all(parts):
        missing = next(path for path, part in zip(paths, parts, strict=True) if not part)
        raise PayloadInvalid(f"{missing} is missing; it tells one alert from another")
    return identity_of("/".join(parts), "fingerprint") or fingerprint_of(labels)


def _texts(entry: MappingType[str, Any], paths: dict[str, str], whole: str | None, longest: int) -> dict[str, str]:
    texts: dict[str, str] = {}
    if whole is not None and (found := at(entry, whole)) is not None:
        members = object_of(found, whole)
        if len(members) > MOST_LABELS:
            raise PayloadInvalid(f"{whole} holds {len(members)} names; at most {MOST_LABELS} are taken")
        texts = {clean(name, LONGEST_NAME): clean(_plain(value), longest) for name, value in members.items()}
    texts |= {name: text for name, path in paths.items() if (text := _text(entry, path, longest))}
    return {name: text for name, text in texts.items() if name and text}


def _text(entry: MappingType[str, Any], path: str | None, longest: int) -> str:
    return clean(_plain(at(entry, path)), longest) if path else ""


def _plain(value: Any) -> str:
    """Text of a scalar; a list of scalars is joined, and an object is no text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, list) and all(isinstance(part, str | int | float) for part in value):
        return ", ".join(_plain(part) for part in value)
    return ""


def _number(value: float) -> str:
    try:
        return str(value)
    except ValueError:  # an integer of thousands of digits
        return ""


def _moment(entry: MappingType[str, Any], path: str | None, received_at: datetime) -> datetime:
    return moment_of(at(entry, path), path, received_at=received_at) if path else received_at
