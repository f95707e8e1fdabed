"""What people do in Slack, kept without anyone typing it: joins, pins, chosen reactions, kept messages, channels that go (mission F1)."""

from datetime import UTC, datetime, timedelta

from bot.flows.context import Context, person_actor
from bot.flows.records import entry
from bot.ports import Reply, Visitor
from runbooks.incident import Incident
from runbooks.people import Actor, ActorKind
from runbooks.screens import DeclareDialog, Notice, Refusal
from runbooks.timeline import EntryKind
from runbooks.value import Json
from storage import incidents, ledger, messages, tasks
from storage.database import Tx
from storage.tasks import NewTask

KEPT_REACTIONS = frozenset({"pushpin", "round_pushpin", "memo", "white_check_mark"})
"""Reactions that put a message on the timeline; any other is just a reaction."""

AFTERWARDS = timedelta(days=1)
"""How long what happens in an incident's channel still belongs to it after its end."""

QUOTED = 1000  # characters of a kept message


def keep_message(tx: Tx, ctx: Context, message: dict[str, Json], *, by: Actor, now: datetime) -> Reply:
    """Add to timeline: the message, with who wrote it and when, on its incident's timeline."""
    incident = _incident_of(tx, str(message.get("channel") or ""), str(message.get("thread_ts") or message.get("ts") or ""), now=now)
    if incident is None:
        return Reply(whisper=Refusal(text="This message is in no incident's thread or channel, so it has no timeline to go to."))
    text = str(message.get("text") or "")[:QUOTED] or "a message without text"
    author = _author(ctx, str(message.get("user") or ""))
    said = entry(
        EntryKind.MESSAGE_KEPT,
        f"{author.id}: {text}",
        now=now,
        actor=by,
        occurred_at=_moment(str(message.get("ts") or ""), now),
        channel=message.get("channel"),
        ts=message.get("ts"),
        author=author.id,
    )
    ledger.record(tx, incident.id, [said], now)
    return Reply(whisper=Notice(text=f"On the timeline of {incident.ref}."))


def declare_dialog(ctx: Context, message: dict[str, Json] | None, *, channel: str | None) -> DeclareDialog:
    """Declare in under ten seconds: a title and a severity; from a message, its text is the title."""
    title = " ".join(str((message or {}).get("text") or "").split())[:140]
    return DeclareDialog(services=tuple(ctx.services), title=title, channel=channel)


def event(tx: Tx, ctx: Context, kind: str, event: dict[str, Json], *, visitor: Visitor, now: datetime) -> None:
    """One Slack event. What belongs to no incident is not kept."""
    match kind:
        case "app_home_opened":
            home(tx, visitor, now=now)
        case "reaction_added" if str(event.get("reaction")) in KEPT_REACTIONS:
            item = event.get("item")
            if isinstance(item, dict):
                where, ts = str(item.get("channel") or ""), str(item.get("ts") or "")
                did = f"marked a message with {event.get('reaction')}"
                _note(tx, ctx, EntryKind.MESSAGE_KEPT, did, channel=where, ts=ts, visitor=visitor, now=now)
        case "pin_added":
            where = str(event.get("channel_id") or "")
            _note(tx, ctx, EntryKind.MESSAGE_KEPT, "pinned a message", channel=where, ts=_pinned(event), visitor=visitor, now=now)
        case "member_joined_channel":
            where = str(event.get("channel") or "")
            _note(tx, ctx, EntryKind.PERSON_JOINED, "joined the channel", channel=where, ts="", visitor=visitor, now=now)


def _pinned(event: dict[str, Json]) -> str:
    item = event.get("item")
    message = item.get("message") if isinstance(item, dict) else None
    return str(message.get("thread_ts") or message.get("ts") or "") if isinstance(message, dict) else ""


def home(tx: Tx, visitor: Visitor, *, now: datetime) -> None:
    """Their App Home is to be drawn."""
    if visitor.slack_id:
        key = f"home:{visitor.slack_id}:{int(now.timestamp() * 1000)}"
        tasks.enqueue(tx, NewTask(key=key, kind="home", args={"slack_id": visitor.slack_id}))


def _note(tx: Tx, ctx: Context, kind: EntryKind, did: str, *, channel: str, ts: str, visitor: Visitor, now: datetime) -> None:
    incident = _incident_of(tx, channel, ts, now=now)
    if incident is not None:
        actor = _author(ctx, visitor.slack_id or "")
        ledger.record(tx, incident.id, [entry(kind, f"{actor.id} {did}.", now=now, actor=actor, channel=channel, ts=ts)], now)


def _incident_of(tx: Tx, channel: str, ts: str, *, now: datetime) -> Incident | None:
    """The incident whose card or thread this is, or whose own channel; a channel belongs to its incident for a day after its end."""
    message = messages.at(tx, channel, ts) if ts else None
    if message and message.key.startswith("card:"):
        return incidents.find(tx, int(message.key.removeprefix("card:")))
    latest = incidents.by_channel(tx, channel)
    return latest if latest and (latest.resolved_at is None or now - latest.resolved_at < AFTERWARDS) else None


def _author(ctx: Context, slack_id: str) -> Actor:
    person = ctx.directory.by_slack_id(slack_id)
    if person:
        return person_actor(person.id, slack_id=slack_id)
    return Actor(kind=ActorKind.SOURCE, id=slack_id or "somebody", slack_id=slack_id or None, via="slack")


def _moment(ts: str, now: datetime) -> datetime:
    """Slack's timestamp as a time; now where it is none."""
    try:
        return datetime.fromtimestamp(float(ts), UTC)
    except ValueError:
        return now
