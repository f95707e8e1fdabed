"""`muster action …`: see what would change and what is proposed, run it, watch until it is proven, undo it."""

import json
import sys
import time
from typing import Annotated, Any

import typer

from bot.cli import cleanup
from bot.cli.connection import Connection
from bot.cli.output import REFUSED, USAGE, Json, Number, Progress, number_of, session, show, stop, table, when

app = typer.Typer(help="Safe actions: list, plan, run, approve, undo, stop, clean up.", no_args_is_help=True)
app.add_typer(cleanup.app, name="cleanup")

Run = Annotated[int, typer.Argument(help="The run's number.", metavar="RUN")]
Parameters = Annotated[list[str] | None, typer.Option("--set", help="A parameter as NAME=VALUE; several times.")]
STANDING = {"open", "counting down"}
WATCHED = {"approved", "running", "verifying", "undoing", "unknown"}
LOOK_EVERY = 0.5


@app.command("list")
def listed(incident: Number, as_json: Json = False) -> None:
    """What the incident's runbook offers, what is proposed and runs by itself unless somebody stops it, and the runs so far."""
    with session() as muster:
        one = f"/incidents/{number_of(incident)}"
        proposals = [item for item in muster.get(f"{one}/proposals")["items"] if item["state"] in STANDING]
        found = {"actions": muster.get(f"{one}/actions")["items"], "proposals": proposals, "runs": muster.get(f"{one}/runs")["items"]}
        show(found, as_json, _offered)


def _offered(found: dict[str, Any]) -> str:
    actions = [
        (
            one["action"]["step"],
            one["action"]["tier"],
            one["action"]["approvals"] or "none",
            one["action"]["title"],
            one["action"]["withheld"] or "",
        )
        for one in found["actions"]
    ]
    runs = [(one["id"], one["state"], one["step"], one["requested_by"], one["verdict_reason"] or one["reason"]) for one in found["runs"]]
    return "\n".join(
        (
            table(actions, ("ACTION", "TIER", "APPROVALS", "TITLE", "WITHHELD"), empty="The runbook offers no action."),
            *(("", _proposed(found["proposals"])) if found["proposals"] else ()),
            "",
            table(runs, ("RUN", "STATE", "ACTION", "BY", "RESULT"), empty="Nothing was run so far."),
        )
    )


def _proposed(proposals: list[dict[str, Any]]) -> str:
    rows = [(one["id"], one["state"], one["step"], one["by"], when(one["runs_at"]), one["change"], one["reason"]) for one in proposals]
    return table(rows, ("PROPOSAL", "STATE", "ACTION", "BY", "RUNS (UTC)", "CHANGE", "WHY"))


@app.command("open")
def standing(as_json: Json = False) -> None:
    """Every change that is still in force, with its owner and its end."""
    with session() as muster:
        show(muster.get("/mitigations"), as_json, _standing)


def _standing(found: dict[str, Any]) -> str:
    rows = [
        (one["id"], f"INC-{one['incident_id']}", one["title"], one["owner"], when(one["ends_at"]) or "no end", one["then"])
        for one in found["items"]
    ]
    return table(rows, ("CHANGE", "INCIDENT", "TITLE", "OWNER", "ENDS (UTC)", "THEN"), empty="No change is in force.")


@app.command("plan")
def plan(
    incident: Number,
    action: Annotated[str, typer.Argument(help="The action's id, as `muster action list` says it.")],
    set_: Parameters = None,
    as_json: Json = False,
) -> None:
    """What an action would change now, exactly. Nothing is changed. Exit code 4 where it could not be run now.

    Example: muster action plan 42 scale-out --set replicas=8
    """
    with session() as muster:
        planned = _planned(muster, number_of(incident), action, set_)
        show(planned, as_json, plan_words)
        if planned["refusal"]:
            raise typer.Exit(REFUSED)


@app.command("run")
def run(  # noqa: PLR0917 - one parameter for each option
    incident: Number,
    action: Annotated[str, typer.Argument(help="The action's id.")],
    set_: Parameters = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; for scripts.")] = False,
    break_glass: Annotated[
        str | None, typer.Option(help="Go without approval, with this reason. The leads are told; it is reviewed.")
    ] = None,
    override_freeze: Annotated[
        str | None, typer.Option(help="Do not wait for the end of a freeze, with this reason. It is on record; the leads are told.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it is proven, or not.")] = True,
    as_json: Json = False,
) -> None:
    """Show the plan, ask, run it, and watch until it is proven.

    Example: muster action run 42 scale-out --set replicas=8
    """
    with session() as muster:
        planned = _planned(muster, number_of(incident), action, set_)
        sys.stderr.write(f"{plan_words(planned)}\n")
        if planned["refusal"] or not planned["plan_hash"]:
            raise typer.Exit(REFUSED)
        if not yes and not typer.confirm("Run it?", err=True):
            raise typer.Exit(REFUSED)
        words = {"plan_hash": planned["plan_hash"], "break_glass": break_glass, "override_freeze": override_freeze}
        done = muster.post(f"/runs/{planned['run']['id']}/run", words)
        found = _watched(muster, done["run"]) if wait and muster.served else done["run"]
        show(found, as_json, run_words)
        if found["state"] in {"failed", "refused"}:
            raise typer.Exit(REFUSED)


@app.command("show")
def shown(run: Run, as_json: Json = False) -> None:
    """How a run stands."""
    with session() as muster:
        show(muster.get(f"/runs/{run}"), as_json, run_words)


