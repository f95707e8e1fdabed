"""Each guard outside the table of `guards` is switched off in turn, and its scenario must go red: so the scenario proves the guard."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from actions import breaker, looking, measuring, planning, registry, runner, verification
from actions.planning import PlanRefused
from actions.registry import Registry, RegistryInvalid
from actions.testing import Chaos, RecordingBackend
from runbooks import approval
from runbooks.approval import Circle, Decision, decide
from runbooks.operation import OutcomeStatus, Plan
from runbooks.people import Actor, ActorKind, Directory, Grant, Person
from runbooks.run import Approval, RunState, Sample, Verdict
from runbooks.runbook import Approvals, Verify
from runbooks.severity import Tier
from tests import acting
from tests.acting import LABELS, NOW, action, at, backend, runbook

TARGET = "thing/reranker-v3"
FREE = {"money": "none", "quality": "none", "latency": "none"}
PEOPLE = ("ana", "ben", "cleo")
CIRCLE = Circle(
    directory=Directory(
        people=tuple(Person(id=name, name=name, email=f"{name}@example.com") for name in PEOPLE),
        grants=(Grant(who="person:ana", run=Tier.R3), Grant(who="person:ben", run=Tier.R1, approve=Tier.R3)),
    )
)


def planned(**parameters: Any) -> Plan:
    return acting.plan(acting.runner(backend()), runbook(), parameters=parameters)


def refuses(**parameters: Any) -> bool:
    try:
        planned(**parameters)
    except PlanRefused:
        return True
    return False


def decided(*approvals: Approval, tier: Tier = Tier.R2, who: str = "ana", **more: Any) -> Decision:
    made = planned().model_copy(update={"tier": tier})
    words = [word.model_copy(update={"plan_hash": word.plan_hash or made.hash}) for word in approvals]
    requester = Actor(kind=more.pop("kind", ActorKind.PERSON), id=who)
    return decide(plan=made, asked=Approvals.NONE, requester=requester, circle=CIRCLE, approvals=words, now=at(10), **more)


def says(person: str, *, granted: bool = True, given: float = 0, plan_hash: str = "") -> Approval:
    return Approval(person=person, plan_hash=plan_hash, granted=granted, given_at=at(given))


# Each scenario answers whether the promise is kept.


def s2_bounds() -> bool:
    return refuses(value=13)


def s2_targets() -> bool:
    run = acting.runner(backend(**{"thing/other": 2}))
    try:
        run.plan(
            action(), runbook=runbook(), labels={"model": "other", "service": "a"}, parameters={}, environment="production", plan_id="p"
        )
    except PlanRefused as refused:
        return refused.reason == "target_not_allowed"
    return False


def s3_tier() -> bool:
    return acting.plan(acting.runner(backend()), runbook(action(tier="R0"))).tier is Tier.R1


def s4_grant() -> bool:
    return not decided(tier=Tier.R1, who="cleo").allowed


def s5_requires() -> bool:
    recording, book = backend(), runbook(action(guards={"requires": {"load": "> 0.8"}}))
    run = acting.runner(recording)
    made = acting.plan(run, book)
    recording.answers["load"] = {"rows": [], "value": 0.1}
    return run.execute(made, runbook=book, labels=LABELS, key="k").status is OutcomeStatus.REFUSED and not recording.effects


def s7_drift() -> bool:
    recording, book = backend(), runbook()
    run = acting.runner(recording)
    made = acting.plan(run, book)
    recording.put(TARGET, {"value": 2}, by="ben")
    return run.execute(made, runbook=book, labels=LABELS, key="k").status is not OutcomeStatus.APPLIED


def s7_hash() -> bool:
    return not decided(says("ben", plan_hash="another")).allowed


def s8_quorum() -> bool:
    return not decided(says("ben"), tier=Tier.R3).allowed


def s8_veto() -> bool:
    return not decided(says("ben", granted=False), tier=Tier.R1).allowed


def s13_radius() -> bool:
    recording = backend()
    recording.put(TARGET, {"value": 8})
    book = runbook(action(guards={"floor": 4}, parameters={}, cost=FREE, **{"with": {"target": TARGET, "value": 2}}, targets=(TARGET,)))
    run = acting.runner(recording)
    return run.execute(acting.plan(run, book), runbook=book, labels=LABELS, key="k").status is OutcomeStatus.REFUSED


def s15_row() -> bool:
    ends = [acting.run_of(run_id=n, state=RunState.FAILED, verdict=Verdict.FAILED, executed_at=at(1)) for n in range(1, 4)]
    return len(breaker.bad_row(ends)) == 3


def s17_time() -> bool:
    recording = backend()
    clock = iter(float(60 * minute) for minute in range(100))
    run = runner.Runner(registry=Registry([recording]), now=lambda: NOW, monotonic=lambda: next(clock))
    return run.execute(planned(), runbook=runbook(), labels=LABELS, key="k").status is OutcomeStatus.REFUSED and not recording.effects


def s19_redaction() -> bool:
    recording = backend()
    recording.answers["load"] = {"rows": [], "value": "password=hunter22"}
    found = acting.runner(recording).measure(runbook().header.diagnostics[0], labels=LABELS, environment="production")
    return "hunter22" not in found.model_dump_json()


def s20_look() -> bool:
    recording, book = backend(), runbook()
    run = acting.runner(recording)
    made = acting.plan(run, book)
    recording.chaos = Chaos.HANG
    run.execute(made, runbook=book, labels=LABELS, key="k")
    return run.reconcile(made).status is OutcomeStatus.REFUSED


def s21_missing() -> bool:
    verify = Verify.model_validate({"diagnostic": "p99", "settle": "1m", "holds": "< 0.5", "for": "2m", "within": "5m"})
    samples = [Sample(at=at(60), value=0.1), Sample(at=at(200), value=0.1)]
    return verification.judge(verify, samples, executed_at=NOW, now=at(200)).verdict is None


def s21_verdict() -> bool:
    verify = Verify.model_validate({"diagnostic": "p99", "settle": "1m", "holds": "< 0.5", "for": "1m", "within": "5m"})
    samples = [Sample(at=at(second), value=0.1) for second in range(0, 61, 5)]
    return verification.judge(verify, samples, executed_at=NOW, now=at(60)).verdict is not Verdict.VERIFIED


def s22_undo(*, seen: bool = True) -> bool:
    recording, book = backend(), runbook()
    run = acting.runner(recording)
    made = acting.plan(run, book)
    outcome = run.execute(made, runbook=book, labels=LABELS, key="k")
    recording.put(TARGET, {"value": 9}, by="ben")
    undone = run.undo(made, after=outcome.after if seen else None, key="u")
    return undone.status is OutcomeStatus.REFUSED and recording.things[TARGET].value == {"value": 9}


def s25_glass() -> bool:
    return not decided(break_glass="nobody answers, customers are down", break_glass_used=2).allowed


def s27_drill() -> bool:
    try:
        Registry.for_drill([RecordingBackend()], world="w")
    except RegistryInvalid:
        return True
    return False


def environment_binding() -> bool:
    try:
        Registry([RecordingBackend(environment=None)])
    except RegistryInvalid:
        return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A guard, where it stands, and what it does when it is switched off."""

    promise: Callable[[], bool]
    module: Any
    name: str
    off: Any


