"""The story that must always work, driven by each sender: alert, card, acknowledgement, plan, run, proof, resolution, draft, review."""

import contextlib
import hashlib
import hmac
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

from bot.configuration import DEFAULT
from bot.flows.review import draft_of
from runbooks.people import Directory
from storage import reviews
from tests.inside import ANA, Inside, inside
from tests.ports import free_port
from tests.scenario_alerts import alert
from tests.stack import Stack

pytestmark = [pytest.mark.slow]
SAMPLES = Path(__file__).parent.parent / "samples" / "pagerduty"
SECRET = "the-secret-of-the-webhook"
PAGERDUTY = """
  pagerduty: {kind: pagerduty, auth: hmac, secret: {env: MUSTER_SECRET_PAGERDUTY}}

changes:"""


def resolved_by(stack: Inside, user: str = ANA) -> None:
    """Open the dialog from the card, take what it proposes, and resolve."""
    assert stack.press_in_view("Resolve", stack.more_of(user), user)["ok"]
    view = stack.dialog("What fixed it", user)
    stack.submitted(view, user=user)


def test_the_story_from_the_alert_to_the_review(stack: Inside) -> None:
    """Every step of the story stands on the timeline in its order, with who and what, and nobody typed any of it."""
    stack.incident_with_card()
    assert stack.press("Take command", stack.card() or {})["ok"]
    stack.until(lambda: stack.entries(kind="role.taken"), what="the commander", patience=5)
    assert acknowledged(stack)
    run = stack.ran(until="verified")
    resolved_by(stack)

    kinds = [entry.kind.value for entry in stack.entries()]
    story = [
        *("alert.fired", "incident.opened", "runbook.matched", "diagnostic.measured", "role.taken", "incident.acknowledged"),
        *("run.planned", "run.requested", "run.started", "run.executed", "mitigation.opened", "run.verdict", "incident.mitigated"),
        *("incident.resolved", "review.opened"),
    ]
    positions = [kinds.index(kind) for kind in story]
    assert positions == sorted(positions), list(zip(story, positions, strict=True))
    assert kinds.index("card.posted") < kinds.index("run.planned")
    (verdict,) = stack.entries(kind="run.verdict")
    assert verdict.payload["verdict"] == "verified"
    assert verdict.payload["before"] == run.value_before
    assert (stack.entries(kind="incident.resolved")[0].actor.id, stack.incident().commander) == ("ana", "ana")
    assert [entry.seq for entry in stack.entries()] == list(range(1, len(kinds) + 1))
    assert stack.chain_holds()


def acknowledged(stack: Inside) -> bool:
    """Press Acknowledge on the card as it stands; a card redrawn under the finger is pressed again."""
    for _ in range(5):
        with contextlib.suppress(httpx.HTTPStatusError):
            if stack.press("Acknowledge", stack.card() or {})["ok"]:
                return True
        time.sleep(0.2)
    return False


def test_the_draft_and_the_duty_follow_the_resolution(stack: Inside) -> None:
    """The draft cites an entry for every sentence, stands on its page, and its owner and due date are in the last message."""
    stack.incident_with_card()
    assert acknowledged(stack)
    stack.ran(until="verified")
    resolved_by(stack)
    _, draft = stack.database.read(lambda tx: draft_of(tx, 1, Directory()))
    sentences = [sentence for section in draft.sections for sentence in section.sentences]
    known = {entry.seq for entry in stack.entries()}
    assert sentences
    assert all(sentence.cites and set(sentence.cites) <= known for sentence in sentences)
    assert None not in {draft.phases.detected, draft.phases.acknowledged, draft.phases.mitigated, draft.phases.resolved}
    review = stack.database.read(lambda tx: reviews.of_incident(tx, 1))
    assert review is not None
    assert review.due_at.weekday() < 5
    message = stack.until(
        lambda: next((one for one in stack.thread() if "/postmortems/1" in json.dumps(one.get("blocks", []))), None),
        what="the last message",
        patience=15,
    )
    assert "resolved" in message["text"]
    page = stack.http.get(f"{stack.url}/postmortems/1")
    assert page.status_code == 200
    assert "Scale" in page.text


