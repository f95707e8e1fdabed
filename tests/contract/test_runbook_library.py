"""The shipped runbooks against the shipped backends and the simulated service, over the wire."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import uvicorn

from actions import kinds
from actions.runner import Runner
from actions.simulation.alerts import RULES
from actions.simulation.faults import FAULTS
from actions.simulation.hosting import Harbour
from actions.simulation.server import create_app
from actions.verification import interval, judge
from actions.worlds import drill_registry
from bot.configuration import Configuration
from runbooks.coverage import coverage
from runbooks.grammar import FILTERS
from runbooks.loading import Library, load_folder
from runbooks.matching import Matcher
from runbooks.operation import Measurement, OutcomeStatus
from runbooks.run import Sample, Verdict
from runbooks.runbook import Diagnostic, Runbook

FOLDER = Path(__file__).parents[2] / "runbooks" / "library"
DECLARED = {kind: [parameter.name for parameter in fault.parameters] for kind, fault in FAULTS.items()}
IDS = sorted(file.stem for file in FOLDER.glob("*.md") if file.stem != "README")
PRODUCTION = "production"


@pytest.fixture(scope="module")
def library() -> Library:
    """The shipped library, checked against the operations of the installed backends and the simulation's faults."""
    return load_folder([FOLDER], catalogue=kinds.declared(), faults=DECLARED)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The simulated service on a port of its own, its clock moved by hand only."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = create_app(Harbour(tmp_path_factory.mktemp("harbour"), speed=0.0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.started
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=20)


class World:
    """One simulated world and a runner that is confined to it."""

    def __init__(self, service: str, name: str, client: httpx.Client) -> None:
        self._client, self._path = client, f"{service}/worlds/{name}"
        self.runner = Runner(registry=drill_registry(url=service, world=name), now=lambda: self.now)
        self.now = self._clock(client.get(f"{self._path}/clock"))

    def advance(self, seconds: float) -> None:
        """Let time pass in the world."""
        self.now = self._clock(self._client.post(f"{self._path}/clock/advance", json={"seconds": seconds}))

    def breaks(self, kind: str, **parameters: Any) -> None:
        """Begin a fault, and let it show."""
        answer = self._client.post(f"{self._path}/faults", json={"kind": kind, "parameters": parameters})
        assert answer.status_code == 201, answer.text
        self.advance(60)

    def measure(self, diagnostic: Diagnostic, runbook: Runbook) -> Measurement:
        """One diagnostic's answer now, for the drill's alert."""
        return self.runner.measure(diagnostic, labels=runbook.header.drill.alert, environment=PRODUCTION)

    def does(self, runbook: Runbook, step: str, **parameters: Any) -> Verdict:
        """Plan an action, carry it out, and watch until the verdict, as a flow would."""
        action = runbook.action(step)
        assert action is not None
        labels = runbook.header.drill.alert
        plan = self.runner.plan(action, runbook=runbook, labels=labels, parameters=parameters, environment=PRODUCTION, plan_id="p1")
        outcome = self.runner.execute(plan, runbook=runbook, labels=labels, key=f"key-{step}")
        assert outcome.status is OutcomeStatus.APPLIED, outcome.reason
        watched = runbook.diagnostic(action.verify.diagnostic)
        assert watched is not None
        executed_at, samples = self.now, []
        while True:
            judgement = judge(action.verify, samples, executed_at=executed_at, now=self.now)
            if judgement.verdict is not None:
                return judgement.verdict
            assert judgement.next_at is not None
            self.advance(max((judgement.next_at - self.now).total_seconds(), min(interval(action.verify), 2.0)))
            samples.append(Sample(at=self.now, value=self.measure(watched, runbook).value))
            assert self.now - executed_at < timedelta(hours=1)

    @staticmethod
    def _clock(answer: httpx.Response) -> datetime:
        assert answer.is_success, answer.text
        return datetime.fromisoformat(answer.json()["now"])


@contextmanager
def world(service: str, *, broken: dict[str, Any] | None = None, **plan: Any) -> Iterator[World]:
    """A world of its own, removed afterwards; `broken` is a fault as runbooks write it."""
    with httpx.Client(timeout=30, trust_env=False) as client:
        given = {"id": "contract", **plan, **({"fault": broken} if broken else {})}
        answer = client.post(f"{service}/worlds", json=given)
        assert answer.status_code == 201, answer.text
        try:
            yield World(service, "contract", client)
        finally:
            client.delete(f"{service}/worlds/contract")


def the(library: Library, runbook_id: str) -> Runbook:
    """The runbook with this id."""
    found = library.by_id(runbook_id)
    assert found is not None
    return found


def test_every_shipped_runbook_loads_against_the_installed_backends(library: Library) -> None:
    """A fresh installation has no broken runbook, and has the seven that are promised."""
    assert library.problems == ()
    assert [runbook.id for runbook in library.all] == IDS
    assert set(IDS) >= {
        *("inference-latency", "provider-degradation", "retrieval-failure", "quality-regression"),
        *("cost-spike", "safety-failure", "general-fallback"),
    }
    assert library.fallback is the(library, "general-fallback")


