"""Somebody must know: the runbook's escalation rules by sweep, paging through the runner like every effect (path D)."""

from datetime import datetime
from functools import partial

import structlog

from bot.flows.context import Context
from bot.flows.records import entry, save, say
from bot.settlement import Buried, Postponed, Settled, Settlement
from runbooks.errors import MusterError
from runbooks.escalation import Escalation, Facts, due
from runbooks.incident import Incident
from runbooks.operation import Call, OutcomeStatus
from runbooks.run import RunState
from runbooks.runbook import Runbook
from runbooks.severity import IncidentClass, Severity
from runbooks.timeline import EntryKind
from storage import incidents, ledger, measurements, runs, tasks
from storage.database import Tx
from storage.errors import StorageError
from storage.tasks import NewTask, Task

log = structlog.get_logger(__name__)

PAGE_TIMEOUT = 10.0
DOUBTED_AFTER = 3  # attempts without a trustworthy answer before people are told, some fifteen seconds later
_PAGE_SEVERITY = {Severity.SEV1: "critical", Severity.SEV2: "error", Severity.SEV3: "warning", Severity.SEV4: "info"}


def sweep(ctx: Context) -> int:
    """Fire every rule that has become due, each once for an incident. Looks first, so that most turns write nothing."""
    now = ctx.now()
    waiting = ctx.read(lambda tx: [incident.id for incident in incidents.open_ones(tx) if _may_be_due(tx, ctx, incident, now=now)])
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
    incident, fired = ctx.read(lambda tx: (incidents.get(tx, incident_id), _due(tx, ctx, incidents.get(tx, incident_id), now=now)))
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


def _may_be_due(tx: Tx, ctx: Context, incident: Incident, *, now: datetime) -> bool:
    try:
        return bool(_due(tx, ctx, incident, now=now))
    except MusterError:
        log.exception("escalate.failed", incident=incident.id)
        return False


def _due(tx: Tx, ctx: Context, incident: Incident, *, now: datetime) -> list[Escalation]:
    """The rules that are due and have not fired; a rule is known by its runbook and its place in it."""
    if not ctx.policy.escalates(incident.severity):
        return []
    runbook = ctx.shelf.pinned(tx, incident.match.runbook)
    rules = runbook.header.escalation
    if all(_mark(incident, rule) in incident.escalated for rule in range(len(rules))):
        return []
    return [
        item for item in due(incident, rules, facts(tx, incident, runbook), now=now) if _mark(incident, item.rule) not in incident.escalated
    ]


def _mark(incident: Incident, rule: int) -> str:
    return f"{incident.match.runbook.id}/{rule}"


def _fire(tx: Tx, *, ctx: Context, incident_id: int, now: datetime) -> int:
    incident = incidents.get(tx, incident_id)
    fired = _due(tx, ctx, incident, now=now)
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


def facts(tx: Tx, incident: Incident, runbook: Runbook) -> Facts:
    """What the rules may ask about, from what was measured and run."""
    failed = [run.verdict_at for run in runs.of_incident(tx, incident.id) if run.state is RunState.FAILED and run.verdict_at]
    measured = measurements.latest(tx, incident.id)
    customers = measured.get(runbook.header.first_screen.customers)
    rows = customers.result.get("rows") if customers and isinstance(customers.result, dict) else None
    cost = next((item.value for item in measured.values() if item.unit == "USD/h"), None)
    return Facts(
        verification_failed_at=min(failed, default=None),
        customers=len(rows) if rows is not None else None,
        cost_per_hour=cost,
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
