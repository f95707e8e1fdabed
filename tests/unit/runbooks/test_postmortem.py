"""The post-mortem says nothing that its entries do not say."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks.document import literal, markdown, phase_words
from runbooks.duration import in_words
from runbooks.incident import Incident, Match, RunbookRef
from runbooks.people import MUSTER, Actor, ActorKind
from runbooks.postmortem import Postmortem, draft, phases_of
from runbooks.severity import IncidentClass, Severity
from runbooks.timeline import GENESIS, Entry, EntryKind, NewEntry, sealed

K = EntryKind
START = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
ANA = Actor(kind=ActorKind.PERSON, id="ana", via="slack")
BEN = Actor(kind=ActorKind.PERSON, id="ben", via="cli")
SOURCE = Actor(kind=ActorKind.SOURCE, id="alertmanager", via="alert")
CUSTOMERS = "customers-slow"

STORY = (
    (0, K.ALERT_FIRED, SOURCE, "ModelLatencyP99High fires", {}),
    (1, K.INCIDENT_OPENED, MUSTER, "INC-7 opened: answers are slow", {}),
    (1, K.DIAGNOSTIC_MEASURED, MUSTER, "Who waits: 10 customers", {"diagnostic": CUSTOMERS, "error": None}),
    (1, K.DIAGNOSTIC_MEASURED, MUSTER, "p99 latency: 4.9 s", {"diagnostic": "p99", "error": None}),
    (1, K.DIAGNOSTIC_MEASURED, MUSTER, "Provider: no answer", {"diagnostic": "provider", "error": "timed out"}),
    (5, K.CHANGE_SEEN, SOURCE, "Deploy answers-v9, 4 minutes before", {}),
    (20, K.INCIDENT_ACKNOWLEDGED, ANA, "Acknowledged by ana.", {}),
    (30, K.RUN_REQUESTED, ANA, "ana asks for Skip reranking", {"run": 1}),
    (31, K.RUN_DECLINED, BEN, "ben declines: quality would suffer", {"run": 1}),
    (40, K.RUN_REQUESTED, ANA, "ana asks for Scale out: 2 → 4", {"run": 2}),
    (41, K.RUN_EXECUTED, MUSTER, "Scale out: 2 → 4 replicas", {"run": 2}),
    (41, K.MITIGATION_OPENED, MUSTER, "Scale out is in force until 06:00", {"mitigation": 1}),
    (90, K.RUN_EXECUTED, MUSTER, "Cap retries: 3 → 1", {"run": 3}),
    (95, K.RUN_VERDICT, MUSTER, "Cap retries: failed", {"run": 3, "verdict": "failed"}),
    (180, K.RUN_VERDICT, MUSTER, "Scale out: verified, 4.9 s → 0.15 s", {"run": 2, "verdict": "verified"}),
    (180, K.INCIDENT_MITIGATED, MUSTER, "Mitigated", {}),
    (200, K.SEVERITY_SET, ANA, "SEV3 since it is mitigated", {}),
    (300, K.INCIDENT_RESOLVED, ANA, "Resolved by ana: scaled out", {}),
    (300, K.REVIEW_OPENED, MUSTER, "Post-mortem due 2026-11-27, owner ben.", {"owner": "ben"}),
)


def chain(story=STORY) -> list[Entry]:
    """The story as the ledger would keep it."""
    entries, previous = [], GENESIS
    for seq, (after, kind, actor, summary, payload) in enumerate(story, 1):
        at = START + timedelta(seconds=after)
        new = NewEntry(kind=kind, occurred_at=at, actor=actor, summary=summary, payload=payload)
        entries.append(sealed(new, incident_id=7, seq=seq, recorded_at=at, previous=previous))
        previous = entries[-1].hash
    return entries


def drafted(entries) -> Postmortem:
    """The draft of these entries."""
    return draft(incident_id=7, title="Answers are slow", entries=entries, customers=CUSTOMERS)


def section(document: Postmortem, title: str):
    """One section."""
    return next(one for one in document.sections if one.title == title)


def texts(document: Postmortem) -> set[str]:
    """Every sentence."""
    return {sentence.text for one in document.sections for sentence in one.sentences}


def test_every_sentence_is_recomputed_from_the_entries_that_it_cites():
    """A sentence holds its entry's own words, or a time and a duration that follow from the entries cited."""
    entries = {entry.seq: entry for entry in chain()}
    for one in drafted(list(entries.values())).sections:
        for sentence in one.sentences:
            assert sentence.cites, sentence
            cited = [entries[seq] for seq in sentence.cites]
            if any(entry.summary.rstrip(".") in sentence.text for entry in cited):
                continue
            took = in_words((cited[-1].occurred_at - cited[0].occurred_at).total_seconds())
            is_time = f"{cited[-1].occurred_at:%Y-%m-%d %H:%M:%S} UTC" in sentence.text and took in sentence.text
            is_quick = (
                took in sentence.text and {cited[0].kind, cited[1].kind} == {K.INCIDENT_OPENED, K.INCIDENT_ACKNOWLEDGED}
                if len(cited) > 1
                else False
            )
            is_proof = cited[0].payload.get("verdict") == "verified"
            assert is_time or is_quick or is_proof, sentence


