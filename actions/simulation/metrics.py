"""The time series of a world: counters, gauges and histograms sampled into rows, kept for two hours of simulated time."""

import base64
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from math import isnan, nan

from .catalogue import METRICS, family
from .promql import Series

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0)
# 3600 rows of two seconds: two hours, about 12 MB a world when full.
_KEPT = 3600


@lru_cache(maxsize=4096)
def key(name: str, **labels: str) -> Key:
    """Return the identity of a series."""
    return name, tuple(sorted(labels.items()))


class Metrics:
    """Counters that only grow, gauges of this moment, and the rows of what they were."""

    def __init__(self) -> None:
        self.counters: dict[Key, float] = {}
        self.gauges: dict[Key, float] = {}
        self._columns: dict[Key, int] = {}
        self._families: dict[str, list[Series]] = {}
        self._times: list[float] = []
        self._rows: list[array[float]] = []

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge for the sample to come. Gauges not set again are absent from it."""
        self.gauges[key(name, **labels)] = value

    def add(self, name: str, amount: float, **labels: str) -> None:
        """Let a counter grow."""
        identity = key(name, **labels)
        self.counters[identity] = self.counters.get(identity, 0.0) + amount

    def observe(self, name: str, count: float, total: float, under: Callable[[float], float], **labels: str) -> None:
        """Add `count` observations that sum to `total`, distributed as `under` (share at most so large) says, to a histogram."""
        for bound in BOUNDS:
            self.add(f"{name}_bucket", count * under(bound), **labels, le=f"{bound:g}")
        self.add(f"{name}_bucket", count, **labels, le="+Inf")
        self.add(f"{name}_sum", total, **labels)
        self.add(f"{name}_count", count, **labels)

    def sample(self, at: float) -> None:
        """Write everything into a row for the time `at` (Unix seconds); the gauges start anew."""
        row = array("d", [nan]) * len(self._columns)
        for values in (self.counters, self.gauges):
            for identity, value in values.items():
                column = self._columns.get(identity)
                if column is None:
                    column = self._register(identity)
                    row.append(nan)
                row[column] = value
        self.gauges = {}
        self._times.append(at)
        self._rows.append(row)
        if len(self._rows) > _KEPT + 300:
            del self._times[:300], self._rows[:300]

    @property
    def sampled_at(self) -> float | None:
        """The time of the newest row in Unix seconds, or none."""
        return self._times[-1] if self._times else None

    def times_after(self, at: float) -> list[float]:
        """Return the times of the rows later than `at`."""
        return self._times[bisect_right(self._times, at) :]

    def named(self, name: str) -> tuple[Series, ...]:
        """Return the series of this exact name."""
        return tuple(self._families.get(name, ()))

    def names(self) -> list[str]:
        """Return the names of all series ever sampled."""
        return sorted(self._families)

    def between(self, series: Series, start: float, end: float) -> list[tuple[float, float]]:
        """Return the samples of a series with start < time <= end. Gaps are left out."""
        first, last = bisect_right(self._times, start), bisect_right(self._times, end)
        column = series.column
        found = ((at, row[column]) for at, row in zip(self._times[first:last], self._rows[first:last], strict=True) if column < len(row))
        return [(at, value) for at, value in found if not isnan(value)]

    def latest(self, series: Series, at: float, lookback: float = 300.0) -> float | None:
        """Return the value at the newest row not later than `at`, or none if the series is absent there or the row is too old."""
        index = bisect_right(self._times, at) - 1
        if index < 0 or self._times[index] <= at - lookback or series.column >= len(self._rows[index]):
            return None
        value = self._rows[index][series.column]
        return None if isnan(value) else value

    def value(self, name: str, **labels: str) -> float | None:
        """Return the newest value of the series with exactly these labels, or none."""
        column = self._columns.get(key(name, **labels))
        if column is None or not self._rows:
            return None
        row = self._rows[-1]
        return None if column >= len(row) or isnan(row[column]) else row[column]

    def worst(self, name: str, labels: Mapping[str, str], *, worse: str) -> float | None:
        """Return the largest (or smallest, if `worse` is below) newest value among the series that carry these labels."""
        wanted = set(labels.items())
        found = [self.latest(one, self._times[-1]) for one in self.named(name) if wanted <= set(one.labels)]
        values = [value for value in found if value is not None]
        return (max(values) if worse == "above" else min(values)) if values else None

    def exposition(self, *, timestamps: bool = False) -> str:
        """Return the newest row in Prometheus' text format 0.0.4, on request with the sample's time in milliseconds."""
        if not self._rows:
            return ""
        row, stamp = self._rows[-1], f" {int(self._times[-1] * 1000)}" if timestamps else ""
        lines: dict[str, list[str]] = {}
        for name, series in self._families.items():
            for one in series:
                if one.column < len(row) and not isnan(row[one.column]):
                    text = ",".join(f'{label}="{_escape(value)}"' for label, value in one.labels)
                    lines.setdefault(family(name), []).append(f"{name}{{{text}}} {row[one.column]!r}{stamp}")
        return "".join(_block(name, lines[name]) for name in METRICS if name in lines)

    def to_json(self) -> dict[str, object]:
        """Return what a snapshot keeps: counters and the rows, packed."""
        return {
            "columns": [[name, dict(labels)] for name, labels in self._columns],
            "counters": [[name, dict(labels), value] for (name, labels), value in self.counters.items()],
            "times": _pack(array("d", self._times).tobytes()),
            "widths": [len(row) for row in self._rows],
            "rows": _pack(b"".join(row.tobytes() for row in self._rows)),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, object]) -> "Metrics":
        """Return the metrics as they were when the snapshot was taken."""
        metrics = cls()
        columns, counters, widths = kept["columns"], kept["counters"], kept["widths"]
        assert isinstance(columns, list)
        assert isinstance(counters, list)
        assert isinstance(widths, list)
        for name, labels in columns:
            metrics._register(key(name, **labels))
        metrics.counters = {key(name, **labels): value for name, labels, value in counters}
        metrics._times = list(_unpack(str(kept["times"])))
        metrics._rows = list(_cut(_unpack(str(kept["rows"])), widths))
        return metrics

    def _register(self, identity: Key) -> int:
        column = len(self._columns)
        self._columns[identity] = column
        self._families.setdefault(identity[0], []).append(Series(identity[0], identity[1], column))
        return column


def _block(name: str, lines: Iterable[str]) -> str:
    metric = METRICS[name]
    return f"# HELP {name} {metric.help}\n# TYPE {name} {metric.type}\n" + "\n".join(lines) + "\n"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _pack(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 1)).decode()


def _unpack(text: str) -> "array[float]":
    values = array("d")
    values.frombytes(zlib.decompress(base64.b64decode(text)))
    return values


def _cut(values: "array[float]", widths: list[int]) -> "Iterator[array[float]]":
    start = 0
    for width in widths:
        yield values[start : start + width]
        start += width
