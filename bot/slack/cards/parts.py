"""The pieces that cards are made of: typed blocks with text that is already safe, and a sheet that keeps within Slack's limits."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slack_sdk.models.blocks import (
    ActionsBlock,
    Block,
    ButtonElement,
    ConfirmObject,
    ContextBlock,
    HeaderBlock,
    InteractiveElement,
    MarkdownTextObject,
    PlainTextObject,
    SectionBlock,
)

from bot.slack import intents, text
from bot.slack.intents import Press, PressKind
from runbooks.incident import Incident
from runbooks.value import Json

MESSAGE_BLOCKS = 50
MESSAGE_SIZE = 11_500  # characters of JSON; Slack refuses somewhere past 13,000 (msg_blocks_too_long) and does not say where
ROW = 5
DOT = " · "


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A message as Slack takes it. `text` stands alone: notifications and screen readers read nothing else."""

    text: str
    blocks: tuple[Json, ...]


class Sheet:
    """Blocks in order. What is spare is left out first, the highest number before the others, when a message grows too large."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, Json]] = []

    def add(self, block: Block | None, *, spare: int = 0) -> None:
        """Append a block; None is nothing to say. The typed model refuses what Slack would refuse."""
        if block is not None:
            self._rows.append((spare, block.to_dict()))

    def add_drawn(self, block: Json) -> None:
        """Append a block that was drawn and judged before."""
        self._rows.append((0, block))

    def add_all(self, blocks: Iterable[Block], *, spare: int = 0) -> None:
        """Append several."""
        for block in blocks:
            self.add(block, spare=spare)

    def blocks(self, *, most: int = MESSAGE_BLOCKS, largest: int = MESSAGE_SIZE) -> tuple[Json, ...]:
        """What fits: within `most` blocks and `largest` characters of JSON."""
        rows = list(self._rows)
        while rows and (len(rows) > most or _size(rows) > largest):
            spare = max(number for number, _ in rows)
            last = max(index for index, (number, _) in enumerate(rows) if number == spare)
            del rows[last]
        return tuple(block for _, block in rows)


def _size(rows: Sequence[tuple[int, Json]]) -> int:
    return len(json.dumps([block for _, block in rows], separators=(",", ":"), ensure_ascii=False))


def drawn(summary: str, sheet: Sheet) -> Drawn:
    """A finished message."""
    return Drawn(text=text.cut(summary, text.MESSAGE_TEXT), blocks=sheet.blocks())


def mrkdwn(words: str) -> MarkdownTextObject:
    """Safe mrkdwn. Verbatim: Slack makes no mention or link of what only looks like one."""
    return MarkdownTextObject(text=words, verbatim=True)


def words(plain: str) -> PlainTextObject:
    """Plain text in which `:10:` is no emoji."""
    return PlainTextObject(text=plain, emoji=False)


def header(content: str) -> HeaderBlock:
    """The first line of a message."""
    return HeaderBlock(text=words(text.plain(content, text.HEADER)))


def section(content: str, *, accessory: InteractiveElement | None = None) -> SectionBlock | None:
    """A paragraph of safe mrkdwn; nothing for nothing."""
    return SectionBlock(text=mrkdwn(whole_lines(content, text.SECTION)), accessory=accessory, expand=True) if content else None


def fields(*contents: str) -> SectionBlock:
    """Short facts side by side; one under the other on a phone."""
    return SectionBlock(fields=[mrkdwn(content) for content in contents if content])


def context(content: str) -> ContextBlock | None:
    """A quieter line of safe mrkdwn."""
    return ContextBlock(elements=[mrkdwn(whole_lines(content, text.SECTION))]) if content else None


def whole_lines(content: str, limit: int) -> str:
    """As many whole lines as fit; a token or a link is never cut in two. One line alone must fit."""
    while text.size(content) > limit and "\n" in content:
        content = content.rpartition("\n")[0]
    return content


def button(
    label: str,
    press: Press,
    *,
    style: str | None = None,
    spoken: str | None = None,
    confirm: ConfirmObject | None = None,
    url: str | None = None,
) -> ButtonElement:
    """A button with its intent. `spoken` is what a screen reader says where the label alone is too short."""
    intent = intents.encode(press)
    return ButtonElement(
        text=words(text.plain(label, text.BUTTON_SHOWN) or "…"),
        action_id=intent.name,
        value=intent.value,
        style=style,
        confirm=confirm,
        url=url,
        accessibility_label=text.plain(spoken, text.BUTTON) if spoken else None,
    )


def link_button(
    label: str, url: str | None, *, number: int = 0, incident_id: int | None = None, style: str | None = None
) -> ButtonElement | None:
    """A button that opens an address; nothing when the address may not be linked. `number` tells apart those of one row."""
    target = text.address(url) if url else None
    if target is None:
        return None
    return button(label, Press(kind=PressKind.LINK, incident_id=incident_id, subject_id=number), url=target, style=style)


def confirm(title: str, content: str, yes: str, *, no: str = "Cancel") -> ConfirmObject:
    """A question before the button counts, naming the effect."""
    return ConfirmObject(
        title=words(text.plain(title, 100)),
        text=words(text.plain(content, 300)),
        confirm=words(text.plain(yes, 30)),
        deny=words(no),
    )


def rows(buttons: Sequence[ButtonElement | None]) -> list[ActionsBlock]:
    """Buttons, at most five in a row."""
    shown = [item for item in buttons if item is not None]
    return [ActionsBlock(elements=shown[start : start + ROW]) for start in range(0, len(shown), ROW)]


def drill_first(incident: Incident | None, content: str, *, bold: bool = False) -> str:
    """DRILL at the front of everything that a drill says (mission H2)."""
    return marked(content, drill=incident is not None and incident.is_drill, bold=bold)


def marked(content: str, *, drill: bool, bold: bool = False) -> str:
    """DRILL at the front, if it is one and does not say so already."""
    if not drill or content.startswith("DRILL"):
        return content
    return f"*DRILL* · {content}" if bold else f"DRILL · {content}"


def bullets(items: Iterable[str], *, most: int = 8, each: int = 250) -> str:
    """Short lines of outside text under each other; what is left out is counted."""
    lines = [text.line(item, each) for item in items]
    shown = [f"• {item}" for item in lines[:most] if item]
    return "\n".join([*shown, f"…and {len(lines) - most} more"] if len(lines) > most else shown)


def named(incident: Incident) -> str:
    """How a notification begins: severity, id, state. Safe mrkdwn."""
    return drill_first(incident, f"{incident.severity.value} {incident.ref} {incident.status.value}")
