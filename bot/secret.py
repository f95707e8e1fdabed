"""Secrets by reference: configuration names where a secret lives; it is read at the moment of use (rule S18)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, StrictStr, field_validator, model_validator

from runbooks.errors import MusterError
from runbooks.value import Value

OWN_PREFIX = "MUSTER_"
SECRET_PREFIX = "MUSTER_SECRET_"  # noqa: S105 - a prefix of names, not a secret
_MOST_BYTES = 65_536  # a secret file larger than this is surely the wrong file


class SecretMissing(MusterError):
    """A secret cannot be read now: the variable is not set, or the file is not there, empty, or too large."""


class SecretRef(Value):
    """Where a secret lives: `{env: NAME}` or `{file: PATH}`. Never the secret itself.

    A relative path counts from the folder of the file that names it.
    """

    env: StrictStr | None = None
    file: StrictStr | None = None

    @model_validator(mode="before")
    @classmethod
    def _not_the_secret_itself(cls, value: Any) -> Any:
        if isinstance(value, str | bytes | int | float):
            raise ValueError("a secret is never written here; say where it is: {env: NAME} or {file: PATH}")  # noqa: TRY004 - pydantic's word
        return value

    @field_validator("env")
    @classmethod
    def _a_name(cls, name: str | None) -> str | None:
        if name is None:
            return None
        if not name.isidentifier() or not name.isascii():
            raise ValueError("is not the name of an environment variable; a secret itself is never written here")
        if name.startswith(OWN_PREFIX) and not name.startswith(SECRET_PREFIX):
            raise ValueError(f"names that begin with {OWN_PREFIX} are Muster's own settings; use another name, or {SECRET_PREFIX}…")
        return name

    @model_validator(mode="after")
    def _exactly_one(self) -> "SecretRef":
        if (self.env is None) == (self.file is None):
            raise ValueError("say exactly one of {env: NAME} and {file: PATH}")
        return self

    def __str__(self) -> str:
        return f"the environment variable {self.env}" if self.env else f"the file {self.file}"


class Secrets:
    """Reads secrets. One object, built by the composition root; safe to use from several threads.

    A file is read again when it changes on disk, so that rotation needs no restart.
    """

    def __init__(self, *, environ: Mapping[str, str], folder: Path) -> None:
        self._environ = environ
        self._folder = folder
        self._files: dict[Path, tuple[tuple[int, int, int], SecretStr]] = {}

    def reveal(self, ref: SecretRef) -> SecretStr:
        """The secret, now. White space around it is not part of it.

        Raises:
            SecretMissing: with a sentence that names the place, never the content.
        """
        if ref.env is not None:
            value = self._environ.get(ref.env, "").strip()
            if not value:
                raise SecretMissing(f"{ref} is not set; set it to the secret and try again")
            return SecretStr(value)
        return self._from_file(self._folder / str(ref.file), ref)

    def bind(self, *refs: SecretRef) -> "Secret":
        """A handle to one secret and those that may stand in for it while it is rotated."""
        return Secret(secrets=self, refs=refs)

    def _from_file(self, path: Path, ref: SecretRef) -> SecretStr:
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            known = self._files.get(path)
            if known and known[0] == stamp:
                return known[1]
            if stat.st_size > _MOST_BYTES:
                raise SecretMissing(f"{ref} is larger than {_MOST_BYTES} bytes; is it the right file?")
            value = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "not text"
            raise SecretMissing(f"{ref} cannot be read: {reason}") from None
        if not value:
            raise SecretMissing(f"{ref} is empty; write the secret into it")
        self._files[path] = (stamp, SecretStr(value))
        return self._files[path][1]


class Secret:
    """One secret that a part may use, with older or newer ones beside it while it is rotated."""

    __slots__ = ("_refs", "_secrets")

    def __init__(self, *, secrets: Secrets, refs: tuple[SecretRef, ...]) -> None:
        self._secrets, self._refs = secrets, refs

    def reveal(self) -> SecretStr:
        """The first that can be read.

        Raises:
            SecretMissing: none can.
        """
        return self.all()[0]

    def all(self) -> tuple[SecretStr, ...]:
        """Every one that can be read now, in the order of the configuration; one is enough.

        Raises:
            SecretMissing: none can; the sentence is that of the first.
        """
        found: list[SecretStr] = []
        missing: SecretMissing | None = None
        for ref in self._refs:
            try:
                found.append(self._secrets.reveal(ref))
            except SecretMissing as error:
                missing = missing or error
        if not found:
            raise missing or SecretMissing("no secret is configured here")
        return tuple(found)

    def __repr__(self) -> str:
        return f"Secret({', '.join(map(str, self._refs))})"
