"""Screen 3: a run, in the thread with its buttons and as one line on the card."""

from slack_sdk.models.blocks import ButtonElement

from bot.slack import text
from bot.slack.cards import plan as plans
from bot.slack.cards.parts import Drawn, Sheet, button, confirm, drawn, drill_first, named, rows, section
from bot.slack.intents import Press, PressKind
from runbooks.operation import SEVERAL
from runbooks.run import BEFORE_RUNNING, IN_FLIGHT, ActionRun, RunState
from runbooks.screens import RunLine, RunMessage
from runbooks.value import Moment

_REASON = 240
_PARTS = 8  # on the card, which shows several runs; the plan and the thread show all


def run_line(line: RunLine, now: Moment) -> str:
    """A run as one line: what, where it stands, the measured values, what happens next."""
    run = line.run
    title = f"*{text.line(run.title, 80)}*"
    by = f" by {text.mention(line.by)}" if line.by else ""
    return "\n".join([f"{title} {_standing(line, run, by, now)}", *_parts(run)])


def _parts(run: ActionRun) -> list[str]:
    """Each change of several on a line of its own, while they stand or are about to."""
    proposal = run.plan.proposal if run.plan else None
    if proposal is None or run.state in {RunState.REFUSED, RunState.EXPIRED, RunState.CANCELLED, RunState.UNDONE}:
        return []
    done = run.ramp.done if run.ramp else len(proposal.parts)
    changed = [(number, one) for number, one in enumerate(proposal.parts) if one.before_text != one.after_text]
    shown = [f"• {plans.part(one)}{'' if number < done else ' (not yet)'}" for number, one in changed[:_PARTS]]
    return [*shown, *([f"…and {len(changed) - _PARTS} more"] if len(changed) > _PARTS else [])]


def _standing(line: RunLine, run: ActionRun, by: str, now: Moment) -> str:
    if run.state in BEFORE_RUNNING:
        return _before(run, by, now)
    if run.state in IN_FLIGHT:
        return _in_flight(line, run, by, now)
    return _ended(line, run, now)


def _before(run: ActionRun, by: str, now: Moment) -> str:
    if run.state is RunState.AWAITING_APPROVAL:
        granted = sum(1 for one in run.approvals if one.granted and one.withdrawn_at is None)
        until = f", until {text.when(run.approve_until_at, now)}" if run.approve_until_at else ""
        return f"waits for approval ({granted} of {run.approvals_needed}){until}, asked{by}."
    if run.state is RunState.APPROVED:
        return f"is approved and about to start{by}."
    return f"is planned{by}; not confirmed yet."


def _in_flight(line: RunLine, run: ActionRun, by: str, now: Moment) -> str:
    match run.state:
        case RunState.RUNNING if run.ramp:
            return f"{run.ramp.done} of {len(run.plan.proposal.parts) if run.plan else 0} done{by}{_since(run.started_at, now)}."
        case RunState.RUNNING:
            return f"{_step(run)}, running{by}{_since(run.started_at, now)}."
        case RunState.VERIFYING:
            return f"{_step(run)}{by}{_at(run.executed_at, now)}. {_watching(line)}"
        case RunState.UNDOING:
            return f"is being undone{_since(run.undo_started_at, now)}."
        case _:
            return "has an unknown outcome: Muster is looking at what happened."


def _ended(line: RunLine, run: ActionRun, now: Moment) -> str:
    match run.state:
        case RunState.VERIFIED:
            return f"verified{_at(run.verdict_at, now)}: {_step(run)}, {_values(line)}.{_ends(line, now)}"
        case RunState.FAILED:
            return _with_reason(f"did not help{_at(run.verdict_at or run.ended_at, now)}", run)
        case RunState.INCONCLUSIVE:
            return _with_reason("is inconclusive: somebody must say whether it worked", run)
        case RunState.UNDONE:
            reason = text.line(run.undo_reason, _REASON)
            return text.sentence(f"undone{_at(run.undone_at, now)}: {_step(run, back=True)}{f'. {reason}' if reason else ''}")
        case RunState.EXPIRED:
            return _with_reason("expired before it was approved", run)
        case RunState.CANCELLED:
            return _with_reason("was cancelled", run)
        case _:
            return _with_reason("was not run", run)


def _step(run: ActionRun, *, back: bool = False) -> str:
    if run.plan is None:
        return text.line(run.target, 80)
    proposal = run.plan.proposal.reversed() if back else run.plan.proposal
    if run.plan.call.operation == SEVERAL:
        return f"{len(proposal.parts)} changes {'back' if back else 'as one'}"
    step, name = proposal.step, run.target.rpartition("/")[2]
    return text.line(step if step.startswith(name) else f"{name} {step}", 160)


