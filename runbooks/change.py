"""A change that somebody made to the system: the first suspect of every incident (mission B2)."""

from enum import StrEnum

from runbooks.value import Moment, Value


class ChangeKind(StrEnum):
    """What was changed."""

    DEPLOY = "deploy"
    FLAG = "flag"
    MODEL = "model"
    PROMPT = "prompt"
    INDEX = "index"
    RELEASE = "release"
    CONFIGURATION = "configuration"


class ChangeState(StrEnum):
    """How far it is. Feeds that only report what is done say nothing, and mean `finished`."""

    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"


class Change(Value):
    """One change from the change feed. `key` makes a repeated delivery harmless; the end of a started one comes under its key."""

    key: str
    source: str
    kind: ChangeKind
    title: str
    service: str | None = None
    target: str | None = None
    author: str | None = None
    link: str | None = None
    state: ChangeState = ChangeState.FINISHED
    changed_at: Moment


class Suspect(Value):
    """A change, ranked: `score` 0..1, with the reason in words."""

    change: Change
    score: float
    reason: str
