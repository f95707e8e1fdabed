"""Release units (mission D3): model, prompt, retrieval settings, flags and safety rules, in several systems, are one version.

A unit is declared in muster.yaml with its parts and its known releases; `model.rollback` changes all parts as one. Which release runs is
read from the parts and never remembered: a part that fits no release was changed by hand, and that is said. A plan holds every part with
the backend that it was read from: what is configured otherwise by the time of the click, or of the undo, is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from actions.contract import BackendError, CallInvalid, TargetMissing
from actions.operations import MODEL_ROLLBACK
from actions.planning import PINNED
from actions.registry import Registry
from actions.together.several import AsOne, Part, tried
from actions.toolkit import releases
from actions.toolkit.releases import Release
from actions.wording import spoken
from runbooks.operation import Call, Operation, Proposal, ProposedPart, Reading
from runbooks.value import Json

OTHERWISE = "The release unit has other parts in muster.yaml than when this was planned; nothing was sent. Plan again."


class KnownRelease(Release):
    """A release with the value of every part: what its operation's argument is set to."""

    values: dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPart:
    """One part of a unit: the operation that sets it, on which target, by which of its arguments."""

    name: str
    operation: str
    target: str
    argument: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A release unit. `releases` answers the known ones, newest first; it is asked at each look, because manifests grow.

    It raises `BackendError` where the manifest cannot be read.
    """

    name: str
    parts: tuple[UnitPart, ...]
    releases: Callable[[], tuple[KnownRelease, ...]]


class ReleaseUnits(AsOne):
    """The units of one environment, over the backends that serve their parts. Implements `actions.contract.Backend`.

    The value of a unit is {"version": text or None, "parts": {name: value}}.
    """

    name = "release-units"
    world: str | None = None
    operations: tuple[Operation, ...] = (MODEL_ROLLBACK,)

    def __init__(self, units: Sequence[Unit], *, environment: str, registry: Registry) -> None:
        self.environment: str | None = environment
        self._units = {unit.name: unit for unit in units}
        self._registry = registry

    def probe(self, *, timeout: float) -> str:
        """Which release each unit runs."""
        share = timeout / max(len(self._units), 1)
        calls = [Call(operation=MODEL_ROLLBACK.name, target=name, environment=self.environment) for name in self._units]
        return "; ".join(f"{call.target} runs {self._runs(self.read(call, timeout=share))}" for call in calls)

    def read(self, call: Call, *, timeout: float) -> Reading:
        """How every part stands, which release that is, and to which one may go back."""
        reading = super().read(call, timeout=timeout)
        unit = self._unit(call)
        known = unit.releases()
        facts = {
            **reading.facts,
            PINNED: [_pin(part, mine) for part, mine in zip(self._parts(call), unit.parts, strict=True)],
            "releases": releases.facts(known),
            "by_hand": self._by_hand(call, unit, known, reading),
        }
        return reading.model_copy(update={"facts": facts})

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """Every part as the release has it that is asked for."""
        unit, parts = self._unit(call), self._parts(call)
        version = releases.chosen(unit.name, str(call.arguments["to"]), reading)
        found = next((one for one in unit.releases() if one.version == version), None)
        if found is None:
            raise CallInvalid(f"{unit.name} has no release {version}.")
        present = self._readings(parts, reading)
        made = [_proposed(part, mine, found, one) for part, mine, one in zip(parts, unit.parts, present, strict=True)]
        after = [one.model_copy(update={"value": proposal.value}) for one, proposal in zip(present, made, strict=True)]
        return Proposal(
            value=self._whole(call, parts, after),
            before_text=self._runs(reading),
            after_text=f"release {version}",
            note=" ".join(part for part in (_scores(reading, version), str(reading.facts.get("by_hand") or "")) if part),
            parts=tuple(_shown(mine, one) for mine, one in zip(unit.parts, made, strict=True)),
        )

    def _runs(self, reading: Reading) -> str:
        version = releases.version(reading)
        return f"release {version}" if version else "no known release"

    def _unit(self, call: Call) -> Unit:
        found = self._units.get(call.target or "")
        if found is None:
            raise TargetMissing(f"No release unit {call.target} is declared in muster.yaml; there are {', '.join(self._units)}.")
        return found

    def _parts(self, call: Call) -> tuple[Part, ...]:
        unit, pinned = self._unit(call), call.arguments.get(PINNED)
        if pinned is None:
            return tuple(self._part(call, one) for one in unit.parts)
        calls = [Call.model_validate(one["call"]) for one in pinned]
        planned = [
            UnitPart(name=one["part"], operation=it.operation, target=it.target or "", argument=one["sets"])
            for one, it in zip(pinned, calls, strict=True)
        ]
        if tuple(planned) != unit.parts:
            raise CallInvalid(OTHERWISE)
        return tuple(
            Part(name=mine.name, backend=self._registry.planned(one), call=one) for mine, one in zip(unit.parts, calls, strict=True)
        )

    def _part(self, call: Call, part: UnitPart) -> Part:
        bound = self._registry.bound(part.operation, call.environment, call.service, target=part.target)
        named = str(self._registry.operations[part.operation].target)
        inner = Call(
            operation=part.operation,
            arguments={named: part.target},
            target=part.target,
            environment=call.environment,
            service=call.service,
            backend=bound.name,
        )
        return Part(name=part.name, backend=bound.backend, call=inner)

    def _whole(self, call: Call, parts: Sequence[Part], readings: Sequence[Reading]) -> Json:
        """The parts' values with the release that they are. Of two alike the older one is meant: a manifest only grows at its newer end."""
        unit = self._unit(call)
        fitting = [one.version for one in unit.releases() if all(_fits(parts, unit, one, readings))]
        return {
            "version": fitting[-1] if fitting else None,
            "parts": {part.name: one.value for part, one in zip(parts, readings, strict=True)},
        }

    def _values(self, parts: Sequence[Part], value: Json) -> tuple[Json, ...]:
        kept = value.get("parts") if isinstance(value, Mapping) else None
        if not isinstance(kept, Mapping) or set(kept) != {part.name for part in parts}:
            raise CallInvalid(OTHERWISE)
        return tuple(kept[part.name] for part in parts)

    def _by_hand(self, call: Call, unit: Unit, known: Sequence[KnownRelease], reading: Reading) -> str:
        """Which parts fit no release, beside the release that fits best; empty where one fits as a whole."""
        if releases.version(reading) is not None or not known:
            return "" if known else f"No release of {unit.name} is known."
        parts = self._parts(call)
        readings = self._readings(parts, reading)
        fits = {one.version: _fits(parts, unit, one, readings) for one in known}
        near = max(known, key=lambda one: sum(fits[one.version]))
        other = [
            f"{part.name} was changed by hand ({spoken(found.value)}; {near.version} has {spoken(near.values[part.name])})"
            for part, found, right in zip(unit.parts, readings, fits[near.version], strict=True)
            if not right
        ]
        return f"It is no known release: nearest is {near.version}, but {' and '.join(other)}."


