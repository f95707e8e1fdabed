"""Each source's parser: the samples, the shapes, and rubbish."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.ingress import alertmanager, cloudevents, generic, pagerduty
from bot.ingress.mapping import FieldMapping, steps_of
from bot.ingress.payload import LONGEST_LABEL, clean, fingerprint_of, link_of
from bot.ingress.source import Options, PayloadInvalid, SourceKind, installed
from runbooks.alert import Alert, AlertStatus

SAMPLES = Path(__file__).parents[2] / "samples"
NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
OPTIONS = Options(source="here", received_at=NOW)
MAPPING = FieldMapping.model_validate(
    {
        "alerts": "checks",
        "fingerprint": ["region", "id"],
        "status": "state",
        "firing": ["down"],
        "resolved": ["up"],
        "title": "name",
        "starts_at": "since",
        "ends_at": "ended",
        "link": "url",
        "event_id": "event",
        "labels": {"alertname": "name", "service": r"tags.service\.name", "first": "hosts.0"},
        "labels_from": "labels",
        "annotations": {"summary": "message"},
        "constants": {"environment": "production"},
    }
)
GENERIC = Options(source="here", received_at=NOW, settings=generic.GenericSettings(mapping=MAPPING))


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def one(alerts: list[Alert]) -> Alert:
    (alert,) = alerts
    return alert


def changed(name: str, **fields: Any) -> bytes:
    delivery = json.loads(sample(name))
    delivery["alerts"][0].update(fields)
    return json.dumps(delivery).encode()


FIRING = "alertmanager_webhook_firing.json"


def test_our_four_sources_come_by_entry_point() -> None:
    """The sources that Muster ships are found the way a stranger's would be."""
    assert {"alertmanager", "cloudevents", "generic", "pagerduty"} <= set(installed())
    assert all(isinstance(kind, SourceKind) for kind in installed().values())


def test_a_captured_firing_alert_is_read_whole() -> None:
    """Labels, annotations, times and link of Alertmanager's own delivery arrive as they were sent."""
    alert = one(alertmanager.parse(sample(FIRING), {}, OPTIONS))
    assert alert.status is AlertStatus.FIRING
    assert alert.labels["service"] == "checkout"
    assert len(alert.labels) == 8
    assert alert.annotations["runbook_url"] == "https://runbooks.example.com/checkout-errors"
    assert alert.title == "Checkout error rate 1 on 127.0.0.1:18081"
    assert alert.starts_at == datetime(2026, 11, 20, 19, 47, 48, 568000, tzinfo=UTC)
    assert alert.ends_at is None
    assert alert.link is not None
    assert alert.link.startswith("http://prometheus.example.com:9090/graph")


def test_a_captured_resolve_has_the_same_fingerprint_and_an_end() -> None:
    """The resolve of an alert is known to be its own."""
    fired = one(alertmanager.parse(sample(FIRING), {}, OPTIONS))
    resolved = one(alertmanager.parse(sample("alertmanager_webhook_resolved.json"), {}, OPTIONS))
    assert resolved.fingerprint == fired.fingerprint
    assert resolved.status is AlertStatus.RESOLVED
    assert resolved.ends_at == datetime(2026, 11, 20, 19, 47, 49, 568000, tzinfo=UTC)


def test_a_missing_fingerprint_is_computed_as_alertmanager_does() -> None:
    """The captured fingerprint is what our computation gives for the captured labels."""
    labels = json.loads(sample(FIRING))["alerts"][0]["labels"]
    assert fingerprint_of(labels) == "75be5ca1018c6392"
    assert one(alertmanager.parse(changed(FIRING, fingerprint=""), {}, OPTIONS)).fingerprint == "75be5ca1018c6392"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2026-11-20T19:00:00Z", datetime(2026, 11, 20, 19, tzinfo=UTC)),
        ("2026-11-20T21:00:00+02:00", datetime(2026, 11, 20, 19, tzinfo=UTC)),
        ("2026-11-20T19:00:00.123456789Z", datetime(2026, 11, 20, 19, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-20T20:04:59Z", NOW + timedelta(minutes=5) - timedelta(seconds=1)),
        ("2026-11-20T20:06:00Z", NOW),
        ("0001-01-01T00:00:00Z", NOW),
        ("", NOW),
        (None, NOW),
    ],
)
def test_times_are_sane(sent: str | None, kept: datetime) -> None:
    """Times arrive in UTC; a zero value and a clock that runs ahead become the time of receipt."""
    assert one(alertmanager.parse(changed(FIRING, startsAt=sent), {}, OPTIONS)).starts_at == kept


