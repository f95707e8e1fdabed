"""Istio's VirtualService in a real Kubernetes API: its compare-and-set and validation are real, the mesh behind it is not there."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from actions.backends.istio import KIND, Istio
from actions.contract import CallInvalid, NotPermitted, TargetMissing
from actions.kinds import Options
from actions.planning import PlanRefused
from actions.testing import CHECKS, Check, Subject
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call, OutcomeStatus
from tests.parts.acted import CASES, Act, Case, suffer
from tests.parts.kubernetes import ADMIN, Running, kubernetes, lacking
from tests.parts.trouble import troubled

pytestmark = [pytest.mark.debian, pytest.mark.slow, pytest.mark.skipif(lacking() is not None, reason=str(lacking()))]

SERVICES = "/apis/networking.istio.io/v1beta1/namespaces/default/virtualservices"
RETRIES = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"attempts": {"type": "integer", "minimum": 0}}}
ROUTE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"retries": RETRIES}}
TIMEOUT = 10.0
_number = count()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Running]:
    with kubernetes(("stranger",)) as running:
        running.define("networking.istio.io", "v1beta1", "virtualservices", "VirtualService", {"http": {"type": "array", "items": ROUTE}})
        yield running


def build(cluster: Running, *, token: str = ADMIN, url: str | None = None, **more: Any) -> Istio:
    """The backend as configured."""
    where = {"server": url} if url else {"server": cluster.url, "ca": str(cluster.ca)}
    found = KIND.build(Options({**where, "environment": "production", **more}), {"token": lambda: token})
    assert isinstance(found, Istio)
    return found


def destinations(**weights: int) -> list[dict[str, Any]]:
    """Subsets of one host with their shares."""
    return [{"destination": {"host": "answers", "subset": name}, "weight": weight} for name, weight in weights.items()]


def service(cluster: Running, **retries: Any) -> str:
    """A service with two routes, of which `ask` has these retries; its name."""
    name = f"answers-{next(_number)}"
    said = {"retries": retries} if retries else {}
    ask = {"name": "ask", **said, "timeout": "20s", "route": destinations(primary=90, backup=10)}
    rest = {"route": [{"destination": {"host": "answers"}}], "retries": {"attempts": 3, "perTryTimeout": "2s"}}
    made = {"apiVersion": "networking.istio.io/v1beta1", "kind": "VirtualService", "metadata": {"name": name}}
    cluster.create(SERVICES, {**made, "spec": {"hosts": ["answers"], "http": [ask, rest]}})
    return name


def routes(cluster: Running, name: str) -> Any:
    """The HTTP routes as they stand."""
    return cluster.get(f"{SERVICES}/{name}")["spec"]["http"]


def cap(target: str, attempts: int = 1) -> Call:
    """So many attempts in all."""
    return Call(operation="retries.cap", target=target, arguments={"target": target, "attempts": attempts}, environment="production")


def switch(target: str, route: str = "backup") -> Call:
    """To this destination."""
    return Call(operation="route.switch", target=target, arguments={"target": target, "route": route}, environment="production")


def change(cluster: Running, name: str, part: str, value: Any) -> None:
    """Change the first route as another person would."""
    http = routes(cluster, name)
    http[0][part] = value
    cluster.patch(f"{SERVICES}/{name}", {"spec": {"http": http}})


def capping(cluster: Running) -> Subject:
    name = service(cluster, attempts=5, retryOn="5xx")
    return Subject(
        backend=build(cluster),
        call=cap(f"default/{name}/ask"),
        missing=cap("default/nothing/ask"),
        other={"attempts": 3},
        change_outside=lambda value: change(cluster, name, "retries", {"attempts": value["attempts"] - 1}),
        invalid=cap(f"default/{name}/ask", 0),
    )


def switching(cluster: Running) -> Subject:
    name = service(cluster)
    return Subject(
        backend=build(cluster),
        call=switch(f"default/{name}/ask"),
        missing=switch(f"default/{name}/nothing"),
        other={"route": "primary"},
        change_outside=lambda _value: change(cluster, name, "route", destinations(primary=100, backup=0)),
        invalid=switch(f"default/{name}/ask", "nowhere"),
    )


@pytest.mark.parametrize("operation", [capping, switching], ids=["retries.cap", "route.switch"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_istio_keeps_the_contract(check: Check, operation: Any, cluster: Running) -> None:
    """Both operations pass every check against the real API."""
    check(operation(cluster))


def test_istios_attempts_are_one_less_than_ours(cluster: Running) -> None:
    """Five retries are six attempts; one attempt in all is no retry; whatever else the route says stays, and comes back."""
    name = service(cluster, attempts=5, retryOn="5xx", perTryTimeout="2s")
    before = routes(cluster, name)
    act = Act(build(cluster), "retries.cap", {"target": f"default/{name}/ask", "attempts": 1})
    plan = act.plan()
    assert plan.proposal.step == "6 attempts → 1 attempt"
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    after = routes(cluster, name)
    assert after[0] == {**before[0], "retries": {"attempts": 0, "retryOn": "5xx", "perTryTimeout": "2s"}}
    assert after[1] == before[1]
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert routes(cluster, name) == before


def test_a_route_that_said_nothing_of_retries_says_nothing_again(cluster: Running) -> None:
    """The mesh's default counts as present; the undo leaves no trace in the route, and the annotation goes."""
    name = service(cluster)
    before = routes(cluster, name)
    act = Act(build(cluster, default_retries=4), "retries.cap", {"target": f"default/{name}/ask", "attempts": 1})
    plan = act.plan()
    assert plan.before.value == {"attempts": 5}
    assert plan.proposal.note == "The route says nothing of retries; this is the mesh's default."
    done = act.execute(plan)
    assert routes(cluster, name)[0]["retries"] == {"attempts": 0}
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert routes(cluster, name) == before
    assert set(cluster.get(f"{SERVICES}/{name}")["metadata"]["annotations"]) == {"muster/key"}


