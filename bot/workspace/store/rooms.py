"""Who is there and where: people, user groups, channels and their members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.workspace.protocol import Json
from bot.workspace.store.database import Database, pack, unpack

_COLUMNS = "id, name, kind, archived, creator, created, general, topic, purpose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A place to talk. ``kind`` is public, private or im; ``created`` is seconds since the Unix epoch."""

    id: str
    name: str
    kind: str
    archived: bool
    creator: str
    created: int
    general: bool
    topic: Json
    purpose: Json

    @property
    def event_type(self) -> str:
        """What message events call this kind of place."""
        return {"public": "channel", "private": "group", "im": "im"}[self.kind]


class Rooms:
    """People, user groups, channels and memberships."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def put_user(self, user: Json) -> None:
        """Add a person or replace what is known of them."""
        self._db.run("INSERT OR REPLACE INTO users VALUES (?, ?)", user["id"], pack(user))

    def user(self, user_id: str) -> Json | None:
        """The person of that id, or None."""
        found = self._db.value("SELECT data FROM users WHERE id = ?", user_id)
        return unpack(found) if found else None

    def users(self) -> list[Json]:
        """Everybody, bots included, by id."""
        return [unpack(data) for (data,) in self._db.rows("SELECT data FROM users ORDER BY id")]

    def put_usergroup(self, group: Json) -> None:
        """Add or replace a user group."""
        self._db.run("INSERT OR REPLACE INTO usergroups VALUES (?, ?)", group["id"], pack(group))

    def usergroups(self) -> list[Json]:
        """All user groups."""
        return [unpack(data) for (data,) in self._db.rows("SELECT data FROM usergroups ORDER BY id")]

    def add_channel(self, channel: Channel) -> None:
        """Make a channel; its name must be free (archived ones count)."""
        self._db.run(
            f"INSERT INTO channels ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)",  # noqa: S608 - constant column list
            channel.id,
            channel.name,
            channel.kind,
            channel.archived,
            channel.creator,
            channel.created,
            channel.general,
            pack(channel.topic),
            pack(channel.purpose),
        )

    def channel(self, channel_id: str) -> Channel | None:
        """The channel of that id, or None."""
        found = self._db.row(f"SELECT {_COLUMNS} FROM channels WHERE id = ?", channel_id)  # noqa: S608
        return _channel(found) if found else None

    def channel_named(self, name: str) -> Channel | None:
        """The channel of that name, archived or not, or None."""
        found = self._db.row(f"SELECT {_COLUMNS} FROM channels WHERE name = ?", name)  # noqa: S608
        return _channel(found) if found else None

    def channels(self) -> list[Channel]:
        """Every channel and direct conversation, by name."""
        return [_channel(row) for row in self._db.rows(f"SELECT {_COLUMNS} FROM channels ORDER BY name")]  # noqa: S608

    def rename(self, channel_id: str, name: str) -> None:
        """Give a channel another name."""
        self._db.run("UPDATE channels SET name = ? WHERE id = ?", name, channel_id)

    def set_archived(self, channel_id: str, *, archived: bool) -> None:
        """Close a channel, or open it again."""
        self._db.run("UPDATE channels SET archived = ? WHERE id = ?", archived, channel_id)

    def set_topic(self, channel_id: str, topic: Json) -> None:
        """Set the topic (value, creator, last_set)."""
        self._db.run("UPDATE channels SET topic = ? WHERE id = ?", pack(topic), channel_id)

    def set_purpose(self, channel_id: str, purpose: Json) -> None:
        """Set the purpose (value, creator, last_set)."""
        self._db.run("UPDATE channels SET purpose = ? WHERE id = ?", pack(purpose), channel_id)

    def members(self, channel_id: str) -> list[str]:
        """Member ids in the order of joining."""
        return [user for (user,) in self._db.rows("SELECT user FROM members WHERE channel = ? ORDER BY rowid", channel_id)]

    def is_member(self, channel_id: str, user_id: str) -> bool:
        """Whether that person is in that channel."""
        return self._db.value("SELECT 1 FROM members WHERE channel = ? AND user = ?", channel_id, user_id) is not None

    def join(self, channel_id: str, user_id: str) -> bool:
        """Add a member; False when they were there already."""
        return self._db.run("INSERT OR IGNORE INTO members (channel, user) VALUES (?, ?)", channel_id, user_id) == 1

    def leave(self, channel_id: str, user_id: str) -> bool:
        """Remove a member; False when they were not there."""
        return self._db.run("DELETE FROM members WHERE channel = ? AND user = ?", channel_id, user_id) == 1

    def mark_read(self, channel_id: str, user_id: str, ts: str) -> None:
        """Remember how far somebody has read."""
        self._db.run("UPDATE members SET last_read = ? WHERE channel = ? AND user = ? AND last_read < ?", ts, channel_id, user_id, ts)

    def unread(self, user_id: str) -> dict[str, int]:
        """Unread messages by channel, threads' replies not counted."""
        sql = (
            "SELECT m.channel, count(*) FROM members m JOIN messages t ON t.channel = m.channel AND t.ts > m.last_read"
            " WHERE m.user = ? AND t.user != ? AND (t.thread IS NULL OR t.thread = t.ts) GROUP BY m.channel"
        )
        return dict(_pairs(self._db.rows(sql, user_id, user_id)))


def _pairs(rows: Sequence[tuple[Any, ...]]) -> list[tuple[str, int]]:
    return [(str(row[0]), int(row[1])) for row in rows]


def _channel(row: tuple[Any, ...]) -> Channel:
    return Channel(
        id=row[0],
        name=row[1],
        kind=row[2],
        archived=bool(row[3]),
        creator=row[4],
        created=row[5],
        general=bool(row[6]),
        topic=unpack(row[7]),
        purpose=unpack(row[8]),
    )
