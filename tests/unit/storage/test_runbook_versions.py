"""Every version of a runbook that was ever loaded can be had again, exactly."""

from importlib.resources import files

import pytest

from runbooks.errors import NotFound
from runbooks.runbook import Runbook
from storage import runbook_versions
from storage.database import Database
from tests.remembering import MINUTE, NOW

NAMES = sorted(
    file.name for file in files("runbooks").joinpath("library").iterdir() if file.name.endswith(".md") and file.name != "README.md"
)


def shipped(name: str) -> Runbook:
    from runbooks.loading import load
    from tests.catalogue import catalogue

    return load(files("runbooks").joinpath("library", name).read_text(), name=name.removesuffix(".md"), catalogue=catalogue())


def edited(runbook: Runbook, *, version: int) -> Runbook:
    """The same runbook with another version and hash."""
    header = runbook.header.model_copy(update={"version": version})
    return runbook.model_copy(update={"header": header, "hash": f"{version:064}", "source": f"version {version}"})


@pytest.mark.parametrize("name", NAMES)
def test_a_runbook_comes_back_exactly(database: Database, name: str) -> None:
    """Durations, thresholds, templates and the file itself: what an incident pins is what it gets."""
    runbook = shipped(name)
    assert database.write(lambda tx: runbook_versions.keep(tx, runbook, NOW))
    assert database.read(lambda tx: runbook_versions.get(tx, runbook.ref)) == runbook


def test_versions_are_kept_and_the_one_in_use_is_known(database: Database) -> None:
    """Reloading changes nothing, an edit adds a version, going back makes the old one current again."""
    one = shipped("inference-latency.md")
    two = edited(one, version=one.header.version + 1)
    keep = [(one, 0), (one, 1), (two, 2), (two, 3), (one, 4)]
    new = [database.write(lambda tx, b=book, m=minute: runbook_versions.keep(tx, b, NOW + m * MINUTE)) for book, minute in keep]
    assert new == [True, False, True, False, False]
    assert database.read(lambda tx: runbook_versions.latest(tx, one.id)) == one.ref
    history = database.read(lambda tx: runbook_versions.history(tx, one.id))
    assert [(kept.ref, kept.seen_at, kept.current_at) for kept in history] == [
        (one.ref, NOW, NOW + 4 * MINUTE),
        (two.ref, NOW + 2 * MINUTE, NOW + 2 * MINUTE),
    ]
    assert history[1].source == two.source


def test_an_unknown_version_is_not_found(database: Database) -> None:
    """A version that was never seen is said to be so; a runbook without any has no latest."""
    ref = shipped("inference-latency.md").ref
    with pytest.raises(NotFound, match="never seen"):
        database.read(lambda tx: runbook_versions.get(tx, ref))
    assert database.read(lambda tx: runbook_versions.latest(tx, ref.id)) is None
