"""HAProxy: which backend a key of a map leads to, changed at once through the runtime socket, and in the map's file for the next reload.

HAProxy's number of retries cannot be changed while it runs, so each level of retries is a backend of its own (`answers-1`, `answers-3`:
attempts in all), and a map says which one is used. The target is the key in the map.
https://docs.haproxy.org/2.6/management.html#9.3
"""

import csv
import os
import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from actions.comparing import Comparing, deadline
from actions.contract import BackendError, CallInvalid, NotPermitted, OutcomeUnknown, Rejected, TargetMissing, Unreachable
from actions.kinds import BackendKind, Options, Secrets
from actions.operations import RETRIES_CAP, ROUTE_SWITCH
from actions.redaction import redact
from actions.toolkit.loopback import checked
from actions.toolkit.rewriting import locked, put, text_of
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json

WHO = "HAProxy"
OPERATIONS = (RETRIES_CAP, ROUTE_SWITCH)
LEVELS = "{target}-{attempts}"
MOST_ATTEMPTS = 10
MOST_BYTES = 5_000_000
WRITING = 5.0  # seconds for the file after HAProxy uses the value already: leaving it half done would be worse than being late

# What a word may hold: nothing that the socket's own language reads as the end of a word or of a command.
_KEY = re.compile(r"[A-Za-z0-9._/@-][A-Za-z0-9._:/@-]{0,199}")
_BACKEND = re.compile(r"[A-Za-z0-9._:-]{1,200}")
_LINE = re.compile(r"(?P<before>\s*(?P<key>[^\s#]\S*)\s+)(?P<value>.*?)(?P<after>\s*)")


class RuntimeSocket:
    """HAProxy's runtime socket: one command a connection, a deadline over all of it, and every foreign error as one of the contract's."""

    def __init__(self, *, address: str) -> None:
        """`address` is a path, or host:port."""
        self._address = address

    def ask(self, command: str, *, timeout: float) -> str:
        """The answer to one command, without the empty line that ends it.

        Raises:
            Unreachable: no connection was made; nothing was sent.
            NotPermitted: the socket may not be opened.
            OutcomeUnknown: it was sent, and no whole answer came.
        """
        ends = time.monotonic() + timeout
        with self._connected(timeout) as connection:
            try:
                connection.sendall(f"{command}\n".encode())
                found = _answer(connection, ends=ends)
            except TimeoutError as error:
                raise OutcomeUnknown(f"{WHO} did not answer within {timeout:.0f} s.") from error
            except OSError as error:
                raise OutcomeUnknown(f"{WHO} broke off without a whole answer.") from error
        if found != "\n" and not found.endswith("\n\n"):
            raise OutcomeUnknown(f"{WHO} broke off without a whole answer.")
        return found.strip("\n")

    def _connected(self, timeout: float) -> socket.socket:
        host, _, port = self._address.rpartition(":")
        try:
            if not self._address.startswith("/"):
                return socket.create_connection((host.strip("[]"), int(port)), timeout=timeout)
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(timeout)
                connection.connect(self._address)
            except OSError:
                connection.close()
                raise
        except PermissionError as error:
            raise NotPermitted(f"{WHO}'s socket {self._address} may not be opened by the user that Muster runs as.") from error
        except OSError as error:
            raise Unreachable(f"{WHO} cannot be reached at {self._address}; nothing was sent.") from error
        return connection


