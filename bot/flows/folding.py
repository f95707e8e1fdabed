"""Alerts folded into incidents: deduplicated, grouped, damped, matched (mission A3, A4). One transaction for a whole batch."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.flows import sightings
from bot.flows.context import Context
from bot.flows.records import card_task, entry
from runbooks.alert import Alert, AlertStatus
from runbooks.grouping import STORM, group_key, storm_key
from runbooks.incident import Incident, Match
from runbooks.people import Actor, ActorKind
from runbooks.runbook import Runbook
from runbooks.severity import Severity
from runbooks.suspicion import rank
from runbooks.timeline import EntryKind, NewEntry
from storage import alerts as alert_rows
from storage import changes, incidents, ledger, tasks
from storage.alerts import AlertRow
from storage.database import Tx
from storage.tasks import NewTask

LISTED = 20  # alerts named in one folded entry; the alerts themselves all keep their rows
_SEVERITY = {"critical": Severity.SEV2, "error": Severity.SEV2, "warning": Severity.SEV3, "info": Severity.SEV4, "page": Severity.SEV2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What makes folded alerts a drill: everything else is the real path."""

    drill_id: int
    world: str
    runbook: Runbook


@dataclass(slots=True)
class _Touched:
    """An incident under change within one batch: what joined, what resolved, what to say of it."""

    before: Incident | None
    now: Incident
    fired: list[Alert] = field(default_factory=list)
    resolved: list[Alert] = field(default_factory=list)
    entries: list[NewEntry] = field(default_factory=list)
    tasks: list[NewTask] = field(default_factory=list)


def fold(tx: Tx, ctx: Context, batch: list[Alert], *, now: datetime, rehearsal: Rehearsal | None = None) -> list[Incident]:
    """Fold alerts into incidents within the caller's transaction; answers every incident that was touched."""
    return _Folding(tx, ctx, batch, now=now, rehearsal=rehearsal).run()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Home:
    """Where an alert belongs: which runbook, why, and under which key its incident is found."""

    runbook: Runbook
    match: Match
    key: str


