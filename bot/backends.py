"""The outside as this process knows it: the configured backends, in the demo the simulated service, manual steps, and paging."""

from collections.abc import Collection
from dataclasses import replace

from actions import kinds
from actions.backends.evidence import OPERATION as PRESERVE
from actions.backends.pagerduty import PAGE, PagerDuty
from actions.contract import Backend
from actions.evidence import Preserving, Vault
from actions.registry import Bound, Registry
from actions.together.units import ReleaseUnits, Unit, UnitPart
from actions.worlds import simulated_evidence
from bot.configuration import BackendPlan, Configuration, manifest
from bot.configuration.schema import UnitPartEntry
from bot.paging import Answering, Pager
from bot.secret import Secrets
from bot.settings import Settings
from runbooks.errors import NotFound, Problem, SettingsInvalid


def registry(
    configuration: Configuration, *, secrets: Secrets, settings: Settings, slack_pager: Backend, vault: Vault | None = None
) -> Registry:
    """Everything that may be asked and changed. Evidence goes into `vault`; without one it is refused.

    Raises:
        SettingsInvalid: a backend cannot be built as configured.
        RegistryInvalid: two of them serve the same.
    """
    found = serving(configuration, secrets=secrets, settings=settings)
    found += release_units(configuration, found)
    found = [_in_vault(one, vault) for one in found]
    return Registry(_with_paging(found, settings=settings, slack_pager=slack_pager))


def serving(configuration: Configuration, *, secrets: Secrets, settings: Settings) -> list[Bound]:
    """The configured backends, in the demo the simulated service, and what needs no system: all but paging and release units.

    Raises:
        SettingsInvalid: a backend cannot be built as configured.
    """
    found = [built(plan) for plan in configuration.backends(secrets)]
    served = {operation.name for one in found for operation in one.operations}
    if settings.simulation_url:
        found += _simulated(settings.simulation_url, served=served)
    if "manual" not in served:
        found.append(_bound(kinds.build("manual", {}, secrets={})))
    if settings.simulation_url and PRESERVE.name not in served:
        found.append(_bound(kinds.build("evidence", simulated_evidence(settings.simulation_url), secrets={})))
    return found


def built(plan: BackendPlan) -> Bound:
    """One backend as configured.

    Raises:
        SettingsInvalid: an option is wrong, or it does not offer what it is wanted for.
    """
    backend = kinds.build(plan.kind, plan.options, secrets=plan.secrets, name=plan.name)
    offered = [operation.name for operation in backend.operations]
    if missing := sorted(set(plan.operations) - set(offered)):
        reason = f"{', '.join(missing)} is not offered by {plan.kind}; it offers {', '.join(offered)}"
        raise SettingsInvalid([Problem(file="muster.yaml", field=f"backends.{plan.name}.operations", reason=reason)])
    return Bound(name=plan.name, backend=backend, services=frozenset(plan.services), only=frozenset(plan.operations))


def release_units(configuration: Configuration, others: list[Bound]) -> list[Bound]:
    """The release units of each environment, over the backends that serve their parts.

    Raises:
        SettingsInvalid: a part names an operation that nobody serves there, or that does not say what is set.
    """
    by_environment: dict[str, list[Unit]] = {}
    registry = Registry(others) if configuration.file.release_units else None
    for name, entry in configuration.file.release_units.items():
        assert registry is not None
        parts = tuple(_part(configuration, name, part, one, registry) for part, one in entry.parts.items())
        known = manifest.reader(configuration, name)
        by_environment.setdefault(entry.environment, []).append(Unit(name=name, parts=parts, releases=known))
    return [
        Bound(
            name=ReleaseUnits.name,
            backend=ReleaseUnits(units, environment=environment, registry=registry),
            targets=frozenset(unit.name for unit in units),
        )
        for environment, units in by_environment.items()
        if registry is not None
    ]


def _part(configuration: Configuration, unit: str, name: str, entry: UnitPartEntry, registry: Registry) -> UnitPart:
    place = f"release_units.{unit}.parts.{name}"

    def wrong(field: str, reason: str) -> SettingsInvalid:
        return SettingsInvalid([Problem(file=configuration.path or "muster.yaml", field=f"{place}.{field}", reason=reason)])

    operation = registry.catalogue.get(entry.uses)
    if operation is None or operation.reads:
        may = ", ".join(sorted(one.name for one in registry.catalogue.values() if not one.reads and one.target and one.looks))
        raise wrong("uses", f"{entry.uses} changes nothing here that a backend serves; served are {may}")
    if not (operation.looks and operation.plans and operation.target and operation.reversible):
        raise wrong("uses", f"{entry.uses} cannot be part of a release unit: it could not be read, planned and taken back")
    try:
        registry.bound(entry.uses, configuration.file.release_units[unit].environment, target=entry.target)
    except NotFound as error:
        raise wrong("uses", str(error)) from error
    may_set = [argument for argument in operation.arguments if argument != operation.target]
    argument = entry.argument or (may_set[0] if len(may_set) == 1 else "")
    if argument not in may_set:
        raise wrong("argument", f"must say which argument a release sets: {', '.join(may_set) or f'{entry.uses} has none'}")
    return UnitPart(name=name, operation=entry.uses, target=entry.target, argument=argument)


def _simulated(url: str, *, served: Collection[str]) -> list[Bound]:
    """The demo's service, for everything that no configured backend serves."""
    built = [
        kinds.build("simulation", {"url": url}, secrets={}),
        kinds.build("metrics", {"url": url}, secrets={}),
        kinds.build("http", {"inside": [url.split("://", 1)[1]], "base": url}, secrets={}),
    ]
    left = [(backend, frozenset(one.name for one in backend.operations) - frozenset(served)) for backend in built]
    return [Bound(name=backend.name, backend=backend, only=only) for backend, only in left if only]


def _in_vault(bound: Bound, vault: Vault | None) -> Bound:
    if vault is None or not isinstance(bound.backend, Preserving):
        return bound
    return replace(bound, backend=bound.backend.kept_in(vault))


def _bound(backend: Backend) -> Bound:
    return Bound(name=backend.name, backend=backend)


def _with_paging(found: list[Bound], *, settings: Settings, slack_pager: Backend) -> list[Bound]:
    """Paging and answering upstream: by PagerDuty where it is configured (or its token set), and by Slack."""
    pagerduty = next((one for one in found if PAGE in one.operations), None)
    others = [one for one in found if one is not pagerduty]
    if pagerduty is not None:
        return [*others, _bound(Answering(pagerduty.backend)), _bound(Pager(first=pagerduty.backend, second=slack_pager))]
    if token := settings.pagerduty_api_token:
        answers = PagerDuty(routing_keys={}, token=token.get_secret_value, api_url=settings.pagerduty_api_url)
        return [*others, _bound(Answering(answers)), _bound(slack_pager)]
    return [*others, _bound(slack_pager)]
