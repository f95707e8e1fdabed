"""The same checks over the fake and over every real backend that changes something; the simulation runs as its own process."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from actions.backends.metrics import Metrics
from actions.backends.simulation import KINDS, Simulation
from actions.backends.web import Web, host
from actions.contract import CallInvalid, Conflict, OutcomeUnknown, Rejected, TargetMissing
from actions.registry import Registry, RegistryInvalid
from actions.runner import Runner
from actions.testing import CHECKS, SET, Check, RecordingBackend, Subject
from actions.worlds import drill_registry
from runbooks.operation import Call, OutcomeStatus, Reading
from tests.acting import LABELS, NOW, action, runbook
from tests.parts.odd import never_a_traceback

_number = count()


class Service:
    """The simulated service as a process of its own, on a free port, with its time standing still."""

    def __init__(self, data: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "actions.simulation", "--port", str(port), "--data", str(data), "--speed", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.worlds: list[str] = []
        self.client = httpx.Client(base_url=self.url, timeout=10, trust_env=False)

    def wait(self) -> None:
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            if self.process.poll() is not None:
                assert self.process.stderr is not None
                pytest.fail(self.process.stderr.read().decode())
            try:
                if self.client.get("/healthz").is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        pytest.fail("the simulated service did not start within 30 s")

    def world(self, **asked: Any) -> str:
        """A fresh world of its own."""
        name = f"w{next(_number)}"
        self.client.post("/worlds", json={"id": name, "seed": 7, **asked}).raise_for_status()
        self.worlds.append(name)
        return name

    def reset_world(self, name: str) -> str:
        """A world that is kept between checks, with every target as at its beginning."""
        self.client.post("/worlds", json={"id": name, "seed": 7}).raise_for_status()
        self.client.post(f"/worlds/{name}/mend", json={"reset": True}).raise_for_status()
        return name

    def clear(self) -> None:
        """Take away the worlds that a test made."""
        while self.worlds:
            self.client.delete(f"/worlds/{self.worlds.pop()}").raise_for_status()

    def chaos(self, mode: str, prefix: str, **more: Any) -> None:
        self.client.post("/chaos", json={"mode": mode, "count": 1, "path_prefix": prefix, **more}).raise_for_status()

    def stop(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.communicate(timeout=20)


@pytest.fixture(scope="module")
def running_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("simulation"))
    try:
        running.wait()
        yield running
    finally:
        running.stop()


@pytest.fixture
def service(running_service: Service) -> Iterator[Service]:
    yield running_service
    running_service.clear()


def recording() -> Subject:
    backend = RecordingBackend()
    backend.put("thing", {"value": 1})
    return Subject(
        backend=backend,
        call=Call(operation=SET.name, target="thing", arguments={"target": "thing", "value": 3}),
        missing=Call(operation=SET.name, target="nothing", arguments={"target": "nothing", "value": 3}),
        other={"value": 7},
        change_outside=lambda value: backend.put("thing", value),
        invalid=Call(operation=SET.name, target="thing", arguments={"target": "thing", "value": 101}),
    )


CALLS: dict[str, tuple[dict[str, Any], Any, dict[str, Any] | None]] = {
    "flag.disable": ({"flag": "rerank"}, None, None),
    "flag.set": ({"flag": "long-answers", "on": True}, None, None),
    "model.rollback": ({"unit": "answers-v7", "to": "last_known_good"}, {"version": "answers-v7.2"}, {"unit": "answers-v7", "to": "v0"}),
    "cluster.scale": (
        {"target": "inference/reranker-v3", "replicas": 4}, {"replicas": 6}, {"target": "inference/reranker-v3", "replicas": 999},
    ),
    "retries.cap": ({"target": "gateway/answers", "attempts": 1}, {"attempts": 2}, {"target": "gateway/answers", "attempts": 10}),
    "route.switch": ({"target": "answers", "route": "backup"}, {"route": "cached"}, {"target": "answers", "route": "nowhere"}),
    "limit.set": (
        {"target": "answers/max_output_tokens", "value": 600}, {"value": 300}, {"target": "answers/max_output_tokens", "value": 1},
    ),
}  # fmt: skip
"""For each operation of the simulation: arguments, a second value (a flag has only two), arguments that make no sense."""


def simulated(service: Service, operation: str) -> Subject:
    arguments, other, invalid = CALLS[operation]
    kind = next(kind for kind in KINDS if kind.operation.name == operation)
    touches = str(kind.operation.target)
    world = service.reset_world(f"for-{operation.replace('.', '-')}")
    target = arguments[touches]

    def change_outside(value: Any) -> None:
        path = f"/worlds/{world}/targets/{kind.path}/{target}"
        if kind.path == "flag":  # to its other value and back again: only the version tells
            service.client.put(path, json={"value": not value, "by": "ben"}).raise_for_status()
        service.client.put(path, json={"value": value, "by": "ben"}).raise_for_status()

    def call(given: dict[str, Any]) -> Call:
        return Call(operation=operation, target=given[touches], arguments=given)

    backend = Simulation(url=service.url, world=world)
    present = backend.read(call(arguments), timeout=10).value
    return Subject(
        backend=backend,
        call=call(arguments),
        missing=call({**arguments, touches: "nothing/here"}),
        other=present if kind.path == "flag" else other,
        change_outside=change_outside,
        invalid=call(invalid) if invalid else None,
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_recording_backend_keeps_the_contract(check: Check) -> None:
    """The fake passes every check that real backends must pass."""
    check(recording())


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_simulation_keeps_the_contract(check: Check, operation: str, service: Service) -> None:
    """Each operation of the simulated service passes every check, over the wire."""
    check(simulated(service, operation))


def test_every_operation_of_the_simulation_is_checked() -> None:
    """No operation is left out of the contract's checks."""
    assert set(CALLS) == {kind.operation.name for kind in KINDS}


