"""The command line on a database that nobody serves: reading and simple writes work, and what must wait is said."""

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bot.cli import app
from bot.cli.output import plain, table
from bot.configuration import DEFAULT
from runbooks.incident import Incident, Match
from runbooks.proposing import Level, Suggestion, SuggestionState
from runbooks.run import ActionRun, CleanItem, RunState
from runbooks.severity import IncidentClass, Severity
from storage import incidents, runbook_versions, runs, suggestions, tasks, timeline
from storage.database import Database, Tx
from tests.acting import run_of
from tests.flowing import LIBRARY, START
from tests.opened import SECRETS, configured


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder with a configuration, and no settings but its own."""
    for name in [name for name in os.environ if name.startswith(("MUSTER_", "SLACK_", "PAGERDUTY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "muster.yaml").write_text(configured(DEFAULT.read_text()))
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def database(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The database that the commands use."""
    monkeypatch.setenv("MUSTER_DATABASE_URL", sqlite_url)
    one = Database(url=sqlite_url)
    yield one
    one.close()


def muster(*words: str):
    """Run a command."""
    return CliRunner().invoke(app, list(words))


def test_declare_list_ack_and_resolve_without_a_server(database):
    """An incident goes from its first word to its end; its card waits as a task for the engine, and the command says so."""
    done = muster("incident", "declare", "Answers are late", "--severity", "2")
    assert done.exit_code == 0, done.output
    assert "No server answers here" in done.stderr
    assert [one["id"] for one in json.loads(muster("incident", "list", "--json").stdout)["items"]] == [1]
    assert muster("incident", "ack", "INC-1").stdout == "INC-1 is acknowledged by ben.\n"
    assert muster("incident", "resolve", "1", "It went away").exit_code == 0
    assert muster("incident", "list").stdout == "Nothing is open.\n"
    assert database.read(lambda tx: incidents.get(tx, 1)).resolved_by == "ben"
    assert database.read(tasks.backlog).open > 0
    assert "INC-1 opened" in muster("timeline", "show", "1").stdout
    assert muster("timeline", "verify").stdout.startswith("The record holds")
    assert muster("postmortem", "draft", "1").stdout.startswith("# INC-1")


def test_exit_codes_are_as_documented(database):
    """Not there is 3, wrong words are 2, refused is 4, and each has a sentence on stderr and nothing on stdout."""
    muster("incident", "declare", "x")
    muster("incident", "resolve", "1", "done")
    for words, code in (
        (("incident", "show", "99"), 3),
        (("incident", "show", "nonsense"), 2),
        (("incident", "severity", "1", "SEV9"), 2),
        (("incident", "ack", "1"), 4),
        (("timeline", "export", "1", "--format", "pdf"), 2),
        (("drill", "report", "99"), 3),
        (("tasks", "retry", "99", "Slack is back."), 3),
        (("clock", "advance", "5"), 2),
        (("clock", "advance", "0s"), 2),
        (("clock", "advance", "100000d"), 2),
        (("clock", "advance", "5m"), 3),
    ):
        done = muster(*words)
        assert done.exit_code == code, (words, done.output)
        assert done.stdout == ""
        assert done.stderr.strip().endswith((".", "?", "4h or 90d")), done.stderr


def test_a_database_address_that_cannot_be_used_is_a_wrong_configuration(tmp_path, monkeypatch):
    """A folder where the file should be, and no file at all, are code 2 with a sentence."""
    for url in (f"sqlite:///{tmp_path}", "sqlite://"):
        monkeypatch.setenv("MUSTER_DATABASE_URL", url)
        done = muster("incident", "list")
        assert done.exit_code == 2, done.output
        assert done.stderr.strip().endswith((".", "muster.sqlite.")), done.stderr


def test_without_a_database_the_command_says_what_to_do(tmp_path, monkeypatch):
    """Where nothing was ever started, exit code 5 and a sentence; no database is made by looking."""
    monkeypatch.setenv("MUSTER_DATABASE_URL", f"sqlite:///{tmp_path}/none/muster.sqlite")
    done = muster("incident", "list")
    assert done.exit_code == 5
    assert "muster serve" in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_login_that_stands_nowhere_only_reads(database, tmp_path):
    """Without a person for this login, reading works and writing is refused with the line to add (rule S4)."""
    (tmp_path / "muster.yaml").write_text(DEFAULT.read_text())
    assert muster("incident", "list").exit_code == 0
    done = muster("incident", "declare", "x")
    assert done.exit_code == 4
    assert "login:" in done.stderr
    assert database.read(incidents.open_ones) == []


