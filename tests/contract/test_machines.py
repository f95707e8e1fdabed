"""A language model's token at the API: it reads, plans and proposes, and every attempt at more is refused and on record (rule S28)."""

import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.testclient import TestClient

from actions.simulation.hosting import Harbour
from actions.simulation.server import create_app
from bot.api import ENDPOINTS, access_of
from bot.app import Muster, load_library
from bot.configuration import DEFAULT, load
from bot.ports import Press, PressKind, Visitor
from bot.settings import Settings
from runbooks.screens import Refusal
from runbooks.timeline import OWN, Entry
from storage import ledger, runs, suggestions, timeline
from tests.opened import BEN, SECRETS, client, configured

V1 = "/api/v1"
MODEL = "model-" + "m" * 40
SOURCE = {"title": "Error log", "link": "https://logs.example.com/x", "quote": "429 Too Many Requests"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The simulated service on a port of its own."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = create_app(Harbour(tmp_path_factory.mktemp("harbour"), speed=0.0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    ends = time.monotonic() + 20
    while not server.started and time.monotonic() < ends:
        time.sleep(0.02)
    assert server.started
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=20)


@pytest.fixture
def muster(tmp_path: Path, sqlite_url: str, service: str) -> Iterator[Muster]:
    """A Muster without an engine, whose configuration knows a model for which Ana answers, and one open incident."""
    model = "  model: {secret: {env: TEST_TOKEN_MODEL}, person: ana, may: propose}\n"
    (tmp_path / "muster.yaml").write_text(configured(DEFAULT.read_text()) + model)
    environment = {
        "MUSTER_DATABASE_URL": sqlite_url,
        "MUSTER_CONFIG": str(tmp_path / "muster.yaml"),
        "MUSTER_SIMULATION_URL": service,
        "TEST_TOKEN_MODEL": MODEL,
        **SECRETS,
    }
    settings = Settings.read({name: value for name, value in environment.items() if name.startswith("MUSTER_")})
    made = Muster(
        settings=settings,
        configuration=load(tmp_path / "muster.yaml"),
        secrets=settings.secrets(environment),
        library=load_library(settings),
    )
    made.database.write(made._prepare)
    client(made, token=BEN).post(f"{V1}/incidents", json={"title": "Answers are late", "service": "answers"}).raise_for_status()
    yield made
    made.stop()


@pytest.fixture
def model(muster: Muster) -> TestClient:
    """The language model."""
    return client(muster, token=MODEL)


def wish(**changed: Any) -> dict[str, Any]:
    """A good proposal."""
    return {"step": "switch-to-backup", "reason": "The provider refuses one call in three.", "sources": [SOURCE], **changed}


def post(model: TestClient, **changed: Any) -> httpx.Response:
    return model.post(f"{V1}/incidents/1/proposals", json=wish(**changed))


def entries(muster: Muster, incident: int, kind: str) -> list[Entry]:
    return [entry for entry in muster.database.read(lambda tx: timeline.of(tx, incident)) if entry.kind.value == kind]


def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["reason"]


def test_s28_a_model_proposes_with_its_sources_and_runs_nothing(model: TestClient, muster: Muster) -> None:
    """Its proposal stands in the incident with its sources, in its own name, with who answers for it; there is no run."""
    answer = post(model)
    assert answer.status_code == 200, answer.text
    assert answer.json()["plan"]["call"]["operation"] == "route.switch"
    one = answer.json()["proposal"]
    assert (one["by"], one["answers"], one["state"], one["level"]) == ("token:model", "ana", "open", "suggest")
    assert one["sources"][0]["quote"] == SOURCE["quote"]
    assert model.get(f"{V1}/incidents/1/proposals").json()["items"][0]["id"] == one["id"]
    assert muster.database.read(lambda tx: runs.of_incident(tx, 1)) == []
    (entry,) = entries(muster, 1, "proposal.made")
    assert (entry.actor.kind.value, entry.actor.id) == ("token", "model")
    assert entry.payload["answers"] == "ana"


