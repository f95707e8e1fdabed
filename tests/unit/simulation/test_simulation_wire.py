"""The wire API, as Muster meets it."""

import asyncio
import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import uvicorn
from starlette.testclient import TestClient

from actions.simulation.hosting import Harbour
from actions.simulation.server import create_app

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
POOL = "/targets/pool/inference/reranker-v3"


@pytest.fixture
def client(tmp_path):
    """The service at speed 0, called in process."""
    harbour = Harbour(tmp_path, speed=0.0, wall=lambda: START, warm_up=timedelta(seconds=90))
    return TestClient(create_app(harbour), base_url="http://127.0.0.1:8090", raise_server_exceptions=False)


def test_target_is_read_and_set(client):
    """A target shows value, version and bounds; a put answers with what is now, what was, and who did it."""
    before = client.get(POOL).json()
    assert before["value"] == {"replicas": 2, "ready": 2}
    assert before["bounds"] == {"minimum": 1, "maximum": 24}
    body = {"value": {"replicas": 4}, "if_version": before["version"], "by": "muster/run-1", "key": "run-1"}
    after = client.put(POOL, json=body).json()
    assert (after["value"], after["previous"], after["version"]) == ({"replicas": 4, "ready": 2}, before["value"], 2)
    assert (after["changed_by"], after["replayed"], after["changed"]) == ("muster/run-1", False, True)
    assert client.put(POOL, json=body).json() == {**after, "replayed": True}
    client.post("/clock/advance", json={"seconds": 30})
    assert client.get(POOL).json()["value"] == {"replicas": 4, "ready": 4}


def test_conflict_shows_what_stands(client):
    """A compare-and-set that comes too late is answered 409 with the target as it is."""
    client.put(POOL, json={"value": {"replicas": 3}, "by": "somebody"})
    late = client.put(POOL, json={"value": {"replicas": 4}, "if_version": 1, "by": "muster/run-1", "key": "k"})
    assert late.status_code == 409
    assert late.json()["error"] == "version_conflict"
    assert late.json()["current"] == client.get(POOL).json()
    assert client.get(POOL).json()["value"]["replicas"] == 3


def test_setting_what_is_set_changes_nothing(client):
    """A put of the present value is answered 200 and leaves version and change feed alone."""
    answer = client.put("/targets/flag/fast-path", json={"value": True, "by": "muster/run-1"}).json()
    assert (answer["changed"], answer["version"]) == (False, 1)
    assert client.get("/changes").json()["changes"] == []