SCALE = Call(operation="cluster.scale", target="inference/reranker-v3", arguments={"target": "inference/reranker-v3", "replicas": 4})
ROLLBACK = Call(operation="model.rollback", target="answers-v7", arguments={"unit": "answers-v7", "to": "last_known_good"})


@pytest.mark.parametrize(("mode", "took_effect"), [("error_500", False), ("succeed_but_500", True), ("reset", False), ("hang", False)])
def test_s20_an_unknown_outcome_is_found_out_by_looking(mode: str, took_effect: bool, service: Service) -> None:
    """A lost answer, an error and a hang leave the outcome unknown; reading the world tells it, and nothing is repeated."""
    world = service.world()
    backend = Simulation(url=service.url, world=world)
    before = backend.read(SCALE, timeout=10)
    service.chaos(mode, f"/worlds/{world}/targets", seconds=3)
    with pytest.raises(OutcomeUnknown):
        backend.apply(SCALE, {"replicas": 4}, expected=before, key="k", timeout=1)
    after = backend.read(SCALE, timeout=10)
    assert after.value == ({"replicas": 4} if took_effect else before.value)
    again = backend.apply(SCALE, {"replicas": 4}, expected=before, key="k", timeout=10)
    assert again.value == {"replicas": 4}
    assert backend.read(SCALE, timeout=10).revision == "2"


def test_a_refusal_of_the_service_is_certain(service: Service) -> None:
    """What the far side refuses was surely not done: out of bounds, and a key used for something else."""
    backend = Simulation(url=service.url, world=service.world())
    before = backend.read(SCALE, timeout=10)
    with pytest.raises(Rejected):
        backend.apply(SCALE, {"replicas": 999}, expected=before, key="k", timeout=10)
    assert backend.read(SCALE, timeout=10).revision == before.revision


def test_who_changed_a_target_is_known_afterwards(service: Service) -> None:
    """A change by Muster carries its name and the run's key; a conflict names the stranger."""
    world = service.world()
    backend = Simulation(url=service.url, world=world)
    before = backend.read(SCALE, timeout=10)
    assert backend.apply(SCALE, {"replicas": 4}, expected=before, key="run-7", timeout=10).changed_by == "muster/run-7"
    service.client.put(f"/worlds/{world}/targets/pool/inference/reranker-v3", json={"value": {"replicas": 3}, "by": "ben"})
    with pytest.raises(Conflict) as conflict:
        backend.apply(SCALE, {"replicas": 6}, expected=before, key="run-8", timeout=10)
    assert conflict.value.current.changed_by == "ben"


