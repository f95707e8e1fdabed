"""`muster.yaml`: what it gives, and that every mistake is refused with file, field, line and reason."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bot.configuration import Configuration, load, parse
from bot.configuration.reading import names_of
from bot.configuration.schema import File
from bot.ingress.source import Scheme, installed
from bot.secret import SecretMissing, Secrets
from bot.settings import LIBRARY
from runbooks import frontmatter
from runbooks.errors import SettingsInvalid
from runbooks.severity import Severity, Tier

REPOSITORY = Path(__file__).parents[3]
BASE = """
people:
  ana: {name: Ana, email: ana@example.com, slack_id: U0ANA12345, login: ana}
  ben: {name: Ben, email: ben@example.com}
teams:
  web: {lead: ben, members: [ana, ben], channel: "#web"}
services:
  shop: {owner: web}
"""


def refused(text: str) -> SettingsInvalid:
    with pytest.raises(SettingsInvalid) as error:
        parse(text)
    return error.value


def test_the_default_holds_and_opens_no_door() -> None:
    """Without a file there are the local workspace's people, and no secret that anybody could know."""
    configuration = Configuration.default()
    assert configuration.directory.by_slack_id("U01ANA0000") is not None
    assert configuration.unreadable(Secrets(environ={}, folder=Path()))
    assert configuration.services["answers"].channel == "incidents"


def test_the_defaults_people_are_the_workspaces() -> None:
    """Everybody in the local workspace is somebody in the default configuration, and nobody else is."""
    seed = yaml.safe_load((REPOSITORY / "bot/workspace/seed.yaml").read_text())
    people = Configuration.default().directory.people
    assert {(p.slack_id, p.email, p.name) for p in people} == {(p["id"], p["email"], p["real_name"]) for p in seed["people"]}


@pytest.mark.parametrize("path", sorted(path for path in LIBRARY.glob("*.md") if path.stem != "README"), ids=lambda path: path.stem)
def test_the_default_reaches_everybody_whom_the_library_names(path: Path) -> None:
    """Each shipped runbook's owner is a team of the default configuration, and each page it may send reaches somebody."""
    header = frontmatter.read(path.read_text()).data
    configuration = Configuration.default()
    assert configuration.directory.team(header["owner"]) is not None
    assert configuration.targets_missing({rule["page"] for rule in header["escalation"]}) == []


def test_the_example_holds() -> None:
    """The sample that people start from loads as it stands, and shows every part of the file."""
    configuration = load(REPOSITORY / "muster.example.yaml")
    written = yaml.safe_load((REPOSITORY / "muster.example.yaml").read_text())
    assert set(written) == set(type(configuration.file).model_fields)


BLOCKS = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs" / "configuration.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.partition(":")[0])
def test_what_the_documentation_shows_works(block: str) -> None:
    """Each piece of YAML in the documentation, put into the example's place, makes a configuration."""
    example = yaml.safe_load((REPOSITORY / "muster.example.yaml").read_text())
    assert parse(yaml.safe_dump(example | yaml.safe_load(block))).path == "muster.yaml"


def test_every_field_is_documented() -> None:
    """Every field of the file, and of the shipped sources' own settings, stands in the documentation."""
    page = (REPOSITORY / "docs" / "configuration.md").read_text()
    fields = names_of(File).union(*(names_of(kind.settings) for kind in installed().values()))
    assert [name for name in sorted(fields) if not re.search(rf"\b{name}\b", page)] == []


def test_an_empty_file_is_a_configuration() -> None:
    """Nothing said is nothing wrong: empty, only comments, only a document mark."""
    for text in ("", "# nothing\n", "---\n", "---\n# nothing\n"):
        assert parse(text).directory.people == ()


def test_it_speaks_the_cores_words() -> None:
    """People, teams, grants and services arrive as the core knows them; a service takes its owner's channel."""
    configuration = parse(BASE + 'permissions:\n  - {who: "team:web", run: R2, approve: R1, services: [shop]}\n')
    directory = configuration.directory
    assert [p.id for p in directory.members("web")] == ["ana", "ben"]
    assert (directory.grants[0].run, directory.grants[0].services) == (Tier.R2, ("shop",))
    assert configuration.services["shop"].channel == "web"
    assert configuration.person_for_login("ana") == directory.person("ana")
    assert configuration.person_for_login("root") is None


