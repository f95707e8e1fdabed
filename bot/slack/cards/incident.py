"""Screen 1: the card. What broke, who owns it, who is affected, what may safely be done; then everything else, quieter."""

import re

from slack_sdk.models.blocks import ActionsBlock, Block, ButtonElement

from bot.slack import text
from bot.slack.cards.parts import (
    DOT,
    ROW,
    Drawn,
    Sheet,
    button,
    confirm,
    context,
    drawn,
    drill_first,
    fields,
    header,
    named,
    rows,
    section,
)
from bot.slack.cards.proposal import on_card as proposals_on_card
from bot.slack.cards.run import run_line
from bot.slack.intents import Press, PressKind
from runbooks.change import Suspect
from runbooks.incident import Incident, IncidentStatus
from runbooks.run import BEFORE_RUNNING, IN_FLIGHT, Mitigation
from runbooks.screens import ActionButton, Freshness, IncidentCard, Shown
from runbooks.value import Moment

_LINKS = 6
_SLUG = 80  # a runbook's id has at most so many characters, all ASCII (`runbooks.value.Slug`); a button has room for no more
_LINES = 6
_DIGEST = re.compile(r"\b([0-9a-f]{8}:[0-9a-f]{8})(?::[0-9a-f]{8}){6}\b")
"""A digest in groups. Nobody reads it whole on a card; the timeline has all of it."""
_MEASURED = 12
_STANDING = 8


def incident_card(card: IncidentCard) -> Drawn:
    """The card in its present state. A resolved one has no actions and shows its outcome."""
    sheet = Sheet()
    sheet.add(header(drill_first(card.incident, _title(card.incident))))
    sheet.add(section(_what_broke(card)))
    sheet.add(fields(_owner(card), _affected(card)))
    if card.incident.is_open:
        sheet.add(context(_direct_plans(card.safe_actions)), spare=1)
        sheet.add_all(_buttons(card))
        sheet.add_all(proposals_on_card(card.proposals), spare=1)
        sheet.add(context(_withheld(card)), spare=1)
        sheet.add(context(_gated(card)), spare=2)
    sheet.add(context(_lines(*card.degraded, mark="Muster: ")), spare=2)
    sheet.add(context(_state(card)), spare=1)
    sheet.add(section(_runs(card)), spare=2)
    sheet.add(context(_in_force(card)), spare=4)
    if card.incident.is_open:
        sheet.add(section(_over(card)), spare=3)
        sheet.add(context(_measured(card)), spare=3)
        sheet.add(context(_standing(card)), spare=5)
    sheet.add(context(_suspects(card)), spare=5)
    sheet.add(context(_links(card.links)), spare=6)
    if card.incident.is_open:
        sheet.add(context(_lines(*card.notes)), spare=4)
    sheet.add(_trust(card), spare=5)
    return drawn(_summary(card), sheet)


def _title(incident: Incident) -> str:
    state = f"{incident.status.value.capitalize()}{DOT}" if _calm(incident) else ""
    return f"{state}{incident.severity.value} · {incident.ref} · {incident.title}"


def _calm(incident: Incident) -> bool:
    """Whether it is known to be better: what is withheld then needs no reason, and the next step is to resolve."""
    return incident.status in {IncidentStatus.MITIGATED, IncidentStatus.RESOLVED}


def _summary(card: IncidentCard) -> str:
    incident = card.incident
    start = f"{named(incident)}: {text.sentence(text.line(incident.title, 200))}"
    if not incident.is_open:
        return f"{start} {_outcome_words(incident)}".rstrip()
    offered = [text.line(action.title, 80) for action in card.safe_actions if not action.withheld]
    actions = f"Safe actions: {', '.join(offered)}." if offered else "No safe action can be pressed now."
    return f"{start} Owner {text.line(card.owner, 80) or 'unknown'}. {actions}"


def _outcome_words(incident: Incident) -> str:
    return text.sentence(text.line(incident.resolution or "", 400))


