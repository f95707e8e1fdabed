"""How much a change touches at once, against the runbook's ceiling and floor (rule S13). Pure; the runner asks it with the live reading.

What is counted are units: `facts["units"]` says how many the target has and `facts["ready"]` how many of them serve, where the
backend knows; else a whole number in the target's value is taken for both. A change touches as many units as it takes away, or as many
targets as the backend says that it touches. Adding some touches none of those that serve. Several changes as one are not counted: what
serves stands in each of them apart, so a limit over all is refused in words, and a ramp keeps them narrow.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from runbooks.operation import Check, Proposal, Reading
from runbooks.runbook import Guards
from runbooks.value import Json

NAME = "blast_radius"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How many units are `touched`, of how many, and how many are `healthy` now. None is not known, which is never zero."""

    touched: int | None
    units: int | None
    healthy: int | None

    @property
    def left(self) -> int | None:
        """How many healthy ones are surely left."""
        return None if self.healthy is None or self.touched is None else self.healthy - self.touched


def check(guards: Guards, before: Reading, proposal: Proposal) -> Check | None:
    """The pre-check, with its numbers in words; None where the runbook sets neither a ceiling nor a floor."""
    if guards.most is None and guards.floor is None:
        return None
    if proposal.parts:
        return Check(name=NAME, holds=None, text=_uncounted(proposal))
    found = reach(before, proposal)
    parts = [*_ceiling(guards.most, found), *_floor(guards.floor, found)]
    unknown, broken = any(holds is None for holds, _ in parts), any(holds is False for holds, _ in parts)
    return Check(
        name=NAME, holds=False if broken else None if unknown else True, text=f"Blast radius: {'; '.join(said for _, said in parts)}."
    )


def reach(before: Reading, proposal: Proposal) -> Reach:
    """What this change touches, as far as it is known."""
    now, then = _whole(before.value), _whole(proposal.value)
    units = _counted(before.facts.get("units"), now)
    healthy = _counted(before.facts.get("ready"), units)
    if proposal.count > 1:
        return Reach(touched=proposal.count, units=units, healthy=healthy)
    touched = max(now - then, 0) if now is not None and then is not None else None
    return Reach(touched=touched, units=units, healthy=healthy)


def _uncounted(proposal: Proposal) -> str:
    named = ", ".join(dict.fromkeys(part.target for part in proposal.parts))
    return (
        f"Blast radius: {len(proposal.parts)} changes as one ({named}) are not counted together, so `most` and `floor` cannot be kept; "
        "the runbook's owner takes them out, and keeps targets narrow by `ramp` or by actions of their own."
    )


def _ceiling(most: int | str | None, found: Reach) -> list[tuple[bool | None, str]]:
    if most is None:
        return []
    allowed = f"at most {most}" if isinstance(most, int) else f"at most {most.removesuffix('%')} %"
    if found.touched is None:
        return [(None, f"how many it touches is not known, {allowed} are allowed")]
    if isinstance(most, int):
        return [(found.touched <= most, f"it touches {found.touched}, {allowed} are allowed")]
    if found.units is None:
        return [(None, f"it touches {found.touched} of an unknown number, {allowed} are allowed")]
    share = found.touched / found.units if found.units else float(found.touched > 0)
    said = f"it touches {found.touched} of {found.units} ({share * 100:.3g} %), {allowed} are allowed"
    return [(share * 100 <= float(most.removesuffix("%")), said)]


def _floor(floor: int | None, found: Reach) -> list[tuple[bool | None, str]]:
    if floor is None:
        return []
    if found.left is None:
        return [(None, f"how many would stay healthy is not known, {floor} must")]
    holds = found.left >= floor or found.touched == 0  # what takes nothing away is not to blame for what is missing already
    return [(holds, f"{max(found.left, 0)} would stay healthy, at least {floor} must")]


def _counted(said: Json, otherwise: int | None) -> int | None:
    return said if isinstance(said, int) and not isinstance(said, bool) and said >= 0 else otherwise


def _whole(value: Json) -> int | None:
    """The whole number that a value is, or that it holds as its only one."""
    if isinstance(value, Mapping):
        numbers = [one for one in value.values() if isinstance(one, int) and not isinstance(one, bool)]
        return numbers[0] if len(numbers) == 1 else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