def test_a_split_comes_back_as_it_was(cluster: Running) -> None:
    """All traffic goes to the backup; the undo restores 90 to 10, and the rest of the route is untouched."""
    name = service(cluster)
    before = routes(cluster, name)
    act = Act(build(cluster), "route.switch", {"target": f"default/{name}/ask", "route": "backup"})
    plan = act.plan()
    assert plan.proposal.step == "route primary=90,backup=10 → backup"
    done = act.execute(plan)
    assert [one["weight"] for one in routes(cluster, name)[0]["route"]] == [0, 100]
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert routes(cluster, name) == before


def test_what_one_action_does_another_may_still_undo(cluster: Running) -> None:
    """Retries capped and a route switched in the same object: each is taken back by itself, in any order."""
    name = service(cluster, attempts=5)
    target, before = f"default/{name}/ask", routes(cluster, name)
    capped = Act(build(cluster), "retries.cap", {"target": target, "attempts": 1})
    switched = Act(build(cluster), "route.switch", {"target": target, "route": "backup"})
    first, second = capped.plan(), switched.plan()
    one, other = capped.execute(first), switched.execute(second, key="key-2")
    assert capped.undo(first, after=one.after).status is OutcomeStatus.APPLIED
    assert switched.undo(second, after=other.after, key="key-2-undo").status is OutcomeStatus.APPLIED
    assert routes(cluster, name) == before


def test_the_stranger_is_named_and_not_overwritten(cluster: Running) -> None:
    """Between plan and click, and between run and undo."""
    name = service(cluster, attempts=5)
    act = Act(build(cluster), "retries.cap", {"target": f"default/{name}/ask", "attempts": 1})
    plan = act.plan()
    change(cluster, name, "retries", {"attempts": 3})
    refused = act.execute(plan)
    assert refused.reason == (
        f"Nothing was changed: default/{name}/ask was changed by ben meanwhile; now it is: 4 attempts. Plan again to see what it would be now."
    )
    plan = act.plan("p2")
    done = act.execute(plan, key="key-2")
    assert (done.after and done.after.changed_by) == "muster/key-2"
    change(cluster, name, "retries", {"attempts": 1})
    kept = act.undo(plan, after=done.after)
    assert kept.reason.startswith(f"Not undone: default/{name}/ask was changed")
    assert kept.reason.endswith("now it is: 2 attempts. It was not overwritten.")
    assert routes(cluster, name)[0]["retries"] == {"attempts": 1}


