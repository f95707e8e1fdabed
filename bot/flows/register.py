"""The register of changes still in force: each has an owner and an end, and every move of it is on record (rule S23)."""

from datetime import datetime, timedelta

from bot.flows.context import Context
from bot.flows.records import entry, save
from runbooks.incident import Incident
from runbooks.people import MUSTER, Actor
from runbooks.run import ActionRun, Mitigation, MitigationEnd
from runbooks.timeline import EntryKind
from storage import incidents, ledger, mitigations
from storage.database import Tx


def open_for(
    tx: Tx, ctx: Context, incident: Incident, run: ActionRun, *, after: float | None, then: MitigationEnd, now: datetime
) -> Mitigation:
    """The register's new line for a change that was just made; `after` is seconds until its declared end."""
    ends_at = now + timedelta(seconds=after) if after is not None else None
    item = mitigations.add(
        tx,
        Mitigation(
            id=0,
            run_id=run.id,
            incident_id=incident.id,
            title=run.title,
            target=run.target,
            owner=run.answerable,
            opened_at=now,
            ends_at=ends_at,
            then=then,
        ),
        next_at=_next(ctx, ends_at, reminded=False),
    )
    until = f" until {ends_at:%Y-%m-%d %H:%M} UTC" if ends_at else ""
    said = entry(
        EntryKind.MITIGATION_OPENED,
        f"{item.title} on {item.target} is in force{until}; {item.owner} answers for it.",
        now=now,
        mitigation=item.id,
        run=run.id,
        ends_at=ends_at.isoformat() if ends_at else None,
    )
    ledger.record(tx, incident.id, [said], now=now)
    return item


def _next(ctx: Context, ends_at: datetime | None, *, reminded: bool) -> datetime | None:
    if ends_at is None:
        return None
    return ends_at if reminded else ends_at - ctx.policy.reminder_before


def note(tx: Tx, item: Mitigation, kind: EntryKind, text: str, *, now: datetime, by: Actor = MUSTER) -> None:
    """A move of a mitigation: on the timeline, and on the card."""
    before = incidents.get(tx, item.incident_id)
    said = entry(kind, text, now=now, actor=by, mitigation=item.id, run=item.run_id)
    save(tx, before=before, after=before.redrawn(), entries=[said], now=now)


def extend(tx: Tx, ctx: Context, item: Mitigation, *, until: datetime, by: Actor, now: datetime) -> Mitigation:
    """Let it stand longer, with a new reminder."""
    fresh = item.model_copy(update={"ends_at": until, "reminded_at": None, "asked_at": None})
    mitigations.save(tx, fresh, next_at=max(_next(ctx, until, reminded=False) or until, now))
    note(tx, fresh, EntryKind.MITIGATION_EXTENDED, f"{by.id} extends {item.title} until {until:%Y-%m-%d %H:%M} UTC.", now=now, by=by)
    return fresh


def keep(tx: Tx, item: Mitigation, *, by: Actor, now: datetime) -> Mitigation:
    """It is no longer temporary: it leaves the register, and who said so stays on record."""
    fresh = item.model_copy(update={"ended_at": now, "end_reason": f"kept by {by.id}"})
    mitigations.save(tx, fresh, next_at=None)
    note(tx, fresh, EntryKind.MITIGATION_KEPT, f"{by.id} keeps {item.title} on {item.target} for good.", now=now, by=by)
    return fresh


def hand(tx: Tx, item: Mitigation, *, to: str, by: Actor, now: datetime) -> Mitigation:
    """Another person answers for it from now on. When it ends, and when they are reminded, stays as it was."""
    if item.owner == to:
        return item
    fresh = item.model_copy(update={"owner": to})
    mitigations.save(tx, fresh)
    note(tx, fresh, EntryKind.MITIGATION_HANDED, f"{by.id} hands {item.title} on {item.target} to {to}.", now=now, by=by)
    return fresh


def stays(tx: Tx, run: ActionRun, *, now: datetime) -> None:
    """The change was not taken back: where that was tried because its time is over, its owner is asked from now on, each day.

    It counts as asked at once, so that the sweep asks and does not revert a second time (rule S22).
    """
    item = mitigations.of_run(tx, run.id)
    if item is None or item.ended_at is not None or item.asked_at is not None or item.then is not MitigationEnd.REVERT:
        return
    if item.ends_at is not None and item.ends_at <= now:
        mitigations.save(tx, item.model_copy(update={"asked_at": now}), next_at=now)


def ended(tx: Tx, run: ActionRun, *, reason: str, now: datetime) -> None:
    """The change was taken back: its line in the register ends."""
    item = mitigations.of_run(tx, run.id)
    if item is not None and item.ended_at is None:
        mitigations.save(tx, item.model_copy(update={"ended_at": now, "end_reason": reason}), next_at=None)
        said = entry(
            EntryKind.MITIGATION_ENDED,
            f"{item.title} on {item.target} is no longer in force. {reason}",
            now=now,
            mitigation=item.id,
            run=run.id,
        )
        ledger.record(tx, run.incident_id, [said], now=now)
