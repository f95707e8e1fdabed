"""The physics of one step: how traffic runs through gateway, retrieval, models and provider. Pure, without clock or noise.

Rates are per second, latencies in seconds, ratios between 0 and 1, money in US dollars.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

from .latency import Latency, in_series
from .queueing import Pool, Stationary, advance
from .release import Release

# The constants below are calibrated so that, untouched, every signal is well inside its limit at 40 questions a second with two rerankers
# (busy to 0.55) and that 2.5 times the traffic overloads two rerankers and is carried by four.
RERANKER, ANSWERS = "reranker-v3", "answers-v7"
SERVICE_RATE = {RERANKER: 34.0, ANSWERS: 18.0}
PATIENCE = 5.0
PROVIDER_CAPACITY = 250.0
SEARCH_LIMIT = 1.0
INPUT_TOKENS = 900.0
OUTPUT_TOKENS = 320.0
USD_PER_INPUT_TOKEN = 0.5e-6
USD_PER_OUTPUT_TOKEN = 2.0e-6
USD_PER_REPLICA_HOUR = 3.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How questions are answered: with which provider, with retrieval or not, how much from the cache, how strictly."""

    provider: str = "primary"
    retrieval: bool = True
    cache: float = 0.0
    strict: bool = False
    quality: float = 0.0
    refused: float = 0.004
    price: float = 1.0