def test_routes_are_named_exactly(cluster: Running) -> None:
    """Without a name there must be one route only; a wrong name is told the right ones; a name never climbs in an address."""
    name = service(cluster)
    backend = build(cluster)
    with pytest.raises(CallInvalid, match=f"several routes; name one of them: default/{name}/ask, default/{name}/#1"):
        backend.read(cap(f"default/{name}"), timeout=TIMEOUT)
    with pytest.raises(TargetMissing, match="its HTTP routes are ask, #1"):
        backend.read(cap(f"default/{name}/tell"), timeout=TIMEOUT)
    assert backend.read(cap(f"default/{name}/#1"), timeout=TIMEOUT).value == {"attempts": 4}
    for hostile in ("default", "default/", "../default/x", "default/..", f"default/{name}/", f"default/{name}/a\nb", "Default/x/ask"):
        with pytest.raises(CallInvalid, match="is no target here; write namespace/virtualservice"):
            backend.read(cap(hostile), timeout=TIMEOUT)
    with pytest.raises(CallInvalid, match="outside the namespaces that are configured here: elsewhere"):
        build(cluster, namespaces=["elsewhere"]).read(cap(f"default/{name}/ask"), timeout=TIMEOUT)


def test_a_destination_that_went_away_is_not_written(cluster: Running) -> None:
    """An undo to a destination that the route no longer has is refused in words."""
    name = service(cluster)
    target, backend = f"default/{name}/ask", build(cluster)
    change(cluster, name, "route", destinations(backup=100, other=0))
    now = backend.read(switch(target), timeout=TIMEOUT)
    for gone in ("primary", "primary=90,backup=10", "backup=lots"):
        with pytest.raises(CallInvalid, match="there are backup, other"):
            backend.apply(switch(target), {"route": gone}, expected=now, key="k", timeout=TIMEOUT)


def test_less_than_one_attempt_is_no_attempt(cluster: Running) -> None:
    """Zero is refused while planning."""
    act = Act(build(cluster), "retries.cap", {"target": f"default/{service(cluster)}/ask", "attempts": 0})
    with pytest.raises(PlanRefused, match="makes at least one attempt; 1 means no retries"):
        act.plan()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_change_in_trouble(case: Case, cluster: Running) -> None:
    """Whatever goes wrong with the change, the sentence is as certain as the truth, and a look afterwards tells it."""
    name = service(cluster, attempts=5)
    with troubled(cluster.url, verify=cluster.trust) as trouble:
        act = Act(build(cluster, url=trouble.url), "retries.cap", {"target": f"default/{name}/ask", "attempts": 1})
        suffer(case, act, trouble, says="does not accept the credentials (401)" if case.status == 401 else None)


def test_who_may_not_is_told_what_is_missing(cluster: Running) -> None:
    """The probe and the read name the right that is missing; with all rights the probe says so."""
    with pytest.raises(NotPermitted, match='cannot get resource "virtualservices"'):
        build(cluster, token="token-of-stranger").read(cap(f"default/{service(cluster)}/ask"), timeout=TIMEOUT)
    with pytest.raises(NotPermitted, match="in all namespaces they may not get virtualservices, patch virtualservices"):
        build(cluster, token="token-of-stranger").probe(timeout=TIMEOUT)
    assert build(cluster).probe(timeout=TIMEOUT).endswith("they may do retries.cap, route.switch.")


def test_a_mesh_without_its_definition_is_named(cluster: Running) -> None:
    """Where Istio is not installed it is said so, not that the service is missing."""
    assert json.loads(cluster.client.get("/apis/networking.istio.io").text)["name"] == "networking.istio.io"
    cluster.client.delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/virtualservices.networking.istio.io")
    cluster.until("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", lambda found: not found["items"])
    try:
        with pytest.raises(TargetMissing, match="its resource definition is not installed"):
            build(cluster).read(cap("default/answers/ask"), timeout=TIMEOUT)
    finally:
        cluster.define("networking.istio.io", "v1beta1", "virtualservices", "VirtualService", {"http": {"type": "array", "items": ROUTE}})


def test_the_default_of_the_mesh_is_a_number(cluster: Running) -> None:
    """A negative one is refused when the configuration is read."""
    with pytest.raises(SettingsInvalid, match="default_retries"):
        build(cluster, default_retries=-1)
