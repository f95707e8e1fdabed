"""What each screen shows, as data: drawn by `bot.slack.cards` and by pages, filled by flows. Words and numbers, never layout.

A screen holds everything that its drawing needs, so that a card is a pure function of the database and can be redrawn at any time.
"""

from typing import Literal

from runbooks.change import Suspect
from runbooks.drill import Drill
from runbooks.duration import Threshold
from runbooks.incident import Incident
from runbooks.operation import Measurement, Plan
from runbooks.people import Person
from runbooks.postmortem import FollowUp, Phases, Review
from runbooks.proposing import Suggestion
from runbooks.run import ActionRun, Mitigation
from runbooks.runbook import Parameter
from runbooks.severity import Severity, Tier
from runbooks.value import Json, Moment, Slug, Value


class ActionButton(Value):
    """An action on offer. `withheld` is the reason why it cannot be pressed now; the button then explains itself when clicked.

    `direct` means that one click runs it (rule S6, `confirm: card`); otherwise a dialog follows.
    """

    step: str
    title: str
    tier: Tier
    approvals: int
    direct: bool = False
    withheld: str | None = None
    plan_text: str = ""


class Shown(Value):
    """A measurement on the card, with the limit that it is held against and the stage of the service that it speaks of."""

    measurement: Measurement
    limit: Threshold | None = None
    stage: str | None = None

    @property
    def known(self) -> bool:
        """Whether there is an answer at all; no data is never zero and never good."""
        return self.measurement.error is None and (self.measurement.value is not None or bool(self.measurement.text.strip()))

    @property
    def over(self) -> bool:
        """Whether it was measured and is outside its limit."""
        value = self.measurement.value if self.known else None
        return value is not None and self.limit is not None and not self.limit.holds(value)


class Freshness(Value):
    """How far the runbook can be trusted (mission B4). `warning` comes first on the card when it is set."""

    runbook: str
    title: str
    version: int
    hash: str
    reviewed_days: int
    overdue: bool
    drilled_days: int | None = None
    drill_passed: bool | None = None
    failed_step: str | None = None
    used_days: int | None = None
    changed_days: int | None = None
    warning: str | None = None


class RunLine(Value):
    """A run with the mitigation that it left, if any, the people's names for its ids, and what is `measured` to verify it."""

    run: ActionRun
    mitigation: Mitigation | None = None
    by: Person | None = None
    measured: str = ""
    holds: Threshold | None = None
    hold_for: float = 0.0
    held_for: float = 0.0


ProposalButton = Literal["look", "run", "not_now", "stop"]


class ProposalShown(Value):
    """An action that Muster or a machine proposes. `by` begins the sentence, `outcome` is what became of it, in a sentence."""

    proposal: Suggestion
    by: str
    outcome: str = ""
    buttons: tuple[ProposalButton, ...] = ()


class IncidentCard(Value):
    """Screen 1: the card."""

    incident: Incident
    what_broke: str
    owner: str
    on_call: tuple[Person, ...] = ()
    affected: str
    commander: Person | None = None
    acknowledged_by: Person | None = None
    safe_actions: tuple[ActionButton, ...] = ()
    gated_actions: tuple[ActionButton, ...] = ()
    proposals: tuple[ProposalShown, ...] = ()
    diagnosis: tuple[Shown, ...] = ()
    diagnosing: bool = False
    measured_at: Moment | None = None
    suspects: tuple[Suspect, ...] = ()
    state_lines: tuple[str, ...] = ()
    runs: tuple[RunLine, ...] = ()
    mitigations: tuple[Mitigation, ...] = ()
    links: dict[str, str] = {}
    freshness: Freshness
    notes: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    button_expires_at: Moment
    drawn_at: Moment


class Loading(Value):
    """A dialog that has opened and waits for its contents."""

    title: str
    text: str


