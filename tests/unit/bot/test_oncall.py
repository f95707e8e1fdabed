"""Who is on duty: rotations over every moment, overrides, and PagerDuty with the file behind it."""

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from bot.configuration.schema import OnCallPlan, Target
from bot.oncall import Duty, OnCallFile, PagerDutyOnCall
from runbooks.people import Directory, Person, Team

PEOPLE = tuple(Person(id=name, name=name.title(), email=f"{name}@example.com") for name in ("ana", "ben", "chika"))
DIRECTORY = Directory(
    people=PEOPLE,
    teams=(
        Team(id="web", members=("ana", "ben", "chika")),
        Team(id="led", lead="chika", members=("chika",)),
        Team(id="lost", members=("ana",)),
    ),
)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Asia/Beirut", "Africa/Cairo", "Pacific/Apia")


def nights(zone: str) -> list[datetime]:
    """The days on which a zone's offset changes, 2020 to 2029, in UTC."""
    days = [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(3650)]
    offsets = [day.astimezone(ZoneInfo(zone)).utcoffset() for day in days]
    return [day for day, offset, after in zip(days, offsets, offsets[1:], strict=False) if offset != after]


ANY_TIME = st.datetimes(min_value=datetime(2015, 1, 1), max_value=datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - as hypothesis wants it
NIGHTS = st.sampled_from([night for zone in ZONES for night in nights(zone)])
MOMENTS = ANY_TIME | st.builds(lambda night, minutes: night + timedelta(minutes=minutes), NIGHTS, st.integers(-120, 1800))
TIMES = st.sampled_from([time(0), time(0, 30), time(2), time(2, 30), time(3), time(9), time(23, 59)])


def plan(**targets: dict[str, Any]) -> OnCallPlan:
    names = {name.replace("_", "-"): target for name, target in targets.items()}
    return OnCallPlan.model_validate({"targets": names, "teams": {"web": list(names)}})


def weekly(**more: Any) -> dict[str, Any]:
    return {"rotation": ["ana", "ben", "chika"], "starts": "2026-11-16", "hand_over": "09:00", "zone": "Europe/Berlin", **more}


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)


def ids(people: tuple[Person, ...]) -> list[str]:
    return [person.id for person in people]


@pytest.mark.parametrize(
    ("at", "person"),
    [
        ("2026-11-16T09:00", "ana"),
        ("2026-11-16T08:59:59", "chika"),
        ("2026-11-22T23:59", "ana"),
        ("2026-11-23T08:59:59", "ana"),
        ("2026-11-23T09:00", "ben"),
        ("2026-12-07T09:00", "ana"),
        ("2026-11-09T09:00", "chika"),
        ("2027-03-29T09:00", "ben"),
    ],
)
def test_a_week_is_handed_over_at_its_local_hour(at: str, person: str) -> None:
    """The first person begins on the day `starts`; each hand-over is at nine o'clock local time, also across summer time."""
    file = OnCallFile(plan=plan(primary=weekly()), directory=DIRECTORY)
    assert ids(file.rotation("primary", berlin(at))) == [person]


def test_an_override_wins_for_exactly_its_span() -> None:
    """From its first moment to just before its last the stand-in is on duty, and nobody else; a day means local midnight."""
    overrides = [{"person": "chika", "from": "2026-11-18", "until": "2026-11-19 12:00"}]
    file = OnCallFile(plan=plan(primary=weekly(overrides=overrides)), directory=DIRECTORY)
    expected = {
        "2026-11-17T23:59:59": "ana",
        "2026-11-18T00:00": "chika",
        "2026-11-19T11:59:59": "chika",
        "2026-11-19T12:00": "ana",
    }
    assert {at: ids(file.rotation("primary", berlin(at)))[0] for at in expected} == expected


def test_a_team_is_tried_in_the_order_of_its_targets() -> None:
    """Each person once, the first target's first; a team without an entry is its lead's; without a lead, nobody's."""
    file = OnCallFile(plan=plan(primary=weekly(), secondary={"person": "ben"}, third={"person": "ana"}), directory=DIRECTORY)
    at = berlin("2026-11-17T10:00")
    assert ids(file.on_call("web", at)) == ["ana", "ben"]
    assert ids(file.on_call("led", at)) == ["chika"]
    assert file.on_call("lost", at) == file.on_call("nobody", at) == ()


