"""The server: routes, bodies and answers around the workspace. ``create_app`` builds everything once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from bot.workspace import answering, bodies
from bot.workspace import manifest as manifests
from bot.workspace.chaos import Chaos
from bot.workspace.client import POSTS, Client
from bot.workspace.delivery import Carrier, Postman
from bot.workspace.guard import Guard
from bot.workspace.hub import Listener
from bot.workspace.interactions import Interactions
from bot.workspace.limits import RATES
from bot.workspace.methods import registry
from bot.workspace.methods.surfaces import FILE_BYTES
from bot.workspace.protocol import Clock, Json, RateLimited, SlackError, Timing
from bot.workspace.signed_http import SignedHttp
from bot.workspace.socket_mode import Sockets
from bot.workspace.state import Workspace

_IMAGES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif"}


def create_app(
    *,
    data_dir: Path,
    manifest: Path | Mapping[str, Any],
    events_url: str | None = None,
    rates: str = "slack",
    clock: Clock = time.time,
    timing: Timing | None = None,
    public_url: str | None = None,
    hosts: Collection[str] = (),
) -> Starlette:
    """Build the workspace and its ASGI app.

    ``data_dir`` holds all state and is made when missing. With ``events_url`` the app is reached by signed HTTP at that
    URL, else by Socket Mode. ``rates`` is slack, harsh or off. ``public_url`` is used in links the app is given (default:
    the address each request came to); ``hosts`` are further names this server answers to.

    Raises:
        ManifestInvalid: the manifest breaks a rule of Slack's schema.
    """
    loaded = manifests.load(manifest)
    ws = Workspace(data_dir=data_dir, manifest=loaded, clock=clock, timing=timing or Timing(), rates=RATES[rates])
    sockets = Sockets(ws=ws)
    http = SignedHttp(ws=ws, url=events_url) if events_url else None
    carrier: Carrier = http or sockets
    server = Server(ws=ws, sockets=sockets, carrier=carrier, public_url=public_url)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        postman = asyncio.create_task(Postman(ws=ws, carrier=carrier).run())
        yield
        postman.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await postman
        ws.hub.close()
        await sockets.close()
        if http is not None:
            await http.close()
        ws.db.close()

    own = [urlsplit(public_url).hostname or ""] if public_url else []
    app = Starlette(routes=server.routes(), lifespan=lifespan, middleware=[Middleware(Guard, hosts=[*hosts, *own])])
    app.state.workspace = ws
    return app


class Server:
    """Turns requests into calls of the workspace, and refusals into answers."""

    def __init__(self, *, ws: Workspace, sockets: Sockets, carrier: Carrier, public_url: str | None) -> None:
        self._ws = ws
        self._sockets = sockets
        self._public_url = public_url
        self._chaos = Chaos()
        interactions = Interactions(ws=ws, carrier=carrier)
        self._client = Client(ws=ws, interactions=interactions, admin=self._administer)

    def routes(self) -> list[Route | WebSocketRoute | Mount]:
        """Every address this server answers."""
        static = Path(__file__).with_name("static")
        return [
            Route("/healthz", self.health),
            Route("/api/{method}", self.api, methods=["GET", "POST"]),
            Route("/actions/{url_id:path}", self.response_url, methods=["POST"]),
            Route("/upload/v1/{secret}", self.upload, methods=["POST", "PUT"]),
            Route("/files-pri/{file_id}/{name}", self.file),
            Route("/archives/{channel}/p{ts:int}", self.archive),
            Route("/client/boot", self._get(lambda user, _: self._client.boot(user))),
            Route("/client/messages", self._get(self._client.messages)),
            Route("/client/view", self._get(lambda user, _: self._client.view(user))),
            Route("/client/admin", self.admin_state),
            Route("/client/{what:path}", self.client, methods=["POST"]),
            WebSocketRoute("/client/socket", self.window),
            WebSocketRoute("/link/", self._sockets.serve),
            WebSocketRoute("/link", self._sockets.serve),
            Mount("/", StaticFiles(directory=static, html=True, check_dir=False)),
        ]

    def _base_url(self, request: Request) -> str:
        return self._public_url or str(request.base_url).rstrip("/")

    async def health(self, request: Request) -> Response:
        """Up, and how many connections the app has."""
        del request
        return JSONResponse({"ok": True, "connections": self._sockets.count, "waiting": self._ws.outbox.waiting()})

    async def api(self, request: Request) -> Response:
        """One Web API method, unless a spell of chaos strikes it."""
        spell = self._chaos.strikes(request.path_params["method"])
        mode = spell.mode if spell is not None else "none"
        if spell is not None and mode == "slow":
            await asyncio.sleep(spell.seconds)
        if mode == "error_500":
            return PlainTextResponse("internal error", status_code=500)
        if mode == "ratelimited":
            return self._refused(RateLimited(1))
        answer = await self._call(request)
        return PlainTextResponse("internal error", status_code=500) if mode == "succeed_but_500" else answer

    async def _call(self, request: Request) -> Response:
        try:
            args = await bodies.arguments(request)
            token = bodies.bearer(request) or args.pop("token", None)
            args.pop("token", None)
            name, base_url = request.path_params["method"], self._base_url(request)
            body = registry.run(self._ws, name=name, args=args, token=token, base_url=base_url)
        except bodies.BodyTooLarge:
            return JSONResponse({"ok": False, "error": "request_too_large"}, status_code=413)
        except SlackError as refusal:
            return self._refused(refusal)
        return JSONResponse(body, headers={"x-oauth-scopes": ",".join(self._ws.manifest.scopes)})

    def _refused(self, refusal: SlackError) -> Response:
        self._ws.counters[f"refused {refusal.code}"] += 1
        if isinstance(refusal, RateLimited):
            return JSONResponse(refusal.body(), status_code=429, headers={"retry-after": str(refusal.retry_after)})
        return JSONResponse(refusal.body())

    async def response_url(self, request: Request) -> Response:
        """The app answers an interaction later."""
        try:
            body = bodies.json_object(await bodies.read(request, bodies.BODY_BYTES))
            with self._ws.transaction():
                answering.answer_by_url(self._ws, request.path_params["url_id"], body)
        except bodies.BodyTooLarge:
            return PlainTextResponse("invalid_payload", status_code=400)
        except RateLimited as refusal:
            return self._refused(refusal)
        except SlackError as refusal:
            self._ws.counters[f"refused {refusal.code}"] += 1
            status = 404 if refusal.code in ("expired_url", "used_url") else 400
            return JSONResponse(refusal.body(), status_code=status)
        return PlainTextResponse("ok")

    async def upload(self, request: Request) -> Response:
        """The content of one file, raw or as the first part of a form."""
        file = self._ws.surfaces.file_by_secret(request.path_params["secret"])
        if file is None or file["complete"]:
            return PlainTextResponse("unknown upload", status_code=404)
        try:
            content = bodies.file_content(request, await bodies.read(request, FILE_BYTES + 10_000))
        except bodies.BodyTooLarge:
            return PlainTextResponse("too large", status_code=413)
        if len(content) != file["size"]:
            return PlainTextResponse(f"expected {file['size']} bytes, got {len(content)}", status_code=400)
        folder = self._ws.data_dir / "files"
        await asyncio.to_thread(bodies.store, folder / file["id"], content)
        with self._ws.transaction():
            self._ws.surfaces.put_file({**file, "uploaded": True}, secret=request.path_params["secret"])
        return PlainTextResponse(f"OK - {len(content)}")

    async def file(self, request: Request) -> Response:
        """The content of a completed file; only pictures are shown, all else is downloaded."""
        file = self._ws.surfaces.file(request.path_params["file_id"].rpartition("-")[2])
        if file is None or not file["complete"]:
            return PlainTextResponse("no such file", status_code=404)
        image = _IMAGES.get(file["filetype"]) if "download" not in request.query_params else None
        return FileResponse(
            self._ws.data_dir / "files" / file["id"],
            media_type=image or "application/octet-stream",
            filename=file["name"],
            content_disposition_type="inline" if image else "attachment",
            headers={"x-content-type-options": "nosniff"},
        )

    async def archive(self, request: Request) -> Response:
        """A permalink leads to the message in the browser front."""
        micros = request.path_params["ts"]
        ts = f"{micros // 1_000_000}.{micros % 1_000_000:06d}"
        return RedirectResponse(f"/#/channel/{request.path_params['channel']}/{ts}")

    def _get(self, read: Callable[[str, Mapping[str, str]], Json]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                return JSONResponse(read(self._person(request, {}), request.query_params))
            except SlackError as refusal:
                return JSONResponse(refusal.body(), status_code=400)
            except ValueError:
                return JSONResponse({"ok": False, "error": "invalid_arguments"}, status_code=400)

        return answer

    async def client(self, request: Request) -> Response:
        """One thing a person does in the browser. JSON only, so that no foreign form can send it."""
        post = POSTS.get(request.path_params["what"])
        if post is None:
            return JSONResponse({"ok": False, "error": "unknown_method"}, status_code=404)
        if not request.headers.get("content-type", "").startswith("application/json"):
            return JSONResponse({"ok": False, "error": "invalid_content_type"}, status_code=415)
        try:
            body = bodies.json_object(await bodies.read(request, bodies.BODY_BYTES))
            user = "" if request.path_params["what"] == "admin" else self._person(request, body)
            return JSONResponse(await post(self._client, user, body, self._base_url(request)))
        except bodies.BodyTooLarge:
            return JSONResponse({"ok": False, "error": "request_too_large"}, status_code=413)
        except SlackError as refusal:
            return JSONResponse(refusal.body(), status_code=400)

    def _person(self, request: Request, body: Json) -> str:
        user = body.get("user") or request.query_params.get("user") or request.headers.get("user")
        found = self._ws.rooms.user(str(user))
        if found is None or found["is_bot"]:
            raise SlackError("user_not_found")
        return str(user)

    async def admin_state(self, request: Request) -> Response:
        """What tests and the curious want to know."""
        del request
        return JSONResponse(self._report())

    def _report(self) -> Json:
        rates = self._ws.limiter.rates.name
        return {
            "ok": True,
            "harsh": rates == "harsh",
            "rates": rates,
            "connections": self._sockets.count,
            "waiting_events": self._ws.outbox.waiting(),
            "chaos": {"mode": self._chaos.spell.mode, "count": self._chaos.spell.count},
            "counters": dict(sorted(self._ws.counters.items())),
        }

    async def _administer(self, body: Json) -> Json:
        if isinstance(body.get("chaos"), dict):
            self._chaos.cast(body["chaos"])
        reason = body.get("disconnect")
        if reason == "drop":
            await self._sockets.close()
        elif reason in ("warning", "refresh_requested", "link_disabled"):
            await self._sockets.ask_to_reconnect(str(reason))
        return self._report()

    async def window(self, socket: WebSocket) -> None:
        """Push what happens to one browser window."""
        user = socket.query_params.get("user", "")
        known = self._ws.rooms.user(user)
        if known is None or known["is_bot"]:
            await socket.close(code=4404)
            return
        await socket.accept()
        listener = self._ws.hub.join(user)
        writer = asyncio.create_task(_write(socket, listener, seq=self._ws.hub.seq))
        try:
            while True:
                await socket.receive()
                if socket.client_state.name == "DISCONNECTED":
                    break
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            self._ws.hub.leave(listener)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer


async def _write(socket: WebSocket, listener: Listener, *, seq: int) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await socket.send_json({"type": "hello", "seq": seq})
        while (event := await listener.queue.get()) is not None:
            await socket.send_json(event)
        await socket.close(code=1012)
