"""Alerts fire for their fault, in time, and are delivered until they are accepted."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from actions.simulation.alerts import RULES, Alert, AlertBook, fingerprint, payload
from actions.simulation.hosting import Harbour
from actions.simulation.notifying import Notifier
from actions.simulation.promql import parse

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
SHORT = timedelta(seconds=60)
# The alerts that each fault raises; a fault raises no other.
RAISED = {
    "traffic": {"ModelLatencyP99High", "InferencePoolSaturated"},
    "slow_release": {"ModelLatencyP99High", "InferencePoolSaturated"},
    "provider_degraded": {"ProviderRateLimited", "ProviderErrorsHigh"},
    "retrieval_timeout": {"RetrievalTimeouts"},
    "retrieval_stale": {"VectorIndexStale"},
    "quality_regression": {"AnswerQualityDropped"},
    "cost_spike": {"CostPerHourHigh", "RetryStorm"},
    "safety_failure": {"UnsafeAnswersHigh", "SafetyFilterOff"},
}


class Wall:
    def __init__(self):
        self.at = START

    def __call__(self):
        return self.at


@pytest.fixture
def wall():
    return Wall()


def fire(harbour, wall, kind, seconds):
    if kind:
        harbour.main.do({"do": "fault", "kind": kind, "parameters": {}, "by": "test"})
    for _ in range(seconds):
        wall.at += timedelta(seconds=1)
        harbour.main.catch_up()
    return {alert.rule for alert in harbour.main.book.alerts.values() if alert.status == "firing"}


@pytest.mark.parametrize("kind", RAISED)
def test_fault_raises_its_alerts_within_forty_seconds(tmp_path, wall, kind):
    """Every fault has an alert firing 42 s after it began, all of its own within 90 s, and none of another's; mending resolves them."""
    harbour = Harbour(tmp_path, wall=wall, warm_up=SHORT)
    first = fire(harbour, wall, kind, 42)
    assert first
    assert first <= RAISED[kind]
    assert fire(harbour, wall, None, 48) == RAISED[kind]
    harbour.main.do({"do": "mend", "kind": None, "by": "test"})
    assert fire(harbour, wall, None, 240) == set()


def test_calm_raises_nothing(tmp_path, wall):
    """A service that nobody breaks raises no alert in ten minutes."""
    assert fire(Harbour(tmp_path, wall=wall, warm_up=SHORT), wall, None, 600) == set()


def test_every_rule_is_raised_by_some_fault_and_can_be_read():
    """Each rule's query is of the subset, and each rule belongs to a fault."""
    assert {rule.name for rule in RULES} == set().union(*RAISED.values())
    for rule in RULES:
        parse(rule.expression)


def test_fingerprint_is_alertmanagers():
    """The fingerprint equals the one that the real Alertmanager gave the same labels."""
    sample = json.loads((Path(__file__).parents[2] / "samples" / "alertmanager_webhook_firing.json").read_text())
    for alert in sample["alerts"]:
        assert fingerprint(alert["labels"]) == alert["fingerprint"]


def test_payload_has_the_shape_of_alertmanagers():
    """A payload has the same fields, of the same types, as one captured from the real Alertmanager."""
    sample = json.loads((Path(__file__).parents[2] / "samples" / "alertmanager_webhook_firing.json").read_text())
    labels = {"alertname": "SafetyFilterOff", "service": "answers"}
    alert = Alert(rule="SafetyFilterOff", labels=labels, value=0.0, pending_at=1e9, seen_at=1e9, firing_at=1e9)
    ours = payload([alert], AlertBook([alert]), page="http://127.0.0.1:8090/")
    assert {name: type(value) for name, value in ours.items()} == {name: type(value) for name, value in sample.items()}
    assert {name: type(value) for name, value in ours["alerts"][0].items()} == {
        name: type(value) for name, value in sample["alerts"][0].items()
    }
    assert ours["alerts"][0]["startsAt"] == "2001-09-09T01:46:40.000Z"
    assert {"summary", "description", "dashboard_url"} <= set(ours["alerts"][0]["annotations"])


class Receiver:
    """The far side of the webhook: answers as told, and keeps what it accepted."""

    def __init__(self):
        self.status = 202
        self.accepted = []
        self.asked = 0
        self.tokens = set()

    def __call__(self, request):
        self.asked += 1
        self.tokens.add(request.headers.get("authorization"))
        if self.status == 0:
            raise httpx.ConnectError("refused")
        if self.status < 300:
            self.accepted.append(json.loads(request.content))
        return httpx.Response(self.status)

    def seen(self):
        return [(one["groupLabels"]["alertname"], one["status"]) for one in self.accepted]


def deliver(harbour, receiver, *, times=1):
    async def run():
        async with httpx.AsyncClient(transport=httpx.MockTransport(receiver)) as client:
            notifier = Notifier(harbour.main, url="http://muster/alerts/alertmanager", client=client, page="http://sim/", token="t0k")
            return [await notifier.deliver_due() for _ in range(times)]

    return asyncio.run(run())


