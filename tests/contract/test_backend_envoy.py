"""Envoy: the real proxy, and what the services behind it see."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from actions.backends.envoy import KIND, OPERATIONS, Envoy
from actions.backends.envoy.admin import Admin
from actions.backends.envoy.routefile import InFile, RouteLimit, RouteRetries
from actions.contract import BackendError, CallInvalid, OutcomeUnknown, Rejected, TargetMissing
from actions.kinds import Options
from actions.planning import PlanRefused
from actions.testing import CHECKS, TIMEOUT, Check, Subject
from runbooks.operation import Call, OutcomeStatus
from tests.parts import envoy
from tests.parts.acted import CASES, Act, Case, suffer
from tests.parts.envoy import RunningEnvoy
from tests.parts.odd import never_a_traceback, odd
from tests.parts.trouble import Ill, troubled

RETRIES = {"runtime": "gateway-1", "circuit_breaker": "primary", "route_file": "answers/all"}
"""What caps the retries of the story, by each way."""
LIMIT = "answers/limited/max_tokens"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEnvoy]:
    with envoy.running(tmp_path_factory.mktemp("envoy")) as found:
        yield found


@pytest.fixture
def proxy(started: RunningEnvoy) -> RunningEnvoy:
    """The one Envoy of these tests, as at its beginning."""
    started.reset()
    return started


def build(proxy: RunningEnvoy, *, by: str = "runtime", admin: str | None = None) -> Envoy:
    """The backend as configured."""
    options = {"admin": admin or proxy.admin, "by": by, "route_file": str(proxy.routes), "environment": "production"}
    found = KIND.build(Options(options), {})
    assert isinstance(found, Envoy)
    return found


def cap(by: str, attempts: int = 1, *, target: str | None = None) -> Call:
    """Cap the attempts."""
    target = target or RETRIES[by]
    return Call(operation="retries.cap", target=target, arguments={"target": target, "attempts": attempts})


def switch(route: str = "backup", *, target: str = "answers/split") -> Call:
    """Switch the route."""
    return Call(operation="route.switch", target=target, arguments={"target": target, "route": route})


def limit(value: float = 2, *, target: str = LIMIT) -> Call:
    """Set the rate limit."""
    return Call(operation="limit.set", target=target, arguments={"target": target, "value": value})


def capping(proxy: RunningEnvoy, by: str) -> Subject:
    def change_outside(value: Any) -> None:
        text = proxy.routes.read_text()
        version = int(text.split('"')[1])
        proxy.edit((f'"{version}"', f'"{version + 1}"'), ("num_retries: 5", f"num_retries: {value['attempts'] - 1}"))

    missing = cap(by, target="nobody/nowhere")
    return Subject(
        backend=build(proxy, by=by), call=cap(by), missing=missing, other={"attempts": 4}, change_outside=change_outside,
        invalid=cap(by, 0), atomic=False,
    )  # fmt: skip


def switching(proxy: RunningEnvoy) -> Subject:
    def change_outside(value: Any) -> None:
        shares = dict(part.split("=") for part in value["route"].split(","))
        proxy.modify("&".join(f"routing.answers.{name}={share}" for name, share in shares.items()))

    return Subject(
        backend=build(proxy), call=switch(), missing=switch(target="answers/nowhere"), other={"route": "primary=90,backup=10"},
        change_outside=change_outside, invalid=switch("elsewhere"), atomic=False,
    )  # fmt: skip


def limiting(proxy: RunningEnvoy) -> Subject:
    def change_outside(value: Any) -> None:
        proxy.edit(("max_tokens: 1000", f"max_tokens: {value['value']}"))

    return Subject(
        backend=build(proxy), call=limit(), missing=limit(target="answers/all/max_tokens"), other={"value": 500},
        change_outside=change_outside, invalid=limit(0), atomic=False,
    )  # fmt: skip


SUBJECTS: dict[str, Callable[[RunningEnvoy], Subject]] = {
    **{f"retries by {by}": (lambda proxy, by=by: capping(proxy, by)) for by in RETRIES},
    "route": switching,
    "limit": limiting,
}


@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_envoy_keeps_the_contract(check: Check, subject: Callable[[RunningEnvoy], Subject], proxy: RunningEnvoy) -> None:
    """Each operation, in each of its ways, passes every check against the real Envoy."""
    check(subject(proxy))


def test_every_operation_is_checked(proxy: RunningEnvoy) -> None:
    """No operation is left out of the contract's checks."""
    assert {subject(proxy).call.operation for subject in SUBJECTS.values()} == {one.name for one in OPERATIONS}


