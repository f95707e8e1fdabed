"""The fields of dialogs, and how what people enter is read back. A field's name is the key that flows see.

`block_id` carries the name and `action_id` the type, so that reading needs nothing but the submission. Names with a dot become
nested: `parameters.replicas` is `{"parameters": {"replicas": …}}`.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from slack_sdk.models.blocks import (
    CheckboxesElement,
    DatePickerElement,
    DateTimePickerElement,
    InputBlock,
    NumberInputElement,
    Option,
    PlainTextInputElement,
    StaticSelectElement,
    UserSelectElement,
)

from bot.slack import text
from bot.slack.cards.parts import words
from runbooks.runbook import Parameter
from runbooks.value import Json

_FIELD = "field:"
OPTION_VALUE = 150
OPTIONS = 100
_BOOLEAN_ON = "on"


def block_id(name: str) -> str:
    """The block that holds a field."""
    return f"{_FIELD}{name}"


def name_of(block: str) -> str | None:
    """The field that a block holds, if it holds one."""
    return block.removeprefix(_FIELD) if block.startswith(_FIELD) else None


def _input(name: str, label: str, element: Json, *, hint: str = "", optional: bool = False) -> InputBlock:
    return InputBlock(
        block_id=block_id(name),
        label=words(text.plain(label, 200) or name),
        element=element,
        hint=words(text.plain(hint, 300)) if hint else None,
        optional=optional,
    )


def text_input(
    name: str,
    label: str,
    *,
    initial: str = "",
    hint: str = "",
    placeholder: str = "",
    multiline: bool = False,
    optional: bool = False,
    longest: int = 3_000,
) -> InputBlock:
    """Free text."""
    element = PlainTextInputElement(
        action_id="text",
        initial_value=text.cut(text.clean(initial), longest) or None,
        multiline=multiline,
        max_length=longest,
        placeholder=words(text.plain(placeholder, 150)) if placeholder else None,
    )
    return _input(name, label, element, hint=hint, optional=optional)


def choice_input(name: str, label: str, choices: Sequence[tuple[Json, str]], *, initial: Json = None, hint: str = "") -> InputBlock:
    """One of several values, each with its words. What is too long for an option is left out, and the hint says so."""
    options = [option for value, shown in choices if (option := _option(value, shown)) is not None]
    offered = options[:OPTIONS]
    missing = len(choices) - len(offered)
    if not offered:
        return text_input(name, label, initial=str(initial or ""), hint=hint)
    chosen = next((option for option in offered if option.value == json.dumps(initial)), None)
    element = StaticSelectElement(action_id="choice", options=offered, initial_option=chosen)
    more = f"{missing} more cannot be shown here." if missing else ""
    return _input(name, label, element, hint=" ".join(filter(None, [hint, more])))


def _option(value: Json, shown: str) -> Option | None:
    encoded = json.dumps(value)
    if len(encoded) > OPTION_VALUE:
        return None
    return Option(value=encoded, text=words(text.plain(shown, 75) or "(empty)"))


def number_input(name: str, label: str, parameter: Parameter, initial: Json, *, hint: str = "") -> InputBlock:
    """A number within the parameter's bounds."""
    decimal = parameter.type == "number"
    low, high = _written(parameter.minimum, up=True, decimal=decimal), _written(parameter.maximum, up=False, decimal=decimal)
    element = NumberInputElement(
        action_id=parameter.type,
        is_decimal_allowed=decimal,
        initial_value=_written(initial, up=False, decimal=decimal) if _within(initial, parameter) else None,
        min_value=low,
        max_value=high,
    )
    return _input(name, label, element, hint=hint)


def _within(value: Json, parameter: Parameter) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    low = parameter.minimum if parameter.minimum is not None else -math.inf
    high = parameter.maximum if parameter.maximum is not None else math.inf
    return low <= value <= high


