"""Misbehaviour on request, so that what Muster does about a broken far side can be tested at the wire."""

import asyncio
import re
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The page, the switch itself and the process's health stay reachable, whatever is broken.
_SPARED = re.compile(r"/|/(chaos|state|healthz)|/static/.*")
_OF_A_WORLD = re.compile(r"/worlds/[^/]+(/.*)")


class Chaos(BaseModel):
    """How the next `count` requests below `path_prefix` are treated (none: until changed). `seconds` is for `slow`.

    `error_500` answers without acting, `succeed_but_500` acts and then answers 500, `reset` closes the connection, `hang` never answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["none", "error_500", "hang", "reset", "succeed_but_500", "slow"] = "none"
    count: int | None = Field(default=None, ge=0)
    path_prefix: str = "/"
    seconds: float = Field(default=5.0, ge=0, le=120)


class Misbehaving:
    """The service with its present chaos around it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.chaos = Chaos()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or fail as ordered."""
        mode = self._mode(scope)
        if mode == "error_500":
            await JSONResponse({"error": "chaos", "reason": "error_500 was ordered"}, status_code=500)(scope, receive, send)
        elif mode == "hang":
            while (await receive())["type"] != "http.disconnect":
                pass
        elif mode == "reset":
            await _reset(send)
        elif mode == "succeed_but_500":
            await self._app(scope, receive, _spoilt(send))
        else:
            if mode == "slow":
                await asyncio.sleep(self.chaos.seconds)
            await self._app(scope, receive, send)

    def _mode(self, scope: Scope) -> str:
        if scope["type"] != "http" or self.chaos.mode == "none" or not _concerned(scope, self.chaos.path_prefix):
            return "none"
        mode = self.chaos.mode
        if self.chaos.count is not None:
            left = self.chaos.count - 1
            self.chaos = self.chaos.model_copy(update={"count": left}) if left > 0 else Chaos()
            return mode if left >= 0 else "none"
        return mode


def _concerned(scope: Mapping[str, object], prefix: str) -> bool:
    path = str(scope["path"])
    inner = _OF_A_WORLD.fullmatch(path)
    return not _SPARED.fullmatch(path) and (path.startswith(prefix) or (inner is not None and inner.group(1).startswith(prefix)))


def _spoilt(send: Send) -> Send:
    """The answer's status becomes 500; its body stays, as a proxy that lost its head would have it."""

    async def spoil(message: Message) -> None:
        await send({**message, "status": 500} if message["type"] == "http.response.start" else message)

    return spoil


async def _reset(send: Send) -> None:
    """Drop the connection without an answer. uvicorn's `send` is a method of the cycle that owns the transport."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionResetError("reset was ordered")
    transport.abort()
    await asyncio.sleep(0.05)
