"""Consul's configuration entries, as its HTTP API documents them; not the real service."""

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest

from actions.backends.consul import KIND, Consul
from actions.contract import CallInvalid, Conflict, NotPermitted, OutcomeUnknown, TargetMissing
from actions.kinds import Options
from actions.planning import PlanRefused
from actions.testing import CHECKS, TIMEOUT, Check, Subject
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call, OutcomeStatus
from tests.parts.acted import CASES, Act, Case, suffer
from tests.parts.odd import never_a_traceback
from tests.parts.trouble import Ill, troubled
from tests.parts.vendor import Answered, Asked, serving

TOKEN = "a-token-that-nobody-may-see"
ROUTER = {
    "Kind": "service-router",
    "Name": "answers",
    "Routes": [
        {
            "Match": {"HTTP": {"PathPrefix": "/"}},
            "Destination": {
                "Service": "answers",
                "RequestTimeout": "5s",
                "NumRetries": 5,
                "RetryOnConnectFailure": True,
                "RetryOnStatusCodes": [502, 503],
            },
        }
    ],
    "Meta": {"owner": "ml-platform"},
}


@dataclass(slots=True)
class Documented:
    """Consul's state: entries by name, each with its indexes (https://developer.hashicorp.com/consul/api-docs/config)."""

    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    index: int = 100
    url: str = ""
    asked: list[Asked] = field(default_factory=list)

    def put(self, entry: dict[str, Any]) -> None:
        """What another person would do."""
        self.index += 1
        created = self.entries.get(entry["Name"], {}).get("CreateIndex", self.index)
        self.entries[entry["Name"]] = {**deepcopy(entry), "CreateIndex": created, "ModifyIndex": self.index, "Hash": self.index * 7}

    def attempts(self, number: int, name: str = "answers") -> None:
        """Another number of attempts, set by another person."""
        entry = {key: value for key, value in deepcopy(self.entries[name]).items() if key not in {"CreateIndex", "ModifyIndex", "Hash"}}
        entry["Routes"][0]["Destination"] |= {"NumRetries": number - 1, "RetryOnConnectFailure": True}
        self.put(entry)

    def __call__(self, asked: Asked) -> Answered:
        self.asked.append(asked)
        if asked.headers.get("x-consul-token") != TOKEN:
            return Answered(status=403, body=b"Permission denied: token with AccessorID lacks permission")
        if asked.method == "PUT" and asked.parts == ("v1", "config"):
            return self._applied(asked)
        if asked.parts == ("v1", "config", "service-router"):
            return Answered(body=list(self.entries.values()))
        name = asked.parts[3]
        if name not in self.entries:
            return Answered(status=404, body=f'Config entry not found for "service-router" / "{name}"'.encode())
        return Answered(body=self.entries[name])

    def _applied(self, asked: Asked) -> Answered:
        unknown = set(asked.body) - {"Kind", "Name", "Routes", "Meta", "Namespace", "Partition"}
        if unknown:
            return Answered(status=400, body=f"Request decoding failed: invalid config key {sorted(unknown)}".encode())
        if self.entries[asked.body["Name"]]["ModifyIndex"] != int(asked.query["cas"]):
            return Answered(body=False)
        self.put(asked.body)
        return Answered(body=True)


@pytest.fixture
def consul() -> Iterator[Documented]:
    state = Documented()
    state.put(ROUTER)
    state.put({**ROUTER, "Name": "search", "Routes": [*ROUTER["Routes"], {"Destination": {"Service": "search-2"}}]})
    with serving(state) as url:
        state.url = url
        yield state


def build(url: str, *, token: str = TOKEN) -> Consul:
    """The backend as configured."""
    found = KIND.build(Options({"url": url, "datacenter": "dc1", "environment": "production"}), {"token": lambda: token})
    assert isinstance(found, Consul)
    return found


