"""Alerts become incidents: deduplicated, grouped, damped, in any order, none lost."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.flows import receive
from bot.flows.context import Context
from runbooks.alert import Alert, AlertStatus
from runbooks.change import Change, ChangeKind
from runbooks.duration import in_words
from runbooks.incident import Incident
from runbooks.severity import Severity
from runbooks.timeline import Entry, EntryKind
from storage import alerts, changes, inbox, incidents, ledger, tasks, timeline
from storage.database import Database
from storage.errors import StorageUnavailable
from tests.flowing import LIBRARY, START, StandingClock, alert, context

_numbers = count(1)


@pytest.fixture
def clock() -> StandingClock:
    """The present, moved by hand."""
    return StandingClock()


@pytest.fixture
def ctx(database: Database, clock: StandingClock) -> Context:
    """The flows' surroundings."""
    return context(database, clock=clock)


def deliver(ctx: Context, *batch: Alert) -> list[Incident]:
    """Fold a batch in one transaction."""
    return ctx.write(lambda tx: receive.fold(tx, ctx, list(batch), now=ctx.now()))


def accept(ctx: Context, *batch: Alert, source: str = "prometheus") -> None:
    """Put a request into the inbox, as the intake does."""
    kept = inbox.packed(batch)
    ctx.write(lambda tx: inbox.append(tx, source=source, raw=b"{}", alerts_json=kept, count=len(batch), received_at=ctx.now()))


def opened(ctx: Context) -> list[Incident]:
    """Open incidents."""
    return ctx.read(incidents.open_ones)


def told(ctx: Context, incident: Incident, kind: EntryKind) -> list[Entry]:
    """Entries of one kind on an incident's timeline."""
    return [entry for entry in ctx.read(lambda tx: timeline.of(tx, incident.id)) if entry.kind is kind]


def rows(ctx: Context, incident: Incident) -> list[alerts.AlertRow]:
    """The alerts of an incident."""
    return ctx.read(lambda tx: alerts.of_incident(tx, incident.id))


def after(minutes: float) -> datetime:
    """So many minutes after the start."""
    return START + timedelta(minutes=minutes)


def test_the_same_alert_again_is_counted_and_changes_nothing(ctx: Context) -> None:
    """A repeat, in the same batch or a later one, is no incident, no entry and no redrawn card; the row counts it."""
    (first,) = deliver(ctx, alert(), alert())
    (again,) = deliver(ctx, alert())
    assert again == first
    assert (first.firing, first.alerts) == (1, 1)
    assert [row.count for row in rows(ctx, first)] == [3]
    assert len(told(ctx, first, EntryKind.ALERT_FIRED)) == 1


def test_a_fingerprint_belongs_to_its_source(ctx: Context) -> None:
    """Two sources may use one fingerprint for different things: they are two alerts."""
    (incident,) = deliver(ctx, alert("same", source="prometheus"), alert("same", source="grafana"))
    assert (incident.firing, incident.alerts) == (2, 2)


def test_alerts_of_one_service_and_runbook_are_one_incident(ctx: Context) -> None:
    """Other instances and other alert names of the same runbook join; another service, environment or runbook opens its own."""
    deliver(ctx, alert("a", instance="1"), alert("b", alertname="InferenceQueueGrowing"))
    deliver(
        ctx,
        alert("c", service="search"),
        alert("d", environment="staging", alertname="InferenceQueueGrowing"),
        alert("e", alertname="RetryStorm"),
    )
    assert Counter(incident.alerts for incident in opened(ctx)) == {2: 1, 1: 3}


def test_an_incident_opens_with_everything_that_follows_from_it(ctx: Context) -> None:
    """Title, severity, owner, runbook with its reason, the first diagnosis and the card are promised in one transaction."""
    (incident,) = deliver(ctx, alert())
    book = next(book for book in LIBRARY.all if book.id == "inference-latency")
    assert (incident.match.runbook, incident.title, incident.severity) == (book.ref, book.header.title, book.header.severity)
    assert incident.match.reason == "alertname is ModelLatencyP99High, environment is production"
    assert [entry.kind for entry in ctx.read(lambda tx: timeline.of(tx, incident.id))] == [
        EntryKind.ALERT_FIRED,
        EntryKind.INCIDENT_OPENED,
        EntryKind.RUNBOOK_MATCHED,
    ]
    promised = {task.kind for task in ctx.database.write(lambda tx: tasks.claim(tx, 10, 60.0), ordered=False)}
    assert promised == {"card", "diagnose"}


