"""A workspace in a temporary folder, with a clock that the test moves, and a way to call the Web API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.workspace import manifest as manifests
from bot.workspace.limits import RATES
from bot.workspace.methods import registry
from bot.workspace.protocol import SlackError, Timing
from bot.workspace.state import Workspace

MANIFEST = Path(__file__).parents[3] / "bot" / "slack" / "manifest.yaml"


class Now:
    """A clock that stands until it is moved (seconds since the Unix epoch)."""

    def __init__(self) -> None:
        self.at = 1_795_000_000.0

    def __call__(self) -> float:
        return self.at

    def passes(self, seconds: float) -> None:
        self.at += seconds


class Api:
    """Calls methods as the app; ``refusal`` gives the error name of a call that must fail."""

    def __init__(self, ws: Workspace) -> None:
        self.ws = ws

    def __call__(self, method: str, **args: Any) -> dict[str, Any]:
        token = args.pop("token", self.ws.identity.bot_token)
        return registry.run(self.ws, name=method, args=args, token=token, base_url="http://127.0.0.1:8089")

    def refusal(self, method: str, **args: Any) -> str:
        with pytest.raises(SlackError) as refused:
            self(method, **args)
        return refused.value.code


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def manifest() -> dict[str, Any]:
    """The real manifest as a mapping, for tests that change it."""
    return yaml.safe_load(MANIFEST.read_text())


@pytest.fixture
def make_ws(tmp_path: Path, now: Now) -> Iterator[Callable[..., Workspace]]:
    """Make a workspace from a manifest; made again, it is the same one after a restart."""
    made: list[Workspace] = []

    def make(source: Any = MANIFEST, *, rates: str = "off") -> Workspace:
        loaded = manifests.load(source)
        made.append(Workspace(data_dir=tmp_path, manifest=loaded, clock=now, timing=Timing(), rates=RATES[rates]))
        return made[-1]

    yield make
    for ws in made:
        ws.db.close()


@pytest.fixture
def ws(make_ws: Callable[..., Workspace]) -> Workspace:
    return make_ws()


@pytest.fixture(scope="module")
def lasting_ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """One workspace for a whole module, for properties that change nothing."""
    folder = tmp_path_factory.mktemp("lasting")
    ws = Workspace(data_dir=folder, manifest=manifests.load(MANIFEST), clock=Now(), timing=Timing(), rates=RATES["off"])
    yield ws
    ws.db.close()


@pytest.fixture
def api(ws: Workspace) -> Api:
    return Api(ws)
