"""Structured logs with correlation: a task's key, an incident, a request; secrets never get in (mission J4, J5)."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from actions.redaction import redact

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(*, level: str, form: str) -> None:
    """Send our logs and the libraries' to standard error, as text for people or as JSON lines for machines."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _clean,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    if form == "json":
        last: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    # Bolt reads SLACK_BOT_TOKEN by itself and then says that it does not need it; it is the same token, and no news.
    logging.getLogger("muster.bolt").addFilter(lambda record: "`token` will be unused" not in record.getMessage())
    for noisy in ("httpx", "apscheduler", "uvicorn.access", "slack_bolt", "slack_sdk", "alembic", "httpx2", "pagerduty"):
        logging.getLogger(noisy).setLevel(max(_LEVELS[level], logging.WARNING))


def _clean(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Redact what looks like a secret in every text of an event (rules S18, S19)."""
    for key, value in event.items():
        if isinstance(value, str) and key not in {"level", "logger", "timestamp"}:
            event[key] = redact(value, limit=4000)
    return event
