"""Everything that Slack sends: decode, ask the front once, acknowledge; then show."""

from slack_bolt import App
from slack_sdk import WebClient

from bot.ports import Front
from bot.slack.listeners import buttons, commands, dialogs, events, shortcuts
from bot.slack.listeners.desk import Desk, jobs

__all__ = ["jobs", "register"]


def register(app: App, *, front: Front, client: WebClient) -> None:
    """Put every listener on the app."""
    desk = Desk(front=front, client=client)
    for part in (buttons, dialogs, commands, shortcuts, events):
        part.register(app, desk)
