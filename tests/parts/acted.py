"""One action of one backend through the runner, as a press of a button would take it; and the troubles that every change must survive."""

from dataclasses import dataclass, field
from typing import Any

from actions.contract import Backend
from actions.registry import Registry
from actions.runner import Runner
from runbooks.operation import Outcome, OutcomeStatus, Plan, Reading
from runbooks.runbook import Action, Runbook
from tests.acting import NOW, action, runbook
from tests.parts.trouble import Ill, Trouble

NOTHING = {"money": "none", "quality": "none", "latency": "none"}


class Act:
    """An action `uses` with these arguments on `backend`."""

    def __init__(self, backend: Backend, uses: str, arguments: dict[str, Any], **changed: Any) -> None:
        given = {"uses": uses, "with": arguments, "targets": [], "parameters": {}, "cost": NOTHING, **changed}
        self.step: Action = action(**given)
        self.book: Runbook = runbook(self.step)
        self.runner = Runner(registry=Registry([backend]), now=lambda: NOW)

    def plan(self, plan_id: str = "p1") -> Plan:
        """The plan, for an incident in production."""
        return self.runner.plan(self.step, runbook=self.book, labels={}, parameters={}, environment="production", plan_id=plan_id)

    def execute(self, plan: Plan, *, key: str = "key-1", timeout: float | None = None) -> Outcome:
        """The click."""
        return self.runner.execute(plan, runbook=self.book, labels={}, key=key, timeout=timeout)

    def undo(self, plan: Plan, *, after: Reading | None, key: str = "key-1-undo", timeout: float | None = None) -> Outcome:
        """The way back."""
        return self.runner.undo(plan, after=after, key=key, timeout=timeout)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One trouble of a change, what the runner must say of it, and whether the change was made all the same."""

    ill: Ill
    says: str
    ends: OutcomeStatus
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    done: bool = False

    @property
    def id(self) -> str:
        """The case's name in a report."""
        return f"{self.ill.value}-{self.status}" if self.ill is Ill.STATUS else self.ill.value


SURE, UNSURE = OutcomeStatus.REFUSED, OutcomeStatus.UNKNOWN
CASES = [
    Case(ill=Ill.STATUS, status=401, says="does not let these credentials do this", ends=SURE),
    Case(ill=Ill.STATUS, status=403, says="does not let these credentials do this", ends=SURE),
    Case(ill=Ill.STATUS, status=404, says="has no ", ends=SURE),
    Case(ill=Ill.STATUS, status=422, says="refuses (422)", ends=SURE),
    Case(ill=Ill.STATUS, status=429, headers={"Retry-After": "7"}, says="asks to wait", ends=SURE),
    Case(ill=Ill.STATUS, status=500, says="answers 500", ends=UNSURE),
    Case(ill=Ill.HANG, says="did not answer within", ends=UNSURE),
    Case(ill=Ill.RESET, says="broke off", ends=UNSURE),
    Case(ill=Ill.LOST, says="broke off", ends=UNSURE, done=True),
    Case(ill=Ill.LIED, says="answers 500", ends=UNSURE, done=True),
]


def suffer(case: Case, act: Act, trouble: Trouble, *, looks: bool = True, says: str | None = None) -> Outcome:
    """Let the change meet the trouble; the sentence, the certainty and the later look must all be true."""
    plan = act.plan()
    trouble.ill, trouble.status, trouble.headers = case.ill, case.status, case.headers
    outcome = act.execute(plan, timeout=1.5)
    trouble.ill = Ill.NONE
    assert outcome.status is case.ends, outcome.reason
    assert (says or case.says) in outcome.reason
    assert outcome.retry_after == (7.0 if case.status == 429 else None)
    assert outcome.reason.startswith("Nothing was changed" if case.ends is SURE else "It is not known whether it took effect")
    looked = act.runner.reconcile(plan)
    if not looks:
        assert looked.status is OutcomeStatus.UNKNOWN
        assert "Nobody but a person" in looked.reason
    elif case.done:
        assert (looked.status, looked.reason) == (OutcomeStatus.APPLIED, "It took effect.")
    else:
        assert (looked.status, looked.reason) == (OutcomeStatus.REFUSED, "It did not take effect.")
    return outcome
