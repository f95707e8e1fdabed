"""The approval request: the same plan, put to those who may say yes."""

from slack_sdk.models.blocks import ButtonElement

from bot.slack import text
from bot.slack.cards import plan as plans
from bot.slack.cards.parts import Drawn, Sheet, button, context, drawn, drill_first, header, named, rows, section
from bot.slack.intents import Press, PressKind
from runbooks.screens import ApprovalRequest
from runbooks.value import Moment


def approval_request(screen: ApprovalRequest) -> Drawn:
    """Asked: plan, minutes left, Approve and Decline. Decided: first what was decided, then the plan, without buttons."""
    incident, run, plan = screen.incident, screen.run, screen.plan
    sheet = Sheet()
    sheet.add(header(drill_first(incident, f"{'Decided' if screen.decided else 'Approval wanted'} · {incident.ref} · {run.title}")))
    if screen.decided:
        sheet.add(section(f"*{text.sentence(text.told(screen.decided, 600, near=screen.until_at))}*"))
    sheet.add(section(_asked(screen)))
    for paragraph in plan_text(screen, plan.made_at):
        sheet.add(section(paragraph))
    sheet.add(context(plans.checks(plan.checks, "", now=plan.made_at)))
    if run.freeze_override:
        names = " and ".join(text.line(name, 120) for name in run.freeze_override.names[:3])
        sheet.add(section(f"*Overrides {names}:* {text.sentence(text.line(run.freeze_override.reason, 400))}"))
    if not screen.decided:
        sheet.add_all(rows(_buttons(screen)))
        sheet.add(context(f"Open until {text.when(screen.until_at, plan.made_at)}. The approval holds for exactly this plan."))
    return drawn(_summary(screen), sheet)


def plan_text(screen: ApprovalRequest, now: Moment) -> tuple[str, ...]:
    """The plan as the requester saw it, paragraph by paragraph."""
    plan = screen.plan
    return (
        plans.change(plan),
        plans.expectation(plan, ""),
        plans.ending(plan, ends_at=None, reminder_at=None, now=now),
        plans.costs(plan.cost),
    )


def _asked(screen: ApprovalRequest) -> str:
    who = text.mention(screen.requested_by) if screen.requested_by else text.line(screen.run.requested_by, 80)
    if screen.decided:
        return f"{who} asked for it."
    asks = f"{who} asks {text.line(screen.approvers, 200)} to approve" if screen.approvers else f"{who} asks for approval of"
    return f"{asks} *{text.line(screen.run.title, 120)}*.\n{plans.gate(screen.run.tier, screen.run.approvals_needed)}"


def _buttons(screen: ApprovalRequest) -> list[ButtonElement | None]:
    def press(kind: PressKind) -> Press:
        return Press(
            kind=kind,
            incident_id=screen.incident.id,
            step=screen.run.step,
            run_id=screen.run.id,
            plan_hash=screen.plan.hash,
            version=screen.run.runbook.version,
            expires_at=screen.until_at,
        )

    return [
        button("Approve", press(PressKind.APPROVE), style="primary", spoken=f"Approve {screen.run.title}"),
        button("Decline", press(PressKind.DECLINE), spoken=f"Decline {screen.run.title}"),
        button("Cancel request", press(PressKind.CANCEL), spoken=f"Cancel the request for {screen.run.title}"),
    ]


def _summary(screen: ApprovalRequest) -> str:
    start = f"{named(screen.incident)}: "
    title = text.line(screen.run.title, 120)
    if screen.decided:
        return f"{start}{title}: {text.sentence(text.line(screen.decided, 600))}"
    who = text.line(screen.requested_by.name if screen.requested_by else screen.run.requested_by, 80)
    until = text.spoken(screen.until_at, screen.plan.made_at)
    return f"{start}approval wanted for {title}, asked by {who}, until {until}. {plans.spoken(screen.plan)}."