@pytest.mark.parametrize("sent", ["yesterday", "2026-11-20T19:00:00", True, [], "0001-01-01T00:00:00+14:00", 10**30])
def test_what_is_no_time_is_refused(sent: object) -> None:
    """A time that cannot be read, or has no zone, is refused with its field."""
    with pytest.raises(PayloadInvalid, match="startsAt"):
        alertmanager.parse(changed(FIRING, startsAt=sent), {}, OPTIONS)


def test_hostile_text_is_tamed_without_losing_the_alert() -> None:
    """Control and direction characters go, long text is cut with a mark, and mrkdwn stays text for the card to escape."""
    labels = {"alertname": "A\u0000B\u202eC\u001b[31m", "note": "<!channel> {{ 7*7 }}", "long": "x" * 4000, "half": "\ud800"}
    alert = one(alertmanager.parse(changed(FIRING, labels=labels), {}, OPTIONS))
    assert alert.labels["alertname"] == "ABC[31m"
    assert alert.labels["note"] == "<!channel> {{ 7*7 }}"
    assert len(alert.labels["long"]) == LONGEST_LABEL
    assert alert.labels["long"].endswith("…")
    assert alert.labels["half"] == "\N{REPLACEMENT CHARACTER}"
    alert.model_dump_json().encode()


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "ftp://x", "https://a b", "https://a|b", "https://a>b", "x" * 3000, None, 7, "https://"]
)
def test_only_a_web_address_becomes_a_link(link: object) -> None:
    """What could do more than open a page is dropped; the alert is kept."""
    assert link_of(link) is None
    assert one(alertmanager.parse(changed(FIRING, generatorURL=link), {}, OPTIONS)).link is None


def test_two_long_fingerprints_do_not_fall_together() -> None:
    """A fingerprint that is too long to keep is hashed, not cut."""
    first, second = (one(alertmanager.parse(changed(FIRING, fingerprint="f" * 300 + end), {}, OPTIONS)) for end in "ab")
    assert first.fingerprint != second.fingerprint


@given(st.text())
def test_clean_text_can_be_stored_and_shown(text: str) -> None:
    """Whatever comes in, what is kept is valid UTF-8 without control characters, and cleaning twice is cleaning once."""
    kept = clean(text, 50)
    kept.encode()
    assert len(kept) <= 50
    assert all(letter.isprintable() or letter in "\n\t\u200c\u200d" for letter in kept)
    assert clean(kept, 50) == kept


@pytest.mark.parametrize(
    ("kind", "status"),
    [("triggered", AlertStatus.FIRING), ("acknowledged", AlertStatus.FIRING), ("resolved", AlertStatus.RESOLVED)],
)
def test_a_pagerduty_incident_is_one_alert_throughout_its_life(kind: str, status: AlertStatus) -> None:
    """All events of an incident share a fingerprint, and say what is needed to answer PagerDuty."""
    alert = one(pagerduty.parse(sample(f"pagerduty/webhook_v3_{kind}.derived.json"), {}, OPTIONS))
    assert (alert.fingerprint, alert.status) == ("PGR0VU2", status)
    assert alert.upstream == {"pagerduty": "PGR0VU2", "event": f"incident.{kind}", "agent": "Tenex Engineer"}
    assert alert.labels["service"] == "API Service"
    assert alert.title == "A little bump in the road"
    assert (alert.ends_at is not None) == (status is AlertStatus.RESOLVED)
    assert alert.starts_at <= NOW


@pytest.mark.parametrize("named", ["PF9KMXH", "API Service"])
def test_pagerdutys_services_are_named_as_ours(named: str) -> None:
    """The configuration may map PagerDuty's service, by id or by name, to one of its own."""
    options = Options(source="here", received_at=NOW, settings=pagerduty.PagerDutySettings(services={named: "answers"}))
    alert = one(pagerduty.parse(sample("pagerduty/webhook_v3_triggered.derived.json"), {}, options))
    assert alert.labels["service"] == "answers"


def test_pagerduty_events_about_other_things_carry_no_alert() -> None:
    """A changed priority, a ping, a note: accepted, and nobody is woken."""
    assert pagerduty.parse(sample("pagerduty/webhook_v3_priority_updated.raw.json"), {}, OPTIONS) == []
    ping = {"event": {"id": "1", "event_type": "pagey.ping", "data": {"message": "Hello"}}}
    assert pagerduty.parse(json.dumps(ping).encode(), {}, OPTIONS) == []