def _pin(part: Part, mine: UnitPart) -> dict[str, Json]:
    """A part as a plan holds it, with the backend that it was read from."""
    return {"part": mine.name, "sets": mine.argument, "call": part.call.model_dump(mode="json")}


def _asked(part: Part, mine: UnitPart, release: KnownRelease) -> Call:
    return part.call.model_copy(update={"arguments": {**part.call.arguments, mine.argument: release.values[mine.name]}})


def _proposed(part: Part, mine: UnitPart, release: KnownRelease, reading: Reading) -> Proposal:
    return tried(part, lambda: part.backend.propose(_asked(part, mine, release), reading))


def _fits(parts: Sequence[Part], unit: Unit, release: KnownRelease, readings: Sequence[Reading]) -> list[bool]:
    """By part, whether it is as the release has it: setting it so would change nothing."""
    return [_is_so(part, mine, release, one) for part, mine, one in zip(parts, unit.parts, readings, strict=True)]


def _is_so(part: Part, mine: UnitPart, release: KnownRelease, reading: Reading) -> bool:
    try:
        return bool(part.backend.propose(_asked(part, mine, release), reading).value == reading.value)
    except BackendError:  # it could not be set so now, for instance because nobody is well there; it may stand so all the same
        wanted = release.values[mine.name]
        return bool(reading.value in (wanted, {mine.argument: wanted}))


def _shown(mine: UnitPart, proposal: Proposal) -> ProposedPart:
    return ProposedPart(name=mine.name, target=mine.target, before_text=proposal.before_text, after_text=proposal.after_text)


def _scores(reading: Reading, version: str) -> str:
    scores = {one.version: one.score for one in releases.known(reading)}
    before, after = scores.get(releases.version(reading) or ""), scores.get(version)
    return f"Evaluation score {before:g} → {after:g}." if before is not None and after is not None else ""
