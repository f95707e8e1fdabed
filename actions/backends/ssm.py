"""AWS SSM parameters: `limit.set` writes a number, `route.switch` a text, into a parameter that services read by themselves.

A parameter has versions, but writing takes no condition: the version is compared before, and the one that the write made tells
whether somebody was faster in between. Encrypted parameters are secrets, and no business of a runbook.
https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
"""

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

from actions.contract import BackendError, CallInvalid, OutcomeUnknown, TargetMissing
from actions.kinds import BackendKind, Options, Secrets
from actions.operations import LIMIT_SET, ROUTE_SWITCH
from actions.redaction import redact
from actions.toolkit import aws
from actions.toolkit.understood import understood
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json

OPERATIONS = (LIMIT_SET, ROUTE_SWITCH)
FORM = "a parameter's name, such as /production/answers/max_output_tokens"
MOST_VALUE = 4096  # characters of a standard parameter
_PART = r"(?!\.+(?:/|$))[A-Za-z0-9_.-]+"  # dots alone are a name that somebody means as a way up
_NAME = re.compile(rf"/?{_PART}(/{_PART}){{0,14}}")
_KEPT = {"Description": "description", "AllowedPattern": "pattern", "Tier": "tier"}  # what a write would set back if it did not name it
_LABEL = re.compile(r"(?!aws|ssm)[A-Za-z_.-][A-Za-z0-9_.-]{0,99}")


