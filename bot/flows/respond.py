"""The first minutes: the card stands, the diagnosis collects itself, people take it (mission B, E1)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from bot.flows.context import Context
from bot.flows.drawing import card
from bot.flows.records import entry, save, say
from bot.ports import Location
from bot.settlement import Buried, Postponed, Settled, Settlement
from runbooks.incident import Incident
from runbooks.operation import Call, Measurement, OutcomeStatus
from runbooks.people import Actor, Role
from runbooks.runbook import Action, Diagnostic, Runbook
from runbooks.screens import IncidentCard
from runbooks.severity import Severity
from runbooks.timeline import EntryKind
from storage import alerts, incidents, ledger, measurements, messages, tasks
from storage.database import Tx
from storage.messages import Message
from storage.tasks import NewTask, Task

FIRST_REVISION = 2
"""The revision with which triage first writes an incident."""

STATE = "state:"
"""What the name of a reading begins with that says how a target stands; it is no diagnostic of the runbook."""

THREADS = 6
DIAGNOSES = 120
"""How many a minute are begun again, all incidents together: the systems that are asked have enough to do in a storm."""

DIAGNOSTIC_TIMEOUT = 8.0
"""Seconds for one diagnostic. All run at once, so the card has its answers well within the 30 s of mission B3."""


def draw_card(ctx: Context, task: Task) -> Settlement:
    """Post the card once and redraw it after; idle when a later task has drawn this revision already."""
    incident_id, revision = int(task.args["incident"]), int(task.args["revision"])

    def load(tx: Tx) -> tuple[Incident, IncidentCard, Message | None]:
        incident = incidents.get(tx, incident_id)
        return incident, card(tx, ctx, incident, now=ctx.now()), messages.get(tx, f"card:{incident_id}")

    incident, screen, message = ctx.read(load)
    key = f"card:{incident_id}"
    if message is None:
        where = incident.channel or ctx.policy.default_channel
        # Whether the card was ever sent is not this task's knowledge alone: the first card task may have died in the middle.
        look = task.in_doubt or revision > FIRST_REVISION
        location = ctx.messenger.post(screen, channel=where, key=key, look_first=look)
        return Settled(apply=lambda tx: _posted(tx, ctx, incident, location, looked=look))
    if message.revision >= incident.revision:
        return Settled(result={"drawn": "by an earlier task"})
    ctx.messenger.update(screen, at=Location(channel=message.channel, ts=message.ts), key=key)
    drawn = incident.revision
    return Settled(apply=lambda tx: messages.put(tx, key, channel=message.channel, ts=message.ts, revision=drawn))


def _posted(tx: Tx, ctx: Context, incident: Incident, location: Location, *, looked: bool) -> None:
    """Where the card stands. One that was found by looking may show an older state, so it is drawn once more."""
    key = f"card:{incident.id}"
    messages.put(tx, key=key, channel=location.channel, ts=location.ts, revision=0 if looked else incident.revision)
    now = ctx.now()
    said = entry(EntryKind.CARD_POSTED, "The card stands.", now=now, channel=location.channel, ts=location.ts)
    ledger.record(tx, incident.id, [said], now=now)
    if looked:
        again = {"incident": incident.id, "revision": incident.revision}
        tasks.enqueue(tx, NewTask(key=f"{key}:{incident.revision}:seen:{location.ts}", kind="card", args=again, lane=key))


def diagnose(ctx: Context, task: Task) -> Settlement:
    """Run every diagnostic of the pinned runbook at once and keep the results. Reading is harmless, so repeating is.

    A `watch` asks only what the runbook's proposals rest on, and leaves the card as it is.
    """
    incident_id, round_, watch = int(task.args["incident"]), int(task.args["round"]), bool(task.args.get("watch"))

    def load(tx: Tx) -> tuple[Incident, tuple[Diagnostic, ...], tuple[Action, ...]]:
        incident = incidents.get(tx, incident_id)
        runbook = ctx.shelf.pinned(tx, incident.match.runbook)
        if watch:
            asked = _asked(runbook)
            return incident, tuple(one for one in runbook.header.diagnostics if one.id in asked), ()
        return incident, runbook.header.diagnostics, runbook.header.actions

    incident, diagnostics, actions = ctx.read(load)
    if not incident.is_open:
        return Settled(result={"skipped": "resolved"})
    with ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="diagnose") as pool:
        standing = pool.map(lambda action: _standing(ctx, incident, action), actions)
        results = [*pool.map(lambda item: measure(ctx, incident, item), diagnostics), *filter(None, standing)]
    return Settled(apply=lambda tx: _measured(tx, ctx, incident_id, results, first=round_ == 1, watch=watch))


def _standing(ctx: Context, incident: Incident, action: Action) -> Measurement | None:
    """How what this action would change stands now: flags, routes, releases, replicas (mission B2)."""
    present = ctx.runner_for(incident).present(
        action, labels=incident.labels, environment=incident.environment, service=incident.service, timeout=DIAGNOSTIC_TIMEOUT
    )
    if present is None:
        return None
    name = f"{STATE}{present.target}"
    return Measurement(diagnostic=name, title=present.target, text=present.text, measured_at=ctx.now())


def measure(ctx: Context, incident: Incident, diagnostic: Diagnostic) -> Measurement:
    """One diagnostic for one incident, against production or its drill's world."""
    return ctx.runner_for(incident).measure(
        diagnostic,
        labels=incident.labels,
        environment=incident.environment,
        service=incident.service,
        timeout=DIAGNOSTIC_TIMEOUT,
    )


