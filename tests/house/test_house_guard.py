"""docs/safe-actions.md says of every rule of the guard where it is kept and what proves it, and all of it is there."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "safe-actions.md").read_text()
ROWS = {
    rule: (kept, proven) for rule, kept, proven in re.findall(r"^\| (S\d+) \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", PAGE, flags=re.MULTILINE)
}
RULES = [f"S{number}" for number in range(1, 31)]


def scenarios() -> set[str]:
    """Every test function below tests/scenario."""
    files = (ROOT / "tests" / "scenario").glob("test_*.py")
    return {node.name for file in files for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)}


SCENARIOS = scenarios()


def test_every_rule_has_its_row() -> None:
    """Thirty rules, thirty rows, in their order."""
    assert list(ROWS) == RULES


@pytest.mark.parametrize("rule", RULES)
def test_what_keeps_a_rule_exists(rule: str) -> None:
    """Every name in the row leads to a module, or to something in one."""
    names = re.findall(r"`([a-z_.A-Z]+)`", ROWS[rule][0])
    assert names
    assert [name for name in names if not found(name)] == []


def found(name: str) -> bool:
    """Whether a dotted name leads somewhere: as much of it as is a module, then attributes."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            thing: object = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            thing = getattr(thing, part, None)
        return thing is not None
    return False


@pytest.mark.parametrize("rule", RULES)
def test_a_scenario_with_its_id_proves_each_rule(rule: str) -> None:
    """Every test in the row is a scenario, and at least one of them bears the rule's id."""
    named = re.findall(r"`(test_[a-z0-9_]+)`", ROWS[rule][1])
    assert [name for name in named if name not in SCENARIOS] == []
    assert [name for name in named if name.startswith(f"test_{rule.lower()}_")]
