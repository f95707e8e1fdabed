"""`muster action cleanup …`: what a bad release left behind, once its rollback is verified, and what of it is done."""

from typing import Annotated, Any

import typer

from bot.cli.output import Json, number_of, session, show, table, when

app = typer.Typer(help="What is to be cleaned up after a rollback: list, done, why.", no_args_is_help=True)

Run = Annotated[int, typer.Argument(help="The run's number, as `muster action cleanup list` says it.", metavar="RUN")]


@app.command("list")
def listed(
    incident: Annotated[str | None, typer.Argument(help="Only of this incident, as 42 or INC-42.", metavar="[INCIDENT]")] = None,
    all_: Annotated[bool, typer.Option("--all", help="What is done, too.")] = False,
    as_json: Json = False,
) -> None:
    """What is still to be cleaned up, who carries it, and how each thing is proven.

    Example: muster action cleanup list 42
    """
    number = number_of(incident) if incident else None
    with session() as muster:
        show(muster.get("/cleanup", incident=number, done=all_), as_json, lambda found: _lists(found, all_=all_))


def _lists(found: dict[str, Any], *, all_: bool) -> str:
    rows = [
        (one["run"], item["number"], f"INC-{one['incident_id']}", _state(item), item["carrier"] or "", item["title"], item["how"])
        for one in found["items"]
        for item in one["items"]
        if all_ or item["done_at"] is None
    ]
    return table(rows, ("RUN", "ITEM", "INCIDENT", "STATE", "CARRIED BY", "TITLE", "HOW"), empty="Nothing is to be cleaned up.")


@app.command("done")
def done(
    run: Run,
    item: Annotated[int, typer.Argument(help="The thing's number in the run's list, from 1.", metavar="ITEM", min=1, max=101)],
    as_json: Json = False,
) -> None:
    """Say that you have cleaned one thing up. What is measured cannot be said: it is ticked by its measurement.

    Example: muster action cleanup done 7 2
    """
    with session() as muster:
        show(muster.post(f"/runs/{run}/cleaned", {"item": item - 1}), as_json, lambda it: it["said"])


@app.command("why")
def why(run: Run, as_json: Json = False) -> None:
    """Why a run's list is there: how long what it replaced was live, and what each line waits for."""
    with session() as muster:
        show(muster.get(f"/runs/{run}/cleanup"), as_json, _why)


def _why(found: dict[str, Any]) -> str:
    ticked = sum(item["done_at"] is not None for item in found["items"])
    rows = [(item["number"], _state(item), item["title"], _who(item), item["how"]) for item in found["items"]]
    declared = f"{found['step']} of {found['runbook']['id']} v{found['runbook']['version']}"
    lines = (
        f"Run {found['run']}, INC-{found['incident_id']}: {found['title']}. {ticked} of {len(found['items'])} cleaned up.",
        *filter(None, (found["over"], found["exposed"])),
        f"The list is declared by {declared}.",
        table(rows, ("ITEM", "STATE", "TITLE", "WHO", "HOW")),
    )
    return "\n".join(lines)


def _who(item: dict[str, Any]) -> str:
    if item["done_at"]:
        return f"{item['done_by']} {when(item['done_at'])}"
    return f"carried by {item['carrier']}" if item["carrier"] else ""


def _state(item: dict[str, Any]) -> str:
    if item["done_at"]:
        return "done"
    return "measured" if item["measured"] else "open"
