"""Which change is the likeliest cause."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from runbooks.change import Change, ChangeKind
from runbooks.severity import IncidentClass
from runbooks.suspicion import WINDOW, rank

BEGAN = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
AHEAD = timedelta(minutes=5)


def change(minutes_before: float, *, kind: ChangeKind = ChangeKind.DEPLOY, service: str | None = None, key: str = "k") -> Change:
    """A change so many minutes before the trouble began."""
    at = BEGAN - timedelta(minutes=minutes_before)
    return Change(key=key, source="ci", kind=kind, title="a change", service=service, changed_at=at)


def ranked(*changes: Change, incident_class: IncidentClass = IncidentClass.AVAILABILITY, service: str | None = "answers") -> list[str]:
    """Keys, most suspect first."""
    return [one.change.key for one in rank(changes, began_at=BEGAN, service=service, incident_class=incident_class)]


CHANGES = st.lists(
    st.builds(
        change,
        st.floats(-30, 60 * 30),
        kind=st.sampled_from(ChangeKind),
        service=st.sampled_from([None, "answers", "search"]),
        key=st.uuids().map(str),
    ),
    max_size=8,
)


def test_the_nearer_of_two_like_changes_comes_first() -> None:
    """Of two deploys of the same service the one closer before the start is the likelier cause."""
    assert ranked(change(90, key="early"), change(4, key="late")) == ["late", "early"]


def test_the_same_service_and_a_usual_cause_outweigh_some_minutes() -> None:
    """For worse answers a prompt change of this service twenty minutes ago is more suspect than another service's deploy just now."""
    prompt = change(20, kind=ChangeKind.PROMPT, service="answers", key="prompt")
    deploy = change(1, kind=ChangeKind.DEPLOY, service="search", key="deploy")
    assert ranked(deploy, prompt, incident_class=IncidentClass.QUALITY) == ["prompt", "deploy"]


def test_the_reason_says_why() -> None:
    """Each suspect says how long before, whether it is the same service, and whether it usually causes this."""
    (one,) = rank([change(10, service="answers")], began_at=BEGAN, service="answers", incident_class=IncidentClass.AVAILABILITY)
    assert one.reason == "10 min before, same service, a usual cause"
    (late,) = rank([change(-3, kind=ChangeKind.PROMPT)], began_at=BEGAN, service="answers", incident_class=IncidentClass.DATA)
    assert late.reason == "3 min after"


def test_a_change_of_no_service_is_not_the_same_service() -> None:
    """Where neither the change nor the incident names a service, that is no sign of anything."""
    (one,) = rank([change(10)], began_at=BEGAN, service=None, incident_class=IncidentClass.AVAILABILITY)
    assert "same service" not in one.reason


@given(CHANGES, st.sampled_from(IncidentClass), st.randoms())
def test_ranking_keeps_what_may_be_the_cause_and_orders_it(changes: list[Change], incident_class: IncidentClass, chance: object) -> None:
    """All changes of the day before, and of five minutes after for clocks that differ, and no other; by score, in any input order alike."""
    found = rank(changes, began_at=BEGAN, service="answers", incident_class=incident_class)
    assert {one.change.key for one in found} == {one.key for one in changes if -AHEAD <= BEGAN - one.changed_at <= WINDOW}
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all(0 <= one.score <= 1 for one in found)
    shuffled = list(changes)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert rank(shuffled, began_at=BEGAN, service="answers", incident_class=incident_class) == found


@given(st.floats(0, 1400), st.floats(0, 1400), st.sampled_from(ChangeKind))
def test_nearness_never_counts_against_a_change(one: float, other: float, kind: ChangeKind) -> None:
    """Of two changes that differ in time only, the nearer is never the less suspect."""
    near, far = sorted((one, other))
    scores = [
        rank([change(minutes, kind=kind)], began_at=BEGAN, service="answers", incident_class=IncidentClass.COST)[0].score
        for minutes in (near, far)
    ]
    assert scores[0] >= scores[1]
