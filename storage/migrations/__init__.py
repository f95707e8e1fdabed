"""Migrations in two phases: `pre` runs before the new code does, `post` after the last old replica is gone.

A pre revision only adds, so that old and new code both run on it; a post revision removes what nobody reads any more. Each phase is an
Alembic branch of its own. A phase runs in one transaction on both databases: killed in the middle, it has not happened.
"""

from enum import StrEnum
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from storage.database import Database
from storage.errors import NewerSchema, OlderSchema, translated
from storage.transaction import MIGRATION, is_postgres

_VERSIONS = "alembic_version"


class Phase(StrEnum):
    """Before the new code runs, or after the old code is gone."""

    PRE = "pre"
    POST = "post"


def upgrade(database: Database, phase: Phase | str) -> None:
    """Bring one phase up to date. Twice is once, and two replicas at a time wait for each other.

    Raises:
        NewerSchema: the database was written by a newer Muster.
        StorageUnavailable: it cannot be reached; nothing was changed.
    """
    phase = Phase(phase)
    try:
        with database.exclusive().connect() as connection, connection.begin():
            if is_postgres(connection):
                connection.execute(text("SET LOCAL lock_timeout = '10min'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION})
            _refuse_newer(_present(connection))
            for earlier in Phase if phase is Phase.POST else (Phase.PRE,):  # what post removes, pre has replaced
                command.upgrade(_config(connection), f"{earlier.value}@head")
    except SQLAlchemyError as error:
        raise translated(error) from error


def check(database: Database) -> None:
    """Refuse a schema that this code does not know. An outstanding post phase is no reason: the code runs without it.

    Raises:
        NewerSchema: the database was written by a newer Muster.
        OlderSchema: it waits for `muster db upgrade`.
    """
    present = database.read(_present)
    _refuse_newer(present)
    if _head(Phase.PRE) not in present:
        raise OlderSchema("The database is older than this Muster. Run `muster db upgrade`, then start again.")


def ready(database: Database) -> None:
    """Make a database fit to serve: the embedded one upgrades itself, PostgreSQL is only checked, because replicas share it.

    Raises:
        NewerSchema, OlderSchema: see `check`.
    """
    if database.dialect == "sqlite":
        for phase in Phase:
            upgrade(database, phase)
    check(database)


def _refuse_newer(present: frozenset[str]) -> None:
    known = {revision.revision for revision in _scripts().walk_revisions()}
    if unknown := sorted(present - known):
        raise NewerSchema(
            f"The database was written by a newer Muster (revision {', '.join(unknown)}). Start that version, or a later one."
        )


def _present(connection: Connection) -> frozenset[str]:
    if not inspect(connection).has_table(_VERSIONS):
        return frozenset()
    return frozenset(connection.execute(text(f"SELECT version_num FROM {_VERSIONS}")).scalars())  # noqa: S608 - a constant


def _head(phase: Phase) -> str:
    revision = _scripts().get_revision(f"{phase.value}@head")
    return str(revision.revision)


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(None))


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