def _values(line: RunLine) -> str:
    run = line.run
    if run.value_before is None and run.value_after is None:
        return "measured value not kept"
    beside = line.holds.limit if line.holds else None
    found = (run.value_before, run.value_after)
    shown = [text.number(value, run.unit, beside=beside) if value is not None else "no data" for value in found]
    return f"{_what(line)} {shown[0]} → {shown[1]}"


def _what(line: RunLine) -> str:
    return text.line(line.measured, 60) or "measured"


def _watching(line: RunLine) -> str:
    run = line.run
    latest = next((sample.value for sample in reversed(run.samples) if sample.value is not None), None)
    if latest is None:
        return "Watching, no measurement yet."
    limit = line.holds.limit if line.holds else None
    before = f"{text.number(run.value_before, run.unit, beside=limit)} → " if run.value_before is not None else ""
    wanted = f" (wanted {text.escape(line.holds.operator)} {text.number(line.holds.limit, run.unit)})" if line.holds else ""
    held = f", held {text.lasting(line.held_for)} of {text.lasting(line.hold_for)}" if line.hold_for else ""
    what = f" {text.line(line.measured, 60)}" if line.measured else ""
    return f"Watching{what}: {before}{text.number(latest, run.unit, beside=limit)}{wanted}{held}."


def _ends(line: RunLine, now: Moment) -> str:
    held = line.mitigation
    if held is None or held.ended_at is not None:
        return ""
    return f" Ends {text.when(held.ends_at, now)}." if held.ends_at else " Stays until somebody ends it."


def _with_reason(what: str, run: ActionRun) -> str:
    reason = text.line(run.verdict_reason or run.undo_reason or run.reason, _REASON)
    if reason.startswith("Cancelled by "):
        return text.sentence(f"{what}{reason.removeprefix('Cancelled')}")
    return text.sentence(f"{what}: {reason.removeprefix('Not run: ')}" if reason else what)


def _at(at: Moment | None, now: Moment) -> str:
    return f" {text.when(at, now)}" if at else ""


def _since(at: Moment | None, now: Moment) -> str:
    return f" since {text.when(at, now)}" if at else ""


def run_message(screen: RunMessage) -> Drawn:
    """The run's own message: what happened in whole sentences, what to do next, and the buttons that make sense now."""
    incident = screen.incident
    sheet = Sheet()
    run = screen.line.run
    near = run.verdict_at or run.executed_at or run.requested_at
    sheet.add(section(drill_first(incident, text.told(screen.text, 1_800, near=near), bold=True)))
    sheet.add(section(text.told(screen.next_step, 900, near=near)))
    sheet.add_all(rows([_button(word, screen) for word in screen.buttons]))
    summary = f"{named(incident)}: {text.prose(screen.text, 2_000)} {text.prose(screen.next_step, 900)}".rstrip()
    return drawn(summary, sheet)


def _press(kind: PressKind, screen: RunMessage) -> Press:
    run, held = screen.line.run, screen.line.mitigation
    return Press(
        kind=kind,
        incident_id=screen.incident.id,
        step=run.step,
        run_id=run.id,
        subject_id=held.id if held else None,
        version=run.runbook.version,
    )


def _button(word: str, screen: RunMessage) -> ButtonElement:
    run = screen.line.run
    match word:
        case "undo":
            before = run.plan.proposal.before_text if run.plan and not run.plan.proposal.parts else "what it was"
            back = f"{run.target} goes back to {before}."
            question = confirm("Undo this?", back, "Undo")
            return button("Undo", _press(PressKind.UNDO, screen), spoken=f"Undo {run.title}", confirm=question)
        case "extend":
            return button("Extend…", _press(PressKind.EXTEND, screen), spoken=f"Extend {run.title}")
        case "keep":
            return button("Keep", _press(PressKind.KEEP, screen), spoken=f"Keep {run.title}")
        case "worked":
            return button("It worked", _press(PressKind.WORKED, screen), style="primary", spoken=f"{run.title} worked")
        case "failed":
            return button("It did not", _press(PressKind.NOT_WORKED, screen), spoken=f"{run.title} did not work")
        case "escalate":
            question = confirm("Escalate?", "This pages the next person of the escalation.", "Escalate")
            return button("Escalate", _press(PressKind.ESCALATE, screen), style="danger", confirm=question)
        case _:
            if run.ramp is not None:
                question = confirm("Stop here?", "The stage that is at work is finished, and nothing after it begins.", "Stop")
                return button("Stop", _press(PressKind.CANCEL, screen), spoken=f"Stop {run.title}", confirm=question)
            return button("Cancel", _press(PressKind.CANCEL, screen), spoken=f"Cancel {run.title}")
