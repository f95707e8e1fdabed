"""The record: entries of every incident in a hash chain of its own, and all heads in one global chain (mission F2, rule S26).

Call `record` in the transaction of the change that it records: then both are there, or neither.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Row, func, select, union_all

from runbooks.timeline import GENESIS, GLOBAL, OWN, Broken, Entry, NewEntry, broken_links, canonical, missing, sealed
from storage.convert import entry_columns, entry_of
from storage.errors import Unreadable
from storage.tables import chain
from storage.tables import entries as table
from storage.text import storable
from storage.transaction import Tx, hold_order

__all__ = ["GLOBAL", "OWN", "Broken", "Head", "Report", "head", "heads", "record", "verify"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One link of the global chain: after it, incident `incident_id` ended with entry `seq`, whose hash is `head`.

    `entries` counts the entries of all incidents up to here.
    """

    position: int
    incident_id: int
    seq: int
    head: str
    entries: int
    recorded_at: datetime
    previous: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `verify` found. `head` is to be kept elsewhere: with it, a tail cut off both chains shows as well."""

    ok: bool
    incidents: int
    entries: int
    head: str
    broken: tuple[Broken, ...]


def record(tx: Tx, incident_id: int, entries: Sequence[NewEntry], now: datetime) -> list[Entry]:
    """Append entries to an incident's timeline, in this order, and their head to the global chain."""
    if not entries:
        return []
    hold_order(tx)
    seq, previous = _end(tx, incident_id)
    written: list[Entry] = []
    for entry in entries:
        seq += 1
        link = sealed(_storable(entry), incident_id=incident_id, seq=seq, recorded_at=now, previous=previous)
        written.append(link)
        previous = link.hash
    tx.execute(table.insert(), [entry_columns(entry) for entry in written])
    _link(tx, written[-1], len(written), now)
    return written


def _end(tx: Tx, incident_id: int) -> tuple[int, str]:
    """Number and hash of the incident's last entry, also where somebody has cut it away: no number is ever given a second time.

    So what is missing stays the same hole however long the chain grows, and a person looks at it once.
    """
    kept = select(table.c.seq, table.c.hash).where(table.c.incident_id == incident_id).order_by(table.c.seq.desc()).limit(1)
    linked = select(chain.c.seq, chain.c.head).where(chain.c.incident_id == incident_id).order_by(chain.c.seq.desc()).limit(1)
    found = tx.execute(union_all(select(kept.subquery()), select(linked.subquery()))).all()
    return max(((seq, hashed) for seq, hashed in found), key=lambda end: end[0], default=(0, GENESIS))


def _storable(entry: NewEntry) -> NewEntry:
    """The entry as it will be read back, so that its digest is of what is kept."""
    payload = json.loads(json.dumps(entry.payload, default=str))
    actor = entry.actor.model_copy(update={"id": storable(entry.actor.id), "slack_id": _cleaned(entry.actor.slack_id)})
    return entry.model_copy(update={"summary": storable(entry.summary), "payload": _cleaned(payload), "actor": actor})


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): _cleaned(item) for key, item in value.items()}
    return value


def _link(tx: Tx, last: Entry, count: int, now: datetime) -> None:
    end = tx.execute(select(chain).order_by(chain.c.position.desc()).limit(1)).first()
    position, entries, previous = (end.position, end.entries, end.hash) if end else (0, 0, GENESIS)
    values = {
        "position": position + 1,
        "incident_id": last.incident_id,
        "seq": last.seq,
        "head": last.hash,
        "entries": entries + count,
        "recorded_at": now,
        "previous": previous,
    }
    tx.execute(chain.insert().values(**values, hash=_hash(values)))


def _hash(link: dict[str, Any]) -> str:
    return hashlib.sha256(canonical({**link, "recorded_at": link["recorded_at"].isoformat()})).hexdigest()


def heads(tx: Tx) -> list[Head]:
    """The latest link of every incident, by incident."""
    latest = select(func.max(chain.c.position)).group_by(chain.c.incident_id)
    query = select(chain).where(chain.c.position.in_(latest)).order_by(chain.c.incident_id)
    return [_head(row) for row in tx.execute(query)]


def head(tx: Tx) -> str:
    """The hash at the end of the global chain; zeros when nothing was ever recorded."""
    return tx.execute(select(chain.c.hash).order_by(chain.c.position.desc()).limit(1)).scalar_one_or_none() or GENESIS


