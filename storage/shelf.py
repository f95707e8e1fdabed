"""The shape that most nouns share: an id, columns for what is asked, the whole as JSON, and `next_at` for the sweeps."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Row, Select, Table, select, update

from runbooks.errors import NotFound
from storage.convert import body_of, value_of
from storage.errors import Stale
from storage.text import storable
from storage.transaction import Tx


class Keep(Enum):
    """The one value of `KEEP`."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP
"""For `next_at`: leave it as it is. None means never."""

NextAt = datetime | None | Keep

LARGEST_ID: Final = 2**63 - 1
"""What a column of ids can hold; SQLite's driver fails at a larger number instead of finding nothing."""


N = TypeVar("N", bound=BaseModel)


def id_of(value: BaseModel) -> int:
    """The value's id; every noun on a shelf has one."""
    numbered: Any = value
    return int(numbered.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf(Generic[N]):
    """Where one kind of noun is kept. `columns` gives what queries need; `noun` is its name in sentences."""

    table: Table
    model: type[N]
    noun: str
    columns: Callable[[N], dict[str, Any]]

    def add(self, tx: Tx, value: N, *, next_at: datetime | None = None, number: int | None = None) -> N:
        """Keep a new one. Its id is `number`, or the database gives one; the value's own is ignored."""
        row = {**self._row(value), "next_at": next_at} | ({} if number is None else {"id": number})
        number = tx.execute(self.table.insert().values(**row).returning(self.table.c.id)).scalar_one()
        return value.model_copy(update={"id": number})

    def get(self, tx: Tx, number: int) -> N:
        """The one with this id.

        Raises:
            NotFound: there is none.
        """
        row = tx.execute(select(self.table).where(self.table.c.id == number)).one_or_none() if number <= LARGEST_ID else None
        if row is None:
            raise NotFound(f"There is no {self.noun} {number}.")
        return self.of(row)

    def save(self, tx: Tx, value: N, *conditions: ColumnElement[bool], next_at: NextAt = KEEP) -> None:
        """Write it over its row, if the conditions hold there.

        Raises:
            NotFound: there is no such row.
            Stale: the conditions do not hold; nothing was written.
        """
        row = self._row(value) | ({} if next_at is KEEP else {"next_at": next_at})
        if tx.execute(update(self.table).where(self.table.c.id == id_of(value), *conditions).values(**row)).rowcount == 1:
            return
        self.get(tx, id_of(value))
        raise Stale(f"The {self.noun} {id_of(value)} has changed meanwhile; nothing was written. Look at it again.")

    def wake(self, tx: Tx, number: int, next_at: datetime | None) -> None:
        """Only set when a sweep looks at it next."""
        tx.execute(update(self.table).where(self.table.c.id == number).values(next_at=next_at))

    def due(self, tx: Tx, now: datetime, limit: int = 100) -> list[N]:
        """Those whose `next_at` has come, longest overdue first."""
        column = self.table.c.next_at
        return self.listed(tx, select(self.table).where(column <= now).order_by(column, self.table.c.id).limit(limit))

    def where(self, tx: Tx, *conditions: ColumnElement[bool]) -> list[N]:
        """Those for which all conditions hold, by id."""
        return self.listed(tx, select(self.table).where(*conditions).order_by(self.table.c.id))

    def first(self, tx: Tx, *conditions: ColumnElement[bool]) -> N | None:
        """The one with the smallest id for which all conditions hold."""
        row = tx.execute(select(self.table).where(*conditions).order_by(self.table.c.id).limit(1)).one_or_none()
        return None if row is None else self.of(row)

    def listed(self, tx: Tx, query: Select[Any]) -> list[N]:
        """Whatever a query over whole rows finds, in its order."""
        return [self.of(row) for row in tx.execute(query)]

    def of(self, row: Row[Any]) -> N:
        """A row's value."""
        return value_of(self.model, row, id=row.id)

    def _row(self, value: N) -> dict[str, Any]:
        columns = {name: storable(item) if isinstance(item, str) else item for name, item in self.columns(value).items()}
        return {**columns, "body": body_of(value)}
