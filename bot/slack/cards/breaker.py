"""An action that is out of service: told to its owner, and the dialog that puts it back (rule S15)."""

from slack_sdk.models.blocks import ButtonElement

from bot.slack import text
from bot.slack.cards import forms
from bot.slack.cards.dialogs import view
from bot.slack.cards.parts import Drawn, Sheet, bullets, button, context, drawn, header, rows, section
from bot.slack.intents import Press, PressKind
from runbooks.screens import BreakerNotice, ResetDialog
from runbooks.value import Json


def breaker_notice(screen: BreakerNotice) -> Drawn:
    """What happened, how each time ended, and one button; who has put it back, and no button, once somebody has."""
    state = "Back in service" if screen.decided else "Out of service"
    said = text.sentence(text.line(screen.text, 500))
    sheet = Sheet()
    sheet.add(header(f"{state} · {screen.title}"))
    if screen.decided:
        said = f"{text.sentence(text.line(screen.decided, 500))} {said}"
        sheet.add(section(said))
    else:
        called = " ".join(text.mention(person) for person in screen.mentions[:10])
        sheet.add(section(f"{called + ': ' if called else ''}{said}"))
        sheet.add(section(bullets(screen.reasons, most=5)))
        sheet.add_all(rows([put_back(screen)]))
        sheet.add(context(f"From the runbook {text.line(screen.runbook_id, 80)}. What it changed before can still be undone."))
    ref = f"INC-{screen.incident_id}: " if screen.incident_id is not None else ""
    return drawn(f"{ref}{state}: {text.sentence(text.line(screen.title, 120))} {said}", sheet)


def put_back(screen: BreakerNotice) -> ButtonElement:
    """The button that asks what was found."""
    press = Press(kind=PressKind.RESET, incident_id=screen.incident_id, step=screen.step, runbook=screen.runbook_id)
    return button("Put it back…", press, spoken=f"Put {screen.title} back into service")


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
