"""A YAML file to typed values, with file, field, line and reason for everything that does not fit."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from runbooks import frontmatter
from runbooks.errors import Problem, SettingsInvalid
from runbooks.value import Json

Place = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One file as plain data, and the line of every field."""

    file: str
    data: dict[str, Json]
    lines: dict[Place, int] = field(default_factory=dict)

    def problem(self, place: Sequence[str | int], reason: str) -> Problem:
        """A problem with one field, at its line, or at that of the nearest field around it."""
        path = tuple(place)
        line = next((self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), None)
        return Problem(file=self.file, field=".".join(map(str, path)), reason=reason, line=line)


def read(text: str, *, file: str) -> Document:
    """Take the text apart; strict, as runbooks are: no duplicate keys, tags, merge keys or bombs.

    Raises:
        SettingsInvalid: it is not such YAML, with every fault found.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    said = [number for number, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    if said and lines[said[0]].rstrip() == "---":  # YAML's mark for the start of a document; made blank, so that lines keep their numbers
        lines[said.pop(0)] = ""
    if not said:
        return Document(file=file, data={})
    if second := next((number for number in said if lines[number].rstrip() == "---"), None):
        raise SettingsInvalid([Problem(file=file, field="", reason="holds more than one YAML document", line=second + 1)])
    # A header is this same YAML between two lines of hyphens, so line 2 there is line 1 here.
    found = frontmatter.read("\n".join(("---", *lines, "---")))
    if found.faults:
        raise SettingsInvalid([_fault(file, fault) for fault in found.faults])
    return Document(file=file, data=found.data, lines={place: line - 1 for place, line in found.lines.items()})


def read_file(path: Path) -> Document:
    """`read` for a file.

    Raises:
        SettingsInvalid: it cannot be read, or is not such YAML.
    """
    try:
        return read(path.read_text(encoding="utf-8"), file=str(path))
    except UnicodeDecodeError:
        raise SettingsInvalid([Problem(file=str(path), field="", reason="is not UTF-8 text")]) from None
    except OSError as error:
        raise SettingsInvalid([Problem(file=str(path), field="", reason=f"cannot be read: {error.strerror}")]) from None


def _fault(file: str, fault: frontmatter.Fault) -> Problem:
    return Problem(
        file=file,
        field=".".join(map(str, fault.path)),
        reason=fault.reason.replace("the header", "the file"),
        line=fault.line - 1 if fault.line else None,
    )


def fitted(model: type[M], data: Any, document: Document, place: Place, problems: list[Problem], *, names: Iterable[str] = ()) -> M | None:
    """`data` as `model`, or None, and then `problems` has grown. `place` is where `data` stands in the document.

    `names` are further field names that a misspelt one may have meant.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        known = {*names_of(model), *names}
        for detail in error.errors(include_url=False):
            inside = _real(detail["loc"], data)
            problems.append(document.problem((*place, *inside), _reason(detail, known)))
        return None


@cache
def names_of(model: type[BaseModel]) -> frozenset[str]:
    """Every field name of a model and of the models in it, as the file writes them."""
    names = {info.alias or name for name, info in model.model_fields.items()}
    inner = {found for info in model.model_fields.values() for found in _models(info.annotation)}
    return frozenset(names).union(*(names_of(found) for found in inner))


def _models(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _real(loc: Place, data: Any) -> Place:
    """Pydantic's place without what stands in no file: names of union branches, and its mark for a key."""
    real: list[str | int] = []
    loc = tuple(step for step in loc if step != "[key]")
    for at, step in enumerate(loc):
        if isinstance(data, dict) and (step in data or (at == len(loc) - 1 and isinstance(step, str))):
            real.append(step)
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            real.append(step)
            data = data[step]
    return tuple(real)


_SENTENCES = {
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "model_type": "must be a mapping of fields",
    "model_attributes_type": "must be a mapping of fields",
    "dict_type": "must be a mapping",
    "tuple_type": "must be a list",
    "too_short": "is empty",
    "date_from_datetime_parsing": "must be a day, such as 2026-12-24",
    "date_type": "must be a day, such as 2026-12-24",
    "frozen_set_type": "must be a list",
}


def _reason(detail: ErrorDetails, known: set[str]) -> str:
    kind, name = detail["type"], str(detail["loc"][-1]) if detail["loc"] else ""
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
        return f"is not known here; did you mean {' or '.join(near)}?" if near else "is not known here"
    if kind == "string_type" and isinstance(detail["input"], bool | int | float):
        return f"must be text, and YAML reads it as {frontmatter.kind(detail['input'])}; put it in quotes"
    if kind == "string_pattern_mismatch":
        return _pattern(detail, name)
    if kind in {"value_error", "assertion_error"}:
        return detail["msg"].removeprefix("Value error, ")
    return _SENTENCES.get(kind) or detail["msg"].replace("Input should be", "must be").replace("Value should", "must")


_PATTERNS = {
    "email": "is not an e-mail address",
    "slack_id": "is not a Slack id of a person; it begins with U or W (profile, three dots, Copy member ID)",
    "who": "must be anyone, commander, person:<id>, team:<id> or on-call:<team>",
    "channel": "is not a channel's name or id",
    "incidents": "is not a channel's name or id",
    "pagerduty": "is not the id of an escalation policy, such as PUS0KTE",
}


def _pattern(detail: ErrorDetails, name: str) -> str:
    if name in _PATTERNS:
        return _PATTERNS[name]
    if "a-z0-9" in str(detail.get("ctx", {}).get("pattern", "")):
        return "must be a name of small letters, digits and single hyphens, such as ml-platform"
    return "does not have the form that is needed here"
