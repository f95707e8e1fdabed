"""The checklist after a rollback: what a bad release left behind, ticked off one by one."""

from slack_sdk.models.blocks import ButtonElement

from bot.slack import text
from bot.slack.cards.parts import DOT, Drawn, Sheet, button, drawn, drill_first, named, rows, section
from bot.slack.intents import Press, PressKind
from runbooks.run import CleanItem
from runbooks.screens import CleanUpMessage


def cleanup_message(screen: CleanUpMessage) -> Drawn:
    """Each thing on a line of its own with how it is proven or who did it; a button for each that a person does."""
    incident, run = screen.incident, screen.run
    open_, all_ = len(run.to_clean), len(run.cleanup)
    head = f"To be cleaned up after {text.line(run.title, 80)}: {all_ - open_} of {all_} done."
    if screen.over:
        head = text.sentence(text.line(screen.over, 300))
    sheet = Sheet()
    sheet.add(section(drill_first(incident, head, bold=True)))
    exposed = "" if screen.over else screen.exposed
    if not screen.over:
        sheet.add(section("\n".join(_line(screen, place) for place in range(all_))))
        sheet.add(section(text.told(exposed, 400, near=run.executed_at or run.requested_at)))
        sheet.add_all(rows([_button(screen, place) for place, item in enumerate(run.cleanup) if _is_asked(item)]))
    return drawn(f"{named(incident)}: {head} {text.prose(exposed, 400)}".rstrip(), sheet)


def _is_asked(item: CleanItem) -> bool:
    return item.done_at is None and item.diagnostic is None


def _line(screen: CleanUpMessage, place: int) -> str:
    item = screen.run.cleanup[place]
    title = text.line(item.title, 100)
    if item.done_at is not None:
        who = screen.people.get(item.done_by or "", item.done_by or "")
        how = "measured" if item.diagnostic else f"by {text.line(who, 60)}"
        return f"☑ {title} ({how}{DOT}{text.when(item.done_at, item.done_at)})"
    carried = f", carried by {text.line(screen.people.get(item.carrier, item.carrier), 60)}" if item.carrier else ""
    said = text.line(screen.shown[place], 300) if place < len(screen.shown) else ""
    return f"☐ *{title}*{carried}{f': {said}' if said else ''}"


def _button(screen: CleanUpMessage, place: int) -> ButtonElement:
    item, run = screen.run.cleanup[place], screen.run
    press = Press(kind=PressKind.CLEANED, incident_id=screen.incident.id, step=run.step, run_id=run.id, subject_id=place)
    return button(f"Done: {item.title}", press, spoken=f"{item.title} is cleaned up")