@pytest.mark.parametrize(
    ("call", "body", "status", "reason"),
    [
        (("PUT", "/targets/flag/none"), {"value": True, "by": "x"}, 404, "no target flag/none"),
        (("GET", "/targets/moon/none"), None, 404, "no target"),
        (("PUT", POOL), {"value": {"replicas": 0}, "by": "x"}, 422, "between 1 and 24"),
        (("PUT", POOL), {"value": {"replicas": 4}}, 422, "by"),
        (("PUT", POOL), {"value": {"replicas": 4}, "by": "x", "force": True}, 422, "force"),
        (("PUT", POOL), [1], 422, "body"),
        (("PUT", "/targets/release/answers-v7"), {"value": {"version": "v99"}, "by": "x"}, 422, "answers-v7.4"),
        (("GET", "/releases/moon"), None, 404, "answers-v7"),
        (("POST", "/faults"), {"kind": "earthquake"}, 404, "traffic"),
        (("POST", "/faults"), {"kind": "traffic", "parameters": {"factor": 99}}, 422, "between 2 and 6"),
        (("POST", "/faults"), {"kind": "traffic", "parameters": {"size": 1}}, 422, "no parameter"),
        (("DELETE", "/faults/traffic"), None, 404, "not active"),
        (("POST", "/clock/advance"), {"seconds": -1}, 422, "seconds"),
        (("POST", "/worlds"), {"id": "../x"}, 422, "letters"),
        (("GET", "/worlds/none/targets"), None, 404, "no world"),
        (("GET", "/worlds/none/"), None, 404, "no world"),
        (("DELETE", "/worlds/none"), None, 404, "no world"),
        (("GET", "/log?stage=moon"), None, 404, "retrieval"),
        (("GET", "/log?limit=0"), None, 422, "whole number"),
        (("GET", "/exchanges?limit=501"), None, 422, "whole number"),
        (("GET", "/changes?since=yesterday"), None, 422, "since"),
        (("POST", "/chaos"), {"mode": "melt"}, 422, "mode"),
    ],
)  # fmt: skip
def test_refusal_is_a_sentence(client, call, body, status, reason):
    """Whatever cannot be done is refused with its status and a sentence that names what is wrong; nothing changes."""
    answer = client.request(*call, json=body)
    assert answer.status_code == status
    assert reason in answer.json()["reason"]
    assert client.get("/changes").json()["changes"] == []


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b'{"value": ' + b"[" * 20_000])
def test_rubbish_is_refused(client, body):
    """A body that is no JSON is refused with 400."""
    answer = client.put(POOL, content=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_body")


def test_giant_is_refused(client):
    """A body of ten megabytes is refused with 413 before it is read to its end."""
    answer = client.put(POOL, content=b"x" * 10_000_000)
    assert answer.status_code == 413


def test_foreign_pages_are_kept_out(client):
    """A call under another name and a write from another page's origin are refused; the service's own page may write."""
    assert client.get("/state", headers={"host": "evil.example"}).status_code == 403
    assert client.get("/state", headers={"host": "[::1"}).status_code == 403
    assert client.post("/mend", headers={"origin": "http://evil.example"}).status_code == 403
    assert client.post("/mend", headers={"origin": "null"}).status_code == 403
    assert client.post("/mend", headers={"origin": "http://127.0.0.1:8090"}).status_code == 200


def test_changes_are_fed_from_where_one_left_off(client):
    """The change feed goes on after a number, an id or a time."""
    client.put("/targets/flag/rerank", json={"value": False, "by": "ana"})
    client.post("/clock/advance", json={"seconds": 10})
    client.post("/faults", json={"kind": "safety_failure"})
    every = client.get("/changes").json()["changes"]
    assert [(one["kind"], one["target"]) for one in every] == [
        ("flag", "rerank"),
        ("release", "answers-v7"),
        ("flag", "safety-filter-v2"),
    ]
    for since in (1, "change-1", every[0]["at"]):
        assert client.get("/changes", params={"since": since}).json()["changes"] == every[1:]
    assert client.get("/changes", params={"since": 3}).json()["changes"] == []


def test_release_unit_is_rolled_back_as_one(client):
    """Rolling a unit back to its last known good version takes the flags with it."""
    client.post("/faults", json={"kind": "safety_failure"})
    unit = client.get("/targets/release/answers-v7").json()
    assert unit["value"] == {"version": "answers-v7.5", "last_known_good": "answers-v7.4"}
    assert client.get("/targets/flag/safety-filter-v2").json()["value"] is False
    listed = client.get("/releases/answers-v7").json()
    assert [one["version"] for one in listed["versions"]] == ["answers-v7.5", "answers-v7.4", "answers-v7.3", "answers-v7.2"]
    assert [one["known_good"] for one in listed["versions"]] == [False, True, True, True]
    client.put("/targets/release/answers-v7", json={"value": {"version": "answers-v7.4"}, "by": "muster/run-1"})
    assert client.get("/targets/flag/safety-filter-v2").json()["value"] is True


def test_queries_have_prometheus_shape(client):
    """Instant and range queries answer as Prometheus does, by GET and by a posted form; a refused query is bad_data."""
    instant = client.get("/api/v1/query", params={"query": "inference:replicas"}).json()
    assert instant["status"] == "success"
    assert instant["data"]["resultType"] == "vector"
    entry = instant["data"]["result"][0]
    assert entry == {"metric": {"__name__": "inference:replicas", "pool": "reranker-v3"}, "value": [START.timestamp(), "2"]}
    assert client.post("/api/v1/query", data={"query": "inference:replicas"}).json() == instant
    assert client.get("/api/v1/query", params={"query": "1 / 0"}).json()["data"]["result"][1] == "+Inf"
    at = START - timedelta(minutes=1)
    for text in (at.timestamp(), at.isoformat(), at.isoformat().replace("+00:00", "Z")):
        found = client.get("/api/v1/query", params={"query": "time()", "time": text}).json()
        assert found["data"] == {"resultType": "scalar", "result": [at.timestamp(), str(int(at.timestamp()))]}
    window = {"query": "inference:replicas", "start": START.timestamp() - 60, "end": START.timestamp(), "step": "15s"}
    ranged = client.get("/api/v1/query_range", params=window).json()["data"]
    assert ranged["resultType"] == "matrix"
    assert [len(one["values"]) for one in ranged["result"]] == [5, 5]
    refused = client.get("/api/v1/query", params={"query": "absent(x)"})
    assert refused.status_code == 400
    assert refused.json()["status"] == "error"
    assert refused.json()["errorType"] == "bad_data"
    assert "absent" in refused.json()["error"]


@pytest.mark.parametrize(
    ("path", "given", "named"),
    [
        ("query", {}, "query"),
        ("query", {"query": "time()", "time": "soon"}, "time"),
        ("query", {"query": "time()", "time": "2026-01-01T00:00:00"}, "time zone"),
        ("query", {"query": "time()", "time": "1e300"}, "out of range"),
        ("query", {"query": "time()", "time": "nan"}, "out of range"),
        ("query_range", {"query": "time()", "start": "1", "end": "0", "step": "1"}, "end timestamp"),
        ("query_range", {"query": "time()", "start": "0", "end": "1", "step": "0"}, "step"),
        ("query_range", {"query": "time()", "start": "0", "end": "1"}, "step"),
        ("query_range", {"query": "time()", "start": "0", "end": "1", "step": "often"}, "duration"),
        ("query_range", {"query": "time()", "start": "0", "end": "1e6", "step": "1"}, "11000"),
        ("query_range", {"query": "x[5m]", "start": "0", "end": "1", "step": "1"}, "range vector"),
    ],
)
def test_wrong_query_parameters_are_named(client, path, given, named):
    """A missing or wrong parameter of a query is refused in Prometheus' shape, by name."""
    if path == "query_range" and given["query"] == "x[5m]":
        given = {**given, "query": "inference:replicas[5m]", "start": START.timestamp(), "end": START.timestamp()}
    answer = client.get(f"/api/v1/{path}", params=given)
    assert answer.status_code == 400
    assert named in answer.json()["error"]


def test_exposition_says_help_and_type_once_per_family(client):
    """Every family of /metrics has one HELP and one TYPE, before its samples, and every sample is of a family."""
    from actions.simulation.catalogue import METRICS

    text = client.get("/metrics").text
    types = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    helps = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]
    assert types == helps == list(METRICS)
    names = {
        line.split("{")[0].removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        for line in text.splitlines()
        if line[0] != "#"
    }
    assert names == set(METRICS)


