"""Text for Slack: escaped once, cut without breaking, numbers and times that say what they mean."""

import html
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.slack import text
from runbooks.people import Person

ANY = st.text(alphabet=st.characters(exclude_categories=()), max_size=400)
NOW = datetime(2026, 11, 20, 10, 8, tzinfo=UTC)


@given(words=ANY, limit=st.integers(1, 200))
def test_a_line_keeps_its_limit_and_hides_no_markup(words: str, limit: int) -> None:
    """One line, within the limit, without a bracket of its own, and no entity cut in two."""
    line = text.line(words, limit)
    assert text.size(line) <= limit
    assert not {"<", ">", "\n", "\x00", "\u202e"} & set(line)
    line.encode()  # no half characters
    unescaped = html.unescape(line)
    assert text.escape(unescaped) == line


@given(words=ANY, limit=st.integers(1, 200))
def test_plain_text_keeps_its_limit_and_calls_nobody(words: str, limit: int) -> None:
    """Plain text is not escaped, and still carries no sequence that could call somebody."""
    plain = text.plain(words, limit)
    assert text.size(plain) <= limit
    assert not any(sequence in plain for sequence in ("<!", "<@", "<#"))


@given(words=st.text(alphabet="ab &<>", max_size=50))
def test_what_fits_is_kept_whole(words: str) -> None:
    """Nothing is cut that fits, and an ellipsis is only where something is missing."""
    assert html.unescape(text.line(words, 1_000)) == " ".join(words.split())


def test_cutting_counts_utf16_units() -> None:
    """A flame is two units: Slack does not say which way it counts, so the stricter is kept."""
    assert text.size("\U0001f525" * 3) == 6
    assert text.line("\U0001f525" * 10, 7) == "\U0001f525" * 3 + "…"


@pytest.mark.parametrize(
    ("value", "unit", "beside", "shown"),
    [
        (1.93, "s", 0.5, "1.9 s"),
        (0.312, "s", 0.5, "0.31 s"),
        (0.957, "ratio", None, "96 %"),
        (0.002, "ratio", None, "0.2 %"),
        (95.7, "%", None, "96 %"),
        (6.2, "USD", None, "6.20 USD"),
        (1234.5, "USD per hour", None, "1,234 USD per hour"),
        (12_340, None, None, "12,340"),
        (0, "s", None, "0 s"),
        (0.4996, "s", 0.5, "0.4996 s"),
        (0.5, "s", 0.5, "0.5 s"),
        (-2.5, None, None, "-2.5"),
        (float("nan"), "s", None, "no data"),
        (float("inf"), "s", None, "no data"),
        (1e-9, "s", None, "1e-09 s"),
    ],
)
def test_numbers_have_units_and_honest_rounding(value: float, unit: str | None, beside: float | None, shown: str) -> None:
    """Two digits are enough, money has cents, no data is said, and rounding never hides that a limit is missed."""
    assert text.number(value, unit, beside=beside) == shown


@given(value=st.floats(allow_nan=True, allow_infinity=True), beside=st.none() | st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_can_be_shown(value: float, beside: float | None) -> None:
    """No number raises or is shown as nothing."""
    assert text.number(value, "s", beside=beside)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 s"), (-5, "0 s"), (59, "59 s"), (60, "1 min"), (3_900, "1 h 5 min"), (14_400, "4 h"), (259_200, "3 d")]
)
def test_durations_in_words(seconds: float, shown: str) -> None:
    """At most two units, from seconds to days."""
    assert text.lasting(seconds) == shown


def test_times_are_date_tokens_with_a_fallback_in_utc() -> None:
    """Each reader sees their own zone; where tokens are not read, UTC is said."""
    assert text.clock(NOW) == f"<!date^{int(NOW.timestamp())}^{{time}}|10:08 UTC>"
    assert text.when(NOW, NOW + timedelta(hours=1)) == text.clock(NOW)
    assert text.when(NOW, NOW + timedelta(days=2)) == text.moment(NOW)
    assert text.spoken(NOW, NOW) == "10:08 UTC"


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "ftp://x",
        "http://a b",
        "https://a|b",
        "https://a>b",
        "https://",
        "//x",
        "mailto:x@y",
        "https://x\n",
        "slack://open",
    ],
)
def test_only_web_addresses_are_linked(url: str) -> None:
    """Anything but a plain http or https address is shown as its label alone."""
    assert text.address(url) is None
    assert text.link(url, "Dashboard") == "Dashboard"


def test_a_link_s_label_cannot_break_out() -> None:
    """Brackets and bars in a label stay text."""
    assert text.link("https://x.example/?a=1&b=2", "a|b> <!here>") == "<https://x.example/?a=1&amp;b=2|a¦b&gt; &lt;!here&gt;>"
    assert text.link("https://x.example/" + "y" * 600, "long") == "long"


def test_people_are_called_by_id_only() -> None:
    """A mention comes from a Slack id that looks like one; everybody else is named, escaped."""
    assert text.mention(Person(id="ana", name="Ana", email="a@x", slack_id="U0ANA")) == "<@U0ANA>"
    assert text.mention(Person(id="eve", name="<!here>", email="e@x")) == "&lt;!here&gt;"
    assert text.mention(Person(id="eve", name="Eve", email="e@x", slack_id="U1> <!channel")) == "Eve"


def test_times_that_a_flow_has_written_are_shown_in_the_reader_s_zone() -> None:
    """A full time always; a bare one where the day is known, and then the nearest."""
    whole = int(datetime(2026, 11, 20, 14, 9, tzinfo=UTC).timestamp())
    assert f"<!date^{whole}^" in text.told("Ends 2026-11-20 14:09 UTC and asks.")
    assert f"<!date^{whole}^{{time}}|" in text.told("Ends 14:09 UTC.", near=NOW)
    midnight = datetime(2026, 11, 20, 23, 58, tzinfo=UTC)
    after = int(datetime(2026, 11, 21, 0, 3, tzinfo=UTC).timestamp())
    assert f"<!date^{after}^" in text.told("Running since 00:03:00 UTC.", near=midnight)
    assert text.told("Since 14:09 UTC.") == "Since 14:09 UTC."
    assert text.told("At 2026-99-99 14:09 UTC or 29:99 UTC.", near=NOW) == "At 2026-99-99 14:09 UTC or 29:99 UTC."


@given(words=st.lists(st.sampled_from(["14:09 UTC", "2026-11-20 14:09 UTC", "29:99 UTC", "<!here>", "x"]), max_size=200))
def test_turned_times_stay_within_bounds(words: list[str]) -> None:
    """However many times stand in a text, it grows by 800 units at most and stays safe."""
    shown = text.told(" ".join(words), 1_000, near=NOW)
    assert text.size(shown) <= 1_800
    assert "<!here" not in shown
