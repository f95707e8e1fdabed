"""What is open in front of somebody (views, Home tabs), and the short-lived rights that interactions carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bot.workspace.protocol import Json
from bot.workspace.store.database import Database, pack, unpack


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """The right to open one view: whose, when it was made (epoch seconds) and whether it was used."""

    id: str
    user: str
    made: float
    used: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseUrl:
    """The right to answer an interaction: when it was made (epoch seconds), how often used, and what it is about."""

    id: str
    made: float
    uses: int
    data: Json


class Surfaces:
    """Open modals (a stack per person), Home tabs, triggers, response URLs, files."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def stack(self, user: str) -> list[Json]:
        """The modals in front of somebody, lowest first."""
        return [unpack(data) for (data,) in self._db.rows("SELECT data FROM views WHERE user = ? ORDER BY depth", user)]

    def put_view(self, user: str, depth: int, view: Json) -> None:
        """Show a modal at a depth of somebody's stack, or replace it there."""
        external = view.get("external_id") or None
        self._db.run("INSERT OR REPLACE INTO views VALUES (?, ?, ?, ?, ?)", view["id"], user, depth, external, pack(view))

    def view(self, view_id: str) -> tuple[str, int, Json] | None:
        """(whose, depth, view) of an open modal, or None."""
        return self._found(self._db.row("SELECT user, depth, data FROM views WHERE id = ?", view_id))

    def view_by_external(self, external_id: str) -> tuple[str, int, Json] | None:
        """(whose, depth, view) of the open modal with that external_id, or None."""
        return self._found(self._db.row("SELECT user, depth, data FROM views WHERE external = ?", external_id))

    def _found(self, row: tuple[Any, ...] | None) -> tuple[str, int, Json] | None:
        return (row[0], row[1], unpack(row[2])) if row else None

    def drop_views(self, user: str, *, from_depth: int) -> None:
        """Close somebody's modals from that depth up."""
        self._db.run("DELETE FROM views WHERE user = ? AND depth >= ?", user, from_depth)

    def put_home(self, user: str, view: Json) -> None:
        """Set somebody's Home tab."""
        external = view.get("external_id") or None
        self._db.run("INSERT OR REPLACE INTO homes VALUES (?, ?, ?)", user, external, pack(view))

    def home(self, user: str) -> Json | None:
        """Somebody's Home tab, or None when nothing was published."""
        found = self._db.value("SELECT data FROM homes WHERE user = ?", user)
        return unpack(found) if found else None

    def home_by_id(self, view_id: str) -> tuple[str, Json] | None:
        """(whose, view) of the Home tab with that view id, or None."""
        found = self._db.row("SELECT user, data FROM homes WHERE json_extract(data, '$.id') = ?", view_id)
        return (found[0], unpack(found[1])) if found else None

    def external_id_taken(self, external_id: str, *, besides: str) -> bool:
        """Whether another open view or Home tab has that external_id."""
        sql = (
            "SELECT 1 FROM (SELECT external e, id i FROM views UNION ALL SELECT external, json_extract(data, '$.id') FROM homes)"
            " WHERE e = ? AND i != ?"
        )
        return self._db.value(sql, external_id, besides) is not None

    def put_trigger(self, trigger: Trigger) -> None:
        """Remember a trigger, and forget those of an hour ago."""
        self._db.run("DELETE FROM triggers WHERE made < ?", trigger.made - 3600)
        self._db.run("INSERT INTO triggers VALUES (?, ?, ?, ?)", trigger.id, trigger.user, trigger.made, trigger.used)

    def trigger(self, trigger_id: str) -> Trigger | None:
        """The trigger of that id, or None."""
        found = self._db.row("SELECT id, user, made, used FROM triggers WHERE id = ?", trigger_id)
        return Trigger(id=found[0], user=found[1], made=found[2], used=bool(found[3])) if found else None

    def use_trigger(self, trigger_id: str) -> None:
        """Mark a trigger as used."""
        self._db.run("UPDATE triggers SET used = 1 WHERE id = ?", trigger_id)

    def put_response_url(self, url: ResponseUrl) -> None:
        """Remember a response URL, and forget those of two hours ago."""
        self._db.run("DELETE FROM response_urls WHERE made < ?", url.made - 7200)
        self._db.run("INSERT INTO response_urls VALUES (?, ?, ?, ?)", url.id, url.made, url.uses, pack(url.data))

    def response_url(self, url_id: str) -> ResponseUrl | None:
        """The response URL of that id, or None."""
        found = self._db.row("SELECT id, made, uses, data FROM response_urls WHERE id = ?", url_id)
        return ResponseUrl(id=found[0], made=found[1], uses=found[2], data=unpack(found[3])) if found else None

    def count_response(self, url_id: str) -> None:
        """Note one more use of a response URL."""
        self._db.run("UPDATE response_urls SET uses = uses + 1 WHERE id = ?", url_id)

    def put_file(self, file: Json, *, secret: str) -> None:
        """Add or replace a file's description; ``secret`` is the upload ticket."""
        self._db.run("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", file["id"], secret, pack(file))

    def file(self, file_id: str) -> Json | None:
        """A file's description, or None."""
        found = self._db.value("SELECT data FROM files WHERE id = ?", file_id)
        return unpack(found) if found else None

    def file_by_secret(self, secret: str) -> Json | None:
        """The file an upload ticket belongs to, or None."""
        found = self._db.value("SELECT data FROM files WHERE secret = ?", secret)
        return unpack(found) if found else None

    def file_secret(self, file_id: str) -> str:
        """The upload ticket of a file."""
        return str(self._db.value("SELECT secret FROM files WHERE id = ?", file_id))
