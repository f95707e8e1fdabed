"""The incident: its state, and where it may go from there."""

from enum import StrEnum

from runbooks.errors import TransitionRefused
from runbooks.people import Role
from runbooks.severity import IncidentClass, Severity
from runbooks.value import Moment, Value


class IncidentStatus(StrEnum):
    """triggered → acknowledged → mitigated → resolved. Resolved ends it; a later alert opens a new incident."""

    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"


class RunbookRef(Value):
    """One immutable version of a runbook."""

    id: str
    version: int
    hash: str


class RunnerUp(Value):
    """A runbook that also fits, with its score (0..1) and why."""

    runbook: str
    score: float
    reason: str


class Match(Value):
    """Which runbook was chosen, how sure (0..1), why, and what else was near. `fallback` when nothing fitted."""

    runbook: RunbookRef
    score: float
    reason: str
    runners_up: tuple[RunnerUp, ...] = ()
    fallback: bool = False


class Incident(Value):
    """One incident. Times are None until they have happened.

    `labels` are those of the alert that opened it; templates read them. `revision` grows with every change that a card shows.
    `world` names the simulated world of a drill; `drill_id` is set for drills and for nothing else. `escalated` names the rules
    that have fired, by runbook and place.
    `began_at` is when the trouble began by the alert's own clock; `opened_at` is when Muster opened the incident.
    """

    id: int
    title: str
    status: IncidentStatus = IncidentStatus.TRIGGERED
    severity: Severity
    incident_class: IncidentClass
    service: str | None = None
    environment: str | None = None
    owner: str | None = None
    labels: dict[str, str] = {}
    links: dict[str, str] = {}
    match: Match
    group_key: str
    channel: str | None = None
    commander: str | None = None
    roles: dict[Role, str] = {}
    began_at: Moment
    opened_at: Moment
    acknowledged_at: Moment | None = None
    acknowledged_by: str | None = None
    mitigated_at: Moment | None = None
    resolved_at: Moment | None = None
    resolved_by: str | None = None
    resolution: str | None = None
    alerts_clear_at: Moment | None = None
    flapping: bool = False
    firing: int = 0
    alerts: int = 0
    drill_id: int | None = None
    world: str | None = None
    escalated: tuple[str, ...] = ()
    revision: int = 1

    @property
    def ref(self) -> str:
        """What people call it, for example INC-42."""
        return f"INC-{self.id}"

    @property
    def is_open(self) -> bool:
        """Whether anything may still be done about it."""
        return self.status is not IncidentStatus.RESOLVED

    @property
    def is_drill(self) -> bool:
        """Whether this is a rehearsal."""
        return self.drill_id is not None

    def acknowledged(self, *, by: str, now: Moment) -> "Incident":
        """Acknowledged by a person. A second time changes nothing: the first keeps it."""
        self._must_be_open()
        if self.acknowledged_at is not None:
            return self
        status = IncidentStatus.ACKNOWLEDGED if self.status is IncidentStatus.TRIGGERED else self.status
        return self._changed(status=status, acknowledged_at=now, acknowledged_by=by)

    def mitigated(self, *, now: Moment) -> "Incident":
        """The harm has ended: proven by a verified run, or said by a person. A second time changes nothing."""
        self._must_be_open()
        if self.mitigated_at is not None:
            return self
        return self._changed(status=IncidentStatus.MITIGATED, mitigated_at=now)

    def unmitigated(self) -> "Incident":
        """The harm is back: an alert fired again after mitigation."""
        self._must_be_open()
        status = IncidentStatus.ACKNOWLEDGED if self.acknowledged_at else IncidentStatus.TRIGGERED
        return self._changed(status=status, mitigated_at=None, alerts_clear_at=None)

    def resolved(self, *, by: str, resolution: str, now: Moment) -> "Incident":
        """Over. Refused when it is over already, with who and when."""
        self._must_be_open()
        return self._changed(
            status=IncidentStatus.RESOLVED,
            resolved_at=now,
            resolved_by=by,
            resolution=resolution,
            mitigated_at=self.mitigated_at or now,
        )

    def with_severity(self, severity: Severity) -> "Incident":
        """Another severity; the same one changes nothing."""
        self._must_be_open()
        return self if severity is self.severity else self._changed(severity=severity)

    def with_role(self, role: Role, person: str) -> "Incident":
        """A role, held by one person at a time."""
        self._must_be_open()
        if self.roles.get(role) == person:
            return self
        commander = {"commander": person} if role is Role.COMMANDER else {}
        return self._changed(roles={**self.roles, role: person}, **commander)

    def redrawn(self) -> "Incident":
        """The same incident with the next revision, because something that its card shows has changed."""
        return self._changed()

    def _changed(self, **update: object) -> "Incident":
        return self.model_copy(update={**update, "revision": self.revision + 1})

    def _must_be_open(self) -> None:
        if not self.is_open:
            raise TransitionRefused(f"{self.ref} is resolved; nothing was changed.")
