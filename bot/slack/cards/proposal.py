"""A proposal: a calm line in the thread and on the card, its sources shown as somebody's text, and a countdown that anyone may stop."""

from datetime import UTC
from urllib.parse import urlsplit

from slack_sdk.models.blocks import Block, ButtonElement

from bot.slack import text
from bot.slack.cards.parts import Drawn, Sheet, button, context, drawn, drill_first, named, rows, section
from bot.slack.intents import Press, PressKind
from runbooks.proposing import MOST_SOURCES, Source, Suggestion, SuggestionState
from runbooks.screens import ProposalMessage, ProposalShown
from runbooks.value import Moment

_REASON = 500
_ON_CARD = 2
"""Proposals on a card: what counts down comes first, and the others stand in the thread."""


def proposal_message(screen: ProposalMessage) -> Drawn:
    """The proposal in the thread: what and why, what it would change, when it runs, and what it rests on."""
    one, incident = screen.shown.proposal, screen.incident
    sheet = Sheet()
    sheet.add(section(drill_first(incident, _line(screen.shown), bold=True)))
    sheet.add(section(_change(one)))
    sheet.add(section(screen.shown.outcome and text.told(screen.shown.outcome, 500, near=one.ended_at)))
    sheet.add_all(rows([_button(word, one) for word in screen.shown.buttons]))
    sheet.add(context(_sources(one)), spare=1)
    sheet.add(context(text.told(one.note, 400, near=one.made_at) if one.note and one.stands else ""), spare=2)
    return drawn(f"{named(incident)}: {_spoken(screen.shown)}", sheet)


def counts_down(screen: ProposalMessage) -> bool:
    """Whether it runs by itself unless somebody stops it."""
    return screen.shown.proposal.stands and screen.shown.proposal.runs_at is not None


def on_home(screen: ProposalMessage, now: Moment) -> list[Block]:
    """The same in App Home, under its incident: what runs by itself and when, who proposes it and why, and the button that stops it."""
    one, incident = screen.shown.proposal, screen.incident
    where = f"*{incident.ref}* {text.line(incident.title, 100)}"
    told = screen.shown.outcome and text.told(screen.shown.outcome, 300, near=one.ended_at or now)
    lines = "\n".join(filter(None, [drill_first(incident, where, bold=True), _line(screen.shown), told or _change(one)]))
    return [*filter(None, [section(lines)]), *rows([_button(word, one) for word in screen.shown.buttons])]


def on_card(shown: tuple[ProposalShown, ...]) -> list[Block]:
    """The same on the card, with its buttons."""
    blocks: list[Block] = []
    for one in shown[:_ON_CARD]:
        lines = "\n".join(filter(None, [_line(one), _change(one.proposal)]))
        blocks += [found for found in [section(lines)] if found is not None]
        blocks += rows([_button(word, one.proposal) for word in one.buttons])
    return blocks


def _line(shown: ProposalShown) -> str:
    one = shown.proposal
    reason = text.told(one.reason, _REASON, near=one.made_at)
    return text.sentence(f"{text.line(shown.by, 200)} proposes *{text.line(one.title, 80)}*: {reason}")


def _change(one: Suggestion) -> str:
    """What it would change while it stands, what it changes where it runs; nothing where nothing came of it."""
    change = text.line(one.change, 200)
    if one.stands:
        return " ".join(filter(None, [change and text.sentence(f"Would change {change}"), _runs(one)]))
    return text.sentence(change) if change and one.state in {SuggestionState.BEGUN, SuggestionState.TAKEN} else ""


def _runs(one: Suggestion) -> str:
    return f"Runs at *{_to_the_second(one.runs_at)}* unless somebody stops it." if one.runs_at else ""


def _to_the_second(at: Moment) -> str:
    """The time of day in the reader's zone, with seconds: a countdown is short."""
    utc = at.astimezone(UTC)
    return f"<!date^{int(utc.timestamp())}^{{time_secs}}|{utc:%H:%M:%S} UTC>"


def _spoken(shown: ProposalShown) -> str:
    """For lock screens and screen readers."""
    one = shown.proposal
    said = text.sentence(f"{text.line(shown.by, 200)} proposes {text.line(one.title, 80)}: {text.prose(one.reason, _REASON)}")
    if shown.outcome:
        return f"{said} {text.prose(shown.outcome, 300)}"
    return f"{said} Runs at {one.runs_at.astimezone(UTC):%H:%M:%S} UTC unless somebody stops it." if one.runs_at else said


def _sources(one: Suggestion) -> str:
    """What a machine says that it rests on: its words, quoted and escaped, each link named by where it really leads."""
    if not one.sources:
        return ""
    lines = ["A machine's words and sources; Muster has checked none of them:"]
    return "\n".join([*lines, *(_source(source) for source in one.sources[:MOST_SOURCES])])


def _source(source: Source) -> str:
    address = text.address(source.link, 500) if source.link else None
    where = f" ({text.link(address, urlsplit(address).hostname or 'link', 500)})" if address else ""
    quote = f": “{text.line(source.quote, 240)}”" if source.quote else ""
    return f"• {text.line(source.title, 120)}{where}{quote}"


def _button(word: str, one: Suggestion) -> ButtonElement:
    kind, label = _BUTTONS[word]
    press = Press(kind=kind, incident_id=one.incident_id, subject_id=one.id)
    style = "danger" if word == "stop" else None
    return button(label, press, spoken=f"{label.rstrip('…')}: {one.title}", style=style)


_BUTTONS = {
    "look": (PressKind.PROPOSED_LOOK, "Look at the plan…"),
    "run": (PressKind.PROPOSED_RUN, "Run now"),
    "not_now": (PressKind.NOT_NOW, "Not now"),
    "stop": (PressKind.PROPOSED_STOP, "Stop"),
}
