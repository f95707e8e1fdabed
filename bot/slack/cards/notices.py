"""Sentences: refusals, plain notices, a page to a person, and the demo's first minute."""

from slack_sdk.models.blocks import ButtonElement

from bot.slack import text
from bot.slack.cards.parts import (
    Drawn,
    Sheet,
    button,
    context,
    drawn,
    drill_first,
    header,
    link_button,
    marked,
    named,
    rows,
    section,
)
from bot.slack.intents import Press, PressKind
from runbooks.screens import Notice, Page, Refusal, Welcome


def refusal(screen: Refusal) -> Drawn:
    """Why not, who can help, what can be done instead; never a code alone."""
    sheet = Sheet()
    sheet.add(section(text.told(screen.text, 2_000) or "Nothing was changed."))
    sheet.add_all(rows([_offer(screen)]))
    return drawn(text.prose(screen.text, 3_000) or "Nothing was changed.", sheet)


def _offer(screen: Refusal) -> ButtonElement | None:
    if screen.incident_id is None or screen.offer == "none":
        return None
    if screen.offer == "plan" and screen.step:
        return button("Open the current plan…", Press(kind=PressKind.PLAN, incident_id=screen.incident_id, step=screen.step))
    return None


def notice(screen: Notice) -> Drawn:
    """Whole sentences, with those whom they concern named first."""
    named = " ".join(text.mention(person) for person in screen.mentions[:10])
    who = f"{named}: " if named else ""
    said = text.prose(screen.text, 2_500) or "(no text)"
    ref = f"INC-{screen.incident_id}: " if screen.incident_id is not None and not said.startswith(f"INC-{screen.incident_id}") else ""
    sheet = Sheet()
    sheet.add(section(marked(f"{who}{text.told(screen.text, 1_900) or said}", drill=screen.drill, bold=True)))
    return drawn(marked(f"{ref}{who}{said}", drill=screen.drill), sheet)


def page(screen: Page) -> Drawn:
    """Somebody is called: what broke, why they, what to do."""
    incident = screen.incident
    title, reason = text.line(incident.title, 200), text.sentence(text.line(screen.reason, 500))
    sheet = Sheet()
    sheet.add(header(drill_first(incident, f"You are called · {incident.severity.value} · {incident.ref}")))
    sheet.add(section(f"{text.mention(screen.person)} *{title}*\n{reason}"))
    if incident.is_open and incident.acknowledged_at is None:
        acknowledge = button("Acknowledge", Press(kind=PressKind.ACKNOWLEDGE, incident_id=incident.id), style="primary")
        sheet.add_all(rows([acknowledge, link_button("Open the card", screen.url, incident_id=incident.id)]))
    else:
        sheet.add_all(rows([link_button("Open the card", screen.url, incident_id=incident.id)]))
    return drawn(f"{named(incident)}: {text.mention(screen.person)}, you are called. {text.sentence(title)} {reason}", sheet)


def welcome(screen: Welcome) -> Drawn:
    """The demo's first minute: the first step with its button, then the others, quieter."""
    sheet = Sheet()
    sheet.add(header("Welcome to Muster"))
    first = text.line(screen.steps[0], 300) if screen.steps else "Break the simulated service and watch this channel."
    sheet.add(section(f"1. {first}"))
    sheet.add_all(rows([link_button("Open the simulated service", screen.simulation_url, style="primary")]))
    sheet.add(section("\n".join(f"{number}. {text.line(step, 300)}" for number, step in enumerate(screen.steps[1:8], start=2))))
    sheet.add(
        context("All of this is simulated; nothing outside this machine is touched. The menu beside your name makes you somebody else.")
    )
    return drawn(f"Welcome to Muster. {first}", sheet)