def _no_limit(_self: Any, _limit: float) -> Callable[[], float]:
    return lambda: 1.0


SWITCHES = {
    "S2 bounds": Switch(promise=s2_bounds, module=planning, name="_bounded", off=lambda _name, value, **_: value),
    "S2 targets": Switch(
        promise=s2_targets,
        module=planning,
        name="first_call",
        off=lambda request: planning.Call(operation=request.operation.name, target="thing/other", environment=request.environment),
    ),
    "S3 tier": Switch(promise=s3_tier, module=planning, name="tier_of", off=lambda action, *_, **__: action.tier),
    "S4 grants": Switch(promise=s4_grant, module=approval, name="may_run", off=lambda *_, **__: True),
    "S5 requires": Switch(promise=s5_requires, module=runner.Runner, name="_checks", off=lambda *_, **__: ()),
    "S7 drift": Switch(promise=s7_drift, module=runner, name="same", off=lambda *_: True),
    "S7 hash": Switch(promise=s7_hash, module=Plan, name="hash", off="another"),
    "S8 quorum": Switch(promise=s8_quorum, module=approval, name="MINIMUM", off=dict.fromkeys(Tier, 0)),
    "S8 veto": Switch(promise=s8_veto, module=approval, name="_void", off=lambda *_: None),
    "S13 radius": Switch(promise=s13_radius, module=runner.radius, name="check", off=lambda *_: None),
    "S15 row": Switch(promise=s15_row, module=breaker, name="ended_badly", off=lambda _run: None),
    "S17 time": Switch(promise=s17_time, module=runner.Runner, name="_left", off=_no_limit),
    "S19 redaction": Switch(promise=s19_redaction, module=measuring, name="clean", off=lambda value: value),
    "S20 look": Switch(promise=s20_look, module=looking, name="same", off=lambda *_: False),
    "S21 gaps": Switch(promise=s21_missing, module=verification, name="PATIENCE", off=100),
    "S21 settle": Switch(promise=s21_verdict, module=verification, name="window", off=lambda *_, executed_at: (executed_at, at(999))),
    "S25 limit": Switch(promise=s25_glass, module=approval, name="_broken_glass", off=lambda *_, **__: Decision(
        verdict=approval.Verdict.ALLOWED, reason=approval.Reason.BREAK_GLASS, text="yes")),
}  # fmt: skip


