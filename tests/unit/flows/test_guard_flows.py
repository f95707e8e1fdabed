"""Freezes, the breaker and the kill switch as flows: what is loaded, written and told, over a real database."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from actions.breaker import bad_row
from actions.situation import Attempt, Freeze
from bot.configuration import Configuration
from bot.duty import Duty
from bot.flows import auditing, breaking, freezing, pausing
from bot.flows.context import Context, Policy
from bot.flows.errors import Refused
from bot.flows.front import Desk
from bot.flows.receive import fold
from bot.flows.records import entry
from bot.flows.rights import circle_of, guard_state
from bot.oncall import OnCallFile
from bot.ports import Press, PressKind, Visitor
from runbooks.change import Change, ChangeKind, ChangeState
from runbooks.incident import Incident
from runbooks.people import Actor, ActorKind
from runbooks.run import ActionRun, FreezeOverride, RunState, Verdict
from runbooks.severity import Tier
from runbooks.timeline import OWN, EntryKind
from storage import breakers, changes, ledger, runs, timeline
from storage.database import Database
from tests.flowing import LIBRARY, START, alert, context

HOUR = timedelta(hours=1)
LATENCY = LIBRARY.by_id("inference-latency")
assert LATENCY is not None
SCALE_OUT = LATENCY.action("scale-out")
assert SCALE_OUT is not None
ASKED = Attempt(run_id=None, incident_id=1, runbook=LATENCY.id, action=SCALE_OUT, target="inference/answers-v7", person="ana", key="asked")
XMAS = Freeze(name="end of the year", from_at=START - HOUR, until_at=START + 9 * HOUR)


def person(name: str) -> Actor:
    """Somebody, by id."""
    return Actor(kind=ActorKind.PERSON, id=name)


def opened(database: Database, **policy: Any) -> tuple[Context, Incident]:
    """An incident of the latency runbook, with its surroundings."""
    configuration = Configuration.default()
    people = configuration.directory
    file = OnCallFile(plan=configuration.file.on_call, directory=people, time_zone="UTC")
    ctx = context(database, policy=Policy(**policy), on_call=Duty(directory=people, file=file, pagerduty=None))
    (incident,) = ctx.write(lambda tx: fold(tx, ctx, [alert()], now=START))
    return ctx, incident


def run_of(database: Database, incident: Incident, **changed: Any) -> ActionRun:
    """A run of scaling out that is kept."""
    assert LATENCY is not None
    number = len(database.read(lambda tx: runs.of_incident(tx, incident.id))) + 1
    given: dict[str, Any] = {
        "id": 0, "incident_id": incident.id, "runbook": LATENCY.ref, "step": "scale-out", "title": "Scale out", "state": RunState.FAILED,
        "tier": Tier.R1, "key": f"k{number}", "target": "inference/answers-v7", "requested_by": "ana", "requested_at": START, "started_at": START,
        "executed_at": START, "verdict": Verdict.FAILED, "verdict_at": START, "verdict_reason": "p99 3.1 s.",
    }  # fmt: skip
    return database.write(lambda tx: runs.add(tx, ActionRun(**{**given, **changed})))


def word(*names: str, by: str = "ana") -> FreezeOverride:
    """Somebody's override of these."""
    return FreezeOverride(by=by, reason="Customers cannot pay.", names=names, given_at=START)


def test_s9_a_word_lifts_what_it_names_for_as_long_as_its_giver_may(database: Database) -> None:
    """Another freeze, another run, and somebody who may no longer: none of them is lifted; and a drill is never frozen."""
    ctx, incident = opened(database, freezes=(XMAS, Freeze(name="audit", from_at=START, until_at=START + HOUR)))
    circle = circle_of(ctx, incident, now=START)

    def lifted(run: ActionRun | None) -> list[str | None]:
        return [freeze.overridden_by for freeze in freezing.freezes(ctx, incident, run=run, circle=circle, now=START)]

    run = run_of(database, incident)
    assert lifted(None) == [None, None]
    assert lifted(run.with_(freeze_override=word("end of the year"))) == ["ana", None]
    assert lifted(run.with_(freeze_override=word("end of the year", "audit", by="eva"))) == [None, None]
    drill = incident.model_copy(update={"drill_id": 1, "world": "drill-1"})
    assert freezing.freezes(ctx, drill, run=run, circle=circle, now=START) == []


