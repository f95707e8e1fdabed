"""A file that others read and write, too."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from actions.comparing import TimeUp, deadline
from actions.contract import CallInvalid, Rejected, TargetMissing
from actions.toolkit.rewriting import locked, put, text_of, with_scalars

TEXT = """\
# by hand
version: "7"   # count it
routes:
- {name: ä, retries: 5}  # a comment
- name: b
  retries: &five 5
  again: *five
- &both {retries: 5}
- *both
"""


def test_only_the_named_values_change() -> None:
    """Two values are written anew, and every comment, space and letter around them stays."""
    changed = with_scalars(TEXT, {("routes", 0, "retries"): "0", ("version",): '"8"'}, name="routes.yaml")
    assert changed == TEXT.replace('"7"', '"8"').replace("ä, retries: 5}", "ä, retries: 0}")


def test_json_is_rewritten_alike() -> None:
    """JSON keeps its layout, too."""
    assert with_scalars('{"a":  [1,\n2], "b": "x"}', {("a", 1): "30"}, name="a.json") == '{"a":  [1,\n30], "b": "x"}'


@pytest.mark.parametrize("place", [("routes", 7, "retries"), ("routes",), ("nothing",), ("routes", 0, "name", "more"), ("version", "x")])
def test_what_is_not_there_is_not_invented(place: tuple[str | int, ...]) -> None:
    """A place without a single value is refused with its name, and nothing is written."""
    with pytest.raises(CallInvalid, match=r"routes\.yaml does not say"):
        with_scalars(TEXT, {place: "1"}, name="routes.yaml")


def test_a_shared_value_is_not_changed_for_both() -> None:
    """A value that another place refers to by an alias is refused, because both would change."""
    for place in ((1, "retries"), (1, "again"), (2, "retries"), (3, "retries")):
        with pytest.raises(CallInvalid, match="with another place by an alias"):
            with_scalars(TEXT, {("routes", *place): "0"}, name="routes.yaml")


def test_line_ends_stay(tmp_path: Path) -> None:
    """A file with the line ends of another system keeps them."""
    path = tmp_path / "routes.yaml"
    path.write_bytes(b"a: 1\r\nb: 2\r\n")
    put(path, with_scalars(text_of(path), {("b",): "3"}, name="routes.yaml"))
    assert path.read_bytes() == b"a: 1\r\nb: 3\r\n"


def test_what_cannot_be_read_is_said() -> None:
    """A file that is neither YAML nor JSON is refused, whatever stands in it."""
    for text in ("{", "a: b: c", "\t- x", "a: !!python/object:os.system x"):
        with pytest.raises((Rejected, CallInvalid)):
            with_scalars(text, {("a",): "1"}, name="routes.yaml")


NAMES = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), min_size=1, max_size=100)  # YAML takes a name up to 1,024


@given(st.lists(st.dictionaries(NAMES, st.integers(), min_size=1), min_size=1), st.integers(), st.data())
def test_any_document_keeps_its_other_values(document: list[dict[str, int]], value: int, data: st.DataObject) -> None:
    """Whatever the names, exactly the value at the place is another afterwards."""
    at = data.draw(st.integers(0, len(document) - 1))
    key = data.draw(st.sampled_from(sorted(document[at])))
    text = json.dumps(document)
    changed = yaml.safe_load(with_scalars(text, {(at, key): str(value)}, name="any"))
    document[at][key] = value
    assert changed == document


def test_replacing_keeps_mode_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """The new text is there as a whole, under the old file's mode, and no draft is left."""
    path = tmp_path / "routes.yaml"
    path.write_text("old")
    path.chmod(0o640)
    put(path, "new ä")
    assert (path.read_text(), path.stat().st_mode & 0o777, list(tmp_path.iterdir())) == ("new ä", 0o640, [path])


def test_one_at_a_time(tmp_path: Path) -> None:
    """Many that count up the same file lose no count, and one that comes too late says that its time is over."""
    path = tmp_path / "count"
    path.write_text("0")

    def count() -> None:
        for _ in range(20):
            with locked(path, left=deadline(30)):
                put(path, str(int(text_of(path)) + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == "80"
    with locked(path, left=deadline(30)), pytest.raises(TimeUp), locked(path, left=deadline(0.1)):
        pytest.fail("the lock was given twice")


def test_what_is_missing_large_or_no_text_is_named(tmp_path: Path) -> None:
    """Each reason why a file cannot be used is said, with the file."""
    with pytest.raises(TargetMissing, match="none is not there"):
        text_of(tmp_path / "none")
    with pytest.raises(TargetMissing, match="is not there"):
        put(tmp_path / "none", "x")
    with pytest.raises(TargetMissing), locked(tmp_path / "no" / "file", left=deadline(1)):
        pytest.fail("a folder that is not there was locked")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(Rejected, match="is not a text in UTF-8"):
        text_of(tmp_path / "binary")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(6_000_000)
    with pytest.raises(Rejected, match="larger than"):
        text_of(tmp_path / "large")
    with pytest.raises(Rejected, match="cannot be read"):
        text_of(tmp_path)


AS_SOMEBODY = """
import os, sys
from pathlib import Path
from actions.contract import NotPermitted
from actions.toolkit.rewriting import put, text_of
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
for does in (lambda: put(Path(sys.argv[1]), "mine"), lambda: text_of(Path(sys.argv[2]))):
    try:
        does()
    except NotPermitted as error:
        print(error)
"""


def test_without_the_right_nothing_is_written(tmp_path: Path) -> None:
    """A process without rights on the folder, or on the file, is told so, and the file stays as it was."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith("pytest-") and os.geteuid() == 0:
            folder.chmod(0o755)
    path, closed = tmp_path / "routes.yaml", tmp_path / "closed"
    path.write_text("old")
    closed.write_text("secret")
    closed.chmod(0)
    tmp_path.chmod(0o555)
    try:
        done = subprocess.run([sys.executable, "-c", AS_SOMEBODY, str(path), str(closed)], capture_output=True, text=True, check=True)
    finally:
        tmp_path.chmod(0o755)
    assert done.stdout.splitlines() == [
        f"{path} may not be replaced by the user that Muster runs as.",
        f"{closed} may not be read by the user that Muster runs as.",
    ]
    assert path.read_text() == "old"