@pytest.mark.parametrize("by", RETRIES)
def test_capped_retries_bring_six_hits_down_to_one(by: str, proxy: RunningEnvoy) -> None:
    """The failing service is asked six times a request, once while retries are capped, and six times after the undo."""
    act = Act(build(proxy, by=by), "retries.cap", {"target": RETRIES[by], "attempts": 1})
    assert proxy.primary.hits(proxy.url) == 6
    plan = act.plan()
    assert (plan.proposal.before_text, plan.proposal.after_text) == ("6 attempts", "1 attempt")
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert proxy.primary.hits(proxy.url) == 1
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert proxy.primary.hits(proxy.url) == 6


def test_the_file_takes_any_number_of_attempts(proxy: RunningEnvoy) -> None:
    """By the route file the service is asked exactly as often as the plan said, and only two places of the file were touched."""
    backend, before = build(proxy, by="route_file"), proxy.routes.read_text()
    reading = backend.read(cap("route_file", 3), timeout=TIMEOUT)
    backend.apply(cap("route_file", 3), {"attempts": 3}, expected=reading, key="k", timeout=TIMEOUT)
    assert proxy.primary.hits(proxy.url) == 3
    assert proxy.routes.read_text() == before.replace("num_retries: 5", "num_retries: 2").replace('"7"', '"8"')


def test_a_switched_route_leads_to_the_other_service(proxy: RunningEnvoy) -> None:
    """Requests go to the backup while the route is switched, and to the primary again after the undo."""

    def seen() -> tuple[int, int]:
        before = len(proxy.primary.asked), len(proxy.backup.asked)
        proxy.primary.hits(f"{proxy.url}/split")
        return len(proxy.primary.asked) - before[0], len(proxy.backup.asked) - before[1]

    act = Act(build(proxy), "route.switch", {"target": "answers/split", "route": "backup"})
    assert seen() == (1, 0)
    plan = act.plan()
    assert plan.proposal.step == "route primary → backup"
    done = act.execute(plan)
    assert seen() == (0, 1)
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert seen() == (1, 0)


def test_a_limit_lets_so_many_through_and_no_more(proxy: RunningEnvoy) -> None:
    """With a bucket of two the service sees two requests of five, and all of them again after the undo."""
    act = Act(build(proxy), "limit.set", {"target": LIMIT, "value": 2})
    plan = act.plan()
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert sum(proxy.primary.hits(f"{proxy.url}/limited") for _ in range(5)) == 2
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert sum(proxy.primary.hits(f"{proxy.url}/limited") for _ in range(5)) == 5


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("by", ["runtime", "circuit_breaker"])
def test_every_trouble_with_the_change_is_told_as_it_is(by: str, case: Case, proxy: RunningEnvoy) -> None:
    """Whatever goes wrong with the change, the person reads what is certain, and the hits of the service agree with the later look."""
    with troubled(proxy.admin) as trouble:
        suffer(case, Act(build(proxy, by=by, admin=trouble.url), "retries.cap", {"target": RETRIES[by], "attempts": 1}), trouble)
    assert proxy.primary.hits(proxy.url) == (1 if case.done else 6)