class PlanDialog(Value):
    """Screen 2: the click that counts. `refusal` takes the place of the button when the plan cannot run.

    `choices_shown` says by parameter how each of its choices is called, where that is more than its value.
    `approvers` names who is asked when approval is needed. `break_glass` offers to do without (rule S25), with a reason. `frozen` says
    what holds it up that this person may override, with a reason, too (rule S9). `anew` is a plan made again with what they chose.
    """

    incident: Incident
    run_id: int
    title: str
    plan: Plan
    plan_hash: str
    tier: Tier
    approvals: int
    approvers: str = ""
    parameters: dict[str, Parameter] = {}
    values: dict[str, Json] = {}
    choices_shown: dict[str, dict[str, str]] = {}
    refusal: str | None = None
    frozen: str = ""
    watch: str = ""
    ends_at: Moment | None = None
    reminder_at: Moment | None = None
    last_run: str = ""
    break_glass: bool = False
    anew: bool = False
    expires_at: Moment


class ApprovalRequest(Value):
    """The same plan, put to those who may approve. Redrawn when decided; then without buttons."""

    incident: Incident
    run: ActionRun
    plan: Plan
    requested_by: Person | None
    approvers: str
    until_at: Moment
    decided: str | None = None


class RunMessage(Value):
    """Screen 3: a run in the thread, redrawn as it goes on. `text` and `next_step` are whole sentences; `buttons` are closed words."""

    incident: Incident
    line: RunLine
    text: str
    next_step: str = ""
    buttons: tuple[Literal["undo", "extend", "keep", "worked", "failed", "escalate", "cancel"], ...] = ()


class ProposalMessage(Value):
    """A proposal in the thread, redrawn as it is answered. With a countdown it says when it runs, and anyone may stop it."""

    incident: Incident
    shown: ProposalShown


class Refusal(Value):
    """Screen 4: a sentence with the reason, who can help, what can be done instead. `reason` is its short name, for machines."""

    text: str
    reason: str = ""
    incident_id: int | None = None
    step: str | None = None
    offer: Literal["plan", "timeline", "none"] = "none"


class MoreDialog(Value):
    """Everything else that can be done about an incident. `owners` are teams by what they answer for in its service."""

    incident: Incident
    gated_actions: tuple[ActionButton, ...] = ()
    safe_actions: tuple[ActionButton, ...] = ()
    freshness: Freshness
    links: dict[str, str] = {}
    owners: dict[str, str] = {}
    expires_at: Moment


class MatchDialog(Value):
    """Why this runbook, what else was near, and a way to say that it is the wrong one."""

    incident: Incident
    runbook_title: str
    candidates: dict[str, str]


class SeverityDialog(Value):
    """Choose the severity."""

    incident: Incident
    choices: tuple[Severity, ...]


class NoteDialog(Value):
    """Write a status update: it goes into the thread and on the timeline."""

    incident: Incident


class DeclareDialog(Value):
    """Declare an incident by hand: title and severity, and the rest has defaults."""

    services: tuple[str, ...] = ()
    title: str = ""
    message_link: str | None = None
    channel: str | None = None


class ResolveDialog(Value):
    """Screen 5: what fixed it, and what becomes of each open mitigation."""

    incident: Incident
    proposed: str
    mitigations: tuple[Mitigation, ...] = ()
    people: tuple[Person, ...] = ()
    running: tuple[str, ...] = ()
    to_clean: tuple[str, ...] = ()


class ResolvedMessage(Value):
    """What stands in the thread when it is over."""

    incident: Incident
    phases: Phases
    worked: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()
    review: Review | None = None
    review_owner: Person | None = None
    draft_url: str | None = None
    redrill_at: Moment | None = None


class HandOverDialog(Value):
    """Choose who takes command."""

    incident: Incident


class MitigationNotice(Value):
    """A mitigation is about to end, or asks what should become of it."""

    incident: Incident
    mitigation: Mitigation
    owner: Person | None
    asks: bool
    text: str


