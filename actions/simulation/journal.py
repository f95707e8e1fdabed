"""What a world is, on disk: a log of events that is only appended to, and now and then a snapshot that saves replaying all of it.

An event is on disk before it is carried out. A line that a kill cut short was never answered, so it is dropped on opening.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class JournalDamaged(Exception):
    """A line in the middle of the log cannot be read; the text names file and line. Nothing was changed."""


class Journal:
    """The log and the snapshot of one world, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._log = directory / "events.jsonl"
        self.events = self._read()

    def append(self, event: Mapping[str, Any]) -> None:
        """Put an event on disk; it is there when this returns."""
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        fresh = not self._log.exists()
        with self._log.open("ab") as log:
            log.write(line)
            log.flush()
            os.fsync(log.fileno())
        if fresh:
            _sync_directory(self._directory)
        self.events.append(dict(event))

    def keep(self, name: str, value: Mapping[str, Any]) -> None:
        """Replace a JSON file beside the log, so that a kill leaves the old one or the new one."""
        partial = self._directory / f".{name}.partial"
        with partial.open("w", encoding="utf-8") as file:
            json.dump(value, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._directory / name)
        _sync_directory(self._directory)

    def kept(self, name: str) -> dict[str, Any] | None:
        """Return a JSON file beside the log, or none if it is missing or cannot be read: it only saves work."""
        try:
            value = json.loads((self._directory / name).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def _read(self) -> list[dict[str, Any]]:
        if not self._log.exists():
            return []
        lines = self._log.read_bytes().split(b"\n")
        events: list[dict[str, Any]] = []
        good = 0
        for number, line in enumerate(lines[:-1], start=1):
            try:
                events.append(json.loads(line))
            except ValueError as problem:
                if number < len(lines) - 1:
                    raise JournalDamaged(f"{self._log}, line {number}: {problem}; restore the file or remove its directory") from problem
                break
            good += len(line) + 1
        if good < self._log.stat().st_size:
            with self._log.open("r+b") as log:
                log.truncate(good)
        return events


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
