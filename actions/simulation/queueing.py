"""The queue in front of a pool of replicas: M/M/c with limited patience, and how it moves when load and capacity change.

In rest the pool is the M/M/c+D queue (Barrer 1957; Baccelli and Hebuterne 1981): arrivals that would wait longer than the patience are
turned away, so it has a stationary state under any load. In motion it follows the pointwise stationary fluid flow approximation (Wang,
Tipper and Banerjee 1996): the number in the system changes by arrivals minus completions, and a system that holds L requests behaves as
the stationary queue whose mean is L.
"""

from dataclasses import dataclass
from functools import cached_property
from math import exp, log

# The stationary queue is searched over offered load (arrivals over capacity) between these, on a logarithmic scale.
_LIGHTEST, _HEAVIEST = log(1e-5), log(200.0)
_HALVINGS = 34
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


@dataclass(frozen=True, kw_only=True)
class Stationary:
    """The M/M/c+D queue at rest under `load` (arrivals over capacity). Rates are per second, waits in seconds."""

    pool: Pool
    load: float

    @cached_property
    def drift(self) -> float:
        """Capacity minus arrivals; negative in overload, never quite zero."""
        drift = self.pool.capacity * (1.0 - self.load)
        smallest = _FLAT / self.pool.patience
        return drift if abs(drift) > smallest else smallest

    @cached_property
    def idle(self) -> float:
        """The probability that a replica is free on arrival."""
        return self._shares[0]

    @cached_property
    def late_ratio(self) -> float:
        """The share of arrivals that would wait longer than the patience."""
        return self.density(self.pool.patience) / self.pool.capacity

    @cached_property
    def utilisation(self) -> float:
        """The share of the replicas that are busy: what is admitted, over what could be completed."""
        return self.load * (1.0 - self.late_ratio)

    @cached_property
    def waiting(self) -> float:
        """The mean number of requests that wait."""
        drift, patience = self.drift, self.pool.patience
        first, last = self.density(0.0), self.density(patience)
        wait = (first - last) / drift**2 - patience * last / drift
        return max(0.0, self.pool.capacity * self.load * wait)

    @cached_property
    def in_flight(self) -> float:
        """The mean number of requests that wait or are served."""
        return self.waiting + self.pool.replicas * self.utilisation

    def density(self, wait: float) -> float:
        """Return the probability density of the wait that an arrival finds."""
        scale, anchor = self._shares[1:]
        return scale * exp(-self.drift * (wait - anchor))

    def over(self, seconds: float) -> float:
        """Return the share of answered requests that take longer than `seconds`, waiting and service together."""
        pool, drift, rate = self.pool, self.drift, self.pool.rate
        passed = min(seconds, pool.patience)
        still_waiting = max(0.0, (self.density(passed) - self.density(pool.patience)) / drift)
        bend = rate - drift
        bend = bend if abs(bend) > 1e-9 else 1e-9
        in_service = (self.density(passed) * exp(-rate * (seconds - passed)) - self.density(0.0) * exp(-rate * seconds)) / bend
        late = self.idle * exp(-rate * seconds) + max(0.0, in_service) + still_waiting
        return min(1.0, late / (1.0 - self.late_ratio))

    def quantile(self, share: float) -> float:
        """Return the latency in seconds that `share` of the answered requests stay under."""
        low, high = 0.0, self.pool.patience + 12.0 / self.pool.rate
        for _ in range(24):
            middle = (low + high) / 2
            low, high = (middle, high) if self.over(middle) > 1.0 - share else (low, middle)
        return high

    @cached_property
    def mean(self) -> float:
        """The mean latency in seconds of answered requests."""
        admitted = self.pool.capacity * self.utilisation
        return self.waiting / admitted + 1.0 / self.pool.rate

    @cached_property
    def _shares(self) -> tuple[float, float, float]:
        """The probability of an idle replica, and the wait's density as (value at its anchor, anchor)."""
        pool, drift = self.pool, self.drift
        arrivals = pool.capacity * self.load
        entering = arrivals * _blocking(pool.replicas - 1, self.load * pool.replicas)
        # The anchor is the end of the wait where its density is greatest, so that no exponential can overflow.
        decay = exp(-abs(drift) * pool.patience)
        anchor = 0.0 if drift > 0 else pool.patience
        at_start, at_end = (1.0, decay) if drift > 0 else (decay, 1.0)
        busy = entering * ((at_start - at_end) / drift + at_end / pool.capacity)
        return at_start / (at_start + busy), entering / (at_start + busy), anchor


def advance(*, pool: Pool, in_flight: float, arrivals: float, seconds: float) -> Stationary:
    """Return how the pool stands after `seconds` with `arrivals` a second, given how many requests it held.

    The step is implicit, hence stable however stiff the queue is; a long one ends in the stationary queue.
    """
    low, high = _LIGHTEST, _HEAVIEST
    state = Stationary(pool=pool, load=exp(low))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        state = Stationary(pool=pool, load=exp(middle))
        flow = arrivals * (1.0 - state.late_ratio) - pool.capacity * state.utilisation
        low, high = (low, middle) if state.in_flight - in_flight > seconds * flow else (middle, high)
    return state


def _blocking(servers: int, offered: float) -> float:
    """Return Erlang's B: the probability that all `servers` are busy in a pure loss system."""
    blocked = 1.0
    for busy in range(1, servers + 1):
        blocked = offered * blocked / (busy + offered * blocked)
    return blocked