def test_log_tells_of_the_fault(client):
    """The log of the stage that fails has its errors, and the logs of the others have none."""
    client.post("/faults", json={"kind": "provider_degraded"})
    client.post("/clock/advance", json={"seconds": 120})
    found = {
        stage: client.get("/log", params={"stage": stage, "limit": 40}).json()["lines"]
        for stage in ("app", "retrieval", "model", "provider")
    }
    assert all(len(lines) == 40 for lines in found.values())
    assert any("429 Too Many Requests from primary" in line for line in found["provider"])
    assert not any("ERROR" in line for stage in ("app", "retrieval", "model") for line in found[stage])


def test_exchanges_hold_what_was_said(client):
    """Unsafe answers stand among the sampled conversations while they get out, none before, and the same moment tells the same."""
    before = client.get("/exchanges", params={"limit": 500}).json()["exchanges"]
    assert not any(one["unsafe"] for one in before)
    client.post("/faults", json={"kind": "safety_failure", "parameters": {"mode": "off", "unsafe_ratio": 0.2}})
    client.post("/clock/advance", json={"seconds": 200})
    found = client.get("/exchanges", params={"limit": 100}).json()["exchanges"]
    assert found == client.get("/exchanges", params={"limit": 100}).json()["exchanges"]
    unsafe = [one for one in found if one["unsafe"]]
    assert len(found) == 100
    assert 5 <= len(unsafe) <= 40
    assert all("breaks the policy" in one["answer"] and one["prompt"] and one["customer"] and not one["filtered"] for one in unsafe)
    assert [one["at"] for one in found] == sorted(one["at"] for one in found)


