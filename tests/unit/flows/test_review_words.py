"""What people are told and asked after the fact: registers, calls, declarations, drills that stay rehearsals."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from bot.configuration import Configuration
from bot.duty import Duty
from bot.flows import declare, receive, register, rehearse, speak
from bot.flows.context import Context, Shelf, person_actor
from bot.flows.front import Desk
from bot.flows.pressing import redraw_invitation
from bot.oncall import OnCallFile
from bot.ports import Press, PressKind, Visitor
from bot.settlement import Postponed
from runbooks.incident import Incident
from runbooks.loading import Library
from runbooks.run import Mitigation, MitigationEnd, RunState
from runbooks.screens import Notice, Refusal
from runbooks.severity import Severity
from runbooks.timeline import EntryKind
from storage import drills, incidents, mitigations, runs, tasks, timeline
from storage.database import Database
from storage.tasks import NewTask
from tests import acting
from tests.flowing import LIBRARY, START, StandingClock, alert, context

ANA = person_actor("ana", slack_id="U01ANA0000")
VISITOR = Visitor(slack_id="U01ANA0000")


@pytest.fixture
def clock() -> StandingClock:
    """The present, moved by hand."""
    return StandingClock()


@pytest.fixture
def ctx(database: Database, clock: StandingClock) -> Context:
    """The flows' surroundings, with people on duty."""
    people = Configuration.default()
    file = OnCallFile(plan=people.file.on_call, directory=people.directory, time_zone="UTC")
    return context(database, clock=clock, on_call=Duty(directory=people.directory, file=file, pagerduty=None))


def _opened(ctx: Context) -> Incident:
    (incident,) = ctx.write(lambda tx: receive.fold(tx, ctx, [alert()], now=ctx.now()))
    return incident


def test_a_change_that_is_handed_on_keeps_its_reminder_and_its_end(ctx: Context, clock: StandingClock) -> None:
    """Whoever takes a change over is reminded before its end, and one that waits for a person is not ended a second time by itself."""
    incident = _opened(ctx)
    run = ctx.write(lambda tx: runs.add(tx, acting.run_of(state=RunState.VERIFIED).with_(incident_id=incident.id)))
    ends, reminder = START + timedelta(hours=4), START + timedelta(hours=3, minutes=45)
    item = Mitigation(
        id=0, run_id=run.id, incident_id=incident.id, title="Turn it up", target="thing", owner="ana", opened_at=START, ends_at=ends,
        then=MitigationEnd.REVERT,
    )  # fmt: skip
    kept = ctx.write(lambda tx: mitigations.add(tx, item, next_at=reminder))
    ctx.write(lambda tx: register.hand(tx, kept, to="ben", by=ANA, now=ctx.now()))
    clock.at = reminder
    assert [one.owner for one in ctx.read(lambda tx: mitigations.due(tx, ctx.now()))] == ["ben"]
    ctx.write(lambda tx: mitigations.wake(tx, kept.id, None))  # its end came, and a person was asked
    clock.at = ends + timedelta(hours=1)
    ctx.write(lambda tx: register.hand(tx, mitigations.get(tx, kept.id), to="chika", by=ANA, now=ctx.now()))
    assert ctx.read(lambda tx: mitigations.due(tx, ctx.now())) == []


@pytest.mark.parametrize(("said", "then"), [(Severity.SEV4, Severity.SEV2), (Severity.SEV1, Severity.SEV1)])
def test_a_declaration_that_joins_an_open_incident_never_makes_it_milder(ctx: Context, said: Severity, then: Severity) -> None:
    """What is known already to be bad stays bad, whatever the next person thinks of their part; it may only get worse."""
    first = ctx.write(
        lambda tx: declare.declare(tx, ctx, title="model slow", severity=Severity.SEV2, service="answers", by=ANA, key="one", now=ctx.now())
    )
    again = ctx.write(
        lambda tx: declare.declare(tx, ctx, title="model slow", severity=said, service="answers", by=ANA, key="two", now=ctx.now())
    )
    assert again.id == first.id
    assert ctx.read(lambda tx: incidents.get(tx, first.id)).severity is then


def test_a_new_runbook_late_in_the_alphabet_gets_its_drill(database: Database, ctx: Context) -> None:
    """Planning is asked for again whenever the library holds another runbook, wherever its name stands."""
    fewer = context(database, clock=StandingClock(), shelf=Shelf(Library(runbooks=LIBRARY.all[:-1])))
    ctx.write(lambda tx: rehearse.plan_now(tx, fewer, now=ctx.now()))
    ctx.write(lambda tx: rehearse.plan_now(tx, ctx, now=ctx.now()))
    assert len(ctx.write(lambda tx: tasks.claim(tx, 10, 45.0, kinds=["plan_drills"]))) == 2