@pytest.mark.parametrize("seq", range(1, len(STORY) + 1))
def test_removing_an_entry_removes_every_sentence_that_rests_on_it(seq):
    """Without the entry, no sentence cites it, and none of the sentences that did is still said in the same words."""
    entries = chain()
    rested = {s.text for one in drafted(entries).sections for s in one.sentences if seq in s.cites}
    left = drafted([entry for entry in entries if entry.seq != seq])
    assert all(seq not in sentence.cites for one in left.sections for sentence in one.sentences)
    if seq != 1:  # the beginning: durations are then told from the opening, in other words
        assert not rested & texts(left), rested & texts(left)


@given(st.sets(st.integers(1, len(STORY))))
def test_any_part_of_the_record_makes_a_true_draft(kept):
    """From whatever is left of the record, every citation exists and every missing phase is a question and not a number."""
    entries = [entry for entry in chain() if entry.seq in kept]
    document = drafted(entries)
    assert {seq for one in document.sections for s in one.sentences for seq in s.cites} <= kept
    for name, words in phase_words(document.phases):
        assert (words == "unknown") == (getattr(document.phases, name) is None)


def test_an_erased_entry_is_not_quoted():
    """What the law had erased stands in no sentence."""
    entries = [entry.model_copy(update={"erased": True, "summary": "", "payload": {}}) if entry.seq == 3 else entry for entry in chain()]
    assert not any("10 customers" in text for text in texts(drafted(entries)))
    assert any("Nobody measured it" in gap for gap in section(drafted(entries), "Impact").gaps)


def test_impact_is_about_customers_and_measurements_stand_apart():
    """The customers' diagnostic is the impact; the others are what was measured, and a failed one says so."""
    document = drafted(chain())
    assert [s.cites for s in section(document, "Impact").sentences] == [(3,), (17,)]
    assert [s.cites for s in section(document, "What was measured").sentences] == [(4,), (5,)]
    assert section(document, "What was measured").sentences[1].text.startswith("Not measured")


def test_a_request_that_was_carried_out_is_told_once():
    """The declined request stands by itself; the one that ran is told by its execution, and its proof under what worked."""
    document = drafted(chain())
    assert [s.cites for s in section(document, "What was tried").sentences] == [(8,), (9,), (11,), (13,), (14,)]
    assert (15,) in [s.cites for s in section(document, "What worked").sentences]


def test_gaps_name_whom_to_ask():
    """Every question names somebody: who owns the post-mortem, or those who were there."""
    gaps = [gap for one in drafted(chain()).sections for gap in one.gaps]
    assert gaps
    assert all(re.search(r"Ask (ben|ana, ben)\.$", gap) for gap in gaps), gaps


def test_times_stand_in_the_order_in_which_they_came():
    """The section of times is a story: each later than the one before."""
    cites = [s.cites[-1] for s in section(drafted(chain()), "Times").sentences]
    at = {entry.seq: entry.occurred_at for entry in chain()}
    assert [at[seq] for seq in cites] == sorted(at[seq] for seq in cites)


def test_phases_are_counted_from_the_first_alert():
    """Durations are seconds from the alert, and what never happened is unknown."""
    phases = phases_of(chain())
    assert (phases.detected, phases.acknowledged, phases.mitigated, phases.resolved) == (1.0, 20.0, 180.0, 300.0)
    assert phases_of(chain(STORY[:2])).resolved is None


HOSTILE = st.text(max_size=80) | st.sampled_from(
    [
        "# head",
        "<script>alert(1)</script>",
        "[a](javascript:x)",
        "| a | b |",
        "1. one",
        "- x",
        "\n# x",
        "-",
        "---",
        "1.",
        "===",
        "&lt;b&gt;",
    ]
)


@given(HOSTILE)
def test_text_from_outside_formats_nothing(text):
    """As Markdown, an alert's words are a paragraph of text: no heading, list, link, table, HTML or emphasis."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(f"- {literal(text)} [1]")
    inline = [child.type for token in tokens for child in token.children or ()]
    blocks = {token.type for token in tokens}
    assert not {"heading_open", "html_block", "table_open", "blockquote_open", "fence", "hr"} & blocks
    assert not {"html_inline", "link_open", "image", "em_open", "strong_open", "code_inline"} & set(inline)
    assert len([token for token in tokens if token.type == "list_item_open"]) == 1
    said = "".join(child.content for token in tokens for child in token.children or () if child.type in {"text", "text_special"})
    assert said.removesuffix("[1]").split() == re.sub(r"[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]+", " ", text).split()


def test_the_document_has_every_sentence_and_every_gap():
    """The Markdown leaves nothing of the draft out and marks a drill."""
    incident = Incident(
        id=7,
        title="Answers are slow",
        severity=Severity.SEV2,
        incident_class=IncidentClass.AVAILABILITY,
        match=Match(runbook=RunbookRef(id="inference-latency", version=3, hash="a" * 64), score=1.0, reason="alertname"),
        group_key="g",
        began_at=START,
        opened_at=START,
        drill_id=3,
    )
    document = drafted(chain())
    text = markdown(document, incident)
    assert text.startswith("# DRILL · INC-7 · Answers are slow\n")
    for one in document.sections:
        assert f"\n## {one.title}\n" in text
        assert all(f"- {literal(s.text)} [{', '.join(map(str, s.cites))}]\n" in text for s in one.sentences)
        assert all(literal(gap) in text for gap in one.gaps)
    assert all(words in text for _, words in phase_words(document.phases))
