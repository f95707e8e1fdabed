"""What the API takes and gives beside the core's own nouns, which it shows as they are."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from runbooks.alert import AlertStatus
from runbooks.drill import Drill, Finding
from runbooks.incident import Incident, IncidentStatus, RunbookRef
from runbooks.people import Person
from runbooks.postmortem import Phases, Postmortem, Review
from runbooks.run import ActionRun
from runbooks.screens import ActionButton, PlanDialog
from runbooks.severity import IncidentClass, Severity
from runbooks.timeline import Broken, Entry
from runbooks.value import Json, Moment, Value

T = TypeVar("T")
Sentence = Annotated[str, Field(min_length=1, max_length=2900)]


class Asked(BaseModel):
    """What a caller sends: an unknown field is an error, so that a slip of the pen never means something else."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Items(BaseModel, Generic[T]):
    """A list."""

    items: tuple[T, ...]


class Done(Value):
    """What was done, in a sentence, and how the thing stands now."""

    said: str = ""
    incident: Incident | None = None
    run: ActionRun | None = None
    drill: Drill | None = None


class IncidentQuery(Asked):
    """Each field narrows the list; latest first."""

    status: IncidentStatus | None = None
    severity: Severity | None = None
    service: str | None = None
    open: bool | None = None
    drills: bool | None = None
    limit: int = Field(default=50, ge=1, le=500)


class Declare(Asked):
    """A new incident in words."""

    title: Annotated[str, Field(min_length=1, max_length=140)]
    severity: Severity | None = None
    service: str | None = None


class Resolve(Asked):
    """`mitigations` says for each that still stands, by id, what becomes of it; `carrier` is the id of who takes over what is handed on."""

    resolution: Sentence
    mitigations: dict[str, Literal["revert", "keep", "hand"]] = {}
    carrier: str | None = None


class SetSeverity(Asked):
    """Another severity."""

    severity: Severity


class Note(Asked):
    """A status update: it goes into the thread and on the timeline."""

    text: Sentence


class HandOver(Asked):
    """Who takes command, by id."""

    person: str


class WrongRunbook(Asked):
    """The runbook that fits better."""

    runbook: str


class TimelineQuery(Asked):
    """The form of the timeline."""

    format: Literal["json", "jsonl", "md", "csv"] = "json"


class Timeline(Value):
    """The entries of one incident, in the order in which they were recorded."""

    incident: Incident
    entries: tuple[Entry, ...]


class VerifyQuery(Asked):
    """`head` is one that an earlier report gave: it must still be part of the chain."""

    head: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


class Verified(Value):
    """Whether the record holds, what is broken, and the head to keep elsewhere."""

    ok: bool
    incidents: int
    entries: int
    head: str
    broken: tuple[Broken, ...]


class DocumentQuery(Asked):
    """The form of the document."""

    format: Literal["json", "md"] = "json"


class Draft(Value):
    """A post-mortem with the duty to finish it, where there is one."""

    incident: Incident
    postmortem: Postmortem
    review: Review | None = None


class Duty(Value):
    """A post-mortem that is due, with its incident."""

    review: Review
    incident: Incident
    overdue: bool


class Offered(Value):
    """An action of the incident's runbook; `safe` needs no further approval by the runbook's word."""

    action: ActionButton
    safe: bool


class PlanAction(Asked):
    """Parameters by name; what is left out has the runbook's default."""

    parameters: dict[str, Json] = {}


class Planned(Value):
    """A run with its plan. `screen` is what a person would see before the click that counts; None while the plan is being made."""

    run: ActionRun
    plan_hash: str | None = None
    refusal: str | None = None
    screen: PlanDialog | None = None


class Confirm(Asked):
    """The click that counts. `plan_hash` is of the plan that was shown; another one is refused."""

    plan_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    break_glass: str | None = None
    override_freeze: str | None = None


class Decide(Asked):
    """A second person's word on exactly this plan."""

    plan_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    granted: bool = True


class Reset(Asked):
    """What was found before an action goes back into service."""

    reason: Annotated[str, Field(min_length=1, max_length=1_000)]


class Cleaned(Asked):
    """One line of a run's clean-up, counted from 0."""

    item: int = Field(ge=0, le=100)


class SayVerdict(Asked):
    """A person's word where measuring could not tell."""

    worked: bool


class Extend(Asked):
    """Until when it should stay, at most two weeks ahead."""

    until: Moment


class DrillQuery(Asked):
    """Each field narrows the list."""

    runbook: str | None = None
    slot: Annotated[str, Field(pattern=r"^\d{4}-Q[1-4]$")] | None = None


class PlanDrill(Asked):
    """The runbook to rehearse in this quarter."""

    runbook: str


class MoveDrill(Asked):
    """Another day within its quarter."""

    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class DrillReported(Value):
    """How a drill went."""

    drill: Drill
    title: str
    findings: tuple[Finding, ...]
    phases: Phases
    incident: Incident | None


class RunbookLine(Value):
    """A runbook in the list."""

    ref: RunbookRef
    title: str
    owner: str
    incident_class: IncidentClass
    severity: Severity
    reviewed_days: int
    overdue: bool
    drilled_days: int | None
    drill_passed: bool | None
    warning: str | None
    fallback: bool


class RunbookShown(Value):
    """One runbook whole: its header as the file writes it, its prose, its versions, and how far its actions go by themselves."""

    line: RunbookLine
    header: dict[str, Any]
    body: str
    versions: tuple[RunbookRef, ...]
    autonomy: tuple[str, ...] = ()


class TakeOut(Asked):
    """Why somebody needs the words in evidence, or has them erased."""

    reason: Annotated[str, Field(min_length=1, max_length=300)]


class EvidencePiece(Value):
    """A piece of evidence, its bytes in base64."""

    sha256: str
    base64: str


class Damage(Value):
    """Evidence that no longer is what its digest says."""

    sha256: str
    reason: str


class Pause(Asked):
    """Stop everything that Muster does to the world; pages still go out."""

    reason: Annotated[str, Field(min_length=1, max_length=300)]


class Retry(Asked):
    """Try again what was given up."""

    reason: Annotated[str, Field(min_length=1, max_length=300)]


class Paused(Value):
    """Whether everything is paused, by whom, since when and why."""

    paused: bool
    by: str | None = None
    since_at: Moment | None = None
    reason: str | None = None


class Status(Value):
    """How Muster itself is. `running` is false where nobody serves: tasks wait then. `now` is the time by which things fall due."""

    running: bool
    now: Moment
    trouble: tuple[str, ...]
    paused: Paused
    you: Person | None
    may_write: bool
    open_incidents: int
    runs_in_flight: int
    tasks_open: int
    tasks_dead: int
    overdue_seconds: float


class AlertQuery(Asked):
    """The incident whose alerts are wanted."""

    incident: int


class AlertShown(Value):
    """One alert of an incident, as its source says it."""

    source: str
    fingerprint: str
    incident_id: int | None
    status: AlertStatus
    title: str
    starts_at: Moment
    ends_at: Moment | None
    last_at: Moment
    count: int
    labels: dict[str, str]
    link: str | None


class TaskShown(Value):
    """A promise that was given up, with the last error."""

    id: int
    kind: str
    key: str
    attempts: int
    ended_at: Moment | None
    error: str | None
    args: dict[str, Json]


class Advance(Asked):
    """Drive the clocks of the demo forward."""

    seconds: Annotated[float, Field(gt=0, le=86_400 * 400)]


class Advanced(Value):
    """The present afterwards."""

    now: Moment


class Empty(Asked):
    """Nothing needs to be said."""
