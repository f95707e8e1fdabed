"""An action that is out of service: told to its owner, and the dialog that puts it back (rule S15)."""

from bot.slack import text
from bot.slack.cards import forms
from bot.slack.cards.dialogs import view
from bot.slack.cards.parts import Drawn, Sheet, button, context, drawn, header, rows, section
from bot.slack.intents import Press, PressKind
from runbooks.screens import BreakerNotice, ResetDialog
from runbooks.value import Json


def breaker_notice(screen: BreakerNotice) -> Drawn:
    """What happened, how each time ended, and one button; without the button once somebody has put it back."""
    title, where = text.line(screen.title, 120), f"{text.line(screen.runbook_id, 80)}, {text.line(screen.step, 80)}"
    named = " ".join(text.mention(person) for person in screen.mentions[:10])
    said = text.sentence(text.line(screen.text, 500))
    sheet = Sheet()
    sheet.add(header(f"{'Back in service' if screen.decided else 'Out of service'} · {title}"))
    sheet.add(section(f"{named + ': ' if named else ''}{said}"))
    ends = [f"• {text.line(reason, 250)}" for reason in screen.reasons[:5]]
    sheet.add(section("\n".join(ends) if ends and not screen.decided else ""))
    if screen.decided:
        sheet.add(section(f"*{text.sentence(text.line(screen.decided, 500))}*"))
    else:
        press = Press(kind=PressKind.RESET, incident_id=screen.incident_id, step=screen.step, runbook=screen.runbook_id)
        sheet.add_all(rows([button("Put it back…", press, spoken=f"Put {screen.title} back into service")]))
        sheet.add(context(f"{where}. Nobody can run it anywhere until then; undo stays possible."))
    ref = f"INC-{screen.incident_id}: " if screen.incident_id is not None else ""
    return drawn(f"{ref}{text.sentence(text.line(screen.decided, 500)) if screen.decided else said}", sheet)


def reset_dialog(screen: ResetDialog) -> Json:
    """Ask what was found."""
    sheet = Sheet()
    sheet.add(section(f"*{text.line(screen.title, 150)}* failed {screen.failures} times in a row."))
    sheet.add(
        forms.text_input(
            "reason",
            "What was found, and why will it work now?",
            hint="It goes on the timeline. Earlier failures no longer count.",
            multiline=True,
            longest=1_000,
        )
    )
    press = Press(kind=PressKind.RESET_WITH, incident_id=screen.incident_id, step=screen.step, runbook=screen.runbook_id)
    return view("Put back into service", sheet, submit="Put it back", press=press)