def test_s9_what_begins_after_the_word_is_not_lifted_by_its_name(database: Database) -> None:
    """Another freeze, and another deploy, of the same name that began after the word was given hold the run up again."""
    later = START + timedelta(minutes=5)
    again = replace(XMAS, from_at=later)
    ctx, incident = opened(database, freezes=(XMAS, again))
    for change in (deploy(), deploy(key="d2", changed_at=later)):
        database.write(lambda tx, change=change: changes.add(tx, change))
    run = run_of(database, incident).with_(freeze_override=word(XMAS.name, "answers 8.1.2"))
    found = database.read(lambda tx: guard_state(tx, ctx, incident, ASKED, run=run, now=later))
    assert {freeze.from_at: freeze.overridden_by for freeze in found.freezes} == {XMAS.from_at: "ana", later: None}
    assert {one.since_at: one.overridden_by for one in found.deploys} == {START - timedelta(minutes=10): "ana", later: None}


def test_s9_before_and_after_nothing_is_frozen(database: Database) -> None:
    """From `from` on, until just before `until`."""
    ctx, incident = opened(database, freezes=(XMAS,))
    circle = circle_of(ctx, incident, now=START)
    for at, names in (
        (XMAS.from_at, 1),
        (XMAS.from_at - timedelta(seconds=1), 0),
        (XMAS.until_at, 0),
        (XMAS.until_at - timedelta(seconds=1), 1),
    ):
        assert len(freezing.freezes(ctx, incident, run=None, circle=circle, now=at)) == names


def deploy(state: ChangeState = ChangeState.STARTED, **more: Any) -> Change:
    """A deploy of the incident's service, ten minutes old."""
    given = {"key": "d1", "source": "ci", "kind": ChangeKind.DEPLOY, "title": "answers 8.1.2", "service": "answers", "state": state}
    return Change(**{**given, "changed_at": START - timedelta(minutes=10), **more})


@pytest.mark.parametrize(
    ("told", "running"),
    [
        ((deploy(),), 1),
        ((deploy(), deploy(ChangeState.FINISHED)), 0),
        ((deploy(ChangeState.FAILED), deploy()), 0),
        ((deploy(changed_at=START - 2 * HOUR),), 0),
        ((deploy(service="search"),), 0),
        ((deploy(service=None),), 0),
    ],
)
def test_s5_a_deploy_runs_until_its_end_is_told(database: Database, told: tuple[Change, ...], running: int) -> None:
    """Its end ends it, in whichever order the deliveries come; one that nobody ended, or of another service, is none."""
    ctx, incident = opened(database)
    for change in told:
        database.write(lambda tx, change=change: changes.add(tx, change))
    found = database.read(lambda tx: guard_state(tx, ctx, incident, ASKED, now=START))
    assert len(found.deploys) == running
    if running:
        assert "Ben Okafor" in found.deploys[0].helpers


def test_s15_the_third_bad_end_opens_it_once(database: Database) -> None:
    """Two are not enough; the third is told once, on the timeline and to each owner; the guard then refuses for every incident."""
    ctx, incident = opened(database)
    for expected in (0, 0, 1, 1):
        run = run_of(database, incident)
        database.write(lambda tx, run=run: breaking.note(tx, ctx, incident, run, now=START))
        assert len(database.read(breakers.open_ones)) == expected
    assert len(database.read(lambda tx: timeline.of_kind(tx, 1, EntryKind.BREAKER_OPENED))) == 1
    state = database.read(lambda tx: guard_state(tx, ctx, incident, ASKED, now=START))
    assert state.out_of_service["inference-latency/scale-out"].owner == "ml-platform"
    drill = incident.model_copy(update={"drill_id": 1, "world": "drill-1"})
    assert not database.read(lambda tx: guard_state(tx, ctx, drill, ASKED, now=START)).out_of_service


