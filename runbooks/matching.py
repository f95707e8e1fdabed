"""Which runbook fits this alert, how sure, and why (mission A4). Never silence: what nothing fits gets the fallback.

Three kinds of evidence, strongest first: the alert names a runbook; a `match` line holds; the words are alike. The first two are
looked up in indexes and the third in an inverted index without its commonest words, so the time is all but flat in the number of
runbooks.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from runbooks.alert import Alert
from runbooks.incident import Match, RunnerUp
from runbooks.runbook import Runbook

NAMED = 1.0
LINE = 0.9  # a line that holds; each further label adds LINE_STEP, so the more specific line wins
LINE_STEP = 0.015
WORDS_MOST = 0.85  # words alone never outweigh a line that holds
WORDS_LEAST = 0.3  # below this, words are chance and the fallback is chosen
NEAR = 0.15  # a runner-up below this is not worth a person's look
COMMON = 64  # postings longer than this say nothing about one runbook; only large libraries have such words

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d{2,}")
_STOP = frozenset(
    "a an and are at be by for from has have in is it its not of on or over the to too under with above below than more that this "
    "was were alert alerts alarm warning critical production prod high firing triggered monitor check value threshold minutes last".split()
)
_PLURAL = re.compile(r"(?<=[a-z]{3})(?:ies|es|s|ing|ed)$")
_LABEL_WORDS = ("alertname", "service", "component", "category", "check", "metric", "rule", "monitor", "type", "class", "kind", "job")


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    return _PLURAL.sub("", word.lower())


def words(text: str) -> list[str]:
    """The meaningful words of a text, camel case split, endings cut: `VectorSearchTimeouts` gives vector, search, timeout."""
    found = (_stem(word) for word in _WORD.findall(text.replace("_", " ").replace("-", " ")) if word.lower() not in _STOP)
    return [word for word in found if len(word) > 1]


class Matcher:
    """Built once from a library; `match` may be called from any thread."""

    def __init__(self, runbooks: Iterable[Runbook]) -> None:
        self._runbooks = tuple(runbooks)
        self._by_id = {runbook.id: runbook for runbook in self._runbooks}
        self._fallback = next((runbook for runbook in self._runbooks if runbook.header.fallback), None)
        self._lines = _index_lines(self._runbooks)
        self._words = _WordIndex(self._runbooks)

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
                    yield runbook, min(LINE + LINE_STEP * (len(line) - 1), 0.99), f"{said}"

    def _by_words(self, alert: Alert) -> Iterable[tuple[Runbook, float, str]]:
        named = " ".join(alert.labels.get(label, "") for label in _LABEL_WORDS)
        texts = (alert.annotations.get(key, "")[:400] for key in ("summary", "description", "message", "title"))
        for index, score, shared in self._words.nearest(f"{named} {alert.title[:200]}", " ".join(texts)):
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


class _WordIndex:
    """Words of each runbook, weighted by how rare they are in the library."""

    def __init__(self, runbooks: Sequence[Runbook]) -> None:
        spoken = [_spoken(runbook) for runbook in runbooks]
        frequency = Counter(word for counts in spoken for word in counts)
        total = max(len(runbooks), 1)
        self._rarity = {word: math.log(1 + total / count) for word, count in frequency.items()}
        self._postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for index, counts in enumerate(spoken):
            for word, weight in counts.items():
                if frequency[word] <= COMMON:
                    self._postings[word].append((index, weight))
        self._skip = {index for index, runbook in enumerate(runbooks) if runbook.header.fallback}
        self.nearest = lru_cache(maxsize=4096)(self._nearest)

    def _nearest(self, named: str, told: str) -> tuple[tuple[int, float, tuple[str, ...]], ...]:
        """The likeliest runbooks for the words of the alert's name (full weight) and of its text (half), best first."""
        asked: dict[str, float] = {}
        for text, weight in ((told, 0.5), (named, 1.0)):
            for word in words(text):
                asked[word] = weight
        scores: dict[int, float] = defaultdict(float)
        shared: dict[int, list[tuple[float, str]]] = defaultdict(list)
        for word, weight in asked.items():
            for index, spoken in self._postings.get(word, ()):
                gain = weight * spoken * self._rarity[word]
                scores[index] += gain
                shared[index].append((-gain, word))
        best = sorted(((score, index) for index, score in scores.items() if index not in self._skip), reverse=True)[:4]
        # Saturating: three rare words in common are as good as certain for words, one common word is chance.
        scale = 1.2 * math.log(1 + max(len(self._rarity) ** 0.5, math.e))
        return tuple(
            (index, WORDS_MOST * (1 - math.exp(-score / scale)), tuple(word for _, word in sorted(shared[index])[:3]))
            for score, index in best
        )


def _spoken(runbook: Runbook) -> dict[str, float]:
    """The words that a runbook is known by: keywords and alert names fully, title, class and what it says it means less."""
    header = runbook.header
    names = [v for line in header.match for k, w in line.items() if k == "alertname" for v in ((w,) if isinstance(w, str) else w)]
    weights: dict[str, float] = {}
    meaning = runbook.body.split("## Impact")[0]
    for text, weight in (
        (meaning, 0.3),
        (header.class_.value, 0.5),
        (header.title, 0.8),
        (" ".join(names), 1.0),
        (" ".join(header.keywords), 1.0),
    ):
        for word in words(text):
            weights[word] = weight
    return weights
