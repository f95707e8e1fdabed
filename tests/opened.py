"""A Muster that is built and not started: for what only reads and writes, without an engine, Slack or a network."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.testclient import TestClient

from bot import api, pages
from bot.access import LOCAL_UID, login_of
from bot.app import Muster, load_library
from bot.cli.demo import with_login
from bot.configuration import DEFAULT, load
from bot.settings import Settings

TOKENS = """
tokens:
  scripts: {secret: {env: TEST_TOKEN_BEN}, person: ben, may: write}
  eva: {secret: {env: TEST_TOKEN_EVA}, person: eva, may: write}
  dashboard: {secret: {env: TEST_TOKEN_READ}}
"""
BEN, EVA, READER = "ben-" + "b" * 40, "eva-" + "e" * 40, "read-" + "r" * 40
SECRETS = {"TEST_TOKEN_BEN": BEN, "TEST_TOKEN_EVA": EVA, "TEST_TOKEN_READ": READER, "MUSTER_SECRET_DEMO_ALERTS": "a" * 40}


def configured(text: str) -> str:
    """The built-in configuration with tokens, and with whoever runs the tests as Ben."""
    return with_login(text, login_of(os.getuid())) + TOKENS


@contextmanager
def opened(folder: Path, url: str, **environ: str) -> Iterator[Muster]:
    """A Muster over this database."""
    (folder / "muster.yaml").write_text(configured(DEFAULT.read_text()))
    environment = {"MUSTER_DATABASE_URL": url, "MUSTER_CONFIG": str(folder / "muster.yaml"), **SECRETS, **environ}
    settings = Settings.read({name: value for name, value in environment.items() if name.startswith("MUSTER_")})
    configuration = load(folder / "muster.yaml")
    muster = Muster(settings=settings, configuration=configuration, secrets=settings.secrets(environment), library=load_library(settings))
    muster.database.write(muster._prepare)
    try:
        yield muster
    finally:
        muster.stop()


def client(muster: Muster, *, token: str | None = None, uid: int | None = None, headers: Mapping[str, str] | None = None) -> TestClient:
    """A caller over TCP with or without a token, or over the Unix socket."""
    app: Any = Starlette(routes=[*api.routes(muster), *pages.routes(muster)])
    if uid is not None:
        inner = app

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await inner({**scope, LOCAL_UID: uid}, receive, send)

    sent = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
    return TestClient(app, base_url="http://127.0.0.1:8080", headers=sent, raise_server_exceptions=True)
