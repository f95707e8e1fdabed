"""The service as an ASGI application: routes, errors as JSON, chaos, and the door that keeps web pages out."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .announcing import Announcer
from .api import Api
from .bodies import BodyRefused
from .chaos import Misbehaving
from .errors import Unacceptable, UnknownThing, VersionConflict
from .hosting import Harbour
from .notifying import Notifier
from .promql import QueryRefused

_LOG = logging.getLogger(__name__)
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def create_app(
    harbour: Harbour,
    *,
    alerts_url: str | None = None,
    alerts_token: str | None = None,
    changes_url: str | None = None,
    page_url: str = "http://127.0.0.1:8090/",
    allowed_hosts: frozenset[str] = LOOPBACK,
) -> ASGIApp:
    """Return the service over these worlds; while it runs, alerts of the main world go to `alerts_url` and its changes to `changes_url`.

    `allowed_hosts` are the names under which it may be called: a web page can neither reach it through a name of its own (DNS
    rebinding) nor post to it from elsewhere (the Origin must be the service itself).
    """
    api = Api(harbour, page_url=page_url)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
            notifier = None
            if alerts_url is not None:
                notifier = Notifier(harbour.main, url=alerts_url, client=client, page=page_url, token=alerts_token)
            work = [asyncio.create_task(notifier.run() if notifier else _live(harbour))]
            if changes_url is not None:
                work.append(asyncio.create_task(Announcer(harbour.main, url=changes_url, client=client, token=alerts_token).run()))
            yield
            for task in work:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        harbour.close()

    app = Misbehaving(Starlette(routes=api.routes(), lifespan=lifespan, exception_handlers=dict(_HANDLERS)))
    api.chaos = app
    return Guarded(app, allowed_hosts=allowed_hosts)


class Guarded:
    """Refuses calls under foreign names and writes from foreign pages."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: frozenset[str]) -> None:
        self._app, self._allowed = app, allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, or answer 403 with the reason."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        answer: ASGIApp = self._app if refusal is None else JSONResponse({"error": "forbidden", "reason": refusal}, status_code=403)
        await answer(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        try:
            if urlsplit(f"//{host}").hostname not in self._allowed:
                return f"this service is not called {host!r}; allow the name with --allow-host"
            if origin is not None and scope["method"] not in {"GET", "HEAD"} and urlsplit(origin).netloc != host:
                return f"pages of {origin!r} may not change this service"
        except ValueError:
            return "host or origin cannot be read"
        return None


async def _live(harbour: Harbour) -> None:
    """Let the main world keep pace even when nobody looks; resolved alerts that nobody receives go after ten minutes."""
    while True:
        try:
            now = harbour.main.catch_up().now.timestamp()
            if harbour.main.book is not None:
                harbour.main.book.forget_resolved(before=now - 600.0)
        except Exception:  # noqa: BLE001 (an outermost loop: the world must not stand still after one failure)
            _LOG.exception("the main world did not advance")
        await asyncio.sleep(1.0)


async def _unknown(_: Request, problem: Exception) -> Response:
    return JSONResponse({"error": "not_found", "reason": str(problem)}, status_code=404)


async def _conflict(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, VersionConflict)
    return JSONResponse({"error": "version_conflict", "reason": str(problem), "current": problem.current}, status_code=409)


async def _unacceptable(_: Request, problem: Exception) -> Response:
    return JSONResponse({"error": "unacceptable", "reason": str(problem)}, status_code=422)


async def _invalid(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, ValidationError)
    reasons = [f"{'.'.join(str(part) for part in one['loc']) or 'body'}: {one['msg']}" for one in problem.errors(include_url=False)]
    return JSONResponse({"error": "unacceptable", "reason": "; ".join(reasons)}, status_code=422)


async def _body(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, BodyRefused)
    return JSONResponse({"error": "bad_body", "reason": str(problem)}, status_code=problem.status)


async def _query(_: Request, problem: Exception) -> Response:
    return JSONResponse({"status": "error", "errorType": "bad_data", "error": str(problem)}, status_code=400)


_HANDLERS = {
    UnknownThing: _unknown,
    VersionConflict: _conflict,
    Unacceptable: _unacceptable,
    ValidationError: _invalid,
    BodyRefused: _body,
    QueryRefused: _query,
}
