"""Which alerting rules lead to a runbook, and which to none (mission A4): reads Prometheus rule files."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

import yaml

from runbooks.alert import Alert, AlertStatus
from runbooks.errors import Problem
from runbooks.incident import Match
from runbooks.value import Json

Choose = Callable[[Alert], Match | None]

_NEVER = datetime(2000, 1, 1, tzinfo=UTC)  # a rule is no alert and has no time; matching asks for none


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveredRule:
    """One alerting rule with what it leads to. `runbook` None means that only the fallback, or nothing, takes it."""

    file: str
    group: str
    alert: str
    runbook: str | None
    reason: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Every alerting rule in the order of the files, and what could not be read."""

    rules: tuple[CoveredRule, ...]
    problems: tuple[Problem, ...]

    @property
    def uncovered(self) -> tuple[CoveredRule, ...]:
        """The rules whose alerts would find no runbook of their own."""
        return tuple(rule for rule in self.rules if rule.runbook is None)

    @property
    def ratio(self) -> float | None:
        """The share of rules with a runbook, 0 to 1; None where there is no rule."""
        return (len(self.rules) - len(self.uncovered)) / len(self.rules) if self.rules else None


def coverage(rule_files: Mapping[str, str], match: Choose, *, labels: Mapping[str, str] | None = None) -> Coverage:
    """Try every alerting rule against the runbooks.

    Args:
        rule_files: texts by file name, as Prometheus reads them (`groups:`), or as the operator's PrometheusRule objects.
        match: chooses a runbook for an alert; a match that says `fallback` counts as none.
        labels: labels that are added outside the rules, such as `external_labels`; a rule's own come before them.
    """
    rules: list[CoveredRule] = []
    problems: list[Problem] = []
    for file, text in rule_files.items():
        for group, rule in _alerting(file, text, problems):
            rules.append(_covered(file, group, rule, match, labels or {}))
    return Coverage(rules=tuple(rules), problems=tuple(problems))


def _covered(file: str, group: str, rule: Mapping[str, Json], match: Choose, outer: Mapping[str, str]) -> CoveredRule:
    alert = _alert(rule, outer)
    found = match(alert)
    chosen = found if found and not found.fallback else None
    return CoveredRule(
        file=file,
        group=group,
        alert=alert.name,
        runbook=chosen.runbook.id if chosen else None,
        reason=found.reason if found else "no runbook fits, and there is no fallback",
        score=found.score if found else 0.0,
    )


def _alert(rule: Mapping[str, Json], outer: Mapping[str, str]) -> Alert:
    """The rule's alert as far as the file tells: labels that Prometheus would fill in from a series are not known here."""
    name = str(rule["alert"])
    return Alert(
        source="rule-file",
        fingerprint=sha256(name.encode()).hexdigest(),
        status=AlertStatus.FIRING,
        labels={**outer, **_literal(rule.get("labels")), "alertname": name},
        annotations={key: str(value) for key, value in _mapping(rule.get("annotations")).items()},
        starts_at=_NEVER,
    )


def _literal(labels: Json) -> dict[str, str]:
    return {str(name): str(value) for name, value in _mapping(labels).items() if "{{" not in str(value)}


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _alerting(file: str, text: str, problems: list[Problem]) -> Iterator[tuple[str, Mapping[str, Json]]]:
    """The alerting rules of one file; recording rules are none."""
    try:
        documents = list(yaml.safe_load_all(text))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        problems.append(Problem(file=file, field="", reason=f"is not YAML: {' '.join(str(error).split())[:200]}"))
        return
    groups = [group for document in documents for group in _groups(document)]
    if not groups:
        problems.append(Problem(file=file, field="groups", reason="holds no rule groups; a rule file begins with `groups:`"))
    for group in groups:
        name = str(_mapping(group).get("name", ""))
        rules = _mapping(group).get("rules")
        for index, rule in enumerate(rules if isinstance(rules, list) else []):
            if not isinstance(rule, dict) or not (rule.get("alert") or rule.get("record")):
                problems.append(Problem(file=file, field=f"groups.{name}.rules.{index}", reason="is neither an alert nor a recording rule"))
            elif rule.get("alert"):
                yield name, rule


def _groups(document: Json) -> list[Json]:
    """Of a plain rule file, of one PrometheusRule object, or of a list of them."""
    fields = _mapping(document)
    if isinstance(fields.get("items"), list):
        return [group for item in fields["items"] for group in _groups(item)]
    groups = fields.get("groups", _mapping(fields.get("spec")).get("groups"))
    return groups if isinstance(groups, list) else []
