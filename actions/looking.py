"""What came of a change of unknown outcome, said by what the far side shows now; nothing is ever repeated here (rule S20)."""

from collections.abc import Callable
from datetime import datetime

from actions.comparing import same
from actions.contract import Backend, Finding
from actions.redaction import redact
from actions.saying import changed, parts_looked_at
from actions.together.several import AsOne
from runbooks.operation import Outcome, OutcomeStatus, Plan, Reading
from runbooks.value import Json

TOOK_EFFECT = "It took effect."
NOBODY = "Nobody but a person can tell whether this was done."


def seen(backend: Backend, plan: Plan, present: Reading, *, wanted: Json, otherwise: Reading) -> Outcome:
    """What the target says: it is as wanted, as it was `otherwise`, or as somebody else made it."""
    if same(present, otherwise):
        return Outcome(status=OutcomeStatus.REFUSED, reason="It did not take effect.", before=otherwise, after=present)
    if present.value == wanted:
        caveat = redact(str(present.facts.get("caveat") or ""), limit=200)
        return Outcome(status=OutcomeStatus.APPLIED, reason=f"{TOOK_EFFECT} {caveat}".strip(), before=otherwise, after=present)
    if isinstance(backend, AsOne):
        return parts_looked_at(backend, plan, present, wanted=wanted, otherwise=otherwise)
    return Outcome(status=OutcomeStatus.UNKNOWN, reason=changed(plan, present, backend), before=otherwise, after=present)


def found(backend: Backend, plan: Plan, *, key: str | None, timeout: float, now: Callable[[], datetime]) -> Outcome:
    """What is seen of the run's key, where the target itself tells nothing. Not to be seen is no proof that it was not done.

    Raises:
        BackendError: it cannot be looked up.
    """
    if key is None or not isinstance(backend, Finding):
        return Outcome(status=OutcomeStatus.UNKNOWN, reason=NOBODY)
    there = backend.find(plan.call, key=key, timeout=timeout)
    if there is None:
        reason = f"Nothing is seen there of {key}, which does not prove that it was not done."
        return Outcome(status=OutcomeStatus.UNKNOWN, reason=reason, before=plan.before)
    tells = redact(str(there.facts.get("tells") or "it is there"), limit=300)
    after = there.model_copy(update={"value": plan.proposal.value, "read_at": now()})
    return Outcome(status=OutcomeStatus.APPLIED, reason=f"It was found under its key: {tells}.", before=plan.before, after=after)
