"""`muster serve`."""

import sys
from pathlib import Path

import typer

from bot import api, pages, serving
from bot.settings import Settings

SAMPLE = Path(__file__).parent.parent.parent / "muster.example.yaml"


def serve() -> None:
    """Start Muster: intake, Slack, pages and the engine, in one process. Stop it with Ctrl-C or SIGTERM."""
    settings = Settings.read()
    if settings.config is None:
        sys.stderr.write("There is no muster.yaml here, and MUSTER_CONFIG names none. Start from this sample, then run `muster check`:\n\n")
        sys.stderr.write(SAMPLE.read_text() if SAMPLE.is_file() else "See docs/configuration.md.\n")
        raise typer.Exit(2)
    serving.serve(settings, more=[api.routes, pages.routes])
