"""What changed between two versions, in words."""

import re
from pathlib import Path

from runbooks.differences import diff
from runbooks.loading import load
from runbooks.runbook import Runbook
from tests.catalogue import catalogue

LATENCY = (Path(__file__).parents[3] / "runbooks" / "library" / "inference-latency.md").read_text(encoding="utf-8")


def version(number: int, *replaced: tuple[str, str]) -> Runbook:
    """The latency runbook as this version, with these replacements."""
    text = re.sub(r"(?m)^version: \d+$", f"version: {number}", LATENCY)
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    return load(text, name="inference-latency", catalogue=catalogue())


def test_the_same_file_has_no_difference() -> None:
    """Nothing changed, nothing said."""
    found = diff(version(1), version(1))
    assert (found.same, found.changes, found.text, found.same_version) == (True, (), "", False)


def test_each_change_is_a_line_in_words() -> None:
    """Fields by their path with the step's id, values before and after as the file writes them, prose by its heading."""
    new = version(
        2,
        ("title: CPU of the pool", "title: CPU"),
        ('holds: "< 0.5", for: 2m, fails: "> 2", within: 5m, otherwise: ask}\n    undo: {to: prior, after: 4h',
         'holds: "< 0.6", for: 3m, fails: "> 2", within: 5m, otherwise: ask}\n    undo: {to: prior, after: 4h'),
        ("    stage: retrieval\n", ""),
        ("Do not scale first.", "Never scale first."),
    )  # fmt: skip
    assert [str(change) for change in diff(version(1), new).changes] == [
        "version: 1 → 2",
        "diagnostics.cpu.title: CPU of the pool → CPU",
        "diagnostics.retrieval.stage: removed",
        "actions.scale-out.verify.holds: < 0.5 → < 0.6",
        "actions.scale-out.verify.for: 2m → 3m",
        "body.Mitigation: text changed",
    ]


def test_a_step_that_came_or_went_is_one_change() -> None:
    """A new or removed step is not listed field by field."""
    step = "  - id: amplification\n    title: Calls per call needed\n    uses: metrics.query\n    with: {query: 'retries:amplification:ratio'}\n"
    without = version(2, (step, ""), (', requires: {amplification: "> 1.3"}', ""), ('{{ step("amplification") }}', "retries"))
    gone = [str(change) for change in diff(version(1), without).changes]
    come = [str(change) for change in diff(without, version(3)).changes]
    assert "diagnostics.amplification: removed" in gone
    assert "diagnostics.amplification: added" in come
    assert not any("diagnostics.amplification." in line for line in gone + come)


def test_a_default_written_out_is_no_change_of_a_field() -> None:
    """Only the text differs then, and the diff shows it with version and hash."""
    found = diff(version(1), version(1, ("drill:\n", "drill:\n  ends_after: 1h\n")))
    assert found.changes == ()
    assert "+  ends_after: 1h" in found.text
    assert found.text.startswith("--- inference-latency v1 ")


def test_the_same_version_with_another_hash_is_told() -> None:
    """Rule 12: an edit without a new version number is an error in `check`."""
    assert diff(version(1), version(1, ("Do not scale first.", ""))).same_version
    assert not diff(version(1), version(2)).same_version
