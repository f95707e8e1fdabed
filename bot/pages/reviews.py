"""Post-mortems: what is due, and each as a document."""

from bot.flows.review import draft_of
from bot.pages.door import Asked, Download, Shown
from runbooks.document import markdown, phase_words
from storage import follow_ups, incidents, reviews, timeline
from storage.database import Tx


def listed(asked: Asked) -> Shown:
    """What is to be written, the next due first."""
    now = asked.muster.context.now()

    def find(tx: Tx) -> Shown:
        due = [(review, incidents.get(tx, review.incident_id)) for review in reviews.open_ones(tx)]
        due.sort(key=lambda pair: pair[0].due_at)
        return Shown(template="postmortems.html", title="Post-mortems", values={"due": due, "now": now})

    return asked.muster.database.read(find)


def shown(asked: Asked) -> Shown:
    """The document: each sentence with its entries, each gap with whom to ask."""
    number, now = asked.path["incident"], asked.muster.context.now()

    def find(tx: Tx) -> Shown:
        incident, made = draft_of(tx, number, asked.muster.context.directory)
        review = reviews.of_incident(tx, number)
        owner = asked.muster.context.directory.person(review.owner) if review else None
        values = {
            "incident": incident,
            "postmortem": made,
            "phases": phase_words(made.phases),
            "entries": {entry.seq: entry for entry in timeline.of(tx, number)},
            "review": review,
            "owner": owner.name if owner else (review.owner if review else ""),
            "overdue": review is not None and review.done_at is None and review.due_at < now,
            "follow_ups": follow_ups.of_incident(tx, number),
            "gaps": sum(len(section.gaps) for section in made.sections),
        }
        return Shown(template="postmortem.html", title=f"Post-mortem of {incident.ref}", values=values)

    return asked.muster.database.read(find)


def exported(asked: Asked) -> Download:
    """The document as Markdown."""
    incident, made = asked.muster.database.read(lambda tx: draft_of(tx, asked.path["incident"], asked.muster.context.directory))
    return Download(body=markdown(made, incident), media="text/markdown", name=f"{incident.ref}-postmortem.md")
