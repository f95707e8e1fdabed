"""The timeline: append-only entries, two clocks, one hash chain for each incident (mission F2, rule S26).

The chain runs over digests of the payloads, so that a payload can be erased when the law asks and the chain still verifies.
Heads and counts of all incidents stand in a second, global chain, so that a cut tail shows.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from enum import StrEnum

from runbooks.people import Actor
from runbooks.value import Json, Moment, Value

GENESIS = "0" * 64

OWN = -1
"""Stands where an incident's number would, for what concerns none: pauses, attempts on nothing. Muster's own record, chained like any."""

GLOBAL = 0
"""Stands for the chain of heads where a `Broken` names an incident."""


class EntryKind(StrEnum):
    """What can stand on a timeline. A closed list; the post-mortem reads it."""

    ALERT_FIRED = "alert.fired"
    ALERT_RESOLVED = "alert.resolved"
    ALERT_REPEATED = "alert.repeated"
    ALERTS_CLEAR = "alerts.clear"
    ALERT_FLAPPING = "alert.flapping"
    INCIDENT_OPENED = "incident.opened"
    INCIDENT_ACKNOWLEDGED = "incident.acknowledged"
    INCIDENT_MITIGATED = "incident.mitigated"
    INCIDENT_RESOLVED = "incident.resolved"
    INCIDENT_REOPENED = "incident.reopened"
    RUNBOOK_MATCHED = "runbook.matched"
    RUNBOOK_REJECTED = "runbook.rejected"
    ROLE_TAKEN = "role.taken"
    SEVERITY_SET = "severity.set"
    CARD_POSTED = "card.posted"
    DIAGNOSTIC_MEASURED = "diagnostic.measured"
    RUN_PLANNED = "run.planned"
    RUN_REQUESTED = "run.requested"
    RUN_APPROVED = "run.approved"
    RUN_DECLINED = "run.declined"
    RUN_REFUSED = "run.refused"
    RUN_CANCELLED = "run.cancelled"
    RUN_EXPIRED = "run.expired"
    RUN_STARTED = "run.started"
    RUN_EXECUTED = "run.executed"
    RUN_FAILED = "run.failed"
    RUN_UNKNOWN = "run.unknown"
    RUN_RECONCILED = "run.reconciled"
    RUN_VERDICT = "run.verdict"
    RUN_UNDO_STARTED = "run.undo_started"
    RUN_UNDONE = "run.undone"
    RUN_UNDO_REFUSED = "run.undo_refused"
    BREAK_GLASS = "run.break_glass"
    PROPOSED = "proposal.made"
    PROPOSAL_COUNTING = "proposal.counting"
    PROPOSAL_STOPPED = "proposal.stopped"
    PROPOSAL_ENDED = "proposal.ended"
    AUTONOMY_EARNED = "autonomy.earned"
    AUTONOMY_LOST = "autonomy.lost"
    FREEZE_OVERRIDDEN = "run.freeze_overridden"
    BREAKER_OPENED = "breaker.opened"
    BREAKER_RESET = "breaker.reset"
    PAUSED = "muster.paused"
    RESUMED = "muster.resumed"
    TASK_RETRIED = "task.retried"
    MITIGATION_OPENED = "mitigation.opened"
    MITIGATION_EXTENDED = "mitigation.extended"
    MITIGATION_REMINDED = "mitigation.reminded"
    MITIGATION_ENDED = "mitigation.ended"
    MITIGATION_KEPT = "mitigation.kept"
    MITIGATION_HANDED = "mitigation.handed"
    PAGED = "page.sent"
    PAGE_FAILED = "page.failed"
    ESCALATED = "escalated"
    UPDATE_POSTED = "update.posted"
    NOTE_ADDED = "note.added"
    MESSAGE_KEPT = "message.kept"
    PERSON_JOINED = "person.joined"
    CHANGE_SEEN = "change.seen"
    CORRECTION = "correction"
    CLEANUP_OPENED = "cleanup.opened"
    CLEANUP_DONE = "cleanup.done"
    CLEANUP_HANDED = "cleanup.handed"
    DRILL_STARTED = "drill.started"
    DRILL_INJECT = "drill.inject"
    DRILL_ENDED = "drill.ended"
    REVIEW_OPENED = "review.opened"
    REVIEW_REMINDED = "review.reminded"
    FOLLOW_UP_ADDED = "follow_up.added"
    ATTEMPT_REFUSED = "attempt.refused"
    EVIDENCE_READ = "evidence.read"
    EVIDENCE_ERASED = "evidence.erased"


class NewEntry(Value):
    """An entry before it is written. `occurred_at` is when it happened; the ledger adds when it was recorded."""

    kind: EntryKind
    occurred_at: Moment
    actor: Actor
    summary: str
    payload: dict[str, Json] = {}


class Entry(NewEntry):
    """An entry as it stands. `seq` counts from 1 within the incident; a gap is what somebody has cut."""

    incident_id: int
    seq: int
    recorded_at: Moment
    digest: str
    previous: str
    hash: str
    erased: bool = False

    @property
    def ref(self) -> str:
        """How a document cites this entry."""
        return place_of(self.incident_id, self.seq)


def place_of(incident_id: int, seq: int) -> str:
    """How people call a place in the record."""
    if incident_id == GLOBAL:
        return f"global chain, link {seq}" if seq else "global chain"
    return f"Muster's own record #{seq}" if incident_id == OWN else f"INC-{incident_id}#{seq}"


class Broken(Value):
    """Where a chain does not hold, and why."""

    incident_id: int
    seq: int
    reason: str

    @property
    def place(self) -> str:
        """Where it is."""
        return place_of(self.incident_id, self.seq)


def canonical(value: Json) -> bytes:
    """One byte form for equal JSON values: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str).encode(errors="backslashreplace")


