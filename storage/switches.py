"""Named settings that people change while Muster runs: the pause, an operation taken out of service."""

import json

from sqlalchemy import select

from runbooks.value import Json
from storage.tables import switches as table
from storage.text import json_text
from storage.transaction import Tx, upsert


def get(tx: Tx, name: str) -> Json:
    """The switch's value, or None where nobody ever set it."""
    value = tx.execute(select(table.c.value).where(table.c.name == name)).scalar_one_or_none()
    return None if value is None else json.loads(value)


def put(tx: Tx, name: str, value: Json) -> None:
    """Set it."""
    upsert(tx, table, [{"name": name, "value": json_text(value)}], key=["name"])


def every(tx: Tx) -> dict[str, Json]:
    """All switches by name."""
    return {row.name: json.loads(row.value) for row in tx.execute(select(table).order_by(table.c.name))}
