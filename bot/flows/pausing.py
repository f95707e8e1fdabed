"""The kill switch: one command stops all execution, and only a person with the right lets it go on (rule S16).

It stands in the database for all replicas, on the timeline of every open incident, and in Muster's own record. Pages still go out.
"""

from collections.abc import Collection
from datetime import datetime

from actions.situation import Pause
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.records import entry, say
from bot.flows.wording import name_of
from runbooks.people import MUSTER, Actor, Person
from runbooks.timeline import OWN, EntryKind
from runbooks.value import Json
from storage import incidents, ledger, switches, tasks
from storage.database import Tx

PAUSED = "paused"
ACCEPTED = "record.accepted"
"""The switch that holds the breaks in the record which a person has seen and let stand: they stop nothing a second time."""


def present(tx: Tx) -> Pause | None:
    """The kill switch, as it was set."""
    value = switches.get(tx, PAUSED)
    if not isinstance(value, dict):
        return None
    return Pause(by=str(value["by"]), since_at=datetime.fromisoformat(str(value["at"])), reason=str(value["reason"]))


def set_pause(tx: Tx, *, by: Actor, reason: str, at: datetime, owed: bool = False, broken: Collection[str] = ()) -> None:
    """Engage the kill switch. `owed` says that its row in the record is still to be written, `broken` what the record was found to be."""
    switches.put(tx, PAUSED, {"by": by.id, "reason": reason, "at": at.isoformat(), "owed": owed, "broken": list(broken)})


def pause(tx: Tx, ctx: Context, *, by: Actor, reason: str, now: datetime) -> str:
    """A person stops everything. Whoever does it second changes nothing.

    Raises:
        Refused: this person may not, or gave no reason.
    """
    _must_be_admin(ctx, by, now=now)
    if not reason.strip():
        raise Refused("no_reason", "Not paused: say why, for everybody to read.", audit=False)
    if (found := present(tx)) is not None:
        return f"Everything is paused already, by {name_of(ctx, found.by)} since {found.since_at:%H:%M} UTC: {found.reason}"
    set_pause(tx, by=by, reason=reason.strip()[:300], at=now)
    record(tx, EntryKind.PAUSED, f"All actions are paused by {by.id}: {reason.strip()[:300]}", by=by, now=now)
    return "All actions are paused. Pages to people still go out."


def resume(tx: Tx, ctx: Context, *, by: Actor, now: datetime) -> str:
    """A person lets actions run again. It is on record, so it cannot be while the record takes no row.

    Raises:
        Refused: this person may not.
    """
    _must_be_admin(ctx, by, now=now)
    if (held := ctx.fuse.pause) is not None:
        text = f"Not resumed. {held.reason}. Mend the database first; a few seconds later you can resume."
        raise Refused("record_unwritable", text, audit=False)
    value = switches.get(tx, PAUSED)
    if not isinstance(value, dict):
        return "Actions may run; nothing was paused."
    seen = value.get("broken", [])
    if seen:
        switches.put(tx, ACCEPTED, sorted({*accepted(tx), *(str(one) for one in seen)}))
    switches.put(tx, PAUSED, None)
    record(tx, EntryKind.RESUMED, f"Actions may run again, says {by.id}.", by=by, now=now, accepted=list(seen))
    return "Actions may run again."


def accepted(tx: Tx) -> set[str]:
    """Breaks in the record that a person has seen."""
    value = switches.get(tx, ACCEPTED)
    return {str(one) for one in value} if isinstance(value, list) else set()


def record(
    tx: Tx, kind: EntryKind, text: str, *, by: Actor = MUSTER, now: datetime, occurred_at: datetime | None = None, **payload: Json
) -> None:
    """On the timeline of every open incident, and in Muster's own record, which is there when nothing is open, too."""
    said = entry(kind, text, now=now, actor=by, occurred_at=occurred_at, **payload)
    for number in (OWN, *(incident.id for incident in incidents.open_ones(tx))):
        ledger.record(tx, number, [said], now=now)


def tell_admins(tx: Tx, ctx: Context, text: str, *, key: str, now: datetime) -> None:
    """A direct message to each admin."""
    for person in admins(ctx, now=now):
        if person.slack_id:
            said = say(key=f"{key}:{person.id}", screen="notice", lane=f"dm:{person.slack_id}", to=person.slack_id, text=text)
            tasks.enqueue(tx, said)


def admins(ctx: Context, *, now: datetime) -> tuple[Person, ...]:
    """Everybody who may pause and resume at this moment."""
    return tuple(person for person in ctx.directory.people if is_admin(ctx, person.id, now=now))


def is_admin(ctx: Context, person: str, *, now: datetime) -> bool:
    """Whether a grant with `admin` means this person now, as themselves, by team or by duty."""
    duties = [team.id for team in ctx.directory.teams if person in {one.id for one in ctx.on_call.on_call(team.id, now)}]
    subjects = ctx.directory.subjects(person, on_call_for=duties)
    known = ctx.directory.person(person) is not None
    return known and any(grant.admin and grant.who in subjects for grant in ctx.directory.grants)


def _must_be_admin(ctx: Context, by: Actor, *, now: datetime) -> None:
    if by.is_human and is_admin(ctx, by.id, now=now):
        return
    names = ", ".join(person.name for person in admins(ctx, now=now)[:5]) or "nobody"
    raise Refused("not_granted", f"Only an admin may do this. In muster.yaml that is: {names}.")