def test_what_nothing_fits_gets_the_fallback_with_its_own_title_and_severity(ctx: Context) -> None:
    """Under the fallback the alert's words are the title, and its severity label counts."""
    (incident,) = deliver(ctx, alert(alertname="CheckoutErrorRateHigh", service="checkout", severity="critical"))
    assert incident.match.fallback
    assert (incident.title, incident.severity) == ("CheckoutErrorRateHigh", Severity.SEV2)


def test_resolving_all_alerts_clears_and_does_not_close(ctx: Context) -> None:
    """The last resolve says that nothing fires any more; whether it is over stays a person's word."""
    deliver(ctx, alert("a"), alert("b"))
    (one,) = deliver(ctx, alert("a", ended=after(5)))
    assert (one.firing, one.alerts_clear_at) == (1, None)
    (both,) = deliver(ctx, alert("b", ended=after(6)))
    assert (both.firing, both.alerts_clear_at, both.is_open) == (0, START, True)
    assert len(told(ctx, both, EntryKind.ALERTS_CLEAR)) == 1


def test_a_resolve_that_comes_before_its_fire_opens_nothing(ctx: Context) -> None:
    """The resolve waits without an incident; its late fire is known to be over; a fire of a later time opens one."""
    assert deliver(ctx, alert(ended=after(5))) == []
    assert deliver(ctx, alert()) == []
    assert opened(ctx) == []
    (incident,) = deliver(ctx, alert(at=after(10)))
    assert incident.firing == 1


def test_a_resolve_and_the_next_fire_in_one_batch_are_both_counted(ctx: Context) -> None:
    """What waited without an incident keeps its own row and count when the alert gets one in the same batch."""
    deliver(ctx, alert(ended=after(5)), alert(at=after(10)))
    (incident,) = opened(ctx)
    waited = ctx.read(lambda tx: alerts.of_incident(tx, 0))
    assert [(row.count, row.status) for row in (*waited, *rows(ctx, incident))] == [(1, AlertStatus.RESOLVED), (1, AlertStatus.FIRING)]


def test_a_new_start_is_never_taken_for_a_late_delivery(ctx: Context) -> None:
    """Clocks differ: a fire with a start of its own counts, even where it lies before the end that Muster heard of. Rather one too many."""
    deliver(ctx, alert())
    deliver(ctx, alert(ended=after(5)))
    (incident,) = deliver(ctx, alert(at=after(4)))
    assert incident.firing == 1


def test_a_late_resolve_does_not_end_what_began_again(ctx: Context) -> None:
    """A fire of a later time may overtake the resolve of the earlier one: what fires now goes on firing."""
    deliver(ctx, alert())
    deliver(ctx, alert(at=after(10)))
    deliver(ctx, alert(ended=after(5)))
    (incident,) = opened(ctx)
    assert (incident.firing, incident.alerts_clear_at) == (1, None)


def test_an_alert_that_fires_again_stays_in_its_open_incident(ctx: Context) -> None:
    """Gone and back is the same alert in the same incident, not a second one."""
    deliver(ctx, alert())
    deliver(ctx, alert(ended=after(5)))
    (incident,) = deliver(ctx, alert(at=after(8)))
    assert (incident.firing, incident.alerts, incident.alerts_clear_at) == (1, 1, None)


def test_a_mitigated_incident_is_not_mitigated_when_its_alert_is_back(ctx: Context, clock: StandingClock) -> None:
    """Fired again after it was clear and mitigated: the status goes back, and the timeline says so."""
    (incident,) = deliver(ctx, alert())
    (incident,) = deliver(ctx, alert(ended=after(5)))
    mitigated = incident.acknowledged(by="ana", now=clock.now()).mitigated(now=clock.now())
    ctx.write(lambda tx: incidents.save(tx, mitigated, was=incident.revision))
    (back,) = deliver(ctx, alert(at=after(20)))
    assert (back.status.value, back.mitigated_at, back.firing) == ("acknowledged", None, 1)
    assert len(told(ctx, back, EntryKind.INCIDENT_REOPENED)) == 1


