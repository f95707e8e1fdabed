"""`sql.query`: one question to a PostgreSQL or SQLite database that cannot change anything, whatever the text says.

It does not depend on recognising a write. PostgreSQL runs it in a read-only transaction as the text of a cursor, which takes a SELECT
or VALUES and nothing else (https://www.postgresql.org/docs/current/sql-declare.html), and never as a superuser. SQLite opens the file
read-only and asks `_may` about everything that the statement would do (https://www.sqlite.org/c3ref/set_authorizer.html).
"""

import math
import re
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from time import monotonic
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from actions.comparing import deadline
from actions.contract import BackendError, CallInvalid, NotPermitted, OutcomeUnknown, Rejected, Unreachable
from actions.kinds import BackendKind, OnlyReads, Options, Secrets
from actions.redaction import redact
from runbooks.operation import Argument, ArgumentType, Call, Operation, Reading
from runbooks.value import Json

WHO = "The database"
MOST_ROWS = 200  # a card names a handful; more than this is no answer for a person
MOST_CELL = 1000  # characters of one cell
MOST_BYTES = 200_000  # of one answer, as text
MOST_LENGTH = 10_000_000  # bytes of one value or row that SQLite may make: no time limit stops it inside one
MOST_QUERY = 20_000

OPERATION = Operation(
    name="sql.query",
    title="Ask a database",
    reads=True,
    arguments={"query": Argument(type=ArgumentType.TEXT, help="one SELECT; :name stands for a value of `bind`")},
    sample={"rows": [{"customer": "northwind", "value": 12.0}], "value": 12.0},
)

_MAY = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_NEVER = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}
_NEVER_SENT = ("connection failed", "connection timeout", "connection is bad", "failed to resolve", "[Errno")
_WRONG_URL = ("invalid connection option", "invalid sslmode value", "invalid port number", "invalid integer value")
_DENIED = ("28000", "28P01", "42501", "3D000")  # not let in, or not to this (PostgreSQL, appendix A)
_NOT_READING = ("25006", "0A000", "42P11")  # read-only transaction, a cursor over something that is no SELECT
_TIME_UP = ("57014", "25P03", "57P05")
_SUPER = "SELECT bool_or(rolsuper) FROM pg_catalog.pg_roles WHERE rolname IN (current_user, session_user)"
_VERB = re.compile(r"(?>\s+|--[^\n]*\n|/\*.*?\*/|\()*+(select|with|values|table)\b", re.IGNORECASE | re.DOTALL)  # atomic: never tried twice


class Sql(OnlyReads):
    """One database. Implements `actions.contract.Backend`; it only reads. `url` is read for each question (rule S18)."""

    name = "sql"
    world: str | None = None
    operations: tuple[Operation, ...] = (OPERATION,)

    def __init__(self, *, url: Callable[[], str], environment: str | None = None, rows: int = MOST_ROWS) -> None:
        self._url, self.environment, self._rows = url, environment, rows

    def read(self, call: Call, *, timeout: float) -> Reading:
        """The rows; `value` is the number of a single row: its column `value`, else its only column. Without a row there is no data."""
        query = str(call.arguments["query"])
        if len(query) > MOST_QUERY or not _VERB.match(query):
            raise CallInvalid("A query is one SELECT (or WITH, VALUES, TABLE); nothing was sent.")
        rows = self._ask(query, call.bind, timeout=timeout)
        return Reading(value={"rows": rows, "value": _number(rows[0]) if len(rows) == 1 else None})

    def probe(self, *, timeout: float) -> str:
        """Who is let in, and whether the role could write elsewhere; nothing is changed."""
        url = self._address()
        if url.get_backend_name() == "sqlite":
            self._ask("SELECT count(*) AS tables FROM sqlite_master", {}, timeout=timeout)
            return f"{WHO} is a SQLite file, opened read-only."
        query = (
            "SELECT current_user AS role, current_database() AS name, count(*) AS value FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
            " AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')"
        )
        found = self._ask(query, {}, timeout=timeout)[0]
        may = "may write no table" if not found["value"] else f"may write {found['value']} tables; give Muster one that may only SELECT"
        return f"{WHO} {found['name']} lets {found['role']} in, a role that {may}."

    def _ask(self, query: str, bind: Mapping[str, str], *, timeout: float) -> list[dict[str, Json]]:
        url = self._address()
        opened = _sqlite if url.get_backend_name() == "sqlite" else _postgres
        try:
            with opened(url, timeout) as connection:
                return self._rows_of(connection, query, bind)
        except DBAPIError as error:
            raise translated(error.orig or error, timeout=timeout) from None  # the cause would repeat the address and the values
        except (SQLAlchemyError, sqlite3.Error, sqlite3.Warning, OSError) as error:
            raise translated(error, timeout=timeout) from None

    def _rows_of(self, connection: Connection, query: str, bind: Mapping[str, str]) -> list[dict[str, Json]]:
        if unsayable := next(
            (what for what, said in (("The query", query), *((f":{name}", one) for name, one in bind.items())) if not _sayable(said)), ""
        ):
            raise CallInvalid(f"{unsayable} holds a sign that no database takes. Nothing was sent.")
        statement = text(query)
        if missing := sorted(set(statement._bindparams) - set(bind)):  # noqa: SLF001 - the one place that lists them
            raise CallInvalid(f"The query names :{missing[0]}, and `bind` gives it no value. Nothing was sent.")
        used = {name: value for name, value in bind.items() if name in statement._bindparams}  # noqa: SLF001
        with connection.execution_options(stream_results=True, max_row_buffer=self._rows).execute(statement, used) as result:
            names = [str(name) for name in result.keys()]  # noqa: SIM118 - a result's keys, not a mapping's
            rows = [dict(zip(names, map(_plain, row), strict=True)) for row in result.fetchmany(self._rows)]
        if sum(len(str(cell)) for row in rows for cell in row.values()) > MOST_BYTES:
            raise Rejected(f"{WHO} answers with more than {MOST_BYTES:,} characters. Ask for less.")
        return rows

    def _address(self) -> URL:
        try:
            url = make_url(self._url())
        except (ArgumentError, ValueError):  # a ValueError for a port that is none; it would repeat a password with a colon in it
            raise NotPermitted(f"{WHO}: the secret url is no address such as postgresql://muster_reads@host/name.") from None
        if url.get_backend_name() not in {"postgresql", "sqlite"}:
            raise NotPermitted(f"{WHO}: only PostgreSQL and SQLite can be kept from writing by this backend, not {url.get_backend_name()}.")
        return url.set(drivername="postgresql+psycopg") if url.get_backend_name() == "postgresql" else url


