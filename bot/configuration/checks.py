"""What one part of the file says about another: names that exist, people who can be reached, grants that grant something."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from zoneinfo import ZoneInfo

from bot.configuration import freezing
from bot.configuration.moments import moment_of
from bot.configuration.reading import Document
from bot.configuration.schema import ChangeFreeze, File, OnCallPlan, Override, ReleaseEntry, ReleaseUnitEntry
from runbooks.errors import Problem

Found = Iterator[tuple[tuple[str | int, ...], str]]
"""Places and reasons."""


def problems_of(file: File, document: Document, on_call: Document, prefix: tuple[str, ...]) -> list[Problem]:
    """Everything that does not hold together. `on_call` is the document that the plan stands in, under `prefix`."""
    found = [document.problem(place, reason) for check in _CHECKS for place, reason in check(file)]
    found += [on_call.problem((*prefix, *place), reason) for place, reason in _plan(file)]
    return found


def _people(file: File) -> Found:
    for field in ("slack_id", "email", "login"):
        first: dict[str, str] = {}
        for person_id, person in file.people.items():
            value = getattr(person, field)
            if value is None:
                continue
            if other := first.get(value.lower()):
                yield ("people", person_id, field), f"is also that of {other}; one of the two would act as the other"
            first.setdefault(value.lower(), person_id)
    for person_id, person in file.people.items():
        if not (person.slack_id or person.email):
            yield ("people", person_id), "has neither slack_id nor email, so nobody in Slack can be this person"


def _teams(file: File) -> Found:
    for team_id, team in file.teams.items():
        if not team.members and team.user_group is None:
            yield ("teams", team_id, "members"), "is empty; a team without people owns nothing"
        for at, member in enumerate(team.members):
            yield from _known(("teams", team_id, "members", at), member, file.people, "person")
        if team.lead is not None:
            yield from _known(("teams", team_id, "lead"), team.lead, file.people, "person")


def _services(file: File) -> Found:
    for name, service in file.services.items():
        owners: list[tuple[tuple[str, ...], str]] = [(("services", name, "owner"), service.owner)]
        owners += [(("services", name, "owners", kind.value), owner) for kind, owner in service.owners.items()]
        for place, owner in owners:
            yield from _known(place, owner, file.teams, "team")
            if owner in file.teams and not _reachable(owner, file):
                yield place, f"{owner} cannot be reached: give it an entry in on_call.teams, or a lead"


def _reachable(team: str, file: File) -> bool:
    return bool(file.on_call.teams.get(team) or file.teams[team].lead)


def _permissions(file: File) -> Found:
    for at, grant in enumerate(file.permissions):
        kind, _, name = grant.who.partition(":")
        if kind in {"person", "team", "on-call"}:
            known = file.people if kind == "person" else file.teams
            yield from _known(("permissions", at, "who"), name, known, "person" if kind == "person" else "team")
        if grant.run is None and grant.approve is None and not grant.admin:
            yield ("permissions", at), "grants nothing; say run, approve or admin"
        if grant.who == "anyone" and (grant.admin or grant.approve):
            yield ("permissions", at), "anyone in Slack, guests too, could approve or change settings; name a team or people"
        for n, service in enumerate(grant.services):
            if service != "*":
                yield from _known(("permissions", at, "services", n), service, file.services, "service")


def _tokens(file: File) -> Found:
    for name, token in file.tokens.items():
        if token.person is not None:
            yield from _known(("tokens", name, "person"), token.person, file.people, "person")
        elif token.may != "read":
            what = "changes" if token.may == "write" else "proposes"
            yield ("tokens", name, "may"), f"a token without a person may only read; name the person who answers for what it {what}"
    first: dict[str, str] = {}
    for name, token in file.tokens.items():
        for ref in token.secret:
            if other := first.get(str(ref)):
                yield ("tokens", name, "secret"), f"is also that of {other}; nobody could tell the two apart"
            first.setdefault(str(ref), name)


def _autonomy(file: File) -> Found:
    for at, service in enumerate(file.autonomy.services):
        yield from _known(("autonomy", "services", at), service, file.services, "service")


def _backends(file: File) -> Found:
    for name, backend in file.backends.items():
        for at, service in enumerate(backend.services):
            yield from _known(("backends", name, "services", at), service, file.services, "service")


def _freezes(file: File) -> Found:
    for at, frozen in enumerate(file.freezes):
        yield from _frozen(("freezes", at), frozen, file)
    for at, freeze in enumerate(file.drills.freezes):
        if freeze.until < freeze.from_:
            yield ("drills", "freezes", at, "until"), "is before from"


def _severities(file: File) -> Found:
    reviewed = [severity.rank for severity, entry in file.severities.items() if entry.review_days is not None]
    for severity, entry in file.severities.items():
        if entry.review_days is None and any(rank > severity.rank for rank in reviewed):
            yield ("severities", severity.value, "review_days"), "is missing, and a milder severity has one"


def _release_units(file: File) -> Found:
    for name, unit in file.release_units.items():
        if (unit.manifest is None) == (not unit.releases):
            yield ("release_units", name), "names its known releases either under releases or in a manifest file"
        yield from ((("release_units", name, "releases", at, *place), reason) for at, place, reason in incomplete(unit, unit.releases))


def incomplete(unit: ReleaseUnitEntry, releases: Iterable[ReleaseEntry]) -> Iterator[tuple[int, tuple[str | int, ...], str]]:
    """What is wrong with the known releases of a unit: by place in their list, field, and reason."""
    seen: set[str] = set()
    for at, release in enumerate(releases):
        if release.version in seen:
            yield at, ("version",), f"{release.version} is listed twice; every version is one set of values"
        seen.add(release.version)
        if missing := [part for part in unit.parts if part not in release.values]:
            yield at, ("values",), f"says nothing of {', '.join(missing)}; a release is the value of every part"
        for part in release.values:
            if part not in unit.parts:
                yield at, ("values", part), f"is no part of this unit; there are {', '.join(unit.parts)}"


_CHECKS: tuple[Callable[[File], Found], ...] = (
    _people,
    _teams,
    _services,
    _permissions,
    _tokens,
    _autonomy,
    _backends,
    _release_units,
    _freezes,
    _severities,
)


def _plan(file: File) -> Found:
    plan = file.on_call
    for name, target in plan.targets.items():
        if target.person is not None:
            yield from _known(("targets", name, "person"), target.person, file.people, "person")
        for at, person in enumerate(target.rotation):
            yield from _known(("targets", name, "rotation", at), person, file.people, "person")
        zone = ZoneInfo(target.zone or file.time_zone)
        for at, override in enumerate(target.overrides):
            yield from _known(("targets", name, "overrides", at, "person"), override.person, file.people, "person")
        yield from (((("targets", name, "overrides", at, field)), reason) for at, field, reason in _order(target.overrides, zone))
    for team, names in plan.teams.items():
        yield from _known(("teams", team), team, file.teams, "team")
        for at, name in enumerate(names):
            yield from _known(("teams", team, at), name, plan.targets, "paging target")


def _order(overrides: tuple[Override, ...], zone: ZoneInfo) -> Iterator[tuple[int, str, str]]:
    spans: list[tuple[datetime, datetime]] = []
    for at, override in enumerate(overrides):
        try:
            start, end = moment_of(override.from_, zone), moment_of(override.until, zone)
        except ValueError as error:
            yield at, "from", str(error)
            continue
        if end <= start:
            yield at, "until", "is not after from"
        elif any(start < other_end and other_start < end for other_start, other_end in spans):
            yield at, "from", "overlaps an override before it; two people would be on duty"
        spans.append((start, end))


def _frozen(place: tuple[str | int, ...], freeze: ChangeFreeze, file: File) -> Found:
    for field, reason in freezing.problems(freeze, zone=file.time_zone):
        yield (*place, field), reason
    for n, service in enumerate(freeze.services):
        yield from _known((*place, "services", n), service, file.services, "service")
    environments = {service.environment for service in file.services.values()}
    for n, environment in enumerate(freeze.environments):
        yield from _known((*place, "environments", n), environment, sorted(environments), "service's environment")


def _known(place: tuple[str | int, ...], name: str, known: Iterable[str], what: str) -> Found:
    names = list(known)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(names[:8])}" if names else "none is declared"
        yield place, f"{name} is no {what} of this file; {hint}"


def targets_missing(plan: OnCallPlan, names: Iterable[str]) -> list[str]:
    """Of the paging targets that runbooks name, those that the plan lacks, in alphabetical order."""
    return sorted(set(names) - set(plan.targets))


def today_is_frozen(day: date, file: File) -> str | None:
    """The reason of the freeze that covers this local day, or None."""
    return next((freeze.reason for freeze in file.drills.freezes if freeze.from_ <= day <= freeze.until), None)