def test_after_the_incident_is_resolved_the_same_alert_opens_a_new_one(ctx: Context, clock: StandingClock) -> None:
    """What a person closed stays closed; the old row keeps what was, the new incident has its own."""
    (incident,) = deliver(ctx, alert())
    over = incident.resolved(by="ana", resolution="fixed", now=clock.now())
    ctx.write(lambda tx: incidents.save(tx, over, was=incident.revision))
    (second,) = deliver(ctx, alert(at=after(30)))
    assert (second.id, second.firing, second.alerts) == (incident.id + 1, 1, 1)
    assert ctx.read(lambda tx: incidents.get(tx, incident.id)) == over


def test_an_alert_that_comes_and_goes_is_damped(ctx: Context, clock: StandingClock) -> None:
    """Said once to be flapping; from then on no entry and no card for each change, and every change is still counted."""
    quiet_since = None
    for turn in range(12):
        at = clock.pass_(seconds=20)
        (incident,) = deliver(ctx, alert(at=at))
        (incident,) = deliver(ctx, alert(at=at, ended=clock.pass_(seconds=5)))
        entries = ctx.read(lambda tx, number=incident.id: timeline.of(tx, number))
        if incident.flapping and quiet_since is None:
            quiet_since = len(entries)
        assert quiet_since is None or len(entries) == quiet_since, f"turn {turn}"
    assert len(told(ctx, incident, EntryKind.ALERT_FLAPPING)) == 1
    assert [row.count for row in rows(ctx, incident)] == [24]


def test_a_storm_is_a_handful_of_incidents_and_nothing_is_lost(ctx: Context) -> None:
    """10,000 alerts of 2,000 services for two runbooks: six incidents each at most, every alert in one of them, one timeline entry a batch."""
    names = ("ModelLatencyP99High", "RetrievalTimeouts")
    storm = [alert(f"f{number}", alertname=names[number % 2], service=f"service-{number // 5}") for number in range(10_000)]
    for start in range(0, len(storm), 1000):
        accept(ctx, *storm[start : start + 1000])
    while receive.triage(ctx):
        pass
    found = opened(ctx)
    assert len(found) <= 12
    assert sum(incident.firing for incident in found) == sum(incident.alerts for incident in found) == 10_000
    assert {row.fingerprint for incident in found for row in rows(ctx, incident)} == {f"f{number}" for number in range(10_000)}
    assert max(len(told(ctx, incident, EntryKind.ALERT_FIRED)) for incident in found) <= 10
    assert ctx.read(inbox.waiting) == 0
    assert ctx.read(ledger.verify).ok


def test_after_a_storm_services_get_incidents_of_their_own_again(ctx: Context, clock: StandingClock) -> None:
    """When the window has passed, a further service is an incident, not one more line in the storm's."""
    deliver(ctx, *(alert(f"f{number}", service=f"s{number}") for number in range(20)))
    before = len(opened(ctx))
    clock.pass_(hours=1)
    deliver(ctx, alert("late", service="late"))
    assert (before, len(opened(ctx))) == (6, 7)


def test_a_delivery_that_cannot_be_folded_is_set_aside(ctx: Context) -> None:
    """It stops nobody behind it, leaves nothing half done, and is shown with its reason."""
    accept(ctx, alert("before"))
    ctx.write(lambda tx: inbox.append(tx, source="odd", raw=b"", alerts_json=b'[{"source": 1}]', count=1, received_at=START))
    accept(ctx, alert("after", service="search"))
    while receive.triage(ctx):
        pass
    assert sorted(incident.service or "" for incident in opened(ctx)) == ["answers", "search"]
    ((_, source, reason),) = ctx.read(inbox.refused)
    assert source == "odd"
    assert "ValidationError" in reason
    assert ctx.read(inbox.waiting) == 0