def test_world_apart_has_the_whole_api(client):
    """A world apart is created broken, answers below its prefix, is left as it is when created again, and goes when deleted."""
    body = {"id": "drill-1", "seed": 3, "replicas": 2, "arrival_rate": 40, "fault": {"kind": "traffic", "factor": 2.5}}
    created = client.post("/worlds", json=body)
    assert (created.status_code, created.json()["faults"]) == (201, ["traffic"])
    assert client.post("/worlds", json=body).status_code == 200
    client.post("/worlds/drill-1/clock/advance", json={"seconds": 60})
    query = {"query": 'model:latency_seconds:p99{model="reranker-v3"} > 0.5'}
    assert client.get("/worlds/drill-1/api/v1/query", params=query).json()["data"]["result"] != []
    assert client.get("/api/v1/query", params=query).json()["data"]["result"] == []
    assert client.put("/worlds/drill-1" + POOL, json={"value": {"replicas": 4}, "by": "muster/run-1"}).status_code == 200
    assert client.get(POOL).json()["version"] == 1
    assert client.get("/worlds/drill-1/").text.startswith("<!doctype html>")
    assert client.delete("/worlds/drill-1").status_code == 204
    assert client.get("/worlds/drill-1/targets").status_code == 404


def test_faults_are_a_closed_list_with_ranges(client):
    """The list of faults names parameters, signals and remedies, and shows which is active and whether it is mended."""
    client.post("/faults", json={"kind": "traffic"})
    client.post("/clock/advance", json={"seconds": 60})
    listed = {one["kind"]: one for one in client.get("/faults").json()["faults"]}
    assert listed["traffic"]["active"]["mended"] is False
    assert listed["traffic"]["parameters"][0]["minimum"] == 2.0
    assert listed["cost_spike"]["active"] is None
    assert client.delete("/faults/traffic").status_code == 200
    client.post("/mend", json={"reset": True})
    assert all(one["active"] is None for one in client.get("/faults").json()["faults"])


def test_mend_with_reset_returns_every_setting(client):
    """Mending with reset also undoes what people changed."""
    client.put(POOL, json={"value": {"replicas": 9}, "by": "ana"})
    client.put("/targets/route/answers", json={"value": {"route": "strict"}, "by": "ana"})
    client.post("/mend", json={"reset": True})
    assert client.get(POOL).json()["value"]["replicas"] == 2
    assert client.get("/targets/route/answers").json()["value"] == {"route": "primary"}


