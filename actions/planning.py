"""From a runbook's action to a complete call: parameters resolved and bounded, arguments typed, the target allowed, and all in words.

Pure. What must be read first (the present state, a pre-check's measurement) is handed in by the runner.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from actions.contract import CallInvalid
from actions.toolkit import releases
from actions.wording import limit, number
from runbooks.duration import Threshold, in_words
from runbooks.errors import LabelMissing, MusterError, TemplateInvalid
from runbooks.operation import Argument, ArgumentType, Call, Check, Measurement, Operation, Proposal, Reading
from runbooks.rendering import render, render_value
from runbooks.run import MitigationEnd
from runbooks.runbook import LAST_KNOWN_GOOD, Action, Otherwise, Parameter, Relative, Runbook
from runbooks.severity import Tier
from runbooks.value import Json

PINNED = "pinned"
"""The fact, and then the argument of a plan's call, that says what a target is made of and by which backend each part was read."""


class PlanRefused(MusterError):
    """There is no plan. `reason` is its name (`out_of_bounds`, `target_not_allowed` …), the text a sentence for the person."""

    def __init__(self, reason: str, message: str, *, parameter: str | None = None) -> None:
        self.reason, self.parameter = reason, parameter
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody wants to do: one action of one runbook version, with the alert's labels and the chosen parameters."""

    action: Action
    operation: Operation
    labels: Mapping[str, str]
    chosen: Mapping[str, Json]
    environment: str | None
    service: str | None = None


def first_call(request: Request) -> Call:
    """The call as far as it is known before the present state is read: operation, target, environment.

    Raises:
        PlanRefused: the target cannot be said, or is not among those that the runbook allows.
    """
    target = None
    if request.operation.target:
        known = {name: value for name, value in _absolute(request).items() if value is not None}
        target = _rendered(request, request.action.with_.get(request.operation.target), known)
        if not isinstance(target, str) or not target:
            raise PlanRefused("no_target", f"{request.action.title}: the target is not known.")
        if request.action.targets and target not in request.action.targets:
            allowed = ", ".join(request.action.targets)
            raise PlanRefused("target_not_allowed", f"{target} is not among the targets that the runbook allows: {allowed}.")
    return Call(operation=request.operation.name, target=target, environment=request.environment, service=request.service)


def full_call(request: Request, first: Call, reading: Reading) -> tuple[Call, dict[str, Json]]:
    """The complete call and the parameters as they are now absolute (runbook-format.md, rule 11).

    Raises:
        PlanRefused: a parameter or an argument is missing, of the wrong type or out of bounds.
    """
    no_unknown(request)
    parameters = {
        name: _resolved(request, name, parameter, value, reading)
        for (name, parameter), value in zip(request.action.parameters.items(), _absolute(request).values(), strict=True)
    }
    arguments = {name: _rendered(request, value, parameters) for name, value in request.action.with_.items()}
    checked = {name: argument(name, declared, arguments.get(name)) for name, declared in request.operation.arguments.items()}
    given = {name: value for name, value in checked.items() if value is not None}
    pinned = {PINNED: reading.facts[PINNED]} if PINNED in reading.facts else {}
    return first.model_copy(update={"arguments": {**given, **pinned}}), parameters


def tier_of(action: Action, operation: Operation, *, raised_by: int = 0) -> Tier:
    """The base tier, raised by the runbook, by what cannot be undone, by what cannot be planned (rules S3, S6) and by `raised_by`."""
    tier = max(operation.tier, action.tier, key=lambda tier: tier.rank)
    if not operation.reversible or action.undo.to == "not-possible":
        return Tier.R3
    return tier.raised(raised_by + (0 if operation.plans else 1))


def check(name: str, threshold: Threshold, measurement: Measurement) -> Check:
    """One pre-check against its measurement; without data it does not hold."""
    must = limit(threshold, measurement.unit)
    if measurement.value is None:
        return Check(name=name, holds=None, text=f"{measurement.title}: {_lacking(measurement)}; it must be {must}.")
    holds = threshold.holds(measurement.value)
    found = f"{measurement.title} is {number(measurement.value, measurement.unit, beside=threshold.limit)}"
    return Check(name=name, holds=holds, text=f"{found}, {must} as needed." if holds else f"{found}, but must be {must}.")


def _lacking(measurement: Measurement) -> str:
    rows = measurement.result.get("rows") if isinstance(measurement.result, Mapping) else None
    if rows and len(rows) > 1:
        return f"its query gives {len(rows)} values, and only one can be compared"
    return f"no data ({measurement.error})" if measurement.error else "no data"