@pytest.mark.parametrize("runbook_id", IDS)
def test_every_runbook_says_what_a_card_and_a_review_need(library: Library, runbook_id: str) -> None:
    """Each has a safe action, customers, blast radius, escalation when nobody answers and when an action fails, and an expected action."""
    header = the(library, runbook_id).header
    assert header.first_screen.safe_actions
    assert header.blast_radius.features
    assert header.blast_radius.downstream
    assert {"not_acknowledged", "verification_failed", "not_mitigated"} <= {rule.if_ for rule in header.escalation}
    assert header.drill.expected
    assert {diagnostic.stage for diagnostic in header.diagnostics} >= {"app", "retrieval", "model", "provider"}


@pytest.mark.parametrize("runbook_id", IDS)
def test_in_health_every_diagnostic_answers_and_every_limit_holds(library: Library, service: str, runbook_id: str) -> None:
    """On a healthy service nothing is without data, nothing is an error, and nothing is over its limit."""
    runbook = the(library, runbook_id)
    with world(service) as healthy:
        for diagnostic in runbook.header.diagnostics:
            found = healthy.measure(diagnostic, runbook)
            assert found.error is None, (diagnostic.id, found.error)
            affected = diagnostic.id == runbook.header.first_screen.customers
            assert found.text != diagnostic.empty or affected, f"{diagnostic.id} has no data"
            if diagnostic.limit:
                assert found.value is not None, f"{diagnostic.id} has no single number"
                assert diagnostic.limit.holds(found.value), f"{diagnostic.id} is {found.value}, limit {diagnostic.limit}"


@pytest.mark.parametrize("runbook_id", IDS)
def test_the_first_look_tells_the_stage(library: Library, service: str, runbook_id: str) -> None:
    """A minute after the drill's fault, exactly the stage that is broken is over its limits, and the affected customers are named."""
    runbook = the(library, runbook_id)
    plan = runbook.header.drill.world.model_dump()
    fault = plan.pop("fault")
    with world(service, broken=fault, **plan) as broken:
        broken.advance(60)
        over = set()
        for diagnostic in runbook.header.diagnostics:
            found = broken.measure(diagnostic, runbook)
            if diagnostic.limit and diagnostic.stage and found.value is not None and not diagnostic.limit.holds(found.value):
                over.add(diagnostic.stage)
        customers = runbook.diagnostic(runbook.header.first_screen.customers)
        assert customers is not None
        assert over == {FAULTS[fault["kind"]].stage}
        assert "customers, most of all northwind" in broken.measure(customers, runbook).text


class Case(NamedTuple):
    """An action of a runbook, a fault with its parameters, and the parameters chosen in the dialog."""

    runbook: str
    step: str
    kind: str
    fault: dict[str, Any] = {}
    parameters: dict[str, Any] = {}

    def __str__(self) -> str:
        return "-".join((self.runbook, self.step, self.kind, *map(str, self.fault.values())))


MENDS = [
    Case("inference-latency", "scale-out", "traffic"),
    Case("inference-latency", "skip-reranking", "traffic"),
    Case("inference-latency", "previous-release", "slow_release"),
    Case("provider-degradation", "switch-to-backup", "provider_degraded"),
    Case("provider-degradation", "serve-cached", "provider_degraded"),
    Case("retrieval-failure", "keyword-search", "retrieval_timeout"),
    Case("retrieval-failure", "keyword-search", "retrieval_stale"),
    Case("retrieval-failure", "bypass-retrieval", "retrieval_timeout"),
    Case("retrieval-failure", "previous-index", "retrieval_timeout"),
    Case("retrieval-failure", "previous-index", "retrieval_stale"),
    Case("quality-regression", "hold-releases", "quality_regression"),
    Case("quality-regression", "previous-release", "quality_regression"),
    Case("quality-regression", "previous-release", "quality_regression", {"release": "reranker-v3"}, {"unit": "reranker-v3"}),
    Case("cost-spike", "cap-retries", "cost_spike"),
    Case("cost-spike", "disable-long-answers", "cost_spike"),
    Case("cost-spike", "shorten-answers", "cost_spike"),
    Case("safety-failure", "strict-route", "safety_failure", {"mode": "off"}),
    Case("safety-failure", "strict-route", "safety_failure", {"mode": "rules"}),
    Case("safety-failure", "filter-on", "safety_failure", {"mode": "off"}),
    Case("safety-failure", "previous-release", "safety_failure", {"mode": "rules"}),
    Case("general-fallback", "hold-changes", "provider_degraded"),
    Case("general-fallback", "switch-to-backup", "provider_degraded"),
    Case("general-fallback", "keyword-search", "retrieval_timeout"),
    Case("general-fallback", "skip-reranking", "traffic"),
]


