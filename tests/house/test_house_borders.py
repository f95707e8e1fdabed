"""The rooms' borders hold, and the contracts that say so would notice if they did not."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("runbooks", "actions", "storage", "bot")
CONTRACTS = {one["id"]: one["name"] for one in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]}

TRESPASSES = {
    "diamond": ("storage/inbox.py", "import actions.contract"),
    "core-is-pure": ("runbooks/duration.py", "import httpx"),
    "actions-do": ("actions/toolkit/wire.py", "import sqlalchemy"),
    "storage-remembers": ("storage/seen.py", "import httpx"),
    "tables-stay-home": ("bot/duty.py", "import storage.tables"),
    "flows-are-deaf": ("bot/flows/home.py", "import slack_sdk"),
    "cards-are-pure": ("bot/slack/cards/home.py", "import bot.flows.home"),
    "listeners-decide-nothing": ("bot/slack/listeners/buttons.py", "import storage.runs"),
    "messenger-speaks": ("bot/slack/messenger.py", "import actions.runner"),
    "engine-is-general": ("bot/engine/loop.py", "import bot.flows.speak"),
    "intake-only-takes": ("bot/ingress/mapping.py", "import bot.flows.receive"),
    "pages-only-show": ("bot/pages/__init__.py", "import slack_sdk"),
    "workspace-is-a-stranger": ("bot/workspace/ids.py", "import runbooks.alert"),
    "simulation-is-a-stranger": ("actions/simulation/noise.py", "import runbooks.alert"),
    "actions-layers": ("actions/toolkit/marks.py", "import actions.runner"),
    "backends-alone": ("actions/backends/manual.py", "import actions.backends.web"),
}
"""One import for each contract that it must catch. `bot-layers` has a test of its own."""


def judged(folder: Path) -> tuple[int, str]:
    """What import-linter says of a tree: its exit code and its words."""
    tool = Path(sys.executable).parent / "lint-imports"
    clean = {**os.environ, "COLUMNS": "400", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([tool, "--no-cache"], cwd=folder, env=clean, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The four rooms, to be spoiled."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__", "static", "library"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def verdict(said: str, name: str) -> str:
    """What was said of one contract."""
    line = next((line for line in said.splitlines() if line.startswith(name)), "")
    return next(
        (word for word in ("KEPT", "BROKEN") if word in line[len(name) :].split()), "not judged"
    )  # ignored imports may be named behind it


def test_every_border_holds() -> None:
    """Nothing in the tree imports what its room may not, and every contract was judged."""
    code, said = judged(ROOT)
    assert code == 0, said
    assert {name: verdict(said, name) for name in CONTRACTS.values()} == dict.fromkeys(CONTRACTS.values(), "KEPT")


def test_every_contract_notices_a_trespass(copied: Path) -> None:
    """One forbidden import for each contract breaks exactly that contract, so none of them has gone blind."""
    assert set(TRESPASSES) == set(CONTRACTS) - {"bot-layers"}, "a new contract needs a trespass here"
    for path, statement in TRESPASSES.values():
        file = copied / path
        file.write_text(f"{file.read_text()}\n{statement}\n")
    code, said = judged(copied)
    assert code == 1, said
    assert [one for one in TRESPASSES if verdict(said, CONTRACTS[one]) != "BROKEN"] == []


def test_a_module_without_a_place_is_refused(copied: Path) -> None:
    """A new module of `bot` that no layer names fails, however innocent it is."""
    (copied / "bot" / "stranger.py").write_text('"""Nobody has said who may know this."""\n')
    code, said = judged(copied)
    assert code == 1
    assert "stranger" in said