ROUTES: Mapping[str, Route] = {
    "primary": Route(),
    "backup": Route(provider="backup", quality=-0.02, price=1.35),
    "cached": Route(retrieval=False, cache=0.70, quality=-0.06),
    "no-retrieval": Route(retrieval=False, quality=-0.08),
    "strict": Route(strict=True, quality=-0.03, refused=0.045),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A model provider's condition: share of calls refused, and how many times as slow as usual."""

    rate_limited: float = 0.0
    slowness: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Everything that is set from outside for one step; `pools` holds ready replicas, `age` is the index's age in seconds."""

    questions: float
    route: Route
    flags: Mapping[str, bool]
    attempts: int
    pools: Mapping[str, int]
    releases: Mapping[str, Release]
    providers: Mapping[str, Provider]
    max_output_tokens: int
    tokens_per_minute: int
    budget_left: bool
    output_factor: float
    age: float
    unsafe: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What one step hands to the next: requests held, how often calls are repeated, what an answer took."""

    in_flight: Mapping[str, float]
    repeats: Mapping[str, float]
    tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One stage in one step: calls to it, the share that fails, how long it takes."""

    rate: float
    errors: float
    latency: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step brought about."""

    questions: float
    throttled: float
    cached: float
    pools: Mapping[str, Stationary]
    arrivals: Mapping[str, float]
    stages: Mapping[str, Call]
    providers: Mapping[str, Call]
    total: Latency
    outcomes: Mapping[str, float]
    timeouts: float
    amplification: float
    tokens: float
    cost_per_hour: float
    quality: float
    groundedness: float
    recall: float
    age: float
    unsafe: float
    filtering: bool
    memory: Memory

    @property
    def answered(self) -> float:
        """Questions answered a second."""
        return self.questions * self.outcomes["200"]

    @property
    def errors(self) -> float:
        """Share of the questions without an answer."""
        return 1.0 - self.outcomes["200"]


def calls(failing: float, attempts: int) -> float:
    """Return the calls made per call needed when each fails with probability `failing` and is tried `attempts` times at most."""
    return sum(failing**tried for tried in range(attempts))


def impatience(output_tokens: float) -> float:
    """Return the share of clients that give up waiting for an answer of this mean length and ask again."""
    return 0.75 / (1.0 + exp(-(output_tokens - 620.0) / 60.0))


def step(now: Conditions, memory: Memory, *, seconds: float) -> Step:
    """Return what happens in the next `seconds` under these conditions."""
    throttled = _throttled(now, memory)
    cached = _cached(now)
    fresh = now.questions * (1.0 - throttled) * (1.0 - cached)
    search, timeouts, lost_in_search = _search(now, fresh)
    pools, arrivals = _pools(now, memory, fresh * (1.0 - lost_in_search), seconds)
    output = _output_tokens(now)
    providers = _providers(now, memory, output, fresh)
    used = providers[now.route.provider]
    repeats = _repeats(now, memory, late=pools[RERANKER].late_ratio, used=used, output=output, seconds=seconds)
    stages = {
        "app": Call(rate=now.questions, errors=throttled, latency=Latency(median=0.006, sigma=0.5)),
        "retrieval": search,
        "model": _model(pools, arrivals),
        "provider": used,
    }
    outcomes = _outcomes(now, throttled=throttled, cached=cached, lost_in_search=lost_in_search, pools=pools, used=used)
    per_call = INPUT_TOKENS + output
    tokens = per_call * used.rate * (1.0 - used.errors) / max(now.questions * outcomes["200"], 1e-9)
    recall, grounded = _context(now, timeouts)
    filtering = now.route.strict or now.flags["safety-filter-v2"]
    return Step(
        questions=now.questions,
        throttled=throttled,
        cached=cached,
        pools=pools,
        arrivals=arrivals,
        stages=stages,
        providers=providers,
        total=in_series([(call.latency.mean, call.latency.p99) for call in stages.values() if call.rate > 0]),
        outcomes=outcomes,
        timeouts=timeouts,
        amplification=repeats["model"] + repeats["provider"] * repeats["client"] - 1.0,
        tokens=tokens,
        cost_per_hour=_cost(now, used, output),
        quality=_quality(now, recall),
        groundedness=grounded,
        recall=recall,
        age=now.age if now.route.retrieval else 0.0,
        unsafe=now.unsafe * (0.02 if now.route.strict else now.releases[ANSWERS].leak if filtering else 1.0),
        filtering=filtering,
        memory=Memory(in_flight={name: pool.in_flight for name, pool in pools.items()}, repeats=repeats, tokens=tokens),
    )


def _throttled(now: Conditions, memory: Memory) -> float:
    if not now.budget_left:
        return 1.0
    wanted = now.questions * max(memory.tokens, 1.0) * 60.0
    return max(0.0, 1.0 - now.tokens_per_minute / max(wanted, 1.0))


def _cached(now: Conditions) -> float:
    return max(now.route.cache, 0.15 if now.flags["semantic-cache"] else 0.0)


def _search(now: Conditions, fresh: float) -> tuple[Call, float, float]:
    """Vector search: the call, the share of searches that time out, the share of questions lost by it."""
    if not now.route.retrieval:
        return Call(rate=0.0, errors=0.0, latency=Latency(median=0.001, sigma=0.1)), 0.0, 0.0
    timeouts = now.releases["search-index"].timeout_ratio if now.flags["hybrid-search"] else 0.0
    latency = Latency(median=0.04 * (1.0 + 2.0 * timeouts), sigma=0.45, stuck=timeouts, limit=SEARCH_LIMIT)
    # A search that timed out on every attempt leaves the question without context; one in four such questions is given up.
    lost = 0.25 * timeouts**now.attempts
    return Call(rate=fresh * calls(timeouts, now.attempts), errors=timeouts, latency=latency), timeouts, lost


def _pools(now: Conditions, memory: Memory, fresh: float, seconds: float) -> tuple[dict[str, Stationary], dict[str, float]]:
    """Both inference pools after the step, and what arrived at each: first the reranker, then what it let through."""
    reranking = now.route.retrieval and now.flags["rerank"]
    share = (0.94 if now.flags["fast-path"] else 1.0) if reranking else 0.0
    arrivals = {RERANKER: fresh * share * memory.repeats["model"]}
    pools = {RERANKER: _pool(now, memory, RERANKER, arrivals[RERANKER], seconds)}
    passed = 1.0 - share * pools[RERANKER].late_ratio ** now.attempts
    arrivals[ANSWERS] = fresh * passed * memory.repeats["client"]
    pools[ANSWERS] = _pool(now, memory, ANSWERS, arrivals[ANSWERS], seconds)
    return pools, arrivals


def _pool(now: Conditions, memory: Memory, name: str, arrivals: float, seconds: float) -> Stationary:
    pool = Pool(replicas=now.pools[name], rate=SERVICE_RATE[name] / now.releases[name].slowness, patience=PATIENCE)
    return advance(pool=pool, in_flight=memory.in_flight[name], arrivals=arrivals, seconds=seconds)


def _model(pools: Mapping[str, Stationary], arrivals: Mapping[str, float]) -> Call:
    used = [pools[name] for name in pools if arrivals[name] > 0]
    passed = 1.0
    for pool in used:
        passed *= 1.0 - pool.late_ratio
    latency = in_series([(pool.mean, pool.quantile(0.99)) for pool in used] or [(0.001, 0.002)])
    return Call(rate=sum(arrivals.values()), errors=1.0 - passed, latency=latency)


def _output_tokens(now: Conditions) -> float:
    """Mean output tokens of an answer: lengths are exponential and cut at the limit."""
    wanted = OUTPUT_TOKENS * (now.output_factor if now.flags["long-answers"] else 1.0)
    return wanted * (1.0 - exp(-now.max_output_tokens / wanted))


def _providers(now: Conditions, memory: Memory, output: float, fresh: float) -> dict[str, Call]:
    """Each provider: calls by the present route (none for the other), share refused, latency by probe."""
    found = {}
    for name, provider in now.providers.items():
        rate = fresh * memory.repeats["provider"] * memory.repeats["client"] if name == now.route.provider else 0.0
        refused = max(provider.rate_limited, 1.0 - PROVIDER_CAPACITY / max(rate, 1.0), 0.002)
        median = (0.15 + 0.0008 * output) * provider.slowness * (1.2 if name == "backup" else 1.0)
        found[name] = Call(rate=rate, errors=refused, latency=Latency(median=median, sigma=0.35))
    return found


def _repeats(now: Conditions, memory: Memory, *, late: float, used: Call, output: float, seconds: float) -> dict[str, float]:
    """Calls per call needed at each level; each follows its cause within seconds, as back-off and give-up times spread it."""
    aims = {
        "model": calls(late, now.attempts),
        "provider": calls(used.errors, now.attempts),
        "client": calls(impatience(output), now.attempts),
    }
    follow = 1.0 - exp(-seconds / 4.0)
    return {level: memory.repeats[level] + (aim - memory.repeats[level]) * follow for level, aim in aims.items()}


def _outcomes(
    now: Conditions, *, throttled: float, cached: float, lost_in_search: float, pools: Mapping[str, Stationary], used: Call
) -> dict[str, float]:
    """Shares of the questions by status code."""
    reranking = now.route.retrieval and now.flags["rerank"]
    late = 1.0 - (1.0 - (pools[RERANKER].late_ratio if reranking else 0.0) ** now.attempts) * (1.0 - pools[ANSWERS].late_ratio)
    late = 1.0 - (1.0 - late) * (1.0 - lost_in_search)
    refused = used.errors**now.attempts
    through = (1.0 - throttled) * (1.0 - cached)
    failed = {"429": throttled, "504": through * late, "502": through * (1.0 - late) * refused}
    return {"200": 1.0 - sum(failed.values()), **failed}


def _context(now: Conditions, timeouts: float) -> tuple[float, float]:
    """Recall of what answers are drawn from, and the share of statements that it supports."""
    if not now.route.retrieval:
        return 0.0, 0.80
    index = now.releases["search-index"]
    recall = index.recall if now.flags["hybrid-search"] else 0.84
    recall -= 0.2 * (1.0 - exp(-now.age / 43_200.0))
    without_context = timeouts**now.attempts
    recall *= 1.0 - without_context
    return recall, max(0.3, 0.95 - 0.4 * (0.93 - recall) - 1.2 * (0.91 - min(0.91, now.releases[ANSWERS].evaluation)))


def _quality(now: Conditions, recall: float) -> float:
    quality = now.releases[ANSWERS].evaluation + now.route.quality
    if now.route.retrieval:
        quality -= 0.25 * (0.93 - recall)
        quality += now.releases[RERANKER].evaluation - 0.90 if now.flags["rerank"] else -0.05
    return max(0.05, min(1.0, quality))


def _cost(now: Conditions, used: Call, output: float) -> float:
    price = INPUT_TOKENS * USD_PER_INPUT_TOKEN + output * USD_PER_OUTPUT_TOKEN
    spent = used.rate * (1.0 - used.errors) * price * now.route.price
    return 3600.0 * spent + USD_PER_REPLICA_HOUR * sum(now.pools.values())
