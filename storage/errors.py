"""The errors of this room, and the border where foreign ones become ours.

StorageError
├── StorageUnavailable   the database cannot be reached or cannot write; nothing was promised, try again
├── Stale                a row is no longer in the state that the change was decided on
├── LeaseLost            a worker was too slow: somebody else holds the task now, and nothing of its work was written
├── Taken                a unique key is in use
├── AppendOnly           somebody tried to change or remove what may only be added to
├── LockedByAnother      another server uses this database file
├── NewerSchema          the database was written by a newer Muster
├── OlderSchema          the database waits for `muster db upgrade`
├── AddressRefused       the database URL cannot be used
├── Unreadable           a row holds what this version cannot read
├── WriteInsideWrite     a transaction was opened inside a transaction: a mistake of ours
└── StatementRefused     the database rejects a statement: a mistake of ours
"""

import sqlite3

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from runbooks.errors import MusterError


class StorageError(MusterError):
    """Anything that goes wrong with what Muster remembers."""


class StorageUnavailable(StorageError):
    """The database cannot be reached or cannot write. What was asked for may be asked for again."""


class Stale(StorageError):
    """A row is no longer in the state that the change was decided on; nothing was written."""


class LeaseLost(StorageError):
    """The task is held by somebody else, or is over; nothing was written."""


class Taken(StorageError):
    """A unique key is in use; nothing was written."""


class AppendOnly(StorageError):
    """The timeline and its chain may only be added to; nothing was written."""


class LockedByAnother(StorageError):
    """Another server uses this database file."""


class NewerSchema(StorageError):
    """The database was written by a newer Muster."""


class OlderSchema(StorageError):
    """The database waits for a migration."""


class AddressRefused(StorageError):
    """The database URL cannot be used."""


class Unreadable(StorageError):
    """A row holds what this version of Muster cannot read."""


class WriteInsideWrite(StorageError):
    """A function that runs inside a write transaction asked for another one."""


class StatementRefused(StorageError):
    """The database rejects a statement."""


APPEND_ONLY = "muster: append-only"
"""What the triggers say; the one sign that tells their refusal from any other."""

_CONFLICTS = ("40001", "40P01")
"""PostgreSQL: serialization failure, deadlock (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""

_OUTAGES = ("08", "53", "57", "58", "XX", "F0", "25006", "25P03", "55P03", *_CONFLICTS)
"""PostgreSQL: connection, resources, operator intervention, system, internal, configuration; a read-only server; a session ended for
idling; a lock waited for too long; conflicts that did not end."""

_SQLITE_MISTAKES = frozenset(
    {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE}
)
"""SQLite's codes for a statement that can never work; all others speak of the file or the disk (https://www.sqlite.org/rescode.html)."""


def sqlstate_of(error: BaseException) -> str:
    """PostgreSQL's five-character code, or an empty string."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "sqlstate", None) or ""


def is_conflict(error: BaseException) -> bool:
    """Whether the same transaction may simply be run again."""
    return sqlstate_of(error) in _CONFLICTS


def translated(error: SQLAlchemyError) -> StorageError:
    """Our error for one of SQLAlchemy's or a driver's. Never fails: what is not known is `StatementRefused`."""
    if isinstance(error, PoolTimeout):
        return StorageUnavailable("All database connections are busy; try again in a moment.")
    if not isinstance(error, DBAPIError):
        return StatementRefused(f"The database layer refused: {error}")
    text = str(error.orig)
    if APPEND_ONLY in text:
        return AppendOnly("The timeline may only be added to; nothing was changed. Add a correction entry instead.")
    if isinstance(error, IntegrityError):
        return Taken(f"A key is in use already, nothing was written: {text}")
    if _is_outage(error):
        return StorageUnavailable(f"The database cannot be used now, nothing was promised: {text}")
    return StatementRefused(f"The database refused a statement: {text}")


def _is_outage(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    original = error.orig
    if isinstance(original, sqlite3.Error):
        code = getattr(original, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)  # the module's own complaints carry no code
        return code & 0xFF not in _SQLITE_MISTAKES  # the low byte is the primary code
    state = sqlstate_of(error)
    if not state:  # the driver itself lost or never had the connection
        return type(original).__name__ in {"OperationalError", "InterfaceError", "ConnectionTimeout"}
    return state.startswith(_OUTAGES)