def effect(action: Action, runbook: Runbook) -> str:
    """What is expected, by when, and what follows if it does not come."""
    verify = action.verify
    watched = runbook.diagnostic(verify.diagnostic)
    title, unit = (watched.title, watched.unit) if watched else (verify.diagnostic, None)
    then = {Otherwise.ASK: "you are asked", Otherwise.UNDO: "it is undone", Otherwise.ESCALATE: "the next level is called"}
    wanted = limit(verify.holds, unit)
    to = "to " if wanted.startswith("at ") else ""
    named = title[:1].lower() + title[1:] if title[1:2].islower() else title
    expected = f"Should bring {named} {to}{wanted} within {in_words(verify.within)}."
    return f"{_stages(action, named, unit)}{expected} Watched; if it does not, {then[verify.otherwise]}."


def _stages(action: Action, measured: str, unit: str | None) -> str:
    """How a ramp goes, and what ends it (rule S13)."""
    if action.ramp is None:
        return ""
    limits = [threshold for threshold in (action.ramp.stop_when, action.verify.fails) if threshold is not None]
    bad = " or ".join(limit(threshold, unit) for threshold in limits)
    stops = f", stopped and undone if {measured} is {bad}" if bad else ""
    return f"One first, then two, then four, {in_words(action.ramp.pause)} apart{stops}. "


def undo(action: Action, operation: Operation, proposal: Proposal) -> str:
    """What happens to it at its declared end, and how it is taken back before; each said once."""
    if action.undo.to == "not-possible":
        return "This cannot be undone."
    whole = "every part back as it was, the last one first" if proposal.parts else f"back to {proposal.before_text}"
    back = whole if operation.looks else "a person undoes it"
    if action.undo.after is None:
        return f"Undo at any time: {back}."
    then = {
        MitigationEnd.REVERT: f"{back}, by itself. Undo at any time before.",
        MitigationEnd.ASK: f"you are asked whether it stays. Undo at any time: {back}.",
        MitigationEnd.KEEP: f"it stays, and that is noted. Undo at any time: {back}.",
    }
    return f"After {in_words(action.undo.after)}: {then[action.undo.then]}"


def cost(request: Request, parameters: Mapping[str, Json]) -> dict[str, str]:
    """The runbook's words on money, quality and latency, rendered."""
    words = {"money": request.action.cost.money, "quality": request.action.cost.quality, "latency": request.action.cost.latency}
    try:
        return {name: render(text, labels=request.labels, parameters=parameters) for name, text in words.items()}
    except (LabelMissing, TemplateInvalid) as error:
        raise PlanRefused("template", f"{request.action.title}: {error}.") from error


def argument(name: str, declared: Argument, value: Json) -> Json:
    """The argument, if it has the type and lies within the bounds that the backend declares.

    Raises:
        PlanRefused: it does not.
    """
    if value is None:
        if declared.required:
            raise PlanRefused("argument_missing", f"{name} is needed.")
        return None
    typed = _TYPED[declared.type](name, value)
    return _bounded(name, typed, minimum=declared.minimum, maximum=declared.maximum, choices=declared.choices)


def no_unknown(request: Request) -> None:
    """Refuse what the action does not declare.

    Raises:
        PlanRefused: a chosen parameter is not among the action's.
    """
    unknown = sorted(set(request.chosen) - set(request.action.parameters))
    if unknown:
        raise PlanRefused("unknown_parameter", f"{request.action.title} has no parameter {', '.join(unknown)}.", parameter=unknown[0])


def _absolute(request: Request) -> dict[str, Json]:
    """Each parameter as chosen, else its default; None where the default is relative and the present state is not read yet."""
    found: dict[str, Json] = {}
    for name, parameter in request.action.parameters.items():
        value = request.chosen.get(name)
        default = None if isinstance(parameter.default, Relative) else parameter.default
        if parameter.type == "release":
            default = default or LAST_KNOWN_GOOD
        found[name] = _parameter(request, name, parameter, default if value is None else value)
    return found


def _resolved(request: Request, name: str, parameter: Parameter, value: Json, reading: Reading) -> Json:
    if value is None and isinstance(parameter.default, Relative):
        value = _parameter(request, name, parameter, _present(request, name, reading) + parameter.default.relative)
    if parameter.type == "release":
        return _release(request, name, str(value), reading)
    if value is None:
        raise PlanRefused("parameter_missing", f"{parameter.title} is needed.", parameter=name)
    return value


