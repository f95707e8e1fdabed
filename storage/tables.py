"""The tables. Imported nowhere outside this room.

What is asked for stands in columns; the rest of a noun stands in `body`, as JSON. Times are microseconds since 1970 in UTC, the same and
exact on both databases. `next_at` is when a sweep must look at a row again; NULL is never.
"""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Dialect, Index, Integer, LargeBinary, MetaData, Table, Text, text
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

from storage.errors import Unreadable
from storage.transaction import micros, moment

BigKey = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER may be SQLite's row id


class Moment(TypeDecorator[datetime]):
    """An aware time as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        return micros(value) if isinstance(value, datetime) else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is not None and not isinstance(value, int):  # SQLite keeps what it is given, if somebody goes around us
            raise Unreadable(f"A time in the database is not a number: {value!r}. Somebody has changed the file.")
        return None if value is None else moment(value)


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = MetaData()


def _id() -> Any:
    return Field(default=None, primary_key=True, sa_type=BigKey)


def _at(*, primary_key: bool = False, nullable: bool = False) -> Any:
    return Field(default=None, primary_key=primary_key, nullable=nullable, sa_type=Moment)


def _text(*, primary_key: bool = False, nullable: bool = False, unique: bool = False) -> Any:
    return Field(default=None, primary_key=primary_key, nullable=nullable, unique=unique, sa_type=Text)


def _number(*, primary_key: bool = False, nullable: bool = False, default: str | None = None) -> Any:
    settings = {"autoincrement": False} if default is None else {"server_default": text(default)}
    return Field(default=None, primary_key=primary_key, nullable=nullable, sa_type=BigInteger, sa_column_kwargs=settings)


def _partial(name: str, *columns: str, where: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


_NEVER_REUSED = {"sqlite_autoincrement": True}  # a worker that comes back late must not meet another row under its id


class InboxRow(_Row, table=True):
    __tablename__ = "inbox"
    __table_args__ = (_partial("inbox_waiting", "id", where="done_at IS NULL"), Index("inbox_done", "done_at"), _NEVER_REUSED)
    id: int = _id()
    source: str = _text()
    raw: bytes = Field(sa_type=LargeBinary)
    alerts: bytes = Field(sa_type=LargeBinary)
    amount: int = _number()
    received_at: datetime = _at()
    done_at: datetime | None = _at(nullable=True)
    error: str | None = _text(nullable=True)


class TaskRow(_Row, table=True):
    __tablename__ = "tasks"
    __table_args__ = (
        _partial("tasks_due", "due_at", "id", where="state = 'open'"),
        _partial("tasks_lane", "lane", "id", where="state = 'open'"),
        _partial("tasks_over", "ended_at", where="state <> 'open'"),
        _NEVER_REUSED,
    )
    id: int = _id()
    key: str = _text(unique=True)
    kind: str = _text()
    args: str = _text()
    lane: str | None = _text(nullable=True)
    due_at: int = _number()
    state: str = _text()
    attempt: int = _number()
    settled: int = _number()
    error: str | None = _text(nullable=True)
    result: str | None = _text(nullable=True)
    created_at: int = _number()
    first_claimed_at: int | None = _number(nullable=True)
    lease_until_at: int | None = _number(nullable=True)
    ended_at: int | None = _number(nullable=True)


class EntryRow(_Row, table=True):
    __tablename__ = "entries"
    incident_id: int = _number(primary_key=True)
    seq: int = _number(primary_key=True)
    kind: str = _text()
    occurred_at: datetime = _at()
    recorded_at: datetime = _at()
    actor: str = _text()
    summary: str | None = _text(nullable=True)
    payload: str | None = _text(nullable=True)
    digest: str = _text()
    previous: str = _text()
    hash: str = _text()
    erased: int = _number(default="0")


class ChainRow(_Row, table=True):
    __tablename__ = "chain"
    __table_args__ = (Index("chain_incident", "incident_id", "seq"),)
    position: int = _number(primary_key=True)
    incident_id: int = _number()
    seq: int = _number()
    head: str = _text()
    entries: int = _number()
    recorded_at: datetime = _at()
    previous: str = _text()
    hash: str = _text()


class NumberRow(_Row, table=True):
    __tablename__ = "numbers"
    name: str = _text(primary_key=True)
    last: int = _number()


class AlertTable(_Row, table=True):
    __tablename__ = "alerts"
    __table_args__ = (Index("alerts_incident", "incident_id"), Index("alerts_last", "last_at"))
    source: str = _text(primary_key=True)
    fingerprint: str = _text(primary_key=True)
    incident_id: int = _number(primary_key=True)
    status: str = _text()
    first_at: datetime = _at()
    last_at: datetime = _at()
    starts_at: datetime = _at()
    ends_at: datetime | None = _at(nullable=True)
    times: int = _number()
    body: str = _text()


class IncidentRow(_Row, table=True):
    __tablename__ = "incidents"
    __table_args__ = (
        _partial("incidents_open_group", "group_key", where="status <> 'resolved'"),
        Index("incidents_opened", "opened_at"),
        Index("incidents_runbook", "runbook"),
        Index("incidents_channel", "channel"),
        Index("incidents_drill", "drill_id"),
        _partial("incidents_next", "next_at", where="next_at IS NOT NULL"),
    )
    id: int = _number(primary_key=True)
    status: str = _text()
    severity: str = _text()
    service: str | None = _text(nullable=True)
    group_key: str = _text()
    channel: str | None = _text(nullable=True)
    runbook: str = _text()
    drill_id: int | None = _number(nullable=True)
    opened_at: datetime = _at()
    resolved_at: datetime | None = _at(nullable=True)
    revision: int = _number()
    next_at: datetime | None = _at(nullable=True)
    body: str = _text()


class RunRow(_Row, table=True):
    __tablename__ = "runs"
    __table_args__ = (
        Index("runs_incident", "incident_id"),
        Index("runs_target", "target", "requested_at"),
        Index("runs_operation", "operation", "requested_at"),
        Index("runs_state", "state"),
        Index("runs_step", "step", "requested_at"),
        Index("runs_requested", "requested_at"),
        _partial("runs_next", "next_at", where="next_at IS NOT NULL"),
        _NEVER_REUSED,
    )
    id: int = _id()
    incident_id: int = _number()
    key: str = _text(unique=True)
    state: str = _text()
    step: str = _text()
    target: str = _text()
    operation: str | None = _text(nullable=True)
    requested_by: str = _text()
    requested_at: datetime = _at()
    next_at: datetime | None = _at(nullable=True)
    body: str = _text()


class LockRow(_Row, table=True):
    __tablename__ = "locks"
    target: str = _text(primary_key=True)
    run_id: int = _number()
    owner: str = _text()
    taken_at: datetime = _at()
    until_at: datetime = _at()


class MitigationRow(_Row, table=True):
    __tablename__ = "mitigations"
    __table_args__ = (
        Index("mitigations_incident", "incident_id"),
        Index("mitigations_run", "run_id"),
        _partial("mitigations_open", "owner", where="ended_at IS NULL"),
        _partial("mitigations_next", "next_at", where="next_at IS NOT NULL"),
        _NEVER_REUSED,
    )
    id: int = _id()
    incident_id: int = _number()
    run_id: int = _number()
    owner: str = _text()
    ended_at: datetime | None = _at(nullable=True)
    next_at: datetime | None = _at(nullable=True)
    body: str = _text()


class ReviewRow(_Row, table=True):
    __tablename__ = "reviews"
    __table_args__ = (_partial("reviews_next", "next_at", where="next_at IS NOT NULL"), _NEVER_REUSED)
    id: int = _id()
    incident_id: int = Field(unique=True, sa_type=BigInteger)
    owner: str = _text()
    state: str = _text()
    next_at: datetime | None = _at(nullable=True)
    body: str = _text()


class FollowUpRow(_Row, table=True):
    __tablename__ = "follow_ups"
    __table_args__ = (
        Index("follow_ups_incident", "incident_id"),
        _partial("follow_ups_open", "owner", where="closed_at IS NULL"),
        _partial("follow_ups_next", "next_at", where="next_at IS NOT NULL"),
        _NEVER_REUSED,
    )
    id: int = _id()
    incident_id: int = _number()
    owner: str = _text()
    due_at: datetime = _at()
    closed_at: datetime | None = _at(nullable=True)
    next_at: datetime | None = _at(nullable=True)
    body: str = _text()


class SuggestionRow(_Row, table=True):
    __tablename__ = "suggestions"
    __table_args__ = (
        Index("suggestions_incident", "incident_id"),
        _partial("suggestions_next", "next_at", where="next_at IS NOT NULL"),
        _NEVER_REUSED,
    )
    id: int = _id()
    incident_id: int = _number()
    step: str = _text()
    state: str = _text()
    next_at: datetime | None = _at(nullable=True)
    body: str = _text()


class DrillRow(_Row, table=True):
    __tablename__ = "drills"
    __table_args__ = (
        Index("drills_slot", "runbook", "slot", unique=True),
        Index("drills_state", "state"),
        Index("drills_incident", "incident_id"),
        _partial("drills_next", "next_at", where="next_at IS NOT NULL"),
        _NEVER_REUSED,
    )
    id: int = _id()
    runbook: str = _text()
    slot: str = _text()
    state: str = _text()
    incident_id: int | None = _number(nullable=True)
    due_at: datetime = _at()
    ended_at: datetime | None = _at(nullable=True)
    next_at: datetime | None = _at(nullable=True)
    body: str = _text()


class ChangeRow(_Row, table=True):
    __tablename__ = "changes"
    __table_args__ = (Index("changes_when", "changed_at"),)
    key: str = _text(primary_key=True)
    service: str | None = _text(nullable=True)
    changed_at: datetime = _at()
    body: str = _text()


class MeasurementRow(_Row, table=True):
    __tablename__ = "measurements"
    __table_args__ = (Index("measurements_incident", "incident_id", "id"), _NEVER_REUSED)
    id: int = _id()
    incident_id: int = _number()
    diagnostic: str = _text()
    measured_at: datetime = _at()
    body: str = _text()


class FeedbackRow(_Row, table=True):
    __tablename__ = "feedback"
    __table_args__ = (Index("feedback_incident", "incident_id"), _NEVER_REUSED)
    id: int = _id()
    incident_id: int = _number()
    chosen: str = _text()
    better: str = _text()
    person: str = _text()
    given_at: datetime = _at()
    alert: str = _text()


class RunbookRow(_Row, table=True):
    __tablename__ = "runbook_versions"
    __table_args__ = (Index("runbook_versions_seen", "runbook", "seen_at"),)
    runbook: str = _text(primary_key=True)
    version: int = _number(primary_key=True)
    hash: str = _text(primary_key=True)
    seen_at: datetime = _at()
    current_at: datetime = _at()
    source: str = _text()
    body: str = _text()


class MessageRow(_Row, table=True):
    __tablename__ = "messages"
    __table_args__ = (Index("messages_place", "channel", "ts"),)
    key: str = _text(primary_key=True)
    channel: str = _text()
    ts: str = _text()
    revision: int = _number()


class SeenRow(_Row, table=True):
    __tablename__ = "seen"
    __table_args__ = (Index("seen_when", "seen_at"),)
    key: str = _text(primary_key=True)
    seen_at: datetime = _at()


class SwitchRow(_Row, table=True):
    __tablename__ = "switches"
    name: str = _text(primary_key=True)
    value: str = _text()


class ScheduleRow(_Row, table=True):
    __tablename__ = "schedules"
    __table_args__ = (Index("schedules_next", "next_at"),)
    name: str = _text(primary_key=True)
    spec: str = _text()
    next_at: datetime = _at()


class EvidenceRow(_Row, table=True):
    __tablename__ = "evidence"
    __table_args__ = (Index("evidence_taken", "name", "taken_at"),)
    sha256: str = _text(primary_key=True)
    name: str = _text()
    environment: str | None = _text(nullable=True)
    service: str | None = _text(nullable=True)
    taken_at: datetime = _at()
    manifest: str = _text()


class EvidencePieceRow(_Row, table=True):
    __tablename__ = "evidence_pieces"
    sha256: str = _text(primary_key=True)
    size: int = _number()
    body: bytes | None = Field(default=None, nullable=True, sa_type=LargeBinary)
    erased: int = _number(default="0")


METADATA = _Row.metadata


def _table(row: type[_Row]) -> Table:
    return METADATA.tables[str(row.__tablename__)]


inbox = _table(InboxRow)
tasks = _table(TaskRow)
entries = _table(EntryRow)
chain = _table(ChainRow)
numbers = _table(NumberRow)
alerts = _table(AlertTable)
incidents = _table(IncidentRow)
runs = _table(RunRow)
locks = _table(LockRow)
mitigations = _table(MitigationRow)
reviews = _table(ReviewRow)
follow_ups = _table(FollowUpRow)
suggestions = _table(SuggestionRow)
drills = _table(DrillRow)
changes = _table(ChangeRow)
measurements = _table(MeasurementRow)
feedback = _table(FeedbackRow)
runbook_versions = _table(RunbookRow)
messages = _table(MessageRow)
seen = _table(SeenRow)
switches = _table(SwitchRow)
schedules = _table(ScheduleRow)
evidence = _table(EvidenceRow)
evidence_pieces = _table(EvidencePieceRow)
