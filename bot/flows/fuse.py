"""What one process remembers while the record cannot be written: that nothing may start, and whom it has paged meanwhile (rule S16).

It is memory on purpose: the database is what fails here. As soon as it takes a row again, the pause and the owed pages stand there.
"""

from dataclasses import dataclass, field
from datetime import datetime

from actions.situation import Pause


@dataclass(slots=True)
class Fuse:
    """Blown until the pause stands in the database, where a person lets go of it.

    `failures` are looks in a row at which the record took no row, `head` is the end of the global chain that verified last, and `paged`
    are the keys of pages that went out without their row, with the time.
    """

    pause: Pause | None = None
    failures: int = 0
    head: str | None = None
    paged: dict[str, datetime] = field(default_factory=dict)

    def blow(self, pause: Pause) -> None:
        """Nothing starts in this process from now on; the first reason stays."""
        self.pause = self.pause or pause

    def mend(self) -> None:
        """The pause is kept elsewhere."""
        self.pause, self.failures = None, 0