def test_s15_a_drills_failures_take_nothing_out_of_service(database: Database) -> None:
    """What failed in a simulated world says nothing about production."""
    ctx, incident = opened(database)
    drill = incident.model_copy(update={"drill_id": 1, "world": "drill-1"})
    for _ in range(4):
        run = run_of(database, incident)
        database.write(lambda tx, run=run: breaking.note(tx, ctx, drill, run, now=START))
    assert database.read(breakers.open_ones) == []


def test_s15_put_back_it_counts_anew(database: Database) -> None:
    """After the owner's word the old failures are forgotten: it takes as many new ones."""
    ctx, incident = opened(database)
    fail(ctx, database, incident, 3)
    with pytest.raises(Refused, match="its owner or an admin"):
        database.write(lambda tx: reset(tx, ctx, "chika"))
    assert "back in service" in database.write(lambda tx: reset(tx, ctx, "ana"))
    with pytest.raises(Refused, match="is in service; Ana Silva put it back"):
        database.write(lambda tx: reset(tx, ctx, "ana"))
    fail(ctx, database, incident, 2)
    assert database.read(breakers.open_ones) == []
    fail(ctx, database, incident, 1)
    assert len(database.read(breakers.open_ones)) == 1


def fail(ctx: Context, database: Database, incident: Incident, times: int) -> None:
    """So many failures more."""
    for _ in range(times):
        run = run_of(database, incident)
        database.write(lambda tx, run=run: breaking.note(tx, ctx, incident, run, now=START))


def reset(tx: Any, ctx: Context, who: str) -> str:
    """Somebody puts scaling out back into service."""
    reason = "The quota was too small; it is raised."
    return breaking.reset(tx, ctx, "inference-latency", "scale-out", reason=reason, by=person(who), now=START)


