"""`muster serve`: one process, from the environment to the last request, stopped by a signal."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import structlog
import uvicorn
from starlette.routing import BaseRoute

from bot import local, logs
from bot.app import Muster, load_library
from bot.configuration import Configuration, load
from bot.settings import Settings
from bot.web import application
from runbooks.errors import Problem, RunbookInvalid, SettingsInvalid

log = structlog.get_logger(__name__)

BACKLOG = 2048  # connections that wait to be accepted; uvicorn's own figure
DRAIN = 3  # seconds for open requests after a signal; the senders of alerts try again


def build(settings: Settings, *, configuration: Configuration | None = None) -> Muster:
    """Everything built and nothing started.

    Raises:
        SettingsInvalid: the configuration cannot be used.
        RunbookInvalid: no fallback runbook could be loaded, so that some alert would meet silence.
    """
    loaded = configuration or (load(settings.config) if settings.config else Configuration.default())
    library = load_library(settings)
    if library.fallback is None:
        raise RunbookInvalid(library.problems)
    for problem in library.problems:
        log.error("runbook.refused", problem=str(problem))
    return Muster(settings=settings, configuration=loaded, secrets=settings.secrets(), library=library)


Routes = Callable[[Muster], Sequence[BaseRoute]]
"""Pages and API: what else the same door offers."""


def serve(settings: Settings, *, more: Sequence[Routes] = ()) -> None:
    """Serve until SIGTERM or SIGINT: over TCP, and beside an embedded database over a Unix socket too."""
    logs.configure(level=settings.log_level, form=settings.log_format)
    muster = build(settings)
    muster.start()
    try:
        asyncio.run(_run(muster, settings, more))
    finally:
        muster.stop()


async def _run(muster: Muster, settings: Settings, more: Sequence[Routes]) -> None:
    app = application(muster, more=[route for routes in more for route in routes(muster)])
    config = uvicorn.Config(
        app,
        host=settings.http_host,
        port=settings.http_port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here believes a header about who the client is
        lifespan="off",
        timeout_graceful_shutdown=DRAIN,
    )
    servers = [uvicorn.Server(config)]
    with ExitStack() as stack:
        sockets = [[stack.enter_context(_bound(settings))]]
        if muster.database.dialect == "sqlite":
            servers.append(local.server(app, drain=DRAIN))
            sockets.append([stack.enter_context(local.listening(local.socket_beside(muster.database.file)))])
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _stop, servers)
        with contextlib.suppress(asyncio.CancelledError):
            # `serve` would install handlers of its own, which swallow the second signal
            await asyncio.gather(*(server._serve(sockets=given) for server, given in zip(servers, sockets, strict=True)))  # noqa: SLF001


def _bound(settings: Settings) -> socket.socket:
    """The door, opened here so that a taken port is a sentence and not a stack.

    Raises:
        SettingsInvalid: nobody can listen there.
    """
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    try:
        return socket.create_server((settings.http_host, settings.http_port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = f"{settings.http_host} port {settings.http_port} cannot be listened on: {os.strerror(error.errno or 0)}"
        raise SettingsInvalid([Problem(file="environment", field="MUSTER_HTTP_PORT", reason=reason)]) from error


def _stop(servers: Sequence[uvicorn.Server]) -> None:
    for server in servers:
        server.should_exit = True
