"""Change single values of a file that others read and write, too: by rename, under a lock, and without touching anything else in it."""

import fcntl
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from actions.contract import BackendError, CallInvalid, NotPermitted, Rejected, TargetMissing, Unreachable

MOST_BYTES = 5_000_000
PAUSE = 0.01  # seconds between two tries for the lock
Place = tuple[str | int, ...]
"""Where a value stands in a document: names and positions from its root."""


def text_of(path: Path) -> str:
    """The file's text.

    Raises:
        TargetMissing: it is not there.
        NotPermitted: it may not be read.
        Rejected: it is no text, or too large.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise Rejected(f"{path.name} is larger than {MOST_BYTES:,} bytes.")
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(path, error, what="read") from error


def time_of(path: Path) -> int:
    """When the file was last written, in nanoseconds since 1970; errors as those of `text_of`."""
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise _refused(path, error, what="read") from error


@contextmanager
def locked(path: Path, *, left: Callable[[], float]) -> Iterator[None]:
    """Be the only Muster that changes files in this folder. The lock ends with the process, however it ends.

    Raises:
        Unreachable: another one holds it until the time is up; nothing was changed.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _refused(path, error, what="opened") from error
    try:
        while not _taken(folder, path):
            left()
            time.sleep(PAUSE)
        yield
    finally:
        os.close(folder)


def _taken(folder: int, path: Path) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # some network file systems know no locks
        raise _refused(path, error, what="locked") from error
    return True


def put(path: Path, text: str) -> None:
    """Replace the file by rename: a reader sees the old text or the new one, and never half of either. Its mode and owner stay.

    Raises:
        NotPermitted: the folder or the file's owner does not allow it; the file is as it was.
        Rejected: it cannot be written; the file is as it was.
    """
    drafted: str | None = None
    try:
        there = path.stat()
        handle, drafted = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as draft:
            os.fchmod(draft.fileno(), there.st_mode & 0o7777)
            if (there.st_uid, there.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(draft.fileno(), there.st_uid, there.st_gid)
            draft.write(text)
            draft.flush()
            os.fsync(draft.fileno())
        Path(drafted).replace(path)
    except OSError as error:
        if drafted is not None:
            Path(drafted).unlink(missing_ok=True)
        raise _refused(path, error, what="replaced") from error


def _refused(path: Path, error: OSError | UnicodeDecodeError, *, what: str) -> BackendError:
    if isinstance(error, FileNotFoundError):
        return TargetMissing(f"{path} is not there.")
    if isinstance(error, PermissionError):
        return NotPermitted(f"{path} may not be {what} by the user that Muster runs as.")
    if isinstance(error, UnicodeDecodeError):
        return Rejected(f"{path} is not a text in UTF-8.")
    if isinstance(error, TimeoutError):
        return Unreachable(f"{path} cannot be {what} in time.")
    return Rejected(f"{path} cannot be {what}: {error.strerror}.")


def parsed(text: str, *, name: str) -> object:
    """The content of YAML or JSON, which is YAML, too.

    Raises:
        Rejected: it is neither.
    """
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError for a date that is none
        raise Rejected(f"{name} is neither YAML nor JSON.") from error


def with_scalars(text: str, changes: Mapping[Place, str], *, name: str) -> str:
    """The text with the single values at these places written anew, as the given YAML; every other character stays, comments too.

    Raises:
        CallInvalid: there is no single value at a place, or it is shared with another one by an alias.
        Rejected: the text cannot be read.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise Rejected(f"{name} is neither YAML nor JSON.") from error
    shared = _shared(root)
    spans = sorted(((*_span(root, place, shared, name=name), put_there) for place, put_there in changes.items()), reverse=True)
    changed = text
    for start, end, put_there in spans:
        changed = changed[:start] + put_there + changed[end:]
    wanted = parsed(text, name=name)
    for place, put_there in changes.items():
        _set(wanted, place, yaml.safe_load(put_there))
    if parsed(changed, name=name) != wanted:
        raise Rejected(f"{name} cannot be changed in one place without changing another.")
    return changed


def _shared(root: yaml.Node | None) -> set[int]:
    """The nodes that stand in several places, by anchor and alias."""
    counts: Counter[int] = Counter()
    rest, seen = [root], set[int]()
    while rest:
        node = rest.pop()
        if id(node) in seen or node is None or isinstance(node, yaml.ScalarNode):
            continue
        seen.add(id(node))
        children = [child for pair in node.value for child in (pair if isinstance(pair, tuple) else (pair,))]
        counts.update(map(id, children))
        rest.extend(children)
    return {node for node, count in counts.items() if count > 1}


def _span(root: yaml.Node | None, place: Place, shared: set[int], *, name: str) -> tuple[int, int]:
    node = root
    for step in place:
        node = _below(node, step)
        if id(node) in shared and node is not None:
            raise CallInvalid(f"{name} shares {'.'.join(map(str, place))} with another place by an alias; write it out there.")
    if not isinstance(node, yaml.ScalarNode):
        raise CallInvalid(f"{name} does not say {'.'.join(map(str, place))}; write it there once, so that it can be changed.")
    return node.start_mark.index, node.end_mark.index


def _below(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        found: yaml.Node = node.value[step]
        return found
    return None


def _set(document: object, place: Sequence[str | int], value: object) -> None:
    for step in place[:-1]:
        document = document[step]  # type: ignore[index]  # `_span` has walked this way
    document[place[-1]] = value  # type: ignore[index]
