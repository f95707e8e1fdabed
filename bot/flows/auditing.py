"""The record watched: when it takes no row, or does not verify, the kill switch engages by itself (rules S16, S26; fail closed).

Nothing can start without its row, because the claim writes both together. This makes the reason visible, keeps every replica from
trying, and holds until a person has looked. A database that answers nobody is an outage: nothing starts then, and it goes on by itself.
"""

import time
from datetime import datetime

import structlog

from actions.situation import Pause
from bot.flows import pausing
from bot.flows.context import Context
from bot.flows.records import entry
from runbooks.people import MUSTER
from runbooks.timeline import OWN, Broken, EntryKind
from storage import ledger, switches
from storage.database import Tx
from storage.errors import StorageError, StorageUnavailable

log = structlog.get_logger(__name__)

PATIENCE = 2
"""Looks in a row that a busy or full database may fail; a refusal by the database counts at once."""

SHARE = 50
"""Verifying takes at most one part in so many of a processor: it rests that much longer than it took."""
SHORTEST_REST = 60.0


class _Undone(Exception):
    """Ends a trial so that nothing of it is kept."""


def watch(ctx: Context) -> int:
    """Sweep: try whether the record takes a row; pay what is owed when it does."""
    reason = _trial(ctx)
    if reason is None:
        ctx.fuse.failures = 0
        if (held := ctx.fuse.pause) is not None:
            engage(ctx, held.reason, now=held.since_at)
        return ctx.write_if(_owed, lambda tx: _pay(tx, ctx), name="audit_owed")
    ctx.fuse.failures += 1
    if ctx.fuse.failures >= (1 if reason[0] else PATIENCE):
        engage(ctx, f"The record cannot be written: {reason[1]}", now=ctx.now())
        return 1
    return 0


def _trial(ctx: Context) -> tuple[bool, str] | None:
    """Whether the database refuses for sure, and its words; None where a row would be taken, or where it answers nobody at all."""

    def work(tx: Tx) -> None:
        ledger.record(tx, OWN, [entry(EntryKind.NOTE_ADDED, "A trial, never kept.", now=ctx.now())], now=ctx.now())
        raise _Undone

    try:
        ctx.database.write(work, name="audit_trial")
    except _Undone:
        return None
    except StorageUnavailable as error:
        return (False, str(error)) if _answers(ctx) else None
    except StorageError as error:
        return True, str(error)
    raise AssertionError("unreachable: a trial always ends in an exception")


def _answers(ctx: Context) -> bool:
    try:
        ctx.read(lambda tx: switches.get(tx, pausing.PAUSED))
    except StorageError:
        return False
    return True


def verify(ctx: Context) -> int:
    """Look at every chain once; a break that nobody has seen yet stops all actions. Answers how many are new."""
    fuse = ctx.fuse
    report, known = ctx.read(lambda tx: (ledger.verify(tx, kept=fuse.head), pausing.accepted(tx)))
    new = [broken for broken in report.broken if said(broken) not in known]
    if not new:
        fuse.head = report.head  # a break that a person let stand hides no later cut
    else:
        named = "; ".join(said(broken) for broken in new[:3])
        more = f" and {len(new) - 3} more" if len(new) > 3 else ""
        engage(ctx, f"The record does not verify: {named}{more}", now=ctx.now(), broken=new)
    return len(new)


def said(broken: Broken) -> str:
    """A break in words, by which it is known again."""
    return f"{broken.place}: {broken.reason}"


class Verifier:
    """The sweep that verifies, at its own pace: the longer a look takes, the longer the rest."""

    def __init__(self, ctx: Context) -> None:
        self._ctx, self._next = ctx, 0.0

    def __call__(self) -> None:
        """Look, where the rest is over."""
        began = time.monotonic()
        if began < self._next:
            return
        try:
            verify(self._ctx)
        except StorageError as error:
            log.warning("record.not_verified", error=str(error))
        self._next = time.monotonic() + max((time.monotonic() - began) * SHARE, SHORTEST_REST)


def engage(ctx: Context, reason: str, *, now: datetime, broken: list[Broken] | None = None) -> None:
    """Stop everything: in this process at once, and for all as soon as the switch can be kept. A person's own pause stays theirs."""
    if ctx.fuse.pause is None:
        log.critical("kill_switch.engaged", reason=reason)
    ctx.fuse.blow(Pause(by=MUSTER.id, since_at=now, reason=reason))
    held = ctx.fuse.pause
    assert held is not None
    names = [said(one) for one in broken or ()]

    def work(tx: Tx) -> None:
        if pausing.present(tx) is None:
            pausing.set_pause(tx, by=MUSTER, reason=held.reason, at=held.since_at, owed=True, broken=names)
            text = f"Muster has stopped all actions by itself. {held.reason}. Pages still go out. Resume when you have looked."
            pausing.tell_admins(tx, ctx, text, key=f"paused:{held.since_at.isoformat()}", now=now)

    try:
        ctx.database.write(work, name="audit_pause")
    except StorageError as error:
        log.warning("kill_switch.not_kept", error=str(error))  # this process stays stopped, and the next look tries again
    else:
        ctx.fuse.mend()  # the switch stands in the database, for every replica, and there a person lets go of it
    ctx.wake()


def _owed(tx: Tx) -> bool:
    """Whether the pause stands without its row."""
    value = switches.get(tx, pausing.PAUSED)
    return isinstance(value, dict) and bool(value.get("owed"))


def _pay(tx: Tx, ctx: Context) -> int:
    value = switches.get(tx, pausing.PAUSED)
    if not _owed(tx) or not isinstance(value, dict):
        return 0
    at, text = datetime.fromisoformat(str(value["at"])), f"Muster has stopped all actions by itself. {value['reason']}"
    pausing.record(tx, EntryKind.PAUSED, text, now=ctx.now(), occurred_at=at, reason=str(value["reason"]))
    switches.put(tx, pausing.PAUSED, {**value, "owed": False})
    return 1
