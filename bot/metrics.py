"""What Muster measures of itself, for Prometheus (mission J5). Drills have a label of their own, and unknown is not zero."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from bot.ports import Front, Press, Reply, Visitor
from runbooks.value import Json

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counters and gauges of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.tasks = Counter("muster_tasks", "Tasks by kind and how they ended.", ["kind", "end"], registry=registry)
        self.task_seconds = Histogram("muster_task_seconds", "How long handlers took.", ["kind"], buckets=SECONDS, registry=registry)
        self.task_wait_seconds = Histogram(
            "muster_task_wait_seconds", "From the promise to the first attempt.", ["kind"], buckets=SECONDS, registry=registry
        )
        self.open_tasks = Gauge("muster_tasks_open", "Tasks that wait or run.", registry=registry)
        self.dead_tasks = Gauge("muster_tasks_dead", "Tasks that were given up and wait for a person.", registry=registry)
        self.overdue_seconds = Gauge("muster_tasks_overdue_seconds", "Age of the oldest task that could run.", registry=registry)
        self.inbox_waiting = Gauge("muster_inbox_waiting", "Deliveries that are on disk and not yet folded.", registry=registry)
        self.open_incidents = Gauge("muster_incidents_open", "Open incidents.", ["severity", "drill"], registry=registry)
        self.presses = Counter("muster_presses", "What people pressed.", ["kind"], registry=registry)
        self.press_seconds = Histogram("muster_press_seconds", "From a press to its decision.", buckets=SECONDS, registry=registry)
        self.slack_connected = Gauge("muster_slack_connected", "1 while Slack can reach Muster.", registry=registry)


class MeasuredFront:
    """A front that counts presses and how long their decisions take. Implements `ports.Front`."""

    def __init__(self, front: Front, metrics: Metrics) -> None:
        self._front, self._metrics = front, metrics

    def press(self, press: Press, visitor: Visitor) -> Reply:
        """A button or a menu entry."""
        self._metrics.presses.labels(press.kind.value).inc()
        with self._metrics.press_seconds.time():
            return self._front.press(press, visitor)

    def submit(self, press: Press, form: dict[str, Json], visitor: Visitor) -> Reply:
        """A dialog's submit button."""
        self._metrics.presses.labels(press.kind.value).inc()
        with self._metrics.press_seconds.time():
            return self._front.submit(press, form, visitor)

    def opened(self, press: Press, view_id: str, visitor: Visitor) -> None:
        """A loading dialog stands open."""
        self._front.opened(press, view_id, visitor)

    def command(self, text: str, visitor: Visitor) -> Reply:
        """A line of text."""
        self._metrics.presses.labels("command").inc()
        with self._metrics.press_seconds.time():
            return self._front.command(text, visitor)

    def shortcut(self, callback_id: str, message: dict[str, Json] | None, visitor: Visitor) -> Reply:
        """A shortcut."""
        self._metrics.presses.labels("shortcut").inc()
        with self._metrics.press_seconds.time():
            return self._front.shortcut(callback_id, message, visitor)

    def event(self, kind: str, event: dict[str, Json], *, event_id: str, visitor: Visitor) -> None:
        """A Slack event."""
        self._front.event(kind, event, event_id=event_id, visitor=visitor)