def test_people_without_a_slack_id_are_found_by_email() -> None:
    """Slack's answer fills what the file leaves open, changes nothing that it says, and makes no two people one."""
    configuration = parse(BASE + "  # more\n")
    assert configuration.known_by_email == {"ben": "ben@example.com"}
    joined = configuration.with_slack_ids({"ben": "U0BEN12345", "ana": "U0EVIL1234", "carl": "U0CARL1234"})
    assert {p.id: p.slack_id for p in joined.directory.people} == {"ana": "U0ANA12345", "ben": "U0BEN12345"}
    assert joined.services == configuration.services
    assert configuration.with_slack_ids({"ben": "U0ANA12345"}).directory.by_slack_id("U0ANA12345") == configuration.directory.person("ana")
    assert configuration.with_slack_ids({"ben": "U0ANA12345"}).directory.person("ben") == configuration.directory.person("ben")


def test_severities_keep_what_is_not_said() -> None:
    """Five business days for SEV1 and SEV2, ten for SEV3, none for SEV4, which pages nobody; a line changes only what it says."""
    usual = parse("")
    assert usual.review_days == {Severity.SEV1: 5, Severity.SEV2: 5, Severity.SEV3: 10}
    assert [s for s in Severity if not usual.escalates(s)] == [Severity.SEV4]
    other = parse("severities: {SEV2: {review_days: 3}, SEV4: {escalates: true}}")
    assert other.review_days == {Severity.SEV1: 5, Severity.SEV2: 3, Severity.SEV3: 10}
    assert other.escalates(Severity.SEV4)


def test_the_plan_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    """`on_call: {file: PATH}` reads it from beside muster.yaml, and its problems carry its name and line."""
    (tmp_path / "muster.yaml").write_text(BASE + "on_call: {file: rota.yaml}\n")
    (tmp_path / "rota.yaml").write_text("targets:\n  web-primary: {person: ana}\nteams: {web: web-primary}\n")
    assert load(tmp_path / "muster.yaml").targets_missing({"web-primary", "web-secondary"}) == ["web-secondary"]
    (tmp_path / "rota.yaml").write_text("targets:\n  web-primary: {person: anna}\n")
    with pytest.raises(SettingsInvalid) as error:
        load(tmp_path / "muster.yaml")
    (problem,) = error.value.problems
    assert (problem.file, problem.field, problem.line) == (str(tmp_path / "rota.yaml"), "targets.web-primary.person", 2)


def test_a_source_becomes_a_sender() -> None:
    """Kind, check, secrets and mapping of a source are ready for the intake."""
    configuration = parse(
        "sources:\n"
        "  github: {kind: generic, auth: hmac, secret: {env: A}, signature: {header: X-Hub-Signature-256, prefix: sha256=}, mapping: {title: t}}\n"
        "  pd: {kind: pagerduty, auth: hmac, secret: [{env: A}, {env: B}]}\n"
    )
    senders = configuration.senders(Secrets(environ={"A": "a", "B": "b"}, folder=Path()))
    assert senders["github"].check.signature is not None
    assert senders["github"].check.signature.timestamp_header is None
    assert senders["pd"].check.signature is not None
    assert (senders["pd"].check.scheme, senders["pd"].check.signature.header) == (Scheme.HMAC, "X-PagerDuty-Signature")
    assert [s.get_secret_value() for s in senders["pd"].secret.all()] == ["a", "b"]


def test_tokens_tell_who_calls() -> None:
    """A token with a person and `write` may change things; one without a person may read; an unknown one is nobody."""
    configuration = parse(BASE + "tokens:\n  ana: {secret: [{env: A}, {env: A2}], person: ana, may: write}\n  board: {secret: {env: B}}\n")
    tokens = configuration.tokens(Secrets(environ={"A": "one", "B": "two"}, folder=Path()))
    ana, board = tokens.caller("one"), tokens.caller("two")
    assert ana is not None
    assert board is not None
    assert (ana.may_write, ana.actor.id, ana.actor.via) == (True, "ana", "api")
    assert (board.may_write, board.actor.id, board.actor.is_human) == (False, "board", False)
    assert tokens.caller("three") is None
    assert tokens.caller("") is None


