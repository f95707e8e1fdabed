"""The command line, and the entry point `muster`. Output for people by default; errors on stderr; exit codes in docs/cli.md."""

import sys

import typer

from bot.cli import action, check, drill, evidence, incident, operation, output, records, runbook, server
from bot.cli import demo as demo_command
from runbooks.errors import MusterError

app = typer.Typer(
    name="muster",
    help="""Incident response and runbook automation for Slack.

    Where a server runs, commands go through it; else the database is opened directly. Exit codes: 0 done, 1 problems or an error,
    2 wrong usage or configuration, 3 not there, 4 refused, 5 nobody answers.""",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(server.serve)
app.command("demo")(demo_command.demo)
app.command("check")(check.check)
app.command("status")(operation.status)
app.add_typer(incident.app, name="incident")
app.add_typer(action.app, name="action")
app.add_typer(records.timeline, name="timeline")
app.add_typer(records.postmortem, name="postmortem")
app.add_typer(evidence.app, name="evidence")
app.add_typer(runbook.app, name="runbooks")
app.add_typer(drill.app, name="drill")
app.command("readiness")(operation.readiness)
app.command("pause")(operation.pause)
app.command("resume")(operation.resume)
app.add_typer(operation.tasks, name="tasks")
app.add_typer(operation.clock, name="clock")
app.add_typer(operation.db, name="db")


def main() -> None:
    """Run the command line; an error that Muster raises on purpose is a sentence on stderr and its exit code."""
    try:
        app()
    except MusterError as error:
        print(error, file=sys.stderr)
        raise SystemExit(output.code_of(error)) from error
