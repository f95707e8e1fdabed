"""Sweeps in bad company: one row that cannot be dealt with stops nobody behind it."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import event

from bot.flows import escalate, mitigate, receive, respond
from bot.flows.context import Context
from bot.flows.sweeping import PUT_OFF, each
from runbooks.incident import Match
from runbooks.operation import Measurement
from runbooks.run import Mitigation, MitigationEnd, RunState
from runbooks.severity import Severity
from storage import incidents, measurements, mitigations, runbook_versions, runs, tasks
from storage.database import Database, Tx
from storage.errors import StorageUnavailable
from tests import acting
from tests.flowing import LIBRARY, START, StandingClock, alert, context


@pytest.fixture
def clock() -> StandingClock:
    """The present, moved by hand."""
    return StandingClock()


@pytest.fixture
def ctx(database: Database, clock: StandingClock) -> Context:
    """The flows' surroundings."""
    return context(database, clock=clock)


def _standing(tx: Tx, ctx: Context, *, then: MitigationEnd, key: str, ends_at: datetime) -> Mitigation:
    """A change in force whose runbook version nobody knows: taking it back must fail, asking about it need not."""
    (incident,) = receive.fold(tx, ctx, [alert(key)], now=ctx.now()) if not incidents.open_ones(tx) else incidents.open_ones(tx)
    run = runs.add(tx, acting.run_of(state=RunState.VERIFIED).with_(incident_id=incident.id, key=key, executed_at=START))
    return mitigations.add(
        tx,
        Mitigation(
            id=0, run_id=run.id, incident_id=incident.id, title="Turn it up", target="thing", owner="nobody", opened_at=START,
            ends_at=ends_at, then=then,
        ),
        next_at=ends_at,
    )  # fmt: skip


def test_one_row_that_fails_does_not_stop_the_others(ctx: Context, clock: StandingClock) -> None:
    """A mitigation that cannot be taken back for a mistake of ours is put off; the one behind it is asked about all the same."""
    ends = START + timedelta(minutes=1)
    bad = ctx.write(lambda tx: _standing(tx, ctx, then=MitigationEnd.REVERT, key="bad", ends_at=ends))
    good = ctx.write(lambda tx: _standing(tx, ctx, then=MitigationEnd.KEEP, key="good", ends_at=ends + timedelta(seconds=1)))
    clock.pass_(minutes=2)
    mitigate.sweep(ctx)
    kept, failed = ctx.read(lambda tx: [mitigations.get(tx, item.id) for item in (good, bad)])
    assert kept.ended_at is not None
    assert failed.ended_at is None
    assert ctx.read(lambda tx: mitigations.due(tx, ctx.now())) == []
    clock.at += PUT_OFF
    assert [item.id for item in ctx.read(lambda tx: mitigations.due(tx, ctx.now()))] == [bad.id]


def test_what_a_failed_row_had_written_is_taken_back(ctx: Context) -> None:
    """Half of a decision is none: the row's own writes roll back, and the others' stay."""
    ends = START + timedelta(minutes=1)
    item = ctx.write(lambda tx: _standing(tx, ctx, then=MitigationEnd.KEEP, key="one", ends_at=ends))

    def half(tx: Tx) -> None:
        mitigations.save(tx, item.model_copy(update={"owner": "chika"}))
        raise RuntimeError("in the middle")

    ctx.write(lambda tx: each(tx, [item], lambda _item: half(tx), put_off=lambda one: mitigations.wake(tx, one.id, None)))
    assert ctx.read(lambda tx: mitigations.get(tx, item.id)).owner == "nobody"


