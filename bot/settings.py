"""The only reader of the environment. Every other object receives plain values by keyword."""

import difflib
import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import SecretStr

from bot.secret import OWN_PREFIX, SECRET_PREFIX, Secrets
from runbooks.errors import Problem, SettingsInvalid
from runbooks.value import Value

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]

LIBRARY = Path(__file__).parent.parent / "runbooks" / "library"
"""The runbooks that Muster ships."""

_DATABASES = ("sqlite", "postgres", "postgresql", "postgresql+psycopg")


class Settings(Value):
    """What the environment says. Paths are as written; `None` means not set.

    `config` is the file to load, or None where no `muster.yaml` lies in the working folder and none is named.
    """

    database_url: str
    config: Path | None
    runbooks: tuple[Path, ...]
    slack_bot_token: SecretStr | None = None
    slack_app_token: SecretStr | None = None
    slack_signing_secret: SecretStr | None = None
    slack_api_url: str | None = None
    pagerduty_api_token: SecretStr | None = None
    pagerduty_api_url: str = "https://api.pagerduty.com"
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    public_url: str
    log_level: LogLevel = "info"
    log_format: LogFormat = "text"
    simulation_url: str | None = None
    kill_point: str | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None, *, folder: Path | None = None) -> "Settings":
        """Read the environment; `folder` is the working folder, against which defaults are found.

        An empty variable counts as not set.

        Raises:
            SettingsInvalid: with every problem: an unknown variable with our prefix (and what it may have meant), a value that
                cannot be used.
        """
        source = os.environ if environ is None else environ
        found, problems = _read_all(source)
        problems += _unknown(source)
        if problems:
            raise SettingsInvalid(problems)
        return cls(**_with_defaults(found, folder or Path()))

    def secrets(self, environ: Mapping[str, str] | None = None) -> Secrets:
        """The reader of secrets that the configuration refers to; their files count from the configuration's folder."""
        folder = self.config.parent if self.config else Path()
        return Secrets(environ=os.environ if environ is None else environ, folder=folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One environment variable: the field that it fills, how it is read, and what it is for."""

    name: str
    field: str
    read: Callable[[str], Any]
    help: str


def _secret(prefix: str = "") -> Callable[[str], SecretStr]:
    def read(text: str) -> SecretStr:
        if not text.startswith(prefix):
            raise ValueError(f"does not begin with {prefix}; it is probably another token")
        return SecretStr(text)

    return read


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not an address; write it whole, such as https://muster.example.com")
    return text.rstrip("/")


def _database(text: str) -> str:
    scheme = text.partition("://")[0]
    if scheme not in _DATABASES or "://" not in text:
        raise ValueError("is not a database; write sqlite:///PATH or postgresql://USER@HOST/NAME")
    return text


def _host(text: str) -> str:
    if text == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("is not an IP address; write one such as 127.0.0.1, or 0.0.0.0 for all interfaces") from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise ValueError("is not a port; write a number from 0 (any free one) to 65535")
    return int(text)


def _one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return text.lower()

    return read


def _existing(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_file():
        raise ValueError(f"names {text}, and no such file is there")
    return path


def _folders(text: str) -> tuple[Path, ...]:
    folders = tuple(Path(part).expanduser() for part in text.split(os.pathsep) if part)
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        raise ValueError(f"names {', '.join(missing)}, and no such folder is there")
    return folders


VARIABLES = (
    Variable(name="SLACK_BOT_TOKEN", field="slack_bot_token", read=_secret("xoxb-"), help="Slack's bot token"),
    Variable(name="SLACK_APP_TOKEN", field="slack_app_token", read=_secret("xapp-"), help="Slack's app-level token, for Socket Mode"),
    Variable(name="SLACK_SIGNING_SECRET", field="slack_signing_secret", read=_secret(), help="signs Slack's requests over HTTP"),
    Variable(name="PAGERDUTY_API_TOKEN", field="pagerduty_api_token", read=_secret(), help="who is on duty; answers to PagerDuty"),
    Variable(name="MUSTER_PAGERDUTY_API_URL", field="pagerduty_api_url", read=_url, help="another PagerDuty region"),
    Variable(name="MUSTER_DATABASE_URL", field="database_url", read=_database, help="where Muster remembers"),
    Variable(name="MUSTER_CONFIG", field="config", read=_existing, help="the configuration file"),
    Variable(name="MUSTER_RUNBOOKS", field="runbooks", read=_folders, help=f"folders of runbooks, separated by {os.pathsep}"),
    Variable(name="MUSTER_SLACK_API_URL", field="slack_api_url", read=_url, help="a Slack-compatible workspace instead of Slack"),
    Variable(name="MUSTER_HTTP_HOST", field="http_host", read=_host, help="the address to listen on"),
    Variable(name="MUSTER_HTTP_PORT", field="http_port", read=_port, help="the port to listen on; 0 is any free one"),
    Variable(name="MUSTER_PUBLIC_URL", field="public_url", read=_url, help="how people reach Muster's pages"),
    Variable(name="MUSTER_LOG_LEVEL", field="log_level", read=_one_of(get_args(LogLevel)), help="the least that is logged"),
    Variable(name="MUSTER_LOG_FORMAT", field="log_format", read=_one_of(get_args(LogFormat)), help="lines for people or for machines"),
    Variable(name="MUSTER_SIMULATION_URL", field="simulation_url", read=_url, help="the simulated service of the demo"),
    Variable(name="MUSTER_KILL_POINT", field="kill_point", read=str, help="tests only: the point at which the process kills itself"),
)
"""Every variable that Muster reads. Names that begin with MUSTER_SECRET_ are free for secrets of the configuration file."""


def _read_all(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for variable in VARIABLES:
        text = environ.get(variable.name, "").strip()
        if not text:
            continue
        try:
            found[variable.field] = variable.read(text)
        except ValueError as error:
            problems.append(Problem(file="environment", field=variable.name, reason=str(error)))
    return found, problems


def _unknown(environ: Mapping[str, str]) -> list[Problem]:
    known = [variable.name for variable in VARIABLES]
    unknown = [n for n in environ if n.startswith(OWN_PREFIX) and not n.startswith(SECRET_PREFIX) and n not in known]
    return [Problem(file="environment", field=name, reason=_did_you_mean(name, known)) for name in sorted(unknown)]


def _did_you_mean(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, [k for k in known if k.startswith(OWN_PREFIX)], n=3, cutoff=0.7)
    hint = f"did you mean {' or '.join(near)}?" if near else "unset it, or see docs/configuration.md for the names there are"
    return f"is not a setting of Muster; {hint}"


def _with_defaults(found: dict[str, Any], folder: Path) -> dict[str, Any]:
    values = dict(found)
    values.setdefault("database_url", f"sqlite:///{folder / '.muster' / 'muster.sqlite'}")
    beside = folder / "muster.yaml"
    values.setdefault("config", beside if beside.is_file() else None)
    own = folder / "runbooks"
    values.setdefault("runbooks", (LIBRARY, own) if any(own.glob("*.md")) else (LIBRARY,))
    host = values.get("http_host", "127.0.0.1")
    reach = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared, not bound
    values.setdefault("public_url", f"http://{reach}:{values.get('http_port', 8080)}")
    return values
