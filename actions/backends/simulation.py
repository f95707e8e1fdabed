"""The simulated AI service: flags, releases, pools, retries, routes and limits, over its wire API (actions/simulation/README.md).

One module because it is one system: every target is read, and written by compare-and-set, in the same way.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from actions.contract import BackendError, CallInvalid, OutcomeUnknown
from actions.kinds import BackendKind, Options, Secrets
from actions.operations import CLUSTER_SCALE, FLAG_DISABLE, FLAG_SET, LIMIT_SET, MODEL_ROLLBACK, RETRIES_CAP, ROUTE_SWITCH
from actions.toolkit.releases import Release, facts
from actions.toolkit.understood import understood
from actions.toolkit.wire import Answer, Wire, refuse
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json

WHO = "The simulated service"
MOST_BY = 200  # characters of a name that its wire takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of target: its place in the wire API, the field that holds its setting (None: the value is the setting), its words."""

    path: str
    operation: Operation
    field: str | None
    wanted: Callable[[Call, Reading], Json]
    words: Callable[[Json], str]

    def value(self, found: Json) -> Json:
        """Only what was set: how far the far side has come with it is no part of the state compared."""
        if self.field is None:
            return found
        if not isinstance(found, Mapping) or self.field not in found:
            raise OutcomeUnknown(f"{WHO} describes a {self.path} without {self.field}.")
        return {self.field: found[self.field]}

    def shown(self, value: Json) -> str:
        """The value as people say it."""
        return self.words(value if self.field is None else value[self.field])


def _number(value: Json) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _counted(one: str, many: str) -> Callable[[Json], str]:
    return lambda value: f"{value} {one if value == 1 else many}"


def _release(call: Call, reading: Reading) -> Json:
    """The release to run: the one named, or the last known good one that is not running now."""
    present, wanted = reading.value["version"], call.arguments["to"]
    if wanted != "last_known_good":
        if wanted not in reading.facts.get("versions", ()):
            raise CallInvalid(f"{call.target} has no release {wanted}; there are {', '.join(reading.facts.get('versions', ()))}.")
        return {"version": wanted}
    good = reading.facts.get("last_known_good")
    if not good or good == present:
        raise CallInvalid(f"{call.target} has no earlier release that is known to be good; there is nothing to roll back to.")
    return {"version": good}


KINDS: tuple[Kind, ...] = (
    Kind(
        path="flag",
        operation=FLAG_DISABLE,
        field=None,
        wanted=lambda _call, _reading: False,
        words=lambda value: "on" if value else "off",
    ),
    Kind(
        path="flag",
        operation=FLAG_SET,
        field=None,
        wanted=lambda call, _reading: call.arguments["on"],
        words=lambda value: "on" if value else "off",
    ),
    Kind(
        path="release",
        operation=MODEL_ROLLBACK,
        field="version",
        wanted=_release,
        words=lambda value: f"release {value}",
    ),
    Kind(
        path="pool",
        operation=CLUSTER_SCALE,
        field="replicas",
        wanted=lambda call, _reading: {"replicas": call.arguments["replicas"]},
        words=_counted("replica", "replicas"),
    ),
    Kind(
        path="retries",
        operation=RETRIES_CAP,
        field="attempts",
        wanted=lambda call, _reading: {"attempts": call.arguments["attempts"]},
        words=_counted("attempt", "attempts"),
    ),
    Kind(
        path="route",
        operation=ROUTE_SWITCH,
        field="route",
        wanted=lambda call, _reading: {"route": call.arguments["route"]},
        words=lambda value: f"route {value}",
    ),
    Kind(
        path="limit",
        operation=LIMIT_SET,
        field="value",
        wanted=lambda call, _reading: {"value": call.arguments["value"]},
        words=_number,
    ),
)
_KIND = {kind.operation.name: kind for kind in KINDS}
OPERATIONS = tuple(kind.operation for kind in KINDS)


