"""The backends of a drill: every one of them confined to one simulated world (rule S27)."""

from actions.backends.manual import Manual
from actions.backends.metrics import Metrics
from actions.backends.simulation import Simulation, world_url
from actions.backends.web import Web, host
from actions.contract import Backend
from actions.registry import Registry


def confined(*, url: str, world: str) -> tuple[Backend, ...]:
    """Targets, metrics, pages and manual steps of the world `world` of the simulated service at `url`."""
    base = world_url(url, world)
    return (
        Simulation(url=url, world=world, environment=None),
        Metrics(url=base, world=world),
        Web(allow=(host("/".join(base.split("/")[:3]), inside=True),), base=base, world=world),
        Manual(world=world),
    )


def drill_registry(*, url: str, world: str) -> Registry:
    """The registry of one drill; it holds nothing that could reach production."""
    return Registry.for_drill(confined(url=url, world=world), world=world)
