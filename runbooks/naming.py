"""People's names for their ids in what the record says, for people to read. The record keeps ids: a name may change, and be erased."""

import re
from collections.abc import Mapping, Sequence

from runbooks.timeline import Entry

_PEOPLE = frozenset({"owner", "person", "carrier"})
"""Fields of a payload that hold a person's id."""


def named(entries: Sequence[Entry], names: Mapping[str, str]) -> list[Entry]:
    """The entries as people say them; `names` are by id.

    Only a person's own place in the sentence is touched: its beginning, or behind "by", "to", "says", "owner" and the like, so that a
    word that happens to be somebody's id stays a word.
    """
    known = {person: name for person, name in names.items() if person != name}
    if not known:
        return list(entries)
    ids = "|".join(re.escape(person) for person in sorted(known, key=len, reverse=True))
    place = re.compile(rf"(?:^|(?<=\bby )|(?<=\bto )|(?<=\bsays )|(?<=\bowner )|(?<=; )|(?<=Reminded )|(?<=Asked ))({ids})(?=[ .,;:]|$)")
    return [_named(entry, place, known) for entry in entries]


def _named(entry: Entry, place: re.Pattern[str], names: Mapping[str, str]) -> Entry:
    said = place.sub(lambda found: names[found[1]], entry.summary)
    actor = entry.actor.model_copy(update={"id": names.get(entry.actor.id, entry.actor.id)}) if entry.actor.is_human else entry.actor
    payload = {key: names.get(str(value), value) if key in _PEOPLE else value for key, value in entry.payload.items()}
    return entry.model_copy(update={"summary": said, "actor": actor, "payload": payload})