def _measured(tx: Tx, ctx: Context, incident_id: int, results: list[Measurement], *, first: bool, watch: bool) -> None:
    before, now = incidents.get(tx, incident_id), ctx.now()
    for result in results:
        measurements.add(tx, incident_id, result)
    said = [
        entry(
            EntryKind.DIAGNOSTIC_MEASURED,
            f"{result.title}: {result.text}",
            now=now,
            occurred_at=result.measured_at,
            diagnostic=result.diagnostic,
            value=result.value,
            unit=result.unit,
            text=result.text,
            error=result.error,
        )
        for result in results
        if not result.diagnostic.startswith(STATE)
    ]
    if before.is_open:
        if not watch:
            save(tx, before=before, after=before.redrawn(), entries=said if first else [], now=now)
        _think(tx, ctx, before, now=now)


def _think(tx: Tx, ctx: Context, incident: Incident, *, now: datetime) -> None:
    """What was measured may be a reason to propose an action, or no longer one (mission D4)."""
    if _asked(ctx.shelf.pinned(tx, incident.match.runbook)):
        key = f"consider:{incident.id}:{int(now.timestamp() * 1000)}"
        tasks.enqueue(tx, NewTask(key=key, kind="consider", args={"incident": incident.id}, lane=f"consider:{incident.id}"))


def _asked(runbook: Runbook) -> frozenset[str]:
    """The diagnostics that the runbook's proposals rest on."""
    return frozenset(action.propose_when.diagnostic for action in runbook.header.actions if action.propose_when)


def acknowledge(tx: Tx, incident: Incident, *, by: Actor, now: datetime) -> Incident:
    """Somebody has it. The second press changes nothing and is no error."""
    after = incident.acknowledged(by=by.id, now=now)
    if after is incident:
        return incident
    said = entry(EntryKind.INCIDENT_ACKNOWLEDGED, f"Acknowledged by {by.id}.", now=now, actor=by)
    upstream = upstream_tasks(incident, "acknowledge", by)
    return save(tx, before=incident, after=after, entries=[said], now=now, tasks_too=upstream)


def upstream_tasks(incident: Incident, what: str, by: Actor) -> list[NewTask]:
    """Where the alert came from PagerDuty, acknowledging and resolving go back there (mission E5)."""
    if incident.is_drill:
        return []
    args = {"incident": incident.id, "what": what, "by": by.id}
    return [NewTask(key=f"upstream:{incident.id}:{what}", kind="upstream", args=args, lane=f"upstream:{incident.id}")]


