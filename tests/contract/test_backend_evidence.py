"""Evidence from real pages into a real database: what is kept, what is shown, and what happens where something is silent."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from actions.backends.evidence import KIND, Evidence
from actions.contract import CallInvalid, OutcomeUnknown
from actions.evidence import Passing, Preserving
from actions.kinds import Options
from actions.registry import Registry
from actions.runner import Runner
from bot import backends
from bot.configuration import parse
from bot.secret import Secrets
from bot.settings import Settings
from runbooks.errors import SettingsInvalid
from runbooks.evidence import digest
from runbooks.operation import Call, OutcomeStatus
from runbooks.runbook import Diagnostic, Runbook
from storage import evidence
from storage.database import Database
from tests.acting import LABELS, NOW, action, backend, runbook
from tests.parts.answering import Answer, Asked, answering
from tests.parts.trouble import Ill, troubled

SECRET_WORDS = "my card is 4111 1111 1111 1111 and I feel awful"
SETS = {
    "unsafe-answers": {
        "pages": {"prompts": "/exchanges?limit=50", "log": "/log?stage=app"},
        "queries": {"ratio": "safety:unsafe:ratio[1h]"},
    }
}
_number = count()


class Service:
    """Recent prompts, a log and a metrics server; each answer differs, and pages want a token."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.silent: set[str] = set()
        self.redirects = False

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if asked.path in self.silent:
            return 503, {"error": "down"}
        if self.redirects:
            return 302, None, {"Location": "http://169.254.169.254/latest/meta-data"}
        if asked.path == "/api/v1/query":
            return 200, {"status": "success", "data": {"resultType": "matrix", "result": [next(_number)]}}
        if asked.headers.get("authorization") != "Bearer right":
            return 401, {"error": "who are you?"}
        return 200, {"exchanges": [{"prompt": SECRET_WORDS, "answer": "…", "number": next(_number)}]}


@pytest.fixture
def service() -> Iterator[tuple[Service, str]]:
    found = Service()
    with answering(found.answer) as url:
        yield found, url


def preserving(url: str, database: Database | None, *, token: str = "right", metrics: str | None = None, **options: Any) -> Evidence:
    given = {"base": url, "metrics": metrics or url, "environment": "production", "sets": SETS, "every": 0, **options}
    found: Evidence = KIND.build(Options(given), {"token": lambda: token})
    assert isinstance(found, Preserving)
    return found if database is None else found.kept_in(evidence.Vault(database))


CALL = Call(operation="evidence.preserve", arguments={"set": "unsafe-answers"}, service="answers", environment="production")


def kept(database: Database) -> list[Any]:
    now = datetime.now(UTC)
    return database.read(lambda tx: evidence.between(tx, now - timedelta(hours=1), now + timedelta(hours=1)))


def test_what_was_said_is_kept_and_only_digests_come_out(service: tuple[Service, str], database: Database) -> None:
    """Every source's bytes stand in the database as they came; the answer holds names, sizes and digests and none of the words."""
    reading = preserving(service[1], database).read(CALL, timeout=10)
    (snapshot,) = kept(database)
    assert (snapshot.name, snapshot.service, snapshot.environment, snapshot.missing) == ("unsafe-answers", "answers", "production", {})
    bodies = {one.source: database.read(lambda tx, one=one: evidence.body(tx, one.sha256)) for one in snapshot.pieces}
    assert list(bodies) == ["prompts", "log", "ratio"]
    assert SECRET_WORDS.encode() in (bodies["prompts"] or b"")
    assert reading.value["value"] == 3.0
    assert reading.value["sha256"].replace(":", "") == snapshot.sha256 == reading.facts["evidence"]
    assert [row["sha256"].replace(":", "") for row in reading.value["rows"]] == [digest(body or b"") for body in bodies.values()]
    assert "card" not in str(reading) + repr(reading)
    assert database.read(lambda tx: list(evidence.damaged(tx))) == []