EVENT = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/monitors/7",
    "type": "com.example.check.fired",
    "time": "2026-11-20T19:30:00Z",
    "subject": "answers",
    "data": {"title": "Slow", "service": "answers", "labels": {"alertname": "Slow"}, "link": "https://example.com/7"},
}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}
BINARY = {
    "content-type": "application/json",
    "ce-specversion": "1.0",
    "ce-id": "e-1",
    "ce-source": "/monitors/7",
    "ce-type": "com.example.check.fired",
    "ce-time": "2026-11-20T19:30:00Z",
    "ce-subject": "answers",
}


def test_the_three_ways_to_send_a_cloudevent_mean_the_same() -> None:
    """Structured, binary and batched delivery of one event give one alert."""
    structured = cloudevents.parse(json.dumps(EVENT).encode(), STRUCTURED, OPTIONS)
    binary = cloudevents.parse(json.dumps(EVENT["data"]).encode(), BINARY, OPTIONS)
    batched = cloudevents.parse(json.dumps([EVENT]).encode(), {"content-type": "application/cloudevents-batch+json"}, OPTIONS)
    assert structured == binary == batched
    alert = one(structured)
    assert (alert.title, alert.labels["alertname"], alert.event_id) == ("Slow", "Slow", "/monitors/7#e-1")
    assert alert.starts_at == datetime(2026, 11, 20, 19, 30, tzinfo=UTC)


def test_a_cloudevents_type_or_data_says_that_it_is_over() -> None:
    """`….resolved` resolves what `….fired` fired, and so does a status in the data."""
    fired = one(cloudevents.parse(json.dumps(EVENT).encode(), STRUCTURED, OPTIONS))
    by_type = one(cloudevents.parse(json.dumps({**EVENT, "type": "com.example.check.resolved"}).encode(), STRUCTURED, OPTIONS))
    by_data = one(cloudevents.parse(json.dumps({**EVENT, "data": {**EVENT["data"], "status": "resolved"}}).encode(), STRUCTURED, OPTIONS))
    assert fired.status is AlertStatus.FIRING
    assert {by_type.status, by_data.status} == {AlertStatus.RESOLVED}
    assert {by_type.fingerprint, by_data.fingerprint} == {fired.fingerprint}


@pytest.mark.parametrize(
    ("event", "headers", "status"),
    [
        ({**EVENT, "specversion": "0.3"}, STRUCTURED, 422),
        ({k: v for k, v in EVENT.items() if k != "id"}, STRUCTURED, 422),
        ({**EVENT, "data_base64": "e30="}, STRUCTURED, 422),
        (EVENT, {"content-type": "application/json"}, 415),
        (EVENT, {"content-type": "application/cloudevents+xml"}, 415),
        (EVENT, {**BINARY, "content-type": "text/xml"}, 415),
        ({**{k: v for k, v in EVENT.items() if k != "data"}, "data_base64": 7}, STRUCTURED, 422),
        ({**EVENT, "data": {"status": "perhaps"}}, STRUCTURED, 422),
    ],
)
def test_what_is_no_cloudevent_is_refused(event: dict[str, Any], headers: Mapping[str, str], status: int) -> None:
    """Wrong version, missing attribute, another format: each with its status."""
    with pytest.raises(PayloadInvalid) as refused:
        cloudevents.parse(json.dumps(event).encode(), headers, OPTIONS)
    assert refused.value.status == status


def test_base64_data_is_read() -> None:
    """Data that travels as base64 is the same data."""
    event = {k: v for k, v in EVENT.items() if k != "data"} | {"data_base64": "eyJ0aXRsZSI6ICJTbG93In0="}
    assert one(cloudevents.parse(json.dumps(event).encode(), STRUCTURED, OPTIONS)).title == "Slow"


CHECK = {
    "id": 7,
    "region": "eu",
    "state": "DOWN",
    "name": "Home page",
    "since": 1795201200,
    "url": "https://example.com/7",
    "event": "ev-1",
    "tags": {"service.name": "shop"},
    "hosts": ["web-1", "web-2"],
    "labels": {"team": "web", "count": 3, "nested": {"a": 1}, "flag": True},
    "message": "No answer",
}


