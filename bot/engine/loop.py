"""A loop that does a thing until there is nothing left, then waits to be woken or for the next look."""

import threading
import time
from collections.abc import Callable

import structlog

from storage.errors import StorageError

log = structlog.get_logger(__name__)


def _pause(trouble: int) -> float:
    """Seconds to wait after so many failures in a row: 0.4, 0.8, … at most 5, however long the outage."""
    return float(min(0.2 * 2 ** min(trouble, 10), 5.0))


class Loop:
    """Calls `step` again as long as it answers a number above zero. A database error makes it wait and go on, never die."""

    def __init__(self, *, name: str, step: Callable[[], int], poll: float, longest_rest: float = 0.0) -> None:
        """`longest_rest`: after a step that did something, rest as long as it took, at most so many seconds.

        A step that holds the one writer makes everybody else wait; resting lets them in, and the next step finds more to do at once.
        """
        self._name, self._step, self._poll, self._longest_rest = name, step, poll, longest_rest
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.last_turn_at = time.monotonic()

    def start(self) -> None:
        """Start the loop's thread."""
        self._thread.start()

    def stop(self, *, grace: float = 10.0) -> None:
        """Finish the present step and end."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=grace)

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    @property
    def silent_for(self) -> float:
        """Seconds since the last step that went through."""
        return time.monotonic() - self.last_turn_at

    def _run(self) -> None:
        trouble = 0
        while not self._stopping.is_set():
            self._wake.clear()
            began = time.monotonic()
            try:
                done = self._step()
                self.last_turn_at, trouble = time.monotonic(), 0
            except StorageError as error:
                trouble += 1
                log.warning("loop.storage_unavailable", loop=self._name, error=str(error))
                self._stopping.wait(_pause(trouble))
                continue
            except Exception:
                trouble += 1
                log.exception("loop.step_failed", loop=self._name)
                self._stopping.wait(_pause(trouble))
                continue
            if not done:
                self._wake.wait(self._poll)
            elif self._longest_rest:
                self._stopping.wait(min(time.monotonic() - began, self._longest_rest))
