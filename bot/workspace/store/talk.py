"""What was said: messages, threads, ephemeral lines, reactions, pins, bookmarks."""

from __future__ import annotations

from typing import Any

from bot.workspace.protocol import Json
from bot.workspace.store.database import Database, pack, unpack


class Talk:
    """Messages and what hangs on them. A ``ts`` is Slack's: seconds and microseconds, unique in the workspace."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def put(self, channel: str, message: Json) -> None:
        """Add a message or replace the one of the same ts."""
        self._db.run(
            "INSERT OR REPLACE INTO messages (channel, ts, thread, user, data) VALUES (?, ?, ?, ?, ?)",
            channel,
            message["ts"],
            message.get("thread_ts"),
            message.get("user", ""),
            pack(message),
        )

    def get(self, channel: str, ts: str) -> Json | None:
        """The message of that ts as stored, or None."""
        found = self._db.value("SELECT data FROM messages WHERE channel = ? AND ts = ?", channel, ts)
        return unpack(found) if found else None

    def delete(self, channel: str, ts: str) -> None:
        """Remove a message with its reactions and pin."""
        for table in ("messages", "reactions", "pins"):
            self._db.run(f"DELETE FROM {table} WHERE channel = ? AND ts = ?", channel, ts)  # noqa: S608 - constant names

    def latest_ts(self) -> str:
        """The newest ts that was ever given to a message or an ephemeral line."""
        found = self._db.value("SELECT max(t) FROM (SELECT max(ts) t FROM messages UNION SELECT max(ts) FROM ephemerals)")
        return found or "0.000000"

    def history(self, channel: str, *, before: str, after: str, limit: int) -> tuple[list[Json], bool]:
        """Top-level messages with ``after`` < ts < ``before``, newest first, and whether there are more."""
        sql = (
            "SELECT data FROM messages WHERE channel = ? AND ts < ? AND ts > ?"
            " AND (thread IS NULL OR thread = ts OR json_extract(data, '$.subtype') = 'thread_broadcast')"
            " ORDER BY ts DESC LIMIT ?"
        )
        found = [unpack(data) for (data,) in self._db.rows(sql, channel, before, after, limit + 1)]
        return found[:limit], len(found) > limit

    def replies(self, channel: str, thread: str, *, after: str, limit: int) -> tuple[list[Json], bool]:
        """Replies of a thread with ts > ``after``, oldest first, without the parent, and whether there are more."""
        sql = "SELECT data FROM messages WHERE channel = ? AND thread = ? AND ts != thread AND ts > ? ORDER BY ts LIMIT ?"
        found = [unpack(data) for (data,) in self._db.rows(sql, channel, thread, after, limit + 1)]
        return found[:limit], len(found) > limit

    def thread_summary(self, channel: str, thread: str) -> Json:
        """reply_count, reply_users, reply_users_count and latest_reply of a thread (empty when nobody replied)."""
        sql = "SELECT ts, user FROM messages WHERE channel = ? AND thread = ? AND ts != thread ORDER BY ts"
        rows = self._db.rows(sql, channel, thread)
        if not rows:
            return {}
        users = list(dict.fromkeys(user for _, user in rows))
        return {
            "reply_count": len(rows),
            "reply_users": users,
            "reply_users_count": len(users),
            "latest_reply": rows[-1][0],
        }

    def put_ephemeral(self, channel: str, user: str, message: Json) -> None:
        """Show a line to one person, or replace it."""
        self._db.run(
            "INSERT OR REPLACE INTO ephemerals VALUES (?, ?, ?, ?, ?)",
            message["ts"],
            channel,
            user,
            message.get("thread_ts"),
            pack(message),
        )

    def ephemeral(self, user: str, ts: str) -> Json | None:
        """One person's ephemeral line, or None."""
        found = self._db.value("SELECT data FROM ephemerals WHERE ts = ? AND user = ?", ts, user)
        return unpack(found) if found else None

    def ephemeral_channel(self, user: str, ts: str) -> str:
        """The channel an ephemeral line stands in, or an empty string."""
        return self._db.value("SELECT channel FROM ephemerals WHERE ts = ? AND user = ?", ts, user) or ""

    def ephemerals(self, channel: str, user: str) -> list[Json]:
        """All ephemeral lines somebody still has in a channel."""
        rows = self._db.rows("SELECT data FROM ephemerals WHERE channel = ? AND user = ? ORDER BY ts", channel, user)
        return [unpack(data) for (data,) in rows]

    def drop_ephemeral(self, user: str, ts: str) -> bool:
        """Take an ephemeral line away; False when it was not there."""
        return self._db.run("DELETE FROM ephemerals WHERE ts = ? AND user = ?", ts, user) == 1

    def react(self, channel: str, ts: str, name: str, user: str) -> bool:
        """Add a reaction; False when it was there."""
        sql = "INSERT OR IGNORE INTO reactions (channel, ts, name, user) VALUES (?, ?, ?, ?)"
        return self._db.run(sql, channel, ts, name, user) == 1

    def unreact(self, channel: str, ts: str, name: str, user: str) -> bool:
        """Remove a reaction; False when it was not there."""
        sql = "DELETE FROM reactions WHERE channel = ? AND ts = ? AND name = ? AND user = ?"
        return self._db.run(sql, channel, ts, name, user) == 1

    def reactions(self, channel: str, ts: str) -> list[Json]:
        """Reactions of a message as Slack groups them."""
        grouped: dict[str, list[str]] = {}
        for name, user in self._db.rows("SELECT name, user FROM reactions WHERE channel = ? AND ts = ? ORDER BY seq", channel, ts):
            grouped.setdefault(name, []).append(user)
        return [{"name": name, "users": users, "count": len(users)} for name, users in grouped.items()]

    def pin(self, channel: str, ts: str, user: str, created: int) -> bool:
        """Pin a message; False when it was pinned."""
        return self._db.run("INSERT OR IGNORE INTO pins VALUES (?, ?, ?, ?)", channel, ts, user, created) == 1

    def unpin(self, channel: str, ts: str) -> bool:
        """Take a pin away; False when there was none."""
        return self._db.run("DELETE FROM pins WHERE channel = ? AND ts = ?", channel, ts) == 1

    def pins(self, channel: str) -> list[tuple[str, str, int]]:
        """(ts, who pinned, when in epoch seconds), newest pin first."""
        rows = self._db.rows("SELECT ts, user, created FROM pins WHERE channel = ? ORDER BY created DESC, ts DESC", channel)
        return [(row[0], row[1], row[2]) for row in rows]

    def pinned(self, channel: str, ts: str) -> tuple[str, int] | None:
        """Who pinned a message and when, or None."""
        found = self._db.row("SELECT user, created FROM pins WHERE channel = ? AND ts = ?", channel, ts)
        return (found[0], found[1]) if found else None

    def put_bookmark(self, bookmark: Json) -> None:
        """Add or replace a bookmark."""
        self._db.run("INSERT OR REPLACE INTO bookmarks VALUES (?, ?, ?)", bookmark["id"], bookmark["channel_id"], pack(bookmark))

    def drop_bookmark(self, channel: str, bookmark_id: str) -> bool:
        """Remove a bookmark; False when it was not there."""
        return self._db.run("DELETE FROM bookmarks WHERE id = ? AND channel = ?", bookmark_id, channel) == 1

    def bookmarks(self, channel: str) -> list[Json]:
        """Bookmarks of a channel in the order they were made."""
        rows: Any = self._db.rows("SELECT data FROM bookmarks WHERE channel = ? ORDER BY rowid", channel)
        return [unpack(data) for (data,) in rows]
