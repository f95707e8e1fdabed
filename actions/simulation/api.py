"""The routes: each decodes, asks one world, answers. Errors are answered by server.py."""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from . import prometheus_api
from .alerts import RULES
from .bodies import Advance, BodyRefused, Break, Mend, NewWorld, Put, read
from .chaos import Chaos, Misbehaving
from .errors import Unacceptable, UnknownThing
from .exchanges import exchanges
from .hosting import Harbour, Hosted
from .logs import lines
from .overview import faults, overview, releases
from .world import World

_STATIC = Path(__file__).parent / "static"


class Api:
    """Handlers over the worlds of one process; `chaos` is set by whoever wraps the application."""

    def __init__(self, harbour: Harbour, *, page_url: str) -> None:
        self._harbour, self._page_url = harbour, page_url
        self.chaos: Misbehaving | None = None

    def routes(self) -> list[Route | Mount]:
        """Return every route of the process."""
        return [
            Route("/", self.page),
            Route("/healthz", self.health),
            Route("/chaos", self.show_chaos, methods=["GET"]),
            Route("/chaos", self.set_chaos, methods=["POST"]),
            Route("/worlds", self.list_worlds, methods=["GET"]),
            Route("/worlds", self.create_world, methods=["POST"]),
            Route("/worlds/{world}", self.show_world, methods=["GET"]),
            Route("/worlds/{world}", self.delete_world, methods=["DELETE"]),
            Mount("/static", StaticFiles(directory=_STATIC)),
            Mount("/worlds/{world}", routes=[Route("/", self.page), *self._of_a_world()]),
            *self._of_a_world(),
        ]

    def _of_a_world(self) -> list[Route]:
        return [
            Route("/state", self.state),
            Route("/log", self.log),
            Route("/exchanges", self.exchanges),
            Route("/metrics", self.metrics),
            Route("/targets", self.list_targets),
            Route("/targets/{kind}/{name:path}", self.show_target, methods=["GET"]),
            Route("/targets/{kind}/{name:path}", self.put_target, methods=["PUT"]),
            Route("/releases/{unit}", self.show_releases),
            Route("/changes", self.show_changes),
            Route("/rules", self.show_rules),
            Route("/faults", self.show_faults, methods=["GET"]),
            Route("/faults", self.start_fault, methods=["POST"]),
            Route("/faults/{kind}", self.end_fault, methods=["DELETE"]),
            Route("/mend", self.mend, methods=["POST"]),
            Route("/clock", self.clock, methods=["GET"]),
            Route("/clock/advance", self.advance, methods=["POST"]),
            Route("/api/v1/query", self.query, methods=["GET", "POST"]),
            Route("/api/v1/query_range", self.query_range, methods=["GET", "POST"]),
            Route("/api/v1/label/__name__/values", self.metric_names),
        ]

    # ---- reading

    async def page(self, request: Request) -> Response:
        self._hosted(request)
        return FileResponse(_STATIC / "index.html")

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "now": self._harbour.main.catch_up().now.isoformat()})

    async def state(self, request: Request) -> Response:
        return JSONResponse(overview(self._hosted(request), address=self._page_url))

    async def log(self, request: Request) -> Response:
        limit = _whole(request.query_params.get("limit"), otherwise=50, most=500)
        stage = request.query_params.get("stage", "app")
        return JSONResponse({"stage": stage, "lines": lines(self._world(request), stage, limit=limit)})

    async def exchanges(self, request: Request) -> Response:
        limit = _whole(request.query_params.get("limit"), otherwise=50, most=500)
        return JSONResponse({"exchanges": exchanges(self._world(request), limit=limit)})

    async def metrics(self, request: Request) -> Response:
        stamped = request.query_params.get("timestamps", "0") not in {"", "0", "false"}
        text = self._world(request).metrics.exposition(timestamps=stamped)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def list_targets(self, request: Request) -> Response:
        world = self._world(request)
        return JSONResponse([world.register.view(path) for path in world.register.targets])

    async def show_target(self, request: Request) -> Response:
        return JSONResponse(self._world(request).register.view(_path(request)))

    async def show_releases(self, request: Request) -> Response:
        world, unit = self._world(request), request.path_params["unit"]
        if unit not in world.register.releases:
            raise UnknownThing(f"no release unit {unit!r}; there are {', '.join(world.register.releases)}")
        return JSONResponse({"unit": unit, "running": world.register.running(unit).version, "versions": releases(world, unit)})

    async def show_changes(self, request: Request) -> Response:
        later = _later_than(request.query_params.get("since", ""))
        return JSONResponse({"changes": [change for change in self._world(request).register.changes if later(change)]})

    async def show_rules(self, _: Request) -> Response:
        rules = [
            {"alert": one.name, "expr": one.expression, "for": f"{one.after:g}s", "severity": one.severity, "team": one.team}
            for one in RULES
        ]
        return JSONResponse({"rules": rules})

    async def show_faults(self, request: Request) -> Response:
        return JSONResponse({"faults": faults(self._world(request))})

    async def clock(self, request: Request) -> Response:
        hosted = self._hosted(request)
        return JSONResponse({"now": hosted.now().isoformat(), "speed": hosted.speed})

    async def query(self, request: Request) -> Response:
        world = self._world(request)
        return _success(prometheus_api.query(await _parameters(request), world.metrics, now=world.now.timestamp()))

    async def query_range(self, request: Request) -> Response:
        return _success(prometheus_api.query_range(await _parameters(request), self._world(request).metrics))

    async def metric_names(self, request: Request) -> Response:
        return _success(self._world(request).metrics.names())

    # ---- changing

    async def put_target(self, request: Request) -> Response:
        put = await read(request, Put)
        return JSONResponse(self._hosted(request).do({"do": "put", "path": _path(request), **put.model_dump()}))

    async def start_fault(self, request: Request) -> Response:
        wanted = await read(request, Break)
        hosted = self._hosted(request)
        hosted.do({"do": "fault", **wanted.model_dump()})
        return JSONResponse(next(one for one in faults(hosted.world) if one["kind"] == wanted.kind), status_code=201)

    async def end_fault(self, request: Request) -> Response:
        kind = request.path_params["kind"]
        self._hosted(request).do({"do": "mend", "kind": kind, "by": request.query_params.get("by", "operator")})
        return JSONResponse({"kind": kind, "active": None})

    async def mend(self, request: Request) -> Response:
        wanted = await read(request, Mend)
        hosted = self._hosted(request)
        hosted.do({"do": "mend", "kind": None, "by": wanted.by})
        if wanted.reset:
            hosted.do({"do": "reset", "by": wanted.by})
        return JSONResponse({"faults": faults(hosted.world)})

    async def advance(self, request: Request) -> Response:
        wanted = await read(request, Advance)
        hosted = self._hosted(request)
        hosted.skip(wanted.seconds)
        for name in self._harbour.names() if wanted.worlds and hosted is self._harbour.main else ():
            self._harbour.world(name).skip(wanted.seconds)
        return JSONResponse({"now": hosted.world.now.isoformat(), "speed": hosted.speed})

    async def set_chaos(self, request: Request) -> Response:
        assert self.chaos is not None
        self.chaos.chaos = await read(request, Chaos)
        return JSONResponse(self.chaos.chaos.model_dump())

    async def show_chaos(self, _: Request) -> Response:
        assert self.chaos is not None
        return JSONResponse(self.chaos.chaos.model_dump())

    async def list_worlds(self, _: Request) -> Response:
        return JSONResponse({"worlds": [self._described(name) for name in self._harbour.names()]})

    async def create_world(self, request: Request) -> Response:
        wanted = await read(request, NewWorld)
        plan = {"seed": wanted.seed, "replicas": wanted.replicas, "arrival_rate": wanted.arrival_rate}
        created = self._harbour.create(wanted.id, fault=wanted.event(), **plan)
        return JSONResponse(self._described(wanted.id), status_code=201 if created else 200)

    async def show_world(self, request: Request) -> Response:
        return JSONResponse(self._described(request.path_params["world"]))

    async def delete_world(self, request: Request) -> Response:
        self._harbour.delete(request.path_params["world"])
        return Response(status_code=204)

    def _described(self, name: str) -> dict[str, Any]:
        hosted = self._harbour.world(name)
        world = hosted.catch_up()
        active = [one["kind"] for one in faults(world) if one["active"]]
        plan = world.plan.model_dump(mode="json", include={"seed", "replicas", "arrival_rate", "origin_at"})
        return {"id": name, "path": f"/worlds/{name}/", "now": world.now.isoformat(), "speed": hosted.speed, "faults": active, **plan}

    def _hosted(self, request: Request) -> Hosted:
        return self._harbour.world(request.path_params.get("world"))

    def _world(self, request: Request) -> World:
        return self._hosted(request).catch_up()


