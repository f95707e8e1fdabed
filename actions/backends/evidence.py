"""`evidence.preserve`: copy what declared sources say now (logs, prompts, outputs, metrics) into a vault, and answer with digests only.

It changes nothing outside, so a runbook uses it as a diagnostic: it runs by itself when the incident opens, and an action can require
it. What is taken stands in the configuration, never in a runbook or a label. See docs/backends/evidence.md.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from datetime import UTC, datetime, timedelta
from typing import Self
from urllib.parse import urlencode, urlsplit

from actions.comparing import deadline
from actions.contract import BackendError, CallInvalid, OutcomeUnknown
from actions.evidence import Vault
from actions.kinds import BackendKind, OnlyReads, Options, Secrets
from actions.redaction import redact
from actions.toolkit.addresses import Guarded, Host, Place, Resolve, host, resolved
from actions.toolkit.credentials import Headers, signed_in
from actions.toolkit.wire import Answer, Wire, refuse
from runbooks.errors import MusterError
from runbooks.evidence import Piece, Snapshot, digest, grouped, sealed
from runbooks.operation import Argument, ArgumentType, Call, Operation, Reading
from runbooks.value import Json

MOST_BYTES = 1_000_000  # of one piece; a source that has more is cut, and the piece says so
MOST_SOURCES = 20
EVERY = 300.0  # seconds for which a snapshot serves again, so that a diagnostic asked often does not fill the vault
LONGEST = 4.0  # seconds for one source, so that a silent one leaves time for the others

OPERATION = Operation(
    name="evidence.preserve",
    title="Preserve evidence",
    reads=True,
    arguments={"set": Argument(type=ArgumentType.TEXT, help="the declared set of sources, such as unsafe-answers")},
    sample={
        "value": 3.0,
        "pieces": 3,
        "size": 48_211,
        "sha256": grouped("0" * 64),
        "taken_at": "2026-11-21T01:00:00+00:00",
        "rows": [{"source": "prompts", "sha256": grouped("0" * 64), "value": 41_007.0}],
        "missing": [],
    },
)


class Source:
    """One declared source: a name and the whole address that is asked."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address