@pytest.mark.parametrize("ill", [Ill.STATUS, Ill.HANG, Ill.RESET, Ill.LOST])
def test_a_look_that_goes_wrong_changes_nothing(ill: Ill, proxy: RunningEnvoy) -> None:
    """Where Envoy cannot be looked at beforehand, nothing is planned, and a click on an older plan leaves the file as it is."""
    before = proxy.routes.read_text()
    with troubled(proxy.admin) as trouble:
        act = Act(build(proxy, by="route_file", admin=trouble.url), "retries.cap", {"target": "answers/all", "attempts": 1})
        plan = act.plan()
        trouble.ill, trouble.which = ill, lambda _method, _path: True
        with pytest.raises(PlanRefused):
            act.runner.plan(act.step, runbook=act.book, labels={}, parameters={}, environment="production", plan_id="p2", timeout=1)
        refused = act.execute(plan, timeout=1)
    assert refused.status is OutcomeStatus.REFUSED
    assert refused.reason.startswith("Nothing was changed")
    assert proxy.routes.read_text() == before


def test_a_written_file_whose_reading_back_is_lost_is_unknown_and_then_found(proxy: RunningEnvoy) -> None:
    """If Envoy cannot be asked after the file was replaced, the outcome is unknown, and the later look says that it took effect."""
    with troubled(proxy.admin) as trouble:
        act = Act(build(proxy, by="route_file", admin=trouble.url), "retries.cap", {"target": "answers/all", "attempts": 1})
        plan = act.plan()
        trouble.ill = Ill.RESET
        trouble.which = lambda _method, _path: '"7"' not in proxy.routes.read_text()
        unsure = act.execute(plan, timeout=3)
        assert unsure.status is OutcomeStatus.UNKNOWN
        assert "It was sent, and then: Envoy broke off" in unsure.reason
        trouble.ill = Ill.NONE
        assert act.runner.reconcile(plan).reason == "It took effect."
    assert proxy.primary.hits(proxy.url) == 1


