"""The environment: what it says, what it may not say, and that secrets stay secret."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.secret import SecretMissing, SecretRef, Secrets
from bot.settings import LIBRARY, VARIABLES, Settings
from runbooks.errors import SettingsInvalid

REPOSITORY = Path(__file__).parents[3]


def test_nothing_set_is_a_start_on_this_machine_alone(tmp_path: Path) -> None:
    """Without any variable: an embedded database, the shipped runbooks, and an address that nobody outside reaches."""
    settings = Settings.read({}, folder=tmp_path)
    assert settings.database_url == f"sqlite:///{tmp_path}/.muster/muster.sqlite"
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 8080)
    assert settings.public_url == "http://127.0.0.1:8080"
    assert settings.runbooks == (LIBRARY,)
    assert settings.config is None
    assert settings.slack_bot_token is None


def test_a_folder_of_ones_own_runbooks_joins_the_library(tmp_path: Path) -> None:
    """`./runbooks` counts as soon as it holds a runbook, and `muster.yaml` as soon as it is there."""
    (tmp_path / "runbooks").mkdir()
    assert Settings.read({}, folder=tmp_path).runbooks == (LIBRARY,)
    (tmp_path / "runbooks" / "own.md").write_text("---\n")
    (tmp_path / "muster.yaml").write_text("")
    settings = Settings.read({}, folder=tmp_path)
    assert settings.runbooks == (LIBRARY, tmp_path / "runbooks")
    assert settings.config == tmp_path / "muster.yaml"


def test_every_variable_fills_its_field(tmp_path: Path) -> None:
    """Each variable of the table reaches the field that the table names."""
    (tmp_path / "c.yaml").write_text("")
    values = {
        "SLACK_BOT_TOKEN": "xoxb-1",
        "SLACK_APP_TOKEN": "xapp-1",
        "SLACK_SIGNING_SECRET": "abc",
        "PAGERDUTY_API_TOKEN": "pd",
        "MUSTER_PAGERDUTY_API_URL": "https://api.eu.pagerduty.com/",
        "MUSTER_DATABASE_URL": "postgresql://muster@db/muster",
        "MUSTER_CONFIG": str(tmp_path / "c.yaml"),
        "MUSTER_RUNBOOKS": f"{tmp_path}{os.pathsep}{LIBRARY}",
        "MUSTER_SLACK_API_URL": "http://127.0.0.1:8089/api",
        "MUSTER_HTTP_HOST": "localhost",
        "MUSTER_HTTP_PORT": "0",
        "MUSTER_PUBLIC_URL": "https://muster.example.com/",
        "MUSTER_LOG_LEVEL": "DEBUG",
        "MUSTER_LOG_FORMAT": "json",
        "MUSTER_SIMULATION_URL": "http://127.0.0.1:8090",
        "MUSTER_KILL_POINT": "K1",
    }
    expected = {
        "slack_bot_token": SecretStr("xoxb-1"),
        "slack_app_token": SecretStr("xapp-1"),
        "slack_signing_secret": SecretStr("abc"),
        "pagerduty_api_token": SecretStr("pd"),
        "pagerduty_api_url": "https://api.eu.pagerduty.com",
        "database_url": "postgresql://muster@db/muster",
        "config": tmp_path / "c.yaml",
        "runbooks": (tmp_path, LIBRARY),
        "slack_api_url": "http://127.0.0.1:8089/api",
        "http_host": "127.0.0.1",
        "http_port": 0,
        "public_url": "https://muster.example.com",
        "log_level": "debug",
        "log_format": "json",
        "simulation_url": "http://127.0.0.1:8090",
        "kill_point": "K1",
    }
    assert set(values) == {variable.name for variable in VARIABLES}
    settings = Settings.read(values, folder=tmp_path)
    assert {variable.field: getattr(settings, variable.field) for variable in VARIABLES} == expected


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MUSTER_DATABSE_URL", "x", "did you mean MUSTER_DATABASE_URL"),
        ("MUSTER_", "x", "not a setting"),
        ("MUSTER_HTTP_PORT", "80a", "65535"),
        ("MUSTER_HTTP_PORT", "70000", "65535"),
        ("MUSTER_HTTP_PORT", "-1", "65535"),
        ("MUSTER_HTTP_HOST", "everywhere", "0.0.0.0"),
        ("MUSTER_DATABASE_URL", "mysql://x", "postgresql://"),
        ("MUSTER_DATABASE_URL", "muster.sqlite", "sqlite:///"),
        ("MUSTER_CONFIG", "nowhere.yaml", "no such file"),
        ("MUSTER_RUNBOOKS", "nowhere", "no such folder"),
        ("MUSTER_PUBLIC_URL", "muster.example.com", "https://"),
        ("MUSTER_LOG_LEVEL", "loud", "debug"),
        ("SLACK_BOT_TOKEN", "xapp-secret", "xoxb-"),
        ("SLACK_APP_TOKEN", "xoxb-secret", "xapp-"),
    ],
)
def test_what_cannot_be_used_stops_the_start(name: str, value: str, words: str) -> None:
    """An unknown variable with our prefix, or a value that cannot be used, is refused with its name and what to write instead."""
    with pytest.raises(SettingsInvalid) as refused:
        Settings.read({name: value})
    (problem,) = refused.value.problems
    assert problem.field == name
    assert words in problem.reason
    assert "secret" not in str(refused.value)


def test_all_problems_are_named_at_once() -> None:
    """Three mistakes are three problems, not three starts."""
    with pytest.raises(SettingsInvalid) as refused:
        Settings.read({"MUSTER_HTTP_PORT": "x", "MUSTER_LOG_LEVEL": "x", "MUSTER_X": "x"})
    assert len(refused.value.problems) == 3


def test_names_that_are_not_ours_are_left_alone() -> None:
    """Other programs' variables, and secrets of the configuration, are no mistakes."""
    Settings.read({"PATH": "/bin", "MUSTERING": "x", "MUSTER_SECRET_ANA": "x", "MUSTER_LOG_LEVEL": ""})