def test_backends_keep_their_own_fields() -> None:
    """What belongs to a backend's kind is handed on as it was written; its secrets are read only when they are used."""
    text = "backends: {flags: {kind: unleash, environment: production, url: 'https://f', secrets: {token: {env: T}}}}"
    environ: dict[str, str] = {}
    (plan,) = parse(text).backends(Secrets(environ=environ, folder=Path()))
    assert (plan.name, plan.kind, plan.options) == ("flags", "unleash", {"environment": "production", "url": "https://f"})
    with pytest.raises(SecretMissing):
        plan.secrets["token"]()
    environ["T"] = "now"
    assert plan.secrets["token"]() == "now"


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        # the shape of the file
        ("peple: {}", "peple", "did you mean people"),
        ("people: [ana]", "people", "mapping"),
        ("people: {ana: {name: Ana, email: a@b, slak_id: U1}}", "people.ana.slak_id", "did you mean slack_id"),
        ("people: {ana: {email: a@b}}", "people.ana.name", "missing"),
        ("people: {ana: {name: yes, email: a@b}}", "people.ana.name", "quotes"),
        ("people: {ana: {name: Ana, email: nobody}}", "people.ana.email", "e-mail"),
        ("people: {ana: {name: Ana, slack_id: ana}}", "people.ana.slack_id", "Slack id"),
        ("people: {Ana Silva: {name: Ana, email: a@b}}", "people.Ana Silva", "small letters"),
        ("people: {ana: {name: Ana}}", "people.ana", "neither"),
        ("time_zone: Berlin", "time_zone", "Europe/Berlin"),
        ("time_zone: ../../etc/passwd", "time_zone", "time zone"),
        ("holidays: [tomorrow]", "holidays.0", "day"),
        ("drills: {at: 10:00}", "drills.at", "quotes"),
        ('drills: {at: "25:00"}', "drills.at", "time of day"),
        ("drills: {freezes: [{from: 2026-12-31, until: 2026-12-01, reason: x}]}", "drills.freezes.0.until", "before"),
        ("severities: {SEV9: {}}", "severities.SEV9", "SEV1"),
        ("severities: {SEV1: {review_days: 0}}", "severities.SEV1.review_days", "greater"),
        ("severities: {SEV2: {review_days: null}}", "severities.SEV2.review_days", "milder"),
        ("channels: {incidents: 'a b'}", "channels.incidents", "channel"),
        # secrets
        ("sources: {a: {kind: alertmanager, auth: bearer, secret: hunter2}}", "sources.a.secret", "never written here"),
        ("sources: {a: {kind: alertmanager, auth: bearer, secret: {env: 'hunter-2!'}}}", "sources.a.secret.env", "never written here"),
        ("sources: {a: {kind: alertmanager, auth: bearer, secret: {env: A, file: b}}}", "sources.a.secret", "exactly one"),
        ("sources: {a: {kind: alertmanager, auth: bearer, secret: {env: MUSTER_HTTP_PORT}}}", "sources.a.secret.env", "own settings"),
        ("sources: {a: {kind: alertmanager, auth: bearer, secret: []}}", "sources.a.secret", "empty"),
        ("sources: {a: {kind: alertmanager, auth: bearer}}", "sources.a.secret", "missing"),
        ("backends: {a: {kind: x, secrets: {token: abc}}}", "backends.a.secrets.token", "never written here"),
        # sources
        ("sources: {a: {kind: alertmanager, auth: none, secret: {env: A}}}", "sources.a.auth", "unverified"),
        ("sources: {a: {kind: alertmanager, secret: {env: A}}}", "sources.a.auth", "missing"),
        ("sources: {a: {kind: alertmanager, auth: hmac, secret: {env: A}}}", "sources.a.auth", "bearer or basic"),
        ("sources: {a: {kind: alertmanager, auth: basic, secret: {env: A}}}", "sources.a", "user"),
        ("sources: {a: {kind: alertmanager, auth: bearer, user: x, secret: {env: A}}}", "sources.a", "user"),
        ("sources: {a: {kind: smoke, auth: bearer, secret: {env: A}}}", "sources.a.kind", "alertmanager"),
        ("sources: {a: {kind: alertmanager, auth: bearer, secret: {env: A}, secrt: 1}}", "sources.a.secrt", "did you mean secret"),
        ("sources: {a: {kind: pagerduty, auth: hmac, secret: {env: A}, signature: {header: X}}}", "sources.a.signature", "own"),
        ("sources: {a: {kind: generic, auth: bearer, secret: {env: A}}}", "sources.a.mapping", "missing"),
        ("sources: {a: {kind: generic, auth: bearer, secret: {env: A}, mapping: {title: 'a..b'}}}", "sources.a.mapping.title", "path"),
        ("sources: {a: {kind: generic, auth: bearer, secret: {env: A}, mapping: {title: a, status: b}}}", "sources.a.mapping", "values"),
        ("sources: {a: {kind: generic, auth: bearer, secret: {env: A}, mapping: {fingerprint: a}}}", "sources.a.mapping", "same"),
        ("changes: {a: {auth: hmac, secret: {env: A}, signature: {header: 'X Y'}}}", "changes.a.signature.header", "form"),
        # names that must exist
        (BASE + "permissions: [{who: 'team:wep', run: R1}]", "permissions.0.who", "did you mean web"),
        (BASE + "permissions: [{who: 'person:carl', run: R1}]", "permissions.0.who", "no person"),
        (BASE + "permissions: [{who: everyone, run: R1}]", "permissions.0.who", "team:<id>"),
        (BASE + "permissions: [{who: 'team:web'}]", "permissions.0", "grants nothing"),
        (BASE + "permissions: [{who: anyone, approve: R1}]", "permissions.0", "guests"),
        (BASE + "permissions: [{who: commander, run: R7}]", "permissions.0.run", "R0"),
        (BASE + "permissions: [{who: commander, run: R1, services: [shopp]}]", "permissions.0.services.0", "did you mean shop"),
        (BASE + "tokens: {t: {secret: {env: A}, may: write}}", "tokens.t.may", "only read"),
        (BASE + "tokens: {t: {secret: {env: A}, person: carl}}", "tokens.t.person", "no person"),
        (BASE + "tokens: {t: {secret: {env: A}}, u: {secret: {env: A}}}", "tokens.u.secret", "tell the two apart"),
        (BASE + "on_call: {teams: {web: nobody}}", "on_call.teams.web.0", "paging target"),
        (BASE + "on_call: {teams: {wep: []}}", "on_call.teams.wep", "did you mean web"),
        (BASE + "on_call: {targets: {a: {person: carl}}}", "on_call.targets.a.person", "no person"),
        (BASE + "on_call: {targets: {a: {}}}", "on_call.targets.a", "either person or rotation"),
        (BASE + "on_call: {targets: {a: {rotation: [ana, ben]}}}", "on_call.targets.a", "starts"),
        (BASE + "on_call: {targets: {a: {rotation: [ana], starts: 2026-01-01, hand_over: 9:30}}}", "on_call.targets.a.hand_over", "quotes"),
        (BASE + "on_call: {targets: {a: {rotation: [ana], starts: 2026-01-01, every: month}}}", "on_call.targets.a.every", "day"),
        (
            BASE + "on_call: {targets: {a: {person: ana, overrides: [{person: ben, from: 2026-01-02, until: 2026-01-01}]}}}",
            "on_call.targets.a.overrides.0.until",
            "not after",
        ),
        (
            BASE + "on_call: {targets: {a: {person: ana, overrides: [{person: ben, from: soon, until: 2026-01-01}]}}}",
            "on_call.targets.a.overrides.0.from",
            "not a time",
        ),
        (
            BASE
            + "on_call: {targets: {a: {person: ana, overrides: [{person: ben, from: 2026-01-01, until: 2026-01-09},"
            + " {person: ana, from: 2026-01-08, until: 2026-01-10}]}}}",
            "on_call.targets.a.overrides.1.from",
            "overlaps",
        ),
        # owners who can be reached
        (BASE.replace("owner: web", "owner: wep"), "services.shop.owner", "did you mean web"),
        (BASE.replace("owner: web", "owner: web, owners: {quality: ml}"), "services.shop.owners.quality", "no team"),
        (BASE.replace("owner: web", "owner: web, owners: {smell: web}"), "services.shop.owners.smell", "availability"),
        (BASE.replace("lead: ben, ", ""), "services.shop.owner", "cannot be reached"),
        (BASE.replace("lead: ben", "lead: bet"), "teams.web.lead", "did you mean ben"),
        (BASE.replace("members: [ana, ben]", "members: [ana, carl]"), "teams.web.members.1", "no person"),
        (BASE.replace("members: [ana, ben]", "members: []"), "teams.web.members", "empty"),
        (BASE.replace("ben@example.com", "ANA@example.com"), "people.ben.email", "also that of ana"),
        # YAML
        ("people: {}\npeople: {}", "people", "twice"),
        ("a: !!python/object:os.system {}", "a", "tag"),
        ("people: {}\n---\nteams: {}", "", "more than one"),
        ("people: [", "", "not YAML"),
        ("- a", "", "mapping"),
        ("on: {}", "on", "quotes"),
    ],
)
def test_a_mistake_is_refused_with_its_field_and_reason(text: str, field: str, words: str) -> None:
    """Each way to write it wrong is refused at its field, with words that say what to write."""
    found = [problem for problem in refused(text).problems if problem.field == field]
    assert found, refused(text)
    assert any(words in problem.reason for problem in found), found
    assert all(problem.file == "muster.yaml" for problem in found)


