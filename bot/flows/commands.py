"""`/muster …` and `@Muster …`: the same flows in words, and search in the runbooks (mission C4)."""

from collections.abc import Callable
from datetime import datetime

from bot.flows import pausing, rehearse, respond
from bot.flows.context import Context
from bot.flows.errors import Refused
from bot.flows.wording import name_of
from bot.ports import Reply, Visitor
from runbooks.alert import Alert, AlertStatus
from runbooks.calendar import quarter_of
from runbooks.incident import Incident
from runbooks.people import Actor
from runbooks.rendering import outline
from runbooks.screens import DeclareDialog, Notice
from storage import drills, incidents
from storage.database import Tx

HELP = """*What Muster understands*
`/muster declare` open an incident · `/muster list` what is open · `/muster ack 42` acknowledge INC-42
`/muster pause the reason` stop every action · `/muster resume` let them run again
`/muster drill` what is planned · `/muster drill inference-latency` plan one for this quarter
`/muster what do I do when vector search times out?` find the runbook"""

Answer = Callable[[Tx, Context, str, Visitor, Actor, datetime], Reply]


def answer(tx: Tx, ctx: Context, text: str, visitor: Visitor, by: Actor, now: datetime) -> Reply:  # noqa: PLR0917 - an Answer
    """One line of text. What is not a command is a question to the runbooks."""
    word, _, rest = text.strip().partition(" ")
    known = COMMANDS.get(word.lower())
    if known is None:
        return _search(ctx, text.strip(), now=now)
    return known(tx, ctx, rest.strip(), visitor, by, now)


def _declare(_tx: Tx, ctx: Context, rest: str, visitor: Visitor, _by: Actor, _now: datetime) -> Reply:
    return Reply(dialog=DeclareDialog(services=tuple(ctx.services), title=rest[:140], channel=visitor.channel))


def _list(tx: Tx, _ctx: Context, _rest: str, _visitor: Visitor, _by: Actor, _now: datetime) -> Reply:
    open_ones = incidents.open_ones(tx)
    if not open_ones:
        return _said("Nothing is open.")
    return _said("\n".join(_line(incident) for incident in open_ones[:15]))


def _line(incident: Incident) -> str:
    drill = "DRILL " if incident.is_drill else ""
    return f"{drill}{incident.severity.value} {incident.ref} {incident.status.value}: {incident.title}"


def _ack(tx: Tx, ctx: Context, rest: str, _visitor: Visitor, by: Actor, now: datetime) -> Reply:
    incident = incidents.get(tx, number_of(rest))
    if incident.acknowledged_at:
        return _said(f"{incident.ref} is acknowledged already, by {name_of(ctx, incident.acknowledged_by)}.")
    respond.acknowledge(tx, incident, by=by, now=now)
    return _said(f"{incident.ref} is acknowledged by you.")


def number_of(text: str) -> int:
    """The number in `INC-42`, `inc42` or `42`.

    Raises:
        Refused: there is none.
    """
    digits = text.strip().upper().removeprefix("INC").lstrip("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):  # what a database can count
        raise Refused(
            "no_number", f"Say which incident, for example 42 or INC-42, not {text!r}." if text else "Say which incident, for example 42."
        )
    return int(digits)


def _drill(tx: Tx, ctx: Context, rest: str, _visitor: Visitor, _by: Actor, now: datetime) -> Reply:
    if not rest:
        return _said(_planned(tx, ctx, now=now))
    runbook = ctx.shelf.runbook(rest)
    if runbook is None:
        names = ", ".join(item.id for item in ctx.shelf.library.all)
        return _said(f"There is no runbook {rest}. There are: {names}.")
    drill = rehearse.plan(tx, ctx, runbook, at=now, now=now)
    return _said(f"The drill of {runbook.header.title} in {drill.slot} is {drill.state.value}, due {drill.due_at:%Y-%m-%d}.")


def _planned(tx: Tx, ctx: Context, *, now: datetime) -> str:
    slot = quarter_of(now, zone=ctx.policy.time_zone)
    planned = drills.listed(tx, slot=slot)
    return (
        "\n".join(f"{drill.due_at:%Y-%m-%d} {drill.runbook}: {drill.state.value}" for drill in planned) or f"No drill is planned in {slot}."
    )


def _pause(tx: Tx, ctx: Context, rest: str, _visitor: Visitor, by: Actor, now: datetime) -> Reply:
    return _said(pausing.pause(tx, ctx, by=by, reason=rest, now=now))


def _resume(tx: Tx, ctx: Context, _rest: str, _visitor: Visitor, by: Actor, now: datetime) -> Reply:
    return _said(pausing.resume(tx, ctx, by=by, now=now))


def _help(_tx: Tx, _ctx: Context, _rest: str, _visitor: Visitor, _by: Actor, _now: datetime) -> Reply:
    return _said(HELP)


def _search(ctx: Context, question: str, *, now: datetime) -> Reply:
    """The runbook that speaks of it, with the beginning of its mitigation."""
    if not question:
        return _said(HELP)
    asked = Alert(source="question", fingerprint="question", status=AlertStatus.FIRING, title=question[:200], starts_at=now)
    found = ctx.shelf.matcher.match(asked)
    runbook = ctx.shelf.runbook(found.runbook.id) if found else None
    if found is None or runbook is None or found.fallback:
        return _said(f"No runbook speaks of that. Try other words, or:\n{HELP}")
    safe = [action.title for step in runbook.header.first_screen.safe_actions if (action := runbook.action(step))]
    meaning = dict(outline(runbook.body)).get("Meaning", "").strip().split("\n\n")[0]
    others = ", ".join(other.runbook for other in found.runners_up)
    lines = [
        f"*{runbook.header.title}* ({runbook.id} v{runbook.header.version}, {found.reason})",
        meaning.replace("{{", "").replace("}}", ""),
        f"Safe first actions: {', '.join(safe)}." if safe else "",
        f"Also near: {others}." if others else "",
    ]
    return _said("\n".join(line for line in lines if line))


def _said(text: str) -> Reply:
    return Reply(whisper=Notice(text=text))


COMMANDS: dict[str, Answer] = {
    "declare": _declare,
    "list": _list,
    "ack": _ack,
    "drill": _drill,
    "drills": _drill,
    "pause": _pause,
    "resume": _resume,
    "help": _help,
}
"""The first word of a line, and what it does."""
