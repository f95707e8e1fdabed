"""Which alerts belong to one incident."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from runbooks.alert import Alert, AlertStatus
from runbooks.grouping import group_key, storm_key
from runbooks.incident import RunbookRef

NAME = st.text(alphabet="abcdef-", min_size=1, max_size=12)
MAYBE = st.one_of(st.none(), NAME)


def ref(name: str, *, version: int = 1) -> RunbookRef:
    """A runbook's version."""
    return RunbookRef(id=name, version=version, hash=f"{name}{version}")


def alert(name: str) -> Alert:
    """A firing alert of this name."""
    return Alert(
        source="s", fingerprint=name, status=AlertStatus.FIRING, labels={"alertname": name}, starts_at=datetime(2026, 11, 20, tzinfo=UTC)
    )


@given(NAME, NAME, MAYBE, NAME, NAME)
def test_the_same_service_and_runbook_belong_together(runbook: str, service: str, environment: str | None, one: str, other: str) -> None:
    """Two different alerts of one service that need one runbook are one incident, whichever version of it is loaded."""
    first = group_key(runbook=ref(runbook), service=service, environment=environment, alert=alert(one))
    second = group_key(runbook=ref(runbook, version=2), service=service, environment=environment, alert=alert(other))
    assert first == second


@given(st.tuples(NAME, NAME, MAYBE), st.tuples(NAME, NAME, MAYBE))
def test_another_runbook_service_or_environment_is_another_incident(
    one: tuple[str, str, str | None], other: tuple[str, str, str | None]
) -> None:
    """What differs in any of the three never shares a key; no environment is written as a hyphen."""
    if (one[0], one[1], one[2] or "-") == (other[0], other[1], other[2] or "-"):
        return
    keys = [group_key(runbook=ref(book), service=service, environment=place, alert=alert("x")) for book, service, place in (one, other)]
    assert keys[0] != keys[1]


@given(NAME, NAME, MAYBE)
def test_alerts_without_a_service_are_grouped_by_name(one: str, other: str, environment: str | None) -> None:
    """An alert that names no service joins only alerts of its own name, never a service that happens to have that name."""
    keys = [group_key(runbook=ref("r"), service=None, environment=environment, alert=alert(name)) for name in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)
    assert keys[0] != group_key(runbook=ref("r"), service=one, environment=environment, alert=alert(one))


@given(NAME, NAME, st.integers(1, 99), st.integers(1, 99))
def test_a_drill_is_never_grouped_with_anything_else(runbook: str, service: str, one: int, other: int) -> None:
    """A drill's key differs from production's and from another drill's, for the same alert of the same service."""
    keys = {
        group_key(runbook=ref(runbook), service=service, environment=None, alert=alert("x"), drill_id=drill) for drill in (None, one, other)
    }
    assert len(keys) == (2 if one == other else 3)


@given(st.text(max_size=2000), st.text(max_size=2000))
def test_keys_stay_short(service: str, environment: str) -> None:
    """Whatever the labels say, a key fits its column, and a storm's key is no service's key."""
    key = group_key(runbook=ref("r"), service=service, environment=environment, alert=alert("x"))
    storm = storm_key(runbook=ref("r"), environment=environment)
    assert len(key) <= 300
    assert len(storm) <= 300
    assert key != storm
