from datetime import UTC, datetime

import pytest

from runbooks.naming import named
from runbooks.people import Actor, ActorKind
from runbooks.timeline import GENESIS, Entry, EntryKind, NewEntry, sealed

NOW = datetime(2026, 11, 21, tzinfo=UTC)
NAMES = {"ana": "Ana Silva", "ben": "Ben Okafor", "will": "Will Ray"}


def entry(summary: str, *, by: str = "ana") -> Entry:
    """One entry."""
    actor = Actor(kind=ActorKind.PERSON, id=by)
    new = NewEntry(kind=EntryKind.NOTE_ADDED, occurred_at=NOW, actor=actor, summary=summary)
    return sealed(new, incident_id=1, seq=1, recorded_at=NOW, previous=GENESIS)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("ana approves Scale out.", "Ana Silva approves Scale out."),
        ("Resolved by ana: it will do.", "Resolved by Ana Silva: it will do."),
        ("ana hands the role of commander to ben.", "Ana Silva hands the role of commander to Ben Okafor."),
        ("Scale out on pool is in force; ana answers for it.", "Scale out on pool is in force; Ana Silva answers for it."),
        ("The pool named ana was scaled, banana too; it will will.", "The pool named ana was scaled, banana too; it will will."),
    ],
)
def test_people_are_called_by_their_names(said: str, read: str) -> None:
    """An id in a person's place becomes the name; the same letters anywhere else stay as they are."""
    (found,) = named([entry(said)], NAMES)
    assert found.summary == read
    assert found.actor.id == "Ana Silva"


def test_an_unknown_id_stays_an_id() -> None:
    """Somebody who is no longer in muster.yaml is still on record by id."""
    (found,) = named([entry("carl approves it.", by="carl")], NAMES)
    assert (found.summary, found.actor.id) == ("carl approves it.", "carl")


def test_whom_to_ask_is_a_name_too() -> None:
    """The post-mortem's owner stands in a payload by id, and is read by name; other fields stay as they are."""
    asked = entry("Opened.").model_copy(update={"payload": {"owner": "ben", "step": "ana"}})
    (found,) = named([asked], NAMES)
    assert found.payload == {"owner": "Ben Okafor", "step": "ana"}
