"""Silences in the real Alertmanager of Debian, seen from its alerts and not from its answers."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from actions.backends.alertmanager import KIND, Alertmanager
from actions.contract import CallInvalid, Rejected, TargetMissing
from actions.kinds import Options
from actions.testing import CHECKS, Check, Subject
from runbooks.operation import Call, OutcomeStatus
from tests.parts.acted import CASES, Act, Case, suffer
from tests.parts.alerting import alertmanager, needs_alertmanager
from tests.parts.trouble import Ill, Trouble, troubled

pytestmark = [pytest.mark.debian, needs_alertmanager]
_number = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One real Alertmanager for the module; every test has an alert of its own name."""
    with alertmanager(Path(tmp_path_factory.mktemp("alertmanager"))) as url:
        yield url


def fire(server: str, **labels: str) -> None:
    """What Prometheus does: hand Alertmanager an alert, and wait until it lists it."""
    now = datetime.now(UTC)
    alert = {"labels": labels, "startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=1)).isoformat()}
    httpx.post(f"{server}/api/v2/alerts", json=[alert], trust_env=False).raise_for_status()
    until(lambda: state(server, **labels))


def until(ask: Callable[[], Any]) -> Any:
    """What `ask` answers, as soon as it is true."""
    ends = time.monotonic() + 20
    while not (answer := ask()):
        assert time.monotonic() < ends, "waited too long"
        time.sleep(0.05)
    return answer


def state(server: str, **labels: str) -> str:
    """The alert's state as Alertmanager lists it: active, suppressed, or nothing."""
    found = httpx.get(f"{server}/api/v2/alerts", trust_env=False).json()
    return next((str(one["status"]["state"]) for one in found if one["labels"] == labels), "")


def backend(url: str) -> Alertmanager:
    return KIND.build(Options({"url": url, "environment": "production"}), {})


def fresh(server: str, **more: str) -> tuple[dict[str, str], str]:
    """An alert of its own, and the target that names it."""
    labels = {"alertname": f"Slow{next(_number)}", "service": "answers", **more}
    fire(server, **labels)
    return labels, f"alertname={labels['alertname']},service=answers"


def arguments(target: str, minutes: int = 30) -> dict[str, Any]:
    return {"matchers": target, "minutes": minutes, "reason": "The pool is being scaled; see the incident."}


def stranger(server: str, labels: dict[str, str], *, ends: bool, wait: timedelta = timedelta(0)) -> None:
    """Ben silences the alert in Alertmanager's own page, perhaps not before `wait` is over, and perhaps takes it back."""
    now = datetime.now(UTC) + wait
    made = httpx.post(
        f"{server}/api/v2/silences",
        json={
            "matchers": [{"name": name, "value": value, "isRegex": False} for name, value in labels.items()],
            "startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=2)).isoformat(), "createdBy": "ben", "comment": "mine",
        },
        trust_env=False,
    )  # fmt: skip
    made.raise_for_status()
    if ends:
        httpx.delete(f"{server}/api/v2/silence/{made.json()['silenceID']}", trust_env=False).raise_for_status()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_alertmanager_keeps_the_contract(check: Check, server: str) -> None:
    """Silencing passes every check against the real Alertmanager."""
    labels, target = fresh(server)
    call = Call(operation="alert.silence", target=target, arguments=arguments(target))
    check(
        Subject(
            backend=backend(server),
            call=call,
            missing=call.model_copy(update={"target": "alertname=Nothing,service=nowhere"}),
            other={"silenced": False},
            change_outside=lambda _value: stranger(server, labels, ends=True),
            invalid=call.model_copy(update={"arguments": arguments(target, minutes=24 * 60 + 1)}),
            atomic=False,
        )
    )


def test_a_silenced_alert_is_quiet_and_undoing_lets_it_speak(server: str) -> None:
    """The alert itself becomes suppressed, carries who and why and an end, and is active again after the undo; another one never is."""
    labels, target = fresh(server)
    other, _ = fresh(server)
    act = Act(backend(server), "alert.silence", arguments(target))
    plan = act.plan()
    assert plan.proposal.step == "not silenced → silenced for 30 minutes"
    done = act.execute(plan, key="run-7")
    assert done.status is OutcomeStatus.APPLIED, done.reason
    until(lambda: state(server, **labels) == "suppressed")
    assert state(server, **other) == "active"
    silence = next(one for one in httpx.get(f"{server}/api/v2/silences", trust_env=False).json() if one["createdBy"] == "muster/run-7")
    assert silence["comment"] == "The pool is being scaled; see the incident."
    lasts = datetime.fromisoformat(silence["endsAt"]) - datetime.fromisoformat(silence["startsAt"])
    assert timedelta(minutes=29) < lasts <= timedelta(minutes=30)
    undone = act.undo(plan, after=done.after)
    assert undone.status is OutcomeStatus.APPLIED, undone.reason
    until(lambda: state(server, **labels) == "active")


def test_a_silence_of_somebody_else_is_left_alone(server: str) -> None:
    """Made between plan and click, or between run and undo, it is named and neither doubled nor ended."""
    labels, target = fresh(server)
    act = Act(backend(server), "alert.silence", arguments(target))
    plan = act.plan()
    stranger(server, labels, ends=False)
    refused = act.execute(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert "was changed by ben meanwhile; now it is: silenced until" in refused.reason
    labels, target = fresh(server)
    act = Act(backend(server), "alert.silence", arguments(target))
    plan = act.plan()
    done = act.execute(plan)
    stranger(server, labels, ends=False)
    kept = act.undo(plan, after=done.after)
    assert kept.status is OutcomeStatus.REFUSED
    assert kept.reason.startswith("Not undone:")
    assert state(server, **labels) == "suppressed"


def test_a_planned_silence_silences_nothing_yet(server: str) -> None:
    """Where somebody has planned a silence for tomorrow the alert still speaks: it is silenced now, and the undo leaves the plan alone."""
    labels, target = fresh(server)
    stranger(server, labels, ends=False, wait=timedelta(hours=20))
    act = Act(backend(server), "alert.silence", arguments(target))
    plan = act.plan()
    assert plan.proposal.before_text == "not silenced"
    assert "A silence of the same labels is planned from" in plan.proposal.note
    done = act.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    until(lambda: state(server, **labels) == "suppressed")
    assert act.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    until(lambda: state(server, **labels) == "active")
    found = httpx.get(f"{server}/api/v2/silences", trust_env=False).json()
    assert [
        one["status"]["state"] for one in found if one["matchers"][0]["value"] == labels["alertname"] and one["createdBy"] == "ben"
    ] == ["pending"]


def test_an_undo_ends_no_silence_but_muster_s(server: str) -> None:
    """Even where nothing else tells a stranger's silence from ours, its maker does."""
    labels, target = fresh(server)
    stranger(server, labels, ends=False)
    call = Call(operation="alert.silence", target=target, arguments=arguments(target))
    present = backend(server).read(call, timeout=10)
    with pytest.raises(Rejected, match="is silenced by ben, not by Muster; that silence is left alone"):
        backend(server).apply(call, {"silenced": False}, expected=present, key="k-undo", timeout=10)
    assert state(server, **labels) == "suppressed"


def test_a_clock_that_is_ahead_silences_at_once(server: str) -> None:
    """Where Muster's clock runs minutes ahead of Alertmanager's, the silence begins now and not in its future."""
    labels, target = fresh(server)
    ahead = Alertmanager(url=server, environment="production", now=lambda: datetime.now(UTC) + timedelta(minutes=4))
    act = Act(ahead, "alert.silence", arguments(target))
    done = act.execute(act.plan())
    assert done.status is OutcomeStatus.APPLIED, done.reason
    until(lambda: state(server, **labels) == "suppressed")


@pytest.mark.parametrize("hostile", ["x,service=payments", ".*", 'a"b', "a\\", "<!channel>", "{{ 1 }}", "über, alles"], ids=range(7))
def test_s29_a_label_silences_nothing_but_its_own_alert(hostile: str, server: str) -> None:
    """Whatever a label says, at most the alert that carries it becomes quiet."""
    other, _ = fresh(server)
    name = f"Odd{next(_number)}"
    fire(server, alertname=name, note=hostile)
    target = f'alertname={name},note="{hostile}"'
    call = Call(operation="alert.silence", target=target, arguments=arguments(target))
    try:
        before = backend(server).read(call, timeout=10)
        backend(server).apply(call, {"silenced": True}, expected=before, key="k", timeout=10)
    except (CallInvalid, TargetMissing):
        assert state(server, alertname=name, note=hostile) == "active"
    else:
        until(lambda: state(server, alertname=name, note=hostile) == "suppressed")
    assert state(server, **other) == "active"


@pytest.mark.parametrize(
    "target",
    [
        "",
        "service=answers",
        "alertname=",
        "alertname=a,alertname=b",
        "alertname=~.*",
        "alertname!=x",
        'alertname="',
        "a b=c",
        f"alertname=a{' ' * 100_000}b",
    ],
    ids=range(9),
)
def test_a_silence_that_would_be_too_wide_is_refused_unsent(target: str) -> None:
    """Without the alert's name, with an empty value, a pattern or a doubled label nothing is asked and nothing is made."""
    with pytest.raises(CallInvalid, match=r"alertname=ModelLatencyP99High"):
        backend("http://127.0.0.1:9").read(Call(operation="alert.silence", target=target, arguments=arguments(target)), timeout=5)


def test_alerts_are_listed_with_their_state(server: str) -> None:
    """Every alert with these labels is a row, silenced or not; their number is the value, and none is zero."""
    labels, _ = fresh(server, model="reranker-v3")

    def listed(matchers: str) -> Any:
        return backend(server).read(Call(operation="alerts.list", arguments={"matchers": matchers}), timeout=10).value

    found = listed(f"alertname={labels['alertname']}")
    assert found["value"] == 1.0
    assert {name: found["rows"][0][name] for name in labels} == labels
    assert found["rows"][0]["state"] == "active"
    assert listed("alertname=Nothing") == {"rows": [], "value": 0.0}
    assert listed("")["value"] > 1


@pytest.fixture
def trouble(server: str) -> Iterator[Trouble]:
    with troubled(server) as found:
        yield found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_trouble_is_told_truly(case: Case, server: str, trouble: Trouble) -> None:
    """Each refusal says that nothing was changed, each doubt says so, and the look afterwards agrees with the alert itself."""
    labels, target = fresh(server)
    suffer(case, Act(backend(trouble.url), "alert.silence", arguments(target)), trouble)
    until(lambda: state(server, **labels) == ("suppressed" if case.done else "active"))


@pytest.mark.parametrize("case", [case for case in CASES if case.ends is OutcomeStatus.UNKNOWN], ids=lambda case: case.id)
def test_an_undo_in_doubt_is_found_out_by_looking(case: Case, server: str, trouble: Trouble) -> None:
    """A lost, late or lying answer to the undo leaves it in doubt, and the look says what the alert itself shows."""
    labels, target = fresh(server)
    act = Act(backend(trouble.url), "alert.silence", arguments(target))
    plan = act.plan()
    done = act.execute(plan)
    trouble.ill = case.ill
    undone = act.undo(plan, after=done.after, timeout=1.5)
    trouble.ill = Ill.NONE
    assert (undone.status, case.says in undone.reason) == (OutcomeStatus.UNKNOWN, True)
    looked = act.runner.reconcile_undo(plan, after=done.after)
    assert looked.status is (OutcomeStatus.APPLIED if case.done else OutcomeStatus.REFUSED)
    until(lambda: state(server, **labels) == ("active" if case.done else "suppressed"))


def test_an_unreachable_alertmanager_was_not_changed(server: str, trouble: Trouble) -> None:
    """Where even the look fails, nothing is sent and the sentence says so; a probe says the same."""
    _, target = fresh(server)
    act = Act(backend(trouble.url), "alert.silence", arguments(target))
    plan = act.plan()
    trouble.ill, trouble.which = Ill.RESET, lambda _method, _path: True
    refused = act.execute(plan)
    assert (refused.status, trouble.passed[-1][0]) == (OutcomeStatus.REFUSED, "GET")
    assert refused.reason.startswith("Nothing was changed: Alertmanager broke off")
    assert "0." in backend(server).probe(timeout=5)
