"""Dialogs: the plan (screen 2), everything else about an incident, resolve (screen 5), and the small ones."""

from slack_sdk.models.blocks import Block, ButtonElement
from slack_sdk.models.views import View

from bot.slack import intents, text
from bot.slack.cards import forms
from bot.slack.cards import plan as plans
from bot.slack.cards.incident import abort_button, action_button, mitigation_line, trust_line
from bot.slack.cards.parts import DOT, Drawn, Sheet, button, context, drill_first, link_button, rows, section
from bot.slack.intents import Press, PressKind
from runbooks.incident import Incident
from runbooks.screens import (
    ActionButton,
    DeclareDialog,
    DrillMoveDialog,
    ExtendDialog,
    HandOverDialog,
    Loading,
    MatchDialog,
    MoreDialog,
    NoteDialog,
    PlanDialog,
    ResolveDialog,
    SeverityDialog,
)
from runbooks.severity import Severity
from runbooks.value import Json

VIEW_BLOCKS = 100
VIEW_SIZE = 60_000
SUBMIT = 24
_MITIGATIONS = 40


def view(
    title: str,
    sheet: Sheet,
    *,
    submit: str | None = None,
    press: Press | None = None,
    extra: dict[str, str] | None = None,
    close: str = "Cancel",
) -> Json:
    """A dialog as Slack takes it. `press` is what its submit button means."""
    intent = intents.encode_form(press, extra=extra) if press else None
    return View(
        type="modal",
        title={"type": "plain_text", "text": text.plain(title, text.VIEW_TITLE) or "Muster", "emoji": False},
        submit={"type": "plain_text", "text": text.plain(submit, SUBMIT), "emoji": False} if submit else None,
        close={"type": "plain_text", "text": close, "emoji": False},
        callback_id=intent.name if intent else None,
        private_metadata=intent.value if intent else None,
        blocks=list(sheet.blocks(most=VIEW_BLOCKS, largest=VIEW_SIZE)),
    ).to_dict()


def _titled(incident: Incident, word: str) -> str:
    return drill_first(incident, f"{incident.ref} · {word}")


def _about(sheet: Sheet, incident: Incident) -> None:
    sheet.add(
        context(drill_first(incident, f"{incident.severity.value}{DOT}{incident.ref}{DOT}{text.line(incident.title, 150)}", bold=True))
    )


def sentence_view(message: Drawn) -> Json:
    """A message as a small dialog, where the person has one open."""
    sheet = Sheet()
    for block in message.blocks:
        sheet.add_drawn(block)
    return view("Muster", sheet, close="Close")


def loading(screen: Loading) -> Json:
    """Open, and waiting for its contents."""
    sheet = Sheet()
    sheet.add(section(text.prose(screen.text, 1_000) or "One moment."))
    return view(screen.title or "Muster", sheet, close="Close")


def plan_dialog(screen: PlanDialog) -> Json:
    """The click that counts. A refusal takes the place of the submit button and says what would have to be true."""
    incident, plan = screen.incident, screen.plan
    sheet = Sheet()
    _about(sheet, incident)
    sheet.add(section(f"*{text.line(screen.title, 150)}*\n{plans.gate(screen.tier, screen.approvals)}"))
    sheet.add(section(plans.change(plan)))
    runnable = screen.refusal is None
    if screen.anew:
        sheet.add(context("Planned again with what you chose. Nothing has run yet."))
    if runnable:
        for name, parameter in list(screen.parameters.items())[:20]:
            sheet.add(forms.parameter_input(name, parameter, screen.values.get(name), shown=screen.choices_shown.get(name)))
    sheet.add(section(plans.expectation(plan, screen.watch)))
    sheet.add(section(plans.ending(plan, ends_at=screen.ends_at, reminder_at=screen.reminder_at, now=plan.made_at)))
    sheet.add(section(plans.costs(plan.cost)))
    sheet.add(context(plans.checks(plan.checks, screen.last_run, now=plan.made_at)))
    if not runnable:
        _refused(sheet, screen)
        return view(_titled(incident, "plan"), sheet, close="Close")
    if screen.approvals and screen.approvers:
        sheet.add(context(f"Goes to {text.line(screen.approvers, 200)}. Your own approval does not count."))
    if screen.frozen:
        sheet.add(section(f"*Held up.* {text.told(_capital(screen.frozen), 1_500, near=plan.made_at)}"))
        sheet.add(_override())
    if screen.break_glass:
        sheet.add(_break_glass())
    press = _plan_press(PressKind.CONFIRM, screen)
    return view(_titled(incident, "plan"), sheet, submit=_submit(screen), press=press)


