"""`muster status`, `readiness`, `pause`, `resume`, `tasks …`, `clock …`, `db …`: Muster itself."""

import sys
import time
from typing import Annotated, Any

import typer

from bot.cli.connection import Connection
from bot.cli.output import USAGE, Json, Progress, reported, session, show, stop, table, when
from bot.settings import Settings
from runbooks.duration import in_words, seconds
from storage import migrations
from storage.database import Database
from storage.migrations import Phase

tasks = typer.Typer(help="Promises that were given up: see them, try them again.", no_args_is_help=True)
clock = typer.Typer(help="The clock of the demo.", no_args_is_help=True)
db = typer.Typer(help="The database's schema.", no_args_is_help=True)

FARTHEST = 366 * 86_400.0
"""Seconds; no promise of Muster's reaches further than a year."""
WATCHING_STEP = 10.0
"""Seconds of driven time while a run is watched: its samples must not be jumped over."""
QUIET_STEP = 1800.0
CATCH_UP = 10.0  # seconds of real time for Muster to do what has fallen due


def status(as_json: Json = False) -> None:
    """How Muster is, and who you are to it."""
    with session() as muster:
        show(muster.get("/status"), as_json, _status)


def _status(found: dict[str, Any]) -> str:
    you = found["you"]["name"] if found["you"] else "nobody whom muster.yaml knows"
    may = "may read and write" if found["may_write"] else "may only read"
    paused = found["paused"]
    lines = [
        "Muster runs." if found["running"] else "No server runs on this database.",
        f"You are {you}; you {may}.",
        f"{found['open_incidents']} open incidents, {found['runs_in_flight']} runs under way.",
        f"{found['tasks_open']} tasks waiting, {found['tasks_dead']} given up.",
        *([f"PAUSED by {paused['by']} since {when(paused['since_at'])} UTC: {paused['reason']}"] if paused["paused"] else []),
        *(f"! {text}" for text in found["trouble"]),
    ]
    return "\n".join(lines)


def readiness(as_json: Json = False) -> None:
    """What is known about each service's readiness. Unknown is said, and is never green."""
    with session() as muster:
        show(muster.get("/readiness"), as_json, _readiness)


def _readiness(found: dict[str, Any]) -> str:
    words = {True: "ok", False: "NOT OK", None: "unknown"}
    parts = []
    for one in found["items"]:
        rows = [(words[line["good"]], line["name"], line["text"]) for line in one["evidence"]]
        parts.append(f"{one['service']} (owner {one['owner']})\n{table(rows, ('', 'WHAT', 'BY WHAT'))}")
    return "\n\n".join(parts) or "muster.yaml names no service."


def pause(reason: Annotated[str, typer.Argument(help="Why, for everybody to read.")], as_json: Json = False) -> None:
    """Stop every action that Muster would take. Pages to people still go out. Needs an admin."""
    with session() as muster:
        show(muster.post("/pause", {"reason": reason}), as_json, _paused)


def resume(as_json: Json = False) -> None:
    """Let actions run again. Needs an admin."""
    with session() as muster:
        show(muster.post("/resume"), as_json, _paused)


def _paused(found: dict[str, Any]) -> str:
    if not found["paused"]:
        return "Actions may run."
    return f"All actions are paused by {found['by']} since {when(found['since_at'])} UTC: {found['reason']}"


@tasks.command("dead")
def dead(as_json: Json = False) -> None:
    """What was given up, latest first, with the last error."""
    with session() as muster:
        show(muster.get("/tasks/dead"), as_json, _dead)


def _dead(found: dict[str, Any]) -> str:
    rows = [(one["id"], one["kind"], one["attempts"], when(one["ended_at"]), one["error"] or "") for one in found["items"]]
    return table(rows, ("TASK", "KIND", "ATTEMPTS", "GIVEN UP (UTC)", "ERROR"), empty="Nothing was given up.")


@tasks.command("retry")
def retry(
    task: Annotated[int, typer.Argument(help="The task's number.")],
    reason: Annotated[str, typer.Argument(help="Why it will work now, for the record.")],
    as_json: Json = False,
) -> None:
    """Try one again, with a new budget."""
    with session() as muster:
        show(muster.post(f"/tasks/{task}/retry", {"reason": reason}), as_json, lambda it: it["said"])


@clock.command("advance")
def advance(by: Annotated[str, typer.Argument(help="How far, as 90s, 15m, 4h or 3d.")], as_json: Json = False) -> None:
    """Drive the demo forward: the simulated service and Muster move together, and what falls due is done on the way.

    Example: muster clock advance 4h
    """
    try:
        left = seconds(by)
    except ValueError as error:
        stop(str(error), USAGE)
    if not 0 < left <= FARTHEST:
        stop(f"The clock is driven forward by more than nothing and at most {in_words(FARTHEST)} at once.", USAGE)
    with session() as muster:
        found: dict[str, Any] = {"now": None}
        progress = Progress()
        while left > 0:
            step = min(left, WATCHING_STEP if muster.get("/status")["runs_in_flight"] else QUIET_STEP)
            found = muster.post("/clock/advance", {"seconds": step})
            left -= step
            progress.say(f"{when(found['now'])} UTC, {in_words(left)} to go" if left else f"{when(found['now'])} UTC")
            _catch_up(muster)
        show(found, as_json, lambda it: f"It is {when(it['now'])} UTC.")


def _catch_up(muster: Connection) -> None:
    """Let Muster do what has fallen due: a driven clock must not outrun whoever watches by it."""
    ends = time.monotonic() + CATCH_UP
    while time.monotonic() < ends:
        time.sleep(0.15)
        if muster.get("/status")["tasks_open"] == 0:
            return


@db.command("upgrade")
def upgrade(
    phase: Annotated[Phase, typer.Option(help="pre before the new version starts, post after the last old one is gone.")] = Phase.PRE,
) -> None:
    """Bring the database's schema up to date. Twice is once. The embedded database does this by itself."""
    with reported():
        database = Database(url=Settings.read().database_url)
        try:
            migrations.upgrade(database, phase)
        finally:
            database.close()
        sys.stdout.write(f"The {phase.value} phase is up to date.\n")