@pytest.mark.parametrize("kind", [PressKind.APPROVE, PressKind.UNDO, PressKind.EXTEND_TO, PressKind.CONFIRM])
def test_a_button_that_lacks_its_run_is_answered_with_a_sentence(ctx: Context, kind: PressKind) -> None:
    """A forged or broken button value is no error of Muster's: it does nothing and says so."""
    incident = _opened(ctx)
    reply = Desk(ctx).press(Press(kind=kind, incident_id=incident.id), VISITOR)
    assert isinstance(reply.whisper, Refusal)
    assert reply.whisper.reason == "unknown_button"


def test_an_invitation_is_redrawn_each_time_that_the_drill_moves(ctx: Context) -> None:
    """Two changes of one drill are two redrawn invitations; the second is not taken for an old one."""
    drill = ctx.write(lambda tx: rehearse.plan(tx, ctx, LIBRARY.all[0], at=ctx.now(), now=ctx.now()))
    revisions = []
    for _ in range(2):
        ctx.clock.pass_(minutes=1)  # type: ignore[attr-defined]
        ctx.write(lambda tx: redraw_invitation(tx, drill.id, moved=True, now=ctx.now()))
        (task,) = ctx.write(lambda tx: tasks.claim(tx, 1, 45.0, kinds=["redraw_known"]))
        ctx.write(partial(tasks.settle, task=task))
        revisions.append(int(task.args["revision"]))
    assert revisions[0] < revisions[1]
    assert revisions[1] == int(ctx.now().timestamp() * 1000)


def test_a_thread_waits_for_its_card_ever_more_patiently(ctx: Context) -> None:
    """A message whose card cannot be posted does not ask for it every two seconds for ever."""
    _opened(ctx)
    ctx.write(lambda tx: tasks.enqueue(tx, NewTask(key="say:x", kind="say", args={"screen": "notice", "incident": 1, "text": "Hello."})))
    waits = []
    for _ in range(40):
        (task,) = ctx.write(lambda tx: tasks.claim(tx, 1, 45.0, kinds=["say"]))
        answer = speak.say(ctx, task)
        assert isinstance(answer, Postponed)
        waits.append(answer.seconds)
        ctx.write(tasks.adopt)
    assert waits[0] == speak.WAIT_FOR_CARD
    assert waits[-1] == speak.LONGEST_WAIT
    assert waits == sorted(waits)


def test_a_drill_names_whom_it_would_call_and_mentions_nobody(ctx: Context) -> None:
    """In a rehearsal nobody on duty is mentioned, because a mention wakes people; the line says who would have been."""
    args: dict[str, Any] = {"text": "It did not work.", "mentions": ["ana", "ben"]}
    real = _opened(ctx)
    drill = ctx.write(lambda tx: rehearse.plan(tx, ctx, LIBRARY.all[0], at=ctx.now(), now=ctx.now()))
    rehearsal = receive.Rehearsal(drill_id=drill.id, world="drill-1", runbook=LIBRARY.all[0])
    (rehearsed,) = ctx.write(lambda tx: receive.fold(tx, ctx, [alert("d", source="drill")], now=ctx.now(), rehearsal=rehearsal))
    drawn = ctx.read(lambda tx: [speak._notice(tx, ctx, args | {"incident": one.id}) for one in (real, rehearsed)])
    assert [isinstance(one, Notice) and len(one.mentions) for one in drawn] == [2, 0]
    assert "Ana Silva, Ben Okafor" in getattr(drawn[1], "text", "")
    assert ctx.read(lambda tx: drills.get(tx, drill.id)).runbook == LIBRARY.all[0].id


def test_a_channel_outlives_its_incident(ctx: Context, clock: StandingClock) -> None:
    """Who joins a channel during an incident stands on its timeline; who joins weeks after its end has nothing to do with it."""
    incident = _opened(ctx).model_copy(update={"channel": "C0TEAM"})
    ctx.write(lambda tx: incidents.save(tx, incident, was=incident.revision))
    desk = Desk(ctx)
    desk.event("member_joined_channel", {"channel": "C0TEAM"}, event_id="E1", visitor=VISITOR)
    over = incident.resolved(by="ana", resolution="fixed", now=ctx.now())
    ctx.write(lambda tx: incidents.save(tx, over, was=incident.revision))
    clock.pass_(days=20)
    desk.event("member_joined_channel", {"channel": "C0TEAM"}, event_id="E2", visitor=VISITOR)
    assert len(ctx.read(lambda tx: timeline.of_kind(tx, incident.id, EntryKind.PERSON_JOINED))) == 1
