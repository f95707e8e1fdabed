"""The backends of a drill: every one of them confined to one simulated world (rule S27)."""

from collections.abc import Mapping
from urllib.parse import urlencode

from actions.backends.evidence import Evidence, Source
from actions.backends.manual import Manual
from actions.backends.metrics import Metrics
from actions.backends.simulation import Simulation, world_url
from actions.backends.web import Web
from actions.contract import Backend
from actions.evidence import Passing
from actions.registry import Registry
from actions.toolkit.addresses import host
from runbooks.value import Json

PAGES: Mapping[str, str] = {"prompts and outputs": "/exchanges?limit=200", "application log": "/log?stage=app&limit=200"}
QUERIES: Mapping[str, str] = {"unsafe answers": "safety:unsafe:ratio", "customers": "unsafe_answers_total"}
"""What the simulated service has for evidence, by name."""


def confined(*, url: str, world: str) -> tuple[Backend, ...]:
    """Targets, metrics, pages, evidence and manual steps of the world `world` of the simulated service at `url`."""
    base = world_url(url, world)
    here = host("/".join(base.split("/")[:3]), inside=True)
    sources = [Source(name, base + path) for name, path in PAGES.items()]
    sources += [Source(name, f"{base}/api/v1/query?{urlencode({'query': query})}") for name, query in QUERIES.items()]
    return (
        Simulation(url=url, world=world, environment=None),
        Metrics(url=base, world=world),
        Web(allow=(here,), base=base, world=world),
        Evidence(sets={}, otherwise=tuple(sources), own=(here,), world=world, vault=Passing(), every=0),
        Manual(world=world),
    )


def simulated_evidence(url: str) -> dict[str, Json]:
    """The options of an evidence backend for the main world of the simulated service at `url`."""
    return {"base": url, "metrics": url, "sets": {"unsafe-answers": {"pages": dict(PAGES), "queries": dict(QUERIES)}}}


def drill_registry(*, url: str, world: str) -> Registry:
    """The registry of one drill; it holds nothing that could reach production."""
    return Registry.for_drill(confined(url=url, world=world), world=world)