def test_a_page_may_go_to_a_team_or_a_person() -> None:
    """A paging target that is a team's name means who is on duty there; a person's id means the person; else nobody."""
    file = OnCallFile(plan=plan(primary=weekly()), directory=DIRECTORY)
    at = berlin("2026-11-17T10:00")
    assert ids(file.rotation("web", at)) == ["ana"]
    assert ids(file.rotation("ben", at)) == ["ben"]
    assert file.rotation("nobody", at) == ()
    assert file.names == {"primary"}


@given(st.sampled_from(ZONES), TIMES, st.sampled_from(["day", "week"]), MOMENTS, st.integers(1, 3))
def test_somebody_is_on_duty_at_every_moment(zone: str, hand_over: time, every: str, at: datetime, count: int) -> None:
    """No moment is without a person, nights of summer time included, and shifts never run backwards."""
    duty = duty_of(zone, hand_over, every, count)
    assert duty.person_at(at) in duty.people
    assert duty.shift_at(at) <= duty.shift_at(at + timedelta(minutes=1)) <= duty.shift_at(at) + 1


@given(st.sampled_from(ZONES), TIMES, st.dates(date(2015, 1, 1), date(2034, 12, 31)) | NIGHTS.map(datetime.date))
@settings(max_examples=300)
def test_each_local_day_hands_over_exactly_once(zone: str, hand_over: time, day: date) -> None:
    """From noon to noon the shift number grows by one, and it changes at one moment only, the hand-over."""
    duty = duty_of(zone, hand_over, "day", 3)
    place = ZoneInfo(zone)
    start = datetime.combine(day, time(12), place).astimezone(UTC)
    end = datetime.combine(day + timedelta(days=1), time(12), place).astimezone(UTC)
    assume(start.astimezone(place).date() == day)
    assume(end.astimezone(place).date() == day + timedelta(days=1))
    assert duty.shift_at(end) - duty.shift_at(start) == 1
    low, high = start, end
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        low, high = (middle, high) if duty.shift_at(middle) == duty.shift_at(start) else (low, middle)
    local = high.astimezone(place)
    assert {datetime.combine(d, hand_over, place).astimezone(UTC) for d in (day, day + timedelta(days=1))} & {
        (high - timedelta(microseconds=n)).replace(microsecond=0) for n in (0, 999_999)
    }, local


def duty_of(zone: str, hand_over: time, every: str, count: int) -> Duty:
    target = Target.model_validate(
        {
            "rotation": ["ana", "ben", "chika"][:count],
            "starts": "2026-01-05",
            "every": every,
            "hand_over": hand_over.strftime("%H:%M"),
            "zone": zone,
        }
    )
    return Duty.of(target, time_zone="UTC")


@given(MOMENTS, st.integers(1, 500), MOMENTS)
def test_inside_an_override_nobody_else_is_on_duty(start: datetime, hours: int, at: datetime) -> None:
    """Whatever the rotation says, the override's person is on duty inside its span and only the rotation's outside."""
    end = start + timedelta(hours=hours)
    overrides = [{"person": "chika", "from": start.isoformat(), "until": end.isoformat()}]
    duty = Duty.of(Target.model_validate({"person": "ana", "overrides": overrides}), time_zone="UTC")
    for moment in (at, start, end, start + (end - start) / 2):
        assert duty.person_at(moment) == ("chika" if start <= moment < end else "ana")


@dataclass
class FakePagerDuty:
    """Answers `/oncalls` at the wire as PagerDuty documents it, or with whatever a test wants."""

    status: int = 200
    body: bytes = b""
    broken: Exception | None = None
    asked: list[httpx2.Request] = field(default_factory=list)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        if self.broken:
            raise self.broken
        return httpx2.Response(self.status, content=self.body, headers={"Content-Type": "application/json"})

    def says(self, *levels: tuple[int, str]) -> None:
        entries = [
            {
                "escalation_policy": {"id": "PUS0KTE", "type": "escalation_policy_reference"},
                "escalation_level": level,
                "user": {"id": f"P{level}", "type": "user", "name": "x", "email": email},
                "start": "2026-11-16T08:00:00Z",
                "end": "2026-11-23T08:00:00Z",
            }
            for level, email in levels
        ]
        self.status, self.body = 200, json.dumps({"oncalls": entries, "limit": 100, "more": False}).encode()


@pytest.fixture
def far_side() -> FakePagerDuty:
    return FakePagerDuty()


AT = datetime(2026, 11, 17, 10, tzinfo=UTC)


def asking(fake: FakePagerDuty) -> PagerDutyOnCall:
    wanted = plan(primary=weekly(), secondary={"person": "ben"})
    return PagerDutyOnCall(
        file=OnCallFile(plan=wanted, directory=DIRECTORY),
        policies={"primary": "PUS0KTE"},
        directory=DIRECTORY,
        token=SecretStr("token"),
        client_options={"transport": httpx2.MockTransport(fake)},
    )


