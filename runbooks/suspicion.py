"""Which change is the likeliest cause: the first question at 2 a.m. is "what changed?" (mission B2)."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from runbooks.change import Change, ChangeKind, Suspect
from runbooks.duration import in_words
from runbooks.severity import IncidentClass

WINDOW = timedelta(hours=24)

_FITS: dict[IncidentClass, frozenset[ChangeKind]] = {
    IncidentClass.QUALITY: frozenset({ChangeKind.PROMPT, ChangeKind.MODEL, ChangeKind.RELEASE, ChangeKind.INDEX}),
    IncidentClass.SAFETY: frozenset({ChangeKind.PROMPT, ChangeKind.RELEASE, ChangeKind.CONFIGURATION, ChangeKind.FLAG}),
    IncidentClass.COST: frozenset({ChangeKind.PROMPT, ChangeKind.RELEASE, ChangeKind.FLAG, ChangeKind.CONFIGURATION}),
    IncidentClass.AVAILABILITY: frozenset({ChangeKind.DEPLOY, ChangeKind.RELEASE, ChangeKind.FLAG, ChangeKind.CONFIGURATION}),
    IncidentClass.DATA: frozenset({ChangeKind.INDEX, ChangeKind.DEPLOY}),
    IncidentClass.SECURITY: frozenset({ChangeKind.CONFIGURATION, ChangeKind.DEPLOY}),
}


def rank(changes: Iterable[Change], *, began_at: datetime, service: str | None, incident_class: IncidentClass) -> list[Suspect]:
    """Changes before the trouble began (and up to five minutes after, for clocks that differ), most suspect first.

    Nearness counts half and halves every half hour; the same service and a kind that usually causes this class of incident count
    the rest.
    """
    suspects = []
    for change in changes:
        before = began_at - change.changed_at
        if not -timedelta(minutes=5) <= before <= WINDOW:
            continue
        nearness = 0.5 ** (max(before.total_seconds(), 0.0) / 1800)
        same, fits = bool(service and change.service == service), change.kind in _FITS[incident_class]
        score = 0.5 * nearness + 0.3 * same + 0.2 * fits
        suspects.append(Suspect(change=change, score=round(score, 3), reason=_reason(before, same=same, fits=fits)))
    return sorted(suspects, key=_order)


def _order(suspect: Suspect) -> tuple[float, float, str]:
    """Most suspect first; of equals the later change, and then by key, so that a card is the same each time it is drawn."""
    return -suspect.score, -suspect.change.changed_at.timestamp(), suspect.change.key


def _reason(before: timedelta, *, same: bool, fits: bool) -> str:
    seconds = before.total_seconds()
    when = f"{in_words(seconds)} before" if seconds >= 0 else f"{in_words(-seconds)} after"
    return ", ".join([when, *(["same service"] if same else []), *(["a usual cause"] if fits else [])])