def _refused(sheet: Sheet, screen: PlanDialog) -> None:
    why = _capital(screen.refusal or "")
    sheet.add(section(f"*Cannot run now.* {text.told(why, 1_500, near=screen.plan.made_at)}"))
    again = Press(kind=PressKind.PLAN, incident_id=screen.incident.id, step=screen.plan.step)
    sheet.add_all(rows([button("Plan again", again, spoken=f"Plan {screen.title} again")]))


def _capital(refusal: str) -> str:
    why = refusal.removeprefix("Not run: ")
    return why[:1].upper() + why[1:]


def _override() -> Block:
    return forms.text_input(
        "override_freeze",
        "Why this cannot wait until that is over",
        hint="You may override it. Your reason goes on the timeline and to the leads.",
        multiline=True,
        longest=1_000,
    )


def _break_glass() -> Block:
    return forms.text_input(
        "break_glass",
        "Why this cannot wait for approval",
        hint="Leave it empty to ask for approval. With a reason it runs now: the leads are told, and a review follows.",
        multiline=True,
        optional=True,
        longest=1_000,
    )


def _plan_press(kind: PressKind, screen: PlanDialog) -> Press:
    return Press(
        kind=kind,
        incident_id=screen.incident.id,
        step=screen.plan.step,
        run_id=screen.run_id,
        plan_hash=screen.plan_hash,
        version=screen.incident.match.runbook.version,
        expires_at=screen.expires_at,
    )


def _submit(screen: PlanDialog) -> str:
    if not screen.approvals:
        return "Run it"
    if screen.break_glass:  # the button must not promise to ask only: with a reason it runs at once
        return "Ask, or run with reason"
    one = screen.approvers and "," not in screen.approvers and screen.approvers != "nobody"
    team = one and " " not in screen.approvers and not screen.approvers.startswith("@")
    named = f"Ask {'@' if team else ''}{screen.approvers}"
    return named if one and text.size(named) <= SUBMIT else "Ask for approval"


def more_dialog(screen: MoreDialog) -> Json:
    """Everything else that can be done about an incident."""
    incident = screen.incident
    sheet = Sheet()
    _about(sheet, incident)
    if incident.is_open:
        _actions(sheet, "Actions that need approval", screen.gated_actions, screen)
        _actions(sheet, "Safe actions", screen.safe_actions, screen)
        sheet.add(section("*The incident*"))
        sheet.add_all(rows(_incident_rows(screen)))
    if screen.owners:
        named = (f"{'ML' if role == 'ml' else role.capitalize()} {text.line(team, 60)}" for role, team in screen.owners.items())
        sheet.add(context(DOT.join(named)))
    sheet.add(section("*The runbook*"))
    why = button("Wrong runbook?…", _more_press(PressKind.WHY, screen), spoken="Why this runbook, and say if it is wrong")
    sheet.add(section(trust_line(screen.freshness), accessory=why if incident.is_open else None))
    links = [
        link_button(label.replace("_", " ").capitalize(), url, number=number) for number, (label, url) in enumerate(screen.links.items())
    ]
    sheet.add_all(rows(links[:10]), spare=1)
    return view(_titled(incident, "more"), sheet, close="Close")


def _more_press(kind: PressKind, screen: MoreDialog, subject: int | None = None) -> Press:
    version = screen.freshness.version
    return Press(kind=kind, incident_id=screen.incident.id, subject_id=subject, version=version, expires_at=screen.expires_at)


