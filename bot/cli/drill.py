"""`muster drill …`: what is planned, start one, end it, how it went."""

from typing import Annotated, Any

import typer

from bot.cli.output import Json, session, show, table, when
from runbooks.duration import in_words

app = typer.Typer(help="Drills: list, plan, start, abort, report.", no_args_is_help=True)

Drill = Annotated[int, typer.Argument(help="The drill's number.", metavar="DRILL")]


@app.command("list")
def listed(
    runbook: Annotated[str | None, typer.Option(help="Only of this runbook.")] = None,
    quarter: Annotated[str | None, typer.Option(help="Only of this quarter, as 2026-Q4.")] = None,
    as_json: Json = False,
) -> None:
    """Drills, latest due first."""
    with session() as muster:
        show(muster.get("/drills", runbook=runbook, slot=quarter), as_json, _list)


def _list(found: dict[str, Any]) -> str:
    rows = [(one["id"], one["slot"], one["state"], when(one["due_at"]), one["lead"] or "nobody", one["runbook"]) for one in found["items"]]
    return table(rows, ("DRILL", "QUARTER", "STATE", "DUE (UTC)", "LEAD", "RUNBOOK"), empty="No drill is planned.")


@app.command("plan")
def plan(runbook: Annotated[str, typer.Argument(help="The runbook to rehearse.")], as_json: Json = False) -> None:
    """Plan this quarter's drill of a runbook."""
    with session() as muster:
        show(muster.post("/drills", {"runbook": runbook}), as_json, lambda it: f"{it['said']} It is drill {it['drill']['id']}.")


@app.command("start")
def start(drill: Drill, as_json: Json = False) -> None:
    """Start it: the real path with a simulated world of its own. Production cannot be touched."""
    with session() as muster:
        show(muster.post(f"/drills/{drill}/start"), as_json, lambda it: it["said"])


@app.command("move")
def move(
    drill: Drill, date: Annotated[str, typer.Argument(help="A day within its quarter, as 2026-12-09.")], as_json: Json = False
) -> None:
    """Move it to another day within its quarter."""
    with session() as muster:
        show(muster.post(f"/drills/{drill}/move", {"date": date}), as_json, lambda it: f"Now due {when(it['drill']['due_at'])} UTC.")


@app.command("abort")
def abort(drill: Drill, as_json: Json = False) -> None:
    """End it at once; it is not graded."""
    with session() as muster:
        show(muster.post(f"/drills/{drill}/abort"), as_json, lambda it: it["said"])


@app.command("report")
def report(drill: Drill, as_json: Json = False) -> None:
    """How it went: every finding, the times. Teams are graded, never people."""
    with session() as muster:
        show(muster.get(f"/drills/{drill}"), as_json, _report)


def _report(found: dict[str, Any]) -> str:
    drill = found["drill"]
    findings = [("ok" if one["passed"] else "NOT OK", one["text"]) for one in found["findings"]]
    phases = [(name, "unknown" if value is None else in_words(value)) for name, value in found["phases"].items()]
    head = f"DRILL {drill['id']} · {found['title']} · {drill['slot']} · {drill['state']}"
    reason = f"\n{drill['reason']}" if drill["reason"] else ""
    return f"{head}{reason}\n\n{table(findings, ('', 'FINDING'), empty='Nothing is graded yet.')}\n\n{table(phases, ('PHASE', 'AFTER'))}"