@pytest.mark.parametrize("name", ["../flag/rerank", "a//b", "", "inference/%2e%2e/x", "x?y=1", "é", "a\nb", "a" * 500])
def test_s29_no_name_leaves_its_kind(name: str, service: Service) -> None:
    """A hostile target name is refused or not found; it never reaches another target."""
    backend = Simulation(url=service.url, world=service.world())
    with pytest.raises((CallInvalid, TargetMissing, Rejected)):
        backend.read(Call(operation="cluster.scale", target=name, arguments={}), timeout=10)


def test_metrics_come_from_the_backends_own_world(service: Service) -> None:
    """A world's metrics are its own: one row gives a number, several give none, a nonsense query is refused."""
    world = service.world(replicas=3)
    service.client.post(f"/worlds/{world}/clock/advance", json={"seconds": 10}).raise_for_status()
    metrics = Metrics(url=f"{service.url}/worlds/{world}", world=world)

    def ask(query: str, **bind: str) -> Any:
        return metrics.read(Call(operation="metrics.query", arguments={"query": query}, bind=bind), timeout=10).value

    assert ask("inference:replicas{pool=$pool}", pool="reranker-v3") == {"rows": [{"pool": "reranker-v3", "value": 3.0}], "value": 3.0}
    several = ask("inference:replicas")
    assert len(several["rows"]) == 2
    assert several["value"] is None
    assert ask("inference:replicas{pool=$pool}", pool='x"} or up{a="') == {"rows": [], "value": None}
    assert ask("1 + $n", n="2")["value"] == 3.0
    with pytest.raises(Rejected, match="refuses"):
        ask("nonsense(")


def test_pages_below_the_base_are_read(service: Service) -> None:
    """A path is read below the configured base, and what lies at `path` becomes the rows."""
    world = service.world()
    web = Web(allow=(host(service.url),), base=f"{service.url}/worlds/{world}", world=world)
    read = web.read(Call(operation="http.get", arguments={"url": "/log?stage=model", "path": "lines"}), timeout=10)
    assert read.value["status"] == 200
    assert isinstance(read.value["rows"], list)


def test_s27_a_drill_reaches_its_world_and_nothing_else(service: Service) -> None:
    """What a drill scales is the pool of its own world; the main world stays as it is, whatever the alert's environment says."""
    world = service.world()
    registry = drill_registry(url=service.url, world=world)
    drill = Runner(registry=registry, now=lambda: NOW)
    scale = action(
        uses="cluster.scale",
        targets=["inference/reranker-v3"],
        **{"with": {"target": "inference/{{ alert.labels.model }}", "replicas": "{{ parameters.value }}"}},
    )
    book = runbook(scale)
    made = drill.plan(scale, runbook=book, labels=LABELS, parameters={}, environment="production", plan_id="p")
    assert (made.proposal.before_text, made.proposal.after_text) == ("2 replicas", "4 replicas")
    assert drill.execute(made, runbook=book, labels=LABELS, key="k").status is OutcomeStatus.APPLIED
    main = Simulation(url=service.url)
    assert main.read(SCALE, timeout=10).value == {"replicas": 2}
    assert Simulation(url=service.url, world=world).read(SCALE, timeout=10).value == {"replicas": 4}
    with pytest.raises(RegistryInvalid):
        Registry.for_drill([*registry.backends, main], world=world)


@pytest.mark.parametrize("call", [SCALE, ROLLBACK], ids=lambda call: str(call.operation))
def test_an_answer_of_another_shape_is_said_and_no_crash(call: Call, service: Service) -> None:
    """Whatever stands where the simulated service should: reading and planning end with a sentence."""
    backend = Simulation(url=service.url, world=service.world())
    assert never_a_traceback(backend._wire, lambda: backend.propose(call, backend.read(call, timeout=10))) > 100


def test_a_rollback_says_both_scores_and_has_somewhere_to_go(service: Service) -> None:
    """The plan of a rollback names the release and both evaluation scores; with nothing to go back to it is refused."""
    backend = Simulation(url=service.url, world=service.world())
    call = ROLLBACK
    reading = backend.read(call, timeout=10)
    proposal = backend.propose(call, reading)
    assert (proposal.before_text, proposal.after_text) == ("release answers-v7.4", "release answers-v7.3")
    assert proposal.note == "Evaluation score 0.91 → 0.902."
    oldest = backend.apply(call, {"version": "answers-v7.2"}, expected=reading, key="k", timeout=10)
    with pytest.raises(CallInvalid, match="nothing to roll back to"):
        backend.propose(call, Reading(value=oldest.value, facts=oldest.facts))