def test_the_alert_may_end_before_anybody_acts(stack: Inside) -> None:
    """The alert resolves by itself: the card says that nothing fires any more, and only a person closes the incident."""
    stack.alert(alert())
    stack.settle()
    stack.until(stack.diagnosed, what="the card", patience=15)
    stack.alert(alert(status="resolved"))
    stack.settle()
    stack.until(lambda: stack.entries(kind="alerts.clear"), what="the end of the alert", patience=10)
    assert stack.incident().is_open
    stack.until(lambda: "No alert fires any more" in json.dumps(stack.card()), what="the word on the card", patience=10)


# PagerDuty


class Vendor:
    """PagerDuty's REST API at the transport: keeps what was put."""

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        status = json.loads(request.content)["incident"]["status"] if request.content else "triggered"
        return httpx2.Response(200, json={"incident": {"status": status}})

    def put(self) -> list[tuple[str, str, str | None]]:
        """What was set, by whom."""
        return [
            (request.url.path, json.loads(request.content)["incident"]["status"], request.headers.get("From"))
            for request in self.requests
            if request.method == "PUT"
        ]


@pytest.fixture
def paged(ground: Stack, tmp_path: Path, sqlite_url: str) -> Iterator[tuple[Inside, Vendor]]:
    """A Muster that hears from PagerDuty and answers it."""
    configuration = DEFAULT.read_text().replace("\nchanges:", PAGERDUTY)
    more = {
        "MUSTER_SECRET_PAGERDUTY": SECRET,
        "PAGERDUTY_API_TOKEN": "the-token",
        "MUSTER_PAGERDUTY_API_URL": "https://127.0.0.1:9",  # nobody: a call past the transport below fails
    }
    with inside(ground, tmp_path, database_url=sqlite_url, configuration=configuration, **more) as stack:
        vendor = Vendor()
        answering: Any = stack.the.context.runner.registry.backend("incident.acknowledge", "production")
        answering._backend._transport = lambda: httpx2.MockTransport(vendor.answer)
        yield stack, vendor


def delivery(stack: Inside, kind: str, *, event: str, headers: dict[str, str] | None = None, title: str | None = None) -> httpx.Response:
    """A v3 webhook as PagerDuty sends it, truly signed unless told otherwise."""
    body = json.loads((SAMPLES / f"webhook_v3_{kind}.derived.json").read_text())
    body["event"]["id"] = event
    body["event"]["data"]["title"] = title or "Model reranker-v3 p99 latency over 500 ms for 5 min"
    content = json.dumps(body).encode()
    signature = {"X-PagerDuty-Signature": f"v1={hmac.new(SECRET.encode(), content, hashlib.sha256).hexdigest()}"}
    return stack.http.post(f"{stack.url}/alerts/pagerduty", content=content, headers=signature if headers is None else headers)


def test_pagerduty_drives_the_same_story_both_ways(paged: tuple[Inside, Vendor]) -> None:
    """A signed delivery raises the card; acknowledging and resolving in Slack go back to PagerDuty once, in the person's name."""
    stack, vendor = paged
    for _ in range(2):
        assert delivery(stack, "triggered", event="E1").status_code in {200, 202}
    stack.settle()
    card = stack.until(stack.card, what="the card", patience=15)
    assert "INC-1" in card["text"]
    assert acknowledged(stack)
    stack.settle()
    stack.until(vendor.put, what="the acknowledgement upstream", patience=10)
    resolved_text = stack.more_of()
    assert stack.press_in_view("Resolve", resolved_text)["ok"]
    view = stack.dialog("What fixed it")
    stack.submitted(view, stack.choose(view, "What fixed it", "It went away."))
    stack.until(lambda: len(vendor.put()) == 2, what="the resolution upstream", patience=10)
    path = "/incidents/PGR0VU2"
    assert vendor.put() == [(path, "acknowledged", "ana@example.com"), (path, "resolved", "ana@example.com")]
    assert len(stack.entries(kind="incident.opened")) == 1


def test_pagerduty_says_that_it_is_over(paged: tuple[Inside, Vendor]) -> None:
    """A resolved event from PagerDuty ends the alert of the incident that its triggered event opened."""
    stack, _ = paged
    delivery(stack, "triggered", event="E1")
    stack.settle()
    stack.until(stack.card, what="the card", patience=15)
    assert delivery(stack, "resolved", event="E2").status_code in {200, 202}
    stack.settle()
    stack.until(lambda: stack.entries(kind="alerts.clear"), what="the end of the alert", patience=10)


