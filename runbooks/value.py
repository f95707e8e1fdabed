"""What every noun of the core is built from: frozen, keyword-only values that refuse unknown fields and naive times."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

Json = Any  # any JSON value; spelled out as a recursive type, mypy and pydantic gain nothing by it


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time without a zone; write it with one, for example 2026-11-20T10:00:00Z")
    return value.astimezone(UTC)


Moment = Annotated[datetime, AfterValidator(_aware)]
"""An aware time, kept in UTC."""

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(?:[-.][a-z0-9]+)*$", max_length=80)]
"""A name for machines and people: small letters, digits, single hyphens or dots."""


class Value(BaseModel):
    """A frozen value. Changed by copy (`model_copy(update=…)`), compared by content."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, ser_json_inf_nan="constants")
