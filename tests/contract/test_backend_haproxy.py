"""HAProxy: the real proxy, and what the services behind it see."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actions.backends.haproxy import KIND, HAProxy
from actions.contract import CallInvalid, TargetMissing, Unreachable
from actions.kinds import Options
from actions.planning import PlanRefused
from actions.testing import CHECKS, TIMEOUT, Check, Subject
from runbooks.operation import Call, OutcomeStatus
from tests.parts import haproxy
from tests.parts.acted import Act
from tests.parts.haproxy import RunningHAProxy, meddled, said
from tests.parts.trouble import Ill

pytestmark = [pytest.mark.debian, pytest.mark.skipif(haproxy.MISSING is not None, reason=str(haproxy.MISSING))]


@pytest.fixture(scope="module")
def started() -> Iterator[RunningHAProxy]:
    with haproxy.running() as found:
        yield found


@pytest.fixture
def proxy(started: RunningHAProxy) -> RunningHAProxy:
    """The one HAProxy of these tests, as at its beginning."""
    started.reset()
    return started


def build(proxy: RunningHAProxy, **more: Any) -> HAProxy:
    """The backend as configured."""
    options = {"socket": proxy.socket, "retries": str(proxy.retries), "routes": str(proxy.routes), "environment": "production", **more}
    found = KIND.build(Options(options), {})
    assert isinstance(found, HAProxy)
    return found


def cap(attempts: int = 1, *, target: str = "answers") -> Call:
    """Cap the attempts."""
    return Call(operation="retries.cap", target=target, arguments={"target": target, "attempts": attempts})


def switch(route: str = "backup", *, target: str = "answers") -> Call:
    """Switch the route."""
    return Call(operation="route.switch", target=target, arguments={"target": target, "route": route})


def capping(proxy: RunningHAProxy) -> Subject:
    return Subject(
        backend=build(proxy), call=cap(), missing=cap(target="nobody"), other={"attempts": 3},
        change_outside=lambda value: proxy.lead("answers", f"answers-{value['attempts']}"), invalid=cap(2), atomic=False,
    )  # fmt: skip


def switching(proxy: RunningHAProxy) -> Subject:
    return Subject(
        backend=build(proxy), call=switch(), missing=switch(target="nobody"), other={"route": "answers-1"},
        change_outside=lambda value: proxy.lead("answers", value["route"], map_name="routes"), invalid=switch("elsewhere"), atomic=False,
    )  # fmt: skip


@pytest.mark.parametrize("subject", [capping, switching])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_haproxy_keeps_the_contract(check: Check, subject: Any, proxy: RunningHAProxy) -> None:
    """Each operation passes every check against the real HAProxy."""
    check(subject(proxy))


def test_capped_retries_bring_six_hits_down_to_one(proxy: RunningHAProxy) -> None:
    """The failing service is asked six times a request, once while retries are capped, and six times after the undo; the file says the same."""
    act = Act(build(proxy), "retries.cap", {"target": "answers", "attempts": 1})
    assert proxy.primary.hits(proxy.url) == 6
    plan = act.plan()
    assert (plan.proposal.before_text, plan.proposal.after_text) == ("6 attempts", "1 attempt")
    assert "Stays when HAProxy is reloaded." in plan.proposal.note
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert proxy.primary.hits(proxy.url) == 1
    assert proxy.retries.read_text() == haproxy.RETRIES.replace("answers   answers-6", "answers   answers-1")
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert proxy.primary.hits(proxy.url) == 6
    assert proxy.retries.read_text() == haproxy.RETRIES


def test_a_switched_route_leads_to_the_other_service(proxy: RunningHAProxy) -> None:
    """Requests go to the backup while the route is switched, and to the primary again after the undo."""
    act = Act(build(proxy), "route.switch", {"target": "answers", "route": "backup"})
    plan = act.plan()
    assert plan.proposal.step == "route primary → backup"
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert (proxy.primary.hits(f"{proxy.url}/routed"), proxy.backup.hits(f"{proxy.url}/routed") > 0) == (0, True)
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert proxy.backup.hits(f"{proxy.url}/routed") == 0


HALF = "But retries.map says answers-6: change it there, too, or a reload of HAProxy takes it back."
TROUBLES = [
    (Ill.STATUS, "Permission denied\n\n", OutcomeStatus.REFUSED, "HAProxy's socket does not allow this: Permission denied", False),
    (Ill.STATUS, "entry not found.\n\n", OutcomeStatus.REFUSED, "HAProxy has no answers in retries.map: entry not found.", False),
    (Ill.STATUS, "Unknown command: 'set'\n\n", OutcomeStatus.REFUSED, "HAProxy refuses: Unknown command", False),
    (Ill.STATUS, "Internal error.\n\n", OutcomeStatus.UNKNOWN, "HAProxy answers Internal error.", False),
    (Ill.STATUS, "half an ans", OutcomeStatus.UNKNOWN, "HAProxy broke off without a whole answer.", False),
    (Ill.HANG, "", OutcomeStatus.UNKNOWN, "HAProxy did not answer within", False),
    (Ill.RESET, "", OutcomeStatus.UNKNOWN, "HAProxy broke off without a whole answer.", False),
    (Ill.LOST, "", OutcomeStatus.UNKNOWN, "HAProxy broke off without a whole answer.", True),
    (Ill.LIED, "Internal error.\n\n", OutcomeStatus.UNKNOWN, "HAProxy answers Internal error.", True),
]


@pytest.mark.parametrize("row", TROUBLES, ids=lambda row: f"{row[0].value} {row[1].strip()}")
def test_every_trouble_with_the_change_is_told_as_it_is(row: tuple[Ill, str, OutcomeStatus, str, bool], proxy: RunningHAProxy) -> None:
    """Whatever goes wrong with the change, the person reads what is certain, and the hits of the service agree with the later look."""
    ill, answer, ends, says, done = row
    with meddled(lambda command: said(proxy.socket, command)) as trouble:
        act = Act(build(proxy, socket=trouble.socket), "retries.cap", {"target": "answers", "attempts": 1})
        plan = act.plan()
        trouble.ill, trouble.answer = ill, answer
        outcome = act.execute(plan, timeout=1)
        assert outcome.status is ends, outcome.reason
        assert says in outcome.reason
        trouble.ill = Ill.NONE
        assert act.runner.reconcile(plan).reason == (f"It took effect. {HALF}" if done else "It did not take effect.")
    assert proxy.primary.hits(proxy.url) == (1 if done else 6)


def test_a_stranger_between_plan_and_click_is_named(proxy: RunningHAProxy) -> None:
    """A key that somebody else led elsewhere after the plan is left alone."""
    act = Act(build(proxy), "retries.cap", {"target": "answers", "attempts": 1})
    plan = act.plan()
    proxy.lead("answers", "answers-3")
    refused = act.execute(plan)
    assert refused.reason.startswith("Nothing was changed: answers was changed meanwhile; now it is: 3 attempts.")
    assert proxy.primary.hits(proxy.url) == 3


def test_a_stranger_between_run_and_undo_is_not_overwritten(proxy: RunningHAProxy) -> None:
    """What somebody else set after the run stays, in memory and in the file."""
    act = Act(build(proxy), "retries.cap", {"target": "answers", "attempts": 1})
    plan = act.plan()
    done = act.execute(plan)
    proxy.lead("answers", "answers-3")
    refused = act.undo(plan, after=done.after)
    assert refused.reason.startswith("Not undone: answers was changed meanwhile; now it is: 3 attempts. It was not overwritten.")
    assert proxy.primary.hits(proxy.url) == 3


def test_a_level_that_is_not_there_is_never_set(proxy: RunningHAProxy) -> None:
    """A number of attempts without a backend would answer 503 to everybody; it is refused with the levels that there are."""
    for attempts in (0, 2, 7):
        act = Act(build(proxy), "retries.cap", {"target": "answers", "attempts": attempts})
        with pytest.raises(
            PlanRefused, match=rf"no backend answers-{attempts}, and requests sent there would get a 503; attempts may be 1, 3, 6"
        ):
            act.plan()
    backend = build(proxy)
    reading = backend.read(cap(), timeout=TIMEOUT)
    with pytest.raises(CallInvalid):
        backend.apply(cap(), {"attempts": 2}, expected=reading, key="k", timeout=TIMEOUT)
    assert proxy.primary.hits(proxy.url) == 6


def test_a_backend_without_a_server_is_no_route(proxy: RunningHAProxy) -> None:
    """A backend that is down is refused as a route."""
    with pytest.raises(PlanRefused, match="backend empty is without a server now; requests sent there would fail"):
        Act(build(proxy), "route.switch", {"target": "answers", "route": "empty"}).plan()


def test_a_key_that_leads_to_no_level_is_said(proxy: RunningHAProxy) -> None:
    """A key that somebody led to a backend outside the levels cannot be read as a number, and the sentence says what was expected."""
    proxy.lead("answers", "primary")
    with pytest.raises(CallInvalid, match="answers leads to primary, which is no level of its retries; they are called answers-N"):
        build(proxy).read(cap(), timeout=TIMEOUT)


def test_a_file_that_lags_behind_is_told_and_put_right(proxy: RunningHAProxy) -> None:
    """Where memory and file differ the plan says so, and a change brings them together, also one that memory has already."""
    proxy.lead("answers", "answers-3")
    backend = build(proxy)
    reading = backend.read(cap(), timeout=TIMEOUT)
    assert "Until now its file said answers-6, so a reload would have changed it already." in backend.propose(cap(), reading).note
    backend.apply(cap(3), {"attempts": 3}, expected=reading, key="k", timeout=TIMEOUT)
    assert "answers   answers-3" in proxy.retries.read_text()


@pytest.mark.parametrize("when", ["before the click", "before the undo"])
def test_a_file_that_somebody_delivered_anew_is_not_overwritten(when: str, proxy: RunningHAProxy) -> None:
    """A line that changed while HAProxy was not reloaded is a stranger's, too: neither the click nor the undo touches it."""
    act = Act(build(proxy), "retries.cap", {"target": "answers", "attempts": 1})
    plan = act.plan()
    delivered = haproxy.RETRIES.replace("answers-6", "answers-3")
    if when == "before the click":
        proxy.retries.write_text(delivered)
        refused = act.execute(plan)
    else:
        applied = act.execute(plan)
        assert applied.after is not None
        assert (applied.after.facts["file"], applied.after.facts.get("caveat")) == ("answers-1", None)
        proxy.retries.write_text(delivered)
        refused = act.undo(plan, after=applied.after)
    assert refused.status is OutcomeStatus.REFUSED
    assert "retries.map was changed meanwhile and now says answers-3 for answers" in refused.reason
    assert proxy.retries.read_text() == delivered
    assert proxy.primary.hits(proxy.url) == (6 if when == "before the click" else 1)


