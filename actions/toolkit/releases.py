"""The releases of a unit: which are known to be good, and which of them to go back to.

A backend that serves `model.rollback` names them in `Reading.facts["releases"]`, newest first, each as {"version": text, "at": time or
null, "score": number or null, "good": true, false or null (not known), "note": text}.
"""

from collections.abc import Sequence

from actions.contract import CallInvalid
from runbooks.operation import Reading
from runbooks.runbook import LAST_KNOWN_GOOD
from runbooks.value import Json, Moment, Value

MOST = 10
"""Releases to choose from: an older one is no answer at night."""


class Release(Value):
    """One known release. `score` is that of its evaluation, higher being better; `at` when it was released."""

    version: str
    at: Moment | None = None
    score: float | None = None
    good: bool | None = None
    note: str = ""


def known(reading: Reading) -> tuple[Release, ...]:
    """Every release that the backend names, newest first; of a sequence those of the first part that has any."""
    listed = reading.facts.get("releases")
    if listed is None:
        parts = (Reading.model_validate(one) for one in reading.facts.get("parts") or ())
        return next((found for part in parts if (found := known(part))), ())
    return tuple(Release.model_validate({name: one[name] for name in Release.model_fields if name in one}) for one in listed)


def candidates(reading: Reading) -> tuple[Release, ...]:
    """What one may go back to, newest first: known to be good, and not what is running."""
    running = version(reading)
    return tuple(one for one in known(reading) if one.good and one.version != running)[:MOST]


def version(reading: Reading) -> str | None:
    """The version that is running; None where the present state is no known release."""
    found = reading.value.get("version") if isinstance(reading.value, dict) else None
    return str(found) if found else None


def chosen(target: str, wanted: str, reading: Reading) -> str:
    """The version that is meant by a name or by `last_known_good`. A backend that names no releases is asked with the word itself.

    Raises:
        CallInvalid: there is no such release, it is not known to be good, or it is running.
    """
    releases, may = known(reading), candidates(reading)
    if not releases:
        return wanted
    if wanted == LAST_KNOWN_GOOD:
        return _last_known_good(target, reading, may)
    if any(one.version == wanted for one in may):
        return wanted
    if wanted == version(reading):
        raise CallInvalid(f"{target} runs {wanted} already.")
    if any(one.version == wanted for one in releases):
        raise CallInvalid(f"{wanted} is not known to be good; {_offered(may)}.")
    raise CallInvalid(f"{target} has no release {wanted}; {_offered(may)}.")


def _last_known_good(target: str, reading: Reading, may: Sequence[Release]) -> str:
    named = reading.facts.get("last_known_good")
    if named in [one.version for one in may]:
        return str(named)
    running = next((place for place, one in enumerate(known(reading)) if one.version == version(reading)), -1)
    earlier = [one.version for place, one in enumerate(known(reading)) if place > running and one in may]
    if not earlier:
        raise CallInvalid(f"{target} has no earlier release that is known to be good; there is nothing to roll back to.")
    return earlier[0]


def _offered(may: Sequence[Release]) -> str:
    return f"known to be good are {', '.join(one.version for one in may)}" if may else "none is known to be good"


def facts(releases: Sequence[Release]) -> list[Json]:
    """The releases as `Reading.facts["releases"]` has them."""
    return [one.model_dump(mode="json", include=set(Release.model_fields)) for one in releases]
