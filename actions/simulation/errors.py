"""What the simulated service refuses.

SimulationError
├── UnknownThing      no such target, fault, unit or world (404)
├── VersionConflict   the target has moved on since it was read (409)
└── Unacceptable      out of bounds, unknown version, wrong type (422)
"""


class SimulationError(Exception):
    """A request that the simulated service does not carry out."""


class UnknownThing(SimulationError):
    """The thing named in the request does not exist."""


class VersionConflict(SimulationError):
    """The compare-and-set found another version; `current` is the target as it is."""

    def __init__(self, *, current: dict[str, object]) -> None:
        super().__init__(f"version is {current['version']}, not the one given")
        self.current = current


class Unacceptable(SimulationError):
    """The value cannot be taken; the text says why and what would be."""