def cap(attempts: int = 1, *, target: str = "answers") -> Call:
    """Cap the attempts."""
    return Call(operation="retries.cap", target=target, arguments={"target": target, "attempts": attempts})


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_consul_keeps_the_contract(check: Check, consul: Documented) -> None:
    """Capping retries passes every check over the documented wire, and of two at once one wins."""
    subject = Subject(
        backend=build(consul.url), call=cap(), missing=cap(target="nobody"), other={"attempts": 3},
        change_outside=lambda value: consul.attempts(value["attempts"]), invalid=cap(0),
    )  # fmt: skip
    check(subject)


def test_capping_takes_the_conditions_and_the_undo_brings_them_back(consul: Documented) -> None:
    """Consul reads no retries with conditions as one retry, so the conditions go, are remembered, and stand again after the undo."""
    act = Act(build(consul.url), "retries.cap", {"target": "answers", "attempts": 1})
    plan = act.plan()
    assert (plan.proposal.before_text, plan.proposal.after_text) == ("6 attempts", "1 attempt")
    done = act.execute(plan, key="run-7")
    assert done.status is OutcomeStatus.APPLIED
    capped = consul.entries["answers"]
    assert capped["Routes"][0]["Destination"] == {"Service": "answers", "RequestTimeout": "5s"}
    remembered = json.loads(capped["Meta"]["muster-retries-1"])
    assert remembered.pop("of")
    assert remembered == {
        "NumRetries": 5,
        "RetryOnConnectFailure": True,
        "RetryOnStatusCodes": [502, 503],
    }
    assert done.after is not None
    assert done.after.changed_by == "muster/run-7"
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    after = consul.entries["answers"]
    assert after["Routes"] == ROUTER["Routes"]
    assert set(after["Meta"]) == {"owner", "muster-run"}


def test_a_number_between_keeps_the_conditions(consul: Documented) -> None:
    """Three attempts are two retries under the same conditions, and nothing else of the entry changes."""
    backend = build(consul.url)
    reading = backend.read(cap(3), timeout=TIMEOUT)
    assert backend.apply(cap(3), {"attempts": 3}, expected=reading, key="k", timeout=TIMEOUT).value == {"attempts": 3}
    wanted = deepcopy(ROUTER["Routes"])
    wanted[0]["Destination"]["NumRetries"] = 2
    assert consul.entries["answers"]["Routes"] == wanted


@pytest.mark.parametrize(
    ("destination", "attempts"),
    [({}, 1), ({"NumRetries": 4}, 1), ({"RetryOn": ["5xx"]}, 2), ({"RetryOnConnectFailure": True, "NumRetries": 0}, 2),
     ({"RetryOnStatusCodes": [503], "NumRetries": 4}, 5), (None, 1)],
)  # fmt: skip
def test_attempts_are_counted_as_the_proxy_does(destination: dict[str, Any] | None, attempts: int, consul: Documented) -> None:
    """A number without a condition repeats nothing; a condition without a number repeats once."""
    consul.put({**ROUTER, "Routes": [{"Destination": destination}]})
    assert build(consul.url).read(cap(), timeout=TIMEOUT).value == {"attempts": attempts}


def test_what_repeats_nothing_is_not_raised(consul: Documented) -> None:
    """More attempts without a condition would be without effect, so they are refused while planning and while changing."""
    consul.put({**ROUTER, "Routes": [{"Destination": {"Service": "answers"}}]})
    with pytest.raises(PlanRefused, match="so nothing would be repeated"):
        Act(build(consul.url), "retries.cap", {"target": "answers", "attempts": 3}).plan()
    backend = build(consul.url)
    with pytest.raises(CallInvalid, match="nothing would be repeated"):
        backend.apply(cap(3), {"attempts": 3}, expected=backend.read(cap(), timeout=TIMEOUT), key="k", timeout=TIMEOUT)


