"""A plan in words (rule S6): what will change, what it should bring, when it ends, what it costs, what was checked."""

from collections.abc import Mapping, Sequence

from bot.slack import text
from bot.slack.cards.parts import DOT
from runbooks.operation import SEVERAL, Check, Plan, ProposedPart
from runbooks.severity import Tier
from runbooks.value import Moment

PARTS = 20
"""Parts of one change that are shown; a sequence has no more."""

_PEOPLE = ("no approval needed", "one other person must approve", "two other people must approve")


_RISK = {Tier.R0: "Only reads", Tier.R1: "Low risk", Tier.R2: "High risk", Tier.R3: "Highest risk"}


def gate(tier: Tier, approvals: int) -> str:
    """Tier and gate, such as `Low risk (R1) · no approval needed`."""
    return f"{_RISK[tier]} ({tier.value}){DOT}{_PEOPLE[min(max(approvals, 0), 2)]}"


def change(plan: Plan) -> str:
    """Target, place and the step from present to wanted, on one line; of several changes as one each on a line of its own."""
    if plan.proposal.parts:
        return _together(plan)
    target = text.line(plan.call.target or plan.call.operation, 120)
    place = f", {text.line(plan.call.environment, 60)}" if plan.call.environment else ""
    count = f" ({plan.proposal.count} targets)" if plan.proposal.count != 1 else ""
    nothing = f"is {text.line(plan.proposal.after_text, 200)} already: nothing would change"
    step = nothing if plan.changes_nothing else text.line(plan.proposal.step, 400)
    return f"`{target}`{place}{count}: *{step}*" if "`" not in target else f"{target}{place}{count}: *{step}*"


def _together(plan: Plan) -> str:
    parts = plan.proposal.parts
    place = f" in {text.line(plan.call.environment, 60)}" if plan.call.environment else ""
    whole = f"{code(plan.call.target or '', 120)}: *{text.line(plan.proposal.step, 200)}*, " if plan.call.operation != SEVERAL else ""
    head = f"{whole}{len(parts)} parts as one{place}, in this order:"
    more = [f"…and {len(parts) - PARTS} more"] if len(parts) > PARTS else []
    return "\n".join([head, *(f"{number}. {part(one)}" for number, one in enumerate(parts[:PARTS], start=1)), *more])


def part(one: ProposedPart) -> str:
    """One of several changes, on one line."""
    name = "" if one.name in {one.target, ""} else f"{text.line(one.name, 60)} "
    return f"{name}{code(one.target, 80)} {text.line(one.step, 120)}"


def code(name: str, most: int) -> str:
    """A name as code, where it holds no mark that would end it."""
    said = text.line(name, most)
    return said if "`" in name else f"`{said}`"


def expectation(plan: Plan, watch: str) -> str:
    """What it should bring, and that it is watched."""
    said = [text.sentence(text.line(part, 400)) for part in (plan.effect, watch) if part]
    note = text.sentence(text.line(plan.proposal.note, 300))
    return " ".join(filter(None, [*said, note]))


def ending(plan: Plan, *, ends_at: Moment | None, reminder_at: Moment | None, now: Moment) -> str:
    """When it ends by itself, the reminder before, and how it is undone."""
    parts = []
    if ends_at is not None:
        reminder = f", reminder {text.when(reminder_at, now)}" if reminder_at else ""
        parts.append(f"Ends {text.when(ends_at, now)}{reminder}.")
    parts.append(text.sentence(text.line(plan.undo, 300)))
    return " ".join(filter(None, parts))


def costs(cost: Mapping[str, str]) -> str:
    """Money, quality and latency, each said; those that it does not touch in one sentence."""
    shown = list(cost.items())[:5]
    said = [text.sentence(f"{_cost(name)}{_joint(value)}{text.line(value, 200)}") for name, value in shown if value != "none"]
    free = [name for name, value in shown if value == "none"]
    if "money" in free:
        said.insert(0, "Costs no money.")
    untouched = " or ".join(text.line(name, 40) for name in free if name != "money")
    return " ".join([*said, f"No effect on {untouched}."] if untouched else said)


def _cost(name: str) -> str:
    return "Cost" if name == "money" else text.line(name.capitalize(), 40)


def _joint(value: str) -> str:
    """A number follows its name at once; words need a colon to be read."""
    return " " if value[:1].isdigit() else ": "


def checks(found: Sequence[Check], last_run: str, *, now: Moment) -> str:
    """The pre-checks with their results in words; what does not hold is said first."""
    ordered = sorted(found, key=lambda check: check.holds is True)
    shown = [_check(check, now).rstrip(".") for check in ordered[:8]]
    if last_run:
        shown.append(text.line(last_run, 120))
    return f"Checks: {DOT.join(shown)}" if shown else ""


def _check(check: Check, now: Moment) -> str:
    said = text.told(check.text or check.name, 160, near=now)
    if check.holds is None:
        return f"*no data:* {said}"
    return said if check.holds else f"*not met:* {said}"


def spoken(plan: Plan) -> str:
    """The change for a notification."""
    target = text.line(plan.call.target or plan.call.operation, 120)
    return f"{target}: {text.line(plan.proposal.step, 240)}"