def _what_broke(card: IncidentCard) -> str:
    incident = card.incident
    broke = text.sentence(text.line(card.what_broke, 400))
    began = text.when(incident.began_at, card.drawn_at)
    if incident.resolved_at is None:
        lasted = text.lasting((card.drawn_at - incident.began_at).total_seconds())
        return f"{broke} For {lasted}, since {began}."
    lasted = text.lasting((incident.resolved_at - incident.began_at).total_seconds())
    ended = f"*Resolved* {text.when(incident.resolved_at, card.drawn_at)} after {lasted}, since {began}."
    return "\n".join(filter(None, [broke, f"{ended} {_outcome_words(incident)}".rstrip()]))


def _owner(card: IncidentCard) -> str:
    duty = ", ".join(text.mention(person) for person in card.on_call[:3])
    owner = text.line(card.owner, 80) or "nobody yet"
    if not card.incident.is_open:
        return f"*Owner* {owner}"
    return f"*Owner* {owner}, on call {duty}" if duty else f"*Owner* {owner}, nobody known on call"


def _affected(card: IncidentCard) -> str:
    return f"*Affected* {text.line(card.affected, 300) or 'not known'}"


def _buttons(card: IncidentCard) -> list[ActionsBlock]:
    """Safe actions before the incident's own. Once it is mitigated the next step comes first, and what is withheld stands in More."""
    calm = _calm(card.incident)
    offered = [action for action in card.safe_actions if not (calm and action.withheld)]
    safe = [action_button(action, card.incident, card.freshness, card.button_expires_at) for action in offered[:ROW]]
    own = [item for item in _incident_buttons(card) if item is not None]
    first, second = (own, safe) if calm else (safe, own)
    if len(safe) + len(own) <= ROW:
        return rows([*first, *second])
    return [*rows(first), *rows(second)]


def action_button(
    action: ActionButton, incident: Incident, freshness: Freshness, expires_at: Moment, *, beside: bool = False
) -> ButtonElement:
    """An action on offer. Three dots when a dialog follows; a withheld one explains itself when pressed.

    `beside` its title, the button is short: it need not repeat it.
    """
    kind = PressKind.EXPLAIN if action.withheld else PressKind.RUN_NOW if action.direct else PressKind.PLAN
    press = Press(
        kind=kind,
        incident_id=incident.id,
        step=action.step,
        runbook=text.plain(freshness.runbook, _SLUG).encode("ascii", "replace").decode(),
        version=freshness.version,
        expires_at=expires_at,
    )
    title = text.plain(action.title, text.BUTTON_SHOWN - 1)
    label = title if action.direct or action.withheld or title.endswith("…") else f"{title}…"
    if beside:
        label = "Why not?" if action.withheld else "Run now" if action.direct else "Plan…"
    why = f" (not now: {action.withheld})" if action.withheld else ""
    return button(label, press, spoken=f"{action.title}, {action.tier.value}{why}")


def _incident_buttons(card: IncidentCard) -> list[ButtonElement | None]:
    incident = card.incident

    def press(kind: PressKind, subject: int | None = None) -> Press:
        return Press(
            kind=kind,
            incident_id=incident.id,
            subject_id=subject,
            version=card.freshness.version,
            expires_at=card.button_expires_at,
        )

    mitigated = incident.status is IncidentStatus.MITIGATED
    return [
        button("Resolve…", press(PressKind.RESOLVE), style="primary") if mitigated else None,
        button("Acknowledge", press(PressKind.ACKNOWLEDGE), style="primary") if incident.acknowledged_at is None else None,
        button("Take command", press(PressKind.TAKE_COMMAND)) if incident.commander is None else None,
        abort_button(incident, card.button_expires_at) if incident.is_drill else None,
        button("More…", press(PressKind.MORE), spoken=f"More about {incident.ref}"),
    ]