def _many(ctx: Context, count: int) -> None:
    """So many open incidents that are measured: of a spike in cost, one in five with an action that failed."""
    runbook = LIBRARY.by_id("cost-spike")
    assert runbook is not None

    def work(tx: Tx) -> None:
        runbook_versions.keep(tx, runbook, seen_at=START)
        (first,) = receive.fold(tx, ctx, [alert("first")], now=START)
        match = Match(runbook=runbook.ref, score=1.0, reason="given")
        for number in range(count):
            made = incidents.add(tx, first.model_copy(update={"group_key": f"g{number}", "match": match, "severity": Severity.SEV3}))
            incidents.wake(tx, made.id, START)
            cost = Measurement(diagnostic="per-hour", title="Spend", value=float(number * 10), unit="USD/h", text="", measured_at=START)
            for value in (5000.0, cost.value):
                measurements.add(tx, made.id, cost.model_copy(update={"value": value}))
            if number % 5 == 0:
                failed = acting.run_of(run_id=0, state=RunState.FAILED)
                runs.add(tx, failed.with_(incident_id=made.id, key=f"k{made.id}", verdict_at=START))

    ctx.write(work)


def test_escalation_asks_no_more_for_hundreds_of_incidents_than_for_a_few(ctx: Context, clock: StandingClock) -> None:
    """Each turn looks at all that is open: with as many queries, and each incident by its own newest facts."""
    asked = []
    for more in (20, 130):
        _many(ctx, more)
        seen: list[str] = []

        def look(tx: Tx, seen: list[str] = seen) -> dict[int, list[str]]:
            open_ones = [one for one in incidents.open_ones(tx) if one.match.runbook.id == "cost-spike"]
            pending = [(one, ctx.shelf.pinned(tx, one.match.runbook)) for one in open_ones]
            event.listen(tx, "before_cursor_execute", lambda *said: seen.append(str(said[2])))
            found = escalate.facts(tx, pending)
            return {number: [str(facts.cost_per_hour), str(facts.verification_failed_at)] for number, facts in found.items()}

        found = list(ctx.read(look).values())[-more:]
        asked.append(len(seen))
        assert found == [[str(number * 10.0), str(START if number % 5 == 0 else None)] for number in range(more)]
    assert asked == [2, 2]


def test_diagnoses_keep_to_their_number_however_many_incidents_are_open(ctx: Context, clock: StandingClock) -> None:
    """Many incidents are measured more seldom each, and every one of them in its turn."""
    _many(ctx, 300)
    measured: list[list[int]] = []
    for _ in range(10):
        for _ in range(6):
            clock.pass_(seconds=10)
            respond.remeasure(ctx)
        claimed = ctx.write(lambda tx: tasks.claim(tx, 1000, 45.0, kinds=["diagnose"]))
        for task in claimed:
            ctx.write(lambda tx, task=task: tasks.settle(tx, task))
        measured.append([int(task.args["incident"]) for task in claimed])
    assert sum(len(minute) for minute in measured[5:]) <= 5 * respond.DIAGNOSES * 1.1
    assert len({number for minute in measured[5:] for number in minute}) == 301


def test_a_diagnosis_that_waits_is_not_promised_again(ctx: Context, clock: StandingClock) -> None:
    """Where nobody comes to measure, the promises do not pile up."""
    _many(ctx, 3)
    for _ in range(20):
        clock.pass_(minutes=1)
        respond.remeasure(ctx)
    claimed = ctx.write(lambda tx: tasks.claim(tx, 1000, 45.0, kinds=["diagnose"]))
    assert sorted(task.args["round"] != 1 for task in claimed) == [False, True, True, True, True]


def test_an_outage_is_no_fault_of_the_row(ctx: Context) -> None:
    """When the database is away, nothing is put off: the whole turn fails and comes again."""

    def away(_item: Mitigation) -> None:
        raise StorageUnavailable("gone")

    item = ctx.write(lambda tx: _standing(tx, ctx, then=MitigationEnd.KEEP, key="one", ends_at=START))
    with pytest.raises(StorageUnavailable):
        ctx.write(lambda tx: each(tx, [item], away, put_off=lambda one: mitigations.wake(tx, one.id, None)))
    assert [one.id for one in ctx.read(lambda tx: mitigations.due(tx, START))] == [item.id]
