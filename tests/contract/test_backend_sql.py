"""Questions to real databases, PostgreSQL and SQLite: what is asked is answered, and no text changes anything."""

import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from actions.backends.sql import KIND, MOST_ROWS, Sql, translated
from actions.contract import BackendError, CallInvalid, NotPermitted, OutcomeUnknown, Rejected, Unreachable
from actions.kinds import Options
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call

TABLE = """
CREATE TABLE failures (customer TEXT, amount INTEGER);
INSERT INTO failures VALUES ('northwind', 12), ('contoso', 3), ('o''hara; --', 1);
"""
ROLE = """
CREATE ROLE {role} LOGIN;
GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
GRANT ALL ON SCHEMA public TO {role};
CREATE SEQUENCE numbers;
GRANT ALL ON SEQUENCE numbers TO {role};
CREATE FUNCTION wipe() RETURNS bigint LANGUAGE sql VOLATILE SECURITY DEFINER AS 'DELETE FROM failures RETURNING 1::bigint';
"""


@dataclass
class Source:
    """A database with a little table, asked as a role that itself might write."""

    url: str
    owner: str
    file: Path | None = None

    def backend(self, **options: Any) -> Sql:
        return KIND.build(Options(options), {"url": lambda: self.url})

    def ask(self, query: str, *, timeout: float = 10, **bind: str) -> Any:
        return self.backend().read(Call(operation="sql.query", arguments={"query": query}, bind=bind), timeout=timeout).value

    def everything(self) -> Any:
        """All that could have been changed."""
        if self.file is not None:
            with closing(sqlite3.connect(self.file)) as found:
                return (list(found.iterdump()), sorted(path.name for path in self.file.parent.iterdir()))
        with psycopg.connect(self.owner) as found:
            names = found.execute("SELECT relname FROM pg_class ORDER BY 1").fetchall()
            rows = found.execute("SELECT * FROM failures ORDER BY 1").fetchall()
            blobs = found.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchall()
            return (names, rows, blobs, found.execute("SELECT last_value, is_called FROM numbers").fetchall())


@pytest.fixture
def lite(tmp_path: Path) -> Source:
    """A SQLite file."""
    file = tmp_path / "failures.sqlite"
    with closing(sqlite3.connect(file)) as made:
        made.executescript(TABLE)
    return Source(url=f"sqlite:///{file}", owner="", file=file)


@pytest.fixture
def postgres(postgres_server: Any) -> Source:
    """A PostgreSQL database and a role that may write every table of it."""
    owner = postgres_server.create(migrated=False)
    role = "reads_" + owner.rpartition("muster_")[2].partition("?")[0]
    with psycopg.connect(owner) as made:
        made.execute(TABLE)
        made.execute(ROLE.format(role=role))
    return Source(url=owner.replace("postgres:", f"{role}:", 1).replace("//postgres@", f"//{role}@", 1), owner=owner)


@pytest.fixture(params=["lite", "postgres"])
def source(request: pytest.FixtureRequest) -> Source:
    """Each of the two."""
    found: Source = request.getfixturevalue(request.param)
    return found


def test_rows_and_one_number_are_read(source: Source) -> None:
    """Rows come as mappings; a single row's number is the value, several have none, and no row is no data and not zero."""
    assert source.ask("SELECT customer, amount FROM failures WHERE amount > 2 ORDER BY amount") == {
        "rows": [{"customer": "contoso", "amount": 3}, {"customer": "northwind", "amount": 12}], "value": None,
    }  # fmt: skip
    assert source.ask("SELECT count(*) FROM failures")["value"] == 3.0
    assert source.ask("SELECT customer, amount AS value FROM failures WHERE amount = 12")["value"] == 12.0
    assert source.ask("SELECT amount FROM failures WHERE amount > 99") == {"rows": [], "value": None}
    assert source.ask("-- who\n WITH x AS (SELECT 1 AS n) SELECT n FROM x")["value"] == 1.0