def test_chaos_fails_as_ordered_and_only_so_often(client):
    """error_500 does nothing and says 500; succeed_but_500 does it and says 500; both end after their count."""
    put = {"value": False, "by": "muster/run-1", "key": "k"}
    client.post("/chaos", json={"mode": "error_500", "count": 1, "path_prefix": "/targets"})
    assert client.get("/changes").status_code == 200
    assert client.put("/targets/flag/rerank", json=put).status_code == 500
    assert client.get("/targets/flag/rerank").json()["value"] is True
    client.post("/chaos", json={"mode": "succeed_but_500", "count": 1, "path_prefix": "/targets"})
    assert client.put("/targets/flag/rerank", json=put).status_code == 500
    assert client.get("/targets/flag/rerank").json()["value"] is False
    assert client.put("/targets/flag/rerank", json=put).json()["replayed"] is True
    assert client.get("/chaos").json()["mode"] == "none"


def test_chaos_reaches_worlds_apart_and_spares_the_page(client):
    """A path prefix means the same path in every world; page, state and health are never broken."""
    client.post("/worlds", json={"id": "drill-1"})
    client.post("/chaos", json={"mode": "error_500", "path_prefix": "/api"})
    assert client.get("/worlds/drill-1/api/v1/query", params={"query": "1"}).status_code == 500
    assert client.get("/targets").status_code == 200
    client.post("/chaos", json={"mode": "error_500"})
    assert client.get("/targets").status_code == 500
    assert [client.get(path).status_code for path in ("/", "/state", "/healthz", "/static/page.js")] == [200] * 4
    client.post("/chaos", json={"mode": "none"})
    assert client.get("/targets").status_code == 200


@pytest.fixture
def served(tmp_path):
    """The service on a socket of its own, with uvicorn as in production."""
    harbour = Harbour(tmp_path, speed=0.0, wall=lambda: START, warm_up=timedelta(seconds=90))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(create_app(harbour), log_level="critical", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(20)


def test_chaos_breaks_the_connection(served):
    """Mode reset drops the connection without an answer, hang keeps it open without one, and the next request is served."""
    with httpx.Client(base_url=served, trust_env=False, timeout=30) as wire:
        wire.post("/chaos", json={"mode": "reset", "count": 1, "path_prefix": "/targets"})
        with pytest.raises(httpx.TransportError):
            wire.get("/targets")
        assert wire.get("/targets").status_code == 200
        wire.post("/chaos", json={"mode": "hang", "count": 1, "path_prefix": "/targets"})
        with pytest.raises(httpx.ReadTimeout):
            wire.get("/targets", timeout=0.3)
        assert wire.get("/targets").status_code == 200
        wire.post("/chaos", json={"mode": "slow", "count": 1, "seconds": 0.2, "path_prefix": "/targets"})
        assert wire.get("/targets").elapsed >= timedelta(seconds=0.2)


def test_everything_answered_is_valid_json(client):
    """The page's state is strict JSON: it has no number that JSON does not have."""
    client.post("/faults", json={"kind": "traffic"})
    client.post("/clock/advance", json={"seconds": 30})

    def refuse(constant):
        raise AssertionError(constant)

    state = json.loads(client.get("/state").text, parse_constant=refuse)
    assert {chart["id"] for chart in state["charts"]} >= {"p99", "errors", "quality", "cost", "replicas"}
    assert all(line["points"] for chart in state["charts"] for line in chart["lines"])


def test_the_worlds_apart_are_driven_along_when_asked(client):
    """Driving the main clock with `worlds` moves every world apart by as much; without it they stay where they are."""
    client.post("/worlds", json={"id": "drill-9", "seed": 9}).raise_for_status()
    before = client.get("/worlds/drill-9").json()["now"]
    client.post("/clock/advance", json={"seconds": 10}).raise_for_status()
    assert client.get("/worlds/drill-9").json()["now"] == before
    client.post("/clock/advance", json={"seconds": 10, "worlds": True}).raise_for_status()
    moved = datetime.fromisoformat(client.get("/worlds/drill-9").json()["now"]) - datetime.fromisoformat(before)
    assert moved.total_seconds() == 10