class _Folding:
    def __init__(self, tx: Tx, ctx: Context, batch: list[Alert], *, now: datetime, rehearsal: Rehearsal | None) -> None:
        self.tx, self.ctx, self.batch, self.now, self.rehearsal = tx, ctx, batch, now, rehearsal
        self.rows = alert_rows.known(tx, {(alert.source, alert.fingerprint) for alert in batch})
        self.touched: dict[int, _Touched] = {}
        self.closed: set[int] = set()
        self.by_group: dict[str, int | None] = {}
        self.opened: dict[str, int] = {}
        self.homes: dict[int, _Home] = {}  # by the alert's own identity: the batch keeps them alive

    def run(self) -> list[Incident]:
        self._look_up_groups()
        changed: dict[tuple[str, str, int | None], AlertRow] = {}
        for alert in self.batch:
            key = (alert.source, alert.fingerprint)
            row = self.rows.get(key)
            fresh = self._resolve(alert, row) if alert.status is AlertStatus.RESOLVED else self._fire(alert, row)
            self.rows[key] = changed[*key, fresh.incident_id] = fresh
        alert_rows.save(self.tx, list(changed.values()))
        return [self._write(item) for item in self.touched.values()]

    def _look_up_groups(self) -> None:
        """The open incidents of all alerts that are new, in one query: a storm brings thousands of groups."""
        new = (alert for alert in self.batch if alert.status is AlertStatus.FIRING and (alert.source, alert.fingerprint) not in self.rows)
        keys = {self._home(alert).key for alert in new}
        found = incidents.open_by_group(self.tx, keys) if len(keys) > 1 else {}
        self.by_group = {key: found[key].id if key in found else None for key in keys} if len(keys) > 1 else {}

    def _resolve(self, alert: Alert, row: AlertRow | None) -> AlertRow:
        ended = alert.ends_at or self.now
        if row is None:
            return sightings.first(alert, now=self.now, incident_id=None)
        if row.status is AlertStatus.RESOLVED or ended < row.starts_at:
            return sightings.again(row, alert, now=self.now)
        if item := self._open(row.incident_id):
            item.resolved.append(alert)
            item.now = item.now.model_copy(update={"firing": max(item.now.firing - 1, 0)})
        return sightings.resolved(row, alert, now=self.now, ended_at=ended)

    def _fire(self, alert: Alert, row: AlertRow | None) -> AlertRow:
        if row is None:
            home = self._home_for(alert)
            self._join(home, alert, new=True)
            return sightings.first(alert, now=self.now, incident_id=home.now.id)
        if row.status is AlertStatus.RESOLVED and row.ends_at and alert.starts_at < row.ends_at and alert.starts_at <= row.starts_at:
            return sightings.again(row, alert, now=self.now)  # its resolve came first: known, counted, over
        item = self._open(row.incident_id)
        if row.status is AlertStatus.FIRING and item:
            return sightings.again(row, alert, now=self.now)
        home = item or self._home_for(alert)
        self._join(home, alert, new=item is None)
        fresh = sightings.fired(row, alert, now=self.now, incident_id=home.now.id)
        self._damp(home, fresh)
        return fresh

    def _join(self, item: _Touched, alert: Alert, *, new: bool) -> None:
        item.fired.append(alert)
        count = {"firing": item.now.firing + 1, "alerts": item.now.alerts + new}
        item.now = item.now.model_copy(update=count)
        if item.now.alerts_clear_at and item.now.mitigated_at:
            item.now = item.now.unmitigated()
            if not item.now.flapping:
                item.entries.append(entry(EntryKind.INCIDENT_REOPENED, "The alert fires again.", now=self.now))

    def _damp(self, item: _Touched, row: AlertRow) -> None:
        """An alert that comes and goes is said once to be flapping, and then no longer redraws the card each time."""
        recent = [at for at in row.flips if at >= self.now - self.ctx.policy.flap_window]
        if len(recent) >= self.ctx.policy.flap_count and not item.now.flapping:
            item.now = item.now.model_copy(update={"flapping": True})
            window = round(self.ctx.policy.flap_window.total_seconds() / 60)
            often = f"{sightings.name_of(row)} comes and goes: {len(recent)} times in {window} min."
            text = f"{often} Further changes are counted and not shown one by one."
            item.entries.append(entry(EntryKind.ALERT_FLAPPING, text, now=self.now, alert=sightings.name_of(row), times=len(recent)))

    def _open(self, incident_id: int | None) -> _Touched | None:
        """The incident, if it is still open."""
        if incident_id is None:
            return None
        if item := self.touched.get(incident_id):
            return item
        if incident_id in self.closed:
            return None
        incident = incidents.get(self.tx, incident_id)
        if not incident.is_open:
            self.closed.add(incident_id)
            return None
        item = self.touched[incident_id] = _Touched(before=incident, now=incident)
        return item

    def _home_for(self, alert: Alert) -> _Touched:
        """The open incident that this alert belongs to, or a new one."""
        home = self._home(alert)
        if item := self._grouped(home.key):
            return item
        if self.rehearsal is None and self._storming(home.runbook):
            key = storm_key(runbook=home.runbook.ref, environment=alert.labels.get("environment"))
            return self._grouped(key) or self._create(alert, home.runbook, home.match, key)
        return self._create(alert, home.runbook, home.match, home.key)

    def _home(self, alert: Alert) -> _Home:
        if home := self.homes.get(id(alert)):
            return home
        runbook, match = self._match(alert)
        drill_id = self.rehearsal.drill_id if self.rehearsal else None
        environment = alert.labels.get("environment")
        key = group_key(runbook=runbook.ref, service=_service(alert), environment=environment, alert=alert, drill_id=drill_id)
        home = self.homes[id(alert)] = _Home(runbook=runbook, match=match, key=key)
        return home

    def _grouped(self, key: str) -> _Touched | None:
        if key not in self.by_group:
            found = incidents.open_by_group(self.tx, [key]).get(key)
            self.by_group[key] = found.id if found else None
        return self._open(self.by_group[key])

    def _storming(self, runbook: Runbook) -> bool:
        if runbook.id not in self.opened:
            since = self.now - self.ctx.policy.storm_window
            self.opened[runbook.id] = incidents.opened_since(self.tx, runbook=runbook.id, since=since)
        return self.opened[runbook.id] >= STORM

    def _match(self, alert: Alert) -> tuple[Runbook, Match]:
        if self.rehearsal:
            runbook = self.rehearsal.runbook
            return runbook, Match(runbook=runbook.ref, score=1.0, reason="the drill rehearses this runbook")
        match = self.ctx.shelf.matcher.match(alert)
        if match is None:
            raise AssertionError("a library without a fallback does not load")
        return self.ctx.shelf.runbook(match.runbook.id) or _unloaded(match), match

    def _create(self, alert: Alert, runbook: Runbook, match: Match, key: str) -> _Touched:
        header, service = runbook.header, self.ctx.service(_service(alert))
        severity = _SEVERITY.get(alert.labels.get("severity", "").lower(), header.severity) if header.fallback else header.severity
        incident = Incident(
            id=0,
            title=(alert.title or alert.name)[:140] if header.fallback else header.title,
            severity=severity,
            incident_class=header.class_,
            service=_service(alert),
            environment=alert.labels.get("environment"),
            labels=alert.labels,
            links={"alert": alert.link} if alert.link else {},
            match=match,
            group_key=key,
            channel=service.channel if service else None,
            began_at=min(alert.starts_at, self.now),
            opened_at=self.now,
            drill_id=self.rehearsal.drill_id if self.rehearsal else None,
            world=self.rehearsal.world if self.rehearsal else None,
        )
        incident = incident.model_copy(update={"owner": self.ctx.owner_of(incident, runbook)})
        incident = incidents.add(self.tx, incident)
        self.by_group[key] = incident.id
        if runbook.id in self.opened:
            self.opened[runbook.id] += 1
        item = self.touched[incident.id] = _Touched(before=None, now=incident)
        item.entries += [*self._opening(incident, match), *self._suspects(incident)]
        item.tasks.append(NewTask(key=f"diagnose:{incident.id}:1", kind="diagnose", args={"incident": incident.id, "round": 1}))
        return item

    def _opening(self, incident: Incident, match: Match) -> list[NewEntry]:
        drill = "DRILL: " if incident.is_drill else ""
        opened = f"{drill}{incident.ref} opened: {incident.title}. {incident.severity.value}, owner {incident.owner}."
        ref = match.runbook
        return [
            entry(
                EntryKind.INCIDENT_OPENED,
                opened,
                now=self.now,
                severity=incident.severity.value,
                owner=incident.owner,
                title=incident.title,
            ),
            entry(
                EntryKind.RUNBOOK_MATCHED,
                f"Runbook {ref.id} v{ref.version}: {match.reason}.",
                now=self.now,
                runbook=ref.model_dump(),
                score=match.score,
                reason=match.reason,
                runners_up=[other.model_dump() for other in match.runners_up],
            ),
        ]

    def _suspects(self, incident: Incident) -> list[NewEntry]:
        if incident.is_drill:
            return []
        recent = changes.between(self.tx, since=incident.began_at - timedelta(hours=24), until=self.now)
        suspects = rank(recent, began_at=incident.began_at, service=incident.service, incident_class=incident.incident_class)
        return [
            entry(
                EntryKind.CHANGE_SEEN,
                f"{suspect.change.kind.value}: {suspect.change.title} ({suspect.reason})",
                now=self.now,
                occurred_at=suspect.change.changed_at,
                key=suspect.change.key,
                score=suspect.score,
                reason=suspect.reason,
                title=suspect.change.title,
                change_kind=suspect.change.kind.value,
            )
            for suspect in suspects[:3]
        ]

    def _write(self, item: _Touched) -> Incident:
        """The incident's next revision with its folded entries; nothing at all when only repeats came."""
        said = [*_folded(item.fired, EntryKind.ALERT_FIRED, now=self.now), *item.entries]
        if not (item.before and item.now.flapping and item.before.flapping):
            said += _folded(item.resolved, EntryKind.ALERT_RESOLVED, now=self.now)
        elif item.fired or item.resolved:
            said = item.entries
        incident = self._cleared(item, said)
        if item.before is None or incident is not item.before:
            was = item.before.revision if item.before else incident.revision
            incident = incident.model_copy(update={"revision": was + 1})
            incidents.save(self.tx, incident, was=was, next_at=self.now)
            ledger.record(self.tx, incident.id, said, now=self.now)
            quiet = item.before is not None and not said
            tasks.enqueue(self.tx, *([] if quiet else [card_task(incident)]), *item.tasks)
        return incident

    def _cleared(self, item: _Touched, said: list[NewEntry]) -> Incident:
        incident = item.now
        if item.resolved and incident.firing == 0 and incident.alerts_clear_at is None:
            incident = incident.model_copy(update={"alerts_clear_at": self.now})
            if not incident.flapping:
                said.append(entry(EntryKind.ALERTS_CLEAR, "No alert of this incident fires any more.", now=self.now))
        elif item.fired and incident.alerts_clear_at is not None:
            incident = incident.model_copy(update={"alerts_clear_at": None})
        return incident


