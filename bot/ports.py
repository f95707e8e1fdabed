"""What flows need from outside: a clock, a way to speak, and who is on duty. Implemented in `bot.slack`, `bot.engine` and `bot.oncall`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from runbooks.errors import MusterError
from runbooks.people import Person
from runbooks.screens import Dialog, HomeScreen, Message


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