@pytest.mark.parametrize("hostile", ["o'hara; --", "x' OR '1'='1", "'; DELETE FROM failures; --", "%s", ":customer", "\\"])
def test_s29_a_bound_value_stays_a_value(hostile: str, source: Source) -> None:
    """A label is compared and never becomes part of the statement."""
    before = source.everything()
    found = source.ask("SELECT customer FROM failures WHERE customer = :customer", customer=hostile)
    assert [row["customer"] for row in found["rows"]] == [one for one in ("o'hara; --",) if one == hostile]
    assert source.everything() == before


def test_a_name_without_a_value_is_refused(source: Source) -> None:
    """A query that names what nobody bound is not sent."""
    with pytest.raises(CallInvalid, match=":customer"):
        source.ask("SELECT 1 WHERE 'a' = :customer")


BOTH = [
    "DELETE FROM failures", "INSERT INTO failures VALUES ('x', 1)", "UPDATE failures SET amount = 0", "DROP TABLE failures",
    "SELECT 1; DELETE FROM failures", "SELECT 1; COMMIT; DELETE FROM failures", "VALUES (1); DROP TABLE failures",
    "WITH x AS (SELECT 1) DELETE FROM failures", "WITH x AS (SELECT 1) INSERT INTO failures SELECT 'x', 1",
    "WITH x AS (SELECT 1) UPDATE failures SET amount = 0 RETURNING amount", "/* SELECT */ DELETE FROM failures", "-- SELECT\nDELETE FROM failures",
    "SELECT 1 /* ; */ ; DROP TABLE failures -- ", "CREATE TABLE x (y int)", "COMMIT", "ROLLBACK; DELETE FROM failures", "EXPLAIN ANALYZE DELETE FROM failures",
]  # fmt: skip
POSTGRES = [
    "WITH d AS (DELETE FROM failures RETURNING *) SELECT * FROM d", "SELECT wipe()", "VALUES (wipe())", "SELECT nextval('numbers')", "SELECT setval('numbers', 9)",
    "SELECT * INTO copied FROM failures", "SELECT * FROM failures FOR UPDATE", "SELECT set_config('transaction_read_only', 'off', true), wipe()",
    "WITH x AS MATERIALIZED (SELECT set_config('transaction_read_only', 'off', false)) SELECT wipe() FROM x", "SELECT lo_create(0)",
    "SELECT set_config('default_transaction_read_only', 'off', false); SELECT wipe()", "COPY failures TO PROGRAM 'true'", "DO $$ BEGIN PERFORM wipe(); END $$",
    "SELECT 1; SET TRANSACTION READ WRITE; SELECT wipe()", "SELECT query_to_xml('SELECT wipe()', true, true, '')", "SELECT $$;$$; SELECT wipe()",
    "WITH RECURSIVE t(n) AS (SELECT wipe()) SELECT n FROM t", "SELECT * FROM wipe()", "SELECT 1 LIMIT (SELECT wipe())", "TABLE failures; SELECT wipe()",
]  # fmt: skip
SQLITE = [
    "PRAGMA user_version = 7", "ATTACH 'other.sqlite' AS other", "SELECT 1; ATTACH 'other.sqlite' AS other", "VACUUM INTO 'copy.sqlite'",
    "SELECT load_extension('x')", "REPLACE INTO failures VALUES ('x', 1)", "SELECT * FROM pragma_journal_mode('delete')", "SELECT writefile('x', 'y')",
    "WITH x AS (SELECT 1) REPLACE INTO failures VALUES ('x', 1)", "SELECT fts3_tokenizer('simple', x'00')", "SELECT * FROM pragma_wal_checkpoint",
]  # fmt: skip


def attacked(source: Source, query: str) -> None:
    before = source.everything()
    with pytest.raises((Rejected, CallInvalid, NotPermitted)):
        source.ask(query)
    assert source.everything() == before
    assert source.ask("SELECT count(*) FROM failures")["value"] == 3.0


@pytest.mark.parametrize("query", BOTH)
def test_no_write_gets_through(query: str, source: Source) -> None:
    """A write, alone or behind a question, is refused and changes nothing, though the role itself might write."""
    attacked(source, query)


