"""The guards of several as one are switched off in turn, and their promise must break: so the promise proves the guard (rule S24)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from actions.contract import Rejected
from actions.testing import RecordingBackend
from actions.together import several
from actions.together.several import Standing
from runbooks.operation import Call, OutcomeStatus, Plan, Reading
from runbooks.value import Json
from tests.acting import LABELS, action, plan, runbook, runner

NAMES = ("a", "b", "c")


class Closed(RecordingBackend):
    """A recording whose last thing cannot be changed."""

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        if call.target == "c":
            raise Rejected("It is closed.")
        return super().apply(call, value, expected=expected, key=key, timeout=timeout)


def story(far: RecordingBackend) -> tuple[Any, Any, Plan]:
    """Runner, runbook and plan of three changes as one."""
    for number, name in enumerate(NAMES, start=1):
        far.put(name, {"value": number})
    steps = [{"uses": "thing.set", "with": {"target": name, "value": 9}} for name in NAMES]
    cost = {"money": "none", "quality": "none", "latency": "none"}
    book = runbook(action(**{"uses": "sequence", "with": {}, "targets": [], "parameters": {}, "steps": steps, "cost": cost}))
    run = runner(far)
    return run, book, plan(run, book)


def values(far: RecordingBackend) -> list[int]:
    return [far.things[name].value["value"] for name in NAMES]


def whole_or_nothing() -> bool:
    far = Closed()
    run, book, made = story(far)
    run.execute(made, runbook=book, labels=LABELS, key="k")
    return values(far) == [1, 2, 3]


def a_mixture_is_put_back() -> bool:
    far = RecordingBackend()
    run, _, made = story(far)
    far.put("a", {"value": 9})
    run.restore(made, key="r")
    return values(far) == [1, 2, 3]


def a_stranger_is_not_overwritten() -> bool:
    far = RecordingBackend()
    run, book, made = story(far)
    after = run.execute(made, runbook=book, labels=LABELS, key="k").after
    far.put("b", {"value": 5}, by="eve")
    return run.undo(made, after=after, key="u").status is OutcomeStatus.REFUSED and values(far) == [9, 5, 9]


def an_undo_goes_backwards() -> bool:
    far = RecordingBackend()
    run, book, made = story(far)
    after = run.execute(made, runbook=book, labels=LABELS, key="k").after
    run.undo(made, after=after, key="u")
    return [effect.target for effect in far.effects] == ["a", "b", "c", "c", "b", "a"]


def every_target_is_named_for_the_locks() -> bool:
    _, _, made = story(RecordingBackend())
    return set(NAMES) <= set(made.targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A guard, where it stands, and what it does when it is switched off."""

    promise: Callable[[], bool]
    module: Any
    name: str
    off: Any


def _forwards(self: Any, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
    return several.AsOne.apply(self, call, value, expected=expected, key=key, timeout=timeout)


SWITCHES = {
    "S24 put back": Switch(promise=whole_or_nothing, module=several, name="_put_back", off=lambda *_, **__: None),
    "S24 mixture": Switch(
        promise=a_mixture_is_put_back, module=several.AsOne, name="standing", off=lambda *_, **__: Standing(mixed=False, text="all is well")
    ),
    "S24 stranger": Switch(promise=a_stranger_is_not_overwritten, module=several, name="same", off=lambda *_: True),
    "S24 backwards": Switch(promise=an_undo_goes_backwards, module=several.AsOne, name="take_back", off=_forwards),
    "S12 parts": Switch(promise=every_target_is_named_for_the_locks, module=Plan, name="targets", off=()),
}


@pytest.mark.parametrize("switch", SWITCHES.values(), ids=SWITCHES.keys())
def test_the_promise_of_several_is_kept(switch: Switch) -> None:
    """With every guard in place, each promise holds."""
    assert switch.promise()


@pytest.mark.parametrize("name", SWITCHES)
def test_without_its_guard_the_promise_of_several_breaks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one guard switched off, its promise no longer holds."""
    switch = SWITCHES[name]
    monkeypatch.setattr(switch.module, switch.name, switch.off)
    assert not switch.promise()