def test_a_literal_secret_is_not_repeated_in_the_refusal() -> None:
    """The refusal of a secret written into the file does not print it."""
    for text in ("hunter2", "{env: 'hunter2!'}", "[hunter2]", "{env: A, hunter2: x}"):
        error = refused(f"sources: {{a: {{kind: alertmanager, auth: bearer, secret: {text}}}}}")
        assert "hunter2!" not in str(error)
        assert "hunter2" not in "".join(problem.reason for problem in error.problems)


def test_a_problem_names_its_line() -> None:
    """The line is that of the field in the file, also behind a document mark and comments."""
    (problem,) = refused("# head\n---\ntime_zone: UTC\npeople:\n  ana:\n    name: Ana\n    emial: x\n    email: a@b\n").problems
    assert (problem.field, problem.line) == ("people.ana.emial", 7)


def test_all_problems_are_found_at_once() -> None:
    """Shape first, and then everything that does not hold together, each mistake once."""
    error = refused(BASE + "permissions: [{who: 'team:x', run: R1}, {who: 'team:web'}]\ntokens: {t: {secret: {env: A}, may: write}}\n")
    assert [problem.field for problem in error.problems] == ["permissions.0.who", "permissions.1", "tokens.t.may"]


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """No file, a folder, or bytes that are no text: a sentence each."""
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    for path, words in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "directory"), (tmp_path / "bytes.yaml", "UTF-8")):
        with pytest.raises(SettingsInvalid, match=words):
            load(path)


NAMES = st.sampled_from(
    ["people", "teams", "sources", "on_call", "targets", "kind", "auth", "secret", "who", "ana", "mapping", "signature"]
)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8) | st.sampled_from(["alertmanager", "generic", "hmac", "R1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, DATA, max_size=4))
def test_no_data_breaks_the_reading(data: dict[str, object]) -> None:
    """Arbitrary data made of the file's own words is a configuration or a refusal with reasons."""
    holds(yaml.safe_dump(data))


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading(text: str) -> None:
    """Arbitrary text is a configuration or a refusal with reasons."""
    holds(text)


def holds(text: str) -> None:
    reasons = ["fine"]
    try:
        parse(text)
    except SettingsInvalid as error:
        reasons = [problem.reason for problem in error.problems]
    assert reasons
    assert all(reasons)
