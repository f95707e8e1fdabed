"""AWS SageMaker endpoints: `model.rollback` puts back an earlier endpoint configuration, `route.switch` shifts traffic between variants.

A route is a variant that takes all traffic (`blue`), or weights (`blue=9,green=1`). An endpoint has no version to compare by, and says
only while it is being updated what it is being updated to: that counts as its value, since it is what was set. How far it has come
stands in the facts. Changes take minutes; a short wait shows those that fail at once.
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html
"""

import re
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from actions.comparing import Comparing, afterwards, before
from actions.contract import CallInvalid, Conflict, Rejected
from actions.kinds import BackendKind, Options, Secrets
from actions.operations import MODEL_ROLLBACK, ROUTE_SWITCH
from actions.redaction import redact
from actions.toolkit import aws, marks
from actions.toolkit.marks import Marked, Marks
from actions.toolkit.understood import understood
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json

OPERATIONS = (MODEL_ROLLBACK, ROUTE_SWITCH)
FORM = "the name of a SageMaker endpoint, such as answers"
WAIT = 8.0  # seconds to watch a change that was accepted; a refused configuration fails within a few
_PAUSE = 1.0  # seconds between two looks meanwhile
_KEPT = 3.0  # seconds that are left for the last look
_LOOKED_AT = 10  # configurations back from the present one whose tags are read; each is a request of its own
_NEWER = 3  # configurations after it, likewise: somebody may want to go on from an earlier rollback
_LISTED = 100  # configurations that one request lists at most
_LONGEST = 63  # characters of a name that can be asked for
_NAME = re.compile(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,62}")
_READY = {"InService", "UpdateRollbackFailed"}  # a failed rollback is mended by another update
_MOVING = {"Creating", "Updating", "SystemUpdating", "RollingBack"}


