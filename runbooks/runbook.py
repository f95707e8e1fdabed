"""The runbook: the typed header of one Markdown file (runbook-format.md), and its prose.

Only shapes stand here. What needs the catalogue of operations, the drill's alert or the prose is checked in `loading`.
"""

from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from runbooks.duration import Duration, Share, Threshold
from runbooks.incident import RunbookRef
from runbooks.operation import SEVERAL
from runbooks.run import MitigationEnd
from runbooks.severity import IncidentClass, Severity, Tier
from runbooks.value import Json, Slug

Text = Annotated[StrictStr, Field(min_length=1)]
"""Text that the file wrote as text: YAML 1.1 makes `on` true and `12:30` a number, and neither is taken here."""

StepId = Annotated[StrictStr, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=60)]
ParameterName = Annotated[StrictStr, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
"""Small letters, digits and underscores: a hyphen would mean minus in `{{ parameters.max-tokens }}`."""
LabelName = Annotated[StrictStr, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=80)]
"""A label's name as Prometheus writes it, so that `alert.labels.<name>` can say it."""
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Line = Annotated[StrictStr, Field(min_length=1, max_length=75, pattern=r"^[^\r\n]+$")]
"""One line that fits a button and a dialog's heading (75 characters, Slack's limit for a button's text)."""


LAST_KNOWN_GOOD = "last_known_good"
"""The newest release that is known to be good and not the present one; resolved to its version when the plan is made."""


class Part(BaseModel):
    """A part of the header: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Approvals(StrEnum):
    """How many *other* people must approve (rule S8)."""

    NONE = "none"
    ONE = "one"
    TWO = "two"

    @property
    def people(self) -> int:
        """0, 1 or 2."""
        return ("none", "one", "two").index(self.value)


class Otherwise(StrEnum):
    """What follows an inconclusive or failed verification that has no better answer."""

    ASK = "ask"
    UNDO = "undo"
    ESCALATE = "escalate"


class BlastRadius(Part):
    """What suffers while this lasts. Customers come from the first screen's diagnostic."""

    features: tuple[Text, ...] = ()
    downstream: tuple[Text, ...] = ()
    customers: Text | None = None


class FirstScreen(Part):
    """The card's answers: what broke (a template), who is affected (a diagnostic's id), the safe actions (ids)."""

    what_broke: Text
    customers: StepId
    safe_actions: tuple[StepId, ...] = Field(max_length=5)


class Diagnostic(Part):
    """A step that only reads."""

    id: StepId
    title: Line
    uses: Text
    with_: dict[str, Json] = Field(default={}, alias="with")
    bind: dict[str, Text] = {}
    unit: Text | None = None
    shows: Text | None = None
    empty: Text = "no data"
    limit: Threshold | None = None
    stage: Text | None = None


class Relative(Part):
    """A default relative to the present value; resolved at plan time to an absolute one (rule 11)."""

    relative: StrictInt


class Parameter(Part):
    """A parameter that a person may set. Bounds are absolute; beyond them there is no plan.

    A `release` is chosen from the known-good ones that the target's backend names, newest first; the default is the last known good.
    """

    type: Literal["integer", "number", "choice", "boolean", "target", "release"]
    title: Line
    default: Relative | Json = None
    minimum: Number | None = None
    maximum: Number | None = None
    choices: tuple[Json, ...] = ()


Ceiling = Annotated[StrictInt, Field(ge=1, le=1000)] | Annotated[StrictStr, Field(pattern=r"^([1-9][0-9]?|100)%$")]
"""How much may be touched at once: a number, or a share such as `50%`."""


class Guards(Part):
    """When the action may not run: too soon, too often in one incident, or unless measurements say so.

    `most` is how much it may touch at once, `floor` how many units must stay healthy (rule S13, `actions.radius`).
    """

    cooldown: Duration = 600.0
    at_most: StrictInt = Field(default=1, ge=1, le=100)
    requires: dict[StepId, Threshold] = {}
    most: Ceiling | None = None
    floor: StrictInt | None = Field(default=None, ge=0, le=100_000)


class Verify(Part):
    """When the action counts as having worked (rule S21)."""

    diagnostic: StepId
    settle: Duration = 60.0
    holds: Threshold
    for_: Duration = Field(alias="for", default=120.0)
    fails: Threshold | None = None
    within: Duration = 300.0
    otherwise: Otherwise = Otherwise.ASK


class Undo(Part):
    """How the action is taken back, and when it ends by itself. `not-possible` makes the action R3."""

    to: Literal["prior", "not-possible"]
    after: Duration | None = None
    then: MitigationEnd = MitigationEnd.ASK


class Cost(Part):
    """What it costs, in words. Each must be said, if only as `none`."""

    money: Text
    quality: Text
    latency: Text


class ProposeWhen(Part):
    """When Muster proposes the action by itself: `holds`, `up` or `down` against the `baseline`, all that is said throughout `for`.

    `up` and `down` compare with the same diagnostic's value one `baseline` earlier, as its source has it. Missing data is no reason.
    """

    diagnostic: StepId
    holds: Threshold | None = None
    up: Share | None = None
    down: Share | None = None
    baseline: Duration | None = None
    for_: Duration = Field(alias="for", default=120.0)


class Autonomy(Part):
    """What the action must have earned before it may run by itself, and how long everybody may stop it (rule S30).

    Absent: it is proposed, and a person decides. muster.yaml must allow it for the service as well.
    """

    clean_runs: StrictInt = Field(default=5, ge=3, le=100)
    countdown: Duration = 120.0


