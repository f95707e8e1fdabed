"""The errors of this room.

MusterError
├── NotFound            something was asked for that is not there
├── RunbookInvalid      a file cannot be a runbook; carries every problem found, each with file, field and reason
├── TemplateInvalid     a template does not parse, or names what it may not use
├── LabelMissing        a template needs a label that this alert does not carry
├── TransitionRefused   an incident, run or drill cannot go from here to there
└── SettingsInvalid     configuration that cannot be used; carries every problem found
"""

from collections.abc import Sequence
from dataclasses import dataclass


class MusterError(Exception):
    """Every error that Muster raises on purpose. Its text is a sentence for a person and says what to do next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why a file is refused. `field` is a dotted path such as `actions.scale-out.verify.holds`."""

    file: str
    field: str
    reason: str
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.field}: {self.reason}" if self.field else f"{place}: {self.reason}"


class NotFound(MusterError):
    """What was asked for is not there."""


class _Problems(MusterError):
    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RunbookInvalid(_Problems):
    """A file cannot be a runbook. `problems` names all that was found, not only the first."""


class SettingsInvalid(_Problems):
    """The configuration cannot be used. `problems` names all that was found, not only the first."""


class TemplateInvalid(MusterError):
    """A template does not parse, or uses a name or a filter that it may not."""


class LabelMissing(MusterError):
    """A template needs a label that the alert does not carry."""

    def __init__(self, label: str) -> None:
        self.label = label
        super().__init__(f"label {label} missing")


class TransitionRefused(MusterError):
    """Something cannot go from its present state to the wanted one."""
