"""How the time of one match grows with the number of runbooks."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from actions import kinds
from runbooks.alert import Alert, AlertStatus
from runbooks.loading import load
from runbooks.matching import Matcher
from runbooks.runbook import Runbook

SIZES = (10, 1_000, 10_000)
_NOUNS = (
    "queue index cache gateway shard replica token batch worker cluster prompt embedding retriever ranker tokenizer router invoice "
    "mailer session cart payment search upload thumbnail ledger scheduler webhook tenant quota backup partition broker stream consumer"
).split()
_TROUBLES = (
    "stuck slow full stale rejected corrupt lagging flapping expired unreachable throttled leaking overloaded skewed deadlocked".split()
)


def library(size: int, seed: Path) -> list[Runbook]:
    """So many runbooks that differ in name, title, words and match lines; one of them is the fallback."""
    random = Random(7)
    first = load(seed.read_text(), name=seed.stem, catalogue=kinds.declared())
    return [_varied(first, number, random) for number in range(size)]


def _varied(first: Runbook, number: int, random: Random) -> Runbook:
    noun, other, trouble = random.choice(_NOUNS), random.choice(_NOUNS), random.choice(_TROUBLES)
    header = first.header.model_copy(
        update={
            "id": f"{noun}-{trouble}-{number}",
            "title": f"{noun.title()} {number} is {trouble}",
            "match": ({"alertname": f"{noun.title()}{trouble.title()}{number}"},),
            "keywords": (f"{noun} {trouble}", f"{other} behind {noun}"),
            "fallback": number == 0,
        }
    )
    return first.model_copy(update={"header": header, "hash": f"{number:064x}"})


def alerts(count: int, size: int) -> list[Alert]:
    """Half of them named by a match line, half known by their words only."""
    random = Random(11)
    return [_alert(number, size, random) for number in range(count)]


def _alert(number: int, size: int, random: Random) -> Alert:
    noun, trouble = random.choice(_NOUNS), random.choice(_TROUBLES)
    name = f"{noun.title()}{trouble.title()}" + (str(random.randrange(size)) if number % 2 else "")
    return Alert(
        source="bench",
        fingerprint=f"{number:x}",
        status=AlertStatus.FIRING,
        labels={"alertname": name, "service": f"{noun}-service", "severity": "critical", "instance": f"10.0.0.{number % 250}:9090"},
        annotations={"summary": f"The {noun} of tenant {number} is {trouble} since a deploy"},
        title=f"The {noun} is {trouble}",
        starts_at=datetime(2026, 11, 20, 2, 0, tzinfo=UTC),
    )


def durations(size: int, count: int, seed: Path) -> Sequence[float]:
    """Seconds of each of `count` matches against `size` runbooks; the first few, which fill caches, are left out."""
    matcher = Matcher(library(size, seed))
    asked = alerts(count + 20, size)
    took = []
    for alert in asked:
        began = time.perf_counter()
        matcher.match(alert)
        took.append(time.perf_counter() - began)
    return took[20:]
