"""The post-mortem, drafted from the timeline alone: every sentence cites the entries it rests on (mission G1)."""

from collections.abc import Sequence
from enum import StrEnum

from runbooks.duration import in_words
from runbooks.timeline import Entry, EntryKind
from runbooks.value import Moment, Value


class ReviewState(StrEnum):
    """Where a post-mortem stands."""

    DUE = "due"
    DONE = "done"


class Review(Value):
    """The duty to write one post-mortem: who, until when, and which reminders were sent."""

    id: int
    incident_id: int
    owner: str
    state: ReviewState = ReviewState.DUE
    due_at: Moment
    opened_at: Moment
    reminded_before_at: Moment | None = None
    reminded_after_at: Moment | None = None
    done_at: Moment | None = None


class FollowUp(Value):
    """Something to be done after an incident, with an owner, a date and how to tell that it is done."""

    id: int
    incident_id: int
    title: str
    owner: str
    due_at: Moment
    closing_test: str = ""
    closed_at: Moment | None = None


class Sentence(Value):
    """One statement with the sequence numbers of the entries that it rests on; never without one."""

    text: str
    cites: tuple[int, ...]


class Section(Value):
    """A heading with its sentences; `gaps` are questions that only people can answer, each with whom to ask."""

    title: str
    sentences: tuple[Sentence, ...] = ()
    gaps: tuple[str, ...] = ()


class Phases(Value):
    """Durations in seconds from the beginning of the trouble; None is unknown and not zero (mission I2)."""

    detected: float | None = None
    acknowledged: float | None = None
    mitigated: float | None = None
    verified: float | None = None
    resolved: float | None = None


class Postmortem(Value):
    """The draft document of one incident."""

    incident_id: int
    title: str
    phases: Phases
    sections: tuple[Section, ...]


def phases_of(entries: Sequence[Entry]) -> Phases:
    """Durations from the first alert (else the opening) to the first entry of each kind; what has no entry is unknown."""
    first = _first_by_kind(entries)
    began = first.get(EntryKind.ALERT_FIRED) or first.get(EntryKind.INCIDENT_OPENED)
    if began is None:
        return Phases()

    def since(entry: Entry | None) -> float | None:
        return None if entry is None else max((entry.occurred_at - began.occurred_at).total_seconds(), 0.0)

    return Phases(
        detected=since(first.get(EntryKind.INCIDENT_OPENED)),
        acknowledged=since(first.get(EntryKind.INCIDENT_ACKNOWLEDGED)),
        mitigated=since(first.get(EntryKind.INCIDENT_MITIGATED)),
        verified=since(_verified(entries)),
        resolved=since(first.get(EntryKind.INCIDENT_RESOLVED)),
    )


def draft(*, incident_id: int, title: str, entries: Sequence[Entry], customers: str | None = None) -> Postmortem:
    """The draft from the entries alone: each sentence is made from the entries that it cites, and without them it is not there.

    `customers` is the diagnostic that says who is affected; the runbook's first screen names it.
    """
    return Postmortem(
        incident_id=incident_id,
        title=title,
        phases=phases_of(entries),
        sections=(
            _impact(entries, customers),
            _times(entries),
            _measured(entries, customers),
            _tried(entries),
            _worked(entries),
            _contributing(entries),
            _well(entries),
            _lucky(entries),
            _standing(entries),
            _cleaned(entries),
            _follow_ups(entries),
        ),
    )


def _owner(entries: Sequence[Entry]) -> str:
    """Whom to ask what the record cannot say: who owns the post-mortem, else who commanded, else who responded, by id."""
    for kind, name in ((EntryKind.REVIEW_OPENED, "owner"), (EntryKind.ROLE_TAKEN, "person")):
        if found := [str(entry.payload[name]) for entry in _of(entries, kind) if entry.payload.get(name)]:
            return found[-1]
    return _responders(entries) or "the owning team"


def _witnesses(entries: Sequence[Entry]) -> str:
    return _responders(entries) or _owner(entries)


def _responders(entries: Sequence[Entry]) -> str:
    """Everybody who did something, by id, in the order in which they came; empty where nobody did."""
    return ", ".join(dict.fromkeys(entry.actor.id for entry in entries if entry.actor.is_human))


def _first_by_kind(entries: Sequence[Entry]) -> dict[EntryKind, Entry]:
    first: dict[EntryKind, Entry] = {}
    for entry in entries:
        first.setdefault(entry.kind, entry)
    return first


def _of(entries: Sequence[Entry], *kinds: EntryKind) -> list[Entry]:
    return [entry for entry in entries if entry.kind in kinds and not entry.erased]


def _verified(entries: Sequence[Entry]) -> Entry | None:
    verdicts = _of(entries, EntryKind.RUN_VERDICT)
    return next((entry for entry in verdicts if entry.payload.get("verdict") == "verified"), None)


