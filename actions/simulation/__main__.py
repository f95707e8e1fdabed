"""`python -m actions.simulation`: Harbor Answers as a process of its own."""

import argparse
import fcntl
import logging
import sys
from pathlib import Path

import uvicorn

from .hosting import Harbour
from .journal import JournalDamaged
from .server import LOOPBACK, create_app


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped; returns the exit code."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    given.data.mkdir(parents=True, exist_ok=True)
    lock = (given.data / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.stderr.write(f"Another process serves {given.data}; stop it or choose another --data.\n")
        return 1
    try:
        harbour = Harbour(given.data, seed=given.seed, speed=given.speed)
    except JournalDamaged as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    app = create_app(
        harbour,
        alerts_url=given.alerts_url,
        alerts_token=given.alerts_token_file.read_text().strip() if given.alerts_token_file else None,
        changes_url=given.changes_url,
        page_url=given.page_url or f"http://{given.host}:{given.port}/",
        allowed_hosts=LOOPBACK | {given.host} | set(given.allow_host),
    )
    sys.stderr.write(f"Harbor Answers on http://{given.host}:{given.port}/ (seed {given.seed}, speed {given.speed:g})\n")
    uvicorn.run(app, host=given.host, port=given.port, log_level="warning", timeout_graceful_shutdown=2)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m actions.simulation", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--data", type=Path, required=True, help="directory for events and snapshots")
    parser.add_argument("--seed", type=int, default=7, help="of a new main world")
    parser.add_argument("--speed", type=_speed, default=1.0, help="simulated seconds per second; 0: only /clock/advance moves time")
    parser.add_argument("--alerts-url", help="where alerts go, in Alertmanager's webhook format")
    parser.add_argument("--changes-url", help="where changes are told, in Muster's own format; the same token")
    parser.add_argument("--alerts-token-file", type=Path, help="file with the bearer token for it")
    parser.add_argument("--page-url", help="address of the page in alerts' annotations")
    parser.add_argument("--allow-host", action="append", default=[], help="another name under which it may be called")
    return parser


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 <= speed <= 100:
        raise argparse.ArgumentTypeError("speed is between 0 and 100")
    return speed


if __name__ == "__main__":
    sys.exit(main())
