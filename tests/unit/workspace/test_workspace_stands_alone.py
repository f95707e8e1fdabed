"""The workspace shares no code with what it judges."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[3] / "bot" / "workspace"
MODULES = sorted(ROOM.rglob("*.py"))
ALLOWED = {"starlette", "uvicorn", "websockets", "httpx", "yaml"}


def imported(path: Path) -> set[str]:
    """The full names of all modules a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add(f"{node.module}.{node.names[0].name}" if node.module == "bot" else str(node.module))
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOM)))
def test_a_module_imports_only_its_own_room_and_five_packages(path: Path) -> None:
    """Nothing of Muster's, nothing of Slack's: the standard library and starlette, uvicorn, websockets, httpx, yaml."""
    for name in imported(path):
        top = name.partition(".")[0]
        own = name == "bot.workspace" or name.startswith("bot.workspace.")
        assert own or top in ALLOWED or top in sys.stdlib_module_names, f"{path.name} imports {name}"
