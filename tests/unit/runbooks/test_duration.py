"""Durations and thresholds as runbooks write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from runbooks.duration import Duration, Threshold, exactly, in_words, seconds


class Timed(BaseModel):
    """Something with a duration."""

    lasts: Duration


@pytest.mark.parametrize(("text", "value"), [("30s", 30), ("5m", 300), ("1h30m", 5400), ("90d", 7_776_000), ("2w", 1_209_600), ("0m", 0)])
def test_a_duration_has_units(text: str, value: float) -> None:
    """Each unit counts as its seconds."""
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["5", "", "m", "5 m", "-5m", "1.5h", "5M", "\u0665m", "5m\n", "9" * 400 + "d", 300, 5.0, True, None])
def test_what_has_no_unit_is_no_duration(text: object) -> None:
    """A bare number is refused because nobody can tell its unit; so is everything that would overflow or look alike."""
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)


@given(st.integers(0, 10**9))
def test_a_duration_is_written_as_it_is_read(value: int) -> None:
    """What is written out is read back to the same second; the words for people have at most two units."""
    assert seconds(exactly(value)) == value
    assert len([word for word in in_words(value).split() if word.isalpha()]) in {1, 2}


def test_a_file_may_not_write_a_bare_number() -> None:
    """A program may give seconds as a float; in a file `180.0` is refused like `180`."""
    assert Timed(lasts=180.0).lasts == 180
    with pytest.raises(ValueError, match="number with a unit"):
        Timed.model_validate({"lasts": 180.0}, context={"written": True})


def test_a_duration_survives_json() -> None:
    """Stored and read again it is the same, seconds included."""
    timed = Timed(lasts=90061.0)
    assert timed.model_dump_json() == '{"lasts":"1d1h1m1s"}'
    assert Timed.model_validate_json(timed.model_dump_json()) == timed


@pytest.mark.parametrize(
    ("text", "holds", "fails"),
    [
        ("< 0.5", 0.4, 0.5),
        ("<= 0.5", 0.5, 0.6),
        ("> 2", 2.1, 2.0),
        (">=2", 2.0, 1.9),
        ("== 1", 1.0, 1.1),
        ("!= 0", 0.1, 0.0),
        ("> -3.5", -3, -4),
    ],
)
def test_a_threshold_is_one_comparison(text: str, holds: float, fails: float) -> None:
    """Each operator compares as it is written."""
    threshold = Threshold.model_validate(text)
    assert threshold.holds(holds)
    assert not threshold.holds(fails)


@pytest.mark.parametrize(
    "text", ["0.5", "=< 1", "< x", "< 1 and > 0", "< 1e3", "", "< " + "9" * 400, {"operator": "x", "limit": 1}, 3, None]
)
def test_a_threshold_is_nothing_else(text: object) -> None:
    """There is no expression language."""
    with pytest.raises(ValueError, match=r"comparison|Input should be"):
        Threshold.model_validate(text)


@given(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), st.decimals(-(10**9), 10**9, places=4).map(float))
def test_a_threshold_is_written_as_it_is_read(operator: str, limit: float) -> None:
    """Text to threshold and back loses nothing, however many digits."""
    threshold = Threshold(operator=operator, limit=limit)
    assert Threshold.model_validate(str(threshold)) == threshold
    assert "e" not in str(threshold)