def test_s15_without_its_rule_nothing_is_taken_out(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the count switched off the promise breaks: so it is that rule that keeps it."""
    ctx, incident = opened(database)
    monkeypatch.setattr(breaking.breaker, "bad_row", lambda *_, **__: ())
    fail(ctx, database, incident, 5)
    assert database.read(breakers.open_ones) == []
    assert bad_row is not breaking.breaker.bad_row


@pytest.mark.parametrize(("who", "may"), [("ben", True), ("ana", False), ("eva", False), ("nobody", False)])
def test_s16_only_an_admin_pauses_and_resumes(database: Database, who: str, may: bool) -> None:
    """Who has no admin's grant is told who has."""
    ctx, _ = opened(database)
    if may:
        assert "paused" in database.write(lambda tx: pausing.pause(tx, ctx, by=person(who), reason="we look first", now=START))
        assert "run again" in database.write(lambda tx: pausing.resume(tx, ctx, by=person(who), now=START))
        return
    with pytest.raises(Refused, match="Ben Okafor"):
        database.write(lambda tx: pausing.pause(tx, ctx, by=person(who), reason="we look first", now=START))
    database.write(lambda tx: pausing.set_pause(tx, by=person("ben"), reason="we look first", at=START))
    with pytest.raises(Refused, match="Ben Okafor"):
        database.write(lambda tx: pausing.resume(tx, ctx, by=person(who), now=START))
    assert database.read(pausing.present) is not None


def test_s16_a_sound_record_stops_nothing_and_keeps_no_trial(database: Database) -> None:
    """Looking leaves nothing behind, and where all is well nobody is stopped."""
    ctx, _ = opened(database)
    before = database.read(ledger.head)
    assert auditing.watch(ctx) == 0
    assert auditing.verify(ctx) == 0
    assert database.read(ledger.head) == before
    assert database.read(lambda tx: timeline.of(tx, OWN)) == []
    assert ctx.fuse.pause is None


def refusing(database: Database) -> None:
    """From now on the database takes no row of the record."""
    if database.dialect == "sqlite":
        statements = ["CREATE TRIGGER nothing_more BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'nothing more'); END"]
    else:
        statements = [
            "CREATE FUNCTION nothing_more() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'nothing more'; END $$ LANGUAGE plpgsql",
            "CREATE TRIGGER nothing_more BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION nothing_more()",
        ]
    for statement in statements:
        database.write(lambda tx, statement=statement: tx.exec_driver_sql(statement))


def test_s16_a_record_that_takes_no_row_stops_every_replica(database: Database) -> None:
    """One replica notices; the pause stands for all of them, and its row is owed until it can be written."""
    ctx, incident = opened(database)
    other, _ = opened(database)
    refusing(database)
    assert auditing.watch(ctx) == 1
    pause = database.read(lambda tx: guard_state(tx, other, incident, ASKED, now=START)).pause
    assert pause is not None
    assert (pause.by, pause.reason.startswith("The record cannot be written")) == ("muster", True)
    drop = "DROP TRIGGER nothing_more" + ("" if database.dialect == "sqlite" else " ON entries")
    database.write(lambda tx: tx.exec_driver_sql(drop))
    assert auditing.watch(other) == 1
    assert len(database.read(lambda tx: timeline.of_kind(tx, OWN, EntryKind.PAUSED))) == 1
    assert len(database.read(lambda tx: timeline.of_kind(tx, 1, EntryKind.PAUSED))) == 1
    assert auditing.watch(ctx) == 0


def test_s16_without_its_trial_nothing_would_be_noticed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the trial switched off nobody is stopped: so it is the trial that keeps the promise."""
    ctx, _ = opened(database)
    refusing(database)
    monkeypatch.setattr(auditing, "_trial", lambda _ctx: None)
    assert auditing.watch(ctx) == 0
    assert database.read(pausing.present) is None


def test_s16_the_own_pause_of_a_person_stays_theirs(database: Database) -> None:
    """What Muster finds while somebody has paused does not take the pause from them."""
    ctx, _ = opened(database)
    database.write(lambda tx: pausing.set_pause(tx, by=person("ben"), reason="we look first", at=START))
    auditing.engage(ctx, "The record cannot be written", now=START)
    found = database.read(pausing.present)
    assert found is not None
    assert (found.by, found.reason) == ("ben", "we look first")


def test_s16_while_this_process_is_stopped_nobody_resumes_it(database: Database) -> None:
    """A pause that could not be written yet is no pause that somebody could end: the database comes first."""
    ctx, incident = opened(database)
    ctx.fuse.blow(pausing.Pause(by="muster", since_at=START, reason="The record cannot be written: full"))
    assert database.read(lambda tx: guard_state(tx, ctx, incident, ASKED, now=START)).pause is ctx.fuse.pause
    with pytest.raises(Refused, match="Mend the database first"):
        database.write(lambda tx: pausing.resume(tx, ctx, by=person("ben"), now=START))
    auditing.watch(ctx)
    assert ctx.fuse.pause is None
    (row,) = database.read(lambda tx: timeline.of_kind(tx, OWN, EntryKind.PAUSED))
    assert row.occurred_at == START
    assert "run again" in database.write(lambda tx: pausing.resume(tx, ctx, by=person("ben"), now=START))


def tampering(database: Database, *statements: str) -> None:
    """Somebody who may do anything in the database does this."""
    if database.dialect == "sqlite":
        names = ("entries_update", "entries_delete", "chain_update", "chain_delete")
        statements = (*(f"DROP TRIGGER IF EXISTS {name}" for name in names), *statements)
    else:
        statements = ("ALTER TABLE entries DISABLE TRIGGER USER", "ALTER TABLE chain DISABLE TRIGGER USER", *statements)
    for statement in statements:
        database.write(lambda tx, statement=statement: tx.exec_driver_sql(statement))


def cut(ctx: Context) -> None:
    """A note that was verified vanishes with its link: whole chains are left."""
    ctx.write(lambda tx: ledger.record(tx, OWN, [entry(EntryKind.NOTE_ADDED, "A note.", now=START)], now=START))
    auditing.verify(ctx)
    last = f"(SELECT max(seq) FROM entries WHERE incident_id = {OWN})"
    tampering(
        ctx.database,
        f"DELETE FROM entries WHERE incident_id = {OWN} AND seq = {last}",
        "DELETE FROM chain WHERE position = (SELECT max(position) FROM chain)",
    )


def let_stand(ctx: Context) -> None:
    """Muster pays the row of its pause and looks again; then Ben has seen it, and resumes."""
    auditing.watch(ctx)
    auditing.verify(ctx)
    ctx.write(lambda tx: pausing.resume(tx, ctx, by=person("ben"), now=START))


def test_s16_after_a_cut_tail_a_person_can_resume_and_the_next_cut_stops_again(database: Database) -> None:
    """A cut that was let stand stops nothing a second time, though the record grows; another one is a new break."""
    ctx, _ = opened(database)
    for _ in range(2):
        cut(ctx)
        assert auditing.verify(ctx) == 1
        let_stand(ctx)
        assert [auditing.verify(ctx), auditing.watch(ctx), auditing.verify(ctx)] == [0, 0, 0]
        assert database.read(pausing.present) is None


@pytest.mark.parametrize("kept", [0, 1], ids=["all", "tail"])
def test_s16_entries_cut_with_their_links_left_are_one_break(database: Database, kept: int) -> None:
    """After one resume it is quiet, though the record that was cut grows again, in the pause and after it."""
    ctx, incident = opened(database)
    for _ in range(6):
        ctx.write(lambda tx: ledger.record(tx, incident.id, [entry(EntryKind.NOTE_ADDED, "A note.", now=START)], now=START))
    assert auditing.verify(ctx) == 0
    tampering(database, f"DELETE FROM entries WHERE incident_id = {incident.id} AND seq > {kept}")
    assert auditing.verify(ctx) == 1
    let_stand(ctx)
    for _ in range(9):
        ctx.write(lambda tx: ledger.record(tx, incident.id, [entry(EntryKind.NOTE_ADDED, "A note.", now=START)], now=START))
        assert auditing.verify(ctx) == 0
    assert database.read(pausing.present) is None


def test_s26_a_break_that_was_let_stand_hides_no_cut_tail(database: Database) -> None:
    """While an accepted break is still there, a tail that vanishes is noticed all the same."""
    ctx, incident = opened(database)
    tampering(database, f"UPDATE entries SET digest = '0' WHERE incident_id = {incident.id} AND seq = 1")
    assert auditing.verify(ctx) > 0
    let_stand(ctx)
    assert auditing.verify(ctx) == 0
    cut(ctx)
    assert auditing.verify(ctx) == 1


def test_one_key_for_two_runs_is_two_presses(database: Database) -> None:
    """The same idempotency key cancels each run that it is sent for, and each of them once."""
    ctx, incident = opened(database)
    both = [run_of(database, incident, state=RunState.AWAITING_APPROVAL, started_at=None, executed_at=None, verdict=None) for _ in range(2)]
    ana = Visitor(slack_id=None, person=ctx.directory.person("ana"), via="api", interaction="api:script:k1")
    said = [Desk(ctx).press(Press(kind=PressKind.CANCEL, run_id=run.id), ana).whisper for run in (*both, both[1])]
    assert [database.read(lambda tx, run=run: runs.get(tx, run.id)).state for run in both] == [RunState.CANCELLED] * 2
    assert said[2] is None
