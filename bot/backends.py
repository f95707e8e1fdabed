"""The outside as this process knows it: the configured backends, in the demo the simulated service, manual steps, and paging."""

from actions import kinds
from actions.backends.pagerduty import PAGE, PagerDuty
from actions.contract import Backend
from actions.registry import Bound, Registry
from bot.configuration import BackendPlan, Configuration
from bot.paging import Answering, Pager
from bot.secret import Secrets
from bot.settings import Settings
from runbooks.errors import Problem, SettingsInvalid


def registry(configuration: Configuration, *, secrets: Secrets, settings: Settings, slack_pager: Backend) -> Registry:
    """Everything that may be asked and changed.

    Raises:
        SettingsInvalid: a backend cannot be built as configured.
        RegistryInvalid: two of them serve the same.
    """
    found = [built(plan) for plan in configuration.backends(secrets)]
    served = {operation.name for one in found for operation in one.operations}
    if settings.simulation_url and "cluster.scale" not in served:
        found += _simulated(settings.simulation_url)
    if "manual" not in served:
        found.append(_bound(kinds.build("manual", {}, secrets={})))
    return Registry(_with_paging(found, settings=settings, slack_pager=slack_pager))


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


def _simulated(url: str) -> list[Bound]:
    allow = {"inside": [url.split("://", 1)[1]], "base": url}
    return [
        _bound(kinds.build("simulation", {"url": url}, secrets={})),
        _bound(kinds.build("metrics", {"url": url}, secrets={})),
        _bound(kinds.build("http", allow, secrets={})),
    ]


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
