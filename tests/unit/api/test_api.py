"""The API's promises that need no engine: who may do what, what is said when it may not, and that nothing then changed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from bot.api import ENDPOINTS
from bot.api.endpoint import LARGEST_BODY
from bot.api.openapi import describe
from bot.app import Muster
from runbooks import exports
from runbooks.people import MUSTER
from runbooks.timeline import GENESIS, OWN, Entry, EntryKind, NewEntry, broken_links, sealed
from storage import incidents, ledger, switches, tasks, timeline
from storage.tasks import NewTask
from tests.opened import BEN, EVA, READER, client, opened

V1 = "/api/v1"


@pytest.fixture
def muster(tmp_path: Path, sqlite_url: str) -> Iterator[Muster]:
    """A Muster without an engine."""
    with opened(tmp_path, sqlite_url) as one:
        yield one


@pytest.fixture
def ben(muster: Muster) -> TestClient:
    """Ben's script, which may write."""
    return client(muster, token=BEN)


def declared(caller: TestClient, title: str = "Answers are late", **more) -> dict:
    """An incident that the caller opened."""
    answer = caller.post(f"{V1}/incidents", json={"title": title, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["incident"]


def error(answer) -> tuple[int, str]:
    """Status and reason of a refusal, which always has a sentence."""
    said = answer.json()["error"]
    assert said["text"].endswith((".", "?")), said
    return answer.status_code, said["reason"]


def path_of(endpoint) -> str:
    """The endpoint's path with a number in each gap."""
    return V1 + re.sub(r"\{\w+(:int)?\}", "1", endpoint.path)


def test_nothing_is_answered_without_a_token(muster):
    """Every endpoint, reading ones too, refuses a caller that proves nothing, and one with a wrong token."""
    callers = client(muster), client(muster, token="wrong" * 10), client(muster, headers={"Authorization": f"Basic {BEN}"})
    for endpoint in (one for one in ENDPOINTS if one.offered(muster)):
        for caller in callers:
            answer = caller.request(endpoint.method, path_of(endpoint), json={} if endpoint.changes else None)
            assert error(answer) == (401, "token_needed"), endpoint.name
            assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_reading_token_changes_nothing(muster):
    """Every endpoint that changes something refuses a token without a person, before it looks at what was asked."""
    before, reader = muster.database.read(ledger.head), client(muster, token=READER)
    for endpoint in (one for one in ENDPOINTS if one.changes and one.offered(muster)):
        assert error(reader.post(path_of(endpoint), content=b"{")) == (403, "read_only"), endpoint.name
    assert muster.database.read(ledger.head) == before


def test_the_socket_needs_no_token_and_an_unmapped_login_only_reads(muster):
    """Whoever is at the Unix socket may read; to write, their login must stand in muster.yaml."""
    import os

    mapped, stranger = client(muster, uid=os.getuid()), client(muster, uid=4_000_001)
    assert mapped.get(f"{V1}/status").json()["you"]["id"] == "ben"
    assert declared(mapped)["id"] == 1
    assert stranger.get(f"{V1}/incidents/1").status_code == 200
    assert stranger.get(f"{V1}/status").json()["may_write"] is False
    assert error(stranger.post(f"{V1}/incidents/1/acknowledge")) == (403, "read_only")


def test_no_header_makes_a_caller_local(muster):
    """What a client sends about itself is never believed."""
    sent = {"X-Forwarded-For": "unix", "X-Real-IP": "127.0.0.1", "muster.uid": "0", "Forwarded": "for=unix"}
    assert error(client(muster, headers=sent).get(f"{V1}/incidents")) == (401, "token_needed")


def test_an_incident_is_declared_once_for_one_key(ben):
    """The same idempotency key is one incident, another key another one; the caller's person stands on the timeline."""
    headers = {"Idempotency-Key": "k1"}
    first = ben.post(f"{V1}/incidents", json={"title": "Slow", "severity": "SEV1"}, headers=headers).json()["incident"]
    again = ben.post(f"{V1}/incidents", json={"title": "Slow", "severity": "SEV1"}, headers=headers).json()["incident"]
    assert first["id"] == again["id"] == 1
    assert first["severity"] == "SEV1"
    entries = ben.get(f"{V1}/incidents/1/timeline").json()["entries"]
    assert any(entry["actor"] == {"kind": "person", "id": "ben", "slack_id": "U01BEN0000", "via": "api"} for entry in entries)


def test_the_cards_buttons_work_over_the_api(ben, muster):
    """Acknowledge, command, severity, note, hand over, resolve: each changes what it says and stands on the timeline."""
    declared(ben)
    assert ben.post(f"{V1}/incidents/1/acknowledge").json()["incident"]["acknowledged_by"] == "ben"
    assert "already" in ben.post(f"{V1}/incidents/1/acknowledge").json()["said"]
    assert ben.post(f"{V1}/incidents/1/command").json()["incident"]["commander"] == "ben"
    assert ben.post(f"{V1}/incidents/1/hand-over", json={"person": "ana"}).json()["incident"]["commander"] == "ana"
    assert ben.post(f"{V1}/incidents/1/severity", json={"severity": "SEV2"}).json()["incident"]["severity"] == "SEV2"
    assert ben.post(f"{V1}/incidents/1/notes", json={"text": "Looking <!channel>"}).status_code == 200
    assert ben.post(f"{V1}/incidents/1/resolve", json={"resolution": "It went away"}).json()["incident"]["status"] == "resolved"
    kinds = [entry.kind for entry in muster.database.read(lambda tx: timeline.of(tx, 1))]
    wanted = {
        EntryKind.INCIDENT_ACKNOWLEDGED,
        EntryKind.ROLE_TAKEN,
        EntryKind.SEVERITY_SET,
        EntryKind.UPDATE_POSTED,
        EntryKind.INCIDENT_RESOLVED,
    }
    assert wanted <= set(kinds)


def test_what_is_over_is_refused_with_its_reason(ben):
    """A change to a resolved incident is 409 with a sentence, and changes nothing."""
    declared(ben)
    ben.post(f"{V1}/incidents/1/resolve", json={"resolution": "done"})
    before = ben.get(f"{V1}/incidents/1/timeline").json()["entries"]
    assert error(ben.post(f"{V1}/incidents/1/acknowledge")) == (409, "resolved")
    assert error(ben.post(f"{V1}/incidents/1/severity", json={"severity": "SEV1"})) == (409, "resolved")
    assert ben.get(f"{V1}/incidents/1/timeline").json()["entries"] == before


RUBBISH = (
    ("GET", "/incidents/99", None, (404, "not_found")),
    ("POST", "/incidents/99/acknowledge", "{}", (404, "not_found")),
    ("GET", "/drills/99", None, (404, "not_found")),
    ("GET", "/runs/99", None, (404, "not_found")),
    ("GET", "/runbooks/none", None, (404, "not_found")),
    ("POST", "/drills", '{"runbook": "none"}', (404, "not_found")),
    ("POST", "/tasks/99/retry", json.dumps({"reason": "x"}), (404, "not_found")),
    ("GET", "/nothing/here", None, (404, "unknown_route")),
    ("POST", "/incidents", "{", (400, "not_json")),
    ("POST", "/incidents", "\xff\xfe", (400, "not_json")),
    ("POST", "/incidents", "[]", (422, "invalid")),
    ("POST", "/incidents", "{}", (422, "invalid")),
    ("POST", "/incidents", '{"title": ""}', (422, "invalid")),
    ("POST", "/incidents", '{"title": 7}', (422, "invalid")),
    ("POST", "/incidents", '{"title": "x", "sevrity": "SEV1"}', (422, "invalid")),
    ("POST", "/incidents", '{"title": "x", "severity": "SEV9"}', (422, "invalid")),
    ("POST", "/incidents", '{"title": "x", "service": "nowhere"}', (422, "invalid")),
    ("POST", "/incidents", json.dumps({"title": "x" * 141}), (422, "invalid")),
    ("POST", "/incidents", json.dumps({"title": "x", "pad": "y" * LARGEST_BODY}), (413, "too_large")),
    ("GET", "/incidents?limit=0", None, (422, "invalid")),
    ("GET", "/incidents?stauts=open", None, (422, "invalid")),
    ("GET", "/timeline/verify?head=xyz", None, (422, "invalid")),
    ("POST", "/runs/99/run", '{"plan_hash": "short"}', (422, "invalid")),
)


def test_rubbish_is_refused_with_a_reason_and_changes_nothing(ben, muster):
    """Each malformed or impossible request gets its own status and reason, and leaves no trace."""
    before = muster.database.read(ledger.head)
    for method, path, body, expected in RUBBISH:
        content = body.encode("latin-1") if body is not None else None
        assert error(ben.request(method, V1 + path, content=content)) == expected, (path, body)
    assert muster.database.read(ledger.head) == before
    assert muster.database.read(incidents.open_ones) == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=8), one, max_size=3),
    )
)
def test_any_json_is_answered_with_json(body):
    """Whatever JSON a model is given, it fits or is refused by field; nothing else comes out."""
    from bot.api.endpoint import Failed, fitted
    from bot.api.models import Declare

    try:
        kept = fitted(Declare, body)
    except Failed as failed:
        kept = failed
    assert isinstance(kept, Declare) or (kept.status == 422 and kept.fields)