def test_an_alert_that_breaks_folding_leaves_nothing_half_done(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose second alert fails leaves no trace of its first; the requests around it are folded."""
    matcher, match = ctx.shelf.matcher, ctx.shelf.matcher.match

    def breaks(one: Alert):
        if one.fingerprint == "bad":
            raise RuntimeError("a rule of ours is wrong")
        return match(one)

    monkeypatch.setattr(matcher, "match", breaks)
    accept(ctx, alert("good", service="s1"))
    accept(ctx, alert("half", service="s2"), alert("bad", service="s3"))
    accept(ctx, alert("late", service="s4"))
    while receive.triage(ctx):
        pass
    assert sorted(incident.service or "" for incident in opened(ctx)) == ["s1", "s4"]
    assert [reason for _, _, reason in ctx.read(inbox.refused)] == ["RuntimeError: a rule of ours is wrong"]


def test_an_outage_sets_nothing_aside(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database is away triage says so and loses nothing; afterwards it goes on."""
    accept(ctx, alert())
    with monkeypatch.context() as away:
        away.setattr(incidents, "add", lambda *_args, **_more: (_ for _ in ()).throw(StorageUnavailable("the disk is full")))
        with pytest.raises(StorageUnavailable):
            receive.triage(ctx)
    assert ctx.read(inbox.refused) == []
    assert receive.triage(ctx) == 1
    assert len(opened(ctx)) == 1


def test_a_drill_is_the_real_path_in_a_world_of_its_own(ctx: Context) -> None:
    """The same alert as production's, during production's incident, is another incident: marked, of the drilled runbook, joining nothing."""
    (real,) = deliver(ctx, alert())
    book = next(book for book in LIBRARY.all if book.id == "cost-spike")
    rehearsal = receive.Rehearsal(drill_id=7, world="world-7", runbook=book)
    (drill,) = ctx.write(
        lambda tx: receive.fold(tx, ctx, [alert("drill-7", source="drill")], now=ctx.now(), rehearsal=rehearsal)
    )  # fmt: skip
    assert (drill.drill_id, drill.world, drill.match.runbook) == (7, "world-7", book.ref)
    assert told(ctx, drill, EntryKind.INCIDENT_OPENED)[0].summary.startswith("DRILL: ")
    assert ctx.read(lambda tx: incidents.get(tx, real.id)) == real
    (other,) = deliver(ctx, alert("next", alertname="RetryStorm"))
    assert other.id not in {real.id, drill.id}


def test_drills_are_no_storm(ctx: Context) -> None:
    """However many drills run, production's next alert opens its own incident under its own service."""
    book = next(book for book in LIBRARY.all if book.id == "inference-latency")
    for number in range(8):
        rehearsal = receive.Rehearsal(drill_id=number + 1, world=f"w{number}", runbook=book)
        ctx.write(lambda tx, r=rehearsal: receive.fold(tx, ctx, [alert(f"drill-{r.drill_id}", source="drill")], now=ctx.now(), rehearsal=r))
    (real,) = deliver(ctx, alert())
    assert "storm" not in real.group_key


def test_the_likeliest_change_stands_on_the_timeline(ctx: Context) -> None:
    """Changes shortly before it began are named with their reason, three at most; for a drill none."""
    for number in range(5):
        change = Change(
            key=f"c{number}",
            source="ci",
            kind=ChangeKind.DEPLOY,
            title=f"deploy {number}",
            service="answers",
            changed_at=after(-10 - number),
        )
        ctx.write(lambda tx, one=change: changes.add(tx, one))
    (incident,) = deliver(ctx, alert())
    seen = told(ctx, incident, EntryKind.CHANGE_SEEN)
    assert [entry.payload["key"] for entry in seen] == ["c0", "c1", "c2"]
    assert seen[0].payload["reason"] == f"{in_words(600)} before, same service, a usual cause"


Delivery = tuple[int, int, bool]
"""Which alert, which of its episodes, and whether it is the resolve."""

DELIVERIES = st.lists(
    st.lists(st.one_of(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()), st.none()), min_size=1, max_size=6), max_size=6
)
"""Batches. None is a person who resolves the incident between two alerts of a batch's time."""