def test_pause_is_seen_by_everybody_and_ends(database):
    """The kill switch works from the command line when Slack is down (rule S16)."""
    assert "paused by ben" in muster("pause", "something is odd").stdout
    assert "PAUSED" in muster("status").stdout
    assert muster("resume").stdout == "Actions may run.\n"


def test_check_finds_what_is_wrong_and_changes_nothing(tmp_path, monkeypatch):
    """`check` tries everything, says what is wrong with exit code 1 or 2, and makes no database."""
    monkeypatch.setenv("MUSTER_DATABASE_URL", f"sqlite:///{tmp_path}/none/muster.sqlite")
    good = muster("check", "--json")
    assert good.exit_code == 0, good.stdout
    assert not [one for one in json.loads(good.stdout) if one["state"] == "WRONG"]
    monkeypatch.delenv("MUSTER_SECRET_DEMO_ALERTS")
    assert muster("check").exit_code == 1
    (tmp_path / "muster.yaml").write_text("poeple: {}\n")
    wrong = muster("check")
    assert wrong.exit_code == 2
    assert "poeple" in wrong.stdout
    assert not (tmp_path / "none").exists()


def test_check_says_when_slack_is_not_there(monkeypatch, tmp_path):
    """A workspace that does not answer is a finding and not a crash."""
    monkeypatch.setenv("MUSTER_DATABASE_URL", f"sqlite:///{tmp_path}/none/muster.sqlite")
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-1")
    monkeypatch.setenv("MUSTER_SLACK_API_URL", "http://127.0.0.1:9/api/")
    done = muster("check", "--json")
    assert done.exit_code == 1
    assert [one["what"] for one in json.loads(done.stdout) if one["state"] == "WRONG"] == ["slack"]


def test_db_upgrade_makes_a_schema_and_twice_is_once(tmp_path, monkeypatch):
    """The schema is made by one command, and a second time changes nothing."""
    monkeypatch.setenv("MUSTER_DATABASE_URL", f"sqlite:///{tmp_path}/new/muster.sqlite")
    assert muster("db", "upgrade").exit_code == 0
    assert muster("db", "upgrade").exit_code == 0
    assert muster("incident", "list").stdout == "Nothing is open.\n"


BAD_RELEASE = LIBRARY.by_id("quality-regression")
assert BAD_RELEASE is not None
ROLLBACK = next(action for action in BAD_RELEASE.header.actions if action.cleanup)


def opened(tx: Tx) -> Incident:
    """An incident with a bad release."""
    assert BAD_RELEASE is not None
    runbook_versions.keep(tx, BAD_RELEASE, START)
    given = {
        "severity": Severity.SEV2,
        "incident_class": IncidentClass.QUALITY,
        "match": Match(runbook=BAD_RELEASE.ref, score=1.0, reason="given"),
    }
    at = {"began_at": START, "opened_at": START}
    return incidents.add(tx, Incident.model_validate({"id": 0, "title": "Bad answers", "group_key": "bad", **given, **at}))


def rolled_back(tx: Tx) -> ActionRun:
    """Its rollback, verified, with what it left to be cleaned up: the first is measured, the second is a person's."""
    assert BAD_RELEASE is not None
    items = tuple(CleanItem(title=one.title, diagnostic=one.diagnostic, manual=one.manual or "") for one in ROLLBACK.cleanup)
    at = {"executed_at": START, "exposed_from_at": START - timedelta(hours=2)}
    about = {"incident_id": opened(tx).id, "runbook": BAD_RELEASE.ref, "step": ROLLBACK.id, "title": ROLLBACK.title}
    return runs.add(tx, run_of().with_(id=0, state=RunState.VERIFIED, cleanup=items, **at, **about))


