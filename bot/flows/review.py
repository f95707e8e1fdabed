"""The post-mortem as a duty: an owner, a due date in business days, one reminder before and one after (mission G3, path B)."""

from datetime import datetime, timedelta

from bot.flows.context import Context
from bot.flows.records import entry, say
from bot.flows.sweeping import PUT_OFF, each
from runbooks.calendar import add_business_days
from runbooks.incident import Incident
from runbooks.naming import named
from runbooks.people import Actor, Directory
from runbooks.postmortem import Postmortem, Review, ReviewState, draft
from runbooks.screens import ReviewNotice
from runbooks.timeline import EntryKind
from runbooks.value import Json
from storage import incidents, ledger, reviews, runbook_versions, runs, tasks, timeline
from storage.database import Tx

REMIND_BEFORE = timedelta(days=1)

GLASS_DAYS = 5
"""Business days for the review of a change that went without approval, where the severity alone asks for none (rule S25)."""


def open_review(tx: Tx, ctx: Context, incident: Incident, *, now: datetime) -> Review | None:
    """The duty to write a post-mortem, when the severity asks for one. The commander owns it, else who resolved it."""
    days = ctx.policy.review_days.get(incident.severity) or _for_broken_glass(tx, incident)
    if days is None or incident.is_drill or reviews.of_incident(tx, incident.id):
        return None
    owner = incident.commander or incident.resolved_by or incident.owner or "nobody"
    due_at = add_business_days(now, days, zone=ctx.policy.time_zone, holidays=ctx.policy.holidays)
    review = reviews.add(
        tx, Review(id=0, incident_id=incident.id, owner=owner, due_at=due_at, opened_at=now), next_at=due_at - REMIND_BEFORE
    )
    said = entry(
        EntryKind.REVIEW_OPENED, f"Post-mortem due {due_at:%Y-%m-%d}, owner {owner}.", now=now, owner=owner, due_at=due_at.isoformat()
    )
    ledger.record(tx, incident.id, [said], now=now)
    return review


def _for_broken_glass(tx: Tx, incident: Incident) -> int | None:
    return GLASS_DAYS if any(run.break_glass for run in runs.of_incident(tx, incident.id)) else None


def sweep(ctx: Context) -> int:
    """Remind once a day before and once when overdue; overdue also goes to the owning team's channel."""

    def work(tx: Tx) -> int:
        now = ctx.now()
        due = reviews.due(tx, now, limit=50)
        return each(tx, due, lambda review: _remind(tx, ctx, review, now=now), put_off=lambda one: reviews.wake(tx, one.id, now + PUT_OFF))

    return ctx.write_if(lambda tx: reviews.due(tx, ctx.now(), limit=1), work, name="review")


def _remind(tx: Tx, ctx: Context, review: Review, *, now: datetime) -> None:
    if review.state is ReviewState.DONE:
        reviews.save(tx, review, was=review.state, next_at=None)
    elif now >= review.due_at and review.reminded_after_at is None:
        _tell(tx, ctx, review.model_copy(update={"reminded_after_at": now}), "after", next_at=None, now=now)
    elif review.reminded_before_at is None and now < review.due_at:
        _tell(tx, ctx, review.model_copy(update={"reminded_before_at": now}), "before", next_at=review.due_at, now=now)
    else:
        reviews.save(tx, review, was=review.state, next_at=review.due_at if now < review.due_at else None)


def _tell(tx: Tx, ctx: Context, review: Review, when: str, *, next_at: datetime | None, now: datetime) -> None:
    reviews.save(tx, review, was=review.state, next_at=next_at)
    word = "is overdue" if when == "after" else "is due tomorrow"
    said = entry(EntryKind.REVIEW_REMINDED, f"The post-mortem {word}; {review.owner} was reminded.", now=now, when=when)
    ledger.record(tx, review.incident_id, [said], now=now)
    key = f"review:{review.id}:{when}"
    tasks.enqueue(tx, say(key=f"{key}:thread", screen="review", incident_id=review.incident_id, review=review.id, when=when))
    owner = ctx.directory.person(review.owner)
    if owner and owner.slack_id:
        tasks.enqueue(
            tx, say(key=f"{key}:owner", screen="review", lane=f"dm:{owner.slack_id}", review=review.id, when=when, to=owner.slack_id)
        )


def finish(tx: Tx, review_id: int, *, by: Actor, now: datetime) -> Review:
    """The post-mortem is written. A second time changes nothing."""
    review = reviews.get(tx, review_id)
    if review.state is ReviewState.DONE:
        return review
    done = review.model_copy(update={"state": ReviewState.DONE, "done_at": now})
    reviews.save(tx, done, was=review.state, next_at=None)
    said = entry(EntryKind.NOTE_ADDED, f"The post-mortem is finished, says {by.id}.", now=now, actor=by)
    ledger.record(tx, review.incident_id, [said], now=now)
    return done


def review_notice(tx: Tx, ctx: Context, args: dict[str, Json]) -> ReviewNotice | None:
    """The message about a post-mortem that is due."""
    review = reviews.get(tx, int(args["review"]))
    if review.state is ReviewState.DONE:
        return None
    return ReviewNotice(
        review=review,
        incident=incidents.get(tx, review.incident_id),
        owner=ctx.directory.person(review.owner),
        when=args["when"],
        url=ctx.page_url(f"/postmortems/{review.incident_id}"),
    )


def draft_of(tx: Tx, incident_id: int, directory: Directory) -> tuple[Incident, Postmortem]:
    """The draft of one incident's post-mortem, made anew from its entries, with people by their names."""
    incident = incidents.get(tx, incident_id)
    customers = runbook_versions.get(tx, incident.match.runbook).header.first_screen.customers
    entries = named(timeline.of(tx, incident_id), {person.id: person.name for person in directory.people})
    return incident, draft(incident_id=incident.id, title=incident.title, entries=entries, customers=customers)
