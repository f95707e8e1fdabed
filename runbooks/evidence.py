"""Evidence: what was seen when something unsafe happened, copied before anybody changes it, and provable by its digests.

The words of prompts and outputs belong to people. Whoever shows evidence outside its vault shows names, sizes and digests, and no more.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from runbooks.timeline import canonical
from runbooks.value import Moment, Value

_GROUP = 8  # letters; shorter than any number that redaction could take for a card's


class Piece(Value):
    """One source's answer. `sha256` is of its bytes as they came; `cut` says that the source had more."""

    source: str
    sha256: str
    size: int
    cut: bool = False


class Snapshot(Value):
    """Pieces taken together. `missing` are the sources that did not answer, each with why.

    `sha256` is over `manifest`: whoever has it can prove what was taken, from where, and when.
    """

    sha256: str
    name: str
    environment: str | None
    service: str | None
    taken_at: Moment
    pieces: tuple[Piece, ...]
    missing: dict[str, str] = {}

    @property
    def size(self) -> int:
        """Bytes of all pieces together."""
        return sum(piece.size for piece in self.pieces)


def digest(body: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(body).hexdigest()


def sealed(
    *,
    name: str,
    environment: str | None,
    service: str | None,
    taken_at: datetime,
    pieces: Sequence[Piece],
    missing: dict[str, str],
) -> Snapshot:
    """The snapshot with its own digest."""
    open_ = Snapshot(
        sha256="", name=name, environment=environment, service=service, taken_at=taken_at, pieces=tuple(pieces), missing=missing
    )
    return open_.model_copy(update={"sha256": digest(manifest(open_))})


def manifest(snapshot: Snapshot) -> bytes:
    """Everything in the snapshot but its own digest, as canonical JSON. Kept as it is, so that a later version can still prove it."""
    return canonical(snapshot.model_dump(mode="json", exclude={"sha256"}))


def grouped(sha256: str) -> str:
    """A digest as people compare it, `3fc4ccfe:745870e2:…`; without the colons it is the digest again."""
    return ":".join(sha256[start : start + _GROUP] for start in range(0, len(sha256), _GROUP))
