"""`muster incident …`: list, show, declare, and everything that the card's buttons do."""

from typing import Annotated, Any

import typer

from bot.cli.output import USAGE, Json, Number, number_of, session, show, stop, table, when

app = typer.Typer(help="Incidents: list, show, declare, acknowledge, resolve.", no_args_is_help=True)


@app.command("list")
def listed(
    all_: Annotated[bool, typer.Option("--all", "-a", help="Resolved ones too.")] = False,
    severity: Annotated[str | None, typer.Option(help="SEV1 to SEV4.")] = None,
    service: Annotated[str | None, typer.Option(help="Only of this service.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    as_json: Json = False,
) -> None:
    """What is open.

    Example: muster incident list --severity SEV1
    """
    with session() as muster:
        found = muster.get("/incidents", open=None if all_ else True, severity=_severity(severity), service=service, limit=limit)
        show(found, as_json, lambda it: table([_row(one) for one in it["items"]], _HEADS, empty="Nothing is open."))


_HEADS = ("", "INCIDENT", "STATUS", "OPENED (UTC)", "SERVICE", "TITLE")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    title = f"DRILL · {one['title']}" if one["drill_id"] else one["title"]
    return one["severity"], f"INC-{one['id']}", one["status"], when(one["opened_at"]), one["service"] or "", title


@app.command("show")
def shown(incident: Number, as_json: Json = False) -> None:
    """Everything that the card shows."""
    with session() as muster:
        show(muster.get(f"/incidents/{number_of(incident)}"), as_json, card_words)


def card_words(card: dict[str, Any]) -> str:
    """The card in words: what broke, who owns it, who is affected, what may be done."""
    one = card["incident"]
    drill = "DRILL · " if one["drill_id"] else ""
    people = ", ".join(person["name"] for person in card["on_call"]) or "nobody"
    taken = f"{one['acknowledged_by']} at {when(one['acknowledged_at'])}" if one["acknowledged_at"] else "nobody yet"
    actions = [*card["safe_actions"], *card["gated_actions"]]
    parts = [
        f"{drill}INC-{one['id']} · {one['severity']} · {one['status']} · {one['title']}",
        f"  What broke    {card['what_broke']}",
        f"  Owner         {card['owner']}, on call: {people}",
        f"  Affected      {card['affected']}",
        f"  Taken by      {taken}",
        f"  Commander     {one['commander'] or 'nobody'}",
        f"  Opened        {when(one['opened_at'])} UTC",
        f"  Runbook       {one['match']['runbook']['id']} v{one['match']['runbook']['version']} ({one['match']['reason']})",
        *([f"  Resolved      {when(one['resolved_at'])} UTC by {one['resolved_by']}: {one['resolution']}"] if one["resolved_at"] else []),
        "",
        table([(item["measurement"]["title"], item["measurement"]["text"]) for item in card["diagnosis"]], ("MEASURED", ""), empty=""),
        "",
        table(
            [(item["step"], item["tier"], _need(item), item["title"], item["withheld"] or "") for item in actions],
            ("ACTION", "TIER", "APPROVAL", "TITLE", "WITHHELD"),
            empty="The runbook offers no action.",
        ),
        "",
        table([_run(line["run"]) for line in card["runs"]], ("RUN", "STATE", "TITLE", "BY", "RESULT"), empty=""),
        *(f"  ! {text}" for text in card["degraded"]),
    ]
    return "\n".join(part for part in parts if part is not None)


def _need(action: dict[str, Any]) -> str:
    return {0: "none", 1: "one person"}.get(action["approvals"], f"{action['approvals']} people")


def _run(run: dict[str, Any]) -> tuple[object, ...]:
    return run["id"], run["state"], run["title"], run["requested_by"], run["verdict_reason"] or run["reason"]


@app.command("declare")
def declare(
    title: Annotated[str, typer.Argument(help="What is wrong, in a few words.")],
    severity: Annotated[str | None, typer.Option(help="SEV1 to SEV4; the runbook's by default.")] = None,
    service: Annotated[str | None, typer.Option(help="The service, as in muster.yaml.")] = None,
    as_json: Json = False,
) -> None:
    """Open an incident in words.

    Example: muster incident declare "Answers are in the wrong language" --severity SEV2
    """
    with session() as muster:
        done = muster.post("/incidents", {"title": title, "severity": _severity(severity), "service": service})
        show(done, as_json, lambda it: it["said"])


@app.command("ack")
def acknowledge(incident: Number, as_json: Json = False) -> None:
    """Say that you look after it."""
    _do(incident, "acknowledge", {}, "INC-{id} is acknowledged by {acknowledged_by}.", as_json)


@app.command("command")
def command(incident: Number, as_json: Json = False) -> None:
    """Take command."""
    _do(incident, "command", {}, "{commander} commands INC-{id}.", as_json)


@app.command("severity")
def severity(incident: Number, value: Annotated[str, typer.Argument(help="SEV1 to SEV4.")], as_json: Json = False) -> None:
    """Set the severity."""
    _do(incident, "severity", {"severity": _severity(value)}, "INC-{id} is {severity}.", as_json)


@app.command("note")
def note(incident: Number, text: Annotated[str, typer.Argument(help="What people should know.")], as_json: Json = False) -> None:
    """Post a status update: into the thread and on the timeline."""
    _do(incident, "notes", {"text": text}, "Posted to INC-{id}.", as_json)


@app.command("follow")
def follow(incident: Number, runbook: Annotated[str, typer.Argument(help="The runbook that fits.")], as_json: Json = False) -> None:
    """Follow another runbook: the one that was chosen does not fit. The case goes to the matching's queue."""
    _do(incident, "runbook", {"runbook": runbook}, "INC-{id} follows {match[runbook][id]}.", as_json)


@app.command("resolve")
def resolve(
    incident: Number,
    resolution: Annotated[str, typer.Argument(help="What fixed it, in a few words.")],
    mitigation: Annotated[
        list[str] | None, typer.Option(help="What becomes of an open change: 7=revert, 7=keep or 7=hand; several times.")
    ] = None,
    carrier: Annotated[str | None, typer.Option(help="Who takes over what is handed on, by id.")] = None,
    as_json: Json = False,
) -> None:
    """Resolve. What still stands needs a word: `muster action open` lists it.

    Example: muster incident resolve 42 "Scaled out" --mitigation 7=hand --carrier ben
    """
    body = {"resolution": resolution, "mitigations": _choices(mitigation or []), "carrier": carrier}
    _do(incident, "resolve", body, "INC-{id} is resolved.", as_json)


def _choices(given: list[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    if any(not separator for _, separator, _ in pairs):
        stop("Write --mitigation as NUMBER=revert, NUMBER=keep or NUMBER=hand.", USAGE)
    return {number: choice for number, _, choice in pairs}


def _severity(text: str | None) -> str | None:
    if text is None:
        return None
    value = text.strip().upper()
    return f"SEV{value}" if value.isdigit() else value


def _do(incident: str, path: str, body: dict[str, Any], words: str, as_json: bool) -> None:
    with session() as muster:
        done = muster.post(f"/incidents/{number_of(incident)}/{path}", body)
        show(done, as_json, lambda it: it["said"] or words.format(**it["incident"]))
