"""The HTTP door: intake, Slack's events, health and metrics, and whatever pages and API are handed in. One uvicorn server."""

import asyncio
from collections.abc import Sequence

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from bot.app import Muster
from bot.ingress import server as intake
from bot.slack.app import answer_http
from storage import tasks
from storage.errors import StorageError

LARGEST_SLACK_BODY = 1_000_000  # bytes; Slack's largest payload is a view of 250 kB


def application(muster: Muster, *, more: Sequence[BaseRoute] = ()) -> Starlette:
    """The whole ASGI application of one process."""
    configuration, secrets = muster.configuration, muster.secrets
    own = _Own(muster)
    return Starlette(
        routes=[
            *intake.routes(
                database=muster.database,
                sources=configuration.senders(secrets),
                change_sources=configuration.change_senders(secrets),
                clock=muster.clock,
                on_accepted=muster.engine.alerts_came,
                metrics=muster.intake_counters,
            ),
            Route("/slack/events", own.slack_events, methods=["POST"]),
            Route("/healthz", own.health),
            Route("/readyz", own.ready),
            Route("/metrics", own.metrics),
            *more,
        ]
    )


class _Own:
    def __init__(self, muster: Muster) -> None:
        self._muster = muster

    async def slack_events(self, request: Request) -> Response:
        """Bolt's HTTP mode. Dispatched in a thread: it blocks for one short transaction."""
        if self._muster.slack is None:
            return PlainTextResponse("Slack is not configured here: SLACK_BOT_TOKEN is not set.", status_code=404)
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_SLACK_BODY:
                return PlainTextResponse("This is larger than anything that Slack sends.", status_code=413)
        answer = await asyncio.to_thread(
            answer_http, self._muster.slack, body=bytes(body), headers=dict(request.headers), query=request.url.query
        )
        return Response(answer.body, status_code=answer.status, headers=dict(answer.headers), background=BackgroundTask(answer.after))

    async def health(self, _request: Request) -> Response:
        """Alive: the loops have reached the database lately. An orchestrator restarts a process that fails this."""
        deaf = self._muster.engine.deaf
        return JSONResponse({"ok": deaf is None, "trouble": deaf}, status_code=200 if deaf is None else 503)

    async def ready(self, _request: Request) -> Response:
        """Ready for traffic: the database answers. Slack being away is said and makes nobody unready (mission E5)."""
        try:
            backlog = await asyncio.to_thread(self._muster.database.read, tasks.backlog)
        except StorageError as error:
            return JSONResponse({"ready": False, "trouble": [str(error)]}, status_code=503)
        deaf = self._muster.engine.deaf
        said = {
            "ready": deaf is None,
            "trouble": [*([deaf] if deaf else []), *self._muster.degraded],
            "tasks": {"open": backlog.open, "dead": backlog.dead, "overdue_seconds": round(backlog.overdue_by, 3)},
            "slack": self._slack(),
        }
        return JSONResponse(said, status_code=200 if deaf is None else 503)

    def _slack(self) -> str:
        if self._muster.slack is None:
            return "not configured"
        if self._muster.socket is None:
            return "over HTTP"
        return "connected" if self._muster.socket.state.connected else "not connected"

    async def metrics(self, _request: Request) -> Response:
        """Prometheus' text format."""
        body = await asyncio.to_thread(generate_latest, self._muster.registry)
        return Response(body, media_type=CONTENT_TYPE_LATEST)
