"""What the runner says: refusals, what somebody else has changed, and what the parts of a whole say; sentences for a tired person."""

from actions.contract import Backend, BackendError, Throttled
from actions.redaction import redact
from actions.together.several import AsOne
from actions.wording import spoken
from runbooks.operation import Outcome, OutcomeStatus, Plan, Reading
from runbooks.value import Json


def drift(plan: Plan, present: Reading, backend: Backend) -> str:
    """How the target differs from the plan (rule S7), in a sentence."""
    if present.value == plan.before.value:
        return f"{plan.call.target or 'the target'} was changed and changed back{_by(present)} since the plan was made."
    return changed(plan, present, backend)


def parts_looked_at(backend: AsOne, plan: Plan, present: Reading, *, wanted: Json, otherwise: Reading) -> Outcome:
    """What the parts say of a change of unknown outcome: put back already, done in part, or changed by somebody else."""
    if present.value == otherwise.value:
        return Outcome(status=OutcomeStatus.REFUSED, reason="It did not take effect.", before=otherwise, after=present)
    standing = backend.standing(plan.call, present, before=otherwise, wanted=wanted)
    reason = redact(standing.text, limit=600)
    return Outcome(status=OutcomeStatus.UNKNOWN, reason=reason, before=otherwise, after=present, mixed=standing.mixed)


def changed(plan: Plan, present: Reading, backend: Backend) -> str:
    """What somebody else made of the target."""
    try:
        now = backend.propose(plan.call, present).before_text
    except BackendError:  # there is no future for this call any more, so the backend has no words for its present
        now = spoken(present.value)
    return f"{plan.call.target or 'the target'} was changed{_by(present)} meanwhile; now it is: {redact(now, limit=200)}."


def _by(present: Reading) -> str:
    who = redact((present.changed_by or "").split("/")[0], limit=80)
    return f" by {who.capitalize() if who == 'muster' else who}" if who else ""


def refused(plan: Plan, reason: str, *, after: Reading | None = None, error: Exception | None = None) -> Outcome:
    """Certain: nothing was changed."""
    wait = error.retry_after if isinstance(error, Throttled) else None
    return Outcome(status=OutcomeStatus.REFUSED, reason=reason, before=plan.before, after=after, retry_after=wait)


def name_of(error: BackendError) -> str:
    """The error's name as a reason: `TargetMissing` is `target_missing`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in type(error).__name__).lstrip("_")


def lower(sentence: str) -> str:
    """A sentence to be continued: the first word small, unless it is a name."""
    return sentence[:1].lower() + sentence[1:] if sentence.startswith(("The ", "No ", "Someone ")) else sentence
