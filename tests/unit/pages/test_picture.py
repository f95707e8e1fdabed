"""The timeline's picture says what the table says."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bot.pages.picture import LEFT, RIGHT, Lane, Series, draw, lane_of
from runbooks.duration import Threshold
from runbooks.incident import Incident, Match, RunbookRef
from runbooks.people import MUSTER, Actor, ActorKind
from runbooks.run import ActionRun, RunState, Verdict
from runbooks.severity import IncidentClass, Severity, Tier
from runbooks.timeline import GENESIS, Entry, EntryKind, NewEntry, sealed

START = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
REF = RunbookRef(id="inference-latency", version=1, hash="a" * 64)
ANA = Actor(kind=ActorKind.PERSON, id="ana", via="slack")
KINDS = list(EntryKind)


def incident(**more) -> Incident:
    """An incident that lasted an hour."""
    facts = {
        "id": 1,
        "title": "slow",
        "severity": Severity.SEV2,
        "incident_class": IncidentClass.AVAILABILITY,
        "match": Match(runbook=REF, score=1.0, reason="alertname"),
        "group_key": "g",
        "began_at": START,
        "opened_at": START,
        "resolved_at": START + timedelta(hours=1),
    }
    return Incident(**facts | more)


def entries(moments) -> list[Entry]:
    """Entries of several kinds at these seconds after the start."""
    made, previous = [], GENESIS
    for seq, (after, kind, human) in enumerate(moments, 1):
        at = START + timedelta(seconds=after)
        new = NewEntry(kind=kind, occurred_at=at, actor=ANA if human else MUSTER, summary=f"entry {seq}")
        made.append(sealed(new, incident_id=1, seq=seq, recorded_at=at, previous=previous))
        previous = made[-1].hash
    return made


def run(**more) -> ActionRun:
    """A run that was verified after three minutes."""
    facts = {
        "id": 4,
        "incident_id": 1,
        "runbook": REF,
        "step": "scale-out",
        "title": "Scale out",
        "state": RunState.VERIFIED,
        "tier": Tier.R1,
        "key": "k",
        "target": "pool",
        "requested_by": "ana",
        "requested_at": START + timedelta(minutes=5),
        "started_at": START + timedelta(minutes=5),
        "executed_at": START + timedelta(minutes=5),
        "verdict": Verdict.VERIFIED,
        "verdict_at": START + timedelta(minutes=8),
    }
    return ActionRun(**facts | more)


MOMENTS = st.lists(st.tuples(st.integers(0, 7200), st.sampled_from(KINDS), st.booleans()), min_size=1, max_size=60)


@given(MOMENTS)
def test_every_entry_of_the_incident_is_in_a_mark_or_counted_as_later(moments):
    """Nothing is left out: marks hold every entry up to the end, and the rest is counted."""
    found = entries(moments)
    picture = draw(incident(), found, [], None, now=START)
    shown = [entry for entry in found if entry.occurred_at <= START + timedelta(hours=1)]
    assert picture.later == len(found) - len(shown)
    held = sum(1 + int(mark.label.split("+")[1]) if "+" in mark.label else _span(mark.label) for mark in picture.marks)
    assert held == len(shown)
    assert {mark.first for mark in picture.marks} <= {entry.seq for entry in shown}


def _span(label: str) -> int:
    first, _, last = label.partition("-")
    return int(last) - int(first) + 1 if last else 1


@given(MOMENTS)
def test_no_mark_covers_another_and_none_leaves_the_canvas(moments):
    """Every mark can be pressed: within its lane and row the marks stand apart, all of them inside the picture."""
    picture = draw(incident(), entries(moments), [run()], None, now=START)
    by_row: dict[float, list] = {}
    for mark in picture.marks:
        assert mark.x - mark.width / 2 + 0.01 >= LEFT
        assert mark.x + mark.width / 2 - 0.01 <= RIGHT
        by_row.setdefault(mark.y, []).append(mark)
    for row in by_row.values():
        row.sort(key=lambda mark: mark.x)
        assert all(left.x + left.width / 2 <= right.x - right.width / 2 for left, right in pairwise(row))
    assert all(band.y <= mark.y < picture.foot for mark in picture.marks for band in picture.bands[:1])


@given(MOMENTS)
def test_later_is_never_further_left(moments):
    """Time goes from left to right."""
    picture = draw(incident(), entries(moments), [], None, now=START)
    at = {entry.seq: entry.occurred_at for entry in entries(moments)}
    marks = sorted((mark for mark in picture.marks if LEFT + 40 < mark.x < RIGHT - 40), key=lambda mark: mark.x)
    assert all(at[left.first] <= at[right.first] for left, right in pairwise(marks))


def test_entries_stand_in_the_lane_of_who_acted():
    """Alerts, people, Muster and actions each have their own lane."""
    kinds = [
        (0, EntryKind.ALERT_FIRED, False),
        (1, EntryKind.NOTE_ADDED, True),
        (2, EntryKind.CARD_POSTED, False),
        (3, EntryKind.RUN_VERDICT, False),
    ]
    assert [lane_of(entry) for entry in entries(kinds)] == [Lane.ALERTS, Lane.PEOPLE, Lane.MUSTER, Lane.ACTIONS]


def test_a_run_is_a_bar_from_start_to_verdict_that_leads_to_its_entry():
    """The bar's length is the run's time, its colour the verdict, and the change stands until it was taken back."""
    found = entries([(0, EntryKind.ALERT_FIRED, False), (300, EntryKind.RUN_EXECUTED, False)])
    found[1] = found[1].model_copy(update={"payload": {"run": 4}})
    picture = draw(incident(), found, [run(undone_at=START + timedelta(minutes=30))], None, now=START)
    (bar,) = picture.bars
    assert (bar.first, bar.kind) == (2, "good")
    assert round(bar.width / (RIGHT - LEFT), 2) == round(3 / 63, 2)
    assert bar.held_to is not None
    assert bar.x + bar.width < bar.held_to < RIGHT


def test_missing_data_is_a_gap_and_never_zero():
    """A value that was not measured breaks the line; the limit stands at its own height."""
    samples = tuple((START + timedelta(minutes=m), v) for m, v in ((1, 5.0), (2, 4.0), (3, None), (4, 0.3), (5, 0.2)))
    series = Series(title="p99 latency", unit="s", samples=samples, limit=Threshold(operator="<", limit=0.5))
    picture = draw(incident(), entries([(0, EntryKind.ALERT_FIRED, False)]), [], series, now=START)
    assert picture.chart is not None
    assert [len(line.split()) for line in picture.chart.lines] == [2, 2]
    assert len(picture.chart.points) == 4
    assert picture.chart.limit is not None
    heights = [point.y for point in picture.chart.points]
    assert heights[2] > picture.chart.limit.at > heights[1]


@given(st.integers(1, 10**8))
def test_the_axis_has_few_round_moments_whatever_the_length(seconds):
    """From a second to three years there are some ticks, and never more than can be read."""
    ended = incident(resolved_at=START + timedelta(seconds=seconds))
    picture = draw(ended, entries([(0, EntryKind.ALERT_FIRED, False)]), [], None, now=START)
    assert len(picture.ticks) <= 40 if seconds > 2592000 * 9 else len(picture.ticks) <= 10
    assert all(LEFT <= tick.at <= RIGHT for tick in picture.ticks)
