"""Somebody must know: the runbook's escalation rules by sweep, paging through the runner like every effect (path D)."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial

import structlog

from bot.flows.context import Context
from bot.flows.records import entry, save, say
from bot.settlement import Buried, Postponed, Settled, Settlement
from runbooks.errors import MusterError
from runbooks.escalation import Escalation, Facts, due
from runbooks.incident import Incident
from runbooks.operation import Call, Measurement, OutcomeStatus
from runbooks.run import RunState
from runbooks.runbook import Runbook
from runbooks.severity import IncidentClass, Severity
from runbooks.timeline import EntryKind
from storage import incidents, ledger, measurements, tasks, traces
from storage.database import Tx
from storage.errors import StorageError
from storage.tasks import NewTask, Task

log = structlog.get_logger(__name__)

PAGE_TIMEOUT = 10.0
DOUBTED_AFTER = 3  # attempts without a trustworthy answer before people are told, some fifteen seconds later
COST = "USD/h"  # the unit of what `cost_over` asks about
_PAGE_SEVERITY = {Severity.SEV1: "critical", Severity.SEV2: "error", Severity.SEV3: "warning", Severity.SEV4: "info"}


def sweep(ctx: Context) -> int:
    """Fire every rule that has become due, each once for an incident. Looks first, so that most turns write nothing."""
    now = ctx.now()
    waiting = ctx.read(lambda tx: _waiting(tx, ctx, now=now))
    fired = 0
    for number in waiting:
        try:
            fired += ctx.write(partial(_fire, ctx=ctx, incident_id=number, now=now), name="escalate")
        except StorageError as error:
            log.warning("escalate.not_recorded", incident=number, error=str(error))
            fired += _page_unrecorded(ctx, number, now=now)
        except Exception:  # one incident that cannot be escalated must not leave all the others alone
            log.exception("escalate.failed", incident=number)
    return fired


def _page_unrecorded(ctx: Context, incident_id: int, *, now: datetime) -> int:
    """Page at once what cannot be written down: a failing record never stops a page, and owes its row (rule S16).

    The rule stays due, so that the ordinary way writes it and pages again under the same key, which nobody notices.
    """
    incident, fired = ctx.read(lambda tx: (found := incidents.get(tx, incident_id), _due(tx, ctx, [found], now=now).get(found.id, [])))
    paged = 0
    for escalation in fired:
        key = page_key(incident, escalation.rule)
        if incident.is_drill or key in ctx.fuse.paged:
            continue
        outcome = ctx.runner.page(_call(ctx, incident, escalation.page, escalation.reason), key=key, timeout=PAGE_TIMEOUT)
        if outcome.status is OutcomeStatus.APPLIED:
            ctx.fuse.paged[key] = now
            paged += 1
    return paged


def page_key(incident: Incident, rule: int) -> str:
    """The key of one rule's page: a repetition under it is one page."""
    return f"page:{incident.id}:{incident.match.runbook.id}:{rule}"


def _waiting(tx: Tx, ctx: Context, *, now: datetime) -> list[int]:
    """The incidents of which a rule is due. They are asked about together, and one by one where one of them cannot be read."""
    open_ones = incidents.open_ones(tx)
    try:
        return list(_due(tx, ctx, open_ones, now=now))
    except MusterError:
        return [incident.id for incident in open_ones if _may_be_due(tx, ctx, incident, now=now)]


def _may_be_due(tx: Tx, ctx: Context, incident: Incident, *, now: datetime) -> bool:
    try:
        return bool(_due(tx, ctx, [incident], now=now))
    except MusterError:
        log.exception("escalate.failed", incident=incident.id)
        return False


