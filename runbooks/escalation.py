"""Who must know now: the runbook's `escalation` rules against what is known (mission E2, path D)."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from runbooks.incident import Incident
from runbooks.runbook import EscalationRule
from runbooks.severity import Severity
from runbooks.value import Moment, Value


class Facts(Value):
    """What a rule may ask about beside the incident itself; None is unknown, and unknown never escalates by number."""

    verification_failed_at: Moment | None = None
    customers: int | None = None
    cost_per_hour: float | None = None
    data_at_risk: bool = False
    safety_breach: bool = False


class Escalation(Value):
    """One rule that is due: page this target, for this reason. `rule` is its place in the runbook, for the once-only key."""

    rule: int
    page: str
    reason: str
    raise_to: Severity | None = None


def due(incident: Incident, rules: Sequence[EscalationRule], facts: Facts, *, now: datetime) -> list[Escalation]:
    """Every rule whose condition has held for its time. The caller keeps each from firing twice.

    `raise_to` is None where the incident, or a rule before this one, has it that bad already: severity is only ever made worse.
    """
    if not incident.is_open:
        return []
    found, worst = [], incident.severity
    for index, rule in enumerate(rules):
        since = _since(rule, incident, facts)
        if since is not None and now >= since + timedelta(seconds=rule.after):
            raise_to = rule.raise_to if rule.raise_to and rule.raise_to.worse_than(worst) else None
            worst = raise_to or worst
            found.append(Escalation(rule=index, page=rule.page, reason=_reason(rule, facts), raise_to=raise_to))
    return found


def _since(rule: EscalationRule, incident: Incident, facts: Facts) -> datetime | None:
    """Since when the condition has held, or None where it does not."""
    match rule.if_:
        case "not_acknowledged":
            return incident.opened_at if incident.acknowledged_at is None else None
        case "not_mitigated":
            return incident.opened_at if incident.mitigated_at is None else None
        case "verification_failed":
            return facts.verification_failed_at
        case "customers_over":
            over = facts.customers is not None and rule.limit is not None and facts.customers > rule.limit
        case "cost_over":
            over = facts.cost_per_hour is not None and rule.limit is not None and facts.cost_per_hour > rule.limit
        case "data_at_risk":
            over = facts.data_at_risk
        case "safety_breach":
            over = facts.safety_breach
    return incident.opened_at if over else None


def _reason(rule: EscalationRule, facts: Facts) -> str:
    return {
        "not_acknowledged": "nobody has acknowledged it",
        "not_mitigated": "it is not mitigated",
        "verification_failed": "an action did not work",
        "customers_over": f"{facts.customers} customers are affected, more than {rule.limit or 0:g}",
        "cost_over": f"it costs {facts.cost_per_hour or 0:g} USD an hour, more than {rule.limit or 0:g}",
        "data_at_risk": "data is at risk",
        "safety_breach": "a safety limit is broken",
    }[rule.if_]
