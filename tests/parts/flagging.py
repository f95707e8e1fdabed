"""What every flag system is put through: the table of troubles, seen through the runner as a person sees it."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from actions import contract
from actions.contract import Backend, BackendError
from actions.planning import PlanRefused
from actions.runner import Runner
from runbooks.operation import Call, Outcome, OutcomeStatus, Plan
from runbooks.runbook import Runbook
from tests import acting
from tests.parts.trouble import Ill, Trouble

FLAG = "long-answers"
TOKEN = "the-test-s-very-own-token"
PATIENCE = 20.0  # seconds for a far side on this machine that answers
IMPATIENCE = 1.0  # seconds for one that never will


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One trouble with the change: what happens, the contract's error, what is known, the words, and whether it took effect."""

    ill: Ill
    error: type[BackendError]
    words: str
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    known: OutcomeStatus = OutcomeStatus.REFUSED
    took_effect: bool = False
    hanging: float = IMPATIENCE

    @property
    def seconds(self) -> float:
        """How long to wait for it."""
        return self.hanging if self.ill is Ill.HANG else PATIENCE


UNKNOWN = OutcomeStatus.UNKNOWN
TROUBLES: dict[str, Row] = {
    "wrong token": Row(ill=Ill.STATUS, status=401, error=contract.NotPermitted, words="does not know this token"),
    "weak token": Row(ill=Ill.STATUS, status=403, error=contract.NotPermitted, words="It needs "),
    "gone": Row(ill=Ill.STATUS, status=404, error=contract.TargetMissing, words=f"has no flag {FLAG}"),
    "refused": Row(ill=Ill.STATUS, status=422, error=contract.Rejected, words=r"refuses \(422\): out of order"),
    "too many": Row(ill=Ill.STATUS, status=429, headers={"Retry-After": "7"}, error=contract.Throttled, words="asks to wait"),
    "out of order": Row(ill=Ill.STATUS, error=contract.OutcomeUnknown, words="answers 500", known=UNKNOWN),
    "hangs": Row(ill=Ill.HANG, error=contract.OutcomeUnknown, words="did not answer", known=UNKNOWN),
    "resets": Row(ill=Ill.RESET, error=contract.OutcomeUnknown, words="broke off", known=UNKNOWN),
    "answer lost": Row(ill=Ill.LOST, error=contract.OutcomeUnknown, words="broke off", known=UNKNOWN, took_effect=True),
    "lies": Row(ill=Ill.LIED, error=contract.OutcomeUnknown, words="answers 500", known=UNKNOWN, took_effect=True),
}


def disable(flag: str = FLAG) -> Call:
    """Switch the flag off."""
    return Call(operation="flag.disable", target=flag, arguments={"flag": flag}, environment="production")


def switch(*, on: Any, flag: str = FLAG) -> Call:
    """Switch the flag on or off."""
    return Call(operation="flag.set", target=flag, arguments={"flag": flag, "on": on}, environment="production")


@dataclass(frozen=True, slots=True)
class Night:
    """One runbook with one action over one backend, as the product runs it."""

    backend: Backend
    book: Runbook
    runner: Runner

    def plan(self, *, seconds: float = PATIENCE) -> Plan:
        """The plan of `flag.disable`."""
        return acting.plan(self.runner, self.book, step="switch-off", timeout=seconds)

    def click(self, plan: Plan, *, seconds: float = PATIENCE) -> Outcome:
        """The click that counts."""
        return self.runner.execute(plan, runbook=self.book, labels=acting.LABELS, key="run-7", timeout=seconds)

    def undo(self, plan: Plan, outcome: Outcome) -> Outcome:
        """The way back."""
        return self.runner.undo(plan, after=outcome.after, key="run-7-undo", timeout=PATIENCE)


def night(backend: Backend, *, flag: str = FLAG) -> Night:
    """The story of one night with this backend."""
    action = acting.action(
        id="switch-off", title="Switch it off", uses="flag.disable", targets=[flag], parameters={}, **{"with": {"flag": flag}},
        cost={"money": "none", "quality": "shorter answers", "latency": "none"},
    )  # fmt: skip
    return Night(backend, acting.runbook(action), acting.runner(backend))


@contextmanager
def struck(trouble: Trouble, row: Row, *, which: Callable[[str, str], bool] | None = None) -> Iterator[None]:
    """While it lasts, requests that change something (or those that `which` means) go wrong as the row says."""
    before = trouble.which
    trouble.ill, trouble.status, trouble.headers = row.ill, row.status, dict(row.headers)
    trouble.which = which or before
    try:
        yield
    finally:
        trouble.ill, trouble.which = Ill.NONE, before


def check_trouble(backend: Backend, trouble: Trouble, row: Row) -> None:
    """The click meets the trouble: the right error, the right words, no secret in them, and a look afterwards tells the truth."""
    story = night(backend)
    plan = story.plan()
    with struck(trouble, row):
        outcome = story.click(plan, seconds=row.seconds)
    assert outcome.status is row.known, outcome.reason
    assert TOKEN not in outcome.reason
    begins = "It is not known whether it took effect: " if row.known is UNKNOWN else "Nothing was changed: "
    assert outcome.reason.startswith(begins)
    assert re.search(row.words, outcome.reason), outcome.reason
    assert outcome.retry_after == (7.0 if row.status == 429 else None)
    found = story.runner.reconcile(plan, timeout=PATIENCE)
    assert found.reason == ("It took effect." if row.took_effect else "It did not take effect.")
    assert backend.read(disable(), timeout=PATIENCE).value is (not row.took_effect)


def check_class(backend: Backend, trouble: Trouble, row: Row) -> None:
    """The backend itself raises exactly the contract's error for the trouble."""
    before = backend.read(disable(), timeout=PATIENCE)
    with struck(trouble, row), pytest.raises(BackendError) as raised:
        backend.apply(disable(), False, expected=before, key="run-7", timeout=row.seconds)
    assert type(raised.value) is row.error


def check_look(backend: Backend, trouble: Trouble, row: Row) -> None:
    """A look that goes wrong is never taken for a change: nothing is planned, and a click on an older plan changes nothing."""
    story = night(backend)
    plan = story.plan()
    with struck(trouble, row, which=lambda _method, _path: True):
        with pytest.raises(PlanRefused):
            story.plan(seconds=row.seconds)
        outcome = story.click(plan, seconds=row.seconds)
    assert outcome.status is OutcomeStatus.REFUSED
    assert outcome.reason.startswith("Nothing was changed: ")
    assert backend.read(disable(), timeout=PATIENCE).value is True
