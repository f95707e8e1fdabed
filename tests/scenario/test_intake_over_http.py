"""What a sender sees: every answer of the intake, over real HTTP messages and a real database."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from bot.configuration import parse
from bot.ingress.server import LARGEST_BODY, routes
from bot.secret import Secrets
from runbooks.alert import AlertStatus
from runbooks.change import ChangeKind
from storage import changes, inbox
from storage.database import Database

SAMPLES = Path(__file__).parent.parent / "samples"
NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)

CONFIGURATION = """
sources:
  alertmanager: {kind: alertmanager, auth: bearer, secret: [{env: ALERTS}, {env: ALERTS_OLD}]}
  basic: {kind: alertmanager, auth: basic, user: prometheus, secret: {env: ALERTS}}
  pagerduty: {kind: pagerduty, auth: hmac, secret: {file: pagerduty}}
  lost: {kind: alertmanager, auth: bearer, secret: {env: NOT_SET_ANYWHERE}}
  shop:
    kind: generic
    auth: hmac
    secret: {env: ALERTS}
    mapping: {fingerprint: id, title: name, labels: {alertname: name}}
changes:
  deploys: {auth: bearer, secret: {env: ALERTS}}
"""


class StoppedClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at


@dataclass
class Counts:
    """What was counted, in order."""

    seen: list[tuple[str, str, int]] = field(default_factory=list)

    def accepted(self, *, source: str, alerts: int) -> None:
        self.seen.append(("accepted", source, alerts))

    def refused(self, *, source: str, status: int) -> None:
        self.seen.append(("refused", source, status))


@dataclass
class House:
    """A running intake and everything around it."""

    client: TestClient
    database: Database
    counts: Counts
    clock: StoppedClock
    woken: list[int]

    def kept(self) -> list[inbox.Received]:
        return self.database.write(lambda tx: inbox.take(tx, 1000))

    def leaves_no_trace(self) -> None:
        assert self.database.read(inbox.waiting) == 0
        assert self.woken == []


@pytest.fixture
def secret() -> str:
    return json.loads((SAMPLES / "pagerduty/webhook_v3_signature_vector.json").read_text())["secret"]


@pytest.fixture
def house(tmp_path: Path, secret: str, database: Database) -> Iterator[House]:
    (tmp_path / "pagerduty").write_text(secret + "\n")
    configuration = parse(CONFIGURATION)
    secrets = Secrets(environ={"ALERTS": "s3cret", "ALERTS_OLD": "older"}, folder=tmp_path)
    counts, clock, woken = Counts(), StoppedClock(), []
    served = routes(
        database=database,
        sources=configuration.senders(secrets),
        change_sources=configuration.change_senders(secrets),
        clock=clock,
        on_accepted=lambda: woken.append(1),
        metrics=counts,
    )
    with TestClient(Starlette(routes=served), raise_server_exceptions=True) as client:
        yield House(client=client, database=database, counts=counts, clock=clock, woken=woken)


BEARER = {"Authorization": "Bearer s3cret"}


def alertmanager(name: str = "firing") -> bytes:
    return (SAMPLES / f"alertmanager_webhook_{name}.json").read_bytes()


def pagerduty(kind: str) -> bytes:
    return (SAMPLES / f"pagerduty/webhook_v3_{kind}.json").read_bytes()


def signed(body: bytes, secret: str) -> dict[str, str]:
    return {"X-PagerDuty-Signature": f"v1={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"}


def test_a_captured_alert_is_on_disk_before_its_202(house: House) -> None:
    """A 202 to Alertmanager means that the alert, raw and parsed, waits in the inbox, and that triage was woken."""
    answer = house.client.post("/alerts/alertmanager", content=alertmanager(), headers=BEARER)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    (received,) = house.kept()
    assert received.raw == alertmanager()
    (alert,) = received.alerts()
    assert (alert.source, alert.fingerprint, alert.status) == ("alertmanager", "75be5ca1018c6392", AlertStatus.FIRING)
    assert house.woken == [1]
    assert house.counts.seen == [("accepted", "alertmanager", 1)]


def test_the_older_secret_still_opens_while_it_is_rotated(house: House) -> None:
    """Each of the secrets that a source lists is accepted."""
    answer = house.client.post("/alerts/alertmanager", content=alertmanager(), headers={"Authorization": "Bearer older"})
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "Authorization: Bearer"),
        ({"Authorization": "Bearer wrong"}, "not known"),
        ({"Authorization": "Bearer "}, "Authorization: Bearer"),
        ({"Authorization": "Basic czNjcmV0"}, "Authorization: Bearer"),
        ({"Authorization": "Bearer s3cre"}, "not known"),
    ],
)
def test_a_sender_without_the_token_gets_401_and_leaves_no_trace(house: House, headers: dict[str, str], words: str) -> None:
    """A missing or wrong token is refused with a sentence and a challenge, and only the counter remembers it."""
    answer = house.client.post("/alerts/alertmanager", content=alertmanager(), headers=headers)
    assert answer.status_code == 401
    assert words in answer.json()["error"]
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    house.leaves_no_trace()
    assert house.counts.seen == [("refused", "alertmanager", 401)]


@pytest.mark.parametrize(
    ("user", "password", "status"),
    [("prometheus", "s3cret", 202), ("prometheus", "wrong", 401), ("somebody", "s3cret", 401), ("", "", 401)],
)
def test_basic_authentication_wants_user_and_password(house: House, user: str, password: str, status: int) -> None:
    """Only the right user with the right password is let in."""
    code = base64.b64encode(f"{user}:{password}".encode()).decode()
    answer = house.client.post("/alerts/basic", content=alertmanager(), headers={"Authorization": f"Basic {code}"})
    assert answer.status_code == status


def test_the_official_pagerduty_vector_is_accepted_and_carries_no_alert(house: House) -> None:
    """PagerDuty's own signed example verifies; a changed priority is accepted and is no alert."""
    vector = json.loads(pagerduty("signature_vector"))
    body = pagerduty("priority_updated.raw")
    answer = house.client.post("/alerts/pagerduty", content=body, headers={vector["header"]: vector["value"]})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 0})
    assert house.woken == []


