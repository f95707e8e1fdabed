"""What is proposed to people: the suggestion, and whether a declared condition holds (mission D4, rules S28, S30).

A suggestion changes nothing. Muster makes one where a runbook's `propose_when` holds; a language model may make one, with its sources.
"""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum

from runbooks.errors import TransitionRefused
from runbooks.incident import RunbookRef
from runbooks.run import Sample
from runbooks.runbook import ProposeWhen
from runbooks.value import Json, Moment, Value

LONGEST_GAP = 180.0
"""Seconds between two measurements after which nobody can say that something held "throughout": three rounds of a card."""

MOST_SOURCES = 5
TOKEN = "token:"  # noqa: S105 - what the id of a machine begins with; no person's id has a colon
"""Machines and people have names of different shapes, so that a token called ana is never taken for ana."""


class Level(StrEnum):
    """How far an action goes by itself (rule S30): a line, a line with one click, a countdown that anyone may stop."""

    SUGGEST = "suggest"
    ONE_CLICK = "one click"
    AUTOMATIC = "automatic"


class SuggestionState(StrEnum):
    """See `NEXT` for where each may go."""

    OPEN = "open"
    COUNTING = "counting down"
    TAKEN = "taken"
    BEGUN = "begun"
    STOPPED = "stopped"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


S = SuggestionState
NEXT: dict[SuggestionState, frozenset[SuggestionState]] = {
    S.OPEN: frozenset({S.TAKEN, S.DECLINED, S.WITHDRAWN, S.EXPIRED}),
    S.COUNTING: frozenset({S.OPEN, S.TAKEN, S.BEGUN, S.STOPPED, S.WITHDRAWN}),
    S.BEGUN: frozenset({S.STOPPED}),
    S.TAKEN: frozenset(),
    S.STOPPED: frozenset(),
    S.DECLINED: frozenset(),
    S.WITHDRAWN: frozenset(),
    S.EXPIRED: frozenset(),
}
"""Every transition there is. A countdown that a guard ends becomes an open suggestion: then a person decides."""

STANDING = frozenset({S.OPEN, S.COUNTING})


class Source(Value):
    """What a suggestion rests on. All of it is somebody's text: shown as such, escaped, and never followed."""

    title: str
    link: str | None = None
    quote: str = ""


class Suggestion(Value):
    """An action that is proposed in one incident.

    `by` is `muster`, or `token:` and the name of a machine's token; `answers` is the person who answers for it. `change` is the plan in
    words, as it was when it was proposed. `runs_at` is when it runs by itself unless somebody stops it, and `run_id` the run that waits
    for that. `note` says why it no longer runs by itself.
    """

    id: int
    incident_id: int
    runbook: RunbookRef
    step: str
    title: str
    state: SuggestionState
    level: Level
    by: str
    answers: str | None = None
    reason: str
    change: str = ""
    parameters: dict[str, Json] = {}
    sources: tuple[Source, ...] = ()
    made_at: Moment
    runs_at: Moment | None = None
    run_id: int | None = None
    note: str = ""
    ended_at: Moment | None = None
    ended_by: str | None = None
    ended_why: str = ""

    @property
    def stands(self) -> bool:
        """Whether something can still come of it."""
        return self.state in STANDING

    @property
    def from_machine(self) -> bool:
        """Whether a language model or another machine proposed it, and not the runbook."""
        return self.by.startswith(TOKEN)

    def to(self, state: SuggestionState, **update: object) -> "Suggestion":
        """The suggestion in its next state; refused where the table has no such step."""
        if state not in NEXT[self.state]:
            raise TransitionRefused(f"The proposal of {self.title} is {self.state.value}; it cannot become {state.value}.")
        return self.model_copy(update={"state": state, **update})


class Finding(Value):
    """By what a condition holds: the newest value, the baseline's where one is declared, and for how many seconds it has held."""

    value: float
    baseline: float | None
    held_for: float

    @property
    def share(self) -> float | None:
        """How far the value is above the baseline, as a ratio; negative below it."""
        return None if not self.baseline else self.value / self.baseline - 1


def finding(when: ProposeWhen, samples: Sequence[Sample], *, baseline: float | None, now: Moment) -> Finding | None:
    """Whether the condition holds now and has throughout `for`; None where it does not, or where nobody can say.

    Missing data breaks the streak, and so does a gap between samples. A baseline of zero, or none, proves nothing.
    """
    seen = sorted((sample for sample in samples if sample.at <= now), key=lambda sample: sample.at, reverse=True)
    if not seen or now - seen[0].at > timedelta(seconds=LONGEST_GAP):
        return None
    first = last = None
    for sample in seen:
        gap = first is not None and (first.at - sample.at).total_seconds() > LONGEST_GAP
        if gap or sample.value is None or not satisfied(when, sample.value, baseline=baseline):
            break
        first, last = sample, last or sample
    if first is None or last is None or last.value is None:
        return None
    held = (last.at - first.at).total_seconds()
    return Finding(value=last.value, baseline=baseline, held_for=held) if held >= when.for_ else None


def satisfied(when: ProposeWhen, value: float, *, baseline: float | None) -> bool:
    """Whether one value is as the condition says: all of it that is declared."""
    if when.holds is not None and not when.holds.holds(value):
        return False
    if when.up is None and when.down is None:
        return when.holds is not None
    if baseline is None or baseline <= 0:
        return False
    if when.up is not None and value < baseline * (1 + when.up):
        return False
    return when.down is None or value <= baseline * (1 - when.down)
