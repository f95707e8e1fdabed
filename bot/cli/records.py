"""`muster timeline …` and `muster postmortem …`: what stands on record."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bot.cli.output import ERROR, USAGE, Json, Number, number_of, session, show, stop, table, when
from runbooks.timeline import place_of

timeline = typer.Typer(help="The timeline: show it, prove it, export it.", no_args_is_help=True)
postmortem = typer.Typer(help="Post-mortems: what is due, the draft, its export.", no_args_is_help=True)

Out = Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead of standard output.")]


@timeline.command("show")
def timeline_shown(incident: Number, as_json: Json = False) -> None:
    """Everything that happened, in order."""
    with session() as muster:
        show(muster.get(f"/incidents/{number_of(incident)}/timeline"), as_json, _timeline)


def _timeline(found: dict[str, Any]) -> str:
    rows = [(one["seq"], when(one["occurred_at"]), one["actor"]["id"], one["summary"] or "(erased)") for one in found["entries"]]
    return table(rows, ("#", "WHEN (UTC)", "WHO", "WHAT"), empty="Nothing is recorded.")


@timeline.command("own")
def own_shown(as_json: Json = False) -> None:
    """Muster's own record: pauses, and attempts that concern no incident."""
    with session() as muster:
        show(muster.get("/timeline/own"), as_json, lambda found: _timeline({"entries": found["items"]}))


@timeline.command("verify")
def timeline_verified(
    head: Annotated[str | None, typer.Option(help="A head that was printed earlier: shows whether a tail was cut since.")] = None,
    as_json: Json = False,
) -> None:
    """Check every hash chain, and name what was changed, removed, reordered or cut off. Exit code 1 then. Keep the head somewhere else."""
    with session() as muster:
        found = muster.get("/timeline/verify", head=head)
        show(found, as_json, _report)
        if not found["ok"]:
            raise typer.Exit(ERROR)


def _report(found: dict[str, Any]) -> str:
    broken = "\n".join(f"  {place_of(one['incident_id'], one['seq'])}: {one['reason']}" for one in found["broken"])
    state = "The record holds" if found["ok"] else "The record is BROKEN"
    return f"{state}: {found['entries']} entries of {found['incidents']} incidents.\n{broken}\nhead {found['head']}".replace("\n\n", "\n")


@timeline.command("export")
def timeline_exported(
    incident: Number,
    form: Annotated[str, typer.Option("--format", "-f", help="jsonl, csv, md or json.")] = "jsonl",
    output: Out = None,
) -> None:
    """Write the timeline for other tools.

    Example: muster timeline export 42 --format csv --output inc-42.csv
    """
    if form not in {"jsonl", "csv", "md", "json"}:
        stop(f"{form} is no form of export; there are jsonl, csv, md and json.", USAGE)
    with session() as muster:
        _write(muster.text(f"/incidents/{number_of(incident)}/timeline", format=form), output)


@postmortem.command("list")
def postmortems(as_json: Json = False) -> None:
    """Which post-mortems are due, the next first."""
    with session() as muster:
        show(muster.get("/postmortems"), as_json, _due)


def _due(found: dict[str, Any]) -> str:
    rows = [
        (
            f"INC-{one['incident']['id']}",
            "OVERDUE" if one["overdue"] else "due",
            when(one["review"]["due_at"]),
            one["review"]["owner"],
            one["incident"]["title"],
        )
        for one in found["items"]
    ]
    return table(rows, ("INCIDENT", "", "UNTIL (UTC)", "OWNER", "TITLE"), empty="No post-mortem is due.")


@postmortem.command("draft")
def draft(incident: Number, as_json: Json = False) -> None:
    """The draft from the timeline: each sentence names the entries that it rests on, each gap says whom to ask."""
    with session() as muster:
        path = f"/incidents/{number_of(incident)}/postmortem"
        if as_json:
            show(muster.get(path), True, str)
        else:
            sys.stdout.write(muster.text(path, format="md"))


@postmortem.command("export")
def exported(
    incident: Number,
    form: Annotated[str, typer.Option("--format", "-f", help="md or json.")] = "md",
    output: Out = None,
) -> None:
    """Write the draft into a file.

    Example: muster postmortem export 42 --output docs/postmortems/inc-42.md
    """
    if form not in {"md", "json"}:
        stop(f"{form} is no form of export; there are md and json.", USAGE)
    with session() as muster:
        _write(muster.text(f"/incidents/{number_of(incident)}/postmortem", format=form), output)


@postmortem.command("done")
def done(incident: Number) -> None:
    """Mark it as finished."""
    with session() as muster:
        sys.stdout.write(f"{muster.post(f'/incidents/{number_of(incident)}/postmortem/done')['said']}\n")


def _write(text: str, output: Path | None) -> None:
    body = text if text.endswith("\n") else f"{text}\n"
    if output is None:
        sys.stdout.write(body)
        return
    try:
        output.write_text(body, encoding="utf-8")
    except OSError as error:
        stop(f"{output} cannot be written: {error.strerror}.", ERROR)
    sys.stderr.write(f"Written to {output}.\n")
