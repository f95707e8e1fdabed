"""Drills: the invitation and the report. Every one says DRILL first."""

from bot.slack import text
from bot.slack.cards.parts import Drawn, Sheet, button, confirm, context, drawn, header, link_button, rows, section
from bot.slack.cards.resolve import phases_line
from bot.slack.intents import Press, PressKind
from runbooks.drill import DrillState, Finding
from runbooks.screens import DrillInvitation, DrillReport

_FINDINGS = 12


def drill_invitation(screen: DrillInvitation) -> Drawn:
    """A drill is due: Start, or Move to another date. Decided: who decided what, without buttons."""
    drill, title = screen.drill, text.line(screen.runbook_title, 150)
    the = f"{text.mention(screen.lead)}: the" if screen.lead else "The"
    state = "overdue since" if screen.overdue else "due"
    sheet = Sheet()
    sheet.add(header(f"DRILL {'overdue' if screen.overdue else 'due'} · {screen.runbook_title}"))
    sheet.add(section(f"{the} drill of *{title}* {_slot(drill.slot)} is {state} {text.moment(drill.due_at)}."))
    if screen.decided:
        sheet.add(section(f"*{text.sentence(text.line(screen.decided, 400))}*"))
    else:
        sheet.add(context("It runs on a simulated world. Production cannot be touched, and nobody else is paged."))
        question = confirm("Start the drill?", "The alert is injected now, and the clock runs.", "Start")
        start = button("Start", Press(kind=PressKind.DRILL_START, subject_id=drill.id), style="primary", confirm=question)
        sheet.add_all(rows([start, button("Move…", Press(kind=PressKind.DRILL_MOVE, subject_id=drill.id))]))
    said = f" {text.sentence(text.line(screen.decided, 400))}" if screen.decided else " Start it, or move it."
    return drawn(f"DRILL {state}: {title}, {text.line(drill.slot, 20)}.{said}", sheet)


def _slot(slot: str) -> str:
    """A quarter is rehearsed for; an incident is rehearsed after."""
    return f"for {text.line(slot, 20)}" if slot[:1].isdigit() else text.line(slot, 20)


def drill_report(screen: DrillReport) -> Drawn:
    """How it went: result, times, findings with what was missed first, and where the whole report stands."""
    drill = screen.drill
    result = drill.state.value
    sheet = Sheet()
    sheet.add(header(f"DRILL {result} · {screen.runbook_title}"))
    sheet.add(section(text.sentence(text.line(drill.reason, 400))))
    sheet.add(section(f"*Times* {phases_line(screen.phases)}"))
    sheet.add(section(_findings(drill.findings)))
    if drill.state is DrillState.FAILED:
        sheet.add(context("Teams are graded, never people. What was missed becomes follow-ups."))
    incident = screen.incident
    sheet.add_all(rows([link_button("Open report", screen.url, number=drill.id, incident_id=incident.id if incident else None)]))
    missed = [finding.text for finding in drill.findings if not finding.passed]
    why = f" Missed: {text.line('; '.join(missed), 800)}" if missed else ""
    return drawn(f"DRILL {result}: {text.line(screen.runbook_title, 150)}, {text.line(drill.slot, 20)}.{why}", sheet)


def _findings(findings: tuple[Finding, ...]) -> str:
    ordered = sorted(findings, key=lambda finding: finding.passed)
    shown = [f"• *{'met' if f.passed else 'missed'}* {text.line(f.text, 200)}" for f in ordered[:_FINDINGS]]
    return "\n".join([*shown, f"…and {len(ordered) - _FINDINGS} more"] if len(ordered) > _FINDINGS else shown)
