"""`freezes` in `muster.yaml`: once, or on certain days again and again; every mistake is refused at its field and line."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from actions.guards import GuardRefused, State, guard
from actions.situation import Freeze, RecurringFreeze
from bot.cli.check import freezes
from bot.configuration import Configuration, parse
from bot.flows import freezing
from bot.flows.rights import circle_of
from runbooks.errors import SettingsInvalid
from runbooks.recurrence import DayRule
from runbooks.run import FreezeOverride
from runbooks.severity import Tier
from storage.database import Database
from tests.unit.flows.test_guard_flows import ASKED, HOUR, opened, run_of

BASE = "people: {ana: {name: Ana, slack_id: U0ANA12345}}\nteams: {web: {lead: ana, members: [ana]}}\nservices: {shop: {owner: web}}\n"
WEEKEND = "{every: friday, from: '18:00', until: monday 06:00, zone: Europe/Zurich, reason: the weekend}"
SATURDAY = datetime(2026, 11, 21, 12, tzinfo=UTC)


def configured(*lines: str) -> Configuration:
    """A file with these freezes."""
    return parse(f"{BASE}time_zone: America/New_York\nfreezes:\n" + "".join(f"  - {line}\n" for line in lines))


def recurring(line: str) -> RecurringFreeze:
    """The one freeze of the file, which comes again."""
    (found,) = configured(line).freezes
    assert isinstance(found, RecurringFreeze)
    return found


def test_s9_a_freeze_that_comes_again() -> None:
    """Days, times, the zone of its own and what it covers; it is on at each of its times and between them off."""
    (found,) = configured(WEEKEND.replace("reason", "tiers: [R2], services: [shop], environments: [production], reason")).freezes
    on = found.at(SATURDAY)
    assert on is not None
    assert (on.from_at, on.until_at) == (datetime(2026, 11, 20, 17, tzinfo=UTC), datetime(2026, 11, 23, 5, tzinfo=UTC))
    assert (on.name, on.tiers, on.services, on.environments) == ("the weekend", {Tier.R2}, {"shop"}, {"production"})
    assert found.at(on.until_at) is None
    week = timedelta(days=7)
    assert found.at(SATURDAY + week) == replace(on, from_at=on.from_at + week, until_at=on.until_at + week)


def test_s9_without_times_it_is_all_day_and_without_a_zone_the_files() -> None:
    """`every: [sat, sun]` is both days by the file's time zone; `first sunday` is one day a month."""
    both = recurring("{every: [sat, sun], reason: x}").at(SATURDAY)
    assert both is not None
    assert (both.from_at.hour, both.until_at - both.from_at) == (5, timedelta(days=2)), "midnight in New York"
    assert recurring("{every: first sunday, from: '02:00', until: '04:00', reason: x}").recurrence.days == (DayRule(weekday=6, which=1),)


@pytest.mark.parametrize(
    ("line", "field", "words"),
    [
        ("{every: someday, reason: x}", "every", "write day, friday, first sunday or last friday"),
        ("{every: [friday, fifth monday], reason: x}", "every", "'fifth monday' is no day"),
        ("{every: 7, reason: x}", "every", "must be"),
        ("{every: day, reason: x}", "every", "leaves no gap"),
        ("{every: [mon, tue, wed, thu, fri, sat, sun], reason: x}", "every", "leaves no gap"),
        ("{every: friday, from: 18:00, until: '20:00', reason: x}", "from", "in quotes"),
        ("{every: friday, from: '25:00', until: '20:00', reason: x}", "from", "25:00 is no time of day"),
        ("{every: friday, from: monday 18:00, reason: x}", "from", "on the days of every"),
        ("{every: friday, from: 2026-11-20, until: '20:00', reason: x}", "from", "is no time of day"),
        ("{every: friday, until: moonday 06:00, reason: x}", "until", "moonday 06:00 is no time of day"),
        ("{every: friday, until: '', reason: x}", "until", "is no time of day"),
        ("{every: day, until: monday 06:00, reason: x}", "until", "begins on every day"),
        ("{every: friday, zone: Zurich, reason: x}", "zone", "is not a time zone"),
        ("{every: friday, services: [shopp], reason: x}", "services.0", "did you mean shop"),
        ("{every: friday}", "reason", "is missing"),
        ("{from: 2026-12-24, reason: x}", "until", "every and the days on which it comes again"),
        ("{until: 2026-12-24, reason: x}", "from", "is missing"),
        ("{from: 2026-12-24, until: 2026-12-24, reason: x}", "until", "is not after from"),
        ("{from: 20261224, until: 2026-12-25, reason: x}", "from", "in quotes"),
    ],
)
def test_s9_a_freeze_that_is_none_is_refused_at_its_field(line: str, field: str, words: str) -> None:
    """What is wrong, where, on which line, and what to write."""
    with pytest.raises(SettingsInvalid) as error:
        configured(line)
    (problem, *_) = error.value.problems
    assert problem.field == f"freezes.0.{field}"
    assert words in problem.reason
    assert problem.line == 6


