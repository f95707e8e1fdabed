"""The limits of this machine: an endpoint that only parses, one that also appends durably, and Muster's intake without the rest of Muster.

`python -m tests.bench.bare MODE --port N --database URL`, each a process of its own, so that none shares an interpreter with another.
"""

import argparse
import asyncio
import json
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psycopg
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.clock import DatabaseClock
from bot.configuration import load
from bot.ingress import server as intake
from bot.ingress.measures import IntakeCounters
from bot.secret import Secrets
from storage import migrations
from storage.database import Database
from tests.bench.serving import CONNECTIONS, environment_of_secrets, upgraded

Append = Callable[[bytes], "Future[None]"]
GROUP = 128  # as many as Muster's own writer commits at once


def sqlite_append(path: Path) -> Append:
    """Raw sqlite3, FULL synchronous, one writer thread with group commit: what engine.md calls the bare group-commit endpoint."""
    waiting: queue.SimpleQueue[tuple[bytes, Future[None]]] = queue.SimpleQueue()

    def write() -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE inbox (id INTEGER PRIMARY KEY, raw BLOB NOT NULL)")
        while True:
            group = [waiting.get()]
            while len(group) < GROUP and not waiting.empty():
                group.append(waiting.get_nowait())
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO inbox (raw) VALUES (?)", [(raw,) for raw, _ in group])
            connection.execute("COMMIT")
            for _, future in group:
                future.set_result(None)

    threading.Thread(target=write, daemon=True).start()

    def append(raw: bytes) -> "Future[None]":
        future: Future[None] = Future()
        waiting.put((raw, future))
        return future

    return append


def postgres_append(url: str) -> Append:
    """Raw psycopg: as many connections as Muster's pool, one commit a request; PostgreSQL groups the flushes itself."""
    held = threading.local()
    pool = ThreadPoolExecutor(16)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE inbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, raw bytea NOT NULL)")

    def write(raw: bytes) -> None:
        if not hasattr(held, "connection"):
            held.connection = psycopg.connect(url, autocommit=True)
        held.connection.execute("INSERT INTO inbox (raw) VALUES (%s)", (raw,))

    return lambda raw: pool.submit(write, raw)


def bare(append: Append | None) -> Starlette:
    """Parse, append where there is somewhere to append to, 202."""

    async def take(request: Request) -> Response:
        body = await request.body()
        count = len(json.loads(body)["alerts"])
        if append:
            await asyncio.wrap_future(append(body))
        return JSONResponse({"accepted": count}, status_code=202)

    return Starlette(routes=[Route("/alerts/alertmanager", take, methods=["POST"]), Route("/readyz", _ready)])


def muster_intake(url: str, configuration: Path) -> Starlette:
    """Muster's intake as it is, with nobody behind it who takes what came in."""
    database = Database(url=upgraded(url))
    migrations.ready(database)
    secrets = Secrets(environ=environment_of_secrets(), folder=configuration.parent)
    routes = intake.routes(
        database=database,
        sources=load(configuration).senders(secrets),
        change_sources={},
        clock=DatabaseClock(database=database),
        on_accepted=lambda: None,
        metrics=IntakeCounters(CollectorRegistry()),
    )
    return Starlette(routes=[*routes, Route("/readyz", _ready)])


async def _ready(_request: Request) -> Response:
    return Response(status_code=200)


def main() -> None:
    """Serve one of the three until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["parse", "durable", "intake"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()
    if options.mode == "intake":
        app = muster_intake(options.database, options.config)
    elif options.mode == "parse":
        app = bare(None)
    elif options.database.startswith("sqlite"):
        app = bare(sqlite_append(Path(options.database.removeprefix("sqlite:///"))))
    else:
        app = bare(postgres_append(options.database))
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", access_log=False, lifespan="off", backlog=CONNECTIONS * 4)


if __name__ == "__main__":
    main()
