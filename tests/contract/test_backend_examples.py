"""The examples in docs/backends are configurations that build."""

import re
from pathlib import Path

import pytest
import yaml

from actions import kinds
from bot.configuration import parse
from bot.secret import Secrets

FOLDER = Path(__file__).parents[2] / "docs" / "backends"
PAGES = sorted(FOLDER.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_an_example_builds(page: Path) -> None:
    """The first example of each page is valid in muster.yaml and gives a backend that offers something, without reaching anything."""
    example = re.search(r"^```yaml\n(backends:.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert example, "the page begins with an example"
    assert set(yaml.safe_load(example[1])) == {"backends"}
    names = set(re.findall(r"\{env: (\w+)\}", example[1]))
    plans = parse(example[1]).backends(Secrets(environ=dict.fromkeys(names, "https://x"), folder=Path()))
    for plan in plans:
        assert kinds.build(plan.kind, plan.options, secrets=plan.secrets, name=plan.name).operations


def test_the_pages_are_of_kinds_that_there_are() -> None:
    """Every page is named for an installed kind."""
    assert {page.stem for page in PAGES} <= set(kinds.installed())