class ActionStep(Part):
    """One change of several that an action makes as one, in this order (rule S24)."""

    uses: Text
    with_: dict[str, Json] = Field(default={}, alias="with")
    targets: tuple[Text, ...] = ()


class Ramp(Part):
    """First one, then two, then four (rule S13): `pause` between the stages, then the verification's diagnostic is measured.

    `stop_when` ends it, as does `verify.fails`; what was done is then taken back in reverse.
    """

    pause: Duration = 60.0
    stop_when: Threshold | None = None


class CleanUp(Part):
    """What a bad release leaves behind and must be cleaned up after a rollback: measured, or done by a person (`manual` says what)."""

    title: Line
    diagnostic: StepId | None = None
    holds: Threshold | None = None
    manual: Text | None = None


class Action(Part):
    """A step that changes something: by one operation (`uses`), or by several as one (`steps`).

    With `ramp` and without `steps`, the operation is carried out on each of `targets`, and `with` leaves its target out.
    """

    id: StepId
    title: Line
    tier: Tier
    uses: Text = SEVERAL
    with_: dict[str, Json] = Field(default={}, alias="with")
    targets: tuple[Text, ...] = ()
    steps: tuple[ActionStep, ...] = Field(default=(), max_length=20)
    ramp: Ramp | None = None
    parameters: dict[ParameterName, Parameter] = {}
    approval: Approvals
    confirm: Literal["dialog", "card"] = "dialog"
    guards: Guards = Guards()
    verify: Verify
    undo: Undo
    cost: Cost
    cleanup: tuple[CleanUp, ...] = Field(default=(), max_length=20)
    propose_when: ProposeWhen | None = None
    autonomy: Autonomy | None = None

    @property
    def is_several(self) -> bool:
        """Whether it makes several changes as one."""
        return bool(self.steps) or self.ramp is not None

    @property
    def operation(self) -> str:
        """The operation that its plans name."""
        return SEVERAL if self.is_several else self.uses

    @property
    def rendered(self) -> tuple[Json, ...]:
        """Everything in it that is rendered with labels and parameters before it is sent."""
        return (*self.with_.values(), *(value for step in self.steps for value in step.with_.values()))


Condition = Literal[
    "not_acknowledged",
    "not_mitigated",
    "verification_failed",
    "customers_over",
    "data_at_risk",
    "safety_breach",
    "cost_over",
]


class EscalationRule(Part):
    """If `if` still holds `after` it began, page. `limit` belongs to `customers_over` and `cost_over`."""

    if_: Condition = Field(alias="if")
    after: Duration
    page: Text
    raise_to: Severity | None = None
    limit: Number | None = None


class Inject(Part):
    """A message into a drill, `after` its start, unless the named action has run."""

    after: Duration
    message: Text
    unless: StepId | None = None


class PassIf(Part):
    """Pass marks, as durations from the start of the drill."""

    acknowledged: Duration | None = None
    first_action: Duration | None = None
    verified: Duration | None = None


class WorldPlan(Part):
    """The simulated world that a drill starts in; keys and fault kinds are those that the simulation declares."""

    model_config = ConfigDict(frozen=True, extra="allow")
    fault: dict[str, Json]


class DrillPlan(Part):
    """How this runbook is rehearsed."""

    every: Duration = 90 * 86400.0
    alert: dict[str, Text]
    world: WorldPlan
    injects: tuple[Inject, ...] = ()
    expected: tuple[StepId, ...] = ()
    forbidden: tuple[StepId, ...] = ()
    pass_if: PassIf
    ends_after: Duration = 3600.0


class Header(Part):
    """The typed header, exactly as the file writes it."""

    format: Literal[1]
    id: Slug
    version: StrictInt = Field(ge=1)
    title: Line
    owner: Slug
    class_: IncidentClass = Field(alias="class")
    severity: Severity
    reviewed: date
    review_every: Duration = 180 * 86400.0
    labels: tuple[LabelName, ...] = ()
    blast_radius: BlastRadius = BlastRadius()
    match: tuple[dict[str, Text | tuple[Text, ...]], ...] = ()
    keywords: tuple[Text, ...] = ()
    fallback: StrictBool = False
    first_screen: FirstScreen
    links: dict[Text, Text] = {}
    diagnostics: tuple[Diagnostic, ...] = Field(min_length=1)
    actions: tuple[Action, ...] = ()
    escalation: tuple[EscalationRule, ...] = ()
    drill: DrillPlan


class Runbook(Part):
    """One immutable version: header, prose by heading, and the SHA-256 of the whole file."""

    header: Header
    body: str
    source: str
    hash: str
    path: str = ""

    @property
    def id(self) -> str:
        """The file's name without its ending."""
        return self.header.id

    @property
    def ref(self) -> RunbookRef:
        """What an incident, a run or a drill pins."""
        return RunbookRef(id=self.header.id, version=self.header.version, hash=self.hash)

    def action(self, step: str) -> Action | None:
        """The action with this id."""
        return next((action for action in self.header.actions if action.id == step), None)

    def diagnostic(self, step: str) -> Diagnostic | None:
        """The diagnostic with this id."""
        return next((diagnostic for diagnostic in self.header.diagnostics if diagnostic.id == step), None)

    def steps(self) -> Iterator[Diagnostic | Action]:
        """Diagnostics first, then actions."""
        yield from self.header.diagnostics
        yield from self.header.actions