def abort_button(incident: Incident, expires_at: Moment) -> ButtonElement:
    """Anyone may abort a drill."""
    press = Press(kind=PressKind.DRILL_ABORT, incident_id=incident.id, subject_id=incident.drill_id, expires_at=expires_at)
    question = confirm("Abort the drill?", "It ends now and counts as aborted. Production is not touched.", "Abort")
    return button("Abort drill", press, style="danger", confirm=question)


def _direct_plans(actions: tuple[ActionButton, ...]) -> str:
    shown = [
        f"*{text.line(a.title, 80)}* runs at one click: {text.line(a.plan_text, 300)}" for a in actions[:ROW] if a.direct and not a.withheld
    ]
    return "\n".join(shown)


def _withheld(card: IncidentCard) -> str:
    """Why an action cannot be pressed, while somebody may still want to; while one is at work or has helped, it is noise."""
    if _calm(card.incident) or any(line.run.state in IN_FLIGHT for line in card.runs):
        return ""
    withheld = ((action, action.withheld) for action in card.safe_actions[:ROW] if action.withheld)
    return "\n".join(f"*{text.line(action.title, 80)}* not now: {text.told(why, 200, near=card.drawn_at)}" for action, why in withheld)


def _gated(card: IncidentCard) -> str:
    """What else the runbook has, with somebody's approval: it stands in More, and must not be missed there."""
    if _calm(card.incident) or any(line.run.state in IN_FLIGHT or line.run.state in BEFORE_RUNNING for line in card.runs):
        return ""
    titles = [f"*{text.line(action.title, 80)}*" for action in card.gated_actions[:_LINES] if not action.withheld]
    return f"In More, with approval: {', '.join(titles)}" if titles else ""


def _lines(*items: str, mark: str = "") -> str:
    shown = [f"{mark}{text.line(item, 250)}" for item in items[:_LINES]]
    return "\n".join([*shown, f"…and {len(items) - _LINES} more"] if len(items) > _LINES else shown)


def _state(card: IncidentCard) -> str:
    incident, parts = card.incident, []
    if incident.acknowledged_at is not None:
        by = f" by {text.mention(card.acknowledged_by)}" if card.acknowledged_by else ""
        parts.append(f"Acknowledged{by}, {text.when(incident.acknowledged_at, card.drawn_at)}")
    if card.commander is not None:
        parts.append(f"Commander {text.mention(card.commander)}")
    if incident.mitigated_at is not None and incident.is_open:
        parts.append(f"Mitigated {text.when(incident.mitigated_at, card.drawn_at)}")
    return DOT.join(parts)


def _standing(card: IncidentCard) -> str:
    """How what the runbook may touch is set at present: flags, releases, replicas, limits (mission B2)."""
    shown = [text.line(item, 120) for item in card.state_lines[:_STANDING]]
    more = [f"and {len(card.state_lines) - _STANDING} more"] if len(card.state_lines) > _STANDING else []
    return f"Set now: {DOT.join([*shown, *more])}" if shown else ""


def _runs(card: IncidentCard) -> str:
    shown = [run_line(line, card.drawn_at) for line in card.runs[:_LINES]]
    return "\n".join([*shown, f"…and {len(card.runs) - _LINES} more in the thread"] if len(card.runs) > _LINES else shown)


def _in_force(card: IncidentCard) -> str:
    shown = {line.mitigation.id for line in card.runs[:_LINES] if line.mitigation}
    rest = [held for held in card.mitigations if held.id not in shown and held.ended_at is None]
    return f"Still in force: {DOT.join(mitigation_line(held, card.drawn_at) for held in rest[:_LINES])}" if rest else ""


def mitigation_line(held: Mitigation, now: Moment) -> str:
    """A mitigation with its end."""
    end = f"until {text.when(held.ends_at, now)}" if held.ends_at else "without an end"
    return f"{text.line(held.title, 80)} {end}"


