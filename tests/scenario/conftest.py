"""What the scenarios over the whole product share: the workspace and the simulated service, and a fresh Muster between them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.inside import Inside, grounded, inside
from tests.stack import Stack


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The workspace and the simulated service of all these tests."""
    with grounded(tmp_path_factory.mktemp("ground")) as stack:
        yield stack


@pytest.fixture
def stack(ground: Stack, tmp_path: Path, sqlite_url: str) -> Iterator[Inside]:
    """A fresh Muster for each test."""
    with inside(ground, tmp_path, database_url=sqlite_url) as stack:
        yield stack