def _due(tx: Tx, ctx: Context, found: Sequence[Incident], *, now: datetime) -> dict[int, list[Escalation]]:
    """The rules that are due and have not fired, by incident; a rule is known by its runbook and its place in it.

    Nothing is read of an incident whose rules have all fired, and of the others only what their rules ask about.
    """
    pending: list[tuple[Incident, Runbook]] = []
    for incident in found:
        if ctx.policy.escalates(incident.severity):
            runbook = ctx.shelf.pinned(tx, incident.match.runbook)
            if any(_mark(incident, index) not in incident.escalated for index in range(len(runbook.header.escalation))):
                pending.append((incident, runbook))
    known = facts(tx, pending)
    answer: dict[int, list[Escalation]] = {}
    for incident, runbook in pending:
        held = due(incident, runbook.header.escalation, known[incident.id], now=now)
        if fresh := [item for item in held if _mark(incident, item.rule) not in incident.escalated]:
            answer[incident.id] = fresh
    return answer


def _mark(incident: Incident, rule: int) -> str:
    return f"{incident.match.runbook.id}/{rule}"


def _fire(tx: Tx, *, ctx: Context, incident_id: int, now: datetime) -> int:
    incident = incidents.get(tx, incident_id)
    fired = _due(tx, ctx, [incident], now=now).get(incident_id, [])
    for escalation in fired:
        incident = _escalate(tx, incident, escalation, now=now)
    return len(fired)


def _escalate(tx: Tx, incident: Incident, escalation: Escalation, *, now: datetime) -> Incident:
    text = f"Escalated to {escalation.page}: {escalation.reason}."
    said = [entry(EntryKind.ESCALATED, text, now=now, page=escalation.page, reason=escalation.reason, rule=escalation.rule)]
    after = incident.redrawn().model_copy(update={"escalated": (*incident.escalated, _mark(incident, escalation.rule))})
    if escalation.raise_to:
        after = after.model_copy(update={"severity": escalation.raise_to})
        said.append(
            entry(
                EntryKind.SEVERITY_SET,
                f"Severity {incident.severity.value} → {escalation.raise_to.value}: {escalation.reason}.",
                now=now,
                before=incident.severity.value,
                after=escalation.raise_to.value,
                reason=escalation.reason,
            )
        )
    key = page_key(incident, escalation.rule)
    args = {"incident": incident.id, "page": escalation.page, "reason": escalation.reason, "key": key}
    return save(tx, before=incident, after=after, entries=said, now=now, tasks_too=[NewTask(key=key, kind="page", args=args)])


def facts(tx: Tx, pending: Sequence[tuple[Incident, Runbook]]) -> dict[int, Facts]:
    """What the rules ask about, from what was measured and run, by incident: as many queries for hundreds of incidents as for one."""
    wanted: dict[str, set[int]] = {}
    failed: dict[int, datetime] = {}
    asked: set[str] = set()
    for incident, runbook in pending:
        mine = {rule.if_ for rule in runbook.header.escalation}
        asked |= mine
        for diagnostic in _measured_for(runbook, mine):
            wanted.setdefault(diagnostic, set()).add(incident.id)
    for run in traces.of_open(tx, {RunState.FAILED}) if "verification_failed" in asked else ():
        if run.verdict_at is not None:
            failed[run.incident_id] = min(run.verdict_at, failed.get(run.incident_id, run.verdict_at))
    measured = measurements.newest(tx, wanted)
    return {incident.id: _facts(incident, runbook, measured, failed.get(incident.id)) for incident, runbook in pending}


def _measured_for(runbook: Runbook, asked: Collection[str]) -> list[str]:
    """The diagnostics that rules of these kinds ask about."""
    customers = [runbook.header.first_screen.customers] if "customers_over" in asked else []
    return [*customers, *(item.id for item in runbook.header.diagnostics if item.unit == COST and "cost_over" in asked)]


def _facts(incident: Incident, runbook: Runbook, measured: Mapping[tuple[int, str], Measurement], failed_at: datetime | None) -> Facts:
    customers = measured.get((incident.id, runbook.header.first_screen.customers))
    rows = customers.result.get("rows") if customers and isinstance(customers.result, dict) else None
    costs = (measured.get((incident.id, item.id)) for item in runbook.header.diagnostics if item.unit == COST)
    return Facts(
        verification_failed_at=failed_at,
        customers=len(rows) if rows is not None else None,
        cost_per_hour=next((item.value for item in costs if item), None),
        data_at_risk=incident.incident_class is IncidentClass.DATA,
        safety_breach=incident.incident_class is IncidentClass.SAFETY,
    )


