"""The duty to write a post-mortem: opened, due soon, overdue."""

from bot.slack import text
from bot.slack.cards.parts import Drawn, Sheet, button, drawn, drill_first, link_button, named, rows, section
from bot.slack.intents import Press, PressKind
from runbooks.postmortem import ReviewState
from runbooks.screens import ReviewNotice


def review_notice(screen: ReviewNotice) -> Drawn:
    """One reminder, with the draft and a way to say that it is done."""
    incident, review = screen.incident, screen.review
    the = f"{text.mention(screen.owner)}: the" if screen.owner else "The"
    title = text.line(incident.title, 150)
    said = {
        "opened": f"{the} post-mortem of {incident.ref} ({title}) is drafted and due {text.day(review.due_at)}.",
        "before": f"{the} post-mortem of {incident.ref} ({title}) is due {text.day(review.due_at)}.",
        "after": f"{the} post-mortem of {incident.ref} ({title}) is overdue since {text.day(review.due_at)}.",
    }[screen.when]
    sheet = Sheet()
    sheet.add(section(drill_first(incident, said, bold=True)))
    draft = link_button("Open draft", screen.url, incident_id=incident.id)
    done = button("It is done", Press(kind=PressKind.REVIEW_DONE, incident_id=incident.id, subject_id=review.id))
    sheet.add_all(rows([draft, done if review.state is ReviewState.DUE else None]))
    word = {"opened": "opened", "before": "due soon", "after": "overdue"}[screen.when]
    return drawn(f"{named(incident)}: post-mortem {word}, due {review.due_at:%d %b %Y}. {text.sentence(title)}", sheet)
