"""The command line, and the entry point `muster`. Output for people by default; errors on stderr; exit codes in docs/cli.md."""

import sys

import typer

from bot.cli import demo as demo_command
from bot.cli import server
from runbooks.errors import MusterError

app = typer.Typer(
    name="muster",
    help="Incident response and runbook automation for Slack.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(server.serve)
app.command("demo")(demo_command.demo)


def main() -> None:
    """Run the command line; an error that Muster raises on purpose is a sentence on stderr and exit code 1."""
    try:
        app()
    except MusterError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from error
