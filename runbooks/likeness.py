"""How alike the words of an alert and of each runbook are. Knows nothing of labels or lines; `matching` weighs it against those.

A runbook is known by phrases: its keywords, the names of its alerts, the telling words of those names. A phrase is found where one
sentence of the alert has all of its words. Words that every monitor uses ("latency", "error", "rate limit") never decide alone:
without one telling phrase a runbook is at most a runner-up. And where the alert's name speaks of things that no runbook knows, or
where only its small print speaks of what one knows, more evidence is asked for: `KubePodNotReady` in the pod of a model server
is still about a pod.

Nothing here depends on the size of the library, so a runbook that shares no word with an alert changes nothing for it.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from heapq import nsmallest
from typing import NamedTuple

from runbooks.runbook import Runbook
from runbooks.vocabulary import COMMON, pieces, sentences, stem, telling, words

MOST = 0.85  # words alone never outweigh a line that holds
UNDECIDED = 0.29  # without a telling phrase; below what `matching` chooses
SCALE = 1.3  # of saturation: two telling phrases in the name are as good as certain for words
CROWDED = 32  # a word under which more phrases stand says nothing about one runbook; only large libraries have such words
KEPT = 4  # the chosen one and three others
SHOWN = 3  # phrases named in the reason

_NAME, _TOLD, _CONTEXT = 1.0, 0.6, 0.5  # how much a phrase counts in name or title, in the text, in labels such as the service
_WEAK = 0.4  # a phrase of words that every monitor uses
_WORD_OF_NAME = 0.7  # a telling word of one of the runbook's alert names
_LONGER = 0.25  # more for each further word of a phrase: the more exact, the less chance
_HINT, _HINTS = 0.15, 0.3  # a word of the title or of a phrase that was not found whole; all of them together at most
_STRANGE = 0.15  # for each word of the alert's name that no runbook knows
_SMALL_PRINT = 0.5  # when neither name nor title has a telling phrase


class Spoken(NamedTuple):
    """What an alert says, by how much it counts: its name, its title, what it tells at length, and what it is about."""

    name: str
    title: str
    told: str
    context: str


class Phrase(NamedTuple):
    """Words that a runbook is known by. `text` is for people; `worth` is what it counts when it is found in an alert's name."""

    runbook: int
    stems: frozenset[str]
    text: str
    worth: float
    telling: bool


class Likeness(NamedTuple):
    """A runbook by its place in the library, how alike (0..1), and the phrases that say so."""

    runbook: int
    score: float
    shared: tuple[str, ...]


class Index:
    """The phrases of a library. `nearest` may be called from any thread."""

    def __init__(self, runbooks: Sequence[Runbook]) -> None:
        self._names = [runbook.id for runbook in runbooks]
        phrases = [phrase for index, runbook in enumerate(runbooks) if not runbook.header.fallback for phrase in _phrases(index, runbook)]
        frequency = Counter(word for phrase in phrases for word in phrase.stems)
        by_word: dict[str, list[Phrase]] = defaultdict(list)
        for phrase in phrases:
            by_word[min(phrase.stems, key=lambda word: (frequency[word], word))].append(phrase)
        self._by_word = {word: found for word, found in by_word.items() if len(found) <= CROWDED}
        self._hints = _hints(runbooks)
        self._known = frozenset(frequency) | frozenset(self._hints)
        self.nearest = lru_cache(maxsize=4096)(self._nearest)

    def _nearest(self, spoken: Spoken) -> tuple[Likeness, ...]:
        """The likeliest runbooks, best first."""
        found, heard = self._found(spoken)
        strange = len({word for word in pieces(spoken.name) if word not in self._known and word not in COMMON and not word.isdigit()})
        self._hint(found, heard)
        scored = [(-one.score(strange), self._names[index], index) for index, one in found.items()]
        best = nsmallest(KEPT, scored)
        return tuple(Likeness(index, -score, found[index].shared()) for score, _, index in best)

    def _found(self, spoken: Spoken) -> tuple[dict[int, "_Evidence"], dict[str, float]]:
        """What speaks for each runbook, and all words of the alert with how much they count. Each phrase counts where it counts most."""
        found: dict[int, _Evidence] = {}
        heard: dict[str, float] = {}
        seen: set[int] = set()
        for stems, weight in _heard(spoken):
            for word in stems:
                heard.setdefault(word, weight)
                for phrase in self._by_word.get(word, ()):
                    if id(phrase) not in seen and phrase.stems <= stems:
                        seen.add(id(phrase))
                        found.setdefault(phrase.runbook, _Evidence()).add(phrase, weight)
        return found, heard

    def _hint(self, found: dict[int, "_Evidence"], heard: dict[str, float]) -> None:
        for word, weight in heard.items():
            for index in self._hints.get(word, ()):
                if index in found:
                    found[index].hints += _HINT * weight