def verify(tx: Tx, *, kept: str | None = None) -> Report:
    """Check every chain. `kept` is a head that an earlier report printed: it must still be part of the global chain.

    Finds what was changed, removed (a cut tail too) or put in another order, and names it.
    """
    broken: list[Broken] = []
    links = [_head(row) for row in tx.execute(select(chain).order_by(chain.c.position))]
    broken += _broken_chain(links, kept)
    expected: dict[int, list[Head]] = {}
    for link in links:
        expected.setdefault(link.incident_id, []).append(link)
    count, seen = 0, set()
    rows = tx.execution_options(yield_per=1000).execute(select(table).order_by(table.c.incident_id, table.c.seq))
    for incident_id, group in groupby(rows, key=lambda row: row.incident_id):
        found = list(group)
        count += len(found)
        seen.add(incident_id)
        broken += _broken_incident(found, expected.get(incident_id, []))
    gone = sorted(set(expected) - seen)  # a chain of which nothing is left
    broken += [Broken(incident_id=incident, seq=1, reason=missing(1, expected[incident][-1].seq)) for incident in gone]
    end = links[-1].hash if links else GENESIS
    return Report(ok=not broken, incidents=len(seen - {OWN}), entries=count, head=end, broken=tuple(broken))


def _broken_chain(links: Sequence[Head], kept: str | None) -> Iterator[Broken]:
    previous, position, total = GENESIS, 0, 0
    for link in links:
        position += 1
        if link.position != position:
            yield Broken(incident_id=GLOBAL, seq=position, reason=f"link {position} of the global chain is missing")
            position = link.position
        elif link.previous != previous:
            yield Broken(incident_id=GLOBAL, seq=position, reason="does not follow the link before it in the global chain")
        if link.hash != _hash(_unhashed(link)) or link.entries <= total:
            yield Broken(incident_id=GLOBAL, seq=position, reason="a link of the global chain was changed")
        previous, total = link.hash, link.entries
    if kept is not None and kept != GENESIS and all(link.hash != kept for link in links):
        reason = f"the head that was kept ({kept[:12]}…) is not in the global chain: its tail was cut or rewritten"
        yield Broken(incident_id=GLOBAL, seq=0, reason=reason)  # no link of it is left, and the length goes on growing


def _unhashed(link: Head) -> dict[str, Any]:
    names = ("position", "incident_id", "seq", "head", "entries", "recorded_at", "previous")
    return {name: getattr(link, name) for name in names}


def _broken_incident(rows: Sequence[Row[Any]], links: Sequence[Head]) -> Iterable[Broken]:
    incident_id = rows[0].incident_id
    entries: list[Entry] = []
    unreadable: list[Broken] = []
    for row in rows:
        try:
            entries.append(entry_of(row))
        except Unreadable:
            unreadable.append(Broken(incident_id=incident_id, seq=row.seq, reason="is not a timeline entry any more"))
    if unreadable:
        return unreadable  # with a hole in it the rest of this chain proves nothing
    broken = list(broken_links(entries))
    broken += [
        Broken(incident_id=incident_id, seq=row.seq, reason="was filled again after it had been erased")
        for row in rows
        if row.erased and not (row.summary is None and row.payload is None)
    ]
    hashes = {entry.seq: entry.hash for entry in entries}
    named = {problem.seq for problem in broken}
    for link in links:
        if link.seq in hashes and link.seq not in named and hashes[link.seq] != link.head:
            broken.append(Broken(incident_id=incident_id, seq=link.seq, reason="is not what the global chain says"))
    last, end = links[-1].seq if links else 0, entries[-1].seq
    if end < last:
        broken.append(Broken(incident_id=incident_id, seq=end + 1, reason=missing(end + 1, last)))
    broken += [Broken(incident_id=incident_id, seq=e.seq, reason="is unknown to the global chain") for e in entries if e.seq > last]
    return broken


def _head(row: Row[Any]) -> Head:
    return Head(
        position=row.position,
        incident_id=row.incident_id,
        seq=row.seq,
        head=row.head,
        entries=row.entries,
        recorded_at=row.recorded_at,
        previous=row.previous,
        hash=row.hash,
    )