def page(ctx: Context, task: Task) -> Settlement:
    """Page whoever stands behind the target. A drill pages nobody but says whom it would have paged (mission H2)."""
    incident_id, target, reason = int(task.args["incident"]), str(task.args["page"]), str(task.args["reason"])
    incident = ctx.read(lambda tx: incidents.get(tx, incident_id))
    people = ctx.on_call.rotation(target, ctx.now())
    if not incident.is_open:
        return Settled(result={"skipped": "resolved"})
    if incident.is_drill:
        who = ", ".join(person.name for person in people) or "nobody"
        return Settled(
            apply=lambda tx: _paged(tx, ctx, incident_id, task.key, f"In a real incident {target} ({who}) would be paged now: {reason}.")
        )
    key = str(task.args["key"])
    outcome = ctx.runner.page(_call(ctx, incident, target, reason), key=key, timeout=PAGE_TIMEOUT)
    if outcome.status is OutcomeStatus.APPLIED:
        names = ", ".join(person.name for person in people) or target
        at = ctx.fuse.paged.pop(key, None)
        late = f" It went out at {at:%H:%M:%S} UTC, while the record could not be written." if at else ""
        return Settled(apply=lambda tx: _paged(tx, ctx, incident_id, task.key, f"Paged {target} ({names}): {reason}.{late}"))
    if outcome.status is OutcomeStatus.UNKNOWN or outcome.retry_after is not None:
        if task.attempt >= DOUBTED_AFTER:
            ctx.write(lambda tx: _doubted(tx, incident_id, target, outcome.reason, key=task.key), name="page_doubted")
        return Postponed(
            seconds=outcome.retry_after or 5.0,
            certain=outcome.retry_after is not None,
            error=outcome.reason,
            throttled=outcome.retry_after is not None,
        )
    return Buried(error=outcome.reason)


def _call(ctx: Context, incident: Incident, target: str, reason: str) -> Call:
    return Call(
        operation="page.send",
        environment=incident.environment,
        arguments={
            "to": target,
            "summary": f"{incident.severity.value} {incident.ref}: {incident.title}. {reason[:1].upper()}{reason[1:]}.",
            "source": incident.ref,
            "severity": _PAGE_SEVERITY[incident.severity],
            "link": ctx.page_url(f"/incidents/{incident.id}"),
        },
    )


def _paged(tx: Tx, ctx: Context, incident_id: int, key: str, text: str) -> None:
    now = ctx.now()
    ledger.record(tx, incident_id, [entry(EntryKind.PAGED, text, now=now)], now=now)
    tasks.enqueue(tx, say(key=f"paged:{key}", screen="notice", incident_id=incident_id, text=text))


def _doubted(tx: Tx, incident_id: int, target: str, reason: str, *, key: str) -> None:
    """Said once while Muster still tries: nobody should wait for somebody who was never called."""
    text = f"It is not certain that {target} was paged: {reason} Muster goes on trying; call somebody another way."
    tasks.enqueue(tx, say(key=f"page_doubted:{key}", screen="notice", incident_id=incident_id, text=text))


def not_paged(tx: Tx, ctx: Context, task: Task, reason: str) -> None:
    """Nobody was paged and Muster has given up: on the timeline, and in the thread."""
    incident_id, target, now = int(task.args["incident"]), str(task.args["page"]), ctx.now()
    text = f"Paging {target} failed: {reason} Call somebody another way."
    ledger.record(tx, incident_id, [entry(EntryKind.PAGE_FAILED, text, now=now, page=target)], now=now)
    tasks.enqueue(tx, say(key=f"not_paged:{task.key}", screen="notice", incident_id=incident_id, text=text))