@given(DELIVERIES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_deliveries_in_any_order_come_to_the_same(ctx: Context, clock: StandingClock, batches: Sequence[Sequence[Delivery | None]]) -> None:
    """Repeated, late, out of order, closed in between: an alert fires at the end exactly if its latest episode was not resolved.

    An incident counts exactly its rows, and every delivery is counted in one row.
    """
    base, place = clock.pass_(hours=2), f"service-{next(_numbers)}"
    clock.pass_(hours=1)
    sent: list[Delivery] = []
    for batch in batches:
        folded: list[Alert] = []
        for one in batch:
            if one is None:
                _fold_and_check(ctx, folded, place)
                folded = []
                _close(ctx, place)
            else:
                sent.append(one)
                folded.append(_delivered(one, base, place))
        _fold_and_check(ctx, folded, place)
        clock.pass_(seconds=30)
    known = ctx.read(lambda tx: alerts.known(tx, {("prometheus", f"{place}-{number}") for number in range(3)}))
    for number in range(3):
        mine = [(episode, resolve) for which, episode, resolve in sent if which == number]
        if mine:
            latest = max(episode for episode, _ in mine)
            expected = AlertStatus.RESOLVED if (latest, True) in mine else AlertStatus.FIRING
            assert known["prometheus", f"{place}-{number}"].status is expected, mine
    assert _counted(ctx, place) == len(sent)


MIX = st.lists(
    st.lists(
        st.tuples(
            st.integers(0, 11),
            st.sampled_from(["ModelLatencyP99High", "RetrievalTimeouts", "CheckoutErrorRateHigh"]),
            st.sampled_from([None, "staging"]),
            st.booleans(),
        ),
        max_size=15,
    ),
    max_size=5,
)
"""Batches of deliveries: service, name, environment, and whether it is the resolve."""


@given(MIX, st.lists(st.sampled_from([1, 300, 4000]), min_size=5, max_size=5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_alert_is_in_one_open_incident_whatever_storms(
    ctx: Context, clock: StandingClock, batches: Sequence[Sequence[tuple[int, str, str | None, bool]]], pauses: Sequence[int]
) -> None:
    """Many services at once, in and out of storms: what fires is in an open incident, once; groups are open once; counts are the rows."""
    tag, sent = f"m{next(_numbers)}", 0
    clock.pass_(hours=3)
    for batch, pause in zip(batches, pauses, strict=False):
        now = clock.pass_(seconds=pause)
        folded = [
            alert(
                f"{tag}/{service}/{name}/{place}",
                at=now,
                ended=now if over else None,
                service=f"{tag}-{service}",
                alertname=name,
                environment=place or "production",
            )
            for service, name, place, over in batch
        ]
        if folded:
            deliver(ctx, *folded)
        sent += len(folded)
    keys = [incident.group_key for incident in opened(ctx)]
    assert len(keys) == len(set(keys))
    seen: Counter[str] = Counter()
    for incident in opened(ctx):
        mine = rows(ctx, incident)
        assert (incident.firing, incident.alerts) == (sum(row.status is AlertStatus.FIRING for row in mine), len(mine))
        seen.update(row.fingerprint for row in mine if row.status is AlertStatus.FIRING)
    latest: dict[str, bool] = {}
    for batch in batches:
        latest |= {f"{tag}/{service}/{name}/{place}": over for service, name, place, over in batch}
    assert {name for name, times in seen.items() if name.startswith(f"{tag}/") and times == 1} >= {
        name for name, over in latest.items() if not over
    }
    waiting = ctx.read(lambda tx: alerts.of_incident(tx, 0))
    kept = [row for incident in opened(ctx) for row in rows(ctx, incident)] + waiting
    assert sum(row.count for row in kept if row.fingerprint.startswith(f"{tag}/")) == sent


def _delivered(one: Delivery, base: datetime, place: str) -> Alert:
    number, episode, resolve = one
    begins = base + timedelta(minutes=10 * episode)
    ends = begins + timedelta(minutes=5) if resolve else None
    return alert(f"{place}-{number}", at=begins, ended=ends, service=place)


def _fold_and_check(ctx: Context, batch: Sequence[Alert], place: str) -> None:
    if batch:
        deliver(ctx, *batch)
    for incident in opened(ctx):
        if incident.service == place:
            firing, every = ctx.read(lambda tx, number=incident.id: alerts.tally(tx, number))
            assert (incident.firing, incident.alerts) == (firing, every)
            assert (incident.alerts_clear_at is not None) == (firing == 0)


def _close(ctx: Context, place: str) -> None:
    for incident in opened(ctx):
        if incident.service == place:
            over = incident.resolved(by="ana", resolution="fixed", now=ctx.now())
            ctx.write(lambda tx, now=over, was=incident.revision: incidents.save(tx, now, was=was))


def _counted(ctx: Context, place: str) -> int:
    mine = [incident for incident in ctx.read(lambda tx: incidents.listed(tx, service=place)) if incident.service == place]
    kept = [row for incident in mine for row in rows(ctx, incident)]
    kept += ctx.read(lambda tx: [row for row in alerts.of_incident(tx, 0) if row.fingerprint.startswith(f"{place}-")])
    return sum(row.count for row in kept)
