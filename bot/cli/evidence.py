"""`muster evidence …`: what was preserved, whether it is whole, and taking a piece out."""

import base64
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bot.cli.output import ERROR, Json, Number, number_of, session, show, stop, table, when

app = typer.Typer(help="Evidence: what was preserved, whether it is whole, taking a piece out.", no_args_is_help=True)

Piece = Annotated[str, typer.Argument(help="The piece's SHA-256, as `muster evidence show` prints it.")]
Reason = Annotated[str, typer.Option(help="Why, for the record.")]


@app.command("list")
def listed(incident: Number, as_json: Json = False) -> None:
    """What was preserved around an incident: when, how much, and the digest that stands on its timeline."""
    with session() as muster:
        show(muster.get(f"/incidents/{number_of(incident)}/evidence"), as_json, _snapshots)


def _snapshots(found: dict[str, Any]) -> str:
    rows = [
        (when(one["taken_at"]), one["name"], len(one["pieces"]), sum(piece["size"] for piece in one["pieces"]), one["sha256"])
        for one in found["items"]
    ]
    return table(rows, ("WHEN (UTC)", "SET", "PIECES", "BYTES", "SHA-256"), empty="Nothing was preserved around this incident.")


@app.command("show")
def shown(snapshot: Annotated[str, typer.Argument(help="The snapshot's SHA-256.")], as_json: Json = False) -> None:
    """The pieces of a snapshot, and the sources that did not answer. Their words are not shown."""
    with session() as muster:
        show(muster.get(f"/evidence/{snapshot.replace(':', '')}"), as_json, _pieces)


def _pieces(found: dict[str, Any]) -> str:
    rows = [(one["source"], one["size"], "cut" if one["cut"] else "", one["sha256"]) for one in found["pieces"]]
    rows += [(source, "", f"missing: {why}", "") for source, why in found["missing"].items()]
    return table(rows, ("SOURCE", "BYTES", "", "SHA-256"), empty="No source answered.")


@app.command("verify")
def verified(as_json: Json = False) -> None:
    """Check every piece against its digest, and name what was changed or is gone. Exit code 1 then."""
    with session() as muster:
        found = muster.get("/evidence/damaged")
        show(found, as_json, _damage)
        if found["items"]:
            raise typer.Exit(ERROR)


def _damage(found: dict[str, Any]) -> str:
    return table([(one["sha256"], one["reason"]) for one in found["items"]], ("SHA-256", "WHAT"), empty="All evidence is whole.")


@app.command("export")
def exported(piece: Piece, reason: Reason, output: Annotated[Path, typer.Option("--output", "-o", help="Write to this file.")]) -> None:
    """Take a piece out into a file that only you can read. For admins; the look is on record.

    Example: muster evidence export 9f86d081… --reason "for the safety review" --output exchanges.json
    """
    with session() as muster:
        found = muster.post(f"/evidence/pieces/{piece.replace(':', '')}/take-out", {"reason": reason})
    try:
        output.touch(mode=0o600)
        output.write_bytes(base64.b64decode(found["base64"]))
    except OSError as error:
        stop(f"{output} cannot be written: {error.strerror}.", ERROR)
    sys.stderr.write(f"Written to {output}.\n")


@app.command("erase")
def erased(piece: Piece, reason: Reason) -> None:
    """Remove a piece's bytes for ever, where the law asks. For admins; on record. Its digest and size stay."""
    with session() as muster:
        found = muster.post(f"/evidence/pieces/{piece.replace(':', '')}/erase", {"reason": reason})
    sys.stdout.write(f"{found['said']}\n")
