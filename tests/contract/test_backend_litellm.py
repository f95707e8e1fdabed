"""LiteLLM's management API, as its documentation and its published schema describe it; not the real service."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from actions.backends.litellm import KIND, LiteLLM
from actions.contract import BackendError, CallInvalid, NotPermitted, OutcomeUnknown, Rejected, TargetMissing, Unreachable
from actions.kinds import Options
from actions.planning import PlanRefused
from actions.testing import CHECKS, TIMEOUT, Check, Subject
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call, OutcomeStatus
from tests.parts.acted import CASES, Act, Case, suffer
from tests.parts.trouble import Ill, troubled
from tests.parts.vendor import Answered, Asked, serving

TOKEN = "sk-a-management-key-that-nobody-may-see"
HASH = "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b"
MODELS = ("answers", "answers-small", "other-provider")


@dataclass(slots=True)
class Documented:
    """The proxy's state: limits by kind and name, fallbacks by model."""

    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    fallbacks: dict[str, list[str]] = field(default_factory=dict)
    stores: bool = True
    more_keys: list[dict[str, Any]] = field(default_factory=list)
    fails: str = ""  # with which words a change is answered 400, after it was made
    old: bool = False  # without fallback management
    url: str = ""
    asked: list[Asked] = field(default_factory=list)

    def __call__(self, asked: Asked) -> Answered:
        self.asked.append(asked)
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            error = {"message": "Authentication Error, Invalid proxy server token passed", "type": "auth_error", "code": "401"}
            return Answered(status=401, body={"error": error})
        method, parts = asked.method, asked.parts
        if parts == ("v1", "models"):
            return Answered(body={"data": [{"id": name, "object": "model"} for name in MODELS], "object": "list"})
        if parts[0] == "fallback" and self.old:
            return Answered(status=404, body={"detail": "Not Found"})
        if parts[0] == "fallback":
            return self._fallback(method, parts, asked.body)
        return self._row(parts, asked)

    def _fallback(self, method: str, parts: tuple[str, ...], body: Any) -> Answered:
        if method == "GET":
            found = self.fallbacks.get(parts[1])
            if found is None:
                return Answered(status=404, body={"detail": {"error": f"No general fallbacks configured for model '{parts[1]}'"}})
            return Answered(body={"model": parts[1], "fallback_models": found, "fallback_type": "general"})
        if not self.stores:
            return Answered(status=400, body={"detail": {"error": "Database storage not enabled. Set 'STORE_MODEL_IN_DB=True'"}})
        if method == "DELETE":
            self.fallbacks.pop(parts[1])
            return Answered(body={"model": parts[1], "fallback_type": "general", "message": "deleted"})
        self.fallbacks[body["model"]] = body["fallback_models"]
        return Answered(body={**body, "message": "Fallback configuration updated successfully"})

    def _row(self, parts: tuple[str, ...], asked: Asked) -> Answered:
        rows = self.rows[parts[0]]
        if parts == ("team", "info"):
            name = asked.query["team_id"]
            if name not in rows:
                return Answered(status=404, body={"detail": {"message": f"Team not found, passed team id: {name}."}})
            return Answered(body={"team_id": name, "team_info": {"team_id": name, **rows[name]}, "keys": [], "team_memberships": []})
        if parts == ("budget", "info"):
            return Answered(body=[{"budget_id": name, **rows[name]} for name in asked.body["budgets"] if name in rows])
        if parts == ("key", "list"):
            meant = asked.query["key_alias"]
            keys = [{"key_alias": name, "token": HASH, **row} for name, row in rows.items() if meant in name]
            keys += self.more_keys
            page, size = int(asked.query.get("page", "1")), int(asked.query["size"])
            shown = keys[(page - 1) * size : page * size]
            return Answered(
                body={"keys": shown, "total_count": len(keys), "current_page": page, "total_pages": max(1, -(-len(keys) // size))}
            )
        name = next(name for name in rows if asked.body.get(f"{parts[0]}_id") == name or asked.body.get("key") == HASH)
        rows[name] |= {key: value for key, value in asked.body.items() if key in rows[name]}
        error = {"message": f"Authentication Error, {self.fails}", "type": "auth_error", "param": "None", "code": "400"}
        return Answered(status=400, body={"error": error}) if self.fails else Answered(body={})


LIMITS = {"team": "team/search-team/rpm_limit", "key": "key/batch/tpm_limit", "budget": "budget/free-tier/max_budget"}


@pytest.fixture
def proxy() -> Iterator[Documented]:
    state = Documented(
        rows={
            "team": {"search-team": {"rpm_limit": 600, "tpm_limit": None, "max_budget": 50.0}},
            "key": {"batch": {"rpm_limit": 60, "tpm_limit": 90_000}, "batch-2": {"rpm_limit": 1, "tpm_limit": 1}},
            "budget": {"free-tier": {"rpm_limit": 10, "max_budget": 12.5, "updated_by": "ana"}},
        },
        fallbacks={"answers": ["answers-small"]},
    )
    with serving(state) as url:
        state.url = url
        yield state


def build(url: str, *, token: str = TOKEN) -> LiteLLM:
    """The backend as configured."""
    found = KIND.build(Options({"url": url, "environment": "production"}), {"token": lambda: token})
    assert isinstance(found, LiteLLM)
    return found


def limit(value: float = 20, *, target: str = LIMITS["team"]) -> Call:
    """Set a limit."""
    return Call(operation="limit.set", target=target, arguments={"target": target, "value": value})


def switch(route: str = "other-provider", *, target: str = "answers") -> Call:
    """Name other fallbacks."""
    return Call(operation="route.switch", target=target, arguments={"target": target, "route": route})


def limiting(proxy: Documented, kind: str) -> Subject:
    _, name, what = LIMITS[kind].split("/")

    def change_outside(value: Any) -> None:
        proxy.rows[kind][name][what] = value["value"]

    target = LIMITS[kind]
    return Subject(
        backend=build(proxy.url), call=limit(20, target=target), missing=limit(target=f"{kind}/nobody/rpm_limit"), other={"value": 7},
        change_outside=change_outside, invalid=limit(-1, target=target), atomic=False,
    )  # fmt: skip


def switching(proxy: Documented) -> Subject:
    def change_outside(value: Any) -> None:
        proxy.fallbacks["answers"] = value["route"].split(",")

    return Subject(
        backend=build(proxy.url), call=switch(), missing=switch(target="nobody"), other={"route": "other-provider,answers-small"},
        change_outside=change_outside, invalid=switch("answers"), atomic=False,
    )  # fmt: skip


@pytest.mark.parametrize("what", [*LIMITS, "route"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_litellm_keeps_the_contract(check: Check, what: str, proxy: Documented) -> None:
    """Each kind of limit, and the fallbacks, pass every check over the documented wire."""
    check(switching(proxy) if what == "route" else limiting(proxy, what))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("what", ["limit", "route"])
def test_every_trouble_with_the_change_is_told_as_it_is(what: str, case: Case, proxy: Documented) -> None:
    """Whatever goes wrong with the change, the person reads what is certain, and a look tells whether it took effect."""
    with troubled(proxy.url) as trouble:
        call = limit() if what == "limit" else switch()
        outcome = suffer(case, Act(build(trouble.url), call.operation, dict(call.arguments)), trouble)
    assert TOKEN not in outcome.reason
    done = proxy.rows["team"]["search-team"]["rpm_limit"] == 20 or proxy.fallbacks["answers"] == ["other-provider"]
    assert done is case.done


def test_a_plan_says_both_limits_and_the_undo_restores(proxy: Documented) -> None:
    """The plan names both numbers with their unit, only the one limit is written, and the undo brings the old one back."""
    target = LIMITS["key"]
    act = Act(build(proxy.url), "limit.set", {"target": target, "value": 20_000})
    plan = act.plan()
    assert (plan.proposal.before_text, plan.proposal.after_text) == ("90,000 tokens a minute", "20,000 tokens a minute")
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED
    assert proxy.rows["key"] == {"batch": {"rpm_limit": 60, "tpm_limit": 20_000}, "batch-2": {"rpm_limit": 1, "tpm_limit": 1}}
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert proxy.rows["key"]["batch"]["tpm_limit"] == 90_000
    assert HASH not in plan.model_dump_json()


def test_a_limit_that_is_not_there_is_not_invented(proxy: Documented) -> None:
    """Where there is no limit yet, an undo could not take it away again, so none is set."""
    with pytest.raises(PlanRefused, match="has no tpm_limit, so an undo could not restore that; set one in LiteLLM first"):
        Act(build(proxy.url), "limit.set", {"target": "team/search-team/tpm_limit", "value": 5}).plan()


def test_fallbacks_can_be_taken_away_and_come_back(proxy: Documented) -> None:
    """`none` takes all fallbacks away, and a model that had none gets its state back by the undo, too."""
    act = Act(build(proxy.url), "route.switch", {"target": "answers", "route": "none"})
    plan = act.plan()
    assert plan.proposal.step == "fallbacks answers-small → none"
    assert "takes no traffic from a model that answers" in plan.proposal.note
    done = act.execute(plan)
    assert proxy.fallbacks == {}
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert proxy.fallbacks == {"answers": ["answers-small"]}


@pytest.mark.parametrize("route", ["nobody", "answers", "answers-small,answers-small", "answers-small,", ""])
def test_fallbacks_that_make_no_sense_are_not_planned(route: str, proxy: Documented) -> None:
    """A model that is not there, the model itself, and the same one twice are refused before anything is sent."""
    backend = build(proxy.url)
    reading = backend.read(switch(), timeout=TIMEOUT)
    with pytest.raises(CallInvalid):
        backend.propose(switch(route), reading)


def test_a_proxy_without_its_database_says_so(proxy: Documented) -> None:
    """LiteLLM's own words about its database reach the person, and nothing was changed."""
    proxy.stores = False
    act = Act(build(proxy.url), "route.switch", {"target": "answers", "route": "other-provider"})
    refused = act.execute(act.plan())
    assert refused.status is OutcomeStatus.REFUSED
    assert "Database storage not enabled" in refused.reason


def test_a_stranger_is_named_and_not_overwritten(proxy: Documented) -> None:
    """What somebody else set between plan and click, or between run and undo, stays."""
    target = LIMITS["budget"]
    act = Act(build(proxy.url), "limit.set", {"target": target, "value": 1})
    plan = act.plan()
    proxy.rows["budget"]["free-tier"]["max_budget"] = 5.0
    assert act.execute(plan).reason.startswith(f"Nothing was changed: {target} was changed by ana meanwhile; now it is: 5.0 USD.")
    plan = act.plan("p2")
    done = act.execute(plan)
    proxy.rows["budget"]["free-tier"]["max_budget"] = 9.0
    assert act.undo(plan, after=done.after).reason.startswith(f"Not undone: {target} was changed by ana meanwhile; now it is: 9.0 USD.")


def test_wrong_credentials_are_said_and_never_shown(proxy: Documented) -> None:
    """A key that is not let in is refused while planning, and does not stand in the sentence."""
    with pytest.raises(PlanRefused) as refused:
        Act(build(proxy.url, token="sk-wrong-and-secret"), "limit.set", {"target": LIMITS["team"], "value": 1}).plan()
    assert "does not let these credentials do this (401)" in str(refused.value)
    assert "sk-wrong" not in str(refused.value)


@pytest.mark.parametrize("kind", LIMITS)
def test_a_failure_after_the_change_is_in_doubt_and_found_out_by_looking(kind: str, proxy: Documented) -> None:
    """LiteLLM answers 400 also where its cache fails after the change, so that a 400 is no certain refusal."""
    act = Act(build(proxy.url), "limit.set", {"target": LIMITS[kind], "value": 5})
    plan = act.plan()
    proxy.fails = "Error connecting to redis:6379"
    doubt = act.execute(plan)
    assert doubt.status is OutcomeStatus.UNKNOWN
    assert doubt.reason.endswith(
        f"failed after changing {kind} {LIMITS[kind].split('/')[1]}: Authentication Error, Error connecting to redis:6379"
    )
    assert act.runner.reconcile(plan).status is OutcomeStatus.APPLIED


def test_a_second_key_of_the_name_is_found_on_the_last_page(proxy: Documented) -> None:
    """Two keys with one alias are never taken for one, however many similar ones stand between them."""
    proxy.more_keys = [{"key_alias": f"batch-{number}", "token": HASH, "tpm_limit": 1} for number in range(150)]
    backend, call = build(proxy.url), limit(target=LIMITS["key"])
    assert backend.read(call, timeout=TIMEOUT).value == {"value": 90_000}
    proxy.more_keys.append({"key_alias": "batch", "token": HASH, "tpm_limit": 1})
    with pytest.raises(CallInvalid, match="has 2 keys with the alias batch"):
        backend.read(call, timeout=TIMEOUT)
    proxy.more_keys *= 20
    with pytest.raises(CallInvalid, match="too many keys for the alias batch"):
        backend.read(call, timeout=TIMEOUT)


def test_a_proxy_without_fallback_management_is_not_one_without_fallbacks(proxy: Documented) -> None:
    """A path that an old LiteLLM does not know is not taken for "no fallbacks": an undo could not restore them."""
    proxy.old = True
    with pytest.raises(Rejected, match="has no fallback management"):
        build(proxy.url).read(switch(), timeout=TIMEOUT)


@pytest.mark.parametrize("name", ["batch", "tch"])
def test_only_the_very_alias_is_meant(name: str, proxy: Documented) -> None:
    """A list that also holds similar aliases gives the exact one, or none."""
    backend, call = build(proxy.url), limit(target=f"key/{name}/rpm_limit")
    if name == "batch":
        assert backend.read(call, timeout=TIMEOUT).value == {"value": 60}
        return
    with pytest.raises(TargetMissing, match="LiteLLM has no key tch"):
        backend.read(call, timeout=TIMEOUT)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [(200, b'{"keys": [{"key_alias": "batch"}]}', NotPermitted), (500, b"{}", Unreachable), (200, b'{"keys": []}', TargetMissing)],
)
def test_a_key_whose_hash_is_not_shown_is_left_alone(status: int, body: bytes, error: type[BackendError], proxy: Documented) -> None:
    """If the key cannot be named when it is to be changed, nothing is sent, and that is certain."""
    call = limit(5, target=LIMITS["key"])
    with troubled(proxy.url) as trouble:
        backend = build(trouble.url)
        reading = backend.read(call, timeout=TIMEOUT)
        before = len(trouble.seen)
        trouble.ill, trouble.status, trouble.body = Ill.STATUS, status, body
        trouble.which = lambda _method, _path: len(trouble.seen) > before + 1  # the look goes well, and what follows does not
        with pytest.raises(error):
            backend.apply(call, {"value": 5}, expected=reading, key="k", timeout=TIMEOUT)
        assert {method for method, _ in trouble.seen} == {"GET"}
    assert proxy.rows["key"]["batch"]["tpm_limit"] == 90_000


@pytest.mark.parametrize("body", [b"[]", b'{"team_info": 7}', b'{"team_info": {"rpm_limit": "many"}}', b"<html>"])
def test_an_answer_that_cannot_be_read_is_no_reading(body: bytes, proxy: Documented) -> None:
    """What does not look as documented is not guessed at."""
    with troubled(proxy.url) as trouble:
        trouble.ill, trouble.status, trouble.body, trouble.which = Ill.STATUS, 200, body, lambda _method, _path: True
        with pytest.raises(PlanRefused):
            Act(build(trouble.url), "limit.set", {"target": LIMITS["team"], "value": 1}).plan()
        if body != b"<html>":
            with pytest.raises(OutcomeUnknown):
                build(trouble.url).read(limit(), timeout=TIMEOUT)


@pytest.mark.parametrize(
    "name", ["", "..", "team/../rpm_limit", "team/a/b/rpm_limit", "team/a/spend", "user/a/rpm_limit", "key/a\nb/rpm_limit", "é"]
)
def test_s29_no_name_leaves_its_kind(name: str, proxy: Documented) -> None:
    """A hostile target is refused before anything is sent."""
    for call in (limit(target=name), switch(target=name if "/" in name or not name.isascii() else f"{name}/x")):
        with pytest.raises(CallInvalid):
            build(proxy.url).read(call, timeout=TIMEOUT)
    assert proxy.asked == []


def test_the_probe_and_the_options(proxy: Documented) -> None:
    """`muster check` sees that the key is let in; without a key or an address the configuration is refused."""
    assert build(proxy.url).probe(timeout=TIMEOUT).startswith("LiteLLM lets this key in and shows it 3 models;")
    with pytest.raises(SettingsInvalid, match="needs `token`"):
        KIND.build(Options({"url": "http://127.0.0.1:4000"}), {})
    with pytest.raises(SettingsInvalid, match="write the proxy's address"):
        KIND.build(Options({"url": "litellm"}), {"token": lambda: TOKEN})


def test_retries_are_not_offered() -> None:
    """What LiteLLM cannot change safely while it runs is not offered."""
    assert {one.name for one in KIND.operations} == {"limit.set", "route.switch"}
