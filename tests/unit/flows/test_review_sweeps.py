"""Sweeps in bad company: one row that cannot be dealt with stops nobody behind it."""

from datetime import datetime, timedelta

import pytest

from bot.flows import mitigate, receive
from bot.flows.context import Context
from bot.flows.sweeping import PUT_OFF, each
from runbooks.run import Mitigation, MitigationEnd, RunState
from storage import incidents, mitigations, runs
from storage.database import Database, Tx
from storage.errors import StorageUnavailable
from tests import acting
from tests.flowing import START, StandingClock, alert, context


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


def test_an_outage_is_no_fault_of_the_row(ctx: Context) -> None:
    """When the database is away, nothing is put off: the whole turn fails and comes again."""

    def away(_item: Mitigation) -> None:
        raise StorageUnavailable("gone")

    item = ctx.write(lambda tx: _standing(tx, ctx, then=MitigationEnd.KEEP, key="one", ends_at=START))
    with pytest.raises(StorageUnavailable):
        ctx.write(lambda tx: each(tx, [item], away, put_off=lambda one: mitigations.wake(tx, one.id, None)))
    assert [one.id for one in ctx.read(lambda tx: mitigations.due(tx, START))] == [item.id]