@pytest.mark.parametrize("query", POSTGRES)
def test_postgresql_is_not_written_in_disguise(query: str, postgres: Source) -> None:
    """CTEs, functions with the owner's rights, sequences, settings, large objects and several statements change nothing."""
    attacked(postgres, query)


@pytest.mark.parametrize("query", SQLITE)
def test_sqlite_is_not_written_in_disguise(query: str, lite: Source) -> None:
    """Pragmas, attached files, copies, extensions and functions that write change nothing, and make no file."""
    attacked(lite, query)


def test_a_superuser_is_refused(postgres: Source) -> None:
    """A role that no read-only transaction holds is not used at all, and the sentence says what to make instead."""
    postgres.url = postgres.owner
    with pytest.raises(NotPermitted, match=r"superuser.*may only SELECT"):
        postgres.ask("SELECT 1")


def test_the_probe_says_what_the_role_may(postgres: Source, lite: Source) -> None:
    """A role that could write elsewhere is named before anybody relies on it; a file is said to be opened read-only."""
    assert "may write 1 tables" in postgres.backend().probe(timeout=5)
    with psycopg.connect(postgres.owner) as owner:
        owner.execute(f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON failures FROM {postgres.url.split('//')[1].split(':')[0].split('@')[0]}")
    assert "may write no table" in postgres.backend().probe(timeout=5)
    assert "read-only" in lite.backend().probe(timeout=5)


def test_rows_and_sizes_are_capped(source: Source) -> None:
    """Of a huge answer some rows come, of a huge cell some letters; an answer that is too large in all is refused."""
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i FROM n"
    assert len(source.ask(many)["rows"]) == MOST_ROWS
    assert len(source.backend(rows=3).read(Call(operation="sql.query", arguments={"query": many}), timeout=10).value["rows"]) == 3
    wide = "replace(hex(zeroblob(1000)), '0', 'x')" if source.file else "repeat('x', 2000)"
    assert len(source.ask(f"SELECT {wide} AS x")["rows"][0]["x"]) == 1000
    columns = ", ".join(f"{wide} AS c{number}" for number in range(30))
    with pytest.raises(Rejected, match="Ask for less"):
        source.ask(f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20) SELECT {columns} FROM n")


def test_a_slow_question_ends(source: Source) -> None:
    """The database itself stops a question when time is up."""
    slow = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n" if source.file else "SELECT pg_sleep(20)"
    )
    with pytest.raises(OutcomeUnknown, match="did not answer within"):
        source.ask(slow, timeout=0.5)


class Relay:
    """A line to a server's socket that can stop carrying anything, as a frozen machine does."""

    def __init__(self, path: str) -> None:
        self._path, self.stalled = path, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._path)
            threading.Thread(target=self._carry, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, False), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket, asks: bool) -> None:
        try:
            while data := near.recv(65536):
                if asks and b"FROM failures" in data:
                    self.stalled.set()
                if not self.stalled.is_set():
                    far.sendall(data)
        except OSError:
            return
        far.close()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def relay(postgres: Source) -> Iterator[Relay]:
    folder = postgres.owner.rpartition("host=")[2]
    found = Relay(f"{folder}/.s.PGSQL.5432")
    yield found
    found.close()


def test_a_frozen_server_is_left(postgres: Source, relay: Relay) -> None:
    """A server that stops answering in the middle is left when time is up, and nobody waits for ever."""
    head, _, _ = postgres.url.partition("?")
    name = head.rpartition("/")[2]
    user = head.split("//")[1].partition(":")[0].partition("@")[0]
    postgres.url = f"postgresql://{user}@127.0.0.1:{relay.port}/{name}?sslmode=disable"
    with pytest.raises(OutcomeUnknown, match="did not answer within"):
        postgres.ask("SELECT count(*) FROM failures", timeout=1.5)
    assert relay.stalled.is_set()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://ana:sw0rdfish@127.0.0.1:9/x", Unreachable), ("sqlite:////nowhere/at/all.sqlite", Unreachable), ("sqlite://", NotPermitted),
        ("mysql://ana:sw0rdfish@db/x", NotPermitted), ("sw0rdfish", NotPermitted), ("", NotPermitted),
    ],
)  # fmt: skip
def test_s18_an_address_that_does_not_serve_is_not_repeated(url: str, expected: type[BackendError]) -> None:
    """A wrong or silent address is refused in a sentence that holds no password."""
    with pytest.raises(expected) as refused:
        Source(url=url, owner="").ask("SELECT 1", timeout=2)
    assert "sw0rdfish" not in repr(refused.value) + str(refused.value.__cause__)


