"""The pages' door: who may read, what a browser may do with a page, and how one is drawn."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from bot.access import COOKIE, Access
from bot.app import Muster
from runbooks.duration import in_words
from runbooks.errors import NotFound
from storage.errors import StorageError

TEMPLATES = Path(__file__).parent / "templates"
THREADS = 4
LARGEST_FORM = 8_192  # bytes; a token and a path

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""No script, no foreign content, no frame: what an alert's text says can do nothing in a browser (rule S29)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request for a page, decoded."""

    muster: Muster
    path: Mapping[str, Any]
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A template with what it shows."""

    template: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file."""

    body: str
    media: str
    name: str


Page = Callable[[Asked], Shown | Download]
Answer = Callable[[Request], Awaitable[Response]]


class Door:
    """Answers requests for pages. Reading needs a token, except from this machine where only this machine can ask."""

    def __init__(self, muster: Muster, access: Access) -> None:
        self._muster, self._access = muster, access
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="pages")
        self._templates = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        self._templates.filters |= {"moment": moment, "clock": clock, "words": in_words, "day": day}

    async def front(self, _request: Request) -> Response:
        """The first page."""
        return RedirectResponse("/incidents", status_code=307)

    def shows(self, page: Page) -> Answer:
        """The answer to requests for one page."""

        async def answer(request: Request) -> Response:
            if not self._access.reader(request.scope, request.cookies.get(COOKIE)):
                return self._sign_in_first(request)
            asked = Asked(muster=self._muster, path=request.path_params, query=request.query_params)
            try:
                found = await asyncio.get_running_loop().run_in_executor(self._pool, page, asked)
            except NotFound as error:
                return self._said("Not there", str(error), 404)
            except StorageError as error:
                return self._said("Not readable now", str(error), 503)
            if isinstance(found, Download):
                named = {"Content-Disposition": f'attachment; filename="{found.name}"'}
                return Response(found.body, media_type=found.media, headers={**HEADERS, **named})
            return self._drawn(found)

        return answer

    async def sign_in(self, request: Request) -> Response:
        """Keep a token in a cookie that no script can read, for reading pages; it opens nothing that changes anything."""
        if request.method == "GET":
            return self._form(_path_of(request.query_params.get("to", "")))
        body = await _form_of(request)
        to = _path_of(body.get("to", ""))
        if self._access.of_token(body.get("token", "").strip()) is None:
            return self._form(to, wrong=True)
        answer = RedirectResponse(to, status_code=303, headers=HEADERS)
        secure = urlsplit(self._muster.settings.public_url).scheme == "https"
        answer.set_cookie(COOKIE, body["token"].strip(), httponly=True, samesite="strict", secure=secure, max_age=12 * 3600)
        return answer

    def _form(self, to: str, *, wrong: bool = False) -> Response:
        shown = Shown(template="sign_in.html", title="Sign in", values={"to": to, "wrong": wrong})
        return self._drawn(shown, status=401 if wrong else 200)

    def _sign_in_first(self, request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse(f"/sign-in?to={quote(request.url.path)}", status_code=303, headers=HEADERS)
        return self._said("Sign in", "Reading needs a token: Authorization: Bearer …, or sign in at /sign-in.", 401)

    def _said(self, title: str, text: str, status: int) -> Response:
        return self._drawn(Shown(template="said.html", title=title, values={"text": text}), status=status)

    def _drawn(self, shown: Shown, *, status: int = 200) -> Response:
        template = self._templates.get_template(shown.template)
        body = template.render(title=shown.title, trouble=self._muster.degraded, **shown.values)
        return HTMLResponse(body, status_code=status, headers=HEADERS)


def moment(at: datetime | None) -> str:
    """A time with its day, in UTC."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def clock(at: datetime | None) -> str:
    """A time of day, in UTC."""
    return "" if at is None else f"{at:%H:%M:%S}"


def day(at: datetime | None) -> str:
    """A day, in UTC."""
    return "" if at is None else f"{at:%Y-%m-%d}"


def _path_of(text: str) -> str:
    """A path on this server and nothing else: no other host can be reached by it."""
    return text if text.startswith("/") and not text.startswith(("//", "/\\")) else "/incidents"


async def _form_of(request: Request) -> dict[str, str]:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_FORM:
            return {}
    return {name: values[0] for name, values in parse_qs(bytes(body).decode("utf-8", errors="replace")).items()}
