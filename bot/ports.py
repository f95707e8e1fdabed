"""What flows need from outside: a clock, a way to speak, and who is on duty. Implemented in `bot.slack`, `bot.engine` and `bot.oncall`."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol

from runbooks.errors import MusterError
from runbooks.people import Person
from runbooks.screens import Dialog, HomeScreen, Message
from runbooks.value import Json


class Clock(Protocol):
    """The present for business due times: aware, UTC; the database's time plus an offset in the demo and in tests."""

    def now(self) -> datetime:
        """The present."""
        ...


class DeliveryError(MusterError):
    """A message did not get through.

    `certain` says that it was surely not delivered; otherwise it may have been, and the next attempt looks first. `retry_after`
    is seconds, when the far side named them. `permanent` means that trying again cannot help (channel gone, not invited).
    """

    def __init__(self, message: str, *, certain: bool, retry_after: float | None = None, permanent: bool = False) -> None:
        self.certain, self.retry_after, self.permanent = certain, retry_after, permanent
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where a message stands: Slack's channel id and timestamp."""

    channel: str
    ts: str


class Messenger(Protocol):
    """Speaks. Every method is one call to the outside and may raise `DeliveryError`."""

    def post(self, screen: Message, *, channel: str, key: str, thread: str | None = None, look_first: bool = False) -> Location:
        """Post once. With `look_first`, search the channel's history for `key` before posting."""
        ...

    def update(self, screen: Message, *, at: Location, key: str) -> None:
        """Redraw a message in place, `text` and blocks together."""
        ...

    def whisper(self, screen: Message, *, channel: str, slack_id: str, thread: str | None = None) -> None:
        """An ephemeral line for one person. At most once."""
        ...

    def direct(self, screen: Message, *, slack_id: str, key: str, look_first: bool = False) -> Location:
        """A direct message to one person."""
        ...

    def view(self, screen: Dialog, *, view_id: str) -> None:
        """Replace an open dialog. At most once: the dialog may be closed by now, which is no error."""
        ...

    def home(self, screen: HomeScreen, *, slack_id: str) -> None:
        """Publish one person's App Home."""
        ...


class OnCall(Protocol):
    """Who is on duty."""

    def on_call(self, team: str, at: datetime) -> tuple[Person, ...]:
        """The people on duty for a team, first to be tried first; empty when nobody is."""
        ...

    def rotation(self, name: str, at: datetime) -> tuple[Person, ...]:
        """The people behind a paging target such as `ml-platform-primary`."""
        ...


class PressKind(StrEnum):
    """What a button, a menu entry or a dialog's submit button means. A closed list; `bot.slack.intents` writes and reads it."""

    PLAN = "plan"  # open the plan of a step
    RUN_NOW = "run_now"  # one click on the card (rule S6, confirm: card)
    CONFIRM = "confirm"  # submit of PlanDialog
    APPROVE = "approve"
    DECLINE = "decline"
    CANCEL = "cancel"  # the requester or an approver cancels it before it starts
    UNDO = "undo"
    EXTEND = "extend"  # opens ExtendDialog
    EXTEND_TO = "extend_to"  # its submit
    KEEP = "keep"
    REVERT = "revert"
    WORKED = "worked"
    NOT_WORKED = "not_worked"
    ESCALATE = "escalate"
    ACKNOWLEDGE = "acknowledge"
    TAKE_COMMAND = "take_command"
    HAND_OVER = "hand_over"  # opens HandOverDialog
    HAND_OVER_TO = "hand_over_to"
    MORE = "more"
    WHY = "why"  # opens MatchDialog
    WRONG_RUNBOOK = "wrong_runbook"  # its submit
    SEVERITY = "severity"
    SET_SEVERITY = "set_severity"
    NOTE = "note"
    ADD_NOTE = "add_note"
    RESOLVE = "resolve"
    RESOLVE_AS = "resolve_as"
    DECLARE = "declare"
    DECLARE_AS = "declare_as"
    DRILL_START = "drill_start"
    DRILL_MOVE = "drill_move"
    DRILL_MOVE_TO = "drill_move_to"
    DRILL_ABORT = "drill_abort"
    REVIEW_DONE = "review_done"
    CLEANED = "cleaned"  # one thing of a clean-up is done; `subject_id` is its place in the list
    PROPOSED_LOOK = "proposed_look"  # the plan of what is proposed
    PROPOSED_RUN = "proposed_run"  # do not wait for its countdown
    PROPOSED_STOP = "proposed_stop"
    NOT_NOW = "not_now"
    EXPLAIN = "explain"  # a withheld action says why
    RESET = "reset"  # an action is out of service: opens ResetDialog
    RESET_WITH = "reset_with"  # its submit, with what was found
    PAUSE = "pause"
    RESUME = "resume"
    UNREADABLE = "unreadable"  # a button that Muster did not write, or that was changed on its way
    LINK = "link"  # a button that only opens an address; acknowledged, nothing else


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """What was pressed, decoded. `runbook` and `version` are those of the card that carried the button (rule S10)."""

    kind: PressKind
    incident_id: int | None = None
    step: str | None = None
    run_id: int | None = None
    subject_id: int | None = None  # mitigation, drill, review or proposal
    plan_hash: str | None = None
    runbook: str | None = None
    version: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who acts, and from where. `slack_id` is resolved to a person by the directory only; never by name (rule S4).

    `at_home` says that it was pressed in App Home, which is then drawn anew.
    """

    slack_id: str | None
    person: Person | None = None
    via: Literal["slack", "cli", "api"] = "slack"
    channel: str | None = None
    message_ts: str | None = None
    thread_ts: str | None = None
    view_id: str | None = None
    at_home: bool = False
    interaction: str | None = None  # trigger id or event id: the same one twice is one press


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the person sees at once. `errors` are by form field and keep the dialog open; `replace` shows `dialog` in the same window.

    Where `then` is set, the front opens `dialog`, and calls `Front.opened(then, view_id, visitor)` with the window's id, so that a
    task can fill it.
    """

    dialog: Dialog | None = None
    whisper: Message | None = None
    errors: dict[str, str] = field(default_factory=dict)
    then: Press | None = None


class Front(Protocol):
    """The product's face to Slack, the command line and the API: each call is one short transaction without network."""

    def press(self, press: Press, visitor: Visitor) -> Reply:
        """A button or a menu entry."""
        ...

    def submit(self, press: Press, form: dict[str, Json], visitor: Visitor) -> Reply:
        """A dialog's submit button with its fields."""
        ...

    def opened(self, press: Press, view_id: str, visitor: Visitor) -> None:
        """A loading dialog stands open under this id and waits to be filled."""
        ...

    def command(self, text: str, visitor: Visitor) -> Reply:
        """`/muster …` or `@Muster …`."""
        ...

    def shortcut(self, callback_id: str, message: dict[str, Json] | None, visitor: Visitor) -> Reply:
        """`declare_incident`, `declare_from_message`, `add_to_timeline`."""
        ...

    def event(self, kind: str, event: dict[str, Json], *, event_id: str, visitor: Visitor) -> None:
        """A Slack event: home opened, reaction, pin, join, channel gone. The same `event_id` twice is one event."""
        ...
