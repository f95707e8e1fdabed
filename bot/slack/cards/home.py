"""Screen 6: App Home of one person. What waits for them comes first; an empty place says something useful."""

from collections.abc import Iterable

from slack_sdk.models.views import View

from bot.slack import text
from bot.slack.cards import plan as plans
from bot.slack.cards import proposal
from bot.slack.cards.breaker import put_back
from bot.slack.cards.incident import mitigation_line
from bot.slack.cards.parts import DOT, Sheet, bullets, button, context, header, link_button, rows, section
from bot.slack.cards.resolve import mitigation_buttons
from bot.slack.intents import Press, PressKind
from runbooks.incident import Incident
from runbooks.run import Mitigation
from runbooks.screens import ApprovalRequest, HomeScreen
from runbooks.value import Json, Moment

HOME_BLOCKS = 100
HOME_SIZE = 60_000  # characters of JSON, far below the 250 kB of a view: a home that long is not read
_MOST = 8
_MOST_PROPOSED = 3
"""Of what does nothing by itself: it stands on its card, too, and other things wait below."""


def home_view(screen: HomeScreen) -> Json:
    """The Home tab, as `views.publish` takes it."""
    sheet = Sheet()
    _paused(sheet, screen)
    _proposed(sheet, screen)
    _waiting(sheet, screen)
    _out_of_service(sheet, screen)
    _incidents(sheet, screen.incidents, screen.drawn_at)
    _mitigations(sheet, screen.mitigations, screen.drawn_at)
    _duties(sheet, screen)
    _next(sheet, screen)
    sheet.add(context(f"As of {text.clock(screen.drawn_at)}."))
    return View(type="home", blocks=list(sheet.blocks(most=HOME_BLOCKS, largest=HOME_SIZE))).to_dict()


def _paused(sheet: Sheet, screen: HomeScreen) -> None:
    if screen.pause is None:
        return
    since = text.when(screen.pause.since_at, screen.drawn_at)
    why = text.sentence(text.line(screen.pause.reason, 300))
    sheet.add(header("All actions are paused"))
    until = "Nothing runs until an admin types `/muster resume`. Pages still go out."
    sheet.add(section(f"By {text.line(screen.pause.by, 80)}, since {since}: {why} {until}"))


def _proposed(sheet: Sheet, screen: HomeScreen) -> None:
    """First of all what runs by itself unless somebody stops it; nothing where nothing is proposed."""
    counting = [one for one in screen.proposals if proposal.counts_down(one)]
    others = [one for one in screen.proposals if not proposal.counts_down(one)]
    for title, found, most in (("Runs by itself unless stopped", counting, _MOST), ("Proposed", others, _MOST_PROPOSED)):
        if found:
            sheet.add(header(title))
        for one in found[:most]:
            sheet.add_all(proposal.on_home(one, screen.drawn_at), spare=0 if found is counting else 2)
        _rest(sheet, len(found), most)


def _out_of_service(sheet: Sheet, screen: HomeScreen) -> None:
    if not screen.out_of_service:
        return
    sheet.add(header("Out of service"))
    for one in screen.out_of_service[:_MOST]:
        since = f", since {text.when(one.since_at, screen.drawn_at)}" if one.since_at else ""
        said = f"*{text.line(one.title, 120)}*{since}\n{text.sentence(text.line(one.text, 300))}"
        sheet.add(section(said, accessory=put_back(one)), spare=3)
    _rest(sheet, len(screen.out_of_service))


def _waiting(sheet: Sheet, screen: HomeScreen) -> None:
    sheet.add(header("Waiting for me"))
    if screen.person is None:
        said = "Muster does not know who you are: your Slack account is in none of its people. Ask whoever runs Muster to add your e-mail."
        sheet.add(section(said))
        return
    sheet.add(section(bullets(screen.waiting)))
    for request in screen.approvals[:_MOST]:
        _approval(sheet, request, screen.drawn_at)
    if not screen.waiting and not screen.approvals:
        sheet.add(section("Nothing waits for you."))