class SageMaker(Comparing):
    """Endpoints of one region. Implements `actions.contract.Backend`.

    The releases of an endpoint are the configurations whose name begins with `prefixes[endpoint]`, by default with the endpoint's name
    and a hyphen.
    """

    name = "sagemaker"
    environment: str | None
    world: str | None = None
    operations: tuple[Operation, ...] = OPERATIONS

    def __init__(
        self,
        *,
        account: aws.Account,
        environment: str,
        marks: Marks,
        prefixes: Mapping[str, str] | None = None,
        wait: float = WAIT,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._account, self.environment, self._marks = account, environment, marks
        self._prefixes, self._wait, self._pause = prefixes or {}, wait, pause

    def probe(self, *, timeout: float) -> str:
        """Who we are to AWS, and that endpoints may be seen."""
        return self._account.probe("sagemaker", "list_endpoints", timeout=timeout, reach="SageMaker endpoints", MaxResults=1)

    def read(self, call: Call, *, timeout: float) -> Reading:
        """The configuration, with what could be gone back to, or the route; the endpoint's status as a fact."""
        name, ask = _name(call), self._account.asking(timeout=timeout)
        with understood(aws.WHO):
            found = _endpoint(ask, name)
            if call.operation == ROUTE_SWITCH.name:
                return _routed(found)
            present = _configured(found)
            return Reading(value={"version": present}, facts={**_facts(found), **self._releases(ask, name, present)})

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The configuration or the route asked for.

        Raises:
            CallInvalid: the endpoint cannot be changed now, or there is no such release or variant.
        """
        status = reading.facts["status"]
        if status not in _READY:
            until = "Wait until it is InService." if status in _MOVING else f"It must be made anew. {reading.facts['failure']}".strip()
            raise CallInvalid(f"The endpoint {call.target} is {status} and takes no change now. {until}")
        if call.operation == MODEL_ROLLBACK.name:
            return marks.rollback(call, reading)
        wanted = _text(_weights(call, reading))
        return Proposal(value={"route": wanted}, before_text=f"route {reading.value['route']}", after_text=f"route {wanted}")

    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:  # noqa: ARG002
        """Send it, and watch it for a moment. After a rollback the number of instances stays as it is now, not as it once was."""
        ask = self._account.asking(timeout=timeout)
        try:
            _send(ask, _name(call), value, present=present)
        except Rejected:
            self._explained(ask, call, value, present=present)
            raise
        afterwards(lambda: self._watched(ask, call, value))

    def _explained(self, ask: aws.Asking, call: Call, value: Json, *, present: Reading) -> None:
        """An update in progress refuses another: raise `Conflict` where somebody else's came first."""
        reading = before(lambda: _looked(ask, call, value))
        if reading.value != present.value:
            raise Conflict(f"Someone else changed {call.target} meanwhile.", current=reading)

    def _watched(self, ask: aws.Asking, call: Call, value: Json) -> Reading:
        """Look until it is in service as wanted, or the wait is over."""
        left = self._wait
        while True:
            reading = _looked(ask, call, value)
            done = reading.facts["status"] == "InService" and reading.value == value
            if done or left < _PAUSE or ask.left() < _PAUSE + _KEPT:
                return reading
            left -= _PAUSE
            self._pause(_PAUSE)

    def _releases(self, ask: aws.Asking, endpoint: str, present: str) -> dict[str, Json]:
        """The present configuration, and those of the endpoint's, newest first; the tags of some that are older than it."""
        mine = self._listed(ask, self._prefixes.get(endpoint, f"{endpoint}-"), present)
        since = mine[present]["CreationTime"]
        older = [name for name, one in mine.items() if one["CreationTime"] <= since and name != present]
        newer = [name for name, one in mine.items() if one["CreationTime"] > since]
        looked_at = {present, *older[: _LOOKED_AT - 1], *newer[-_NEWER:]}
        every = {name: self._release(ask, one, tagged=name in looked_at) for name, one in mine.items()}
        return marks.facts(list(every.values()), present=every[present])

    def _listed(self, ask: aws.Asking, prefix: str, present: str) -> dict[str, Mapping[str, Any]]:
        """The present configuration, and those with this prefix, newest first, as far back as they are looked at."""
        about = ask("sagemaker", "describe_endpoint_config", what=f"configuration {present}", EndpointConfigName=present)
        asked = {"NameContains": prefix[:_LONGEST], "SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": _LISTED}
        listed = ask.every("sagemaker", "list_endpoint_configs", what="configurations", key="EndpointConfigs", more="NextToken", **asked)
        mine: dict[str, Mapping[str, Any]] = {}
        older = 0
        for one in listed:
            if one["EndpointConfigName"].startswith(prefix):
                mine[one["EndpointConfigName"]] = one
                older += one["CreationTime"] <= about["CreationTime"]
            if older > _LOOKED_AT:
                break
        return {present: about} | mine

    def _release(self, ask: aws.Asking, config: Mapping[str, Any], *, tagged: bool) -> Marked:
        name, at = config["EndpointConfigName"], config["CreationTime"]
        if not tagged:
            return Marked(version=name, order=at.timestamp(), at=at, read=False)
        found = ask("sagemaker", "list_tags", what=f"tags of {name}", ResourceArn=config["EndpointConfigArn"])
        return self._marks.release(name, order=at.timestamp(), at=at, tags=aws.tags(found["Tags"]))


def _name(call: Call) -> str:
    return aws.target(call, _NAME, form=FORM)(0)


def _what(name: str) -> str:
    return f"SageMaker endpoint {name}"


def _endpoint(ask: aws.Asking, name: str) -> dict[str, Any]:
    return ask("sagemaker", "describe_endpoint", what=_what(name), EndpointName=name)


def _looked(ask: aws.Asking, call: Call, value: Json) -> Reading:
    """The endpoint as a value of the same kind, without what it could go back to."""
    with understood(aws.WHO):
        found = _endpoint(ask, _name(call))
        return _routed(found) if "route" in value else Reading(value={"version": _configured(found)}, facts=_facts(found))


def _send(ask: aws.Asking, name: str, value: Json, *, present: Reading) -> None:
    """The one request that changes something."""
    if "version" in value:
        ask("sagemaker", "update_endpoint", what=_what(name), EndpointName=name, EndpointConfigName=value["version"], **_kept(present))
        return
    weights = {**dict.fromkeys(present.facts["variants"], 0.0), **_parsed(value["route"])}
    wanted = [{"VariantName": variant, "DesiredWeight": weight} for variant, weight in weights.items()]
    ask("sagemaker", "update_endpoint_weights_and_capacities", what=_what(name), EndpointName=name, DesiredWeightsAndCapacities=wanted)


def _configured(found: Mapping[str, Any]) -> str:
    """The configuration that was set last, be it still on its way."""
    pending = found.get("PendingDeploymentSummary") or {}
    return str(pending.get("EndpointConfigName") or found["EndpointConfigName"])


def _facts(found: Mapping[str, Any]) -> dict[str, Json]:
    variants = found.get("ProductionVariants", ())
    return {
        "status": found["EndpointStatus"],
        "failure": redact(str(found.get("FailureReason") or ""), limit=200),
        "variants": [one["VariantName"] for one in variants],
        "empty": [one["VariantName"] for one in variants if one.get("CurrentInstanceCount") == 0 and "CurrentServerlessConfig" not in one],
        "counted": any(one.get("DesiredInstanceCount") for one in variants),
        "guarded": bool(found.get("LastDeploymentConfig")),
    }


def _kept(present: Reading) -> dict[str, Json]:
    """What an update keeps of the present endpoint: its instances, which scaling chose, and its deployment's alarms and steps."""
    kept: dict[str, Json] = {}
    if present.facts["counted"]:
        others = [{"VariantPropertyType": "DesiredWeight"}, {"VariantPropertyType": "DataCaptureConfig"}]
        kept |= {"RetainAllVariantProperties": True, "ExcludeRetainedVariantProperties": others}
    return kept | ({"RetainDeploymentConfig": True} if present.facts["guarded"] else {})


def _routed(found: Mapping[str, Any]) -> Reading:
    weights = {
        one["VariantName"]: float(one.get("DesiredWeight", one.get("CurrentWeight", 1.0))) for one in found.get("ProductionVariants", ())
    }
    return Reading(value={"route": _text(weights)}, facts=_facts(found))


def _text(weights: Mapping[str, float]) -> str:
    """The one variant that takes all traffic, or every variant with a weight."""
    taking = {name: weight for name, weight in sorted(weights.items()) if weight > 0}
    if len(taking) == 1:
        return next(iter(taking))
    return ",".join(f"{name}={_written(weight)}" for name, weight in taking.items()) or "nowhere"


def _written(weight: float) -> str:
    """A weight in as many digits as the API keeps, never with an exponent: what is read must be what can be put back."""
    return format(Decimal(f"{weight:.6g}"), "f")


def _parsed(route: str) -> dict[str, float]:
    """The weights of a route as written; a variant alone has all of it.

    Raises:
        CallInvalid: it is no route.
    """
    found: dict[str, float] = {}
    for part in route.split(","):
        name, equals, weight = part.strip().partition("=")
        if not _NAME.fullmatch(name) or name in found or (equals and not re.fullmatch(r"\d{1,12}(\.\d{1,12})?", weight)):
            raise CallInvalid(f"{redact(route, limit=100)!r} is no route; write a variant such as blue, or weights such as blue=9,green=1.")
        found[name] = float(weight) if equals else 1.0
    if not any(found.values()) or (len(found) > 1 and "=" not in route):
        raise CallInvalid(f"{redact(route, limit=100)!r} is no route; at least one variant must have a weight.")
    return found


def _weights(call: Call, reading: Reading) -> dict[str, float]:
    wanted, there = _parsed(call.arguments["route"]), reading.facts["variants"]
    unknown = [name for name in wanted if name not in there]
    if unknown:
        raise CallInvalid(f"The endpoint {call.target} has no variant {', '.join(unknown)}; it has {', '.join(there)}.")
    empty = [name for name, weight in wanted.items() if weight and name in reading.facts["empty"]]
    if empty:
        raise CallInvalid(f"The variant {', '.join(empty)} of {call.target} has no instance that could take traffic. Scale it first.")
    return wanted


def build(options: Options, secrets: Secrets) -> SageMaker:
    """See `actions.toolkit.aws.account` for the account's options, `actions.toolkit.marks` for what marks a configuration as good.

    Raises:
        SettingsInvalid: an option cannot be meant.
    """
    prefixes = options.get("prefixes", dict, {})
    if not all(isinstance(one, str) and _NAME.fullmatch(one.rstrip("-")) for one in prefixes.values()):
        raise options.invalid("prefixes", "takes, for each endpoint, how the names of its configurations begin")
    return SageMaker(
        account=aws.account(options, secrets),
        environment=options.text("environment"),
        marks=marks.marks(options),
        prefixes=prefixes,
    )


KIND = BackendKind(name="sagemaker", operations=OPERATIONS, build=build, options=aws.OPTIONS | marks.OPTIONS | {"prefixes"})