def test_a_route_among_several_is_named_by_its_number(consul: Documented) -> None:
    """Where a service has several routes, the number says which; without it nothing is guessed."""
    backend = build(consul.url)
    with pytest.raises(CallInvalid, match="search has 2 routes; write search/1 to search/2"):
        backend.read(cap(target="search"), timeout=TIMEOUT)
    reading = backend.read(cap(target="search/1"), timeout=TIMEOUT)
    backend.apply(cap(target="search/1"), {"attempts": 1}, expected=reading, key="k", timeout=TIMEOUT)
    assert consul.entries["search"]["Routes"][1] == {"Destination": {"Service": "search-2"}}
    with pytest.raises(TargetMissing, match="has 2 routes"):
        backend.read(cap(target="search/3"), timeout=TIMEOUT)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_trouble_with_the_change_is_told_as_it_is(case: Case, consul: Documented) -> None:
    """Whatever goes wrong with the change, the person reads what is certain, and a look tells whether it took effect."""
    with troubled(consul.url) as trouble:
        outcome = suffer(case, Act(build(trouble.url), "retries.cap", {"target": "answers", "attempts": 1}), trouble)
    assert TOKEN not in outcome.reason
    assert ("RetryOnConnectFailure" in consul.entries["answers"]["Routes"][0]["Destination"]) is not case.done


def test_a_stranger_in_the_last_moment_wins(consul: Documented) -> None:
    """A change between the look and the write is noticed by Consul itself, and the present state is told."""
    with troubled(consul.url) as trouble:
        backend = build(trouble.url)
        reading = backend.read(cap(), timeout=TIMEOUT)

        def meddle(method: str, _path: str) -> bool:
            if method == "PUT":
                consul.attempts(4)
            return False

        trouble.which = meddle
        with pytest.raises(Conflict) as conflict:
            backend.apply(cap(), {"attempts": 1}, expected=reading, key="k", timeout=TIMEOUT)
    assert conflict.value.current.value == {"attempts": 4}


def test_a_stranger_between_plan_and_click_and_before_the_undo(consul: Documented) -> None:
    """What somebody else changed is left alone, before the run and before the undo; even what was changed and changed back."""
    act = Act(build(consul.url), "retries.cap", {"target": "answers", "attempts": 1})
    plan = act.plan()
    consul.attempts(4)
    assert act.execute(plan).reason.startswith("Nothing was changed: answers was changed meanwhile; now it is: 4 attempts.")
    consul.attempts(6)
    assert "changed and changed back" in act.execute(plan).reason
    plan = act.plan("p2")
    done = act.execute(plan)
    consul.attempts(4)
    assert act.undo(plan, after=done.after).reason.startswith("Not undone: answers was changed meanwhile; now it is: 4 attempts.")


def test_the_author_is_only_muster_while_the_routes_are_its_own(consul: Documented) -> None:
    """A stranger's change that carries Muster's note along is not taken for Muster's."""
    backend = build(consul.url)
    reading = backend.read(cap(3), timeout=TIMEOUT)
    assert backend.apply(cap(3), {"attempts": 3}, expected=reading, key="run-7", timeout=TIMEOUT).changed_by == "muster/run-7"
    consul.attempts(5)
    assert backend.read(cap(), timeout=TIMEOUT).changed_by is None


def test_wrong_credentials_are_said_and_never_shown(consul: Documented) -> None:
    """A token that is not let in is refused while planning, and does not stand in the sentence."""
    with pytest.raises(PlanRefused) as refused:
        Act(build(consul.url, token="wrong-and-secret"), "retries.cap", {"target": "answers", "attempts": 1}).plan()
    assert "does not let these credentials do this (403)" in str(refused.value)
    assert "wrong-and-secret" not in str(refused.value)
    with pytest.raises(NotPermitted):
        build(consul.url, token="wrong").probe(timeout=TIMEOUT)


def test_an_answer_that_is_neither_true_nor_false_is_unknown(consul: Documented) -> None:
    """A 200 that says something else does not count as done."""
    with troubled(consul.url) as trouble:
        backend = build(trouble.url)
        reading = backend.read(cap(), timeout=TIMEOUT)
        trouble.ill, trouble.status, trouble.body = Ill.STATUS, 200, b"<html>"
        with pytest.raises(OutcomeUnknown, match="neither true nor false"):
            backend.apply(cap(), {"attempts": 1}, expected=reading, key="k", timeout=TIMEOUT)


