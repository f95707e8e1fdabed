"""Release units in muster.yaml: what is wrong with them is said when they are read, and a manifest is read anew at each look."""

import textwrap
from pathlib import Path
from typing import Any

import pytest

from actions.contract import Rejected
from actions.registry import Bound
from actions.testing import RecordingBackend
from bot.backends import release_units
from bot.configuration import Configuration, load, parse
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call

UNIT = """
release_units:
  answers:
    environment: production
    parts:
      model: {uses: thing.set, target: model}
      prompt: {uses: thing.set, target: prompt}
    releases:
      - {version: v1, at: 2026-11-01, good: true, values: {model: 1, prompt: 1}}
      - {version: v2, at: 2026-11-02 09:30, score: 0.9, values: {model: 2, prompt: 2}}
"""


def far(**more: Any) -> Bound:
    """What serves both parts, at release v2."""
    backend = RecordingBackend(**more)
    for name in ("model", "prompt"):
        backend.put(name, {"value": 2})
    return Bound(name="far", backend=backend)


def problems(text: str) -> dict[str, str]:
    """What is wrong with this configuration, by field."""
    with pytest.raises(SettingsInvalid) as refused:
        release_units(parse(text), [far()])
    return {problem.field: problem.reason for problem in refused.value.problems}


def read(configuration: Configuration) -> Any:
    """How the unit stands."""
    (bound,) = release_units(configuration, [far()])
    return bound.backend.read(Call(operation="model.rollback", target="answers", environment="production"), timeout=5)


def test_a_unit_is_bound_by_its_name_and_its_environment() -> None:
    """It serves model.rollback for its own name alone; its releases are ordered by their time, newest first."""
    (bound,) = release_units(parse(UNIT), [far()])
    assert (bound.targets, bound.environment) == (frozenset({"answers"}), "production")
    reading = read(parse(UNIT))
    assert reading.value["version"] == "v2"
    assert [one["version"] for one in reading.facts["releases"]] == ["v2", "v1"]


@pytest.mark.parametrize(
    ("old", "new", "field", "words"),
    [
        ("prompt: 2}", "promt: 2}", "release_units.answers.releases.1.values", "says nothing of prompt"),
        ("version: v2", "version: v1", "release_units.answers.releases.1.version", "listed twice"),
        ("uses: thing.set, target: model", "uses: thing.sat, target: model", "release_units.answers.parts.model.uses", "served are thing.set"),
        ("uses: thing.set, target: model", "uses: thing.ask, target: model", "release_units.answers.parts.model.uses", "changes nothing"),
        ("target: model}", "target: model, argument: size}", "release_units.answers.parts.model.argument", "must say which argument"),
        ("environment: production", "environment: staging", "release_units.answers.parts.model.uses", "No backend is configured for thing.set in staging"),
        ("    releases:", "    manifest: x.yaml\n    releases:", "release_units.answers", "either under releases or in a manifest"),
        ("    environment: production\n", "", "release_units.answers.environment", "is missing"),
    ],
)  # fmt: skip
def test_a_wrong_unit_is_refused_with_field_and_reason(old: str, new: str, field: str, words: str) -> None:
    """Each way to declare a unit wrongly is said at its field before anything starts."""
    assert old in UNIT
    assert words in problems(UNIT.replace(old, new, 1)).get(field, "")


def test_a_manifest_is_read_at_each_look(tmp_path: Path) -> None:
    """What a pipeline adds is seen at once; a manifest that breaks later refuses, changes nothing, and says where it is broken."""
    head, listed = UNIT.split("    releases:\n")
    (tmp_path / "muster.yaml").write_text(f"{head}    manifest: releases.yaml\n")
    manifest = tmp_path / "releases.yaml"
    manifest.write_text("releases:\n" + textwrap.dedent(listed))
    configuration = load(tmp_path / "muster.yaml")
    (bound,) = release_units(configuration, [far()])
    call = Call(operation="model.rollback", target="answers", environment="production")
    assert bound.backend.read(call, timeout=5).value["version"] == "v2"
    manifest.write_text(manifest.read_text() + "- {version: v3, at: 2026-11-03, good: true, values: {model: 3, prompt: 3}}\n")
    assert [one["version"] for one in bound.backend.read(call, timeout=5).facts["releases"]] == ["v3", "v2", "v1"]
    manifest.write_text("releases:\n- {version: v3, values: {model: 3}}\n")
    with pytest.raises(Rejected, match=r"releases\.0\.values: says nothing of prompt"):
        bound.backend.read(call, timeout=5)


def test_a_manifest_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """A file that cannot be read is said when the server starts, not at night."""
    (tmp_path / "muster.yaml").write_text(UNIT.split("    releases:\n", maxsplit=1)[0] + "    manifest: nowhere.yaml\n")
    with pytest.raises(SettingsInvalid, match="nowhere"):
        release_units(load(tmp_path / "muster.yaml"), [far()])