def test_s28_a_plan_alone_is_said_to_nobody(model: TestClient, muster: Muster) -> None:
    """It may look at what would change without putting anything before people."""
    answer = post(model, only_plan=True)
    assert answer.json()["proposal"] is None
    assert answer.json()["plan"]["proposal"]["after_text"]
    assert muster.database.read(lambda tx: suggestions.of_incident(tx, 1)) == []


def test_s28_whatever_else_it_tries_is_refused_and_on_record(model: TestClient, muster: Muster) -> None:
    """Every endpoint that changes something but this one is closed to it, before it looks at what was asked; each try is on record."""
    closed = [one for one in ENDPOINTS if one.changes and one.offered(muster) and one.name != "propose_action"]
    assert len(closed) > 15
    for endpoint in closed:
        path = V1 + re.sub(r"\{\w+(:int)?\}", "1", endpoint.path)
        assert said(model.post(path, content=b"{")) == (403, "propose_only"), endpoint.name
    tried = [*entries(muster, 1, "attempt.refused"), *entries(muster, OWN, "attempt.refused")]
    assert {entry.summary.partition(" (")[0].rpartition("tried to ")[2] for entry in tried} == {
        one.name.replace("_", " ") for one in closed
    }
    assert {(entry.actor.kind.value, entry.actor.id, entry.payload["answers"]) for entry in tried} == {("token", "model", "ana")}
    assert muster.database.read(ledger.verify).ok


def test_s28_to_the_flows_a_machine_is_nobody(muster: Muster) -> None:
    """Even past the door it has no person's name: a press in its name is refused."""
    guest = access_of(muster).of_token(MODEL)
    assert guest is not None
    assert not guest.may_write
    visitor: Visitor = guest.visitor("x")
    reply = muster.desk.press(Press(kind=PressKind.ACKNOWLEDGE, incident_id=1), visitor)
    assert isinstance(reply.whisper, Refusal)
    assert reply.whisper.reason == "unknown_person"


@pytest.mark.parametrize(
    ("changed", "status", "reason"),
    [
        ({"step": "rm-rf"}, 422, "undeclared"),
        ({"step": "Switch; rm"}, 422, "invalid"),
        ({"parameters": {"route": "internal"}}, 409, "unknown_parameter"),
        ({"sources": []}, 422, "invalid"),
        ({"sources": [{**SOURCE, "link": "javascript:alert(1)"}]}, 422, "invalid"),
        ({"sources": [{**SOURCE, "link": "https://x|y"}]}, 422, "invalid"),
        ({"sources": [{**SOURCE, "link": "https://x y"}]}, 422, "invalid"),
        ({"sources": [{**SOURCE, "link": "//169.254.169.254/"}]}, 422, "invalid"),
        ({"sources": [{**SOURCE, "quote": "x" * 501}]}, 422, "invalid"),
        ({"reason": "x" * 501}, 422, "invalid"),
        ({"approve": True}, 422, "invalid"),
    ],
    ids=str,
)
def test_s28_beyond_the_declared_there_is_no_proposal(
    model: TestClient, muster: Muster, changed: dict[str, Any], status: int, reason: str
) -> None:
    """A step that no runbook declares, a parameter that it does not have, text without end or sources: refused, and nothing stands."""
    assert said(post(model, **changed)) == (status, reason)
    assert muster.database.read(lambda tx: suggestions.of_incident(tx, 1)) == []


def test_s28_it_does_not_crowd_people_out(model: TestClient) -> None:
    """The same is proposed once, and only a few things at a time."""
    assert post(model).status_code == 200
    assert said(post(model)) == (409, "proposed_already")
    assert post(model, step="keyword-search").status_code in {200, 409}


def test_s28_people_do_not_propose_as_machines(muster: Muster) -> None:
    """Over the socket a person is a person: they have the buttons."""
    answer = client(muster, uid=os.getuid()).post(f"{V1}/incidents/1/proposals", json=wish())
    assert said(answer) == (403, "propose_only")
