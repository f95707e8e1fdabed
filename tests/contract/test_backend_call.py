"""Declared calls against a small control service on the wire; what they lead to is read from the service's own state."""

import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from actions.backends.call import KIND, Calls, build
from actions.contract import CallInvalid, NotPermitted, OutcomeUnknown, Rejected
from actions.kinds import Options
from actions.planning import PlanRefused
from actions.registry import Registry
from actions.testing import CHECKS, Check, Subject
from actions.toolkit.addresses import Host
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call, OutcomeStatus, Reading
from runbooks.severity import Tier
from tests.parts.acted import CASES, Act, Case, suffer
from tests.parts.answering import Answer, Asked, answering
from tests.parts.trouble import Ill, Trouble, troubled

CALLS: dict[str, Any] = {
    "mode": {
        "method": "PUT", "url": "/v1/workers/{target}/mode", "body": {"mode": "{value}", "why": "incident of {target}"},
        "read": {"url": "/v1/workers/{target}", "path": "state.mode"}, "choices": ["normal", "drained", "paused"],
    },
    "maintenance": {
        "method": "POST", "url": "/v1/workers/{target}/maintenance", "becomes": True, "undo": {"method": "DELETE", "url": "/v1/workers/{target}/maintenance"},
        "read": {"url": "/v1/workers/{target}", "path": "state.maintenance"},
    },
    "slots": {
        "method": "PUT", "url": "/v1/workers/{target}/slots/{value}", "read": {"url": "/v1/workers/{target}", "path": "state.slots"}, "minimum": 1, "maximum": 9,
    },
    "restart": {"method": "POST", "url": "/v1/workers/{target}/restart", "body": {"reason": "incident"}, "targets": ["w1", "w2"]},
    "flush": {"method": "POST", "url": "/v1/flush"},
    "reboot": {
        "method": "POST", "url": "/v1/workers/{target}/reboot", "body": {"request": "{key}"},
        "lookup": {"url": "/v1/reboots?of={target}&request={key}", "path": "reboots[0].state"},
    },
}  # fmt: skip
_names = count(1)


class Service:
    """Workers with a mode, a maintenance switch, slots, and a count of restarts."""

    def __init__(self) -> None:
        self.workers: dict[str, dict[str, Any]] = {}
        self.restarts: list[str] = []
        self.reboots: list[dict[str, str]] = []
        self.listed = 200
        self.asked: list[Asked] = []
        self.status = 0

    def new(self) -> str:
        name = f"w{next(_names)}"
        self.workers[name] = {"mode": "normal", "maintenance": False, "slots": 4}
        return name

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if asked.headers.get("authorization") != "Bearer right":
            return 401, {"error": "who are you?"}
        if self.status and asked.method != "GET":
            return self.status, {"error": "no"}, {"Location": "/elsewhere"}
        if asked.path == "/v1/flush":
            return 202, None
        if asked.path == "/v1/reboots":
            (of,), (request,) = asked.query["of"], asked.query["request"]
            return self.listed, {"reboots": [one for one in self.reboots if (one["of"], one["request"]) == (of, request)]}
        name, _, what = asked.path.removeprefix("/v1/workers/").partition("/")
        worker = self.workers.get(name)
        if worker is None:
            return 404, {"error": f"no worker {name}"}
        return self._change(asked, worker, name, what)

    def _change(self, asked: Asked, worker: dict[str, Any], name: str, what: str) -> Answer:
        if what == "restart":
            self.restarts.append(name)
        elif what == "reboot":
            self.reboots.append({"of": name, "request": asked.body["request"], "state": "pending"})
        elif what == "maintenance":
            worker["maintenance"] = asked.method == "POST"
        elif what.startswith("slots/"):
            worker["slots"] = int(what.removeprefix("slots/"))
        elif what == "mode":
            worker["mode"] = asked.body["mode"]
        return 200, {"state": worker}


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[Service, str]]:
    found = Service()
    with answering(found.answer) as url:
        yield found, url


def backend(url: str, token: str = "right", calls: dict[str, Any] = CALLS) -> Calls:
    return build(Options({"base": url, "environment": "production", "calls": calls}), {"token": lambda: token})


