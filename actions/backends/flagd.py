"""OpenFeature's flagd: `flag.disable` and `flag.set` write a flag's `state` into the file of flag definitions that flagd reads.

https://flagd.dev/reference/flag-definitions/. The new file takes the old one's place by renaming, and nothing but that one word differs.
Musters exclude each other by a lock (`actions.toolkit.rewriting`); whoever else edits the flag is noticed by its definition.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from actions.comparing import TimeUp, deadline
from actions.contract import Conflict, NotPermitted, OutcomeUnknown, Rejected, TargetMissing, Unreachable
from actions.kinds import BackendKind, Options, Secrets
from actions.toolkit.flags import OPERATIONS, Flags, entry, flag_name, text
from actions.toolkit.rewriting import locked, parsed, put, text_of, time_of, with_scalars
from runbooks.operation import Call, Reading
from runbooks.value import Json

STATES = {True: "ENABLED", False: "DISABLED"}
YAML = {".yaml", ".yml"}
MOST_PIECES = 500_000  # of one definition
LATER = 1_000_000  # nanoseconds by which a file is newer at least: readers compare its times

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


class Flagd(Flags):
    """The flags of one file. Implements `actions.contract.Backend`."""

    name = "flagd"

    def __init__(self, *, file: Path, environment: str) -> None:
        super().__init__(environment=environment)
        self._file = file

    def read(self, call: Call, *, timeout: float) -> Reading:  # noqa: ARG002 - a file answers at once
        """Whether the flag's state is ENABLED. Its revision is a digest of its definition, so that other flags' changes do not matter."""
        flag = flag_name(call)
        return self._reading(flag, text_of(self._real))

    def probe(self, *, timeout: float) -> str:  # noqa: ARG002 - a file answers at once
        """Read the file, and ask whether it may be replaced."""
        flags, folder = self._flags(text_of(self._real)), self._real.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise NotPermitted(f"Muster reads {self._file}, and may not write in {folder}. Let its user create files there.")
        return f"reads {len(flags)} flags in {self._file}, and may replace it"

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """As `Comparing.apply`, while no other Muster writes in this folder."""
        left = deadline(timeout)
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self._real, left=left))
            except TimeUp as error:
                raise Unreachable(f"Another Muster is writing beside {self._file} and does not finish. Try again in a moment.") from error
            return super().apply(call, value, expected=expected, key=key, timeout=left())

    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:  # noqa: ARG002 - no far side
        flag, file = flag_name(call), self._real
        found = text_of(file)
        now = self._reading(flag, found)
        if now.revision != present.revision:  # an editor knows no lock
            raise Conflict(f"Someone else changed flag {flag} in {self._file} meanwhile.", current=now)
        changed = self._changed(found, flag, STATES[bool(value)])
        before = time_of(file)
        put(file, changed)
        _newer(file, before)

    def _changed(self, found: str, flag: str, state: str) -> str:
        """The text with this state, and every other character as it was."""
        if self._file.suffix in YAML:
            return with_scalars(found, {("flags", flag, "state"): state}, name=str(self._file))
        start, end = _state(found, flag, self._file)
        return f'{found[:start]}"{state}"{found[end:]}'

    def _reading(self, flag: str, found: str) -> Reading:
        flags = self._flags(found)
        if flag not in flags:
            raise TargetMissing(f"{self._file} has no flag {flag}. Check its name; large and small letters differ.")
        state = entry(flags[flag], "state")
        if state not in STATES.values():
            raise Rejected(f"{self._file}: the state of flag {flag} is neither ENABLED nor DISABLED. Mend the file first.")
        return Reading(
            value=state == STATES[True],
            facts={"default": text(entry(flags[flag], "defaultVariant"))},
            revision=self._digest(flags[flag]),
        )

    def _digest(self, definition: Json) -> str:
        found = hashlib.sha256()
        try:
            for number, piece in enumerate(_pieces(definition)):
                if number > MOST_PIECES:
                    raise Rejected(f"{self._file} repeats its parts by aliases without end. Write them out.")
                found.update(piece.encode(errors="backslashreplace"))
        except RecursionError as error:
            raise Rejected(f"{self._file} holds a flag that holds itself by an alias. Mend the file first.") from error
        return found.hexdigest()[:16]

    def _flags(self, found: str) -> Mapping[str, Json]:
        try:
            document = parsed(found, name=str(self._file)) if self._file.suffix in YAML else json.loads(found)
        except (ValueError, RecursionError) as error:
            raise Rejected(f"{self._file} is not JSON at present; somebody may be editing it. Mend it, then try again.") from error
        flags = entry(document, "flags")
        if not isinstance(flags, Mapping):
            raise Rejected(f"{self._file} is no file of flag definitions: it has no object `flags`.")
        return flags

    def _note(self, *, value: bool, reading: Reading) -> str:
        if not value:
            return "Disabled: each application uses the default in its own code."
        default = reading.facts.get("default")
        return f"Enabled: its rules apply, and else its variant {default}." if default else "Enabled: its rules apply."

    @property
    def _real(self) -> Path:
        """The file itself where the configured one is a link: the link stays."""
        return Path(os.path.realpath(self._file))


def _pieces(found: Json) -> Iterator[str]:
    """A definition piece by piece, the same for the same content; YAML's keys may be of any kind: it takes `on` for a truth value."""
    if isinstance(found, Mapping):
        yield "{"
        for key in sorted(found, key=lambda one: (type(one).__name__, str(one))):
            yield f"{key!r}:"
            yield from _pieces(found[key])
        yield "}"
    elif isinstance(found, list):
        yield "["
        for one in found:
            yield from _pieces(one)
        yield "]"
    else:
        yield f"{found!r},"