def test_only_who_may_sees_a_plan(muster, ben):
    """Somebody without a grant for the tier is told who may, and the attempt stands on the timeline (rules S4, S26)."""
    muster.database.write(lambda tx: None)
    declared(ben, "Model p99 latency is high", service="answers")
    runbook = muster.library.by_id("inference-latency")
    ben.post(f"{V1}/incidents/1/runbook", json={"runbook": "inference-latency"})
    answer = client(muster, token=EVA).post(f"{V1}/incidents/1/actions/{runbook.header.actions[0].id}/plan")
    assert error(answer) == (403, "not_granted")
    assert "Ben" in answer.json()["error"]["text"]
    assert muster.database.read(lambda tx: timeline.of_kind(tx, 1, EntryKind.ATTEMPT_REFUSED))


def test_a_plan_waits_for_an_engine_and_unknown_parameters_are_refused(muster, ben):
    """Without an engine a plan stays asked for; an unknown action or parameter is refused by name."""
    declared(ben, "Model p99 latency is high", service="answers")
    ben.post(f"{V1}/incidents/1/runbook", json={"runbook": "inference-latency"})
    assert error(ben.post(f"{V1}/incidents/1/actions/no-such/plan")) == (422, "undeclared")
    wrong = ben.post(f"{V1}/incidents/1/actions/scale-out/plan", json={"parameters": {"replica": 9}})
    assert error(wrong) == (422, "invalid")
    assert list(wrong.json()["error"]["fields"]) == ["replica"]
    planned = ben.post(f"{V1}/incidents/1/actions/scale-out/plan", json={"parameters": {"replicas": 4}}).json()
    assert planned["run"]["state"] == "proposed"
    assert planned["plan_hash"] is None
    held = muster.database.read(lambda tx: tasks.get(tx, f"plan:{planned['run']['id']}"))
    assert held is not None
    assert held.args["parameters"] == {"replicas": 4}