def test_pagerduty_is_asked_and_its_levels_are_the_order(far_side: FakePagerDuty) -> None:
    """The people of the escalation policy at that moment, found by e-mail, first level first; other targets come from the file."""
    far_side.says((2, "ana@example.com"), (1, "Chika@example.com"), (3, "stranger@example.com"))
    on_call = asking(far_side)
    assert ids(on_call.rotation("primary", AT)) == ["chika", "ana"]
    assert ids(on_call.on_call("web", AT)) == ["chika", "ana", "ben"]
    assert ids(on_call.rotation("secondary", AT)) == ["ben"]
    assert on_call.degraded() == ()
    (asked,) = far_side.asked
    assert (asked.url.host, asked.url.path) == ("api.pagerduty.com", "/oncalls")
    assert asked.headers["Authorization"] == "Token token=token"
    assert asked.url.params.get_list("escalation_policy_ids[]") == ["PUS0KTE"]
    assert asked.url.params["since"] == asked.url.params["until"] == AT.isoformat()


def test_an_answer_holds_for_a_minute(far_side: FakePagerDuty) -> None:
    """Within a minute nobody asks again; after it, and for another time, PagerDuty is asked anew."""
    far_side.says((1, "chika@example.com"))
    on_call = asking(far_side)
    for seconds in (0, 30, 59):
        on_call.rotation("primary", AT + timedelta(seconds=seconds))
    assert len(far_side.asked) == 1
    on_call.rotation("primary", AT + timedelta(seconds=60))
    on_call.rotation("primary", AT - timedelta(days=1))
    assert len(far_side.asked) == 3


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (500, b"", "500"),
        (429, b"{}", "429"),
        (401, b"{}", "401"),
        (404, b"{}", "404"),
        (302, b"", "302"),
        (200, b"<html>", "did not answer"),
        (200, b"[]", "not understood"),
        (200, b'{"oncalls": {}}', "not understood"),
        (200, b'{"oncalls": []}', "nobody"),
        (200, b'{"oncalls": [null, {"user": null}, {"escalation_level": "1", "user": {"email": "ana@example.com"}}]}', "nobody"),
    ],
)
def test_without_an_answer_the_file_serves_and_it_is_said(far_side: FakePagerDuty, status: int, body: bytes, words: str) -> None:
    """Whatever PagerDuty answers instead, once and without waiting, the file's person is on duty, and a sentence says why."""
    far_side.status, far_side.body = status, body
    on_call = asking(far_side)
    assert ids(on_call.rotation("primary", AT)) == ["ana"]
    assert len(far_side.asked) == 1
    (sentence,) = on_call.degraded()
    assert words in sentence
    assert "muster.yaml" in sentence


def test_when_pagerduty_comes_back_it_is_believed_again(far_side: FakePagerDuty) -> None:
    """After the minute the next answer counts, and nothing is degraded any more."""
    far_side.status = 503
    on_call = asking(far_side)
    on_call.rotation("primary", AT)
    far_side.says((1, "ben@example.com"))
    assert ids(on_call.rotation("primary", AT + timedelta(minutes=1))) == ["ben"]
    assert on_call.degraded() == ()


@pytest.mark.parametrize(
    "broken",
    [httpx2.ConnectError("refused"), httpx2.ReadTimeout("slow"), httpx2.RemoteProtocolError("odd"), httpx2.DecodingError("bad")],
)
def test_a_broken_connection_is_no_answer(far_side: FakePagerDuty, broken: Exception) -> None:
    """Refused, slow or garbled: the file serves at once, without a second try."""
    far_side.broken = broken
    on_call = asking(far_side)
    assert ids(on_call.rotation("primary", AT)) == ["ana"]
    assert "did not answer" in on_call.degraded()[0]
    assert len(far_side.asked) == 1


def test_the_token_does_not_show(far_side: FakePagerDuty) -> None:
    """Neither the object nor what it says about trouble holds the token."""
    far_side.status = 401
    on_call = PagerDutyOnCall(
        file=OnCallFile(plan=plan(primary=weekly()), directory=DIRECTORY),
        policies={"primary": "PUS0KTE"},
        directory=DIRECTORY,
        token=SecretStr("very-secret"),
        client_options={"transport": httpx2.MockTransport(far_side)},
    )
    on_call.rotation("primary", AT)
    assert "very-secret" not in f"{on_call.degraded()} {vars(on_call)}"