def _said(entry: Entry) -> Sentence:
    return Sentence(text=_sentence(entry.summary), cites=(entry.seq,))


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _answers(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in _of(entries, EntryKind.DIAGNOSTIC_MEASURED) if entry.payload.get("error") is None]


def _impact(entries: Sequence[Entry], customers: str | None) -> Section:
    affected = [_said(entry) for entry in _answers(entries) if customers and entry.payload.get("diagnostic") == customers]
    severities = [_said(entry) for entry in _of(entries, EntryKind.SEVERITY_SET)]
    ask = _owner(entries)
    gaps = [] if affected else [f"Who was affected, and how many? Nobody measured it. Ask {ask}."]
    gaps.append(f"What did it mean for them, in their words and in money? Ask {ask}.")
    return Section(title="Impact", sentences=(*affected, *severities), gaps=tuple(gaps))


def _measured(entries: Sequence[Entry], customers: str | None) -> Section:
    """What was measured when it began, and what could not be."""
    found = [_said(entry) for entry in _answers(entries) if not customers or entry.payload.get("diagnostic") != customers]
    missing = [
        Sentence(text=f"Not measured: {_sentence(entry.summary)}", cites=(entry.seq,))
        for entry in _of(entries, EntryKind.DIAGNOSTIC_MEASURED)
        if entry.payload.get("error") is not None
    ]
    return Section(title="What was measured", sentences=(*found, *missing))


_TIMES: tuple[tuple[EntryKind, str], ...] = (
    (EntryKind.INCIDENT_OPENED, "detected"),
    (EntryKind.INCIDENT_ACKNOWLEDGED, "acknowledged"),
    (EntryKind.INCIDENT_MITIGATED, "mitigated"),
    (EntryKind.INCIDENT_RESOLVED, "resolved"),
)


def _times(entries: Sequence[Entry]) -> Section:
    first = _first_by_kind(entries)
    began = first.get(EntryKind.ALERT_FIRED) or first.get(EntryKind.INCIDENT_OPENED)
    if began is None:
        return Section(title="Times", gaps=("When did it begin? No alert and no declaration is recorded.",))
    sentences, gaps = [Sentence(text=f"Began {_clock(began)}: {_sentence(began.summary)}", cites=(began.seq,))], []
    reached = [(first.get(kind) if kind else _verified(entries), word) for kind, word in (*_TIMES, (None, "proven to be over"))]
    for entry, word in sorted(reached, key=lambda one: (one[0] is None, one[0].occurred_at if one[0] else None, one[1])):
        if entry is None:
            gaps.append(f"When was it {word}? No entry says so. Ask {_owner(entries)}.")
        elif entry.seq != began.seq:
            took = in_words(max((entry.occurred_at - began.occurred_at).total_seconds(), 0.0))
            by = f" by {entry.actor.id}" if entry.actor.is_human else ""
            sentences.append(Sentence(text=f"{_upper(word)} {_clock(entry)}{by}, after {took}.", cites=(began.seq, entry.seq)))
    return Section(title="Times", sentences=tuple(sentences), gaps=tuple(gaps))


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _clock(entry: Entry) -> str:
    return f"{entry.occurred_at:%Y-%m-%d %H:%M:%S} UTC"


_TRIED = (
    EntryKind.RUN_REQUESTED,
    EntryKind.RUN_APPROVED,
    EntryKind.RUN_DECLINED,
    EntryKind.RUN_REFUSED,
    EntryKind.BREAK_GLASS,
    EntryKind.FREEZE_OVERRIDDEN,
    EntryKind.BREAKER_OPENED,
    EntryKind.BREAKER_RESET,
    EntryKind.RUN_EXECUTED,
    EntryKind.RUN_FAILED,
    EntryKind.RUN_UNKNOWN,
    EntryKind.RUN_RECONCILED,
    EntryKind.RUN_VERDICT,
    EntryKind.RUN_UNDONE,
    EntryKind.RUN_UNDO_REFUSED,
)


def _tried(entries: Sequence[Entry]) -> Section:
    """What was set about, and how it ended. A request that was carried out is told by that, and what was proven under "What worked"."""
    carried_out = {entry.payload.get("run") for entry in _of(entries, EntryKind.RUN_EXECUTED)}
    tried = tuple(
        _said(entry)
        for entry in _of(entries, *_TRIED)
        if not (entry.kind is EntryKind.RUN_REQUESTED and entry.payload.get("run") in carried_out)
        and entry.payload.get("verdict") != "verified"
    )
    gaps = () if tried else (f"What was done? No action ran through Muster. Ask {_witnesses(entries)}.",)
    return Section(title="What was tried", sentences=tried, gaps=gaps)


def _worked(entries: Sequence[Entry]) -> Section:
    proven = [_said(entry) for entry in _of(entries, EntryKind.RUN_VERDICT) if entry.payload.get("verdict") == "verified"]
    return Section(title="What worked", sentences=(*proven, *(_said(entry) for entry in _of(entries, EntryKind.INCIDENT_RESOLVED))))


