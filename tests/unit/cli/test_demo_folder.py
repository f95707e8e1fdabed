"""The demo's own folder: held by one demo, and nothing of anybody else's touched in it."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot.cli import demo


def tried(*words: str) -> subprocess.CompletedProcess[str]:
    """`muster demo` with these words, where it must not begin."""
    return subprocess.run([sys.executable, "-m", "bot", "demo", *words], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("words", [("--fresh",), ()])
def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Among other files the demo does not begin, and `--fresh` removes nothing there."""
    (tmp_path / "muster.yaml").write_text("mine")
    (tmp_path / "thesis.txt").write_text("mine too")
    done = tried("--data", str(tmp_path), *words)
    assert done.returncode == 2
    assert "Name an empty folder" in done.stderr
    assert {item.name: item.read_text() for item in tmp_path.iterdir()} == {"muster.yaml": "mine", "thesis.txt": "mine too"}


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    """While one demo holds the folder, another one, even a fresh one, says so and changes nothing."""
    (tmp_path / "muster.sqlite").write_text("its state")
    handle = os.open(tmp_path / demo.LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        done = tried("--data", str(tmp_path), "--fresh")
    finally:
        os.close(handle)
    assert done.returncode == 4
    assert "runs in" in done.stderr
    assert (tmp_path / "muster.sqlite").read_text() == "its state"


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """A file where the folder should be is a sentence, and not a traceback."""
    (tmp_path / "file").write_text("")
    done = tried("--data", str(tmp_path / "file"))
    assert done.returncode == 2
    assert "--data" in done.stderr
    assert "Traceback" not in done.stderr


def test_to_forget_removes_the_demos_state_only(tmp_path: Path) -> None:
    """What the demo wrote goes, folders and files; what somebody put beside it stays."""
    for name in ("muster.sqlite", "muster.sqlite-wal", "muster.yaml", "alerts.token", "workspace.log", "notes.txt", demo.LOCK):
        (tmp_path / name).write_text("x")
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "app.json").write_text("{}")
    demo.forget(tmp_path)
    assert {item.name for item in tmp_path.iterdir()} == {"notes.txt", demo.LOCK}
