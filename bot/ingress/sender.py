"""One configured source: its name, how it proves itself, and how its deliveries are read."""

from dataclasses import dataclass, field

from bot.ingress.authentication import Check
from bot.ingress.source import Parse, SourceSettings
from bot.secret import Secret
from runbooks.alert import Alert
from runbooks.change import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSender:
    """A source of alerts, as the configuration declares it."""

    name: str
    check: Check
    secret: Secret
    parse: Parse[Alert]
    settings: SourceSettings = field(default_factory=SourceSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSender:
    """A source of changes, as the configuration declares it."""

    name: str
    check: Check
    secret: Secret
    parse: Parse[Change]
    settings: SourceSettings = field(default_factory=SourceSettings)


Sender = AlertSender | ChangeSender