def test_a_card_and_a_timeline_get_the_whole_digest(service: tuple[Service, str], database: Database) -> None:
    """Through the runner, redaction and the card's limit, the digest arrives unbroken, and no word of a prompt does."""
    shows = "{{ result.pieces }} pieces, {{ result.size }} bytes, SHA-256 {{ result.sha256 }}"
    given = {"id": "evidence", "title": "Evidence", "uses": "evidence.preserve", "with": {"set": "unsafe-answers"}, "shows": shows}
    runner = Runner(registry=Registry([preserving(service[1], database)]), now=lambda: NOW)
    for _ in range(20):  # digits fall differently each time, and none may look like a card's number
        measured = runner.measure(Diagnostic.model_validate(given), labels={}, environment="production", service="answers")
        assert measured.error is None
        found = measured.text.rpartition("SHA-256 ")[2].replace(":", "")
        assert database.read(lambda tx, found=found: evidence.get(tx, found)).sha256 == found
        assert "card is" not in measured.model_dump_json()


def test_an_action_can_require_that_evidence_is_safe(service: tuple[Service, str], database: Database) -> None:
    """With `requires` nothing is changed before evidence is kept: without it the click is refused, with it the change comes after."""
    state, url = service
    things = backend()
    book = runbook(action(guards={"requires": {"evidence": ">= 1"}}))
    given = {"id": "evidence", "title": "Evidence", "uses": "evidence.preserve", "with": {"set": "unsafe-answers"}}
    header = book.header.model_copy(update={"diagnostics": (*book.header.diagnostics, Diagnostic.model_validate(given))})
    book = Runbook(header=header, body="", source="", hash=book.hash)
    runner = Runner(registry=Registry([things, preserving(url, database)]), now=lambda: NOW)
    step = book.header.actions[0]
    state.silent = {"/exchanges", "/log", "/api/v1/query"}
    plan = runner.plan(step, runbook=book, labels=LABELS, parameters={}, environment="production", plan_id="p1")
    refused = runner.execute(plan, runbook=book, labels=LABELS, key="k")
    assert (refused.status, things.effects, kept(database)) == (OutcomeStatus.REFUSED, [], [])
    assert "Evidence: no data (No evidence could be taken." in refused.reason
    state.silent = set()
    done = runner.execute(plan, runbook=book, labels=LABELS, key="k")
    assert (done.status, len(things.effects), len(kept(database))) == (OutcomeStatus.APPLIED, 1, 1)
    assert kept(database)[0].taken_at <= things.effects[0].at


def test_a_silent_source_is_named_and_the_others_are_kept(service: tuple[Service, str], database: Database) -> None:
    """One that does not answer costs its own piece only; what is missing stands in the snapshot and its digest."""
    service[0].silent = {"/log"}
    reading = preserving(service[1], database).read(CALL, timeout=10)
    (snapshot,) = kept(database)
    assert [one.source for one in snapshot.pieces] == ["prompts", "ratio"]
    assert list(snapshot.missing) == ["log"]
    assert reading.value["missing"] == ["log: The source answers 503: down."]


@pytest.mark.parametrize("ill", [Ill.HANG, Ill.RESET])
def test_a_source_that_hangs_leaves_time_for_the_others(ill: Ill, service: tuple[Service, str], database: Database) -> None:
    """A dead source is left after its share of the time, and the rest is kept."""
    with troubled(service[1]) as trouble:
        trouble.ill, trouble.which = ill, _is_log
        reading = preserving(trouble.url, database).read(CALL, timeout=10)
    assert (reading.value["pieces"], reading.value["missing"][0].split(":")[0]) == (2, "log")


def _is_log(_method: str, path: str) -> bool:
    return path.startswith("/log")


def test_nothing_kept_is_never_a_number(service: tuple[Service, str], database: Database) -> None:
    """Where nothing answers, or the vault is shut, there is an error and no value that a threshold could take for safe."""
    state, url = service
    state.silent = {"/exchanges", "/log", "/api/v1/query"}
    with pytest.raises(OutcomeUnknown, match="No evidence could be taken"):
        preserving(url, database).read(CALL, timeout=10)
    state.silent = set()
    with pytest.raises(CallInvalid, match="nowhere to be kept"):
        preserving(url, None).read(CALL, timeout=10)
    with pytest.raises(CallInvalid, match="no declared set"):
        preserving(url, database).read(CALL.model_copy(update={"arguments": {"set": "../x"}}), timeout=10)
    assert kept(database) == []


def test_a_vault_that_cannot_write_is_an_error_of_the_contract(service: tuple[Service, str], postgres_url: str) -> None:
    """A database that is gone becomes a sentence and not a crash of the diagnosis."""
    database = Database(url=postgres_url.replace("/muster_", "/gone_"))
    with pytest.raises(OutcomeUnknown, match="Evidence could not be kept"):
        preserving(service[1], database).read(CALL, timeout=10)
    database.close()


