"""The queue in front of a pool of replicas: M/M/c with limited patience, and how it moves when load and capacity change.

In rest the pool is the M/M/c+D queue (Barrer 1957; Baccelli and Hebuterne 1981): arrivals that would wait longer than the patience are
turned away, so it has a stationary state under any load. In motion it follows the pointwise stationary fluid flow approximation (Wang,
Tipper and Banerjee 1996): the number in the system changes by arrivals minus completions, and a system that holds L requests behaves as
the stationary queue whose mean is L.
"""

from dataclasses import dataclass
from math import exp, log

# The stationary queue is searched over offered load (arrivals over capacity) between these, on a logarithmic scale.
_LIGHTEST, _HEAVIEST = log(1e-5), log(200.0)
_NEAR, _CLOSE = 1e-4, 1e-8
# Below this exponent over the whole patience, load and capacity count as all but equal: the formulas divide by their difference.
_FLAT = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pool of equal replicas; `rate` is what one of them completes a second, `patience` the longest wait in seconds."""

    replicas: int
    rate: float
    patience: float

    @property
    def capacity(self) -> float:
        """Completions a second with every replica busy."""
        return self.replicas * self.rate


class Stationary:
    """The M/M/c+D queue at rest under `load` (arrivals over capacity). Rates are per second, waits in seconds.

    `late_ratio` is the share of arrivals that would wait longer than the patience, `utilisation` the share of replicas that are busy,
    `waiting` the mean number of requests that wait and `in_flight` of those that wait or are served.
    """

    __slots__ = ("_anchor", "_drift", "_idle", "_known", "_scale", "in_flight", "late_ratio", "load", "pool", "utilisation", "waiting")

    def __init__(self, *, pool: Pool, load: float) -> None:
        self.pool, self.load = pool, load
        self._known: dict[float, float] = {}
        capacity, patience = pool.capacity, pool.patience
        drift = capacity * (1.0 - load)
        if abs(drift) * patience < _FLAT:
            drift = _FLAT / patience
        # The anchor is the end of the wait where its density is greatest, so that no exponential can overflow.
        decay = exp(-abs(drift) * patience)
        at_start, at_end = (1.0, decay) if drift > 0 else (decay, 1.0)
        entering = capacity * load * _blocking(pool.replicas - 1, load * pool.replicas)
        busy = entering * ((at_start - at_end) / drift + at_end / capacity)
        scale = entering / (at_start + busy)
        self._drift, self._anchor, self._scale = drift, 0.0 if drift > 0 else patience, scale
        self._idle = at_start / (at_start + busy)
        self.late_ratio = scale * at_end / capacity
        self.utilisation = load * (1.0 - self.late_ratio)
        wait = scale * ((at_start - at_end) / drift**2 - patience * at_end / drift)
        self.waiting = max(0.0, capacity * load * wait)
        self.in_flight = self.waiting + pool.replicas * self.utilisation

    def over(self, seconds: float) -> float:
        """Return the share of answered requests that take longer than `seconds`, waiting and service together."""
        drift, rate, patience = self._drift, self.pool.rate, self.pool.patience
        passed = min(seconds, patience)
        here, first = self._density(passed), self._density(0.0) * exp(-rate * seconds)
        bend = rate - drift
        # Service and wait may shorten at the same pace; the quotient then has a limit.
        served = first * passed if abs(bend) * passed < 1e-6 else (here * exp(-rate * (seconds - passed)) - first) / bend
        late = self._idle * exp(-rate * seconds) + max(0.0, served) + max(0.0, (here - self._density(patience)) / drift)
        return min(1.0, late / (1.0 - self.late_ratio))

    def quantile(self, share: float) -> float:
        """Return the latency in seconds that `share` of the answered requests stay under."""
        if share not in self._known:
            low, high = 0.0, self.pool.patience + 12.0 / self.pool.rate
            for _ in range(22):
                middle = (low + high) / 2
                low, high = (middle, high) if self.over(middle) > 1.0 - share else (low, middle)
            self._known[share] = high
        return self._known[share]

    @property
    def mean(self) -> float:
        """The mean latency in seconds of answered requests."""
        return self.waiting / (self.pool.capacity * self.utilisation) + 1.0 / self.pool.rate

    def _density(self, wait: float) -> float:
        """Return the probability density of the wait that an arrival finds."""
        return self._scale * exp(-self._drift * (wait - self._anchor))


def advance(*, pool: Pool, in_flight: float, arrivals: float, seconds: float) -> Stationary:
    """Return how the pool stands after `seconds` with `arrivals` a second, given how many requests it held.

    The step is implicit, hence stable however stiff the queue is; a long one ends in the stationary queue.
    """

    def too_heavy(state: Stationary) -> bool:
        flow = arrivals * (1.0 - state.late_ratio) - pool.capacity * state.utilisation
        return state.in_flight - in_flight > seconds * flow

    low, high = _LIGHTEST, _HEAVIEST
    # In rest the answer is the load itself, so its neighbourhood is tried before the whole range.
    likely = log(min(max(arrivals / pool.capacity, 2e-5), 100.0))
    for guess in (likely - _NEAR, likely + _NEAR):
        low, high = (low, guess) if too_heavy(Stationary(pool=pool, load=exp(guess))) else (guess, high)
        if high == guess:
            break
    while high - low > _CLOSE:
        middle = (low + high) / 2
        low, high = (low, middle) if too_heavy(Stationary(pool=pool, load=exp(middle))) else (middle, high)
    return Stationary(pool=pool, load=exp(low))


def _blocking(servers: int, offered: float) -> float:
    """Return Erlang's B: the probability that all `servers` are busy in a pure loss system."""
    blocked = 1.0
    for busy in range(1, servers + 1):
        blocked = offered * blocked / (busy + offered * blocked)
    return blocked