def test_a_plan_asked_for_twice_under_one_key_is_one_run(muster, ben):
    """The repetition is answered with its run, whatever became of that; other parameters under the key are refused, and nothing is made."""
    declared(ben, "Model p99 latency is high", service="answers")
    ben.post(f"{V1}/incidents/1/runbook", json={"runbook": "inference-latency"})

    def plan(key, **parameters):
        headers = {"Idempotency-Key": key}
        return ben.post(f"{V1}/incidents/1/actions/scale-out/plan", json={"parameters": parameters}, headers=headers)

    wrong = {"Idempotency-Key": "k0"}
    for _ in range(2):
        answer = ben.post(f"{V1}/incidents/1/actions/scale-out/plan", json={"parameters": {"replica": 9}}, headers=wrong)
        assert error(answer) == (422, "invalid")
    first, again = plan("k1", replicas=4), plan("k1", replicas=4)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json()["run"] == first.json()["run"]
    assert error(plan("k1", replicas=5)) == (422, "key_reused")
    other = plan("k2", replicas=4).json()["run"]
    ben.post(f"{V1}/runs/{other['id']}/cancel")
    assert plan("k2", replicas=4).json()["run"]["state"] == "cancelled"
    assert [run["id"] for run in ben.get(f"{V1}/incidents/1/runs").json()["items"]] == [first.json()["run"]["id"], other["id"]]


def test_the_kill_switch_is_for_admins_and_is_told(muster, ben):
    """Pausing needs an admin's grant; it stands on every open incident; twice is once; resuming ends it (rule S16)."""
    declared(ben)
    assert error(client(muster, token=EVA).post(f"{V1}/pause", json={"reason": "x"})) == (403, "not_granted")
    assert muster.database.read(lambda tx: switches.get(tx, "paused")) is None
    assert ben.post(f"{V1}/pause", json={"reason": "something is odd"}).json()["by"] == "ben"
    assert ben.post(f"{V1}/pause", json={"reason": "another"}).json()["reason"] == "something is odd"
    assert ben.get(f"{V1}/status").json()["paused"]["paused"] is True
    assert ben.post(f"{V1}/resume").json() == {"paused": False, "by": None, "since_at": None, "reason": None}
    for number in (1, OWN):
        told = muster.database.read(lambda tx, number=number: timeline.of_kind(tx, number, EntryKind.PAUSED, EntryKind.RESUMED))
        assert [one.kind for one in told] == [EntryKind.PAUSED, EntryKind.RESUMED]
    own = ben.get(f"{V1}/timeline/own").json()["items"]
    assert [(one["kind"], one["actor"]["id"]) for one in own][:2] == [("attempt.refused", "eva"), ("muster.paused", "ben")]


def test_the_clock_is_offered_in_the_demo_only(tmp_path, sqlite_url, muster, ben):
    """Without a simulated service nobody can drive the clock, and the description does not mention it."""
    assert error(ben.post(f"{V1}/clock/advance", json={"seconds": 60})) == (404, "unknown_route")
    assert "/api/v1/clock/advance" not in ben.get(f"{V1}/openapi.json").json()["paths"]