class _Evidence:
    """What speaks for one runbook."""

    __slots__ = ("found", "hints", "named", "telling", "total")

    def __init__(self) -> None:
        self.found: list[tuple[float, str]] = []
        self.hints = self.total = 0.0
        self.telling = self.named = False  # whether any phrase is telling; and whether one is in the name or the title

    def add(self, phrase: Phrase, weight: float) -> None:
        """One more phrase, found where it counts `weight`."""
        gain = weight * phrase.worth
        self.found.append((-gain, phrase.text))
        self.total += gain
        self.telling |= phrase.telling
        self.named |= phrase.telling and weight >= _NAME

    def score(self, strange: int) -> float:
        """0 to 1, for an alert whose name has so many strange words."""
        total = (self.total + min(self.hints, _HINTS)) / (1 + _STRANGE * strange) * (1.0 if self.named else _SMALL_PRINT)
        score = MOST * (1 - math.exp(-total / SCALE))
        return score if self.telling else min(score, UNDECIDED)

    def shared(self) -> tuple[str, ...]:
        """The phrases that say most."""
        return tuple(dict.fromkeys(text for _, text in sorted(self.found)))[:SHOWN]


def _heard(spoken: Spoken) -> Iterable[tuple[frozenset[str], float]]:
    """The words of each sentence, with how much they count there, most first. Name and title are one: they complete each other."""
    yield frozenset(words(f"{spoken.name} {spoken.title}")), _NAME
    for text, weight in ((spoken.told, _TOLD), (spoken.context, _CONTEXT)):
        for sentence in sentences(text):
            yield frozenset(words(sentence)), weight


def _phrases(index: int, runbook: Runbook) -> Iterable[Phrase]:
    """What a runbook is known by; the same words once, at their highest weight."""
    best: dict[frozenset[str], Phrase] = {}
    for text, weight in _sources(runbook):
        for stems in _forms(text):
            says = telling(frozenset(pieces(text)))
            worth = weight * (1.0 if says else _WEAK) * (1 + _LONGER * (len(stems) - 1))
            if stems and (stems not in best or best[stems].worth < worth):
                best[stems] = Phrase(index, stems, text, worth, says)
    return best.values()


def _sources(runbook: Runbook) -> Iterable[tuple[str, float]]:
    names = _alert_names(runbook)
    for text in (*runbook.header.keywords, *names):
        yield text, 1.0
    for word in {word for name in names for word in pieces(name)} - COMMON - _VAGUE:
        yield word, _WORD_OF_NAME
    if not runbook.header.keywords and not names:
        for word in set(pieces(runbook.header.title)) - COMMON - _VAGUE:
            yield word, _WORD_OF_NAME


_VAGUE = frozenset(stem(word) for word in ("model", "answer", "llm", "token"))  # in the name of every second alert of an AI service


def _forms(text: str) -> Iterable[frozenset[str]]:
    """A phrase as it is, and written as one word: `rate limit` is also found in `ratelimit_errors`."""
    yield frozenset(pieces(text))
    joined = "".join(text.split())
    if joined != text and joined.isalpha():
        yield frozenset({stem(joined)})


def _alert_names(runbook: Runbook) -> list[str]:
    lines = runbook.header.match
    return [name for line in lines for key, named in line.items() if key == "alertname" for name in _each(named)]


def _each(named: str | tuple[str, ...]) -> tuple[str, ...]:
    return (named,) if isinstance(named, str) else named


def _hints(runbooks: Sequence[Runbook]) -> dict[str, tuple[int, ...]]:
    """Words that speak for a runbook without being enough: those of its title, and the single words of its phrases."""
    found: dict[str, set[int]] = defaultdict(set)
    for index, runbook in enumerate(runbooks):
        if not runbook.header.fallback:
            for text in (runbook.header.title, *runbook.header.keywords, *_alert_names(runbook)):
                for word in pieces(text):
                    found[word].add(index)
    return {word: tuple(sorted(where)) for word, where in found.items() if len(where) <= CROWDED}