def test_a_pagerduty_event_counts_once_however_often_it_is_delivered(house: House, secret: str) -> None:
    """The same event delivered again is answered with 202 and kept once."""
    body = pagerduty("triggered.derived")
    first = house.client.post("/alerts/pagerduty", content=body, headers=signed(body, secret))
    second = house.client.post("/alerts/pagerduty", content=body, headers=signed(body, secret))
    assert first.json() == {"accepted": 1}
    assert (second.status_code, second.json()) == (202, {"accepted": 0, "repeated": 1})
    assert house.database.read(inbox.waiting) == 1


def test_a_wrong_signature_gets_403_and_a_missing_one_400(house: House, secret: str) -> None:
    """PagerDuty's documented answers, and neither leaves a trace but the counter."""
    body = pagerduty("triggered.derived")
    wrong = house.client.post("/alerts/pagerduty", content=body + b" ", headers=signed(body, secret))
    missing = house.client.post("/alerts/pagerduty", content=body)
    assert (wrong.status_code, missing.status_code) == (403, 400)
    house.leaves_no_trace()
    assert house.counts.seen == [("refused", "pagerduty", 403), ("refused", "pagerduty", 400)]


def test_any_of_several_signatures_may_match(house: House, secret: str) -> None:
    """While PagerDuty rotates its secret it sends several signatures; one right one is enough."""
    body = pagerduty("triggered.derived")
    right = signed(body, secret)["X-PagerDuty-Signature"]
    answer = house.client.post("/alerts/pagerduty", content=body, headers={"X-PagerDuty-Signature": f"v1={'0' * 64},{right}"})
    assert answer.status_code == 202


@pytest.mark.parametrize(("age", "status"), [(0, 202), (-299, 202), (299, 202), (-301, 403), (301, 403)])
def test_an_old_signature_cannot_be_replayed(house: House, age: int, status: int) -> None:
    """A timestamped signature outside five minutes is refused, however right it is."""
    stamp = str(int((NOW + timedelta(seconds=age)).timestamp()))
    body = b'{"id": "1", "name": "Down"}'
    code = hmac.new(b"s3cret", stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"X-Muster-Timestamp": stamp, "X-Muster-Signature": f"v1={code}"}
    assert house.client.post("/alerts/shop", content=body, headers=headers).status_code == status


def test_a_timestamp_cannot_be_swapped(house: House) -> None:
    """The timestamp is part of what is signed."""
    body, stamp = b'{"id": "1", "name": "Down"}', str(int(NOW.timestamp()))
    code = hmac.new(b"s3cret", b"1." + body, hashlib.sha256).hexdigest()
    headers = {"X-Muster-Timestamp": stamp, "X-Muster-Signature": f"v1={code}"}
    assert house.client.post("/alerts/shop", content=body, headers=headers).status_code == 403