def test_wrong_credentials_and_missing_tables_are_told_apart(postgres: Source) -> None:
    """An unknown role is not let in; a table that is not there is a wrong question, in the database's own words."""
    with pytest.raises(Rejected, match='relation "nothing" does not exist'):
        postgres.ask("SELECT * FROM nothing")
    with psycopg.connect(postgres.owner) as owner:
        owner.execute("CREATE TABLE private (x int)")
    with pytest.raises(NotPermitted):
        postgres.ask("SELECT * FROM private")
    postgres.url = postgres.owner.replace("postgres:", "stranger:", 1).replace("//postgres@", "//stranger@", 1)
    with pytest.raises(NotPermitted):
        postgres.ask("SELECT 1")


@pytest.mark.parametrize("url", ["postgresql://u:s3cret@127.0.0.1:s3cret/x", "postgresql://u:s3cret@127.0.0.1/x?nonsense=1"])
def test_s18_an_address_with_a_mistake_is_refused_unsaid(url: str) -> None:
    """A port that is none, or an option that is none, is a mistake of the secret: no crash, no doubt, and nothing of it is repeated."""
    with pytest.raises(NotPermitted, match="the secret url") as refused:
        Source(url=url, owner="").ask("SELECT 1")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("sign", ["\x00", "\ud800"], ids=["nul", "half"])
def test_what_no_database_takes_is_not_sent(sign: str, source: Source) -> None:
    """A NUL or half a character, in a value or in the question, is refused in words on both databases."""
    with pytest.raises(CallInvalid, match=":name holds a sign that no database takes"):
        source.ask("SELECT :name AS name", name=f"a{sign}")
    with pytest.raises(CallInvalid, match="The query holds a sign that no database takes"):
        source.ask(f"SELECT '{sign}'")


@pytest.mark.parametrize("start", ["/**/", "--\n", "(", " (", " ", "/*"], ids=range(6))
def test_s17_no_beginning_of_a_query_takes_long_to_judge(start: str, source: Source) -> None:
    """Twenty thousand signs that lead to nothing are refused at once: this test would run for years where each is tried in every way."""
    with pytest.raises(CallInvalid, match="one SELECT"):
        source.ask(start * (19_000 // len(start)) + "x")


@pytest.mark.parametrize("start", ["/* who */ ", "-- who\n", " /**/--\n /* ( */ "])
def test_a_select_behind_comments_is_a_select(start: str, lite: Source) -> None:
    """Comments before the question do not matter."""
    assert lite.ask(f"{start}SELECT 7 AS value")["value"] == 7.0


def test_s17_sqlite_makes_no_value_beyond_reason(lite: Source) -> None:
    """One function that makes a value of hundreds of megabytes would hold the thread past every limit; it is refused."""
    with pytest.raises(Rejected, match="too big"):
        lite.ask("SELECT zeroblob(900000000)")


def test_no_error_of_the_driver_is_forgotten() -> None:
    """Every error of psycopg becomes one of the contract's."""
    kinds = [one for one in vars(psycopg.errors).values() if isinstance(one, type) and issubclass(one, psycopg.Error)]
    assert len(kinds) > 100
    assert all(isinstance(translated(kind("x"), timeout=5), BackendError) for kind in kinds)


def test_a_database_without_an_address_stops_the_start() -> None:
    """Without the secret, and with a wrong number of rows, the configuration is refused with the field's name."""
    with pytest.raises(SettingsInvalid, match=r"secrets\.url"):
        KIND.build(Options({}), {})
    with pytest.raises(SettingsInvalid, match="rows"):
        KIND.build(Options({"rows": 5000}), {"url": lambda: "sqlite://"})
