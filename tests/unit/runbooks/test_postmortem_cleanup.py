"""What a bad release left behind stands in the post-mortem: since when it had its effect, what was cleaned, what is open and with whom."""

from datetime import UTC, datetime, timedelta
from typing import Any

from runbooks.people import MUSTER, Actor, ActorKind
from runbooks.postmortem import Section, draft
from runbooks.timeline import GENESIS, Entry, EntryKind, NewEntry, sealed

START = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
ANA = Actor(kind=ActorKind.PERSON, id="ana", via="slack")
OPENED = (
    EntryKind.CLEANUP_OPENED,
    MUSTER,
    "To be cleaned up: cache, prompts. It had its effect from 01:10 to 02:00 UTC, for 50 min.",
    {"run": 1, "items": ["cache", "prompts"], "exposed_from": "2026-11-20T01:10:00+00:00"},
)


def section(*story: tuple[EntryKind, Actor, str, dict[str, Any]]) -> Section:
    """The section about the clean-up of a draft over these entries."""
    entries: list[Entry] = []
    for seq, (kind, actor, summary, payload) in enumerate(story, start=1):
        at = START + timedelta(minutes=seq)
        new = NewEntry(kind=kind, occurred_at=at, actor=actor, summary=summary, payload=payload)
        entries.append(sealed(new, incident_id=7, seq=seq, recorded_at=at, previous=entries[-1].hash if entries else GENESIS))
    made = draft(incident_id=7, title="Slow", entries=entries)
    return next(one for one in made.sections if one.title == "Clean-up")


def test_what_is_open_is_a_question_to_its_carrier() -> None:
    """Each thing that nobody ticked is asked of whoever carries it; what was ticked is a sentence with its entry."""
    found = section(
        OPENED,
        (EntryKind.CLEANUP_DONE, ANA, "ana cleaned up: cache.", {"run": 1, "item": "cache"}),
        (EntryKind.CLEANUP_HANDED, ANA, "ana hands what is still to be cleaned up to ben: prompts.", {"run": 1, "carrier": "ben"}),
    )
    assert [sentence.cites for sentence in found.sentences] == [(1,), (2,), (3,)]
    assert "from 01:10 to 02:00 UTC" in found.sentences[0].text
    assert "Is this cleaned up: prompts? Ask ben." in found.gaps
    assert not any("cleaned up: cache" in gap for gap in found.gaps)
    assert any("What did it expose, and to whom" in gap for gap in found.gaps)


def test_a_rollback_that_was_taken_back_leaves_nothing_to_clean() -> None:
    """Where the run itself was undone, nothing of its list is asked for any more."""
    found = section(OPENED, (EntryKind.RUN_UNDONE, ANA, "taken back", {"run": 1}))
    assert not any("Is this cleaned up" in gap for gap in found.gaps)


def test_without_a_rollback_the_section_is_empty() -> None:
    """Nothing to clean up is nothing said."""
    found = section((EntryKind.INCIDENT_OPENED, MUSTER, "opened", {}))
    assert (found.sentences, found.gaps) == ((), ())
