"""Evidence in custody: who may look at its words and erase them, and that each time stands on record (mission D1, J4).

Names, sizes and digests are for everybody. The words of prompts and outputs belong to people: only an admin takes them out, or erases
them where the law asks, and Muster's own record says who did and why.
"""

from datetime import datetime, timedelta

from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.pausing import admins, is_admin
from bot.flows.records import entry
from runbooks.evidence import Snapshot
from runbooks.people import Actor
from runbooks.timeline import OWN, EntryKind
from storage import evidence, incidents, ledger
from storage.database import Tx

BEFORE = timedelta(hours=1)
"""How long before an incident was opened a snapshot may have been taken that belongs to it: one may serve two incidents."""


def of_incident(tx: Tx, number: int, *, now: datetime) -> list[Snapshot]:
    """The snapshots of the incident's service and environment, from shortly before it until it was resolved, oldest first."""
    incident = incidents.get(tx, number)
    since, until = incident.opened_at - BEFORE, incident.resolved_at or now
    return evidence.concerning(tx, since, until, environment=incident.environment, service=incident.service)


def taken_out(tx: Tx, ctx: Context, sha256: str, *, reason: str, by: Actor, now: datetime) -> bytes:
    """A piece's bytes, with a row on record that they were looked at.

    Raises:
        Refused: this person may not, gave no reason, or the bytes were erased.
        NotFound: there is no such piece.
    """
    why = _allowed(ctx, by, reason, now=now)
    found = evidence.body(tx, sha256)
    if found is None:
        raise Refused("erased", f"The piece {sha256[:12]}… was erased; its digest and size are all that is left.", audit=False)
    _record(tx, EntryKind.EVIDENCE_READ, f"{by.id} took evidence {sha256} out: {why}", by=by, now=now, sha256=sha256)
    return found


def erased(tx: Tx, ctx: Context, sha256: str, *, reason: str, by: Actor, now: datetime) -> str:
    """Remove a piece's bytes for ever; its digest and its size stay.

    Raises:
        Refused: this person may not, or gave no reason.
        NotFound: there is no such piece.
    """
    why = _allowed(ctx, by, reason, now=now)
    evidence.erase(tx, sha256)
    _record(tx, EntryKind.EVIDENCE_ERASED, f"{by.id} erased evidence {sha256}: {why}", by=by, now=now, sha256=sha256)
    return f"The piece {sha256[:12]}… is erased. Its digest and its size stay."


def attempted(tx: Tx, what: str, refused: Refused, *, by: Actor, now: datetime) -> None:
    """An attempt that was not allowed, in Muster's own record (rules S4, S26): in a transaction of its own, since the first is undone."""
    said = entry(EntryKind.ATTEMPT_REFUSED, f"{by.id} tried to {what}: {refused}", now=now, actor=by, reason=refused.reason)
    ledger.record(tx, OWN, [said], now=now)


def _allowed(ctx: Context, by: Actor, reason: str, *, now: datetime) -> str:
    if not (by.is_human and is_admin(ctx, by.id, now=now)):
        names = ", ".join(person.name for person in admins(ctx, now=now)) or "nobody"
        raise Refused(
            "not_granted", f"Not shown: the words in evidence belong to people, and you may not read or erase them. These may: {names}."
        )
    if not reason.strip():
        raise Refused("no_reason", "Say why, for the record.", audit=False)
    return reason.strip()[:300]


def _record(tx: Tx, kind: EntryKind, text: str, *, by: Actor, now: datetime, sha256: str) -> None:
    ledger.record(tx, OWN, [entry(kind, text, now=now, actor=by, sha256=sha256)], now=now)