def test_a_declared_mapping_reads_a_strangers_json() -> None:
    """Paths into objects and lists, names with full stops, numbers, constants: each field lands where it was declared."""
    body = json.dumps({"checks": [CHECK, {**CHECK, "id": 8, "state": "up", "since": 1795201200000}]}).encode()
    down, up = generic.parse(body, {}, GENERIC)
    assert (down.fingerprint, down.status, down.title, down.event_id) == ("eu/7", AlertStatus.FIRING, "Home page", "ev-1")
    assert down.labels == {
        "team": "web",
        "count": "3",
        "flag": "true",
        "alertname": "Home page",
        "service": "shop",
        "first": "web-1",
        "environment": "production",
    }
    assert down.annotations == {"summary": "No answer"}
    assert down.starts_at == datetime.fromtimestamp(1795201200, tz=UTC)
    assert (up.status, up.starts_at) == (AlertStatus.RESOLVED, down.starts_at)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"state": "odd"}, "odd"), ({"state": None}, "missing"), ({"id": None}, "id is missing"), ({"since": "soon"}, "since")],
)
def test_an_entry_that_does_not_fit_its_mapping_is_refused(change: dict[str, Any], words: str) -> None:
    """Unknown states, and missing identities, are said and not guessed."""
    with pytest.raises(PayloadInvalid, match=words):
        generic.parse(json.dumps({"checks": [{**CHECK, **change}]}).encode(), {}, GENERIC)


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a\\"])
def test_a_path_that_leads_nowhere_is_refused(path: str) -> None:
    """A path with an empty step, or a backslash alone, is a mistake."""
    with pytest.raises(ValueError, match="not a path"):
        steps_of(path)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_every_name_can_stand_in_a_path(names: list[str]) -> None:
    """With full stops and backslashes escaped, any names make a path that reads as those names."""
    path = ".".join(name.replace("\\", "\\\\").replace(".", "\\.") for name in names)
    assert steps_of(path) == tuple(names)


PARSERS = [
    (alertmanager.parse, OPTIONS, {}),
    (pagerduty.parse, OPTIONS, {}),
    (cloudevents.parse, OPTIONS, STRUCTURED),
    (cloudevents.parse, OPTIONS, {"content-type": "application/cloudevents-batch+json"}),
    (cloudevents.parse, OPTIONS, BINARY),
    (generic.parse, GENERIC, {}),
]
WORDS = ["version", "alerts", "status", "labels", "event", "event_type", "id", "data", "checks", "state", "region", "since", "startsAt"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["4", "firing", "down", "1.0"])
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=8), inner, max_size=6),
    max_leaves=25,
)


def holds(body: bytes) -> None:
    """Every parser answers with alerts or with PayloadInvalid, and with nothing else."""
    for parse, options, headers in PARSERS:
        alerts: list[Alert] = []
        status, reason = 422, "parsed"
        try:
            alerts = parse(body, headers, options)
        except PayloadInvalid as refused:
            status, reason = refused.status, refused.reason
        assert status in {400, 413, 415, 422}
        assert reason
        for alert in alerts:
            assert isinstance(alert, Alert)
            assert alert.model_dump_json().encode()
            assert alert.ends_at is None or alert.ends_at >= alert.starts_at


@given(st.binary(max_size=300))
def test_no_bytes_break_a_parser(body: bytes) -> None:
    """Arbitrary bytes give alerts or a refusal."""
    holds(body)


@given(JSON)
@settings(max_examples=200)
def test_no_json_breaks_a_parser(value: Any) -> None:
    """Arbitrary JSON, made of the words that the formats use, gives alerts or a refusal."""
    holds(json.dumps(value).encode())


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A good delivery of some source with one value replaced by anything."""
    good = draw(
        st.sampled_from(
            [
                json.loads(sample(FIRING)),
                json.loads(sample("pagerduty/webhook_v3_resolved.derived.json")),
                EVENT,
                {"checks": [CHECK]},
            ]
        )
    )
    good = json.loads(json.dumps(good))
    node: Any = good
    while True:
        key = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else list(range(len(node)))))
        if isinstance(node[key], dict | list) and node[key] and draw(st.booleans()):
            node = node[key]
            continue
        node[key] = draw(JSON)
        return json.dumps(good).encode()


@given(spoiled())
@settings(max_examples=300)
def test_no_spoiled_delivery_breaks_a_parser(body: bytes) -> None:
    """A true delivery with any one value replaced by anything gives alerts or a refusal."""
    holds(body)
