"""Where Muster's messages stand in Slack, so that a card is posted once and updated ever after."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from storage.tables import messages as table
from storage.transaction import Tx, upsert


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message: its key, Slack's channel id and timestamp, and the revision of what it shows."""

    key: str
    channel: str
    ts: str
    revision: int


def put(tx: Tx, key: str, *, channel: str, ts: str, revision: int = 0) -> None:
    """Remember where it stands and what it shows now."""
    upsert(tx, table, [{"key": key, "channel": channel, "ts": ts, "revision": revision}], key=["key"])


def get(tx: Tx, key: str) -> Message | None:
    """The message with this key."""
    return _message(tx.execute(select(table).where(table.c.key == key)).one_or_none())


def at(tx: Tx, channel: str, ts: str) -> Message | None:
    """The message that stands there, for example the one that somebody reacted to."""
    return _message(
        tx.execute(select(table).where(table.c.channel == channel, table.c.ts == ts).order_by(table.c.key).limit(1)).one_or_none()
    )


def forget(tx: Tx, key: str) -> None:
    """It is gone from Slack."""
    tx.execute(table.delete().where(table.c.key == key))


def _message(row: Row[Any] | None) -> Message | None:
    return None if row is None else Message(key=row.key, channel=row.channel, ts=row.ts, revision=row.revision)