def test_asking_often_keeps_one(service: tuple[Service, str], database: Database) -> None:
    """Within `every` the same snapshot answers, from any replica and without asking the sources again."""
    state, url = service
    first = preserving(url, database, every=300).read(CALL, timeout=10)
    asked = len(state.asked)
    again = preserving(url, database, every=300).read(CALL, timeout=10)
    assert (again.value, len(state.asked), len(kept(database))) == (first.value, asked, 1)


def test_a_large_source_is_cut_and_says_so(service: tuple[Service, str], database: Database) -> None:
    """A piece has at most so many bytes, and the snapshot says that there were more."""
    preserving(service[1], database, most=40).read(CALL, timeout=10)
    (snapshot,) = kept(database)
    assert {(one.size, one.cut) for one in snapshot.pieces} == {(40, True)}


def test_s29_credentials_and_questions_stay_where_they_belong(service: tuple[Service, str], database: Database) -> None:
    """The token goes to the base's host alone, a redirect is followed nowhere, and a host that is not listed is not asked."""
    state, url = service
    other = Service()
    with answering(other.answer) as elsewhere:
        preserving(url, database, metrics=elsewhere).read(CALL, timeout=10)
    assert [one.headers.get("authorization") for one in other.asked] == [None]
    state.redirects = True
    with pytest.raises(OutcomeUnknown, match="answers 302 and sends elsewhere, which was not followed"):
        preserving(url, database).read(CALL, timeout=10)
    sets = {"unsafe-answers": {"pages": {"prompts": "http://169.254.169.254/latest/meta-data"}}}
    with pytest.raises(OutcomeUnknown, match="not among the hosts"):
        preserving(url, database, sets=sets).read(CALL, timeout=10)


def test_the_probe_keeps_nothing(service: tuple[Service, str], database: Database) -> None:
    """Every source is tried, a silent one is named, and nothing is kept."""
    service[0].silent = {"/log"}
    assert preserving(service[1], database).probe(timeout=10) == "2 sources of evidence answer; silent: log."
    assert kept(database) == []


def test_a_rehearsal_leaves_no_evidence(service: tuple[Service, str]) -> None:
    """In a drill the step works as ever, and what it took is forgotten."""
    reading = preserving(service[1], None).kept_in(Passing()).read(CALL, timeout=10)
    assert reading.value["value"] == 3.0


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"sets": {}}, "sets"), ({"sets": {"x": {}}}, "sets"), ({"sets": {"x": {"files": {}}}}, r"sets\.x"), ({"sets": {"x": {"pages": ["/log"]}}}, r"sets\.x\.pages"),
        ({"metrics": None}, "metrics"), ({"base": None}, "base"), ({"base": "ftp://x"}, "base"), ({"every": 5000}, "every"), ({"most": 0}, "every"),
    ],
)  # fmt: skip
def test_a_wrong_configuration_stops_the_start(changed: dict[str, Any], field: str) -> None:
    """What is missing, misspelt or out of bounds is named with its field."""
    given = {"base": "http://127.0.0.1:9", "metrics": "http://127.0.0.1:9", "environment": "production", "sets": SETS, **changed}
    with pytest.raises(SettingsInvalid, match=rf"backends\.{field}"):
        KIND.build(Options(given), {})


def test_the_process_keeps_evidence_in_its_own_database(service: tuple[Service, str], database: Database, tmp_path: Path) -> None:
    """As the composition root builds it, the demo's and a configured backend keep what they take where Muster remembers."""
    _, url = service
    pages = f"backends: {{e: {{kind: evidence, environment: production, base: '{url}', secrets: {{token: {{env: T}}}}, sets: {{x: {{pages: {{p: /log}}}}}}}}}}"
    for text, name in (("{}", "unsafe-answers"), (pages, "x")):
        built = backends.registry(
            parse(text),
            secrets=Secrets(environ={"T": "right"}, folder=tmp_path),
            settings=Settings.read({"MUSTER_SIMULATION_URL": url}, folder=tmp_path),
            slack_pager=backend(),
            vault=evidence.Vault(database),
        )
        call = Call(operation="evidence.preserve", arguments={"set": name}, environment="production")
        found = built.backend(call.operation, "production").read(call, timeout=10)
        assert database.read(lambda tx, found=found: evidence.get(tx, found.value["sha256"])).name == name
