"""Autonomy is earned and lost by what was measured (rule S30): derived from the runs alone, so that no row can claim it.

An action earns it by clean runs in a row, drills among them, in the last year. One run that was not proven, or that a person took back
while it was watched, ends the row at once. What counts as the same action: the same runbook and step, doing, guarding, proving and
undoing the same; its title, its words on cost and when it proposes itself may change.
"""

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from runbooks.people import MUSTER
from runbooks.proposing import Level
from runbooks.run import Verdict
from runbooks.runbook import Action, Approvals, Runbook
from runbooks.severity import Tier
from runbooks.timeline import canonical
from runbooks.trace import Trace
from runbooks.value import Value

MEMORY = timedelta(days=365)
"""How long a run counts: a system that nobody has touched for a year is another system."""

_WORDS = {"title", "cost", "propose_when", "autonomy", "confirm"}
"""What may change of an action without making another one of it."""


class Standing(Value):
    """How far an action goes by itself now, and what is missing for more.

    `level` None: it never proposes itself. `clean` are the clean runs in a row, `drills` those of them in rehearsals, `wanted` how many
    there must be; 0 where the action does not ask for autonomy. `ended_by` is the run that ended the row before.
    """

    step: str
    title: str
    level: Level | None
    clean: int = 0
    drills: int = 0
    wanted: int = 0
    missing: tuple[str, ...] = ()
    ended_by: int | None = None

    @property
    def automatic(self) -> bool:
        """Whether it may run by itself after its countdown."""
        return self.level is Level.AUTOMATIC

    def __str__(self) -> str:
        if self.level is None:
            return f"{self.title}: never proposes itself."
        drills = f", {self.drills} in drills" if self.drills else ""
        earned = f" {self.clean} of {self.wanted} clean runs{drills}." if self.wanted else ""
        rest = "".join(f" {text}" for text in self.missing if "clean runs" not in text)
        return f"{self.title}: {self.level.value}.{earned}{rest}"


def fingerprint(runbook: Runbook, step: str) -> str:
    """What makes this action this action, with the diagnostic that proves it. Empty for a step that is no action."""
    action = runbook.action(step)
    if action is None:
        return ""
    proof = runbook.diagnostic(action.verify.diagnostic)
    said = {
        "does": action.model_dump(mode="json", by_alias=True, exclude=_WORDS),
        "proves": proof.model_dump(mode="json", by_alias=True, include={"uses", "with_", "bind"}) if proof else None,
    }
    return hashlib.sha256(canonical(said)).hexdigest()


def clean(run: Trace) -> bool | None:
    """Whether a run adds to the row (True), ends it (False), or says nothing (None).

    Clean is proven by measurement and left alone while it was watched. A person's word that it worked is no measurement. What never
    took effect, or lost its world in the middle, says nothing.
    """
    if _taken_back(run):
        return False
    if run.verdict is None:
        return None
    if run.verdict is not Verdict.VERIFIED:
        return False
    return True if run.value_after is not None and run.measured else None


def _taken_back(run: Trace) -> bool:
    """Whether a person undid it within the watch."""
    if run.undo_started_at is None or run.undo_requested_by in {None, MUSTER.id}:
        return False
    return run.verdict is None or run.verify_until_at is None or run.undo_started_at <= run.verify_until_at


def row(past: Sequence[Trace]) -> tuple[list[Trace], Trace | None]:
    """The clean runs in a row, newest first, and the run that ended the row before them."""
    found: list[Trace] = []
    for run in sorted(past, key=lambda run: (run.started_at or run.requested_at, run.id), reverse=True):
        word = clean(run)
        if word is False:
            return found, run
        if word:
            found.append(run)
    return found, None


def standing(action: Action, past: Sequence[Trace], *, not_allowed: str | None) -> Standing:
    """How far `action` goes by itself, given its runs of the last year. `not_allowed` is why muster.yaml forbids more, if it does."""
    level = _declared(action)
    if level is None or action.autonomy is None:
        return Standing(step=action.id, title=action.title, level=level)
    found, ended = row(past)
    wanted, have = action.autonomy.clean_runs, len(found)
    missing = [f"{have} of {wanted} clean runs."] if have < wanted else []
    missing += [] if may_ever(action) else ["It is above R1 or needs an approval, so a person decides."]
    missing += [not_allowed] if not_allowed else []
    return Standing(
        step=action.id,
        title=action.title,
        level=level if missing else Level.AUTOMATIC,
        clean=have,
        drills=sum(run.drill_id is not None for run in found),
        wanted=wanted,
        missing=tuple(missing),
        ended_by=ended.id if ended else None,
    )


def _declared(action: Action) -> Level | None:
    if action.propose_when is None:
        return None
    direct = action.confirm == "card" and not action.parameters
    return Level.ONE_CLICK if direct else Level.SUGGEST


def may_ever(action: Action) -> bool:
    """Whether this kind of action may run by itself at all: reversible, narrow, and nobody's approval is asked for."""
    return not action.tier.above(Tier.R1) and action.approval is Approvals.NONE and action.undo.to == "prior"