def _unloaded(match: Match) -> Runbook:
    raise AssertionError(f"the matcher chose {match.runbook.id}, which its own library does not hold")


def _service(alert: Alert) -> str | None:
    return alert.labels.get("service") or alert.labels.get("app") or alert.labels.get("job") or None


def _folded(alerts: list[Alert], kind: EntryKind, *, now: datetime) -> list[NewEntry]:
    """One entry an alert while they are few; one for all of them in a storm, so that a timeline stays readable."""
    verb = "fires" if kind is EntryKind.ALERT_FIRED else "has ended"
    if len(alerts) <= 3:
        return [
            entry(
                kind,
                f"{alert.name} {verb}{': ' + alert.title if alert.title and alert.title != alert.name else ''}",
                now=now,
                occurred_at=min((alert.ends_at if kind is EntryKind.ALERT_RESOLVED else alert.starts_at) or now, now),
                actor=Actor(kind=ActorKind.SOURCE, id=alert.source, via="alert"),
                alert=alert.name,
                fingerprint=alert.fingerprint,
                labels=alert.labels,
                upstream=alert.upstream,
            )
            for alert in alerts
        ]
    names = sorted({alert.name for alert in alerts})
    return [
        entry(
            kind,
            f"{len(alerts)} alerts {'fire' if kind is EntryKind.ALERT_FIRED else 'have ended'}: {', '.join(names[:5])}",
            now=now,
            occurred_at=min(now, *(alert.starts_at for alert in alerts)),
            actor=Actor(kind=ActorKind.SOURCE, id=alerts[0].source, via="alert"),
            alert=names[0],
            count=len(alerts),
            fingerprints=[alert.fingerprint for alert in alerts[:LISTED]],
        )
    ]