def _written(value: Json, *, up: bool, decimal: bool) -> str | None:
    """As Slack wants numbers: digits, no exponent. Whole numbers are rounded inwards."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if not decimal:
        return str(math.ceil(value) if up else math.floor(value))
    return f"{value:.12f}".rstrip("0").rstrip(".")


def switch_input(name: str, label: str, *, initial: bool) -> InputBlock:
    """Yes or no."""
    on = Option(value=_BOOLEAN_ON, text=words("Yes"))
    element = CheckboxesElement(action_id="boolean", options=[on], initial_options=[on] if initial else None)
    return _input(name, label, element, optional=True)


def person_input(name: str, label: str, *, initial: str | None = None, hint: str = "", optional: bool = False) -> InputBlock:
    """A person of the workspace, by Slack id."""
    return _input(name, label, UserSelectElement(action_id="person", initial_user=initial), hint=hint, optional=optional)


def moment_input(name: str, label: str, *, initial: datetime, hint: str = "") -> InputBlock:
    """A date and time, in the reader's zone; seconds since 1970 come back."""
    return _input(name, label, DateTimePickerElement(action_id="moment", initial_date_time=int(initial.timestamp())), hint=hint)


def date_input(name: str, label: str, *, initial: datetime, hint: str = "") -> InputBlock:
    """A date, as YYYY-MM-DD."""
    return _input(name, label, DatePickerElement(action_id="date", initial_date=initial.strftime("%Y-%m-%d")), hint=hint)


def parameter_input(name: str, parameter: Parameter, value: Json, *, shown: Mapping[str, str] | None = None) -> InputBlock:
    """The field that fits a runbook's parameter, filled with its present value. `shown` are words for its choices."""
    field, label = f"parameters.{name}", parameter.title
    if parameter.type in {"integer", "number"}:
        return number_input(field, label, parameter, value, hint=bounds(parameter))
    if parameter.type == "boolean":
        return switch_input(field, label, initial=value is True)
    said = shown or {}
    return choice_input(field, label, [(choice, said.get(str(choice), str(choice))) for choice in parameter.choices], initial=value)


def bounds(parameter: Parameter) -> str:
    """The bounds in words, such as `2 to 12`."""
    low, high = parameter.minimum, parameter.maximum
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    if low is not None:
        return f"{low:g} or more"
    return f"{high:g} or less" if high is not None else ""


def read(values: Mapping[str, Mapping[str, Mapping[str, Json]]]) -> dict[str, Json]:
    """A submission's `state.values` as flows want it. Fields left empty are absent; an unticked box is False."""
    form: dict[str, Json] = {}
    for block, elements in values.items():
        name = name_of(block)
        if name is None:
            continue
        for kind, element in elements.items():
            entered = _entered(kind, element)
            if entered is not None:
                _put(form, name, entered)
    return form


def _put(form: dict[str, Json], name: str, value: Json) -> None:
    outer, dot, inner = name.partition(".")
    if dot:
        form.setdefault(outer, {})[inner] = value
    else:
        form[name] = value


def _entered(kind: str, element: Mapping[str, Json]) -> Json:
    if kind == "boolean":
        return any(option.get("value") == _BOOLEAN_ON for option in element.get("selected_options") or ())
    if kind == "choice":
        option = element.get("selected_option")
        return _decoded(option.get("value")) if option else None
    if kind in {"integer", "number"}:
        return _number(element.get("value"), whole=kind == "integer")
    if kind == "text":
        return text.clean(str(element.get("value") or "")).strip() or None
    keys = {"person": "selected_user", "moment": "selected_date_time", "date": "selected_date"}
    return element.get(keys.get(kind, "value")) or None


def _decoded(value: Json) -> Json:
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value


def _number(value: Json, *, whole: bool) -> Json:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value or None
    if not math.isfinite(number):
        return value
    return int(value) if whole and str(value).lstrip("-").isdigit() else number


def errors(wrong: Mapping[str, str], blocks: Iterable[Json]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Refusals by field name, as Slack wants them: by the `block_id` of inputs that stand in this dialog; and those that fit none."""
    present = {block.get("block_id") for block in blocks if block.get("type") == "input"}
    shown: dict[str, str] = {}
    homeless: list[str] = []
    for name, reason in wrong.items():
        found = next((block_id(known) for known in (name, f"parameters.{name}", f"mitigations.{name}") if block_id(known) in present), None)
        if found:
            shown[found] = text.plain(reason, 300)
        else:
            homeless.append(reason)
    return shown, tuple(homeless)