def _sayable(said: str) -> bool:
    """Whether a text can be sent: UTF-8 holds no half of a surrogate pair, and PostgreSQL no NUL."""
    return "\x00" not in said and said == said.encode(errors="replace").decode()


@contextmanager
def _postgres(url: URL, timeout: float) -> Iterator[Connection]:
    """A connection whose one transaction is read-only and bounded in time, of a role that is no superuser.

    The server ends the question a little before the line is cut, because then it says so.
    """
    left = deadline(timeout)
    options = f"-c default_transaction_read_only=on -c statement_timeout={max(1, int(timeout * 900))}"
    engine = create_engine(
        url,
        poolclass=NullPool,
        connect_args={"connect_timeout": max(1, math.ceil(timeout)), "options": options, "application_name": "muster"},
    )
    event.listen(engine, "handle_error", _closed)
    with engine.connect() as connection, _cut_off(connection, left()):
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        if connection.exec_driver_sql(_SUPER).scalar():
            raise NotPermitted(
                f"{WHO} is asked as a superuser, whom no read-only transaction holds. Give Muster a role that may only SELECT."
            )
        try:
            yield connection
        finally:
            connection.rollback()


def _closed(context: ExceptionContext) -> None:
    """SQLAlchemy leaves a cursor open whose connection broke."""
    if context.is_disconnect and context.execution_context is not None and context.execution_context.cursor is not None:
        context.execution_context.cursor.close()


