"""What the intake counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter


class IntakeCounters:
    """`muster_alerts_accepted_total` by source, and `muster_deliveries_refused_total` by source and HTTP status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._accepted = Counter("muster_alerts_accepted", "Alerts and changes that are on disk.", ["source"], registry=registry)
        self._deliveries = Counter("muster_deliveries_accepted", "Deliveries answered with 202.", ["source"], registry=registry)
        self._refused = Counter("muster_deliveries_refused", "Deliveries answered with an error.", ["source", "status"], registry=registry)

        self._of: dict[str, tuple[Counter, Counter]] = {}  # a source's two counters; looking them up costs more than counting

    def accepted(self, *, source: str, alerts: int) -> None:
        """A delivery is on disk (or held nothing to keep)."""
        known = self._of.get(source)
        if known is None:
            known = self._of[source] = (self._deliveries.labels(source), self._accepted.labels(source))
        known[0].inc()
        known[1].inc(alerts)

    def refused(self, *, source: str, status: int) -> None:
        """A delivery was answered with an error."""
        self._refused.labels(source, str(status)).inc()