class Evidence(OnlyReads):
    """The declared sets of one environment. Implements `actions.contract.Backend` and `actions.evidence.Preserving`.

    Credentials go only to the host of `base`; the other listed hosts are asked without. `otherwise` stands for every set that is not
    declared: a drill's world serves one service, whatever a runbook calls its evidence.
    """

    name = "evidence"
    operations: tuple[Operation, ...] = (OPERATION,)

    def __init__(
        self,
        *,
        sets: Mapping[str, tuple[Source, ...]],
        own: tuple[Host, ...],
        otherwise: tuple[Source, ...] = (),
        others: tuple[Host, ...] = (),
        environment: str | None = None,
        world: str | None = None,
        headers: Headers = dict,
        vault: Vault | None = None,
        every: float = EVERY,
        most: int = MOST_BYTES,
        resolve: Resolve = resolved,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.environment, self.world = environment, world
        self._sets, self._otherwise = sets, otherwise
        self._vault, self._every, self._most, self._now = vault, every, most, now
        self._own = Guarded(wire=Wire(who="The source", headers=headers), allow=own, resolve=resolve)
        self._others = Guarded(wire=Wire(who="The source"), allow=(*own, *others), resolve=resolve)
        self._own_hosts = frozenset(own)

    def kept_in(self, vault: Vault) -> Self:
        """The same backend with this vault."""
        found = copy(self)
        found._vault = vault  # noqa: SLF001 - a copy of ours
        return found

    def read(self, call: Call, *, timeout: float) -> Reading:
        """Take a snapshot of the set and keep it, unless one was kept just now; `value` is the number of pieces that are safe.

        Raises:
            CallInvalid: there is no such set, or no vault.
            OutcomeUnknown: no source answered, and nothing was kept.
        """
        name = str(call.arguments["set"])
        if name not in self._sets and not self._otherwise:
            raise CallInvalid(f"{redact(name, limit=80)!r} is no declared set of evidence; there are {', '.join(sorted(self._sets))}.")
        if self._vault is None:
            raise CallInvalid("Evidence has nowhere to be kept: this backend was built without a vault. Nothing was taken.")
        since = self._now() - timedelta(seconds=self._every)
        try:
            recent = self._vault.latest(name=name, environment=self.environment, service=call.service, since=since)
            return _reading(recent or self._taken(name, call.service, self._vault, timeout=timeout))
        except BackendError:
            raise
        except MusterError as error:  # the vault's own: what does knows no errors of what remembers
            raise OutcomeUnknown(f"Evidence could not be kept: {error}") from error

    def probe(self, *, timeout: float) -> str:
        """Whether each source answers; nothing is kept."""
        left = deadline(timeout)
        silent = [source.name for sources in self._sets.values() for source in sources if not self._answers(source, timeout=left())]
        told = f"; silent: {', '.join(silent)}" if silent else ""
        return f"{sum(map(len, self._sets.values())) - len(silent)} sources of evidence answer{told}."

    def _answers(self, source: Source, *, timeout: float) -> bool:
        with suppress(BackendError):
            self._body(source, timeout=min(timeout, LONGEST))
            return True
        return False

    def _taken(self, name: str, service: str | None, vault: Vault, *, timeout: float) -> Snapshot:
        left = deadline(timeout)
        bodies: dict[str, bytes] = {}
        pieces: list[Piece] = []
        missing: dict[str, str] = {}
        for source in self._sets.get(name, self._otherwise):
            try:
                body, cut = self._body(source, timeout=min(left(), LONGEST))
            except BackendError as error:
                missing[source.name] = _printable(redact(str(error), limit=200))
                continue
            piece = Piece(source=source.name, sha256=digest(body), size=len(body), cut=cut)
            bodies[piece.sha256] = body
            pieces.append(piece)
        if not pieces:
            why = " ".join(f"{source}: {reason}" for source, reason in missing.items())
            raise OutcomeUnknown(f"No evidence could be taken. {redact(why, limit=600)}")
        snapshot = sealed(name=name, environment=self.environment, service=service, taken_at=self._now(), pieces=pieces, missing=missing)
        vault.keep(snapshot, bodies)
        return snapshot

    def _body(self, source: Source, *, timeout: float) -> tuple[bytes, bool]:
        """The source's bytes as they came, and whether there were more than are kept."""
        answer = self._asked(self._others.placed(source.address), timeout=timeout)
        refuse(answer, who="The source", what=f"page for {source.name}")
        return answer.body[: self._most], len(answer.body) > self._most

    def _asked(self, place: Place, *, timeout: float) -> Answer:
        guarded = self._own if place.host in self._own_hosts else self._others
        return guarded.send("GET", place, timeout=timeout, most=self._most * 4)


def _printable(text: str) -> str:
    """The text as every database keeps it, letter for letter: the digest is over it."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _reading(snapshot: Snapshot) -> Reading:
    """Names, sizes and digests: nothing that a person has written leaves the vault by this way."""
    return Reading(value=_told(snapshot), facts={"evidence": snapshot.sha256}, revision=snapshot.sha256)


def _told(snapshot: Snapshot) -> dict[str, Json]:
    return {
        "value": float(len(snapshot.pieces)),
        "pieces": len(snapshot.pieces),
        "size": snapshot.size,
        "sha256": grouped(snapshot.sha256),
        "taken_at": snapshot.taken_at.isoformat(),
        "rows": [{"source": piece.source, "sha256": grouped(piece.sha256), "value": float(piece.size)} for piece in snapshot.pieces],
        "missing": [f"{source}: {reason}" for source, reason in snapshot.missing.items()],
    }


def build(options: Options, secrets: Secrets) -> Evidence:
    """`sets`: by name, `pages` (paths below `base`, or addresses on `allow` and `inside`) and `queries` (asked at `metrics`).

    `every`: seconds for which a snapshot serves again; `most`: bytes of one piece. The secrets `token`, or `username` and `password`, are
    for `base` alone.
    """
    base, metrics = options.text("base", None), options.text("metrics", None)
    try:
        own = (_of(base),) if base else ()
        others = tuple(host(entry) for entry in options.texts("allow", []))
        others += tuple(host(entry, inside=True) for entry in options.texts("inside", []))
        others += (_of(metrics),) if metrics else ()
    except ValueError as error:
        raise options.invalid("base", str(error)) from error
    sets = {str(name): tuple(_sources(options, str(name), given)) for name, given in options.get("sets", dict).items()}
    if not sets or not all(1 <= len(sources) <= MOST_SOURCES for sources in sets.values()):
        raise options.invalid("sets", f"must declare at least one set, each with 1 to {MOST_SOURCES} sources")
    every, most = options.get("every", int, int(EVERY)), options.get("most", int, MOST_BYTES)
    if not 0 <= every <= 3600 or not 1 <= most <= MOST_BYTES:
        raise options.invalid("every", f"must be 0 to 3600 seconds, and most 1 to {MOST_BYTES} bytes")
    environment = options.text("environment", None)
    return Evidence(sets=sets, own=own, others=others, environment=environment, headers=signed_in(secrets), every=float(every), most=most)


def _of(address: str) -> Host:
    parts = urlsplit(address)
    return host(f"{parts.scheme}://{parts.netloc}", inside=True)


def _sources(options: Options, name: str, given: Json) -> Iterator[Source]:
    """The sources of one set. Every refusal names its field."""
    place = f"sets.{name}"
    if not isinstance(given, Mapping) or set(given) - {"pages", "queries"}:
        raise options.invalid(place, "must be {pages: {name: path}, queries: {name: query}}")
    for kind, needed in (("pages", "base"), ("queries", "metrics")):
        listed = given.get(kind) or {}
        if not isinstance(listed, Mapping) or not all(isinstance(one, str) and one for one in listed.values()):
            raise options.invalid(f"{place}.{kind}", "must be a mapping of names to texts")
        start = options.text(needed, None)
        for source, text in listed.items():
            if start is None and (kind == "queries" or text.startswith("/")):
                raise options.invalid(needed, f"is needed for {place}.{kind}.{source}")
            yield Source(str(source), _address(kind, str(start).rstrip("/"), text))


def _address(kind: str, start: str, text: str) -> str:
    if kind == "queries":
        return f"{start}/api/v1/query?{urlencode({'query': text})}"
    return start + text if text.startswith("/") else text


KIND = BackendKind(
    name="evidence",
    operations=(OPERATION,),
    build=build,
    options=frozenset({"base", "metrics", "allow", "inside", "environment", "sets", "every", "most"}),
)