@contextmanager
def _cut_off(connection: Connection, seconds: float) -> Iterator[None]:
    """End the conversation when time is up, even with a server that has stopped answering."""
    driver: Any = connection.connection.driver_connection
    broken = (OSError, connection.dialect.loaded_dbapi.Error)  # it ended by itself in the same moment
    over = threading.Event()

    def cut() -> None:
        over.set()
        with suppress(*broken), socket.socket(fileno=socket.dup(driver.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except DBAPIError as error:
        if over.is_set():
            raise OutcomeUnknown(f"{WHO} did not answer within {seconds:.0f} s. Nothing was changed.") from error.orig
        raise
    finally:
        timer.cancel()
        timer.join()  # a cut that has begun ends before the connection's number can mean another one


@contextmanager
def _sqlite(url: URL, timeout: float) -> Iterator[Connection]:
    """A connection to the file, read-only, that is asked about everything that a statement would do, and stops when time is up."""
    if not url.database or url.database == ":memory:":
        raise NotPermitted(f"{WHO}: the secret url names no file.")
    ends = monotonic() + timeout

    def opened() -> sqlite3.Connection:
        found = sqlite3.connect(f"file:{quote(str(url.database))}?mode=ro", uri=True, timeout=timeout, check_same_thread=False)
        found.execute("PRAGMA query_only = ON")
        found.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_LENGTH)
        return found

    engine = create_engine("sqlite://", creator=opened, poolclass=NullPool)
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_authorizer(_may)  # only now: SQLAlchemy has asked its own pragmas
        driver.set_progress_handler(lambda: monotonic() > ends, 10_000)
        try:
            yield connection
        finally:
            connection.rollback()


def _may(action: int, first: str | None, second: str | None, _database: str | None, _inner: str | None) -> int:
    """SQLite's question for each part of a statement, asked while it is compiled: reading, and harmless functions."""
    named = {str(first).lower(), str(second).lower()}
    allowed = action in _MAY and not (action == sqlite3.SQLITE_FUNCTION and named & _NEVER)
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def translated(error: BaseException, *, timeout: float) -> BackendError:
    """The contract's error, without the address, the values and the password that a driver's words may hold."""
    state, said = str(getattr(error, "sqlstate", None) or ""), redact(str(error).split("\n")[0], limit=300)
    if isinstance(error, sqlite3.Error | sqlite3.Warning):
        return _of_sqlite(said, timeout=timeout)
    if state in _TIME_UP:
        return OutcomeUnknown(f"{WHO} did not answer within {timeout:.0f} s. Nothing was changed.")
    if not state and any(words in said for words in _WRONG_URL):
        return NotPermitted(f"{WHO}: the secret url holds an option that is none: {said}. Nothing was sent.")
    if not state and said.startswith(_NEVER_SENT):
        return _not_let_in(said)
    if state in _DENIED:
        return NotPermitted(f"{WHO} does not let these credentials do this: {said}. Nothing was changed.")
    if state in _NOT_READING:
        return Rejected(f"{WHO} only reads for Muster, and refused something else: {said}. Nothing was changed.")
    if state:
        return Rejected(f"{WHO} refuses the query: {said}. Nothing was changed.")
    if isinstance(error, SQLAlchemyError):
        return CallInvalid(f"{WHO} cannot take this query: {said}.")
    return OutcomeUnknown(f"{WHO} broke off without a whole answer. Nothing was changed.")


def _not_let_in(said: str) -> BackendError:
    """No conversation came about: because nobody answers or is ready, or because the server says who may come in."""
    if "FATAL:" in said and not any(word in said for word in ("too many", "starting up", "shutting down", "recovery")):
        return NotPermitted(f"{WHO} does not let these credentials in: {said.partition('FATAL:')[2].strip()}. Nothing was changed.")
    return Unreachable(f"{WHO} cannot be reached; nothing was sent.")


def _of_sqlite(said: str, *, timeout: float) -> BackendError:
    if "unable to open" in said:
        return Unreachable(f"{WHO}'s file cannot be opened; nothing was changed.")
    if "interrupted" in said or "locked" in said:
        return OutcomeUnknown(f"{WHO} did not answer within {timeout:.0f} s. Nothing was changed.")
    if "not authorized" in said or "prohibited" in said or "readonly" in said:
        return Rejected(f"{WHO} only reads for Muster, and refused something else: {said}. Nothing was changed.")
    return Rejected(f"{WHO} refuses the query: {said}. Nothing was changed.")


def _plain(cell: Any) -> Json:
    """A cell as JSON: numbers stay numbers where they are finite, everything else becomes a short text."""
    if cell is None or isinstance(cell, bool | int):
        return cell
    if isinstance(cell, float | Decimal):
        return float(cell) if math.isfinite(cell) else None
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return cell.total_seconds()
    if isinstance(cell, bytes | memoryview):
        return f"{len(cell)} bytes"
    return str(cell)[:MOST_CELL]


def _number(row: Mapping[str, Json]) -> Json:
    """The one number of a single row; a row without one is no data, never zero."""
    found: Sequence[Json] = [row["value"]] if "value" in row else list(row.values())
    only = found[0] if len(found) == 1 else None
    return float(only) if isinstance(only, int | float) and not isinstance(only, bool) else None


def build(options: Options, secrets: Secrets) -> Sql:
    """Secret `url`: the database's address with its role; `environment` if it serves only one; `rows`: how many at most."""
    if "url" not in secrets:
        raise options.invalid("secrets.url", "is needed: the database's address, such as postgresql://muster_reads@host/name")
    rows = options.get("rows", int, MOST_ROWS)
    if not 1 <= rows <= MOST_ROWS:
        raise options.invalid("rows", f"is {rows}; it must be 1 to {MOST_ROWS}")
    return Sql(url=secrets["url"], environment=options.text("environment", None), rows=rows)


KIND = BackendKind(name="sql", operations=(OPERATION,), build=build, options=frozenset({"environment", "rows"}))
