"""The post-mortem, drafted from the timeline alone: every sentence cites the entries it rests on (mission G1)."""

from enum import StrEnum

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