def test_a_given_up_task_is_shown_and_tried_again(muster, ben):
    """What was given up is listed with its error; a person's reason makes it due again, once and on record where it belongs (rule S26)."""
    declared(ben)
    muster.database.write(lambda tx: tasks.enqueue(tx, *(NewTask(key=f"k{n}", kind="note", args={"incident": n}) for n in (1, 7))))
    for task in muster.database.write(lambda tx: tasks.claim(tx, 2, 30, kinds=["note"])):
        muster.database.write(lambda tx, task=task: tasks.bury(tx, task, "channel_not_found"))
    for shown, place in zip(ben.get(f"{V1}/tasks/dead").json()["items"], (OWN, 1), strict=True):
        assert shown["error"] == "channel_not_found"
        path = f"{V1}/tasks/{shown['id']}/retry"
        assert error(ben.post(path)) == (422, "invalid")
        assert error(ben.post(path, json={"reason": "  "})) == (409, "no_reason")
        assert ben.post(path, json={"reason": "The channel is back."}).status_code == 200
        assert error(ben.post(path, json={"reason": "Twice."})) == (404, "not_found")
        (said,) = muster.database.read(lambda tx, place=place: timeline.of_kind(tx, place, EntryKind.TASK_RETRIED))
        assert (said.actor.id, said.actor.via, said.summary) == ("ben", "api", "ben has it tried again (note): The channel is back.")
        assert (said.payload["task"], said.payload["error"]) == (shown["key"], "channel_not_found")
    assert ben.get(f"{V1}/tasks/dead").json()["items"] == []


def test_verify_names_the_head_and_finds_a_head_that_was_cut(muster, ben):
    """The printed head is part of the chain later; one that never was is a broken record."""
    declared(ben)
    first = ben.get(f"{V1}/timeline/verify").json()
    assert first["ok"] is True
    declared(ben, "another")
    assert ben.get(f"{V1}/timeline/verify", params={"head": first["head"]}).json()["ok"] is True
    assert ben.get(f"{V1}/timeline/verify", params={"head": "0" * 63 + "1"}).json()["ok"] is False


def test_exports_say_the_same_in_every_form(ben):
    """JSON, JSON Lines, CSV and Markdown hold the same entries in the same order, and the chain can be checked from the lines."""
    import csv
    import io

    declared(ben, "=HYPERLINK(1) | *x* <b>")
    path = f"{V1}/incidents/1/timeline"
    whole = ben.get(path).json()["entries"]
    lines = [Entry.model_validate_json(line) for line in ben.get(path, params={"format": "jsonl"}).text.splitlines()]
    assert [entry.hash for entry in lines] == [entry["hash"] for entry in whole]
    assert not list(broken_links(lines))
    rows = list(csv.DictReader(io.StringIO(ben.get(path, params={"format": "csv"}).text)))
    assert [row["hash"] for row in rows] == [entry["hash"] for entry in whole]
    assert len([line for line in ben.get(path, params={"format": "md"}).text.splitlines() if line.startswith("| ")]) == len(whole) + 2


@given(st.text(max_size=40))
def test_no_cell_of_the_csv_is_a_formula(summary):
    """A spreadsheet takes no cell of the export for a formula, whatever an alert says."""
    from datetime import UTC, datetime

    at = datetime(2026, 1, 1, tzinfo=UTC)
    entry = NewEntry(kind=EntryKind.NOTE_ADDED, occurred_at=at, actor=MUSTER, summary=summary)
    made = sealed(entry, incident_id=1, seq=1, recorded_at=at, previous=GENESIS)
    body = exports.comma_separated([made])
    import csv
    import io

    rows = list(csv.reader(io.StringIO(body, newline="")))
    assert len(rows) == 2
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in rows[1])


def test_the_description_is_whole_and_refers_to_what_is_there(muster, ben):
    """Every endpoint stands in the description once, and every reference in it leads to a schema."""
    found = client(muster).get(f"{V1}/openapi.json").json()
    assert found["openapi"] == "3.1.0"
    said = {(method.upper(), path) for path, methods in found["paths"].items() for method in methods}
    offered = [one for one in ENDPOINTS if one.offered(muster)]
    assert said == {(one.method, V1 + re.sub(r":\w+", "", one.path)) for one in offered}
    names = [one["operationId"] for methods in found["paths"].values() for one in methods.values()]
    assert len(set(names)) == len(names)
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(found)))
    assert references <= set(found["components"]["schemas"])


def test_two_models_never_share_one_name():
    """In the description a name means one thing: describing each endpoint alone gives the same schemas as describing all."""
    together = describe(ENDPOINTS)["components"]["schemas"]
    for endpoint in ENDPOINTS:
        for name, schema in describe([endpoint])["components"]["schemas"].items():
            assert together[name] == schema, name
