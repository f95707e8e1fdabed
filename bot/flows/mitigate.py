"""Mitigations by sweep: a reminder comes before the end, and at the end the declared choice happens (rule S23)."""

from datetime import datetime, timedelta

from bot.flows import undo
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.records import say
from bot.flows.register import keep, note
from bot.flows.sweeping import PUT_OFF, each
from runbooks.people import MUSTER
from runbooks.run import Mitigation, MitigationEnd
from runbooks.timeline import EntryKind
from runbooks.value import Json
from storage import mitigations, runs, tasks
from storage.database import Tx

ASK_AGAIN = timedelta(days=1)
"""A change whose time is over is asked about each day until somebody decides: an owner may have slept."""


def sweep(ctx: Context) -> int:
    """Remind of what ends soon; do what was declared for what ends now."""

    def work(tx: Tx) -> int:
        now = ctx.now()
        due = mitigations.due(tx, now, limit=50)
        return each(tx, due, lambda item: _due(tx, ctx, item, now=now), put_off=lambda item: mitigations.wake(tx, item.id, now + PUT_OFF))

    return ctx.write_if(lambda tx: mitigations.due(tx, ctx.now(), limit=1), work, name="mitigate")


def _due(tx: Tx, ctx: Context, item: Mitigation, *, now: datetime) -> None:
    if item.ended_at is not None or item.ends_at is None:
        mitigations.save(tx, item, next_at=None)
    elif now < item.ends_at and item.reminded_at is None:
        _remind(tx, ctx, item, now=now)
    elif now < item.ends_at:
        mitigations.save(tx, item, next_at=item.ends_at)
    else:
        _end(tx, ctx, item, now=now)


def _remind(tx: Tx, ctx: Context, item: Mitigation, *, now: datetime) -> None:
    mitigations.save(tx, item.model_copy(update={"reminded_at": now}), next_at=item.ends_at)
    then = {"revert": "It is undone then", "ask": "You are asked then", "keep": "It stays then"}[item.then.value]
    text = f"{item.title} on {item.target} ends {item.ends_at:%H:%M} UTC. {then} unless somebody extends it."
    _tell(tx, ctx, item, text, asks=False, key=f"mitigation:{item.id}:reminder:{item.ends_at:%Y%m%d%H%M}")
    note(tx, item, EntryKind.MITIGATION_REMINDED, f"Reminded {item.owner}: {text}", now=now)


def _end(tx: Tx, ctx: Context, item: Mitigation, *, now: datetime) -> None:
    if item.asked_at is not None:
        _ask(tx, ctx, item, f"The time of {item.title} on {item.target} is over since {item.ends_at:%Y-%m-%d %H:%M} UTC.", now=now)
        return
    match item.then:
        case MitigationEnd.REVERT:
            _revert(tx, ctx, item, now=now)
        case MitigationEnd.KEEP:
            keep(tx, item, by=MUSTER, now=now)
        case MitigationEnd.ASK:
            _ask(tx, ctx, item, f"The time of {item.title} on {item.target} is over.", now=now)


def _revert(tx: Tx, ctx: Context, item: Mitigation, *, now: datetime) -> None:
    """Undo it by itself, once; where that is refused, a person is asked."""
    mitigations.save(tx, item, next_at=None)
    try:
        undo.request(tx, ctx, runs.get(tx, item.run_id), by=MUSTER, reason="Its time was over.", now=now)
    except Refused as refused:
        _ask(tx, ctx, item, f"The time of {item.title} on {item.target} is over, and it was not undone. {refused}", now=now)


def _ask(tx: Tx, ctx: Context, item: Mitigation, why: str, *, now: datetime) -> None:
    mitigations.save(tx, item.model_copy(update={"asked_at": now}), next_at=now + ASK_AGAIN)
    text = f"{why} It is still in force: undo it, extend it or keep it."
    _tell(tx, ctx, item, text, asks=True, key=f"mitigation:{item.id}:ask:{now:%Y%m%d%H%M}")
    note(tx, item, EntryKind.MITIGATION_REMINDED, f"Asked {item.owner}: {text}", now=now)


def _tell(tx: Tx, ctx: Context, item: Mitigation, text: str, *, asks: bool, key: str) -> None:
    """In the thread, and to its owner, because a thread of yesterday's incident is read by nobody."""
    args: dict[str, Json] = {"mitigation": item.id, "text": text, "asks": asks}
    tasks.enqueue(tx, say(key=f"{key}:thread", screen="mitigation", incident_id=item.incident_id, **args))
    owner = ctx.directory.person(item.owner)
    if owner and owner.slack_id:
        tasks.enqueue(tx, say(key=f"{key}:owner", screen="mitigation", lane=f"dm:{owner.slack_id}", to=owner.slack_id, **args))
