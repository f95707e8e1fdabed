"""Figures as the bench prints them: the middle of several rounds, percentiles, and each aim with what was measured, met or not."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What was aimed at, and what came of it. `least` says whether more is better."""

    what: str
    aim: float
    measured: float
    unit: str
    least: bool

    @property
    def met(self) -> bool:
        """Whether the aim is reached; a figure that could not be measured reaches nothing."""
        return self.measured >= self.aim if self.least else self.measured <= self.aim

    def line(self) -> str:
        """One line for people."""
        sign = "≥" if self.least else "≤"
        verdict = "met" if self.met else "NOT MET"
        return f"  {self.what:<58}{number(self.measured):>10} {self.unit:<9}aim {sign} {number(self.aim):<8} {verdict}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A distribution in milliseconds."""

    p50: float
    p95: float
    p99: float
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Spread":
        """Of durations in seconds; of none at all every percentile is infinite, which meets no aim."""
        ordered = sorted(seconds)
        return cls(**{f"p{q}": percentile(ordered, q) * 1000 for q in (50, 95, 99)}, count=len(ordered))

    def line(self) -> str:
        """One line for people."""
        return f"p50 {number(self.p50)} ms, p95 {number(self.p95)} ms, p99 {number(self.p99)} ms, of {self.count}"


def percentile(ordered: Sequence[float], q: float) -> float:
    """The nearest-rank percentile of an ascending sequence."""
    if not ordered:
        return math.inf
    return ordered[max(0, math.ceil(len(ordered) * q / 100) - 1)]


def middle(values: Sequence[float]) -> float:
    """The median of several rounds."""
    return median(values)


def number(value: float) -> str:
    """A figure with as many digits as it deserves."""
    if math.isinf(value):
        return "never"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def load() -> dict[str, Any]:
    """How busy this machine is: what else runs spoils every figure but the ratios."""
    cores = os.cpu_count() or 1
    one, five, _ = os.getloadavg()
    return {"load_1m": round(one, 2), "load_5m": round(five, 2), "cores": cores, "busy": one > cores / 2}
