"""Named places where a test may end the process, to prove that nothing is lost and nothing happens twice (engine.md, "What proves it").

Nothing is armed by default. The composition root arms them from the settings; this module never reads the environment.
"""

from collections.abc import Callable

POINTS = {
    "K1": "inbox.before_commit",
    "K2": "inbox.after_commit",
    "K3": "triage.before_commit",
    "K4": "task.before_call",
    "K5": "task.during_call",
    "K6": "task.after_call",
    "K7": "settle.before_commit",
    "K8": "settle.after_commit",
    "K9": "schedule.before_commit",
    "K10": "adopt.before_commit",
    "K11": "migration.step",
}
"""Engine.md's numbers. `Database.write(fn, name="inbox")` reaches `inbox.before_commit` and `inbox.after_commit`."""


def _nothing(_point: str) -> None:
    pass


_hook: Callable[[str], None] = _nothing


def arm(hook: Callable[[str], None]) -> None:
    """Call `hook` with each point's name when it is reached, until `disarm`."""
    global _hook  # noqa: PLW0603 - one process, one hook; handing it to every function would make it part of every contract
    _hook = hook


def disarm() -> None:
    """Reach nothing again."""
    arm(_nothing)


def reach(point: str) -> None:
    """Say that this place is reached. Costs one call when nothing is armed."""
    _hook(point)
