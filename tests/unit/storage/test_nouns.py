"""Incidents, runs and the other nouns: kept exactly, changed only from the state that was decided on, found by the sweeps."""

import threading
from datetime import timedelta

import pytest

from runbooks.change import Change, ChangeKind
from runbooks.drill import Drill, DrillState, Finding
from runbooks.errors import NotFound
from runbooks.incident import IncidentStatus
from runbooks.operation import Measurement
from runbooks.people import Role
from runbooks.postmortem import FollowUp, Review, ReviewState
from runbooks.run import Approval, Mitigation, MitigationEnd, RunState, Sample
from runbooks.severity import Severity
from storage import (
    changes,
    drills,
    feedback,
    follow_ups,
    incidents,
    locks,
    measurements,
    messages,
    mitigations,
    reviews,
    runs,
    schedules,
    seen,
    switches,
    tasks,
)
from storage.database import Database
from storage.errors import Stale, Taken, Unreadable
from storage.feedback import Feedback
from tests.remembering import MINUTE, NOW, REF, incident, run


def add_incident(database: Database, **more):
    next_at = more.pop("next_at", None)
    return database.write(lambda tx: incidents.add(tx, incident(**more), next_at=next_at))


def test_incidents_are_numbered_without_gaps(database: Database) -> None:
    """1, 2, 3 … even when a transaction in between fails, and from many threads at once."""

    def fails(tx):
        incidents.add(tx, incident())
        raise NotFound("no")

    assert add_incident(database).ref == "INC-1"
    with pytest.raises(NotFound):
        database.write(fails)
    threads = [threading.Thread(target=add_incident, args=(database,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [found.id for found in database.read(incidents.open_ones)] == list(range(1, 10))


def test_an_incident_comes_back_as_it_was_saved(database: Database) -> None:
    """Every field survives, hostile labels included."""
    opened = add_incident(database)
    changed = opened.acknowledged(by="ana", now=NOW + MINUTE).with_role(Role.SCRIBE, "bo").with_severity(Severity.SEV1)
    database.write(lambda tx: incidents.save(tx, changed, was=opened.revision))
    assert database.read(lambda tx: incidents.get(tx, opened.id)) == changed
    assert database.read(lambda tx: incidents.find(tx, 99)) is None
    with pytest.raises(NotFound, match="no incident 99"):
        database.read(lambda tx: incidents.get(tx, 99))


def test_a_number_too_large_for_the_database_is_not_there(database: Database) -> None:
    """A number beyond 63 bits finds nothing, like any other number that nobody has, and is no error of the driver's."""
    huge = 2**63
    with pytest.raises(NotFound, match="no incident"):
        database.read(lambda tx: incidents.get(tx, huge))
    assert database.read(lambda tx: incidents.find(tx, huge)) is None
    assert database.write(lambda tx: tasks.revive(tx, huge)) is None


def test_half_a_character_spoils_no_incident(database: Database) -> None:
    """Half a surrogate pair in a title or a label is kept as U+FFFD; the incident can be read."""
    opened = add_incident(database, title="a\ud800b", labels={"x": "\udfff", "y": "😀"})
    read = database.read(lambda tx: incidents.get(tx, opened.id))
    assert (read.title, read.labels) == ("a\ufffdb", {"x": "\ufffd", "y": "😀"})


def test_an_incident_changed_by_somebody_else_is_not_overwritten(database: Database) -> None:
    """A save that was decided on an older revision writes nothing and says so."""
    opened = add_incident(database)
    database.write(lambda tx: incidents.save(tx, opened.with_severity(Severity.SEV1), was=opened.revision))
    with pytest.raises(Stale, match="changed meanwhile"):
        database.write(lambda tx: incidents.save(tx, opened.acknowledged(by="bo", now=NOW), was=opened.revision))
    assert database.read(lambda tx: incidents.get(tx, opened.id)).acknowledged_by is None
    with pytest.raises(NotFound):
        database.write(lambda tx: incidents.save(tx, opened.model_copy(update={"id": 77}), was=1))


def test_the_open_incident_of_a_group_is_found(database: Database) -> None:
    """Triage asks for many groups at once and gets the open incidents only, whatever stands in the keys."""
    one = add_incident(database, group_key="a\x00b")
    two = add_incident(database, group_key="b")
    database.write(lambda tx: incidents.save(tx, two.resolved(by="ana", resolution="over", now=NOW), was=two.revision))
    keys = ["a\x00b", "b", *(f"other{number}" for number in range(1200))]
    assert database.read(lambda tx: incidents.open_by_group(tx, keys)) == {"a\x00b": one}


def test_incidents_are_listed_by_what_people_ask(database: Database) -> None:
    """Status, severity, service, drills and time narrow the list; the latest come first."""
    first = add_incident(database, service="checkout")
    drill = add_incident(database, drill_id=5, world="w", opened_at=NOW + MINUTE)
    last = add_incident(database, severity=Severity.SEV1, opened_at=NOW + 2 * MINUTE)

    def listed(**more):
        return [found.id for found in database.read(lambda tx: incidents.listed(tx, **more))]

    assert listed() == [last.id, drill.id, first.id]
    assert listed(limit=1) == [last.id]
    assert listed(drills=False) == [last.id, first.id]
    assert listed(drills=True) == [drill.id]
    assert listed(service="checkout") == [first.id]
    assert listed(severities=[Severity.SEV1]) == [last.id]
    assert listed(statuses=[IncidentStatus.RESOLVED]) == []
    assert listed(opened_since=NOW + MINUTE, opened_before=NOW + 2 * MINUTE) == [drill.id]
    assert database.read(lambda tx: incidents.opened_since(tx, runbook=REF.id, since=NOW)) == 2
    assert database.read(lambda tx: incidents.opened_since(tx, runbook=REF.id, since=NOW + MINUTE)) == 1
    assert database.read(lambda tx: incidents.of_drill(tx, 5)).id == drill.id
    assert database.read(lambda tx: incidents.last_with_runbook(tx, REF.id, before=last.id)).id == first.id


def test_an_incident_is_found_by_its_channel(database: Database) -> None:
    """The open one wins over an older one of the same channel; a channel without any gives none."""
    old = add_incident(database, channel="C1")
    database.write(lambda tx: incidents.save(tx, old.resolved(by="ana", resolution="x", now=NOW), was=1))
    assert database.read(lambda tx: incidents.by_channel(tx, "C1")).id == old.id
    new = add_incident(database, channel="C1")
    assert database.read(lambda tx: incidents.by_channel(tx, "C1")).id == new.id
    assert database.read(lambda tx: incidents.by_channel(tx, "C2")) is None


def test_a_sweep_finds_what_is_due_and_nothing_else(database: Database) -> None:
    """`next_at` wakes a row: longest overdue first, kept by a save that says nothing of it, changed or cleared by one that does."""
    late = add_incident(database, next_at=NOW)
    soon = add_incident(database, next_at=NOW - MINUTE)
    add_incident(database, next_at=NOW + MINUTE)
    add_incident(database)

    def due():
        return [found.id for found in database.read(lambda tx: incidents.due(tx, NOW))]

    assert due() == [soon.id, late.id]
    database.write(lambda tx: incidents.save(tx, soon.redrawn(), was=1))
    assert due() == [soon.id, late.id]
    database.write(lambda tx: incidents.save(tx, late.redrawn(), was=1, next_at=None))
    database.write(lambda tx: incidents.wake(tx, soon.id, NOW + 2 * MINUTE))
    assert due() == []


def test_a_run_comes_back_as_it_was_saved(database: Database) -> None:
    """Plan, approvals and samples survive, and so does the plan's hash, to which approvals are bound."""
    kept = database.write(lambda tx: runs.add(tx, run()))
    approval = Approval(person="bo", plan_hash=kept.plan.hash, granted=True, given_at=NOW)
    changed = kept.to(RunState.APPROVED, approvals=(approval,), samples=(Sample(at=NOW, value=None), Sample(at=NOW, value=0.31)))
    database.write(lambda tx: runs.save(tx, changed, was=RunState.PLANNED))
    read = database.read(lambda tx: runs.get(tx, kept.id))
    assert read == changed
    assert read.plan.hash == approval.plan_hash
    assert database.read(lambda tx: runs.by_key(tx, "k1")) == changed


def test_two_presses_start_one_run(database: Database) -> None:
    """Of many that move a run from the same state at once, one succeeds and every other hears that it is stale."""
    kept = database.write(lambda tx: runs.add(tx, run(state=RunState.APPROVED)))
    starts = [database.submit(lambda tx: runs.save(tx, kept.to(RunState.RUNNING), was=RunState.APPROVED)) for _ in range(6)]
    errors = [future.exception(30) for future in starts]
    assert errors.count(None) == 1
    assert all(isinstance(error, Stale) for error in errors if error is not None)


def test_a_run_key_is_unique(database: Database) -> None:
    """The same idempotency key makes no second run."""
    database.write(lambda tx: runs.add(tx, run()))
    with pytest.raises(Taken):
        database.write(lambda tx: runs.add(tx, run(target="other")))


def test_approvals_given_at_once_are_all_kept(database: Database) -> None:
    """Several people who approve the same run at the same moment, each reading before writing, lose no approval."""
    kept = database.write(lambda tx: runs.add(tx, run(state=RunState.AWAITING_APPROVAL)))

    def approve(person):
        def fn(tx):
            found = runs.get(tx, kept.id)
            word = Approval(person=person, plan_hash=found.plan.hash, granted=True, given_at=NOW)
            runs.save(tx, found.with_(approvals=(*found.approvals, word)), was=RunState.AWAITING_APPROVAL)

        return fn

    for future in [database.submit(approve(f"p{number}")) for number in range(10)]:
        future.result(30)
    assert len(database.read(lambda tx: runs.get(tx, kept.id)).approvals) == 10


def test_runs_are_found(database: Database) -> None:
    """By state, incident and step."""
    old = database.write(lambda tx: runs.add(tx, run(key="old", requested_at=NOW - timedelta(hours=1))))
    here = database.write(lambda tx: runs.add(tx, run(key="here")))
    there = database.write(lambda tx: runs.add(tx, run(key="there", target="cluster/other", requested_by="bo", incident_id=2)))
    assert [found.id for found in database.read(lambda tx: runs.in_states(tx, {RunState.PLANNED}))] == [old.id, here.id, there.id]
    assert [found.id for found in database.read(lambda tx: runs.of_incident(tx, 2))] == [there.id]
    assert database.read(lambda tx: runs.last_of_step(tx, 1, "scale-out")).id == here.id
    assert database.read(lambda tx: runs.due(tx, NOW)) == []


def test_a_target_is_locked_for_one_run(database: Database) -> None:
    """The second run is told who holds it; the holder may extend; after release or the end anybody may take it."""

    def take(run_id, minutes, now=NOW):
        return database.write(
            lambda tx: locks.take(tx, "flag/x", run_id=run_id, owner=f"p{run_id}", until_at=now + minutes * MINUTE, now=now)
        )

    assert take(1, 5).run_id == 1
    refused = take(2, 5)
    assert (refused.run_id, refused.owner, refused.until_at) == (1, "p1", NOW + 5 * MINUTE)
    assert take(1, 9).until_at == NOW + 9 * MINUTE
    assert database.read(lambda tx: locks.held(tx, ["flag/x", "flag/y"], now=NOW))["flag/x"].run_id == 1
    assert database.read(lambda tx: locks.held(tx, ["flag/x"], now=NOW + 9 * MINUTE)) == {}
    assert not database.write(lambda tx: locks.release(tx, "flag/x", 2))
    assert take(2, 5, now=NOW + 9 * MINUTE).run_id == 2
    assert database.write(lambda tx: locks.release(tx, "flag/x", 2))
    assert take(3, 5).run_id == 3


def test_a_lock_is_taken_once_by_rivals(database: Database) -> None:
    """Of many runs that reach for one target at once, exactly one holds it."""
    futures = [
        database.submit(
            lambda tx, number=number: locks.take(tx, "t", run_id=number, owner="x", until_at=NOW + MINUTE, now=NOW), ordered=False
        )
        for number in range(8)
    ]
    assert len({future.result(30).run_id for future in futures}) == 1


def test_mitigations_end_once(database: Database) -> None:
    """One in force is found by incident, owner and run, may be extended, and ends once."""
    one = Mitigation(
        id=0,
        run_id=4,
        incident_id=1,
        title="6 replicas",
        target="cluster/pool",
        owner="ana",
        opened_at=NOW,
        ends_at=NOW + MINUTE,
        then=MitigationEnd.ASK,
    )
    kept = database.write(lambda tx: mitigations.add(tx, one, next_at=NOW))
    assert database.read(lambda tx: mitigations.of_run(tx, 4)) == kept
    assert database.read(lambda tx: mitigations.due(tx, NOW)) == [kept]
    extended = kept.model_copy(update={"ends_at": NOW + 9 * MINUTE})
    database.write(lambda tx: mitigations.save(tx, extended, next_at=NOW + 8 * MINUTE))
    assert database.read(lambda tx: mitigations.due(tx, NOW)) == []
    assert database.read(lambda tx: mitigations.open_ones(tx, owner="ana", incident_id=1)) == [extended]
    ended = extended.model_copy(update={"ended_at": NOW, "end_reason": "reverted"})
    database.write(lambda tx: mitigations.save(tx, ended, next_at=None))
    with pytest.raises(Stale):
        database.write(lambda tx: mitigations.save(tx, extended))
    assert database.read(mitigations.open_ones) == []
    assert database.read(lambda tx: mitigations.of_incident(tx, 1)) == [ended]


def test_an_incident_has_one_review(database: Database) -> None:
    """A second one is refused; reminders are due when they are; done is done."""
    review = Review(id=0, incident_id=1, owner="ana", due_at=NOW + MINUTE, opened_at=NOW)
    kept = database.write(lambda tx: reviews.add(tx, review, next_at=NOW))
    with pytest.raises(Taken):
        database.write(lambda tx: reviews.add(tx, review))
    assert database.read(lambda tx: reviews.due(tx, NOW)) == database.read(lambda tx: reviews.open_ones(tx, owner="ana")) == [kept]
    done = kept.model_copy(update={"state": ReviewState.DONE, "done_at": NOW})
    database.write(lambda tx: reviews.save(tx, done, was=ReviewState.DUE, next_at=None))
    with pytest.raises(Stale):
        database.write(lambda tx: reviews.save(tx, done, was=ReviewState.DUE))
    assert database.read(lambda tx: reviews.get(tx, kept.id)) == database.read(lambda tx: reviews.of_incident(tx, 1)) == done


def test_follow_ups_close_once(database: Database) -> None:
    """Open ones are found by owner and by the reminder's time; a closed one is not changed again."""
    kept = database.write(lambda tx: follow_ups.add(tx, FollowUp(id=0, incident_id=1, title="test", owner="ana", due_at=NOW), next_at=NOW))
    assert database.read(lambda tx: follow_ups.open_ones(tx, owner="ana")) == database.read(lambda tx: follow_ups.due(tx, NOW)) == [kept]
    closed = kept.model_copy(update={"closed_at": NOW})
    database.write(lambda tx: follow_ups.save(tx, closed, next_at=None))
    with pytest.raises(Stale):
        database.write(lambda tx: follow_ups.save(tx, kept))
    assert database.read(lambda tx: follow_ups.of_incident(tx, 1)) == [closed]
    assert database.read(lambda tx: follow_ups.get(tx, kept.id)) == closed


def test_a_runbook_has_one_drill_in_a_slot(database: Database) -> None:
    """The slot is unique, the state is compared, and the last graded drill is found for the card."""
    drill = Drill(id=0, runbook="inference-latency", slot="2026-Q4", state=DrillState.PLANNED, due_at=NOW)
    kept = database.write(lambda tx: drills.add(tx, drill, next_at=NOW))
    with pytest.raises(Taken):
        database.write(lambda tx: drills.add(tx, drill))
    assert database.read(lambda tx: drills.in_slot(tx, "inference-latency", "2026-Q4")) == kept
    assert database.read(lambda tx: drills.last_ended(tx, "inference-latency")) is None
    passed = kept.model_copy(
        update={
            "state": DrillState.PASSED,
            "incident_id": 3,
            "ended_at": NOW,
            "findings": (Finding(passed=True, text="quick"),),
            "injected": (0, 1),
        }
    )
    database.write(lambda tx: drills.save(tx, passed, was=DrillState.PLANNED, next_at=None))
    with pytest.raises(Stale):
        database.write(lambda tx: drills.save(tx, passed, was=DrillState.PLANNED))
    for found in (
        lambda tx: drills.last_ended(tx, "inference-latency"),
        lambda tx: drills.of_incident(tx, 3),
        lambda tx: drills.get(tx, kept.id),
        lambda tx: drills.in_states(tx, [DrillState.PASSED])[0],
        lambda tx: drills.listed(tx, runbook="inference-latency", slot="2026-Q4")[0],
    ):
        assert database.read(found) == passed
    assert database.read(lambda tx: drills.due(tx, NOW)) == []


def test_changes_are_kept_once_and_found_by_time_and_service(database: Database) -> None:
    """A repeated delivery changes nothing; a service sees its own changes and those that name none."""

    def change(key, service=None, at=NOW):
        return Change(key=key, source="github", kind=ChangeKind.DEPLOY, title=f"deploy {key}", service=service, changed_at=at)

    mine, other, general = change("1", "a", NOW - MINUTE), change("2", "b"), change("3")
    assert database.write(lambda tx: changes.add(tx, mine, other, general, mine)) == 3
    assert database.write(lambda tx: changes.add(tx, mine)) == 0
    assert database.read(lambda tx: changes.get(tx, "1")) == mine
    assert database.read(lambda tx: changes.between(tx, NOW - MINUTE, NOW, services=["a"])) == [general, mine]
    assert database.read(lambda tx: changes.between(tx, NOW, NOW)) == [other, general]
    assert database.write(lambda tx: changes.purge(tx, NOW)) == 1


def test_the_latest_measurement_of_each_diagnostic_is_found(database: Database) -> None:
    """The card shows the last answers; "no data" is an answer and not zero."""

    def measured(diagnostic, value):
        return Measurement(diagnostic=diagnostic, title="CPU", text="x", value=value, measured_at=NOW, result={"rows": [{"value": value}]})

    database.write(lambda tx: measurements.add(tx, 1, measured("cpu", 0.9), measured("p99", 0.7), measured("cpu", None)))
    database.write(lambda tx: measurements.add(tx, 2, measured("cpu", 0.1)))
    database.write(lambda tx: measurements.add(tx, 2))
    latest = database.read(lambda tx: measurements.latest(tx, 1))
    assert {name: found.value for name, found in latest.items()} == {"cpu": None, "p99": 0.7}
    assert [found.value for found in database.read(lambda tx: measurements.of_incident(tx, 1, diagnostic="cpu"))] == [0.9, None]


def test_feedback_is_queued(database: Database) -> None:
    """What people say with "wrong runbook" is kept: who, when, and about which alert."""
    said = Feedback(incident_id=1, chosen="a", better="b", person="ana", given_at=NOW, alert={"labels": {"x": "\x00"}})
    database.write(lambda tx: feedback.add(tx, said))
    assert database.read(feedback.listed) == database.read(lambda tx: feedback.of_incident(tx, 1)) == [said]


def test_messages_are_remembered_where_they_stand(database: Database) -> None:
    """A card is found by its key and by its place, and moves when it is posted anew."""
    database.write(lambda tx: messages.put(tx, "card:1", channel="C1", ts="1.1", revision=1))
    database.write(lambda tx: messages.put(tx, "card:1", channel="C1", ts="1.2", revision=4))
    found = database.read(lambda tx: messages.get(tx, "card:1"))
    assert (found.channel, found.ts, found.revision) == ("C1", "1.2", 4)
    assert database.read(lambda tx: messages.at(tx, "C1", "1.2")) == found
    assert database.read(lambda tx: messages.at(tx, "C1", "1.1")) is None
    database.write(lambda tx: messages.forget(tx, "card:1"))
    assert database.read(lambda tx: messages.get(tx, "card:1")) is None


def test_an_event_is_first_once(database: Database) -> None:
    """Of many deliveries of one event at once, one is the first; after a rollback it may be first again; old ones are forgotten."""
    futures = [database.submit(lambda tx: seen.first(tx, "Ev1", NOW), ordered=False) for _ in range(6)]
    assert sorted(future.result(30) for future in futures) == [False] * 5 + [True]

    def fails(tx):
        assert seen.first(tx, "Ev2", NOW)
        raise NotFound("no")

    with pytest.raises(NotFound):
        database.write(fails)
    assert database.write(lambda tx: seen.first(tx, "Ev2", NOW + MINUTE))
    assert database.write(lambda tx: seen.forget(tx, NOW + MINUTE)) == 1


def test_switches_keep_any_json(database: Database) -> None:
    """A switch that was never set is None; each keeps its last value."""
    assert database.read(lambda tx: switches.get(tx, "pause")) is None
    database.write(lambda tx: switches.put(tx, "pause", {"by": "ana"}))
    database.write(lambda tx: switches.put(tx, "pause", False))
    assert database.read(switches.every) == {"pause": False}


def test_a_schedule_advances_once_for_all_replicas(database: Database) -> None:
    """Of many that fire the same slot, one moves it on; a restart loses no missed slot; a new calendar starts anew."""
    assert database.write(lambda tx: schedules.put(tx, "drills", spec="mon 09:00", next_at=NOW))
    assert not database.write(lambda tx: schedules.put(tx, "drills", spec="mon 09:00", next_at=NOW + 9 * MINUTE))
    (found,) = database.read(lambda tx: schedules.due(tx, NOW))
    futures = [
        database.submit(lambda tx: schedules.advance(tx, "drills", was=found.next_at, next_at=NOW + MINUTE), ordered=False)
        for _ in range(6)
    ]
    assert sorted(future.result(30) for future in futures) == [False] * 5 + [True]
    assert database.read(lambda tx: schedules.due(tx, NOW)) == []
    assert database.write(lambda tx: schedules.put(tx, "drills", spec="tue 09:00", next_at=NOW + 5 * MINUTE))
    assert database.read(lambda tx: schedules.get(tx, "drills")).next_at == NOW + 5 * MINUTE
    database.write(lambda tx: schedules.remove(tx, "drills"))
    assert database.read(schedules.every) == []


def test_a_row_of_a_newer_version_is_refused_with_a_sentence(database: Database) -> None:
    """What this version cannot read is an error of this room that names the noun, not a crash."""
    kept = add_incident(database)
    database.write(lambda tx: tx.exec_driver_sql("""UPDATE incidents SET body = '{"from": "the future"}'"""))
    with pytest.raises(Unreadable, match="Incident in the database cannot be read"):
        database.read(lambda tx: incidents.get(tx, kept.id))