def take_role(tx: Tx, incident: Incident, *, role: Role, person: str, by: Actor, now: datetime) -> Incident:
    """A person takes a role, or is given it."""
    after = incident.with_role(role, person)
    if after is incident:
        return incident
    taken = f"{person} takes the role of {role.value}." if by.id == person else f"{by.id} hands the role of {role.value} to {person}."
    said = entry(EntryKind.ROLE_TAKEN, taken, now=now, actor=by, role=role.value, person=person, before=incident.roles.get(role))
    note = say(key=f"role:{incident.id}:{after.revision}", screen="notice", incident_id=incident.id, text=taken)
    return save(tx, before=incident, after=after, entries=[said], now=now, tasks_too=[note])


def set_severity(tx: Tx, incident: Incident, *, severity: Severity, by: Actor, now: datetime, reason: str = "") -> Incident:
    """Another severity, with who said so; the same one changes nothing."""
    after = incident.with_severity(severity)
    if after is incident:
        return incident
    text = f"Severity {incident.severity.value} → {severity.value} by {by.id}{': ' + reason if reason else ''}."
    said = entry(EntryKind.SEVERITY_SET, text, now=now, actor=by, before=incident.severity.value, after=severity.value, reason=reason)
    note = say(key=f"severity:{incident.id}:{after.revision}", screen="notice", incident_id=incident.id, text=text)
    return save(tx, before=incident, after=after, entries=[said], now=now, tasks_too=[note])


_UPSTREAM = {"acknowledge": "incident.acknowledge", "resolve": "incident.resolve"}
UPSTREAM_TIMEOUT = 10.0


def answer_upstream(ctx: Context, task: Task) -> Settlement:
    """Tell PagerDuty that its incident is acknowledged or resolved. Setting a state twice is harmless."""
    incident_id, operation = int(task.args["incident"]), _UPSTREAM[str(task.args["what"])]
    if operation not in ctx.runner.registry.operations:
        return Settled(result={"skipped": "nobody upstream to answer"})
    person = ctx.directory.person(str(task.args["by"]))
    rows = ctx.read(lambda tx: alerts.of_incident(tx, incident_id))
    refused: list[str] = []
    for upstream in sorted({row.upstream["pagerduty"] for row in rows if row.upstream.get("pagerduty")}):
        arguments = {"incident": upstream, "by": person.email if person else ""}
        call = Call(operation=operation, arguments=arguments)
        outcome = ctx.runner.page(call, key=f"{task.key}:{upstream}", timeout=UPSTREAM_TIMEOUT)
        if outcome.status is OutcomeStatus.UNKNOWN or outcome.retry_after is not None:
            return Postponed(
                seconds=outcome.retry_after or 5.0, certain=False, error=outcome.reason, throttled=outcome.retry_after is not None
            )
        if outcome.status is OutcomeStatus.REFUSED:
            refused.append(f"{upstream}: {outcome.reason}")  # one that is closed or gone must not leave the others open
    return Buried(error=" ".join(refused)) if refused else Settled()


def remeasure(ctx: Context) -> int:
    """Sweep: measure again what is open and not over, so that the card never shows an old number as if it were new.

    The more incidents are measured, the more seldom each is; and none is promised a second time while the first promise still waits.
    After `measure_for` only what the runbook's proposals rest on is measured, as often as before and until somebody mitigates or
    resolves: a condition that comes true in the second hour is no smaller reason, and an action that has earned it may still begin.
    """

    def work(tx: Tx) -> int:
        now, count = ctx.now(), 0
        every = max(ctx.policy.measure_every, timedelta(minutes=incidents.watched(tx) / DIAGNOSES))
        for incident in incidents.due(tx, now, limit=50):
            watch = now - incident.opened_at >= ctx.policy.measure_for
            goes_on = not watch or bool(_asked(ctx.shelf.pinned(tx, incident.match.runbook)))
            incidents.wake(tx, incident.id, now + every if goes_on else None)
            if now - incident.opened_at >= ctx.policy.measure_every and not (watch and incident.mitigated_at):
                slot = int(now.timestamp() // every.total_seconds())
                key, args = f"diagnose:{incident.id}", {"incident": incident.id, "round": slot, "watch": watch and goes_on}
                tasks.enqueue(tx, NewTask(key=f"{key}:{slot}", kind="diagnose", args=args, lane=key, folds=True))
            count += 1
        return count

    return ctx.write_if(lambda tx: incidents.due(tx, ctx.now(), limit=1), work, name="remeasure")
