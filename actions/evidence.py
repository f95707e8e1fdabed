"""Where evidence is put: a vault that is handed in, because what does must not know what remembers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol, Self, runtime_checkable

from runbooks.evidence import Snapshot


class Vault(Protocol):
    """Keeps evidence for good. Implemented by `storage.evidence.Vault`; safe to use from several threads."""

    def latest(self, *, name: str, environment: str | None, service: str | None, since: datetime) -> Snapshot | None:
        """The newest snapshot under this name that was taken at `since` or later."""
        ...

    def keep(self, snapshot: Snapshot, bodies: Mapping[str, bytes]) -> None:
        """Keep a snapshot and the bytes of its pieces, by digest: all of it or nothing. The same one twice is once."""
        ...


@runtime_checkable
class Preserving(Protocol):
    """A backend that keeps evidence, and cannot without a vault."""

    def kept_in(self, vault: Vault) -> Self:
        """The same backend with this vault."""
        ...


class Passing:
    """The vault of a drill: it shows that evidence was taken, and forgets it. A rehearsal's prompts are nobody's evidence."""

    def latest(self, *, name: str, environment: str | None, service: str | None, since: datetime) -> Snapshot | None:  # noqa: ARG002
        """None: every look is taken anew."""
        return None

    def keep(self, snapshot: Snapshot, bodies: Mapping[str, bytes]) -> None:
        """Forget it."""
