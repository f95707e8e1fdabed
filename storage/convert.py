"""Rows to core types and back. What is asked for becomes columns; the whole value becomes JSON in `body`."""

import json
from datetime import date, datetime
from enum import Enum
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic_core import from_json
from sqlalchemy import Row

from runbooks.people import Actor
from runbooks.runbook import Runbook
from runbooks.timeline import Entry, canonical
from storage.errors import Unreadable
from storage.text import json_text

M = TypeVar("M", bound=BaseModel)


def body_of(value: BaseModel) -> str:
    """The value as JSON, without its id: that one is the row's."""
    return json_text(value.model_dump(mode="json", exclude={"id"}))


def value_of(model: type[M], row: Row[Any], **own: Any) -> M:
    """The value in a row's `body`; `own` are fields that stand in columns instead.

    Raises:
        Unreadable: this version cannot read it, probably because a newer one wrote it.
    """
    try:
        return model.model_validate({**from_json(row.body), **own})
    except ValueError as error:  # pydantic's own errors are ValueErrors too
        raise Unreadable(f"A {model.__name__} in the database cannot be read by this version of Muster: {error}") from error


def entry_columns(entry: Entry) -> dict[str, Any]:
    """An entry's row."""
    return {
        "incident_id": entry.incident_id,
        "seq": entry.seq,
        "kind": entry.kind.value,
        "occurred_at": entry.occurred_at,
        "recorded_at": entry.recorded_at,
        "actor": json_text(entry.actor.model_dump(mode="json")),
        "summary": entry.summary,
        "payload": canonical(entry.payload).decode(),
        "digest": entry.digest,
        "previous": entry.previous,
        "hash": entry.hash,
        "erased": 0,
    }


def entry_of(row: Row[Any]) -> Entry:
    """An entry as it stands; an erased one has neither text nor payload.

    Raises:
        Unreadable: somebody put something else into the row.
    """
    try:
        return Entry(
            incident_id=row.incident_id,
            seq=row.seq,
            kind=row.kind,
            occurred_at=row.occurred_at,
            recorded_at=row.recorded_at,
            actor=Actor.model_validate_json(row.actor),
            summary=row.summary or "",
            payload=json.loads(row.payload) if row.payload is not None else {},
            digest=row.digest,
            previous=row.previous,
            hash=row.hash,
            erased=bool(row.erased),
        )
    except ValueError as error:
        raise Unreadable(f"INC-{row.incident_id}#{row.seq} in the database is not a timeline entry: {error}") from error


def runbook_body(runbook: Runbook) -> str:
    """A runbook as JSON, exactly. Its own serialiser writes durations for people and would round them."""
    return json_text(_plain(runbook))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        names = {name: field.alias or name for name, field in type(value).model_fields.items()}
        declared = {alias: _plain(getattr(value, name)) for name, alias in names.items()}
        return declared | {name: _plain(extra) for name, extra in (value.model_extra or {}).items()}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return value.isoformat() if isinstance(value, datetime | date) else value
