"""What stands on an incident's timeline. Writing it is the ledger's."""

from sqlalchemy import select, update

from runbooks.errors import NotFound
from runbooks.timeline import Entry, EntryKind, place_of
from storage.convert import entry_of
from storage.tables import entries
from storage.transaction import Tx


def of(tx: Tx, incident_id: int) -> list[Entry]:
    """All entries in the order in which they were recorded."""
    return [entry_of(row) for row in tx.execute(select(entries).where(entries.c.incident_id == incident_id).order_by(entries.c.seq))]


def of_kind(tx: Tx, incident_id: int, *kinds: EntryKind) -> list[Entry]:
    """The entries of these kinds."""
    query = select(entries).where(entries.c.incident_id == incident_id, entries.c.kind.in_([kind.value for kind in kinds]))
    return [entry_of(row) for row in tx.execute(query.order_by(entries.c.seq))]


def get(tx: Tx, incident_id: int, seq: int) -> Entry:
    """One entry.

    Raises:
        NotFound: there is none.
    """
    row = tx.execute(select(entries).where(entries.c.incident_id == incident_id, entries.c.seq == seq)).one_or_none()
    if row is None:
        raise NotFound(f"There is no entry {place_of(incident_id, seq)}.")
    return entry_of(row)


def erase(tx: Tx, incident_id: int, seq: int) -> Entry:
    """Remove an entry's text and payload for ever, because the law asks; the chain still verifies. Twice is once.

    Raises:
        NotFound: there is no such entry.
    """
    place = (entries.c.incident_id == incident_id, entries.c.seq == seq)
    tx.execute(update(entries).where(*place, entries.c.erased == 0).values(summary=None, payload=None, erased=1))
    return get(tx, incident_id, seq)
