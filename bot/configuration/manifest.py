"""The known releases of a unit: from muster.yaml, or from a manifest that a release pipeline writes and that is read at each look."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from actions.contract import Rejected
from actions.together.units import KnownRelease
from bot.configuration import Configuration, checks
from bot.configuration.moments import moment_of
from bot.configuration.reading import fitted, read_file
from bot.configuration.schema import Manifest, ReleaseEntry, ReleaseUnitEntry
from runbooks.errors import Problem, SettingsInvalid


def reader(configuration: Configuration, unit: str) -> Callable[[], tuple[KnownRelease, ...]]:
    """What answers the known releases of this unit, newest first, whenever it is asked.

    Raises:
        SettingsInvalid: the manifest cannot be read, or is wrong. What breaks later is `actions.contract.Rejected` when it is asked.
    """
    entry, zone = configuration.file.release_units[unit], ZoneInfo(configuration.file.time_zone)
    if entry.manifest is None:
        listed = known(entry.releases, zone=zone)
        return lambda: listed
    path = Path(configuration.path).parent / entry.manifest
    read(path, entry, zone=zone)
    return partial(_later, path, entry, zone)


def read(path: Path, unit: ReleaseUnitEntry, *, zone: ZoneInfo) -> tuple[KnownRelease, ...]:
    """The releases in a manifest.

    Raises:
        SettingsInvalid: it cannot be read, or a release in it is wrong.
    """
    document, problems = read_file(path), list[Problem]()
    found = fitted(Manifest, document.data, document, (), problems)
    listed = found.releases if found else ()
    problems += [document.problem(("releases", at, *place), reason) for at, place, reason in checks.incomplete(unit, listed)]
    if problems:
        raise SettingsInvalid(problems)
    return known(listed, zone=zone)


def known(entries: Iterable[ReleaseEntry], *, zone: ZoneInfo) -> tuple[KnownRelease, ...]:
    """The releases in the core's words; ordered by their time where all have one, else as they are listed."""
    found = [
        KnownRelease(
            version=one.version,
            at=moment_of(one.at, zone) if one.at is not None else None,
            score=one.score,
            good=one.good,
            note=one.note,
            values=dict(one.values),
        )
        for one in entries
    ]
    if all(one.at is not None for one in found):
        found.sort(key=lambda one: one.at.timestamp() if one.at else 0.0, reverse=True)
    return tuple(found)


def _later(path: Path, unit: ReleaseUnitEntry, zone: ZoneInfo) -> tuple[KnownRelease, ...]:
    try:
        return read(path, unit, zone=zone)
    except SettingsInvalid as error:
        raise Rejected(f"The list of known releases cannot be read, so nothing was changed: {error.problems[0]}.") from error