class CleanUpMessage(Value):
    """What a rollback left to be cleaned up, and since when what it took away had its effect; ticked off one by one.

    `people` are names by id; `over` is why nothing of it is to be done any more.
    """

    incident: Incident
    run: ActionRun
    shown: tuple[str, ...] = ()
    exposed: str = ""
    people: dict[str, str] = {}
    over: str | None = None


class ExtendDialog(Value):
    """Until when a mitigation should stay."""

    incident: Incident
    mitigation: Mitigation
    proposed_at: Moment


class BreakerNotice(Value):
    """An action is out of service (rule S15), told to its owner; `decided` says who has put it back, and then nothing can be pressed.

    `text` is what happened, and true in both cases.
    """

    runbook_id: Slug
    step: str
    title: str
    text: str
    reasons: tuple[str, ...] = ()
    incident_id: int | None = None
    run_id: int | None = None
    since_at: Moment | None = None
    mentions: tuple[Person, ...] = ()
    decided: str | None = None


class ResetDialog(Value):
    """What was found, before an action goes back into service."""

    runbook_id: Slug
    step: str
    title: str
    failures: int
    incident_id: int | None = None
    run_id: int | None = None


class PauseShown(Value):
    """Everything is paused (rule S16): by whom, since when, why."""

    by: str
    since_at: Moment
    reason: str


class HomeScreen(Value):
    """Screen 6: App Home of one person. `next_drill_title` is what the rehearsed runbook is called."""

    person: Person | None
    pause: PauseShown | None = None
    proposals: tuple[ProposalMessage, ...] = ()
    out_of_service: tuple[BreakerNotice, ...] = ()
    waiting: tuple[str, ...] = ()
    approvals: tuple[ApprovalRequest, ...] = ()
    incidents: tuple[Incident, ...] = ()
    mitigations: tuple[tuple[Mitigation, Incident], ...] = ()
    reviews: tuple[tuple[Review, Incident], ...] = ()
    follow_ups: tuple[FollowUp, ...] = ()
    next_drill: Drill | None = None
    next_drill_title: str = ""
    on_call: dict[str, str] = {}
    links: dict[str, str] = {}
    drawn_at: Moment


class DrillInvitation(Value):
    """A drill is due: start it or move it."""

    drill: Drill
    runbook_title: str
    lead: Person | None
    overdue: bool = False
    decided: str | None = None


class DrillMoveDialog(Value):
    """Another date for a drill, within its quarter."""

    drill: Drill
    runbook_title: str
    latest_at: Moment


class DrillReport(Value):
    """How a drill went: findings, times, and what comes next. Teams are graded, never people."""

    drill: Drill
    runbook_title: str
    incident: Incident | None
    phases: Phases
    url: str | None = None


class ReviewNotice(Value):
    """A post-mortem is opened, due soon, or overdue."""

    review: Review
    incident: Incident
    owner: Person | None
    when: Literal["opened", "before", "after"]
    url: str | None = None


class Notice(Value):
    """Plain sentences, already complete. `mentions` are people to be named at the front."""

    text: str
    incident_id: int | None = None
    drill: bool = False
    mentions: tuple[Person, ...] = ()


class Page(Value):
    """Somebody is called: what broke, why they, what to do."""

    incident: Incident
    person: Person
    reason: str
    url: str | None = None


class Welcome(Value):
    """The demo's first minute, in the channel."""

    simulation_url: str
    steps: tuple[str, ...]


Dialog = (
    Loading
    | PlanDialog
    | MoreDialog
    | MatchDialog
    | SeverityDialog
    | NoteDialog
    | DeclareDialog
    | ResolveDialog
    | ExtendDialog
    | HandOverDialog
    | DrillMoveDialog
    | ResetDialog
    | Refusal
)
Message = (
    IncidentCard
    | ApprovalRequest
    | RunMessage
    | ProposalMessage
    | Refusal
    | ResolvedMessage
    | MitigationNotice
    | CleanUpMessage
    | DrillInvitation
    | DrillReport
    | ReviewNotice
    | BreakerNotice
    | Notice
    | Page
    | Welcome
)
Screen = Dialog | Message | HomeScreen