def test_s9_a_refusal_says_its_end_by_its_own_clocks() -> None:
    """Until Mon 06:00 Europe/Zurich, and in UTC for whoever lives elsewhere; a zone of UTC is said once."""
    on = recurring(WEEKEND).at(SATURDAY)
    assert on is not None
    refused = guard(ASKED, State(freezes=[on]), now=SATURDAY)
    assert isinstance(refused, GuardRefused)
    assert "the weekend freezes changes until Mon 06:00 Europe/Zurich (05:00 UTC), another 1 d 17 h." in refused.text
    assert refused.possible_at == on.until_at
    utc = recurring("{every: saturday, zone: UTC, reason: x}").at(SATURDAY)
    assert utc is not None
    assert utc.until_text == "Sun 00:00 UTC"
    assert replace(utc, until_at=utc.from_at + timedelta(days=30)).until_text == "Mon 21 Dec 2026 00:00 UTC", "the weekday says too little"


def test_s9_a_word_lifts_this_time_and_not_the_next(database: Database) -> None:
    """An override of this night's window lifts it until its end, and not tomorrow's of the same name."""
    nightly = recurring("{every: day, from: '00:00', until: '23:00', zone: UTC, reason: the nightly import}")
    ctx, incident = opened(database, freezes=(nightly,))
    now = ctx.now().replace(hour=12)
    run = run_of(database, incident).with_(
        freeze_override=FreezeOverride(by="ana", reason="Customers cannot pay.", names=(nightly.name,), given_at=now)
    )
    circle = circle_of(ctx, incident, now=now)

    def lifted(at: datetime) -> list[str | None]:
        return [freeze.overridden_by for freeze in freezing.freezes(ctx, incident, run=run, circle=circle, now=at)]

    assert lifted(now) == ["ana"]
    assert lifted(now + 10 * HOUR) == ["ana"]
    assert lifted(now + 11 * HOUR) == [], "23:00"
    assert lifted(now + 24 * HOUR) == [None]


def test_s9_check_says_when() -> None:
    """`muster check` shows of each freeze what it covers, and whether it is on, to come or over."""
    configuration = configured(
        WEEKEND.replace("reason", "tiers: [R3, R2], reason"),
        "{every: first tuesday, from: '22:00', until: '02:00', zone: Europe/Zurich, services: [shop], reason: database maintenance}",
        "{from: 2026-12-23, until: 2027-01-04, zone: Europe/Zurich, reason: end of the year.}",
        "{from: 2026-01-01, until: 2026-01-02, reason: long ago}",
    )
    assert [one.text for one in freezes(configuration, now=SATURDAY)] == [
        "the weekend: every Friday 18:00 until Monday 06:00 Europe/Zurich; on now, until Mon 06:00 Europe/Zurich (05:00 UTC); tiers R2, R3",
        (
            "database maintenance: every first Tuesday 22:00 until 02:00 the next day Europe/Zurich; "
            "next at Tue 01 Dec 2026 22:00 Europe/Zurich (21:00 UTC), until Wed 02:00 Europe/Zurich (01:00 UTC); of shop"
        ),
        "end of the year: next at Wed 23 Dec 2026 00:00 Europe/Zurich (23:00 UTC), until Mon 04 Jan 2027 00:00 Europe/Zurich (23:00 UTC)",
        "long ago: over since 02 Jan 2026 05:00 UTC",
    ]
    assert isinstance(configuration.freezes[2], Freeze)