def test_what_was_taken_from_one_route_is_never_given_to_another(consul: Documented) -> None:
    """Routes that somebody put in front move the places: the retries of the capped route do not turn up on the one that stands there now."""
    act = Act(build(consul.url), "retries.cap", {"target": "answers", "attempts": 1})
    act.execute(act.plan())
    entry = {key: value for key, value in deepcopy(consul.entries["answers"]).items() if key not in {"CreateIndex", "ModifyIndex", "Hash"}}
    orders = {"Match": {"HTTP": {"PathPrefix": "/orders"}}, "Destination": {"Service": "orders"}}
    consul.put({**entry, "Routes": [orders, *entry["Routes"]]})
    backend, call = build(consul.url), cap(4, target="answers/1")
    with pytest.raises(CallInvalid, match="nothing would be repeated"):
        backend.propose(call, backend.read(call, timeout=TIMEOUT))


def test_too_many_conditions_to_remember_are_refused(consul: Documented) -> None:
    """What could not be restored by an undo is not taken away."""
    consul.put({**ROUTER, "Routes": [{"Destination": {"RetryOnStatusCodes": list(range(400, 600))}}]})
    backend = build(consul.url)
    reading = backend.read(cap(), timeout=TIMEOUT)
    with pytest.raises(CallInvalid, match="too long for Consul's Meta"):
        backend.apply(cap(), {"attempts": 1}, expected=reading, key="k", timeout=TIMEOUT)


def test_a_spoilt_note_is_no_note(consul: Documented) -> None:
    """A note in Meta that somebody spoilt is not taken for conditions."""
    for note in ("{", "[1]", "7"):
        consul.put({**ROUTER, "Routes": [{"Destination": {}}], "Meta": {"muster-retries-1": note}})
        assert build(consul.url).read(cap(), timeout=TIMEOUT).facts["repeatable"] is False


@pytest.mark.parametrize("name", ["", "..", "../acl/tokens", "answers/0", "answers/1/2", "a b", "a?dc=other", "a%2fb", "a\n", "-a", "é"])
def test_s29_no_name_leaves_its_kind(name: str, consul: Documented) -> None:
    """A hostile target is refused before anything is sent."""
    with pytest.raises(CallInvalid):
        build(consul.url).read(cap(target=name), timeout=TIMEOUT)
    assert consul.asked == []


def test_the_scope_goes_with_every_request(consul: Documented) -> None:
    """The configured datacenter is asked and changed, and reads are consistent."""
    backend = build(consul.url)
    backend.apply(cap(), {"attempts": 1}, expected=backend.read(cap(), timeout=TIMEOUT), key="k", timeout=TIMEOUT)
    assert {asked.query.get("dc") for asked in consul.asked} == {"dc1"}
    assert backend.probe(timeout=TIMEOUT).startswith("Consul lets this token read 2 service routers: answers, search.")


def test_without_a_token_only_this_machine() -> None:
    """A Consul elsewhere without a token is used only where somebody says that it may be trusted."""
    with pytest.raises(SettingsInvalid, match="asks nobody for a password"):
        KIND.build(Options({"url": "http://consul.internal:8500"}), {})
    with pytest.raises(SettingsInvalid, match="write Consul's address"):
        KIND.build(Options({"url": "consul.internal"}), {})
    assert KIND.build(Options({"url": "https://consul.internal:8501"}), {"token": lambda: TOKEN}).environment == "production"


def test_an_answer_of_another_shape_is_said_and_no_crash(consul: Documented) -> None:
    """Whatever stands where Consul should: reading, planning and the probe end with a sentence."""
    backend = build(consul.url)
    assert never_a_traceback(backend._wire, lambda: backend.propose(cap(), backend.read(cap(), timeout=TIMEOUT))) > 200
    backend = build(consul.url)
    assert never_a_traceback(backend._wire, lambda: backend.probe(timeout=TIMEOUT)) > 200
