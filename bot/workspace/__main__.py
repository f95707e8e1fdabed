"""Start the workspace: ``python -m bot.workspace --port 8089 --data DIR --manifest FILE``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from bot.workspace.limits import RATES
from bot.workspace.manifest import ManifestInvalid
from bot.workspace.server import create_app

_MANIFEST = Path(__file__).parent.parent / "slack" / "manifest.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Serve on 127.0.0.1 until stopped; 2 when the manifest is wrong."""
    asked = _parser().parse_args(argv)
    try:
        app = create_app(
            data_dir=asked.data,
            manifest=asked.manifest,
            events_url=asked.events_url,
            rates="harsh" if asked.harsh else asked.rates,
            public_url=asked.public_url,
        )
    except (ManifestInvalid, OSError) as refusal:
        sys.stderr.write(f"{asked.manifest}: {refusal}\n")
        return 2
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=asked.port,
        log_level="warning",
        ws="websockets-sansio",
        ws_max_size=1_000_000,
        timeout_graceful_shutdown=3,
        server_header=False,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bot.workspace", description="A local Slack-compatible workspace.")
    parser.add_argument("--port", type=int, default=8089)
    parser.add_argument("--data", type=Path, required=True, help="folder of all state; made when missing")
    parser.add_argument("--manifest", type=Path, default=_MANIFEST, help="the app's manifest (YAML)")
    parser.add_argument("--events-url", help="deliver by signed HTTP to this URL instead of Socket Mode")
    parser.add_argument("--rates", choices=sorted(RATES), default="slack", help="how hard the rate limits are")
    parser.add_argument("--harsh", action="store_true", help="the same as --rates harsh")
    parser.add_argument("--public-url", help="the address the app is given for answers, uploads and sockets")
    return parser


if __name__ == "__main__":
    sys.exit(main())
