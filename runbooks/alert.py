"""An alert as every source delivers it after parsing."""

from enum import StrEnum

from pydantic import Field

from runbooks.value import Moment, Value


class AlertStatus(StrEnum):
    """Whether the condition holds."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(Value):
    """One alert. `(source, fingerprint)` says that two deliveries speak of the same thing.

    Everything in it comes from outside and is hostile (rule S29): it is escaped when shown and never treated as a template.
    `event_id`, where a source has one, tells a repeated delivery from a new one.
    """

    source: str
    fingerprint: str = Field(min_length=1, max_length=200)
    status: AlertStatus
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    title: str = ""
    starts_at: Moment
    ends_at: Moment | None = None
    link: str | None = None
    event_id: str | None = None
    upstream: dict[str, str] = {}
    """What the source needs to be answered, for example PagerDuty's incident id."""

    @property
    def name(self) -> str:
        """The alert's name, as its rule calls it; the title where it has none."""
        return self.labels.get("alertname") or self.title or self.fingerprint
