"""Screen 5, afterwards: what the thread says when it is over, and what becomes of a mitigation that is about to end."""

from slack_sdk.models.blocks import ButtonElement

from bot.slack import text
from bot.slack.cards.incident import mitigation_line
from bot.slack.cards.parts import (
    DOT,
    Drawn,
    Sheet,
    bullets,
    button,
    confirm,
    context,
    drawn,
    drill_first,
    header,
    link_button,
    named,
    rows,
    section,
)
from bot.slack.intents import Press, PressKind
from runbooks.postmortem import Phases
from runbooks.run import Mitigation
from runbooks.screens import MitigationNotice, ResolvedMessage


def phases_line(phases: Phases) -> str:
    """Times from the beginning of the trouble; what is not known is said and is not zero."""
    named_phases = ("detected", "acknowledged", "mitigated", "verified", "resolved")
    known = [(name, getattr(phases, name)) for name in named_phases]
    return DOT.join(f"{name} {f'after {text.lasting(value)}' if value is not None else 'unknown'}" for name, value in known)


def resolved_message(screen: ResolvedMessage) -> Drawn:
    """Duration by phase, what worked, what stays in force and with whom, and the post-mortem with its owner and date."""
    incident, review = screen.incident, screen.review
    sheet = Sheet()
    sheet.add(header(drill_first(incident, f"Resolved · {incident.severity.value} · {incident.ref} · {incident.title}")))
    sheet.add(section(text.prose(incident.resolution or "", 1_500)))
    sheet.add(section(f"*Times* {phases_line(screen.phases)}"))
    said = incident.resolution or ""
    sheet.add(section(_list("What worked", tuple(item for item in screen.worked if item not in said))), spare=2)
    sheet.add(section(_list("Still in force", screen.carried)), spare=1)
    due = ""
    if review is not None:
        owner = text.mention(screen.review_owner) if screen.review_owner else text.line(review.owner, 80)
        due = f"Post-mortem due {text.day(review.due_at)}, written by {owner}."
    if screen.redrill_at is not None:
        due = f"{due} The runbook is drilled again on {text.day(screen.redrill_at)}.".strip()
    sheet.add(section(due))
    sheet.add_all(rows([link_button("Open draft", screen.draft_url, incident_id=incident.id)]))
    outcome = text.sentence(text.line(incident.resolution or "", 600))
    took = f" Took {text.lasting(screen.phases.resolved)}." if screen.phases.resolved is not None else ""
    return drawn(f"{named(incident)}: {text.sentence(text.line(incident.title, 200))} {outcome}{took}", sheet)


def _list(title: str, items: tuple[str, ...]) -> str:
    return f"*{title}*\n{bullets(items)}" if items else ""


def mitigation_notice(screen: MitigationNotice) -> Drawn:
    """A change in force is about to end, or nobody has said what becomes of it."""
    incident, held = screen.incident, screen.mitigation
    who = f"{text.mention(screen.owner)}: " if screen.owner else ""
    ask = " What should become of it?" if screen.asks else ""
    said = f"{who}{text.told(screen.text, 1_500, near=held.ends_at or held.opened_at)}{ask}"
    sheet = Sheet()
    sheet.add(section(drill_first(incident, said, bold=True)))
    sheet.add(context(f"{incident.ref}{DOT}`{text.line(held.target.replace('`', ''), 120)}`{DOT}{mitigation_line(held, held.opened_at)}"))
    if held.ended_at is None:
        sheet.add_all(rows(mitigation_buttons(held)))
    return drawn(f"{named(incident)}: {text.prose(screen.text, 2_000)}{ask}", sheet)


def mitigation_buttons(held: Mitigation) -> list[ButtonElement | None]:
    """Extend, keep, or undo it now."""

    def press(kind: PressKind) -> Press:
        return Press(kind=kind, incident_id=held.incident_id, run_id=held.run_id, subject_id=held.id)

    question = confirm("Revert now?", f"{held.title}: {held.target} goes back to what it was before.", "Revert now")
    return [
        button("Extend…", press(PressKind.EXTEND), spoken=f"Extend {held.title}"),
        button("Keep", press(PressKind.KEEP), spoken=f"Keep {held.title}"),
        button("Revert now", press(PressKind.REVERT), spoken=f"Revert {held.title} now", confirm=question),
    ]