def _approval(sheet: Sheet, request: ApprovalRequest, now: Moment) -> None:
    who = text.mention(request.requested_by) if request.requested_by else text.line(request.run.requested_by, 80)
    ref = f"{'DRILL · ' if request.incident.is_drill else ''}{request.incident.ref}"
    until = text.when(request.until_at, now)
    asked = f"{ref} *{text.line(request.run.title, 120)}*, asked by {who}, until {until}."
    sheet.add(section(f"{asked}\n{plans.change(request.plan)}"), spare=2)

    def press(kind: PressKind) -> Press:
        run = request.run
        return Press(kind=kind, incident_id=request.incident.id, run_id=run.id, plan_hash=request.plan.hash, expires_at=request.until_at)

    approve = button("Approve", press(PressKind.APPROVE), style="primary", spoken=f"Approve {request.run.title}")
    sheet.add_all(rows([approve, button("Decline", press(PressKind.DECLINE), spoken=f"Decline {request.run.title}")]), spare=2)


def _incidents(sheet: Sheet, incidents: tuple[Incident, ...], now: Moment) -> None:
    sheet.add(header("My incidents"))
    if not incidents:
        sheet.add(section("None is open. If something looks wrong, declare one: it costs nothing to close it again."))
        sheet.add_all(rows([button("Declare an incident…", Press(kind=PressKind.DECLARE))]))
    for incident in incidents[:_MOST]:
        lasted = text.lasting((now - incident.began_at).total_seconds())
        drill = "DRILL · " if incident.is_drill else ""
        said = (
            f"{drill}*{incident.severity.value} · {incident.ref}* {text.line(incident.title, 150)}\n{incident.status.value}, for {lasted}"
        )
        more = button("More…", Press(kind=PressKind.MORE, incident_id=incident.id), spoken=f"More about {incident.ref}")
        sheet.add(section(said, accessory=more), spare=3)
    _rest(sheet, len(incidents))


def _mitigations(sheet: Sheet, held: tuple[tuple[Mitigation, Incident], ...], now: Moment) -> None:
    sheet.add(header("Mitigations still in force"))
    if not held:
        sheet.add(section("None. Production is as it was before the incidents."))
    for mitigation, incident in held[:_MOST]:
        drill = "DRILL · " if incident.is_drill else ""
        sheet.add(section(f"{drill}{incident.ref} {mitigation_line(mitigation, now)}{DOT}{text.line(mitigation.target, 120)}"), spare=4)
        sheet.add_all(rows(mitigation_buttons(mitigation)), spare=4)
    _rest(sheet, len(held))


def _duties(sheet: Sheet, screen: HomeScreen) -> None:
    sheet.add(header("Post-mortems and follow-ups"))
    reviews = [
        f"Post-mortem of {incident.ref} ({text.line(incident.title, 120)}), due {text.day(review.due_at)}"
        for review, incident in screen.reviews[:_MOST]
    ]
    follow_ups = [
        f"{text.line(item.title, 150)} (INC-{item.incident_id}), due {text.day(item.due_at)}" for item in screen.follow_ups[:_MOST]
    ]
    sheet.add(section(_listed([*reviews, *follow_ups]) or "Nothing is due."))
    _rest(sheet, len(screen.reviews))
    _rest(sheet, len(screen.follow_ups))


def _next(sheet: Sheet, screen: HomeScreen) -> None:
    sheet.add(header("Next drill, and who is on call"))
    drill = screen.next_drill
    title = text.line(screen.next_drill_title or (drill.runbook if drill else ""), 120)
    sheet.add(section(f"DRILL of {title}, {text.moment(drill.due_at)}." if drill else "No drill is planned."))
    duty = [f"{text.line(team, 80)}: {text.line(who, 150)}" for team, who in list(screen.on_call.items())[:12]]
    sheet.add(section(_listed(duty) or "Nobody is on call by the plan that Muster knows."))
    links = [link_button(label, url, number=number) for number, (label, url) in enumerate(list(screen.links.items())[:ROW_LINKS])]
    sheet.add_all(rows(links), spare=1)


ROW_LINKS = 5


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"• {line}" for line in lines)


def _rest(sheet: Sheet, count: int, most: int = _MOST) -> None:
    if count > most:
        sheet.add(context(f"…and {count - most} more."))
