"""Words of alerts and runbooks: how a text is cut into them, and which of them every monitor uses."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

LONGEST = 40  # letters of a word; what is longer is a key or a hash
_TOKEN_MOST = 120  # letters of what stands without a space

_STOP = frozenset(
    "a an and any are as at be been but by for from had has have in into is it its no not of off on one or our over since than that the "
    "their them then there this to too under up was were which with your above below more less most last least within between per "
    "alert alerts alarm alarms warning warn critical crit page info ok firing fired triggered resolved monitor threshold value values "
    "prod production env minute minutes min hour hours second seconds sec day days week month".split()
)
_COMMON = (
    "error failure fail failing failed rate ratio high low latency slow slowness fast timeout time down up unavailable available "
    "availability unreachable reachable degraded degradation drop dropped spike spiking surge increase increased decrease fall fell rise "
    "rising growing grow exceeded exceeding exceed breach breached limit limited limiting quota budget burn queue queued queueing backlog "
    "lag delay delayed stuck stale missing lost full fullness fill empty size count number total percent usage used utilization "
    "utilisation saturation saturated saturating pressure cpu memory disk gpu node pod container instance host server cluster pool "
    "replica replicas shard partition thread connection connections network service services context api app application endpoint gateway "
    "proxy request requests response responses call calls query queries search index indexing job task run running pipeline build deploy "
    "deployment release version job cache hit miss storage store database db table data content document documents file policy filter "
    "filtered check probe health healthy unhealthy status state check test sample result results report reported user users customer "
    "customers client clients session sessions traffic throughput retry retries throttle throttled throttling throttles 429 500 502 503 "
    "504 529 p50 p90 p95 p99 95 99 90 50 slo sla objective score quality drift detected detection anomaly anomalous unusual unexpected "
    "abnormal regression worse bad wrong leak leaked leaking compliance security feedback negative accuracy performance provider "
    "upstream downstream external third party primary secondary fallback failover circuit breaker open closed key evaluation daily "
    "monthly hourly nightly weekly usd eur dollar dollars charge charges bill billing payment overloaded overload off bypass bypassed "
    "bypassing disabled enabled violation violations blocked refused rejected expired old age fresh freshness sync ingestion "
    "scan wait waiting hanging long max maximum min minimum average mean max spent free space out reached reaching near almost nearly "
    "system process level component backend frontend web message messages event events item items group class type kind name label"
).split()

_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d{2,}|[^\W\dA-Za-z_]+")
_TOKEN = re.compile(r"[^\W_]+")
_ENDING = re.compile(r"(?<=[a-z]{3})(?:ies|es|s|ing|ed|e|y)$")
_SENTENCE = re.compile(r"[.;!?:]\s|[\r\n]+")


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """A word without its ending: `queries`, `query` and `Query` are one."""
    return _ENDING.sub("", word[:LONGEST].lower())


COMMON = frozenset(stem(word) for word in _COMMON)
"""Words that monitors of every kind use. They tell one runbook from another only in company: "latency" of what?"""

_STOPPED = frozenset(stem(word) for word in _STOP) - COMMON


def words(text: str) -> list[str]:
    """The meaningful words of a text in its order, stemmed: `VectorSearchTimeouts` gives vector, search, timeout.

    Camel case is cut, and put together again as well, so that `OpenAIErrors` and `vLLM` also give `openai` and `vllm`. Accents go.
    """
    return [word for token in _TOKEN.findall(_plain(text)) for word in _stems(token)]


@lru_cache(maxsize=65_536)
def _stems(token: str) -> tuple[str, ...]:
    found = _PIECE.findall(token[:_TOKEN_MOST])
    pairs = [first + second for first, second in pairwise(found)]
    whole = ["".join(found)] if len(found) > 2 else []
    return _meaningful([*found, *pairs, *whole])


@lru_cache(maxsize=65_536)
def pieces(text: str) -> tuple[str, ...]:
    """The meaningful words of a text as it writes them, without those that camel case only might mean."""
    return _meaningful(_PIECE.findall(_plain(text)))


def _meaningful(found: Iterable[str]) -> tuple[str, ...]:
    stems = (stem(word) for word in found)
    return tuple(word for word in stems if len(word) > 1 and word not in _STOPPED)


def sentences(text: str) -> list[str]:
    """The text in parts that speak of one thing."""
    return [part for part in _SENTENCE.split(text) if part.strip()]


def telling(stems: frozenset[str]) -> bool:
    """Whether these words say what something is about, and not only how it is."""
    return not stems <= COMMON


def _plain(text: str) -> str:
    if text.isascii():
        return text
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