@app.command("approve")
def approve(run: Run, decline: Annotated[bool, typer.Option("--decline", help="Say no instead.")] = False, as_json: Json = False) -> None:
    """Approve, or decline, the plan of a run that somebody else asks for."""
    with session() as muster:
        found = muster.get(f"/runs/{run}")
        if not found["plan"]:
            stop(f"Run {run} has no plan.", REFUSED)
        planned = muster.get(f"/runs/{run}/plan")
        done = muster.post(f"/runs/{run}/approval", {"plan_hash": planned["plan_hash"], "granted": not decline})
        show(done, as_json, lambda it: it["said"] or run_words(it["run"]))


@app.command("undo")
def undo(run: Run, wait: Annotated[bool, typer.Option(help="Wait until it is undone.")] = True, as_json: Json = False) -> None:
    """Put back the state from before, unless somebody else has changed it meanwhile."""
    with session() as muster:
        done = muster.post(f"/runs/{run}/undo")
        found = _watched(muster, done["run"]) if wait and muster.served else done["run"]
        show(found, as_json, run_words)


@app.command("reset")
def reset(
    runbook: Annotated[str, typer.Argument(help="The runbook's id.")],
    step: Annotated[str, typer.Argument(help="The action's id.")],
    reason: Annotated[str, typer.Option(help="What was found, and why it will work now. It is on record.")],
    as_json: Json = False,
) -> None:
    """Put an action back into service that failed too often in a row. For its owner and admins.

    Example: muster action reset inference-latency scale-out --reason "the quota was too small, it is raised"
    """
    with session() as muster:
        show(muster.post(f"/runbooks/{runbook}/actions/{step}/reset", {"reason": reason}), as_json, lambda it: it["said"])


@app.command("stop")
def stopped(
    proposal: Annotated[int, typer.Argument(help="The proposal's number, as `muster action list` says it.", metavar="PROPOSAL")],
    as_json: Json = False,
) -> None:
    """Stop what would run by itself, or say not now to a proposal. Everybody whom Muster knows may."""
    with session() as muster:
        show(muster.post(f"/proposals/{proposal}/stop"), as_json, lambda it: it["said"])


@app.command("cancel")
def cancel(run: Run, as_json: Json = False) -> None:
    """Cancel a run before it starts."""
    with session() as muster:
        show(muster.post(f"/runs/{run}/cancel"), as_json, lambda it: it["said"])


def _planned(muster: Connection, number: int, action: str, given: list[str] | None) -> dict[str, Any]:
    progress = Progress()
    progress.say("Reading the present state …")
    found: dict[str, Any] = muster.post(f"/incidents/{number}/actions/{action}/plan", {"parameters": _parameters(given or [])})
    if found["run"]["state"] == "proposed":
        stop(f"Run {found['run']['id']} is asked for; its plan is made as soon as a server runs.", REFUSED)
    return found


def _parameters(given: list[str]) -> dict[str, Any]:
    """Values as JSON says them, else as text: 8 is a number, fast is a word."""
    found: dict[str, Any] = {}
    for one in given:
        name, separator, value = one.partition("=")
        if not separator:
            stop(f"Write --set NAME=VALUE, not {one!r}.", USAGE)
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _watched(muster: Connection, run: dict[str, Any]) -> dict[str, Any]:
    """Look at the run until nothing more happens by itself, and say each step."""
    progress = Progress()
    while run["state"] in WATCHED:
        last = run["samples"][-1] if run["samples"] else None
        measured = "" if last is None else f", {_value(last['value'], run['unit'])} at {when(last['at'])}"
        progress.say(f"{run['state']}{measured}")
        time.sleep(LOOK_EVERY)
        run = muster.get(f"/runs/{run['id']}")
    return run


def plan_words(planned: dict[str, Any]) -> str:
    """A plan in words: before and after, checks, cost, undo, end."""
    run, made = planned["run"], planned["run"]["plan"]
    if made is None:
        return planned["refusal"] or f"Run {run['id']}: {run['title']} is {run['state']}."
    screen = planned["screen"] or {}
    lines = [
        f"Run {run['id']}: {run['title']} ({run['tier']})",
        f"  {run['target']}: {made['proposal']['before_text']} → {made['proposal']['after_text']}",
        *(f"    {part['name']}: {part['before_text']} → {part['after_text']}" for part in made["proposal"]["parts"]),
        *([f"  Effect    {made['effect']}"] if made["effect"] else []),
        *([f"  Note      {made['proposal']['note']}"] if made["proposal"]["note"] else []),
        *(f"  {'ok  ' if check['holds'] else 'NOT '}      {check['text']}" for check in made["checks"]),
        f"  Cost      {'; '.join(f'{name}: {text}' for name, text in made['cost'].items())}",
        f"  Undo      {made['undo']}",
        *([f"  Watch     {screen['watch']}"] if screen.get("watch") else []),
        *([f"  Approval  {screen['approvals']} needed: {screen['approvers']}"] if screen.get("approvals") else []),
        *([f"  HELD UP   {screen['frozen']}"] if screen.get("frozen") else []),
        *([f"  REFUSED   {planned['refusal']}"] if planned["refusal"] else []),
    ]
    return "\n".join(lines)


def run_words(run: dict[str, Any]) -> str:
    """A run in words: state, values before and after, why."""
    measured = ""
    if run["value_before"] is not None or run["value_after"] is not None:
        measured = f" {_value(run['value_before'], run['unit'])} → {_value(run['value_after'], run['unit'])}."
    why = run["verdict_reason"] or run["reason"]
    return f"Run {run['id']}: {run['title']} is {run['state']}.{measured}{' ' + why if why else ''}"


def _value(value: float | None, unit: str | None) -> str:
    return "no data" if value is None else f"{value:.4g}{' ' + unit if unit else ''}"
