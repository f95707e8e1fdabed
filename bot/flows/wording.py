"""The sentences about a run: what happened, what comes next, and the buttons that go with it (cards.md, screens 3 and 4)."""

from typing import Literal

from actions.together.stages import carried_out, size, total
from actions.wording import number
from bot.flows.context import Context
from runbooks.duration import in_words
from runbooks.run import ActionRun, Mitigation, RunState, Verdict
from runbooks.screens import RunLine

Button = Literal["undo", "extend", "keep", "worked", "failed", "escalate", "cancel"]


def run_text(ctx: Context, line: RunLine) -> str:
    """What happened so far, in one or two sentences."""
    run = line.run
    by = name_of(ctx, run.requested_by)
    if run.break_glass:
        by = f"{by} without approval ({run.break_glass.rstrip('.')})"
    match run.state:
        case RunState.AWAITING_APPROVAL:
            return f"{run.title}: {by} asks for approval."
        case RunState.APPROVED:
            return f"{run.title}: starting."
        case RunState.RUNNING:
            return f"{run.title}: {_stages(line) if run.ramp else f'running since {_clock(run)}'}, asked for by {by}."
        case RunState.VERIFYING:
            return f"{_done(run)}, by {by}. Watching {_progress(line)}."
        case RunState.VERIFIED:
            return f"Verified{_verdict_clock(run)}: {_measured(line)}. {_done(run)}, by {by}."
        case RunState.FAILED:
            return f"Did not work: {_done(run) if run.executed_at else run.title}. {run.verdict_reason or run.reason}"
        case RunState.INCONCLUSIVE:
            return f"Not clear whether it worked: {_done(run)}. {run.verdict_reason or run.reason}"
        case RunState.UNDOING:
            return f"Undoing: {run.title}."
        case RunState.UNDONE:
            who = name_of(ctx, run.undo_requested_by or "muster")
            return f"Undone by {who}: {run.title}, {_words(run, back=True)}. {run.undo_reason}".strip()
        case RunState.UNKNOWN:
            return f"Muster does not know whether {run.title} took effect, and is looking. {run.reason}"
        case _:
            return f"Not run: {run.title}. {run.reason}"


def next_step(ctx: Context, line: RunLine) -> str:
    """What comes next, or what the reader can do."""
    run, mitigation = line.run, line.mitigation
    match run.state:
        case RunState.VERIFIED if mitigation and mitigation.ended_at is None:
            return _ends(ctx, mitigation)
        case RunState.FAILED:
            return "Undo it, or try the runbook's next action."
        case RunState.INCONCLUSIVE:
            return "Did it work? Say so, or undo it."
        case RunState.UNKNOWN:
            return "You will see here what is true. Do not repeat it by hand before that."
    return ""


def run_buttons(line: RunLine) -> tuple[Button, ...]:
    """What can be pressed about this run now."""
    run = line.run
    standing = line.mitigation is not None and line.mitigation.ended_at is None
    match run.state:
        case RunState.AWAITING_APPROVAL | RunState.APPROVED:
            return ("cancel",)
        case RunState.RUNNING if run.ramp is not None and not run.ramp.cancelled_by:
            return ("cancel",)
        case RunState.VERIFYING:
            return ("undo",)
        case RunState.VERIFIED:
            return ("undo", "extend", "keep") if standing else ()
        case RunState.FAILED:
            return ("undo", "escalate") if run.in_force else ("escalate",)
        case RunState.INCONCLUSIVE:
            return ("worked", "failed", "undo") if run.in_force else ("worked", "failed")
    return ()


def _ends(ctx: Context, mitigation: Mitigation) -> str:
    if mitigation.ends_at is None:
        return ""
    asked = f"{name_of(ctx, mitigation.owner)} is asked whether it stays"
    then = {"revert": "it is undone by itself", "ask": asked, "keep": "it stays"}
    return f"Ends {mitigation.ends_at:%Y-%m-%d %H:%M} UTC: then {then[mitigation.then.value]}."


def _progress(line: RunLine) -> str:
    run = line.run
    now = next((sample.value for sample in reversed(run.samples) if sample.value is not None), None)
    path = _path(line, now) or "no data yet"
    return f"{_what(line)}{path}, held for {in_words(line.held_for)} of {in_words(line.hold_for)}"


def proven(line: RunLine) -> str:
    """What worked, with the measured value before and after."""
    return f"{line.run.title}: {_measured(line)}"


def _measured(line: RunLine) -> str:
    run = line.run
    if run.value_after is None:
        return "confirmed by a person" if run.verdict is Verdict.VERIFIED else "no data"
    return f"{_what(line)}{_path(line, run.value_after)}"


def _what(line: RunLine) -> str:
    return f"{line.measured} " if line.measured else ""


def _path(line: RunLine, now: float | None) -> str:
    beside = line.holds.limit if line.holds else None
    values = (value for value in (line.run.value_before, now) if value is not None)
    return " → ".join(number(value, line.run.unit, beside=beside) for value in values)


def _stages(line: RunLine) -> str:
    """How far a run has come that goes in stages, what was measured last, and when it goes on."""
    run, ramp = line.run, line.run.ramp
    assert ramp is not None and run.plan is not None  # noqa: PT018 - a run in stages has both
    beside = line.holds.limit if line.holds else None
    measured = f", {_what(line)}{number(ramp.value, run.unit, beside=beside)}" if ramp.value is not None else ""
    said = f"{ramp.done} of {total(run.plan)} done{measured}"
    if ramp.cancelled_by:
        return f"{said}, stopping"
    if ramp.at_work:
        return f"{said}, {ramp.at_work} at work"
    following = size(ramp.done, total=total(run.plan))
    return f"{said}, the next {following} at {ramp.next_at:%H:%M:%S} UTC" if ramp.next_at else said


def _done(run: ActionRun) -> str:
    return f"{run.title}: {_words(run)}"


def _words(run: ActionRun, *, back: bool = False) -> str:
    if run.plan is None:
        return run.target
    plan = carried_out(run)[0] if run.ramp and run.ramp.done else run.plan
    proposal = plan.proposal.reversed() if back else plan.proposal
    if proposal.parts:
        return ", ".join(f"{part.target} {part.step}" for part in proposal.parts)
    return f"{run.target} {proposal.step}"


def _verdict_clock(run: ActionRun) -> str:
    return f" {run.verdict_at:%H:%M} UTC" if run.verdict_at else ""


def _clock(run: ActionRun) -> str:
    return f"{run.started_at:%H:%M:%S} UTC" if run.started_at else "just now"


def name_of(ctx: Context, person_id: str | None) -> str:
    """A person's name for their id; Muster's own for its own, and where nobody is named."""
    if person_id is None or person_id == "muster":
        return "Muster"
    person = ctx.directory.person(person_id)
    return person.name if person else person_id
