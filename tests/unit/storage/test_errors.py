"""The border: whatever SQLAlchemy, sqlite3 or psycopg raises becomes an error of this room."""

import sqlite3

import psycopg
import pytest
from psycopg import errors as postgres
from sqlalchemy import exc

from runbooks.errors import MusterError
from storage import errors
from storage.errors import AppendOnly, StatementRefused, StorageUnavailable, Taken, is_conflict, translated


def wrapped(original: Exception, kind: type[exc.DBAPIError] = exc.OperationalError) -> exc.DBAPIError:
    return kind("SELECT 1", {}, original)


def sqlite(code: int, text: str = "words") -> sqlite3.Error:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


def every(base: type[BaseException]) -> list[type[BaseException]]:
    return sorted({base, *(found for child in base.__subclasses__() for found in every(child))}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", every(exc.SQLAlchemyError))
def test_no_error_of_sqlalchemy_is_forgotten(kind: type[exc.SQLAlchemyError]) -> None:
    """Each class that SQLAlchemy can raise is translated into ours, with a sentence."""
    error = wrapped(sqlite3.OperationalError("x"), kind) if issubclass(kind, exc.DBAPIError) else kind.__new__(kind)
    if not issubclass(kind, exc.DBAPIError):
        Exception.__init__(error, "words")
        error.code = None
        error.detail, error.orig, error.statement, error.params, error.hide_parameters, error.ismulti = [], None, None, None, False, None
    assert isinstance(translated(error), errors.StorageError)


@pytest.mark.parametrize("kind", every(psycopg.Error))
def test_no_error_of_postgres_is_forgotten(kind: type[psycopg.Error]) -> None:
    """Each of PostgreSQL's own error classes is translated: conflicts and outages may be tried again, the rest may not."""
    found = translated(wrapped(kind("words"), exc.DBAPIError))
    state = getattr(kind, "sqlstate", None) or ""
    if state[:2] in {"08", "53", "57", "58", "XX"}:
        assert isinstance(found, StorageUnavailable)
    if state[:2] in {"22", "42"}:
        assert isinstance(found, StatementRefused)
    assert isinstance(found, errors.StorageError)


@pytest.mark.parametrize("kind", [postgres.SerializationFailure, postgres.DeadlockDetected])
def test_conflicts_are_told_from_other_errors(kind: type[psycopg.Error]) -> None:
    """Only what the same transaction can get over by itself is tried again."""
    assert is_conflict(wrapped(kind("x")))
    assert not is_conflict(wrapped(postgres.UniqueViolation("x")))
    assert not is_conflict(ValueError("x"))


def test_a_lock_waited_for_too_long_is_an_outage_and_not_tried_again() -> None:
    """Whoever waited the whole lock timeout is told, instead of waiting six times as long."""
    error = wrapped(postgres.LockNotAvailable("x"))
    assert not is_conflict(error)
    assert isinstance(translated(error), StorageUnavailable)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_BUSY, StorageUnavailable),
        (sqlite3.SQLITE_FULL, StorageUnavailable),
        (sqlite3.SQLITE_IOERR, StorageUnavailable),
        (sqlite3.SQLITE_IOERR_FSYNC, StorageUnavailable),
        (sqlite3.SQLITE_CORRUPT, StorageUnavailable),
        (sqlite3.SQLITE_READONLY, StorageUnavailable),
        (sqlite3.SQLITE_CANTOPEN, StorageUnavailable),
        (sqlite3.SQLITE_NOTADB, StorageUnavailable),
        (sqlite3.SQLITE_ERROR, StatementRefused),
        (sqlite3.SQLITE_MISMATCH, StatementRefused),
        (sqlite3.SQLITE_TOOBIG, StatementRefused),
    ],
)
def test_sqlite_is_told_apart_by_its_codes(code: int, expected: type[Exception]) -> None:
    """The file's and the disk's troubles are outages; a statement that can never work is not."""
    assert isinstance(translated(wrapped(sqlite(code))), expected)


def test_keys_and_triggers_have_errors_of_their_own() -> None:
    """A key in use and a refused change of the record are named for what happened."""
    assert isinstance(translated(wrapped(postgres.UniqueViolation("x"), exc.IntegrityError)), Taken)
    assert isinstance(translated(wrapped(sqlite3.IntegrityError("muster: append-only"), exc.IntegrityError)), AppendOnly)
    assert isinstance(translated(wrapped(postgres.RaiseException("muster: append-only"), exc.DBAPIError)), AppendOnly)
    assert isinstance(translated(exc.TimeoutError("pool")), StorageUnavailable)


def test_a_lost_connection_is_an_outage() -> None:
    """A connection that SQLAlchemy found dead is an outage, whatever the driver said."""
    error = wrapped(psycopg.OperationalError("gone"))
    error.connection_invalidated = True
    assert isinstance(translated(error), StorageUnavailable)


def test_the_drawn_tree_is_the_tree() -> None:
    """Every error of this room stands in the drawing at the top of its module, and nothing else does."""
    drawn = {line.split()[1] for line in (errors.__doc__ or "").splitlines() if line.startswith(("├──", "└──"))}
    assert drawn == {kind.__name__ for kind in every(errors.StorageError)} - {"StorageError"}
    assert issubclass(errors.StorageError, MusterError)
