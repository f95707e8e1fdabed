"""The golden set: labelled alerts as real monitors send them, and how well a matcher does on them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from runbooks.alert import Alert, AlertStatus
from runbooks.matching import Matcher

FOLDER = Path(__file__).parent / "golden"
PARTS = ("written", "held_out")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One alert, and the runbook that an experienced person would open."""

    alert: Alert
    expected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How many of `cases` had their runbook chosen, and how many had it chosen or among the next two."""

    cases: int
    top_1: int
    top_3: int
    misses: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.cases} alerts: top-1 {self.top_1 / self.cases:.1%}, top-3 {self.top_3 / self.cases:.1%}"


def cases(part: str) -> Iterator[Case]:
    """The labelled alerts of one part, as the intake would hand them on."""
    for entry in yaml.safe_load((FOLDER / f"alerts.{part}.yaml").read_text(encoding="utf-8")):
        yield Case(alert=_alert(entry), expected=entry["is"])


def _alert(entry: dict[str, Any]) -> Alert:
    labels, annotations = entry.get("labels") or {}, entry.get("annotations") or {}
    title = entry.get("title") or annotations.get("summary") or labels.get("alertname", "")
    if entry["source"] == "pagerduty":
        annotations = {**annotations, "summary": title}
    fingerprint = sha256(repr((entry["source"], title, sorted(labels.items()))).encode()).hexdigest()
    return Alert(
        source=entry["source"], fingerprint=fingerprint, status=AlertStatus.FIRING, labels=labels, annotations=annotations,
        title=title, starts_at=NOON,
    )  # fmt: skip


def score(matcher: Matcher, part: str) -> Score:
    """Match every alert of a part."""
    first = among = count = 0
    misses: list[str] = []
    for case in cases(part):
        match = matcher.match(case.alert)
        assert match is not None
        ranked = [match.runbook.id, *(near.runbook for near in match.runners_up)]
        count, first, among = count + 1, first + (ranked[0] == case.expected), among + (case.expected in ranked[:3])
        if ranked[0] != case.expected:
            misses.append(f"{case.alert.name!r} {case.alert.title!r}: {ranked[:3]} ({match.reason}, {match.score}), not {case.expected}")
    return Score(cases=count, top_1=first, top_3=among, misses=tuple(misses))