class Simulation:
    """The targets of one simulated world. Implements `actions.contract.Backend`."""

    name = "simulation"
    operations = OPERATIONS

    def __init__(self, *, url: str, environment: str | None = "production", world: str | None = None) -> None:
        self.environment, self.world = environment, world
        self._wire = Wire(who=WHO, base=world_url(url, world))

    @understood(WHO)
    def read(self, call: Call, *, timeout: float) -> Reading:
        """The target's setting with its version; for a release unit also what it could go back to."""
        kind = _kind(call)
        answer = self._wire.send("GET", _path(kind, call), timeout=timeout)
        refuse(answer, who=WHO, what=f"{kind.path} {call.target}")
        reading = _reading(kind, answer.json())
        if kind.path != "release":
            return reading
        return reading.model_copy(update={"facts": {**reading.facts, **self._releases(call, timeout=timeout)}})

    @understood(WHO)
    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The setting that the call asks for; refused where it is out of the bounds that the target names."""
        kind = _kind(call)
        value = kind.wanted(call, reading)
        _within(kind, value, reading.facts.get("bounds") or {}, target=call.target or "")
        return Proposal(value=value, before_text=kind.shown(reading.value), after_text=kind.shown(value), note=_note(kind, value, reading))

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """Write the setting if the target still has the version that `expected` was read at."""
        kind = _kind(call)
        what = f"{kind.path} {call.target}"
        if expected.revision is None:
            raise CallInvalid(f"{what} was read without a version; nothing was sent.")
        body = {"value": value, "if_version": int(expected.revision), "by": f"muster/{key}"[:MOST_BY], "key": key}
        answer = self._wire.send("PUT", _path(kind, call), body=body, timeout=timeout)
        refuse(answer, who=WHO, what=what, conflict=lambda: _reading(kind, _current(answer)))
        return _changed(kind, answer)

    def _releases(self, call: Call, *, timeout: float) -> dict[str, Json]:
        answer = self._wire.send("GET", f"/releases/{quote(call.target or '', safe='')}", timeout=timeout)
        refuse(answer, who=WHO, what=f"release unit {call.target}")
        found = answer.json()
        listed = found.get("versions") or found.get("releases") or [] if isinstance(found, Mapping) else found
        return {
            "versions": [str(one.get("version")) for one in listed],
            "scores": {str(one.get("version")): one.get("evaluation") for one in listed},
            "releases": facts([_known(one) for one in listed]),
        }


def _known(one: Mapping[str, Json]) -> Release:
    return Release(
        version=str(one.get("version")),
        at=one.get("released_at"),
        score=one.get("evaluation"),
        good=bool(one.get("known_good")),
        note=str(one.get("note") or ""),
    )


def world_url(url: str, world: str | None) -> str:
    """Where a world's API begins: the main one at the root, every other below its name."""
    return url.rstrip("/") if world is None else f"{url.rstrip('/')}/worlds/{quote(world, safe='')}"


def _kind(call: Call) -> Kind:
    if call.operation not in _KIND:
        raise CallInvalid(f"{WHO} has no operation {call.operation}.")
    if not call.target:
        raise CallInvalid(f"{call.operation} needs a target.")
    return _KIND[call.operation]


def _path(kind: Kind, call: Call) -> str:
    """Each part of the name is quoted, so that no label can leave the kind it was meant for; dots alone would climb."""
    parts = (call.target or "").split("/")
    if any(part in {"", ".", ".."} for part in parts):
        raise CallInvalid(f"{call.target!r} is no name of a {kind.path}.")
    return f"/targets/{kind.path}/" + "/".join(quote(part, safe="") for part in parts)


def _reading(kind: Kind, found: Json) -> Reading:
    if not isinstance(found, Mapping) or "value" not in found or "version" not in found:
        raise OutcomeUnknown(f"{WHO} describes a {kind.path} without value and version.")
    value = found["value"]
    facts: dict[str, Json] = {"bounds": found.get("bounds") or {}}
    if isinstance(value, Mapping):
        facts.update({key: entry for key, entry in value.items() if key != kind.field})
    return Reading(
        value=kind.value(value),
        facts=facts,
        revision=str(found["version"]),
        changed_by=found.get("changed_by"),
        changed_at=found.get("changed_at"),
    )


def _current(answer: Answer) -> Json:
    found = answer.json()
    return found.get("current") if isinstance(found, Mapping) else None


def _changed(kind: Kind, answer: Answer) -> Reading:
    """A 2xx that cannot be read still means that something was changed."""
    try:
        return _reading(kind, answer.json())
    except (BackendError, ValueError, TypeError, AttributeError) as error:
        raise OutcomeUnknown(f"{WHO} accepted the change and answered something that cannot be read.") from error


def _within(kind: Kind, value: Json, bounds: Mapping[str, Json], *, target: str) -> None:
    wanted = value if kind.field is None else value[kind.field]
    low, high, choices = bounds.get("minimum"), bounds.get("maximum"), bounds.get("choices")
    if isinstance(wanted, int | float) and ((low is not None and wanted < low) or (high is not None and wanted > high)):
        raise CallInvalid(f"{target} takes {_number(low)} to {_number(high)}, not {_number(wanted)}.")
    if choices and wanted not in choices:
        raise CallInvalid(f"{target} takes {', '.join(map(str, choices))}, not {wanted}.")


def _note(kind: Kind, value: Json, reading: Reading) -> str:
    """For a release: the evaluation scores of both, which is what a person decides by."""
    if kind.path != "release":
        return ""
    scores = reading.facts.get("scores") or {}
    before, after = scores.get(reading.value["version"]), scores.get(value["version"])
    return f"Evaluation score {before} → {after}." if before is not None and after is not None else ""


def build(options: Options, secrets: Secrets) -> Simulation:  # noqa: ARG001 - the simulation has no credentials
    """The main world, or with `world` one of a drill's."""
    return Simulation(url=options.text("url"), environment=options.text("environment", "production"), world=options.text("world", None))


KIND = BackendKind(name="simulation", operations=OPERATIONS, build=build, options=frozenset({"url", "environment", "world"}))
