"""What the command line prints: tables for people, JSON for machines, errors on stderr with a documented exit code."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

import typer

from bot.cli.connection import Answered, Connection, NotReachable, connect
from runbooks.duration import in_words
from runbooks.errors import MusterError, NotFound, SettingsInvalid
from storage.errors import AddressRefused, StorageError

OK, ERROR, USAGE, NOT_FOUND, REFUSED, UNREACHABLE = 0, 1, 2, 3, 4, 5
"""Exit codes (docs/cli.md): done; problems were found, or something went wrong; wrong usage or configuration; no such thing; Muster
refused; nobody answers."""

_BY_STATUS = {400: USAGE, 401: REFUSED, 403: REFUSED, 404: NOT_FOUND, 409: REFUSED, 413: USAGE, 422: USAGE, 503: UNREACHABLE}
WIDEST, LAST = 90, 400
"""Characters of one cell, and of the last one of a row, which pushes nothing aside; the whole stands in the JSON."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Number = Annotated[str, typer.Argument(help="The incident, as 42 or INC-42.", metavar="INCIDENT")]


@contextmanager
def session() -> Iterator[Connection]:
    """A connection; an error ends the command with its sentence on stderr and its exit code."""
    with reported():
        connection = connect()
        try:
            yield connection
        finally:
            connection.close()


@contextmanager
def reported() -> Iterator[None]:
    """Every error that Muster raises on purpose becomes a sentence on stderr and an exit code."""
    try:
        yield
    except MusterError as error:
        stop(str(error), code_of(error))


def code_of(error: MusterError) -> int:
    """The exit code of an error."""
    if isinstance(error, Answered):
        return _BY_STATUS.get(error.status, ERROR)
    if isinstance(error, SettingsInvalid | AddressRefused):
        return USAGE
    if isinstance(error, NotReachable | StorageError):
        return UNREACHABLE
    return NOT_FOUND if isinstance(error, NotFound) else ERROR


def stop(text: str, code: int) -> NoReturn:
    """End the command.

    Raises:
        Exit: always.
    """
    sys.stderr.write(f"{text}\n")
    raise typer.Exit(code)


def show(found: Any, as_json: bool, people: Callable[[Any], str]) -> None:
    """Print it: as JSON, or in the words of `people`."""
    sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) if as_json else people(found).rstrip())
    sys.stdout.write("\n")


def table(rows: Sequence[Sequence[object]], heads: Sequence[str], *, empty: str = "Nothing.") -> str:
    """Columns as wide as they need to be. Text from outside cannot move the cursor or colour the terminal."""
    if not rows:
        return empty
    cells = [[*(plain(str(cell)) for cell in row[:-1]), plain(str(row[-1]), most=LAST)] for row in rows]
    widths = [max(len(head), *(len(row[index]) for row in cells)) for index, head in enumerate(heads)]
    lines = [list(heads), *cells]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def plain(text: str, most: int = WIDEST) -> str:
    """One line without control characters, cut where it is too long for a table."""
    line = "".join(letter if letter.isprintable() else " " for letter in text).strip()
    return line if len(line) <= most else f"{line[: most - 1]}…"


def when(text: str | None) -> str:
    """A time as people read it, in UTC."""
    return "" if text is None else f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def ago(text: str | None) -> str:
    """How long ago, by this machine's clock."""
    if text is None:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()
    return f"{in_words(seconds)} ago" if seconds >= 1 else "now"


def number_of(text: str) -> int:
    """The number in `INC-42`, `inc42` or `42`.

    Raises:
        Exit: there is none.
    """
    digits = text.strip().upper().removeprefix("INC").lstrip("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):  # what a database can count
        stop(f"Say which incident, for example 42 or INC-42, not {text!r}.", USAGE)
    return int(digits)


class Progress:
    """A line on stderr that says what is being waited for; one line for each change."""

    def __init__(self) -> None:
        self._last = ""

    def say(self, text: str) -> None:
        """Say it, once for as long as it is the same."""
        if text == self._last:
            return
        self._last = text
        sys.stderr.write(f"  {text}\n")
        sys.stderr.flush()
