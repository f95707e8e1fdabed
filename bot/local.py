"""The Unix socket beside an embedded database: the same application, for whoever is on this machine and may open the file.

The kernel says who connects (SO_PEERCRED, unix(7)), so no token is needed; the file's mode 0600 keeps everybody else out.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from bot.access import LOCAL_UID

NAME = "muster.sock"
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class PeerProtocol(H11Protocol):
    """HTTP that knows which user is at the other end of the socket."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask the kernel, once for each connection; it is what the peer was when it connected."""
        super().connection_made(transport)
        raw = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(raw)
        self.client = ("unix", uid)


class LocalDoor:
    """Marks requests of the Unix socket with their user id. It wraps the application for that server only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, marked."""
        marked: dict[str, Any] = {**scope, LOCAL_UID: scope["client"][1]}
        await self._app(marked, receive, send)


def server(app: ASGIApp, *, drain: int) -> uvicorn.Server:
    """The server for the socket. Proxy headers are off: they would let a header say who the client is."""
    config = uvicorn.Config(
        LocalDoor(app),
        http=PeerProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        timeout_graceful_shutdown=drain,
    )
    return uvicorn.Server(config)


def socket_beside(database_file: Path) -> Path:
    """Where the server of this database listens."""
    return database_file.parent / NAME


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A bound socket that only its owner may open, and that is gone afterwards. A stale one is removed first.

    The caller holds the lock on the database beside it, so whatever lies there belongs to a process that has ended.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            path.unlink()
        opened.bind(short(folder, path.name))
        path.chmod(0o600)  # before anybody can connect: nobody listens yet
        yield opened
    finally:
        opened.close()
        os.close(folder)
        with suppress(FileNotFoundError):
            path.unlink()


def short(folder: int, name: str) -> str:
    """The same file by an open folder: a socket's address may be 107 bytes long, a path may be longer (unix(7))."""
    return f"/proc/self/fd/{folder}/{name}"
