"""Rubbish at every entrance: each is answered by a clear error, and nothing is changed by it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from bot.api import ENDPOINTS
from bot.api.endpoint import PREFIX
from bot.configuration import DEFAULT
from bot.pages import PAGES
from tests.between import button_payload, signed
from tests.inside import ANA, INCIDENTS, Inside, inside
from tests.scenario_alerts import alert
from tests.stack import TOKEN, Stack

pytestmark = [pytest.mark.slow]
WRITER = "the-token-of-a-writer"
TOKENS = """
tokens:
  writer: {secret: {env: MUSTER_SECRET_WRITER}, person: ben, may: write}

changes:"""
TABLES = ("alerts", "incidents", "entries", "runs", "mitigations", "drills", "reviews", "switches", "feedback", "changes", "locks")
POSTS = sorted(endpoint.path for endpoint in ENDPOINTS if endpoint.method == "POST" and endpoint.path != "/clock/advance")
GETS = sorted(endpoint.path for endpoint in ENDPOINTS if endpoint.method == "GET")
RUBBISH: dict[str, bytes] = {
    "not JSON": b'{"alerts": [',
    "not text": b"\xff\xfe\x00\x01" * 50,
    "a number": b"42",
    "a list": b"[[[]]]",
    "null": b"null",
    "deep": b"[" * 50_000 + b"]" * 50_000,
    "wrong types": json.dumps(
        {name: {"a": [1]} for name in ("alerts", "title", "text", "reason", "status", "event", "runbook", "person", "plan_hash", "date")}
    ).encode(),
    "NaN": b'{"seconds": NaN, "title": NaN, "alerts": NaN}',
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the one Muster of these tests keeps its state."""
    return tmp_path_factory.mktemp("rubbish")


@pytest.fixture(scope="module")
def stack(ground: Stack, folder: Path) -> Iterator[Inside]:
    """One Muster for all rubbish, with one open incident and a token that may write."""
    configuration = DEFAULT.read_text().replace("\nchanges:", TOKENS)
    with inside(
        ground, folder, database_url=f"sqlite:///{folder}/muster.sqlite", configuration=configuration, MUSTER_SECRET_WRITER=WRITER
    ) as stack:
        stack.alert(alert())
        stack.settle()
        stack.until(stack.diagnosed, what="the card", patience=15)
        stack.settle()
        yield stack


def state(stack: Inside) -> tuple[Any, ...]:
    """What is stored of the domain, by table; an attempt that was refused may stand on the timeline, and nothing else."""

    def counts(tx: Any) -> tuple[Any, ...]:
        found = [tx.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in TABLES if name != "entries"]
        kept = "SELECT count(*) FROM entries WHERE kind <> 'attempt.refused' AND kind <> 'diagnostic.measured'"
        return (*found, tx.execute(text(kept)).scalar_one())

    stack.settle()
    return stack.database.read(counts)


def filled(path: str) -> str:
    """A path with numbers and names in its holes."""
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda hole: "1" if hole[2] else {"form": "json"}.get(hole[1], "scale-out"), path)


def is_clear(answer: httpx.Response) -> bool:
    """An error that says in words what is wrong."""
    return 400 <= answer.status_code < 500 and len(answer.text) > 15 and "Traceback" not in answer.text


@pytest.mark.parametrize("name", RUBBISH)
@pytest.mark.parametrize("path", ["/alerts/alertmanager", "/changes/simulation"])
def test_rubbish_at_the_intake(stack: Inside, path: str, name: str) -> None:
    """Whatever an authenticated sender delivers that is no alert and no change gets a 4xx with a sentence, and leaves nothing."""
    before = state(stack)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    answer = stack.http.post(f"{stack.url}{path}", content=RUBBISH[name], headers=headers)
    assert is_clear(answer), (answer.status_code, answer.text[:200])
    assert state(stack) == before


@pytest.mark.parametrize("name", [name for name in RUBBISH if name != "wrong types"])
@pytest.mark.parametrize("path", POSTS)
def test_rubbish_at_the_api(stack: Inside, path: str, name: str) -> None:
    """Each route of the API that changes something refuses a body that is none, with a sentence, and changes nothing."""
    before = state(stack)
    headers = {"Authorization": f"Bearer {WRITER}", "Content-Type": "application/json"}
    answer = stack.http.post(f"{stack.url}{PREFIX}{filled(path)}", content=RUBBISH[name], headers=headers)
    assert is_clear(answer), (answer.status_code, answer.text[:200])
    assert state(stack) == before


