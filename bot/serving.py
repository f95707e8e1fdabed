"""`muster serve`: one process, from the environment to the last request, stopped by a signal."""

import asyncio
import contextlib
import signal
from collections.abc import Sequence

import structlog
import uvicorn
from starlette.routing import BaseRoute

from bot import logs
from bot.app import Muster, load_library
from bot.configuration import Configuration, load
from bot.settings import Settings
from bot.web import application
from runbooks.errors import RunbookInvalid

log = structlog.get_logger(__name__)

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


def serve(settings: Settings, *, more: Sequence[BaseRoute] = ()) -> None:
    """Serve until SIGTERM or SIGINT."""
    logs.configure(level=settings.log_level, form=settings.log_format)
    muster = build(settings)
    muster.start()
    try:
        asyncio.run(_run(muster, settings, more))
    finally:
        muster.stop()


async def _run(muster: Muster, settings: Settings, more: Sequence[BaseRoute]) -> None:
    config = uvicorn.Config(
        application(muster, more=more),
        host=settings.http_host,
        port=settings.http_port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=DRAIN,
    )
    server = uvicorn.Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: setattr(server, "should_exit", True))
    with contextlib.suppress(asyncio.CancelledError):
        await server._serve()  # noqa: SLF001 - `serve` would install handlers of its own, which swallow the second signal
