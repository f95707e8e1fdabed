"""What a check looks at, and how it reports: one header with its prose, the operations there are, and the drill's alert."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import ParamSpec, TypeVar

from runbooks.errors import LabelMissing, TemplateInvalid
from runbooks.frontmatter import Path
from runbooks.grammar import References, references
from runbooks.operation import Operation
from runbooks.runbook import Action, Diagnostic, Header

T = TypeVar("T")
P = ParamSpec("P")


Faults = Mapping[str, Collection[str]]
"""The kinds of fault that the simulation declares, each with the names of its parameters."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One runbook under examination. `report` takes a path of names and indices, and a reason that says what to do.

    `faults` None means that nobody knows them here and they are not checked.
    """

    header: Header
    outline: tuple[tuple[str, str], ...]
    catalogue: Mapping[str, Operation]
    faults: Faults | None
    report: Callable[[Path, str], None]

    @cached_property
    def labels(self) -> dict[str, str]:
        """The drill's alert, reduced to the labels that the header declares."""
        return {name: value for name, value in self.header.drill.alert.items() if name in self.header.labels}

    @cached_property
    def diagnostics(self) -> dict[str, Diagnostic]:
        return {diagnostic.id: diagnostic for diagnostic in self.header.diagnostics}

    @cached_property
    def actions(self) -> dict[str, Action]:
        return {action.id: action for action in self.header.actions}

    def operation(self, step: Diagnostic | Action) -> Operation | None:
        """The operation that a step uses; None for an unknown one, which is reported elsewhere."""
        return self.catalogue.get(step.uses)

    def known(self, path: Path, name: str, among: Iterable[str], kind: str) -> bool:
        """Whether `name` is one of `among`; reported with near misses when not."""
        choices = list(among)
        if name in choices:
            return True
        self.report(path, f"there is no {kind} {name}{near(name, choices)}")
        return False

    def refers(self, path: Path, template: str, *, parameters: Collection[str] = (), result: bool = False) -> References | None:
        """What a template refers to, after checking that this place may refer to it; None when it is not allowed at all."""
        try:
            found = references(template)
        except TemplateInvalid as error:
            self.report(path, str(error))
            return None
        for label in sorted(found.labels - set(self.header.labels)):
            self.report(path, f"uses the label {label}, which the header does not declare in labels{near(label, self.header.labels)}")
        for name in sorted(found.parameters - set(parameters)):
            self.report(path, f"uses the parameter {name}, which is not declared here{near(name, parameters)}")
        if found.result and not result:
            self.report(path, "uses result, which only a diagnostic's shows has")
        if found.steps:
            self.report(path, 'step("…") stands in the prose only; this field cannot refer to a step')
        clean = found.labels <= set(self.header.labels) and found.parameters <= set(parameters)
        return found if clean and (result or not found.result) and not found.steps else None

    def tried(self, path: Path, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """The result of rendering with the drill's alert; None, and reported, where it fails."""
        try:
            return work(*args, **kwargs)
        except LabelMissing:
            return None  # a declared label that the drill's alert lacks is reported once, at drill.alert
        except TemplateInvalid as error:
            self.report(path, str(error))
            return None


def near(name: str, among: Iterable[str]) -> str:
    """A hint for a misspelt name: what it may have meant, or what there is."""
    choices = sorted(set(among))
    close = get_close_matches(name, choices, n=2, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    if not choices:
        return "; there are none"
    return f"; there are {', '.join(choices[:12])}{', …' if len(choices) > 12 else ''}"
