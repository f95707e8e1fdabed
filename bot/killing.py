"""Crash tests only: end the process at a named point, as `kill -9` would (engine.md, "What proves it")."""

import os
import signal
import threading

from storage import killpoints


def arm(point: str | None) -> None:
    """Kill this process when `point` is reached; `point:3` the third time. None disarms.

    Raises:
        ValueError: there is no such point.
    """
    if not point:
        killpoints.disarm()
        return
    name, _, count = point.partition(":")
    wanted = killpoints.POINTS.get(name, name)
    left = [int(count or 1)]
    lock = threading.Lock()

    def reached(at: str) -> None:
        if at != wanted:
            return
        with lock:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    killpoints.arm(reached)