def test_clean_up_after_a_rollback_is_listed_done_and_explained(database):
    """What is open is listed with how it is proven; a person's line is ticked once, by name and on the timeline; why says since when."""
    run = database.write(rolled_back)
    rows = muster("action", "cleanup", "list").stdout.splitlines()
    assert [line.split()[:4] for line in rows[1:3]] == [[str(run.id), "1", "INC-1", "measured"], [str(run.id), "2", "INC-1", "open"]]
    assert rows[1].endswith("measured, must be at least 0.85")
    done = muster("action", "cleanup", "done", str(run.id), "2")
    assert (done.exit_code, done.stdout) == (0, f"Noted: {ROLLBACK.cleanup[1].title} is done.\n")
    assert "done already, by Ben Okafor" in muster("action", "cleanup", "done", str(run.id), "2").stdout
    ticked = [one for one in database.read(lambda tx: timeline.of(tx, 1)) if one.kind.value == "cleanup.done"]
    assert [(one.actor.id, one.actor.via) for one in ticked] == [("ben", "cli")]
    assert ROLLBACK.cleanup[1].title not in muster("action", "cleanup", "list", "INC-1").stdout
    (whole,) = json.loads(muster("action", "cleanup", "list", "1", "--all", "--json").stdout)["items"]
    assert [(one["item"], one["number"], one["done_by"]) for one in whole["items"]][:2] == [(0, 1, None), (1, 2, "Ben Okafor")]
    told = muster("action", "cleanup", "why", str(run.id)).stdout
    assert f"1 of {len(ROLLBACK.cleanup)} cleaned up." in told
    assert "from 2026-11-20 00:00 UTC to 2026-11-20 02:00 UTC, for 2 h." in told
    assert f"{ROLLBACK.id} of quality-regression v" in told


def test_clean_up_is_refused_where_the_button_would_be(database):
    """What is measured cannot be said (4), a line that is not there is wrong usage (2), a run without a list is not there (3)."""
    run = database.write(rolled_back)
    plain_run = database.write(lambda tx: runs.add(tx, run.with_(id=0, key="other", cleanup=())))
    for words, code, said in (
        (("done", str(run.id), "1"), 4, "it is ticked when the measurement says so."),
        (("done", str(run.id), "77"), 2, "This clean-up has no such line."),
        (("done", str(run.id), "0"), 2, ""),
        (("done", "99", "1"), 3, "There is no run 99."),
        (("why", str(plain_run.id)), 3, "left nothing to be cleaned up."),
        (("list", "99"), 0, ""),
    ):
        found = muster("action", "cleanup", *words)
        assert found.exit_code == code, (words, found.output)
        assert said in found.stderr
    assert database.read(lambda tx: runs.get(tx, run.id)).cleanup == run.cleanup
    assert muster("action", "cleanup", "list", "99").stdout == "Nothing is to be cleaned up.\n"


def test_what_is_proposed_is_listed_and_stopped(database):
    """A standing proposal is in the list of actions with when it runs; stop ends it on record, and a second time says so with code 4."""
    assert BAD_RELEASE is not None
    incident = database.write(opened)
    made = Suggestion(
        id=0, incident_id=incident.id, runbook=BAD_RELEASE.ref, step=ROLLBACK.id, title=ROLLBACK.title, state=SuggestionState.OPEN,
        level=Level.SUGGEST, by="muster", reason="Grounded is 0.6.", change="answers-v7 7.4 → 7.3", made_at=START,
    )  # fmt: skip
    one = database.write(lambda tx: suggestions.add(tx, made))
    database.write(lambda tx: suggestions.add(tx, made.model_copy(update={"state": SuggestionState.EXPIRED, "reason": "Long ago."})))
    listed = muster("action", "list", "1").stdout
    assert "Grounded is 0.6." in listed
    assert "Long ago." not in listed
    assert [item["id"] for item in json.loads(muster("action", "list", "1", "--json").stdout)["proposals"]] == [one.id]
    assert "is not proposed again" in muster("action", "stop", str(one.id)).stdout
    assert database.read(lambda tx: suggestions.get(tx, one.id)).ended_by == "ben"
    again = muster("action", "stop", str(one.id))
    assert (again.exit_code, again.stdout) == (4, "")
    assert "Not now, says Ben Okafor." in again.stderr
    assert muster("action", "stop", "99").exit_code == 3
    assert "PROPOSAL" not in muster("action", "list", "1").stdout


@given(st.text())
def test_no_text_reaches_the_terminal_as_a_command(text):
    """Escape sequences, line ends and direction marks of an alert's words stay harmless in a table."""
    assert plain(text).isprintable()
    assert len(table([(text, "x")], ("A", "B")).splitlines()) == 2
