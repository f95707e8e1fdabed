"""The change feed's formats."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.ingress.changes import ChangeSettings, parse_changes
from bot.ingress.source import Options, PayloadInvalid
from runbooks.change import Change, ChangeKind, ChangeState

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
OPTIONS = Options(source="deploys", received_at=NOW, settings=ChangeSettings(services={"harbor/answers": "answers"}))
GITHUB = {"x-github-event": "deployment_status"}
# Written from GitHub's documentation of the event, cut to what is read.
DEPLOYED = {
    "action": "created",
    "deployment_status": {
        "state": "success",
        "created_at": "2026-11-20T19:55:00Z",
        "log_url": "https://github.com/harbor/answers/actions/runs/1",
        "target_url": "",
    },
    "deployment": {"id": 42, "ref": "v8.1.2", "environment": "production", "creator": {"login": "ana"}},
    "repository": {"full_name": "harbor/answers"},
}


def read(value: Any, headers: dict[str, str] | None = None) -> list[Change]:
    return parse_changes(json.dumps(value).encode(), headers or {}, OPTIONS)


def test_a_change_is_read_whole() -> None:
    """Every field of the format arrives; the key is the source's own, so that two sources do not meet."""
    sent = {
        "key": "build-7",
        "kind": "model",
        "title": "reranker v3.2",
        "service": "harbor/answers",
        "target": "reranker-v3",
        "author": "ana",
        "link": "https://ci.example.com/7",
        "changed_at": "2026-11-20T19:00:00+01:00",
    }
    (change,) = read(sent)
    assert change == Change(
        key="deploys/build-7",
        source="deploys",
        kind=ChangeKind.MODEL,
        title="reranker v3.2",
        service="answers",
        target="reranker-v3",
        author="ana",
        link="https://ci.example.com/7",
        changed_at=datetime(2026, 11, 20, 18, 0, tzinfo=UTC),
    )


def test_without_a_key_the_content_is_the_key() -> None:
    """The same change told twice has one key; another change has another."""
    sent = {"kind": "flag", "title": "fast-path on", "changed_at": "2026-11-20T19:00:00Z"}
    (first,), (again,), (other,) = read(sent), read(sent), read({**sent, "title": "fast-path off"})
    assert first.key == again.key != other.key


def test_a_list_is_several_changes() -> None:
    """A list keeps its order; a time that is absent is the time of receipt."""
    changes = read([{"kind": "deploy", "title": "a"}, {"kind": "index", "title": "b"}])
    assert [(change.title, change.changed_at) for change in changes] == [("a", NOW), ("b", NOW)]


def test_github_tells_of_a_deployment_as_it_does() -> None:
    """A successful deployment status is a deploy of the repository's service."""
    (change,) = read(DEPLOYED, GITHUB)
    assert (change.kind, change.key, change.service, change.author) == (ChangeKind.DEPLOY, "deploys/42", "answers", "ana")
    assert change.title == "harbor/answers v8.1.2 deployed to production"
    assert change.link == "https://github.com/harbor/answers/actions/runs/1"


@pytest.mark.parametrize(
    ("said", "state"), [("in_progress", "started"), ("success", "finished"), ("failure", "failed"), ("error", "failed")]
)
def test_github_tells_how_far_a_deployment_is(said: str, state: str) -> None:
    """Each delivery about one deployment has the same key, so that its end ends what has begun."""
    status = {**DEPLOYED["deployment_status"], "state": said}
    (change,) = read({**DEPLOYED, "deployment_status": status}, GITHUB)
    assert (change.key, change.state.value) == ("deploys/42", state)


def test_a_change_that_has_started_needs_a_key() -> None:
    """Without a key its end could never be told; with one, and for what is done already, all is well."""
    begun = {"kind": "deploy", "title": "answers 8.1.2", "state": "started"}
    with pytest.raises(PayloadInvalid, match="key is missing"):
        read(begun)
    (change,) = read({**begun, "key": "build-812"})
    assert change.state is ChangeState.STARTED
    assert read({"kind": "deploy", "title": "answers 8.1.2"})[0].state is ChangeState.FINISHED
    with pytest.raises(PayloadInvalid, match="state must be one of started, finished, failed"):
        read({**begun, "key": "build-812", "state": "on fire"})


def test_other_events_of_github_are_no_change() -> None:
    """A deployment that has not begun, and every other event, changes nothing."""
    queued = {**DEPLOYED, "deployment_status": {"state": "queued"}}
    assert read(queued, GITHUB) == []
    assert read({"zen": "Keep it logically awesome."}, {"x-github-event": "ping"}) == []


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"kind": "party", "title": "x"}, "deploy"),
        ({"kind": ["deploy"], "title": "x"}, "kind"),
        ({"kind": "deploy"}, "title"),
        ({"kind": "deploy", "title": "x", "changed": 1}, "changed"),
        ({"kind": "deploy", "title": 7}, "text"),
        ({"kind": "deploy", "title": "x", "changed_at": "now"}, "changed_at"),
        (["x"], "object"),
        ([{"kind": "deploy", "title": "x"}] * 1001, "1001"),
    ],
)
def test_what_is_no_change_is_refused(sent: Any, words: str) -> None:
    """Each mistake is said with its field."""
    with pytest.raises(PayloadInvalid, match=words):
        read(sent)


WORDS = ["key", "kind", "title", "deployment_status", "deployment", "repository", "state", "id", "creator", "full_name", "login"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.sampled_from(["deploy", "success"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=20,
)


@given(JSON, st.sampled_from([{}, GITHUB, {"x-github-event": "push"}]))
def test_no_json_breaks_the_feed(value: Any, headers: dict[str, str]) -> None:
    """Arbitrary JSON made of the formats' words gives changes or a refusal."""
    kept: list[Change] = []
    reason = "read"
    try:
        kept = read(value, headers)
    except PayloadInvalid as refused:
        reason = refused.reason
    assert reason
    assert all(change.key and change.title for change in kept)