def test_an_address_for_all_interfaces_is_reached_locally() -> None:
    """0.0.0.0 is where to listen, not where a link leads."""
    assert Settings.read({"MUSTER_HTTP_HOST": "0.0.0.0", "MUSTER_HTTP_PORT": "9"}).public_url == "http://127.0.0.1:9"
    assert Settings.read({"MUSTER_HTTP_HOST": "::1"}).public_url == "http://[::1]:8080"


def test_secrets_do_not_show() -> None:
    """Neither the settings nor a secret's handle print what they hold."""
    settings = Settings.read({"SLACK_BOT_TOKEN": "xoxb-hidden", "PAGERDUTY_API_TOKEN": "hidden"})
    handle = Secrets(environ={"A": "hidden"}, folder=Path()).bind(SecretRef(env="A"))
    assert "hidden" not in f"{settings!r} {settings} {settings.model_dump_json()} {handle!r} {handle.reveal()!r}"


def test_a_secret_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """Rotation needs no restart; white space at the end of the file is not part of the secret."""
    file = tmp_path / "token"
    file.write_text("first\n")
    handle = Secrets(environ={}, folder=tmp_path).bind(SecretRef(file="token"))
    assert handle.reveal().get_secret_value() == "first"
    file.write_text("the second\n")
    assert handle.reveal().get_secret_value() == "the second"


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"", "empty"), (b"  \n", "empty"), (b"\xff\xfe", "not text"), (b"x" * 70_000, "right file")],
)
def test_a_secret_that_cannot_be_read_says_where_it_should_be(tmp_path: Path, content: bytes | None, words: str) -> None:
    """The sentence names the place and the reason."""
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(SecretMissing, match=words) as missing:
        Secrets(environ={}, folder=tmp_path).reveal(SecretRef(file="token"))
    assert "token" in str(missing.value)


def test_one_readable_secret_of_several_is_enough() -> None:
    """While a secret is rotated, the one that is there counts; when none is, the first is named."""
    refs = (SecretRef(env="NEW"), SecretRef(env="OLD"))
    assert Secrets(environ={"OLD": "x"}, folder=Path()).bind(*refs).reveal().get_secret_value() == "x"
    with pytest.raises(SecretMissing, match="NEW"):
        Secrets(environ={}, folder=Path()).bind(*refs).all()


def test_every_variable_is_documented() -> None:
    """docs/configuration.md names every variable, and no other of ours."""
    page = (REPOSITORY / "docs" / "configuration.md").read_text()
    for variable in VARIABLES:
        assert f"`{variable.name}`" in page, variable.name