@pytest.mark.parametrize("case", MENDS, ids=str)
def test_an_action_is_verified_against_the_fault_it_is_for(library: Library, service: str, case: Case) -> None:
    """Each action of the library brings its signal back inside the limit, by measurement and within its time."""
    with world(service) as broken:
        broken.breaks(case.kind, **case.fault)
        assert broken.does(the(library, case.runbook), case.step, **case.parameters) is Verdict.VERIFIED


def test_every_action_of_the_library_is_tried_against_a_fault(library: Library) -> None:
    """No action ships without proof that it works; capping retries in the latency story is proven below to be only a relief."""
    tried = {(case.runbook, case.step) for case in MENDS}
    shipped = {(runbook.id, action.id) for runbook in library.all for action in runbook.header.actions}
    assert shipped - tried == {("inference-latency", "cap-retries")}


WRONG = [
    Case("inference-latency", "cap-retries", "traffic"),
    Case("inference-latency", "scale-out", "slow_release", {"unit": "reranker-v3", "factor": 5.0}),
    Case("quality-regression", "previous-release", "quality_regression", {"release": "reranker-v3"}),
]


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_the_wrong_action_is_never_called_verified(library: Library, service: str, case: Case) -> None:
    """An action that does not mend the fault ends as failed or inconclusive, however smoothly it ran."""
    with world(service) as broken:
        broken.breaks(case.kind, **case.fault)
        assert broken.does(the(library, case.runbook), case.step) in {Verdict.FAILED, Verdict.INCONCLUSIVE}


@pytest.mark.parametrize("step", ["keyword-search", "bypass-retrieval", "scale-out"])
def test_an_unmet_precheck_blocks_the_plan(library: Library, service: str, step: str) -> None:
    """On a healthy service an action with a pre-check is planned, shown and blocked, with the measured reason."""
    runbook = next(runbook for runbook in library.all if runbook.action(step))
    action = runbook.action(step)
    assert action is not None
    with world(service) as healthy:
        labels = runbook.header.drill.alert
        plan = healthy.runner.plan(action, runbook=runbook, labels=labels, parameters={}, environment=PRODUCTION, plan_id="p1")
        assert plan.blocked_by
        assert all(check.text for check in plan.blocked_by)


def test_every_alert_of_the_simulated_service_has_a_runbook_of_its_own(library: Library) -> None:
    """The coverage report over the service's own rules finds none that falls back."""
    rules = [{"alert": rule.name, "expr": rule.expression, "labels": {"service": "answers"}} for rule in RULES]
    files = {"rules.yaml": str({"groups": [{"name": "answers", "rules": rules}]})}
    report = coverage(files, Matcher(library.all).match, labels={"environment": PRODUCTION})
    assert report.problems == ()
    assert len(report.rules) == len(RULES)
    assert [rule.alert for rule in report.uncovered] == []


@pytest.mark.parametrize("runbook_id", IDS)
def test_the_drills_alert_leads_to_its_own_runbook(library: Library, runbook_id: str) -> None:
    """A drill injects an alert; the same matching as for real alerts must choose the runbook that is rehearsed."""
    labels = the(library, runbook_id).header.drill.alert
    others = {name: value for name, value in labels.items() if name != "alertname"}
    rule = {"alert": labels["alertname"], "expr": "1", "labels": others}
    report = coverage({"rules.yaml": str({"groups": [{"name": "drill", "rules": [rule]}]})}, Matcher(library.all).match)
    chosen = None if runbook_id == "general-fallback" else runbook_id
    assert [found.runbook for found in report.rules] == [chosen]


def test_the_librarys_page_tells_the_truth(library: Library) -> None:
    """The table names every runbook with the fault it is drilled with, and the list of filters is the whole list."""
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| \[([a-z-]+)\]\(\1\.md\) \|.*\| `([a-z_]+)` \|$", page, re.MULTILINE))
    assert rows == {runbook.id: runbook.header.drill.world.fault["kind"] for runbook in library.all}
    listed = re.search(r"these filters: (.*?)\. There", page, re.DOTALL)
    assert listed
    assert tuple(re.findall(r"`([a-z]+)`", listed[1])) == FILTERS


def test_whoever_the_library_pages_is_known_to_the_demo(library: Library) -> None:
    """Owners are teams and paging targets are rotations of the built-in configuration, so that no escalation of the demo goes nowhere."""
    configuration = Configuration.default()
    targets = {rule.page for runbook in library.all for rule in runbook.header.escalation}
    assert configuration.targets_missing(targets) == []
    assert {runbook.header.owner for runbook in library.all} <= {team.id for team in configuration.directory.teams}


@pytest.mark.parametrize("runbook_id", IDS)
def test_a_runbook_survives_being_stored(library: Library, runbook_id: str) -> None:
    """Written as JSON and read again, a pinned version is the same to the last second and digit."""
    runbook = the(library, runbook_id)
    assert Runbook.model_validate_json(runbook.model_dump_json(by_alias=True)) == runbook
