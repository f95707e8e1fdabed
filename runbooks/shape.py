"""The header's shape: what pydantic found wrong, said so that a runbook's author knows what to write."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from runbooks.checks.scene import near
from runbooks.frontmatter import Path, kind
from runbooks.runbook import Header
from runbooks.value import Json

_MISSING = {
    "owner": "a runbook that nobody owns is nobody's; name a team",
    "verify": "an action must say how it is proven to have worked",
    "undo": "write {to: prior, after: 4h, then: revert}, or {to: not-possible}, which makes it R3",
    "cost": "say what it costs in money, quality and latency, if only none",
    "tier": "R1 is reversible and narrow, R2 reversible and wide, R3 irreversible",
    "approval": "how many other people must approve: none, one or two",
    "drill": "say how this runbook is rehearsed",
    "first_screen": "say what broke, who is affected, and which actions are safe",
}
_PATTERNS = {
    r"^[a-z0-9]+(?:[-.][a-z0-9]+)*$": "small letters, digits, and single hyphens or dots between them",
    r"^[a-z][a-z0-9-]*$": "a small letter first, then small letters, digits and hyphens",
    r"^[a-z][a-z0-9_]*$": "a small letter first, then small letters, digits and underscores",
    r"^[a-zA-Z_][a-zA-Z0-9_]*$": "letters, digits and underscores, as in a Prometheus label",
    r"^[^\r\n]+$": "one line",
}


def in_words(error: ValidationError, data: Json) -> Iterator[tuple[Path, str]]:
    """Each thing wrong, once: where it is in the file's own terms, and what to write instead."""
    seen: set[Path] = set()
    for detail in error.errors(include_url=False):
        path = _in_file(detail, data)
        if path not in seen:
            seen.add(path)
            yield path, _reason(detail, path)


def _in_file(detail: ErrorDetails, data: Json) -> Path:
    """Pydantic's location without the tags that it adds for unions and keys: only what stands, or should stand, in the file."""
    node: object = data
    path: list[str | int] = []
    location = detail["loc"]
    for place, part in enumerate(location):
        inside = _entry(node, part)
        if inside is not _NOTHING:
            path.append(part)
            node = inside
        elif place == len(location) - 1 and detail["type"] == "missing":
            path.append(part)
    return tuple(path)


_NOTHING = object()


def _entry(node: object, part: str | int) -> object:
    if isinstance(node, dict):
        return node.get(part, _NOTHING)
    if isinstance(node, list) and isinstance(part, int) and part < len(node):
        return node[part]
    return _NOTHING


def _reason(detail: ErrorDetails, path: Path) -> str:
    """What to write instead. Words of our own where authors err; pydantic's own where they hardly ever do."""
    context, given = detail.get("ctx", {}), detail["input"]
    match detail["type"]:
        case "missing":
            hint = _MISSING.get(str(path[-1])) if path else None
            return f"is missing{f': {hint}' if hint else ''}"
        case "extra_forbidden":
            return f"is not a field of the format{near(str(path[-1]), _fields_beside(path))}"
        case "string_pattern_mismatch":
            return f"{given!r} must be {_PATTERNS.get(context['pattern'], context['pattern'])}"
        case "literal_error" | "enum":
            return f"must be {context['expected']}, but is {given!r}"
        case "value_error":
            return str(context["error"])
        case str(known) if known in _TYPES:
            return _TYPES[known].format(kind=kind(given), **context)
        case _:
            return detail["msg"][:1].lower() + detail["msg"][1:]


_TYPES = {
    "string_type": "must be text, but YAML reads it as {kind}; put it in quotes",
    "too_long": "has {actual_length} entries; at most {max_length} are allowed",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "string_too_long": "has more than {max_length} characters",
    "int_type": "must be a whole number, but is {kind}",
    "float_type": "must be a number, but is {kind}",
    "bool_type": "must be true or false, but is {kind}",
    "tuple_type": "must be a list, but is {kind}",
    "dict_type": "must be a mapping of fields, but is {kind}",
    "model_type": "must be a mapping of fields, but is {kind}",
    "date_type": "must be a date such as 2026-10-01",
    "date_parsing": "must be a date such as 2026-10-01",
    "date_from_datetime_parsing": "must be a date such as 2026-10-01",
    "date_from_datetime_inexact": "must be a date such as 2026-10-01",
}


def _fields_beside(path: Path) -> list[str]:
    """The fields that the format has where the last part of the path stands."""
    model: type[BaseModel] | None = Header
    for part in path[:-1]:
        if isinstance(part, str) and model is not None:
            found = next((field for name, field in model.model_fields.items() if part in (name, field.alias)), None)
            model = _model_in(found.annotation) if found else model
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `tuple[Action, ...]` or `Undo | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {Annotated, Union, UnionType, tuple, dict}:
        return next((model for inner in get_args(annotation) if (model := _model_in(inner))), None)
    return None
