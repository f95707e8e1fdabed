"""When an action is taken out of service: so many bad ends in a row, whatever the incident (rule S15). Pure.

A bad end is a failed verification, an outcome that nobody could find out, and a call that the far side refused or did not take. Missing
data, a person's undo, drift and a pre-check that did not hold say nothing about the action: they neither count nor break the row.
"""

from collections.abc import Iterable, Sequence

from runbooks.operation import OutcomeStatus
from runbooks.run import ActionRun, RunState, Verdict

FAILURES = 3  # bad ends in a row; one is bad luck, two may be, and a third time nobody is still thinking


def bad_row(runs: Iterable[ActionRun], *, failures: int = FAILURES) -> Sequence[ActionRun]:
    """The last `failures` runs that ended clearly, if all of them ended badly; else nothing. `runs` are one action's, in any order."""
    told = [(run, bad) for run in sorted(runs, key=lambda run: run.id) if (bad := ended_badly(run)) is not None]
    last = told[-failures:]
    return [run for run, _ in last] if len(last) == failures and all(bad for _, bad in last) else ()


def ended_badly(run: ActionRun) -> bool | None:
    """Whether this run speaks against its action; None where it says nothing about it."""
    if run.verdict is Verdict.VERIFIED:
        return False
    if run.verdict is Verdict.FAILED:
        return True
    if run.verdict is Verdict.INCONCLUSIVE:
        return True if run.executed_at is None else None
    return True if run.state is RunState.REFUSED and _refused_outside(run) else None


def _refused_outside(run: ActionRun) -> bool:
    """Whether the far side refused it or could not be reached: nothing was read that could have been in the way."""
    outcome = run.outcome
    return run.started_at is not None and outcome is not None and outcome.status is OutcomeStatus.REFUSED and outcome.after is None
