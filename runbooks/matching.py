"""Which runbook fits this alert, how sure, and why (mission A4). Never silence: what nothing fits gets the fallback.

Three kinds of evidence, strongest first: the alert names a runbook; a `match` line holds; the words are alike. The first two are
looked up in indexes and the third in an index of each phrase's rarest word, so the time is all but flat in the number of runbooks.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from runbooks.alert import Alert
from runbooks.incident import Match, RunnerUp
from runbooks.likeness import Index, Spoken
from runbooks.runbook import Runbook

NAMED = 1.0
LINE = 0.9  # a line that holds; each further label adds LINE_STEP, so the more specific line wins
LINE_STEP = 0.015
WORDS_LEAST = 0.3  # below this, words are chance and the fallback is chosen
NEAR = 0.1  # a runner-up below this is not worth a person's look

_NAMES = ("alertname", "AlarmName", "MetricName", "rule", "monitor", "check", "metric", "category", "evaluator", "dag_id", "task_id")
_CONTEXT = (
    *("service", "component", "job", "provider", "upstream", "model_group"),
    *("type", "kind", "class", "Namespace", "resource", "project"),
)
_TOLD = ("description", "message", "summary", "title")


class Matcher:
    """Built once from a library; `match` may be called from any thread."""

    def __init__(self, runbooks: Iterable[Runbook]) -> None:
        self._runbooks = tuple(runbooks)
        self._by_id = {runbook.id: runbook for runbook in self._runbooks}
        self._fallback = next((runbook for runbook in self._runbooks if runbook.header.fallback), None)
        self._lines = _index_lines(self._runbooks)
        self._words = Index(self._runbooks)

    def match(self, alert: Alert) -> Match | None:
        """The best runbook with its reason and the runners-up; None only for a library without a fallback."""
        found: dict[str, tuple[float, str]] = {}
        for runbook, score, reason in (*self._by_words(alert), *self._by_lines(alert), *self._by_name(alert)):
            if score > found.get(runbook.id, (0.0, ""))[0]:
                found[runbook.id] = (score, reason)
        ranked = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
        if ranked and ranked[0][1][0] >= WORDS_LEAST:
            return self._chosen(ranked)
        return self._fell_back(ranked)

    def _chosen(self, ranked: Sequence[tuple[str, tuple[float, str]]]) -> Match:
        best, (score, reason) = ranked[0]
        return Match(runbook=self._by_id[best].ref, score=round(score, 3), reason=reason, runners_up=_near(ranked[1:]))

    def _fell_back(self, ranked: Sequence[tuple[str, tuple[float, str]]]) -> Match | None:
        if self._fallback is None:
            return None
        near = f"; nearest was {ranked[0][0]}" if ranked else ""
        reason = f"no runbook names this alert or speaks of it{near}"
        return Match(runbook=self._fallback.ref, score=0.0, reason=reason, runners_up=_near(ranked), fallback=True)

    def _by_name(self, alert: Alert) -> Iterable[tuple[Runbook, float, str]]:
        for where, value in (
            ("label runbook", alert.labels.get("runbook", "")),
            ("its runbook_url", alert.annotations.get("runbook_url", "")),
        ):
            name = value.split("?")[0].split("#")[0].rstrip("/").rsplit("/", 1)[-1].removesuffix(".md").lower()
            if runbook := self._by_id.get(name):
                yield runbook, NAMED, f"the alert names it in {where}"

    def _by_lines(self, alert: Alert) -> Iterable[tuple[Runbook, float, str]]:
        for label in alert.labels.items():
            for runbook, line in self._lines.get(label, ()):
                if _holds(line, alert.labels):
                    said = ", ".join(f"{key} is {alert.labels[key]}" for key in line)
                    yield runbook, min(LINE + LINE_STEP * (len(line) - 1), 0.99), said

    def _by_words(self, alert: Alert) -> Iterable[tuple[Runbook, float, str]]:
        spoken = Spoken(
            name=(" ".join(alert.labels[key] for key in _NAMES if key in alert.labels)[:300] or alert.title[:300]),
            title=alert.title[:300],
            told=". ".join(alert.annotations[key][:400] for key in _TOLD if key in alert.annotations),
            context=". ".join(alert.labels[key][:100] for key in _CONTEXT if key in alert.labels),
        )
        for index, score, shared in self._words.nearest(spoken):
            yield self._runbooks[index], score, f"speaks of {', '.join(shared)}"


def _near(ranked: Sequence[tuple[str, tuple[float, str]]]) -> tuple[RunnerUp, ...]:
    return tuple(RunnerUp(runbook=name, score=round(score, 3), reason=why) for name, (score, why) in ranked[:3] if score >= NEAR)


Line = Mapping[str, str | tuple[str, ...]]


def _holds(line: Line, labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == wanted if isinstance(wanted, str) else labels.get(key) in wanted for key, wanted in line.items())


def _index_lines(runbooks: Sequence[Runbook]) -> dict[tuple[str, str], list[tuple[Runbook, Line]]]:
    """Each line under its most telling label: the alert's name where it has one."""
    index: dict[tuple[str, str], list[tuple[Runbook, Line]]] = defaultdict(list)
    for runbook in runbooks:
        for line in runbook.header.match:
            key = "alertname" if "alertname" in line else next(iter(line))
            wanted = line[key]
            for value in (wanted,) if isinstance(wanted, str) else wanted:
                index[key, value].append((runbook, line))
    return dict(index)