def test_a_stranger_right_after_the_change_keeps_the_file(proxy: RunningHAProxy) -> None:
    """What somebody set between our change and the look at it stands; our value does not go into the file behind their back."""

    def passed_on(command: str) -> str:
        answer = said(proxy.socket, command)
        if command.startswith("set map"):
            proxy.lead("answers", "answers-3")
        return answer

    with meddled(passed_on) as between:
        act = Act(build(proxy, socket=between.socket), "retries.cap", {"target": "answers", "attempts": 1})
        assert act.execute(act.plan()).status is OutcomeStatus.UNKNOWN
    assert proxy.retries.read_text() == haproxy.RETRIES


def test_a_key_that_stands_there_twice_is_not_changed(proxy: RunningHAProxy) -> None:
    """HAProxy would change every entry of the key at once, and nobody could put the others back."""
    try:
        proxy.ask(f"add map {proxy.retries} answers answers-3")
        with pytest.raises(CallInvalid, match=r"retries\.map has answers 2 times \(answers-6, answers-3\)"):
            build(proxy, persist=False).read(cap(), timeout=TIMEOUT)
    finally:
        proxy.ask(f"del map {proxy.retries} answers")
        proxy.ask(f"add map {proxy.retries} answers answers-6")


def test_a_file_without_the_key_stops_it_before_anything_is_sent(proxy: RunningHAProxy) -> None:
    """A map file that lost its line for the key is named before HAProxy is asked to change anything."""
    act = Act(build(proxy), "retries.cap", {"target": "answers", "attempts": 1})
    plan = act.plan()
    proxy.retries.write_text("search answers-3\n")
    refused = act.execute(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert "has no lines for answers; it needs one" in refused.reason
    assert proxy.primary.hits(proxy.url) == 6


def test_a_file_that_vanishes_while_it_is_changed_is_unknown(proxy: RunningHAProxy) -> None:
    """If the file is gone once HAProxy was told, the outcome is unknown, and a later look says that it took effect."""

    def passed_on(command: str) -> str:
        answer = said(proxy.socket, command)
        if command.startswith("set map"):
            proxy.retries.unlink()
        return answer

    with meddled(passed_on) as between:
        act = Act(build(proxy, socket=between.socket), "retries.cap", {"target": "answers", "attempts": 1})
        plan = act.plan()
        unsure = act.execute(plan)
        assert unsure.status is OutcomeStatus.UNKNOWN
        proxy.retries.write_text(haproxy.RETRIES)
        assert act.runner.reconcile(plan).reason == f"It took effect. {HALF}"
        proxy.retries.write_text(haproxy.RETRIES.replace("answers-6", "answers-1"))
        assert act.runner.reconcile(plan).reason == "It took effect."
    assert proxy.primary.hits(proxy.url) == 1


def test_without_persistence_only_memory_is_changed(proxy: RunningHAProxy) -> None:
    """`persist: false` leaves the file alone, and the plan says that a reload forgets it."""
    act = Act(build(proxy, persist=False), "retries.cap", {"target": "answers", "attempts": 1})
    plan = act.plan()
    assert plan.proposal.note == "HAProxy forgets this when it is reloaded or restarted."
    assert act.execute(plan).status is OutcomeStatus.APPLIED
    assert (proxy.primary.hits(proxy.url), proxy.retries.read_text()) == (1, haproxy.RETRIES)


@pytest.mark.parametrize(
    "name", ["", "a b", "answers;disable frontend gateway", "answers\ndisable frontend gateway", "a\\ b", "#0x1", "<<", "é"]
)
def test_s29_no_name_becomes_a_command(name: str, proxy: RunningHAProxy) -> None:
    """A target or a route that holds a sign of the socket's language is refused before anything is sent."""
    with meddled(lambda command: said(proxy.socket, command)) as between:
        backend = build(proxy, socket=between.socket)
        for call in (cap(target=name), switch(target=name), switch(name)):
            with pytest.raises(CallInvalid):
                backend.read(call, timeout=TIMEOUT)
        assert between.seen == []


def test_a_missing_map_or_socket_is_named(proxy: RunningHAProxy, tmp_path: Path) -> None:
    """A map that HAProxy does not use, and a socket that nobody listens on, are named; nothing was sent."""
    unused = tmp_path / "unused.map"
    unused.write_text("answers answers-6\n")
    with pytest.raises(TargetMissing, match="HAProxy has no map"):
        build(proxy, retries=str(unused)).read(cap(), timeout=TIMEOUT)
    with pytest.raises(Unreachable, match=r"cannot be reached at .*; nothing was sent\."):
        build(proxy, socket="/nowhere/haproxy.sock").read(cap(), timeout=TIMEOUT)
    with pytest.raises(TargetMissing, match=r"retries\.map has no key nobody; it has answers, search"):
        build(proxy).read(cap(target="nobody"), timeout=TIMEOUT)


def test_the_probe_says_which_haproxy_answers(proxy: RunningHAProxy) -> None:
    """`muster check` sees version and maps; a socket that is not there is an error in words."""
    assert build(proxy).probe(timeout=TIMEOUT).endswith("answers, with retries.map, routes.map.")
    with pytest.raises(Unreachable):
        build(proxy, socket="/nowhere/haproxy.sock").probe(timeout=TIMEOUT)


def test_a_socket_of_the_least_level_suffices(proxy: RunningHAProxy) -> None:
    """The socket of these tests allows what `level user` allows, and no more."""
    assert proxy.ask("show cli level").strip() == "user"
    assert "ermission denied" in proxy.ask("disable frontend gateway")