def _actions(sheet: Sheet, title: str, actions: tuple[ActionButton, ...], screen: MoreDialog) -> None:
    if not actions:
        return
    sheet.add(section(f"*{title}*"))
    for action in actions[:15]:
        why = f"\nNot now: {text.line(action.withheld, 250)}" if action.withheld else ""
        plan = f"\n{text.line(action.plan_text, 250)}" if action.plan_text else ""
        said = f"{text.line(action.title, 120)}\n{plans.gate(action.tier, action.approvals)}{plan}{why}"
        press = action_button(action, screen.incident, screen.freshness, screen.expires_at, beside=True)
        sheet.add(section(said, accessory=None if action.withheld else press), spare=2)


def _incident_rows(screen: MoreDialog) -> list[ButtonElement | None]:
    incident = screen.incident
    shown: list[ButtonElement | None] = [
        button("Set severity…", _more_press(PressKind.SEVERITY, screen)),
        button("Hand over…", _more_press(PressKind.HAND_OVER, screen)),
        button("Post an update…", _more_press(PressKind.NOTE, screen)),
        button("Resolve…", _more_press(PressKind.RESOLVE, screen), style="primary"),
    ]
    return [*shown, abort_button(incident, screen.expires_at)] if incident.is_drill else shown


def match_dialog(screen: MatchDialog) -> Json:
    """Why this runbook, what else was near, and a way to say that it is the wrong one."""
    incident, match = screen.incident, screen.incident.match
    sheet = Sheet()
    _about(sheet, incident)
    sure = "No runbook fitted; this is the general one." if match.fallback else f"Score {match.score:.2f} of 1."
    reason = text.sentence(text.line(match.reason, 500))
    sheet.add(
        section(f"*{text.line(screen.runbook_title, 150)}* ({text.line(match.runbook.id, 80)} v{match.runbook.version})\n{reason} {sure}")
    )
    near = [f"• {text.line(near.runbook, 80)}, {near.score:.2f}: {text.line(near.reason, 200)}" for near in match.runners_up[:5]]
    sheet.add(section("*Also near*\n" + "\n".join(near) if near else "No other runbook was near."))
    if not screen.candidates:
        return view(_titled(incident, "runbook"), sheet, close="Close")
    choices = [(key, title) for key, title in screen.candidates.items()]
    sheet.add(
        forms.choice_input(
            "runbook", "The right runbook", choices, hint="The incident follows it from now on, and the case is kept to improve matching."
        )
    )
    press = Press(kind=PressKind.WRONG_RUNBOOK, incident_id=incident.id, version=match.runbook.version)
    return view(_titled(incident, "runbook"), sheet, submit="Use this one", press=press)


def severity_dialog(screen: SeverityDialog) -> Json:
    """Choose the severity."""
    incident = screen.incident
    sheet = Sheet()
    _about(sheet, incident)
    sheet.add(_severity_input(screen.choices or tuple(Severity), incident.severity))
    press = Press(kind=PressKind.SET_SEVERITY, incident_id=incident.id)
    return view(_titled(incident, "severity"), sheet, submit="Set severity", press=press)


def _severity_input(choices: tuple[Severity, ...], present: Severity) -> Block:
    said = {Severity.SEV1: "SEV1, worst", Severity.SEV4: "SEV4, mildest"}
    return forms.choice_input("severity", "Severity", [(one.value, said.get(one, one.value)) for one in choices], initial=present.value)


def note_dialog(screen: NoteDialog) -> Json:
    """Write a status update."""
    sheet = Sheet()
    _about(sheet, screen.incident)
    sheet.add(forms.text_input("text", "Update", multiline=True, hint="Goes into the thread and on the timeline.", longest=2_500))
    press = Press(kind=PressKind.ADD_NOTE, incident_id=screen.incident.id)
    return view(_titled(screen.incident, "update"), sheet, submit="Post", press=press)


