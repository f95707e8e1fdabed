"""Which alerting rules lead to a runbook."""

import pytest

from runbooks.alert import Alert
from runbooks.coverage import coverage
from runbooks.incident import Match, RunbookRef

RULES = """
groups:
  - name: api
    rules:
      - record: job:errors:ratio
        expr: sum(errors)
      - alert: ApiDown
        expr: up == 0
        labels: {severity: critical, instance: "{{ $labels.instance }}"}
        annotations: {summary: "{{ $labels.instance }} is down", runbook_url: https://example.com/api-down}
      - alert: Unknown
        expr: vector(1)
"""
OBJECT = """
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
spec:
  groups:
    - name: queue
      rules:
        - {alert: ApiDown, expr: up == 0}
---
apiVersion: v1
kind: List
items:
  - spec: {groups: [{name: listed, rules: [{alert: Other, expr: "1"}]}]}
"""


class Matching:
    """Chooses api-down for ApiDown and the fallback for all else, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Alert] = []

    def __call__(self, alert: Alert) -> Match:
        """The match for this alert."""
        self.asked.append(alert)
        known = alert.name == "ApiDown"
        ref = RunbookRef(id="api-down" if known else "general", version=1, hash="h")
        return Match(runbook=ref, score=0.9 if known else 0.0, reason="line 1 holds" if known else "nothing fits", fallback=not known)


def test_every_alerting_rule_is_covered_or_listed() -> None:
    """Recording rules are no alerts; a rule that only the fallback takes is uncovered, with the reason."""
    report = coverage({"rules.yaml": RULES}, Matching())
    assert [(rule.group, rule.alert, rule.runbook) for rule in report.rules] == [("api", "ApiDown", "api-down"), ("api", "Unknown", None)]
    assert [(rule.alert, rule.reason) for rule in report.uncovered] == [("Unknown", "nothing fits")]
    assert report.ratio == 0.5
    assert report.problems == ()


def test_the_alert_carries_what_the_file_knows() -> None:
    """Literal labels, annotations and external labels are given to matching; what only a series knows is left out."""
    matching = Matching()
    coverage({"rules.yaml": RULES}, matching, labels={"environment": "production", "severity": "none"})
    assert matching.asked[0].labels == {"alertname": "ApiDown", "severity": "critical", "environment": "production"}
    assert matching.asked[0].annotations["runbook_url"] == "https://example.com/api-down"


def test_the_operators_objects_are_read_too() -> None:
    """PrometheusRule objects, several documents and lists of objects are rule files as well."""
    report = coverage({"objects.yaml": OBJECT}, Matching())
    assert [(rule.group, rule.alert) for rule in report.rules] == [("queue", "ApiDown"), ("listed", "Other")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("groups: [", "is not YAML"),
        ("hello", "holds no rule groups"),
        ("", "holds no rule groups"),
        ("groups: [{name: a, rules: [{expr: up}, 3]}]", "neither an alert nor a recording rule"),
        ("[" * 5000, "is not YAML"),
        ("a: 2026-99-99", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem(text: str, words: str) -> None:
    """A broken file is named and keeps no other out."""
    report = coverage({"broken.yaml": text, "rules.yaml": RULES}, Matching())
    assert report.problems
    assert all(problem.file == "broken.yaml" and words in problem.reason for problem in report.problems)
    assert len(report.rules) == 2


def test_no_rules_is_no_ratio() -> None:
    """Unknown is not zero, and not a hundred per cent either."""
    assert coverage({}, Matching()).ratio is None


def test_no_fallback_is_said() -> None:
    """A library that cannot answer leaves the rule uncovered with the reason."""
    report = coverage({"rules.yaml": RULES}, lambda _alert: None)
    assert {rule.reason for rule in report.uncovered} == {"no runbook fits, and there is no fallback"}