def digest_of(entry: NewEntry) -> str:
    """SHA-256 over what may be erased later: the summary and the payload."""
    return hashlib.sha256(canonical({"summary": entry.summary, "payload": entry.payload})).hexdigest()


def hash_of(*, incident_id: int, seq: int, entry: NewEntry, recorded_at: Moment, digest: str, previous: str) -> str:
    """SHA-256 over everything else and the digest, chained to the entry before."""
    return hashlib.sha256(
        canonical(
            {
                "incident": incident_id,
                "seq": seq,
                "kind": entry.kind.value,
                "occurred_at": entry.occurred_at.isoformat(),
                "recorded_at": recorded_at.isoformat(),
                "actor": entry.actor.model_dump(mode="json"),
                "digest": digest,
                "previous": previous,
            }
        )
    ).hexdigest()


def sealed(entry: NewEntry, *, incident_id: int, seq: int, recorded_at: Moment, previous: str) -> Entry:
    """The entry with its place in the chain."""
    digest = digest_of(entry)
    link = hash_of(incident_id=incident_id, seq=seq, entry=entry, recorded_at=recorded_at, digest=digest, previous=previous)
    return Entry(
        **entry.model_dump(),
        incident_id=incident_id,
        seq=seq,
        recorded_at=recorded_at,
        digest=digest,
        previous=previous,
        hash=link,
    )


def broken_links(entries: Sequence[Entry]) -> Iterable[Broken]:
    """Every place where one incident's chain does not hold: changed, removed or reordered entries, each named once."""
    wrong = [entry for entry in entries if _hash_at(entry, entry.seq) != entry.hash]
    previous, expected, shifted = GENESIS, 1, False
    for entry in entries:
        origin = _origin(entry, wrong)
        if entry.seq != expected:
            yield Broken(incident_id=entry.incident_id, seq=expected, reason=missing(expected, entry.seq - 1))
        elif origin is not None:
            yield Broken(incident_id=entry.incident_id, seq=entry.seq, reason=f"is entry {origin}, put in another place")
        elif entry.previous != previous and not shifted:
            yield Broken(incident_id=entry.incident_id, seq=entry.seq, reason="does not follow the entry before it")
        if not entry.erased and digest_of(entry) != entry.digest:
            yield Broken(incident_id=entry.incident_id, seq=entry.seq, reason="text or payload was changed")
        if origin is None and entry in wrong:
            yield Broken(incident_id=entry.incident_id, seq=entry.seq, reason="kind, time or actor was changed")
        previous, expected, shifted = entry.hash, entry.seq + 1, origin is not None


def missing(first: int, last: int) -> str:
    """Which entries are not there, in words."""
    return f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"


def _origin(entry: Entry, wrong: Sequence[Entry]) -> int | None:
    """The place at which this entry was written, where it stands in another one now."""
    if entry not in wrong:
        return None
    return next((other.seq for other in wrong if other.seq != entry.seq and _hash_at(entry, other.seq) == entry.hash), None)


def _hash_at(entry: Entry, seq: int) -> str:
    return hash_of(
        incident_id=entry.incident_id, seq=seq, entry=entry, recorded_at=entry.recorded_at, digest=entry.digest, previous=entry.previous
    )
