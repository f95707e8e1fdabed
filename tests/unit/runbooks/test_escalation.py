"""Who must know now."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks.escalation import Facts, due
from runbooks.incident import Incident
from runbooks.runbook import EscalationRule
from runbooks.severity import Severity
from tests.remembering import NOW, incident

CONDITIONS = ["not_acknowledged", "not_mitigated", "verification_failed", "customers_over", "data_at_risk", "safety_breach", "cost_over"]


def rule(condition: str, after: str = "0m", **more: Any) -> EscalationRule:
    """A rule as a runbook writes it."""
    return EscalationRule.model_validate({"if": condition, "after": after, "page": f"{condition}-target", **more})


def opened(**more: Any) -> Incident:
    """An incident opened at NOW."""
    return incident(opened_at=NOW, **more)


def minutes(count: float) -> timedelta:
    """So many minutes."""
    return timedelta(minutes=count)


def test_nobody_has_acknowledged_it() -> None:
    """The rule is due at its minute and not a moment before, and not at all once somebody has acknowledged."""
    rules = [rule("not_acknowledged", "5m")]
    assert due(opened(), rules, Facts(), now=NOW + minutes(5) - timedelta(microseconds=1)) == []
    (found,) = due(opened(), rules, Facts(), now=NOW + minutes(5))
    assert (found.rule, found.page, found.reason) == (0, "not_acknowledged-target", "nobody has acknowledged it")
    assert due(opened().acknowledged(by="ana", now=NOW + minutes(1)), rules, Facts(), now=NOW + minutes(60)) == []


def test_what_is_mitigated_is_not_escalated_until_it_is_back() -> None:
    """Mitigation quiets the rule; when the alert fires again it counts from the opening, because the harm does."""
    rules = [rule("not_mitigated", "20m")]
    mitigated = opened().mitigated(now=NOW + minutes(10))
    assert due(mitigated, rules, Facts(), now=NOW + minutes(60)) == []
    assert len(due(mitigated.unmitigated(), rules, Facts(), now=NOW + minutes(60))) == 1


def test_a_failed_verification_counts_from_its_own_time() -> None:
    """The clock of this rule starts with the failure."""
    rules = [rule("verification_failed", "2m")]
    facts = Facts(verification_failed_at=NOW + minutes(30))
    assert due(opened(), rules, facts, now=NOW + minutes(31)) == []
    assert len(due(opened(), rules, facts, now=NOW + minutes(32))) == 1
    assert due(opened(), rules, Facts(), now=NOW + minutes(500)) == []


@pytest.mark.parametrize(
    ("condition", "field", "holds", "holds_not"),
    [("customers_over", "customers", 11, 10), ("cost_over", "cost_per_hour", 10.5, 10.0)],
)
def test_numbers_escalate_only_when_known_and_over(condition: str, field: str, holds: float, holds_not: float) -> None:
    """Strictly more than the limit; at the limit, unknown, or without a limit, never. The number stands in the reason."""
    rules = [rule(condition, limit=10.0)]
    (found,) = due(opened(), rules, Facts(**{field: holds}), now=NOW)
    assert f"{holds:g}" in found.reason
    assert "10" in found.reason
    assert due(opened(), rules, Facts(**{field: holds_not}), now=NOW) == []
    assert due(opened(), rules, Facts(), now=NOW) == []
    assert due(opened(), [rule(condition)], Facts(**{field: holds}), now=NOW) == []


@pytest.mark.parametrize(("condition", "field"), [("data_at_risk", "data_at_risk"), ("safety_breach", "safety_breach")])
def test_risks_escalate_when_said(condition: str, field: str) -> None:
    """Data at risk and a broken safety limit escalate when they are known, and only then."""
    assert due(opened(), [rule(condition)], Facts(), now=NOW + minutes(9)) == []
    assert len(due(opened(), [rule(condition)], Facts(**{field: True}), now=NOW)) == 1


def test_severity_is_only_ever_made_worse() -> None:
    """A rule raises no incident that is worse already, and of two due at once the second does not take back what the first raised."""
    rules = [rule("not_mitigated", raise_to="SEV1"), rule("not_acknowledged", raise_to="SEV2")]
    found = due(opened(severity=Severity.SEV3), rules, Facts(), now=NOW)
    assert [one.raise_to for one in found] == [Severity.SEV1, None]
    assert [one.raise_to for one in due(opened(severity=Severity.SEV1), rules, Facts(), now=NOW)] == [None, None]


RULES = st.lists(
    st.builds(rule, st.sampled_from(CONDITIONS), st.integers(0, 90).map("{}m".format), limit=st.one_of(st.none(), st.floats(0, 100))),
    max_size=6,
)
FACTS = st.builds(
    Facts,
    verification_failed_at=st.one_of(st.none(), st.integers(0, 60).map(lambda count: NOW + minutes(count))),
    customers=st.one_of(st.none(), st.integers(0, 200)),
    cost_per_hour=st.one_of(st.none(), st.floats(0, 200)),
    data_at_risk=st.booleans(),
    safety_breach=st.booleans(),
)
STATES = st.sampled_from([opened(), opened().acknowledged(by="ana", now=NOW), opened().mitigated(now=NOW)])


@given(STATES, RULES, FACTS, st.integers(0, 200), st.integers(0, 200))
def test_what_is_due_stays_due(state: Incident, rules: list[EscalationRule], facts: Facts, one: int, other: int) -> None:
    """While nothing changes, time only adds: a rule that is due is due later too, so a sweep that was late misses none."""
    early, late = sorted((one, other))
    before = {found.rule for found in due(state, rules, facts, now=NOW + minutes(early))}
    assert before <= {found.rule for found in due(state, rules, facts, now=NOW + minutes(late))}


@given(RULES, FACTS)
def test_what_is_over_escalates_no_more(rules: list[EscalationRule], facts: Facts) -> None:
    """A resolved incident pages nobody, now or later."""
    over = opened().resolved(by="ana", resolution="fixed", now=NOW)
    assert due(over, rules, facts, now=NOW + minutes(900)) == []
