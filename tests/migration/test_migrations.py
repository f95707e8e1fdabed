"""Migrations: the tables are what the code expects, each phase happens whole or not at all, foreign schemas are refused."""

import os
import subprocess
import sys
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from storage import killpoints, migrations, switches
from storage.database import Database
from storage.errors import NewerSchema, OlderSchema, StorageError
from storage.tables import METADATA


@pytest.fixture
def blank(blank_url):
    """A database without any table, on each of the two."""
    database = Database(url=blank_url)
    yield database
    database.close()


def test_the_migrations_make_the_tables_that_the_code_expects(database: Database) -> None:
    """Alembic finds no difference between a migrated database and `tables.py`, on either database."""
    with database.exclusive().connect() as connection, connection.begin():
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, METADATA) == []


def test_a_migrated_database_serves_and_migrating_again_changes_nothing(blank: Database) -> None:
    """Each phase may run twice; between them the code can already serve."""
    for phase in ("pre", "pre", "post", "post"):
        migrations.upgrade(blank, phase)
        migrations.check(blank)
    blank.write(lambda tx: switches.put(tx, "x", 1))


def test_an_unmigrated_database_is_refused_or_upgrades_itself(blank: Database) -> None:
    """PostgreSQL says what to run; the embedded file is made ready by itself."""
    with pytest.raises(OlderSchema, match="muster db upgrade"):
        migrations.check(blank)
    if blank.dialect == "postgresql":
        with pytest.raises(OlderSchema, match="muster db upgrade"):
            migrations.ready(blank)
    else:
        migrations.ready(blank)
        migrations.ready(blank)
        migrations.check(blank)


def test_a_newer_schema_is_refused(database: Database) -> None:
    """A database of a newer Muster is neither served nor migrated, and the sentence names the revision."""
    database.write(lambda tx: tx.exec_driver_sql("INSERT INTO alembic_version VALUES ('9999_pre')"))
    for attempt in (migrations.check, migrations.ready, lambda database: migrations.upgrade(database, "pre")):
        with pytest.raises(NewerSchema, match="9999_pre"):
            attempt(database)


def test_a_migration_that_fails_leaves_nothing(blank: Database) -> None:
    """An error after the tables were made takes them back, and the next run succeeds."""

    def fails(point: str) -> None:
        if point == "migration.step":
            raise StorageError("stopped here")

    killpoints.arm(fails)
    with pytest.raises(StorageError, match="stopped here"):
        migrations.upgrade(blank, "pre")
    with pytest.raises(OlderSchema):
        migrations.check(blank)
    killpoints.disarm()
    migrations.upgrade(blank, "pre")
    migrations.check(blank)


@pytest.mark.crash
def test_a_migration_killed_in_the_middle_can_be_run_again(blank: Database) -> None:
    """K11: `kill -9` within a migration leaves a database that migrates from the beginning."""
    program = (
        "import os, signal; from storage import killpoints, migrations; from storage.database import Database\n"
        "killpoints.arm(lambda point: os.kill(os.getpid(), signal.SIGKILL) if point == killpoints.POINTS['K11'] else None)\n"
        f"migrations.upgrade(Database(url={blank.url.render_as_string(hide_password=False)!r}), 'post')"
    )
    died = subprocess.run([sys.executable, "-c", program], check=False, env=os.environ, timeout=60)
    assert died.returncode == -9
    with pytest.raises(OlderSchema):
        migrations.check(blank)
    migrations.upgrade(blank, "post")
    migrations.check(blank)


def test_two_replicas_that_migrate_at_once_both_succeed(blank: Database) -> None:
    """Whoever comes second waits and finds everything done."""
    errors = []

    def upgrade() -> None:
        database = Database(url=blank.url.render_as_string(hide_password=False))
        try:
            migrations.upgrade(database, "post")
        except StorageError as error:
            errors.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=upgrade) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    migrations.check(blank)