def many_labels(count: int) -> bytes:
    delivery = json.loads(alertmanager())
    delivery["alerts"][0]["labels"] = {f"label{n}": "x" for n in range(count)}
    return json.dumps(delivery).encode()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "empty"),
        (b"{", 400, "not JSON"),
        (b"\xff\xfe{}", 400, "UTF-8"),
        (b'{"a": 1, "a": 2}', 400, "twice"),
        (b'{"a": NaN}', 400, "NaN"),
        (b"[" * 100_000, 400, "nested"),
        (b'{"a": ' + b"9" * 5000 + b"}", 400, "too long"),
        (b"[]", 422, "object"),
        (b'{"version": "4"}', 422, "alerts"),
        (b'{"version": "3", "alerts": []}', 422, "version"),
        (b'{"version": "4", "alerts": [{"status": "maybe"}]}', 422, "alerts.0.status"),
        (b'{"version": "4", "alerts": [{"status": "firing", "labels": {}}]}', 422, "labels"),
        (b'{"version": "4", "alerts": [{"status": "firing", "labels": {"a": 1}}]}', 422, "labels.a"),
        (many_labels(1000), 422, "1000"),
    ],
)
def test_rubbish_is_refused_with_its_reason_and_changes_nothing(house: House, body: bytes, status: int, words: str) -> None:
    """What cannot be understood gets the status and a sentence that says where; nothing is kept."""
    answer = house.client.post("/alerts/alertmanager", content=body, headers=BEARER)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    house.leaves_no_trace()


def test_ten_megabytes_are_refused(house: House) -> None:
    """A body beyond the limit gets 413, whether its length is announced or not."""
    body = b" " * (2 * LARGEST_BODY)
    announced = house.client.post("/alerts/alertmanager", content=body, headers=BEARER)
    streamed = house.client.post("/alerts/alertmanager", content=iter([body[: LARGEST_BODY // 2]] * 4), headers=BEARER)
    assert (announced.status_code, streamed.status_code) == (413, 413)
    house.leaves_no_trace()


def test_a_compressed_body_is_refused(house: House) -> None:
    """A compressed body could unfold without bounds, so it gets 415."""
    answer = house.client.post("/alerts/alertmanager", content=alertmanager(), headers={**BEARER, "Content-Encoding": "gzip"})
    assert answer.status_code == 415


def test_an_unknown_source_gets_404_and_a_get_405(house: House) -> None:
    """Nobody configured it, so there is nothing to post to; and alerts are posted, not fetched."""
    assert house.client.post("/alerts/nobody", content=b"{}").status_code == 404
    assert house.client.get("/alerts/alertmanager").status_code == 405
    assert house.counts.seen == [("refused", "unknown", 404)]


def test_a_source_whose_secret_cannot_be_read_asks_to_try_again(house: House) -> None:
    """It is not the sender's fault: 503 with Retry-After, and the alert comes again instead of being lost."""
    answer = house.client.post("/alerts/lost", content=alertmanager(), headers=BEARER)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_without_a_database_nothing_is_promised(house: House, request: pytest.FixtureRequest) -> None:
    """When the database is gone the sender gets 503 with Retry-After, never 202."""
    assert house.client.post("/alerts/alertmanager", content=alertmanager(), headers=BEARER).status_code == 202
    if house.database.dialect == "sqlite":
        house.database.close()
    else:
        server, name = request.getfixturevalue("postgres_server"), house.database.url.database
        server.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        server.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    answer = house.client.post("/alerts/alertmanager", content=alertmanager("resolved"), headers=BEARER)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert house.woken == [1]


def test_a_storm_in_one_delivery_is_kept_whole(house: House) -> None:
    """Three thousand alerts in one body are accepted as three thousand alerts."""
    delivery = json.loads(alertmanager())
    (alert,) = delivery["alerts"]
    delivery["alerts"] = [{**alert, "fingerprint": f"{n:016x}"} for n in range(3000)]
    answer = house.client.post("/alerts/alertmanager", content=json.dumps(delivery), headers=BEARER)
    assert answer.json() == {"accepted": 3000}
    assert house.database.read(inbox.waiting) == 3000


def test_a_change_is_kept_once(house: House) -> None:
    """A change with a key is kept once, however often it is reported."""
    change = {"key": "build-7", "kind": "deploy", "title": "answers 7", "service": "answers", "changed_at": "2026-11-20T19:58:00Z"}
    first = house.client.post("/changes/deploys", json=change, headers=BEARER)
    second = house.client.post("/changes/deploys", json=[change], headers=BEARER)
    assert (first.status_code, first.json()) == (202, {"accepted": 1})
    assert second.json() == {"accepted": 0, "repeated": 1}
    (kept,) = house.database.read(lambda tx: changes.between(tx, NOW - timedelta(hours=1), NOW))
    assert (kept.kind, kept.service, kept.source) == (ChangeKind.DEPLOY, "answers", "deploys")


def test_a_change_without_the_token_is_refused(house: House) -> None:
    """The change feed is as closed as the alerts."""
    assert house.client.post("/changes/deploys", json={"kind": "deploy", "title": "x"}).status_code == 401
    assert house.client.post("/changes/deploys", json={"kind": "party", "title": "x"}, headers=BEARER).status_code == 422
