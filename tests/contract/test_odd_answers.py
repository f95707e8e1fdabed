"""Whatever a far side answers, a backend over HTTP gives a reading or one of the contract's errors, and never crashes."""

import json
from collections.abc import Mapping
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.backends import alertmanager, call, flagsmith, growthbook, launchdarkly, litellm, metrics, unleash, web
from actions.contract import Backend, BackendError, Probing
from actions.kinds import BackendKind, Options
from actions.toolkit.wire import Answer, Wire
from runbooks.operation import Call, Reading

AT = "2026-11-21T02:00:00.000Z"
SWITCHED = {
    "id": 7,
    "featureName": "f",
    "environment": "production",
    "type": "feature-environment-enabled",
    "createdBy": "ana",
    "createdAt": AT,
}
SILENCE = {
    "id": "1", "status": {"state": "active"}, "updatedAt": AT, "startsAt": AT, "endsAt": AT, "createdBy": "ana", "comment": "",
    "matchers": [{"name": "alertname", "value": "a", "isRegex": False, "isEqual": True}], "labels": {"alertname": "a"},
}  # fmt: skip
STATE = {"id": 1, "environment": 2, "feature": 3, "feature_segment": None, "identity": None, "enabled": True, "updated_at": AT}
GOOD: dict[str, Any] = {
    "unleash": {"environments": [{"name": "production", "enabled": True, "strategies": [{}]}], "events": [SWITCHED]},
    "launchdarkly": {
        "variations": [{"value": True, "name": "on"}, {"value": False}], "archived": False, "items": [{"member": {"firstName": "Ana"}}],
        "environments": {"production": {"on": True, "version": 3, "offVariation": 1, "lastModified": 1_700_000_000_000}},
    },
    "flagsmith": {"results": [STATE], "minimum_change_request_approvals": None, "name": "production"},
    "growthbook": {"feature": {"environments": {"production": {"enabled": True}}, "dateUpdated": AT, "archived": False}},
    "team": {"team_info": {"rpm_limit": 3}},
    "key": {"keys": [{"key_alias": "a", "rpm_limit": 3, "token": "h"}], "total_pages": 1},
    "budget": [{"budget_id": "a", "rpm_limit": 3, "updated_by": "ana"}],
    "route": {"data": [{"id": "m"}, {"id": "x"}], "fallback_models": ["x"]},
    "silence": [SILENCE],
    "alerts": [{**SILENCE, "matchers": []}],
    "vector": {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"a": "b"}, "value": [1, "2"]}]}},
    "past": {"status": "success", "data": {"resultType": "scalar", "result": [1, "2"]}},
    "page": {"items": [{"name": "a"}]},
    "call": {"state": {"mode": "normal"}},
}  # fmt: skip
"""What each far side answers when all is well, everything in one."""

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, 0, -1, 1.5]),
    st.sampled_from(
        ["", "a", "production", "active", "NaN", "scalar", "matrix", AT, "0001-01-01T00:00:00+23:59", "9999-12-31T23:00:00-23:00", "\x00"]
    ),
    st.text(max_size=5),
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=5
)


def built(kind: BackendKind, **options: Any) -> Backend:
    given = {"url": "http://127.0.0.1:9", "environment": "production", **options}
    return kind.build(Options({name: value for name, value in given.items() if value is not None}), {"token": lambda: "t"})


def limit(kind: str) -> Call:
    return Call(operation="limit.set", target=f"{kind}/a/rpm_limit", arguments={"target": f"{kind}/a/rpm_limit", "value": 5})


OFF = Call(operation="flag.disable", target="f", arguments={"flag": "f"})
ROUTE = Call(operation="route.switch", target="m", arguments={"target": "m", "route": "none"})
QUIET = Call(operation="alert.silence", target="alertname=a", arguments={"matchers": "alertname=a", "minutes": 5, "reason": "why"})
MODE = {"method": "PUT", "url": "/w/{target}", "body": {"mode": "{value}"}, "read": {"url": "/w/{target}", "path": "state.mode"}}
CASES: dict[str, tuple[Backend, Call]] = {
    "unleash": (built(unleash.KIND), OFF),
    "launchdarkly": (built(launchdarkly.KIND, project="p"), OFF),
    "flagsmith": (built(flagsmith.KIND, environment_key="k"), OFF),
    "growthbook": (built(growthbook.KIND), OFF),
    **{kind: (built(litellm.KIND), limit(kind)) for kind in ("team", "key", "budget")},
    "route": (built(litellm.KIND), ROUTE),
    "silence": (built(alertmanager.KIND), QUIET),
    "alerts": (built(alertmanager.KIND), Call(operation="alerts.list")),
    "vector": (built(metrics.KIND), Call(operation="metrics.query", arguments={"query": "up"})),
    "past": (built(metrics.KIND), Call(operation="metrics.query", arguments={"query": "up", "ago": 60})),
    "page": (
        built(web.KIND, url=None, base="http://127.0.0.1:9"),
        Call(operation="http.get", arguments={"url": "/x", "path": "items[0].name"}),
    ),
    "call": (
        built(call.KIND, url=None, base="http://127.0.0.1:9", calls={"mode": MODE}),
        Call(operation="http.call", target="mode/x", arguments={"target": "mode/x", "value": "drained"}),
    ),
}


@st.composite
def odd(draw: st.DrawFn, good: Any) -> Any:
    """The good answer with something left out, added, or put in place of something."""
    if draw(st.integers(0, 11)) == 0:
        return draw(ANYTHING)
    if isinstance(good, Mapping):
        return {key: draw(odd(value)) for key, value in good.items() if draw(st.integers(0, 19))}
    if isinstance(good, list):
        return [*(draw(odd(value)) for value in good), *draw(st.lists(ANYTHING, max_size=1))]
    return good


def ask(backend: Backend, call: Call) -> Reading:
    """All that the runner does with it."""
    if isinstance(backend, Probing):
        try:
            assert backend.probe(timeout=5)
        except BackendError as error:
            assert str(error)  # noqa: PT017 - either is right
    reading = backend.read(call, timeout=5)
    if next(one for one in backend.operations if one.name == call.operation).reads:
        return reading
    return backend.apply(call, backend.propose(call, reading).value, expected=reading, key="k", timeout=5)


@pytest.mark.parametrize("name", CASES)
def test_a_good_answer_is_understood(name: str) -> None:
    """The answers that the next test makes odd are good ones: each is read."""
    backend, called = CASES[name]
    with mock.patch.object(Wire, "send", return_value=Answer(status=200, body=json.dumps(GOOD[name]).encode())):
        assert backend.read(called, timeout=5).value is not None


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_an_odd_answer_is_a_reading_or_a_sentence(name: str, data: st.DataObject) -> None:
    """Whatever is missing, added or of another kind in an answer, nothing but the contract's errors comes out, each with words."""

    def send(_self: Wire, method: str, _path: str, **_more: Any) -> Answer:
        body = data.draw(odd(GOOD[name]))
        return Answer(
            status=data.draw(st.sampled_from([200, 200, 200, 204, 302, 400, 404, 500])),
            body=json.dumps(body).encode(),
            changes=method != "GET",
        )

    with mock.patch.object(Wire, "send", send):
        try:
            found = ask(*CASES[name])
        except BackendError as error:
            assert str(error)  # noqa: PT017 - either is right
        else:
            assert isinstance(found, Reading)
