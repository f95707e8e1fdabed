"""How the command line reaches Muster: through a server's Unix socket, else by opening the database itself. One API for both."""

import asyncio
import os
import socket
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from bot import api, logs, serving
from bot.access import LOCAL_UID
from bot.api.endpoint import PREFIX
from bot.app import Muster
from bot.local import short, socket_beside
from bot.settings import Settings
from runbooks.errors import MusterError
from storage import runbook_versions

DEMO = Path(".muster/demo/muster.sqlite")
PATIENCE = 30.0  # seconds; the server itself waits eight for a plan


class NotReachable(MusterError):
    """Nobody answers where a server should be."""


class Answered(MusterError):
    """The API's refusal, as it said it."""

    def __init__(self, status: int, reason: str, text: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(text)


class Connection:
    """Requests to the API, as whoever runs this command."""

    def __init__(self, *, at: Path | None, muster: Muster | None = None) -> None:
        self._socket, self._muster = at, muster
        self._app: ASGIApp | None = None
        self._kept = False

    @property
    def served(self) -> bool:
        """Whether a server answers; without one, tasks wait until it is started."""
        return self._socket is not None

    def get(self, path: str, **query: Any) -> Any:
        """What stands there, as JSON."""
        return self.request("GET", path, query=query).json()

    def text(self, path: str, **query: Any) -> str:
        """An export."""
        return self.request("GET", path, query=query).text

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Do something."""
        return self.request("POST", path, body=dict(body or {})).json()

    def request(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        """One request.

        Raises:
            Answered: the API refuses.
            NotReachable: the server has gone.
        """
        if method != "GET":
            self._keep_runbooks()
        params = {name: _plain(value) for name, value in (query or {}).items() if value is not None}
        try:
            answer = asyncio.run(self._send(method, f"{PREFIX}{path}", params, body))
        except httpx.HTTPError as error:
            raise NotReachable(f"The server at {self._socket} does not answer: {error or type(error).__name__}.") from error
        if answer.is_error:
            raise _answered(answer)
        return answer

    async def _send(self, method: str, path: str, params: Mapping[str, str], body: Mapping[str, Any] | None) -> httpx.Response:
        async with httpx.AsyncClient(transport=self._transport(), base_url="http://muster", timeout=PATIENCE) as client:
            return await client.request(method, path, params=params, json=body)

    def _keep_runbooks(self) -> None:
        """What is decided here may pin a version that no server has seen yet."""
        if self._muster is not None and not self._kept:
            muster, now = self._muster, self._muster.clock.now()
            muster.database.write(lambda tx: [runbook_versions.keep(tx, one, seen_at=now) for one in muster.library.all])
            self._kept = True

    def _transport(self) -> httpx.AsyncBaseTransport:
        if self._socket is not None:
            return httpx.AsyncHTTPTransport(uds=_reachable(self._socket))
        assert self._muster is not None
        if self._app is None:
            self._app = _as_me(Starlette(routes=list(api.routes(self._muster))))
        return httpx.ASGITransport(app=self._app)

    def close(self) -> None:
        """Let go of the database, where it was opened here."""
        if self._muster is not None:
            self._muster.stop()


def connect() -> Connection:
    """The server of the configured database, or the database itself; the demo's server where it runs and nothing else is configured.

    Raises:
        SettingsInvalid: the environment or the configuration cannot be used.
        NotReachable: there is no database yet.
    """
    settings = Settings.read()
    file = _file(settings.database_url)
    if file is None:
        return _opened(settings)
    if _answers(socket_beside(file)):
        return Connection(at=socket_beside(file))
    if not file.exists():
        if settings.config is None and _answers(socket_beside(DEMO)):
            return Connection(at=socket_beside(DEMO))
        raise NotReachable(
            f"There is no database at {file}. Start one with `muster serve` or `muster demo`, or name it in MUSTER_DATABASE_URL."
        )
    return _opened(settings)


def _opened(settings: Settings) -> Connection:
    logs.configure(level="warning", form="text")
    sys.stderr.write("No server answers here; the database is opened directly. What needs the engine waits until one is started.\n")
    return Connection(at=None, muster=serving.build(settings))


def _file(url: str) -> Path | None:
    """The file of an SQLite URL."""
    scheme, _, path = url.partition(":///")
    return Path(path) if scheme.startswith("sqlite") and path else None


def _answers(path: Path) -> bool:
    """Whether somebody listens there; a file that was left behind does not."""
    if not path.exists():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(_reachable(path))
        except OSError:
            return False
    return True


@cache
def _reachable(path: Path) -> str:
    """An address short enough for a socket, however deep the folder lies; the folder stays open until this process ends."""
    return short(os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), path.name)


def _as_me(app: ASGIApp) -> ASGIApp:
    """The application, asked by whoever runs this process."""

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, LOCAL_UID: os.getuid()}, receive, send)

    return asked


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _answered(answer: httpx.Response) -> Answered:
    try:
        error = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return Answered(answer.status_code, "unreadable", f"The server answered {answer.status_code} in a way that cannot be read.")
    return Answered(answer.status_code, error["reason"], error["text"])
