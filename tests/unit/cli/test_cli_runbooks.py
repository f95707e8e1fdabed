"""`muster runbooks …` needs files and nothing else."""

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.cli import app
from bot.cli.runbook import annotation
from bot.settings import LIBRARY
from runbooks.errors import Problem

GOOD = (LIBRARY / "inference-latency.md").read_text()


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder and no settings."""
    import os

    for name in [name for name in os.environ if name.startswith(("MUSTER_", "SLACK_", "PAGERDUTY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def muster(*words: str):
    """Run a command."""
    return CliRunner().invoke(app, list(words))


def test_the_shipped_library_holds_without_any_configuration():
    """In an empty folder, `runbooks check` checks what Muster ships and finds nothing."""
    done = muster("runbooks", "check")
    assert done.exit_code == 0, done.output
    assert "7 runbooks hold, 0 problems." in done.stdout
    assert not Path(".muster").exists()


def test_a_problem_is_named_with_file_line_field_and_reason(tmp_path):
    """A spoiled runbook is exit code 1, and each format names the same place."""
    file = tmp_path / "mine" / "inference-latency.md"
    file.parent.mkdir()
    file.write_text(GOOD.replace("severity: SEV2", "severity: SEV9", 1))
    text = muster("runbooks", "check", "mine")
    assert text.exit_code == 1
    line = next(number for number, one in enumerate(file.read_text().splitlines(), 1) if one.startswith("severity: SEV9"))
    assert f"mine/inference-latency.md:{line}: severity: " in text.stdout
    found = json.loads(muster("runbooks", "check", "mine", "--json").stdout)
    assert [(one["line"], one["field"]) for one in found["problems"]] == [(line, "severity")]
    github = muster("runbooks", "check", "mine/inference-latency.md", "--format", "github").stdout
    assert github.startswith(f"::error file=mine/inference-latency.md,line={line},title=severity::")


def test_an_annotation_cannot_be_broken_out_of():
    """Percent signs, line ends, colons and commas are escaped as GitHub wants."""
    said = annotation(Problem(file="a,b:c.md", field="x", reason="50% of\nlines", line=3))
    assert said == "::error file=a%2Cb%3Ac.md,line=3,title=x::50%25 of%0Alines"


def git(*words: str) -> None:
    """Git, with a name of its own."""
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *words], check=True, capture_output=True)


def test_a_changed_text_needs_a_raised_version(tmp_path):
    """Against a git reference, the same version with another text is a problem; with a raised one it is none (rule 12)."""
    file = tmp_path / "inference-latency.md"
    file.write_text(GOOD)
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    assert muster("runbooks", "check", ".", "--against", "HEAD").exit_code == 0
    changed = GOOD.replace("title: ", "title: Now ", 1)
    file.write_text(changed)
    done = muster("runbooks", "check", ".", "--against", "HEAD")
    assert (done.exit_code, "the text changed and the version did not; raise it to 3" in done.stdout) == (1, True)
    assert "title" in muster("runbooks", "diff", "inference-latency.md").stdout
    file.write_text(changed.replace("version: 2", "version: 3", 1))
    assert muster("runbooks", "check", ".", "--against", "HEAD").exit_code == 0
    wrong = muster("runbooks", "check", ".", "--against", "--output=x")
    assert wrong.exit_code == 2
    assert not Path("x").exists()


def test_a_new_runbook_is_valid_and_overwrites_nothing():
    """What `new` writes passes `check` at once; a second time it refuses."""
    words = ("runbooks", "new", "queue-full", "--title", "The queue is full", "--owner", "ml-platform")
    assert muster(*words).exit_code == 0
    assert muster("runbooks", "check", "runbooks").exit_code == 0
    again = muster(*words)
    assert again.exit_code == 1
    assert "nothing was written" in again.stderr
    assert muster("runbooks", "new", "../evil", "--title", "x", "--owner", "y").exit_code == 1
    assert not Path("evil.md").exists()


def test_list_show_and_what_is_not_there():
    """Lists every runbook, shows one as written, and names what there is where one is not."""
    listed = json.loads(muster("runbooks", "list", "--json").stdout)
    assert "inference-latency" in [one["id"] for one in listed]
    assert muster("runbooks", "show", "inference-latency").stdout == GOOD
    missing = muster("runbooks", "show", "nothing")
    assert missing.exit_code == 3
    assert "inference-latency" in missing.stderr


def test_coverage_counts_rules_and_may_fail_the_build(tmp_path):
    """Each rule leads to its runbook or to none, and a share below the wanted one is exit code 1."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "groups:\n- name: g\n  rules:\n"
        "  - {alert: ModelLatencyP99High, expr: up, labels: {environment: production}}\n"
        "  - {alert: KubePodCrashLooping, expr: up}\n"
    )
    done = muster("runbooks", "coverage", "rules.yaml", "--json")
    found = json.loads(done.stdout)
    assert found["rules"][0]["runbook"] == "inference-latency"
    assert found["uncovered"] == sum(one["runbook"] is None for one in found["rules"])
    assert muster("runbooks", "coverage", "rules.yaml", "--at-least", "1").exit_code == (1 if found["uncovered"] else 0)
    assert muster("runbooks", "coverage", "none.yaml").exit_code == 2