def _newer(file: Path, before: int) -> None:
    """See that the file's time is later than that of the one it replaced, which may lie ahead: readers go by it."""
    try:
        there = file.stat()
        if there.st_mtime_ns <= before:
            os.utime(file, ns=(there.st_atime_ns, before + LATER))
    except OSError as error:
        raise OutcomeUnknown(f"{file} was replaced, and could not be given a later time; applications may not notice.") from error


def _state(found: str, flag: str, file: Path) -> tuple[int, int]:
    """Where the value of the flag's state begins and ends in the JSON text."""
    at, end = _skipped(found, 0), len(found)
    for key in ("flags", flag, "state"):
        spans = [(start, end) for name, start, end in _members(found, at) if name == key]
        if len(spans) != 1:
            raise Rejected(f"{file} has {key} more than once in one place, so nobody can say which one counts. Mend the file first.")
        at, end = spans[0]
    return at, end


def _members(found: str, at: int) -> Iterator[tuple[str, int, int]]:
    """Each member of the object that begins at `at`: its key, and where its value begins and ends. The text is known to be JSON."""
    at = _skipped(found, at + 1)
    while found[at] != "}":
        key, at = _DECODER.raw_decode(found, at)
        start = _skipped(found, _skipped(found, at) + 1)
        _, end = _DECODER.raw_decode(found, start)
        yield key, start, end
        at = _skipped(found, end)
        at = _skipped(found, at + 1) if found[at] == "," else at


def _skipped(found: str, at: int) -> int:
    space = _SPACE.match(found, at)
    return space.end() if space else at


def build(options: Options, secrets: Secrets) -> Flagd:  # noqa: ARG001 - the file system knows Muster's user, and no token
    """`file`, the absolute path of a file of flag definitions (.json, .yaml or .yml), and the `environment` whose applications read it."""
    file = Path(options.text("file"))
    if not file.is_absolute() or file.suffix not in {".json", *YAML}:
        raise options.invalid("file", f"is {str(file)!r}; it must be the absolute path of a .json, .yaml or .yml file")
    return Flagd(file=file, environment=options.text("environment"))


KIND = BackendKind(name="flagd", operations=OPERATIONS, build=build, options=frozenset({"file", "environment"}))
