"""The values that an action's parameters can take, and whether an operation would take them (rule 2)."""

from collections.abc import Iterator, Mapping

from runbooks.errors import TemplateInvalid
from runbooks.frontmatter import kind
from runbooks.grammar import references
from runbooks.operation import Argument, ArgumentType
from runbooks.runbook import LAST_KNOWN_GOOD, Action, Diagnostic, Parameter, Relative
from runbooks.value import Json


def samples(step: Diagnostic | Action) -> dict[str, Json]:
    """A value for each parameter: the default, or for a relative one the lowest that is allowed."""
    if isinstance(step, Diagnostic):
        return {}
    return {name: _sample(parameter, step) for name, parameter in step.parameters.items()}


def _sample(parameter: Parameter, action: Action) -> Json:
    if parameter.default is not None and not isinstance(parameter.default, Relative):
        return parameter.default
    return next(iter(extremes(parameter, action)), None)


def extremes(parameter: Parameter, action: Action) -> tuple[Json, ...]:
    """The values at the edge of what the parameter allows; all of them where they are listed."""
    match parameter.type:
        case "integer" | "number":
            bounds = [bound for bound in (parameter.minimum, parameter.maximum) if bound is not None]
            return tuple(int(bound) if parameter.type == "integer" else bound for bound in bounds)
        case "boolean":
            return (False, True)
        case "choice":
            return parameter.choices
        case "release":
            return (LAST_KNOWN_GOOD,)
        case _:
            return action.targets


def unfit(value: Json, argument: Argument) -> str | None:
    """Why the operation would not take this value, or None."""
    right: Mapping[ArgumentType, bool] = {
        ArgumentType.INTEGER: isinstance(value, int) and not isinstance(value, bool),
        ArgumentType.NUMBER: isinstance(value, int | float) and not isinstance(value, bool),
        ArgumentType.TEXT: isinstance(value, str),
        ArgumentType.BOOLEAN: isinstance(value, bool),
        ArgumentType.ANY: True,
    }
    if not right[argument.type]:
        return f"must be {_ARTICLES[argument.type]}, but is {kind(value)}: {str(value)[:40]}"
    if argument.choices and value not in argument.choices:
        return f"must be one of {', '.join(str(choice) for choice in argument.choices)}, but is {value}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if argument.minimum is not None and value < argument.minimum:
            return f"must be at least {argument.minimum:g}, but is {value}"
        if argument.maximum is not None and value > argument.maximum:
            return f"must be at most {argument.maximum:g}, but is {value}"
    return None


_ARTICLES = {
    ArgumentType.INTEGER: "a whole number",
    ArgumentType.NUMBER: "a number",
    ArgumentType.TEXT: "text",
    ArgumentType.BOOLEAN: "true or false",
    ArgumentType.ANY: "anything",
}


def texts(value: Json) -> Iterator[str]:
    """Every text inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from texts(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from texts(entry)


def mentions(value: Json, parameter: str) -> bool:
    """Whether a template inside the value uses this parameter."""
    try:
        return any(parameter in references(text).parameters for text in texts(value))
    except TemplateInvalid:
        return False  # reported where the argument itself is checked