@pytest.mark.parametrize("path", POSTS)
def test_wrong_types_at_the_api(stack: Inside, path: str) -> None:
    """Fields that do not exist, or have another type, are named, and nothing is changed."""
    before = state(stack)
    headers = {"Authorization": f"Bearer {WRITER}"}
    answer = stack.http.post(f"{stack.url}{PREFIX}{filled(path)}", json=json.loads(RUBBISH["wrong types"]), headers=headers)
    assert is_clear(answer), (answer.status_code, answer.text[:200])
    assert state(stack) == before


@pytest.mark.parametrize("path", POSTS)
def test_nobody_changes_anything_without_a_token(stack: Inside, path: str) -> None:
    """Without a token, with a wrong one, and with hostile text for one: 401 or 403, and nothing is changed."""
    before = state(stack)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic {{ 7*7 }}"}, {"Cookie": "muster=<!channel>"}):
        answer = stack.http.post(f"{stack.url}{PREFIX}{filled(path)}", json={}, headers=headers)
        assert answer.status_code in {401, 403}, (headers, answer.status_code, answer.text[:200])
    assert state(stack) == before


HOSTILE = ["{{ 7*7 }}", "<!channel>", "..%2f..%2fetc%2fpasswd", "%00", "x" * 3000, "9" * 40, "-1", "' OR 1=1 --"]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_paths_and_questions(stack: Inside, hostile: str) -> None:
    """Every page and every route with hostile text in its path and query answers without a failure of ours."""
    headers = {"Authorization": f"Bearer {WRITER}"}
    before = state(stack)
    for path in [*(f"{PREFIX}{one}" for one in GETS), *(one for one, _ in PAGES)]:
        wild = re.sub(r"\{[^}]*\}", lambda _: hostile, path)
        for url in (f"{stack.url}{wild}", f"{stack.url}{filled(path)}?limit={hostile}&service={hostile}&state={hostile}"):
            answer = stack.http.get(url, headers=headers)
            assert answer.status_code < 500, (url, answer.text[:300])
            assert "Traceback" not in answer.text
    assert state(stack) == before


@pytest.mark.parametrize(
    "path",
    ["/alerts/alertmanager", "/changes/simulation", "/slack/events", f"{PREFIX}/incidents", f"{PREFIX}/incidents/1/notes"],
)
def test_ten_megabytes(stack: Inside, path: str) -> None:
    """A body of 10 MB is refused as too large (or never read), wherever it comes in."""
    before = state(stack)
    large = json.dumps({"title": "x" * 10_000_000, "alerts": []}).encode()
    token = TOKEN if path.startswith(("/alerts", "/changes")) else WRITER
    headers = {**signed(large, secret=stack.signing_secret), "Authorization": f"Bearer {token}"}
    try:
        answer = stack.http.post(f"{stack.url}{path}", content=large, headers=headers)
    except (httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadError):
        pass  # it hung up, which says the same
    else:
        assert answer.status_code == 413, (answer.status_code, answer.text[:200])
        assert len(answer.text) > 10
    assert state(stack) == before


def test_a_thousand_labels(stack: Inside) -> None:
    """An alert with a thousand labels, and one with labels of 4,000 characters, are taken or refused in words; the card still stands."""
    payload = alert()
    payload["alerts"][0]["labels"] |= {f"label_{number}": "v" * 20 for number in range(1000)}
    answer = stack.alert(payload)
    assert answer.status_code == 202 or is_clear(answer)
    long = alert(model="m" * 4000)
    answer = stack.alert(long)
    assert answer.status_code == 202 or is_clear(answer)
    stack.settle()
    assert stack.card(1)
    assert stack.chain_holds()