@pytest.mark.parametrize(("headers", "status"), [({"X-PagerDuty-Signature": f"v1={'0' * 64}"}, 403), ({}, 400)], ids=["wrong", "missing"])
def test_an_unproven_delivery_leaves_no_trace_but_a_count(paged: tuple[Inside, Vendor], headers: dict[str, str], status: int) -> None:
    """A wrong signature gets 403 and a missing one 400; nothing is stored, nothing is said, and a counter counts."""
    stack, _ = paged
    before = everything(stack)
    assert delivery(stack, "triggered", event="E1", headers=headers).status_code == status
    stack.settle()
    assert everything(stack) == before
    counted = [line for line in stack.http.get(f"{stack.url}/metrics").text.splitlines() if "refused" in line and "pagerduty" in line]
    assert any(f'status="{status}"' in line and line.endswith(" 1.0") for line in counted)


def everything(stack: Inside) -> tuple[int, ...]:
    """How much is stored, table by table, of what an alert could leave behind."""
    from sqlalchemy import text

    tables = ("inbox", "alerts", "incidents", "entries", "seen")
    return stack.database.read(lambda tx: tuple(int(tx.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()) for name in tables))


# The real Prometheus and Alertmanager

PROMETHEUS = shutil.which("prometheus")
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
RULES = """
groups:
  - name: latency
    interval: 1s
    rules:
      - alert: ModelLatencyP99High
        expr: model:latency_seconds:p99{model="reranker-v3"} > 0.5
        labels: {severity: critical, environment: production, service: answers}
        annotations: {summary: "{{ $labels.model }} answers slowly"}
"""


class Apart(Inside):
    """A Muster on another port than the one that the simulation tells its alerts: only the real Prometheus speaks to it."""

    def __init__(self, ground: Stack, folder: Path, *, database_url: str) -> None:
        super().__init__(ground, folder, database_url=database_url)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def monitored(stack: Inside, folder: Path) -> Iterator[None]:
    """Prometheus scrapes the simulated service and evaluates a rule; Alertmanager delivers."""
    prometheus, alertmanager = free_port(), free_port()
    (folder / "rules.yml").write_text(RULES)
    (folder / "prometheus.yml").write_text(
        f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{alertmanager}']}}]}}]}}
scrape_configs: [{{job_name: service, honor_labels: true, static_configs: [{{targets: ['127.0.0.1:{stack.simulation_port}']}}]}}]
"""
    )
    (folder / "alertmanager.yml").write_text(
        f"""
route: {{receiver: muster, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: muster
    webhook_configs:
      - url: {stack.url}/alerts/alertmanager
        send_resolved: true
        http_config: {{authorization: {{type: Bearer, credentials: the-token-of-the-tests}}}}
"""
    )
    commands = [
        [
            *(str(ALERTMANAGER), f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/alertmanager"),
            *(f"--web.listen-address=127.0.0.1:{alertmanager}", "--cluster.listen-address="),
        ],
        [
            *(str(PROMETHEUS), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/prometheus"),
            *(f"--web.listen-address=127.0.0.1:{prometheus}", "--rules.alert.resend-delay=1s"),
        ],
    ]
    with (folder / "monitoring.log").open("wb") as log:
        running = [subprocess.Popen(command, stdout=log, stderr=log) for command in commands]
        try:
            yield
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(timeout=20)


@pytest.mark.debian
@pytest.mark.timeout(180)
@pytest.mark.skipif(PROMETHEUS is None or ALERTMANAGER is None, reason="prometheus and prometheus-alertmanager are not installed (Debian)")
def test_the_real_prometheus_raises_the_card_and_ends_it(ground: Stack, tmp_path: Path, sqlite_url: str) -> None:
    """A rule of the real Prometheus fires over the scraped service, the card stands with its runbook, and the end arrives as well."""
    stack = Apart(ground, tmp_path, database_url=sqlite_url)
    try:
        stack.open()
        with monitored(stack, tmp_path):
            stack.fault("traffic", factor=2.5)
            stack.post("simulation", "/clock/advance", {"seconds": 90})
            stack.until(lambda: settled_card(stack), what="the card", patience=60)
            assert stack.incident().match.runbook.id == "inference-latency"
            (fired,) = stack.entries(kind="alert.fired")
            assert "reranker-v3 answers slowly" in fired.summary
            stack.ran(until="verified")
            stack.until(lambda: stack.entries(kind="alerts.clear"), what="the end of the alert", patience=60)
    finally:
        stack.stop()


def settled_card(stack: Inside) -> dict[str, Any] | None:
    stack.settle()
    return stack.diagnosed()