def _answer(connection: socket.socket, *, ends: float) -> str:
    found = bytearray()
    while True:
        rest = ends - time.monotonic()
        if rest <= 0:
            raise TimeoutError
        connection.settimeout(rest)
        some = connection.recv(65_536)
        if not some:
            return found.decode("utf-8", "replace")
        found += some
        if len(found) > MOST_BYTES:
            raise OutcomeUnknown(f"{WHO} answers with more than {MOST_BYTES:,} bytes.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """How one operation writes a backend's name as its value."""

    name: str
    map: Path
    value: Callable[[str, str], Json]
    backend: Callable[[str, Json], str]
    words: Callable[[Json], str]


class HAProxy(Comparing):
    """One HAProxy. Implements `actions.contract.Backend`."""

    name = "haproxy"
    world: str | None = None

    def __init__(
        self,
        *,
        address: str,
        retries: Path | None = None,
        routes: Path | None = None,
        levels: str = LEVELS,
        persist: bool = True,
        environment: str | None = "production",
    ) -> None:
        """`retries` and `routes` are the maps, by the path that haproxy.cfg names; `persist` writes their files, too."""
        self.environment, self._persist, self._levels = environment, persist, levels
        self._socket = RuntimeSocket(address=address)
        self._fields: dict[str, Field] = {}
        if retries is not None:
            self._fields[RETRIES_CAP.name] = Field(
                name="attempts", map=retries, value=self._attempts, backend=self._level, words=_attempts_in_words
            )
        if routes is not None:
            self._fields[ROUTE_SWITCH.name] = Field(
                name="route",
                map=routes,
                value=lambda _target, backend: {"route": backend},
                backend=lambda _target, value: str(value["route"]),
                words=lambda value: f"route {value['route']}",
            )
        self.operations: tuple[Operation, ...] = tuple(one for one in OPERATIONS if one.name in self._fields)

    def read(self, call: Call, *, timeout: float) -> Reading:
        """Where the key leads now, in HAProxy's memory; what its file says, and which backends there are, stand beside it."""
        left = deadline(timeout)
        field, target = self._field(call)
        backend = _led(self._entries(field, left=left), target, name=field.map.name)
        file = self._in_file(field, target)
        facts = {"backend": backend, "backends": self._backends(left=left), "file": file}
        if self._persist and file != backend:
            facts["caveat"] = f"But {field.map.name} says {file or 'nothing'}: change it there, too, or a reload of {WHO} takes it back."
        return Reading(value=field.value(target, backend), facts=facts)

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The backend for what is asked, if HAProxy has it and it has a server: a key that leads nowhere answers 503."""
        field, target = self._field(call)
        value = {field.name: call.arguments[field.name]}
        wanted = self._usable(field, target, value, reading)
        if reading.facts["backends"][wanted] != "UP":
            raise CallInvalid(f"{WHO}'s backend {wanted} is {reading.facts['backends'][wanted]} now; requests sent there would fail.")
        note = "Stays when HAProxy is reloaded." if self._persist else "HAProxy forgets this when it is reloaded or restarted."
        if self._persist and reading.facts["file"] != reading.facts["backend"]:
            note += f" Until now its file said {reading.facts['file'] or 'nothing'}, so a reload would have changed it already."
        return Proposal(value=value, before_text=field.words(reading.value), after_text=field.words(value), note=note)

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """Change HAProxy's memory if it is as expected, then the file.

        Raises:
            Rejected: somebody changed the file's line since `expected`, and HAProxy has not been reloaded yet: nothing was changed.
            OutcomeUnknown: also where HAProxy uses the value and its file could not be written, so that a reload would take it back.
        """
        if not self._persist:
            return super().apply(call, value, expected=expected, key=key, timeout=timeout)
        field, target = self._field(call)
        backend = field.backend(target, value)
        said, says = expected.facts.get("file"), self._in_file(field, target)
        if said and says and says not in {said, backend}:
            raise Rejected(
                f"{field.map.name} was changed meanwhile and now says {says} for {target}, not {said}, and {WHO} was not reloaded since. "
                "Reload it, or put the line right, and plan again."
            )
        after = super().apply(call, value, expected=expected, key=key, timeout=timeout)
        if after.value != value:
            return after
        self._write_file(call, value)
        facts = {name: fact for name, fact in after.facts.items() if name != "caveat"}
        return after.model_copy(update={"facts": {**facts, "file": backend}})

    def probe(self, *, timeout: float) -> str:
        """Which HAProxy answers, and that its maps are there. Changes nothing."""
        left = deadline(timeout)
        found = dict(line.split(": ", 1) for line in self._socket.ask("show info", timeout=left()).splitlines() if ": " in line)
        for field in self._fields.values():
            self._entries(field, left=left)
        maps = ", ".join(sorted({field.map.name for field in self._fields.values()}))
        return f"{WHO} {found.get('Version', 'of an unknown version')} answers, with {maps}."

    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:  # noqa: ARG002 - it takes no key
        field, target = self._field(call)
        wanted = self._usable(field, target, value, present)
        if self._persist:
            self._changed_file(field, target, wanted)
            if not os.access(field.map.parent, os.W_OK):
                raise NotPermitted(f"{field.map} may not be replaced by the user that Muster runs as. Nothing was sent to {WHO}.")
        _refuse(self._socket.ask(f"set map {field.map} {target} {wanted}", timeout=timeout), what=f"{target} in {field.map.name}")

    def _write_file(self, call: Call, value: Json) -> None:
        field, target = self._field(call)
        try:
            with locked(field.map, left=deadline(WRITING)):
                changed = self._changed_file(field, target, field.backend(target, value))
                if changed != text_of(field.map):
                    put(field.map, changed)
        except BackendError as error:
            raise OutcomeUnknown(f"{WHO} uses it, but its file was not written, so a reload would take it back: {error}") from error

    def _changed_file(self, field: Field, target: str, backend: str) -> str:
        lines, found = text_of(field.map).splitlines(keepends=True), 0
        for at, line in enumerate(lines):
            match = _LINE.fullmatch(line)
            if match and match["key"] == target:
                lines[at], found = f"{match['before']}{backend}{match['after']}", found + 1
        if found != 1:
            raise TargetMissing(f"{field.map} has {found or 'no'} lines for {target}; it needs one, so that a reload finds the same.")
        return "".join(lines)

    def _in_file(self, field: Field, target: str) -> str | None:
        if not self._persist:
            return None
        matches = (_LINE.fullmatch(line) for line in text_of(field.map).splitlines())
        return next((match["value"] for match in matches if match and match["key"] == target), None)

    def _entries(self, field: Field, *, left: Callable[[], float]) -> list[tuple[str, str]]:
        said = self._socket.ask(f"show map {field.map}", timeout=left())
        _refuse("" if said.startswith("0x") else said, what=f"map {field.map}")
        rows = [line.split(" ", 2) for line in said.splitlines()]
        return [(row[1], row[2].strip()) for row in rows if len(row) == 3]

    def _backends(self, *, left: Callable[[], float]) -> dict[str, str]:
        """Every backend with its state, from the statistics (https://docs.haproxy.org/2.6/management.html#9.1)."""
        said = self._socket.ask("show stat -1 2 -1", timeout=left())
        rows = list(csv.DictReader(said.removeprefix("# ").splitlines()))
        if any("pxname" not in row or "status" not in row for row in rows):
            raise OutcomeUnknown(f"{WHO} answers something that cannot be read: {redact(said, limit=100)}")
        return {row["pxname"]: row["status"] if row.get("act") != "0" or row.get("bck") != "0" else "without a server" for row in rows}

    def _usable(self, field: Field, target: str, value: Json, reading: Reading) -> str:
        wanted = field.backend(target, value)
        there = reading.facts["backends"]
        if wanted not in there:
            levels = [str(number) for number in range(1, MOST_ATTEMPTS + 1) if self._level(target, {"attempts": number}) in there]
            choice = (
                f"attempts may be {', '.join(levels) or 'none'}" if field.name == "attempts" else f"there are {', '.join(sorted(there))}"
            )
            raise CallInvalid(f"{WHO} has no backend {wanted}, and requests sent there would get a 503; {choice}.")
        return wanted

    def _attempts(self, target: str, backend: str) -> Json:
        for number in range(1, MOST_ATTEMPTS + 1):
            if self._level(target, {"attempts": number}) == backend:
                return {"attempts": number}
        raise CallInvalid(
            f"{target} leads to {backend}, which is no level of its retries; they are called {self._level(target, {'attempts': 'N'})}."
        )

    def _level(self, target: str, value: Json) -> str:
        return self._levels.replace("{target}", target).replace("{attempts}", str(value["attempts"]))

    def _field(self, call: Call) -> tuple[Field, str]:
        field = self._fields.get(call.operation)
        if field is None:
            raise CallInvalid(f"This {WHO} is not configured for {call.operation}.")
        wanted = call.arguments.get("route")
        if not call.target or not _KEY.fullmatch(call.target) or (wanted is not None and not _BACKEND.fullmatch(str(wanted))):
            raise CallInvalid(
                f"{call.operation} needs a key of {field.map.name} and the name of a backend, without spaces or signs such as ;."
            )
        return field, call.target


def _led(entries: Sequence[tuple[str, str]], target: str, *, name: str) -> str:
    """Where a key leads.

    Raises:
        TargetMissing: the map does not have it.
        CallInvalid: it stands there several times; HAProxy would change all of them, and an undo could not tell them apart.
    """
    found = [backend for key, backend in entries if key == target]
    if not found:
        raise TargetMissing(f"{name} has no key {target}; it has {', '.join(sorted({key for key, _ in entries})[:8]) or 'none'}.")
    if len(found) > 1:
        raise CallInvalid(f"{name} has {target} {len(found)} times ({', '.join(found[:8])}); leave one line there, and reload {WHO}.")
    return found[0]


def _refuse(said: str, *, what: str) -> None:
    """An empty answer means that it was done; of the others, these are known to mean that nothing was."""
    if not said:
        return
    if "not found" in said or "Unknown map" in said:
        raise TargetMissing(f"{WHO} has no {what}: {redact(said, limit=200)}")
    if "ermission denied" in said:
        raise NotPermitted(f"{WHO}'s socket does not allow this: {redact(said, limit=200)}")
    if "expects" in said or "Missing" in said or "Unknown command" in said:
        raise Rejected(f"{WHO} refuses: {redact(said, limit=200)}")
    raise OutcomeUnknown(f"{WHO} answers {redact(said, limit=200)}")


def _attempts_in_words(value: Json) -> str:
    return f"{value['attempts']} {'attempt' if value['attempts'] == 1 else 'attempts'}"


def build(options: Options, secrets: Secrets) -> HAProxy:  # noqa: ARG001 - the socket asks for none; the file system guards it
    """Options: `socket`, `retries` and `routes` (maps), `levels`, `persist`, `environment`, `trusted` for a socket on another machine."""
    address = options.text("socket")
    if not address.startswith("/"):
        host, colon, port = address.rpartition(":")
        if not colon or not host or not port.isdigit():
            raise options.invalid("socket", f"is {address!r}; write the socket's whole path, or 127.0.0.1:9999")
        checked(options, "socket", host)
    levels = options.text("levels", LEVELS)
    if "{target}" not in levels or "{attempts}" not in levels or not _BACKEND.fullmatch(re.sub(r"[{}]", "", levels)):
        raise options.invalid("levels", f"is {levels!r}; write how the backends are called, such as {LEVELS}")
    retries, routes = _map(options, "retries"), _map(options, "routes")
    if retries is None and routes is None:
        raise options.invalid("retries", "is needed, or `routes`: the map's path, as in haproxy.cfg")
    return HAProxy(
        address=address,
        retries=retries,
        routes=routes,
        levels=levels,
        persist=options.get("persist", bool, True),
        environment=options.text("environment", "production"),
    )


def _map(options: Options, name: str) -> Path | None:
    path = options.text(name, None)
    if path is not None and not (path.startswith("/") and _KEY.fullmatch(path)):
        raise options.invalid(name, f"is {path!r}; write the map's whole path, as in haproxy.cfg, without spaces")
    return Path(path) if path else None


KIND = BackendKind(
    name="haproxy",
    operations=OPERATIONS,
    build=build,
    options=frozenset({"socket", "retries", "routes", "levels", "persist", "environment", "trusted"}),
)