class Parameters(aws.Lagging):
    """Plain parameters below the configured paths of one region. Implements `actions.contract.Backend`."""

    name = "ssm"
    environment: str | None
    world: str | None = None
    operations: tuple[Operation, ...] = OPERATIONS

    def __init__(
        self,
        *,
        account: aws.Account,
        environment: str,
        below: tuple[str, ...],
        bounds: Mapping[str, tuple[float, float]] | None = None,
        choices: Mapping[str, tuple[str, ...]] | None = None,
        label: str | None = None,
    ) -> None:
        """`below` are the only paths reached; `bounds` and `choices` by parameter; `label` is moved to the version that was written."""
        self._account, self.environment, self._below = account, environment, below
        self._bounds, self._choices, self._label = bounds or {}, choices or {}, label

    def probe(self, *, timeout: float) -> str:
        """Who we are to AWS, and that parameters may be described."""
        return self._account.probe("ssm", "describe_parameters", timeout=timeout, reach="parameters", MaxResults=1)

    def read(self, call: Call, *, timeout: float) -> Reading:
        """The number or text with its version, and who wrote it."""
        name, ask = self._name(call), self._account.asking(timeout=timeout)
        with understood(aws.WHO):
            described = _described(ask, name)
            _plain(name, described["Type"])
            found = ask("ssm", "get_parameter", what=f"parameter {name}", Name=name)["Parameter"]
            _plain(name, found["Type"])
            _checked_by_aws(name, found)
            return _reading(call, found, described)

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The value asked for.

        Raises:
            CallInvalid: it is out of the configured bounds or choices, or not of the parameter's own pattern.
        """
        value = {"value": call.arguments["value"]} if call.operation == LIMIT_SET.name else {"route": call.arguments["route"]}
        if "value" in value and not isfinite(value["value"]):
            raise CallInvalid(f"{call.target} takes a number, not {value['value']}.")
        self._within(call, value)
        text = _text(value)
        _fits(call, text, reading.facts.get("pattern") or "")
        if call.operation == LIMIT_SET.name:
            return Proposal(value=value, before_text=f"{reading.value['value']:,}", after_text=f"{value['value']:,}")
        return Proposal(value=value, before_text=f"route {reading.value['route']}", after_text=f"route {text}")

    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:  # noqa: ARG002
        name, ask, version = self._name(call), self._account.asking(timeout=timeout), int(present.revision or 0)
        kept = {field: present.facts[fact] for field, fact in _KEPT.items() if present.facts[fact]}
        asked = {"Name": name, "Value": _text(value), "Type": "String", "Overwrite": True, **kept}
        answer = ask("ssm", "put_parameter", what=f"parameter {name}", **asked)
        with understood(aws.WHO):
            made = int(answer["Version"])
        if made != version + 1:
            _overwritten(ask, name, value, version=version, made=made)
        if self._label:
            _labelled(ask, name, self._label, made)

    def _name(self, call: Call) -> str:
        name = aws.target(call, _NAME, form=FORM)(0)
        if not any(name.startswith(f"{path.rstrip('/')}/") for path in self._below):
            raise CallInvalid(f"{name} is not below {' or '.join(self._below)}, the only paths that this backend reaches.")
        return name

    def _within(self, call: Call, value: Mapping[str, Json]) -> None:
        name = call.target or ""
        if "value" in value and name in self._bounds:
            low, high = self._bounds[name]
            if not low <= value["value"] <= high:
                raise CallInvalid(f"{name} takes {low:,} to {high:,}, not {value['value']:,}.")
        allowed = self._choices.get(name)
        if "route" in value and allowed and value["route"] not in allowed:
            raise CallInvalid(f"{name} takes {', '.join(allowed)}, not {redact(value['route'], limit=100)}.")


def _described(ask: aws.Asking, name: str) -> Mapping[str, Any]:
    """What is known beside the value. A page of the answer may be empty and not the last.

    Raises:
        TargetMissing: no page has it.
    """
    asked = {"ParameterFilters": [{"Key": "Name", "Option": "Equals", "Values": [name]}]}
    listed = ask.every("ssm", "describe_parameters", what=f"parameter {name}", key="Parameters", more="NextToken", **asked)
    found: Mapping[str, Any] | None = next((one for one in listed if one["Name"] == name), None)
    if found is None:
        raise TargetMissing(f"AWS has no parameter {name} in this region.")
    return found


def _checked_by_aws(name: str, found: Mapping[str, Any]) -> None:
    """AWS accepts a value of another data type first, and refuses it later where nobody looks."""
    kind = found.get("DataType") or "text"
    if kind != "text":
        raise CallInvalid(f"The parameter {name} is of the data type {kind}, not a text or number that services read by themselves.")


def _plain(name: str, kind: str) -> None:
    if kind != "String":
        why = "encrypted, and secrets are not changed from a runbook" if kind == "SecureString" else f"a {kind}, not one value"
        raise CallInvalid(f"The parameter {name} is {why}.")


def _reading(call: Call, found: Mapping[str, Any], described: Mapping[str, Any]) -> Reading:
    text, version = str(found["Value"]), found["Version"]
    value = {"value": _number(call, text)} if call.operation == LIMIT_SET.name else {"route": text}
    same = described.get("Version") == version
    return Reading(
        value=value,
        facts={
            "description": described.get("Description"),
            "pattern": described.get("AllowedPattern"),
            "tier": "Advanced" if described.get("Tier") == "Advanced" else None,  # one cannot be set back, and nothing else asks for it
        },
        revision=str(version),
        changed_by=_who(described.get("LastModifiedUser")) if same else None,
        changed_at=found.get("LastModifiedDate"),
    )


def _who(arn: str | None) -> str | None:
    """The last part of a user's or session's name in full: arn:aws:sts::1:assumed-role/ops/ana is ana."""
    return arn.rpartition("/")[2] or None if arn and arn.startswith("arn:") else None


def _number(call: Call, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise CallInvalid(f"The parameter {call.target} holds {redact(text, limit=60)!r}, which is no number.")
    return int(number) if number.is_integer() else number


def _text(value: Mapping[str, Json]) -> str:
    """As it is written into the parameter: a whole number without a fraction, since readers take it for an integer."""
    if "route" in value:
        return str(value["route"])
    number = value["value"]
    return str(int(number)) if float(number).is_integer() else repr(float(number))


def _fits(call: Call, text: str, pattern: str) -> None:
    if not text.strip() or len(text) > MOST_VALUE or not text.isprintable():
        raise CallInvalid(f"{call.target} takes one line of 1 to {MOST_VALUE:,} characters.")
    if "{{" in text:
        raise CallInvalid(f"{call.target}: a value with {{{{ would refer to another parameter.")
    try:
        fits = not pattern or re.fullmatch(pattern, text) is not None
    except re.error:
        return  # written for another dialect; then the far side alone can tell
    if not fits:
        raise CallInvalid(f"{call.target} takes only what its pattern {redact(pattern, limit=100)} allows, not {redact(text, limit=60)}.")


def _overwritten(ask: aws.Asking, name: str, value: Json, *, version: int, made: int) -> None:
    """Somebody wrote between the look and our write. That is only said where it was something else than what is wanted."""
    if made <= version:
        raise OutcomeUnknown(
            f"Someone else deleted {name} in the same moment, and ours made it anew (version {made}, {redact(_text(value), limit=60)}), "
            "without its tags. Decide which is meant."
        )
    try:
        with understood(aws.WHO):
            lost = [
                str(ask("ssm", "get_parameter", what=f"parameter {name}", Name=f"{name}:{one}")["Parameter"]["Value"])
                for one in range(max(version + 1, made - 3), made)
            ]
    except BackendError as error:
        raise OutcomeUnknown(f"{name} was written by someone else in the same moment, and it cannot be seen what: {error}") from error
    other = next((text for text in reversed(lost) if text != _text(value)), None)
    if other is not None:
        raise OutcomeUnknown(
            f"Someone else set {name} to {redact(other, limit=60)} in the same moment (version {made - 1}), and ours overwrote it "
            f"(version {made}, {redact(_text(value), limit=60)}). Decide which is meant."
        )


def _labelled(ask: aws.Asking, name: str, label: str, version: int) -> None:
    """Mark the version as written by us. The value stands already, so that a label that cannot be set is no failure of the change."""
    try:
        ask("ssm", "label_parameter_version", what=f"parameter {name}", Name=name, ParameterVersion=version, Labels=[label])
    except BackendError:
        return


def build(options: Options, secrets: Secrets) -> Parameters:
    """Options beside those of `actions.toolkit.aws.account`: `below` (needed), `bounds`, `choices`, `label`.

    Raises:
        SettingsInvalid: one of them cannot be meant.
    """
    below, label = options.texts("below"), options.text("label", None)
    if not below or not all(path.startswith("/") and path.strip("/") and _NAME.fullmatch(path.rstrip("/")) for path in below):
        raise options.invalid("below", "must name at least one path, such as /production/answers")
    if label is not None and not _LABEL.fullmatch(label):
        raise options.invalid("label", f"is {label!r}; letters, digits, dot, hyphen and underscore, not beginning with aws or ssm")
    return Parameters(
        account=aws.account(options, secrets),
        environment=options.text("environment"),
        below=below,
        bounds=_bounds(options),
        choices=_choices(options),
        label=label,
    )


def _bounds(options: Options) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for name, given in options.get("bounds", dict, {}).items():
        ends = (given.get("minimum"), given.get("maximum")) if isinstance(given, Mapping) else ()
        numbers = [end for end in ends if isinstance(end, int | float) and not isinstance(end, bool)]
        if len(numbers) != 2 or numbers[0] > numbers[1]:
            raise options.invalid(f"bounds.{name}", "takes minimum and maximum, two numbers")
        found[str(name)] = (numbers[0], numbers[1])
    return found


def _choices(options: Options) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, given in options.get("choices", dict, {}).items():
        if not isinstance(given, list) or not given or not all(isinstance(one, str) for one in given):
            raise options.invalid(f"choices.{name}", "takes a list of texts")
        found[str(name)] = tuple(given)
    return found


KIND = BackendKind(name="ssm", operations=OPERATIONS, build=build, options=aws.OPTIONS | {"below", "bounds", "choices", "label"})
