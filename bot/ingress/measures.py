"""What the intake counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter


class IntakeCounters:
    """`muster_alerts_accepted_total` by source, and `muster_deliveries_refused_total` by source and HTTP status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._accepted = Counter("muster_alerts_accepted", "Alerts and changes that are on disk.", ["source"], registry=registry)
        self._deliveries = Counter("muster_deliveries_accepted", "Deliveries answered with 202.", ["source"], registry=registry)
        self._refused = Counter("muster_deliveries_refused", "Deliveries answered with an error.", ["source", "status"], registry=registry)

    def accepted(self, *, source: str, alerts: int) -> None:
        """A delivery is on disk (or held nothing to keep)."""
        self._deliveries.labels(source).inc()
        self._accepted.labels(source).inc(alerts)

    def refused(self, *, source: str, status: int) -> None:
        """A delivery was answered with an error."""
        self._refused.labels(source, str(status)).inc()