def test_alert_is_delivered_once_and_then_its_end(tmp_path, wall):
    """A firing alert is delivered once, with the token, and its end once."""
    harbour, receiver = Harbour(tmp_path, wall=wall, warm_up=SHORT), Receiver()
    fire(harbour, wall, "quality_regression", 60)
    assert deliver(harbour, receiver, times=3) == [True, True, True]
    assert receiver.seen() == [("AnswerQualityDropped", "firing")]
    assert receiver.tokens == {"Bearer t0k"}
    harbour.main.do({"do": "mend", "kind": None, "by": "test"})
    fire(harbour, wall, None, 90)
    deliver(harbour, receiver, times=3)
    assert receiver.seen() == [("AnswerQualityDropped", "firing"), ("AnswerQualityDropped", "resolved")]
    assert receiver.accepted[0]["alerts"][0]["startsAt"] == receiver.accepted[1]["alerts"][0]["startsAt"]


@pytest.mark.parametrize("status", [0, 500, 429, 403])
def test_alert_is_tried_until_accepted(tmp_path, wall, status):
    """A receiver that is down or refuses gets the alert again, until it answers with 2xx."""
    harbour, receiver = Harbour(tmp_path, wall=wall, warm_up=SHORT), Receiver()
    fire(harbour, wall, "quality_regression", 60)
    receiver.status = status
    assert deliver(harbour, receiver, times=2) == [False, False]
    assert receiver.asked == 2
    receiver.status = 200
    assert deliver(harbour, receiver) == [True]
    assert receiver.seen() == [("AnswerQualityDropped", "firing")]


def test_standing_alert_is_repeated(tmp_path, wall):
    """An alert that goes on standing is delivered again every five minutes."""
    harbour, receiver = Harbour(tmp_path, wall=wall, warm_up=SHORT), Receiver()
    fire(harbour, wall, "quality_regression", 60)
    deliver(harbour, receiver)
    fire(harbour, wall, None, 280)
    deliver(harbour, receiver)
    assert len(receiver.accepted) == 1
    fire(harbour, wall, None, 30)
    deliver(harbour, receiver)
    assert receiver.seen() == [("AnswerQualityDropped", "firing")] * 2


def test_restart_loses_and_repeats_nothing(tmp_path, wall):
    """A stop after the delivery repeats nothing; an alert that ended while the process was down is delivered as resolved."""
    harbour, receiver = Harbour(tmp_path, wall=wall, warm_up=SHORT), Receiver()
    fire(harbour, wall, "quality_regression", 60)
    deliver(harbour, receiver)
    again = Harbour(tmp_path, wall=wall, warm_up=SHORT)
    fire(again, wall, None, 30)
    deliver(again, receiver)
    assert receiver.seen() == [("AnswerQualityDropped", "firing")]
    again.main.do({"do": "mend", "kind": None, "by": "test"})
    wall.at += timedelta(seconds=300)
    deliver_after = Harbour(tmp_path, wall=wall, warm_up=SHORT)
    fire(deliver_after, wall, None, 20)
    deliver(deliver_after, receiver)
    assert receiver.seen() == [("AnswerQualityDropped", "firing"), ("AnswerQualityDropped", "resolved")]


def test_alert_that_fired_unkept_is_found_again(tmp_path, wall):
    """An alert that fired just before a kill, undelivered, stands again after the restart without waiting anew."""
    harbour, receiver = Harbour(tmp_path, wall=wall, warm_up=SHORT), Receiver()
    fire(harbour, wall, "quality_regression", 60)
    again = Harbour(tmp_path, wall=wall, warm_up=SHORT)
    again.main.catch_up()
    assert {alert.rule for alert in again.main.book.alerts.values() if alert.status == "firing"} == {"AnswerQualityDropped"}
    deliver(again, receiver)
    assert receiver.seen() == [("AnswerQualityDropped", "firing")]


def test_delivery_goes_on_after_an_unforeseen_failure(tmp_path, wall, monkeypatch, caplog):
    """A failure that nobody foresaw is logged, and the alert is delivered by the next look."""
    monkeypatch.setattr("actions.simulation.notifying._LONGEST_WAIT", 0.01)
    harbour, receiver = Harbour(tmp_path, wall=wall, warm_up=SHORT), Receiver()
    fire(harbour, wall, "quality_regression", 60)
    failures = iter([ZeroDivisionError("unforeseen")])

    async def run():
        accepted = asyncio.Event()

        def far_side(request):
            for failure in failures:
                raise failure
            accepted.set()
            return receiver(request)

        async with httpx.AsyncClient(transport=httpx.MockTransport(far_side)) as client:
            notifier = Notifier(harbour.main, url="http://muster/alerts/alertmanager", client=client, page="http://sim/")
            work = asyncio.create_task(notifier.run())
            async with asyncio.timeout(20):
                await accepted.wait()
            work.cancel()

    asyncio.run(run())
    assert receiver.seen() == [("AnswerQualityDropped", "firing")]
    assert "unforeseen" in caplog.text