def _release(request: Request, name: str, value: str, reading: Reading) -> str:
    """The release as a version, so that plan and approval name it (rule S7)."""
    try:
        return releases.chosen(request.action.title, value, reading)
    except CallInvalid as error:
        raise PlanRefused("no_such_release", str(error), parameter=name) from error


def _present(request: Request, name: str, reading: Reading) -> float:
    """The present number of the argument that is exactly this parameter."""
    used = next((key for key, value in request.action.with_.items() if _is_parameter(value, name)), name)
    present = reading.value.get(used) if isinstance(reading.value, Mapping) else reading.value
    if isinstance(present, bool) or not isinstance(present, int | float):
        title = request.action.parameters[name].title
        raise PlanRefused("no_present_value", f"{title} is relative to the present value, and that is not known.", parameter=name)
    return present


def _is_parameter(template: Json, name: str) -> bool:
    return isinstance(template, str) and "".join(template.split()) == f"{{{{parameters.{name}}}}}"


def _parameter(request: Request, name: str, parameter: Parameter, value: Json) -> Json:
    """The parameter's value in its type and within its bounds, or a refusal that names it."""
    if value is None:
        return None
    choices = request.action.targets if parameter.type == "target" else parameter.choices
    if parameter.type in {"target", "choice"} and not choices:
        raise PlanRefused("no_choices", f"{parameter.title}: the runbook names nothing to choose from.", parameter=name)
    try:
        meant = next((choice for choice in choices if str(choice) == value), value)  # forms deliver text
        typed = _TYPED[_ARGUMENT.get(parameter.type, ArgumentType.ANY)](parameter.title, meant)
        return _bounded(parameter.title, typed, minimum=parameter.minimum, maximum=parameter.maximum, choices=choices)
    except PlanRefused as refused:
        raise PlanRefused(refused.reason, str(refused), parameter=name) from refused


def _bounded(name: str, value: Json, *, minimum: float | None, maximum: float | None, choices: tuple[Json, ...]) -> Json:
    if choices and not any(value == choice and type(value) is type(choice) for choice in choices):
        raise PlanRefused("not_a_choice", f"{name} is {value}; it must be one of {', '.join(map(str, choices))}.")
    low, high = minimum is not None and value < minimum, maximum is not None and value > maximum
    if low or high:
        allowed = (
            f"at least {minimum:g}" if maximum is None else f"at most {maximum:g}" if minimum is None else f"{minimum:g} to {maximum:g}"
        )
        raise PlanRefused("out_of_bounds", f"{name} would be {value:g}; allowed is {allowed}.")
    return value


def _rendered(request: Request, template: Json, parameters: Mapping[str, Json]) -> Json:
    try:
        return render_value(template, labels=request.labels, parameters=parameters)
    except LabelMissing as error:
        raise PlanRefused("label_missing", f"{request.action.title}: {error}; the action is withheld.") from error
    except TemplateInvalid as error:
        raise PlanRefused("template", f"{request.action.title}: {error}.") from error


def _number(name: str, value: Any) -> float:
    """A finite number; forms deliver text."""
    try:
        found = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        found = None
    if found is None or not isfinite(found):
        raise PlanRefused("wrong_type", f"{name} must be a number, not {value!r}.")
    return int(found) if found.is_integer() and not isinstance(value, float) else found


def _integer(name: str, value: Any) -> int:
    found = _number(name, value)
    if found != int(found):
        raise PlanRefused("wrong_type", f"{name} must be a whole number, not {value!r}.")
    return int(found)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise PlanRefused("wrong_type", f"{name} must be a text, not {value!r}.")
    return value


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise PlanRefused("wrong_type", f"{name} must be true or false, not {value!r}.")
    return value


_TYPED: dict[ArgumentType, Callable[[str, Any], Json]] = {
    ArgumentType.INTEGER: _integer,
    ArgumentType.NUMBER: _number,
    ArgumentType.TEXT: _text,
    ArgumentType.BOOLEAN: _boolean,
    ArgumentType.ANY: lambda _name, value: value,
}
_ARGUMENT = {
    "integer": ArgumentType.INTEGER,
    "number": ArgumentType.NUMBER,
    "boolean": ArgumentType.BOOLEAN,
    "target": ArgumentType.TEXT,
    "release": ArgumentType.TEXT,
}
