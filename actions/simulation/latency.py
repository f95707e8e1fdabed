"""How long a stage takes: a log-normal body, and a share that runs into a time limit."""

from dataclasses import dataclass
from functools import lru_cache
from math import erf, exp, inf, log, sqrt
from statistics import NormalDist

_Z99 = 2.3263478740408408
_ROOT2 = sqrt(2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """A distribution of seconds: log-normal with `median` and `sigma`; the share `stuck` ends at `limit` seconds instead."""

    median: float
    sigma: float
    stuck: float = 0.0
    limit: float = inf

    def under(self, seconds: float) -> float:
        """Return the share that takes at most `seconds`."""
        if seconds <= 0:
            return 0.0
        body = 0.5 * (1.0 + erf(log(seconds / self.median) / (self.sigma * _ROOT2)))
        return body * (1.0 - self.stuck) + (self.stuck if seconds >= self.limit else 0.0)

    @property
    def mean(self) -> float:
        """The mean in seconds."""
        body = self.median * exp(self.sigma * self.sigma / 2)
        return body if self.stuck == 0 else body * (1.0 - self.stuck) + self.limit * self.stuck

    @property
    def p99(self) -> float:
        """The 99th percentile in seconds."""
        return self.quantile(0.99)

    def quantile(self, share: float) -> float:
        """Return the seconds that `share` of the requests stay under, for a share between 0 and 1."""
        if self.stuck >= 1.0 - share:
            return self.limit
        return min(self.limit, self.median * exp(self.sigma * _deviation(share / (1.0 - self.stuck))))


@lru_cache(maxsize=1024)
def _deviation(share: float) -> float:
    return NormalDist().inv_cdf(share)


def fit(*, mean: float, p99: float) -> Latency:
    """Return the log-normal with this mean and 99th percentile in seconds (the flattest one when no such exists)."""
    spread = max(0.0, 2.0 * log(max(1.0, p99 / mean)))
    sigma = max(0.05, _Z99 - sqrt(max(0.0, _Z99 * _Z99 - spread)))
    return Latency(median=mean * exp(-sigma * sigma / 2), sigma=sigma)


def in_series(parts: list[tuple[float, float]]) -> Latency:
    """Return the sum of independent stages, each given as (mean, p99) in seconds.

    Means add; distances of the p99 from the mean add as squares, as spreads of independent parts do.
    """
    mean = sum(part[0] for part in parts)
    spread = sqrt(sum(max(0.0, p99 - stage_mean) ** 2 for stage_mean, p99 in parts))
    return fit(mean=mean, p99=mean + spread)