@pytest.mark.parametrize("switch", SWITCHES.values(), ids=SWITCHES.keys())
def test_the_promise_is_kept(switch: Switch) -> None:
    """With every guard in place the promise holds."""
    assert switch.promise()


NOT_ALONE = {"S7 drift"}
"""Promises that a second guard keeps as well: here the backend's own compare-and-set."""


@pytest.mark.parametrize("name", [name for name in SWITCHES if name not in NOT_ALONE])
def test_without_its_guard_the_promise_breaks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its guard switched off the scenario goes red: it would notice if the guard were gone."""
    switch = SWITCHES[name]
    monkeypatch.setattr(switch.module, switch.name, switch.off)
    assert not switch.promise()


def test_s7_two_guards_stand_against_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the runner's comparison the backend's compare-and-set still refuses; only without both is a stranger overwritten."""
    monkeypatch.setattr(runner, "same", lambda *_: True)
    assert s7_drift()
    real = RecordingBackend._changed

    def overwriting(self: RecordingBackend, call: Any, value: Any, *, expected: Any, key: str) -> Any:
        return real(self, call, value, expected=self._reading(call), key=key)

    monkeypatch.setattr(RecordingBackend, "_changed", overwriting)
    assert not s7_drift()


def test_s22_two_guards_stand_against_overwriting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the run's end was seen, the backend compares as well; where it was not, the runner's comparison keeps the promise alone."""
    assert s22_undo()
    assert s22_undo(seen=False)
    monkeypatch.setattr(runner, "same", lambda *_: True)
    assert s22_undo()
    assert not s22_undo(seen=False)


def test_s27_the_drills_door_keeps_the_real_world_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Built past its door, a drill's registry would hold a real backend."""
    assert s27_drill()
    assert environment_binding()
    monkeypatch.setattr(Registry, "for_drill", classmethod(lambda cls, backends, *, world: cls(backends, drill=True)))
    assert not s27_drill()
    monkeypatch.setattr(registry, "_operations", lambda *_, **__: {})
    assert not environment_binding()