SUBJECTS: dict[str, tuple[dict[str, Any], Any, dict[str, Any] | None]] = {
    "mode": ({"value": "drained"}, "paused", {"value": "gone"}),
    "maintenance": ({}, None, None),
    "slots": ({"value": 6}, 2, {"value": 10}),
}


@pytest.mark.parametrize("name", [one for one in SUBJECTS if one != "maintenance"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_declared_calls_keep_the_contract(check: Check, name: str, service: tuple[Service, str]) -> None:
    """A declared call that is read back passes every check of the contract."""
    state, url = service
    given, other, invalid = SUBJECTS[name]
    worker = state.new()
    target = f"{name}/{worker}"

    def call(**arguments: Any) -> Call:
        return Call(operation="http.call", target=target, arguments={"target": target, **arguments})

    check(
        Subject(
            backend=backend(url),
            call=call(**given),
            missing=call(**given).model_copy(update={"target": f"{name}/nobody"}),
            other=other,
            change_outside=lambda value: state.workers[worker].update({name: value}),
            invalid=call(**invalid) if invalid else None,
            atomic=False,
        )
    )


def test_a_call_and_its_way_back(service: tuple[Service, str]) -> None:
    """What is declared with `becomes` and `undo` is done by one request and taken back by the other, each under its key."""
    state, url = service
    worker = state.new()
    act = Act(backend(url), "http.call", {"target": f"maintenance/{worker}"})
    plan = act.plan()
    assert (plan.proposal.step, plan.tier) == ("off → on", Tier.R1)
    done = act.execute(plan, key="run-1")
    assert (done.status, state.workers[worker]["maintenance"]) == (OutcomeStatus.APPLIED, True)
    assert [one.headers["idempotency-key"] for one in state.asked if one.method == "POST"][-1] == "run-1"
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert state.workers[worker]["maintenance"] is False
    assert state.asked[-2].method == "DELETE"


def test_the_body_is_the_configurations(service: tuple[Service, str]) -> None:
    """Names and values stand in the places that the configuration gives them, and nothing else of the runbook is sent."""
    state, url = service
    worker = state.new()
    act = Act(backend(url), "http.call", {"target": f"mode/{worker}", "value": "drained"})
    assert act.execute(act.plan()).status is OutcomeStatus.APPLIED
    sent = next(one for one in reversed(state.asked) if one.method == "PUT")
    assert (sent.path, sent.body) == (f"/v1/workers/{worker}/mode", {"mode": "drained", "why": f"incident of {worker}"})


def test_somebody_else_is_not_overwritten(service: tuple[Service, str]) -> None:
    """A change between plan and click, and between run and undo, is named and left alone."""
    state, url = service
    worker = state.new()
    act = Act(backend(url), "http.call", {"target": f"mode/{worker}", "value": "drained"})
    plan = act.plan()
    state.workers[worker]["mode"] = "paused"
    refused = act.execute(plan)
    assert (refused.status, "now it is: paused" in refused.reason) == (OutcomeStatus.REFUSED, True)
    plan = act.plan("p2")
    done = act.execute(plan)
    state.workers[worker]["mode"] = "normal"
    kept = act.undo(plan, after=done.after)
    assert (kept.status, state.workers[worker]["mode"]) == (OutcomeStatus.REFUSED, "normal")


def test_what_is_only_fired_is_irreversible_and_says_so(service: tuple[Service, str]) -> None:
    """Without a way to look there is no plan of values, the tier is R3, and an undo changes nothing and names the person's part."""
    state, url = service
    act = Act(backend(url), "http.fire", {"target": "restart/w1"}, tier="R3", approval="two")
    state.workers["w1"] = {}
    plan = act.plan()
    assert (plan.tier, plan.proposal.before_text) == (Tier.R3, "not known")
    done = act.execute(plan, key="run-9")
    assert (done.status, state.restarts) == (OutcomeStatus.APPLIED, ["w1"])
    undone = act.undo(plan, after=done.after)
    assert (undone.status, state.restarts) == (OutcomeStatus.REFUSED, ["w1"])
    assert "no way back is declared" in undone.reason


@pytest.mark.parametrize(
    "target",
    [
        "mode/../admin", "mode/..", "mode/.", "mode/w1/slots", "mode/w1%2f..", "mode/w1?x=1", "mode/w1#x", "mode/", "mode", "/w1", "", "nothing/w1",
        "mode/http://169.254.169.254", "mode/w\n1", "mode/é", "mode/" + "a" * 300, "mode/{value}", "restart/w1", "flush", "mode/w1\\x", "mode/-x",
    ],
)  # fmt: skip
def test_s29_no_label_becomes_another_address(target: str, service: tuple[Service, str]) -> None:
    """A target that is no plain name of a declared call is refused before anything is sent."""
    state, url = service
    before = len(state.asked)
    call = Call(operation="http.call", target=target, arguments={"target": target, "value": "drained"})
    for attempt in (
        lambda: backend(url).read(call, timeout=5),
        lambda: backend(url).apply(call, "drained", expected=Reading(), key="k", timeout=5),
    ):
        with pytest.raises(CallInvalid):
            attempt()
    assert len(state.asked) == before


@pytest.mark.parametrize("value", ["..", "../mode", "4/../5", "4?x", "", " ", "é", {"a": 1}])
def test_s29_no_value_becomes_another_address(value: Any, service: tuple[Service, str]) -> None:
    """A value that stands in the address cannot leave its place."""
    state, url = service
    worker = state.new()
    call = Call(operation="http.call", target=f"slots/{worker}", arguments={"value": value})
    before = backend(url).read(call, timeout=5)
    with pytest.raises(CallInvalid):
        backend(url).apply(call, value, expected=before, key="k", timeout=5)
    assert [one.method for one in state.asked[-2:]] == ["GET", "GET"]


def test_targets_that_are_not_listed_are_refused(service: tuple[Service, str]) -> None:
    """Where the configuration lists targets, no other is called."""
    with pytest.raises(NotPermitted, match="w1, w2"):
        backend(service[1]).read(Call(operation="http.fire", target="restart/w3", arguments={}), timeout=5)


def test_a_host_that_points_inside_is_not_called() -> None:
    """A public name that suddenly resolves to an address of one's own network is refused, and nothing is sent."""
    asked = Host(scheme="https", name="control.example.com", port=443)
    declared = build(Options({"base": "https://control.example.com", "environment": "production", "calls": CALLS}), {})._calls
    rebound = Calls(
        base="https://control.example.com", at_host=asked, calls=declared, environment="production", resolve=lambda *_: ["169.254.169.254"]
    )
    with pytest.raises(NotPermitted, match="inside the house"):
        rebound.apply(Call(operation="http.fire", target="flush", arguments={}), {}, expected=Reading(), key="k", timeout=5)


def test_an_answer_that_sends_elsewhere_is_in_doubt(service: tuple[Service, str]) -> None:
    """A redirect after a change may mean that it was done: nobody is told that nothing happened."""
    state, url = service
    state.status = 303
    try:
        with pytest.raises(OutcomeUnknown, match="sends elsewhere"):
            backend(url).apply(Call(operation="http.fire", target="flush", arguments={}), {}, expected=Reading(), key="k", timeout=5)
    finally:
        state.status = 0


def test_a_page_that_says_nothing_is_an_error(service: tuple[Service, str]) -> None:
    """Nothing at the declared path is no value that could be compared."""
    state, url = service
    worker = state.new()
    del state.workers[worker]["mode"]
    with pytest.raises(Rejected, match=r"nothing at state\.mode"):
        backend(url).read(Call(operation="http.call", target=f"mode/{worker}", arguments={}), timeout=5)


@pytest.fixture
def trouble(service: tuple[Service, str]) -> Iterator[Trouble]:
    with troubled(service[1]) as found:
        yield found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_trouble_of_a_call_is_told_truly(case: Case, service: tuple[Service, str], trouble: Trouble) -> None:
    """Refused, in doubt or done behind a lost answer: the words, the look and the service's state agree."""
    state, _ = service
    worker = state.new()
    suffer(case, Act(backend(trouble.url), "http.call", {"target": f"mode/{worker}", "value": "drained"}), trouble)
    assert state.workers[worker]["mode"] == ("drained" if case.done else "normal")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_trouble_of_what_is_fired_is_told_truly(case: Case, service: tuple[Service, str], trouble: Trouble) -> None:
    """Where nobody can look, a doubt stays a doubt and goes to a person."""
    state, _ = service
    state.workers["w1"], before = {}, len(state.restarts)
    suffer(case, Act(backend(trouble.url), "http.fire", {"target": "restart/w1"}, tier="R3", approval="two"), trouble, looks=False)
    assert len(state.restarts) == before + case.done


KEY = "12/reboot/0f/a b&c"  # every sign of it must arrive as it is


def rebooting(url: str, worker: str) -> Act:
    return Act(backend(url), "http.fire", {"target": f"reboot/{worker}"}, tier="R3", approval="two")


def test_what_is_fired_with_a_lookup_is_fired_once_for_each_key(service: tuple[Service, str]) -> None:
    """The key stands where the configuration puts it; the same key again fires nothing, another one does."""
    state, url = service
    worker, before = state.new(), len(state.reboots)
    act = rebooting(url, worker)
    plan = act.plan()
    for key in (KEY, KEY, "another"):
        assert act.execute(plan, key=key).status is OutcomeStatus.APPLIED
    assert [one["request"] for one in state.reboots[before:]] == [KEY, "another"]


@pytest.mark.parametrize("ill", [Ill.LOST, Ill.LIED])
def test_s20_what_was_fired_is_found_by_its_key(ill: Ill, service: tuple[Service, str], trouble: Trouble) -> None:
    """Behind a lost or lying answer, and after a crash, the lookup tells that it was done and how it stands."""
    state, _ = service
    worker, before = state.new(), len(state.reboots)
    act = rebooting(trouble.url, worker)
    plan = act.plan()
    trouble.ill = ill
    assert act.execute(plan, key=KEY).status is OutcomeStatus.APPLIED
    looked = act.runner.reconcile(plan, key=KEY)
    said = f"It was found under its key: reboot/{worker}, reboots[0].state is pending."
    assert (looked.status, looked.reason) == (OutcomeStatus.APPLIED, said)
    assert len(state.reboots) == before + 1


def test_s20_what_a_lookup_does_not_show_goes_to_a_person(service: tuple[Service, str]) -> None:
    """An empty list and a 404 prove nothing, an error proves nothing, and without a lookup nobody but a person is asked."""
    state, url = service
    act = rebooting(url, state.new())
    plan = act.plan()
    try:
        for status, says in ((200, "Nothing is seen there of"), (404, "Nothing is seen there of"), (500, "It cannot be looked up:")):
            state.listed = status
            looked = act.runner.reconcile(plan, key=KEY)
            assert (looked.status, says in looked.reason) == (OutcomeStatus.UNKNOWN, True), looked.reason
        refused = act.execute(plan, key=KEY)  # what cannot be looked for is not fired
        assert (refused.status, "Nothing was sent" in refused.reason) == (OutcomeStatus.REFUSED, True)
    finally:
        state.listed = 200
    fired = Act(backend(url), "http.fire", {"target": "restart/w1"}, tier="R3", approval="two")
    assert "declares no lookup, so nobody but a person can tell" in fired.runner.reconcile(fired.plan(), key=KEY).reason


def test_wrong_credentials_change_nothing(service: tuple[Service, str]) -> None:
    """A token that is not let in is refused at the look, in words that do not hold it."""
    state, url = service
    with pytest.raises(NotPermitted) as refused:
        backend(url, token="sw0rdfish").read(Call(operation="http.call", target=f"mode/{state.new()}", arguments={}), timeout=5)
    assert "sw0rdfish" not in str(refused.value)


def test_the_probe_asks_what_is_declared_harmless(service: tuple[Service, str]) -> None:
    """Only a declared check is asked, with the credentials; without one nothing is sent, and the sentence says so."""
    state, url = service
    given = {"base": url, "environment": "production", "calls": CALLS}
    before = len(state.asked)
    assert "was not asked" in build(Options(given), {"token": lambda: "right"}).probe(timeout=5)
    assert len(state.asked) == before
    checked = {**given, "check": f"/v1/workers/{state.new()}"}
    assert "lets these credentials in" in build(Options(checked), {"token": lambda: "right"}).probe(timeout=5)
    with pytest.raises(NotPermitted):
        build(Options(checked), {"token": lambda: "wrong"}).probe(timeout=5)
    with pytest.raises(NotPermitted):  # the token goes into the header that is named, and there as it is
        build(Options({**checked, "header": "X-Api-Key"}), {"token": lambda: "right"}).probe(timeout=5)
    assert (state.asked[-1].headers["x-api-key"], state.asked[-1].headers.get("authorization")) == ("right", None)


WRONG: dict[str, Any] = {
    "calls": {},
    "calls.Drain": {"Drain": CALLS["mode"]},
    "calls.x.body2": {"x": {**CALLS["flush"], "body2": {}}},
    "calls.x.method": {"x": {"method": "GET", "url": "/x"}},
    "calls.x.url": {"x": {"method": "POST", "url": "https://elsewhere.example/x"}},
    "calls.x.read": {"x": {**CALLS["flush"], "undo": {"method": "DELETE", "url": "/v1/flush"}}},
    "calls.x": {"x": {"method": "POST", "url": "/x/{label}"}},
    "calls.x.lookup": {"x": {**CALLS["flush"], "lookup": {"url": "/v1/newest", "path": "state"}}},
    "calls.y.lookup": {"y": {**CALLS["mode"], "lookup": {"url": "/v1/modes/{key}", "path": "state"}}},
    "calls.y.read": {"y": {**CALLS["mode"], "read": {"url": "/v1/workers/{key}", "path": "state.mode"}}},
    "calls.z.read": {"z": {**CALLS["mode"], "read": {"url": "/v1/workers/{value}", "path": "state.mode"}}},
    "calls.z.read.path": {"z": {**CALLS["mode"], "read": {"url": "/v1/workers", "path": "state..mode"}}},
    "calls.x.choices": {"x": {**CALLS["mode"], "choices": "normal"}},
    "calls.x.targets": {"x": {**CALLS["flush"], "targets": "w1"}},
    "calls.x.minimum": {"x": {**CALLS["slots"], "minimum": "1"}},
    "calls.x.maximum": {"x": {**CALLS["slots"], "maximum": True}},
    "calls.x.undo.method": {"x": {**CALLS["maintenance"], "undo": {"method": "TRACE", "url": "/x"}}},
}


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_declaration_stops_the_start(field: str) -> None:
    """Half a declaration, another host, a method that only reads or a misspelt field is refused with the field's name."""
    with pytest.raises(SettingsInvalid, match=re.escape(field)):
        backend("http://127.0.0.1:9", calls=WRONG[field])


@pytest.mark.parametrize("base", ["https://control.example.com/?v=1", "https://control.example.com/#x"])
def test_a_base_that_takes_no_path_stops_the_start(base: str) -> None:
    """A path behind a question mark would be no path."""
    with pytest.raises(SettingsInvalid, match=r"base.*behind which no path can stand"):
        build(Options({"base": base, "environment": "production", "calls": CALLS}), {})


def test_what_no_undo_could_restore_is_not_planned(service: tuple[Service, str]) -> None:
    """A present value that cannot stand in the address is noticed while planning, and not at the undo."""
    state, url = service
    worker = state.new()
    state.workers[worker]["slots"] = "as many/as needed"
    with pytest.raises(PlanRefused, match="cannot stand in an address, so no undo could restore it"):
        Act(backend(url), "http.call", {"target": f"slots/{worker}", "value": 5}).plan()


def test_half_a_way_back_stops_the_start() -> None:
    """A call that is read back and cannot be taken back, or that names a target only for reading, is refused."""
    for changed in ({"undo": None}, {"becomes": None}, {"url": "/v1/all"}):
        with pytest.raises(SettingsInvalid, match=r"calls\.x"):
            backend("http://127.0.0.1:9", calls={"x": {**CALLS["maintenance"], **changed}})
    with pytest.raises(SettingsInvalid, match="takes itself back"):
        backend("http://127.0.0.1:9", calls={"x": {**CALLS["mode"], "becomes": "drained"}})


def test_only_what_is_declared_is_offered() -> None:
    """A backend with calls of one sort serves one operation; it is bound to its environment."""
    fires = backend("http://127.0.0.1:9", calls={"flush": CALLS["flush"]})
    assert [one.name for one in fires.operations] == ["http.fire"]
    assert set(Registry([fires]).operations) == {"http.fire"}
    assert [one.name for one in KIND.operations] == ["http.call", "http.fire"]
