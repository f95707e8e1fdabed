"""The JSON API under /api/v1: for scripts, other tools, and the command line. Described by itself at /api/v1/openapi.json."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from bot.access import Access
from bot.api import actions, cleanup, drills, evidence, incidents, operation, proposals, records, runbooks
from bot.api.endpoint import PREFIX, Door, Endpoint, failure
from bot.api.openapi import describe
from bot.app import Muster

ENDPOINTS: tuple[Endpoint, ...] = (
    *incidents.ENDPOINTS,
    *records.ENDPOINTS,
    *evidence.ENDPOINTS,
    *actions.ENDPOINTS,
    *cleanup.ENDPOINTS,
    *proposals.ENDPOINTS,
    *drills.ENDPOINTS,
    *runbooks.ENDPOINTS,
    *operation.ENDPOINTS,
)
"""Everything that the API can do, in the order of its description."""

THREADS = 8
"""Requests at work at one time: each is a short transaction, or waits for a plan. They never take the intake's threads."""


def routes(muster: Muster) -> Sequence[BaseRoute]:
    """The API's routes over a running, or only opened, Muster."""
    access = access_of(muster)
    offered = [endpoint for endpoint in ENDPOINTS if endpoint.offered(muster)]
    description = cache(lambda: describe(offered))  # takes a second to make, and few ask
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="api")

    async def described(_request: Request) -> Response:
        return JSONResponse(await asyncio.get_running_loop().run_in_executor(pool, description))

    async def unknown(request: Request) -> Response:
        text = f"There is no {request.method} {request.url.path}; {PREFIX}/openapi.json says what there is."
        return failure(404, "unknown_route", text)

    return [
        Route(f"{PREFIX}/openapi.json", described),
        *(Route(f"{PREFIX}{one.path}", Door(one, muster, access, pool).answer, methods=[one.method]) for one in offered),
        Route(PREFIX + "/{rest:path}", unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]


def access_of(muster: Muster) -> Access:
    """Who may do what at this server's door."""
    return Access(
        configuration=muster.configuration,
        tokens=muster.configuration.tokens(muster.secrets),
        bound_to=muster.settings.http_host,
        public_url=muster.settings.public_url,
    )