def test_a_stranger_between_plan_and_click_is_named(proxy: RunningEnvoy) -> None:
    """A route that somebody edited after the plan is left alone, and the sentence says how it stands now."""
    act = Act(build(proxy, by="route_file"), "retries.cap", {"target": "answers/all", "attempts": 1})
    plan = act.plan()
    proxy.edit(("num_retries: 5", "num_retries: 3"))
    refused = act.execute(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert refused.reason.startswith("Nothing was changed: answers/all was changed meanwhile; now it is: 4 attempts.")


def test_two_changes_of_one_file_are_undone_each_by_itself(proxy: RunningEnvoy) -> None:
    """A later change of another route in the same file neither stops the undo of the first nor is lost by it."""
    capped = Act(build(proxy, by="route_file"), "retries.cap", {"target": "answers/all", "attempts": 1})
    limited = Act(build(proxy), "limit.set", {"target": LIMIT, "value": 2})
    first, second = capped.plan(), limited.plan()
    done = capped.execute(first)
    assert limited.execute(second).status is OutcomeStatus.APPLIED
    assert capped.undo(first, after=done.after).status is OutcomeStatus.APPLIED
    assert proxy.primary.hits(proxy.url) == 6
    assert sum(proxy.primary.hits(f"{proxy.url}/limited") for _ in range(5)) == 2
    assert 'version_info: "10"' in proxy.routes.read_text()


@pytest.mark.parametrize("by", ["runtime", "route_file"])
def test_a_stranger_between_run_and_undo_is_not_overwritten(by: str, proxy: RunningEnvoy) -> None:
    """What somebody else set after the run stays, and the undo says so."""
    act = Act(build(proxy, by=by), "retries.cap", {"target": RETRIES[by], "attempts": 1})
    plan = act.plan()
    done = act.execute(plan)
    if by == "runtime":
        proxy.modify("upstream.use_retry=")
        proxy.edit(("num_retries: 5", "num_retries: 3"), ('"7"', '"8"'))
    else:
        proxy.edit(("num_retries: 0", "num_retries: 3"), ('"8"', '"9"'))
    refused = act.undo(plan, after=done.after)
    assert refused.reason.startswith(f"Not undone: {RETRIES[by]} was changed meanwhile; now it is: 4 attempts."), refused.reason
    assert proxy.primary.hits(proxy.url) == 4


def test_a_file_that_envoy_refuses_is_said_to_be_refused(proxy: RunningEnvoy) -> None:
    """Where Envoy has not taken somebody's file over, nothing is planned, and the sentence says where to look."""
    proxy.edit(("num_retries: 5", "num_retries: 4"), ('"7"', '"8"'), ('["*"]', "[]"))
    with pytest.raises(
        OutcomeUnknown, match=r"Envoy still runs its version \d+, and not what routes\.yaml says\. Look for update_rejected"
    ):
        build(proxy, by="route_file").read(cap("route_file"), timeout=0.5)
    assert proxy.primary.hits(proxy.url) == 6


def test_a_change_that_envoy_does_not_take_is_taken_back(proxy: RunningEnvoy) -> None:
    """Into a file that Envoy refuses for another reason nothing can be changed: it is put back, and surely nothing has changed."""
    proxy.edit(('"7"', '"8"'), ('["*"]', "[]"))
    before = proxy.routes.read_text()
    act = Act(build(proxy, by="route_file"), "retries.cap", {"target": "answers/all", "attempts": 1})
    refused = act.execute(act.plan())
    assert refused.status is OutcomeStatus.REFUSED
    assert refused.reason.startswith("Nothing was changed: Envoy does not take the changed file, so it was put back as it was.")
    assert proxy.routes.read_text() == before
    assert proxy.primary.hits(proxy.url) == 6


@pytest.mark.parametrize(
    ("by", "target", "says"),
    [
        ("runtime", "other-gateway", "This Envoy is called gateway-1, not other-gateway"),
        ("circuit_breaker", "secondary", "Envoy has no cluster secondary; it has backup, budgeted, primary"),
        ("route_file", "answers/none", "routes.yaml has no route answers/none"),
        ("route_file", "answers", "has no route answers/"),
    ],
)
def test_a_missing_target_is_named_with_what_there_is(by: str, target: str, says: str, proxy: RunningEnvoy) -> None:
    """A target that is not there is refused, and the sentence helps to find the right one."""
    with pytest.raises(TargetMissing, match=says):
        build(proxy, by=by).read(cap(by, target=target), timeout=TIMEOUT)


def test_what_an_undo_could_not_put_back_is_not_planned(proxy: RunningEnvoy) -> None:
    """A share of retries that somebody set at run time would be lost by the undo; the sentence says how to take it away."""
    proxy.modify("upstream.use_retry=50")
    act = Act(build(proxy), "retries.cap", {"target": "gateway-1", "attempts": 1})
    with pytest.raises(PlanRefused, match=r"Somebody has set upstream\.use_retry to 50 at run time"):
        act.plan()


def test_a_retry_budget_outranks_the_number(proxy: RunningEnvoy) -> None:
    """Retries that are limited by a budget would not be stopped by their number, so that is not offered."""
    with pytest.raises(CallInvalid, match="by a retry budget, which outranks their number"):
        build(proxy, by="circuit_breaker").read(cap("circuit_breaker", target="budgeted"), timeout=TIMEOUT)


def test_a_runtime_key_of_any_letters_is_meant_as_it_stands(proxy: RunningEnvoy) -> None:
    """A prefix with spaces and signs, as a mesh may make it, is changed and put back under its own name."""
    proxy.edit(("routing.answers", '"routing|a b%c+d&e"'))
    act = Act(build(proxy), "route.switch", {"target": "answers/split", "route": "backup"})
    plan = act.plan()
    applied = act.execute(plan)
    assert applied.status is OutcomeStatus.APPLIED
    assert act.undo(plan, after=applied.after).status is OutcomeStatus.APPLIED


def test_nobody_is_sent_where_nobody_is(proxy: RunningEnvoy) -> None:
    """A cluster without a healthy host is refused as a route."""
    backend = build(proxy)
    reading = backend.read(switch(), timeout=TIMEOUT)
    empty = reading.model_copy(update={"facts": {**reading.facts, "healthy": {"primary": 1, "backup": 0}}})
    with pytest.raises(CallInvalid, match="backup has no healthy host now"):
        backend.propose(switch(), empty)


def test_a_plan_says_whether_a_restart_undoes_it(proxy: RunningEnvoy) -> None:
    """Runtime values are lost when Envoy restarts, and a file is not; the plan says which."""
    notes = {by: Act(build(proxy, by=by), "retries.cap", {"target": RETRIES[by], "attempts": 1}).plan().proposal.note for by in RETRIES}
    assert "Envoy forgets this when it restarts." in notes["runtime"]
    assert "Envoy forgets this when it restarts." in notes["circuit_breaker"]
    assert "it stays when Envoy restarts" in notes["route_file"]


@pytest.mark.parametrize("name", ["", "..", "a/../b", "answers/all/max_tokens/more", "a\nb", "x" * 400, "primary=0&upstream.use_retry=0"])
@pytest.mark.parametrize("by", RETRIES)
def test_s29_no_name_reaches_anything_else(by: str, name: str, proxy: RunningEnvoy) -> None:
    """A hostile target is refused or not found, and nothing of Envoy has changed."""
    backend, before = build(proxy, by=by), proxy.routes.read_text()
    for call in (cap(by, target=name), switch(target=name), limit(target=name)):
        with pytest.raises((CallInvalid, TargetMissing)):
            backend.read(call.model_copy(update={"target": name}), timeout=TIMEOUT)
    assert proxy.routes.read_text() == before
    assert proxy.primary.hits(proxy.url) == 6


def test_without_an_admin_layer_the_way_out_is_said(tmp_path: Path) -> None:
    """An Envoy whose runtime cannot be changed is recognised while planning, and the sentence says what to add; the probe says it too."""
    with envoy.running(tmp_path, admin_layer=False) as proxy:
        with pytest.raises(CallInvalid, match=r"has no admin layer, so its runtime values cannot be changed\. Add `layered_runtime"):
            build(proxy).read(cap("runtime"), timeout=TIMEOUT)
        assert "only its route file can be changed" in build(proxy).probe(timeout=TIMEOUT)
        with pytest.raises(Rejected, match="no admin layer"):
            build(proxy)._admin.modify({"upstream.use_retry": "0"}, left=lambda: TIMEOUT)


@pytest.mark.parametrize("call", [cap("circuit_breaker"), switch()], ids=lambda call: str(call.operation))
def test_an_answer_of_another_shape_is_said_and_no_crash(call: Call, proxy: RunningEnvoy) -> None:
    """Whatever stands where Envoy's admin port should: reading and planning end with a sentence."""
    backend = build(proxy, by="circuit_breaker")
    assert (
        never_a_traceback(backend._admin._wire, lambda: backend.propose(call, backend.read(call, timeout=TIMEOUT)), things=(None, "x"))
        > 200
    )


@pytest.mark.parametrize(("kind", "call"), [(RouteRetries, cap("route_file")), (RouteLimit, limit())])
def test_a_route_file_of_another_shape_is_said_and_no_crash(kind: type[InFile], call: Call, tmp_path: Path) -> None:
    """Whatever stands in the file, it is read or refused, with a sentence."""
    path, tried = tmp_path / "routes.yaml", 0
    way = kind(Admin(url="http://127.0.0.1:9"), path=path)
    for document in odd(yaml.safe_load(envoy.ROUTES)):
        path.write_text(json.dumps(document))
        tried += 1
        with suppress(BackendError):
            way._reading(way._entry(call), call)
    assert tried > 500


def test_the_probe_says_which_envoy_answers(proxy: RunningEnvoy) -> None:
    """`muster check` sees version, state and name, and changes nothing."""
    said = build(proxy).probe(timeout=TIMEOUT)
    assert said.startswith("Envoy 1.")
    assert said.endswith("is LIVE, called gateway-1; its runtime values can be changed.")