def _over(card: IncidentCard) -> str:
    """What is over its limit, and the stage that it points to: the first thing to read."""
    if not card.diagnosis:
        return "Diagnosis is running." if card.diagnosing else ""
    over = [item for item in card.diagnosis[:_MEASURED] if item.over]
    if not over:
        return "Everything measured is within its limits."
    stages = list(dict.fromkeys(f"*{text.line(item.stage, 40)}*" for item in over if item.stage))
    where = f" Stage: {' and '.join(stages)}." if stages else ""
    return f"{text.sentence(DOT.join(shown_text(item, bold=True) for item in over))}{where}"


def _measured(card: IncidentCard) -> str:
    """The rest of what was measured, with the time of it all."""
    rest = [item for item in card.diagnosis[:_MEASURED] if not item.over]
    shown = [shown_text(item) for item in sorted(rest, key=lambda item: item.known)]
    at = [text.when(card.measured_at, card.drawn_at)] if card.measured_at and card.diagnosis else []
    more = ["measuring again"] if card.diagnosing and card.diagnosis else []
    return DOT.join([*shown, *at, *more])


def shown_text(shown: Shown, *, bold: bool = False) -> str:
    """A measurement with its unit, and with its limit where that is crossed; no data is said."""
    measured = shown.measurement
    title = text.line(measured.title, 60)
    if not shown.known:
        return f"{title} *no data*"
    limit = f" (limit {text.number(shown.limit.limit, measured.unit)})" if shown.limit and shown.over else ""
    if measured.value is not None and (measured.unit or not measured.text):
        value = text.number(measured.value, measured.unit, beside=shown.limit.limit if limit and shown.limit else None)
    else:
        value = text.line(_DIGEST.sub(r"\1…", measured.text), 150)
        title = f"{title}:" if ", " in measured.text else title
    return f"*{title} {value}*{limit}" if bold else f"{title} {value}{limit}"


def _suspects(card: IncidentCard) -> str:
    return f"Changed: {DOT.join(_suspect(item, card.drawn_at) for item in card.suspects[:3])}" if card.suspects else ""


def _suspect(suspect: Suspect, now: Moment) -> str:
    change = suspect.change
    title = text.link(change.link, change.title) if change.link else text.line(change.title, 140)
    return f"{text.when(change.changed_at, now)} {change.kind.value} {title} ({text.line(suspect.reason, 80)})"


def _links(links: dict[str, str]) -> str:
    return DOT.join(text.link(url, label.replace("_", " ").capitalize()) for label, url in list(links.items())[:_LINKS])


def trust_line(fresh: Freshness) -> str:
    """How far the runbook can be trusted; a warning comes first."""
    warned = (fresh.warning or "").lower()
    parts = [f"{text.line(fresh.runbook, 80)} v{fresh.version}"]
    if "review" not in warned:
        parts.append(f"reviewed {_ago(fresh.reviewed_days)}{', overdue' if fresh.overdue else ''}")
    if fresh.drilled_days is None and "drill" not in warned:
        parts.append("never drilled")
    elif fresh.drilled_days is not None and "drill" not in warned:
        result = {True: ", passed", False: ", failed"}.get(fresh.drill_passed, "") if fresh.drill_passed is not None else ""
        parts.append(f"drilled {_ago(fresh.drilled_days)}{result}")
    if fresh.used_days is not None:
        parts.append(f"last used {_ago(fresh.used_days)}")
    if fresh.changed_days is not None and fresh.changed_days <= 14:
        parts.append(f"changed {_ago(fresh.changed_days)}")
    warning = f"*{text.sentence(text.line(fresh.warning, 250))}* " if fresh.warning else ""
    return f"{warning}{DOT.join(parts)}"


def _ago(days: int) -> str:
    return {0: "today", 1: "yesterday"}.get(days, f"{days} d ago")


def _trust(card: IncidentCard) -> Block | None:
    if not card.incident.is_open:
        return context(trust_line(card.freshness))
    press = Press(kind=PressKind.WHY, incident_id=card.incident.id, version=card.freshness.version, expires_at=card.button_expires_at)
    return section(trust_line(card.freshness), accessory=button("Why this runbook?", press))
