"""Who is who and who is on duty, as one thing that can be replaced while Muster runs.

People may stand in muster.yaml by e-mail alone; their Slack ids are looked up and kept (rule S4). PagerDuty is asked beforehand, from
a thread of its own: a flow asks inside a transaction, where nobody may wait for a network.
"""

import threading
from collections.abc import Mapping
from datetime import datetime

from bot.oncall import OnCallFile, PagerDutyOnCall
from runbooks.people import Directory, Person


class Duty:
    """Implements `ports.OnCall`, with the directory that it was built from. Safe to use from any thread."""

    def __init__(self, *, directory: Directory, file: OnCallFile, pagerduty: PagerDutyOnCall | None) -> None:
        self._lock = threading.Lock()
        self._heard: Mapping[str, tuple[Person, ...]] = {}
        self.replace(directory=directory, file=file, pagerduty=pagerduty)

    def replace(self, *, directory: Directory, file: OnCallFile, pagerduty: PagerDutyOnCall | None) -> None:
        """Take other people from now on."""
        with self._lock:
            self.directory, self._file, self._pagerduty = directory, file, pagerduty

    def refresh(self, now: datetime) -> None:
        """Ask PagerDuty for everyone, so that flows need not. Called by the ticker; waits for the network."""
        with self._lock:
            directory, file, pagerduty = self.directory, self._file, self._pagerduty
        if pagerduty is None:
            return
        heard = {name: pagerduty.rotation(name, now) for name in file.names}
        heard |= {f"team:{team.id}": pagerduty.on_call(team.id, now) for team in directory.teams}
        with self._lock:
            self._heard = heard

    def on_call(self, team: str, at: datetime) -> tuple[Person, ...]:
        """The people on duty for a team; from muster.yaml where PagerDuty has not been heard."""
        with self._lock:
            heard, file = self._heard.get(f"team:{team}"), self._file
        return heard or file.on_call(team, at)

    def rotation(self, name: str, at: datetime) -> tuple[Person, ...]:
        """The people behind a paging target; from muster.yaml where PagerDuty has not been heard."""
        with self._lock:
            heard, file = self._heard.get(name), self._file
        return heard or file.rotation(name, at)

    def degraded(self) -> tuple[str, ...]:
        """What of it is not working at present, in sentences."""
        return self._pagerduty.degraded() if self._pagerduty else ()