def declare_dialog(screen: DeclareDialog) -> Json:
    """Title and severity; the rest has defaults and can be changed later."""
    sheet = Sheet()
    sheet.add(forms.text_input("title", "What is wrong?", initial=screen.title, placeholder="Answers are slow", longest=150))
    sheet.add(_severity_input(tuple(Severity), Severity.SEV3))
    if screen.services:
        none = ("", "Not known yet")
        sheet.add(forms.choice_input("service", "Service", [none, *((name, name) for name in screen.services)], initial=""))
    if screen.message_link:
        sheet.add(context(f"Begins with {text.link(screen.message_link, 'this message')}."))
    carried = {"message_link": screen.message_link, "channel": screen.channel}
    extra = {key: value for key, value in carried.items() if value and text.size(value) <= 500}
    return view("Declare an incident", sheet, submit="Declare", press=Press(kind=PressKind.DECLARE_AS), extra=extra)


def resolve_dialog(screen: ResolveDialog) -> Json:
    """What fixed it, and what becomes of each change that is still in force."""
    incident = screen.incident
    sheet = Sheet()
    _about(sheet, incident)
    running = DOT.join(text.line(item, 120) for item in screen.running[:5])
    sheet.add(section(f"*Still running:* {running}." if running else ""))
    sheet.add(forms.text_input("resolution", "What fixed it?", initial=screen.proposed, multiline=True, longest=2_000))
    for held in screen.mitigations[:_MITIGATIONS]:
        label = f"{held.title}: still in force"
        choices = [("revert", "Revert now"), ("keep", "Keep until it ends"), ("hand", "Hand to the carrier below")]
        hint = f"{text.plain(held.target, 150)}"
        initial = "revert" if held.then.value == "revert" and held.ends_at is None else "keep"
        sheet.add(forms.choice_input(f"mitigations.{held.id}", label, choices, initial=initial, hint=hint))
    rest = len(screen.mitigations) - _MITIGATIONS
    sheet.add(context(f"…and {rest} more, kept until they end." if rest > 0 else ""))
    if screen.to_clean:
        listed = DOT.join(text.line(item, 100) for item in screen.to_clean[:10])
        sheet.add(section(f"*Still to be cleaned up:* {listed}"))
        sheet.add(forms.person_input("carrier", "Carrier", hint="Who sees to it that it is cleaned up, and watches what stays in force."))
    elif screen.mitigations:
        hint = "Who watches what stays in force. Without one it is you."
        sheet.add(forms.person_input("carrier", "Carrier", hint=hint, optional=True))
    return view(_titled(incident, "resolve"), sheet, submit="Resolve", press=Press(kind=PressKind.RESOLVE_AS, incident_id=incident.id))


def extend_dialog(screen: ExtendDialog) -> Json:
    """Until when a change should stay."""
    incident, held = screen.incident, screen.mitigation
    sheet = Sheet()
    _about(sheet, incident)
    sheet.add(section(f"{mitigation_line(held, held.opened_at)}{DOT}{text.line(held.target, 120)}"))
    sheet.add(forms.moment_input("until", "Stays until", initial=screen.proposed_at))
    press = Press(kind=PressKind.EXTEND_TO, incident_id=incident.id, run_id=held.run_id, subject_id=held.id)
    return view(_titled(incident, "extend"), sheet, submit="Extend", press=press)


def hand_over_dialog(screen: HandOverDialog) -> Json:
    """Choose who takes command."""
    sheet = Sheet()
    _about(sheet, screen.incident)
    sheet.add(forms.person_input("person", "Who takes command?"))
    press = Press(kind=PressKind.HAND_OVER_TO, incident_id=screen.incident.id)
    return view(_titled(screen.incident, "command"), sheet, submit="Hand over", press=press)


def drill_move_dialog(screen: DrillMoveDialog) -> Json:
    """Another date for a drill, within its quarter."""
    sheet = Sheet()
    sheet.add(section(f"*DRILL* · {text.line(screen.runbook_title, 150)}, {text.line(screen.drill.slot, 20)}"))
    sheet.add(forms.date_input("date", "New date", initial=screen.drill.due_at, hint=f"At the latest {screen.latest_at:%d %b %Y}."))
    press = Press(kind=PressKind.DRILL_MOVE_TO, subject_id=screen.drill.id)
    return view("DRILL · move", sheet, submit="Move", press=press)