@pytest.mark.parametrize("name", RUBBISH)
def test_rubbish_at_slacks_door(stack: Inside, name: str) -> None:
    """Signed rubbish at Slack's door, as JSON and as a form, is refused or ignored; it is never a failure of ours."""
    before = state(stack)
    body = RUBBISH[name]
    for content_type, content in (
        ("application/json", body),
        ("application/x-www-form-urlencoded", body),
        ("application/x-www-form-urlencoded", b"payload=" + body),
    ):
        headers = signed(content, secret=stack.signing_secret, content_type=content_type)
        answer = stack.http.post(f"{stack.url}/slack/events", content=content, headers=headers)
        assert answer.status_code < 500, (content_type, answer.status_code, answer.text[:200])
    assert state(stack) == before


@pytest.mark.parametrize(
    "value",
    [
        {"v": 1, "k": "acknowledge", "i": "1"},
        {"v": 1, "k": "acknowledge", "i": -1},
        {"v": 1, "k": "acknowledge", "i": 10**30},
        {"v": 2, "k": "acknowledge", "i": 1},
        {"v": 1, "k": "no-such-press", "i": 1},
        {"v": 1, "k": "confirm", "r": 99999, "i": 1},
        {"v": 1, "k": "approve", "r": 1, "h": "x" * 5000},
        {"v": 1, "k": "plan", "i": 1, "s": "../../etc/passwd"},
        {"v": 1, "k": "plan", "i": 1, "s": "{{ 7*7 }}"},
        {"v": 1, "k": "undo", "i": 1},
        {"v": 1, "k": "drill_start", "m": 424242},
        {"v": 1, "k": "extend", "m": 424242},
        {"v": 1, "k": "resolve_as", "i": 1},
        [],
        None,
    ],
    ids=str,
)
def test_forged_buttons_at_slacks_door(stack: Inside, value: Any) -> None:
    """A button that Muster never drew is answered by a sentence and changes nothing."""
    before, told = state(stack), len(stack.whispers(ANA))
    payload = button_payload(user=ANA, channel=INCIDENTS, press={"k": "acknowledge", "i": 1})
    payload["actions"][0]["value"] = json.dumps(value)
    if isinstance(value, dict):
        about = [value.get(key) for key in ("i", "s", "r", "m")]
        payload["actions"][0]["action_id"] = ".".join(["muster", str(value["k"]), *(str(one) for one in about if one is not None)])[:255]
    assert stack.slack(payload).status_code == 200
    stack.until(lambda: stack.whispers(ANA)[told:], what="the sentence", patience=5)
    assert state(stack) == before


@pytest.mark.parametrize("wrong", ["unsigned", "old", "another secret", "another body"])
def test_an_unproven_slack_is_not_heard(stack: Inside, wrong: str) -> None:
    """Unsigned, signed with another secret, over another body or an hour ago: refused, and nothing is changed."""
    before = state(stack)
    body = json.dumps(
        {"type": "event_callback", "event_id": "Ev1", "event": {"type": "app_mention", "user": ANA, "text": "ack 1"}}
    ).encode()
    secret, at = stack.signing_secret, None
    if wrong == "old":
        import time

        at = time.time() - 3600
    headers = {
        "unsigned": {"content-type": "application/json"},
        "another secret": signed(body, secret="another"),
        "another body": signed(body + b" ", secret=secret),
        "old": signed(body, secret=secret, at=at),
    }[wrong]
    assert stack.http.post(f"{stack.url}/slack/events", content=body, headers=headers).status_code in {401, 403}
    assert state(stack) == before


def test_hostile_words_in_commands_and_dialogs(stack: Inside) -> None:
    """What a person types is text: a title, a note and a question with templates, mentions and control characters stay harmless."""
    hostile = "{{ 77*77 }} <!channel> \x1b[31m\u202e " + "y" * 2000
    for typed in (f"/muster {hostile}", "/muster ack nothing", "/muster drill ../../etc/passwd", "/muster ack 99999999999999999999"):
        assert stack.post("workspace", "/client/message", {"user": ANA, "channel": INCIDENTS, "text": typed})["ok"], typed
    assert stack.press_in_view("Post an update", stack.more_of())["ok"]
    view = stack.dialog("· update")
    stack.submitted(view, stack.choose(view, "Update", hostile[:1500]))
    stack.until(lambda: any("77*77" in one["text"] for one in stack.thread()), what="the update", patience=10)
    said = json.dumps(stack.thread(), ensure_ascii=False)
    assert "5929" not in said
    assert "<!channel>" not in said
    assert "\\u001b" not in json.dumps(stack.thread())
    assert stack.chain_holds()