def _contributing(entries: Sequence[Entry]) -> Section:
    suspects = tuple(
        Sentence(text=f"Changed shortly before: {_sentence(entry.summary)}", cites=(entry.seq,))
        for entry in _of(entries, EntryKind.CHANGE_SEEN)
    )
    gap = f"Why did it happen, and why was it not noticed before? Muster knows what changed, not why it broke. Ask {_owner(entries)}."
    return Section(title="Contributing factors", sentences=suspects, gaps=(gap,))


QUICK = 300.0
"""Seconds within which an acknowledgement went well."""


def _well(entries: Sequence[Entry]) -> Section:
    sentences = []
    first = _first_by_kind(entries)
    opened, taken = first.get(EntryKind.INCIDENT_OPENED), first.get(EntryKind.INCIDENT_ACKNOWLEDGED)
    if opened and taken and (waited := (taken.occurred_at - opened.occurred_at).total_seconds()) <= QUICK:
        sentences.append(Sentence(text=f"Somebody took it {in_words(waited)} after it was opened.", cites=(opened.seq, taken.seq)))
    if entry := _verified(entries):
        sentences.append(Sentence(text="The recovery was measured and not assumed.", cites=(entry.seq,)))
    return Section(title="What went well", sentences=tuple(sentences), gaps=(f"What else went well? Ask {_witnesses(entries)}.",))


def _lucky(entries: Sequence[Entry]) -> Section:
    sentences = tuple(
        Sentence(text=f"It did not end worse: {_sentence(entry.summary)}", cites=(entry.seq,))
        for entry in _of(entries, EntryKind.RUN_UNKNOWN, EntryKind.PAGE_FAILED, EntryKind.ESCALATED)
    )
    return Section(title="Where we were lucky", sentences=sentences, gaps=(f"Where were we lucky? Ask {_witnesses(entries)}.",))


def _standing(entries: Sequence[Entry]) -> Section:
    ended = {entry.payload.get("mitigation") for entry in _of(entries, EntryKind.MITIGATION_ENDED, EntryKind.MITIGATION_KEPT)}
    opened = [entry for entry in _of(entries, EntryKind.MITIGATION_OPENED) if entry.payload.get("mitigation") not in ended]
    return Section(title="Still in force", sentences=tuple(_said(entry) for entry in opened))


def _cleaned(entries: Sequence[Entry]) -> Section:
    """What a bad release left behind, since when it had its effect, what was cleaned up, and what is still open and with whom."""
    opened = _of(entries, EntryKind.CLEANUP_OPENED)
    done = _of(entries, EntryKind.CLEANUP_DONE)
    handed = _of(entries, EntryKind.CLEANUP_HANDED)
    clean = {(entry.payload.get("run"), entry.payload.get("item")) for entry in done}
    taken_back = {entry.payload.get("run") for entry in _of(entries, EntryKind.RUN_UNDONE)}
    gaps = [
        f"Is this cleaned up: {item}? Ask {_carrier(handed, entry) or _owner(entries)}."
        for entry in opened
        if entry.payload.get("run") not in taken_back
        for item in entry.payload.get("items") or ()
        if (entry.payload.get("run"), item) not in clean
    ]
    gaps += [
        f"What did it expose, and to whom, in the time before {'the rollback' if entry.payload.get('exposed_from') else 'it was found'}? "
        f"Ask {_owner(entries)}."
        for entry in opened
    ]
    return Section(title="Clean-up", sentences=tuple(_said(entry) for entry in (*opened, *done, *handed)), gaps=tuple(gaps))


def _carrier(handed: Sequence[Entry], opened: Entry) -> str:
    run = opened.payload.get("run")
    return next((str(entry.payload["carrier"]) for entry in handed if entry.payload.get("run") == run), "")


def _follow_ups(entries: Sequence[Entry]) -> Section:
    """What the record itself asks for: wrong runbooks, failed verifications, undone runs; and what people added."""
    sentences = [_said(entry) for entry in _of(entries, EntryKind.FOLLOW_UP_ADDED)]
    for kind, duty in (
        (EntryKind.RUNBOOK_REJECTED, "Mend the matching"),
        (EntryKind.RUN_VERDICT, "Find out why"),
        (EntryKind.BREAK_GLASS, "Review the use of break-glass"),
        (EntryKind.FREEZE_OVERRIDDEN, "Review the override of the freeze"),
    ):
        sentences += [
            Sentence(text=f"{duty}: {_sentence(entry.summary)}", cites=(entry.seq,))
            for entry in _of(entries, kind)
            if entry.payload.get("verdict") != "verified"
        ]
    gaps = () if sentences else (f"What should be done so that it does not happen again, by whom, until when? Ask {_owner(entries)}.",)
    return Section(title="Follow-ups", sentences=tuple(sentences), gaps=gaps)