def _path(request: Request) -> str:
    return f"{request.path_params['kind']}/{request.path_params['name']}"


def _success(data: object) -> Response:
    return JSONResponse({"status": "success", "data": data})


def _whole(text: str | None, *, otherwise: int, most: int) -> int:
    if text is None:
        return otherwise
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise Unacceptable(f"a whole number from 1 to {most} belongs here, not {text!r}")
    return int(text)


def _later_than(since: str) -> Callable[[Mapping[str, Any]], bool]:
    """`since` is a change's number or id, or a time; without it every change is meant."""
    number = since.removeprefix("change-")
    if not since or number.isdecimal():
        return lambda change: change["number"] > int(number or 0)
    try:
        # A plus in a query string arrives as a blank.
        moment = datetime.fromisoformat(since.replace(" ", "+"))
    except ValueError:
        raise Unacceptable(f"since is the number of a change or a time with zone, not {since!r}") from None
    if moment.tzinfo is None:
        raise Unacceptable(f"since {since!r} has no time zone")
    return lambda change: datetime.fromisoformat(change["at"]) > moment


async def _parameters(request: Request) -> dict[str, str]:
    """Query parameters, joined by those of a form as Prometheus' clients post it."""
    found = dict(request.query_params)
    if request.method == "POST":
        body = await request.body()
        if len(body) > 64 * 1024:
            raise BodyRefused("the query is too long", status=413)
        found |= dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    return found
